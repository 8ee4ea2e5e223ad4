// The story of compilation, one pass a line.
#include "passes/Pipelines.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"
#include "passes/Passes.h"

using namespace mlir;
namespace llmc {

void addGraphStage(OpPassManager &pm) {
  pm.addPass(createCSEPass()); // equal norms of one value become one
  pm.addNestedPass<func::FuncOp>(
      createFuseLinears());               // before dispatches exist, so that a dispatch has all weights
  pm.addPass(createSpecializePrograms()); // after fusion, so that both forms share the linears' kernels
  pm.addNestedPass<func::FuncOp>(createFormDispatches());
}

void addChunkStage(OpPassManager &pm) {
  pm.addPass(createFormKernels());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
}

void addPlanStage(OpPassManager &pm) {
  pm.addPass(createBuildPlan());
  pm.addPass(createPlanMemory()); // after the plan: lifetimes are those of the flattened program
}

void registerPipelines() {
  PassPipelineRegistration<>("llmc-graph-stage", "import to graph", addGraphStage);
  PassPipelineRegistration<>("llmc-chunk-stage", "graph to chunk", addChunkStage);
  PassPipelineRegistration<>("llmc-plan-stage", "chunk to plan", addPlanStage);
}

} // namespace llmc
