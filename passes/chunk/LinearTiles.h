// How kernels with a product share its work out: rows by the block, columns by panels of 32.
#pragma once
#include "passes/chunk/TileEmitter.h"

namespace llmc {

/// Panels per workgroup: few enough workgroups that the row prologue (a norm) is not repeated much, enough of
/// them for many threads, and a weight share (panels x K x 32 values) of at most `bytes`, which stays in a
/// core's second-level cache while row blocks pass over it.
int64_t panelsPerGroup(int64_t panels, int64_t k, int64_t bytes);

/// Rows of `k` columns that share the work on a panel of weights: as many as leave room for the weights in
/// the second-level cache, since each panel passes over all of them.
int64_t rowsPerBlock(const TileBuilder &t, int64_t k);

/// The input of a product for rows `row ..` of a call (`rows` of them, or up to `most` where that is -1), made by `make`. Blocks come out
/// with `most` rows, the last 8 of those that there are filled up with zeros.
mlir::Value makeInput(TileBuilder &t, int64_t rows, int64_t most, int64_t k,
                      llvm::function_ref<mlir::Value(TileBuilder &, mlir::Value offset, int64_t rows)> make);

/// The operand of the dispatch whose columns `x`, the input of a product, is, if it is stored.
mlir::BlockArgument storedInput(mlir::Value x);

/// Columns of a tile: as many panels as the target wants, fewer where the product has fewer or they would not come out even and
/// most of a narrower tile is used.
int64_t panelsPerTile(int64_t panels, int64_t wanted);

} // namespace llmc
