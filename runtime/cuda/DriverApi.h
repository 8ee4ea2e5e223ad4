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

// CUresult
inline constexpr Result kSuccess = 0, kInvalidValue = 1, kOutOfMemory = 2, kNotInitialized = 3,
                        kNoDevice = 100, kInvalidDevice = 101, kInvalidImage = 200, kNoBinaryForGpu = 209,
                        kInvalidPtx = 218, kUnsupportedPtxVersion = 222, kNotFound = 500,
                        kIllegalAddress = 700, kLaunchFailed = 719,
                        kCooperativeLaunchTooLarge = 720;
// CUdevice_attribute
inline constexpr int kMultiprocessorCount = 16, kComputeCapabilityMajor = 75, kComputeCapabilityMinor = 76,
                     kCooperativeLaunch = 95, kMaxSharedBytesOptIn = 97;
// CUfunction_attribute
inline constexpr int kMaxDynamicSharedBytes = 8;

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
  case kNotFound:
    return "CUDA_ERROR_NOT_FOUND";
  case kIllegalAddress:
    return "CUDA_ERROR_ILLEGAL_ADDRESS";
  case kLaunchFailed:
    return "CUDA_ERROR_LAUNCH_FAILED";
  case kCooperativeLaunchTooLarge:
    return "CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE";
  }
  return nullptr;
}

} // namespace llmc::cuda
