// Header and blob table checks, and the mapping of a file. The plan's own checks are in ReadPlan.cpp and
// VerifyPlan.cpp.
#include "runtime/Artifact.h"
#define XXH_INLINE_ALL
#include "xxhash.h"
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <set>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace llmc::runtime {

uint64_t checksumOf(const void *data, size_t bytes) { return XXH3_64bits(data, bytes); }

absl::Status damagedArtifact(const std::string &file, const std::string &what) {
  return absl::DataLossError(file + ": " + what + "; compile the model again");
}

std::string printChecksum(uint64_t value) {
  char text[24];
  snprintf(text, sizeof text, "0x%016llx", static_cast<unsigned long long>(value));
  return text;
}

static absl::Status checkHeader(const uint8_t *data, size_t size, const std::string &file,
                                ArtifactHeader &header) {
  if (size < sizeof header)
    return damagedArtifact(file, "has " + std::to_string(size) + " bytes, an artifact's header alone has 64");
  memcpy(&header, data, sizeof header);
  if (memcmp(header.magic, kMagic, sizeof kMagic) != 0)
    return absl::InvalidArgumentError(
        file + ": is not an llmc artifact (the first 8 bytes are not its magic number); "
               "make one with `llmc compile DIR -o m.llmc`");
  if (header.version != kFormatVersion)
    return absl::FailedPreconditionError(file + ": has artifact format version " +
                                         std::to_string(header.version) + ", this runtime reads version " +
                                         std::to_string(kFormatVersion) +
                                         "; compile the model again or use the runtime of its compiler");
  uint64_t expected = checksumOf(data, offsetof(ArtifactHeader, headerChecksum));
  if (header.headerChecksum != expected)
    return damagedArtifact(file, "header checksum is " + printChecksum(header.headerChecksum) +
                                     ", its bytes give " + printChecksum(expected));
  if (header.flags != 0 || header.reserved != 0)
    return damagedArtifact(file, "header has reserved fields set");
  if (header.fileBytes > size)
    return damagedArtifact(file, "is truncated: the header says " + std::to_string(header.fileBytes) +
                                     " bytes, the file has " + std::to_string(size));
  if (header.fileBytes < size)
    return damagedArtifact(file, "has " + std::to_string(size - header.fileBytes) +
                                     " bytes after its end at " + std::to_string(header.fileBytes));
  auto planEnd = checkedAdd(header.planOffset, header.planBytes);
  if (header.planOffset != sizeof header || !planEnd || *planEnd > size)
    return damagedArtifact(file, "plan of " + std::to_string(header.planBytes) + " bytes at offset " +
                                     std::to_string(header.planOffset) + " is not inside the file");
  uint64_t found = checksumOf(data + header.planOffset, header.planBytes);
  if (found != header.planChecksum)
    return damagedArtifact(file, "plan checksum is " + printChecksum(header.planChecksum) +
                                     " in the header, its bytes give " + printChecksum(found));
  return absl::OkStatus();
}

static absl::Status checkBlobs(const ParsedArtifact &parsed, const std::string &file) {
  uint64_t end = sizeof(ArtifactHeader) + parsed.planBytes;
  for (size_t i = 0; i < parsed.blobs.size(); ++i) {
    const BlobEntry &blob = parsed.blobs[i];
    uint64_t expected = (end + kPageBytes - 1) / kPageBytes * kPageBytes;
    if (blob.offset != expected)
      return damagedArtifact(file, "blob " + std::to_string(i) + " is at offset " +
                                       std::to_string(blob.offset) + ", expected " +
                                       std::to_string(expected));
    auto blobEnd = checkedAdd(blob.offset, blob.bytes);
    if (!blobEnd || *blobEnd > parsed.fileBytes)
      return damagedArtifact(file, "blob " + std::to_string(i) + " of " + std::to_string(blob.bytes) +
                                       " bytes at offset " + std::to_string(blob.offset) +
                                       " leaves the file of " + std::to_string(parsed.fileBytes) + " bytes");
    end = *blobEnd;
  }
  if (end != parsed.fileBytes)
    return damagedArtifact(file, "contents end at " + std::to_string(end) + ", the file has " +
                                     std::to_string(parsed.fileBytes) + " bytes");
  return absl::OkStatus();
}

static absl::Status checkBlobChecksum(const uint8_t *data, const BlobEntry &blob, uint32_t index,
                                      const std::string &file) {
  uint64_t found = checksumOf(data + blob.offset, blob.bytes);
  if (found != blob.checksum)
    return damagedArtifact(file, "blob " + std::to_string(index) + " at offset " +
                                     std::to_string(blob.offset) + " has checksum " + printChecksum(found) +
                                     ", expected " + printChecksum(blob.checksum));
  return absl::OkStatus();
}

absl::StatusOr<ParsedArtifact> parseArtifact(const uint8_t *data, size_t size, const std::string &file) {
  ArtifactHeader header;
  if (absl::Status s = checkHeader(data, size, file, header); !s.ok())
    return s;
  auto parsed = readPlan(data + header.planOffset, header.planBytes, file);
  if (!parsed.ok())
    return parsed.status();
  parsed->planBytes = header.planBytes;
  parsed->planChecksum = header.planChecksum;
  parsed->fileBytes = header.fileBytes;
  if (absl::Status s = checkBlobs(*parsed, file); !s.ok())
    return s;
  std::vector<uint64_t> blobBytes;
  for (const BlobEntry &blob : parsed->blobs)
    blobBytes.push_back(blob.bytes);
  if (absl::Status s = verifyPlan(parsed->plan, blobBytes, file); !s.ok())
    return s;
  // A set, so that many code objects naming one large blob cost no more than one.
  std::set<uint32_t> codeBlobs;
  for (const CodeObject &object : parsed->plan.codeObjects)
    codeBlobs.insert(object.blob);
  for (uint32_t blob : codeBlobs)
    if (absl::Status s = checkBlobChecksum(data, parsed->blobs[blob], blob, file); !s.ok())
      return s;
  return parsed;
}

absl::StatusOr<std::unique_ptr<Artifact>> Artifact::open(const std::string &path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    std::string what = path + ": cannot open: " + strerror(errno);
    return errno == ENOENT ? absl::NotFoundError(what) : absl::PermissionDeniedError(what);
  }
  struct stat info;
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    return absl::InvalidArgumentError(path + ": is not a regular file");
  }
  std::unique_ptr<Artifact> artifact(new Artifact);
  artifact->path_ = path;
  artifact->size_ = static_cast<size_t>(info.st_size);
  if (artifact->size_ > 0) {
    void *map = mmap(nullptr, artifact->size_, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED) {
      int error = errno;
      ::close(fd);
      return absl::ResourceExhaustedError(path + ": cannot map " + std::to_string(artifact->size_) +
                                          " bytes: " + strerror(error));
    }
    artifact->data_ = static_cast<const uint8_t *>(map);
  }
  ::close(fd);
  auto parsed = parseArtifact(artifact->data_, artifact->size_, path);
  if (!parsed.ok())
    return parsed.status();
  artifact->parsed_ = std::move(*parsed);
  return artifact;
}

Artifact::~Artifact() {
  if (data_)
    munmap(const_cast<uint8_t *>(data_), size_);
}

absl::Status Artifact::verifyBlob(uint32_t blob) const {
  return checkBlobChecksum(data_, parsed_.blobs[blob], blob, path_);
}

absl::Status Artifact::verifyWeights() const {
  for (uint32_t i = 0; i < parsed_.blobs.size(); ++i)
    if (absl::Status s = verifyBlob(i); !s.ok())
      return s;
  return absl::OkStatus();
}

} // namespace llmc::runtime
