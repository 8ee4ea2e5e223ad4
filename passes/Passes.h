// Declarations and registration of all passes, generated from Passes.td.
#pragma once
#include "dialect/llm/LlmDialect.h"
#include "dialect/plan/PlanDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Pass/Pass.h"

namespace llmc {
#define GEN_PASS_DECL
#include "passes/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "passes/Passes.h.inc"

/// Whether every sequence brings one token to this program or layer function: `advance` of models without canvas, and what
/// specialize-programs made for it.
bool isStep(mlir::func::FuncOp function);
} // namespace llmc
