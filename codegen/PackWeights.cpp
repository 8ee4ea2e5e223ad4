// Packing in bounded memory: one panel at a time.
#include "codegen/PackWeights.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/BuiltinAttributes.h"
#include <cstring>

using namespace mlir;
namespace llmc {
namespace {

struct Layout {
  std::vector<std::string> names;
  int64_t stack = 0, groups = 1, from = 0, count = -1, panel = 0;
  std::vector<int64_t>
      parts; ///< first row and number of rows of each weight; empty: `from` and `count` for all
  bool packed = false;
  int64_t columns = 0, elementBytes = 0, bytes = 0;
};

Layout layoutOf(plan::BufferOp buffer) {
  Layout l;
  auto type = cast<RankedTensorType>(buffer.getType());
  for (auto name : buffer.getWeights()->getAsValueRange<StringAttr>())
    l.names.push_back(name.str());
  l.elementBytes = type.getElementTypeBitWidth() / 8;
  l.bytes = type.getNumElements() * l.elementBytes;
  DictionaryAttr attrs =
      buffer.getLayoutAttr() ? buffer.getLayoutAttr() : DictionaryAttr::get(buffer.getContext());
  auto get = [&](StringRef key, int64_t fallback) {
    auto attr = attrs.getAs<IntegerAttr>(key);
    return attr ? attr.getInt() : fallback;
  };
  l.packed = attrs.contains("groups");
  l.stack = get("stack", 0);
  l.groups = get("groups", 1);
  l.from = get("from", 0);
  l.count = get("count", -1);
  l.panel = get("panel", 0);
  if (auto parts = attrs.getAs<DenseI64ArrayAttr>("parts"))
    l.parts.assign(parts.asArrayRef().begin(), parts.asArrayRef().end());
  l.columns = l.packed ? type.getDimSize(2) : 0;
  return l;
}

std::string partName(const std::string &name, int64_t e) {
  size_t at = name.find("{}");
  return name.substr(0, at) + std::to_string(e) + name.substr(at + 2);
}

absl::Status wrongSize(const std::string &name, size_t found) {
  return absl::InternalError("tensor \"" + name + "\": has " + std::to_string(found) +
                             " bytes, which is not what the plan expects");
}

/// Panel of `rows` stored rows (each of `columns` elements) starting at `source`: element (k, j) = row j,
/// column k; zero beyond the rows.
void transposePanel(const uint8_t *source, int64_t rows, int64_t columns, int64_t panel, int64_t elementBytes,
                    std::string &out) {
  out.assign(columns * panel * elementBytes, 0);
  constexpr int64_t kTile = 64; // columns at a time, so that the panel's rows stay in cache
  auto move = [&](auto element) {
    using T = decltype(element);
    for (int64_t k0 = 0; k0 < columns; k0 += kTile)
      for (int64_t j = 0; j < rows; ++j)
        for (int64_t k = k0; k < std::min(columns, k0 + kTile); ++k)
          std::memcpy(&out[(k * panel + j) * sizeof(T)], source + (j * columns + k) * sizeof(T), sizeof(T));
  };
  elementBytes == 2 ? move(uint16_t()) : move(uint32_t());
}

absl::Status writePacked(const Layout &l, const TensorSource &source, const TensorRelease &release,
                         BlobSink &sink) {
  std::string panel;
  for (int64_t g = 0; g < l.groups; ++g)
    for (size_t i = 0; i < l.names.size(); ++i) {
      const std::string &pattern = l.names[i];
      // A group is a part of one tensor, or, of stacked tensors, one of them.
      std::string name = l.stack ? partName(pattern, g) : pattern;
      StoredTensor tensor = source(name);
      int64_t rowBytes = l.columns * l.elementBytes, parts = l.stack ? 1 : l.groups;
      if (!tensor.data || tensor.bytes % (rowBytes * parts))
        return wrongSize(name, tensor.bytes);
      int64_t rows = tensor.bytes / rowBytes / parts, from = l.parts.empty() ? l.from : l.parts[2 * i];
      int64_t count = !l.parts.empty() ? l.parts[2 * i + 1] : l.count < 0 ? rows : l.count;
      if (from + count > rows)
        return wrongSize(name, tensor.bytes);
      const uint8_t *first = tensor.data + ((l.stack ? 0 : g) * rows + from) * rowBytes;
      if (!l.panel) {
        if (absl::Status status = sink.append(first, count * rowBytes); !status.ok())
          return status;
      } else {
        for (int64_t row = 0; row < count; row += l.panel) {
          int64_t here = std::min(l.panel, count - row);
          transposePanel(first + row * rowBytes, here, l.columns, l.panel, l.elementBytes, panel);
          if (absl::Status status = sink.append(panel.data(), panel.size()); !status.ok())
            return status;
          release({first + row * rowBytes, size_t(here * rowBytes)});
        }
      }
    }
  return absl::OkStatus();
}

absl::Status writePlain(const Layout &l, const TensorSource &source, BlobSink &sink) {
  for (const std::string &pattern : l.names)
    for (int64_t e = 0; e < std::max<int64_t>(l.stack, 1); ++e) {
      std::string name = l.stack ? partName(pattern, e) : pattern;
      StoredTensor tensor = source(name);
      if (!tensor.data)
        return wrongSize(name, 0);
      if (absl::Status status = sink.append(tensor.data, tensor.bytes); !status.ok())
        return status;
    }
  return absl::OkStatus();
}

} // namespace

BlobSource packedWeight(plan::BufferOp buffer, TensorSource source, TensorRelease release) {
  Layout l = layoutOf(buffer);
  return {(uint64_t)l.bytes, [l, source, release](BlobSink &sink) {
            return l.packed ? writePacked(l, source, release, sink) : writePlain(l, source, sink);
          }};
}

} // namespace llmc
