// See CudaDevice.h.
#include "runtime/cuda/CudaDevice.h"
#include "runtime/cuda/CudaProgram.h"
#include <algorithm>

namespace llmc::runtime {
namespace {
using namespace llmc::cuda;

/// Blocks of a kernel that needs global scratch, for every multiprocessor: enough to keep it busy, few enough
/// to bound the scratch; of clusters whole ones.
constexpr uint32_t kScratchBlocksPerProcessor = 4;

class CudaDevice : public Device {
public:
  absl::Status open(const Artifact &artifact, const std::string &libcuda) {
    auto gpu = Gpu::open(artifact, libcuda);
    if (!gpu.ok())
      return gpu.status();
    gpu_ = std::move(*gpu);
    auto code = CudaCode::load(*gpu_);
    if (!code.ok())
      return code.status();
    code_ = std::move(*code);
    memory_ = std::make_unique<CudaMemory>(*gpu_);
    uint64_t scratchBytes = 0;
    for (uint32_t k = 0; k < artifact.plan().kernels.size(); ++k)
      scratchBytes = std::max(scratchBytes, code_->launch(k).scratchBytes);
    if (code_->merged())
      scratchBytes = std::max(scratchBytes, code_->merged()->scratchBytes);
    if (scratchBytes == 0)
      return absl::OkStatus();
    scratch_.blocks = gpu_->processors() * kScratchBlocksPerProcessor;
    auto memory = memory_->reserve(scratchBytes * scratch_.blocks);
    if (!memory.ok())
      return absl::IsResourceExhausted(memory.status())
                 ? absl::ResourceExhaustedError(artifact.path() + ": no memory for the kernels' scratch of " +
                                                std::to_string(scratchBytes * scratch_.blocks) + " bytes (" +
                                                std::string(memory.status().message()) + ")")
                 : memory.status();
    scratch_.memory = *memory;
    return absl::OkStatus();
  }

  const std::string &codeLevel() const override { return code_->level(); }
  int threads() const override { return 1; }

  absl::StatusOr<std::vector<ExchangeMemory>> allocate(const std::vector<MemoryRequest> &requests) override {
    return memory_->allocate(requests);
  }
  absl::StatusOr<std::vector<void *>> hold(const std::vector<WeightBytes> &weights) override {
    return memory_->hold(weights);
  }

  absl::Status clear(void *memory, uint64_t offset, uint64_t bytes) override {
    return inStream("device memory cannot be cleared", bytes, /*isWaiting=*/false, [&] {
      return gpu_->api().cuMemsetD8Async(address(memory) + offset, 0, bytes, gpu_->stream());
    });
  }
  absl::Status copy(void *memory, uint64_t from, uint64_t to, uint64_t bytes) override {
    return inStream("device memory cannot be copied", bytes, /*isWaiting=*/false, [&] {
      return gpu_->api().cuMemcpyDtoDAsync(address(memory) + to, address(memory) + from, bytes,
                                           gpu_->stream());
    });
  }
  absl::Status read(void *memory, uint64_t offset, uint64_t bytes, uint8_t *to) override {
    return inStream("device memory cannot be read", bytes, /*isWaiting=*/true, [&] {
      return gpu_->api().cuMemcpyDtoHAsync(to, address(memory) + offset, bytes, gpu_->stream());
    });
  }
  absl::Status write(void *memory, uint64_t offset, uint64_t bytes, const uint8_t *from) override {
    return inStream("device memory cannot be written", bytes, /*isWaiting=*/true, [&] {
      return gpu_->api().cuMemcpyHtoDAsync(address(memory) + offset, from, bytes, gpu_->stream());
    });
  }

  /// The merged kernel tests a loop's condition itself, and so does a graph.
  bool runsWhole(const std::vector<DeviceDispatch> &dispatches, bool hasLoops) const override {
    auto isMerged = [&](const DeviceDispatch &d) { return code_->launch(d.kernel).merged >= 0; };
    return (code_->merged() && std::all_of(dispatches.begin(), dispatches.end(), isMerged)) || (hasLoops && code_->loopTest());
  }
  absl::StatusOr<std::unique_ptr<DeviceProgram>> prepare(const DeviceSteps &steps,
                                                         const std::vector<DeviceOutput> &outputs,
                                                         const std::vector<Dims> &usualSizes) override {
    auto program =
        std::make_unique<CudaProgram>(*gpu_, *code_, *memory_, scratch_, steps, outputs);
    if (absl::Status s = program->merge(); !s.ok())
      return s;
    if (absl::Status s = program->record(usualSizes); !s.ok())
      return s;
    return std::unique_ptr<DeviceProgram>(std::move(program));
  }

  absl::Status run(DeviceProgram &program, const Dims &dims, const int64_t *rows, Profile *profile) override {
    return static_cast<CudaProgram &>(program).run(dims, rows, profile);
  }

private:
  static DevicePointer address(const void *memory) { return reinterpret_cast<DevicePointer>(memory); }

  template <typename Work>
  absl::Status inStream(const char *what, uint64_t bytes, bool isWaiting, const Work &work) {
    Result r = bytes ? gpu_->use() : kSuccess;
    if (!r && bytes)
      r = work();
    if (!r && bytes && isWaiting)
      r = gpu_->api().cuStreamSynchronize(gpu_->stream());
    return r ? gpu_->failed(what, r) : absl::OkStatus();
  }

  // In the order in which they need each other: the last one ends first.
  std::unique_ptr<Gpu> gpu_;
  std::unique_ptr<CudaCode> code_;
  std::unique_ptr<CudaMemory> memory_;
  Scratch scratch_;
};

} // namespace

absl::StatusOr<std::unique_ptr<Device>> openCudaDevice(const Artifact &artifact, const std::string &libcuda) {
  auto device = std::make_unique<CudaDevice>();
  if (absl::Status s = device->open(artifact, libcuda); !s.ok())
    return s;
  return std::unique_ptr<Device>(std::move(device));
}

} // namespace llmc::runtime
