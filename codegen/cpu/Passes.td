// The CPU target's passes, in the order in which they run (CpuTarget.cpp holds the pipeline).
#ifndef LLMC_CODEGEN_CPU_PASSES
#define LLMC_CODEGEN_CPU_PASSES

include "mlir/Pass/PassBase.td"

def PrepareTiles : Pass<"prepare-tiles", "mlir::ModuleOp"> {
  let summary = "Bring a tile program to linalg.generic and fuse its elementwise chains";
  let description = [{
    Generalizes named linalg ops, turns elementwise arith and math on tensors into linalg.generic, and fuses an
    elementwise producer with one use into the generic that reads it through a permutation, so that nothing is computed twice.
  }];
  let dependentDialects = ["mlir::linalg::LinalgDialect", "mlir::tensor::TensorDialect", "mlir::arith::ArithDialect"];
}

def BufferizeTiles : Pass<"bufferize-tiles", "mlir::ModuleOp"> {
  let summary = "Bufferize tile programs in place; scratch buffers become entry allocas";
  let description = [{
    One-shot bufferization with identity layouts at the function boundary. Only arguments marked `llm.written` may be
    written. Buffers that loops exchange get a fixed home, every remaining allocation becomes a 64-byte aligned alloca in
    the entry block, and results, which must be the written arguments, disappear. A copy of a whole written argument or a
    scratch buffer of dynamic shape is an error that names the kernel and the shape.
  }];
  let options = [
    Option<"accumulatorRows", "accumulator-rows", "int64_t", "0",
           "Products of more rows add up in scratch, not where the result goes: it is to be registers (0: wherever)">
  ];
  let dependentDialects = ["mlir::bufferization::BufferizationDialect", "mlir::memref::MemRefDialect",
                           "mlir::linalg::LinalgDialect", "mlir::scf::SCFDialect"];
}

def VectorizeTiles : Pass<"vectorize-tiles", "mlir::ModuleOp"> {
  let summary = "linalg.generic on memrefs to register-blocked loops over vectors";
  let description = [{
    One dimension becomes vector lanes, another one a block of rows for reductions; accumulators live in registers across
    the reduction loops. VectorizeTiles.cpp says how the dimensions are chosen and which order of summation results.
  }];
  let options = [
    Option<"vectorBits", "vector-bits", "unsigned", "512", "Width of a vector register in bits (256 or 512)">
  ];
  let dependentDialects = ["mlir::vector::VectorDialect", "mlir::memref::MemRefDialect", "mlir::scf::SCFDialect",
                           "mlir::math::MathDialect", "mlir::arith::ArithDialect", "mlir::affine::AffineDialect"];
}

def LowerWorkgroups : Pass<"lower-workgroups", "mlir::ModuleOp"> {
  let summary = "A kernel's scf.forall to its entry and grid functions";
  let description = [{
    Kernel K becomes `K(buffers, dims, workgroup)`, `K.grid(dims)` and the private `K.body` that the entry calls with one
    pointer per argument. The workgroup number is delinearised row-major over the bounds of the forall.
  }];
  let dependentDialects = ["mlir::LLVM::LLVMDialect", "mlir::func::FuncDialect", "mlir::arith::ArithDialect"];
}

def ExpandMath : Pass<"expand-math", "mlir::ModuleOp"> {
  let summary = "Transcendental functions to polynomials, without libm";
  let description = [{
    f32 exp, exp2 and tanh are computed in f32; every other f32 function is computed in f64 and rounded. Scalars and vectors of one
    function go through the same operations, so a value does not depend on the lane it is computed in. Arithmetic on bf16 goes through f32.
  }];
  let dependentDialects = ["mlir::arith::ArithDialect", "mlir::math::MathDialect", "mlir::vector::VectorDialect"];
}

#endif
