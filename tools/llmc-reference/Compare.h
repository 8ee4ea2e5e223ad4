// Compares results and reports by how much they differ.
#pragma once
#include "dialect/reference/Evaluator.h"

namespace llmc::reference {

/// "f32", "bf16", ...
const char *kindName(Element e);

/// Relative L2 error and largest error; infinite when one side has a NaN or infinity that the other has not.
struct Difference {
  double relative = 0, largest = 0;
  int64_t at = 0; // where the largest is

  Difference(const Tensor &wanted, const Tensor &got);
};

/// Prints the difference of every tensor, each line after `label`. Fails where reals differ by more than
/// `tolerance` in relative L2 norm or integers at all.
mlir::LogicalResult compare(llvm::ArrayRef<Value> wanted, llvm::ArrayRef<Value> got, double tolerance,
                            mlir::Location at, llvm::StringRef label = "");

} // namespace llmc::reference
