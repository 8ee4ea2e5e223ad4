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

LogicalResult LogitStatisticsOp::verify() {
  if (columns(getLogits()) < 2)
    return emitOpError("expects logits of at least 2 tokens, got ") << columns(getLogits());
  if (columns(getTemperature()) != 1 || columns(getResult()) != 4)
    return emitOpError("expects a temperature of 1 column and a result of 4, got ")
           << columns(getTemperature()) << " and " << columns(getResult());
  return success();
}

} // namespace llmc::llm
