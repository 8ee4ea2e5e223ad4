// Loading libcuda: the first entry point that is missing names a driver that is too old.
#include "runtime/cuda/Driver.h"
#include <dlfcn.h>

namespace llmc::runtime {
using namespace llmc::cuda;

std::string CudaDriver::name(Result code) const {
  const char *text = nullptr;
  if (cuGetErrorName && cuGetErrorName(code, &text) == kSuccess && text)
    return text;
  return "CUDA error " + std::to_string(code);
}

static std::string versionText(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::string CudaDriver::describe() const { return path + " (CUDA " + versionText(version) + ")"; }

absl::StatusOr<std::unique_ptr<CudaDriver>> CudaDriver::load(const std::string &given) {
  auto driver = std::make_unique<CudaDriver>();
  driver->path = given.empty() ? "libcuda.so.1" : given;
  void *library = dlopen(driver->path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char *reason = dlerror();
    return absl::FailedPreconditionError(
        "cannot load the CUDA driver " + driver->path + " (" + (reason ? reason : "no reason given") +
        "); install NVIDIA's driver, name its library with --libcuda, or compile the model for --target=cpu");
  }
  const char *missing = nullptr;
  auto find = [&](auto &function, const char *symbol) {
    function = reinterpret_cast<std::decay_t<decltype(function)>>(dlsym(library, symbol));
    if (!function && !missing)
      missing = symbol;
  };
  find(driver->cuInit, "cuInit");
  find(driver->cuDriverGetVersion, "cuDriverGetVersion");
  if (driver->cuDriverGetVersion)
    driver->cuDriverGetVersion(&driver->version);
  find(driver->cuDeviceGetCount, "cuDeviceGetCount");
  find(driver->cuDeviceGet, "cuDeviceGet");
  find(driver->cuDeviceGetName, "cuDeviceGetName");
  find(driver->cuDeviceTotalMem, "cuDeviceTotalMem_v2");
  find(driver->cuDeviceGetAttribute, "cuDeviceGetAttribute");
  find(driver->cuDevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain");
  find(driver->cuDevicePrimaryCtxRelease, "cuDevicePrimaryCtxRelease_v2");
  find(driver->cuCtxSetCurrent, "cuCtxSetCurrent");
  find(driver->cuModuleLoadData, "cuModuleLoadData");
  find(driver->cuModuleUnload, "cuModuleUnload");
  find(driver->cuModuleGetFunction, "cuModuleGetFunction");
  find(driver->cuFuncSetAttribute, "cuFuncSetAttribute");
  find(driver->cuMemAlloc, "cuMemAlloc_v2");
  find(driver->cuMemFree, "cuMemFree_v2");
  find(driver->cuMemGetInfo, "cuMemGetInfo_v2");
  find(driver->cuMemAllocHost, "cuMemAllocHost_v2");
  find(driver->cuMemFreeHost, "cuMemFreeHost");
  find(driver->cuMemcpyHtoD, "cuMemcpyHtoD_v2");
  find(driver->cuMemcpyHtoDAsync, "cuMemcpyHtoDAsync_v2");
  find(driver->cuMemcpyDtoHAsync, "cuMemcpyDtoHAsync_v2");
  find(driver->cuMemcpyDtoDAsync, "cuMemcpyDtoDAsync_v2");
  find(driver->cuMemsetD8Async, "cuMemsetD8Async");
  find(driver->cuStreamCreate, "cuStreamCreate");
  find(driver->cuStreamDestroy, "cuStreamDestroy_v2");
  find(driver->cuStreamSynchronize, "cuStreamSynchronize");
  find(driver->cuLaunchKernel, "cuLaunchKernel");
  find(driver->cuLaunchKernelEx, "cuLaunchKernelEx");
  find(driver->cuLaunchCooperativeKernel, "cuLaunchCooperativeKernel");
  find(driver->cuOccupancyMaxActiveBlocksPerMultiprocessor, "cuOccupancyMaxActiveBlocksPerMultiprocessor");
  find(driver->cuTensorMapEncodeTiled, "cuTensorMapEncodeTiled");
  find(driver->cuEventCreate, "cuEventCreate");
  find(driver->cuEventDestroy, "cuEventDestroy_v2");
  find(driver->cuEventRecord, "cuEventRecord");
  find(driver->cuEventSynchronize, "cuEventSynchronize");
  find(driver->cuEventElapsedTime, "cuEventElapsedTime");
  find(driver->cuStreamBeginCapture, "cuStreamBeginCapture_v2");
  find(driver->cuStreamEndCapture, "cuStreamEndCapture");
  find(driver->cuGraphInstantiate, "cuGraphInstantiateWithFlags");
  find(driver->cuGraphExecUpdate, "cuGraphExecUpdate_v2");
  find(driver->cuGraphUpload, "cuGraphUpload");
  find(driver->cuGraphLaunch, "cuGraphLaunch");
  find(driver->cuGraphDestroy, "cuGraphDestroy");
  find(driver->cuGraphExecDestroy, "cuGraphExecDestroy");
  find(driver->cuGetErrorName, "cuGetErrorName");
  if (driver->version >= kLoopCudaVersion) {
    find(driver->cuGraphCreate, "cuGraphCreate");
    find(driver->cuGraphAddNode, "cuGraphAddNode");
    find(driver->cuGraphConditionalHandleCreate, "cuGraphConditionalHandleCreate");
    find(driver->cuStreamBeginCaptureToGraph, "cuStreamBeginCaptureToGraph");
    find(driver->cuStreamGetCaptureInfo, "cuStreamGetCaptureInfo_v2");
  }
  driver->isSimulator = dlsym(library, "llmcSimReport") != nullptr;
  if (driver->version && driver->version < kNeededCudaVersion)
    return absl::FailedPreconditionError("the CUDA driver " + driver->describe() + " is too old; install one of CUDA " +
                                         versionText(kNeededCudaVersion) + " or newer");
  if (missing)
    return absl::FailedPreconditionError("the CUDA driver " + driver->path + " lacks " + missing +
                                         "; it is no CUDA driver or a damaged one, install NVIDIA's");
  if (Result r = driver->cuInit(0))
    return absl::FailedPreconditionError(
        r == kNoDevice
            ? "the CUDA driver " + driver->path + " finds no GPU; compile the model for --target=cpu"
            : "the CUDA driver " + driver->describe() + " does not start: " + driver->name(r) +
                  (r == kSystemDriverMismatch ? "; it is not the version that the system runs: restart the machine"
                                              : ""));
  return driver;
}

} // namespace llmc::runtime
