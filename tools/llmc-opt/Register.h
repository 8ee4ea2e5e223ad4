// The one place that lists llmc's dialects and pass libraries for the tools.
#pragma once
#include "codegen/cpu/CpuTarget.h"
#include "codegen/cuda/CudaTarget.h"
#include "dialect/llm/LlmDialect.h"
#include "mlir/IR/DialectRegistry.h"
#include "passes/Passes.h"
#include "passes/Pipelines.h"

namespace llmc {
inline void registerDialects(mlir::DialectRegistry &registry) {
  registry.insert<llm::LlmDialect, plan::PlanDialect>();
}
inline void registerAllPasses() {
  registerLlmcPasses();
  registerPipelines();
  registerCpuTarget();
  registerCudaTarget();
}
} // namespace llmc
