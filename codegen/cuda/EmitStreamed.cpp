// Streamed products: few rows, every weight read once, straight into registers. See Layout.h for where everything lies.
//
//   warp w, for its groups of kUnroll steps of 16 k:   load 4 x 16 bytes of weights a step, all steps of the group first
//                                                      4 mma a step for 64 columns and 8 rows
//   partial sums to shared memory; barrier;            out += the warps' sums in order; barrier
#include "codegen/cuda/TensorCore.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
namespace llmc {
namespace {

constexpr int64_t kUnroll = 4; ///< steps of a group: 8 KiB of loads under way in a warp
constexpr int64_t kStep = 16;

class StreamedProduct {
public:
  StreamedProduct(ThreadCode &t, const Product &p, BlockStorage &storage)
      : t(t), p(p), panels(p.columns / 32), rowTiles(llvm::divideCeil(p.rows, 8)), warps(t.threads / kWarp),
        steps(llvm::divideCeil(p.k, kStep)) {
    // One panel: half of the columns of an mma would be empty; lanes then read 8 bytes, 4 columns each.
    perLane = panels % 2 == 0 ? 8 : 4;
    across = 8 * perLane; // columns of a warp
    pairs = perLane / 2;  // mma of a step
    tilesN = p.columns / across;
    partial = storage.pooled({warps, rowTiles * 8, p.columns}, t.b.getF32Type());
    g = t.div(t.lane, 4);
    quad = t.rem(t.lane, 4);
    valid = memref::DimOp::create(t.b, t.loc, p.a, 0);
    sums = t.allocateRegisters(4 * pairs * rowTiles, t.b.getF32Type());
  }

  void emit() {
    // Tiles of columns one after the other; k is split over all warps.
    for (int64_t tile = 0; tile < tilesN; ++tile)
      sumTile(tile * across);
    t.barrier();
    SmallVector<OpFoldResult> extents{valid, t.b.getIndexAttr(p.columns)};
    if (auto known = getConstantIntValue(valid))
      extents[0] = t.b.getIndexAttr(*known);
    t.overThreads(extents, [&](ArrayRef<Value> at) {
      Value sum = memref::LoadOp::create(t.b, t.loc, p.out, at);
      for (int64_t w = 0; w < warps; ++w)
        sum = arith::AddFOp::create(t.b, t.loc, sum,
                                    memref::LoadOp::create(t.b, t.loc, partial, ValueRange{t.index(w), at[0], at[1]}));
      memref::StoreOp::create(t.b, t.loc, sum, p.out, at);
    });
    t.barrier();
  }

private:
  void sumTile(int64_t column) {
    Value zero = arith::ConstantOp::create(t.b, t.loc, t.b.getF32FloatAttr(0));
    int64_t count = cast<MemRefType>(sums.getType()).getDimSize(0);
    for (int64_t i = 0; i < count; ++i)
      memref::StoreOp::create(t.b, t.loc, zero, sums, t.index(i));
    // Whole groups of steps in turn, then the steps left over, one a warp.
    int64_t whole = p.k / (kStep * kUnroll);
    if (whole)
      t.loop(t.warp, t.index(whole), warps, [&](Value group) { takeSteps(t.mul(group, kUnroll), kUnroll, column, false); });
    for (int64_t step = whole * kUnroll; step < steps; ++step) {
      Value isMine = arith::CmpIOp::create(t.b, t.loc, arith::CmpIPredicate::eq, t.warp, t.index(step % warps));
      t.where(isMine, [&] { takeSteps(t.index(step), 1, column, (step + 1) * kStep > p.k); });
    }
    // d0, d1: column 2 j of the lane's, rows 2 t and 2 t + 1; d2, d3: column 2 j + 1.
    Value first = t.add(t.mul(g, perLane), column);
    for (int64_t r = 0; r < rowTiles; ++r)
      for (int64_t j = 0; j < pairs; ++j)
        for (int64_t e = 0; e < 4; ++e) {
          Value sum = memref::LoadOp::create(t.b, t.loc, sums, t.index(4 * (pairs * r + j) + e));
          memref::StoreOp::create(t.b, t.loc, sum, partial,
                                  ValueRange{t.warp, t.add(t.mul(quad, 2), 8 * r + e % 2), t.add(first, 2 * j + e / 2)});
        }
  }

  /// `count` steps from `step` on. `isLast`: some of the k are beyond K.
  void takeSteps(Value step, int64_t count, int64_t column, bool isLast) {
    SmallVector<SmallVector<Value>> weights, rows;
    for (int64_t s = 0; s < count; ++s) {
      Value k = t.add(t.mul(t.add(step, s), kStep), t.mul(quad, 4));
      Value isInside = isLast ? t.less(k, t.index(p.k)) : Value();
      weights.push_back(loadWeights(k, column, isInside));
      rows.push_back(loadRows(k, isInside));
    }
    for (int64_t s = 0; s < count; ++s)
      for (int64_t j = 0; j < pairs; ++j) {
        // Word j of the loads of four k: columns 2 j (low halves) and 2 j + 1 (high halves).
        auto word = [&](int64_t i) { return weights[s][i * pairs + j]; };
        OperandA a{lows(word(0), word(1)), highs(word(0), word(1)), lows(word(2), word(3)), highs(word(2), word(3))};
        for (int64_t r = 0; r < rowTiles; ++r) {
          SmallVector<Value> c;
          auto at = [&](int64_t e) { return t.index(4 * (pairs * r + j) + e); };
          for (int64_t e = 0; e < 4; ++e)
            c.push_back(memref::LoadOp::create(t.b, t.loc, sums, at(e)));
          auto d = multiplyAdd(t, a, {rows[s][2 * r], rows[s][2 * r + 1]}, c);
          for (int64_t e = 0; e < 4; ++e)
            memref::StoreOp::create(t.b, t.loc, d[e], sums, at(e));
        }
      }
  }

  /// The words at `pointer`; zeros where it is not to be read.
  SmallVector<Value> loadWords(Value pointer, int64_t count, Value isInside) {
    auto type = VectorType::get({count}, t.b.getI32Type());
    Value all;
    auto load = [&] { return LLVM::LoadOp::create(t.b, t.loc, type, pointer, /*alignment=*/count * 4).getResult(); };
    if (isInside) {
      Value zero = arith::ConstantOp::create(t.b, t.loc, DenseElementsAttr::get(type, t.b.getI32IntegerAttr(0).getValue()));
      auto branch = scf::IfOp::create(t.b, t.loc, TypeRange{type}, isInside, /*withElseRegion=*/true);
      OpBuilder::InsertionGuard guard(t.b);
      t.b.setInsertionPointToStart(&branch.getThenRegion().front());
      scf::YieldOp::create(t.b, t.loc, load());
      t.b.setInsertionPointToStart(&branch.getElseRegion().front());
      scf::YieldOp::create(t.b, t.loc, zero);
      all = branch.getResult(0);
    } else {
      all = load();
    }
    SmallVector<Value> words;
    for (int64_t i = 0; i < count; ++i)
      words.push_back(LLVM::ExtractElementOp::create(t.b, t.loc, all, t.i32(i)));
    return words;
  }

  /// Four loads of `perLane` columns at k .. k + 3.
  SmallVector<Value> loadWeights(Value k, int64_t column, Value isInside) {
    SmallVector<Value> words;
    for (int64_t i = 0; i < 4; ++i) {
      Value n = t.add(t.mul(g, perLane), column), ki = t.add(k, i);
      SmallVector<Value> at = p.isPanels ? SmallVector<Value>{t.div(n, 32), ki, t.rem(n, 32)} : SmallVector<Value>{ki, n};
      llvm::append_range(words, loadWords(t.pointer(p.b, at, Space::generic), perLane / 2, isInside));
    }
    return words;
  }

  /// Elements k .. k + 3 of row g of every tile of 8 rows. Rows that are not there are another one: nobody reads their sums.
  SmallVector<Value> loadRows(Value k, Value isInside) {
    SmallVector<Value> words;
    for (int64_t r = 0; r < rowTiles; ++r) {
      Value m = t.add(g, 8 * r);
      if (getConstantIntValue(valid).value_or(0) < 8 * rowTiles)
        m = arith::SelectOp::create(t.b, t.loc, t.less(m, valid), m, t.index(0));
      llvm::append_range(words, loadWords(t.pointer(p.a, {m, k}, Space::generic), 2, isInside));
    }
    return words;
  }

  Value word32(int64_t v) { return t.i32(v); }
  Value lows(Value x, Value y) {
    Value low = arith::AndIOp::create(t.b, t.loc, x, word32(0xffff));
    return arith::OrIOp::create(t.b, t.loc, low, arith::ShLIOp::create(t.b, t.loc, y, word32(16)));
  }
  Value highs(Value x, Value y) {
    Value high = arith::AndIOp::create(t.b, t.loc, y, word32(int32_t(0xffff0000)));
    return arith::OrIOp::create(t.b, t.loc, high, arith::ShRUIOp::create(t.b, t.loc, x, word32(16)));
  }

  ThreadCode &t;
  const Product &p;
  int64_t panels, rowTiles, warps, steps, perLane, across, pairs, tilesN;
  Value partial, g, quad, valid, sums;
};

} // namespace

void emitStreamedProduct(ThreadCode &t, const Product &product, BlockStorage &storage) {
  StreamedProduct(t, product, storage).emit();
}

} // namespace llmc
