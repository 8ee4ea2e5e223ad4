// Declaration of the simulator's pass, generated from Passes.td.
#pragma once
#include "mlir/Pass/Pass.h"

namespace llmc {

#define GEN_PASS_DECL
#include "codegen/sim/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "codegen/sim/Passes.h.inc"

} // namespace llmc
