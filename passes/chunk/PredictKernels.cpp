// Kernels of llm.predict, over logits that are made and forgotten part by part (ColumnParts.h).
//
//   of a part, numbers of a row:    of all parts, the row's:
//     m = max l                       M = max m
//     sum e^((l - m) / T)             sum over the parts of theirs times e^((m - M) / T)
//     second largest l                the largest of theirs and of every m but the first M
//     largest key, its column and     the largest key of the lowest column, and that logit
//     logit
//
// over the distribution that confidence is about, T being 1 unless the distribution is tempered. A key is the logit, or the logit and its random
// number where the row draws from all ids; a logit that is no number counts as +infinity, which tells the second kernel.
//
// Two things need the logits again once the sums are known, and only rows that ask for them have theirs stored: a draw among those that top_k
// and top_p keep, and the entropy, whose ln(p + 1e-10) is no sum over parts.
#include "passes/chunk/ColumnParts.h"
#include "passes/chunk/Integers.h"
#include "passes/chunk/LogitRow.h"

using namespace mlir;
namespace llmc {
namespace {

using Float = arith::CmpFPredicate;
enum { kTop, kSum, kSecond, kKey, kMinusColumn, kLogit, kStatistics };

Value real(TileBuilder &t, Value yes) { return choose(t, yes, t.f32(1), t.f32(0)); }
Value isTrue(TileBuilder &t, Value real) { return compare(t, Float::OGT, real, t.f32(0)); }
Value rounded(TileBuilder &t, Value f64) { return arith::TruncFOp::create(t.b, t.loc, t.b.getF32Type(), f64); }

/// A random number's bits as (word + 0.5) 2^-32, f32.
Value unitOf(TileBuilder &t, Value word) {
  Value f = arith::SIToFPOp::create(t.b, t.loc, t.b.getF32Type(), word);
  return t.mulf(t.addf(f, t.f32(0.5)), t.f32(0x1p-32));
}

/// logit - temperature ln(-ln(1 - x)) with the random number x of column `column` (i64).
Value keyOf(TileBuilder &t, Value logit, Value temperature, Value seed, Value position, Value step, Value column) {
  Value minus = arith::NegFOp::create(t.b, t.loc, unitOf(t, philox(t, seed, position, step, column)));
  Value wait = arith::NegFOp::create(t.b, t.loc, math::Log1pOp::create(t.b, t.loc, minus));
  return t.subf(logit, t.mulf(temperature, math::LogOp::create(t.b, t.loc, wait)));
}

/// What a row asks for.
struct Asked {
  Value temperature, topP, topK, seed, remask, position, step;
  Value isHot, isLimited; ///< draws at a temperature; among kept ids only
  bool tempered;

  static Asked of(TileEmitter &e, TileBuilder &t, llm::PredictOp op, Value row) {
    I32 i{t};
    auto at = [&](Value table, Value row, int64_t column) { return t.extract(table, {row, t.index(column)}); };
    Value s = t.toIndex(at(e.where, row, 0)), sampling = e.argument(op.getSampling()), draws = e.argument(op.getDraws());
    Asked a;
    a.temperature = at(sampling, s, 0);
    a.topP = at(sampling, s, 1);
    a.seed = at(draws, s, 0);
    a.topK = at(draws, s, 1);
    a.remask = at(e.argument(op.getSettings()), s, 2);
    a.position = i.long64(at(e.where, row, 1));
    a.step = i.long64(i.add(at(e.argument(op.getProgress()), s, 0), t.i32(1)));
    a.isHot = isTrue(t, a.temperature); // not if it is NaN
    Value none = arith::ConstantOp::create(t.b, t.loc, t.b.getI64IntegerAttr(0));
    Value hasBound = i.either(i.is(arith::CmpIPredicate::sgt, a.topK, none), compare(t, Float::OLT, a.topP, t.f32(1)));
    a.isLimited = i.both(a.isHot, hasBound);
    a.tempered = op.getTempered();
    return a;
  }
  Value is(TileBuilder &t, double kind) const { return compare(t, Float::OEQ, remask, t.f32(kind)); }
  Value isRandom(TileBuilder &t) const { return I32{t}.either(is(t, 1), is(t, 4)); }
  Value isEntropy(TileBuilder &t) const { return is(t, 2); }
  Value isMargin(TileBuilder &t) const { return is(t, 3); }
  Value needsLogits(TileBuilder &t) const { return I32{t}.either(isLimited, isEntropy(t)); }
  Value drawsFromAll(TileBuilder &t) const { return I32{t}.both(isHot, I32{t}.no(isLimited)); }
  /// Whether confidence is about what may be drawn, at its temperature, and not about all ids.
  Value judgesDrawn(TileBuilder &t) const { return tempered ? isHot : I32{t}.yes(false); }
  Value inverse(TileBuilder &t) const { return choose(t, judgesDrawn(t), t.divf(t.f32(1), temperature), t.f32(1)); }
};

/// `logits` but -infinity at the mask's column, in all rows or where `rows` is above 0. A mask's logit of +infinity stays: the row has no token then.
Value withoutMask(TileBuilder &t, const PartTile &tile, Value logits, int64_t mask, Value rows = {}) {
  Value here = arith::SubIOp::create(t.b, t.loc, t.i32(mask), I32{t}.of(tile.column));
  SmallVector<Value> inputs{logits, here};
  SmallVector<SmallVector<int64_t>> dims{{0, 1}, {}};
  if (rows) {
    inputs.push_back(rows);
    dims.push_back({0});
  }
  return t.mapWithColumn({tile.rows, tile.columns()}, inputs, dims, [&](TileBuilder &t, ValueRange v, Value, Value column) -> Value {
    I32 i{t};
    Value leaves = i.both(i.is(arith::CmpIPredicate::eq, i.of(column), v[1]), compare(t, Float::OLT, v[0], t.f32(INFINITY)));
    if (rows)
      leaves = i.both(leaves, isTrue(t, v[2]));
    return choose(t, leaves, t.f32(-INFINITY), v[0]);
  });
}

/// `values` at the column that `minus` names (see minusColumn), -infinity elsewhere; or the other way round.
Value atColumn(TileBuilder &t, const PartTile &tile, Value values, Value minus, bool isThere) {
  auto real = [](TileBuilder &t, Value index) -> Value {
    return arith::SIToFPOp::create(t.b, t.loc, t.b.getF32Type(), I32{t}.of(index));
  };
  return t.mapWithColumn({tile.rows, tile.columns()}, {values, minus, real(t, tile.column)}, {{0, 1}, {0}, {}},
                         [&](TileBuilder &t, ValueRange v, Value, Value column) -> Value {
                           Value isIt = compare(t, Float::OEQ, t.addf(t.addf(v[2], real(t, column)), v[1]), t.f32(0));
                           Value nothing = t.f32(-INFINITY);
                           return choose(t, isIt, isThere ? v[0] : nothing, isThere ? nothing : v[0]);
                         });
}

Value nothing(TileBuilder &t, const PartTile &tile) { return t.full({tile.rows}, -INFINITY); }
Value largest(TileBuilder &t, const PartTile &tile, Value values) { return t.reduce(values, nothing(t, tile), /*maximum=*/true); }

/// Keys of the rows that draw from all ids, the logits of others.
Value keysOf(TileEmitter &e, TileBuilder &t, llm::PredictOp op, const PartTile &tile, Value possible) {
  Type f32 = t.b.getF32Type(), i64 = t.b.getI64Type();
  auto rows = perRow(t, tile, {f32, f32, i64, i64, i64}, [&](TileBuilder &t, Value row) -> SmallVector<Value> {
    Asked a = Asked::of(e, t, op, row);
    return {real(t, a.drawsFromAll(t)), a.temperature, a.seed, a.position, a.step};
  });
  SmallVector<Value> inputs{possible};
  inputs.append(rows);
  inputs.push_back(I32{t}.long64(I32{t}.of(tile.column)));
  return t.mapWithColumn({tile.rows, tile.columns()}, inputs, {{0, 1}, {0}, {0}, {0}, {0}, {0}, {}},
                         [](TileBuilder &t, ValueRange v, Value, Value column) -> Value {
                           Value index = arith::IndexCastOp::create(t.b, t.loc, t.b.getI64Type(), column);
                           Value key = keyOf(t, v[0], v[2], v[3], v[4], v[5], arith::AddIOp::create(t.b, t.loc, v[6], index));
                           return choose(t, isTrue(t, v[1]), key, v[0]);
                         });
}

/// (largest key, minus its column, its logit)
SmallVector<Value> bestOf(TileBuilder &t, const PartTile &tile, Value keys, Value possible) {
  Value key = largest(t, tile, keys), minus = minusColumn(t, tile, keys, key, t.full({tile.rows}, kNoColumn));
  if (keys == possible)
    return {key, minus, t.map({key}, [](TileBuilder &, ValueRange v) { return v[0]; })};
  return {key, minus, largest(t, tile, atColumn(t, tile, possible, minus, /*isThere=*/true))};
}

/// e^((logit - top) inverse) of a part; `inverse` [rows], null: 1.
Value weightsOf(TileBuilder &t, const PartTile &tile, Value logits, Value top, Value inverse) {
  constexpr double kLowest = -0x1.fffffep+127; // not -infinity, whose differences are NaN
  SmallVector<Value> inputs{logits, t.map({top}, [&](TileBuilder &t, ValueRange v) { return t.maxf(v[0], t.f32(kLowest)); })};
  SmallVector<SmallVector<int64_t>> dims{{0, 1}, {0}};
  if (inverse) {
    inputs.push_back(inverse);
    dims.push_back({0});
  }
  return t.map({tile.rows, tile.columns()}, inputs, dims, [](TileBuilder &t, ValueRange v) {
    Value x = t.subf(v[0], v[1]);
    return t.exp(v.size() == 3 ? t.mulf(x, v[2]) : x);
  });
}

/// The statistics of a part, in the order of the enumeration above.
SmallVector<Value> statisticsOf(TileEmitter &e, TileBuilder &t, llm::PredictOp op, const PartTile &tile) {
  Type f32 = t.b.getF32Type();
  Value known = t.map({tile.rows, tile.columns()}, {tile.values}, {}, [](TileBuilder &t, ValueRange v) {
    return choose(t, compare(t, Float::ORD, v[0], v[0]), v[0], t.f32(INFINITY));
  });
  Value possible = withoutMask(t, tile, known, op.getMask()), judged = known, inverse;
  if (op.getTempered()) {
    auto asked = perRow(t, tile, {f32, f32}, [&](TileBuilder &t, Value row) -> SmallVector<Value> {
      Asked a = Asked::of(e, t, op, row);
      return {real(t, a.judgesDrawn(t)), a.inverse(t)};
    });
    judged = withoutMask(t, tile, known, op.getMask(), asked[0]);
    inverse = asked[1];
  }
  Value top = largest(t, tile, judged);
  Value sum = t.reduce(weightsOf(t, tile, judged, top, inverse), t.full({tile.rows}, 0));

  // What few rows ask for is left out of tiles without such rows.
  auto any = [&](Value (Asked::*is)(TileBuilder &) const) {
    return anyRow(t, tile, [&](TileBuilder &t, Value row) { return (Asked::of(e, t, op, row).*is)(t); });
  };
  Value second = t.select(
      any(&Asked::isMargin),
      [&](TileBuilder &t) -> SmallVector<Value> {
        Value minus = minusColumn(t, tile, judged, top, t.full({tile.rows}, kNoColumn));
        return {largest(t, tile, atColumn(t, tile, judged, minus, /*isThere=*/false))};
      },
      [&](TileBuilder &t) -> SmallVector<Value> { return {nothing(t, tile)}; })[0];
  auto best = t.select(
      any(&Asked::drawsFromAll), [&](TileBuilder &t) { return bestOf(t, tile, keysOf(e, t, op, tile, possible), possible); },
      [&](TileBuilder &t) { return bestOf(t, tile, possible, possible); });
  return {top, sum, second, best[0], best[1], best[2]};
}

/// sum p ln(p + 1e-10) over the kept weights / total.
Value negativeEntropy(TileBuilder &t, const LogitRow &row, ArrayRef<Value> scalars, Value total) {
  SmallVector<Value> all(scalars);
  all.push_back(rounded(t, total));
  Value sum = mass(t, row, all, [](TileBuilder &t, ValueRange v) -> Value {
    Value p = t.divf(keptWeight(t, v.drop_back()), v.back());
    return t.mulf(p, math::LogOp::create(t.b, t.loc, t.addf(p, t.f32(1e-10))));
  });
  return rounded(t, sum);
}

/// The parts' numbers of a row.
struct Joined {
  Value top, second, key, token, logit; ///< f32, but for the token, an index
  Value sum;                            ///< f64
  Value healthy;

  static Joined of(TileBuilder &t, const Asked &asked, Value parts, Value row) {
    auto each = [&](int64_t statistic) { return partsOfRow(t, parts, row, statistic); };
    auto map = [&](ValueRange inputs, TileBuilder::Body body) {
      SmallVector<SmallVector<int64_t>> dims;
      for (Value v : inputs)
        dims.push_back(isa<RankedTensorType>(v.getType()) ? SmallVector<int64_t>{0, 1} : SmallVector<int64_t>{});
      return t.map(TileBuilder::shapeOf(inputs[0]), inputs, dims, body);
    };
    Joined j;
    Value tops = each(kTop), minus = each(kMinusColumn), keys = each(kKey);
    j.top = largestOf(t, tops);
    Value sums = map({each(kSum), tops, j.top, asked.inverse(t)}, [](TileBuilder &t, ValueRange v) {
      return t.mulf(v[0], t.exp(t.mulf(t.subf(v[1], v[2]), v[3])));
    });
    j.sum = F64{t}.of(sumOf(t, sums));
    // The second largest is one of the parts' second ones, or another part's largest, which may equal the largest of all.
    Value below = largestOf(t, map({tops, j.top}, [](TileBuilder &t, ValueRange v) {
                              return choose(t, compare(t, Float::OLT, v[0], v[1]), v[0], t.f32(-INFINITY));
                            }));
    Value equal = sumOf(t, map({tops, j.top}, [](TileBuilder &t, ValueRange v) { return real(t, compare(t, Float::OEQ, v[0], v[1])); }));
    j.second = choose(t, compare(t, Float::OGE, equal, t.f32(2)), j.top, t.maxf(below, largestOf(t, each(kSecond))));
    j.key = largestOf(t, keys);
    Value lowest = largestWhere(t, minus, keys, j.key);
    j.logit = largestWhere(t, each(kLogit), minus, lowest);
    j.healthy = I32{t}.both(compare(t, Float::OLT, j.top, t.f32(INFINITY)), compare(t, Float::OGT, j.key, t.f32(-INFINITY)));
    Value column = choose(t, j.healthy, arith::NegFOp::create(t.b, t.loc, lowest), t.f32(0));
    j.token = t.toIndex(arith::FPToSIOp::create(t.b, t.loc, t.b.getI32Type(), column));
    return j;
  }
};

/// The column of the largest key among those that are at least `bound`.
Value drawnAmong(TileBuilder &t, const LogitRow &row, const Asked &asked, Value bound, Value otherwise) {
  return row.walk(t, {t.f32(-INFINITY), otherwise},
                  [&](TileBuilder &t, Value tile, Value start, int64_t size, ValueRange c) -> SmallVector<Value> {
                    I32 i{t};
                    Value keys = t.mapWithColumn(
                        {1, size}, {tile, bound, asked.temperature, asked.seed, asked.position, asked.step, i.long64(i.of(start))},
                        {{0, 1}, {}, {}, {}, {}, {}, {}}, [](TileBuilder &t, ValueRange v, Value, Value column) -> Value {
                          Value index = arith::IndexCastOp::create(t.b, t.loc, t.b.getI64Type(), column);
                          Value key = keyOf(t, v[0], v[2], v[3], v[4], v[5], arith::AddIOp::create(t.b, t.loc, v[6], index));
                          return choose(t, compare(t, Float::OGE, v[0], v[1]), key, t.f32(-INFINITY));
                        });
                    Largest found = larger(t, keys, start, size, {c[0], c[1]});
                    return {found.value, found.index};
                  })[1];
}

} // namespace

ColumnParts predictParts(llm::PredictOp op, const Tiles &tiles, bool isStep) {
  return ColumnParts::of(op.getLogits(), kStatistics, tiles, isStep);
}

void emitPredictParts(TileEmitter &e, TileBuilder &t, llm::PredictOp op) {
  emitColumnParts(
      e, t, predictParts(op, t.tiles, e.isStep), [&](TileBuilder &t, const PartTile &tile) { return statisticsOf(e, t, op, tile); },
      [&](TileBuilder &t, Value row) { return Asked::of(e, t, op, row).needsLogits(t); });
}

void emitJoinPredict(TileEmitter &e, TileBuilder &t, llm::PredictOp op, Value parts) {
  int64_t vocab = llm::columns(op.getLogits());
  forAll(e, t, {e.tokens(t)}, [&](TileBuilder &t, ValueRange at, ValueRange) -> SmallVector<Piece> {
    I32 i{t};
    Asked asked = Asked::of(e, t, op, at[0]);
    Joined all = Joined::of(t, asked, parts, at[0]);
    Value judgesDrawn = asked.judgesDrawn(t), inverse = asked.inverse(t), nothing = t.f32(-INFINITY);
    LogitRow possible{e, op.getLogits(), at[0], vocab, t.i32(op.getMask())};
    LogitRow judged{e, op.getLogits(), at[0], vocab, choose(t, judgesDrawn, t.i32(op.getMask()), t.i32(-1))};

    // (token, its logit, the smallest logit and the sum of what is judged)
    auto drawn = t.select(
        i.both(asked.isLimited, all.healthy),
        [&](TileBuilder &t) -> SmallVector<Value> {
          // Keys of such rows are logits: the largest is that of what may be drawn.
          Value bound = keptBound(t, possible, all.key, t.divf(t.f32(1), asked.temperature), asked.topK, asked.topP);
          Value token = drawnAmong(t, possible, asked, bound, all.token);
          Value logit = t.extract(e.tile(t, op.getLogits(), {at[0], 1, token, 1}), {t.index(0), t.index(0)});
          Value sum = op.getTempered() ? mass(t, possible, {bound, all.top, inverse}, keptWeight) : all.sum;
          return {token, logit, op.getTempered() ? bound : nothing, sum};
        },
        [&](TileBuilder &t) -> SmallVector<Value> { return {all.token, all.logit, t.f32(-INFINITY), all.sum}; });
    Value bound = drawn[2], sum = drawn[3];
    auto share = [&](TileBuilder &t, Value logit) -> Value {
      F64 d{t};
      Value weight = d.of(keptWeight(t, {logit, bound, all.top, inverse}));
      return rounded(t, arith::DivFOp::create(t.b, t.loc, weight, sum));
    };
    Value confidence = t.select(
        asked.isRandom(t),
        [&](TileBuilder &t) -> SmallVector<Value> {
          Value last = arith::ConstantOp::create(t.b, t.loc, t.b.getI64IntegerAttr(vocab));
          return {unitOf(t, philox(t, asked.seed, asked.position, asked.step, last))};
        },
        [&](TileBuilder &t) {
          return t.select(
              asked.isEntropy(t),
              [&](TileBuilder &t) -> SmallVector<Value> { return {negativeEntropy(t, judged, {bound, all.top, inverse}, sum)}; },
              [&](TileBuilder &t) -> SmallVector<Value> {
                Value margin = t.subf(share(t, all.top), share(t, all.second));
                return {choose(t, asked.isMargin(t), margin, share(t, drawn[1]))};
              });
        })[0];
    Value id = choose(t, all.healthy, i.of(drawn[0]), t.i32(-1));
    Value ids = t.insert(id, t.empty({1}, t.b.getI32Type()), t.index(0));
    Value out = t.insert(choose(t, all.healthy, confidence, t.f32(0)), t.empty({1, 1}), {t.index(0), t.index(0)});
    return {{ids, 0, {at[0]}, {1}}, {out, 1, {at[0], t.index(0)}, {1, 1}}};
  });
}

} // namespace llmc
