// Registration and verifiers of the plan dialect.
#include "dialect/plan/PlanDialect.h"
#include "mlir/IR/Builders.h"

#include "dialect/plan/PlanDialect.cpp.inc"
#define GET_OP_CLASSES
#include "dialect/plan/PlanOps.cpp.inc"

using namespace mlir;
namespace llmc::plan {

void PlanDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "dialect/plan/PlanOps.cpp.inc"
      >();
}

LogicalResult BufferOp::verify() {
  if (!llvm::is_contained({"input", "output", "weight", "state", "transient"}, getKind()))
    return emitOpError("expects kind input, output, weight, state or transient, got ") << getKind();
  auto type = dyn_cast<RankedTensorType>(getType());
  if (!type)
    return emitOpError("expects a ranked tensor type");
  int64_t dynamic = type.getNumDynamicDims(), named = getDims() ? getDims()->size() : 0;
  if (dynamic != named)
    return emitOpError("expects a name for each of ") << dynamic << " dynamic dimensions, got " << named;
  if ((getKind() == "weight") != getWeights().has_value())
    return emitOpError("expects the tensors it holds exactly if it is a weight");
  if (auto parts = getLayoutAttr() ? getLayoutAttr().getAs<DenseI64ArrayAttr>("parts") : DenseI64ArrayAttr()) {
    if (!getWeights() || parts.size() != 2 * (int64_t)getWeights()->size() || llvm::any_of(parts.asArrayRef(), [](int64_t n) { return n < 0; }))
      return emitOpError("expects parts to have a first row and a number of rows for each tensor, got ") << parts;
  }
  return success();
}

} // namespace llmc::plan
