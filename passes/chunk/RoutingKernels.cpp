// Kernels of expert routing and grouping: scalar loops, since a row has few experts.
#include "passes/chunk/TileEmitter.h"

using namespace mlir;
namespace llmc {

namespace {

Value greater(TileBuilder &t, Value x, Value y) {
  return arith::CmpFOp::create(t.b, t.loc, arith::CmpFPredicate::OGT, x, y);
}
Value choose(TileBuilder &t, Value c, Value x, Value y) {
  return arith::SelectOp::create(t.b, t.loc, c, x, y);
}

/// Index (as index value) and value of the largest of `values[from .. to]`, the lowest index on ties.
std::pair<Value, Value> largest(TileBuilder &t, Value values, Value from, Value to) {
  auto best = t.loop(from, to, 1, {from, t.f32(-INFINITY)},
                     [&](TileBuilder &t, Value i, ValueRange carried) -> SmallVector<Value> {
                       Value x = t.extract(values, i);
                       Value better = greater(t, x, carried[1]);
                       return {choose(t, better, i, carried[0]), choose(t, better, x, carried[1])};
                     });
  return {best[0], best[1]};
}

} // namespace

void emitRoute(TileEmitter &e, TileBuilder &t, llm::RouteOp op) {
  int64_t n = llm::columns(op.getLogits()), k = op.getTopK(), groups = op.getGroups(),
          topGroups = op.getTopGroups(), width = n / groups;
  forAll(e, t, {t.dim(e.destinations[0], 0)},
         [&](TileBuilder &t, ValueRange at, ValueRange) -> SmallVector<Piece> {
           auto router = op.getLogits().getDefiningOp<llm::LinearOp>();
           if (router)
             e.bind(router.getX(),
                    e.tile(t, router.getX(), {at[0], 1, t.index(0), llm::columns(router.getX())}));
           Value tile = e.tile(t, op.getLogits(), {at[0], 1, t.index(0), n});
           if (router)
             e.unbind(router.getX());
           Value logits = t.load(tile, {t.index(0), t.index(0)}, {1, n}, {n});
           Value scores;
           if (op.getScoring() == "sigmoid") {
             scores = t.map({logits}, [](TileBuilder &t, ValueRange v) {
               return t.divf(t.f32(1), t.addf(t.f32(1), t.exp(arith::NegFOp::create(t.b, t.loc, v[0]))));
             });
           } else {
             Value top = t.reduce(tile, t.full({1}, -INFINITY), true);
             Value powers = t.map({1, n}, {tile, top}, {{0, 1}, {0}},
                                  [](TileBuilder &t, ValueRange v) { return t.exp(t.subf(v[0], v[1])); });
             Value sum = t.extract(t.reduce(powers, t.full({1}, 0)), t.index(0));
             scores = t.map({n}, {t.load(powers, {t.index(0), t.index(0)}, {1, n}, {n}), sum}, {{0}, {}},
                            [](TileBuilder &t, ValueRange v) { return t.divf(v[0], v[1]); });
           }
           Value selection;
           if (op.getBias())
             selection = t.map({scores, t.load(e.argument(op.getBias()), {t.index(0)}, {n}, {n})},
                               [](TileBuilder &t, ValueRange v) { return t.addf(v[0], v[1]); });
           else
             selection = t.map({scores}, [](TileBuilder &, ValueRange v) { return v[0]; });

           Value none = t.f32(-INFINITY);
           if (groups > 1 && topGroups < groups) {
             // A group's score is the sum of its two best; experts of the other groups take no part.
             Value groupScores = t.loop(
                 t.index(0), t.index(groups), 1, t.full({groups}, 0),
                 [&](TileBuilder &t, Value g, ValueRange carried) -> SmallVector<Value> {
                   Value from = t.mul(g, width), to = t.add(from, width);
                   auto [first, firstValue] = largest(t, selection, from, to);
                   Value score = firstValue;
                   if (width > 1) {
                     auto second = t.loop(
                         from, to, 1, none,
                         [&, first = first](TileBuilder &t, Value i, ValueRange inner) -> SmallVector<Value> {
                           Value same = arith::CmpIOp::create(t.b, t.loc, arith::CmpIPredicate::eq, i, first);
                           return {choose(t, same, inner[0], t.maxf(inner[0], t.extract(selection, i)))};
                         });
                     score = t.addf(firstValue, second[0]);
                   }
                   return {t.insert(score, carried[0], g)};
                 })[0];
             auto kept =
                 t.loop(t.index(0), t.index(topGroups), 1, {groupScores, t.full({n}, -INFINITY)},
                        [&](TileBuilder &t, Value, ValueRange carried) -> SmallVector<Value> {
                          auto [g, score] = largest(t, carried[0], t.index(0), t.index(groups));
                          Value from = t.mul(g, width);
                          Value part = t.load(selection, {from}, {width}, {width});
                          return {t.insert(none, carried[0], g), t.store(part, carried[1], {from}, {width})};
                        });
             selection = kept[1];
           }

           Type i32 = t.b.getI32Type();
           auto picked =
               t.loop(t.index(0), t.index(k), 1, {selection, t.empty({1, k}, i32), t.empty({1, k}), t.f32(0)},
                      [&](TileBuilder &t, Value j, ValueRange carried) -> SmallVector<Value> {
                        auto [expert, score] = largest(t, carried[0], t.index(0), t.index(n));
                        Value id = arith::IndexCastOp::create(t.b, t.loc, i32, expert);
                        Value weight = t.extract(scores, expert); // without the bias
                        return {t.insert(none, carried[0], expert), t.insert(id, carried[1], {t.index(0), j}),
                                t.insert(weight, carried[2], {t.index(0), j}), t.addf(carried[3], weight)};
                      });
           Value factor = t.f32(op.getScale().convertToDouble());
           bool renormalize = op.getRenormalize();
           Value weights = t.map({1, k}, {picked[2], picked[3], factor}, {{0, 1}, {}, {}},
                                 [&](TileBuilder &t, ValueRange v) {
                                   Value w = renormalize ? t.divf(v[0], t.addf(v[1], t.f32(1e-20))) : v[0];
                                   return t.mulf(w, v[2]);
                                 });
           return {{picked[1], 0, {at[0], t.index(0)}, {1, k}}, {weights, 1, {at[0], t.index(0)}, {1, k}}};
         });
}

void emitDispatchExperts(TileEmitter &e, TileBuilder &t, llm::DispatchExpertsOp op) {
  // A counting sort in one workgroup: count, add up, place. Stable, so an expert's rows stay in the order of
  // the tokens.
  Value ids = e.argument(op.getIds());
  int64_t k = llm::columns(op.getIds()),
          experts = cast<RankedTensorType>(op.getGroups().getType()).getDimSize(0);
  Value tokens = t.dim(ids, 0), pairs = t.mul(tokens, k);
  forAll(e, t, {t.index(1)}, [&](TileBuilder &t, ValueRange, ValueRange destinations) -> SmallVector<Piece> {
    Value zero = t.index(0);
    Type i32 = t.b.getI32Type();
    auto cast32 = [&](TileBuilder &t, Value v) -> Value {
      return arith::IndexCastOp::create(t.b, t.loc, i32, v);
    };
    auto plus = [&](TileBuilder &t, Value x, Value y) -> Value {
      return arith::AddIOp::create(t.b, t.loc, x, y);
    };
    auto expertOf = [&](TileBuilder &t, Value pair) {
      return t.toIndex(t.extract(ids, {t.floorDiv(pair, k), t.mod(pair, k)}));
    };
    Value counts = linalg::FillOp::create(t.b, t.loc, t.i32(0), t.empty({experts}, i32)).getResult(0);
    counts = t.loop(zero, pairs, 1, counts, [&](TileBuilder &t, Value p, ValueRange c) -> SmallVector<Value> {
      Value expert = expertOf(t, p);
      return {t.insert(plus(t, t.extract(c[0], expert), t.i32(1)), c[0], expert)};
    })[0];
    Value share2 = t.load(destinations[2], {zero, zero}, {experts, 3}, {experts, 3});
    // Groups: experts with rows first; `next[e]` is where expert e's next pair goes.
    auto grouped =
        t.loop(zero, t.index(experts), 1, {t.empty({experts}, i32), t.i32(0), t.index(0), share2},
               [&](TileBuilder &t, Value expert, ValueRange c) -> SmallVector<Value> {
                 Value count = t.extract(counts, expert), begin = c[1], end = plus(t, begin, count);
                 Value next = t.insert(begin, c[0], expert);
                 Value some = arith::CmpIOp::create(t.b, t.loc, arith::CmpIPredicate::sgt, count, t.i32(0));
                 auto after = t.select(
                     some,
                     [&](TileBuilder &t) -> SmallVector<Value> {
                       Value g = t.insert(cast32(t, expert), c[3], {c[2], t.index(0)});
                       g = t.insert(begin, g, {c[2], t.index(1)});
                       g = t.insert(end, g, {c[2], t.index(2)});
                       return {t.add(c[2], 1), g};
                     },
                     [&](TileBuilder &) -> SmallVector<Value> { return {c[2], c[3]}; });
                 return {next, end, after[0], after[1]};
               });
    Value groups = t.loop(grouped[2], t.index(experts), 1, grouped[3],
                          [&](TileBuilder &t, Value g, ValueRange c) -> SmallVector<Value> {
                            Value out = c[0];
                            for (int64_t i : {0, 1, 2})
                              out = t.insert(t.i32(0), out, {g, t.index(i)});
                            return {out};
                          })[0];
    Value order = t.load(destinations[0], {zero}, {-1}, {-1}, pairs);
    Value place = t.load(destinations[1], {zero, zero}, {-1, k}, {-1, k}, tokens);
    auto placed = t.loop(zero, pairs, 1, {grouped[0], order, place},
                         [&](TileBuilder &t, Value p, ValueRange c) -> SmallVector<Value> {
                           Value expert = expertOf(t, p);
                           Value at = t.extract(c[0], expert);
                           return {t.insert(plus(t, at, t.i32(1)), c[0], expert),
                                   t.insert(cast32(t, p), c[1], t.toIndex(at)),
                                   t.insert(at, c[2], {t.floorDiv(p, k), t.mod(p, k)})};
                         });
    return {{placed[1], 0, {zero}, {-1}, {pairs}},
            {placed[2], 1, {zero, zero}, {-1, k}, {tokens}},
            {groups, 2, {zero, zero}, {experts, 3}}};
  });
}

} // namespace llmc
