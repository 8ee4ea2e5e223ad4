// Verifiers of dispatches.
#include "dialect/llm/LlmDialect.h"
#include "mlir/IR/Builders.h"
#define GET_OP_CLASSES
#include "dialect/llm/DispatchOps.cpp.inc"

using namespace mlir;
namespace llmc::llm {

LogicalResult DispatchOp::verify() {
  Block &body = getBody().front();
  if (body.getArgumentTypes() != getInputs().getTypes())
    return emitOpError("expects region arguments of the operands' types");
  auto yield = dyn_cast<YieldOp>(body.getTerminator());
  if (!yield || yield.getOperandTypes() != getResultTypes())
    return emitOpError("expects its region to yield values of the result types");
  if (getTied().size() != getNumResults())
    return emitOpError("expects one entry of 'tied' per result");
  for (auto [i, operand] : llvm::enumerate(getTied()))
    if (operand >= (int64_t)getInputs().size() ||
        (operand >= 0 && getInputs()[operand].getType() != getResult(i).getType()))
      return emitOpError("expects result ") << i << " to be tied to an operand of its type";
  return success();
}

} // namespace llmc::llm
