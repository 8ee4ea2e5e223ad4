// Registration and verifiers of the plan dialect.
#include "dialect/plan/PlanDialect.h"
#include "dialect/plan/Extent.h"
#include "mlir/IR/Builders.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

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

/// The layout of a weight is what the writer of artifacts packs it by.
static LogicalResult verifyLayout(BufferOp op, RankedTensorType type) {
  int64_t names = op.getWeights() ? op.getWeights()->size() : 0, panel = 0;
  for (NamedAttribute entry : op.getLayoutAttr()) {
    StringRef key = entry.getName();
    if (key == "parts") {
      auto parts = dyn_cast<DenseI64ArrayAttr>(entry.getValue());
      if (!parts || parts.size() != 2 * names ||
          llvm::any_of(parts.asArrayRef(), [](int64_t n) { return n < 0 || n > INT32_MAX; }))
        return op.emitOpError("expects parts to have a first row and a number of rows for each tensor, got ")
               << entry.getValue();
      continue;
    }
    if (!llvm::is_contained({"stack", "groups", "from", "count", "panel"}, key))
      return op.emitOpError("expects a layout of stack, groups, from, count, panel and parts, got ") << key;
    auto number = dyn_cast<IntegerAttr>(entry.getValue());
    int64_t low = key == "from" || key == "panel" ? 0 : 1;
    if (!number || !number.getType().isInteger(64) || number.getInt() < low || number.getInt() > INT32_MAX)
      return op.emitOpError("expects ")
             << key << " to be an i64 of at least " << low << ", got " << entry.getValue();
    if (key == "panel")
      panel = number.getInt();
  }
  if (op.getLayoutAttr().contains("groups") && type.getRank() != (panel ? 4 : 3))
    return op.emitOpError("expects a packed weight [groups, ")
           << (panel ? "panels, K, panel]" : "rows, K]") << ", got " << type;
  if (op.getLayoutAttr().contains("stack"))
    for (auto name : op.getWeights()->getAsValueRange<StringAttr>())
      if (!name.contains("{}"))
        return op.emitOpError("expects '{}' in the name of stacked tensors, got '") << name << "'";
  return success();
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
  if (getDims())
    for (auto text : getDims()->getAsValueRange<StringAttr>()) {
      std::optional<Extent> extent = parseExtent(text);
      if (!extent)
        return emitOpError("expects dims SYMBOL or N*SYMBOL (T, S, SLOTS, CTX, CTXB), got ") << text;
      if (getKind() == "transient" && extent->name() != "T" && extent->name() != "S")
        return emitOpError("expects a transient's dims in T and S, got ") << text;
    }
  if ((getKind() == "weight") != getWeights().has_value())
    return emitOpError("expects the tensors it holds exactly if it is a weight");
  if (getWeights() && !type.hasStaticShape())
    return emitOpError("expects a weight of static shape, got ") << type;
  if (getLayoutAttr() && !getWeights())
    return emitOpError("expects a layout only if it is a weight");
  return getLayoutAttr() ? verifyLayout(*this, type) : success();
}

LogicalResult ProgramOp::verify() {
  for (Operation &op : getBody().front())
    if (!isa<DispatchOp, LoopOp>(op))
      return op.emitOpError("expects to be outside of a plan.program, which holds dispatches and loops only");
  int64_t spans = 1;
  if (ArrayAttr list = getSpansAttr()) {
    spans = list.size();
    for (Attribute each : list) {
      auto ends = dyn_cast<ArrayAttr>(each);
      if (!ends || ends.size() != 2 || !llvm::all_of(ends, llvm::IsaPred<StringAttr>))
        return emitOpError("expects spans of two texts, from and to, got ") << each;
    }
    if (spans == 0)
      return emitOpError("expects at least one span");
  }
  if (getMaxRows() && (int64_t)getMaxRows()->size() != spans)
    return emitOpError("expects a number of rows for each of ") << spans << " spans, got " << getMaxRows()->size();
  auto found = (*this)->walk([&](DispatchOp op) {
    if ((int64_t)op.getSpan() < spans)
      return WalkResult::advance();
    op.emitOpError("expects one of ") << spans << " spans, got " << op.getSpan();
    return WalkResult::interrupt();
  });
  for (auto loop : getBody().front().getOps<LoopOp>())
    if (loop.getRows() && (int64_t)*loop.getRows() >= spans)
      return loop.emitOpError("expects rows of one of ") << spans << " spans, got " << *loop.getRows();
  return failure(found.wasInterrupted());
}

LogicalResult LoopOp::verify() {
  if (getBody().front().empty())
    return emitOpError("expects dispatches");
  for (Operation &op : getBody().front())
    if (!isa<DispatchOp>(op))
      return op.emitOpError("expects to be outside of a plan.loop, which holds dispatches only");
  return success();
}

LogicalResult LoopOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto buffer = symbols.lookupNearestSymbolFrom<BufferOp>(*this, getConditionAttr());
  auto type = buffer ? dyn_cast<RankedTensorType>(buffer.getType()) : RankedTensorType();
  if (!type || buffer.getKind() != "transient" || !type.getElementType().isInteger(32))
    return emitOpError("expects a condition that is a transient of i32, got ") << getConditionAttr();
  return success();
}

LogicalResult ProgramOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto check = [&](ArrayAttr list, StringRef kind) -> LogicalResult {
    for (auto name : list.getAsRange<FlatSymbolRefAttr>()) {
      auto buffer = symbols.lookupNearestSymbolFrom<BufferOp>(*this, name);
      if (!buffer || buffer.getKind() != kind)
        return emitOpError("expects ") << kind << "s that are buffers of that kind, got " << name;
    }
    return success();
  };
  return failed(check(getInputs(), "input")) ? failure() : check(getOutputs(), "output");
}

LogicalResult DispatchOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto kernel = symbols.lookupNearestSymbolFrom<FunctionOpInterface>(*this, getKernelAttr());
  if (!kernel)
    return emitOpError("expects a kernel of the module, got ") << getKernelAttr();
  if (kernel.getNumArguments() != getBuffers().size())
    return emitOpError("expects ") << kernel.getNumArguments() << " buffers, one per argument of "
                                   << getKernelAttr() << ", got " << getBuffers().size();
  for (auto name : getBuffers().getAsRange<FlatSymbolRefAttr>())
    if (!symbols.lookupNearestSymbolFrom<BufferOp>(*this, name))
      return emitOpError("expects buffers of the module, got ") << name;
  return success();
}

} // namespace llmc::plan
