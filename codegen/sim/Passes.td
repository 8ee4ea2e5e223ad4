// The simulator's pass.
#ifndef LLMC_CODEGEN_SIM_PASSES
#define LLMC_CODEGEN_SIM_PASSES

include "mlir/Pass/PassBase.td"

def SimulateThreads : Pass<"simulate-threads", "mlir::ModuleOp"> {
  let summary = "NVVM kernels to functions that one simulated thread runs";
  let description = [{
    Every `nvvm.kernel` function becomes `K(thread, parameters)` with the parameters as cuLaunchKernel takes them. Special registers are loads from the
    thread's record (runtime/sim/SimThread.h); barriers, shuffles and votes, and a check before every load and store, are calls through its table of functions, so that the
    object has no undefined symbols. Shared memory becomes a part of the block's buffer; there is one address space.
  }];
  let dependentDialects = ["mlir::LLVM::LLVMDialect", "mlir::NVVM::NVVMDialect"];
}

#endif
