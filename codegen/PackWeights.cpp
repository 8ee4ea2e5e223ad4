// Packing in bounded memory: a piece of a tensor at a time.
#include "codegen/PackWeights.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/StringExtras.h"
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

/// The first element that is a NaN or an infinity (its exponent is all ones), or -1. The pass that almost
/// always finds nothing has no branches, so it runs at the speed of memory.
template <typename Word> int64_t firstNonFinite(const uint8_t *data, size_t count, Word exponent) {
  constexpr size_t kBlock = 1024;
  for (size_t begin = 0; begin < count; begin += kBlock) {
    size_t end = std::min(count, begin + kBlock);
    Word found = 0;
    for (size_t i = begin; i < end; ++i) {
      Word word;
      std::memcpy(&word, data + i * sizeof word, sizeof word);
      found |= (word & exponent) == exponent;
    }
    for (size_t i = begin; found && i < end; ++i) {
      Word word;
      std::memcpy(&word, data + i * sizeof word, sizeof word);
      if ((word & exponent) == exponent)
        return i;
    }
  }
  return -1;
}

/// "[3, 17]": where element `at` of a tensor is.
std::string indexText(int64_t at, ArrayRef<int64_t> shape) {
  SmallVector<std::string> parts;
  for (int64_t size : llvm::reverse(shape)) {
    parts.push_back(std::to_string(at % size));
    at /= size;
  }
  return "[" + llvm::join(llvm::reverse(parts), ", ") + "]";
}

/// Reads a tensor of a checkpoint piece by piece into one buffer, and looks at every element on the way.
class TensorReader {
public:
  static constexpr int64_t kPieceBytes = 4 << 20;

  TensorReader(const TensorSource &source, Type element) : source(source), element(element) {}

  void open(const std::string &tensorName) {
    name = tensorName;
    tensor = source.find(name);
  }

  /// The bytes from `offset` on; they last until the next read.
  absl::StatusOr<const uint8_t *> read(uint64_t offset, size_t count) {
    buffer.resize(count);
    if (absl::Status status = tensor.read(offset, buffer.data(), count); !status.ok())
      return status;
    if (!source.allowNonFinite)
      if (absl::Status status = checkFinite(offset, count); !status.ok())
        return status;
    return buffer.data();
  }

private:
  absl::Status checkFinite(uint64_t offset, size_t count) const {
    bool isWord = element.isF32();
    int64_t at = isWord
                     ? firstNonFinite<uint32_t>(buffer.data(), count / 4, 0x7f800000u)
                     : firstNonFinite<uint16_t>(buffer.data(), count / 2, element.isF16() ? 0x7c00 : 0x7f80);
    if (at < 0)
      return absl::OkStatus();
    uint64_t bits = 0;
    size_t size = isWord ? 4 : 2;
    std::memcpy(&bits, buffer.data() + at * size, size);
    const llvm::fltSemantics &semantics = cast<FloatType>(element).getFloatSemantics();
    llvm::APFloat value(semantics, llvm::APInt(8 * size, bits));
    std::string text = value.isNaN() ? "NaN" : value.isNegative() ? "-infinity" : "infinity";
    return absl::InvalidArgumentError(
        source.name + ": tensor \"" + name + "\": element " + indexText(offset / size + at, tensor.shape) +
        " is " + text + "; the checkpoint is damaged: get it again, or compile with --allow-non-finite");
  }

  const TensorSource &source;
  Type element;
  std::string name;
  StoredTensor tensor;
  std::vector<uint8_t> buffer;
};

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

/// Rows of a piece, in panels if it has them.
absl::Status writePiece(const PackedPiece &piece, TensorReader &reader, BlobSink &sink) {
  int64_t rowBytes = piece.rowBytes(), unit = std::max<int64_t>(piece.panel, 1);
  int64_t step = std::max<int64_t>(TensorReader::kPieceBytes / rowBytes / unit, 1) * unit;
  std::string panel;
  for (int64_t row = 0; row < piece.rows; row += step) {
    int64_t here = std::min(step, piece.rows - row);
    auto bytes = reader.read((piece.firstRow + row) * rowBytes, here * rowBytes);
    if (!bytes.ok())
      return bytes.status();
    if (!piece.panel) {
      if (absl::Status status = sink.append(*bytes, here * rowBytes); !status.ok())
        return status;
      continue;
    }
    for (int64_t r = 0; r < here; r += piece.panel) {
      transposePanel(*bytes + r * rowBytes, std::min(piece.panel, here - r), piece.columns, piece.panel,
                     piece.elementBytes, panel);
      if (absl::Status status = sink.append(panel.data(), panel.size()); !status.ok())
        return status;
    }
  }
  return absl::OkStatus();
}

} // namespace

int64_t PackedPiece::packedBytes() const { return (panel ? llvm::alignTo(rows, panel) : rows) * rowBytes(); }

absl::StatusOr<std::vector<PackedPiece>>
packedPieces(plan::BufferOp buffer, llvm::function_ref<uint64_t(const std::string &)> bytesOf) {
  Layout l = layoutOf(buffer);
  std::vector<PackedPiece> pieces;
  int64_t at = 0;
  auto add = [&](PackedPiece piece) {
    piece.packedOffset = at;
    at += piece.packedBytes();
    pieces.push_back(std::move(piece));
  };
  if (!l.packed) { // as stored: rows of one element
    for (const std::string &pattern : l.names)
      for (int64_t e = 0; e < std::max<int64_t>(l.stack, 1); ++e) {
        std::string name = l.stack ? partName(pattern, e) : pattern;
        uint64_t bytes = bytesOf(name);
        if (bytes == 0 || bytes % l.elementBytes)
          return wrongSize(name, bytes);
        add({name, 0, 0, int64_t(bytes) / l.elementBytes, 1, 0, l.elementBytes});
      }
  } else {
    for (int64_t g = 0; g < l.groups; ++g)
      for (size_t i = 0; i < l.names.size(); ++i) {
        // A group is a part of one tensor, or, of stacked tensors, one of them.
        std::string name = l.stack ? partName(l.names[i], g) : l.names[i];
        int64_t bytes = bytesOf(name), rowBytes = l.columns * l.elementBytes, parts = l.stack ? 1 : l.groups;
        if (bytes == 0 || bytes % (rowBytes * parts))
          return wrongSize(name, bytes);
        int64_t rows = bytes / rowBytes / parts, from = l.parts.empty() ? l.from : l.parts[2 * i];
        int64_t count = !l.parts.empty() ? l.parts[2 * i + 1] : l.count < 0 ? rows : l.count;
        if (from + count > rows)
          return wrongSize(name, bytes);
        add({name, 0, (l.stack ? 0 : g) * rows + from, count, l.columns, l.panel, l.elementBytes});
      }
  }
  if (at != l.bytes)
    return absl::InternalError("weight \"" + buffer.getSymName().str() + "\": its tensors fill " +
                               std::to_string(at) + " of " + std::to_string(l.bytes) + " bytes");
  return pieces;
}

void unpack(const PackedPiece &piece, const uint8_t *packed, uint8_t *tensor) {
  const uint8_t *from = packed + piece.packedOffset;
  uint8_t *to = tensor + piece.firstRow * piece.rowBytes();
  if (!piece.panel) {
    std::memcpy(to, from, piece.rows * piece.rowBytes());
    return;
  }
  for (int64_t row = 0; row < piece.rows; ++row)
    for (int64_t k = 0; k < piece.columns; ++k)
      std::memcpy(to + (row * piece.columns + k) * piece.elementBytes,
                  from + ((row / piece.panel * piece.columns + k) * piece.panel + row % piece.panel) *
                             piece.elementBytes,
                  piece.elementBytes);
}

BlobSource packedWeight(plan::BufferOp buffer, const TensorSource &source) {
  uint64_t bytes = layoutOf(buffer).bytes;
  if (!source.find)
    return {bytes, {}};
  return {bytes, [buffer, source](BlobSink &sink) -> absl::Status {
            plan::BufferOp op = buffer;
            auto pieces = packedPieces(op, [&](const std::string &name) { return source.find(name).bytes; });
            if (!pieces.ok())
              return pieces.status();
            TensorReader reader(source, cast<RankedTensorType>(op.getType()).getElementType());
            for (const PackedPiece &piece : *pieces) {
              reader.open(piece.name);
              if (absl::Status status = writePiece(piece, reader, sink); !status.ok())
                return status;
            }
            return absl::OkStatus();
          }};
}

} // namespace llmc
