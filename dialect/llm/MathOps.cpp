// Verifiers of weights, embeddings, linear and elementwise maps.
#include "dialect/llm/LlmDialect.h"
#include "mlir/IR/Builders.h"
#define GET_OP_CLASSES
#include "dialect/llm/MathOps.cpp.inc"

using namespace mlir;
namespace llmc::llm {

static ArrayRef<int64_t> shape(Value v) { return cast<RankedTensorType>(v.getType()).getShape(); }

LogicalResult WeightOp::verify() {
  bool hasPlace = getName().contains("{}");
  if (getStack() && !hasPlace)
    return emitOpError("expects '{}' in the name of stacked tensors, got '") << getName() << "'";
  if (getStack() && shape(getResult()).front() != (int64_t)*getStack())
    return emitOpError("expects a first dimension of ") << *getStack() << ", got " << getResult().getType();
  return success();
}

LogicalResult EmbedOp::verify() {
  if (shape(getTable()).size() != 2 || columns(getTable()) != columns(getResult()))
    return emitOpError("expects a table [V, D] and a result [T, D], got ")
           << getTable().getType() << " and " << getResult().getType();
  return success();
}

LogicalResult LinearOp::verify() {
  int64_t n = 0;
  for (Value w : getWeights()) {
    // Wider weights are met in part; see the op.
    if (shape(w).size() != 2 || (int64_t)getColumn() + columns(getX()) > shape(w)[1])
      return emitOpError("expects weights [N, ") << (int64_t)getColumn() + columns(getX()) << "] or wider, got " << w.getType();
    n += llvm::alignTo(shape(w)[0], getAlign());
  }
  if (n != columns(getResult()))
    return emitOpError("expects ") << columns(getResult()) << " weight rows in all, got " << n;
  return success();
}

LogicalResult PackOp::verify() {
  if (getWeights().empty())
    return emitOpError("expects weights");
  auto result = cast<RankedTensorType>(getResult().getType());
  int64_t groups = getGroups(), panel = getPanel(), units = 0, k = shape(getWeights().front()).back();
  for (Value w : getWeights()) {
    int64_t rows = elements(w) / groups / shape(w).back();
    int64_t count = getCount() ? (int64_t)*getCount() : rows;
    if (shape(w).back() != k || elements(w) % (groups * k) || (int64_t)getFrom() + count > rows)
      return emitOpError("expects weights of ")
             << groups << " groups with " << k << " columns, got " << w.getType();
    if (cast<RankedTensorType>(w.getType()).getElementType() != result.getElementType())
      return emitOpError("expects one element type");
    units += panel ? llvm::divideCeil(count, panel) : count;
  }
  if (panel ? result.getShape() != ArrayRef<int64_t>({groups, units, k, panel})
            : result.getShape() != ArrayRef<int64_t>({groups, units, k}))
    return emitOpError("expects ") << units << (panel ? " panels" : " rows")
                                   << " per group in its result, got " << result;
  return success();
}

LogicalResult SliceOp::verify() {
  if ((int64_t)getOffset() + columns(getResult()) > columns(getX()))
    return emitOpError("expects columns within ")
           << columns(getX()) << ", got " << getOffset() << " + " << columns(getResult());
  return success();
}

LogicalResult ConcatOp::verify() {
  int64_t n = 0;
  for (Value x : getInputs())
    n += columns(x);
  if (getInputs().empty() || n != columns(getResult()))
    return emitOpError("expects operands of ") << columns(getResult()) << " columns in all, got " << n;
  return success();
}

LogicalResult MapOp::verify() {
  for (Value v : getInputs())
    if (columns(v) != columns(getResult()))
      return emitOpError("expects operands of ") << columns(getResult()) << " columns, got " << v.getType();
  Block &body = getBody().front();
  if (body.getNumArguments() != getInputs().size())
    return emitOpError("expects one region argument per operand");
  if (!llvm::all_of(body.getArgumentTypes(), [](Type type) { return type.isF32(); }))
    return emitOpError("expects region arguments of type f32");
  auto yield = dyn_cast<YieldOp>(body.getTerminator());
  if (!yield || yield.getNumOperands() != 1 || !yield.getOperand(0).getType().isF32())
    return emitOpError("expects its region to yield one f32");
  return success();
}

} // namespace llmc::llm
