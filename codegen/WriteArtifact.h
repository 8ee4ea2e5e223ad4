// Writing an artifact from plain structs. Weights are streamed blob by blob, so memory stays bounded by the
// plan's size.
#pragma once
#include "absl/status/status.h"
#include "runtime/Plan.h"
#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace llmc {

/// Receives a blob's bytes in order, in pieces of any size.
class BlobSink {
public:
  virtual ~BlobSink() = default;
  virtual absl::Status append(const void *data, size_t bytes) = 0;
};

/// A blob: its size, and a function that appends exactly that many bytes. Called once, in the order of the
/// blobs. Without the function the blob is absent: its size is known and its bytes are not in the file.
struct BlobSource {
  uint64_t bytes = 0;
  std::function<absl::Status(BlobSink &)> write;
  bool isAbsent() const { return !write; }
};

/// A blob whose bytes are at hand.
BlobSource blobOf(std::string bytes);

/// Everything in an artifact: `plan` refers to `blobs` by index. Give code a blob per object file; put many
/// weights into one blob (each at a multiple of 64) or one each (each then starts on a page).
struct ArtifactContents {
  runtime::Plan plan;
  std::vector<BlobSource> blobs;
};

/// Called after each piece with bytes written so far and in all.
using WriteProgress = std::function<void(uint64_t done, uint64_t total)>;

/// Writes `path` under a temporary name in its folder, syncs and renames it, so that `path` is always a whole
/// artifact or what it was before. Equal contents give equal bytes. Refuses what the loader would refuse.
/// Errors name the file and, for a full disk, the bytes needed and free. Temporary files left by dead writers
/// of the same path are removed.
absl::Status writeArtifact(const std::string &path, const ArtifactContents &contents,
                           const WriteProgress &progress = {});

} // namespace llmc
