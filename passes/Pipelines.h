// The story of compilation, one pass a line. Each function appends one stage to a pass manager.
#pragma once
#include "mlir/Pass/PassManager.h"

namespace llmc {
/// What the kind of target decides before code generation: "cpu" or "cuda".
void addGraphStage(mlir::OpPassManager &pm, llvm::StringRef target = "cpu");
void addChunkStage(mlir::OpPassManager &pm, llvm::StringRef target = "cpu", int64_t maxTokens = 0);
/// `maxTokens`: most rows in one call, 0: as plan-memory has it.
void addPlanStage(mlir::OpPassManager &pm, int64_t maxTokens = 0);
/// Registers llmc-graph-stage, llmc-chunk-stage and llmc-plan-stage by name.
void registerPipelines();
} // namespace llmc
