// distribute-tiles: ops on memrefs to the code of a block's threads, in the forms of Layout.h. Two of them are here:
//
//   elements   thread t computes output elements t, t + N, ... of the parallel space, innermost dimension fastest, so that the
//              threads of a warp store (and mostly load) neighbours; reductions run in the thread, in order. Where there is enough
//              to do, four neighbours a thread at a time
//   rows       a reduction along the contiguous dimension: warp w takes output elements w, w + W, ..., lane l the terms l, l + 32, ...;
//              five butterfly shuffles combine the lanes
//
// Which form an op gets depends on its shape alone, so that an element's sum has the same order whichever rows are there.
#include "codegen/cuda/Passes.h"
#include "codegen/cuda/PlaceBarriers.h"
#include "codegen/cuda/ThreadCode.h"
#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

namespace llmc {
#define GEN_PASS_DEF_DISTRIBUTETILES
#include "codegen/cuda/Passes.h.inc"

using namespace mlir;

namespace {

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
  Distribution(func::FuncOp kernel, const Layouts &layouts)
      : t(kernel, layouts.threads), layouts(layouts), storage(t, layouts) {
    if (layouts.ring)
      for (const auto &[loop, products] : layouts.ahead)
        shareLoop(t, cast<scf::ForOp>(loop), layouts, storage);
  }

  void distribute(linalg::GenericOp op) {
    start(op);
    switch (layouts.forms.lookup_or(op, isRowReduction(op) ? Form::rows : Form::elements)) {
    case Form::tiled:
      emitTiledProduct(t, layouts.products.find(op)->second, layouts, storage);
      break;
    case Form::warpgroup:
      emitWarpgroupProduct(t, layouts.products.find(op)->second, layouts, storage);
      break;
    case Form::streamed:
      emitStreamedProduct(t, layouts.products.find(op)->second, storage);
      break;
    case Form::fragments:
      emitOnFragments(t, op, layouts, storage);
      break;
    case Form::rows:
      rows(op);
      break;
    case Form::elements:
      elements(op);
    }
    op.erase();
  }

  void distribute(memref::CopyOp copy) {
    start(copy);
    if (layouts.forms.contains(copy))
      emitOnFragments(t, copy, layouts, storage);
    else
      elements(copy);
    copy.erase();
  }

  /// A scalar is stored by thread 0; all have computed it.
  void distribute(memref::StoreOp store) {
    start(store);
    Value isFirst = arith::CmpIOp::create(t.b, t.loc, arith::CmpIPredicate::eq, t.thread, t.i32(0));
    t.where(isFirst, [&] { store->moveBefore(t.b.getInsertionBlock(), t.b.getInsertionPoint()); });
  }

  void finish() { storage.finish(); }

private:
  using Form = Layouts::Form;

  void start(Operation *op) {
    t.b.setInsertionPoint(op);
    t.loc = op->getLoc();
  }

  void elements(memref::CopyOp copy) {
    auto type = cast<MemRefType>(copy.getTarget().getType());
    SmallVector<OpFoldResult> extents;
    for (int64_t d = 0; d < type.getRank(); ++d)
      extents.push_back(type.isDynamicDim(d)
                            ? OpFoldResult(memref::DimOp::create(t.b, t.loc, copy.getTarget(), d).getResult())
                            : OpFoldResult(t.b.getIndexAttr(type.getDimSize(d))));
    t.overThreads(extents, [&](ArrayRef<Value> at) {
      Value x = memref::LoadOp::create(t.b, t.loc, copy.getSource(), at);
      memref::StoreOp::create(t.b, t.loc, x, copy.getTarget(), at);
    });
  }

  SmallVector<Value> loadOutputs(GenericLoops &g, ArrayRef<Value> at) {
    SmallVector<Value> outs;
    for (OpOperand &init : g.op.getDpsInitsMutable()) {
      BlockArgument arg = g.op.getBody()->getArgument(init.getOperandNumber());
      // An unread element is not loaded: it may never have been written.
      outs.push_back(arg.use_empty()
                         ? Value(arith::ConstantOp::create(t.b, t.loc, t.b.getZeroAttr(arg.getType())))
                         : memref::LoadOp::create(t.b, t.loc, init.get(), t.indices(g, init, at)).getResult());
    }
    return outs;
  }

  void storeOutputs(GenericLoops &g, ArrayRef<Value> at, ValueRange values) {
    for (auto [init, v] : llvm::zip_equal(g.op.getDpsInitsMutable(), values))
      memref::StoreOp::create(t.b, t.loc, v, init.get(), t.indices(g, init, at));
  }

  /// Elementwise, with enough to do for all threads: a thread takes kAtOnce neighbours and stores them after it has computed all, so that
  /// the back end makes one access of theirs.
  bool neighboursAtOnce(linalg::GenericOp op) {
    constexpr int64_t kAtOnce = 4;
    GenericLoops g(t.b, op);
    SmallVector<OpFoldResult> extents = g.parallelExtents();
    if (!g.reductions.empty() || extents.empty() || usefulThreads(op).value_or(kAtOnce * t.threads) < kAtOnce * t.threads)
      return false;
    int64_t last = getConstantIntValue(extents.back()).value_or(1);
    if (last % kAtOnce)
      return false;
    extents.back() = t.b.getIndexAttr(last / kAtOnce);
    t.overThreads(extents, [&](ArrayRef<Value> point) {
      SmallVector<SmallVector<Value>> places, results;
      for (int64_t i = 0; i < kAtOnce; ++i) {
        SmallVector<Value> at(g.kinds.size());
        for (auto [d, v] : llvm::zip_equal(g.parallels, point))
          at[d] = v;
        Value &inner = at[g.parallels.back()];
        inner = t.add(t.mul(inner, kAtOnce), i);
        results.push_back(t.cloneBody(g, at, loadOutputs(g, at)));
        places.push_back(at);
      }
      for (auto [at, values] : llvm::zip_equal(places, results))
        storeOutputs(g, at, values);
    });
    return true;
  }

  void elements(linalg::GenericOp op) {
    if (neighboursAtOnce(op))
      return;
    GenericLoops g(t.b, op);
    t.overThreads(g.parallelExtents(), [&](ArrayRef<Value> point) {
      SmallVector<Value> at(g.kinds.size());
      for (auto [d, v] : llvm::zip_equal(g.parallels, point))
        at[d] = v;
      SmallVector<Value> outs = loadOutputs(g, at);
      SmallVector<Value> done = reduceInOrder(g, at, outs, 0);
      storeOutputs(g, at, done);
    });
  }

  /// Loops over reduction dimensions number `next` and up, carrying `accumulators`.
  SmallVector<Value> reduceInOrder(GenericLoops &g, SmallVector<Value> &at, ValueRange accumulators, unsigned next) {
    if (next == g.reductions.size())
      return t.cloneBody(g, at, accumulators);
    unsigned dim = g.reductions[next];
    auto loop = scf::ForOp::create(t.b, t.loc, t.index(0), t.value(g.extents[dim]), t.index(1), accumulators);
    OpBuilder::InsertionGuard guard(t.b);
    t.b.setInsertionPointToStart(loop.getBody());
    at[dim] = loop.getInductionVar();
    SmallVector<Value> sums = reduceInOrder(g, at, loop.getRegionIterArgs(), next + 1);
    scf::YieldOp::create(t.b, t.loc, sums);
    return SmallVector<Value>(loop.getResults());
  }

  void rows(linalg::GenericOp op) {
    GenericLoops g(t.b, op);
    Value warp = arith::DivUIOp::create(t.b, t.loc, t.thread, t.i32(kWarp));
    t.overPoints(warp, t.threads / kWarp, g.parallelExtents(), [&](ArrayRef<Value> point) {
      SmallVector<Value> at(g.kinds.size());
      for (auto [d, v] : llvm::zip_equal(g.parallels, point))
        at[d] = v;
      SmallVector<Operation *> combiners;
      SmallVector<Value> neutral;
      for (unsigned i = 0; i < op.getNumDpsInits(); ++i) {
        combiners.push_back(combinerOf(op, i));
        neutral.push_back(arith::ConstantOp::create(t.b, t.loc, *arith::getNeutralElement(combiners[i])));
      }
      unsigned dim = g.reductions[0];
      auto loop = scf::ForOp::create(t.b, t.loc, t.lane, t.value(g.extents[dim]), t.index(kWarp), neutral);
      {
        OpBuilder::InsertionGuard guard(t.b);
        t.b.setInsertionPointToStart(loop.getBody());
        at[dim] = loop.getInductionVar();
        SmallVector<Value> sums = t.cloneBody(g, at, loop.getRegionIterArgs());
        scf::YieldOp::create(t.b, t.loc, sums);
      }
      SmallVector<Value> sums(loop.getResults());
      for (int64_t distance = kWarp / 2; distance; distance /= 2)
        for (auto [sum, combiner] : llvm::zip_equal(sums, combiners)) {
          Value other = NVVM::ShflOp::create(t.b, t.loc, sum.getType(), t.i32(-1), sum, t.i32(distance),
                                             t.i32(kWarp - 1), NVVM::ShflKind::bfly, UnitAttr());
          sum = t.combine(combiner, sum, other);
        }
      Value isFirst = arith::CmpIOp::create(t.b, t.loc, arith::CmpIPredicate::eq, t.lane, t.index(0));
      t.where(isFirst, [&] {
        SmallVector<Value> outs = loadOutputs(g, at);
        for (auto [out, sum, combiner] : llvm::zip_equal(outs, sums, combiners))
          out = t.combine(combiner, out, sum);
        storeOutputs(g, at, outs);
      });
    });
  }

  ThreadCode t;
  const Layouts &layouts;
  BlockStorage storage;
};

struct DistributeTiles : impl::DistributeTilesBase<DistributeTiles> {
  using DistributeTilesBase::DistributeTilesBase;

  /// As many threads as the widest op can use, in whole warps; what runs on fragments says so itself.
  int64_t threadsFor(func::FuncOp kernel, const Layouts &layouts) {
    if (!layouts.registers.empty())
      return layouts.threads;
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
      Layouts layouts = assignLayouts(kernel, maxThreads, !tensorCores ? Cores::none : warpgroups ? Cores::warpgroups : Cores::warps);
      padOperands(layouts);
      shareScratch(kernel, layouts);
      layouts.threads = threadsFor(kernel, layouts);
      kernel->setAttr("llm.threads", IntegerAttr::get(IntegerType::get(&getContext(), 64), layouts.threads));
      auto places = findBarriers(kernel, layouts);
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
      Distribution distribution(kernel, layouts);
      for (Operation *op : ops) {
        if (auto generic = dyn_cast<linalg::GenericOp>(op))
          distribution.distribute(generic);
        else if (auto copy = dyn_cast<memref::CopyOp>(op))
          distribution.distribute(copy);
        else
          distribution.distribute(cast<memref::StoreOp>(op));
      }
      distribution.finish();
      if (layouts.ring && layouts.ring->blocks > 1)
        kernel->setAttr("llm.cluster", IntegerAttr::get(IntegerType::get(&getContext(), 64), layouts.ring->blocks));
    }
  }
};

} // namespace
} // namespace llmc
