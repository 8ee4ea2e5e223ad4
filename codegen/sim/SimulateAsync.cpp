// Barriers, fences and asynchronous copies, of simulate-threads.
#include "codegen/sim/KernelSimulation.h"
#include "llvm/ADT/TypeSwitch.h"

namespace llmc {

using namespace mlir;

LogicalResult KernelSimulation::barrier(Operation *op, Value id, Value threads, sim::BarrierKind kind,
                                        Value predicate) {
  Value result = call(sim::Function::barrier, what(op),
                      {id ? id : i32(0), threads ? threads : i32(0), i32(int64_t(kind)),
                       predicate ? predicate : i32(0)},
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
      .Default([&](Operation *o) { return o->emitOpError("has no simulation"); });
}

} // namespace llmc
