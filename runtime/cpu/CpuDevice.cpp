// See CpuDevice.h. A program is a list of tasks for the thread pool with every pointer resolved.
#include "runtime/cpu/CpuDevice.h"
#include "runtime/cpu/CpuLevel.h"
#include "runtime/cpu/ElfImage.h"
#include <cstring>
#include <optional>
#include <sys/mman.h>

namespace llmc::runtime {
namespace {

/// Pages from the system, zero until written, never counted before touched.
class Pages {
public:
  Pages(Pages &&other) noexcept : data_(other.data_), bytes_(other.bytes_) { other.data_ = nullptr; }
  Pages &operator=(Pages &&) = delete;
  ~Pages() {
    if (data_)
      munmap(data_, bytes_);
  }
  /// Nothing when the system has no such amount.
  static std::optional<Pages> map(uint64_t bytes) {
    bytes = std::max<uint64_t>((bytes + kPageBytes - 1) / kPageBytes * kPageBytes, kPageBytes);
    void *data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
      return std::nullopt;
    return Pages(static_cast<uint8_t *>(data), bytes);
  }
  uint8_t *data() const { return data_; }

private:
  Pages(uint8_t *data, uint64_t bytes) : data_(data), bytes_(bytes) {}
  uint8_t *data_;
  uint64_t bytes_;
};

struct CpuProgram : DeviceProgram {
  std::vector<Task> tasks;
  std::vector<void *> pointers; ///< of all tasks, one after the other
};

class CpuDevice : public Device {
public:
  explicit CpuDevice(const Artifact &artifact) : artifact_(artifact) {}

  absl::Status open(int threads) {
    auto pool = ThreadPool::create(threads ? threads : usableCpus());
    if (!pool.ok())
      return pool.status();
    pool_ = std::move(*pool);
    return loadCode();
  }

  const std::string &codeLevel() const override { return codeLevel_; }
  int threads() const override { return pool_->threads(); }

  absl::StatusOr<std::vector<ExchangeMemory>> allocate(const std::vector<MemoryRequest> &requests) override {
    std::vector<ExchangeMemory> result;
    for (const MemoryRequest &request : requests) {
      auto pages = Pages::map(request.bytes);
      if (!pages)
        return absl::ResourceExhaustedError("");
      memory_.push_back(std::move(*pages));
      uint8_t *data = memory_.back().data();
      result.push_back({data, data});
    }
    return result;
  }

  absl::StatusOr<std::vector<void *>> hold(const std::vector<WeightBytes> &weights) override {
    // Mapped read only, and kernels are verified never to write it.
    std::vector<void *> result;
    for (const WeightBytes &w : weights)
      result.push_back(const_cast<uint8_t *>(w.data));
    return result;
  }

  absl::Status copy(void *memory, uint64_t from, uint64_t to, uint64_t bytes) override {
    auto *data = static_cast<uint8_t *>(memory);
    memcpy(data + to, data + from, bytes);
    return absl::OkStatus();
  }
  absl::Status read(void *memory, uint64_t offset, uint64_t bytes, uint8_t *to) override {
    memcpy(to, static_cast<uint8_t *>(memory) + offset, bytes);
    return absl::OkStatus();
  }
  absl::Status write(void *memory, uint64_t offset, uint64_t bytes, const uint8_t *from) override {
    memcpy(static_cast<uint8_t *>(memory) + offset, from, bytes);
    return absl::OkStatus();
  }

  absl::Status clear(void *memory, uint64_t offset, uint64_t bytes) override {
    uint8_t *begin = static_cast<uint8_t *>(memory) + offset, *end = begin + bytes;
    auto overPage = [](uint8_t *p) { return reinterpret_cast<uintptr_t>(p) % kPageBytes; };
    uint8_t *firstPage = begin + (kPageBytes - overPage(begin)) % kPageBytes, *lastPage = end - overPage(end);
    // Whole pages go back to the system (untouched ones cost nothing) and read as zero; small states are
    // simply written.
    if (bytes < 64 * kPageBytes || lastPage <= firstPage ||
        madvise(firstPage, static_cast<size_t>(lastPage - firstPage), MADV_DONTNEED) != 0) {
      memset(begin, 0, bytes);
      return absl::OkStatus();
    }
    memset(begin, 0, static_cast<size_t>(firstPage - begin));
    memset(lastPage, 0, static_cast<size_t>(end - lastPage));
    return absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<DeviceProgram>> prepare(const DeviceSteps &steps,
                                                         const std::vector<DeviceOutput> &,
                                                         const std::vector<Dims> &) override {
    auto program = std::make_unique<CpuProgram>();
    size_t pointers = 0;
    for (const DeviceDispatch &dispatch : steps.dispatches)
      pointers += dispatch.buffers.size();
    program->pointers.reserve(pointers); // tasks point into it
    for (const DeviceDispatch &dispatch : steps.dispatches) {
      const std::string &kernel = artifact_.plan().kernels[dispatch.kernel].name;
      Task task;
      task.buffers = program->pointers.data() + program->pointers.size();
      task.kernel = reinterpret_cast<KernelFunction>(code_->function(kernel));
      task.grid = reinterpret_cast<GridFunction>(code_->function(kernel + ".grid"));
      program->pointers.insert(program->pointers.end(), dispatch.buffers.begin(), dispatch.buffers.end());
      program->tasks.push_back(task);
    }
    return std::unique_ptr<DeviceProgram>(std::move(program));
  }

  absl::Status run(DeviceProgram &program, const Dims &dims, const int64_t *, Profile *profile) override {
    auto &ready = static_cast<CpuProgram &>(program);
    if (!profile) {
      pool_->run(ready.tasks.data(), ready.tasks.size(), dims.data());
      return absl::OkStatus();
    }
    for (size_t i = 0; i < ready.tasks.size(); ++i) {
      int64_t begin = profile->now();
      pool_->run(&ready.tasks[i], 1, dims.data());
      profile->add({program.name, program.kernels[i], dims[0], begin, profile->now()});
    }
    return absl::OkStatus();
  }

private:
  absl::Status loadCode() {
    const std::string &path = artifact_.path();
    auto chosen = chooseCodeObject(artifact_.plan().codeObjects, detectCpu(), path);
    if (!chosen.ok())
      return chosen.status();
    const CodeObject &object = artifact_.plan().codeObjects[*chosen];
    codeLevel_ = object.level;
    for (const std::string &feature : object.features)
      codeLevel_ += "+" + feature;
    const BlobEntry &blob = artifact_.blobs()[object.blob];
    auto code = ElfImage::load(artifact_.blobData(object.blob), blob.bytes, path + " (" + object.level + ")");
    if (!code.ok())
      return code.status();
    code_ = std::move(*code);
    // Also kernels that no program uses: an artifact holds what its plan says.
    for (const Kernel &kernel : artifact_.plan().kernels)
      for (const char *suffix : {"", ".grid"})
        if (!code_->function(kernel.name + suffix))
          return damagedArtifact(path, "code object '" + codeLevel_ + "' lacks symbol '" + kernel.name +
                                           suffix + "'");
    return absl::OkStatus();
  }

  const Artifact &artifact_;
  std::unique_ptr<ElfImage> code_;
  std::unique_ptr<ThreadPool> pool_;
  std::string codeLevel_;
  std::vector<Pages> memory_;
};

} // namespace

absl::StatusOr<std::unique_ptr<Device>> openCpuDevice(const Artifact &artifact, int threads) {
  auto device = std::make_unique<CpuDevice>(artifact);
  if (absl::Status s = device->open(threads); !s.ok())
    return s;
  return std::unique_ptr<Device>(std::move(device));
}

} // namespace llmc::runtime
