// The CPU target: tile programs in, one ELF shared object per CPU level out. The ABI of the object:
//
//   void    K(void *const *buffers, const int64_t *dims, int64_t workgroup);
//   int64_t K.grid(const int64_t *dims);
//
// buffers[i] is argument i of kernel K (64-byte aligned, dense, row-major); a written buffer overlaps no
// other one. dims = {T, S, SLOTS, CTX, CTXB}. The object has no undefined symbols, constructors or
// relocations that need symbols.
#pragma once
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"
#include <string>
#include <vector>

namespace llmc {

/// A set of instructions that an object may use.
struct CpuLevel {
  std::string name;     ///< "x86-64-v3", "x86-64-v4" or "native"
  std::string cpu;      ///< LLVM's name of the processor
  std::string features; ///< LLVM feature string beyond `cpu`, may be empty
  unsigned vectorBits;  ///< 256 or 512

  /// The level called `name`; "native" asks this machine. An error names the levels that there are.
  static llvm::Expected<CpuLevel> parse(llvm::StringRef name);
  /// Whether the machine that the compiler runs on can execute code of this level.
  bool runsHere() const;
};

struct CompileOptions {
  /// Where to write 4-kernel/<kernel>.<level>.{mlir,ll,s}; nothing is written when empty.
  std::string dumpDir;
  /// The linker; found in LLVM's tools directory or on PATH when empty.
  std::string linker;
};

struct CodeObject {
  std::string target;    ///< the level's name
  std::vector<char> elf; ///< a complete ET_DYN image
};

/// Compiles every `llm.kernel` function of `tilePrograms` for `level`. Kernels with equal bodies are compiled
/// once and get one symbol each. The module is not changed; its context's threads are used. What is wrong
/// with a kernel is reported as MLIR diagnostics; the error says which kernel and stage failed.
llvm::Expected<CodeObject> compileKernels(mlir::ModuleOp tilePrograms, const CpuLevel &level,
                                          const CompileOptions &options = {});

/// Dialects and external models that compileKernels needs in the module's context.
void registerCpuDialects(mlir::DialectRegistry &registry);

/// For llmc-opt: registers the passes of Passes.td and the pipeline `cpu-lower-tiles` (everything up to the
/// LLVM dialect).
void registerCpuTarget();

} // namespace llmc
