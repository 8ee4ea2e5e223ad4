// tensor: making, reading, writing and reshaping tensors; and constants.
#include "dialect/reference/Handlers.h"
#include "dialect/reference/Slices.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
namespace llmc::reference {

SliceNumbers sliceNumbers(Context &c, OffsetSizeAndStrideOpInterface op) {
  auto numbers = [&](ArrayRef<OpFoldResult> mixed) {
    SmallVector<int64_t, 4> all;
    for (OpFoldResult n : mixed)
      if (auto attribute = dyn_cast<Attribute>(n))
        all.push_back(cast<IntegerAttr>(attribute).getInt());
      else
        all.push_back(c.captured(cast<mlir::Value>(n)).integer());
    return all;
  };
  return {numbers(op.getMixedOffsets()), numbers(op.getMixedSizes()), numbers(op.getMixedStrides())};
}

bool isInside(const SliceNumbers &slice, ArrayRef<int64_t> shape) {
  for (auto [offset, size, stride, n] : llvm::zip(slice.offsets, slice.sizes, slice.strides, shape)) {
    int64_t last = offset + (size - 1) * stride;
    if (size < 0 || (size > 0 && (offset < 0 || offset >= n || last < 0 || last >= n)))
      return false;
  }
  return true;
}

static LogicalResult evaluateConstant(Context &c) {
  auto op = cast<arith::ConstantOp>(c.op);
  auto scalarOf = [](Attribute a) {
    if (auto real = dyn_cast<FloatAttr>(a))
      return realCell(real.getValueAsDouble());
    return integerCell(wrapTo(*elementOf(cast<IntegerAttr>(a).getType()), cast<IntegerAttr>(a).getValue().getSExtValue()));
  };
  if (!isa<ShapedType>(op.getType()))
    return c.give(scalarOf(op.getValue()));
  auto dense = dyn_cast<DenseElementsAttr>(op.getValue());
  if (!dense)
    return c.error() << "only dense constants are evaluated";
  Tensor t(elementOfTensor(op.getType()), dense.getType().getShape());
  if (dense.isSplat())
    std::fill(t.cells.begin(), t.cells.end(), scalarOf(dense.getSplatValue<Attribute>()));
  else
    for (auto [i, a] : llvm::enumerate(dense.getValues<Attribute>()))
      t.cells[i] = scalarOf(a);
  return c.give(std::move(t));
}

/// Flat position of the element whose indices are the operands from `first` on, or -1 if it lies outside.
static int64_t position(Context &c, unsigned first, const Tensor &t) {
  int64_t at = 0;
  for (int64_t d = 0; d < t.rank(); ++d) {
    int64_t i = c.integer(first + d);
    if (i < 0 || i >= t.dim(d))
      return -1;
    at = at * t.dim(d) + i;
  }
  return at;
}

static LogicalResult evaluateExtract(Context &c) {
  int64_t at = position(c, 1, c.in(0));
  if (at < 0)
    return c.error() << "index outside of the tensor";
  if (SharedReads *reads = c.sharedReads(c.op->getOperand(0)))
    reads->note(at);
  return c.give(c.in(0).cells[at]);
}

static LogicalResult evaluateInsert(Context &c) {
  int64_t at = position(c, 2, c.in(1));
  if (at < 0)
    return c.error() << "index outside of the tensor";
  c.operands[1].writable().cells[at] = c.operands[0].scalar();
  return c.give(std::move(c.operands[1]));
}

static LogicalResult evaluateExtractSlice(Context &c) {
  auto op = cast<tensor::ExtractSliceOp>(c.op);
  SliceNumbers slice = sliceNumbers(c, op);
  const Tensor &source = c.in(0);
  if (!isInside(slice, source.shape))
    return c.error() << "slice at " << text(slice.offsets) << " of sizes " << text(slice.sizes) << " leaves its tensor "
                     << text(source.shape);
  Tensor t;
  t.element = source.element;
  llvm::SmallBitVector dropped = op.getDroppedDims();
  for (auto [d, n] : llvm::enumerate(slice.sizes))
    if (!dropped.test(d))
      t.shape.push_back(n);
  t.cells.reserve(Tensor::count(t.shape));
  forEachInSlice(slice, source.shape, [&](int64_t at) { t.cells.push_back(source.cells[at]); });
  if (SharedReads *reads = c.sharedReads(op.getSource()))
    forEachInSlice(slice, source.shape, [&](int64_t at) { reads->note(at); });
  return c.give(std::move(t));
}

static LogicalResult evaluateInsertSlice(Context &c) {
  SliceNumbers slice = sliceNumbers(c, cast<tensor::InsertSliceOp>(c.op));
  const Tensor &source = c.in(0);
  if (!isInside(slice, c.in(1).shape) || Tensor::count(slice.sizes) != source.size())
    return c.error() << "slice leaves its tensor, or does not have the source's size";
  Tensor &t = c.operands[1].writable();
  int64_t next = 0;
  forEachInSlice(slice, t.shape, [&](int64_t at) { t.cells[at] = source.cells[next++]; });
  return c.give(std::move(c.operands[1]));
}

static SmallVector<int64_t, 4> integers(Context &c, unsigned first = 0) {
  SmallVector<int64_t, 4> all;
  for (const Value &v : c.operands.drop_front(first))
    all.push_back(v.integer());
  return all;
}

static LogicalResult evaluateEmpty(Context &c) { return c.give(tensorOfType(c.op->getResult(0).getType(), integers(c))); }

static LogicalResult evaluateSplat(Context &c) {
  Tensor t = tensorOfType(c.op->getResult(0).getType(), integers(c, 1));
  std::fill(t.cells.begin(), t.cells.end(), c.operands[0].scalar());
  return c.give(std::move(t));
}

static LogicalResult evaluateFromElements(Context &c) {
  Tensor t = tensorOfType(c.op->getResult(0).getType(), {});
  for (auto [i, v] : llvm::enumerate(c.operands))
    t.cells[i] = v.scalar();
  return c.give(std::move(t));
}

static LogicalResult evaluateDim(Context &c) {
  int64_t d = c.integer(1);
  if (d < 0 || d >= c.in(0).rank())
    return c.error() << "no dimension " << d;
  return c.give(integerCell(c.in(0).dim(d)));
}

/// Row-major order stays, only the shape changes.
static LogicalResult reshape(Context &c, ArrayRef<int64_t> shape) {
  if (Tensor::count(shape) != c.in(0).size())
    return c.error() << "shape " << text(c.in(0).shape) << " does not become " << text(shape);
  c.operands[0].writable().shape.assign(shape.begin(), shape.end());
  return c.give(std::move(c.operands[0]));
}

static LogicalResult evaluateCast(Context &c) {
  auto type = dyn_cast<RankedTensorType>(c.op->getResult(0).getType());
  if (!type || type.getRank() != c.in(0).rank())
    return c.error() << "only casts between ranked tensors are evaluated";
  for (auto [d, n] : llvm::zip(type.getShape(), c.in(0).shape))
    if (!ShapedType::isDynamic(d) && d != n)
      return c.error() << "shape " << text(c.in(0).shape) << " is no " << type;
  return c.give(std::move(c.operands[0]));
}

static LogicalResult evaluateCollapse(Context &c) {
  SmallVector<int64_t> shape;
  for (auto &group : cast<tensor::CollapseShapeOp>(c.op).getReassociationIndices()) {
    int64_t n = 1;
    for (int64_t d : group)
      n *= c.in(0).dim(d);
    shape.push_back(n);
  }
  return reshape(c, shape);
}

static LogicalResult evaluateExpand(Context &c) {
  auto op = cast<tensor::ExpandShapeOp>(c.op);
  SmallVector<int64_t> shape(op.getStaticOutputShape());
  unsigned next = 1;
  for (int64_t &d : shape)
    if (ShapedType::isDynamic(d))
      d = c.integer(next++);
  return reshape(c, shape);
}

/// Runs a one-block region at every index of `t`; `visit` gets what it yields.
static LogicalResult atEveryIndex(Context &c, Block &body, Tensor &t) {
  SmallVector<int64_t, 4> index(t.rank(), 0);
  for (int64_t at = 0; at < t.size(); ++at) {
    SmallVector<Value> arguments, passed;
    for (int64_t i : index)
      arguments.push_back(integerCell(i));
    if (failed(c.run(body, arguments, passed)))
      return failure();
    t.cells[at] = passed[0].scalar();
    for (int64_t d = t.rank() - 1; d >= 0 && ++index[d] == t.dim(d); --d)
      index[d] = 0;
  }
  return success();
}

static LogicalResult evaluateGenerate(Context &c) {
  Tensor t = tensorOfType(c.op->getResult(0).getType(), integers(c));
  if (failed(atEveryIndex(c, c.op->getRegion(0).front(), t)))
    return failure();
  return c.give(std::move(t));
}

static LogicalResult evaluatePad(Context &c) {
  auto op = cast<tensor::PadOp>(c.op);
  auto number = [&](OpFoldResult n) {
    auto attribute = dyn_cast<Attribute>(n);
    return attribute ? cast<IntegerAttr>(attribute).getInt() : c.captured(cast<mlir::Value>(n)).integer();
  };
  const Tensor &source = c.in(0);
  Tensor t;
  t.element = source.element;
  SliceNumbers inner;
  for (auto [low, high, n] : llvm::zip(op.getMixedLowPad(), op.getMixedHighPad(), source.shape)) {
    if (number(low) < 0 || number(high) < 0)
      return c.error() << "negative padding";
    t.shape.push_back(number(low) + n + number(high));
    inner.offsets.push_back(number(low));
    inner.sizes.push_back(n);
    inner.strides.push_back(1);
  }
  t.cells.resize(Tensor::count(t.shape));
  if (failed(atEveryIndex(c, op.getRegion().front(), t)))
    return failure();
  int64_t next = 0;
  forEachInSlice(inner, t.shape, [&](int64_t at) { t.cells[at] = source.cells[next++]; });
  return c.give(std::move(t));
}

void addUpstreamTensor(Handlers &t) {
  t["arith.constant"] = evaluateConstant;
  t["tensor.cast"] = evaluateCast;
  t["tensor.collapse_shape"] = evaluateCollapse;
  t["tensor.dim"] = evaluateDim;
  t["tensor.empty"] = evaluateEmpty;
  t["tensor.expand_shape"] = evaluateExpand;
  t["tensor.extract"] = evaluateExtract;
  t["tensor.extract_slice"] = evaluateExtractSlice;
  t["tensor.from_elements"] = evaluateFromElements;
  t["tensor.generate"] = evaluateGenerate;
  t["tensor.insert"] = evaluateInsert;
  t["tensor.insert_slice"] = evaluateInsertSlice;
  t["tensor.pad"] = evaluatePad;
  t["tensor.splat"] = evaluateSplat;
}

} // namespace llmc::reference
