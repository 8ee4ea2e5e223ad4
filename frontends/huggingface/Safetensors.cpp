// The safetensors header parser. Numbers from the file are compared and multiplied with checks, never added
// raw, and nothing is allocated by them: all memory used is in proportion to bytes of the header that are
// really there.
#include "frontends/huggingface/Safetensors.h"

#include "models/Json.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>
#include <tuple>

namespace llmc {
namespace {

constexpr uint64_t kMaxHeaderBytes = 100'000'000; // the bound of the format's reference reader
constexpr uint64_t kLengthBytes = 8;
constexpr int kMaxDepth = 3; // header, tensor, shape
constexpr size_t kMaxRank = 64;

struct TypeInfo {
  const char *name;
  int64_t bits;
};
constexpr TypeInfo kTypes[] = { // in the order of StoredType
    {"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"U8", 8},          {"I8", 8},
    {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},
    {"U16", 16},    {"F16", 16},    {"BF16", 16},   {"I32", 32},        {"U32", 32},        {"F32", 32},
    {"C64", 64},    {"F64", 64},    {"I64", 64},    {"U64", 64}};

std::optional<StoredType> typeNamed(const std::string &text) {
  for (size_t i = 0; i < std::size(kTypes); ++i)
    if (text == kTypes[i].name)
      return static_cast<StoredType>(i);
  return std::nullopt;
}

absl::Status tensorError(const std::string &tensor, const std::string &message) {
  return absl::InvalidArgumentError(absl::StrCat("tensor ", inQuotes(tensor), ": ", message));
}

/// Takes the events of the header; what is expected next depends on the open objects.
class HeaderReader {
public:
  absl::Status take(JsonEvent &event) {
    switch (place) {
    case Place::Outside: // parseJson checks that one value follows, and nothing behind it
      place = Place::Header;
      return expect(event, JsonKind::BeginObject, "the header", "an object");
    case Place::Header:
      return takeKey(event);
    case Place::MetadataStart:
      place = Place::Metadata;
      return expect(event, JsonKind::BeginObject, "\"__metadata__\"", "an object of strings");
    case Place::Metadata:
      return takeMetadata(event);
    case Place::TensorStart:
      place = Place::Tensor;
      fieldsSeen = 0;
      if (event.kind == JsonKind::BeginObject)
        return absl::OkStatus();
      return tensorError(tensors.back().name, absl::StrCat("expects an object, found ", describe(event)));
    case Place::Tensor:
      return takeField(event);
    case Place::Type:
      return takeType(event);
    case Place::ListStart:
      place = Place::List;
      if (event.kind == JsonKind::BeginArray)
        return absl::OkStatus();
      return listError(event);
    case Place::List:
      return takeElement(event);
    }
    return absl::InternalError("unreachable");
  }

  std::vector<SafetensorsTensor> tensors;
  std::vector<std::pair<std::string, std::string>> metadata;

private:
  enum class Place { Outside, Header, MetadataStart, Metadata, TensorStart, Tensor, Type, ListStart, List };
  enum Field { kType = 1, kShape = 2, kOffsets = 4 };

  static absl::Status expect(const JsonEvent &event, JsonKind kind, const char *what, const char *expected) {
    if (event.kind == kind)
      return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": expects ", expected, ", found ", describe(event)));
  }

  absl::Status takeKey(JsonEvent &event) {
    if (event.kind == JsonKind::EndObject)
      return absl::OkStatus();
    if (event.text == "__metadata__") {
      place = Place::MetadataStart;
      return absl::OkStatus();
    }
    tensors.push_back({std::move(event.text), StoredType::U8, {}, 0, 0});
    place = Place::TensorStart;
    return absl::OkStatus();
  }

  absl::Status takeMetadata(JsonEvent &event) {
    if (event.kind == JsonKind::EndObject) {
      place = Place::Header;
      return absl::OkStatus();
    }
    if (event.kind == JsonKind::Key) {
      metadata.emplace_back(std::move(event.text), "");
      return absl::OkStatus();
    }
    if (event.kind != JsonKind::String)
      return absl::InvalidArgumentError(absl::StrCat("\"__metadata__\": the value of ",
                                                     inQuotes(metadata.back().first),
                                                     ": expects a string, found ", describe(event)));
    metadata.back().second = std::move(event.text);
    return absl::OkStatus();
  }

  absl::Status takeField(JsonEvent &event) {
    if (event.kind == JsonKind::EndObject) {
      place = Place::Header;
      for (auto [flag, field] : {std::pair(kType, "dtype"), {kShape, "shape"}, {kOffsets, "data_offsets"}})
        if (!(fieldsSeen & flag))
          return tensorError(tensors.back().name, absl::StrCat("\"", field, "\" is missing"));
      return absl::OkStatus();
    }
    field = event.text == "dtype" ? kType : event.text == "shape" ? kShape : kOffsets;
    if (field == kOffsets && event.text != "data_offsets")
      return tensorError(
          tensors.back().name,
          absl::StrCat("expects the keys dtype, shape and data_offsets, found ", inQuotes(event.text)));
    fieldsSeen |= field;
    offsetCount = 0;
    place = field == kType ? Place::Type : Place::ListStart;
    return absl::OkStatus();
  }

  absl::Status takeType(JsonEvent &event) {
    place = Place::Tensor;
    std::optional<StoredType> type = event.kind == JsonKind::String ? typeNamed(event.text) : std::nullopt;
    if (!type)
      return tensorError(
          tensors.back().name,
          absl::StrCat("\"dtype\": expects a type of the format (such as BF16), found ", describe(event)));
    tensors.back().type = *type;
    return absl::OkStatus();
  }

  absl::Status takeElement(JsonEvent &event) {
    SafetensorsTensor &tensor = tensors.back();
    if (event.kind == JsonKind::EndArray) {
      place = Place::Tensor;
      if (field == kOffsets && offsetCount != 2)
        return listError(event);
      return absl::OkStatus();
    }
    if (event.kind != JsonKind::Integer || event.integer < 0)
      return listError(event);
    if (field == kShape && tensor.shape.size() == kMaxRank)
      return tensorError(tensor.name, absl::StrCat("\"shape\": expects at most ", kMaxRank, " dimensions"));
    if (field == kShape)
      tensor.shape.push_back(event.integer);
    else if (offsetCount == 0)
      tensor.begin = static_cast<uint64_t>(event.integer);
    else if (offsetCount == 1)
      tensor.end = static_cast<uint64_t>(event.integer);
    else
      return listError(event);
    offsetCount += field == kOffsets;
    return absl::OkStatus();
  }

  absl::Status listError(const JsonEvent &event) const {
    const char *expected = field == kShape
                               ? "\"shape\": expects a list of integers from 0 to 2^63-1, found "
                               : "\"data_offsets\": expects two integers from 0 to 2^63-1, found ";
    bool tooMany = field == kOffsets && offsetCount == 2 && event.kind == JsonKind::Integer;
    return tensorError(tensors.back().name,
                       absl::StrCat(expected, tooMany ? "a third, " : "", describe(event)));
  }

  Place place = Place::Outside;
  int fieldsSeen = 0;
  Field field = kType;
  int offsetCount = 0;
};

/// Bytes of the tensor by its shape and type.
absl::StatusOr<uint64_t> sizeInBytes(const SafetensorsTensor &tensor) {
  uint64_t size = 1;
  bool overflow = false;
  for (int64_t dim : tensor.shape)
    overflow |= __builtin_mul_overflow(size, static_cast<uint64_t>(dim), &size);
  overflow |= __builtin_mul_overflow(size, static_cast<uint64_t>(typeBits(tensor.type)), &size);
  if (overflow)
    return tensorError(tensor.name,
                       absl::StrCat("the shape ", shapeText(tensor.shape), " of ", typeName(tensor.type),
                                    " has more bits than 64-bit numbers count"));
  if (size % 8 != 0)
    return tensorError(tensor.name,
                       absl::StrCat("the shape ", shapeText(tensor.shape), " of ", typeName(tensor.type),
                                    " is ", size, " bits, not a whole number of bytes"));
  return size / 8;
}

/// Sizes agree with offsets; sorted, the tensors cover bytes 0 to `dataBytes` exactly once.
absl::Status checkLayout(std::vector<SafetensorsTensor> &tensors, uint64_t headerEnd, uint64_t dataBytes) {
  std::sort(tensors.begin(), tensors.end(), [](const SafetensorsTensor &a, const SafetensorsTensor &b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  uint64_t covered = 0;
  const SafetensorsTensor *previous = nullptr;
  for (const SafetensorsTensor &tensor : tensors) {
    if (tensor.begin > tensor.end)
      return tensorError(tensor.name, absl::StrCat("begins at byte ", tensor.begin,
                                                   " of the data and ends before, at ", tensor.end));
    absl::StatusOr<uint64_t> size = sizeInBytes(tensor);
    if (!size.ok())
      return size.status();
    if (*size != tensor.end - tensor.begin)
      return tensorError(tensor.name,
                         absl::StrCat("the shape ", shapeText(tensor.shape), " of ", typeName(tensor.type),
                                      " expects ", *size, " bytes, found ", tensor.end - tensor.begin,
                                      " (data_offsets ", tensor.begin, " to ", tensor.end, ")"));
    if (tensor.begin < covered)
      return tensorError(tensor.name,
                         absl::StrCat("begins at byte ", tensor.begin, " of the data, inside tensor ",
                                      inQuotes(previous->name), ", which ends at ", covered));
    if (tensor.begin > covered)
      return tensorError(tensor.name, absl::StrCat("begins at byte ", tensor.begin, " of the data, expects ",
                                                   covered, ": the bytes between belong to no tensor"));
    covered = tensor.end;
    previous = &tensor;
  }
  // Offsets are below 2^63 and a header below 2^27 bytes, so these sums cannot overflow.
  if (covered > dataBytes)
    return absl::DataLossError(absl::StrCat("truncated: the file is ", headerEnd + dataBytes,
                                            " bytes, its header describes ", headerEnd + covered,
                                            " bytes: download it again"));
  if (covered < dataBytes)
    return absl::InvalidArgumentError(
        absl::StrCat("the file is ", headerEnd + dataBytes, " bytes, its header describes ",
                     headerEnd + covered, " bytes: the rest belongs to no tensor; download it again"));
  return absl::OkStatus();
}

/// What people put in the place of a safetensors file by accident, by its first bytes.
std::string guess(std::string_view file) {
  auto startsWith = [&](std::string_view prefix) { return file.substr(0, prefix.size()) == prefix; };
  if (startsWith("version https://git-lfs"))
    return "it is a Git LFS pointer; fetch the file itself with git lfs pull";
  if (startsWith("GGUF"))
    return "it is a GGUF file; use the safetensors files of the model";
  if (startsWith("PK\x03\x04") || startsWith("\x80\x02"))
    return "it is a pickle of PyTorch; convert it to safetensors";
  if (startsWith("<"))
    return "it is a web page; download the file itself";
  return "it is not a safetensors file or is damaged; download it again";
}

absl::StatusOr<std::string_view> findHeader(std::string_view file) {
  if (file.size() < kLengthBytes)
    return absl::DataLossError(absl::StrCat("truncated: the file is ", file.size(),
                                            " bytes, expects at least ", kLengthBytes,
                                            ": download it again"));
  uint64_t length = 0;
  for (int i = kLengthBytes - 1; i >= 0; --i)
    length = length << 8 | static_cast<unsigned char>(file[i]);
  if (length > kMaxHeaderBytes)
    return absl::InvalidArgumentError(absl::StrCat("header length at byte 0: expects at most ",
                                                   kMaxHeaderBytes, ", found ", length, ": ", guess(file)));
  if (length > file.size() - kLengthBytes)
    return absl::DataLossError(absl::StrCat("truncated: the file is ", file.size(),
                                            " bytes, its header ends at byte ", kLengthBytes + length,
                                            ": download it again"));
  std::string_view header = file.substr(kLengthBytes, length);
  if (header.empty() || header[0] != '{')
    return absl::InvalidArgumentError(
        absl::StrCat("header at byte 8: expects \"{\", found ",
                     header.empty() ? std::string("a header of no bytes") : inQuotes(header.substr(0, 1)),
                     ": ", guess(file)));
  return header;
}

absl::Status withFile(const absl::Status &status, const std::string &fileName) {
  return absl::Status(status.code(), absl::StrCat(fileName, ": ", status.message()));
}

} // namespace

const char *typeName(StoredType type) { return kTypes[static_cast<size_t>(type)].name; }

int64_t typeBits(StoredType type) { return kTypes[static_cast<size_t>(type)].bits; }

std::string shapeText(const std::vector<int64_t> &shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

absl::StatusOr<SafetensorsFile> SafetensorsFile::parse(absl::Span<const uint8_t> file,
                                                       const std::string &fileName) {
  std::string_view text(reinterpret_cast<const char *>(file.data()), file.size());
  absl::StatusOr<std::string_view> header = findHeader(text);
  if (!header.ok())
    return withFile(header.status(), fileName);
  HeaderReader reader;
  absl::Status parsed = parseJson(*header, kMaxDepth, [&](JsonEvent &event) { return reader.take(event); });
  if (!parsed.ok())
    return withFile(absl::InvalidArgumentError(absl::StrCat("header: ", parsed.message())), fileName);

  SafetensorsFile result;
  result.data = file.subspan(kLengthBytes + header->size());
  result.entries = std::move(reader.tensors);
  result.metadataEntries = std::move(reader.metadata);
  absl::Status layout = checkLayout(result.entries, kLengthBytes + header->size(), result.data.size());
  if (!layout.ok())
    return withFile(layout, fileName);
  return result;
}

} // namespace llmc
