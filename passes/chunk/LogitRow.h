// Words for kernels that walk over rows of logits: the sampler's and that of the statistics.
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
  Value polynomial(Value x, llvm::ArrayRef<double> coefficients) {
    Value sum = c(coefficients.back());
    for (double k : llvm::reverse(coefficients.drop_back()))
      sum = add(mul(sum, x), c(k));
    return sum;
  }
};

/// One row of logits, walked in blocks.
struct LogitRow {
  using Value = mlir::Value;
  TileEmitter &e;
  Value logits; ///< [T, V] of the dispatch body
  Value row;
  int64_t vocab;
  static constexpr int64_t kBlock = 1024;

  /// `body` gets a block as a tile [1, size], its first token, and the carried values, and returns the
  /// latter.
  using Body = llvm::function_ref<llvm::SmallVector<Value>(TileBuilder &, Value tile, Value start,
                                                           int64_t size, mlir::ValueRange carried)>;
  llvm::SmallVector<Value> walk(TileBuilder &t, mlir::ValueRange init, Body body) const {
    auto at = [&](TileBuilder &t, Value start, int64_t size) {
      return e.tile(t, logits, {row, 1, start, size});
    };
    int64_t whole = vocab / kBlock * kBlock;
    llvm::SmallVector<Value> carried(init);
    if (whole)
      carried = t.loop(t.index(0), t.index(whole), kBlock, carried,
                       [&](TileBuilder &t, Value start, mlir::ValueRange carried) {
                         return body(t, at(t, start, kBlock), start, kBlock, carried);
                       });
    if (whole < vocab)
      carried = body(t, at(t, t.index(whole), vocab - whole), t.index(whole), vocab - whole, carried);
    return carried;
  }
};

inline mlir::Value compare(TileBuilder &t, mlir::arith::CmpFPredicate predicate, mlir::Value x,
                           mlir::Value y) {
  return mlir::arith::CmpFOp::create(t.b, t.loc, predicate, x, y);
}
inline mlir::Value choose(TileBuilder &t, mlir::Value c, mlir::Value x, mlir::Value y) {
  return mlir::arith::SelectOp::create(t.b, t.loc, c, x, y);
}

} // namespace llmc
