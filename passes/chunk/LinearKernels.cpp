// Kernels of embeddings, linears, expert linears and plain row work.
#include "passes/chunk/LinearTiles.h"

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

int64_t panelsPerGroup(int64_t panels, int64_t k, int64_t bytes) {
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

/// Workgroups of a step are small, so that threads that are held up delay it little. For a prompt they
/// are larger: its prologue takes longer than reading the weights.
static PanelGroups panelGroups(TileBuilder &t, int64_t panels, int64_t k, Value rows) {
  constexpr int64_t kMany = 64;
  int64_t step = panelsPerGroup(panels, k, 256 * 1024), prompt = panelsPerGroup(panels, k, 1024 * 1024);
  auto choose = [&](int64_t few, int64_t more) -> Value {
    if (few == more)
      return t.index(few);
    return arith::SelectOp::create(t.b, t.loc, t.less(rows, t.index(kMany)), t.index(few), t.index(more));
  };
  return {choose(llvm::divideCeil(panels, step), llvm::divideCeil(panels, prompt)), choose(step, prompt)};
}

int64_t rowsPerBlock(const TileBuilder &t, int64_t k) {
  constexpr int64_t kMost = 256, kInputValues = 256 * 1024;
  return t.tiles.areShared() ? kFewRows : std::clamp<int64_t>(kInputValues / k / kFewRows * kFewRows, kFewRows, kMost);
}

Value makeInput(TileBuilder &t, int64_t rows, int64_t most, int64_t k,
                function_ref<Value(TileBuilder &, Value offset, int64_t rows)> make) {
  Value zero = t.index(0);
  if (rows >= 0)
    return make(t, zero, rows);
  // Rows of which the same k are read together must not lie a power of two apart: they would share a set of the first-level cache.
  constexpr int64_t kPadding = 16; // a cache line
  // A few rows at a time: what lies between the steps of a prologue stays in the first-level cache.
  Value made = t.loop(zero, t.rows(), kFewRows, t.empty({most, k + kPadding}),
                      [&](TileBuilder &outer, Value i, ValueRange carried) -> SmallVector<Value> {
                        TileBuilder t = outer.withRows(outer.min(outer.sub(outer.rows(), i), outer.index(kFewRows)));
                        Value some = t.map({-1, k}, {make(t, i, -1)}, {{0, 1}}, [](TileBuilder &, ValueRange v) { return v[0]; });
                        return {t.store(some, carried[0], {i, zero}, {-1, k})};
                      })[0];
  made = t.loop(t.rows(), t.mul(t.ceilDiv(t.rows(), kFewRows), kFewRows), 1, made,
                [&](TileBuilder &t, Value i, ValueRange carried) -> SmallVector<Value> {
                  return {t.store(t.full({1, k}, 0), carried[0], {i, zero}, {1, k})};
                })[0];
  return t.load(made, {zero, zero}, {most, k}, {most, k});
}

int64_t panelsPerTile(int64_t panels, int64_t wanted) {
  for (int64_t per = wanted; per > 1; --per)
    if (panels % per == 0 && per * 2 > wanted)
      return per;
  return std::min(panels, wanted);
}

BlockArgument storedInput(Value x) {
  while (auto slice = x.getDefiningOp<llm::SliceOp>())
    x = slice.getX();
  return dyn_cast<BlockArgument>(x);
}

/// Panels wanted of a tile of `out`, which `op` and what follows it make. Wide tiles are for one product, whose accumulators a thread can hold:
/// the two of a gated linear have as many at half the columns.
static int64_t wantedPanels(TileEmitter &e, const Tiles &tiles, llm::LinearOp op, Value out) {
  if (e.isStep)
    return tiles.stepPanels;
  bool isOneProduct = llm::columns(op.getResult()) == llm::columns(out), isNarrow = e.weightType(op).isBF16();
  bool isWide = tiles.widePanels && llm::columns(out) >= tiles.wideColumns && isOneProduct && isNarrow && storedInput(op.getX());
  return isWide ? tiles.widePanels : tiles.promptPanels;
}

/// Columns from `first` panel on of `out`, `per` panels or what is left of n, for rows `row ..`, into `into` whose first column that is.
static Value storeColumns(TileEmitter &e, TileBuilder &t, Value out, Value row, int64_t rows, Value into, Value first, int64_t per,
                          int64_t n) {
  Value zero = t.index(0);
  auto emit = [&](TileBuilder &t, int64_t columns) -> SmallVector<Value> {
    Value tile = e.tile(t, out, {row, rows, t.mul(first, 32), columns});
    return {t.store(tile, into, {zero, zero}, {rows, columns})};
  };
  int64_t whole = per * 32;
  if (n % whole == 0)
    return emit(t, whole)[0];
  if (n < whole)
    return emit(t, n)[0];
  return t.select(
      t.less(first, t.index(n / whole * per)), [&](TileBuilder &t) { return emit(t, whole); },
      [&](TileBuilder &t) { return emit(t, n % whole); })[0];
}

/// What targets with many threads want: rows are shared out among workgroups as well.
///
///        columns: `per` panels a workgroup
///  rows  ┌─────┬─────┬─────┐
///  M     │ 0,0 │ 1,0 │     │   a tile: input [M, K] times panels [per, K, 32], then the epilogue on [M, 32 per];
///  M     │ 0,1 │ 1,1 │     │   neighbouring workgroups take rows below each other, so that they read the same weights (Tiles::rowsTogether)
///  rest  │     │     │     │   the last rows: as many as there are
///        └─────┴─────┴─────┘
static void emitTiledLinear(TileEmitter &e, TileBuilder &t, llm::LinearOp op) {
  Value out = yielded(e.dispatch, 0);
  int64_t n = llm::columns(out), k = llm::columns(op.getX()), panels = llvm::divideCeil(n, 32);
  int64_t rows = e.isStep ? t.tiles.stepRows : t.tiles.promptRows;
  int64_t per = panelsPerTile(panels, wantedPanels(e, t.tiles, op, out));
  Value tokens = t.dim(e.destinations[0], 0);
  const int64_t together = e.isStep ? 0 : t.tiles.rowsTogether;
  if (together)
    e.kernel->setAttr("llm.rows_together", t.b.getI64IntegerAttr(together));
  forAll(e, t, {t.index(llvm::divideCeil(panels, per)), t.ceilDiv(tokens, rows)},
         [&](TileBuilder &outer, ValueRange at, ValueRange destinations) -> SmallVector<Piece> {
           Value row = outer.mul(at[1], rows), first = outer.mul(at[0], per), base = outer.mul(first, 32);
           Value rest = outer.sub(tokens, row);
           if (together) // of the rows beyond the last a tile has none
             rest = arith::MaxSIOp::create(outer.b, outer.loc, rest, outer.index(0));
           Value valid = outer.min(rest, outer.index(rows));
           Value width = n % (32 * per) ? outer.min(outer.sub(outer.index(n), base), outer.index(32 * per))
                                        : outer.index(32 * per);
           TileBuilder t = outer.withRows(valid);
           Value share = t.load(destinations[0], {row, base}, {-1, -1}, {-1, -1}, {valid, width});
           if (!isa<BlockArgument>(op.getX()))
             e.bind(op.getX(), t.productOperand(e.tile(t, op.getX(), {row, -1, t.index(0), k}), e.weightType(op)));
           Value done = storeColumns(e, t, out, row, -1, share, first, per, n);
           e.unbind(op.getX());
           return {{done, 0, {row, base}, {-1, -1}, {valid, width}}};
         });
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
  //   256  │ 32 │ 32 │    │   blocks of up to 256 rows: the input once, norm and all, then panel by panel
  //   256  │    │    │    │   a call with few rows: 8 at a time, the rest one by one, summed in the same order
  //        └────┴────┴────┘
  if (t.tiles.areShared())
    return emitTiledLinear(e, t, op);
  Value out = yielded(e.dispatch, 0);
  int64_t n = llm::columns(out), k = llm::columns(op.getX());
  int64_t panels = llvm::divideCeil(n, 32);
  Value tokens = t.dim(e.destinations[0], 0);
  bool isInputMade = !isa<BlockArgument>(op.getX());
  int64_t blockRows = rowsPerBlock(t, k);
  PanelGroups groups = panelGroups(t, panels, k, tokens);
  forAll(e, t, {groups.count},
         [&](TileBuilder &t, ValueRange at, ValueRange destinations) -> SmallVector<Piece> {
           Value firstPanel = t.mul(at[0], groups.panels);
           Value lastPanel = t.min(t.add(firstPanel, groups.panels), t.index(panels));
           Value base = t.mul(firstPanel, 32);
           Value width = t.min(t.sub(t.index(n), base), t.mul(groups.panels, 32));
           Value share = t.load(destinations[0], {t.index(0), base}, {-1, -1}, {-1, -1}, {tokens, width});
           auto done = byRowBlocks(
               t, tokens, blockRows, share,
               [&](TileBuilder &t, Value row, int64_t rows, ValueRange carried) -> SmallVector<Value> {
                 if (isInputMade || rows < 0)
                   e.bind(op.getX(), makeInput(t, rows, blockRows, k, [&](TileBuilder &t, Value i, int64_t rows) {
                            return e.tile(t, op.getX(), {t.add(row, i), rows, t.index(0), k});
                          }));
                 auto result =
                     t.loop(firstPanel, lastPanel, 1, carried,
                            [&](TileBuilder &t, Value panel, ValueRange carried) -> SmallVector<Value> {
                              return {storePanel(e, t, out, row, rows, carried[0], row, panel, base, n)};
                            });
                 e.unbind(op.getX());
                 return result;
               });
           return {{done[0], 0, {t.index(0), base}, {-1, -1}, {tokens, width}}};
         });
}

void emitGatherRows(TileEmitter &e, TileBuilder &t, llm::ExpertLinearOp op) {
  Value order = e.argument(op.getOrder());
  int64_t k = llm::columns(op.getX()), gather = op.getGather();
  forAll(e, t, {t.dim(e.destinations[0], 0)}, [&](TileBuilder &t, ValueRange at, ValueRange) -> SmallVector<Piece> {
    Value source = t.floorDiv(t.toIndex(t.extract(order, at[0])), gather);
    Value row = e.tile(t, op.getX(), {source, 1, t.index(0), k});
    return {{t.map({row}, [](TileBuilder &, ValueRange v) { return v[0]; }), 0, {at[0], t.index(0)}, {1, k}}};
  });
}

/// As emitTiledLinear, for the rows of one group: how many that are only the kernel knows, so a workgroup takes them all, M at a time.
/// Its rows lie side by side: those that were gathered, by a kernel before.
static void emitTiledExpertLinear(TileEmitter &e, TileBuilder &t, llm::ExpertLinearOp op) {
  Value out = yielded(e.dispatch, 0), groups = e.argument(op.getGroups());
  int64_t n = llm::columns(out), k = llm::columns(op.getX()), panels = llvm::divideCeil(n, 32);
  int64_t rows = t.tiles.promptRows, per = panelsPerTile(panels, t.tiles.promptPanels);
  Value active = t.min(t.index(TileBuilder::shapeOf(groups)[0]), t.dim(e.destinations[0], 0));
  forAll(e, t, {active, t.index(llvm::divideCeil(panels, per))},
         [&](TileBuilder &t, ValueRange at, ValueRange destinations) -> SmallVector<Piece> {
           auto field = [&](int64_t i) { return t.toIndex(t.extract(groups, {at[0], t.index(i)})); };
           Value begin = field(1), count = t.sub(field(2), begin), first = t.mul(at[1], per), base = t.mul(first, 32);
           e.expert = field(0);
           Value width = n % (32 * per) ? t.min(t.sub(t.index(n), base), t.index(32 * per)) : t.index(32 * per);
           Value share = t.load(destinations[0], {begin, base}, {-1, -1}, {-1, -1}, {count, width});
           Value zero = t.index(0);
           auto done = t.loop(
               zero, count, rows, share, [&](TileBuilder &outer, Value local, ValueRange carried) -> SmallVector<Value> {
                 Value valid = outer.min(outer.sub(count, local), outer.index(rows)), row = outer.add(begin, local);
                 TileBuilder t = outer.withRows(valid);
                 Value into = t.load(carried[0], {local, zero}, {-1, -1}, {-1, -1}, {valid, width});
                 if (e.gathered)
                   e.bind(op.getX(), t.load(e.gathered, {row, zero}, {-1, k}, {-1, k}));
                 Value made = storeColumns(e, t, out, row, -1, into, first, per, n);
                 e.unbind(op.getX());
                 return {t.store(made, carried[0], {local, zero}, {-1, -1}, {valid, width})};
               });
           e.expert = Value();
           return {{done[0], 0, {begin, base}, {-1, -1}, {count, width}}};
         });
}

void emitExpertLinear(TileEmitter &e, TileBuilder &t, llm::ExpertLinearOp op) {
  if (t.tiles.areShared() && !e.isStep && (e.gathered || !op.getGather()))
    return emitTiledExpertLinear(e, t, op);
  // As emitLinear, for the rows of one group of (token, choice) pairs; gathered rows are put side by side
  // first.
  Value out = yielded(e.dispatch, 0);
  int64_t n = llm::columns(out), k = llm::columns(op.getX()), gather = op.getGather();
  int64_t panels = llvm::divideCeil(n, 32), per = panelsPerGroup(panels, k, 256 * 1024), blockRows = rowsPerBlock(t, k);
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
               t, count, blockRows, share,
               [&](TileBuilder &t, Value local, int64_t rows, ValueRange carried) -> SmallVector<Value> {
                 Value row = t.add(begin, local);
                 auto make = [&](TileBuilder &t, Value i, int64_t rows) -> Value {
                   Value first = t.add(row, i);
                   if (!gather)
                     return e.tile(t, op.getX(), {first, rows, t.index(0), k});
                   return t.loop(t.index(0), rows < 0 ? t.rows() : t.index(rows), 1, t.empty({rows, k}),
                                 [&](TileBuilder &t, Value i, ValueRange carried) -> SmallVector<Value> {
                                   Value source = t.floorDiv(t.toIndex(t.extract(order, t.add(first, i))), gather);
                                   Value tile = e.tile(t, op.getX(), {source, 1, t.index(0), k});
                                   return {t.store(tile, carried[0], {i, t.index(0)}, {1, k})};
                                 })[0];
                 };
                 e.bind(op.getX(), makeInput(t, rows, blockRows, k, make));
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
