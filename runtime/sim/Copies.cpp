// cp.async: a copy is an engine's work, in flight until its thread waits for the group. Data moves then, the
// latest moment that is legal. See Grid.h.
#include "runtime/sim/Grid.h"
#include <cstring>

namespace llmc::sim {

void Block::moveCopies(std::vector<CopyGroup::Copy> &copies) {
  for (const CopyGroup::Copy &copy : copies) {
    memcpy(copy.to, copy.from, copy.fromBytes);
    memset(static_cast<uint8_t *>(copy.to) + copy.fromBytes, 0, copy.bytes - copy.fromBytes);
  }
  copies.clear();
}

void Block::copyAsync(Fiber &fiber, void *to, const void *from, uint32_t bytes, uint32_t fromBytes) {
  auto target = reinterpret_cast<uintptr_t>(to), source = reinterpret_cast<uintptr_t>(from);
  if (fromBytes > bytes)
    violation(fiber, "copies " + std::to_string(fromBytes) + " bytes of " + std::to_string(bytes));
  expectAligned(fiber, target, bytes);
  expectAligned(fiber, source, bytes);
  expectShared(fiber, target, bytes);
  if (fiber.copies.empty() || fiber.copies.back().stamp)
    fiber.copies.emplace_back();
  // The group's time is that of its commit; until then its copies are later than anything waited for.
  Knowledge::Engine &engine = fiber.known.engines[static_cast<int>(Engine::copies)];
  engine.actor = grid.engine(fiber, Engine::copies);
  Accessor who{fiber.known, engine.actor, fiber.known.stamp};
  if (fromBytes)
    access(fiber, source, fromBytes, /*isWrite=*/false, who);
  access(fiber, target, bytes, /*isWrite=*/true, who);
  fiber.copies.back().copies.push_back({to, from, bytes, fromBytes});
}

void Block::commitCopies(Fiber &fiber) {
  if (fiber.copies.empty() || fiber.copies.back().stamp)
    fiber.copies.emplace_back(); // an empty group counts too
  fiber.copies.back().stamp = grid.now++;
  fiber.known.stamp = grid.now;
}

void Block::waitForCopies(Fiber &fiber, uint32_t pending) {
  size_t committed = fiber.copies.size();
  if (committed && !fiber.copies.back().stamp)
    --committed;
  for (; committed > pending; --committed) {
    CopyGroup &group = fiber.copies.front();
    if (group.deferred)
      moveCopies(*group.deferred);
    moveCopies(group.copies);
    fiber.known.engines[static_cast<int>(Engine::copies)].done = group.stamp;
    fiber.copies.pop_front();
  }
}

} // namespace llmc::sim
