// The plan dialect's C++ face.
#pragma once
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"

#include "dialect/plan/PlanDialect.h.inc"
#define GET_OP_CLASSES
#include "dialect/plan/PlanOps.h.inc"
