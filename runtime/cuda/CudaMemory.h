// The memory of a CUDA device: one allocation for weights, one for everything that changes, one of pinned
// memory on the host for what is exchanged.
#pragma once
#include "runtime/Device.h"
#include "runtime/cuda/Gpu.h"

namespace llmc::runtime {

/// Pinned memory is filled piece by piece: one piece is copied to the device while the next is read.
inline constexpr uint64_t kStagingBytes = uint64_t(32) << 20;

class CudaMemory {
public:
  explicit CudaMemory(const Gpu &gpu) : gpu_(gpu) {}
  ~CudaMemory();
  CudaMemory(const CudaMemory &) = delete;

  /// See Device. ResourceExhausted carries a reason in a few words.
  absl::StatusOr<std::vector<ExchangeMemory>> allocate(const std::vector<MemoryRequest> &requests);
  absl::StatusOr<std::vector<void *>> hold(const std::vector<WeightBytes> &weights);
  /// Memory with any content.
  absl::StatusOr<void *> reserve(uint64_t bytes);

  /// Inputs on the host and on the device: one range each.
  struct Inputs {
    ExchangeMemory memory;
    uint64_t bytes = 0;
  };
  const std::vector<Inputs> &inputs() const { return inputs_; }

private:
  absl::StatusOr<uint8_t *> reserveHost(uint64_t bytes);
  absl::Status upload(const std::vector<WeightBytes> &weights, const std::vector<void *> &places);

  const Gpu &gpu_;
  std::vector<cuda::DevicePointer> memory_;
  std::vector<void *> hostMemory_;
  std::vector<Inputs> inputs_;
};

} // namespace llmc::runtime
