// What this machine can do right now: read bandwidth and float32 multiply-add rate, with a given number of
// threads.
#pragma once

namespace llmc {

struct MachineSpeed {
  double readBytesPerSecond; ///< sequential reads of memory far larger than the caches
  double flopsPerSecond;     ///< float32, a fused multiply-add counts two
};

/// Takes about half a second. The best of several short runs: other programs can only make it slower.
MachineSpeed measureMachine(int threads);

} // namespace llmc
