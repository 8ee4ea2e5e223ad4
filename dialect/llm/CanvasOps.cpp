// Verifiers of the ops that decode on a canvas.
#include "dialect/llm/LlmDialect.h"
#include "mlir/IR/Builders.h"
#define GET_OP_CLASSES
#include "dialect/llm/CanvasOps.cpp.inc"

using namespace mlir;
namespace llmc::llm {

static int64_t rank(Value v) { return cast<RankedTensorType>(v.getType()).getRank(); }

/// The new canvas is the old one's memory.
static LogicalResult keepsType(Operation *op, Value canvas, Value updated) {
  if (canvas.getType() != updated.getType())
    return op->emitOpError("expects the updated canvas to keep its type");
  return success();
}

static LogicalResult hasSettings(Operation *op, Value settings) {
  if (columns(settings) != 8)
    return op->emitOpError("expects settings of 8 columns, got ") << settings.getType();
  return success();
}

LogicalResult WriteCanvasOp::verify() {
  if (rank(getTokens()) != 1)
    return emitOpError("expects tokens [T], got ") << getTokens().getType();
  return keepsType(*this, getCanvas(), getUpdated());
}

LogicalResult ReadCanvasOp::verify() {
  if (rank(getTokens()) != 1)
    return emitOpError("expects tokens [T], got ") << getTokens().getType();
  if (bool(getBounds()) != getHidden().has_value())
    return emitOpError("expects bounds and hidden together");
  return success();
}

LogicalResult OpenBlockOp::verify() { return keepsType(*this, getCanvas(), getUpdated()); }

LogicalResult SelectRowsOp::verify() {
  if (columns(getX()) != columns(getResult()))
    return emitOpError("expects a result of ") << columns(getX()) << " columns, got " << getResult().getType();
  return success();
}

LogicalResult GuideOp::verify() {
  for (Value v : {getUnprompted(), getResult()})
    if (columns(v) != columns(getX()))
      return emitOpError("expects rows of ") << columns(getX()) << " columns, as x has, got " << v.getType();
  return hasSettings(*this, getSettings());
}

LogicalResult PredictOp::verify() {
  if (columns(getSampling()) != 4 || columns(getDraws()) != 4)
    return emitOpError("expects sampling and draws of 4 columns");
  if (rank(getTokens()) != 1 || columns(getConfidence()) != 1)
    return emitOpError("expects tokens [U] and confidence [U, 1]");
  if ((int64_t)getMask() >= columns(getLogits()))
    return emitOpError("expects a mask below ") << columns(getLogits()) << ", the columns of logits, got " << getMask();
  return hasSettings(*this, getSettings());
}

LogicalResult UnmaskOp::verify() {
  if (!llvm::is_contained({"transfer", "dynamic", "edit", "subblock", "timestep"}, getRule()))
    return emitOpError("expects rule transfer, dynamic, edit, subblock or timestep, got ") << getRule();
  if (rank(getTokens()) != 1 || columns(getConfidence()) != 1)
    return emitOpError("expects tokens [U] and confidence [U, 1]");
  if (rank(getMore()) != 2 || columns(getMore()) != 1)
    return emitOpError("expects more [S, 1], got ") << getMore().getType();
  if (failed(keepsType(*this, getCanvas(), getUpdated())))
    return failure();
  return hasSettings(*this, getSettings());
}

LogicalResult NextRowsOp::verify() {
  if (rank(getCounts()) != 2 || columns(getCounts()) != 1)
    return emitOpError("expects counts [S, 1], got ") << getCounts().getType();
  return hasSettings(*this, getSettings());
}

LogicalResult EmitBlockOp::verify() {
  if (rank(getNext()) != 2)
    return emitOpError("expects next [S, W], got ") << getNext().getType();
  return success();
}

} // namespace llmc::llm
