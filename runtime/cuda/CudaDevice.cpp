// See CudaDevice.h. Every launch's parameter list is made when a program is prepared; running one only fills
// in the sizes.
#include "runtime/cuda/CudaDevice.h"
#include "runtime/cuda/Driver.h"
#include <algorithm>
#include <cstring>
#include <elf.h>

namespace llmc::runtime {
namespace {
using namespace llmc::cuda;

constexpr uint32_t kMaxGrid = 0x7fffffff;
constexpr uint32_t kSharedWithoutAsking = 48 << 10;
/// Blocks of a kernel that needs global scratch, for every multiprocessor: enough to keep it busy, few enough
/// to bound the scratch.
constexpr uint32_t kScratchBlocksPerProcessor = 4;

/// "sm_90a": number 90, and whether it is for that one architecture only.
struct ArchName {
  int number = 0;
  bool isSpecific = false;
};
ArchName parseArch(const std::string &level) {
  ArchName arch;
  if (level.compare(0, 3, "sm_") != 0)
    return arch;
  size_t at = 3;
  for (; at < level.size() && level[at] >= '0' && level[at] <= '9' && arch.number < 1000; ++at)
    arch.number = arch.number * 10 + (level[at] - '0');
  arch.isSpecific = at < level.size() && level[at] == 'a';
  return arch;
}

/// A cubin runs on its own generation only; PTX, and host code of the simulator, on every later one too.
bool isCubin(const uint8_t *data, uint64_t bytes) {
  Elf64_Ehdr header;
  if (bytes < sizeof header || memcmp(data, ELFMAG, SELFMAG) != 0)
    return false;
  memcpy(&header, data, sizeof header);
  return header.e_machine == EM_CUDA;
}

struct CudaProgram : DeviceProgram {
  struct Call {
    const KernelLaunch *launch;
    void *function;
    size_t parameters; ///< first of its pointers
    int64_t workgroups;
  };
  Dims dims;
  std::vector<Call> calls;
  std::vector<void *> values;     ///< device addresses that parameters point to
  std::vector<void *> parameters; ///< of all calls, as cuLaunchKernel takes them
  std::vector<DeviceOutput> outputs;
};

class CudaDevice : public Device {
public:
  explicit CudaDevice(const Artifact &artifact) : artifact_(artifact) {}

  ~CudaDevice() override {
    if (!context_)
      return;
    driver_->cuCtxSetCurrent(context_);
    if (stream_)
      driver_->cuStreamSynchronize(stream_);
    for (DevicePointer memory : memory_)
      driver_->cuMemFree(memory);
    for (void *memory : hostMemory_)
      driver_->cuMemFreeHost(memory);
    if (module_)
      driver_->cuModuleUnload(module_);
    if (stream_)
      driver_->cuStreamDestroy(stream_);
    driver_->cuDevicePrimaryCtxRelease(device_);
  }

  absl::Status open(const std::string &libcuda) {
    auto driver = CudaDriver::load(libcuda);
    if (!driver.ok())
      return absl::FailedPreconditionError(artifact_.path() + ": " + std::string(driver.status().message()));
    driver_ = std::move(*driver);
    int count = 0;
    if (Result r = driver_->cuDeviceGetCount(&count); r || count == 0)
      return unsupported("the CUDA driver finds no GPU" + (r ? ": " + driver_->name(r) : "") +
                         "; compile the model for --target=cpu");
    int major = 0, minor = 0, processors = 0, sharedBytes = 0;
    char name[256] = "";
    for (Result r : {driver_->cuDeviceGet(&device_, 0), driver_->cuDeviceGetName(name, sizeof name, device_),
                     driver_->cuDeviceGetAttribute(&major, kComputeCapabilityMajor, device_),
                     driver_->cuDeviceGetAttribute(&minor, kComputeCapabilityMinor, device_),
                     driver_->cuDeviceGetAttribute(&processors, kMultiprocessorCount, device_),
                     driver_->cuDeviceGetAttribute(&sharedBytes, kMaxSharedBytesOptIn, device_)})
      if (r)
        return failed("the GPU cannot be asked for its properties", r);
    name_ = name;
    scratchBlocks_ = static_cast<uint32_t>(std::max(processors, 1)) * kScratchBlocksPerProcessor;
    Context context = nullptr;
    if (Result r = driver_->cuDevicePrimaryCtxRetain(&context, device_))
      return failed("the GPU cannot be opened", r);
    context_ = context;
    if (Result r = driver_->cuCtxSetCurrent(context_))
      return failed("the GPU cannot be opened", r);
    if (Result r = driver_->cuStreamCreate(&stream_, /*CU_STREAM_NON_BLOCKING*/ 1))
      return failed("the GPU cannot be opened", r);
    return loadCode(major * 10 + minor, static_cast<uint32_t>(sharedBytes));
  }

  const std::string &codeLevel() const override { return object_->level; }
  int threads() const override { return 1; }

  absl::StatusOr<void *> allocate(uint64_t bytes) override {
    auto memory = allocateUnset(bytes);
    if (!memory.ok())
      return memory;
    if (Result r = driver_->cuMemsetD8Async(reinterpret_cast<DevicePointer>(*memory), 0, bytes, stream_))
      return failed("device memory cannot be cleared", r);
    return memory;
  }

  absl::StatusOr<void *> hold(const uint8_t *data, uint64_t bytes) override {
    auto memory = allocateUnset(bytes);
    if (!memory.ok() || bytes == 0)
      return memory;
    // In the stream of the kernels: a synchronous copy from pageable memory may return before its last bytes
    // have arrived.
    if (Result r = driver_->cuMemcpyHtoDAsync(reinterpret_cast<DevicePointer>(*memory), data, bytes, stream_))
      return failed("weights cannot be copied", r);
    return memory;
  }

  absl::StatusOr<ExchangeMemory> allocateExchange(uint64_t bytes, bool isInput) override {
    auto memory = allocate(bytes);
    if (!memory.ok())
      return memory.status();
    void *host = nullptr;
    Result r = driver_->cuMemAllocHost(&host, std::max<uint64_t>(bytes, 1));
    if (r)
      return r == kOutOfMemory ? absl::ResourceExhaustedError("in pinned host memory")
                               : failed("pinned memory cannot be had", r);
    hostMemory_.push_back(host);
    memset(host, 0, bytes);
    ExchangeMemory exchange{static_cast<uint8_t *>(host), *memory};
    if (isInput)
      inputs_.push_back({exchange, bytes});
    return exchange;
  }

  absl::Status clear(void *memory, uint64_t offset, uint64_t bytes) override {
    Result r = driver_->cuCtxSetCurrent(context_);
    if (!r && bytes)
      r = driver_->cuMemsetD8Async(reinterpret_cast<DevicePointer>(memory) + offset, 0, bytes, stream_);
    return r ? failed("device memory cannot be cleared", r) : absl::OkStatus();
  }

  absl::Status copy(void *memory, uint64_t from, uint64_t to, uint64_t bytes) override {
    auto base = reinterpret_cast<DevicePointer>(memory);
    Result r = driver_->cuCtxSetCurrent(context_);
    if (!r && bytes)
      r = driver_->cuMemcpyDtoDAsync(base + to, base + from, bytes, stream_);
    return r ? failed("device memory cannot be copied", r) : absl::OkStatus();
  }

  absl::Status read(void *memory, uint64_t offset, uint64_t bytes, uint8_t *to) override {
    Result r = driver_->cuCtxSetCurrent(context_);
    if (!r && bytes)
      r = driver_->cuMemcpyDtoHAsync(to, reinterpret_cast<DevicePointer>(memory) + offset, bytes, stream_);
    if (!r)
      r = driver_->cuStreamSynchronize(stream_);
    return r ? failed("device memory cannot be read", r) : absl::OkStatus();
  }

  absl::Status write(void *memory, uint64_t offset, uint64_t bytes, const uint8_t *from) override {
    Result r = driver_->cuCtxSetCurrent(context_);
    if (!r && bytes)
      r = driver_->cuMemcpyHtoDAsync(reinterpret_cast<DevicePointer>(memory) + offset, from, bytes, stream_);
    if (!r)
      r = driver_->cuStreamSynchronize(stream_);
    return r ? failed("device memory cannot be written", r) : absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<DeviceProgram>> prepare(const std::vector<DeviceDispatch> &dispatches,
                                                         const std::vector<DeviceOutput> &outputs) override {
    auto program = std::make_unique<CudaProgram>();
    program->outputs = outputs;
    size_t values = 0, parameters = 0;
    for (const DeviceDispatch &dispatch : dispatches) {
      values += dispatch.buffers.size();
      parameters += dispatch.buffers.size() + program->dims.size() + 2;
    }
    // Parameters are pointers into these: they must not move.
    program->values.reserve(values);
    program->parameters.reserve(parameters);
    program->calls.reserve(dispatches.size());
    for (const DeviceDispatch &dispatch : dispatches) {
      program->calls.push_back(
          {&object_->launches[dispatch.kernel], functions_[dispatch.kernel], program->parameters.size(), 0});
      for (void *buffer : dispatch.buffers) {
        program->values.push_back(buffer);
        program->parameters.push_back(&program->values.back());
      }
      for (int64_t &dim : program->dims)
        program->parameters.push_back(&dim);
      program->parameters.push_back(&scratch_);
      program->parameters.push_back(&program->calls.back().workgroups);
    }
    return std::unique_ptr<DeviceProgram>(std::move(program));
  }

  absl::Status run(DeviceProgram &given, const Dims &dims, Profile *profile) override {
    auto &program = static_cast<CudaProgram &>(given);
    program.dims = dims;
    if (Result r = driver_->cuCtxSetCurrent(context_))
      return failed("the GPU cannot be used", r);
    for (const Input &input : inputs_)
      if (Result r = driver_->cuMemcpyHtoDAsync(reinterpret_cast<DevicePointer>(input.memory.device),
                                                input.memory.host, input.bytes, stream_))
        return failed("inputs cannot be copied", r);
    for (size_t i = 0; i < program.calls.size(); ++i) {
      CudaProgram::Call &call = program.calls[i];
      int64_t begin = profile ? profile->now() : 0;
      const KernelLaunch &launch = *call.launch;
      auto workgroups = evaluateGrid(launch.grid, dims);
      if (!workgroups)
        return damagedArtifact(artifact_.path(), "kernel '" + launch.symbol + "' has a grid without a value");
      call.workgroups = *workgroups;
      if (*workgroups == 0)
        continue;
      uint32_t most = launch.scratchBytes ? scratchBlocks_ : kMaxGrid;
      auto blocks = static_cast<unsigned>(std::min<int64_t>(*workgroups, most));
      if (Result r =
              driver_->cuLaunchKernel(call.function, blocks, 1, 1, launch.threads, 1, 1, launch.sharedBytes,
                                      stream_, program.parameters.data() + call.parameters, nullptr))
        return failed("kernel '" + launch.symbol + "' cannot be launched", r);
      if (!profile)
        continue;
      if (Result r = driver_->cuStreamSynchronize(stream_))
        return failed("kernel '" + launch.symbol + "' failed", r);
      profile->add({program.name, program.kernels[i], dims[0], begin, profile->now()});
    }
    for (const DeviceOutput &output : program.outputs) {
      uint64_t bytes = shapeBytes(output.buffer->shape, output.buffer->type, dims).value_or(0);
      if (bytes)
        if (Result r = driver_->cuMemcpyDtoHAsync(
                output.memory.host, reinterpret_cast<DevicePointer>(output.memory.device), bytes, stream_))
          return failed("outputs cannot be copied", r);
    }
    if (Result r = driver_->cuStreamSynchronize(stream_))
      return failed("a kernel failed", r);
    return absl::OkStatus();
  }

private:
  struct Input {
    ExchangeMemory memory;
    uint64_t bytes;
  };

  absl::Status unsupported(const std::string &what) const {
    return absl::FailedPreconditionError(artifact_.path() + ": " + what);
  }

  absl::Status failed(const std::string &what, Result code) const {
    return absl::UnknownError(artifact_.path() + ": " + what + " on " + (name_.empty() ? "the GPU" : name_) +
                              ": " + driver_->name(code));
  }

  absl::StatusOr<void *> allocateUnset(uint64_t bytes) {
    DevicePointer address = 0;
    bytes = std::max<uint64_t>(bytes, 1);
    if (Result r = driver_->cuMemAlloc(&address, bytes)) {
      size_t total = 0;
      driver_->cuDeviceTotalMem(&total, device_);
      if (r == kOutOfMemory)
        return absl::ResourceExhaustedError("on " + name_ + ", which has " + std::to_string(total >> 20) +
                                            " MiB of which " + std::to_string(allocatedBytes_ >> 20) +
                                            " MiB are taken by this model");
      return failed("device memory cannot be had", r);
    }
    memory_.push_back(address);
    allocatedBytes_ += bytes;
    return reinterpret_cast<void *>(address);
  }

  /// The newest code that this GPU runs.
  absl::Status chooseObject(int capability) {
    std::string present;
    int best = 0;
    for (const CodeObject &o : artifact_.plan().codeObjects) {
      if (o.target != "cuda")
        continue;
      bool cubin = isCubin(artifact_.blobData(o.blob), artifact_.blobs()[o.blob].bytes);
      present += (present.empty() ? "" : ", ") + o.level + (cubin ? " (cubin)" : "");
      ArchName arch = parseArch(o.level);
      bool runs = arch.number > 0 && (arch.isSpecific ? arch.number == capability
                                                      : arch.number <= capability &&
                                                            (!cubin || arch.number / 10 == capability / 10));
      int rank = 2 * arch.number + arch.isSpecific;
      if (runs && rank > best) {
        best = rank;
        object_ = &o;
      }
    }
    if (object_)
      return absl::OkStatus();
    return unsupported("has no code for " + name_ + " (sm_" + std::to_string(capability) +
                       "): the artifact holds " + present +
                       "; compile the model again with --arch for this GPU");
  }

  absl::Status loadCode(int capability, uint32_t sharedBytes) {
    if (absl::Status s = chooseObject(capability); !s.ok())
      return s;
    const BlobEntry &blob = artifact_.blobs()[object_->blob];
    const uint8_t *data = artifact_.blobData(object_->blob);
    if (blob.bytes < sizeof(Elf64_Ehdr) || (memcmp(data, ELFMAG, SELFMAG) != 0 && data[blob.bytes - 1] != 0))
      return damagedArtifact(artifact_.path(), "code object '" + object_->level +
                                                   "' is neither an ELF file nor text that ends with a zero");
    if (Result r = driver_->cuModuleLoadData(&module_, data)) {
      module_ = nullptr;
      int version = 0;
      driver_->cuDriverGetVersion(&version);
      std::string driver = driver_->path + " (CUDA " + std::to_string(version / 1000) + "." +
                           std::to_string(version % 1000 / 10) + ")";
      if (r == kUnsupportedPtxVersion)
        return unsupported("its PTX is newer than the CUDA driver " + driver +
                           " knows; install a newer driver");
      return unsupported(
          "the CUDA driver " + driver + " does not load the " + object_->level + " code on " + name_ + ": " +
          driver_->name(r) +
          (r == kNoBinaryForGpu || r == kInvalidImage
               ? "; code for the simulator runs with --libcuda=libllmc-sim.so only, and no other does there"
               : ""));
    }
    uint64_t scratchBytes = 0;
    for (size_t k = 0; k < object_->launches.size(); ++k) {
      const KernelLaunch &launch = object_->launches[k];
      void *function = nullptr;
      if (Result r = driver_->cuModuleGetFunction(&function, module_, launch.symbol.c_str()))
        return damagedArtifact(artifact_.path(), "code object '" + object_->level + "' lacks kernel '" +
                                                     launch.symbol + "' (" + driver_->name(r) + ")");
      functions_.push_back(function);
      scratchBytes = std::max(scratchBytes, launch.scratchBytes);
      if (launch.sharedBytes <= kSharedWithoutAsking)
        continue;
      if (launch.sharedBytes > sharedBytes)
        return unsupported("kernel '" + launch.symbol + "' needs " + std::to_string(launch.sharedBytes) +
                           " bytes of shared memory, " + name_ + " has " + std::to_string(sharedBytes) +
                           "; compile the model again with --arch for this GPU");
      if (Result r = driver_->cuFuncSetAttribute(function, kMaxDynamicSharedBytes,
                                                 static_cast<int>(launch.sharedBytes)))
        return failed("kernel '" + launch.symbol + "' cannot have its shared memory", r);
    }
    if (scratchBytes) {
      auto scratch = allocateUnset(scratchBytes * scratchBlocks_);
      if (!scratch.ok())
        return scratch.status();
      scratch_ = *scratch;
    }
    return absl::OkStatus();
  }

  const Artifact &artifact_;
  std::unique_ptr<CudaDriver> driver_;
  std::string name_;
  int device_ = 0;
  Context context_ = nullptr;
  Stream stream_ = nullptr;
  void *module_ = nullptr;
  const CodeObject *object_ = nullptr;
  std::vector<void *> functions_; ///< by kernel
  uint32_t scratchBlocks_ = 1;
  void *scratch_ = nullptr; ///< shared by all launches, which the stream keeps in order
  std::vector<DevicePointer> memory_;
  std::vector<void *> hostMemory_;
  std::vector<Input> inputs_;
  uint64_t allocatedBytes_ = 0;
};

} // namespace

absl::StatusOr<std::unique_ptr<Device>> openCudaDevice(const Artifact &artifact, const std::string &libcuda) {
  auto device = std::make_unique<CudaDevice>(artifact);
  if (absl::Status s = device->open(libcuda); !s.ok())
    return s;
  return std::unique_ptr<Device>(std::move(device));
}

} // namespace llmc::runtime
