// libFuzzer target of the safetensors parser. Input: a whole file. What is accepted must lie within it.
#include "frontends/huggingface/Safetensors.h"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  absl::StatusOr<llmc::SafetensorsFile> file = llmc::SafetensorsFile::parse({data, size}, "input");
  if (!file.ok())
    return 0;
  size_t covered = 0;
  for (const llmc::SafetensorsTensor &tensor : file->tensors()) {
    absl::Span<const uint8_t> bytes = file->bytes(tensor);
    if (!bytes.empty() && (bytes.data() < data || bytes.data() + bytes.size() > data + size))
      std::abort();
    covered += bytes.size();
  }
  if (covered > size)
    std::abort();
  return 0;
}
