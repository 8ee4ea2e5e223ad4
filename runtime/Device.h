// What an engine needs of the thing that runs kernels: memory, and programs. Implemented for CPUs
// (cpu/CpuDevice.h) and CUDA GPUs (cuda/CudaDevice.h). Addresses of device memory are void pointers; only the
// CPU's may be followed by the host.
#pragma once
#include "absl/status/statusor.h"
#include "runtime/Artifact.h"
#include "runtime/Profile.h"

namespace llmc::runtime {

/// Memory that the host fills before a program or reads after it: one place on each side, the same one on a
/// CPU.
struct ExchangeMemory {
  uint8_t *host = nullptr;
  void *device = nullptr;
};

/// A dispatch with device addresses in place of buffers.
struct DeviceDispatch {
  uint32_t kernel = 0;
  std::vector<void *> buffers;
};

/// An output and where it lies.
struct DeviceOutput {
  const Buffer *buffer = nullptr;
  ExchangeMemory memory;
};

/// A program made ready by a device.
struct DeviceProgram {
  const char *name = "";
  std::vector<uint32_t> kernels; ///< of its dispatches, for profiles
  virtual ~DeviceProgram() = default;
};

/// Memory lives as long as the device. Errors of kind ResourceExhausted mean that there is too little memory;
/// their text is the reason in a few words or empty. One call at a time.
class Device {
public:
  virtual ~Device() = default;
  /// Which of the artifact's code objects runs: "x86-64-v4", "sm_90a".
  virtual const std::string &codeLevel() const = 0;
  /// Host threads that compute.
  virtual int threads() const = 0;

  /// Zeroed memory, aligned to kBufferAlignment.
  virtual absl::StatusOr<void *> allocate(uint64_t bytes) = 0;
  /// Memory that kernels only read, with these contents; `data` stays where it is.
  virtual absl::StatusOr<void *> hold(const uint8_t *data, uint64_t bytes) = 0;
  /// Zeroed memory of inputs or outputs. Inputs reach the device with every run.
  virtual absl::StatusOr<ExchangeMemory> allocateExchange(uint64_t bytes, bool isInput) = 0;
  /// Makes memory from `allocate` zero again, cheaply where it was never written.
  virtual absl::Status clear(void *memory, uint64_t offset, uint64_t bytes) = 0;
  /// Copies between two places of one memory from `allocate` that do not overlap.
  virtual absl::Status copy(void *memory, uint64_t from, uint64_t to, uint64_t bytes) = 0;
  /// From memory of `allocate` to the host, and back; done on return.
  virtual absl::Status read(void *memory, uint64_t offset, uint64_t bytes, uint8_t *to) = 0;
  virtual absl::Status write(void *memory, uint64_t offset, uint64_t bytes, const uint8_t *from) = 0;

  virtual absl::StatusOr<std::unique_ptr<DeviceProgram>>
  prepare(const std::vector<DeviceDispatch> &dispatches, const std::vector<DeviceOutput> &outputs) = 0;
  /// Runs all dispatches in order; outputs are there when it returns. Neither allocates nor makes strings
  /// unless it fails. With a profile each dispatch is waited for and its time added.
  virtual absl::Status run(DeviceProgram &program, const Dims &dims, Profile *profile) = 0;
};

} // namespace llmc::runtime
