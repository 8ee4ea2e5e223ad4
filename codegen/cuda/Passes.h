// Declarations of the CUDA target's passes, generated from Passes.td.
#pragma once
#include "mlir/Pass/Pass.h"

namespace llmc {

#define GEN_PASS_DECL
#include "codegen/cuda/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "codegen/cuda/Passes.h.inc"

} // namespace llmc
