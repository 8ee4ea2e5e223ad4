// Stored weights in the order in which kernels read them: what `llm.pack` means, done while the artifact is
// written.
#pragma once
#include "absl/status/statusor.h"
#include "codegen/WriteArtifact.h"
#include "dialect/plan/PlanDialect.h"
#include <functional>
#include <string>

namespace llmc {

/// A checkpoint's tensor: its shape, its size, and how to read `bytes` of it (row-major, little endian) from
/// `offset` on. No size: there is no such tensor.
struct StoredTensor {
  std::vector<int64_t> shape;
  uint64_t bytes = 0;
  std::function<absl::Status(uint64_t offset, uint8_t *to, size_t bytes)> read;
};

/// Where weights come from.
struct TensorSource {
  std::function<StoredTensor(const std::string &name)> find; ///< null: there are no weights
  std::string name;                                          ///< of the checkpoint, for messages
  bool allowNonFinite = false; ///< else a NaN or an infinity is an error that names it
};

/// Rows `firstRow .. firstRow + rows` of a tensor (of `columns` elements each) where a packed buffer holds
/// them: from byte `packedOffset` on, as `llm.pack` says, in panels if `panel` is not 0.
struct PackedPiece {
  std::string name;
  int64_t packedOffset, firstRow, rows, columns, panel, elementBytes;

  int64_t rowBytes() const { return columns * elementBytes; }
  int64_t packedBytes() const;
};

/// What a weight buffer of the plan holds, in the order of its bytes, which the pieces cover. `bytesOf` gives
/// the size of a tensor, 0 if there is none.
absl::StatusOr<std::vector<PackedPiece>>
packedPieces(plan::BufferOp buffer, llvm::function_ref<uint64_t(const std::string &)> bytesOf);

/// Puts the piece's rows back to where the tensor stores them.
void unpack(const PackedPiece &piece, const uint8_t *packed, uint8_t *tensor);

/// The blob of a weight buffer of the plan: `bytes` from its type, contents read and packed a few megabytes
/// at a time; absent without a source of weights. The op and what `source` refers to must outlive the blob's
/// use.
BlobSource packedWeight(plan::BufferOp buffer, const TensorSource &source);

} // namespace llmc
