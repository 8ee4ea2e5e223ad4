// A grid of thread blocks on one CPU thread: every simulated thread is a fiber with a stack of its own, which
// runs until its next barrier, warp operation or atomic access. Blocks run one after the other; those of a
// cluster and those of a cooperative launch run together.
#pragma once
#include "runtime/sim/SimThread.h"
#include <functional>
#include <string>

namespace llmc::sim {

struct Launch {
  std::string kernel;
  Kernel code = nullptr;
  void *const *parameters = nullptr;
  uint32_t grid[3] = {1, 1, 1}, block[3] = {1, 1, 1};
  uint64_t sharedBytes = 0; ///< static and dynamic
  uint32_t cluster = 1;     ///< blocks side by side that run together
  bool isCooperative = false;
  int64_t *prefetchedBytes = nullptr; ///< counts, if given
  /// Sets the value of a graph's conditional handle; false: there is no such handle.
  std::function<bool(uint64_t handle, uint32_t value)> setConditional;
  /// Whether all of a range of device memory is allocated.
  std::function<bool(uintptr_t address, uint64_t bytes)> isAllocated;
};

/// Runs the launch; the text of the first violation, or "".
std::string run(const Launch &launch);

} // namespace llmc::sim
