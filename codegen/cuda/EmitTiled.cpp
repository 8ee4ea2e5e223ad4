// Tiled products: mma.sync on fragments, operands staged in shared memory by cp.async. See Layout.h for where everything lies.
//
//   copy tiles of k 0 .. S-2 into slots 0 .. S-2 of the ring
//   for every tile i:
//     wait for tile i; barrier            everybody's part of tile i is there, and nobody reads tile i - 1 any more
//     copy tile i + S - 1 into the slot of tile i - 1
//     for its steps of 16 k: ldmatrix, mma
//   barrier                               the ring is free
#include "codegen/cuda/TensorCore.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
namespace llmc {
namespace {

constexpr int64_t kTileBytes = 24 << 10; ///< of a stage: 32 k of 128 x 128, more k of smaller tiles
constexpr int64_t kStages = 4;           ///< of the ring: three tiles under way hide about a microsecond of latency
constexpr int64_t kPadding = 8; ///< elements; see Layout.h

class TiledProduct {
public:
  TiledProduct(ThreadCode &t, const Product &p, const Fragments &f, BlockStorage &storage)
      : t(t), p(p), f(f), aRegisters(storage.registersOf(p.a)), sums(storage.registersOf(p.out)) {
    isDirect = !aRegisters && scratchOf(p.a);
    bool isStaged = !aRegisters && !isDirect;
    auto bytes = [&](int64_t k) {
      return 2 * (rowsOfB(k) * (columnsOfB(k) + kPadding) + (isStaged ? f.rows() * (k + kPadding) : 0));
    };
    while (kTile < p.k && bytes(2 * kTile) <= kTileBytes)
      kTile *= 2;
    tiles = llvm::divideCeil(p.k, kTile);
    stages = std::clamp<int64_t>(tiles + 1, 2, kStages);
    Type narrow = t.b.getBF16Type();
    int64_t bOffset = 0;
    if (isStaged) {
      aStage = storage.pooled({stages, f.rows(), kTile + kPadding}, narrow);
      bOffset = llvm::alignTo(stages * f.rows() * (kTile + kPadding) * 2, 128);
    }
    bStage = storage.pooled({stages, rowsOfB(kTile), columnsOfB(kTile) + kPadding}, narrow, bOffset);
    wm = t.div(t.warp, f.warpsN);
    wn = f.warpsN == 1 ? t.index(0) : t.rem(t.warp, f.warpsN);
    valid = t.b.createOrFold<memref::DimOp>(t.loc, p.a, 0);
    // A block without rows computes something all the same.
    lastRow = t.b.createOrFold<arith::SubIOp>(t.loc, arith::MaxUIOp::create(t.b, t.loc, valid, t.index(1)), t.index(1));
  }

  void emit() {
    if (isDirect && p.k % 16) // the k that round a step up: zeros on both sides; visible from the first barrier on
      t.overThreads({t.b.getIndexAttr(p.rows), t.b.getIndexAttr(llvm::alignTo(p.k, 16) - p.k)}, [&](ArrayRef<Value> at) {
        Value zero = arith::ConstantOp::create(t.b, t.loc, t.b.getZeroAttr(t.b.getBF16Type()));
        memref::StoreOp::create(t.b, t.loc, zero, scratchOf(p.a), ValueRange{at[0], t.add(at[1], p.k)});
      });
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
      Value slot = t.rem(tile, stages);
      for (int64_t k = 0; k < kTile; k += 16) {
        if (known < 0 ? k >= p.k : known * kTile + k >= p.k)
          break;
        // The last tile ends early. What lies there of b is zero, of an a that is not staged it is anything.
        bool mayEnd = known < 0 && p.k % kTile && k >= p.k % kTile;
        t.where(mayEnd ? t.less(t.add(t.mul(tile, kTile), k), t.index(p.k)) : Value(), [&] { multiply(tile, known, slot, k); });
      }
    };
    // Registers have constant numbers, so an operand in registers wants a constant k.
    if (aRegisters)
      for (int64_t i = 0; i < tiles; ++i)
        step(t.index(i), i);
    else
      t.loop(t.index(0), t.index(tiles), 1, [&](Value tile) { step(tile, tiles == 1 ? 0 : -1); });
    t.barrier();
  }

private:
  /// Copies of tile `tile` into slot `slot`, shared out among the threads.
  void stage(Value tile, Value slot) {
    if (aStage)
      stageOperand(p.aWidth, f.rows(), kTile, [&](Value m, Value k0, int64_t width) {
        Value k = t.add(t.mul(tile, kTile), k0);
        Value isInside = f.rows() == getConstantIntValue(valid) ? Value() : t.less(m, valid);
        copy(aStage, {slot, m, k0}, p.a, {m, k}, width, t.both(isInside, insideK(k)));
      });
    stageOperand(p.bWidth, rowsOfB(kTile), columnsOfB(kTile), [&](Value row, Value column, int64_t width) {
      Value k0 = p.isTransposed ? column : row, n = p.isTransposed ? row : column;
      Value k = t.add(t.mul(tile, kTile), k0);
      Value isInside = f.columns() == p.columns ? Value() : t.less(n, t.index(p.columns));
      SmallVector<Value> at = p.isPanels       ? SmallVector<Value>{t.div(n, 32), k, t.rem(n, 32)}
                              : p.isTransposed ? SmallVector<Value>{n, k}
                                               : SmallVector<Value>{k, n};
      copy(bStage, {slot, row, column}, p.b, at, width, t.both(isInside, insideK(k)));
    });
  }
  /// Of the tile of b in its own order.
  int64_t rowsOfB(int64_t k) { return p.isTransposed ? f.columns() : k; }
  int64_t columnsOfB(int64_t k) { return p.isTransposed ? k : f.columns(); }
  Value insideK(Value k) { return p.k % kTile ? t.less(k, t.index(p.k)) : Value(); }

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
      Value n = t.add(t.mul(wn, 8 * f.fn), 8 * fn), address;
      if (p.isTransposed) {
        // Matrix i of 8 x 8: columns 8 (i / 2) of b are its rows, k 8 (i % 2).
        n = t.add(n, t.rem(t.lane, 8));
        if (count == 4)
          n = t.add(n, right);
        address = t.pointer(bStage, {slot, n, t.add(t.mul(t.rem(t.div(t.lane, 8), 2), 8), k)}, Space::shared);
      } else {
        if (count == 4)
          n = t.add(n, right);
        address = t.pointer(bStage, {slot, t.add(lowRow, k), n}, Space::shared);
      }
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

  OperandA operandA(Value tile, int64_t known, Value slot, int64_t k, int64_t fm, Value lowRow, Value right) {
    if (aRegisters) {
      // Fragments 2 i and 2 i + 1 of 8 columns are 16 k: rows g and g + 8 of the first, then of the second.
      int64_t fn = (known * kTile + k) / 8, columns = scratchFragments();
      OperandA a;
      for (int64_t i = 0; i < 4; ++i) {
        auto element = [&](int64_t odd) -> Value {
          int64_t at = 4 * (columns * fm + fn + i / 2) + 2 * (i % 2) + odd;
          return memref::LoadOp::create(t.b, t.loc, aRegisters, t.index(at));
        };
        a.push_back(pack(t, element(0), element(1)));
      }
      return a;
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

  /// Fragments side by side in the scratch that the a operand is.
  int64_t scratchFragments() {
    return cast<MemRefType>(aRegisters.getType()).getDimSize(0) / (4 * f.fm);
  }

  ThreadCode &t;
  const Product &p;
  const Fragments &f;
  int64_t kTile = 32, tiles, stages; ///< k of a stage, stages in all, of the ring
  Value aRegisters, sums, aStage, bStage, wm, wn, valid, lastRow;
  bool isDirect = false;
};

} // namespace

void emitTiledProduct(ThreadCode &t, const Product &product, const Layouts &layouts, BlockStorage &storage) {
  TiledProduct(t, product, layouts.fragmentsOf.find(product.op)->second, storage).emit();
}

} // namespace llmc
