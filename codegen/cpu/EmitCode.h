// The LLVM half of the CPU target: LLVM dialect to object file, object files to a shared object.
#pragma once
#include "codegen/cpu/CpuTarget.h"
#include "llvm/ADT/SmallVector.h"

namespace llvm {
class Module;
class TargetMachine;
} // namespace llvm

namespace llmc {

/// LLVM's O2 for a kernel of any target: no vectorisation (the tile program is vectorised or distributed
/// already) and no calls of library functions (there is nothing to link against).
void optimise(llvm::Module &module, llvm::TargetMachine &machine);

using ObjectFile = llvm::SmallVector<char, 0>;

/// Optimises the LLVM-dialect `module` of kernel `kernel` and emits its object, which exports the functions
/// named `kernel` + suffix for each of `exports`. `aliases` are further names of the kernel.
llvm::Expected<ObjectFile> emitObject(mlir::ModuleOp module, llvm::StringRef kernel,
                                      llvm::ArrayRef<std::string> aliases, const CpuLevel &level,
                                      const CompileOptions &options,
                                      llvm::ArrayRef<llvm::StringRef> exports = {"", ".grid"});

/// Object with the memory functions that LLVM may call.
llvm::Expected<ObjectFile> emitMemoryFunctions(const CpuLevel &level);

/// Links in the given order; equal inputs give equal bytes.
llvm::Expected<std::vector<char>> linkObjects(llvm::ArrayRef<ObjectFile> objects,
                                              const CompileOptions &options);

/// Writes `text` to dumpDir/4-kernel/<kernel>.<level>.<extension>.
llvm::Error dumpKernel(const CompileOptions &options, llvm::StringRef kernel, const CpuLevel &level,
                       llvm::StringRef extension, llvm::StringRef text);

} // namespace llmc
