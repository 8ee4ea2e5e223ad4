// The weights that the reference evaluator computes with in `llmc verify`.
#pragma once
#include "absl/status/statusor.h"
#include "dialect/reference/Evaluator.h"
#include "runtime/Artifact.h"

namespace llmc {

/// Unpacked from the artifact's buffers; `planned` says what they hold, `model` how large tensors are. Both
/// and the artifact must outlive the provider.
absl::StatusOr<reference::WeightProvider> weightsOfArtifact(const runtime::Artifact &artifact,
                                                            mlir::ModuleOp model, mlir::ModuleOp planned);

/// Read from the directory's safetensors files.
absl::StatusOr<reference::WeightProvider> weightsOfCheckpoint(const std::string &directory,
                                                             const std::string &heads);

} // namespace llmc
