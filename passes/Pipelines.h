// The story of compilation, one pass a line. Each function appends one stage to a pass manager.
#pragma once
#include "mlir/Pass/PassManager.h"

namespace llmc {
void addGraphStage(mlir::OpPassManager &pm);
void addChunkStage(mlir::OpPassManager &pm);
void addPlanStage(mlir::OpPassManager &pm);
/// Registers llmc-graph-stage, llmc-chunk-stage and llmc-plan-stage by name.
void registerPipelines();
} // namespace llmc
