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

OperandA fragmentOfA(ThreadCode &t, Value accumulators, int64_t k, int64_t first) {
  // Fragments 2 i and 2 i + 1 of 8 columns are 16 k: rows g and g + 8 of the first, then of the second.
  OperandA a;
  for (int64_t i = 0; i < 4; ++i) {
    auto element = [&](int64_t odd) -> Value {
      int64_t at = 4 * (first + k / 8 + i / 2) + 2 * (i % 2) + odd;
      return memref::LoadOp::create(t.b, t.loc, accumulators, t.index(at));
    };
    a.push_back(pack(t, element(0), element(1)));
  }
  return a;
}

Value multiplyWarpgroup(ThreadCode &t, ValueRange a, Value descriptor, Value sums) {
  int64_t count = cast<LLVM::LLVMStructType>(sums.getType()).getBody().size();
  auto list = [](int64_t from, int64_t to) {
    std::string text;
    for (int64_t i = from; i < to; ++i)
      text += (i > from ? ", $" : "$") + std::to_string(i);
    return text;
  };
  int64_t ofA = count, ofB = ofA + a.size();
  // Adds to the sums, with both signs positive, and b's n innermost.
  std::string text = "{\n.reg .pred adds;\nsetp.ne.b32 adds, 1, 0;\nwgmma.mma_async.sync.aligned.m64n" + std::to_string(2 * count) +
                     "k16.f32.bf16.bf16 {" + list(0, count) + "}, {" + list(ofA, ofB) + "}, $" + std::to_string(ofB) +
                     ", adds, 1, 1, 1;\n}";
  std::string constraints;
  SmallVector<Value> operands(a);
  operands.push_back(descriptor);
  for (int64_t i = 0; i < count; ++i)
    constraints += "=f,";
  for (size_t i = 0; i < a.size(); ++i)
    constraints += "r,";
  constraints += "l";
  for (int64_t i = 0; i < count; ++i) {
    constraints += "," + std::to_string(i);
    operands.push_back(LLVM::ExtractValueOp::create(t.b, t.loc, sums, i));
  }
  auto dialect = LLVM::AsmDialectAttr::get(t.b.getContext(), LLVM::AsmDialect::AD_ATT);
  return LLVM::InlineAsmOp::create(t.b, t.loc, TypeRange{sums.getType()}, operands, text, constraints, /*has_side_effects=*/true,
                                   /*is_align_stack=*/false, LLVM::tailcallkind::TailCallKind::None, dialect, ArrayAttr())
      .getRes();
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
