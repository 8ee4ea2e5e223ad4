// The kernel of llm.logit_statistics.
//
// With x = (l - m) / temperature and e = exp(x), one pass over the row gives the maximum m, the sums of e and
// of e^2 and the five largest logits; sums are taken about the largest logit so far and shrink when a larger
// one comes:
//
//      block:     l l l l .. l        1,024 logits
//      carried:   m, sum e, sum e^2   ->   m' = max(m, block);  both times exp(.. (m - m')), plus the block's
//                 t1 >= .. >= t5      ->   scanned one by one only where the block's maximum exceeds t5
//
// Only then is q = e / sum e known, of which the entropy needs the logarithm: -sum q ln(q + 1e-8) takes
// another pass, over logits that are in cache by now. The usual ln(sum e) - sum e x / sum e would need none,
// but differs by up to 1e-8 times the vocabulary, 1.5e-3 for 150,000 tokens.
#include "passes/chunk/LogitRow.h"

using namespace mlir;
namespace llmc {
namespace {

constexpr int kLargest = 5;
constexpr float kLowest =
    -0x1.fffffep+127f; // what is carried for no logit yet: not -inf, whose differences are NaN

Value smaller(TileBuilder &t, Value x, Value y) { return arith::MinimumFOp::create(t.b, t.loc, x, y); }
Value over(TileBuilder &t, Value x, Value y) { return arith::DivFOp::create(t.b, t.loc, x, y); }
Value rounded(TileBuilder &t, Value x) { return arith::TruncFOp::create(t.b, t.loc, t.b.getF32Type(), x); }

/// exp((x - m) * inverse) of a tile.
Value weights(TileBuilder &t, Value tile, Value m, Value inverse) {
  return t.map(TileBuilder::shapeOf(tile), {tile, m, inverse}, {{0, 1}, {}, {}},
               [](TileBuilder &t, ValueRange v) { return t.exp(t.mulf(t.subf(v[0], v[1]), v[2])); });
}

Value sumOf(TileBuilder &t, Value tile) { return t.extract(t.reduce(tile, t.full({1}, 0)), t.index(0)); }

/// The five largest of `falling` and of the block's logits.
SmallVector<Value> largestWith(TileBuilder &t, Value tile, int64_t size, ValueRange falling) {
  return t.loop(t.index(0), t.index(size), 1, falling,
                [&](TileBuilder &t, Value i, ValueRange carried) -> SmallVector<Value> {
                  Value x = t.extract(tile, {t.index(0), i});
                  SmallVector<Value> next;
                  for (Value held : carried) {
                    next.push_back(t.maxf(held, x));
                    x = smaller(t, held, x);
                  }
                  return next;
                });
}

} // namespace

void emitLogitStatistics(TileEmitter &e, TileBuilder &t, llm::LogitStatisticsOp op) {
  int64_t vocabulary = llm::columns(op.getLogits());
  forAll(e, t, {t.dim(e.destinations[0], 0)},
         [&](TileBuilder &t, ValueRange at, ValueRange) -> SmallVector<Piece> {
           LogitRow row{e, op.getLogits(), at[0], vocabulary};
           Value temperature =
               t.extract(e.tile(t, op.getTemperature(), {at[0], 1, t.index(0), 1}), {t.index(0), t.index(0)});
           Value inverse = t.divf(t.f32(1), t.addf(temperature, t.f32(1e-8)));

           F64 d{t};
           SmallVector<Value> init{t.f32(kLowest), d.c(0), d.c(0)};
           init.append(kLargest, t.f32(kLowest));
           auto done = row.walk(
               t, init,
               [&](TileBuilder &t, Value tile, Value, int64_t size, ValueRange c) -> SmallVector<Value> {
                 F64 d{t};
                 Value best = t.extract(t.reduce(tile, t.full({1}, -INFINITY), true), t.index(0));
                 Value top = t.maxf(c[0], best);
                 Value shrink = d.of(t.exp(t.mulf(t.subf(c[0], top), inverse)));
                 Value w = weights(t, tile, top, inverse);
                 Value squares = t.map({w}, [](TileBuilder &t, ValueRange v) { return t.mulf(v[0], v[0]); });
                 Value sum = d.add(d.mul(c[1], shrink), d.of(sumOf(t, w)));
                 Value squared = d.add(d.mul(c[2], d.mul(shrink, shrink)), d.of(sumOf(t, squares)));
                 SmallVector<Value> next{top, sum, squared};
                 next.append(t.select(
                     compare(t, arith::CmpFPredicate::OGT, best, c.back()),
                     [&](TileBuilder &t) { return largestWith(t, tile, size, c.take_back(kLargest)); },
                     [&](TileBuilder &) { return SmallVector<Value>(c.take_back(kLargest)); }));
                 return next;
               });
           Value top = done[0], sum = done[1];
           Value share = rounded(t, over(t, d.c(1), sum)); // the largest q: its weight is 1

           Value negative = row.walk(
               t, d.c(0),
               [&](TileBuilder &t, Value tile, Value, int64_t size, ValueRange c) -> SmallVector<Value> {
                 Value terms = t.map({1, size}, {weights(t, tile, top, inverse), share}, {{0, 1}, {}},
                                     [](TileBuilder &t, ValueRange v) -> Value {
                                       Value q = t.mulf(v[0], v[1]);
                                       Value log = math::LogOp::create(t.b, t.loc, t.addf(q, t.f32(1e-8)));
                                       return t.mulf(q, log);
                                     });
                 F64 d{t};
                 return {d.add(c[0], d.of(sumOf(t, terms)))};
               })[0];

           double n = vocabulary;
           Value squares = over(t, done[2], d.mul(sum, sum)); // sum of q^2
           Value variance = d.mul(d.sub(squares, d.c(1 / n)), d.c(1 / (n - 1)));
           Value largest = d.c(0);
           for (Value logit : ArrayRef<Value>(done).take_back(kLargest))
             largest = d.add(largest, d.of(t.exp(t.mulf(t.subf(logit, top), inverse))));
           Value out = t.empty({1, 4});
           Value columns[] = {share, rounded(t, d.sub(d.c(0), negative)), rounded(t, variance),
                              rounded(t, over(t, largest, sum))};
           for (auto [i, value] : llvm::enumerate(columns))
             out = t.insert(value, out, {t.index(0), t.index(i)});
           return {{out, 0, {at[0], t.index(0)}, {1, 4}}};
         });
}

} // namespace llmc
