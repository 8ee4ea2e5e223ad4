// Verifiers of dispatches.
#include "dialect/llm/LlmDialect.h"
#include "mlir/IR/Builders.h"
#define GET_OP_CLASSES
#include "dialect/llm/DispatchOps.cpp.inc"

using namespace mlir;
namespace llmc::llm {

/// Results that take an operand's memory, of dispatches and of launches.
template <typename OpT> static LogicalResult verifyTied(OpT op) {
  if (op.getTied().size() != op->getNumResults())
    return op.emitOpError("expects one entry of 'tied' per result");
  for (auto [i, operand] : llvm::enumerate(op.getTied()))
    if (operand >= (int64_t)op.getInputs().size() ||
        (operand >= 0 && op.getInputs()[operand].getType() != op->getResult(i).getType()))
      return op.emitOpError("expects result ") << i << " to be tied to an operand of its type";
  return success();
}

LogicalResult DispatchOp::verify() {
  Block &body = getBody().front();
  if (body.getArgumentTypes() != getInputs().getTypes())
    return emitOpError("expects region arguments of the operands' types");
  auto yield = dyn_cast<YieldOp>(body.getTerminator());
  if (!yield || yield.getOperandTypes() != getResultTypes())
    return emitOpError("expects its region to yield values of the result types");
  return verifyTied(*this);
}

LogicalResult LaunchOp::verify() { return verifyTied(*this); }

} // namespace llmc::llm
