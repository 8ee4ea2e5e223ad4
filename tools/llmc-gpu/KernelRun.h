// Single kernels of an artifact on a GPU, with buffers that the caller describes.
#pragma once
#include "runtime/Device.h"
#include "tools/llmc-gpu/Cases.h"

namespace llmc {

/// The kernel's number, or an error that names the kernels that there are.
absl::StatusOr<uint32_t> findKernel(const runtime::Artifact &artifact, const std::string &name);

/// The sizes at which a kernel's parameters have the shapes of these buffers. A symbol that no parameter has is 1.
absl::StatusOr<runtime::Dims> sizesOf(const runtime::Kernel &kernel, const std::vector<CaseBuffer> &buffers);

/// Where buffers of these sizes lie one behind the other; the last number is the end.
std::vector<uint64_t> offsetsOf(const std::vector<uint64_t> &bytes);

/// Bytes of every parameter of a kernel at these sizes.
absl::StatusOr<std::vector<uint64_t>> parameterBytes(const runtime::Kernel &kernel, const runtime::Dims &dims);

/// "llmc-gpu-check: no GPU: REASON" when there is no driver or no device, else "". `name` becomes the device's name.
std::string whyNoGpu(const std::string &libcuda, std::string &name);

} // namespace llmc
