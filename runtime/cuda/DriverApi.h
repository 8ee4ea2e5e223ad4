// The part of the CUDA driver API that the runtime uses, declared here so that no CUDA header is needed to
// build. Names of functions, values and the order of arguments are those of cuda.h; functions are found in
// libcuda at run time (Driver.h).
#pragma once
#include <cstddef>
#include <cstdint>

namespace llmc::cuda {

using Result = int;
using DevicePointer = unsigned long long;
using Context = struct ContextHandle *;
using Stream = struct StreamHandle *;
using Event = struct EventHandle *;
using Graph = struct GraphHandle *;
using GraphExec = struct GraphExecHandle *;
using GraphNode = struct GraphNodeHandle *;

// CUresult
inline constexpr Result kSuccess = 0, kInvalidValue = 1, kOutOfMemory = 2, kNotInitialized = 3,
                        kNoDevice = 100, kInvalidDevice = 101, kInvalidImage = 200, kNoBinaryForGpu = 209,
                        kInvalidPtx = 218, kUnsupportedPtxVersion = 222, kInvalidHandle = 400,
                        kNotFound = 500, kNotReady = 600, kIllegalAddress = 700,
                        kLaunchOutOfResources = 701, kLaunchFailed = 719, kCooperativeLaunchTooLarge = 720,
                        kSystemDriverMismatch = 803,
                        kNotSupported = 801,
                        kStreamCaptureUnsupported = 900, kStreamCaptureInvalidated = 901,
                        kStreamCaptureUnmatched = 903, kGraphExecUpdateFailure = 910, kInvalidClusterSize = 912;
// CUdevice_attribute
inline constexpr int kMultiprocessorCount = 16, kL2CacheBytes = 38, kComputeCapabilityMajor = 75, kComputeCapabilityMinor = 76,
                     kCooperativeLaunch = 95, kMaxSharedBytesOptIn = 97;
// CUfunction_attribute
inline constexpr int kMaxDynamicSharedBytes = 8;
// Flags of cuStreamCreate and cuEventCreate, mode of cuStreamBeginCapture, and what cuStreamIsCapturing gives
inline constexpr unsigned kStreamNonBlocking = 1, kEventDefault = 0, kEventDisableTiming = 2;
inline constexpr int kCaptureModeThreadLocal = 1;

/// CUtensorMap: opaque, made by cuTensorMapEncodeTiled.
struct alignas(64) TensorMapBytes {
  unsigned char bytes[128];
};
// CUtensorMapDataType, and a CUtensorMapL2promotion: lines of 128 bytes
inline constexpr int kTensorMapFloat16 = 6, kTensorMapFloat32 = 7, kTensorMapBfloat16 = 9, kTensorMapPromotion128 = 2;

/// CUgraphExecUpdateResultInfo
struct GraphExecUpdateResult {
  int result;
  GraphNode errorNode, errorFromNode;
};

/// CUgraphNodeParams of a conditional node that runs its body, `bodies[0]`, while the handle's value is not 0. The driver owns the body.
struct WhileNodeParams {
  int type = 13, reserved0[3] = {};
  unsigned long long handle = 0;
  int kind = 1;
  unsigned count = 1;
  Graph *bodies = nullptr;
  Context context = nullptr;
  long long unused[25] = {}, reserved1 = 0;
};
static_assert(sizeof(WhileNodeParams) == 256);

/// CUlaunchAttribute, with the values that are used here.
struct LaunchAttribute {
  int id;
  char pad[4];
  union {
    char bytes[64];
    int number;
  };
};
// CUlaunchAttributeID
inline constexpr int kProgrammaticStreamSerialization = 6;
/// CUlaunchConfig
struct LaunchConfig {
  unsigned gridX, gridY, gridZ, blockX, blockY, blockZ, sharedBytes;
  Stream stream;
  LaunchAttribute *attributes;
  unsigned attributeCount;
};

/// cuda.h's name of a code that is declared above, else null.
inline const char *errorName(Result code) {
  switch (code) {
  case kSuccess:
    return "CUDA_SUCCESS";
  case kInvalidValue:
    return "CUDA_ERROR_INVALID_VALUE";
  case kOutOfMemory:
    return "CUDA_ERROR_OUT_OF_MEMORY";
  case kNotInitialized:
    return "CUDA_ERROR_NOT_INITIALIZED";
  case kNoDevice:
    return "CUDA_ERROR_NO_DEVICE";
  case kInvalidDevice:
    return "CUDA_ERROR_INVALID_DEVICE";
  case kInvalidImage:
    return "CUDA_ERROR_INVALID_IMAGE";
  case kNoBinaryForGpu:
    return "CUDA_ERROR_NO_BINARY_FOR_GPU";
  case kInvalidPtx:
    return "CUDA_ERROR_INVALID_PTX";
  case kUnsupportedPtxVersion:
    return "CUDA_ERROR_UNSUPPORTED_PTX_VERSION";
  case kInvalidHandle:
    return "CUDA_ERROR_INVALID_HANDLE";
  case kNotFound:
    return "CUDA_ERROR_NOT_FOUND";
  case kNotReady:
    return "CUDA_ERROR_NOT_READY";
  case kIllegalAddress:
    return "CUDA_ERROR_ILLEGAL_ADDRESS";
  case kLaunchOutOfResources:
    return "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES";
  case kLaunchFailed:
    return "CUDA_ERROR_LAUNCH_FAILED";
  case kCooperativeLaunchTooLarge:
    return "CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE";
  case kSystemDriverMismatch:
    return "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH";
  case kNotSupported:
    return "CUDA_ERROR_NOT_SUPPORTED";
  case kStreamCaptureUnsupported:
    return "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED";
  case kStreamCaptureInvalidated:
    return "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED";
  case kStreamCaptureUnmatched:
    return "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED";
  case kGraphExecUpdateFailure:
    return "CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE";
  case kInvalidClusterSize:
    return "CUDA_ERROR_INVALID_CLUSTER_SIZE";
  }
  return nullptr;
}

} // namespace llmc::cuda
