// The safetensors format: 8 bytes of header length (little endian), a JSON header, then the tensors' bytes.
// Every rule of the format is checked before a tensor is handed out, so a reader of the result needs no
// bounds checks.
#pragma once

#include "absl/status/statusor.h"
#include "absl/types/span.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace llmc {

/// Element types of the format, named as in the files.
enum class StoredType {
  BOOL,
  F4,
  F6_E2M3,
  F6_E3M2,
  U8,
  I8,
  F8_E5M2,
  F8_E4M3,
  F8_E8M0,
  F8_E4M3FNUZ,
  F8_E5M2FNUZ,
  I16,
  U16,
  F16,
  BF16,
  I32,
  U32,
  F32,
  C64,
  F64,
  I64,
  U64
};

const char *typeName(StoredType type);
int64_t typeBits(StoredType type);

struct SafetensorsTensor {
  std::string name;
  StoredType type;
  std::vector<int64_t> shape; ///< Empty for a scalar; a zero makes the tensor empty.
  uint64_t begin, end;        ///< Bytes from the start of the data section.
};

/// A parsed header; refers to the bytes it was parsed from and does not own them.
class SafetensorsFile {
public:
  /// `fileName` is used in messages only.
  static absl::StatusOr<SafetensorsFile> parse(absl::Span<const uint8_t> file, const std::string &fileName);

  /// In the order of their bytes, which cover the data section without holes or overlaps.
  const std::vector<SafetensorsTensor> &tensors() const { return entries; }
  const std::vector<std::pair<std::string, std::string>> &metadata() const { return metadataEntries; }
  /// Row-major, little endian; the start may be unaligned for the element type.
  absl::Span<const uint8_t> bytes(const SafetensorsTensor &tensor) const {
    return data.subspan(tensor.begin, tensor.end - tensor.begin);
  }

private:
  absl::Span<const uint8_t> data;
  std::vector<SafetensorsTensor> entries;
  std::vector<std::pair<std::string, std::string>> metadataEntries;
};

/// "[2, 3]", for messages.
std::string shapeText(const std::vector<int64_t> &shape);

} // namespace llmc
