// Kernels of embeddings, linears, expert linears and plain row work.
#include "passes/chunk/TileEmitter.h"

using namespace mlir;
namespace llmc {

void emitEmbed(TileEmitter &e, TileBuilder &t, llm::EmbedOp op) {
  // One workgroup per token; the table is packed in panels [1, P, D, 32] if a linear reads it too, else [1,
  // V, D].
  Value tokens = e.argument(op.getTokens()), table = e.argument(op.getTable());
  int64_t d = llm::columns(op.getResult());
  bool panels = TileBuilder::shapeOf(table).size() == 4;
  forAll(e, t, {t.dim(tokens, 0)}, [&](TileBuilder &t, ValueRange at, ValueRange) -> SmallVector<Piece> {
    Value id = t.toIndex(t.extract(tokens, at[0]));
    Value row;
    if (panels) {
      int64_t p = TileBuilder::shapeOf(table)[3];
      Value slice =
          t.load(table, {t.index(0), t.floorDiv(id, p), t.index(0), t.mod(id, p)}, {1, 1, d, 1}, {d});
      row = t.map({1, d}, {slice}, {{1}}, [](TileBuilder &, ValueRange v) { return v[0]; });
    } else {
      Value slice = t.load(table, {t.index(0), id, t.index(0)}, {1, 1, d}, {1, d});
      row = t.map({slice}, [](TileBuilder &, ValueRange v) { return v[0]; });
    }
    return {{row, 0, {at[0], t.index(0)}, {1, d}}};
  });
}

void emitRows(TileEmitter &e, TileBuilder &t, Operation *op) {
  // Row-local work on its own: one workgroup per row.
  Value result = op->getResult(0);
  int64_t n = llm::columns(result);
  forAll(e, t, {t.dim(e.destinations[0], 0)},
         [&](TileBuilder &t, ValueRange at, ValueRange) -> SmallVector<Piece> {
           return {{e.tile(t, result, {at[0], 1, t.index(0), n}), 0, {at[0], t.index(0)}, {1, n}}};
         });
}

/// Panels per workgroup: few enough workgroups that the row prologue (a norm) is not repeated much, enough of
/// them for many threads, and a weight share (panels x K x 32 values) that stays in a core's second-level
/// cache while row blocks pass over it.
static int64_t panelsPerGroup(int64_t panels, int64_t k) {
  int64_t cache = std::max<int64_t>(1, 256 * 1024 / (k * 64));
  int64_t best = 1;
  for (int64_t g = 2; g <= 8 && g <= cache; ++g)
    if (panels / g >= 8)
      best = g;
  return best;
}

/// Columns `p * 32 ..` of `out` for rows `row ..`, into `into` whose first column is `base`.
static Value storePanel(TileEmitter &e, TileBuilder &t, Value out, Value row, int64_t rows, Value into,
                        Value rowInto, Value panel, Value base, int64_t n) {
  Value column = t.mul(panel, 32);
  auto emit = [&](TileBuilder &t, int64_t columns) -> SmallVector<Value> {
    Value tile = e.tile(t, out, {row, rows, column, columns});
    return {t.store(tile, into, {rowInto, t.sub(column, base)}, {rows, columns})};
  };
  if (n % 32 == 0)
    return emit(t, 32)[0];
  if (n < 32)
    return emit(t, n)[0];
  return t.select(
      t.less(panel, t.index(n / 32)), [&](TileBuilder &t) { return emit(t, 32); },
      [&](TileBuilder &t) { return emit(t, n % 32); })[0];
}

void emitLinear(TileEmitter &e, TileBuilder &t, llm::LinearOp op) {
  //        columns: workgroup g owns panels g G .. g G + G
  //  rows  ┌────┬────┬────┐
  //   8    │ 32 │ 32 │    │   blocks of 8 rows: the input once, norm and all,
  //   8    │    │    │    │   then panel by panel
  //   1    │    │    │    │   rows left over one by one, summed in the same order
  //        └────┴────┴────┘
  Value out = yielded(e.dispatch, 0);
  int64_t n = llm::columns(out), k = llm::columns(op.getX());
  int64_t panels = llvm::divideCeil(n, 32), per = panelsPerGroup(panels, k);
  Value tokens = t.dim(e.destinations[0], 0);
  bool plainInput = isa<BlockArgument>(op.getX());
  forAll(e, t, {t.index(llvm::divideCeil(panels, per))},
         [&](TileBuilder &t, ValueRange at, ValueRange destinations) -> SmallVector<Piece> {
           Value firstPanel = t.mul(at[0], per);
           Value lastPanel =
               panels % per ? t.min(t.add(firstPanel, per), t.index(panels)) : t.add(firstPanel, per);
           Value base = t.mul(firstPanel, 32);
           Value width = t.min(t.sub(t.index(n), base), t.index(per * 32));
           Value share = t.load(destinations[0], {t.index(0), base}, {-1, -1}, {-1, -1}, {tokens, width});
           auto done =
               byRows(t, tokens, share,
                      [&](TileBuilder &t, Value row, int64_t rows, ValueRange carried) -> SmallVector<Value> {
                        if (!plainInput)
                          e.bind(op.getX(), e.tile(t, op.getX(), {row, rows, t.index(0), k}));
                        auto result = t.loop(
                            firstPanel, lastPanel, 1, carried,
                            [&](TileBuilder &t, Value panel, ValueRange carried) -> SmallVector<Value> {
                              return {storePanel(e, t, out, row, rows, carried[0], row, panel, base, n)};
                            });
                        e.unbind(op.getX());
                        return result;
                      });
           return {{done[0], 0, {t.index(0), base}, {-1, -1}, {tokens, width}}};
         });
}

void emitExpertLinear(TileEmitter &e, TileBuilder &t, llm::ExpertLinearOp op) {
  // As emitLinear, for the rows of one group of (token, choice) pairs; gathered rows are put side by side
  // first.
  Value out = yielded(e.dispatch, 0);
  int64_t n = llm::columns(out), k = llm::columns(op.getX()), gather = op.getGather();
  int64_t panels = llvm::divideCeil(n, 32), per = panelsPerGroup(panels, k);
  Value groups = e.argument(op.getGroups()), order = e.argument(op.getOrder());
  int64_t experts = TileBuilder::shapeOf(groups)[0];
  // With few rows most experts have none: at most one group per row is not empty.
  Value active = t.min(t.index(experts), t.dim(e.destinations[0], 0));
  forAll(e, t, {active, t.index(llvm::divideCeil(panels, per))},
         [&](TileBuilder &t, ValueRange at, ValueRange destinations) -> SmallVector<Piece> {
           auto field = [&](int64_t i) { return t.toIndex(t.extract(groups, {at[0], t.index(i)})); };
           Value expert = field(0), begin = field(1), end = field(2);
           e.expert = expert;
           Value firstPanel = t.mul(at[1], per);
           Value lastPanel =
               panels % per ? t.min(t.add(firstPanel, per), t.index(panels)) : t.add(firstPanel, per);
           Value base = t.mul(firstPanel, 32);
           Value width = t.min(t.sub(t.index(n), base), t.index(per * 32));
           Value count = t.sub(end, begin);
           Value share = t.load(destinations[0], {begin, base}, {-1, -1}, {-1, -1}, {count, width});
           auto done = byRows(
               t, count, share,
               [&](TileBuilder &t, Value local, int64_t rows, ValueRange carried) -> SmallVector<Value> {
                 Value row = t.add(begin, local);
                 Value input;
                 if (gather) {
                   input = t.loop(t.index(0), t.index(rows), 1, t.empty({rows, k}),
                                  [&](TileBuilder &t, Value i, ValueRange carried) -> SmallVector<Value> {
                                    Value source =
                                        t.floorDiv(t.toIndex(t.extract(order, t.add(row, i))), gather);
                                    Value tile = e.tile(t, op.getX(), {source, 1, t.index(0), k});
                                    return {t.store(tile, carried[0], {i, t.index(0)}, {1, k})};
                                  })[0];
                 } else {
                   input = e.tile(t, op.getX(), {row, rows, t.index(0), k});
                 }
                 e.bind(op.getX(), input);
                 auto result =
                     t.loop(firstPanel, lastPanel, 1, carried,
                            [&](TileBuilder &t, Value panel, ValueRange carried) -> SmallVector<Value> {
                              return {storePanel(e, t, out, row, rows, carried[0], local, panel, base, n)};
                            });
                 e.unbind(op.getX());
                 return result;
               });
           e.expert = Value();
           return {{done[0], 0, {begin, base}, {-1, -1}, {count, width}}};
         });
}

void emitCombineExperts(TileEmitter &e, TileBuilder &t, llm::CombineExpertsOp op) {
  Value out = yielded(e.dispatch, 0), place = e.argument(op.getPlace());
  int64_t n = llm::columns(out), k = llm::columns(op.getPlace());
  forAll(e, t, {t.dim(e.destinations[0], 0)},
         [&](TileBuilder &t, ValueRange at, ValueRange) -> SmallVector<Piece> {
           Value weights = e.tile(t, op.getWeights(), {at[0], 1, t.index(0), k});
           Value sum =
               t.loop(t.index(0), t.index(k), 1, t.full({1, n}, 0),
                      [&](TileBuilder &t, Value j, ValueRange carried) -> SmallVector<Value> {
                        Value row = t.toIndex(t.extract(place, {at[0], j}));
                        Value x = e.tile(t, op.getX(), {row, 1, t.index(0), n});
                        Value w = t.extract(weights, {t.index(0), j});
                        return {t.map(
                            {1, n}, {x, w}, {{0, 1}, {}},
                            [](TileBuilder &t, ValueRange v) { return t.addf(v[2], t.mulf(v[0], v[1])); },
                            carried[0])};
                      })[0];
           e.bind(op.getResult(), sum);
           Value tile = e.tile(t, out, {at[0], 1, t.index(0), n});
           e.unbind(op.getResult());
           return {{tile, 0, {at[0], t.index(0)}, {1, n}}};
         });
}

} // namespace llmc
