// Which dimensions of a linalg.generic become lanes and rows, by the strides of its operands.
#include "codegen/cpu/TileShape.h"
#include "mlir/Analysis/SliceAnalysis.h"
#include "llvm/Support/MathExtras.h"
#include <climits>

using namespace mlir;

namespace llmc {

namespace {

/// The coefficient of dimension `dim` in `expr`, or nothing when the expression is not linear in it.
std::optional<int64_t> coefficient(AffineExpr expr, unsigned dim) {
  if (!expr.isFunctionOfDim(dim))
    return 0;
  if (isa<AffineDimExpr>(expr))
    return 1;
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!binary)
    return std::nullopt;
  auto lhs = coefficient(binary.getLHS(), dim), rhs = coefficient(binary.getRHS(), dim);
  if (!lhs || !rhs)
    return std::nullopt;
  if (expr.getKind() == AffineExprKind::Add)
    return *lhs + *rhs;
  if (expr.getKind() == AffineExprKind::Mul)
    if (auto factor = dyn_cast<AffineConstantExpr>(binary.getRHS()))
      return *lhs * factor.getValue();
  return std::nullopt;
}

} // namespace

TileShape::TileShape(linalg::GenericOp generic, unsigned vectorBits)
    : op(generic), vectorBits(vectorBits), body(op.getBody()), maps(op.getIndexingMapsArray()),
      ranges(op.getStaticLoopRanges()), iterators(op.getIteratorTypesArray()) {
  chooseLaneDim();
  chooseRowDim();
}

int64_t TileShape::stride(unsigned operand, unsigned dim) const {
  Type type = op->getOperand(operand).getType();
  auto memref = dyn_cast<MemRefType>(type);
  if (!memref)
    return 0;
  SmallVector<int64_t> strides;
  int64_t offset;
  bool strided = succeeded(memref.getStridesAndOffset(strides, offset));
  int64_t total = 0;
  for (auto [i, expr] : llvm::enumerate(maps[operand].getResults())) {
    auto factor = coefficient(expr, dim);
    if (factor && *factor == 0)
      continue;
    if (!factor || !strided || strides[i] == kUnknown)
      return kUnknown;
    total += *factor * strides[i];
  }
  // vector.load wants a unit stride in the last dimension, and reads i1 as bits where memory has bytes.
  if (total == 1 && (strides.back() != 1 || memref.getElementType().isInteger(1)))
    return kUnknown;
  return total == 0 && maps[operand].isFunctionOfDim(dim) ? kUnknown : total;
}

std::optional<int> TileShape::laneScore(unsigned dim) {
  int score = isParallel(dim) ? 2 : 0;
  bool hasUnitStride = false;
  for (unsigned i = 0; i < op->getNumOperands(); ++i) {
    int64_t s = stride(i, dim);
    bool isOutput = i >= numInputs();
    if (isOutput && (s == 0) == isParallel(dim))
      return std::nullopt;
    hasUnitStride |= s == 1;
    score += s == 1 ? 3 : s == 0 ? (isOutput ? 0 : 1) : (isOutput ? -8 : -6);
  }
  if (!hasUnitStride)
    return std::nullopt;
  return score;
}

Operation *TileShape::combiner(unsigned i) {
  SmallVector<Operation *, 4> combiners;
  Value reduced = matchReduction(op.getRegionOutputArgs(), i, combiners);
  if (!reduced || combiners.size() != 1 || !arith::getNeutralElement(combiners[0]))
    return nullptr;
  return combiners[0];
}

void TileShape::chooseLaneDim() {
  int bestScore = INT_MIN;
  for (unsigned d = 0; d < ranges.size(); ++d) {
    if (ranges[d] == 1)
      continue;
    std::optional<int> score = laneScore(d);
    if (!score)
      continue;
    if (!isParallel(d)) {
      bool combines = true;
      for (unsigned i = 0; i < numOutputs(); ++i)
        combines &= combiner(i) != nullptr;
      if (!combines)
        continue;
    }
    if (*score >= bestScore && bodyFitsLanes(d)) {
      bestScore = *score;
      laneDim = d;
    }
  }
  if (laneDim < 0)
    return;
  maxLanes = vectorBits / 16; // two registers of f32: two independent chains hide the latency of an operation
  if (ranges[laneDim] != kUnknown)
    maxLanes = std::min<int64_t>(maxLanes, llvm::bit_floor<uint64_t>(ranges[laneDim]));
  if (maxLanes < 2)
    laneDim = -1;
}

bool TileShape::bodyFitsLanes(unsigned dim) {
  DenseSet<Value> varying;
  for (auto [i, arg] : llvm::enumerate(body->getArguments()))
    if (maps[i].isFunctionOfDim(dim) || i >= numInputs())
      varying.insert(arg);
  for (Operation &inner : body->without_terminator()) {
    if (inner.getNumRegions())
      return false;
    auto indexOp = dyn_cast<linalg::IndexOp>(inner);
    bool varies = indexOp && indexOp.getDim() == dim;
    for (Value operand : inner.getOperands())
      varies |= varying.contains(operand);
    if (!varies)
      continue;
    if (!indexOp && !OpTrait::hasElementwiseMappableTraits(&inner))
      return false;
    for (Value result : inner.getResults()) {
      if (!VectorType::isValidElementType(result.getType()))
        return false;
      varying.insert(result);
    }
  }
  return true;
}

void TileShape::chooseRowDim() {
  if (!hasReduction())
    return;
  int best = -1;
  for (unsigned d = 0; d < ranges.size(); ++d) {
    if (!isParallel(d) || int(d) == laneDim || ranges[d] == 1)
      continue;
    int reuse = 0;
    bool movesOutputs = true;
    for (unsigned i = 0; i < op->getNumOperands(); ++i) {
      if (i < numInputs())
        reuse += !maps[i].isFunctionOfDim(d);
      else
        movesOutputs &= maps[i].isFunctionOfDim(d);
    }
    if (movesOutputs && reuse >= best) {
      best = reuse;
      rowDim = d;
    }
  }
  // Accumulators take half of the registers (32 of 512 bits, 16 of 256 bits); the rest holds operands. Few
  // rows leave room for more lanes: the additions of one element wait for each other, those of others need
  // not.
  int64_t accumulators = vectorBits >= 512 ? 16 : 8;
  if (laneDim >= 0 && !isLaneReduction() && ranges[laneDim] != kUnknown) {
    int64_t rows = rowDim < 0 ? 1 : ranges[rowDim] == kUnknown ? 8 : std::min<int64_t>(ranges[rowDim], 8);
    int64_t spare = llvm::bit_floor<uint64_t>(accumulators / (rows * numOutputs()));
    int64_t wider = std::clamp<int64_t>(spare, 2, 8) * vectorBits / 32;
    maxLanes = std::min<int64_t>(wider, llvm::bit_floor<uint64_t>(ranges[laneDim]));
  }
  int64_t registers = std::max<int64_t>(1, maxLanes * 32 / vectorBits) * numOutputs();
  maxRows = std::clamp<int64_t>(accumulators / registers, 1, isLaneReduction() ? 4 : 8);
}

} // namespace llmc
