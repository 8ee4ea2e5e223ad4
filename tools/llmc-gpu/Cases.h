// Launches of kernels with what they should give: written by llmc-reference --cases from what the evaluator computes, read by
// llmc-gpu-check. A file is
//
//   "LLMCASE2"  u32 cases
//   per case:   text kernel, text label, u32 buffers
//   per buffer: u8 type, u8 written, u8 other rows, u32 rank, i64 extents, bytes before, bytes after (written ones only)
//
// in the byte order of x86. Text and bytes come after their u64 length. `after` holds reals as float32, NaN where nothing is
// written; integers as they are, the smallest one where nothing is written.
#pragma once
#include "absl/status/statusor.h"
#include "runtime/Plan.h"

namespace llmc {

struct CaseBuffer {
  runtime::ElementType type = runtime::ElementType::f32;
  bool isWritten = false;
  bool hasOtherRows = false; ///< its rows are not those of the launch
  std::vector<int64_t> shape;
  std::vector<uint8_t> before, after;
};

struct KernelCase {
  std::string kernel, label;
  std::vector<CaseBuffer> buffers; ///< one per parameter of the kernel
};

std::string writeCases(const std::vector<KernelCase> &cases);
/// Errors name `path` and the byte.
absl::StatusOr<std::vector<KernelCase>> readCases(const std::string &bytes, const std::string &path);

} // namespace llmc
