// An NVIDIA GPU as a device: kernels from a cubin or PTX, weights copied once, programs as launches in one
// stream or as recordings of them (CudaProgram.h).
#pragma once
#include "runtime/Device.h"

namespace llmc::runtime {

/// Opens the first GPU through the driver library `libcuda` (empty: libcuda.so.1). The artifact outlives the
/// device.
absl::StatusOr<std::unique_ptr<Device>> openCudaDevice(const Artifact &artifact, const std::string &libcuda);

} // namespace llmc::runtime
