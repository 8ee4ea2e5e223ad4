// This machine's CPU as a device: kernels from an ELF code object, run by a thread pool on memory of the
// process.
#pragma once
#include "runtime/Device.h"
#include "runtime/ThreadPool.h"

namespace llmc::runtime {

/// `threads` 0: usableCpus(). The artifact outlives the device.
absl::StatusOr<std::unique_ptr<Device>> openCpuDevice(const Artifact &artifact, int threads);

} // namespace llmc::runtime
