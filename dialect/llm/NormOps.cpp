// Verifiers of norms and rotary positions.
#include "dialect/llm/LlmDialect.h"
#include "mlir/IR/Builders.h"
#define GET_OP_CLASSES
#include "dialect/llm/NormOps.cpp.inc"

using namespace mlir;
namespace llmc::llm {

LogicalResult RmsNormOp::verify() {
  if (columns(getX()) % elements(getWeight()) != 0)
    return emitOpError("expects a weight length that divides ")
           << columns(getX()) << ", got " << getWeight().getType();
  // Elements may be stored in different types.
  if (columns(getX()) != columns(getResult()) || (getGate() && columns(getGate()) != columns(getX())))
    return emitOpError("expects input, gate and result of as many columns");
  return success();
}

LogicalResult LayerNormOp::verify() {
  int64_t n = columns(getX());
  if (elements(getWeight()) != n || elements(getBias()) != n || columns(getResult()) != n)
    return emitOpError("expects weight, bias and result of ")
           << n << " columns, got " << getWeight().getType() << ", " << getBias().getType() << " and " << getResult().getType();
  return success();
}

LogicalResult L2NormOp::verify() {
  if (columns(getX()) % (int64_t)getHeads() != 0)
    return emitOpError("expects heads that divide ") << columns(getX()) << ", got " << getHeads();
  return success();
}

LogicalResult RotaryTableOp::verify() {
  if (columns(getResult()) != 2 * (int64_t)getFrequencies().size())
    return emitOpError("expects ") << 2 * getFrequencies().size() << " columns, got " << columns(getResult());
  return success();
}

LogicalResult RotaryOp::verify() {
  if (columns(getX()) % getHeads() || columns(getX()) / (int64_t)getHeads() < columns(getTable()))
    return emitOpError("expects ") << getHeads() << " heads of " << columns(getTable()) << " columns or more, got "
                                   << columns(getX());
  return success();
}

} // namespace llmc::llm
