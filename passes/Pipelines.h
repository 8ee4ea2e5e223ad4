// The story of compilation, one pass a line. Each function appends one stage to a pass manager.
#pragma once
#include "mlir/Pass/PassManager.h"

namespace llmc {
void addGraphStage(mlir::OpPassManager &pm);
void addChunkStage(mlir::OpPassManager &pm);
/// Registers llmc-graph-stage and llmc-chunk-stage by name.
void registerPipelines();
} // namespace llmc
