// prepare-tiles: everything a tile program computes on tensors becomes linalg.generic; elementwise chains are
// fused.
#include "codegen/cpu/Passes.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"

namespace llmc {
#define GEN_PASS_DEF_PREPARETILES
#include "codegen/cpu/Passes.h.inc"

using namespace mlir;

namespace {

/// Fusion must not repeat work: the producer has one use, every iteration of the consumer reads another
/// element of it, and it reads at most a handful of operands. Contractions keep their operands in memory,
/// where blocking reuses them.
bool shouldFuse(OpOperand *operand) {
  auto producer = operand->get().getDefiningOp<linalg::GenericOp>();
  auto consumer = dyn_cast<linalg::GenericOp>(operand->getOwner());
  if (!producer || !consumer || !producer->hasOneUse() || producer.getNumDpsInits() != 1)
    return false;
  if (producer->getBlock() != consumer->getBlock())
    return false;
  if (producer.getNumParallelLoops() != producer.getNumLoops())
    return false;
  AffineMap map = consumer.getMatchingIndexingMap(operand);
  return map.isPermutation() && consumer.getNumDpsInputs() + producer.getNumDpsInputs() <= 12;
}

struct PrepareTiles : impl::PrepareTilesBase<PrepareTiles> {
  using PrepareTilesBase::PrepareTilesBase;

  void runOnOperation() override {
    RewritePatternSet toGeneric(&getContext());
    linalg::populateLinalgNamedOpsGeneralizationPatterns(toGeneric);
    linalg::populateElementwiseToLinalgConversionPatterns(toGeneric);
    if (failed(applyPatternsGreedily(getOperation(), std::move(toGeneric))))
      return signalPassFailure();
    RewritePatternSet fusion(&getContext());
    linalg::populateElementwiseOpsFusionPatterns(fusion, shouldFuse);
    if (failed(applyPatternsGreedily(getOperation(), std::move(fusion))))
      return signalPassFailure();
  }
};

} // namespace
} // namespace llmc
