// distribute-tiles: linalg.generic on memrefs to loops over a block's threads. Two forms:
//
//   elements   thread t computes output elements t, t + N, ... of the parallel space, innermost dimension
//   fastest, so that the
//              threads of a warp store (and mostly load) neighbours; reductions run in the thread, in order
//   rows       a reduction along the contiguous dimension: warp w takes output elements w, w + W, ..., lane l
//   the terms l, l + 32, ...;
//              five butterfly shuffles combine the lanes
//
// Which form a generic gets depends on its maps and its reduction alone, so that an element's sum has the
// same order in tiles of 1 and of 8 rows.
#include "codegen/cuda/Passes.h"
#include "codegen/cuda/PlaceBarriers.h"
#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

namespace llmc {
#define GEN_PASS_DEF_DISTRIBUTETILES
#include "codegen/cuda/Passes.h.inc"

using namespace mlir;

namespace {

constexpr int64_t kWarp = 32;

/// The op that combines partial results of output `i`, when there is one with a neutral element.
Operation *combinerOf(linalg::GenericOp op, unsigned i) {
  SmallVector<Operation *, 4> combiners;
  Value reduced = matchReduction(op.getRegionOutputArgs(), i, combiners);
  if (!reduced || combiners.size() != 1 || !arith::getNeutralElement(combiners[0]))
    return nullptr;
  return combiners[0];
}

/// Whether one warp per output element reduces `op`: one reduction dimension of at least a warp's width,
/// contiguous in every input that has it.
bool isRowReduction(linalg::GenericOp op) {
  if (op.getNumReductionLoops() != 1)
    return false;
  SmallVector<unsigned> dims;
  op.getReductionDims(dims);
  int64_t extent = op.getStaticLoopRanges()[dims[0]];
  if (!ShapedType::isDynamic(extent) && extent < kWarp)
    return false;
  for (OpOperand *input : op.getDpsInputOperands()) {
    AffineMap map = op.getMatchingIndexingMap(input);
    if (map.isFunctionOfDim(dims[0]) &&
        map.getResult(map.getNumResults() - 1) != getAffineDimExpr(dims[0], op.getContext()))
      return false;
  }
  for (unsigned i = 0; i < op.getNumDpsInits(); ++i) {
    Type element = cast<MemRefType>(op.getDpsInits()[i].getType()).getElementType();
    if (!combinerOf(op, i) || !(element.isF32() || element.isInteger(32)))
      return false;
  }
  return true;
}

/// Number of threads that `op` can use; nothing when only known at run time.
std::optional<int64_t> usefulThreads(linalg::GenericOp op) {
  int64_t total = isRowReduction(op) ? kWarp : 1;
  for (auto [extent, kind] : llvm::zip_equal(op.getStaticLoopRanges(), op.getIteratorTypesArray()))
    if (kind == utils::IteratorType::parallel) {
      if (ShapedType::isDynamic(extent))
        return std::nullopt;
      total *= extent;
    }
  return total;
}

class Distribution {
public:
  Distribution(func::FuncOp kernel, int64_t threads) : b(kernel), kernel(kernel), threads(threads) {
    b.setInsertionPointToStart(&kernel.getBody().front());
    Location loc = kernel.getLoc();
    thread = NVVM::ThreadIdXOp::create(b, loc, b.getI32Type());
  }

  void distribute(linalg::GenericOp op) {
    b.setInsertionPoint(op);
    Generic g(*this, op);
    if (isRowReduction(op))
      rows(g);
    else
      elements(g);
    op.erase();
  }

  void distribute(memref::CopyOp copy) {
    b.setInsertionPoint(copy);
    Location loc = copy.getLoc();
    auto type = cast<MemRefType>(copy.getTarget().getType());
    SmallVector<OpFoldResult> extents;
    for (int64_t d = 0; d < type.getRank(); ++d)
      extents.push_back(type.isDynamicDim(d)
                            ? OpFoldResult(memref::DimOp::create(b, loc, copy.getTarget(), d).getResult())
                            : OpFoldResult(b.getIndexAttr(type.getDimSize(d))));
    overThreads(loc, extents, [&](ArrayRef<Value> at) {
      Value x = memref::LoadOp::create(b, loc, copy.getSource(), at);
      memref::StoreOp::create(b, loc, x, copy.getTarget(), at);
    });
    copy.erase();
  }

  /// A scalar is stored by thread 0; all have computed it.
  void distribute(memref::StoreOp store) {
    b.setInsertionPoint(store);
    Value isFirst =
        arith::CmpIOp::create(b, store.getLoc(), arith::CmpIPredicate::eq, thread, i32(store.getLoc(), 0));
    auto branch = scf::IfOp::create(b, store.getLoc(), isFirst, /*withElseRegion=*/false);
    store->moveBefore(branch.thenYield());
  }

private:
  /// A generic and its loops' extents.
  struct Generic {
    Generic(Distribution &d, linalg::GenericOp op)
        : op(op), loc(op.getLoc()), kinds(op.getIteratorTypesArray()) {
      for (Range range : cast<linalg::LinalgOp>(op.getOperation()).createLoopRanges(d.b, loc))
        extents.push_back(range.size);
      for (unsigned i = 0; i < kinds.size(); ++i)
        if (kinds[i] == utils::IteratorType::reduction)
          reductions.push_back(i);
      // The order of the dimensions in the first output is that of its addresses.
      for (AffineExpr expr : op.getMatchingIndexingMap(op.getDpsInitOperand(0)).getResults())
        for (unsigned i = 0; i < kinds.size(); ++i)
          if (expr.isFunctionOfDim(i) && kinds[i] == utils::IteratorType::parallel &&
              !llvm::is_contained(parallels, i))
            parallels.push_back(i);
      for (unsigned i = 0; i < kinds.size(); ++i)
        if (kinds[i] == utils::IteratorType::parallel && !llvm::is_contained(parallels, i))
          parallels.insert(parallels.begin(), i);
    }
    SmallVector<OpFoldResult> parallelExtents() const {
      SmallVector<OpFoldResult> result;
      for (unsigned d : parallels)
        result.push_back(extents[d]);
      return result;
    }
    linalg::GenericOp op;
    Location loc;
    SmallVector<utils::IteratorType> kinds;
    SmallVector<OpFoldResult> extents;
    SmallVector<unsigned> parallels, reductions;
  };

  Value i32(Location loc, int64_t v) { return arith::ConstantIntOp::create(b, loc, v, 32); }
  Value index(Location loc, int64_t v) { return arith::ConstantIndexOp::create(b, loc, v); }
  Value value(Location loc, OpFoldResult v) { return getValueOrCreateConstantIndexOp(b, loc, v); }

  /// Calls `body` at the points of `extents` that belong to worker `first`, `first` + `step`, ...; row-major,
  /// with 32-bit arithmetic where the extents are static.
  void overPoints(Location loc, Value first, int64_t step, ArrayRef<OpFoldResult> extents,
                  function_ref<void(ArrayRef<Value>)> body) {
    int64_t total = 1;
    for (OpFoldResult extent : extents) {
      auto known = getConstantIntValue(extent);
      total = known && total >= 0 ? total * *known : -1;
    }
    bool isNarrow = total >= 0 && total < (int64_t(1) << 30);
    auto number = [&](int64_t v) { return isNarrow ? i32(loc, v) : index(loc, v); };
    Value from = isNarrow ? first : arith::IndexCastUIOp::create(b, loc, b.getIndexType(), first).getResult();
    Value to = number(isNarrow ? total : 1);
    if (!isNarrow)
      for (OpFoldResult extent : extents)
        to = arith::MulIOp::create(b, loc, to, value(loc, extent));
    auto loop = scf::ForOp::create(b, loc, from, to, number(step));
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    SmallVector<Value> at(extents.size());
    Value rest = loop.getInductionVar();
    for (int64_t d = extents.size() - 1; d >= 0; --d) {
      auto known = getConstantIntValue(extents[d]);
      Value position = rest;
      if (known == 1) {
        at[d] = index(loc, 0);
        continue;
      }
      if (d) {
        Value extent = known ? number(*known) : value(loc, extents[d]);
        position = arith::RemUIOp::create(b, loc, rest, extent);
        rest = arith::DivUIOp::create(b, loc, rest, extent);
      }
      at[d] =
          isNarrow ? arith::IndexCastUIOp::create(b, loc, b.getIndexType(), position).getResult() : position;
    }
    body(at);
  }

  void overThreads(Location loc, ArrayRef<OpFoldResult> extents, function_ref<void(ArrayRef<Value>)> body) {
    overPoints(loc, thread, threads, extents, body);
  }

  SmallVector<Value> indices(Generic &g, OpOperand &operand, ArrayRef<Value> at) {
    SmallVector<Value> result;
    for (AffineExpr expr : g.op.getMatchingIndexingMap(&operand).getResults()) {
      if (auto dim = dyn_cast<AffineDimExpr>(expr))
        result.push_back(at[dim.getPosition()]);
      else if (auto constant = dyn_cast<AffineConstantExpr>(expr))
        result.push_back(index(g.loc, constant.getValue()));
      else
        result.push_back(affine::AffineApplyOp::create(b, g.loc, AffineMap::get(at.size(), 0, expr), at));
    }
    return result;
  }

  /// The body of the generic at loop position `at` with the outputs' elements `outs`; inputs are loaded.
  /// Returns what it yields.
  SmallVector<Value> cloneBody(Generic &g, ArrayRef<Value> at, ValueRange outs) {
    IRMapping mapping;
    Block *body = g.op.getBody();
    for (OpOperand *input : g.op.getDpsInputOperands()) {
      BlockArgument arg = body->getArgument(input->getOperandNumber());
      if (arg.use_empty())
        continue;
      Value x = input->get();
      mapping.map(arg, isa<MemRefType>(x.getType())
                           ? memref::LoadOp::create(b, g.loc, x, indices(g, *input, at)).getResult()
                           : x);
    }
    for (auto [arg, out] : llvm::zip_equal(g.op.getRegionOutputArgs(), outs))
      mapping.map(arg, out);
    for (Operation &inner : body->without_terminator()) {
      if (auto position = dyn_cast<linalg::IndexOp>(inner)) {
        mapping.map(position.getResult(), at[position.getDim()]);
        continue;
      }
      Operation *copy = b.clone(inner, mapping);
      if (Value fused = fuseMultiplyAdd(copy, outs))
        mapping.map(inner.getResult(0), fused);
    }
    SmallVector<Value> results;
    for (Value v : body->getTerminator()->getOperands())
      results.push_back(mapping.lookupOrDefault(v));
    return results;
  }

  /// Replaces acc + x * y, where acc is what the reduction carries, by one operation and returns its value;
  /// else nothing.
  Value fuseMultiplyAdd(Operation *op, ValueRange accumulators) {
    auto add = dyn_cast<arith::AddFOp>(op);
    if (!add)
      return {};
    for (auto [acc, other] : {std::pair(add.getLhs(), add.getRhs()), std::pair(add.getRhs(), add.getLhs())}) {
      auto product = other.getDefiningOp<arith::MulFOp>();
      if (!product || !llvm::is_contained(accumulators, acc) ||
          !(acc.getType().isF32() || acc.getType().isF64()))
        continue;
      Value fused = math::FmaOp::create(b, op->getLoc(), product.getLhs(), product.getRhs(), acc);
      op->erase();
      return fused;
    }
    return {};
  }

  SmallVector<Value> loadOutputs(Generic &g, ArrayRef<Value> at) {
    SmallVector<Value> outs;
    for (OpOperand &init : g.op.getDpsInitsMutable()) {
      BlockArgument arg = g.op.getBody()->getArgument(init.getOperandNumber());
      // An unread element is not loaded: it may never have been written.
      outs.push_back(arg.use_empty()
                         ? Value(arith::ConstantOp::create(b, g.loc, b.getZeroAttr(arg.getType())))
                         : memref::LoadOp::create(b, g.loc, init.get(), indices(g, init, at)).getResult());
    }
    return outs;
  }

  void storeOutputs(Generic &g, ArrayRef<Value> at, ValueRange values) {
    for (auto [init, v] : llvm::zip_equal(g.op.getDpsInitsMutable(), values))
      memref::StoreOp::create(b, g.loc, v, init.get(), indices(g, init, at));
  }

  void elements(Generic &g) {
    overThreads(g.loc, g.parallelExtents(), [&](ArrayRef<Value> point) {
      SmallVector<Value> at(g.kinds.size());
      for (auto [d, v] : llvm::zip_equal(g.parallels, point))
        at[d] = v;
      SmallVector<Value> outs = loadOutputs(g, at);
      SmallVector<Value> done = reduceInOrder(g, at, outs, 0);
      storeOutputs(g, at, done);
    });
  }

  /// Loops over reduction dimensions number `next` and up, carrying `accumulators`.
  SmallVector<Value> reduceInOrder(Generic &g, SmallVector<Value> &at, ValueRange accumulators,
                                   unsigned next) {
    if (next == g.reductions.size())
      return cloneBody(g, at, accumulators);
    unsigned dim = g.reductions[next];
    auto loop = scf::ForOp::create(b, g.loc, index(g.loc, 0), value(g.loc, g.extents[dim]), index(g.loc, 1),
                                   accumulators);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    at[dim] = loop.getInductionVar();
    SmallVector<Value> sums = reduceInOrder(g, at, loop.getRegionIterArgs(), next + 1);
    scf::YieldOp::create(b, g.loc, sums);
    return SmallVector<Value>(loop.getResults());
  }

  void rows(Generic &g) {
    Value warp = arith::DivUIOp::create(b, g.loc, thread, i32(g.loc, kWarp));
    Value lane = arith::RemUIOp::create(b, g.loc, thread, i32(g.loc, kWarp));
    overPoints(g.loc, warp, threads / kWarp, g.parallelExtents(), [&](ArrayRef<Value> point) {
      SmallVector<Value> at(g.kinds.size());
      for (auto [d, v] : llvm::zip_equal(g.parallels, point))
        at[d] = v;
      SmallVector<Operation *> combiners;
      SmallVector<Value> neutral;
      for (unsigned i = 0; i < g.op.getNumDpsInits(); ++i) {
        combiners.push_back(combinerOf(g.op, i));
        neutral.push_back(arith::ConstantOp::create(b, g.loc, *arith::getNeutralElement(combiners[i])));
      }
      unsigned dim = g.reductions[0];
      Value first = arith::IndexCastUIOp::create(b, g.loc, b.getIndexType(), lane);
      auto loop =
          scf::ForOp::create(b, g.loc, first, value(g.loc, g.extents[dim]), index(g.loc, kWarp), neutral);
      {
        OpBuilder::InsertionGuard guard(b);
        b.setInsertionPointToStart(loop.getBody());
        at[dim] = loop.getInductionVar();
        SmallVector<Value> sums = cloneBody(g, at, loop.getRegionIterArgs());
        scf::YieldOp::create(b, g.loc, sums);
      }
      SmallVector<Value> sums(loop.getResults());
      for (int64_t distance = kWarp / 2; distance; distance /= 2)
        for (auto [sum, combiner] : llvm::zip_equal(sums, combiners)) {
          Value other =
              NVVM::ShflOp::create(b, g.loc, sum.getType(), i32(g.loc, -1), sum, i32(g.loc, distance),
                                   i32(g.loc, kWarp - 1), NVVM::ShflKind::bfly, UnitAttr());
          sum = combine(combiner, sum, other);
        }
      Value isFirst = arith::CmpIOp::create(b, g.loc, arith::CmpIPredicate::eq, lane, i32(g.loc, 0));
      auto branch = scf::IfOp::create(b, g.loc, isFirst, /*withElseRegion=*/false);
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPoint(branch.thenYield());
      SmallVector<Value> outs = loadOutputs(g, at);
      for (auto [out, sum, combiner] : llvm::zip_equal(outs, sums, combiners))
        out = combine(combiner, out, sum);
      storeOutputs(g, at, outs);
    });
  }

  Value combine(Operation *combiner, Value x, Value y) {
    OperationState state(combiner->getLoc(), combiner->getName(), {x, y}, combiner->getResultTypes(),
                         combiner->getAttrs());
    return b.create(state)->getResult(0);
  }

  OpBuilder b;
  func::FuncOp kernel;
  int64_t threads;
  Value thread; ///< number of this thread in its block, i32
};

struct DistributeTiles : impl::DistributeTilesBase<DistributeTiles> {
  using DistributeTilesBase::DistributeTilesBase;

  /// As many threads as the widest op can use, in whole warps.
  int64_t threadsFor(func::FuncOp kernel) {
    int64_t threads = kWarp;
    auto widen = [&](std::optional<int64_t> useful) {
      threads = std::max(threads, useful.value_or(maxThreads));
    };
    kernel.walk([&](linalg::GenericOp op) { widen(usefulThreads(op)); });
    kernel.walk([&](memref::CopyOp op) {
      auto type = cast<MemRefType>(op.getTarget().getType());
      widen(type.hasStaticShape() ? std::optional<int64_t>(type.getNumElements()) : std::nullopt);
    });
    return std::min<int64_t>(llvm::alignTo(threads, kWarp), maxThreads);
  }

  void runOnOperation() override {
    for (auto kernel : getOperation().getOps<func::FuncOp>()) {
      if (!kernel->hasAttr("llm.kernel") || kernel.isExternal())
        continue;
      int64_t threads = threadsFor(kernel);
      kernel->setAttr("llm.threads", IntegerAttr::get(IntegerType::get(&getContext(), 64), threads));
      auto places = findBarriers(kernel);
      if (failed(places))
        return signalPassFailure();
      if (barriers)
        for (Operation *op : *places) {
          OpBuilder b(op);
          NVVM::Barrier0Op::create(b, op->getLoc());
          ++numBarriers;
        }
      SmallVector<Operation *> ops;
      kernel.walk([&](Operation *op) {
        if (isa<linalg::GenericOp, memref::CopyOp, memref::StoreOp>(op))
          ops.push_back(op);
      });
      Distribution distribution(kernel, threads);
      for (Operation *op : ops) {
        if (auto generic = dyn_cast<linalg::GenericOp>(op))
          distribution.distribute(generic);
        else if (auto copy = dyn_cast<memref::CopyOp>(op))
          distribution.distribute(copy);
        else
          distribution.distribute(cast<memref::StoreOp>(op));
      }
    }
  }
};

} // namespace
} // namespace llmc
