// Hazards between ops that a block's threads run together. Between two barriers no buffer is written by one
// op and touched by another one, whatever threads do it. Control flow is uniform, so barriers may stand in
// loops and branches.
#include "codegen/cuda/PlaceBarriers.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "llvm/ADT/EquivalenceClasses.h"
#include "llvm/ADT/SmallSet.h"

using namespace mlir;
namespace llmc {
namespace {

/// Buffers read and written.
struct Accesses {
  llvm::SmallSet<void *, 8> reads, writes;

  void add(const Accesses &other) {
    reads.insert(other.reads.begin(), other.reads.end());
    writes.insert(other.writes.begin(), other.writes.end());
  }
  bool contains(const Accesses &other) const {
    return llvm::all_of(other.reads, [&](void *b) { return reads.contains(b); }) &&
           llvm::all_of(other.writes, [&](void *b) { return writes.contains(b); });
  }
  bool conflictsWith(const Accesses &next) const {
    auto meet = [](const auto &a, const auto &b) {
      return llvm::any_of(a, [&](void *x) { return b.contains(x); });
    };
    return meet(writes, next.reads) || meet(writes, next.writes) || meet(reads, next.writes);
  }
};

class BarrierPlacement {
public:
  BarrierPlacement(func::FuncOp kernel, const Layouts &layouts) : kernel(kernel), layouts(layouts) {}

  FailureOr<SmallVector<Operation *>> run() {
    uniteViews();
    Accesses pending;
    walk(kernel.getBody().front(), pending, /*isFinal=*/true);
    if (hasFailed)
      return failure();
    return std::move(barriers);
  }

private:
  static bool isBuffer(Value v) { return isa<MemRefType>(v.getType()); }
  /// Whether threads meet in it.
  bool isCommon(Value v) { return isBuffer(v) && !layouts.inRegisters(v); }
  void unite(Value a, Value b) {
    if (isBuffer(a) && isBuffer(b))
      buffers.unionSets(a.getAsOpaquePointer(), b.getAsOpaquePointer());
  }
  void *bufferOf(Value v) { return buffers.getOrInsertLeaderValue(v.getAsOpaquePointer()); }

  void uniteViews() {
    kernel.walk([&](Operation *op) {
      if (auto view = dyn_cast<ViewLikeOpInterface>(op)) {
        unite(op->getResult(0), view.getViewSource());
      } else if (auto loop = dyn_cast<scf::ForOp>(op)) {
        for (auto [init, arg, next, result] : llvm::zip_equal(loop.getInitArgs(), loop.getRegionIterArgs(),
                                                              loop.getYieldedValues(), loop.getResults()))
          for (Value v : {init, next, Value(result)})
            unite(arg, v);
      } else if (auto branch = dyn_cast<scf::IfOp>(op)) {
        for (unsigned i = 0; i < branch.getNumResults(); ++i) {
          unite(branch.getResult(i), branch.thenYield().getOperand(i));
          unite(branch.getResult(i), branch.elseYield().getOperand(i));
        }
      } else if (auto select = dyn_cast<arith::SelectOp>(op)) {
        unite(select.getResult(), select.getTrueValue());
        unite(select.getResult(), select.getFalseValue());
      }
    });
  }

  /// What `op` itself touches, its regions included for a generic; nothing for views, arithmetic and control
  /// flow.
  Accesses accessesOf(Operation *op) {
    Accesses a;
    auto load = [&](memref::LoadOp l) { a.reads.insert(bufferOf(l.getMemRef())); };
    if (auto l = dyn_cast<memref::LoadOp>(op)) {
      load(l);
    } else if (auto s = dyn_cast<memref::StoreOp>(op)) {
      a.writes.insert(bufferOf(s.getMemRef()));
    } else if (auto copy = dyn_cast<memref::CopyOp>(op)) {
      if (isCommon(copy.getSource()))
        a.reads.insert(bufferOf(copy.getSource()));
      if (isCommon(copy.getTarget()))
        a.writes.insert(bufferOf(copy.getTarget()));
    } else if (auto generic = dyn_cast<linalg::GenericOp>(op)) {
      for (Value in : generic.getDpsInputs())
        if (isCommon(in))
          a.reads.insert(bufferOf(in));
      for (auto [out, arg] : llvm::zip_equal(generic.getDpsInits(), generic.getRegionOutputArgs())) {
        if (!isCommon(out))
          continue;
        a.writes.insert(bufferOf(out));
        if (!arg.use_empty())
          a.reads.insert(bufferOf(out));
      }
      op->walk([&](memref::LoadOp l) { load(l); });
    } else if (op->getNumRegions() == 0 && !isMemoryEffectFree(op) &&
               !isa<memref::AllocaOp, memref::DimOp, ViewLikeOpInterface>(op) &&
               !op->hasTrait<OpTrait::IsTerminator>()) {
      if (!hasFailed)
        op->emitError() << "kernel '" << kernel.getName() << "': the CUDA target cannot distribute "
                        << op->getName()
                        << " over threads; write it with linalg.generic, or tensor.extract and tensor.insert";
      hasFailed = true;
    }
    return a;
  }

  Accesses allAccesses(Region &region) {
    Accesses all;
    region.walk([&](Operation *op) {
      all.add(accessesOf(op));
      return WalkResult::advance();
    });
    return all;
  }

  /// A loop's iteration starts after what came before the loop, or after the end of an iteration.
  void walkLoop(MutableArrayRef<Region> regions, Accesses &pending, bool isFinal) {
    auto iterate = [&](Accesses entry, bool final) {
      for (Region &region : regions)
        walk(region.front(), entry, final);
      return entry;
    };
    Accesses all = pending;
    for (Region &region : regions)
      all.add(allAccesses(region));
    // With everything pending the end of an iteration is known to be no worse than assumed; a smaller
    // assumption has to be checked.
    Accesses entry = pending;
    entry.add(iterate(all, false));
    if (!entry.contains(iterate(entry, false)))
      entry = all;
    pending.add(iterate(entry, isFinal));
  }

  /// What the products of a loop read of every iteration, made before it, is there before the loop: no barrier for it has to be in the loop.
  void settleOperands(Operation &loop, Accesses &pending, bool isFinal) {
    Accesses within = allAccesses(loop.getRegion(0)), made;
    for (Operation *product : layouts.ahead.find(&loop)->second)
      if (Value a = layouts.products.find(product)->second.a; isCommon(a) && !within.writes.contains(bufferOf(a)))
        made.reads.insert(bufferOf(a));
    if (!pending.conflictsWith(made))
      return;
    pending = Accesses();
    if (isFinal)
      barriers.push_back(&loop);
  }

  void walk(Block &block, Accesses &pending, bool isFinal) {
    for (Operation &op : block) {
      if (auto forall = dyn_cast<scf::ForallOp>(op)) {
        walk(*forall.getBody(), pending, isFinal);
      } else if (isa<scf::ForOp, scf::WhileOp>(op)) {
        if (layouts.ahead.contains(&op))
          settleOperands(op, pending, isFinal);
        walkLoop(op.getRegions(), pending, isFinal);
      } else if (auto branch = dyn_cast<scf::IfOp>(op)) {
        Accesses otherwise = pending;
        walk(branch.getThenRegion().front(), pending, isFinal);
        if (!branch.getElseRegion().empty())
          walk(branch.getElseRegion().front(), otherwise, isFinal);
        pending.add(otherwise);
      } else {
        Accesses mine = accessesOf(&op);
        if (pending.conflictsWith(mine)) {
          pending = Accesses();
          if (isFinal)
            barriers.push_back(&op);
        }
        pending.add(mine);
        // Products end with a barrier, but for those whose operands nobody else touches, or are there already.
        if (auto p = layouts.products.find(&op); p != layouts.products.end() && !layouts.ring &&
                                                 !layouts.loopOf(&op) &&
                                                 !(layouts.forms.lookup(&op) == Layouts::Form::tiled && isWithinBlock(p->second)))
          pending = Accesses();
      }
    }
  }

  func::FuncOp kernel;
  const Layouts &layouts;
  llvm::EquivalenceClasses<void *> buffers;
  SmallVector<Operation *> barriers;
  bool hasFailed = false;
};

} // namespace

FailureOr<SmallVector<Operation *>> findBarriers(func::FuncOp kernel, const Layouts &layouts) {
  return BarrierPlacement(kernel, layouts).run();
}

} // namespace llmc
