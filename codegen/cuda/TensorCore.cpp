// See TensorCore.h.
#include "codegen/cuda/TensorCore.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
namespace llmc {

SmallVector<Value> loadMatrices(ThreadCode &t, Value address, int64_t count, bool isTransposed) {
  MLIRContext *context = t.b.getContext();
  Type type = LLVM::LLVMStructType::getLiteral(context, SmallVector<Type>(count, t.b.getI32Type()));
  // The dialect's word for .trans is a column layout.
  Value all = NVVM::LdMatrixOp::create(t.b, t.loc, type, address, count,
                                       isTransposed ? NVVM::MMALayout::col : NVVM::MMALayout::row,
                                       NVVM::LdStMatrixShapeAttr::get(context, 8, 8), NVVM::LdStMatrixEltType::B16);
  SmallVector<Value> result;
  for (int64_t i = 0; i < count; ++i)
    result.push_back(LLVM::ExtractValueOp::create(t.b, t.loc, all, i));
  return result;
}

SmallVector<Value> multiplyAdd(ThreadCode &t, ValueRange a, ValueRange b, ValueRange sums) {
  Type type = LLVM::LLVMStructType::getLiteral(t.b.getContext(), SmallVector<Type>(4, t.b.getF32Type()));
  Value all = NVVM::MmaOp::create(t.b, t.loc, type, a, b, sums, ArrayRef<int64_t>{16, 8, 16}, std::nullopt, std::nullopt,
                                  std::array{NVVM::MMATypes::bf16, NVVM::MMATypes::bf16},
                                  std::array{NVVM::MMALayout::row, NVVM::MMALayout::col});
  SmallVector<Value> result;
  for (int64_t i = 0; i < 4; ++i)
    result.push_back(LLVM::ExtractValueOp::create(t.b, t.loc, all, i));
  return result;
}

Value pack(ThreadCode &t, Value low, Value high) {
  // As integers: a processor without bf16 (the simulator's) would take a bf16 in a vector for a float to be rounded.
  Type half = t.b.getI16Type();
  Value pair = LLVM::UndefOp::create(t.b, t.loc, VectorType::get({2}, half));
  for (auto [i, v] : {std::pair(0, low), std::pair(1, high)})
    pair = LLVM::InsertElementOp::create(t.b, t.loc, pair, LLVM::BitcastOp::create(t.b, t.loc, half, v), t.i32(i));
  return LLVM::BitcastOp::create(t.b, t.loc, t.b.getI32Type(), pair);
}

void copyAsync(ThreadCode &t, Value to, Value from, int64_t elements, Value isInside) {
  uint32_t bytes = elements * 2;
  Value wanted = isInside ? arith::SelectOp::create(t.b, t.loc, isInside, t.i32(bytes), t.i32(0)).getResult() : Value();
  // Past the first-level cache where the instruction can: it is read once by the block.
  NVVM::CpAsyncOp::create(t.b, t.loc, to, from, bytes,
                          bytes == 16 ? NVVM::LoadCacheModifierKind::CG : NVVM::LoadCacheModifierKind::CA, wanted);
}

void commitCopies(ThreadCode &t) { NVVM::CpAsyncCommitGroupOp::create(t.b, t.loc); }
void waitForCopies(ThreadCode &t, int64_t pending) { NVVM::CpAsyncWaitGroupOp::create(t.b, t.loc, pending); }

} // namespace llmc
