// Verifiers of the ops that turn logits into tokens.
#include "dialect/llm/LlmDialect.h"
#include "mlir/IR/Builders.h"
#define GET_OP_CLASSES
#include "dialect/llm/DecodingOps.cpp.inc"

using namespace mlir;
namespace llmc::llm {

LogicalResult SampleOp::verify() {
  if (columns(getSampling()) != 4 || columns(getDraws()) != 4)
    return emitOpError("expects sampling and draws of 4 columns");
  return success();
}

} // namespace llmc::llm
