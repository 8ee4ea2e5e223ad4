// Plain tensors for the reference evaluator: a shape, an element kind and the elements in row-major order.
#pragma once
#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/SmallVector.h"
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace llmc::reference {

/// What an element is in the IR. Reals are held as double whatever their kind; integers as a sign-extended int64
/// (a bool is 0 or 1).
enum class Element : uint8_t { F64, F32, BF16, F16, I64, I32, I16, I8, I1, Index };

inline bool isReal(Element e) { return e <= Element::F16; }

/// Width in bits (64 for an index).
unsigned bits(Element e);

/// The kind of a scalar type, or nothing for a type that the evaluator does not know.
std::optional<Element> elementOf(mlir::Type scalar);

/// The nearest value that the kind can hold, ties to even. F64 values are unchanged.
double roundTo(Element e, double value);

/// Wraps an integer around to the kind's width.
int64_t wrapTo(Element e, int64_t value);

/// One element: the member is chosen by the kind of the tensor or by the type of the scalar that holds it.
union Cell {
  double real;
  int64_t integer;
};
inline Cell realCell(double v) {
  Cell c;
  c.real = v;
  return c;
}
inline Cell integerCell(int64_t v) {
  Cell c;
  c.integer = v;
  return c;
}

/// What fills memory that nobody wrote: NaN, or the smallest integer, so that a read of it shows.
Cell unwritten(Element e);

struct Tensor {
  Element element = Element::F32;
  llvm::SmallVector<int64_t, 4> shape;
  std::vector<Cell> cells; // row-major

  Tensor() = default;
  /// All elements zero.
  Tensor(Element element, llvm::ArrayRef<int64_t> shape)
      : element(element), shape(shape.begin(), shape.end()), cells(count(shape), integerCell(0)) {}

  static Tensor filled(Element element, llvm::ArrayRef<int64_t> shape, Cell value) {
    Tensor t(element, shape);
    std::fill(t.cells.begin(), t.cells.end(), value);
    return t;
  }

  int64_t size() const { return (int64_t)cells.size(); }
  int64_t rank() const { return (int64_t)shape.size(); }
  int64_t dim(int64_t i) const { return shape[i]; }
  /// Elements per index of the first dimension.
  int64_t rowSize() const { return shape.empty() || shape[0] == 0 ? 0 : size() / shape[0]; }

  double &real(int64_t i) { return cells[i].real; }
  double real(int64_t i) const { return cells[i].real; }
  int64_t &integer(int64_t i) { return cells[i].integer; }
  int64_t integer(int64_t i) const { return cells[i].integer; }

  /// Element (row, column) of a matrix.
  double &at(int64_t row, int64_t column) { return cells[row * shape[1] + column].real; }
  double at(int64_t row, int64_t column) const { return cells[row * shape[1] + column].real; }
  int64_t &intAt(int64_t row, int64_t column) { return cells[row * shape[1] + column].integer; }
  int64_t intAt(int64_t row, int64_t column) const { return cells[row * shape[1] + column].integer; }

  static int64_t count(llvm::ArrayRef<int64_t> shape) {
    int64_t n = 1;
    for (int64_t d : shape)
      n *= d;
    return n;
  }
};

/// Distances between neighbours along each dimension of a dense row-major tensor.
llvm::SmallVector<int64_t, 4> rowMajorStrides(llvm::ArrayRef<int64_t> shape);

/// A shape or list of numbers for a message: "[2, 3]".
std::string text(llvm::ArrayRef<int64_t> numbers);

} // namespace llmc::reference
