// Launches of kernels with what the evaluator computes for them, as a file for llmc-gpu-check.
#pragma once
#include "dialect/reference/Evaluator.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "tools/llmc-gpu/Cases.h"

namespace llmc::reference {

/// Fills in the options' hooks: keeps the first launch of every kernel in each call that is evaluated, with arguments
/// rounded to what storage holds. `label` says which call it is. The options must not outlive `cases`.
void recordCases(Options &options, const std::string &label, std::vector<KernelCase> &cases);

} // namespace llmc::reference
