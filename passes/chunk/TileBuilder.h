// Words in which tile programs are written: loads and stores of static tiles, elementwise maps, contractions,
// reductions, loops. Every method emits upstream ops and returns the new value. Tiles are tensors of static
// shape, but for the rows of a tile at the end of a call: a size of -1 stands for "the rows that there are"
// (withRows), which is a minimum with a constant, so that scratch is bounded.
#pragma once
#include "passes/Passes.h"
#include "passes/chunk/Tiles.h"

namespace llmc {

class TileBuilder {
public:
  using Value = mlir::Value;
  using Body = llvm::function_ref<Value(TileBuilder &, mlir::ValueRange)>;

  TileBuilder(mlir::OpBuilder &b, mlir::Location loc, const Tiles &tiles = {}) : b(b), loc(loc), tiles(tiles) {}
  mlir::OpBuilder &b;
  mlir::Location loc;
  Tiles tiles; ///< what the target wants

  /// The same builder for tiles of `count` rows (an index value), a minimum with `most` where that is given.
  TileBuilder withRows(Value count, int64_t most = 0) const {
    TileBuilder t = *this;
    t.rowCount = count;
    t.rowLimit = most;
    return t;
  }
  Value rows() const { return rowCount; }       ///< what -1 stands for
  int64_t mostRows() const { return rowLimit; } ///< what it cannot exceed; 0: not told
  /// The same builder inside a region.
  TileBuilder inside(mlir::OpBuilder &nested, mlir::Location l) const {
    TileBuilder t(nested, l, tiles);
    t.rowCount = rowCount;
    t.rowLimit = rowLimit;
    return t;
  }

  // Index and scalar arithmetic.
  Value index(int64_t i);
  Value add(Value x, Value y);
  Value add(Value x, int64_t y) { return y ? add(x, index(y)) : x; }
  Value sub(Value x, Value y);
  Value mul(Value x, int64_t y);
  Value mul(Value x, Value y);
  Value floorDiv(Value x, int64_t y);
  Value ceilDiv(Value x, int64_t y);
  Value mod(Value x, int64_t y);
  Value min(Value x, Value y);
  Value max(Value x, Value y);
  Value less(Value x, Value y); ///< signed x < y on indices
  Value f32(double v);
  Value i32(int64_t v);
  Value toIndex(Value i); ///< any integer to index
  Value toF32(Value v);   ///< stored float to f32
  // Scalar floats (used in bodies of maps).
  Value addf(Value x, Value y);
  Value subf(Value x, Value y);
  Value mulf(Value x, Value y);
  Value divf(Value x, Value y);
  Value exp(Value x);
  /// 2^x to a few ulp, powers that are not normal numbers perhaps as 0: an instruction where the target has one.
  Value roughExp2(Value x);
  Value fma(Value x, Value y, Value z); ///< x y + z, rounded once
  Value maxf(Value x, Value y);

  // Tiles.
  Value dim(Value tensor, int64_t i);
  Value empty(llvm::ArrayRef<int64_t> shape, mlir::Type element = {});
  Value full(llvm::ArrayRef<int64_t> shape, double value);
  /// The box of `sizes` (static; -1 takes the next of `dynamic`) at `offsets`, unit dimensions dropped to
  /// reach `shape`.
  Value load(Value tensor, llvm::ArrayRef<Value> offsets, llvm::ArrayRef<int64_t> sizes,
             llvm::ArrayRef<int64_t> shape, mlir::ValueRange dynamic = {});
  /// `tile` written into `tensor` at `offsets`.
  Value store(Value tile, Value tensor, llvm::ArrayRef<Value> offsets, llvm::ArrayRef<int64_t> sizes,
              mlir::ValueRange dynamic = {});
  Value extract(Value tensor, mlir::ValueRange indices);
  Value insert(Value scalar, Value tensor, mlir::ValueRange indices);
  Value cast(Value tile, mlir::Type element); ///< the tile with its elements rounded to or widened from a stored type

  /// out[d...] = body(inputs...) for every element of `shape`. Each input is a scalar, or a tile whose
  /// dimensions are those of `shape` given by `dims[i]` (empty list of lists: all inputs have the shape
  /// itself). Stored floats reach the body as f32.
  Value map(llvm::ArrayRef<int64_t> shape, mlir::ValueRange inputs,
            llvm::ArrayRef<llvm::SmallVector<int64_t>> dims, Body body, Value into = {});
  Value map(mlir::ValueRange inputs, Body body); ///< all of the first one's shape
  /// acc[m, n] + sum_k a * b; `a` is [m, k] or [k, m] (aTransposed), `b` [k, n], [n, k] (bTransposed), or panels [p, k, 32] of
  /// columns n = 32 p + j. Where the target multiplies narrow numbers, a computed tile is rounded to the type of the stored one.
  Value contract(Value a, Value b, Value acc, bool aTransposed = false, bool bTransposed = false);
  /// A computed tile as `contract` takes it beside a tile of `stored` elements.
  Value productOperand(Value a, mlir::Type stored) {
    return tiles.narrowProducts && stored.isBF16() ? cast(a, stored) : a;
  }
  /// sum or maximum over the last dimension, starting from `init` (a tile of the remaining shape).
  Value reduce(Value tile, Value init, bool maximum = false);
  /// init[m] + sum_n a[m, n] x[n]
  Value timesVector(Value a, Value x, Value init);
  Value transpose(Value tile); ///< [m, n] to [n, m]
  Value transposeInto(Value tile, Value into); ///< the same written over `into`, going through the tile in its own order
  /// A tile [m, n] of iota along n plus `start` compared below: see users. Elements are index values as i32.
  Value
  mapWithColumn(llvm::ArrayRef<int64_t> shape, mlir::ValueRange inputs,
                llvm::ArrayRef<llvm::SmallVector<int64_t>> dims,
                llvm::function_ref<Value(TileBuilder &, mlir::ValueRange, Value row, Value column)> body, Value into = {});

  // Control flow.
  using LoopBody =
      llvm::function_ref<llvm::SmallVector<Value>(TileBuilder &, Value i, mlir::ValueRange carried)>;
  llvm::SmallVector<Value> loop(Value from, Value to, int64_t step, mlir::ValueRange init, LoopBody body);
  using Branch = llvm::function_ref<llvm::SmallVector<Value>(TileBuilder &)>;
  llvm::SmallVector<Value> select(Value condition, Branch yes, Branch no);

  static llvm::ArrayRef<int64_t> shapeOf(Value v) {
    return llvm::cast<mlir::RankedTensorType>(v.getType()).getShape();
  }
  static mlir::Type elementOf(Value v) {
    return llvm::cast<mlir::RankedTensorType>(v.getType()).getElementType();
  }

private:
  Value rowCount; ///< what -1 stands for
  int64_t rowLimit = 0;
  llvm::SmallVector<mlir::OpFoldResult> mixed(llvm::ArrayRef<Value> values);
  llvm::SmallVector<mlir::OpFoldResult> mixed(llvm::ArrayRef<int64_t> sizes, mlir::ValueRange dynamic);
};

} // namespace llmc
