// The llm dialect's C++ face: its types and ops.
#pragma once

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace llmc::llm {

/// Whether sizes are below 2^31 and what they count below 2^48, so that verifiers, passes and the evaluator
/// can multiply and add them without looking.
bool isAddressable(llvm::ArrayRef<int64_t> shape);

} // namespace llmc::llm

#include "dialect/llm/LlmDialect.h.inc"
#define GET_TYPEDEF_CLASSES
#include "dialect/llm/LlmTypes.h.inc"
#define GET_OP_CLASSES
#include "dialect/llm/MathOps.h.inc"
#define GET_OP_CLASSES
#include "dialect/llm/NormOps.h.inc"
#define GET_OP_CLASSES
#include "dialect/llm/MixerOps.h.inc"
#define GET_OP_CLASSES
#include "dialect/llm/RoutingOps.h.inc"
#define GET_OP_CLASSES
#include "dialect/llm/DecodingOps.h.inc"
#define GET_OP_CLASSES
#include "dialect/llm/CanvasOps.h.inc"
#define GET_OP_CLASSES
#include "dialect/llm/PatchOps.h.inc"
#define GET_OP_CLASSES
#include "dialect/llm/DispatchOps.h.inc"

namespace llmc::llm {

/// Columns of an activation `[T, N]`, or the length of a vector.
inline int64_t columns(mlir::Value v) { return llvm::cast<mlir::RankedTensorType>(v.getType()).getShape().back(); }

/// Whether the op is one of those that decode on a canvas or by the patch (CanvasOps.td, PatchOps.td): tables of sequences are all that they
/// know about rows.
inline bool isCanvasOp(mlir::Operation *op) {
  return llvm::isa<WriteCanvasOp, ReadCanvasOp, OpenBlockOp, SelectRowsOp, GuideOp, PredictOp, UnmaskOp, NextRowsOp, EmitBlockOp, RegroupRowsOp, NoiseOp,
                   OpenDrawsOp, AcceptPatchOp>(op);
}

/// Number of elements of a statically shaped tensor (a weight whose exact rank does not matter).
inline int64_t elements(mlir::Value v) { return llvm::cast<mlir::RankedTensorType>(v.getType()).getNumElements(); }

} // namespace llmc::llm
