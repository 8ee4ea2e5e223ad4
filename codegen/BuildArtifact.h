// From a module at the plan stage and compiled code to the contents of an artifact.
#pragma once
#include "absl/status/statusor.h"
#include "codegen/PackWeights.h"
#include "mlir/IR/BuiltinOps.h"
#include <map>

namespace llmc {

/// Code of every kernel for one level of a target.
struct TargetCode {
  std::string target; ///< "cpu", "cuda", or runtime::kLoopTestTarget with its one launch
  std::string level;  ///< "x86-64-v3", "sm_90a"
  std::vector<char> bytes;
  std::map<std::string, runtime::KernelLaunch> launches; ///< by kernel; target "cuda" only
  std::optional<runtime::KernelLaunch> merged;           ///< see runtime::CodeObject
};

/// Fills plan and blobs: kernels and their parameters, buffers, programs, code objects (one per level),
/// weights. Metadata that the module knows (family, vocabulary, context, limits) is filled; name, tokenizer
/// and token ids are the caller's. Weights are read from `source` when the artifact is written; without one
/// they are absent.
absl::StatusOr<ArtifactContents> buildArtifact(mlir::ModuleOp planned, std::vector<TargetCode> code,
                                               const TensorSource &source);

} // namespace llmc
