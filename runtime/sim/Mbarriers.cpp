// mbarriers: arrivals and bytes are counted here; in shared memory lies a mark, so that writing over one is
// found. Copies that an mbarrier counts complete when no thread can run on without them. See Grid.h.
#include "runtime/sim/Grid.h"
#include <cstring>

namespace llmc::sim {

static constexpr uint64_t kMark = 0x72616272656d6273, kNoMark = 0xffffffffffffffff;
static constexpr uint64_t kMostArrivals = (1 << 20) - 1;

std::string Block::describeMbarrier(uintptr_t address) const {
  auto found = mbarriers_.find(address);
  std::string text = " of the mbarrier in " + grid.describe(*this, address);
  if (found == mbarriers_.end())
    return text;
  return text + ", phase " + std::to_string(found->second.phase) + ", which lacks " +
         std::to_string(found->second.pending) + " arrivals and " + std::to_string(found->second.bytes) +
         " bytes";
}

Mbarrier &Block::mbarrierAt(Fiber &fiber, uintptr_t address) {
  expectAligned(fiber, address, 8);
  expectShared(fiber, address, 8);
  Accessor who = plain(fiber);
  who.isAtomic = true; // who uses it must come after its initialisation only
  access(fiber, address, 8, /*isWrite=*/false, who);
  auto found = mbarriers_.find(address);
  uint64_t mark;
  memcpy(&mark, reinterpret_cast<const void *>(address), 8);
  if (found == mbarriers_.end() || mark != kMark)
    violation(fiber, std::string(found == mbarriers_.end() ? "uses no mbarrier: nothing was initialised there"
                                                           : "uses an mbarrier that was written over") +
                         ": " + grid.describe(*this, address));
  return found->second;
}

void Block::completePhase(Mbarrier &barrier, uintptr_t address) {
  if (barrier.pending != 0 || barrier.bytes != 0)
    return;
  barrier.completed = barrier.arriving.finish();
  ++barrier.phase;
  barrier.pending = barrier.expected;
  grid.hasProgressed = true;
  for (Fiber &fiber : fibers_)
    if (fiber.state == State::atMbarrier && fiber.mbarrier == address &&
        (barrier.phase & 1) != fiber.parity) {
      fiber.known.view = joinViews(fiber.known.view, barrier.completed);
      fiber.state = State::ready;
    }
}

void Block::arrive(Fiber &fiber, Mbarrier &barrier, uintptr_t address, uint64_t count) {
  if (count > uint64_t(barrier.pending))
    violation(fiber, "arrives " + std::to_string(count) + " times where " + std::to_string(barrier.pending) +
                         " arrivals are left" + describeMbarrier(address));
  publish(fiber, barrier.arriving);
  barrier.pending -= static_cast<int64_t>(count);
  completePhase(barrier, address);
}

/// The arrival happens when all earlier cp.async of the thread are done; without .noinc it adds the arrival
/// that it takes.
void Block::arriveAfterCopies(Fiber &fiber, Mbarrier &barrier, uintptr_t address, bool counts) {
  if (counts)
    ++barrier.pending;
  std::vector<std::shared_ptr<std::vector<CopyGroup::Copy>>> deferred;
  for (CopyGroup &group : fiber.copies) {
    if (!group.deferred)
      group.deferred = std::make_shared<std::vector<CopyGroup::Copy>>();
    group.deferred->insert(group.deferred->end(), group.copies.begin(), group.copies.end());
    group.copies.clear();
    deferred.push_back(group.deferred);
  }
  const Stamp stamp = grid.now++; // all copies until now are earlier
  fiber.known.stamp = grid.now;
  const Actor engine = fiber.known.engines[static_cast<int>(Engine::copies)].actor;
  pending_.push_back({address, 0, true, engine, stamp, [deferred] {
                        for (const auto &copies : deferred)
                          moveCopies(*copies);
                      }});
}

bool Block::completePending() {
  if (pending_.empty())
    return false;
  Pending next = std::move(pending_.front());
  pending_.pop_front();
  next.work();
  Mbarrier &barrier = mbarriers_[next.mbarrier];
  if (next.engine)
    barrier.arriving.see(first, next.engine, next.stamp);
  if (next.isArrival)
    --barrier.pending;
  else
    barrier.bytes -= next.bytes;
  completePhase(barrier, next.mbarrier);
  return true;
}

void Block::expectNothingInFlight(Fiber &fiber) {
  fiber.what = "";
  for (const BulkGroup &group : fiber.bulkGroups)
    if (!group.isRead && !group.copies.empty())
      violation(fiber, "ends while a bulk store of it reads shared memory, without having waited for that");
  if (alive_ == 1 && !pending_.empty())
    violation(fiber, "ends the block while a bulk copy to shared memory is in flight" +
                         describeMbarrier(pending_.front().mbarrier));
}

uint64_t Block::mbarrier(Fiber &fiber, MbarrierOp op, uintptr_t address, uint64_t operand) {
  if (op == MbarrierOp::init) {
    expectAligned(fiber, address, 8);
    expectShared(fiber, address, 8);
    if (operand < 1 || operand > kMostArrivals)
      violation(fiber,
                "initialises an mbarrier for " + std::to_string(operand) + " arrivals, not 1..2^20 - 1");
    if (mbarriers_.count(address))
      violation(fiber, "initialises an mbarrier that is one already" + describeMbarrier(address));
    if (mbarriers_.size() == Grid::kMbarriers)
      violation(fiber, "initialises more mbarriers than the simulator has engines for");
    access(fiber, address, 8, /*isWrite=*/true, plain(fiber));
    memcpy(reinterpret_cast<void *>(address), &kMark, 8);
    const auto index = static_cast<uint32_t>(mbarriers_.size());
    Mbarrier &made = mbarriers_[address];
    made.expected = static_cast<uint32_t>(operand);
    made.pending = made.expected;
    made.engine = grid.blockEngine(*this, index);
    return 0;
  }
  if (Block &holder = holderOf(fiber, address); &holder != this) {
    if (op != MbarrierOp::arrive)
      violation(fiber, "uses an mbarrier of another block of its cluster, where it may only arrive");
    holder.arrive(fiber, holder.mbarrierAt(fiber, address), address, operand);
    return 0;
  }
  if (op == MbarrierOp::testState || op == MbarrierOp::testParity) {
    const char *what = fiber.what;
    suspend(fiber, State::spinning);
    fiber.what = what;
  }
  Mbarrier &barrier = mbarrierAt(fiber, address);
  const uint64_t phase = barrier.phase;
  switch (op) {
  case MbarrierOp::init:
    break;
  case MbarrierOp::invalidate:
    access(fiber, address, 8, /*isWrite=*/true, plain(fiber));
    memcpy(reinterpret_cast<void *>(address), &kNoMark, 8);
    mbarriers_.erase(address);
    break;
  case MbarrierOp::arrive:
    arrive(fiber, barrier, address, operand);
    break;
  case MbarrierOp::arriveNoComplete:
    if (operand >= uint64_t(barrier.pending))
      violation(fiber, "completes a phase with an arrival that must not" + describeMbarrier(address));
    arrive(fiber, barrier, address, operand);
    break;
  case MbarrierOp::arriveDrop:
    barrier.expected -= static_cast<uint32_t>(operand);
    arrive(fiber, barrier, address, operand);
    break;
  case MbarrierOp::arriveExpectBytes:
    barrier.bytes += static_cast<int64_t>(operand);
    arrive(fiber, barrier, address, 1);
    break;
  case MbarrierOp::expectBytes:
    barrier.bytes += static_cast<int64_t>(operand);
    break;
  case MbarrierOp::completeBytes:
    barrier.bytes -= static_cast<int64_t>(operand);
    completePhase(barrier, address);
    break;
  case MbarrierOp::testState:
  case MbarrierOp::testParity:
  case MbarrierOp::waitParity: {
    bool isDone =
        op == MbarrierOp::testState ? barrier.phase > operand : (barrier.phase & 1) != (operand & 1);
    if (isDone) {
      fiber.known.view = joinViews(fiber.known.view, barrier.completed);
      return 1;
    }
    if (op != MbarrierOp::waitParity)
      return 0;
    fiber.mbarrier = address;
    fiber.parity = operand & 1;
    suspend(fiber, State::atMbarrier);
    return 1;
  }
  case MbarrierOp::arriveAfterCopies:
  case MbarrierOp::arriveAfterCopiesNoInc:
    arriveAfterCopies(fiber, barrier, address, op == MbarrierOp::arriveAfterCopies);
    break;
  }
  return phase;
}

} // namespace llmc::sim
