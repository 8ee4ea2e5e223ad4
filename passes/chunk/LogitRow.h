// Words for kernels that walk over rows of logits: doubles, a row block by block, masses, thresholds, random numbers.
#pragma once
#include "passes/chunk/TileEmitter.h"

namespace llmc {

/// Double-precision words, for angles and masses.
struct F64 {
  using Value = mlir::Value;
  TileBuilder &t;
  Value c(double v) { return mlir::arith::ConstantOp::create(t.b, t.loc, t.b.getF64FloatAttr(v)); }
  Value mul(Value x, Value y) { return mlir::arith::MulFOp::create(t.b, t.loc, x, y); }
  Value add(Value x, Value y) { return mlir::arith::AddFOp::create(t.b, t.loc, x, y); }
  Value sub(Value x, Value y) { return mlir::arith::SubFOp::create(t.b, t.loc, x, y); }
  Value of(Value f32) { return mlir::arith::ExtFOp::create(t.b, t.loc, t.b.getF64Type(), f32); }
  /// c0 + x (c1 + x (c2 + ..))
  Value polynomial(Value x, llvm::ArrayRef<double> coefficients);
};

/// One row of logits, walked in blocks.
struct LogitRow {
  TileEmitter &e;
  mlir::Value logits; ///< [T, V] of the dispatch body
  mlir::Value row;
  int64_t vocab;
  /// Column whose logit reads as -infinity, as an i32; null: none.
  mlir::Value without = {};
  static constexpr int64_t kBlock = 1024;

  using Body = llvm::function_ref<llvm::SmallVector<mlir::Value>(
      TileBuilder &, mlir::Value tile, mlir::Value start, int64_t size, mlir::ValueRange carried)>;
  llvm::SmallVector<mlir::Value> walk(TileBuilder &t, mlir::ValueRange init, Body body) const;

private:
  mlir::Value block(TileBuilder &t, mlir::Value start, int64_t size) const;
};

mlir::Value compare(TileBuilder &t, mlir::arith::CmpFPredicate predicate, mlir::Value x, mlir::Value y);
mlir::Value choose(TileBuilder &t, mlir::Value c, mlir::Value x, mlir::Value y);

/// The largest value of a row and where it first is: (value, index), given the block's tile made by `body` of its logits.
struct Largest {
  mlir::Value value, index;
};
/// Folds a tile that begins at column `start` into the largest so far.
Largest larger(TileBuilder &t, mlir::Value tile, mlir::Value start, int64_t size, Largest soFar);

/// Sum over the row of `weight(x, scalars...)`, in double over blocks summed in float.
mlir::Value mass(TileBuilder &t, const LogitRow &row, llvm::ArrayRef<mlir::Value> scalars, TileBuilder::Body weight);
/// How many of the row's elements are NaN or +infinity, f32.
mlir::Value countBad(TileBuilder &t, mlir::Value tile);

/// The smallest logit that top_k (i64; <= 0: all) and then top_p of softmax(logits * inverse) keep.
mlir::Value keptBound(TileBuilder &t, const LogitRow &row, mlir::Value maximum, mlir::Value inverse, mlir::Value topK, mlir::Value topP);
/// e^((x - max) * inverse) of what is at least the bound; scalars (bound, max, inverse).
mlir::Value keptWeight(TileBuilder &t, mlir::ValueRange v);

/// Philox4x32-10, first word, as i64 holding 32 bits. Counter (position low, high, step, index), key (seed low, high); all i64, null is 0.
mlir::Value philox(TileBuilder &t, mlir::Value seed, mlir::Value position, mlir::Value step = {}, mlir::Value index = {});

} // namespace llmc
