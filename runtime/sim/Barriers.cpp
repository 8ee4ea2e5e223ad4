// The barriers of a block (bar.sync, bar.arrive, bar.red). See Grid.h.
#include "runtime/sim/Grid.h"

namespace llmc::sim {

static bool isReduction(BarrierKind kind) { return kind >= BarrierKind::popc; }

uint32_t Block::barrier(Fiber &fiber, uint32_t id, uint32_t threads, BarrierKind kind, uint32_t predicate) {
  if (id >= kBarriers || threads % kWarp || threads > grid.threads)
    violation(fiber, "uses barrier " + std::to_string(id) + " for " + std::to_string(threads) +
                         " threads; there are 16 barriers, for whole warps of the block");
  Barrier &barrier = barriers_[id];
  if (!barrier.arrived.empty() && barrier.threads != threads)
    violation(fiber, "expects " + std::to_string(threads) + " threads at barrier " + std::to_string(id) +
                         ", those before it expect " + std::to_string(barrier.threads));
  if (fiber.arrivedAt >> id & 1)
    violation(fiber, "arrives at barrier " + std::to_string(id) + " twice before it completes");
  if (barrier.arrived.empty() || isReduction(kind))
    barrier.kind = kind;
  barrier.threads = threads;
  fiber.arrivedAt |= 1u << id;
  barrier.arrived.push_back(&fiber);
  barrier.sites.push_back(fiber.what);
  fiber.predicate = predicate;
  if (kind == BarrierKind::arrive) {
    publish(fiber, barrier.published);
  } else {
    fiber.barrier = id;
    fiber.state = State::atBarrier;
  }
  // One for all completes when no thread can run on: some may end instead of coming.
  if (threads && isBarrierComplete(barrier)) {
    completeBarrier(id);
    if (!grid.report.empty())
      abandon();
  } else if (kind != BarrierKind::arrive) {
    suspend(fiber, State::atBarrier);
  }
  return fiber.reduced;
}

bool Block::isBarrierComplete(const Barrier &barrier) const {
  size_t expected = barrier.threads ? barrier.threads : alive_;
  return !barrier.arrived.empty() && barrier.arrived.size() >= expected;
}

/// Everyone who waits learns what all who arrived have done.
void Block::completeBarrier(uint32_t id) {
  Barrier &barrier = barriers_[id];
  // Threads of a warp must be at one instruction; at a barrier for all, those of the block.
  std::vector<const char *> siteOf(grid.threads);
  for (size_t i = 0; i < barrier.arrived.size(); ++i)
    siteOf[barrier.arrived[i]->number] = barrier.sites[i];
  const char *before = nullptr;
  for (uint32_t i = 0; i < grid.threads; ++i) {
    if (barrier.threads && i % kWarp == 0)
      before = nullptr;
    if (siteOf[i] && before && siteOf[i] != before)
      return fail(fibers_[i], "waits at another barrier than the threads before it");
    if (barrier.threads && i % kWarp && !siteOf[i] != !siteOf[i - 1])
      return fail(fibers_[i], "and its warp are not all at barrier " + std::to_string(id));
    if (siteOf[i])
      before = siteOf[i];
  }
  ViewBuilder builder = std::move(barrier.published);
  uint32_t count = 0;
  for (Fiber *fiber : barrier.arrived) {
    fiber->arrivedAt &= ~(1u << id);
    count += fiber->predicate != 0;
    if (fiber->state == State::atBarrier && fiber->barrier == id)
      fiber->known.publish(builder, grid.now);
  }
  if (!barrier.threads && alive_ == grid.threads) {
    builder.passBarrier(first, grid.now);
    grid.readers.prune();
  }
  ++grid.now;
  ViewPointer view = builder.finish();
  for (Fiber *fiber : barrier.arrived) {
    if (fiber->state != State::atBarrier || fiber->barrier != id)
      continue; // has only arrived
    fiber->known.view = view;
    fiber->known.stamp = grid.now;
    fiber->reduced = barrier.kind == BarrierKind::popc     ? count
                     : barrier.kind == BarrierKind::bitAnd ? count == barrier.arrived.size()
                                                           : count != 0;
    wake(*fiber);
  }
  barrier.arrived.clear();
  barrier.sites.clear();
}

} // namespace llmc::sim
