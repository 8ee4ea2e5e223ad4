// Checks of compiled functions against the evaluator and against themselves.
#pragma once
#include "tools/llmc-reference/Arguments.h"
#include "tools/llmc-reference/Compiled.h"

namespace llmc::reference {

/// One call of a function of the module as it was given.
struct CheckedCall {
  mlir::func::FuncOp function;
  std::vector<Value> arguments;
  Tensor table;      ///< (slot, first row, length, past) of each sequence
  std::string label; ///< begins every line and diagnostic
};

/// Runs the call with rising and with falling workgroups, which must give the same bits, and compares with
/// what the evaluator gave.
mlir::LogicalResult checkCall(Compiled &compiled, const CheckedCall &call, llvm::ArrayRef<Value> wanted,
                              double tolerance);

/// Each sequence alone, and each cut in two pieces, must give the bits of the call with all of them. Cuts are
/// at 64 rows, and at a third of the sequence unless the function has a delta rule in chunks.
mlir::LogicalResult checkRowsAlone(Compiled &compiled, const CheckedCall &call);

} // namespace llmc::reference
