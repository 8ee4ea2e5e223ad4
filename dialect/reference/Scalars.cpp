// Resolves scalar ops and compiles bodies made of them.
#include "dialect/reference/Scalars.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/BuiltinTypes.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
namespace llmc::reference {

int64_t evaluate(AffineExpr expr, ArrayRef<int64_t> dims, ArrayRef<int64_t> symbols) {
  if (auto d = dyn_cast<AffineDimExpr>(expr))
    return dims[d.getPosition()];
  if (auto s = dyn_cast<AffineSymbolExpr>(expr))
    return symbols[s.getPosition()];
  if (auto c = dyn_cast<AffineConstantExpr>(expr))
    return c.getValue();
  auto binary = cast<AffineBinaryOpExpr>(expr);
  int64_t a = evaluate(binary.getLHS(), dims, symbols), b = evaluate(binary.getRHS(), dims, symbols);
  switch (expr.getKind()) {
  case AffineExprKind::Add:
    return a + b;
  case AffineExprKind::Mul:
    return a * b;
  case AffineExprKind::Mod:
    return b <= 0 ? 0 : llvm::mod(a, b);
  case AffineExprKind::FloorDiv:
    return b == 0 ? 0 : llvm::divideFloorSigned(a, b);
  default:
    return b == 0 ? 0 : llvm::divideCeilSigned(a, b);
  }
}

/// Results of an affine map for operands given as dimensions followed by symbols.
static void evaluateMap(const ScalarOp &op, const Cell *in, SmallVectorImpl<int64_t> &values) {
  SmallVector<int64_t, 8> operands;
  for (unsigned i = 0; i < op.map.getNumInputs(); ++i)
    operands.push_back(in[i].integer);
  ArrayRef<int64_t> all = operands;
  for (AffineExpr e : op.map.getResults())
    values.push_back(evaluate(e, all.take_front(op.map.getNumDims()), all.drop_front(op.map.getNumDims())));
}

static void addAffine(llvm::StringMap<ScalarOp::Function> &table) {
  table["affine.apply"] = [](const ScalarOp &op, const Cell *in, Cell *out) {
    SmallVector<int64_t, 4> values;
    evaluateMap(op, in, values);
    out->integer = values[0];
  };
  table["affine.min"] = [](const ScalarOp &op, const Cell *in, Cell *out) {
    SmallVector<int64_t, 4> values;
    evaluateMap(op, in, values);
    out->integer = *llvm::min_element(values);
  };
  table["affine.max"] = [](const ScalarOp &op, const Cell *in, Cell *out) {
    SmallVector<int64_t, 4> values;
    evaluateMap(op, in, values);
    out->integer = *llvm::max_element(values);
  };
}

static const llvm::StringMap<ScalarOp::Function> &functions() {
  static const auto *table = [] {
    auto *t = new llvm::StringMap<ScalarOp::Function>;
    addArith(*t);
    addMathFunctions(*t);
    addAffine(*t);
    return t;
  }();
  return *table;
}

std::optional<ScalarOp> ScalarOp::of(Operation *operation) {
  ScalarOp op;
  if (operation->getNumResults() == 0 || operation->getNumOperands() > 8)
    return std::nullopt;
  auto to = elementOf(getElementTypeOrSelf(operation->getResult(0).getType()));
  if (!to)
    return std::nullopt;
  op.from = op.to = *to;
  if (auto constant = dyn_cast<arith::ConstantOp>(operation)) {
    if (auto real = dyn_cast<FloatAttr>(constant.getValue()))
      op.constant.real = real.getValueAsDouble();
    else if (auto integer = dyn_cast<IntegerAttr>(constant.getValue()))
      op.constant.integer = wrapTo(*to, integer.getValue().getSExtValue());
    else
      return std::nullopt;
    op.function = [](const ScalarOp &op, const Cell *, Cell *out) { *out = op.constant; };
    return op;
  }
  auto found = functions().find(operation->getName().getStringRef());
  if (found == functions().end())
    return std::nullopt;
  op.function = found->second;
  if (operation->getNumOperands() > 0) {
    auto from = elementOf(getElementTypeOrSelf(operation->getOperand(0).getType()));
    if (!from)
      return std::nullopt;
    op.from = *from;
  }
  if (auto compare = dyn_cast<arith::CmpFOp>(operation))
    op.predicate = (int64_t)compare.getPredicate();
  if (auto compare = dyn_cast<arith::CmpIOp>(operation))
    op.predicate = (int64_t)compare.getPredicate();
  if (auto apply = dyn_cast<affine::AffineApplyOp>(operation))
    op.map = apply.getAffineMap();
  if (auto min = dyn_cast<affine::AffineMinOp>(operation))
    op.map = min.getAffineMap();
  if (auto max = dyn_cast<affine::AffineMaxOp>(operation))
    op.map = max.getAffineMap();
  return op;
}

std::unique_ptr<ScalarProgram> ScalarProgram::compile(Block &block) {
  auto program = std::make_unique<ScalarProgram>();
  DenseMap<Value, unsigned> registers;
  auto fresh = [&](Value v) {
    program->initial.push_back(integerCell(0));
    return registers[v] = program->initial.size() - 1;
  };
  for (BlockArgument argument : block.getArguments())
    fresh(argument);
  auto use = [&](Value v) -> std::optional<unsigned> {
    auto found = registers.find(v);
    if (found != registers.end())
      return found->second;
    if (isa<ShapedType>(v.getType()))
      return std::nullopt;
    unsigned r = fresh(v);
    program->captures.push_back({v, r});
    return r;
  };
  for (Operation &op : block) {
    if (op.hasTrait<OpTrait::IsTerminator>()) {
      for (Value v : op.getOperands()) {
        auto r = use(v);
        if (!r)
          return nullptr;
        program->yields.push_back(*r);
      }
      continue;
    }
    if (auto index = dyn_cast<linalg::IndexOp>(op)) {
      program->indices.push_back({(int64_t)index.getDim(), fresh(index.getResult())});
      continue;
    }
    auto scalar = ScalarOp::of(&op);
    if (!scalar || isa<ShapedType>(op.getResult(0).getType()))
      return nullptr;
    Instruction instruction{*scalar, {}, 0};
    for (Value v : op.getOperands()) {
      auto r = use(v);
      if (!r)
        return nullptr;
      instruction.in.push_back(*r);
    }
    instruction.out = program->initial.size();
    for (Value v : op.getResults())
      fresh(v);
    if (isa<arith::ConstantOp>(op))
      program->initial[instruction.out] = scalar->constant;
    else
      program->instructions.push_back(std::move(instruction));
  }
  return program;
}

} // namespace llmc::reference
