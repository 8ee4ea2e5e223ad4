// libFuzzer target of the artifact loader and its code objects. Checksums are put right, or nothing behind
// them would be reached.
#include "runtime/Artifact.h"
#include "runtime/cpu/ElfImage.h"
#include <cstring>

using namespace llmc::runtime;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::vector<uint8_t> bytes(data, data + size);
  ArtifactHeader header;
  if (size >= sizeof header) {
    memcpy(&header, bytes.data(), sizeof header);
    memcpy(header.magic, kMagic, sizeof kMagic);
    header.version = kFormatVersion;
    if (header.planOffset <= size && header.planBytes <= size - header.planOffset)
      header.planChecksum = checksumOf(bytes.data() + header.planOffset, header.planBytes);
    header.headerChecksum = checksumOf(&header, offsetof(ArtifactHeader, headerChecksum));
    memcpy(bytes.data(), &header, sizeof header);
  }
  auto parsed = parseArtifact(bytes.data(), bytes.size(), "input");
  if (parsed.ok())
    for (const CodeObject &object : parsed->plan.codeObjects) {
      const BlobEntry &blob = parsed->blobs[object.blob];
      ElfImage::load(bytes.data() + blob.offset, blob.bytes, "input").status().IgnoreError();
    }
  ElfImage::load(data, size, "input").status().IgnoreError();
  return 0;
}
