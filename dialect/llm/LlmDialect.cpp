// Registration of the llm dialect's types and ops.
#include "dialect/llm/LlmDialect.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

#include "dialect/llm/LlmDialect.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "dialect/llm/LlmTypes.cpp.inc"

bool llmc::llm::isAddressable(llvm::ArrayRef<int64_t> shape) {
  constexpr int64_t kMaxSize = (int64_t(1) << 31) - 1, kMaxCount = int64_t(1) << 48;
  int64_t count = 1;
  for (int64_t size : shape) {
    if (mlir::ShapedType::isDynamic(size) || size == 0)
      continue;
    if (size > kMaxSize || size > kMaxCount / count)
      return false;
    count *= size;
  }
  return true;
}

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
#include "dialect/llm/PatchOps.cpp.inc"
      ,
#define GET_OP_LIST
#include "dialect/llm/DispatchOps.cpp.inc"
      >();
}
