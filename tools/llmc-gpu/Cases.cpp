// See Cases.h.
#include "tools/llmc-gpu/Cases.h"
#include <cstring>

namespace llmc {
using runtime::ElementType;

static constexpr char kMagic[] = "LLMCASE2";
static constexpr uint64_t kMagicBytes = sizeof kMagic - 1;
static constexpr uint32_t kMaxRank = 8;

namespace {

struct Writer {
  std::string out;
  template <typename T> void number(T value) { out.append(reinterpret_cast<const char *>(&value), sizeof value); }
  void bytes(const void *data, uint64_t count) {
    number(count);
    out.append(static_cast<const char *>(data), count);
  }
};

/// Stops at the first byte that is missing or wrong.
struct Reader {
  const std::string &in, &path;
  uint64_t at = 0;
  absl::Status status = absl::OkStatus();

  void fail(const std::string &what) {
    if (status.ok())
      status = absl::DataLossError(path + ": byte " + std::to_string(at) + ": " + what + "; make the file again");
  }
  const char *take(uint64_t count) {
    if (status.ok() && count > in.size() - at)
      fail("the file ends too early");
    if (!status.ok())
      return nullptr;
    const char *data = in.data() + at;
    at += count;
    return data;
  }
  template <typename T> T number() {
    T value = {};
    if (const char *data = take(sizeof value))
      memcpy(&value, data, sizeof value);
    return value;
  }
  template <typename Container> void bytes(Container &to) {
    auto count = number<uint64_t>();
    if (const char *data = take(count))
      to.assign(data, data + count);
  }
};

uint64_t elementsOf(Reader &reader, const CaseBuffer &buffer) {
  uint64_t elements = 1;
  for (int64_t extent : buffer.shape) {
    auto product = extent < 0 ? std::nullopt : runtime::checkedMul(elements, static_cast<uint64_t>(extent));
    if (!product)
      reader.fail("an extent that no buffer has");
    elements = product.value_or(0);
  }
  return elements;
}

CaseBuffer readBuffer(Reader &reader) {
  CaseBuffer buffer;
  auto type = reader.number<uint8_t>();
  if (type >= runtime::kElementTypes)
    reader.fail("an unknown element type");
  buffer.type = static_cast<ElementType>(type % runtime::kElementTypes);
  buffer.isWritten = reader.number<uint8_t>();
  buffer.hasOtherRows = reader.number<uint8_t>();
  auto rank = reader.number<uint32_t>();
  if (rank > kMaxRank)
    reader.fail("more than 8 dimensions");
  for (uint32_t d = 0; d < rank && reader.status.ok(); ++d)
    buffer.shape.push_back(reader.number<int64_t>());
  reader.bytes(buffer.before);
  reader.bytes(buffer.after);
  uint64_t elements = elementsOf(reader, buffer);
  uint64_t afterBytes = buffer.type <= ElementType::f64 ? 4 : runtime::elementBytes(buffer.type);
  auto fits = [&](const std::vector<uint8_t> &bytes, uint64_t each) {
    return runtime::checkedMul(elements, each) == bytes.size();
  };
  if (!fits(buffer.before, runtime::elementBytes(buffer.type)) ||
      !(buffer.isWritten ? fits(buffer.after, afterBytes) : buffer.after.empty()))
    reader.fail("a buffer whose contents are not of its size");
  return buffer;
}

} // namespace

std::string writeCases(const std::vector<KernelCase> &cases) {
  Writer w;
  w.out = kMagic;
  w.number(static_cast<uint32_t>(cases.size()));
  for (const KernelCase &c : cases) {
    w.bytes(c.kernel.data(), c.kernel.size());
    w.bytes(c.label.data(), c.label.size());
    w.number(static_cast<uint32_t>(c.buffers.size()));
    for (const CaseBuffer &b : c.buffers) {
      w.number(static_cast<uint8_t>(b.type));
      w.number(static_cast<uint8_t>(b.isWritten));
      w.number(static_cast<uint8_t>(b.hasOtherRows));
      w.number(static_cast<uint32_t>(b.shape.size()));
      for (int64_t extent : b.shape)
        w.number(extent);
      w.bytes(b.before.data(), b.before.size());
      w.bytes(b.after.data(), b.after.size());
    }
  }
  return w.out;
}

absl::StatusOr<std::vector<KernelCase>> readCases(const std::string &bytes, const std::string &path) {
  Reader reader{bytes, path};
  if (bytes.compare(0, kMagicBytes, kMagic) != 0)
    reader.fail("is no file of cases");
  reader.take(kMagicBytes);
  auto count = reader.number<uint32_t>();
  std::vector<KernelCase> cases;
  for (uint32_t i = 0; i < count && reader.status.ok(); ++i) {
    KernelCase c;
    reader.bytes(c.kernel);
    reader.bytes(c.label);
    auto buffers = reader.number<uint32_t>();
    for (uint32_t b = 0; b < buffers && reader.status.ok(); ++b)
      c.buffers.push_back(readBuffer(reader));
    cases.push_back(std::move(c));
  }
  if (reader.status.ok() && reader.at != bytes.size())
    reader.fail("there is more than the cases");
  if (!reader.status.ok())
    return reader.status;
  return cases;
}

} // namespace llmc
