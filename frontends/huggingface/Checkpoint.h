// The weights of a Hugging Face directory: one safetensors file or several with an index, mapped and checked.
#pragma once

#include "frontends/huggingface/Files.h"
#include "frontends/huggingface/Safetensors.h"
#include "models/Tensors.h"

#include <functional>
#include <string>
#include <vector>

namespace llmc {

struct CheckpointTensor {
  std::string name;
  StoredType type;
  std::vector<int64_t> shape;
  absl::Span<const uint8_t> bytes; ///< In the mapping: row-major, little endian, maybe unaligned.
  size_t shard;                    ///< Index of the file in `Checkpoint::files`.
};

/// All tensors of a directory. The spans live as long as the checkpoint.
class Checkpoint {
public:
  /// Opens `model.safetensors`, or else the files named by `model.safetensors.index.json`.
  static absl::StatusOr<Checkpoint> open(const std::string &directory);

  /// Adds the tensors of another directory; no name may be in both.
  absl::Status add(const std::string &directory);

  /// Sorted by name. To read much, go in the order of (shard, bytes.data()), which is that of the disk.
  const std::vector<CheckpointTensor> &tensors() const { return entries; }
  const std::vector<std::string> &files() const { return paths; }
  /// The tensor, or null.
  const CheckpointTensor *find(const std::string &name) const;
  absl::StatusOr<const CheckpointTensor *> tensor(const std::string &name) const;

  /// Compares with what a model needs and lists everything missing, unexpected, of another shape, or of a
  /// type other than F32, BF16 and F16 in one error. Tensors for which one of `ignored` is true may be there
  /// unexpectedly.
  absl::Status check(const std::vector<TensorSpec> &expected,
                     const std::vector<std::function<bool(const std::string &)>> &ignored = {}) const;

  /// Reads `bytes` of the tensor from `offset` on (all inside it) from the file and not through the mapping,
  /// so that a checkpoint larger than memory can be read piece by piece.
  absl::Status read(const CheckpointTensor &tensor, uint64_t offset, uint8_t *to, size_t bytes) const;

private:
  absl::Status addFile(const std::string &path);
  absl::Status openShards(const std::string &directory);
  void sortByName();

  std::string directory; // for messages; of several "A with B"
  std::vector<std::string> paths;
  std::vector<MappedFile> mappings; // parallel to paths
  std::vector<CheckpointTensor> entries;
};

} // namespace llmc
