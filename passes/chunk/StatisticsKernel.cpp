// Kernels of llm.logit_statistics, the first of which makes the logits as well where a linear gives them (ColumnParts.h).
//
// With x = (l - m) / temperature about the largest logit m of a part and e = exp(x), a part gives m, sum e, sum e^2 and sum e x, which
// add up over parts once each is taken about the largest logit of all: with d = (m - M) / temperature
//
//      E = sum e^d sum e      E2 = sum e^2d sum e^2      EX = sum e^d (sum e x + d sum e)
//
// The largest q = e / E is 1/E. The five largest logits lie in the parts whose m is above the fifth largest m, at most four, or are equal to
// that one. The entropy is
//
//      -sum q ln(q + c) = ln E - EX/E - c sum g(q/c),      g(r) = r ln(1 + 1/r),  c = 1e-8.
//
// The last term is up to c times the vocabulary, 1.5e-3 for 150,000 tokens, and needs E before its sum, so it takes another pass over the logits.
// But g need not be exact: as a quotient of polynomials within 3.6e-5 it makes the entropy wrong by 5e-8 at most, without a logarithm for each token.
#include "passes/chunk/ColumnParts.h"
#include "passes/chunk/LogitRow.h"

using namespace mlir;
namespace llmc {
namespace {

enum { kTop, kSum, kSquares, kProducts, kStatistics };
constexpr int kLargest = 5;
constexpr double kOffset = 1e-8; // c
constexpr double kLowest = -0x1.fffffep+127; // not -infinity, whose differences are NaN

Value over(TileBuilder &t, Value x, Value y) { return arith::DivFOp::create(t.b, t.loc, x, y); }
Value rounded(TileBuilder &t, Value x) { return arith::TruncFOp::create(t.b, t.loc, t.b.getF32Type(), x); }

/// 1 / (temperature + 1e-8) of a number.
Value inverseOf(TileBuilder &t, Value temperature) { return t.divf(t.f32(1), t.addf(temperature, t.f32(1e-8))); }

Value temperatureOf(TileEmitter &e, TileBuilder &t, llm::LogitStatisticsOp op, Value row) {
  return t.extract(e.tile(t, op.getTemperature(), {row, 1, t.index(0), 1}), {t.index(0), t.index(0)});
}

/// r ln(1 + 1/r) for r >= 0: r times a quotient of degrees 4 and 5, which is the sum of five w / (r + s) that is nearest at all r.
Value meanShare(TileBuilder &t, Value r) {
  constexpr double kAbove[] = {1, 0.692030332614248, 0.0786338064284326, 0.001122067180861933, 9.704225230334888e-07};
  constexpr double kBelow[] = {1, 1.1918314047145395, 0.3426913521146182, 0.02144764242695751, 0.00018938270632740063, 1.021568941622173e-07};
  r = arith::MinimumFOp::create(t.b, t.loc, r, t.f32(1e6)); // where it is 1; the fifth power stays finite
  auto polynomial = [&](ArrayRef<double> coefficients) {
    Value y = t.f32(coefficients[0]);
    for (double c : coefficients.drop_front())
      y = t.addf(t.mulf(y, r), t.f32(c));
    return y;
  };
  return t.divf(t.mulf(r, polynomial(kAbove)), polynomial(kBelow));
}

/// The five largest of `falling` and of a tile's numbers.
SmallVector<Value> largestWith(TileBuilder &t, Value tile, ValueRange falling) {
  return t.loop(t.index(0), t.index(TileBuilder::shapeOf(tile)[1]), 1, falling,
                [&](TileBuilder &t, Value i, ValueRange carried) -> SmallVector<Value> {
                  Value x = t.extract(tile, {t.index(0), i});
                  SmallVector<Value> next;
                  for (Value held : carried) {
                    next.push_back(t.maxf(held, x));
                    x = arith::MinimumFOp::create(t.b, t.loc, held, x);
                  }
                  return next;
                });
}

/// The five largest logits of a row.
SmallVector<Value> largestOf(TileEmitter &e, TileBuilder &t, const ColumnParts &parts, Value tops, Value row) {
  SmallVector<Value> lowest(kLargest, t.f32(kLowest));
  Value fifth = largestWith(t, tops, lowest).back();
  return t.loop(t.index(0), t.index(parts.parts), 1, SmallVector<Value>(kLargest, fifth),
                [&](TileBuilder &t, Value p, ValueRange carried) -> SmallVector<Value> {
                  auto keep = [&](TileBuilder &) { return SmallVector<Value>(carried); };
                  auto look = [&](TileBuilder &t, int64_t columns) {
                    return largestWith(t, e.tile(t, parts.columns, {row, 1, t.mul(p, parts.width), columns}), carried);
                  };
                  Value isAbove = compare(t, arith::CmpFPredicate::OGT, t.extract(tops, {t.index(0), p}), fifth);
                  return t.select(isAbove, [&](TileBuilder &t) { return parts.byWidth(t, p, [&](TileBuilder &t, int64_t c) { return look(t, c); }); }, keep);
                });
}

/// sum g(q / c) over a row, f64.
Value sumOfShares(TileBuilder &t, const LogitRow &row, Value top, Value inverse, Value scale) {
  return mass(t, row, {top, inverse, scale}, [](TileBuilder &t, ValueRange v) {
    return meanShare(t, t.mulf(t.exp(t.mulf(t.subf(v[0], v[1]), v[2])), v[3]));
  });
}

/// The statistics of a part, in the order of the enumeration above.
SmallVector<Value> statisticsOf(TileEmitter &e, TileBuilder &t, llm::LogitStatisticsOp op, const PartTile &tile) {
  Value inverse = perRow(t, tile, t.b.getF32Type(), [&](TileBuilder &t, Value row) -> SmallVector<Value> {
    return {inverseOf(t, temperatureOf(e, t, op, row))};
  })[0];
  Value top = t.reduce(tile.values, t.full({tile.rows}, -INFINITY), /*maximum=*/true);
  Value base = t.map({top}, [&](TileBuilder &t, ValueRange v) { return t.maxf(v[0], t.f32(kLowest)); });
  auto sum = [&](function_ref<Value(TileBuilder &, Value x, Value weight)> term) {
    Value terms = t.map({tile.rows, tile.columns()}, {tile.values, base, inverse}, {{0, 1}, {0}, {0}}, [&](TileBuilder &t, ValueRange v) {
      Value x = t.mulf(t.subf(v[0], v[1]), v[2]);
      return term(t, x, t.exp(x));
    });
    return t.reduce(terms, t.full({tile.rows}, 0));
  };
  return {top, sum([](TileBuilder &, Value, Value w) { return w; }), sum([](TileBuilder &t, Value, Value w) { return t.mulf(w, w); }),
          sum([](TileBuilder &t, Value x, Value w) { // of an x of -infinity the product is 0
            return choose(t, compare(t, arith::CmpFPredicate::OGT, w, t.f32(0)), t.mulf(w, x), t.f32(0));
          })};
}

} // namespace

ColumnParts statisticsParts(llm::LogitStatisticsOp op, const Tiles &tiles, bool isStep) {
  return ColumnParts::of(op.getLogits(), kStatistics, tiles, isStep);
}

void emitStatisticsParts(TileEmitter &e, TileBuilder &t, llm::LogitStatisticsOp op) {
  emitColumnParts(e, t, statisticsParts(op, t.tiles, e.isStep), [&](TileBuilder &t, const PartTile &tile) { return statisticsOf(e, t, op, tile); });
}

void emitJoinStatistics(TileEmitter &e, TileBuilder &t, llm::LogitStatisticsOp op, Value parts) {
  ColumnParts how = statisticsParts(op, t.tiles, e.isStep);
  int64_t vocabulary = llm::columns(op.getLogits());
  forAll(e, t, {t.dim(e.destinations[0], 0)}, [&](TileBuilder &t, ValueRange at, ValueRange) -> SmallVector<Piece> {
    F64 d{t};
    Value inverse = inverseOf(t, temperatureOf(e, t, op, at[0]));
    auto each = [&](int64_t statistic) { return partsOfRow(t, parts, at[0], statistic); };
    Value tops = each(kTop), top = llmc::largestOf(t, tops), sums = each(kSum);
    auto sum = [&](Value numbers, function_ref<Value(TileBuilder &, Value number, Value sum, Value d, Value weight)> term) {
      Value terms = t.map(TileBuilder::shapeOf(tops), {numbers, sums, tops, top, inverse}, {{0, 1}, {0, 1}, {0, 1}, {}, {}},
                          [&](TileBuilder &t, ValueRange v) {
                            Value far = t.mulf(t.subf(v[2], v[3]), v[4]), weight = t.exp(far);
                            return choose(t, compare(t, arith::CmpFPredicate::OGT, weight, t.f32(0)), term(t, v[0], v[1], far, weight), t.f32(0));
                          });
      return F64{t}.of(sumOf(t, terms));
    };
    Value total = sum(sums, [](TileBuilder &t, Value n, Value, Value, Value w) { return t.mulf(n, w); });
    Value squared = sum(each(kSquares), [](TileBuilder &t, Value n, Value, Value, Value w) { return t.mulf(n, t.mulf(w, w)); });
    Value products = sum(each(kProducts), [](TileBuilder &t, Value n, Value sum, Value far, Value w) { return t.mulf(w, t.addf(n, t.mulf(far, sum))); });

    Value scale = rounded(t, over(t, d.c(1 / kOffset), total));
    Value shares = sumOfShares(t, {e, op.getLogits(), at[0], vocabulary}, top, inverse, scale);
    Value log = d.of(math::LogOp::create(t.b, t.loc, rounded(t, total)));
    Value entropy = d.sub(d.sub(log, over(t, products, total)), d.mul(d.c(kOffset), shares));

    double n = vocabulary;
    Value squares = over(t, squared, d.mul(total, total)); // sum of q^2
    Value variance = d.mul(d.sub(squares, d.c(1 / n)), d.c(1 / (n - 1)));
    Value largest = d.c(0);
    for (Value logit : largestOf(e, t, how, tops, at[0]))
      largest = d.add(largest, d.of(t.exp(t.mulf(t.subf(logit, top), inverse))));
    Value out = t.empty({1, 4});
    Value columns[] = {rounded(t, over(t, d.c(1), total)), rounded(t, entropy), rounded(t, variance), rounded(t, over(t, largest, total))};
    for (auto [i, value] : llvm::enumerate(columns))
      out = t.insert(value, out, {t.index(0), t.index(i)});
    return {{out, 0, {at[0], t.index(0)}, {1, 4}}};
  });
}

} // namespace llmc
