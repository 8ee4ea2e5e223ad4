// Statistics of rows with many columns, logits above all, in two kernels: of parts of the columns, and of all parts.
//
//        columns: workgroup p owns W of them              first kernel: the columns are made there if a linear gives them,
//  rows  ┌─────┬─────┬─────┐   ┌─ S numbers a row         reduced to S numbers a row and part, and stored only if somebody
//   M    │  W  │  W  │     │ ─►│  [T, S, parts]           else needs them
//   M    │     │     │ rest│   └─                         second kernel: a row's S x parts numbers, in order
//        └─────┴─────┴─────┘
//
// Parts depend on the columns alone, so that a row's result does not depend on the rows beside it.
#pragma once
#include "passes/chunk/TileEmitter.h"

namespace llmc {

struct ColumnParts {
  mlir::Value columns;         ///< [T, N] of the dispatch body: an operand, or what a linear of the dispatch gives
  int64_t statistics;          ///< S
  int64_t width = 0, parts = 0; ///< W, and how many of them

  static ColumnParts of(mlir::Value columns, int64_t statistics, const Tiles &tiles, bool isStep);
  /// The linear that makes the columns, or null.
  llm::LinearOp linear() const { return columns.getDefiningOp<llm::LinearOp>(); }
  /// [T, S, parts] f32
  mlir::RankedTensorType type() const;
  /// What `emit` gives for as many columns as part number `p` has: W, or of the last one what is left of N.
  llvm::SmallVector<mlir::Value> byWidth(TileBuilder &t, mlir::Value p,
                                         llvm::function_ref<llvm::SmallVector<mlir::Value>(TileBuilder &, int64_t columns)> emit) const;
};

/// The tile of one part: rows `row ..` of the call, columns from `column` on. Of its rows those from `valid` on (null: none) are not there; they hold
/// zeros, and what is made of them is not stored.
struct PartTile {
  mlir::Value values; ///< [rows, columns] f32
  mlir::Value row;
  int64_t rows;
  mlir::Value column;
  mlir::Value valid = {};
  int64_t columns() const { return TileBuilder::shapeOf(values)[1]; }
  mlir::Value count(TileBuilder &t) const { return valid ? valid : t.index(rows); }
};

/// The first kernel. `statistics` gives S vectors [rows] of a tile. With a second destination [T, N] the columns are stored there: those of
/// rows for which `isNeeded` (an i1 of a row's number) says so, and of their neighbours perhaps; null: of all rows.
void emitColumnParts(TileEmitter &e, TileBuilder &t, const ColumnParts &parts,
                     llvm::function_ref<llvm::SmallVector<mlir::Value>(TileBuilder &, const PartTile &)> statistics,
                     llvm::function_ref<mlir::Value(TileBuilder &, mlir::Value row)> isNeeded = {});

/// Vectors [rows] of the types `types`, of which `body` gives the elements that belong to a row of the call.
llvm::SmallVector<mlir::Value> perRow(TileBuilder &t, const PartTile &tile, mlir::TypeRange types,
                                      llvm::function_ref<llvm::SmallVector<mlir::Value>(TileBuilder &, mlir::Value row)> body);
/// Whether `body` is true of any of the tile's rows, i1.
mlir::Value anyRow(TileBuilder &t, const PartTile &tile, llvm::function_ref<mlir::Value(TileBuilder &, mlir::Value row)> body);

/// Minus the first column at which a row of `values` has its `best` [rows], as a number: the largest of such numbers is the lowest column.
/// `init` is a vector of `kNoColumn`, whose memory the result takes.
mlir::Value minusColumn(TileBuilder &t, const PartTile &tile, mlir::Value values, mlir::Value best, mlir::Value init);
constexpr double kNoColumn = -0x1p25; ///< columns are exact in f32 up to 2^24

/// The numbers of all parts for a row of the call, [1, parts].
mlir::Value partsOfRow(TileBuilder &t, mlir::Value parts, mlir::Value row, int64_t statistic);
/// The largest number of a tile [1, n], and the sum.
mlir::Value largestOf(TileBuilder &t, mlir::Value tile);
mlir::Value sumOf(TileBuilder &t, mlir::Value tile);
/// The largest of `values` over the parts in which `best` is `of`.
mlir::Value largestWhere(TileBuilder &t, mlir::Value values, mlir::Value best, mlir::Value of);

// The ops that work like this: their parts, the first kernel, the second one given those numbers. What the second kernel reads of the columns
// themselves is the emitter's argument for them.
ColumnParts argmaxParts(llm::ArgmaxOp op, const Tiles &tiles, bool isStep);
void emitArgmaxParts(TileEmitter &e, TileBuilder &t, llm::ArgmaxOp op);
void emitJoinArgmax(TileEmitter &e, TileBuilder &t, llm::ArgmaxOp op, mlir::Value parts);
ColumnParts predictParts(llm::PredictOp op, const Tiles &tiles, bool isStep);
void emitPredictParts(TileEmitter &e, TileBuilder &t, llm::PredictOp op);
void emitJoinPredict(TileEmitter &e, TileBuilder &t, llm::PredictOp op, mlir::Value parts);
ColumnParts statisticsParts(llm::LogitStatisticsOp op, const Tiles &tiles, bool isStep);
void emitStatisticsParts(TileEmitter &e, TileBuilder &t, llm::LogitStatisticsOp op);
void emitJoinStatistics(TileEmitter &e, TileBuilder &t, llm::LogitStatisticsOp op, mlir::Value parts);

} // namespace llmc
