// What a GPU can do, measured in the same run as what is compared with it.
#pragma once
#include "absl/status/statusor.h"
#include <string>

namespace llmc {

struct DeviceSpeed {
  double copyBytesPerSecond = 0;     ///< read and written, both counted
  double matmulFlopsPerSecond = 0;   ///< of cuBLASLt in bf16; 0: not measured
  std::string matmulReason;          ///< why not
};

/// Copies `copyBytes` within device memory and multiplies matrices of `matmulSize` squared with the library `cublasLt`
/// (empty: the ones that CUDA 13 and 12 install).
absl::StatusOr<DeviceSpeed> measureDevice(const std::string &libcuda, const std::string &cublasLt, uint64_t copyBytes,
                                          int64_t matmulSize);

} // namespace llmc
