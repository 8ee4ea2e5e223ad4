// The CUDA driver, loaded at run time.
#pragma once
#include "absl/status/statusor.h"
#include "runtime/cuda/DriverApi.h"
#include <memory>
#include <string>

namespace llmc::runtime {

/// What the entry points below need: graphs that are changed in place are of CUDA 12.0.
inline constexpr int kNeededCudaVersion = 12000;

/// From here on launches that overlap can be recorded.
inline constexpr int kOverlapCudaVersion = 12030;

/// From here on graphs have loops of their own.
inline constexpr int kLoopCudaVersion = 12030;

/// Entry points of a loaded driver; members have cuda.h's names without version suffixes.
struct CudaDriver {
  cuda::Result (*cuInit)(unsigned);
  cuda::Result (*cuDriverGetVersion)(int *);
  cuda::Result (*cuDeviceGetCount)(int *);
  cuda::Result (*cuDeviceGet)(int *, int);
  cuda::Result (*cuDeviceGetName)(char *, int, int);
  cuda::Result (*cuDeviceTotalMem)(size_t *, int);
  cuda::Result (*cuDeviceGetAttribute)(int *, int, int);
  cuda::Result (*cuDevicePrimaryCtxRetain)(cuda::Context *, int);
  cuda::Result (*cuDevicePrimaryCtxRelease)(int);
  cuda::Result (*cuCtxSetCurrent)(cuda::Context);
  cuda::Result (*cuModuleLoadData)(void **, const void *);
  cuda::Result (*cuModuleUnload)(void *);
  cuda::Result (*cuModuleGetFunction)(void **, void *, const char *);
  cuda::Result (*cuFuncSetAttribute)(void *, int, int);
  cuda::Result (*cuMemAlloc)(cuda::DevicePointer *, size_t);
  cuda::Result (*cuMemFree)(cuda::DevicePointer);
  cuda::Result (*cuMemGetInfo)(size_t *, size_t *);
  cuda::Result (*cuMemAllocHost)(void **, size_t);
  cuda::Result (*cuMemFreeHost)(void *);
  cuda::Result (*cuMemcpyHtoD)(cuda::DevicePointer, const void *, size_t);
  cuda::Result (*cuMemcpyHtoDAsync)(cuda::DevicePointer, const void *, size_t, cuda::Stream);
  cuda::Result (*cuMemcpyDtoHAsync)(void *, cuda::DevicePointer, size_t, cuda::Stream);
  cuda::Result (*cuMemcpyDtoDAsync)(cuda::DevicePointer, cuda::DevicePointer, size_t, cuda::Stream);
  cuda::Result (*cuMemsetD8Async)(cuda::DevicePointer, unsigned char, size_t, cuda::Stream);
  cuda::Result (*cuStreamCreate)(cuda::Stream *, unsigned);
  cuda::Result (*cuStreamDestroy)(cuda::Stream);
  cuda::Result (*cuStreamSynchronize)(cuda::Stream);
  cuda::Result (*cuLaunchKernel)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                                 cuda::Stream, void **, void **);
  cuda::Result (*cuLaunchKernelEx)(const cuda::LaunchConfig *, void *, void **, void **);
  cuda::Result (*cuLaunchCooperativeKernel)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, cuda::Stream,
                                            void **);
  cuda::Result (*cuOccupancyMaxActiveBlocksPerMultiprocessor)(int *, void *, int, size_t);
  cuda::Result (*cuEventCreate)(cuda::Event *, unsigned);
  cuda::Result (*cuEventDestroy)(cuda::Event);
  cuda::Result (*cuEventRecord)(cuda::Event, cuda::Stream);
  cuda::Result (*cuEventSynchronize)(cuda::Event);
  cuda::Result (*cuEventElapsedTime)(float *, cuda::Event, cuda::Event);
  cuda::Result (*cuStreamBeginCapture)(cuda::Stream, int);
  cuda::Result (*cuStreamEndCapture)(cuda::Stream, cuda::Graph *);
  cuda::Result (*cuGraphInstantiate)(cuda::GraphExec *, cuda::Graph, unsigned long long);
  cuda::Result (*cuGraphExecUpdate)(cuda::GraphExec, cuda::Graph, cuda::GraphExecUpdateResult *);
  cuda::Result (*cuGraphUpload)(cuda::GraphExec, cuda::Stream);
  cuda::Result (*cuGraphLaunch)(cuda::GraphExec, cuda::Stream);
  cuda::Result (*cuGraphDestroy)(cuda::Graph);
  cuda::Result (*cuGraphExecDestroy)(cuda::GraphExec);
  // Graphs with loops, of kLoopCudaVersion on; null in older drivers.
  cuda::Result (*cuGraphCreate)(cuda::Graph *, unsigned);
  cuda::Result (*cuGraphAddNode)(cuda::GraphNode *, cuda::Graph, const cuda::GraphNode *after, size_t count, cuda::WhileNodeParams *);
  cuda::Result (*cuGraphConditionalHandleCreate)(unsigned long long *, cuda::Graph, cuda::Context, unsigned value, unsigned flags);
  cuda::Result (*cuStreamBeginCaptureToGraph)(cuda::Stream, cuda::Graph, const cuda::GraphNode *after, const void *edges, size_t count, int);
  cuda::Result (*cuStreamGetCaptureInfo)(cuda::Stream, int *status, unsigned long long *id, cuda::Graph *, const cuda::GraphNode **last,
                                         size_t *count);
  cuda::Result (*cuTensorMapEncodeTiled)(cuda::TensorMapBytes *, int type, uint32_t rank, void *address, const uint64_t *extents,
                                         const uint64_t *strides, const uint32_t *box, const uint32_t *steps, int interleave, int swizzle,
                                         int promotion, int fill);
  cuda::Result (*cuGetErrorName)(cuda::Result, const char **);

  std::string path;         ///< as given to load
  int version = 0;          ///< 13000 for CUDA 13.0
  bool isSimulator = false; ///< libllmc-sim.so

  /// Loads the library (never unloaded) and initialises it; errors say what to do. An empty path means
  /// libcuda.so.1.
  static absl::StatusOr<std::unique_ptr<CudaDriver>> load(const std::string &path);
  /// "libcuda.so.1 (CUDA 13.0)".
  std::string describe() const;
  /// "CUDA_ERROR_OUT_OF_MEMORY", or the number.
  std::string name(cuda::Result code) const;
};

} // namespace llmc::runtime
