// The CUDA target's own passes, in the order in which they run (CudaTarget.cpp holds the pipeline; prepare-tiles, bufferize-tiles and
// expand-math are shared with the CPU target).
#ifndef LLMC_CODEGEN_CUDA_PASSES
#define LLMC_CODEGEN_CUDA_PASSES

include "mlir/Pass/PassBase.td"

def DistributeTiles : Pass<"distribute-tiles", "mlir::ModuleOp"> {
  let summary = "Spread every linalg.generic over the threads of a block; barriers between dependent ones";
  let description = [{
    The whole body of a workgroup is run by all threads of a block: scalar code redundantly, stores of scalars by thread 0, linalg.generic
    and memref.copy in the forms of Layout.h: products of bf16 operands on tensor cores, what follows them on their accumulators in registers,
    the rest with one thread per output element (neighbouring threads get neighbouring elements), reductions along the contiguous
    dimension with one warp per output element. A `nvvm.barrier0` lies between two accesses to one buffer of which one writes.
  }];
  let options = [
    Option<"maxThreads", "max-threads", "unsigned", "256", "Largest number of threads of a block (a multiple of 32)">,
    Option<"tensorCores", "tensor-cores", "bool", "true", "Run products of bf16 operands on tensor cores">,
    Option<"warpgroups", "warpgroups", "bool", "false", "Run large ones on warpgroups (wgmma), with operands that the copy engine (TMA) brings">,
    Option<"barriers", "barriers", "bool", "true", "Insert barriers; off only to test that their absence is found">
  ];
  let statistics = [Statistic<"numBarriers", "barriers", "Barriers inserted">];
  let dependentDialects = ["mlir::NVVM::NVVMDialect", "mlir::scf::SCFDialect", "mlir::arith::ArithDialect",
                           "mlir::math::MathDialect", "mlir::memref::MemRefDialect", "mlir::affine::AffineDialect"];
}

def LowerBlocks : Pass<"lower-blocks", "mlir::ModuleOp"> {
  let summary = "A kernel's scf.forall to a grid of thread blocks";
  let description = [{
    Kernel K becomes an `nvvm.kernel` function with the parameters of CudaTarget.h, whose blocks walk over the workgroups. Scratch goes
    to shared memory while it fits, the rest to the block's part of a global scratch buffer. What the host must know to launch the kernel is left in
    the attributes llm.threads, llm.shared_bytes, llm.scratch_bytes and llm.grid.
  }];
  let options = [
    Option<"sharedBytes", "shared-bytes", "unsigned", "163840", "Shared memory that a block may use">,
    Option<"declareBuffers", "declare-buffers", "bool", "false", "Tell the simulator the extents of every buffer">
  ];
  let dependentDialects = ["mlir::LLVM::LLVMDialect", "mlir::NVVM::NVVMDialect", "mlir::func::FuncDialect", "mlir::arith::ArithDialect",
                           "mlir::scf::SCFDialect"];
}

def MergeKernels : Pass<"merge-kernels", "mlir::ModuleOp"> {
  let summary = "All kernels of a module as one cooperative kernel that walks over a table of steps";
  let description = [{
    Kernels become functions of one kernel, which reads from a table in device memory what to run on which buffers, prefetches the
    weights of the next step and waits for all blocks between steps. Tests in the table make loops that no host decides. A kernel that needs more
    shared memory than `shared-bytes` is left out, so that the others have room for a second block; `llm.bodies` names those that are in. See MergeKernels.cpp.
  }];
  let options = [
    Option<"name", "name", "std::string", "\"steps\"", "Name of the kernel">,
    Option<"sharedBytes", "shared-bytes", "unsigned", "81920", "Shared memory that a kernel may need to be merged">,
    Option<"bulkPrefetch", "bulk-prefetch", "bool", "false", "Prefetch with cp.async.bulk.prefetch">,
    Option<"barriers", "barriers", "bool", "true", "Wait for all blocks; off only to test that its absence is found">,
    Option<"declareBuffers", "declare-buffers", "bool", "false", "Tell the simulator the extents of the table">
  ];
  let dependentDialects = ["mlir::LLVM::LLVMDialect", "mlir::NVVM::NVVMDialect", "mlir::func::FuncDialect", "mlir::arith::ArithDialect",
                           "mlir::scf::SCFDialect"];
}

def MarkConstants : Pass<"mark-constants", "mlir::ModuleOp"> {
  let summary = "Loads of what is never written become invariant loads";
  let description = "Arguments with llm.constant of functions that merge-kernels made.";
  let statistics = [Statistic<"numMarked", "marked", "Loads marked">];
  let dependentDialects = ["mlir::LLVM::LLVMDialect"];
}

def MarkKernels : Pass<"mark-kernels", "mlir::ModuleOp"> {
  let summary = "llvm.func with llm.threads to nvvm.kernel";
  let description = "Sets nvvm.kernel and nvvm.maxntid; runs when functions are llvm.func, the only op that may carry them.";
  let dependentDialects = ["mlir::LLVM::LLVMDialect", "mlir::NVVM::NVVMDialect"];
}

def OverlapLaunches : Pass<"overlap-launches", "mlir::ModuleOp"> {
  let summary = "Kernels start before the one before them has ended, and wait for it";
  let description = [{
    Programmatic dependent launch: every kernel begins with `griddepcontrol.launch_dependents` and `griddepcontrol.wait`, and llm.waits tells the host
    that it may be launched early. For architectures that have it, under `--overlap-launches`.
  }];
  let dependentDialects = ["mlir::LLVM::LLVMDialect", "mlir::NVVM::NVVMDialect"];
}

def SelectInstructions : Pass<"select-instructions", "mlir::ModuleOp"> {
  let summary = "f32 functions that are one PTX instruction";
  let description = [{
    `arith.maximumf` becomes `max.NaN.f32`, and `math.exp2` that may be approximate (`afn`) `ex2.approx.ftz.f32`. Not for the simulator, which has
    the expansions.
  }];
  let dependentDialects = ["mlir::LLVM::LLVMDialect"];
}

#endif
