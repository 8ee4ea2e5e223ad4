// The CUDA target: tile programs in, one code object per GPU architecture out: a cubin where ptxas is at
// hand, else PTX text, or host code for the simulator. A kernel K with buffers a0, a1, ... has the parameters
//
//   K(ptr a0, ptr a1, ..., i64 T, i64 S, i64 SLOTS, i64 CTX, i64 CTXB, ptr scratch, i64 workgroups, tensor maps ...)
//
// a0, ... are dense and row-major, a written one overlaps no other. `scratch` holds gridDim.x * scratchBytes
// bytes of this launch's own; `workgroups` is the value of the launch's grid program. Any gridDim.x up to
// `workgroups` is right, of a kernel of clusters (two blocks: its code says so, and `workgroups` is even) any even one: blocks walk over
// the workgroups. Tensor maps (128 bytes at a multiple of 64, by value) are those that the launch lists.
#pragma once
#include "mlir/IR/BuiltinOps.h"
#include "runtime/Plan.h"
#include "llvm/Support/Error.h"
#include <map>
#include <string>
#include <vector>

namespace llmc {

/// A GPU architecture. Ask these, never compare names elsewhere.
struct CudaArch {
  std::string name;     ///< "sm_80", "sm_90a": LLVM's and ptxas' name
  std::string features; ///< LLVM feature string: the oldest PTX version with what we use
  unsigned sharedBytes; ///< shared memory that a block may have
  bool hasOverlap = false;    ///< programmatic dependent launch
  bool hasWarpgroups = false; ///< wgmma, the copy engine (TMA) and mbarriers that count its bytes

  /// The architecture called `name`; an error names those that there are.
  static llvm::Expected<CudaArch> parse(llvm::StringRef name);
};

struct CudaOptions {
  /// Where to write 4-kernel/<kernel>.<arch>.{mlir,ll,ptx}; nothing is written when empty.
  std::string dumpDir;
  /// The assembler: a path, "" to look on PATH and in /usr/local/cuda, "none" to store PTX.
  std::string ptxas;
  /// Host code for the simulator instead of PTX.
  bool isSimulated = false;
  /// Kernels start before the one before them has ended where the architecture has it (OverlapLaunches.cpp).
  bool overlapsLaunches = false;
  /// Kernels that are merged into one cooperative kernel as well (MergeKernels.cpp), and what is known of their parameters. One that needs
  /// much more shared memory than the others stays outside.
  struct Merged {
    std::vector<unsigned> constants; ///< weights, which nobody writes
    std::vector<unsigned> whole;     ///< of them those of which every launch reads all
  };
  std::map<std::string, Merged> merged;
  /// Adds the kernel that tests the loops of programs (LoopTest.cpp).
  bool hasLoops = false;
  /// False only to test that the simulator finds the races of kernels without barriers.
  bool hasBarriers = true, hasGridBarriers = true;
};

struct CudaCode {
  std::string arch;
  std::vector<char> bytes;                               ///< PTX ends with a NUL
  std::map<std::string, runtime::KernelLaunch> launches; ///< by kernel
  std::optional<runtime::KernelLaunch> merged;           ///< the kernel that CudaOptions::merged asks for
  std::vector<char> loopTest;                            ///< CudaOptions::hasLoops' kernel, a code object of its own, never assembled
  runtime::KernelLaunch loopTestLaunch;
};

/// Compiles every `llm.kernel` function of `tilePrograms` for `arch`; errors as compileKernels'.
llvm::Expected<CudaCode> compileCudaKernels(mlir::ModuleOp tilePrograms, const CudaArch &arch,
                                            const CudaOptions &options = {});

/// Compiles one module of kernels in the NVVM dialect to host code for the simulator, as compileCudaKernels
/// does in the end; for tests of the simulator.
llvm::Expected<std::vector<char>> compileForSimulator(mlir::ModuleOp kernels);

/// Dialects and external models that compileCudaKernels needs.
void registerCudaDialects(mlir::DialectRegistry &registry);

/// For llmc-opt: the passes and the pipeline `cuda-lower-tiles` (everything up to the NVVM dialect; with
/// sim=true on to host code).
void registerCudaTarget();

/// The assembler that CudaOptions::ptxas names; empty when there is none.
std::string findPtxas(const std::string &asked);

} // namespace llmc
