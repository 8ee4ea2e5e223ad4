// Stored weights in the order in which kernels read them: what `llm.pack` means, done while the artifact is
// written.
#pragma once
#include "codegen/WriteArtifact.h"
#include "dialect/plan/PlanDialect.h"
#include <functional>
#include <string>

namespace llmc {

/// The stored bytes of a checkpoint's tensor, row-major, maybe unaligned; `release` tells that they will not
/// be read again soon.
struct StoredTensor {
  const uint8_t *data = nullptr;
  size_t bytes = 0;
};
using TensorSource = std::function<StoredTensor(const std::string &name)>;
using TensorRelease = std::function<void(const StoredTensor &)>;

/// The blob of a weight buffer of the plan: `bytes` from its type, contents streamed panel by panel from the
/// checkpoint. The source must outlive the blob's use.
BlobSource packedWeight(plan::BufferOp buffer, TensorSource source, TensorRelease release);

} // namespace llmc
