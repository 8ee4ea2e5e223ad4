// See Gpu.h.
#include "runtime/cuda/Gpu.h"
#include <algorithm>

namespace llmc::runtime {
using namespace llmc::cuda;

absl::StatusOr<std::unique_ptr<Gpu>> Gpu::open(const Artifact &artifact, const std::string &libcuda) {
  std::unique_ptr<Gpu> gpu(new Gpu(artifact));
  if (absl::Status s = gpu->open(libcuda); !s.ok())
    return s;
  return gpu;
}

absl::Status Gpu::open(const std::string &libcuda) {
  auto driver = CudaDriver::load(libcuda);
  if (!driver.ok())
    return unsupported(std::string(driver.status().message()));
  driver_ = std::move(*driver);
  int count = 0;
  if (Result r = driver_->cuDeviceGetCount(&count))
    return failed("GPUs cannot be counted", r);
  if (count == 0)
    return unsupported("the CUDA driver " + driver_->path + " finds no GPU; compile the model for --target=cpu");
  int major = 0, minor = 0, processors = 0, sharedBytes = 0, cacheBytes = 0, cooperates = 0;
  char name[256] = "";
  for (Result r : {driver_->cuDeviceGet(&device_, 0), driver_->cuDeviceGetName(name, sizeof name, device_),
                   driver_->cuDeviceGetAttribute(&major, kComputeCapabilityMajor, device_),
                   driver_->cuDeviceGetAttribute(&minor, kComputeCapabilityMinor, device_),
                   driver_->cuDeviceGetAttribute(&processors, kMultiprocessorCount, device_),
                   driver_->cuDeviceGetAttribute(&cacheBytes, kL2CacheBytes, device_),
                   driver_->cuDeviceGetAttribute(&cooperates, kCooperativeLaunch, device_),
                   driver_->cuDeviceGetAttribute(&sharedBytes, kMaxSharedBytesOptIn, device_)})
    if (r)
      return failed("properties cannot be asked for", r);
  name_ = name;
  capability_ = major * 10 + minor;
  processors_ = static_cast<uint32_t>(std::max(processors, 1));
  cacheBytes_ = static_cast<uint64_t>(std::max(cacheBytes, 0));
  hasCooperativeLaunch_ = cooperates != 0;
  sharedBytes_ = static_cast<uint32_t>(std::max(sharedBytes, 0));
  Context context = nullptr;
  if (Result r = driver_->cuDevicePrimaryCtxRetain(&context, device_))
    return failed("a context cannot be had", r);
  context_ = context;
  if (Result r = use())
    return failed("the context cannot be used", r);
  if (Result r = driver_->cuStreamCreate(&stream_, kStreamNonBlocking)) {
    stream_ = nullptr;
    return failed("a stream cannot be had", r);
  }
  return absl::OkStatus();
}

Gpu::~Gpu() {
  if (!context_)
    return;
  use();
  if (stream_)
    driver_->cuStreamDestroy(stream_);
  driver_->cuDevicePrimaryCtxRelease(device_);
}

void Gpu::settle() const {
  use();
  driver_->cuStreamSynchronize(stream_);
}

absl::Status Gpu::failed(const std::string &what, Result code) const {
  std::string text = artifact_.path() + ": " + what + " on " + (name_.empty() ? "the GPU" : name_) + ": " +
                     driver_->name(code);
  if (code == kOutOfMemory)
    return absl::ResourceExhaustedError(
        text + "; choose a smaller context or fewer sessions, or end other programs that use the GPU");
  return code == kNotSupported || code == kInvalidValue ? absl::UnimplementedError(text) : absl::UnknownError(text);
}

absl::Status Gpu::unsupported(const std::string &what) const {
  return absl::FailedPreconditionError(artifact_.path() + ": " + what);
}

} // namespace llmc::runtime
