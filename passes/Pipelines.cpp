// The story of compilation, one pass a line.
#include "passes/Pipelines.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"
#include "passes/Passes.h"

using namespace mlir;
namespace llmc {

void addGraphStage(OpPassManager &pm, StringRef target) {
  bool isCuda = target == "cuda";
  if (isCuda)
    pm.addPass(createNarrowActivations()); // first: what crosses a dispatch has its stored type from here on
  pm.addPass(createCSEPass()); // equal norms of one value become one
  pm.addNestedPass<func::FuncOp>(
      createFuseLinears());               // before dispatches exist, so that a dispatch has all weights
  pm.addPass(createSpecializePrograms()); // after fusion, so that both forms share the linears' kernels
  FormDispatchesOptions dispatches;
  dispatches.storePrologues = isCuda;
  pm.addNestedPass<func::FuncOp>(createFormDispatches(dispatches));
}

void addChunkStage(OpPassManager &pm, StringRef target, int64_t maxTokens) {
  FormKernelsOptions kernels;
  kernels.target = target.str();
  if (maxTokens)
    kernels.maxTokens = maxTokens;
  pm.addPass(createFormKernels(kernels));
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
}

void addPlanStage(OpPassManager &pm, int64_t maxTokens) {
  pm.addPass(createBuildPlan());
  PlanMemoryOptions memory;
  if (maxTokens)
    memory.maxTokens = maxTokens;
  pm.addPass(createPlanMemory(memory)); // after the plan: lifetimes are those of the flattened program
}

struct StageOptions : PassPipelineOptions<StageOptions> {
  Option<std::string> target{*this, "target", llvm::cl::desc("cpu or cuda"), llvm::cl::init("cpu")};
};

void registerPipelines() {
  static PassPipelineRegistration<StageOptions> graph(
      "llmc-graph-stage", "import to graph",
      [](OpPassManager &pm, const StageOptions &options) { addGraphStage(pm, options.target); });
  static PassPipelineRegistration<StageOptions> chunk(
      "llmc-chunk-stage", "graph to chunk",
      [](OpPassManager &pm, const StageOptions &options) { addChunkStage(pm, options.target); });
  PassPipelineRegistration<>("llmc-plan-stage", "chunk to plan", [](OpPassManager &pm) { addPlanStage(pm); });
}

} // namespace llmc
