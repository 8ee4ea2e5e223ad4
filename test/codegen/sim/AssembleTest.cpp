// The kernels that the simulator is tested with are legal for the hardware: each goes through LLVM's NVPTX
// back end and ptxas for the architecture that its first line names.
#include "codegen/cuda/EmitPtx.h"
#include "mlir/Conversion/NVVMToLLVM/NVVMToLLVM.h"
#include "mlir/Conversion/ReconcileUnrealizedCasts/ReconcileUnrealizedCasts.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"
#include "test/codegen/sim/Simulation.h"
#include <filesystem>

namespace llmc::test {
namespace {

TEST(SimulatedKernels, AreLegalPtx) {
  std::string ptxas = findPtxas("");
  if (ptxas.empty())
    GTEST_SKIP() << "no ptxas";
  unsigned count = 0;
  for (const auto &entry : std::filesystem::directory_iterator(LLMC_SIM_INPUTS)) {
    if (!entry.is_regular_file())
      continue; // tile programs, which the target lowers first
    std::string name = entry.path().stem().string(), text = readKernel(name);
    constexpr llvm::StringRef kPrefix = "// arch: ";
    ASSERT_TRUE(llvm::StringRef(text).starts_with(kPrefix)) << name;
    auto arch = CudaArch::parse(llvm::StringRef(text).drop_front(kPrefix.size()).split('\n').first);
    ASSERT_TRUE(bool(arch)) << name;
    mlir::MLIRContext context;
    auto module = parseKernels(text, context);
    ASSERT_TRUE(module) << name;
    mlir::PassManager pm(&context);
    pm.addPass(mlir::createConvertNVVMToLLVMPass());
    pm.addPass(mlir::createReconcileUnrealizedCastsPass());
    ASSERT_TRUE(mlir::succeeded(pm.run(*module))) << name;
    auto ptx = emitPtx(*module, name, *arch, {});
    ASSERT_TRUE(bool(ptx)) << name << ": " << llvm::toString(ptx.takeError());
    auto cubin = assemblePtx(*ptx, *arch, ptxas);
    EXPECT_TRUE(bool(cubin)) << name << ": " << llvm::toString(cubin.takeError());
    ++count;
  }
  EXPECT_GT(count, 0u);
}

/// The function that it calls is the driver's: the kernel stays PTX, which has only to be legal.
TEST(LoopTest, LeavesTheConditionToTheDriver) {
  std::string ptxas = findPtxas("");
  for (const char *name : {"sm_80", "sm_90a"}) {
    mlir::MLIRContext context;
    mlir::OwningOpRef<mlir::ModuleOp> nothing = mlir::ModuleOp::create(mlir::UnknownLoc::get(&context));
    CudaOptions options;
    options.hasLoops = true;
    CudaArch arch = *CudaArch::parse(name);
    auto code = compileCudaKernels(*nothing, arch, options);
    ASSERT_TRUE(bool(code)) << llvm::toString(code.takeError());
    EXPECT_EQ(code->loopTestLaunch.symbol, "llmc_loop_test");
    ASSERT_FALSE(code->loopTest.empty());
    llvm::StringRef text(code->loopTest.data(), code->loopTest.size() - 1);
    EXPECT_TRUE(text.contains(".extern .func cudaGraphSetConditional")) << text.str();
    EXPECT_TRUE(text.contains("call.uni cudaGraphSetConditional")) << text.str();
    if (ptxas.empty())
      continue;
    auto cubin = assemblePtx(text, arch, ptxas);
    ASSERT_TRUE(bool(cubin)) << llvm::toString(cubin.takeError());
    EXPECT_EQ(cubin->resources["llmc_loop_test"].spillBytes, 0u);
  }
}

} // namespace
} // namespace llmc::test
