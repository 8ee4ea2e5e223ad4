// Elements of tensors as memory and files hold them: little endian, a bool in a byte.
#pragma once
#include "dialect/reference/Tensor.h"

namespace llmc::reference {

/// Bytes of an element in memory.
size_t storedBytes(Element e);

/// Writes a cell, rounded to the kind, at `at` (any alignment).
void writeElement(Element e, uint8_t *at, Cell cell);
Cell readElement(Element e, const uint8_t *at);

/// Dense row-major elements as a tensor.
Tensor tensorOfBytes(Element element, llvm::ArrayRef<int64_t> shape, const uint8_t *bytes);

} // namespace llmc::reference
