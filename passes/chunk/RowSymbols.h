// What the dimensions of a dispatch's values count: tells a kernel's arguments apart by their rows.
#pragma once
#include "dialect/llm/LlmDialect.h"
#include "mlir/IR/Builders.h"
#include <optional>

namespace llmc {

/// "T", "8*T", "SLOTS", ...: the symbols of a value's dynamic dimensions, from what its dispatch does with it.
llvm::SmallVector<llvm::StringRef> symbolsOf(mlir::OpBuilder &b, mlir::Value v);

/// Rows of an expert linear's result: "8*T".
llvm::StringRef pairRows(mlir::OpBuilder &b, llm::ExpertLinearOp op);

/// Whether a value is a table, or has the rows of one, that its dispatch takes rows from for those of another.
bool hasOtherRows(mlir::Value v);

/// The part of a weight that one token reads, where that is not all of it: a row of a table, some of the experts.
std::optional<double> readShare(mlir::Value v);

} // namespace llmc
