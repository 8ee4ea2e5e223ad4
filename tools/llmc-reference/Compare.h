// Compares results and reports by how much they differ.
#pragma once
#include "dialect/reference/Difference.h"
#include "dialect/reference/Evaluator.h"

namespace llmc::reference {

/// Prints the difference of every tensor, each line after `label`. Fails where reals differ by more than
/// `tolerance` in relative L2 norm or integers at all.
mlir::LogicalResult compare(llvm::ArrayRef<Value> wanted, llvm::ArrayRef<Value> got, double tolerance,
                            mlir::Location at, llvm::StringRef label = "");

} // namespace llmc::reference
