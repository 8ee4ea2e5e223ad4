// Blocks of a cluster: each other's shared memory, and their barrier (barrier.cluster). See Grid.h.
#include "runtime/sim/Grid.h"

namespace llmc::sim {

Block &Block::inCluster(uint32_t rank) { return grid.resident(number - number % grid.launch.cluster + rank); }

Block &Block::holderOf(Fiber &fiber, uintptr_t address) {
  for (uint32_t rank = 0; rank < grid.launch.cluster; ++rank)
    if (Block &block = inCluster(rank); &block != this && block.isShared(address, 1)) {
      if (block.isDone())
        violation(fiber, "uses shared memory of block " + std::to_string(block.number) + " of its cluster, which has ended");
      return block;
    }
  return *this;
}

void *Block::mapShared(Fiber &fiber, uintptr_t address, uint32_t rank) {
  expectShared(fiber, address, 1);
  if (rank >= grid.launch.cluster)
    violation(fiber, "asks for block " + std::to_string(rank) + " of a cluster of " + std::to_string(grid.launch.cluster));
  return inCluster(rank).shared_ + (address - reinterpret_cast<uintptr_t>(shared_));
}

void Block::clusterBarrier(Fiber &fiber, ClusterStep step) {
  ClusterBarrier &barrier = inCluster(0).cluster_;
  if (step == ClusterStep::arrive) {
    if (fiber.isAtCluster)
      violation(fiber, "arrives at the barrier of its cluster twice without having waited in between");
    fiber.isAtCluster = true;
    fiber.clusterPhase = barrier.phase;
    publish(fiber, barrier.arriving);
    ++barrier.arrived;
    return completeCluster();
  }
  if (!fiber.isAtCluster)
    violation(fiber, "waits at the barrier of its cluster without having arrived");
  if (barrier.phase == fiber.clusterPhase)
    suspend(fiber, State::atCluster);
  fiber.isAtCluster = false;
  fiber.known.view = joinViews(fiber.known.view, barrier.completed); // nobody can have passed it since
}

void Block::completeCluster() {
  ClusterBarrier &barrier = inCluster(0).cluster_;
  uint32_t expected = 0;
  for (uint32_t rank = 0; rank < grid.launch.cluster; ++rank)
    expected += inCluster(rank).alive_;
  if (!barrier.arrived || barrier.arrived < expected)
    return;
  barrier.arrived = 0;
  barrier.completed = barrier.arriving.finish();
  ++barrier.phase;
  grid.hasProgressed = true;
  for (uint32_t rank = 0; rank < grid.launch.cluster; ++rank)
    for (Fiber &fiber : inCluster(rank).fibers_)
      if (fiber.state == State::atCluster)
        fiber.state = State::ready;
}

} // namespace llmc::sim
