// The kernel that tests a loop's condition in a CUDA graph (runtime/Plan.h, kLoopTestTarget). It is written out because it is no work of a
// model: one thread looks at the flags, which are few, and tells the graph's loop whether it goes on.
#include "codegen/cuda/LoopTest.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Parser/Parser.h"

namespace llmc {

using namespace mlir;

static constexpr StringLiteral kText = R"mlir(
  func.func private @cudaGraphSetConditional(i64, i32)
  func.func @llmc_loop_test(%handle: i64, %flags: !llvm.ptr, %sequences: i64, %trips: !llvm.ptr, %most: i64, %isFirst: i64) attributes {
      llm.threads = 32 : i64, llm.shared_bytes = 0 : i64, llm.scratch_bytes = 0 : i64, llm.grid = array<i64: 0, 1>, llm.tensor_maps = []} {
    %zero = arith.constant 0 : i64
    %one = arith.constant 1 : i64
    %no = arith.constant 0 : i32
    %false = arith.constant false
    %lane = nvvm.read.ptx.sreg.laneid : i32
    %isLeader = arith.cmpi eq, %lane, %no : i32
    scf.if %isLeader {
      %any = scf.for %s = %zero to %sequences step %one iter_args(%found = %false) -> (i1) : i64 {
        %place = llvm.getelementptr %flags[%s] : (!llvm.ptr, i64) -> !llvm.ptr, i32
        %flag = llvm.load %place : !llvm.ptr -> i32
        %isSet = arith.cmpi ne, %flag, %no : i32
        %all = arith.ori %found, %isSet : i1
        scf.yield %all : i1
      }
      %first = arith.cmpi ne, %isFirst, %zero : i64
      %before = llvm.load %trips : !llvm.ptr -> i64
      %next = arith.addi %before, %one : i64
      %done = arith.select %first, %zero, %next : i64
      llvm.store %done, %trips : i64, !llvm.ptr
      %isLeft = arith.cmpi ult, %done, %most : i64
      %goesOn = arith.andi %any, %isLeft : i1
      %value = arith.extui %goesOn : i1 to i32
      func.call @cudaGraphSetConditional(%handle, %value) : (i64, i32) -> ()
    }
    return
  }
)mlir";

OwningOpRef<ModuleOp> makeLoopTest(MLIRContext *context) {
  context->loadDialect<arith::ArithDialect, func::FuncDialect, LLVM::LLVMDialect, NVVM::NVVMDialect, scf::SCFDialect>();
  return parseSourceString<ModuleOp>(kText, context);
}

} // namespace llmc
