// The one place that lists llmc's dialects and pass libraries for the tools.
#pragma once
#include "codegen/cpu/CpuTarget.h"
#include "dialect/llm/LlmDialect.h"
#include "mlir/IR/DialectRegistry.h"

namespace llmc {
inline void registerDialects(mlir::DialectRegistry &registry) { registry.insert<llm::LlmDialect>(); }
inline void registerAllPasses() { registerCpuTarget(); }
} // namespace llmc
