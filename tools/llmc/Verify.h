// `llmc verify`: runs a compiled model and the reference evaluator on the same tokens and compares every
// value that crosses a dispatch.
#pragma once
#include "absl/status/statusor.h"
#include <cstdint>
#include <string>
#include <vector>

namespace llmc {

struct VerifyCommand {
  std::string input;           ///< an artifact, or a directory, which is compiled first
  std::string weights;         ///< directory whose tensors the reference uses; empty: those in the artifact
  std::string heads;           ///< directory of what is added to that model (AutoDeco's heads), or empty
  std::vector<int32_t> tokens; ///< of the sequence; empty: `random` of them
  int64_t random = 16;
  double tolerance = 1e-5;         ///< largest relative L2 error of a value
  std::vector<std::string> levels; ///< of a directory's code; empty: native
  bool isJson = false;
};

/// What was found at one value.
struct VerifiedValue {
  std::string program, name, kernel, shape;
  double relative = 0, worstRowError = 0;
  int64_t worstRow = 0;
  bool isWithin = true;
};

struct VerifyReport {
  std::string file;
  double tolerance = 0;
  std::vector<int32_t> tokens;
  std::vector<VerifiedValue> values; ///< in the order in which they are computed
  size_t hidden = 0;                 ///< values inside kernels, which cannot be looked at
  const VerifiedValue *firstBeyond() const;
};

absl::StatusOr<VerifyReport> verify(const VerifyCommand &command);

/// A table, or JSON.
void print(const VerifyReport &report, bool isJson, FILE *out);

} // namespace llmc
