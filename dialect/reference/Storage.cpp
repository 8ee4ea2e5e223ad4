// Elements as memory holds them. See Storage.h.
#include "dialect/reference/Storage.h"
#include "llvm/ADT/APFloat.h"
#include <cstring>

namespace llmc::reference {

size_t storedBytes(Element e) { return e == Element::I1 ? 1 : bits(e) / 8; }

void writeElement(Element e, uint8_t *at, Cell cell) {
  auto put = [&](auto v) { std::memcpy(at, &v, sizeof v); };
  auto half = [&](const llvm::fltSemantics &semantics) {
    llvm::APFloat v(cell.real);
    bool loses;
    v.convert(semantics, llvm::APFloat::rmNearestTiesToEven, &loses);
    put((uint16_t)v.bitcastToAPInt().getZExtValue());
  };
  switch (e) {
  case Element::F64:
    return put(cell.real);
  case Element::F32:
    return put((float)cell.real);
  case Element::BF16:
    return half(llvm::APFloat::BFloat());
  case Element::F16:
    return half(llvm::APFloat::IEEEhalf());
  case Element::I64:
  case Element::Index:
    return put(cell.integer);
  case Element::I32:
    return put((int32_t)cell.integer);
  case Element::I16:
    return put((int16_t)cell.integer);
  case Element::I8:
  case Element::I1:
    return put((int8_t)cell.integer);
  }
}

Cell readElement(Element e, const uint8_t *at) {
  auto get = [&](auto v) {
    std::memcpy(&v, at, sizeof v);
    return v;
  };
  auto half = [&](const llvm::fltSemantics &semantics) {
    llvm::APFloat v(semantics, llvm::APInt(16, get(uint16_t())));
    bool loses;
    v.convert(llvm::APFloat::IEEEdouble(), llvm::APFloat::rmNearestTiesToEven, &loses);
    return realCell(v.convertToDouble());
  };
  switch (e) {
  case Element::F64:
    return realCell(get(double()));
  case Element::F32:
    return realCell(get(float()));
  case Element::BF16:
    return half(llvm::APFloat::BFloat());
  case Element::F16:
    return half(llvm::APFloat::IEEEhalf());
  case Element::I64:
  case Element::Index:
    return integerCell(get(int64_t()));
  case Element::I32:
    return integerCell(get(int32_t()));
  case Element::I16:
    return integerCell(get(int16_t()));
  case Element::I8:
  case Element::I1:
    return integerCell(get(int8_t()));
  }
  llvm_unreachable("no such element");
}

Tensor tensorOfBytes(Element element, llvm::ArrayRef<int64_t> shape, const uint8_t *bytes) {
  Tensor t(element, shape);
  size_t size = storedBytes(element);
  for (int64_t i = 0; i < t.size(); ++i)
    t.cells[i] = readElement(element, bytes + i * size);
  return t;
}

} // namespace llmc::reference
