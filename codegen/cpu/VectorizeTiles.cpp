// vectorize-tiles: linalg.generic on memrefs to loops over vectors, with register blocking for reductions.
//
// One dimension becomes the lanes, chosen by the strides of the operands (TileShape):
//   parallel lanes   out[m,n] += a[m,k] * b[k,n]: lanes along n, several rows of m in registers, k sequential
//                    with one fused multiply-add per element and step. An element's sum does not depend on
//                    the tile it is in.
//   reduction lanes  out[m] += a[m,k] * b[k]: lanes along k, a fixed number of partial sums that are added
//                    pairwise at the end; the order depends on the extent of k and the register width only.
// A remainder of the lane dimension takes narrower vectors (16, 8, 4, 2) and a scalar. Bodies that cannot be
// put on vectors (loads in the body, regions) run with one lane.
#include "codegen/cpu/Passes.h"
#include "codegen/cpu/TileShape.h"
#include "mlir/Dialect/Affine/Utils.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "llvm/ADT/SmallPtrSet.h"
#include "llvm/Support/MathExtras.h"

namespace llmc {
#define GEN_PASS_DEF_VECTORIZETILES
#include "codegen/cpu/Passes.h.inc"

using namespace mlir;

namespace {

/// Measured with test/bench/linear-kernel on one core of a Xeon of model 207 (thread time, the other core
/// busy), K = N = 2048, AVX-512, bf16 weights from memory: one row goes from 8.5 to 12.9 GB/s (a plain read
/// makes 14.5), 8 rows from 53 to 88 GFLOP/s; 1 KiB ahead gives 10.5 GB/s, 8 KiB 12.3.
constexpr int64_t kPrefetchBytes = 4096;
constexpr int64_t kMinStreamBytes = 16384;

/// Rewrites one linalg.generic. Lives for one op.
class TileLoops : TileShape {
public:
  TileLoops(linalg::GenericOp op, unsigned vectorBits) : TileShape(op, vectorBits), b(op), loc(op.getLoc()) {}

  void emit() {
    SmallVector<Range> loopRanges = cast<linalg::LinalgOp>(op.getOperation()).createLoopRanges(b, loc);
    for (Range &range : loopRanges)
      sizes.push_back(range.size);
    index.assign(ranges.size(), Value());
    findFmas();
    findRowValues();
    SmallVector<unsigned> outer;
    for (unsigned d = 0; d < ranges.size(); ++d)
      if (isParallel(d) && int(d) != laneDim && int(d) != rowDim)
        outer.push_back(d);
    overLoops(outer, [&] { overLanes(); });
    op.erase();
  }

private:
  // ---- Loops ---------------------------------------------------------------------------------------------

  using LoopBody = llvm::function_ref<SmallVector<Value>(Value, ValueRange)>;

  Value constant(int64_t value) { return arith::ConstantIndexOp::create(b, loc, value); }
  Value plus(Value base, int64_t offset) {
    if (offset == 0)
      return base;
    if (auto known = getConstantIntValue(base))
      return constant(*known + offset);
    return arith::AddIOp::create(b, loc, base, constant(offset));
  }

  /// Runs `body` for begin, begin + step, ... below `end`; no loop is made for zero or one known iterations.
  SmallVector<Value> loop(int64_t begin, OpFoldResult end, int64_t step, ValueRange init, LoopBody body) {
    if (auto known = getConstantIntValue(end)) {
      if (*known <= begin)
        return llvm::to_vector(init);
      if (*known - begin <= step)
        return body(constant(begin), init);
    }
    Value upper = getValueOrCreateConstantIndexOp(b, loc, end);
    return loop(constant(begin), upper, step, init, body);
  }
  SmallVector<Value> loop(Value begin, Value end, int64_t step, ValueRange init, LoopBody body) {
    auto forOp = scf::ForOp::create(b, loc, begin, end, constant(step), init,
                                    [&](OpBuilder &nested, Location, Value iv, ValueRange args) {
                                      OpBuilder saved = b;
                                      b = nested;
                                      SmallVector<Value> results = body(iv, args);
                                      scf::YieldOp::create(b, loc, results);
                                      b = saved;
                                    });
    b.setInsertionPointAfter(forOp);
    return SmallVector<Value>(forOp.getResults());
  }

  void overLoops(ArrayRef<unsigned> dims, llvm::function_ref<void()> inner) {
    if (dims.empty())
      return inner();
    loop(0, sizes[dims.front()], 1, {}, [&](Value iv, ValueRange) -> SmallVector<Value> {
      index[dims.front()] = iv;
      overLoops(dims.drop_front(), inner);
      return {};
    });
  }

  /// `end` rounded down to a multiple of `step`.
  OpFoldResult roundDown(OpFoldResult end, int64_t step) {
    if (auto known = getConstantIntValue(end))
      return b.getIndexAttr(*known / step * step);
    Value size = cast<Value>(end);
    Value rest = arith::RemUIOp::create(b, loc, size, constant(step));
    return arith::SubIOp::create(b, loc, size, rest).getResult();
  }

  /// Calls `inner(begin, width)` over the pieces of [0, size): full ones in a loop, then narrower ones.
  void overPieces(OpFoldResult size, int64_t width, bool halve,
                  llvm::function_ref<void(Value, int64_t)> inner) {
    OpFoldResult end = roundDown(size, width);
    loop(0, end, width, {}, [&](Value iv, ValueRange) -> SmallVector<Value> {
      inner(iv, width);
      return {};
    });
    if (auto known = getConstantIntValue(size)) {
      int64_t begin = *getConstantIntValue(end);
      while (begin < *known) {
        int64_t piece = halve ? llvm::bit_floor<uint64_t>(*known - begin) : *known - begin;
        inner(constant(begin), piece);
        begin += piece;
      }
      return;
    }
    if (width == 1)
      return;
    loop(cast<Value>(end), cast<Value>(size), 1, {}, [&](Value iv, ValueRange) -> SmallVector<Value> {
      inner(iv, 1);
      return {};
    });
  }

  void overLanes() {
    if (laneDim < 0 || isLaneReduction())
      return overRows(1);
    overPieces(sizes[laneDim], maxLanes, /*halve=*/true, [&](Value begin, int64_t lanes) {
      index[laneDim] = begin;
      overRows(lanes);
    });
  }

  void overRows(int64_t lanes) {
    auto block = [&](int64_t rows) {
      if (isLaneReduction())
        reduceLanes(rows);
      else
        parallelLanes(rows, lanes);
    };
    if (rowDim < 0)
      return block(1);
    overPieces(sizes[rowDim], maxRows, /*halve=*/false, [&](Value begin, int64_t rows) {
      index[rowDim] = begin;
      block(rows);
    });
  }

  SmallVector<unsigned> sequentialDims() {
    SmallVector<unsigned> dims;
    for (unsigned d = 0; d < ranges.size(); ++d)
      if (!isParallel(d) && int(d) != laneDim)
        dims.push_back(d);
    return dims;
  }

  /// Carries `values` through the reduction loops over `dims`; `inner` maps them to their next value.
  SmallVector<Value> reduceOver(ArrayRef<unsigned> dims, ValueRange values, int64_t unroll,
                                llvm::function_ref<SmallVector<Value>(ValueRange)> inner) {
    if (dims.empty())
      return inner(values);
    unsigned dim = dims.front();
    if (dims.size() > 1)
      return loop(0, sizes[dim], 1, values, [&](Value iv, ValueRange args) {
        index[dim] = iv;
        return reduceOver(dims.drop_front(), args, unroll, inner);
      });
    if (ranges[dim] == kUnknown)
      unroll = 1;
    int64_t mainEnd = unroll > 1 ? ranges[dim] / unroll * unroll : 0;
    SmallVector<Value> current = llvm::to_vector(values);
    if (unroll > 1)
      current = loop(0, b.getIndexAttr(mainEnd), unroll, current, [&](Value iv, ValueRange args) {
        SmallVector<Value> step = llvm::to_vector(args);
        for (int64_t u = 0; u < unroll; ++u) {
          index[dim] = plus(iv, u);
          step = inner(step);
        }
        return step;
      });
    return loop(mainEnd, sizes[dim], 1, current, [&](Value iv, ValueRange args) {
      index[dim] = iv;
      return inner(args);
    });
  }

  /// rows x lanes elements of every output; accumulators are ordered output-major, then by row.
  void parallelLanes(int64_t rows, int64_t lanes) {
    SmallVector<Value> accumulators;
    for (unsigned i = 0; i < numOutputs(); ++i)
      for (int64_t row = 0; row < rows; ++row)
        accumulators.push_back(usesOutput(i) ? load(numInputs() + i, row, lanes) : Value());
    if (!hasReduction()) {
      accumulators = evaluate(rows, lanes, accumulators);
    } else {
      // A loop can carry only values; an output that the body never reads starts from what it holds.
      for (unsigned i = 0; i < numOutputs(); ++i)
        for (int64_t row = 0; row < rows; ++row)
          if (Value &value = accumulators[i * rows + row];
              !value || (lanes > 1 && !isa<VectorType>(value.getType())))
            value = toLanes(value ? value : load(numInputs() + i, row, lanes), lanes);
      int64_t chains = rows * std::max<int64_t>(1, lanes * 32 / vectorBits);
      int64_t unroll = chains >= 16 ? 1 : chains >= 8 ? 2 : 4;
      accumulators = reduceOver(sequentialDims(), accumulators, unroll, [&](ValueRange values) {
        prefetchStreams(lanes);
        SmallVector<Value> next = evaluate(rows, lanes, values);
        for (Value &value : next)
          value = toLanes(value, lanes);
        return next;
      });
    }
    for (unsigned i = 0; i < numOutputs(); ++i)
      for (int64_t row = 0; row < rows; ++row)
        store(accumulators[i * rows + row], numInputs() + i, row, lanes);
  }

  static bool isScratch(Value value) {
    while (auto view = value.getDefiningOp<ViewLikeOpInterface>())
      value = view.getViewSource();
    return value.getDefiningOp<memref::AllocaOp>() != nullptr;
  }

  /// Asks for what the innermost reduction loop streams, kPrefetchBytes ahead. Only for operands that do not
  /// fit the first-level cache, that all rows share and that the kernel has not made itself. The address may
  /// lie behind the operand: that is the next panel.
  void prefetchStreams(int64_t lanes) {
    unsigned dim = sequentialDims().back();
    for (unsigned i = 0; i < numInputs(); ++i) {
      auto type = dyn_cast<MemRefType>(op->getOperand(i).getType());
      if (!type || !type.hasStaticShape() || lanes == 1 || (rowDim >= 0 && maps[i].isFunctionOfDim(rowDim)))
        continue;
      int64_t elementBytes = type.getElementTypeBitWidth() / 8, step = stride(i, dim) * elementBytes;
      if (isScratch(op->getOperand(i)) || stride(i, laneDim) != 1 || step < 16 ||
          type.getNumElements() * elementBytes < kMinStreamBytes)
        continue;
      Value current = index[dim];
      index[dim] = plus(current, std::max<int64_t>(1, kPrefetchBytes / step));
      for (int64_t lane = 0; lane < lanes; lane += std::max<int64_t>(1, 64 / elementBytes))
        memref::PrefetchOp::create(b, loc, op->getOperand(i), operandIndices(i, 0, lane), /*isWrite=*/false,
                                   /*localityHint=*/3, /*isDataCache=*/true);
      index[dim] = current;
    }
  }

  /// One element of every output and row: partial results in lanes, then combined pairwise.
  void reduceLanes(int64_t rows) {
    SmallVector<Value> partial;
    for (unsigned i = 0; i < numOutputs(); ++i) {
      TypedAttr neutral = *arith::getNeutralElement(combiner(i));
      auto type = VectorType::get({maxLanes}, neutral.getType());
      Value value = arith::ConstantOp::create(b, loc, DenseElementsAttr::get(type, Attribute(neutral)));
      partial.append(rows, value);
    }
    partial = reduceOver(sequentialDims(), partial, 1, [&](ValueRange values) {
      OpFoldResult mainEnd = roundDown(sizes[laneDim], maxLanes);
      SmallVector<Value> current = loop(0, mainEnd, maxLanes, values, [&](Value iv, ValueRange args) {
        index[laneDim] = iv;
        return evaluate(rows, maxLanes, args);
      });
      if (auto known = getConstantIntValue(sizes[laneDim])) {
        for (int64_t begin = *getConstantIntValue(mainEnd); begin < *known;) {
          int64_t lanes = llvm::bit_floor<uint64_t>(*known - begin);
          index[laneDim] = constant(begin);
          current = reducePiece(rows, lanes, current);
          begin += lanes;
        }
        return current;
      }
      return loop(cast<Value>(mainEnd), cast<Value>(sizes[laneDim]), 1, current,
                  [&](Value iv, ValueRange args) {
                    index[laneDim] = iv;
                    return reducePiece(rows, 1, args);
                  });
    });
    for (unsigned i = 0; i < numOutputs(); ++i)
      for (int64_t row = 0; row < rows; ++row) {
        Operation *combine = combiner(i);
        Value value = partial[i * rows + row];
        for (int64_t lanes = maxLanes / 2; lanes >= 1; lanes /= 2)
          value = combineTwo(combine, slice(value, 0, lanes), slice(value, lanes, lanes));
        value = vector::ExtractOp::create(b, loc, value, ArrayRef<int64_t>{0});
        value = combineTwo(combine, load(numInputs() + i, row, 1), value);
        store(value, numInputs() + i, row, 1);
      }
  }

  /// Folds a piece narrower than the accumulators into their first lanes.
  SmallVector<Value> reducePiece(int64_t rows, int64_t lanes, ValueRange values) {
    SmallVector<Value> low, result;
    for (Value value : values)
      low.push_back(lanes == 1 ? vector::ExtractOp::create(b, loc, value, ArrayRef<int64_t>{0}).getResult()
                               : slice(value, 0, lanes));
    low = evaluate(rows, lanes, low);
    for (auto [value, part] : llvm::zip_equal(values, low)) {
      if (lanes == 1)
        result.push_back(vector::InsertOp::create(b, loc, part, value, ArrayRef<int64_t>{0}));
      else
        result.push_back(vector::InsertStridedSliceOp::create(b, loc, part, value, ArrayRef<int64_t>{0},
                                                              ArrayRef<int64_t>{1}));
    }
    return result;
  }

  Value slice(Value value, int64_t begin, int64_t lanes) {
    if (cast<VectorType>(value.getType()).getNumElements() == lanes)
      return value;
    return vector::ExtractStridedSliceOp::create(b, loc, value, ArrayRef<int64_t>{begin},
                                                 ArrayRef<int64_t>{lanes}, ArrayRef<int64_t>{1});
  }

  Value combineTwo(Operation *combine, Value lhs, Value rhs) {
    Operation *copy = combine->clone();
    copy->setOperands({lhs, rhs});
    copy->getResult(0).setType(lhs.getType());
    b.insert(copy);
    return copy->getResult(0);
  }

  // ---- Elements ------------------------------------------------------------------------------------------

  bool usesOutput(unsigned i) { return !op.getRegionOutputArgs()[i].use_empty(); }

  Value toLanes(Value value, int64_t lanes) {
    if (lanes == 1 || isa<VectorType>(value.getType()))
      return value;
    return vector::BroadcastOp::create(b, loc, VectorType::get({lanes}, value.getType()), value);
  }

  SmallVector<Value> operandIndices(unsigned operand, int64_t row, int64_t lane) {
    SmallVector<Value> point = index, indices;
    if (rowDim >= 0 && row)
      point[rowDim] = plus(point[rowDim], row);
    if (laneDim >= 0 && lane)
      point[laneDim] = plus(point[laneDim], lane);
    for (AffineExpr expr : maps[operand].getResults()) {
      if (auto dim = dyn_cast<AffineDimExpr>(expr))
        indices.push_back(point[dim.getPosition()]);
      else if (auto value = dyn_cast<AffineConstantExpr>(expr))
        indices.push_back(constant(value.getValue()));
      else
        indices.push_back(affine::expandAffineExpr(b, loc, expr, point, {}));
    }
    return indices;
  }

  /// A scalar when the operand is the same in all lanes or there is one lane, else a vector.
  Value load(unsigned operand, int64_t row, int64_t lanes) {
    Value source = op->getOperand(operand);
    auto type = dyn_cast<MemRefType>(source.getType());
    if (!type)
      return source;
    int64_t step = lanes == 1 ? 0 : stride(operand, laneDim);
    if (step == 0)
      return memref::LoadOp::create(b, loc, source, operandIndices(operand, row, 0));
    auto vectorType = VectorType::get({lanes}, type.getElementType());
    if (step == 1)
      return vector::LoadOp::create(b, loc, vectorType, source, operandIndices(operand, row, 0));
    SmallVector<Value> elements;
    for (int64_t lane = 0; lane < lanes; ++lane)
      elements.push_back(memref::LoadOp::create(b, loc, source, operandIndices(operand, row, lane)));
    return vector::FromElementsOp::create(b, loc, vectorType, elements);
  }

  void store(Value value, unsigned operand, int64_t row, int64_t lanes) {
    Value target = op->getOperand(operand);
    if (lanes == 1) {
      memref::StoreOp::create(b, loc, value, target, operandIndices(operand, row, 0));
      return;
    }
    value = toLanes(value, lanes);
    if (stride(operand, laneDim) == 1) {
      vector::StoreOp::create(b, loc, value, target, operandIndices(operand, row, 0));
      return;
    }
    for (int64_t lane = 0; lane < lanes; ++lane) {
      Value element = vector::ExtractOp::create(b, loc, value, ArrayRef<int64_t>{lane});
      memref::StoreOp::create(b, loc, element, target, operandIndices(operand, row, lane));
    }
  }

  // ---- The body ------------------------------------------------------------------------------------------

  /// acc + x * y with the product used once is one fused multiply-add.
  void findFmas() {
    if (!hasReduction())
      return;
    for (BlockArgument out : op.getRegionOutputArgs())
      for (Operation *user : out.getUsers()) {
        auto add = dyn_cast<arith::AddFOp>(user);
        if (!add || add.getLhs() == add.getRhs())
          continue;
        Value other = add.getLhs() == out ? add.getRhs() : add.getLhs();
        auto product = other.getDefiningOp<arith::MulFOp>();
        if (product && product->hasOneUse() && product->getBlock() == body) {
          fmas[add] = product;
          fused.insert(product);
        }
      }
  }

  /// Values of the body that differ between the rows of a block.
  void findRowValues() {
    for (auto [i, arg] : llvm::enumerate(body->getArguments()))
      if (i >= numInputs() || (rowDim >= 0 && maps[i].isFunctionOfDim(rowDim)))
        rowValues.insert(arg);
    for (Operation &inner : body->without_terminator()) {
      auto indexOp = dyn_cast<linalg::IndexOp>(inner);
      bool varies = (indexOp && int(indexOp.getDim()) == rowDim) || inner.getNumRegions();
      for (Value operand : inner.getOperands())
        varies |= rowValues.contains(operand);
      if (varies)
        rowValues.insert(inner.result_begin(), inner.result_end());
    }
  }

  /// The values that the body yields for the current indices; `outputs` are its output arguments (null where
  /// unused).
  SmallVector<Value> evaluate(int64_t rows, int64_t lanes, ValueRange outputs) {
    SmallVector<Value> copy = llvm::to_vector(outputs);
    return evaluate(rows, lanes, ArrayRef<Value>(copy));
  }
  SmallVector<Value> evaluate(int64_t rows, int64_t lanes, const SmallVector<Value> &outputs) {
    return evaluate(rows, lanes, ArrayRef<Value>(outputs));
  }
  SmallVector<Value> evaluate(int64_t rows, int64_t lanes, ArrayRef<Value> outputs) {
    SmallVector<Value> results(numOutputs() * rows);
    IRMapping first;
    for (int64_t row = 0; row < rows; ++row) {
      IRMapping own;
      IRMapping &mapping = row ? own : first;
      auto shared = [&](Value value) { return row && !rowValues.contains(value); };
      for (unsigned i = 0; i < numInputs(); ++i) {
        BlockArgument arg = body->getArgument(i);
        if (arg.use_empty())
          continue;
        mapping.map(arg, shared(arg) ? first.lookup(arg) : load(i, row, lanes));
      }
      for (unsigned i = 0; i < numOutputs(); ++i)
        if (outputs[i * rows + row])
          mapping.map(op.getRegionOutputArgs()[i], outputs[i * rows + row]);
      for (Operation &inner : body->without_terminator()) {
        if (fused.contains(&inner))
          continue;
        if (row && inner.getNumResults() && !rowValues.contains(inner.getResult(0))) {
          for (Value result : inner.getResults())
            mapping.map(result, first.lookup(result));
          continue;
        }
        cloneInto(inner, mapping, row, lanes);
      }
      for (auto [i, yielded] : llvm::enumerate(body->getTerminator()->getOperands()))
        results[i * rows + row] = mapping.lookupOrDefault(yielded);
    }
    return results;
  }

  void cloneInto(Operation &inner, IRMapping &mapping, int64_t row, int64_t lanes) {
    if (auto indexOp = dyn_cast<linalg::IndexOp>(inner)) {
      int dim = indexOp.getDim();
      Value value = plus(index[dim], dim == rowDim ? row : 0);
      if (dim == laneDim && lanes > 1) {
        SmallVector<int64_t> steps = llvm::to_vector(llvm::seq<int64_t>(0, lanes));
        auto type = VectorType::get({lanes}, b.getIndexType());
        Value iota =
            arith::ConstantOp::create(b, loc, DenseElementsAttr::get(type, ArrayRef<int64_t>(steps)));
        value = arith::AddIOp::create(b, loc, toLanes(value, lanes), iota);
      }
      mapping.map(indexOp.getResult(), value);
      return;
    }
    auto fma = fmas.find(&inner);
    if (fma != fmas.end()) {
      arith::MulFOp product = fma->second;
      Value addend = inner.getOperand(inner.getOperand(0) == product.getResult() ? 1 : 0);
      SmallVector<Value> operands = {mapping.lookupOrDefault(product.getLhs()),
                                     mapping.lookupOrDefault(product.getRhs()),
                                     mapping.lookupOrDefault(addend)};
      bool onVectors = llvm::any_of(operands, [](Value v) { return isa<VectorType>(v.getType()); });
      for (Value &operand : operands)
        operand = toLanes(operand, onVectors ? lanes : 1);
      mapping.map(inner.getResult(0),
                  math::FmaOp::create(b, loc, operands[0], operands[1], operands[2]).getResult());
      return;
    }
    bool onVectors = false;
    for (Value operand : inner.getOperands())
      onVectors |= isa<VectorType>(mapping.lookupOrDefault(operand).getType());
    Operation *copy = inner.clone(mapping);
    b.insert(copy);
    if (onVectors) {
      b.setInsertionPoint(copy);
      for (OpOperand &operand : copy->getOpOperands())
        operand.set(toLanes(operand.get(), lanes));
      b.setInsertionPointAfter(copy);
      for (Value result : copy->getResults())
        result.setType(VectorType::get({lanes}, result.getType()));
    }
    for (auto [from, to] : llvm::zip_equal(inner.getResults(), copy->getResults()))
      mapping.map(from, to);
  }

  OpBuilder b;
  Location loc;
  SmallVector<OpFoldResult> sizes; // the loops' extents as values
  SmallVector<Value> index;        // current position of every loop
  DenseMap<Operation *, arith::MulFOp> fmas;
  llvm::SmallPtrSet<Operation *, 4> fused;
  DenseSet<Value> rowValues;
};

/// memref.copy to a generic of its own. Bufferization makes them from insert_slice and from loop-carried
/// tensors.
void generalizeCopy(memref::CopyOp copy) {
  OpBuilder b(copy);
  auto type = cast<MemRefType>(copy.getSource().getType());
  AffineMap identity = b.getMultiDimIdentityMap(type.getRank());
  SmallVector<utils::IteratorType> iterators(type.getRank(), utils::IteratorType::parallel);
  linalg::GenericOp::create(b, copy.getLoc(), ValueRange{copy.getSource()}, ValueRange{copy.getTarget()},
                            ArrayRef<AffineMap>{identity, identity}, iterators,
                            [](OpBuilder &nested, Location loc, ValueRange args) {
                              linalg::YieldOp::create(nested, loc, args[0]);
                            });
  copy.erase();
}

struct VectorizeTiles : impl::VectorizeTilesBase<VectorizeTiles> {
  using VectorizeTilesBase::VectorizeTilesBase;

  void runOnOperation() override {
    getOperation().walk([](memref::CopyOp copy) { generalizeCopy(copy); });
    SmallVector<linalg::GenericOp> generics;
    bool failed = false;
    getOperation().walk([&](linalg::LinalgOp op) {
      auto generic = dyn_cast<linalg::GenericOp>(op.getOperation());
      if (generic && generic.hasPureBufferSemantics()) {
        generics.push_back(generic);
        return;
      }
      op.emitError("expects linalg.generic on memrefs; run prepare-tiles and bufferize-tiles first");
      failed = true;
    });
    if (failed)
      return signalPassFailure();
    for (linalg::GenericOp generic : generics)
      TileLoops(generic, vectorBits).emit();
  }
};

} // namespace
} // namespace llmc
