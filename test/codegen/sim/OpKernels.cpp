// See OpKernels.h.
#include "test/codegen/sim/OpKernels.h"
#include "dialect/llm/LlmDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"
#include "passes/Passes.h"

namespace llmc::test {

OpKernels::OpKernels(const std::string &text, const char *arch, int64_t maxTokens, const std::function<void(mlir::ModuleOp)> &mutate) {
  mlir::DialectRegistry registry;
  registerCudaDialects(registry);
  registry.insert<llm::LlmDialect, mlir::func::FuncDialect>();
  mlir::MLIRContext context(registry);
  context.loadAllAvailableDialects();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  mlir::PassManager pm(&context);
  FormKernelsOptions options;
  options.target = "cuda";
  options.maxTokens = maxTokens;
  pm.addPass(createFormKernels(options));
  pm.addPass(mlir::createCanonicalizerPass());
  if (!module || failed(pm.run(*module))) {
    ADD_FAILURE() << "no kernels";
    return;
  }
  for (auto function : llvm::make_early_inc_range(module->getOps<mlir::func::FuncOp>()))
    if (!function->hasAttr("llm.kernel"))
      function.erase();
  CudaOptions simulated;
  simulated.isSimulated = true;
  auto made = compileCudaKernels(*module, llvm::cantFail(CudaArch::parse(arch)), simulated);
  if (made)
    code = std::move(*made);
  else
    ADD_FAILURE() << llvm::toString(made.takeError());
  if (!mutate || !made)
    return;
  const CudaArch known = llvm::cantFail(CudaArch::parse(arch));
  registerCudaTarget();
  mlir::PassManager lower(&context);
  std::string pipeline = "cuda-lower-tiles{before-sim=true warpgroups=" + std::string(known.hasWarpgroups ? "true" : "false") +
                         " shared-bytes=" + std::to_string(known.sharedBytes) + "}";
  EXPECT_TRUE(succeeded(mlir::parsePassPipeline(pipeline, lower)) && succeeded(lower.run(*module)));
  mutate(*module);
  auto bytes = compileForSimulator(*module);
  if (bytes)
    code.bytes = std::move(*bytes);
  else
    ADD_FAILURE() << llvm::toString(bytes.takeError());
}

std::string OpKernels::reportOf(const std::string &kernel, runtime::Dims sizes, std::vector<Argument> arguments,
                                const std::function<void(runtime::KernelLaunch &)> &change) {
  runtime::KernelLaunch l = code.launches[kernel];
  if (change)
    change(l);
  int64_t workgroups = runtime::evaluateGrid(l.grid, sizes).value_or(0);
  if (workgroups == 0) // nothing to launch, as for the runtime
    return "";
  std::vector<char> scratch(l.scratchBytes * size_t(workgroups) + 1);
  for (int64_t &dim : sizes)
    arguments.push_back(scalar(dim));
  arguments.push_back(buffer(scratch));
  arguments.push_back(scalar(workgroups));
  std::vector<cuda::TensorMapBytes> maps;
  addTensorMaps(arguments, l, sizes, maps);
  LaunchShape shape;
  shape.blocks = unsigned(workgroups);
  shape.threads = l.threads;
  shape.sharedBytes = l.sharedBytes;
  return launchKernel(code.bytes, l.symbol, shape, arguments);
}

} // namespace llmc::test
