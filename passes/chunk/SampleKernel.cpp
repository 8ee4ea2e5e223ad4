// Kernels of the rotary table and of sampling.
//
// Sampling needs no sort. Thresholds are found by bisection over the order of float bits: 32 passes over the
// row tell the k-th largest logit exactly, 32 more the smallest logit of the top-p set; then one pass finds
// the token at which the running mass crosses u times the total.
#include "passes/chunk/LogitRow.h"

using namespace mlir;
namespace llmc {

Value F64::polynomial(Value x, ArrayRef<double> coefficients) {
  Value sum = c(coefficients.back());
  for (double k : llvm::reverse(coefficients.drop_back()))
    sum = add(mul(sum, x), c(k));
  return sum;
}

/// cos(angle + shift * pi/2) in double: reduction by multiples of pi/2 in two parts, Taylor polynomials on
/// [-pi/4, pi/4] (error below 1e-13).
static Value cosine(TileBuilder &t, Value angle, int64_t shift) {
  F64 d{t};
  Value turns = math::FloorOp::create(t.b, t.loc, d.add(d.mul(angle, d.c(2 / M_PI)), d.c(0.5)));
  Value r =
      d.sub(d.sub(angle, d.mul(turns, d.c(0x1.921fb54400000p+0))), d.mul(turns, d.c(0x1.0b4611a626331p-34)));
  Value r2 = d.mul(r, r);
  Value cos = d.polynomial(r2, {1.0, -1.0 / 2, 1.0 / 24, -1.0 / 720, 1.0 / 40320, -1.0 / 3628800,
                                1.0 / 479001600, -1.0 / 87178291200.0});
  Value sin = d.mul(r, d.polynomial(r2, {1.0, -1.0 / 6, 1.0 / 120, -1.0 / 5040, 1.0 / 362880, -1.0 / 39916800,
                                         1.0 / 6227020800.0}));
  // quarter = (turns + shift) mod 4: 0 cos, 1 -sin, 2 -cos, 3 sin
  Value q = d.add(turns, d.c(shift));
  q = d.sub(q, d.mul(d.c(4), math::FloorOp::create(t.b, t.loc, d.mul(q, d.c(0.25)))));
  auto is = [&](double v) -> Value {
    return arith::CmpFOp::create(t.b, t.loc, arith::CmpFPredicate::OEQ, q, d.c(v));
  };
  auto select = [&](Value c, Value x, Value y) -> Value {
    return arith::SelectOp::create(t.b, t.loc, c, x, y);
  };
  auto neg = [&](Value x) -> Value { return arith::NegFOp::create(t.b, t.loc, x); };
  return select(is(0), cos, select(is(1), neg(sin), select(is(2), neg(cos), sin)));
}

Value philox(TileBuilder &t, Value seed, Value position, Value step, Value index) {
  auto c = [&](uint64_t v) -> Value {
    return arith::ConstantOp::create(t.b, t.loc, t.b.getI64IntegerAttr((int64_t)v));
  };
  auto mul = [&](Value x, Value y) -> Value { return arith::MulIOp::create(t.b, t.loc, x, y); };
  auto bxor = [&](Value x, Value y) -> Value { return arith::XOrIOp::create(t.b, t.loc, x, y); };
  auto low = [&](Value x) -> Value { return arith::AndIOp::create(t.b, t.loc, x, c(0xffffffff)); };
  auto high = [&](Value x) -> Value { return arith::ShRUIOp::create(t.b, t.loc, x, c(32)); };
  Value x0 = low(position), x1 = high(position), x2 = step ? low(step) : c(0), x3 = index ? low(index) : c(0),
        k0 = low(seed), k1 = high(seed);
  for (int round = 0; round < 10; ++round) {
    Value p0 = mul(c(0xD2511F53), x0), p1 = mul(c(0xCD9E8D57), x2);
    Value y0 = bxor(bxor(high(p1), x1), k0), y2 = bxor(bxor(high(p0), x3), k1);
    x1 = low(p1);
    x3 = low(p0);
    x0 = y0;
    x2 = y2;
    k0 = low(arith::AddIOp::create(t.b, t.loc, k0, c(0x9E3779B9)));
    k1 = low(arith::AddIOp::create(t.b, t.loc, k1, c(0xBB67AE85)));
  }
  return x0;
}

Value LogitRow::block(TileBuilder &t, Value start, int64_t size) const {
  Value tile = e.tile(t, logits, {row, 1, start, size});
  if (!without)
    return tile;
  Value column = arith::SubIOp::create(t.b, t.loc, without, arith::IndexCastOp::create(t.b, t.loc, t.b.getI32Type(), start));
  return t.mapWithColumn({1, size}, {tile, column}, {{0, 1}, {}}, [](TileBuilder &t, ValueRange v, Value, Value at) -> Value {
    Value here = arith::CmpIOp::create(t.b, t.loc, arith::CmpIPredicate::eq,
                                       arith::IndexCastOp::create(t.b, t.loc, t.b.getI32Type(), at), v[1]);
    return choose(t, here, t.f32(-INFINITY), v[0]);
  });
}

SmallVector<Value> LogitRow::walk(TileBuilder &t, ValueRange init, Body body) const {
  int64_t whole = vocab / kBlock * kBlock;
  SmallVector<Value> carried(init);
  if (whole)
    carried = t.loop(t.index(0), t.index(whole), kBlock, carried, [&](TileBuilder &t, Value start, ValueRange carried) {
      return body(t, block(t, start, kBlock), start, kBlock, carried);
    });
  if (whole < vocab)
    carried = body(t, block(t, t.index(whole), vocab - whole), t.index(whole), vocab - whole, carried);
  return carried;
}

Value compare(TileBuilder &t, arith::CmpFPredicate predicate, Value x, Value y) {
  return arith::CmpFOp::create(t.b, t.loc, predicate, x, y);
}
Value choose(TileBuilder &t, Value c, Value x, Value y) {
  return arith::SelectOp::create(t.b, t.loc, c, x, y);
}

Value mass(TileBuilder &t, const LogitRow &row, ArrayRef<Value> scalars, TileBuilder::Body weight) {
  F64 d{t};
  return row.walk(
      t, d.c(0),
      [&](TileBuilder &t, Value tile, Value, int64_t size, ValueRange carried) -> SmallVector<Value> {
        SmallVector<Value> inputs{tile};
        SmallVector<SmallVector<int64_t>> dims{{0, 1}};
        for (Value s : scalars) {
          inputs.push_back(s);
          dims.push_back({});
        }
        Value w = t.map({1, size}, inputs, dims, weight);
        Value sum = t.extract(t.reduce(w, t.full({1}, 0)), t.index(0));
        F64 d{t};
        return {d.add(carried[0], d.of(sum))};
      })[0];
}

/// The float whose place in the order of floats is the i64 `key`.
static Value floatOfKey(TileBuilder &t, Value key) {
  Value k = arith::TruncIOp::create(t.b, t.loc, t.b.getI32Type(), key);
  Value sign = arith::ShRSIOp::create(t.b, t.loc, k, t.i32(31));
  Value bits =
      arith::XOrIOp::create(t.b, t.loc, k, arith::AndIOp::create(t.b, t.loc, sign, t.i32(0x7fffffff)));
  return arith::BitcastOp::create(t.b, t.loc, t.b.getF32Type(), bits);
}

/// The largest float x with `enough(x)`; `enough` holds for very small x and stays false once false.
static Value bisect(TileBuilder &t, function_ref<Value(TileBuilder &, Value)> enough) {
  auto c = [](TileBuilder &t, int64_t v) -> Value {
    return arith::ConstantOp::create(t.b, t.loc, t.b.getI64IntegerAttr(v));
  };
  // Keys of -inf and +inf; invariant: enough(low), not enough(high).
  int64_t low = -2139095041, high = 2139095041;
  auto ends = t.loop(t.index(0), t.index(33), 1, {c(t, low), c(t, high)},
                     [&](TileBuilder &t, Value, ValueRange carried) -> SmallVector<Value> {
                       Value sum = arith::AddIOp::create(t.b, t.loc, carried[0], carried[1]);
                       Value middle = arith::ShRSIOp::create(t.b, t.loc, sum, c(t, 1));
                       Value yes = enough(t, floatOfKey(t, middle));
                       return {choose(t, yes, middle, carried[0]), choose(t, yes, carried[1], middle)};
                     });
  return floatOfKey(t, ends[0]);
}

Value countBad(TileBuilder &t, Value tile) {
  Value bad = t.map({tile}, [](TileBuilder &t, ValueRange v) {
    return choose(t, compare(t, arith::CmpFPredicate::OLT, v[0], t.f32(INFINITY)), t.f32(0), t.f32(1));
  });
  return t.extract(t.reduce(bad, t.full({1}, 0)), t.index(0));
}

Largest larger(TileBuilder &t, Value tile, Value start, int64_t size, Largest soFar) {
  Value best = t.extract(t.reduce(tile, t.full({1}, -INFINITY), true), t.index(0));
  auto found = t.select(
      compare(t, arith::CmpFPredicate::OGT, best, soFar.value),
      [&](TileBuilder &t) -> SmallVector<Value> {
        Value first = t.loop(t.index(0), t.index(size), 1, t.index(size),
                             [&](TileBuilder &t, Value i, ValueRange c) -> SmallVector<Value> {
                               Value same =
                                   compare(t, arith::CmpFPredicate::OEQ, t.extract(tile, {t.index(0), i}), best);
                               return {choose(t, same, t.min(i, c[0]), c[0])};
                             })[0];
        return {best, t.add(start, first)};
      },
      [&](TileBuilder &) -> SmallVector<Value> { return {soFar.value, soFar.index}; });
  return {found[0], found[1]};
}

Value keptWeight(TileBuilder &t, ValueRange v) {
  Value w = t.exp(t.mulf(t.subf(v[0], v[2]), v[3]));
  return choose(t, compare(t, arith::CmpFPredicate::OGE, v[0], v[1]), w, t.f32(0));
}

Value keptBound(TileBuilder &t, const LogitRow &row, Value maximum, Value inverse, Value topK, Value topP) {
  Value nothing = t.f32(-INFINITY);
  Value isLimited =
      arith::CmpIOp::create(t.b, t.loc, arith::CmpIPredicate::sgt, topK,
                            arith::ConstantOp::create(t.b, t.loc, t.b.getI64IntegerAttr(0)));
  // The k-th largest logit.
  Value kth = t.select(
      isLimited,
      [&](TileBuilder &t) -> SmallVector<Value> {
        Value k = arith::SIToFPOp::create(t.b, t.loc, t.b.getF64Type(), topK);
        return {bisect(t, [&](TileBuilder &t, Value bound) {
          Value count = mass(t, row, {bound}, [](TileBuilder &t, ValueRange v) {
            return choose(t, compare(t, arith::CmpFPredicate::OGE, v[0], v[1]), t.f32(1), t.f32(0));
          });
          return compare(t, arith::CmpFPredicate::OGE, count, k);
        })};
      },
      [&](TileBuilder &) -> SmallVector<Value> { return {nothing}; })[0];
  Value total = mass(t, row, {kth, maximum, inverse}, keptWeight);
  return t.select(
      compare(t, arith::CmpFPredicate::OLT, topP, t.f32(1)),
      [&](TileBuilder &t) -> SmallVector<Value> {
        F64 d{t};
        Value wanted = d.mul(d.of(topP), total);
        Value found = bisect(t, [&](TileBuilder &t, Value bound) {
          Value m = mass(t, row, {t.maxf(bound, kth), maximum, inverse}, keptWeight);
          return compare(t, arith::CmpFPredicate::OGE, m, wanted);
        });
        // top_p = 0 keeps the most probable token
        return {arith::MinimumFOp::create(t.b, t.loc, t.maxf(found, kth), maximum)};
      },
      [&](TileBuilder &) -> SmallVector<Value> { return {kth}; })[0];
}

void emitRotaryTable(TileEmitter &e, TileBuilder &t, llm::RotaryTableOp op) {
  int64_t half = op.getFrequencies().size();
  float scale = op.getScale().convertToDouble();
  auto type = RankedTensorType::get({half}, t.b.getF32Type());
  Value frequencies =
      arith::ConstantOp::create(t.b, t.loc, DenseElementsAttr::get(type, op.getFrequencies()));
  forAll(e, t, {e.tokens(t)}, [&](TileBuilder &t, ValueRange at, ValueRange) -> SmallVector<Piece> {
    Value position = t.extract(e.where, {at[0], t.index(1)});
    Value p = arith::SIToFPOp::create(t.b, t.loc, t.b.getF32Type(), position);
    auto part = [&](int64_t shift) {
      return t.map({1, half}, {frequencies, p}, {{1}, {}}, [&](TileBuilder &t, ValueRange v) -> Value {
        Value angle = F64{t}.of(t.mulf(v[0], v[1])); // rounded to float32 as in the published models
        Value c = arith::TruncFOp::create(t.b, t.loc, t.b.getF32Type(), cosine(t, angle, shift));
        return scale == 1.0f ? c : t.mulf(c, t.f32(scale));
      });
    };
    // sin a = cos(a - pi/2) = cos(a + 3 pi/2)
    return {{part(0), 0, {at[0], t.index(0)}, {1, half}}, {part(3), 0, {at[0], t.index(half)}, {1, half}}};
  });
}

void emitSample(TileEmitter &e, TileBuilder &t, llm::SampleOp op) {
  int64_t vocab = llm::columns(op.getLogits());
  Value draws = e.argument(op.getDraws());
  forAll(e, t, {t.dim(draws, 0)}, [&](TileBuilder &t, ValueRange at, ValueRange) -> SmallVector<Piece> {
    LogitRow row{e, op.getLogits(), at[0], vocab};
    Value sampling = e.tile(t, op.getSampling(), {at[0], 1, t.index(0), 4}); // may be computed on the way
    auto option = [&](int64_t i) { return t.extract(sampling, {t.index(0), t.index(i)}); };
    auto draw = [&](int64_t i) { return t.extract(draws, {at[0], t.index(i)}); };
    Value temperature = option(0), topP = option(1), minP = option(2);
    Value seed = draw(0), topK = draw(1), position = draw(2);

    // The largest logit, its first index, and how many logits are NaN or +inf.
    auto top = row.walk(
        t, {t.f32(-INFINITY), t.index(0), t.f32(0)},
        [&](TileBuilder &t, Value tile, Value start, int64_t size, ValueRange carried) -> SmallVector<Value> {
          Largest found = larger(t, tile, start, size, {carried[0], carried[1]});
          return {found.value, found.index, t.addf(carried[2], countBad(t, tile))};
        });
    Value maximum = top[0];
    // A row with a NaN or +inf, or of nothing but -inf, has no token.
    Value healthy = arith::AndIOp::create(t.b, t.loc, compare(t, arith::CmpFPredicate::OEQ, top[2], t.f32(0)),
                                          compare(t, arith::CmpFPredicate::OGT, maximum, t.f32(-INFINITY)));
    Value greedy = compare(t, arith::CmpFPredicate::ULE, temperature, t.f32(0)); // NaN as well

    Value token = t.select(
        greedy, [&](TileBuilder &) -> SmallVector<Value> { return {top[1]}; },
        [&](TileBuilder &t) -> SmallVector<Value> {
          F64 d{t};
          Value inverse = t.divf(t.f32(1), temperature);
          Value bound = keptBound(t, row, maximum, inverse, topK, topP);
          // The final weights: at least the bound, and min_p of the largest (whose weight is 1).
          auto kept = [&](TileBuilder &t, ValueRange v) {
            Value w = keptWeight(t, v);
            return choose(t, compare(t, arith::CmpFPredicate::OGE, w, v[4]), w, t.f32(0));
          };
          SmallVector<Value> scalars{bound, maximum, inverse, minP};
          Value all = mass(t, row, scalars, kept);
          Value word = philox(t, seed, position);
          Value high = arith::ShRUIOp::create(
              t.b, t.loc, word, arith::ConstantOp::create(t.b, t.loc, t.b.getI64IntegerAttr(8)));
          Value u = d.mul(arith::SIToFPOp::create(t.b, t.loc, t.b.getF64Type(), high), d.c(1.0 / (1 << 24)));
          Value target = d.mul(u, all);
          // Walk until the running mass exceeds the target; `last` is a token with mass, in case rounding
          // leaves the target just out of reach.
          auto found = row.walk(
              t, {d.c(0), t.index(vocab), top[1]},
              [&](TileBuilder &t, Value tile, Value start, int64_t size,
                  ValueRange carried) -> SmallVector<Value> {
                SmallVector<Value> inputs{tile};
                inputs.append(scalars);
                SmallVector<SmallVector<int64_t>> dims{{0, 1}, {}, {}, {}, {}};
                Value w = t.map({1, size}, inputs, dims, kept);
                F64 d{t};
                Value after = d.add(carried[0], d.of(t.extract(t.reduce(w, t.full({1}, 0)), t.index(0))));
                Value open =
                    arith::CmpIOp::create(t.b, t.loc, arith::CmpIPredicate::eq, carried[1], t.index(vocab));
                Value here = arith::AndIOp::create(t.b, t.loc, open,
                                                   compare(t, arith::CmpFPredicate::OGT, after, target));
                auto chosen = t.select(
                    here,
                    [&](TileBuilder &t) -> SmallVector<Value> {
                      auto scan =
                          t.loop(t.index(0), t.index(size), 1, {carried[0], t.index(vocab), carried[2]},
                                 [&](TileBuilder &t, Value i, ValueRange c) -> SmallVector<Value> {
                                   F64 d{t};
                                   Value one = t.extract(w, {t.index(0), i});
                                   Value sum = d.add(c[0], d.of(one));
                                   Value some = compare(t, arith::CmpFPredicate::OGT, one, t.f32(0));
                                   Value token = t.add(start, i);
                                   Value crossed = arith::AndIOp::create(
                                       t.b, t.loc, some, compare(t, arith::CmpFPredicate::OGT, sum, target));
                                   return {sum, choose(t, crossed, t.min(c[1], token), c[1]),
                                           choose(t, some, token, c[2])};
                                 });
                      // The block's sum was taken in another order: its last token with mass stands in if
                      // none crossed.
                      Value none = arith::CmpIOp::create(t.b, t.loc, arith::CmpIPredicate::eq, scan[1],
                                                         t.index(vocab));
                      return {choose(t, none, scan[2], scan[1])};
                    },
                    [&](TileBuilder &) -> SmallVector<Value> { return {carried[1]}; });
                return {after, chosen[0], carried[2]};
              });
          Value none = arith::CmpIOp::create(t.b, t.loc, arith::CmpIPredicate::eq, found[1], t.index(vocab));
          return {choose(t, none, top[1], found[1])};
        })[0];
    Value id = arith::IndexCastOp::create(t.b, t.loc, t.b.getI32Type(), token);
    Value result = choose(t, healthy, id, t.i32(-1));
    Value out = t.insert(result, t.empty({1, 1}, t.b.getI32Type()), {t.index(0), t.index(0)});
    return {{out, 0, {at[0], t.index(0)}, {1, 1}}};
  });
}

} // namespace llmc
