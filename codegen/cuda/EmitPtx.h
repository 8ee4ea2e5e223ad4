// The LLVM half of the CUDA target: NVVM dialect to PTX, PTX to a cubin.
#pragma once
#include "codegen/cuda/CudaTarget.h"

namespace llmc {

/// Optimises the kernel's module in the NVVM dialect and returns its PTX module.
llvm::Expected<std::string> emitPtx(mlir::ModuleOp module, llvm::StringRef kernel, const CudaArch &arch,
                                    const CudaOptions &options);

/// One PTX module from those of all kernels, which have no symbols in common.
std::string joinPtx(llvm::ArrayRef<std::string> modules);

/// What the assembler needed for a kernel.
struct KernelResources {
  unsigned registers = 0, spillBytes = 0;
};

struct Cubin {
  std::vector<char> bytes;
  std::map<std::string, KernelResources> resources; ///< by symbol
  std::vector<std::string> losses;                  ///< what it says it could not make fast
};

/// Runs ptxas. Its complaints are part of the error.
llvm::Expected<Cubin> assemblePtx(llvm::StringRef ptx, const CudaArch &arch, const std::string &ptxas);

} // namespace llmc
