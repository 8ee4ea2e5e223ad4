// linalg: every structured op, read through its interface: loops over the iteration space, operands at affine positions,
// a scalar body per point.
#include "dialect/reference/Handlers.h"
#include "dialect/reference/Scalars.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"

using namespace mlir;
namespace llmc::reference {

/// Where an operand's element lies for a point of the iteration space: a sum of steps per loop, kept up to date as the
/// loops advance, or (for floordiv and mod) computed anew.
struct Access {
  int64_t start = 0;
  SmallVector<int64_t, 6> steps; // per loop
  bool isLinear = true;
  AffineMap map;
  SmallVector<int64_t, 4> strides;

  int64_t at(ArrayRef<int64_t> loops) const {
    int64_t position = start;
    if (isLinear) {
      for (auto [i, step] : llvm::zip(loops, steps))
        position += i * step;
      return position;
    }
    for (auto [e, stride] : llvm::zip(map.getResults(), strides))
      position += evaluate(e, loops) * stride;
    return position;
  }
};

/// Adds `factor * expr` to the access; false if the expression is not linear.
static bool addLinear(AffineExpr expr, int64_t factor, Access &access) {
  if (auto d = dyn_cast<AffineDimExpr>(expr)) {
    access.steps[d.getPosition()] += factor;
    return true;
  }
  if (auto c = dyn_cast<AffineConstantExpr>(expr)) {
    access.start += factor * c.getValue();
    return true;
  }
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!binary)
    return false;
  if (expr.getKind() == AffineExprKind::Add)
    return addLinear(binary.getLHS(), factor, access) && addLinear(binary.getRHS(), factor, access);
  auto c = dyn_cast<AffineConstantExpr>(binary.getRHS());
  return expr.getKind() == AffineExprKind::Mul && c && addLinear(binary.getLHS(), factor * c.getValue(), access);
}

static Access accessOf(AffineMap map, const Value &v) {
  Access access;
  access.map = map;
  access.steps.assign(map.getNumDims(), 0);
  if (!v.isTensor())
    return access;
  access.strides = rowMajorStrides(v.tensor().shape);
  for (auto [e, stride] : llvm::zip(map.getResults(), access.strides))
    access.isLinear = access.isLinear && addLinear(e, stride, access);
  if (!access.isLinear)
    access.start = 0;
  return access;
}

/// Trip counts, from the operands whose maps name a loop alone; false if a loop has none, or two that disagree.
static bool loopSizes(ArrayRef<AffineMap> maps, ArrayRef<Value> operands, SmallVectorImpl<int64_t> &sizes) {
  sizes.assign(maps.front().getNumDims(), -1);
  for (auto [map, v] : llvm::zip(maps, operands)) {
    if (!v.isTensor())
      continue;
    for (auto [e, n] : llvm::zip(map.getResults(), v.tensor().shape))
      if (auto d = dyn_cast<AffineDimExpr>(e)) {
        int64_t &size = sizes[d.getPosition()];
        if (size >= 0 && size != n)
          return false;
        size = n;
      }
  }
  return !llvm::is_contained(sizes, -1);
}

/// Whether all positions are inside: exact for linear maps (their extremes lie at the corners), per element otherwise.
static bool staysInside(const Access &access, ArrayRef<int64_t> sizes, const Value &v) {
  if (!v.isTensor() || llvm::is_contained(sizes, 0))
    return true;
  for (auto [e, n] : llvm::zip(access.map.getResults(), v.tensor().shape)) {
    Access one;
    one.steps.assign(sizes.size(), 0);
    if (!addLinear(e, 1, one))
      continue;
    int64_t low = one.start, high = one.start;
    for (auto [step, size] : llvm::zip(one.steps, sizes))
      (step < 0 ? low : high) += step * (size - 1);
    if (low < 0 || high >= n)
      return false;
  }
  return true;
}

/// One structured op being run.
class StructuredLoops {
public:
  StructuredLoops(Context &c, linalg::LinalgOp op)
      : c(c), body(*op.getBlock()), maps(op.getIndexingMapsArray()), inputs(op.getNumDpsInputs()), all(inputs + op.getNumDpsInits()) {}

  LogicalResult prepare();
  LogicalResult run();

private:
  LogicalResult runPoint();
  LogicalResult locateNonlinear();

  Context &c;
  Block &body;
  SmallVector<AffineMap> maps;
  unsigned inputs, all; // operands: inputs, then outputs
  SmallVector<int64_t, 6> sizes, loops;
  std::vector<Access> accesses;
  SmallVector<int64_t, 6> at;   // per operand: position of the current element
  std::vector<Cell *> bases;    // per operand: its elements; null for a scalar
  const ScalarProgram *program; // null: the body needs the block runner
  std::vector<Cell> registers;
};

LogicalResult StructuredLoops::prepare() {
  if (!loopSizes(maps, c.operands, sizes))
    return c.error() << "operand shapes do not fit together";
  for (auto [map, v] : llvm::zip(maps, c.operands)) {
    accesses.push_back(accessOf(map, v));
    if (!staysInside(accesses.back(), sizes, v))
      return c.error() << "an operand is read outside of its shape";
  }
  for (unsigned k = 0; k < all; ++k) {
    Value &v = c.operands[k];
    // Inputs are only read; outputs are this op's own copies.
    bases.push_back(!v.isTensor() ? nullptr : k < inputs ? const_cast<Cell *>(v.tensor().cells.data()) : v.writable().cells.data());
  }
  // linalg.map's body may leave the output out.
  if (body.getNumArguments() != all && body.getNumArguments() != inputs)
    return c.error() << "its body does not take one scalar per operand";
  program = c.scalarBody(body);
  if (program) {
    registers = program->initial;
    for (auto [v, r] : program->captures)
      registers[r] = c.captured(v).scalar();
  }
  loops.assign(sizes.size(), 0);
  at.assign(all, 0);
  return success();
}

LogicalResult StructuredLoops::locateNonlinear() {
  for (unsigned k = 0; k < all; ++k)
    if (!accesses[k].isLinear && bases[k]) {
      at[k] = accesses[k].at(loops);
      if (at[k] < 0 || at[k] >= c.in(k).size())
        return c.error() << "an operand is read outside of its shape";
    }
  return success();
}

LogicalResult StructuredLoops::runPoint() {
  unsigned arguments = body.getNumArguments();
  auto element = [&](unsigned k) { return bases[k] ? bases[k][at[k]] : c.operands[k].scalar(); };
  if (program) {
    for (unsigned k = 0; k < arguments; ++k)
      registers[k] = element(k);
    for (auto [d, r] : program->indices)
      registers[r].integer = loops[d];
    program->run(registers.data());
    for (unsigned k = inputs; k < all; ++k)
      bases[k][at[k]] = registers[program->yields[k - inputs]];
    return success();
  }
  SmallVector<Value> values, passed;
  for (unsigned k = 0; k < arguments; ++k)
    values.push_back(element(k));
  c.loopIndices().emplace_back(loops.begin(), loops.end());
  LogicalResult ran = c.run(body, values, passed);
  c.loopIndices().pop_back();
  if (failed(ran))
    return failure();
  for (unsigned k = inputs; k < all; ++k)
    bases[k][at[k]] = passed[k - inputs].scalar();
  return success();
}

LogicalResult StructuredLoops::run() {
  bool isNonlinear = llvm::any_of(accesses, [](const Access &a) { return !a.isLinear; });
  int64_t rank = (int64_t)sizes.size(), inner = rank == 0 ? 1 : sizes.back();
  bool isDone = llvm::is_contained(sizes, 0);
  while (!isDone) {
    for (unsigned k = 0; k < all; ++k)
      if (accesses[k].isLinear)
        at[k] = accesses[k].at(loops);
    for (int64_t i = 0; i < inner; ++i) {
      if (rank > 0)
        loops.back() = i;
      if (isNonlinear && failed(locateNonlinear()))
        return failure();
      if (failed(runPoint()))
        return failure();
      for (unsigned k = 0; rank > 0 && k < all; ++k)
        if (accesses[k].isLinear)
          at[k] += accesses[k].steps.back();
    }
    int64_t d = rank - 2;
    if (rank > 0)
      loops.back() = 0;
    while (d >= 0 && ++loops[d] == sizes[d])
      loops[d--] = 0;
    isDone = d < 0;
  }
  for (unsigned k = inputs; k < all; ++k)
    c.results.push_back(std::move(c.operands[k]));
  return success();
}

LogicalResult evaluateLinalg(Context &c) {
  StructuredLoops loops(c, cast<linalg::LinalgOp>(c.op));
  return failed(loops.prepare()) ? failure() : loops.run();
}

static LogicalResult evaluateIndex(Context &c) {
  if (c.loopIndices().empty())
    return c.error() << "outside of a linalg body";
  return c.give(integerCell(c.loopIndices().back()[cast<linalg::IndexOp>(c.op).getDim()]));
}

void addUpstreamLinalg(Handlers &t) { t["linalg.index"] = evaluateIndex; }

} // namespace llmc::reference
