// Elementwise ops and row reductions on accumulator fragments: see Layout.h. A thread takes its elements row by row; what lies in memory
// is touched within the op's extents only.
#include "codegen/cuda/ThreadCode.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
namespace llmc {
namespace {

/// The rows and columns of a thread's elements.
class Places {
public:
  Places(ThreadCode &t, const Fragments &f) : t(t) {
    Value g = t.div(t.lane, 4), pair = t.rem(t.lane, 4);
    Value wm = t.div(t.warp, f.warpsN), wn = f.warpsN == 1 ? t.index(0) : t.rem(t.warp, f.warpsN);
    row = t.add(t.mul(wm, 16 * f.fm), g);
    column = t.add(t.mul(wn, 8 * f.fn), t.mul(pair, 2));
  }
  Value rowOf(int64_t fm, int64_t half) { return t.add(row, 16 * fm + 8 * half); }
  Value columnOf(int64_t fn, int64_t odd) { return t.add(column, 8 * fn + odd); }
  /// position < extent, or null where the fragments end there anyway.
  Value within(Value position, OpFoldResult extent, int64_t end) {
    return getConstantIntValue(extent) == end ? Value() : t.less(position, t.value(extent));
  }

private:
  ThreadCode &t;
  Value row, column;
};

class OnFragments {
public:
  /// `isAlone`: threads without fragments do not come here.
  OnFragments(ThreadCode &t, linalg::GenericOp op, const Fragments &f, BlockStorage &storage, bool isAlone)
      : t(t), g(t.b, op), f(f), storage(storage), places(t, f), isAlone(isAlone) {
    for (OpOperand &operand : op->getOpOperands())
      touchesMemory |= isa<MemRefType>(operand.get().getType()) && !storage.registersOf(operand.get());
    op.getBody()->walk([&](memref::LoadOp) { touchesMemory = true; });
  }

  void emit() {
    // Warps that hold no fragments have nothing to do.
    int64_t warps = f.warpsM * f.warpsN;
    t.where(!isAlone && warps * kWarp < t.threads ? t.less(t.warp, t.index(warps)) : Value(), [&] { emitRows(); });
  }

private:
  void emitRows() {
    for (int64_t fm = 0; fm < f.fm; ++fm)
      for (int64_t half = 0; half < 2; ++half) {
        Value row = places.rowOf(fm, half);
        // Vectors are the same in several threads, of which one stores.
        bool isVector = g.kinds.size() == 1, isReduction = !g.reductions.empty();
        Value isInside = touchesMemory ? places.within(row, g.extents[0], f.rows()) : Value();
        if (isReduction) {
          reduceRow(fm, half, row, isInside);
          continue;
        }
        if (isVector && storesToMemory())
          isInside = t.both(isInside, isOwner());
        t.where(isInside, [&] {
          if (isVector)
            return element(fm, half, 0, 0, {row});
          for (int64_t fn = 0; fn < f.fn; ++fn)
            for (int64_t odd = 0; odd < 2; ++odd) {
              Value column = places.columnOf(fn, odd);
              t.where(touchesMemory ? places.within(column, g.extents[1], f.columns()) : Value(),
                      [&] { element(fm, half, fn, odd, {row, column}); });
            }
        });
      }
  }

  bool storesToMemory() {
    return llvm::any_of(g.op.getDpsInits(), [&](Value v) { return !storage.registersOf(v); });
  }
  /// The first of the threads that hold a row.
  Value isOwner() {
    Value first = arith::CmpIOp::create(t.b, t.loc, arith::CmpIPredicate::eq, t.rem(t.lane, 4), t.index(0));
    if (f.warpsN == 1)
      return first;
    return t.both(first, arith::CmpIOp::create(t.b, t.loc, arith::CmpIPredicate::eq, t.rem(t.warp, f.warpsN), t.index(0)));
  }

  /// Which register an operand's element is, by whether it is read as a matrix or as a vector.
  Value registerIndex(OpOperand &operand, int64_t fm, int64_t half, int64_t fn, int64_t odd) {
    bool isVector = g.op.getMatchingIndexingMap(&operand).getNumResults() == 1;
    return t.index(isVector ? 2 * fm + half : f.index(fm, fn, 2 * half + odd));
  }

  Value load(OpOperand &operand, Value at, ArrayRef<Value> position) {
    if (Value registers = storage.registersOf(operand.get()))
      return memref::LoadOp::create(t.b, t.loc, registers, at);
    return memref::LoadOp::create(t.b, t.loc, operand.get(), t.indices(g, operand, position));
  }
  void store(OpOperand &operand, Value v, Value at, ArrayRef<Value> position) {
    if (Value registers = storage.registersOf(operand.get()))
      memref::StoreOp::create(t.b, t.loc, v, registers, at);
    else
      memref::StoreOp::create(t.b, t.loc, v, operand.get(), t.indices(g, operand, position));
  }

  void element(int64_t fm, int64_t half, int64_t fn, int64_t odd, ArrayRef<Value> position) {
    SmallVector<Value> outs;
    for (OpOperand &init : g.op.getDpsInitsMutable()) {
      BlockArgument arg = g.op.getBody()->getArgument(init.getOperandNumber());
      // An unread element is not loaded: it may never have been written.
      outs.push_back(arg.use_empty() ? Value(arith::ConstantOp::create(t.b, t.loc, t.b.getZeroAttr(arg.getType())))
                                     : load(init, registerIndex(init, fm, half, fn, odd), position));
    }
    auto results = t.cloneBody(g, position, outs, [&](OpOperand &input) {
      return load(input, registerIndex(input, fm, half, fn, odd), position);
    });
    for (auto [init, v] : llvm::zip_equal(g.op.getDpsInitsMutable(), results))
      store(init, v, registerIndex(init, fm, half, fn, odd), position);
  }

  Value orFirst(Value isInside, Value position) {
    return isInside ? arith::SelectOp::create(t.b, t.loc, isInside, position, t.index(0)).getResult() : position;
  }

  /// The thread's elements of the row in order, then the three other lanes of the row.
  void reduceRow(int64_t fm, int64_t half, Value row, Value isInside) {
    OpOperand &init = *g.op.getDpsInitOperand(0);
    Operation *combiner = combinerOf(g.op, 0);
    Value neutral = arith::ConstantOp::create(t.b, t.loc, *arith::getNeutralElement(combiner)), sum = neutral;
    for (int64_t fn = 0; fn < f.fn; ++fn)
      for (int64_t odd = 0; odd < 2; ++odd) {
        Value column = places.columnOf(fn, odd);
        Value inside = places.within(column, g.extents[1], f.columns());
        // What is loaded for an element that does not count is one that does.
        Value position[] = {orFirst(isInside, row), orFirst(inside, column)};
        Value next = t.cloneBody(g, position, {sum}, [&](OpOperand &operand) {
          return load(operand, registerIndex(operand, fm, half, fn, odd), position);
        })[0];
        sum = inside ? arith::SelectOp::create(t.b, t.loc, inside, next, sum).getResult() : next;
      }
    for (int64_t distance : {1, 2}) {
      Value other = NVVM::ShflOp::create(t.b, t.loc, sum.getType(), t.i32(-1), sum, t.i32(distance), t.i32(kWarp - 1),
                                         NVVM::ShflKind::bfly, UnitAttr());
      sum = t.combine(combiner, sum, other);
    }
    bool toMemory = !storage.registersOf(init.get());
    t.where(toMemory ? t.both(isInside, isOwner()) : Value(), [&] {
      Value at = t.index(2 * fm + half);
      store(init, t.combine(combiner, load(init, at, {row}), sum), at, {row});
    });
  }

  ThreadCode &t;
  GenericLoops g;
  const Fragments &f;
  BlockStorage &storage;
  Places places;
  bool touchesMemory = false, isAlone;
};

} // namespace

void emitOnFragments(ThreadCode &t, linalg::GenericOp op, const Layouts &layouts, BlockStorage &storage) {
  OnFragments(t, op, layouts.fragmentsOf.find(op)->second, storage, layouts.isAmongConsumers(op)).emit();
}

void emitOnFragments(ThreadCode &t, memref::CopyOp copy, const Layouts &layouts, BlockStorage &storage) {
  unsigned rank = cast<MemRefType>(copy.getTarget().getType()).getRank();
  AffineMap identity = t.b.getMultiDimIdentityMap(rank);
  SmallVector<utils::IteratorType> kinds(rank, utils::IteratorType::parallel);
  auto op = linalg::GenericOp::create(t.b, t.loc, ValueRange{copy.getSource()}, ValueRange{copy.getTarget()},
                                      ArrayRef<AffineMap>{identity, identity}, kinds,
                                      [](OpBuilder &nested, Location l, ValueRange args) {
                                        linalg::YieldOp::create(nested, l, args[0]);
                                      });
  t.b.setInsertionPoint(op);
  OnFragments(t, op, layouts.fragmentsOf.find(copy)->second, storage, layouts.isAmongConsumers(copy)).emit();
  op.erase();
}

} // namespace llmc
