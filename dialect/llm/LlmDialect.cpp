// Registration of the llm dialect's types and ops.
#include "dialect/llm/LlmDialect.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

#include "dialect/llm/LlmDialect.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "dialect/llm/LlmTypes.cpp.inc"

void llmc::llm::LlmDialect::initialize() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialect/llm/LlmTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialect/llm/MathOps.cpp.inc"
      ,
#define GET_OP_LIST
#include "dialect/llm/NormOps.cpp.inc"
      ,
#define GET_OP_LIST
#include "dialect/llm/MixerOps.cpp.inc"
      ,
#define GET_OP_LIST
#include "dialect/llm/RoutingOps.cpp.inc"
      ,
#define GET_OP_LIST
#include "dialect/llm/DecodingOps.cpp.inc"
      ,
#define GET_OP_LIST
#include "dialect/llm/CanvasOps.cpp.inc"
      ,
#define GET_OP_LIST
#include "dialect/llm/DispatchOps.cpp.inc"
      >();
}
