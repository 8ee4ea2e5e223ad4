// See DeviceSpeed.h. Times are those of events in the stream, the best of several.
#include "tools/llmc-gpu/DeviceSpeed.h"
#include "runtime/cuda/Driver.h"
#include <algorithm>
#include <dlfcn.h>
#include <functional>
#include <vector>

namespace llmc {
namespace {
using namespace cuda;
using runtime::CudaDriver;

constexpr int kRepeats = 10;

/// A context with a stream, two events and some memory; all is given back at the end.
class Bench {
public:
  static absl::StatusOr<std::unique_ptr<Bench>> open(const std::string &libcuda) {
    auto driver = CudaDriver::load(libcuda);
    if (!driver.ok())
      return driver.status();
    std::unique_ptr<Bench> bench(new Bench(std::move(*driver)));
    const CudaDriver &api = *bench->api;
    Context context = nullptr;
    Result r = api.cuDeviceGet(&bench->device_, 0);
    if (!r)
      r = api.cuDevicePrimaryCtxRetain(&context, bench->device_);
    bench->hasContext_ = !r;
    if (!r)
      r = api.cuCtxSetCurrent(context);
    if (!r)
      r = api.cuStreamCreate(&bench->stream, kStreamNonBlocking);
    for (Event &event : bench->events_)
      if (!r)
        r = api.cuEventCreate(&event, kEventDefault);
    return r ? absl::StatusOr<std::unique_ptr<Bench>>(bench->failed("the GPU cannot be used", r)) : std::move(bench);
  }
  ~Bench() {
    for (DevicePointer address : memory_)
      api->cuMemFree(address);
    for (Event event : events_)
      if (event)
        api->cuEventDestroy(event);
    if (stream)
      api->cuStreamDestroy(stream);
    if (hasContext_)
      api->cuDevicePrimaryCtxRelease(device_);
  }

  absl::Status failed(const std::string &what, Result code) const {
    return absl::UnknownError(what + ": " + api->name(code));
  }
  absl::StatusOr<DevicePointer> memory(uint64_t bytes) {
    DevicePointer address = 0;
    if (Result r = api->cuMemAlloc(&address, bytes))
      return failed("no " + std::to_string(bytes) + " bytes of device memory", r);
    memory_.push_back(address);
    if (Result r = api->cuMemsetD8Async(address, 0x3c, bytes, stream)) // bf16 0.0115: not zeros, which are cheaper
      return failed("device memory cannot be filled", r);
    return address;
  }
  /// Seconds that `work` takes in the stream: the shortest time of several, after one to warm up.
  absl::StatusOr<double> time(const std::function<int()> &work) {
    double best = 0;
    for (int i = 0; i <= kRepeats; ++i) {
      float milliseconds = 0;
      Result r = api->cuEventRecord(events_[0], stream);
      if (!r && work())
        return absl::UnknownError("the work cannot be given to the GPU");
      if (!r)
        r = api->cuEventRecord(events_[1], stream);
      if (!r)
        r = api->cuEventSynchronize(events_[1]);
      if (!r)
        r = api->cuEventElapsedTime(&milliseconds, events_[0], events_[1]);
      if (r)
        return failed("the GPU cannot be timed", r);
      double seconds = std::max(milliseconds, 1e-6f) * 1e-3;
      if (i)
        best = i == 1 ? seconds : std::min(best, seconds);
    }
    return best;
  }

  std::unique_ptr<CudaDriver> api;
  Stream stream = nullptr;

private:
  explicit Bench(std::unique_ptr<CudaDriver> driver) : api(std::move(driver)) {}
  int device_ = 0;
  bool hasContext_ = false;
  Event events_[2] = {};
  std::vector<DevicePointer> memory_;
};

/// The part of cuBLASLt that one product needs (cublasLt.h).
struct CublasLt {
  using Handle = void *;
  int (*create)(Handle *) = nullptr;
  int (*destroy)(Handle) = nullptr;
  int (*descCreate)(Handle *, int compute, int scale) = nullptr;
  int (*descDestroy)(Handle) = nullptr;
  int (*layoutCreate)(Handle *, int type, uint64_t rows, uint64_t columns, int64_t leading) = nullptr;
  int (*layoutDestroy)(Handle) = nullptr;
  int (*matmul)(Handle, Handle desc, const void *alpha, const void *a, Handle aLayout, const void *b, Handle bLayout,
                const void *beta, const void *c, Handle cLayout, void *d, Handle dLayout, const void *algorithm,
                void *workspace, size_t workspaceBytes, Stream) = nullptr;

  /// "" or why it cannot be had.
  std::string load(const std::string &given) {
    std::vector<std::string> names = {given};
    if (given.empty())
      names = {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"};
    void *library = nullptr;
    for (const std::string &name : names)
      if (!library)
        library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library)
      return "no " + names.front() + " here";
    bool isWhole = true;
    auto find = [&](auto &function, const char *symbol) {
      function = reinterpret_cast<std::decay_t<decltype(function)>>(dlsym(library, symbol));
      isWhole = isWhole && function;
    };
    find(create, "cublasLtCreate");
    find(destroy, "cublasLtDestroy");
    find(descCreate, "cublasLtMatmulDescCreate");
    find(descDestroy, "cublasLtMatmulDescDestroy");
    find(layoutCreate, "cublasLtMatrixLayoutCreate");
    find(layoutDestroy, "cublasLtMatrixLayoutDestroy");
    find(matmul, "cublasLtMatmul");
    return isWhole ? "" : names.front() + " is no cuBLASLt";
  }
};

/// Seconds of one product; what goes wrong goes into `reason`.
double timeCublasLt(Bench &bench, const std::string &library, int64_t size, std::string &reason) {
  constexpr int kComputeF32 = 68, kRealBf16 = 14, kRealF32 = 0; // cublasComputeType_t, cudaDataType
  constexpr size_t kWorkspaceBytes = size_t(64) << 20;
  CublasLt lt;
  if (reason = lt.load(library); !reason.empty())
    return 0;
  uint64_t bytes = static_cast<uint64_t>(size) * static_cast<uint64_t>(size) * 2;
  DevicePointer places[4] = {};
  for (int i = 0; i < 4; ++i) {
    auto memory = bench.memory(i < 3 ? bytes : kWorkspaceBytes);
    if (!memory.ok()) {
      reason = std::string(memory.status().message());
      return 0;
    }
    places[i] = *memory;
  }
  CublasLt::Handle handle = nullptr, desc = nullptr, layout = nullptr;
  int code = lt.create(&handle);
  if (!code)
    code = lt.descCreate(&desc, kComputeF32, kRealF32);
  if (!code)
    code = lt.layoutCreate(&layout, kRealBf16, static_cast<uint64_t>(size), static_cast<uint64_t>(size), size);
  const float one = 1, zero = 0;
  auto at = [&](int i) { return reinterpret_cast<void *>(places[i]); };
  absl::StatusOr<double> seconds = 0.0;
  if (!code)
    seconds = bench.time([&] {
      return code = lt.matmul(handle, desc, &one, at(0), layout, at(1), layout, &zero, at(2), layout, at(2), layout,
                              nullptr, at(3), kWorkspaceBytes, bench.stream);
    });
  if (code)
    reason = "cuBLASLt answers with status " + std::to_string(code);
  else if (!seconds.ok())
    reason = std::string(seconds.status().message());
  if (layout)
    lt.layoutDestroy(layout);
  if (desc)
    lt.descDestroy(desc);
  if (handle)
    lt.destroy(handle);
  return reason.empty() ? *seconds : 0;
}

} // namespace

absl::StatusOr<DeviceSpeed> measureDevice(const std::string &libcuda, const std::string &cublasLt, uint64_t copyBytes,
                                          int64_t matmulSize) {
  auto bench = Bench::open(libcuda);
  if (!bench.ok())
    return bench.status();
  DevicePointer places[2] = {};
  for (DevicePointer &place : places) {
    auto memory = (*bench)->memory(copyBytes);
    if (!memory.ok())
      return memory.status();
    place = *memory;
  }
  auto seconds = (*bench)->time([&] {
    return (*bench)->api->cuMemcpyDtoDAsync(places[1], places[0], copyBytes, (*bench)->stream);
  });
  if (!seconds.ok())
    return seconds.status();
  DeviceSpeed speed;
  speed.copyBytesPerSecond = 2 * static_cast<double>(copyBytes) / *seconds;
  if ((*bench)->api->isSimulator) {
    speed.matmulReason = "the simulator runs no other library";
    return speed;
  }
  double product = timeCublasLt(**bench, cublasLt, matmulSize, speed.matmulReason);
  auto n = static_cast<double>(matmulSize);
  speed.matmulFlopsPerSecond = product > 0 ? 2 * n * n * n / product : 0;
  return speed;
}

} // namespace llmc
