// Reading an artifact: header, plan and blobs, all verified before anything is used.
//
//   0      64-byte ArtifactHeader
//   64     the plan, a FlatBuffer (Artifact.fbs)
//   4096k  blobs in the order of the plan's table, each at the next multiple of 4096; the file ends with the
//   last one; absent ones (offset 0) take no place
//
// Loading reads the header, the plan and the code; weights are mapped and their checksums only read by
// verifyWeights.
#pragma once
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/Plan.h"
#include <cstddef>
#include <memory>

namespace llmc::runtime {

inline constexpr uint64_t kPageBytes = 4096;
/// Alignment of weights inside a blob, of transients in the arena and of everything that kernels see.
inline constexpr uint64_t kBufferAlignment = 64;
inline constexpr char kMagic[8] = {'L', 'L', 'M', 'C', '\0', '\r', '\n', '\x1a'};
inline constexpr uint32_t kFormatVersion = 2;

/// First 64 bytes of a file, little endian. `headerChecksum` is XXH3-64 of the bytes before it,
/// `planChecksum` of the plan.
struct ArtifactHeader {
  char magic[8];
  uint32_t version;
  uint32_t flags; ///< 0
  uint64_t planOffset, planBytes, planChecksum, fileBytes;
  uint64_t reserved; ///< 0
  uint64_t headerChecksum;
};
static_assert(sizeof(ArtifactHeader) == 64);

/// XXH3-64, the checksum of headers, plans and blobs.
uint64_t checksumOf(const void *data, size_t bytes);
/// "0x0123456789abcdef".
std::string printChecksum(uint64_t checksum);

/// Offset 0 says that the blob is absent: an artifact compiled without weights knows their sizes only.
struct BlobEntry {
  uint64_t offset = 0, bytes = 0, checksum = 0;
  bool isAbsent() const { return offset == 0; }
};

struct ParsedArtifact {
  Plan plan;
  std::vector<BlobEntry> blobs;
  uint64_t planBytes = 0, planChecksum = 0, fileBytes = 0;
};

/// Verifies and reads an artifact given as bytes (`file` names it in errors). Code checksums are checked,
/// those of other blobs not.
absl::StatusOr<ParsedArtifact> parseArtifact(const uint8_t *data, size_t size, const std::string &file);

/// A plan from its FlatBuffer: structure only, see verifyPlan for meaning.
absl::StatusOr<ParsedArtifact> readPlan(const uint8_t *data, size_t size, const std::string &file);

/// Every index, shape, offset and signature of a plan whose blobs have these sizes. Only weights may be among
/// the blobs that are absent (`isAbsent` by blob; empty: none).
absl::Status verifyPlan(const Plan &plan, const std::vector<uint64_t> &blobBytes, const std::string &file,
                        const std::vector<bool> &isAbsent = {});

/// "FILE: WHAT; compile the model again".
absl::Status damagedArtifact(const std::string &file, const std::string &what);

/// A file mapped read only. The file must not change while it is open: write new versions beside it and
/// rename.
class Artifact {
public:
  static absl::StatusOr<std::unique_ptr<Artifact>> open(const std::string &path);
  ~Artifact();
  Artifact(const Artifact &) = delete;
  Artifact &operator=(const Artifact &) = delete;

  const std::string &path() const { return path_; }
  const Plan &plan() const { return parsed_.plan; }
  const std::vector<BlobEntry> &blobs() const { return parsed_.blobs; }
  uint64_t planBytes() const { return parsed_.planBytes; }
  /// Stands for the whole artifact, since the plan holds the checksums of all blobs.
  uint64_t checksum() const { return parsed_.planChecksum; }
  uint64_t fileBytes() const { return parsed_.fileBytes; }
  /// Not of an absent blob.
  const uint8_t *blobData(uint32_t blob) const { return data_ + parsed_.blobs[blob].offset; }
  /// False of an artifact that was compiled without weights, which can be looked at and not run.
  bool hasWeights() const;

  /// Compares a blob with its checksum (reads all of it).
  absl::Status verifyBlob(uint32_t blob) const;
  /// Compares every blob that is there with its checksum (reads the whole file).
  absl::Status verifyWeights() const;

private:
  Artifact() = default;
  std::string path_;
  const uint8_t *data_ = nullptr;
  size_t size_ = 0;
  ParsedArtifact parsed_;
};

} // namespace llmc::runtime
