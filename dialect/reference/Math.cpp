// Weights and how they are packed, embeddings, linear maps, columns, elementwise maps.
#include "dialect/llm/LlmDialect.h"
#include "dialect/reference/Handlers.h"
#include "dialect/reference/Scalars.h"

using namespace mlir;
namespace llmc::reference {

static LogicalResult evaluateWeight(Context &c) {
  auto op = cast<llm::WeightOp>(c.op);
  auto type = cast<RankedTensorType>(op.getType());
  if (!op.getStack()) {
    auto t = c.weight(op.getName(), type.getShape(), type.getElementType());
    return failed(t) ? failure() : c.give(std::move(*t));
  }
  Tensor stacked(elementOfTensor(type), type.getShape());
  auto [before, after] = op.getName().split("{}");
  int64_t size = stacked.rowSize();
  for (int64_t e = 0; e < stacked.dim(0); ++e) {
    auto t = c.weight((before + Twine(e) + after).str(), type.getShape().drop_front(), type.getElementType());
    if (failed(t))
      return failure();
    std::copy(t->cells.begin(), t->cells.end(), stacked.cells.begin() + e * size);
  }
  return c.give(std::move(stacked));
}

static LogicalResult evaluateEmbed(Context &c) {
  const Tensor &tokens = c.in(0), &table = c.in(1);
  Tensor y(Element::F32, {tokens.size(), table.dim(1)});
  for (int64_t t = 0; t < tokens.size(); ++t) {
    int64_t id = tokens.integer(t);
    if (id < 0 || id >= table.dim(0))
      return c.error() << "token " << id << " is not in a table of " << table.dim(0) << " rows";
    for (int64_t d = 0; d < table.dim(1); ++d)
      y.at(t, d) = table.at(id, d);
  }
  return c.give(std::move(y));
}

static LogicalResult evaluateLinear(Context &c) {
  const Tensor &x = c.in(0);
  int64_t rows = x.dim(0), depth = x.dim(1), width = llm::columns(c.op->getResult(0)), offset = 0;
  int64_t align = cast<llm::LinearOp>(c.op).getAlign(), column = cast<llm::LinearOp>(c.op).getColumn();
  Tensor y(Element::F32, {rows, width}); // zero where no product stands
  for (const Value &weight : c.operands.drop_front()) {
    const Tensor &w = weight.tensor();
    for (int64_t t = 0; t < rows; ++t)
      for (int64_t n = 0; n < w.dim(0); ++n) {
        double sum = 0;
        for (int64_t k = 0; k < depth; ++k)
          sum += x.at(t, k) * w.at(n, column + k);
        y.at(t, offset + n) = sum;
      }
    offset += llvm::alignTo(w.dim(0), align);
  }
  return c.give(std::move(y));
}

static LogicalResult evaluatePack(Context &c) {
  auto op = cast<llm::PackOp>(c.op);
  Tensor packed = tensorOfType(op.getType(), {}, /*zero=*/true);
  int64_t groups = op.getGroups(), panel = op.getPanel(), from = op.getFrom(), depth = packed.dim(2);
  int64_t unitsPerGroup = packed.dim(1), firstUnit = 0;
  for (const Value &weight : c.operands) {
    const Tensor &w = weight.tensor();
    int64_t rows = w.size() / groups / depth, count = op.getCount() ? (int64_t)*op.getCount() : rows;
    for (int64_t g = 0; g < groups; ++g)
      for (int64_t r = 0; r < count; ++r)
        for (int64_t k = 0; k < depth; ++k) {
          int64_t unit = g * unitsPerGroup + firstUnit + (panel ? r / panel : r);
          packed.real(panel ? (unit * depth + k) * panel + r % panel : unit * depth + k) = w.real((g * rows + from + r) * depth + k);
        }
    firstUnit += panel ? llvm::divideCeil(count, panel) : count;
  }
  return c.give(std::move(packed));
}

static LogicalResult evaluateSlice(Context &c) {
  const Tensor &x = c.in(0);
  int64_t offset = cast<llm::SliceOp>(c.op).getOffset(), width = llm::columns(c.op->getResult(0));
  Tensor y(x.element, {x.dim(0), width});
  for (int64_t t = 0; t < x.dim(0); ++t)
    for (int64_t n = 0; n < width; ++n)
      y.at(t, n) = x.at(t, offset + n);
  return c.give(std::move(y));
}

static LogicalResult evaluateConcat(Context &c) {
  Tensor y(Element::F32, {c.in(0).dim(0), llm::columns(c.op->getResult(0))});
  int64_t offset = 0;
  for (const Value &operand : c.operands) {
    const Tensor &x = operand.tensor();
    for (int64_t t = 0; t < x.dim(0); ++t)
      for (int64_t n = 0; n < x.dim(1); ++n)
        y.at(t, offset + n) = x.at(t, n);
    offset += x.dim(1);
  }
  return c.give(std::move(y));
}

static LogicalResult evaluateMap(Context &c) {
  auto op = cast<llm::MapOp>(c.op);
  Block &body = op.getBody().front();
  int64_t width = llm::columns(op.getResult()), rows = ShapedType::isDynamic(op.getType().getDimSize(0)) ? -1 : op.getType().getDimSize(0);
  for (const Value &v : c.operands)
    if (v.tensor().rank() == 2)
      rows = v.tensor().dim(0);
  if (rows < 0)
    return c.error() << "no operand has rows";
  Tensor y(Element::F32, {rows, width});
  const ScalarProgram *program = c.scalarBody(body);
  std::vector<Cell> registers;
  if (program) {
    registers = program->initial;
    for (auto [v, r] : program->captures)
      registers[r] = c.captured(v).scalar();
  }
  for (int64_t e = 0; e < y.size(); ++e) {
    auto element = [&](const Value &v) { return v.tensor().cells[v.tensor().rank() == 2 ? e : e % width]; };
    if (program) {
      for (auto [k, v] : llvm::enumerate(c.operands))
        registers[k] = element(v);
      program->run(registers.data());
      y.cells[e] = registers[program->yields[0]];
      continue;
    }
    SmallVector<Value> arguments, passed;
    for (const Value &v : c.operands)
      arguments.push_back(element(v));
    if (failed(c.run(body, arguments, passed)))
      return failure();
    y.cells[e] = passed[0].scalar();
  }
  return c.give(std::move(y));
}

void addMath(Handlers &t) {
  t["llm.weight"] = evaluateWeight;
  t["llm.embed"] = evaluateEmbed;
  t["llm.linear"] = evaluateLinear;
  t["llm.pack"] = evaluatePack;
  t["llm.slice"] = evaluateSlice;
  t["llm.concat"] = evaluateConcat;
  t["llm.map"] = evaluateMap;
}

} // namespace llmc::reference
