// Declarations of the CPU target's passes, generated from Passes.td.
#pragma once
#include "mlir/Pass/Pass.h"

namespace llmc {

#define GEN_PASS_DECL
#include "codegen/cpu/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "codegen/cpu/Passes.h.inc"

} // namespace llmc
