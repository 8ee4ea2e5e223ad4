// The shape that a linalg.generic on memrefs takes in registers.
#pragma once
#include "mlir/Dialect/Linalg/IR/Linalg.h"

namespace llmc {

constexpr int64_t kUnknown = mlir::ShapedType::kDynamic;

/// Lanes and rows of one linalg.generic. `laneDim` is the loop whose iterations share a vector, or -1 for
/// scalars; `rowDim` the parallel loop of which up to `maxRows` iterations are in registers at a time, or -1.
class TileShape {
public:
  TileShape(mlir::linalg::GenericOp op, unsigned vectorBits);

  bool isParallel(unsigned dim) const { return iterators[dim] == mlir::utils::IteratorType::parallel; }
  bool hasReduction() const { return llvm::is_contained(iterators, mlir::utils::IteratorType::reduction); }
  bool isLaneReduction() const { return laneDim >= 0 && !isParallel(laneDim); }
  unsigned numInputs() { return op.getNumDpsInputs(); }
  unsigned numOutputs() { return op.getNumDpsInits(); }

  /// Distance in elements between two neighbours of operand `operand` along loop `dim`; 0 when it does not
  /// move, kUnknown when it cannot be a vector load.
  int64_t stride(unsigned operand, unsigned dim) const;
  /// The op that combines the partial results of output `i`, when the body is such a reduction; else null.
  mlir::Operation *combiner(unsigned i);

  mutable mlir::linalg::GenericOp op;
  unsigned vectorBits;
  mlir::Block *body;
  llvm::SmallVector<mlir::AffineMap> maps;
  llvm::SmallVector<int64_t> ranges; ///< extents of the loops, kUnknown where dynamic
  llvm::SmallVector<mlir::utils::IteratorType> iterators;
  int laneDim = -1, rowDim = -1;
  int64_t maxLanes = 1, maxRows = 1;

private:
  void chooseLaneDim();
  /// Rows share the loads that do not depend on the row, and give independent chains of additions.
  void chooseRowDim();
  /// What lanes along `dim` cost: unit strides are vector loads, no stride is a broadcast, all else is lane
  /// by lane.
  std::optional<int> laneScore(unsigned dim);
  /// Whether every op whose value differs between lanes has a vector form.
  bool bodyFitsLanes(unsigned dim);
};

} // namespace llmc
