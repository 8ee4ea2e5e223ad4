// From a module at the plan stage and compiled code to the contents of an artifact.
#pragma once
#include "absl/status/statusor.h"
#include "codegen/PackWeights.h"
#include "codegen/cpu/CpuTarget.h"
#include "mlir/IR/BuiltinOps.h"

namespace llmc {

/// Fills plan and blobs: kernels and their parameters, buffers, programs, code objects (one per CPU level), weights. Metadata that the module knows
/// (family, vocabulary, context, limits) is filled; name, tokenizer and token ids are the caller's.
absl::StatusOr<ArtifactContents> buildArtifact(mlir::ModuleOp planned, std::vector<CodeObject> code, TensorSource source, TensorRelease release);

} // namespace llmc
