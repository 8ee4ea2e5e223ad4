// Element kinds: widths, rounding, wrap-around.
#include "dialect/reference/Tensor.h"
#include "llvm/ADT/APFloat.h"
#include <cmath>
#include <limits>

namespace llmc::reference {

unsigned bits(Element e) {
  switch (e) {
  case Element::F32:
  case Element::I32:
    return 32;
  case Element::BF16:
  case Element::F16:
  case Element::I16:
    return 16;
  case Element::I8:
    return 8;
  case Element::I1:
    return 1;
  default:
    return 64;
  }
}

std::optional<Element> elementOf(mlir::Type t) {
  if (t.isF64())
    return Element::F64;
  if (t.isF32())
    return Element::F32;
  if (t.isBF16())
    return Element::BF16;
  if (t.isF16())
    return Element::F16;
  if (t.isIndex())
    return Element::Index;
  if (t.isInteger(64))
    return Element::I64;
  if (t.isInteger(32))
    return Element::I32;
  if (t.isInteger(16))
    return Element::I16;
  if (t.isInteger(8))
    return Element::I8;
  if (t.isInteger(1))
    return Element::I1;
  return std::nullopt;
}

double roundTo(Element e, double value) {
  if (e == Element::F64)
    return value;
  if (e == Element::F32)
    return (float)value;
  bool loses;
  llvm::APFloat f(value);
  f.convert(e == Element::BF16 ? llvm::APFloat::BFloat() : llvm::APFloat::IEEEhalf(), llvm::APFloat::rmNearestTiesToEven, &loses);
  f.convert(llvm::APFloat::IEEEdouble(), llvm::APFloat::rmNearestTiesToEven, &loses);
  return f.convertToDouble();
}

int64_t wrapTo(Element e, int64_t value) {
  switch (e) {
  case Element::I32:
    return (int32_t)value;
  case Element::I16:
    return (int16_t)value;
  case Element::I8:
    return (int8_t)value;
  case Element::I1:
    return value & 1;
  default:
    return value;
  }
}

Cell unwritten(Element e) {
  if (isReal(e))
    return realCell(std::nan(""));
  return integerCell(e == Element::I1 ? 0 : -(int64_t)(1ull << (bits(e) - 1)));
}

llvm::SmallVector<int64_t, 4> rowMajorStrides(llvm::ArrayRef<int64_t> shape) {
  llvm::SmallVector<int64_t, 4> strides(shape.size(), 1);
  for (int64_t i = (int64_t)shape.size() - 2; i >= 0; --i)
    strides[i] = strides[i + 1] * shape[i + 1];
  return strides;
}

std::string text(llvm::ArrayRef<int64_t> numbers) {
  std::string s = "[";
  for (int64_t n : numbers)
    s += (s.size() > 1 ? ", " : "") + std::to_string(n);
  return s + "]";
}

} // namespace llmc::reference
