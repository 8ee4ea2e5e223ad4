// See AttentionTiles.h.
#include "passes/chunk/AttentionTiles.h"

using namespace mlir;
namespace llmc {

namespace {

Value i32Of(TileBuilder &t, Value index) { return arith::IndexCastOp::create(t.b, t.loc, t.b.getI32Type(), index); }

/// Scaled scores of block `j`, -inf where a row does not see the position: causal masks.
Value seenCausally(TileBuilder &t, Value raw, const Queries &q, double scale, std::optional<int64_t> window, Value j, bool inPlace = false) {
  int64_t width = TileBuilder::shapeOf(raw)[1];
  Value offset = i32Of(t, t.sub(q.position, t.mul(j, width)));
  return t.mapWithColumn(
      {q.count, width}, {raw, offset}, {{0, 1}, {}},
      [&](TileBuilder &t, ValueRange v, Value row, Value column) {
        Value position = q.ascending ? arith::AddIOp::create(t.b, t.loc, v[1], i32Of(t, row)).getResult() : v[1];
        Value visible = arith::CmpIOp::create(t.b, t.loc, arith::CmpIPredicate::sle, i32Of(t, column), position);
        if (window) {
          Value first = arith::SubIOp::create(t.b, t.loc, position, t.i32(*window));
          Value near = arith::CmpIOp::create(t.b, t.loc, arith::CmpIPredicate::sgt, i32Of(t, column), first);
          visible = arith::AndIOp::create(t.b, t.loc, visible, near);
        }
        Value scaled = scale == 1 ? v[0] : t.mulf(v[0], t.f32(scale));
        return arith::SelectOp::create(t.b, t.loc, visible, scaled, t.f32(-INFINITY)).getResult();
      },
      inPlace ? raw : Value());
}

/// The same, unscaled and in place, where most blocks are seen as a whole by all rows: these are left as they are.
Value seenMostly(TileBuilder &t, Value raw, const Queries &q, std::optional<int64_t> window, Value j) {
  int64_t width = TileBuilder::shapeOf(raw)[1];
  Value first = t.mul(j, width), isCut = t.less(q.position, t.add(first, width - 1));
  if (window) {
    Value last = q.ascending ? t.add(q.position, q.count - 1) : q.position;
    isCut = arith::OrIOp::create(t.b, t.loc, isCut, t.less(first, t.sub(t.add(last, 1), t.index(*window))));
  }
  return t.select(
      isCut, [&](TileBuilder &t) -> SmallVector<Value> { return {seenCausally(t, raw, q, /*scale=*/1, window, j, /*inPlace=*/true)}; },
      [&](TileBuilder &) -> SmallVector<Value> { return {raw}; })[0];
}

/// The same, row r seeing all positions before `ends[r]` (i32).
Value seenTwoWay(TileBuilder &t, Value raw, double scale, Value ends, Value j) {
  auto shape = TileBuilder::shapeOf(raw);
  Value first = i32Of(t, t.mul(j, shape[1]));
  return t.mapWithColumn({shape[0], shape[1]}, {raw, first, ends}, {{0, 1}, {}, {0}},
                         [&](TileBuilder &t, ValueRange v, Value, Value column) -> Value {
                           Value position = arith::AddIOp::create(t.b, t.loc, v[1], i32Of(t, column));
                           Value visible = arith::CmpIOp::create(t.b, t.loc, arith::CmpIPredicate::slt, position, v[2]);
                           return arith::SelectOp::create(t.b, t.loc, visible, t.mulf(v[0], t.f32(scale)), t.f32(-INFINITY));
                         });
}

} // namespace

SmallVector<Value> attendBlock(TileBuilder &t, const Queries &q, double scale, const Mask &mask, Value j, int64_t width,
                               Value keys, Value values, ValueRange carried) {
  int64_t m = q.count, valueWidth = TileBuilder::shapeOf(values)[1];
  const bool isWhole = !ShapedType::isDynamic(TileBuilder::shapeOf(values)[0]);
  Value zero = t.index(0), present = isWhole ? Value() : t.dim(values, 0);
  // Of a tile [m, width], the columns of positions that the cache has.
  auto partOf = [&](Value tile) { return isWhole ? tile : t.load(tile, {zero, zero}, {m, -1}, {m, -1}, {present}); };
  // Of a cut tile begin with -0, which is not the constant of other zeros of this shape: one buffer of both could not be written in place.
  Value nothing = t.full({m, width}, isWhole ? 0.0 : -0.0);
  Value raw = t.contract(q.rows, keys, partOf(nothing), /*aTransposed=*/false, q.keysAreRows);
  if (!isWhole)
    raw = t.store(raw, nothing, {zero, zero}, {m, -1}, {present});
  Value scores = mask.ends          ? seenTwoWay(t, raw, scale, mask.ends, j)
                 : q.hasRoughPowers ? seenMostly(t, raw, q, mask.window, j)
                                    : seenCausally(t, raw, q, scale, mask.window, j);
  Value oldMax = carried[0];
  Value newMax =
      t.reduce(scores, t.map({oldMax}, [](TileBuilder &, ValueRange v) { return v[0]; }), /*maximum=*/true);
  // e^(scale (x - max)): as a power of two, of which scale * max is rounded once, alike for the old one and all scores.
  double unit = scale * M_LOG2E;
  Value fade = t.map({oldMax, newMax}, [&](TileBuilder &t, ValueRange v) {
    if (!q.hasRoughPowers)
      return t.exp(t.subf(v[0], v[1]));
    return t.roughExp2(t.subf(t.mulf(v[0], t.f32(unit)), t.mulf(v[1], t.f32(unit))));
  });
  Value p = t.map({m, width}, {scores, newMax}, {{0, 1}, {0}}, [&](TileBuilder &t, ValueRange v) {
    if (!q.hasRoughPowers)
      return t.exp(t.subf(v[0], v[1]));
    return t.roughExp2(t.fma(v[0], t.f32(unit), t.mulf(v[1], t.f32(-unit))));
  });
  Value sum = t.reduce(p, t.full({m}, 0));
  Value total = t.map({carried[1], fade, sum},
                      [](TileBuilder &t, ValueRange v) { return t.addf(t.mulf(v[0], v[1]), v[2]); });
  Value faded = t.map(
      {m, valueWidth}, {fade}, {{0}}, [](TileBuilder &t, ValueRange v) { return t.mulf(v[1], v[0]); },
      carried[2]);
  return {newMax, total, t.contract(partOf(t.productOperand(p, TileBuilder::elementOf(values))), values, faded)};
}

Value normalised(TileBuilder &t, Value acc, Value sum) {
  auto shape = TileBuilder::shapeOf(acc);
  return t.map({shape[0], shape[1]}, {acc, sum}, {{0, 1}, {0}},
               [](TileBuilder &t, ValueRange v) { return t.divf(v[0], v[1]); });
}

SmallVector<Value> attendBlocks(TileBuilder &t, const Queries &q, int64_t valueWidth, double scale, const Mask &mask,
                                Blocks keys, Blocks values, Value from, Value to, int64_t width) {
  int64_t m = q.count;
  if (mask.window) { // blocks before the first row's window are not visible to any row
    Value first = t.floorDiv(t.max(t.sub(t.add(q.position, 1), t.index(*mask.window)), t.index(0)), width);
    from = t.max(from, first);
  }
  Value lowest = t.full({m}, kMinus), zero = t.full({m}, 0), nothing = t.full({m, valueWidth}, 0);
  return t.loop(from, to, 1, {lowest, zero, nothing}, [&](TileBuilder &t, Value j, ValueRange carried) {
    return attendBlock(t, q, scale, mask, j, width, keys(t, j), values(t, j), carried);
  });
}

Value attend(TileBuilder &t, const Queries &q, int64_t valueWidth, double scale, Mask mask, Blocks keys, Blocks values) {
  int64_t m = q.count;
  Value last = q.ascending ? t.add(q.position, m - 1) : q.position;
  Value blocks = mask.isTwoWay() ? t.ceilDiv(mask.endFor(t, last), kBlock) : t.add(t.floorDiv(last, kBlock), 1);
  if (mask.isTwoWay()) {
    mask.ends = t.empty({m}, t.b.getI32Type());
    for (int64_t i = 0; i < m; ++i)
      mask.ends = t.insert(i32Of(t, mask.endFor(t, q.ascending ? t.add(q.position, i) : q.position)), mask.ends, t.index(i));
  }
  auto result = attendBlocks(t, q, valueWidth, scale, mask, keys, values, t.index(0), blocks);
  return normalised(t, result[2], result[1]);
}

void forRowTiles(TileEmitter &e, TileBuilder &t, int64_t heads, int64_t m, int64_t dv,
                 function_ref<Value(TileBuilder &, const RowTile &)> attended) {
  forAll(e, t, {e.sequences(t), t.index(heads), t.ceilDiv(e.tokens(t), m)},
         [&](TileBuilder &outer, ValueRange at, ValueRange destinations) -> SmallVector<Piece> {
           SequenceValues seq = e.sequence(outer, at[0]);
           Value row = outer.mul(at[2], m), zero = outer.index(0);
           Value valid = outer.min(outer.max(outer.sub(seq.length, row), zero), outer.index(m));
           TileBuilder t = outer.withRows(valid);
           Value first = t.add(seq.first, row), column = t.mul(at[1], dv);
           Value share = t.load(destinations[0], {first, column}, {-1, dv}, {-1, dv});
           auto rows = [&](TileBuilder &t) -> SmallVector<Value> {
             Value o = attended(t, {seq, at[1], first, t.add(seq.past, row), t.add(seq.past, t.add(row, valid))});
             return {t.store(t.load(o, {zero, zero}, {-1, dv}, {-1, dv}), share, {zero, zero}, {-1, dv})};
           };
           Value made = t.select(t.less(zero, valid), rows, [&](TileBuilder &) -> SmallVector<Value> { return {share}; })[0];
           return {{made, 0, {first, column}, {-1, dv}, {valid}}};
         });
}

Value paddedQueries(TileBuilder &t, Value some, int64_t m) {
  int64_t d = TileBuilder::shapeOf(some)[1];
  Value none = t.cast(t.full({m, d}, 0), TileBuilder::elementOf(some)), zero = t.index(0);
  return t.store(some, none, {zero, zero}, {-1, d});
}

std::pair<Value, Value> resultAndWeight(TileBuilder &t, ValueRange sums) {
  // A segment without blocks has a sum of 0: its result is 0 and its weight exp(-1e30).
  constexpr double kTiny = 1e-37;
  Value total = t.map({sums[1]}, [&](TileBuilder &t, ValueRange v) { return t.maxf(v[0], t.f32(kTiny)); });
  Value weight = t.map({sums[0], total}, [](TileBuilder &t, ValueRange v) {
    return t.addf(v[0], math::LogOp::create(t.b, t.loc, v[1]));
  });
  return {normalised(t, sums[2], total), weight};
}

Value joined(TileBuilder &t, Value logs, Value rows) {
  int64_t segments = TileBuilder::shapeOf(rows)[0], n = TileBuilder::shapeOf(rows)[1];
  Value most = t.extract(t.reduce(logs, t.full({1}, kMinus), /*maximum=*/true), t.index(0));
  Value weights = t.map({1, segments}, {logs, most}, {{0, 1}, {}},
                        [](TileBuilder &t, ValueRange v) { return t.exp(t.subf(v[0], v[1])); });
  Value total = t.reduce(weights, t.full({1}, 0));
  return normalised(t, t.contract(weights, rows, t.full({1, n}, 0)), total);
}

} // namespace llmc
