// Verifiers of the ops that draw tokens by the patch.
#include "dialect/llm/LlmDialect.h"
#include "mlir/IR/Builders.h"
#define GET_OP_CLASSES
#include "dialect/llm/PatchOps.cpp.inc"

using namespace mlir;
namespace llmc::llm {

static int64_t rank(Value v) { return cast<RankedTensorType>(v.getType()).getRank(); }

LogicalResult RegroupRowsOp::verify() {
  int64_t from = columns(getX()), into = columns(getResult());
  if (from % into && into % from)
    return emitOpError("expects columns of which one is a multiple of the other, got ") << from << " and " << into;
  return success();
}

LogicalResult NoiseOp::verify() {
  if (columns(getDraws()) != 4)
    return emitOpError("expects draws of 4 columns, got ") << getDraws().getType();
  return success();
}

LogicalResult ArgmaxOp::verify() {
  if (rank(getTokens()) != 1)
    return emitOpError("expects tokens [T], got ") << getTokens().getType();
  return success();
}

LogicalResult OpenDrawsOp::verify() {
  auto type = cast<RankedTensorType>(getPool().getType());
  if (type.getRank() != 2 || type.isDynamicDim(1))
    return emitOpError("expects a pool [S, W] of static width, got ") << type;
  return success();
}

LogicalResult AcceptPatchOp::verify() {
  if (rank(getTokens()) != 1)
    return emitOpError("expects tokens [U], got ") << getTokens().getType();
  if (columns(getSampling()) != 4 || columns(getDraws()) != 4 || columns(getSettings()) != 8)
    return emitOpError("expects sampling and draws of 4 columns and settings of 8");
  auto pool = cast<RankedTensorType>(getPool().getType());
  int64_t k = getPatch();
  if (pool.getRank() != 2 || pool.isDynamicDim(1) || pool.getDimSize(1) % k || pool.getDimSize(1) < 2 * k)
    return emitOpError("expects a pool [S, (N + 1) * ") << k << "] of static width, got " << pool;
  if (getProgress().getType() != getAdvanced().getType() || getPool().getType() != getPooled().getType() ||
      getCanvas().getType() != getUpdated().getType())
    return emitOpError("expects progress, pool and canvas to keep their types");
  if (rank(getMore()) != 2 || columns(getMore()) != 1)
    return emitOpError("expects more [S, 1], got ") << getMore().getType();
  return success();
}

} // namespace llmc::llm
