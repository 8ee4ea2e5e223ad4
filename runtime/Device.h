// What an engine needs of the thing that runs kernels: memory, and programs. Implemented for CPUs
// (cpu/CpuDevice.h) and CUDA GPUs (cuda/CudaDevice.h). Addresses of device memory are void pointers; only the
// CPU's may be followed by the host.
#pragma once
#include "absl/status/statusor.h"
#include "runtime/Artifact.h"
#include "runtime/Profile.h"

namespace llmc::runtime {

/// What memory is for: the device's own, or an exchange with the host. Inputs reach the device with every run.
enum class MemoryUse { device, input, output };
struct MemoryRequest {
  uint64_t bytes = 0;
  MemoryUse use = MemoryUse::device;
};

/// Memory that the host fills before a program or reads after it: one place on each side, the same one on a
/// CPU. Memory of the device alone has no host side.
struct ExchangeMemory {
  uint8_t *host = nullptr;
  void *device = nullptr;
};

/// Weights in the mapped artifact.
struct WeightBytes {
  const uint8_t *data = nullptr;
  uint64_t bytes = 0;
};

/// A dispatch with device addresses in place of buffers.
struct DeviceDispatch {
  uint32_t kernel = 0;
  std::vector<void *> buffers;
  unsigned span = 0;
};

/// See runtime::Loop.
struct DeviceLoop {
  size_t first = 0, count = 0;
  void *condition = nullptr;
  uint32_t atMost = 0;
};

/// What a program does.
struct DeviceSteps {
  std::vector<DeviceDispatch> dispatches;
  std::vector<DeviceLoop> loops; ///< none, and one span only, unless the device runs programs whole
  Dims most = {};                ///< that it will be called with
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

  /// Zeroed memory for every request, aligned to kBufferAlignment.
  virtual absl::StatusOr<std::vector<ExchangeMemory>>
  allocate(const std::vector<MemoryRequest> &requests) = 0;
  /// Memory with these contents that kernels only read; the contents stay where they are.
  virtual absl::StatusOr<std::vector<void *>> hold(const std::vector<WeightBytes> &weights) = 0;

  /// Makes memory from `allocate` zero again, cheaply where it was never written.
  virtual absl::Status clear(void *memory, uint64_t offset, uint64_t bytes) = 0;
  /// Copies between two places of one memory from `allocate` that do not overlap.
  virtual absl::Status copy(void *memory, uint64_t from, uint64_t to, uint64_t bytes) = 0;
  /// From memory of `allocate` to the host, and back; done on return.
  virtual absl::Status read(void *memory, uint64_t offset, uint64_t bytes, uint8_t *to) = 0;
  virtual absl::Status write(void *memory, uint64_t offset, uint64_t bytes, const uint8_t *from) = 0;

  /// Whether a program of these kernels can be given to `prepare` with its loops, if it has some, and all its spans.
  virtual bool runsWhole(const std::vector<DeviceDispatch> &, bool /*hasLoops*/) const { return false; }
  /// `usualSizes`, smallest first: those that the program will often be called with. A device that can record
  /// a program and replay it does so for them; a call of other sizes works as well.
  virtual absl::StatusOr<std::unique_ptr<DeviceProgram>> prepare(const DeviceSteps &steps,
                                                                 const std::vector<DeviceOutput> &outputs,
                                                                 const std::vector<Dims> &usualSizes) = 0;
  /// Runs all dispatches in order; outputs are there when it returns. `rows` by span; dims[0] is that of the first dispatch's. Neither
  /// allocates nor makes strings unless it fails, or changes a recording to other sizes. With a profile each dispatch is waited for and
  /// its time added.
  virtual absl::Status run(DeviceProgram &program, const Dims &dims, const int64_t *rows, Profile *profile) = 0;
};

} // namespace llmc::runtime
