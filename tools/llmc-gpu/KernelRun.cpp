// See KernelRun.h.
#include "tools/llmc-gpu/KernelRun.h"
#include "runtime/cuda/Driver.h"

namespace llmc {
using namespace runtime;

absl::StatusOr<uint32_t> findKernel(const Artifact &artifact, const std::string &name) {
  std::string names;
  for (uint32_t k = 0; k < artifact.plan().kernels.size(); ++k) {
    if (artifact.plan().kernels[k].name == name)
      return k;
    names += (k ? ", " : "") + artifact.plan().kernels[k].name;
  }
  return absl::NotFoundError(artifact.path() + ": has no kernel '" + name + "', only " + names);
}

absl::StatusOr<Dims> sizesOf(const Kernel &kernel, const std::vector<CaseBuffer> &buffers) {
  auto wrong = [&](size_t parameter, const std::string &what) {
    return absl::InvalidArgumentError("kernel '" + kernel.name + "': parameter " + std::to_string(parameter) + " " +
                                      what + ", it is " + printShape(kernel.parameters[parameter].shape) +
                                      ": the cases are of another compilation");
  };
  if (buffers.size() != kernel.parameters.size())
    return absl::InvalidArgumentError("kernel '" + kernel.name + "' has " +
                                      std::to_string(kernel.parameters.size()) + " parameters, not " +
                                      std::to_string(buffers.size()) + ": the cases are of another compilation");
  Dims dims = {};
  constexpr size_t kRows = static_cast<size_t>(Symbol::tokens) - 1;
  int64_t otherRows = 0; // tell T where nothing else does
  for (size_t p = 0; p < buffers.size(); ++p) {
    const Shape &shape = kernel.parameters[p].shape;
    const std::vector<int64_t> &extents = buffers[p].shape;
    if (shape.size() != extents.size())
      return wrong(p, "has " + std::to_string(extents.size()) + " dimensions");
    for (size_t d = 0; d < shape.size(); ++d) {
      auto multiplier = static_cast<int64_t>(shape[d].multiplier);
      if (shape[d].symbol == Symbol::one && extents[d] == multiplier)
        continue;
      if (shape[d].symbol == Symbol::one || extents[d] % multiplier)
        return wrong(p, "has extent " + std::to_string(extents[d]));
      const size_t symbol = static_cast<size_t>(shape[d].symbol) - 1;
      if (buffers[p].hasOtherRows && symbol == kRows) {
        otherRows = extents[d] / multiplier;
        continue;
      }
      if (dims[symbol] && dims[symbol] != extents[d] / multiplier)
        return wrong(p, "disagrees with the others");
      dims[symbol] = extents[d] / multiplier;
    }
  }
  if (dims[kRows] == 0)
    dims[kRows] = otherRows;
  for (int64_t &size : dims)
    size = size ? size : 1;
  return dims;
}

std::vector<uint64_t> offsetsOf(const std::vector<uint64_t> &bytes) {
  constexpr uint64_t kAlignment = 256;
  std::vector<uint64_t> offsets = {0};
  for (uint64_t b : bytes)
    offsets.push_back((offsets.back() + b + kAlignment - 1) / kAlignment * kAlignment);
  return offsets;
}

absl::StatusOr<std::vector<uint64_t>> parameterBytes(const Kernel &kernel, const Dims &dims) {
  std::vector<uint64_t> bytes;
  for (const Parameter &parameter : kernel.parameters) {
    auto size = shapeBytes(parameter.shape, parameter.type, dims);
    if (!size)
      return absl::InvalidArgumentError("kernel '" + kernel.name + "': a buffer is larger than memory can be");
    bytes.push_back(*size);
  }
  return bytes;
}

std::string whyNoGpu(const std::string &libcuda, std::string &name) {
  auto driver = CudaDriver::load(libcuda);
  if (!driver.ok())
    return std::string(driver.status().message());
  int count = 0, device = 0;
  char text[256] = "";
  for (cuda::Result r : {(*driver)->cuDeviceGetCount(&count), (*driver)->cuDeviceGet(&device, 0),
                         (*driver)->cuDeviceGetName(text, sizeof text, device)})
    if (r)
      return "the CUDA driver " + (*driver)->describe() + " finds no GPU: " + (*driver)->name(r);
  name = std::string(text) + ", " + (*driver)->describe();
  return "";
}

} // namespace llmc
