// What a warp does together, of simulate-threads: operands go through arrays of words to the simulator.
#include "codegen/sim/KernelSimulation.h"
#include "llvm/ADT/TypeSwitch.h"

namespace llmc {

using namespace mlir;

// NVVM's kinds are passed through as numbers.
static_assert(uint32_t(NVVM::ShflKind::bfly) == uint32_t(sim::ShuffleKind::bfly) &&
              uint32_t(NVVM::ShflKind::up) == uint32_t(sim::ShuffleKind::up) &&
              uint32_t(NVVM::ShflKind::down) == uint32_t(sim::ShuffleKind::down) &&
              uint32_t(NVVM::ShflKind::idx) == uint32_t(sim::ShuffleKind::idx));
static_assert(uint32_t(NVVM::VoteSyncKind::any) == uint32_t(sim::VoteKind::any) &&
              uint32_t(NVVM::VoteSyncKind::all) == uint32_t(sim::VoteKind::all) &&
              uint32_t(NVVM::VoteSyncKind::ballot) == uint32_t(sim::VoteKind::ballot) &&
              uint32_t(NVVM::VoteSyncKind::uni) == uint32_t(sim::VoteKind::uni));
static_assert(uint32_t(NVVM::ReduxKind::ADD) == uint32_t(sim::ReduxKind::add) &&
              uint32_t(NVVM::ReduxKind::AND) == uint32_t(sim::ReduxKind::bitAnd) &&
              uint32_t(NVVM::ReduxKind::MAX) == uint32_t(sim::ReduxKind::max) &&
              uint32_t(NVVM::ReduxKind::MIN) == uint32_t(sim::ReduxKind::min) &&
              uint32_t(NVVM::ReduxKind::OR) == uint32_t(sim::ReduxKind::bitOr) &&
              uint32_t(NVVM::ReduxKind::UMAX) == uint32_t(sim::ReduxKind::umax) &&
              uint32_t(NVVM::ReduxKind::UMIN) == uint32_t(sim::ReduxKind::umin) &&
              uint32_t(NVVM::ReduxKind::XOR) == uint32_t(sim::ReduxKind::bitXor));

Value KernelSimulation::toWord(Value value) {
  Type type = value.getType();
  if (type.isInteger(32))
    return value;
  if (type.isInteger(1))
    return LLVM::ZExtOp::create(b, loc(), b.getI32Type(), value);
  return LLVM::BitcastOp::create(b, loc(), b.getI32Type(), value);
}

Value KernelSimulation::fromWord(Value word, Type type) {
  if (type.isInteger(32))
    return word;
  if (type.isInteger(1))
    return LLVM::ICmpOp::create(b, loc(), LLVM::ICmpPredicate::ne, word, i32(0));
  return LLVM::BitcastOp::create(b, loc(), type, word);
}

Value KernelSimulation::insert(Value record, Value value, int64_t place) {
  return LLVM::InsertValueOp::create(b, loc(), record, value, ArrayRef<int64_t>(place));
}

SmallVector<Value> KernelSimulation::callWarp(Operation *op, sim::WarpOp kind, Value mask,
                                              ArrayRef<Value> operands, unsigned count) {
  assert(operands.size() <= kOperandWords && count <= kResultWords);
  int64_t offset = 0;
  for (Value operand : operands) {
    bool isAddress = isa<LLVM::LLVMPointerType>(operand.getType());
    LLVM::StoreOp::create(b, loc(), isAddress ? operand : toWord(operand), at(operandWords, offset));
    offset += isAddress ? 8 : 4;
  }
  call(sim::Function::warp, what(op), {i32(int64_t(kind)), mask, operandWords, resultWords});
  SmallVector<Value> results;
  for (unsigned i = 0; i < count; ++i)
    results.push_back(member(b.getI32Type(), resultWords, 4 * i));
  return results;
}

LogicalResult KernelSimulation::rewriteWarp(Operation *op) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case<NVVM::SyncWarpOp>([&](NVVM::SyncWarpOp o) {
        callWarp(o, sim::WarpOp::sync, o.getMask(), {}, 0);
        return erase(o);
      })
      .Case<NVVM::ShflOp>([&](NVVM::ShflOp o) { return shuffle(o); })
      .Case<NVVM::VoteSyncOp>([&](NVVM::VoteSyncOp o) {
        Value result =
            callWarp(o, sim::WarpOp::vote, o.getMask(), {o.getPred(), i32(int64_t(o.getKind()))}, 1)[0];
        return replace(o, fromWord(result, o.getType()));
      })
      .Case<NVVM::ReduxOp>([&](NVVM::ReduxOp o) -> LogicalResult {
        if (!o.getVal().getType().isInteger(32))
          return o.emitOpError("has no simulation; of 32-bit integers it has");
        return replace(o, callWarp(o, sim::WarpOp::redux, o.getMaskAndClamp(),
                                   {o.getVal(), i32(int64_t(o.getKind()))}, 1)[0]);
      })
      .Case<NVVM::ElectSyncOp>([&](NVVM::ElectSyncOp o) {
        Value mask = o.getMembermask() ? o.getMembermask() : i32(-1);
        return replace(o, fromWord(callWarp(o, sim::WarpOp::elect, mask, {}, 1)[0], b.getI1Type()));
      })
      .Case<NVVM::MmaOp>([&](NVVM::MmaOp o) { return multiply(o); })
      .Case<NVVM::LdMatrixOp>([&](NVVM::LdMatrixOp o) { return loadMatrices(o); })
      .Case<NVVM::StMatrixOp>([&](NVVM::StMatrixOp o) { return storeMatrices(o); })
      .Default([&](Operation *o) { return rewriteAsync(o); });
}

LogicalResult KernelSimulation::shuffle(NVVM::ShflOp op) {
  SmallVector<Value> results =
      callWarp(op, sim::WarpOp::shuffle, op.getThreadMask(),
               {op.getVal(), op.getOffset(), op.getMaskAndClamp(), i32(int64_t(op.getKind()))}, 2);
  Value value = fromWord(results[0], op.getVal().getType());
  if (!op.getReturnValueAndIsValid())
    return replace(op, value);
  Value both = LLVM::PoisonOp::create(b, loc(), op.getType());
  both = insert(both, value, 0);
  return replace(op, insert(both, fromWord(results[1], b.getI1Type()), 1));
}

static std::optional<sim::MatrixType> matrixType(std::optional<NVVM::MMATypes> type) {
  switch (type.value_or(NVVM::MMATypes::s4)) {
  case NVVM::MMATypes::f16:
    return sim::MatrixType::f16;
  case NVVM::MMATypes::bf16:
    return sim::MatrixType::bf16;
  case NVVM::MMATypes::tf32:
    return sim::MatrixType::tf32;
  default:
    return std::nullopt;
  }
}

/// m16n8kK with 16-bit or tf32 operands and float32 accumulators.
LogicalResult KernelSimulation::multiply(NVVM::MmaOp op) {
  auto type = matrixType(op.getMultiplicandAPtxType());
  auto record = cast<LLVM::LLVMStructType>(op.getType());
  int64_t k = op.getShape().getK(), k8or16 = type == sim::MatrixType::tf32 ? 2 * k : k;
  bool isKnown = type && type == matrixType(op.getMultiplicandBPtxType()) && op.getShape().getM() == 16 &&
                 op.getShape().getN() == 8 && (k8or16 == 8 || k8or16 == 16) &&
                 llvm::all_of(record.getBody(), [](Type t) { return t.isF32(); }) &&
                 op.getLayoutA() == NVVM::MMALayout::row && op.getLayoutB() == NVVM::MMALayout::col;
  if (!isKnown)
    return op.emitOpError("has no simulation; f16, bf16 and tf32 of m16n8 with float32 accumulators have");
  SmallVector<Value> operands{i32(int64_t(*type)), i32(k)};
  for (ValueRange part : {op.getOperandA(), op.getOperandB(), op.getOperandC()})
    operands.append(part.begin(), part.end());
  Value result = LLVM::PoisonOp::create(b, loc(), record);
  SmallVector<Value> words = callWarp(op, sim::WarpOp::mma, i32(-1), operands, 4);
  for (auto [i, word] : llvm::enumerate(words))
    result = insert(result, fromWord(word, b.getF32Type()), i);
  return replace(op, result);
}

LogicalResult KernelSimulation::loadMatrices(NVVM::LdMatrixOp op) {
  if (op.getShape().getM() != 8 || op.getShape().getN() != 8 ||
      op.getEltType() != NVVM::LdStMatrixEltType::B16)
    return op.emitOpError("has no simulation; 8x8 matrices of 16 bits have");
  bool isTransposed = op.getLayout() == NVVM::MMALayout::col;
  SmallVector<Value> words = callWarp(op, sim::WarpOp::ldmatrix, i32(-1),
                                      {i32(op.getNum()), i32(isTransposed), op.getPtr()}, op.getNum());
  if (words.size() == 1)
    return replace(op, words[0]);
  Value result = LLVM::PoisonOp::create(b, loc(), op.getType());
  for (auto [i, word] : llvm::enumerate(words))
    result = insert(result, word, i);
  return replace(op, result);
}

LogicalResult KernelSimulation::storeMatrices(NVVM::StMatrixOp op) {
  if (op.getShape().getM() != 8 || op.getShape().getN() != 8 ||
      op.getEltType() != NVVM::LdStMatrixEltType::B16)
    return op.emitOpError("has no simulation; 8x8 matrices of 16 bits have");
  bool isTransposed = op.getLayout() == NVVM::MMALayout::col;
  SmallVector<Value> operands{i32(int64_t(op.getSources().size())), i32(isTransposed), op.getPtr()};
  operands.append(op.getSources().begin(), op.getSources().end());
  callWarp(op, sim::WarpOp::stmatrix, i32(-1), operands, 0);
  return erase(op);
}

} // namespace llmc
