// Barriers, fences and asynchronous copies, of simulate-threads.
#include "codegen/sim/KernelSimulation.h"
#include "llvm/ADT/TypeSwitch.h"

namespace llmc {

using namespace mlir;

LogicalResult KernelSimulation::barrier(Operation *op, Value id, Value threads, sim::BarrierKind kind,
                                        Value predicate) {
  Value result =
      call(sim::Function::barrier, what(op),
           {id ? id : i32(0), threads ? threads : i32(0), i32(int64_t(kind)), predicate ? predicate : i32(0)},
           b.getI32Type());
  return op->getNumResults() ? replace(op, result) : erase(op);
}

static sim::BarrierKind kindOf(NVVM::BarrierOp op) {
  if (!op.getReductionOp())
    return sim::BarrierKind::sync;
  switch (*op.getReductionOp()) {
  case NVVM::BarrierReduction::POPC:
    return sim::BarrierKind::popc;
  case NVVM::BarrierReduction::AND:
    return sim::BarrierKind::bitAnd;
  case NVVM::BarrierReduction::OR:
    return sim::BarrierKind::bitOr;
  }
  return sim::BarrierKind::sync;
}

LogicalResult KernelSimulation::rewriteAsync(Operation *op) {
  auto group = [&](Operation *o, sim::CopyStep step, int64_t pending) {
    call(sim::Function::copyGroup, what(o), {i32(int64_t(step)), i32(pending)});
    return erase(o);
  };
  auto fence = [&](Operation *o, sim::FenceKind kind) {
    call(sim::Function::fence, what(o), {i32(int64_t(kind))});
    return erase(o);
  };
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case<NVVM::Barrier0Op>(
          [&](Operation *o) { return barrier(o, Value(), Value(), sim::BarrierKind::sync, Value()); })
      .Case<NVVM::BarrierOp>([&](NVVM::BarrierOp o) {
        return barrier(o, o.getBarrierId(), o.getNumberOfThreads(), kindOf(o), o.getReductionPredicate());
      })
      .Case<NVVM::BarrierArriveOp>([&](NVVM::BarrierArriveOp o) {
        return barrier(o, o.getBarrierId(), o.getNumberOfThreads(), sim::BarrierKind::arrive, Value());
      })
      .Case<NVVM::ClusterArriveOp, NVVM::ClusterWaitOp>([&](Operation *o) {
        auto step = isa<NVVM::ClusterArriveOp>(o) ? sim::ClusterStep::arrive : sim::ClusterStep::wait;
        call(sim::Function::clusterBarrier, what(o), {i32(int64_t(step))});
        return erase(o);
      })
      .Case<NVVM::MapaOp>([&](NVVM::MapaOp o) {
        return replace(o, call(sim::Function::mapShared, what(o), {o.getA(), o.getB()}, pointer));
      })
      .Case<NVVM::MembarOp>([&](Operation *o) { return fence(o, sim::FenceKind::memory); })
      .Case<NVVM::FenceProxyOp>([&](NVVM::FenceProxyOp o) -> LogicalResult {
        switch (o.getKind()) {
        case NVVM::ProxyKind::async:
        case NVVM::ProxyKind::async_global:
        case NVVM::ProxyKind::async_shared:
          return fence(o, sim::FenceKind::asyncProxy);
        default:
          return o.emitOpError("has no simulation; of the asynchronous proxy it has");
        }
      })
      .Case<NVVM::CpAsyncOp>([&](NVVM::CpAsyncOp o) {
        Value bytes = i32(o.getSize());
        call(sim::Function::copyAsync, what(o),
             {o.getDst(), o.getSrc(), bytes, o.getCpSize() ? o.getCpSize() : bytes});
        return erase(o);
      })
      .Case<NVVM::CpAsyncCommitGroupOp>([&](Operation *o) { return group(o, sim::CopyStep::commit, 0); })
      .Case<NVVM::CpAsyncWaitGroupOp>(
          [&](NVVM::CpAsyncWaitGroupOp o) { return group(o, sim::CopyStep::wait, o.getN()); })
      .Default([&](Operation *o) { return rewriteMbarrier(o); });
}

LogicalResult KernelSimulation::mbarrier(Operation *op, sim::MbarrierOp kind, Value address, Value operand) {
  if (operand.getType().isInteger(32))
    operand = LLVM::ZExtOp::create(b, loc(), b.getI64Type(), operand);
  Value result =
      call(sim::Function::mbarrier, what(op), {i32(int64_t(kind)), address, operand}, b.getI64Type());
  if (op->getNumResults() && op->getResult(0).getType().isInteger(1))
    result = LLVM::TruncOp::create(b, loc(), b.getI1Type(), result);
  return op->getNumResults() ? replace(op, result) : erase(op);
}

LogicalResult KernelSimulation::rewriteMbarrier(Operation *op) {
  using Kind = sim::MbarrierOp;
  auto one = [&](Value count) { return count ? count : i64(1); };
  auto test = [&](auto o) {
    bool isState = o.getStateOrPhase().getType().isInteger(64);
    return mbarrier(o, isState ? Kind::testState : Kind::testParity, o.getAddr(), o.getStateOrPhase());
  };
  auto refusePredicate = [&](auto o) { return o->emitOpError("has no simulation with a predicate"); };
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case<NVVM::MBarrierInitOp>([&](NVVM::MBarrierInitOp o) -> LogicalResult {
        if (o.getPredicate())
          return refusePredicate(o);
        return mbarrier(o, Kind::init, o.getAddr(), o.getCount());
      })
      .Case<NVVM::MBarrierInvalOp>(
          [&](NVVM::MBarrierInvalOp o) { return mbarrier(o, Kind::invalidate, o.getAddr(), i64(0)); })
      .Case<NVVM::MBarrierArriveOp>(
          [&](NVVM::MBarrierArriveOp o) { return mbarrier(o, Kind::arrive, o.getAddr(), one(o.getCount())); })
      .Case<NVVM::MBarrierArriveDropOp>([&](NVVM::MBarrierArriveDropOp o) {
        return mbarrier(o, Kind::arriveDrop, o.getAddr(), one(o.getCount()));
      })
      .Case<NVVM::MBarrierArriveNocompleteOp>([&](NVVM::MBarrierArriveNocompleteOp o) {
        return mbarrier(o, Kind::arriveNoComplete, o.getAddr(), o.getCount());
      })
      .Case<NVVM::MBarrierExpectTxOp>([&](NVVM::MBarrierExpectTxOp o) {
        return mbarrier(o, Kind::expectBytes, o.getAddr(), o.getTxcount());
      })
      .Case<NVVM::MBarrierCompleteTxOp>([&](NVVM::MBarrierCompleteTxOp o) {
        return mbarrier(o, Kind::completeBytes, o.getAddr(), o.getTxcount());
      })
      .Case<NVVM::MBarrierArriveExpectTxOp>([&](NVVM::MBarrierArriveExpectTxOp o) -> LogicalResult {
        if (o.getPredicate())
          return refusePredicate(o);
        return mbarrier(o, Kind::arriveExpectBytes, o.getAddr(), o.getTxcount());
      })
      .Case<NVVM::MBarrierTryWaitParityOp>([&](NVVM::MBarrierTryWaitParityOp o) {
        return mbarrier(o, Kind::waitParity, o.getAddr(), o.getPhase());
      })
      .Case<NVVM::MBarrierTestWaitOp>([&](NVVM::MBarrierTestWaitOp o) { return test(o); })
      .Case<NVVM::MBarrierTryWaitOp>([&](NVVM::MBarrierTryWaitOp o) { return test(o); })
      .Case<NVVM::CpAsyncMBarrierArriveOp>([&](NVVM::CpAsyncMBarrierArriveOp o) {
        Kind kind = o.getNoinc() ? Kind::arriveAfterCopiesNoInc : Kind::arriveAfterCopies;
        return mbarrier(o, kind, o.getAddr(), i64(1));
      })
      // Orders what the simulator orders anyway, or says nothing that can be simulated.
      .Case<NVVM::FenceMbarrierInitOp, NVVM::PrefetchOp, NVVM::SetMaxRegisterOp, NVVM::GriddepcontrolOp,
            NVVM::NanosleepOp>([&](Operation *o) { return erase(o); })
      .Default([&](Operation *o) { return rewriteBulk(o); });
}

LogicalResult KernelSimulation::rewriteBulk(Operation *op) {
  auto group = [&](Operation *o, sim::BulkStep step, int64_t pending) {
    call(sim::Function::bulkGroup, what(o), {i32(int64_t(step)), i32(pending)});
    return erase(o);
  };
  auto null = [&]() -> Value { return LLVM::ZeroOp::create(b, loc(), pointer); };
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case<NVVM::CpAsyncBulkGlobalToSharedClusterOp>(
          [&](NVVM::CpAsyncBulkGlobalToSharedClusterOp o) -> LogicalResult {
            if (o.getMulticastMask())
              return o.emitOpError("has no simulation of multicasts");
            call(sim::Function::bulkCopy, what(o), {o.getDstMem(), o.getSrcMem(), o.getSize(), o.getMbar()});
            return erase(o);
          })
      .Case<NVVM::CpAsyncBulkSharedCTAToGlobalOp>(
          [&](NVVM::CpAsyncBulkSharedCTAToGlobalOp o) -> LogicalResult {
            if (o.getByteMask())
              return o.emitOpError("has no simulation with a byte mask");
            call(sim::Function::bulkCopy, what(o), {o.getDstMem(), o.getSrcMem(), o.getSize(), null()});
            return erase(o);
          })
      .Case<NVVM::CpAsyncBulkTensorGlobalToSharedClusterOp>(
          [&](NVVM::CpAsyncBulkTensorGlobalToSharedClusterOp o) -> LogicalResult {
            if (o.getMode() != NVVM::TMALoadMode::TILE || o.getGroup() || o.getPredicate())
              return o.emitOpError("has no simulation but of tiles without predicate");
            return tensorCopy(o, o.getTmaDescriptor(), o.getDstMem(), o.getMbar(), o.getCoordinates(), o.getMulticastMask());
          })
      .Case<NVVM::CpAsyncBulkTensorSharedCTAToGlobalOp>(
          [&](NVVM::CpAsyncBulkTensorSharedCTAToGlobalOp o) -> LogicalResult {
            if (o.getMode() != NVVM::TMAStoreMode::TILE || o.getPredicate())
              return o.emitOpError("has no simulation but of tiles without predicate");
            return tensorCopy(o, o.getTmaDescriptor(), o.getSrcMem(), null(), o.getCoordinates());
          })
      .Case<NVVM::CpAsyncBulkPrefetchOp>([&](NVVM::CpAsyncBulkPrefetchOp o) {
        call(sim::Function::prefetch, what(o), {o.getSrcMem(), o.getSize()});
        return erase(o);
      })
      .Case<NVVM::CpAsyncBulkCommitGroupOp>([&](Operation *o) { return group(o, sim::BulkStep::commit, 0); })
      .Case<NVVM::CpAsyncBulkWaitGroupOp>([&](NVVM::CpAsyncBulkWaitGroupOp o) {
        return group(o, o.getRead() ? sim::BulkStep::waitRead : sim::BulkStep::wait, o.getGroup());
      })
      .Default([&](Operation *o) { return rewriteWgmma(o); });
}

/// An array in this thread's stack frame, whatever loop `op` is in.
Value KernelSimulation::frame(Type element, int64_t count) {
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(operandWords.getDefiningOp());
  return LLVM::AllocaOp::create(b, loc(), pointer, element, i32(count), 8);
}

LogicalResult KernelSimulation::tensorCopy(Operation *op, Value map, Value shared, Value mbarrier, ValueRange coordinates, Value blocks) {
  Value copy = frame(b.getI8Type(), sizeof(sim::TensorCopy));
  auto store = [&](Value value, int64_t offset) { LLVM::StoreOp::create(b, loc(), value, at(copy, offset)); };
  store(map, offsetof(sim::TensorCopy, map));
  store(shared, offsetof(sim::TensorCopy, shared));
  store(mbarrier, offsetof(sim::TensorCopy, mbarrier));
  store(i32(coordinates.size()), offsetof(sim::TensorCopy, rank));
  store(blocks ? LLVM::ZExtOp::create(b, loc(), b.getI32Type(), blocks).getResult() : i32(0), offsetof(sim::TensorCopy, blocks));
  for (auto [i, coordinate] : llvm::enumerate(coordinates))
    store(coordinate, offsetof(sim::TensorCopy, coordinates) + 4 * i);
  call(sim::Function::tensorCopy, what(op), {copy});
  return erase(op);
}

LogicalResult KernelSimulation::rewriteWgmma(Operation *op) {
  auto group = [&](Operation *o, sim::WgmmaStep step, int64_t pending) {
    call(sim::Function::wgmmaGroup, what(o), {i32(int64_t(step)), i32(pending)});
    return erase(o);
  };
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case<NVVM::WgmmaFenceAlignedOp>([&](Operation *o) { return group(o, sim::WgmmaStep::fence, 0); })
      .Case<NVVM::WgmmaGroupSyncAlignedOp>([&](Operation *o) { return group(o, sim::WgmmaStep::commit, 0); })
      .Case<NVVM::WgmmaWaitGroupSyncOp>(
          [&](NVVM::WgmmaWaitGroupSyncOp o) { return group(o, sim::WgmmaStep::wait, o.getGroup()); })
      .Case<NVVM::WgmmaMmaAsyncOp>([&](NVVM::WgmmaMmaAsyncOp o) { return multiplyWarpgroup(o); })
      .Default([&](Operation *o) { return o->emitOpError("has no simulation"); });
}

LogicalResult KernelSimulation::multiplyWarpgroup(NVVM::WgmmaMmaAsyncOp op) {
  std::optional<sim::MatrixType> type;
  if (op.getTypeA() == NVVM::WGMMATypes::f16)
    type = sim::MatrixType::f16;
  else if (op.getTypeA() == NVVM::WGMMATypes::bf16)
    type = sim::MatrixType::bf16;
  else if (op.getTypeA() == NVVM::WGMMATypes::tf32)
    type = sim::MatrixType::tf32;
  auto record = cast<LLVM::LLVMStructType>(op.getResults().getType());
  const int64_t n = op.getShape().getN();
  if (!type || op.getTypeA() != op.getTypeB() || op.getTypeD() != NVVM::WGMMATypes::f32 ||
      int64_t(record.getBody().size()) != n / 2)
    return op.emitOpError("has no simulation; f16, bf16 and tf32 with float32 accumulators have");
  const bool isKMajorA = op.getLayoutA() == NVVM::MMALayout::row,
             isKMajorB = op.getLayoutB() == NVVM::MMALayout::col;
  WgmmaOperands operands{n, *type, isKMajorA, isKMajorB, op.getScaleD() == NVVM::WGMMAScaleOut::one,
                         op.getScaleA() == NVVM::WGMMAScaleIn::neg, op.getScaleB() == NVVM::WGMMAScaleIn::neg,
                         op.getDescriptorA(), op.getDescriptorB(), {}, {}};
  for (int64_t i = 0; i < n / 2; ++i)
    operands.sums.push_back(LLVM::ExtractValueOp::create(b, loc(), op.getInouts(), ArrayRef<int64_t>(i)));
  return replace(op, callWgmma(op, operands, record));
}

/// The one form of wgmma that NVVM has no op for (codegen/cuda/TensorCore.cpp): bf16, a in registers, b with n innermost, added to the sums.
/// Operands: four words of a, b's descriptor, the sums.
LogicalResult KernelSimulation::multiplyWarpgroup(LLVM::InlineAsmOp op) {
  auto record = cast<LLVM::LLVMStructType>(op.getRes().getType());
  const int64_t n = 2 * record.getBody().size();
  ValueRange all = op.getOperands();
  constexpr size_t kWords = 4;
  if (all.size() != kWords + 1 + n / 2 || !op.getAsmString().contains("m64n" + std::to_string(n) + "k16.f32.bf16.bf16 "))
    return op.emitOpError("has no simulation; wgmma of bf16 with a in registers has");
  Value none = i64(0);
  WgmmaOperands operands{n, sim::MatrixType::bf16, true, false, true, false, false, none, all[kWords],
                         llvm::to_vector(all.take_front(kWords)), llvm::to_vector(all.drop_front(kWords + 1))};
  return replace(op, callWgmma(op, operands, record));
}

Value KernelSimulation::callWgmma(Operation *op, const WgmmaOperands &w, LLVM::LLVMStructType record) {
  Value shape = frame(b.getI8Type(), sizeof(sim::WgmmaShape)), sums = frame(b.getI32Type(), w.n / 2);
  auto store = [&](Value value, Value base, int64_t offset) {
    LLVM::StoreOp::create(b, loc(), value, at(base, offset));
  };
  auto flag = [&](bool value, int64_t offset) { store(constant(b.getI8Type(), value), shape, offset); };
  store(i32(w.n), shape, offsetof(sim::WgmmaShape, n));
  store(i32(int64_t(w.type)), shape, offsetof(sim::WgmmaShape, type));
  flag(w.isAKMajor, offsetof(sim::WgmmaShape, isAKMajor));
  flag(w.isBKMajor, offsetof(sim::WgmmaShape, isBKMajor));
  flag(w.accumulates, offsetof(sim::WgmmaShape, accumulates));
  flag(w.negatesA, offsetof(sim::WgmmaShape, negatesA));
  flag(w.negatesB, offsetof(sim::WgmmaShape, negatesB));
  flag(!w.a.empty(), offsetof(sim::WgmmaShape, isAInRegisters));
  for (auto [i, word] : llvm::enumerate(w.a))
    store(word, shape, offsetof(sim::WgmmaShape, a) + 4 * i);
  for (auto [i, sum] : llvm::enumerate(w.sums))
    store(sum, sums, 4 * i);
  call(sim::Function::wgmma, what(op), {shape, w.descriptorA, w.descriptorB, sums});
  Value result = LLVM::PoisonOp::create(b, loc(), record);
  for (int64_t i = 0; i < w.n / 2; ++i)
    result = insert(result, member(b.getF32Type(), sums, 4 * i), i);
  return result;
}

/// A float taken out of what may be a wgmma's result.
void KernelSimulation::settleAccumulator(LLVM::ExtractValueOp op) {
  if (!op.getType().isF32() || !accumulators.contains(op.getContainer().getType()))
    return;
  // A wgmma that adds to sums takes them as they are.
  if (llvm::all_of(op->getUsers(), [](Operation *user) { return isWgmma(user); }))
    return;
  b.setInsertionPointAfter(op);
  Value word = toWord(op.getResult());
  Value settled =
      fromWord(call(sim::Function::accumulator, what(op), {word}, b.getI32Type()), b.getF32Type());
  op.getResult().replaceAllUsesExcept(settled, word.getDefiningOp());
}

} // namespace llmc
