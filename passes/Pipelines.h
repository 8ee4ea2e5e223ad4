// The story of compilation, one pass a line. Each function appends one stage to a pass manager.
#pragma once
#include "mlir/Pass/PassManager.h"

namespace llmc {
/// What the kind of target decides before code generation: "cpu" or "cuda".
void addGraphStage(mlir::OpPassManager &pm, llvm::StringRef target = "cpu");
void addChunkStage(mlir::OpPassManager &pm, llvm::StringRef target = "cpu");
void addPlanStage(mlir::OpPassManager &pm);
/// Registers llmc-graph-stage, llmc-chunk-stage and llmc-plan-stage by name.
void registerPipelines();
} // namespace llmc
