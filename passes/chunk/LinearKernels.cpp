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
/// them for many threads, and a weight share (panels x K x 32 values) of at most `bytes`, which stays in a
/// core's second-level cache while row blocks pass over it.
static int64_t panelsPerGroup(int64_t panels, int64_t k, int64_t bytes) {
  int64_t cache = std::max<int64_t>(1, bytes / (k * 64));
  int64_t best = 1;
  for (int64_t g = 2; g <= 8 && g <= cache; ++g)
    if (panels / g >= 8)
      best = g;
  return best;
}

/// How the panels of a linear are shared out among workgroups.
struct PanelGroups {
  Value count, panels; ///< workgroups, and panels of each but the last
};

/// Workgroups of a step are small, so that threads that are held up delay it little. For a prompt, which has
/// at least `many` rows, they are larger: its prologue takes longer than reading the weights.
static PanelGroups panelGroups(TileBuilder &t, int64_t panels, int64_t k, Value rows, int64_t many) {
  int64_t step = panelsPerGroup(panels, k, 256 * 1024), prompt = panelsPerGroup(panels, k, 512 * 1024);
  auto choose = [&](int64_t few, int64_t more) -> Value {
    if (few == more)
      return t.index(few);
    return arith::SelectOp::create(t.b, t.loc, t.less(rows, t.index(many)), t.index(few), t.index(more));
  };
  return {choose(llvm::divideCeil(panels, step), llvm::divideCeil(panels, prompt)), choose(step, prompt)};
}

/// Rows of `k` columns that share the work on a panel of weights: as many as leave room for the weights in
/// the second-level cache, since each panel passes over all of them.
static int64_t rowsPerBlock(int64_t k) {
  constexpr int64_t kMost = 128, kInputValues = 192 * 1024;
  return std::clamp<int64_t>(llvm::bit_floor<uint64_t>(kInputValues / k), 1, kMost);
}

/// All columns of rows `row ..` of a value that the kernel makes, a few rows at a time: what lies between its
/// steps stays in the first-level cache.
static Value makeRows(TileEmitter &e, TileBuilder &t, Value v, Value row, int64_t rows) {
  constexpr int64_t kStep = 8;
  int64_t k = llm::columns(v);
  if (rows <= kStep)
    return e.tile(t, v, {row, rows, t.index(0), k});
  return t.loop(t.index(0), t.index(rows), kStep, t.empty({rows, k}),
                [&](TileBuilder &t, Value i, ValueRange carried) -> SmallVector<Value> {
                  Value some = e.tile(t, v, {t.add(row, i), kStep, t.index(0), k});
                  return {t.store(some, carried[0], {i, t.index(0)}, {kStep, k})};
                })[0];
}

/// Columns `p * 32 ..` of `out` for rows `row ..`, into `into` whose first column is `base`. Of a block's
/// rows the first `done`, if given, have been stored before.
static Value storePanel(TileEmitter &e, TileBuilder &t, Value out, Value row, const RowBlock &block,
                        Value into, Value panel, Value base, int64_t n) {
  Value column = t.mul(panel, 32);
  auto emit = [&](TileBuilder &t, int64_t columns) -> SmallVector<Value> {
    Value tile = e.tile(t, out, {row, block.rows, column, columns});
    Value left = t.sub(column, base);
    if (!block.done)
      return {t.store(tile, into, {block.row, left}, {block.rows, columns})};
    Value count = t.sub(t.index(block.rows), block.done);
    Value fresh = t.load(tile, {block.done, t.index(0)}, {-1, columns}, {-1, columns}, {count});
    return {t.store(fresh, into, {t.add(block.row, block.done), left}, {-1, columns}, {count})};
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
  //   128  │ 32 │ 32 │    │   blocks of up to 128 rows: the input once, norm and all, then panel by panel
  //   8    │    │    │    │   fewer are left: blocks of 8
  //   1    │    │    │    │   and one by one, summed in the same order
  //        └────┴────┴────┘
  Value out = yielded(e.dispatch, 0);
  int64_t n = llm::columns(out), k = llm::columns(op.getX());
  int64_t panels = llvm::divideCeil(n, 32);
  Value tokens = t.dim(e.destinations[0], 0);
  bool isInputMade = !isa<BlockArgument>(op.getX());
  int64_t blockRows = rowsPerBlock(k);
  PanelGroups groups = panelGroups(t, panels, k, tokens, blockRows);
  forAll(e, t, {groups.count},
         [&](TileBuilder &t, ValueRange at, ValueRange destinations) -> SmallVector<Piece> {
           Value firstPanel = t.mul(at[0], groups.panels);
           Value lastPanel = t.min(t.add(firstPanel, groups.panels), t.index(panels));
           Value base = t.mul(firstPanel, 32);
           Value width = t.min(t.sub(t.index(n), base), t.mul(groups.panels, 32));
           Value share = t.load(destinations[0], {t.index(0), base}, {-1, -1}, {-1, -1}, {tokens, width});
           auto done = byRowBlocks(
               t, tokens, blockRows, share,
               [&](TileBuilder &t, const RowBlock &block, ValueRange carried) -> SmallVector<Value> {
                 if (isInputMade)
                   e.bind(op.getX(), makeRows(e, t, op.getX(), block.row, block.rows));
                 auto result =
                     t.loop(firstPanel, lastPanel, 1, carried,
                            [&](TileBuilder &t, Value panel, ValueRange carried) -> SmallVector<Value> {
                              return {storePanel(e, t, out, block.row, block, carried[0], panel, base, n)};
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
  bool isInputMade = !isa<BlockArgument>(op.getX());
  int64_t panels = llvm::divideCeil(n, 32), per = panelsPerGroup(panels, k, 256 * 1024);
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
           auto done = byRowBlocks(
               t, count, rowsPerBlock(k), share,
               [&](TileBuilder &t, const RowBlock &block, ValueRange carried) -> SmallVector<Value> {
                 Value row = t.add(begin, block.row);
                 int64_t rows = block.rows;
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
                   input = isInputMade ? makeRows(e, t, op.getX(), row, rows)
                                       : e.tile(t, op.getX(), {row, rows, t.index(0), k});
                 }
                 e.bind(op.getX(), input);
                 auto result =
                     t.loop(firstPanel, lastPanel, 1, carried,
                            [&](TileBuilder &t, Value panel, ValueRange carried) -> SmallVector<Value> {
                              return {storePanel(e, t, out, row, block, carried[0], panel, base, n)};
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
