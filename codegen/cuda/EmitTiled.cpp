// Tiled products: mma.sync on fragments, operands staged in shared memory by cp.async. See Layout.h for where everything lies.
//
//   copy tiles of k 0 .. S-2 into slots 0 .. S-2 of the ring
//   for every tile i:
//     wait for tile i; barrier            everybody's part of tile i is there, and nobody reads tile i - 1 any more
//     copy tile i + S - 1 into the slot of tile i - 1
//     for its steps of 16 k: ldmatrix, mma
//   barrier                               the ring is free
//
// Where the block has made both operands, in shared memory or registers, only the steps are left. Where a loop brings them ahead (Layouts),
// with i its iterations:
//
//   copy the operands of the first iteration into slots 0
//   for every i:
//     wait for the operands of i; barrier   they are there, and nobody reads those of i - 1 any more
//     copy those of i + 1 into the other slots
//     the body, in which a product is its steps
#include "codegen/cuda/TensorCore.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
namespace llmc {
namespace {

constexpr int64_t kStages = 4;           ///< of the ring: three tiles under way hide about a microsecond of latency

class TiledProduct {
public:
  TiledProduct(ThreadCode &t, const Product &p, const Fragments &f, BlockStorage &storage)
      : t(t), p(p), f(f), aRegisters(storage.registersOf(p.a)), sums(storage.registersOf(p.out)) {
    wm = t.div(t.warp, f.warpsN);
    wn = f.warpsN == 1 ? t.index(0) : t.rem(t.warp, f.warpsN);
    isDirect = !aRegisters && scratchOf(p.a);
    isDirectB = bool(scratchOf(p.b));
    valid = t.b.createOrFold<memref::DimOp>(t.loc, p.a, 0);
    // A block without rows computes something all the same.
    lastRow = t.b.createOrFold<arith::SubIOp>(t.loc, arith::MaxUIOp::create(t.b, t.loc, valid, t.index(1)), t.index(1));
    if (Value slots = storage.slotsOf(p.op)) {
      kTile = llvm::alignTo(p.k, 16);
      tiles = 1;
      bStage = memref::ViewOp::create(t.b, t.loc, MemRefType::get({2, rowsOfB(kTile), columnsOfB(kTile) + kPadding}, t.b.getBF16Type()), slots,
                                      t.index(0), ValueRange());
      return;
    }
    bool isStaged = !aRegisters && !isDirect;
    auto bytes = [&](int64_t k) {
      return 2 * ((isDirectB ? 0 : rowsOfB(k) * (columnsOfB(k) + kPadding)) + (isStaged ? f.rows() * (k + kPadding) : 0));
    };
    while (kTile < p.k && bytes(2 * kTile) <= (isStaged || !isDirectB ? kMaxTileBytes : 0))
      kTile *= 2;
    tiles = llvm::divideCeil(p.k, kTile);
    stages = std::clamp<int64_t>(tiles + 1, 2, kStages);
    Type narrow = t.b.getBF16Type();
    int64_t bOffset = 0;
    if (isStaged) {
      aStage = storage.pooled({stages, f.rows(), kTile + kPadding}, narrow);
      bOffset = llvm::alignTo(stages * f.rows() * (kTile + kPadding) * 2, 128);
    }
    if (!isDirectB)
      bStage = storage.pooled({stages, rowsOfB(kTile), columnsOfB(kTile) + kPadding}, narrow, bOffset);
  }

  /// The product where its loop has brought b, into slot `slot`.
  void emitFrom(Value slot) { steps(t.index(0), 0, slot); }

  void emit() {
    if (!aStage && !bStage)
      return overTiles([&](Value tile, int64_t known) { steps(tile, known, Value()); });
    for (int64_t i = 0; i + 1 < stages; ++i) {
      if (i < tiles)
        stage(t.index(i), t.index(i));
      commitCopies(t);
    }
    auto step = [&](Value tile, int64_t known) {
      waitForCopies(t, stages - 2);
      t.barrier();
      Value next = t.add(tile, stages - 1);
      if (tiles > stages - 1)
        t.where(t.less(next, t.index(tiles)), [&] { stage(next, t.rem(next, stages)); });
      commitCopies(t);
      steps(tile, known, t.rem(tile, stages));
    };
    overTiles(step);
    t.barrier();
  }

  /// Copies of tile `tile` into slot `slot`, shared out among the threads.
  void stage(Value tile, Value slot) {
    if (aStage)
      stageOperand(p.aWidth, f.rows(), kTile, [&](Value m, Value k0, int64_t width) {
        Value k = t.add(t.mul(tile, kTile), k0);
        Value isInside = f.rows() == getConstantIntValue(valid) ? Value() : t.less(m, valid);
        copy(aStage, {slot, m, k0}, p.a, {m, k}, width, t.both(isInside, insideK(k)));
      });
    if (!bStage)
      return;
    stageOperand(p.bWidth, rowsOfB(kTile), columnsOfB(kTile), [&](Value row, Value column, int64_t width) {
      Value k0 = p.isTransposed ? column : row, n = p.isTransposed ? row : column;
      Value k = t.add(t.mul(tile, kTile), k0);
      Value isInside = within(n, p.nDimension(), p.columns, f.columns());
      SmallVector<Value> at = p.isPanels       ? SmallVector<Value>{t.div(n, 32), k, t.rem(n, 32)}
                              : p.isTransposed ? SmallVector<Value>{n, k}
                                               : SmallVector<Value>{k, n};
      copy(bStage, {slot, row, column}, p.b, at, width, t.both(isInside, insideK(k)));
    });
  }

private:
  /// Calls `body` for every tile; with its number where that is constant, else -1.
  void overTiles(function_ref<void(Value tile, int64_t known)> body) {
    // Registers have constant numbers, so an operand in registers wants a constant k.
    if (aRegisters)
      for (int64_t i = 0; i < tiles; ++i)
        body(t.index(i), i);
    else
      t.loop(t.index(0), t.index(tiles), 1, [&](Value tile) { body(tile, tiles == 1 ? 0 : -1); });
  }

  /// The steps of 16 k of a tile.
  void steps(Value tile, int64_t known, Value slot) {
    for (int64_t k = 0; k < kTile; k += 16) {
      if (known < 0 ? k >= p.k : known * kTile + k >= p.k)
        break;
      // The last tile ends early. What lies there of b is zero, of an a that is not staged it is anything.
      bool mayEnd = known < 0 && p.k % kTile && k >= p.k % kTile;
      t.where(mayEnd ? t.less(t.add(t.mul(tile, kTile), k), t.index(p.k)) : Value(), [&] { multiply(tile, known, slot, k); });
    }
  }

  /// Of the tile of b in its own order.
  int64_t rowsOfB(int64_t k) { return p.isTransposed ? f.columns() : k; }
  int64_t columnsOfB(int64_t k) { return p.isTransposed ? k : f.columns(); }
  Value insideK(Value k) { return within(k, p.kDimension(), p.k, tiles * kTile); }
  /// `position` < the extent of b's dimension `dim`, which is `most` where it is known; null where all of the `end` positions are inside.
  Value within(Value position, int64_t dim, int64_t most, int64_t end) {
    if (p.isPanels) {
      if (dim == p.nDimension() && cast<MemRefType>(p.b.getType()).isDynamicDim(0))
        return t.less(position, t.mul(memref::DimOp::create(t.b, t.loc, p.b, 0), 32));
    } else if (cast<MemRefType>(p.b.getType()).isDynamicDim(dim)) {
      return t.less(position, memref::DimOp::create(t.b, t.loc, p.b, dim));
    }
    return most == end ? Value() : t.less(position, t.index(most));
  }

  /// Calls `body` for this thread's pieces of `width` elements of a [rows, columns] tile.
  void stageOperand(int64_t width, int64_t rows, int64_t columns, function_ref<void(Value, Value, int64_t)> body) {
    int64_t across = columns / width, pieces = rows * across;
    for (int64_t first = 0; first < pieces; first += t.threads) {
      Value piece = t.add(t.toIndex(t.thread), first);
      t.where(first + t.threads > pieces ? t.less(piece, t.index(pieces)) : Value(),
              [&] { body(t.div(piece, across), t.mul(t.rem(piece, across), width), width); });
    }
  }

  void copy(Value stage, ArrayRef<Value> to, Value source, ArrayRef<Value> from, int64_t width, Value isInside) {
    // What lies outside is not read, but its address must be one that could be.
    SmallVector<Value> clamped(from);
    if (isInside)
      for (Value &v : clamped)
        v = arith::SelectOp::create(t.b, t.loc, isInside, v, t.index(0));
    copyAsync(t, t.pointer(stage, to, Space::shared), t.pointer(source, clamped, Space::global), width, isInside);
  }

  /// One step of 16 k at `k` of the tile in `slot`.
  void multiply(Value tile, int64_t known, Value slot, int64_t k) {
    Value lowRow = t.rem(t.lane, 16), right = t.mul(t.div(t.lane, 16), 8);
    SmallVector<OperandB> b;
    for (int64_t fn = 0; fn < f.fn; fn += 2) {
      int64_t count = fn + 1 < f.fn ? 4 : 2;
      Value n = t.add(t.mul(wn, 8 * f.fn), 8 * fn), at = t.add(lowRow, k);
      // Matrix i of 8 x 8 of a b that is [n, k]: columns 8 (i / 2) of b are its rows, k 8 (i % 2).
      if (p.isTransposed) {
        n = t.add(n, t.rem(t.lane, 8));
        at = t.add(t.mul(t.rem(t.div(t.lane, 8), 2), 8), k);
      }
      if (count == 4)
        n = t.add(n, right);
      Value address = isDirectB ? placeInB(t.add(t.mul(tile, kTile), at), n)
                                : t.pointer(bStage, p.isTransposed ? ValueRange{slot, n, at} : ValueRange{slot, at, n}, Space::shared);
      auto words = loadMatrices(t, address, count, !p.isTransposed);
      for (int64_t i = 0; i < count; i += 2)
        b.push_back({words[i], words[i + 1]});
    }
    for (int64_t fm = 0; fm < f.fm; ++fm) {
      OperandA a = operandA(tile, known, slot, k, fm, lowRow, right);
      for (int64_t fn = 0; fn < f.fn; ++fn) {
        SmallVector<Value> c;
        for (int64_t e = 0; e < 4; ++e)
          c.push_back(memref::LoadOp::create(t.b, t.loc, sums, t.index(f.index(fm, fn, e))));
        auto d = multiplyAdd(t, a, b[fn], c);
        for (int64_t e = 0; e < 4; ++e)
          memref::StoreOp::create(t.b, t.loc, d[e], sums, t.index(f.index(fm, fn, e)));
      }
    }
  }

  /// The address of 8 elements of a b in scratch. Columns of no use must be somewhere.
  Value placeInB(Value k, Value n) {
    auto scratch = scratchOf(p.b);
    int64_t end = p.isTransposed ? scratch.getType().getDimSize(0) : scratch.getType().getDimSize(1) - kPadding;
    if (f.columns() > end)
      n = arith::MinUIOp::create(t.b, t.loc, n, t.index(p.isTransposed ? end - 1 : end - 8));
    return t.pointer(scratch, p.isTransposed ? ValueRange{n, k} : ValueRange{k, n}, Space::shared);
  }

  OperandA operandA(Value tile, int64_t known, Value slot, int64_t k, int64_t fm, Value lowRow, Value right) {
    if (aRegisters) {
      int64_t columns = cast<MemRefType>(aRegisters.getType()).getDimSize(0) / (4 * f.fm); // fragments side by side in the scratch
      return fragmentOfA(t, aRegisters, known * kTile + k, columns * fm);
    }
    Value m = t.add(t.add(t.mul(wm, 16 * f.fm), 16 * fm), lowRow);
    Value column = t.add(right, k);
    Value address;
    if (isDirect) {
      if (f.rows() != getConstantIntValue(valid)) // rows of no use, which nobody has written: the last one stands in for them
        m = arith::MinUIOp::create(t.b, t.loc, m, lastRow);
      address = t.pointer(scratchOf(p.a), {m, t.add(t.mul(tile, kTile), column)}, Space::shared);
    } else {
      address = t.pointer(aStage, {slot, m, column}, Space::shared);
    }
    return loadMatrices(t, address, 4, /*isTransposed=*/false);
  }

  ThreadCode &t;
  const Product &p;
  const Fragments &f;
  int64_t kTile = 32, tiles, stages; ///< k of a stage, stages in all, of the ring
  Value aRegisters, sums, aStage, bStage, wm, wn, valid, lastRow;
  bool isDirect = false, isDirectB = false; ///< the operand is in the block's scratch
};

/// The operands that a loop brings ahead.
class LookAhead {
public:
  LookAhead(ThreadCode &t, scf::ForOp loop, const Layouts &layouts, BlockStorage &storage)
      : t(t), loop(loop), layouts(layouts), storage(storage) {}

  /// The copies before the loop and at the start of its body.
  void emit() {
    for (Operation *op : productsOf()) {
      const Product &p = layouts.products.find(op)->second;
      storage.slotsOf(op) = t.allocateShared(2 * 2 * elementsOfB(p, layouts.fragmentsOf.find(op)->second, llvm::alignTo(p.k, 16)));
    }
    OpBuilder::InsertionGuard guard(t.b);
    t.b.setInsertionPoint(loop);
    if (loop->getParentOfType<scf::ForOp>()) // it may have run before
      t.barrier();
    t.where(t.less(loop.getLowerBound(), loop.getUpperBound()), [&] { copyFor(loop.getLowerBound(), t.index(0)); });
    commitCopies(t);
    t.b.setInsertionPointToStart(loop.getBody());
    waitForCopies(t, 0);
    t.barrier();
    Value next = arith::AddIOp::create(t.b, t.loc, loop.getInductionVar(), loop.getStep());
    t.where(t.less(next, loop.getUpperBound()), [&] { copyFor(next, slotOf(next)); });
    commitCopies(t);
  }

  /// The slots of iteration `i`.
  Value slotOf(Value i) {
    Value past = arith::SubIOp::create(t.b, t.loc, i, loop.getLowerBound());
    return t.rem(arith::DivUIOp::create(t.b, t.loc, past, loop.getStep()), 2);
  }

private:
  ArrayRef<Operation *> productsOf() { return layouts.ahead.find(loop)->second; }

  void copyFor(Value i, Value slot) {
    for (Operation *op : productsOf()) {
      Product p = layouts.products.find(op)->second;
      IRMapping mapping;
      mapping.map(loop.getInductionVar(), i);
      p.b = t.forIteration(p.b, loop, mapping);
      TiledProduct(t, p, layouts.fragmentsOf.find(op)->second, storage).stage(t.index(0), slot);
    }
  }

  ThreadCode &t;
  scf::ForOp loop;
  const Layouts &layouts;
  BlockStorage &storage;
};

} // namespace

void emitTiledProduct(ThreadCode &t, const Product &product, const Layouts &layouts, BlockStorage &storage) {
  const Fragments &f = layouts.fragmentsOf.find(product.op)->second;
  auto loop = dyn_cast_or_null<scf::ForOp>(layouts.loopOf(product.op));
  if (!loop)
    return TiledProduct(t, product, f, storage).emit();
  LookAhead ahead(t, loop, layouts, storage);
  if (!storage.slotsOf(product.op))
    ahead.emit();
  Value slot = ahead.slotOf(loop.getInductionVar());
  TiledProduct(t, product, f, storage).emitFrom(slot);
}

} // namespace llmc
