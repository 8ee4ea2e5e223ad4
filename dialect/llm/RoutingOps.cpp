// Verifiers of the mixture-of-experts ops.
#include "dialect/llm/LlmDialect.h"
#include "mlir/IR/Builders.h"
#define GET_OP_CLASSES
#include "dialect/llm/RoutingOps.cpp.inc"

using namespace mlir;
namespace llmc::llm {

LogicalResult RouteOp::verify() {
  int64_t e = columns(getLogits()), k = getTopK();
  if (k > e)
    return emitOpError("expects top_k within 1 .. ") << e << ", got " << k;
  if (getScoring() != "sigmoid" && getScoring() != "softmax")
    return emitOpError("expects scoring sigmoid or softmax, got ") << getScoring();
  if (e % (int64_t)getGroups() != 0 || getTopGroups() > getGroups())
    return emitOpError("expects groups that divide ") << e << " and top_groups within them";
  if (getBias() && elements(getBias()) != e)
    return emitOpError("expects a bias of ") << e << " values, got " << getBias().getType();
  if (columns(getIds()) != k || columns(getWeights()) != k)
    return emitOpError("expects results of ") << k << " columns";
  return success();
}

LogicalResult DispatchExpertsOp::verify() {
  auto groups = cast<RankedTensorType>(getGroups().getType());
  if (groups.getRank() != 2 || !groups.hasStaticShape() || columns(getGroups()) != 3)
    return emitOpError("expects groups [E, 3], got ") << getGroups().getType();
  return success();
}

LogicalResult ExpertLinearOp::verify() {
  int64_t n = 0;
  for (Value w : getWeights()) {
    auto s = cast<RankedTensorType>(w.getType()).getShape();
    if (s.size() != 3 || s[2] != columns(getX()))
      return emitOpError("expects weights [E, N, ") << columns(getX()) << "], got " << w.getType();
    n += llvm::alignTo(s[1], getAlign());
  }
  if (n != columns(getResult()))
    return emitOpError("expects ") << columns(getResult()) << " weight rows per expert, got " << n;
  return success();
}

LogicalResult CombineExpertsOp::verify() {
  if (columns(getPlace()) != columns(getWeights()) || columns(getX()) != columns(getResult()))
    return emitOpError("expects place and weights [T, k], x and result of one width");
  return success();
}

} // namespace llmc::llm
