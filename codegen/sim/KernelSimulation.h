// One kernel on its way from the NVVM dialect to code for a simulated thread: what the parts of
// simulate-threads share. SimulateThreads.cpp holds the pass, memory and special registers, SimulateWarp.cpp
// what a warp does together, SimulateAsync.cpp barriers and asynchronous copies.
#pragma once
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "runtime/sim/SimThread.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/StringMap.h"

namespace llmc {

/// Offsets of the module's shared variables; those of unknown size (dynamic shared memory) start where the
/// others end.
struct SharedLayout {
  llvm::StringMap<int64_t> offsets;
  int64_t staticBytes = 0;
  explicit SharedLayout(mlir::ModuleOp module);
};

class KernelSimulation {
public:
  KernelSimulation(mlir::LLVM::LLVMFuncOp kernel, const SharedLayout &shared);
  mlir::LogicalResult run();

private:
  using Op = mlir::Operation;
  using Value = mlir::Value;

  // Building blocks.
  Value constant(mlir::Type type, int64_t value);
  Value i64(int64_t value) { return constant(b.getI64Type(), value); }
  Value i32(int64_t value) { return constant(b.getI32Type(), value); }
  mlir::Location loc() { return kernel.getLoc(); }
  Value at(Value base, int64_t offset);
  Value member(mlir::Type type, Value base, int64_t offset);
  /// Calls a function of the table for `op`; the result has type `result` unless that is null.
  Value call(sim::Function function, Value what, mlir::ArrayRef<Value> arguments, mlir::Type result = {});
  /// The address of a text that names the instruction.
  Value what(Op *op);
  mlir::LogicalResult replace(Op *op, Value value);
  mlir::LogicalResult erase(Op *op);
  /// The value as a 32-bit word, and back.
  Value toWord(Value value);
  Value fromWord(Value word, mlir::Type type);
  Value insert(Value record, Value value, int64_t place);
  /// The first `count` results of a warp operation, as words.
  mlir::SmallVector<Value> callWarp(Op *op, sim::WarpOp kind, Value mask, mlir::ArrayRef<Value> operands,
                                    unsigned count);

  void changeSignature();
  mlir::LogicalResult rewrite(Op *op);
  mlir::LogicalResult rewriteMemory(Op *op);
  mlir::LogicalResult rewriteRegister(Op *op);
  mlir::LogicalResult rewriteWarp(Op *op);
  mlir::LogicalResult rewriteAsync(Op *op);
  /// Shared and global memory is checked; what the compiler put into the module itself is not.
  bool isChecked(Value address);
  void check(Op *op, sim::Function function, Value address, mlir::Type type);
  void checkAtomic(Op *op, Value address, mlir::Type type, uint32_t order);
  mlir::LogicalResult rewriteMbarrier(Op *op);
  mlir::LogicalResult rewriteBulk(Op *op);
  mlir::LogicalResult rewriteWgmma(Op *op);
  Value frame(mlir::Type element, int64_t count);
  mlir::LogicalResult mbarrier(Op *op, sim::MbarrierOp kind, Value address, Value operand);
  mlir::LogicalResult tensorCopy(Op *op, Value map, Value shared, Value mbarrier, mlir::ValueRange coordinates, Value blocks = {});
  mlir::LogicalResult multiplyWarpgroup(mlir::NVVM::WgmmaMmaAsyncOp op);
  mlir::LogicalResult multiplyWarpgroup(mlir::LLVM::InlineAsmOp op);
  struct WgmmaOperands {
    int64_t n;
    sim::MatrixType type;
    bool isAKMajor, isBKMajor, accumulates, negatesA, negatesB;
    Value descriptorA, descriptorB;
    llvm::SmallVector<Value> a, sums; ///< a: words where it is in registers
  };
  Value callWgmma(Op *op, const WgmmaOperands &operands, mlir::LLVM::LLVMStructType record);
  /// Whether `op` is PTX of a wgmma.
  static bool isWgmma(Op *op) {
    auto text = llvm::dyn_cast<mlir::LLVM::InlineAsmOp>(op);
    return text && text.getAsmString().contains("wgmma.mma_async");
  }
  void settleAccumulator(mlir::LLVM::ExtractValueOp op);
  mlir::LogicalResult barrier(Op *op, Value id, Value threads, sim::BarrierKind kind, Value predicate);
  mlir::LogicalResult shuffle(mlir::NVVM::ShflOp op);
  mlir::LogicalResult multiply(mlir::NVVM::MmaOp op);
  mlir::LogicalResult loadMatrices(mlir::NVVM::LdMatrixOp op);
  mlir::LogicalResult storeMatrices(mlir::NVVM::StMatrixOp op);

  static constexpr unsigned kOperandWords = 16, kResultWords = 4;

  mlir::LLVM::LLVMFuncOp kernel;
  const SharedLayout &shared;
  mlir::OpBuilder b;
  mlir::Type pointer;
  Value thread, functions, sharedBase, operandWords, resultWords;
  llvm::DenseSet<mlir::Type> accumulators; ///< types of the kernel's wgmma results
  llvm::StringMap<unsigned> numbers;       ///< of the ops seen so far, by name
};

} // namespace llmc
