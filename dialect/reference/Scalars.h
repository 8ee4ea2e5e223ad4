// Scalar ops of the upstream dialects, and bodies made of nothing else compiled to a list of them.
#pragma once
#include "dialect/reference/Tensor.h"
#include "mlir/IR/AffineMap.h"
#include "mlir/IR/Operation.h"
#include "llvm/ADT/StringMap.h"

namespace llmc::reference {

/// One scalar op, resolved once: a function and what it needs to know of the op's attributes and types.
struct ScalarOp {
  using Function = void (*)(const ScalarOp &, const Cell *in, Cell *out);
  Function function = nullptr;
  Element from = Element::F64, to = Element::F64; // kinds of the first operand and of the first result
  int64_t predicate = 0;                          // of a comparison
  Cell constant = integerCell(0);
  mlir::AffineMap map;

  /// The op as a scalar op, or nothing if it is none. Tensor types count by their elements.
  static std::optional<ScalarOp> of(mlir::Operation *op);
};

void addArith(llvm::StringMap<ScalarOp::Function> &);
void addMathFunctions(llvm::StringMap<ScalarOp::Function> &);

/// Value of an affine expression for the given dimensions and symbols.
int64_t evaluate(mlir::AffineExpr expr, llvm::ArrayRef<int64_t> dims, llvm::ArrayRef<int64_t> symbols = {});

/// A block of scalar ops over a file of registers: first the block's arguments, then captured values, constants and results.
struct ScalarProgram {
  struct Instruction {
    ScalarOp op;
    llvm::SmallVector<unsigned, 3> in;
    unsigned out;
  };
  std::vector<Cell> initial; // the register file with constants in place
  std::vector<Instruction> instructions;
  std::vector<std::pair<mlir::Value, unsigned>> captures; // to be filled in by the caller
  std::vector<std::pair<int64_t, unsigned>> indices;      // linalg.index: dimension, register
  llvm::SmallVector<unsigned, 2> yields;

  /// Null if the block holds anything but scalar ops, `linalg.index` and a terminator.
  static std::unique_ptr<ScalarProgram> compile(mlir::Block &block);

  void run(Cell *registers) const {
    Cell in[8];
    for (const Instruction &i : instructions) {
      for (unsigned k = 0, n = i.in.size(); k < n; ++k)
        in[k] = registers[i.in[k]];
      i.op.function(i.op, in, registers + i.out);
    }
  }
};

} // namespace llmc::reference
