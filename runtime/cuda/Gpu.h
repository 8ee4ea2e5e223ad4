// An opened GPU: driver, context, one stream. What every other part of the CUDA device begins with.
#pragma once
#include "runtime/Artifact.h"
#include "runtime/cuda/Driver.h"

namespace llmc::runtime {

class Gpu {
public:
  /// Opens the first GPU through the driver library `libcuda` (empty: libcuda.so.1). Errors name the artifact,
  /// which outlives the GPU.
  static absl::StatusOr<std::unique_ptr<Gpu>> open(const Artifact &artifact, const std::string &libcuda);
  ~Gpu();
  Gpu(const Gpu &) = delete;

  const CudaDriver &api() const { return *driver_; }
  cuda::Stream stream() const { return stream_; }
  cuda::Context context() const { return context_; }
  const Artifact &artifact() const { return artifact_; }
  const std::string &name() const { return name_; }
  int capability() const { return capability_; } ///< 90 for sm_90
  uint32_t processors() const { return processors_; }
  uint64_t cacheBytes() const { return cacheBytes_; } ///< of level 2
  bool hasCooperativeLaunch() const { return hasCooperativeLaunch_; }
  uint32_t sharedBytes() const { return sharedBytes_; } ///< that a block may have

  /// Makes the calling thread's driver calls go to this GPU.
  cuda::Result use() const { return driver_->cuCtxSetCurrent(context_); }
  /// Waits for all work; what it says is of no interest any more.
  void settle() const;

  /// Statuses: what the driver refused (ResourceExhausted: for want of memory; Unimplemented: it does not do that), and what cannot run here.
  absl::Status failed(const std::string &what, cuda::Result code) const;
  absl::Status unsupported(const std::string &what) const;

private:
  explicit Gpu(const Artifact &artifact) : artifact_(artifact) {}
  absl::Status open(const std::string &libcuda);

  const Artifact &artifact_;
  std::unique_ptr<CudaDriver> driver_;
  std::string name_;
  int device_ = 0, capability_ = 0;
  uint32_t processors_ = 1, sharedBytes_ = 0;
  uint64_t cacheBytes_ = 0;
  bool hasCooperativeLaunch_ = false;
  cuda::Context context_ = nullptr;
  cuda::Stream stream_ = nullptr;
};

} // namespace llmc::runtime
