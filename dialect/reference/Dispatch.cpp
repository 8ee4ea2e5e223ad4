// Dispatches, evaluated where they stand, and launches of kernels.
#include "dialect/llm/LlmDialect.h"
#include "dialect/plan/Extent.h"
#include "dialect/reference/Handlers.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
namespace llmc::reference {

static LogicalResult evaluateDispatch(Context &c) {
  SmallVector<Value> passed;
  if (failed(c.run(cast<llm::DispatchOp>(c.op).getBody().front(), c.operands, passed)))
    return failure();
  for (Value &v : passed)
    c.results.push_back(std::move(v));
  return success();
}

/// The names of an argument's dynamic dimensions, in order; empty if it has none written.
static SmallVector<StringRef> dimensionNames(func::FuncOp kernel, unsigned argument) {
  SmallVector<StringRef> names;
  if (auto dims = kernel.getArgAttrOfType<ArrayAttr>(argument, "llm.dims"))
    for (auto name : dims.getAsRange<StringAttr>())
      names.push_back(name.getValue());
  return names;
}

/// Learns the symbols' values from the shape of an argument, if it is not known yet.
static void learn(func::FuncOp kernel, unsigned argument, const Tensor &t, llvm::StringMap<int64_t> &symbols) {
  auto type = cast<RankedTensorType>(kernel.getArgumentTypes()[argument]);
  auto names = dimensionNames(kernel, argument);
  size_t next = 0;
  for (auto [d, n] : llvm::zip(type.getShape(), t.shape))
    if (ShapedType::isDynamic(d) && next < names.size())
      if (auto extent = plan::parseExtent(names[next++]))
        symbols.try_emplace(extent->name(), n / extent->factor);
}

/// A destination that nobody has written yet, of the size that the kernel's dimension names say.
static FailureOr<Tensor> newDestination(Context &c, func::FuncOp kernel, unsigned argument, const llvm::StringMap<int64_t> &symbols) {
  auto type = cast<RankedTensorType>(kernel.getArgumentTypes()[argument]);
  SmallVector<int64_t> sizes;
  for (StringRef name : dimensionNames(kernel, argument)) {
    auto extent = plan::parseExtent(name);
    auto found = extent ? symbols.find(extent->name()) : symbols.end();
    if (found == symbols.end())
      return c.error() << "nothing tells the size of '" << name << "', a dimension of argument " << argument
                       << " of '" << kernel.getName() << "'";
    sizes.push_back(extent->factor * found->second);
  }
  if ((int64_t)sizes.size() != (int64_t)type.getNumDynamicDims())
    return c.error() << "argument " << argument << " of '" << kernel.getName() << "' needs 'llm.dims' with one entry per dynamic dimension";
  return tensorOfType(type, sizes);
}

static LogicalResult evaluateLaunch(Context &c) {
  auto op = cast<llm::LaunchOp>(c.op);
  auto kernel = SymbolTable::lookupNearestSymbolFrom<func::FuncOp>(op, op.getKernelAttr());
  if (!kernel)
    return c.error() << "no kernel '" << op.getKernel() << "'";
  ArrayRef<int64_t> tied = op.getTied();
  if (tied.size() != (size_t)op.getNumResults())
    return c.error() << "expects one entry of 'tied' per result";
  std::vector<Value> arguments;
  llvm::StringMap<int64_t> symbols;
  for (auto [i, v] : llvm::enumerate(c.operands)) {
    if (llvm::is_contained(tied, (int64_t)i))
      continue;
    if (v.isSequences()) {
      arguments.push_back(v.where());
      arguments.push_back(v.rows());
    } else {
      arguments.push_back(std::move(v));
    }
  }
  // A table is two arguments and two results of the kernel.
  SmallVector<int64_t> destinations;
  for (auto [result, operand] : llvm::zip_equal(op.getResults(), tied))
    destinations.append(isa<llm::SequencesType>(result.getType()) ? 2 : 1, operand);
  unsigned inputs = arguments.size();
  if (kernel.getNumArguments() != inputs + destinations.size())
    return c.error() << "kernel '" << op.getKernel() << "' has " << kernel.getNumArguments() << " arguments, "
                     << inputs + destinations.size() << " are given";
  // What may have the rows of another table than the launch's tells T only where nothing else does.
  for (bool mayBeOther : {false, true}) {
    for (unsigned i = 0; i < inputs; ++i)
      if (arguments[i].isTensor() && isa<RankedTensorType>(kernel.getArgumentTypes()[i]) &&
          mayBeOther == bool(kernel.getArgAttr(i, "llm.other_rows")))
        learn(kernel, i, arguments[i].tensor(), symbols);
    for (const Value &v : c.operands)
      if (mayBeOther && v.isSequences()) {
        symbols.try_emplace("T", v.where().dim(0));
        symbols.try_emplace("S", v.rows().dim(0));
      }
  }
  for (auto [i, operand] : llvm::enumerate(destinations))
    if (operand >= 0)
      learn(kernel, inputs + i, c.in(operand), symbols);
  for (auto [i, operand] : llvm::enumerate(destinations)) {
    if (operand >= 0) {
      arguments.push_back(std::move(c.operands[operand]));
      continue;
    }
    auto destination = newDestination(c, kernel, inputs + i, symbols);
    if (failed(destination))
      return failure();
    arguments.push_back(std::move(*destination));
  }
  auto results = c.launch(kernel, arguments);
  if (failed(results))
    return failure();
  auto next = results->begin();
  for (OpResult result : op.getResults())
    if (isa<llm::SequencesType>(result.getType())) {
      Tensor where = std::move(next[0].writable()), rows = next[1].tensor();
      int64_t count = 0; // the kernel's destination may have more rows than the table
      for (int64_t s = 0; s < rows.dim(0); ++s)
        count += rows.intAt(s, 2);
      where.cells.resize(2 * count);
      where.shape[0] = count;
      c.results.push_back(Value::sequences(std::move(where), std::move(rows)));
      next += 2;
    } else {
      c.results.push_back(std::move(*next++));
    }
  return success();
}

void addDispatch(Handlers &t) {
  t["llm.dispatch"] = evaluateDispatch;
  t["llm.launch"] = evaluateLaunch;
}

} // namespace llmc::reference
