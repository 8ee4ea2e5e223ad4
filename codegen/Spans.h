// What a module says of the rows of its programs' tables of sequences, as the runtime has it.
#pragma once
#include "absl/status/statusor.h"
#include "mlir/IR/BuiltinOps.h"
#include "runtime/Plan.h"

namespace llmc {

/// Postfix terms as text (see plan.program) to terms over runtime::SpanValues.
absl::StatusOr<std::vector<runtime::GridTerm>> parseSpanTerms(llvm::StringRef text, const std::vector<runtime::Setting> &settings);

/// The settings that the module's `llm.settings` lists.
std::vector<runtime::Setting> settingsOf(mlir::ModuleOp module);

} // namespace llmc
