// Kernels of appends, attention and latent attention: online softmax over blocks of 32 positions.
//
//   for each block j of 32 positions (a prompt's tile on a GPU takes 64) up to the last one visible:
//     s   = scale * q k_j^T            masked to -inf where the position is not visible
//     m'  = max(m, max s)              a = exp(m - m')        p = exp(s - m')
//     l   = a l + sum p                acc = a acc + p v_j
//   o = acc / l
//
// Blocks start at multiples of their width of the position in the sequence, and a block that a row does not see
// changes none of its values (a = 1, p = 0), so a row's result depends neither on the rows beside it nor on
// the pieces in which a prompt came.
//
// A step with few rows and a long context has too few workgroups for a GPU. It goes in two kernels: the blocks that a row sees are cut into
// segments of equal length, by the row's own position alone, and each gives o and the logarithm of its weight, max + log l; then
//   o = sum_s e^{w_s - max w} o_s / sum_s e^{w_s - max w}     in the order of the segments.
// Latent attention has a kernel before these two, which brings the queries of all heads onto the latents: a segment is then one tile of
// queries [heads, r + rope], the heads being its rows, over blocks of latents that serve all of them as keys and values.
//
// Where a target shares a prompt's rows out among workgroups, each has a tile of rows of one head, and latent attention is the same with queries brought
// onto the latents before and results brought off them after, whatever the op's form. Keys and values of a block's positions would take r (nope + v)
// multiply-adds a position and save 2 r - nope - v for each row that meets it: at the usual widths (512, 128, 128) they pay from 171 rows on, which
// is more than a workgroup's accumulators hold; made once for all workgroups they would need memory that grows with the context, 16 KiB a
// position for 32 heads. The expanded form is for workgroups that take all rows of a head.
#include "passes/chunk/TileEmitter.h"

using namespace mlir;
namespace llmc {
namespace {

constexpr int64_t kBlock = 32;
constexpr double kMinus = -1e30; // below any score; finite, so that exp(m - m') of nothing seen yet is exp(0)

/// What attention over one block needs: query rows [M, d]; rows' positions are `position` (+ row index if
/// `ascending`).
struct Queries {
  Value rows;
  int64_t count;
  Value position; ///< index
  bool ascending;
  bool keysAreRows = false; ///< keys of a block are [32, d], not [d, 32]
  /// Powers of two instead of e, of scores that are scaled there: an operation less for each, and a cheap one where targets have an instruction.
  bool hasRoughPowers = false;
};

/// Which positions a row sees besides causally: see llm.attention.
struct Mask {
  std::optional<int64_t> window = {}, block = {};
  Value end = {};  ///< index, one past the last position of the sequence; null for causal masks
  Value ends = {}; ///< of two-way masks, one past the last position that each row sees, [M] i32

  /// Whether a row sees more than the positions up to its own.
  bool isTwoWay() const { return bool(end); }
  /// One past the last position that a row at `position` sees; all index.
  Value endFor(TileBuilder &t, Value position) const {
    if (!isTwoWay())
      return t.add(position, 1);
    return block ? t.min(t.mul(t.add(t.floorDiv(position, *block), 1), *block), end) : end;
  }
};

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

/// One block of the algorithm above: (max, sum, acc) of the rows after block `j` of `width` positions with keys [d, 32] and values [32, dv],
/// or keys [p, d, 32] and values [32 p, dv] of as many blocks of the cache as are left of it, up to the width.
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

/// acc / sum
Value normalised(TileBuilder &t, Value acc, Value sum) {
  auto shape = TileBuilder::shapeOf(acc);
  return t.map({shape[0], shape[1]}, {acc, sum}, {{0, 1}, {0}},
               [](TileBuilder &t, ValueRange v) { return t.divf(v[0], v[1]); });
}

using Blocks = function_ref<Value(TileBuilder &, Value block)>;

/// (max, sum, acc) of the rows after blocks `from` .. `to` of `width` positions. `keys(j)` and `values(j)` are as attendBlock takes them.
SmallVector<Value> attendBlocks(TileBuilder &t, const Queries &q, int64_t valueWidth, double scale, const Mask &mask,
                                Blocks keys, Blocks values, Value from, Value to, int64_t width = kBlock) {
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

/// Attends to all visible blocks. Returns [M, dv].
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

} // namespace

void emitAppend(TileEmitter &e, TileBuilder &t, llm::AppendOp op) {
  forAll(e, t, {e.tokens(t)}, [&](TileBuilder &t, ValueRange at, ValueRange) {
    Value sequence = t.toIndex(t.extract(e.where, {at[0], t.index(0)}));
    Value position = t.toIndex(t.extract(e.where, {at[0], t.index(1)}));
    Value slot = t.toIndex(t.extract(e.rows, {sequence, t.index(0)}));
    SmallVector<Piece> pieces;
    int64_t offset = 0;
    for (Value input : op.getInputs()) {
      int64_t n = llm::columns(input);
      Value row = e.tile(t, input, {at[0], 1, t.index(0), n});
      if (auto block = op.getKeyBlock()) {
        Value column = t.map({n}, {t.load(row, {t.index(0), t.index(0)}, {1, n}, {n})}, {},
                             [](TileBuilder &, ValueRange v) { return v[0]; });
        pieces.push_back({column,
                          0,
                          {slot, t.floorDiv(position, *block), t.index(offset), t.mod(position, *block)},
                          {1, 1, n, 1}});
      } else {
        pieces.push_back({row, 0, {slot, position, t.index(offset)}, {1, 1, n}});
      }
      offset += n;
    }
    return pieces;
  });
}

/// Keys [d, 32] and values [32, dv] of key head `head` in block `j` of the sequence's positions.
static Value keyBlock(TileEmitter &e, TileBuilder &t, llm::AttentionOp op, const SequenceValues &seq, Value head, Value j) {
  int64_t d = llm::columns(op.getQ()) / op.getHeads();
  return t.load(e.argument(op.getKeys()), {seq.slot, j, t.mul(head, d), t.index(0)}, {1, 1, d, kBlock}, {d, kBlock});
}
static Value valueBlock(TileEmitter &e, TileBuilder &t, llm::AttentionOp op, const SequenceValues &seq, Value head, Value j) {
  int64_t dv = llm::columns(op.getValues()) / op.getKvHeads();
  return t.load(e.argument(op.getValues()), {seq.slot, t.mul(j, kBlock), t.mul(head, dv)}, {1, kBlock, dv}, {kBlock, dv});
}

namespace {

/// M rows of a query head of a sequence, of which those that there are (TileBuilder::rows) begin at `first` of the call's rows and see
/// positions up to their own, from `position` on; the last one sees those before `end`.
struct RowTile {
  SequenceValues seq;
  Value head, first, position, end;
};

} // namespace

/// Rows of causal masks shared out among workgroups: one per sequence, query head and M rows of the call (as many as there could be; those without
/// rows have nothing to do). `attended` gives the results [M, dv] of a tile, of which those of rows that there are get stored.
static void forRowTiles(TileEmitter &e, TileBuilder &t, int64_t heads, int64_t m, int64_t dv,
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

/// A tile of m rows, of which those that there are have the columns of `some` and the others are zeros, whose scores are zeros.
static Value paddedQueries(TileBuilder &t, Value some, int64_t m) {
  int64_t d = TileBuilder::shapeOf(some)[1];
  Value none = t.cast(t.full({m, d}, 0), TileBuilder::elementOf(some)), zero = t.index(0);
  return t.store(some, none, {zero, zero}, {-1, d});
}

/// A tile's rows and the positions that it takes at once: 128 x 64 where the sums of a row are at most 128 columns, which with the scores are what
/// registers hold; else fewer of both.
static std::pair<int64_t, int64_t> tileOf(const Tiles &tiles, int64_t keyWidth, int64_t valueWidth) {
  constexpr int64_t kWide = 128, kFewRows = 64;
  return {valueWidth > kWide ? std::min(kFewRows, tiles.attentionRows) : tiles.attentionRows,
          std::max(keyWidth, valueWidth) > kWide ? kBlock : tiles.attentionKeys};
}

static void emitTiledAttention(TileEmitter &e, TileBuilder &t, llm::AttentionOp op) {
  int64_t heads = op.getHeads(), kvHeads = op.getKvHeads(), group = heads / kvHeads;
  int64_t d = llm::columns(op.getQ()) / heads, dv = llm::columns(op.getValues()) / kvHeads;
  auto [m, width] = tileOf(t.tiles, d, dv);
  const int64_t rows = m, positions = width, blocks = width / kBlock;
  const double scale = op.getScale().convertToDouble();
  Value keys = e.argument(op.getKeys()), values = e.argument(op.getValues());
  Type stored = TileBuilder::elementOf(keys);
  forRowTiles(e, t, heads, rows, dv, [&](TileBuilder &t, const RowTile &tile) {
    Value head = t.floorDiv(tile.head, group), own = e.tile(t, op.getQ(), {tile.first, -1, t.mul(tile.head, d), d});
    Value keyRow = t.mul(head, d), column = t.mul(head, dv), zero = t.index(0);
    // The cache may end within a tile of several of its blocks.
    auto keyTile = [&](TileBuilder &t, Value j) {
      if (blocks == 1)
        return keyBlock(e, t, op, tile.seq, head, j);
      Value first = t.mul(j, blocks), count = t.min(t.sub(t.dim(keys, 1), first), t.index(blocks));
      return t.load(keys, {tile.seq.slot, first, keyRow, zero}, {1, -1, d, kBlock}, {-1, d, kBlock}, {count});
    };
    auto valueTile = [&](TileBuilder &t, Value j) {
      if (blocks == 1)
        return valueBlock(e, t, op, tile.seq, head, j);
      Value first = t.mul(j, positions), count = t.min(t.sub(t.dim(values, 1), first), t.index(positions));
      return t.load(values, {tile.seq.slot, first, column}, {1, -1, dv}, {-1, dv}, {count});
    };
    auto sums = attendBlocks(t, {paddedQueries(t, t.productOperand(own, stored), rows), rows, tile.position, true, /*keysAreRows=*/false, scale > 0},
                             dv, scale, Mask{op.getWindow()}, keyTile, valueTile, zero, t.ceilDiv(tile.end, positions),
                             positions);
    return normalised(t, sums[2], sums[1]);
  });
}

RankedTensorType segmentsType(llm::AttentionOp op, int64_t segments) {
  int64_t dv = llm::columns(op.getValues()) / op.getKvHeads();
  return RankedTensorType::get({ShapedType::kDynamic, segments, int64_t(op.getHeads()) * (dv + 1)},
                               Float32Type::get(op.getContext()));
}

/// Of (max, sum, acc) of a segment: what it gives, and the logarithm of its weight.
static std::pair<Value, Value> resultAndWeight(TileBuilder &t, ValueRange sums) {
  // A segment without blocks has a sum of 0: its result is 0 and its weight exp(-1e30).
  constexpr double kTiny = 1e-37;
  Value total = t.map({sums[1]}, [&](TileBuilder &t, ValueRange v) { return t.maxf(v[0], t.f32(kTiny)); });
  Value weight = t.map({sums[0], total}, [](TileBuilder &t, ValueRange v) {
    return t.addf(v[0], math::LogOp::create(t.b, t.loc, v[1]));
  });
  return {normalised(t, sums[2], total), weight};
}

/// The results [segments, n] of all segments joined by the logarithms of their weights [1, segments].
static Value joined(TileBuilder &t, Value logs, Value rows) {
  int64_t segments = TileBuilder::shapeOf(rows)[0], n = TileBuilder::shapeOf(rows)[1];
  Value most = t.extract(t.reduce(logs, t.full({1}, kMinus), /*maximum=*/true), t.index(0));
  Value weights = t.map({1, segments}, {logs, most}, {{0, 1}, {}},
                        [](TileBuilder &t, ValueRange v) { return t.exp(t.subf(v[0], v[1])); });
  Value total = t.reduce(weights, t.full({1}, 0));
  return normalised(t, t.contract(weights, rows, t.full({1, n}, 0)), total);
}

void emitAttentionSegments(TileEmitter &e, TileBuilder &t, llm::AttentionOp op) {
  int64_t kvHeads = op.getKvHeads(), group = op.getHeads() / kvHeads, segments = t.tiles.segments;
  int64_t d = llm::columns(op.getQ()) / op.getHeads(), dv = llm::columns(op.getValues()) / kvHeads;
  forAll(e, t, {e.sequences(t), t.index(kvHeads), t.index(segments)},
         [&](TileBuilder &t, ValueRange at, ValueRange destinations) -> SmallVector<Piece> {
           SequenceValues seq = e.sequence(t, at[0]);
           Value zero = t.index(0), base = t.mul(at[1], group * (dv + 1));
           Value share = t.load(destinations[0], {seq.first, at[2], base}, {1, 1, group * (dv + 1)}, {1, group * (dv + 1)});
           Type stored = TileBuilder::elementOf(e.argument(op.getKeys()));
           Value q = t.loop(zero, t.index(group), 1, t.empty({group, d}, t.tiles.narrowProducts ? stored : Type()),
                            [&](TileBuilder &t, Value g, ValueRange carried) -> SmallVector<Value> {
                              Value head = t.add(t.mul(at[1], group), g);
                              Value row = e.tile(t, op.getQ(), {seq.first, 1, t.mul(head, d), d});
                              return {t.store(row, carried[0], {g, t.index(0)}, {1, d})};
                            })[0];
           Value blocks = t.add(t.floorDiv(seq.past, kBlock), 1), per = t.ceilDiv(blocks, segments);
           Value from = t.mul(at[2], per);
           auto [result, total] = resultAndWeight(
               t, attendBlocks(
                      t, {q, group, seq.past, false}, dv, op.getScale().convertToDouble(), Mask{op.getWindow()},
                      [&](TileBuilder &t, Value j) { return keyBlock(e, t, op, seq, at[1], j); },
                      [&](TileBuilder &t, Value j) { return valueBlock(e, t, op, seq, at[1], j); }, from,
                      t.min(t.add(from, per), blocks)));
           Value made = t.loop(zero, t.index(group), 1, share,
                               [&, o = result, weight = total](TileBuilder &t, Value g, ValueRange carried) -> SmallVector<Value> {
                                 Value column = t.mul(g, dv + 1);
                                 Value row = t.load(o, {g, t.index(0)}, {1, dv}, {1, dv});
                                 Value into = t.store(row, carried[0], {t.index(0), column}, {1, dv});
                                 return {t.insert(t.extract(weight, g), into, {t.index(0), t.add(column, dv)})};
                               })[0];
           return {{made, 0, {seq.first, at[2], base}, {1, 1, group * (dv + 1)}}};
         });
}

void emitJoinSegments(TileEmitter &e, TileBuilder &t, llm::AttentionOp op, Value parts) {
  int64_t dv = llm::columns(op.getValues()) / op.getKvHeads(), segments = TileBuilder::shapeOf(parts)[1];
  forAll(e, t, {t.dim(parts, 0), t.index(op.getHeads())},
         [&](TileBuilder &t, ValueRange at, ValueRange) -> SmallVector<Piece> {
           Value zero = t.index(0), column = t.mul(at[1], dv + 1);
           Value logs = t.load(parts, {at[0], zero, t.add(column, dv)}, {1, segments, 1}, {1, segments});
           Value rows = t.load(parts, {at[0], zero, column}, {1, segments, dv}, {segments, dv});
           return {{joined(t, logs, rows), 0, {at[0], t.mul(at[1], dv)}, {1, dv}}};
         });
}

namespace {

/// Columns of r + rope, or of a head's values, that one workgroup makes: what a product with few rows reads at once, if they come out even.
int64_t columnsAtOnce(ArrayRef<int64_t> widths) {
  constexpr int64_t kColumns = 32;
  return llvm::all_of(widths, [](int64_t w) { return w % kColumns == 0; }) ? kColumns : 0;
}

/// Columns of a tile's queries on r latents that are made at once: UK's for 512 would take all of a workgroup's memory.
int64_t columnsOfQuery(int64_t r) {
  for (int64_t columns = 128; columns; columns -= 8)
    if (r % columns == 0)
      return columns;
  return r;
}

/// Whether a tile of rows on such latents, and what its products read ahead, fit into a workgroup's memory (160 KiB).
bool canBeTiled(llm::LatentAttentionOp op) {
  constexpr int64_t kWidest = 256;
  return op.getLatent() <= 3 * kWidest && columnsOfQuery(op.getLatent()) <= kWidest && op.getValueWidth() <= kWidest;
}

} // namespace

RankedTensorType latentQueriesType(llm::LatentAttentionOp op) {
  Type stored = cast<RankedTensorType>(op.getCache().getType()).getElementType();
  return RankedTensorType::get({ShapedType::kDynamic, int64_t(op.getHeads()), int64_t(op.getLatent() + op.getRope())}, stored);
}

RankedTensorType segmentsType(llm::LatentAttentionOp op, int64_t segments) {
  return RankedTensorType::get({ShapedType::kDynamic, segments, int64_t(op.getHeads()), int64_t(op.getLatent()) + 1},
                               Float32Type::get(op.getContext()));
}

void emitLatentQueries(TileEmitter &e, TileBuilder &t, llm::LatentAttentionOp op) {
  //   [rows, nope] of a head's queries times UK [nope, r] ─► columns 0 .. r      the rope part as it is ─► columns r .. r + rope
  int64_t nope = op.getNope(), rope = op.getRope(), r = op.getLatent(), rows = t.tiles.stepRows;
  Value uk = e.argument(op.getUp()), tokens = t.dim(e.destinations[0], 0);
  int64_t some = columnsAtOnce({r, rope}), width = r + rope;
  forAll(e, t, {t.index(op.getHeads()), t.ceilDiv(tokens, rows), t.index(some ? width / some : 1)},
         [&](TileBuilder &outer, ValueRange at, ValueRange destinations) -> SmallVector<Piece> {
           int64_t columns = some ? some : width;
           Value row = outer.mul(at[1], rows), column = outer.mul(at[2], columns), zero = outer.index(0);
           Value valid = outer.min(outer.sub(tokens, row), outer.index(rows)), q = outer.mul(at[0], nope + rope);
           TileBuilder t = outer.withRows(valid);
           Value share = t.load(destinations[0], {row, at[0], column}, {-1, 1, columns}, {-1, columns});
           auto onLatents = [&](TileBuilder &t, Value into, int64_t n) {
             Value own = t.productOperand(e.tile(t, op.getQ(), {row, -1, q, nope}), TileBuilder::elementOf(uk));
             Value up = t.load(uk, {at[0], zero, some ? column : zero}, {1, nope, n}, {nope, n});
             return t.store(t.contract(own, up, t.full({-1, n}, 0)), into, {zero, zero}, {-1, n});
           };
           auto rotated = [&](TileBuilder &t, Value into, Value from, Value to, int64_t n) {
             return t.store(e.tile(t, op.getQ(), {row, -1, t.add(q, from), n}), into, {zero, to}, {-1, n});
           };
           Value made = some ? t.select(
                                   t.less(column, t.index(r)),
                                   [&](TileBuilder &t) -> SmallVector<Value> { return {onLatents(t, share, some)}; },
                                   [&](TileBuilder &t) -> SmallVector<Value> {
                                     return {rotated(t, share, t.add(t.sub(column, t.index(r)), nope), zero, some)};
                                   })[0]
                             : rotated(t, onLatents(t, share, r), t.index(nope), t.index(r), rope);
           return {{made, 0, {row, at[0], column}, {-1, 1, columns}, {valid}}};
         });
}

/// Latents of block `j` of the sequence's positions as they lie: [32, columns], the rope part last.
static Value latentBlock(TileEmitter &e, TileBuilder &t, llm::LatentAttentionOp op, const SequenceValues &seq, Value j, int64_t columns) {
  return t.load(e.argument(op.getCache()), {seq.slot, t.mul(j, kBlock), t.index(0)}, {1, kBlock, columns}, {kBlock, columns});
}

void emitLatentSegments(TileEmitter &e, TileBuilder &t, llm::LatentAttentionOp op, Value queries) {
  // As many heads a workgroup as its accumulators have room for: the more, the fewer times latents are read.
  constexpr int64_t kHeads = 32;
  int64_t heads = op.getHeads(), r = op.getLatent(), width = r + op.getRope(), segments = t.tiles.segments, together = 1;
  for (int64_t g = 2; g <= kHeads; ++g)
    if (heads % g == 0)
      together = g;
  forAll(e, t, {e.sequences(t), t.index(heads / together), t.index(segments)},
         [&](TileBuilder &t, ValueRange at, ValueRange destinations) -> SmallVector<Piece> {
           SequenceValues seq = e.sequence(t, at[0]);
           Value zero = t.index(0), head = t.mul(at[1], together);
           Value share = t.load(destinations[0], {seq.first, at[2], head, zero}, {1, 1, together, r + 1}, {together, r + 1});
           // The scale goes into the queries, which this makes a tile of the workgroup's own: it is read for every block.
           double scale = op.getScale().convertToDouble();
           Value all = t.load(queries, {seq.first, head, zero}, {1, together, width}, {together, width});
           Value q = t.cast(t.map({all}, [&](TileBuilder &t, ValueRange v) { return t.mulf(v[0], t.f32(scale)); }),
                            TileBuilder::elementOf(queries));
           Value blocks = t.add(t.floorDiv(seq.past, kBlock), 1), per = t.ceilDiv(blocks, segments), from = t.mul(at[2], per);
           auto [o, weight] = resultAndWeight(
               t, attendBlocks(
                      t, {q, together, seq.past, false, /*keysAreRows=*/true}, r, /*scale=*/1, Mask{},
                      [&](TileBuilder &t, Value j) { return latentBlock(e, t, op, seq, j, width); },
                      [&](TileBuilder &t, Value j) { return latentBlock(e, t, op, seq, j, r); }, from, t.min(t.add(from, per), blocks)));
           Value column = t.map({together, 1}, {weight}, {{0}}, [](TileBuilder &, ValueRange v) { return v[0]; });
           Value made = t.store(column, t.store(o, share, {zero, zero}, {together, r}), {zero, t.index(r)}, {together, 1});
           return {{made, 0, {seq.first, at[2], head, zero}, {1, 1, together, r + 1}}};
         });
}

void emitJoinLatentSegments(TileEmitter &e, TileBuilder &t, llm::LatentAttentionOp op, Value parts) {
  int64_t r = op.getLatent(), dv = op.getValueWidth(), segments = TileBuilder::shapeOf(parts)[1];
  int64_t some = columnsAtOnce({dv}), columns = some ? some : dv;
  Value uv = e.transposedArgument(op.getUp());
  forAll(e, t, {t.dim(parts, 0), t.index(op.getHeads()), t.index(dv / columns)},
         [&](TileBuilder &t, ValueRange at, ValueRange) -> SmallVector<Piece> {
           Value zero = t.index(0), column = t.mul(at[2], columns);
           Value logs = t.load(parts, {at[0], zero, at[1], t.index(r)}, {1, segments, 1, 1}, {1, segments});
           Value rows = t.load(parts, {at[0], zero, at[1], zero}, {1, segments, 1, r}, {segments, r});
           Value own = t.productOperand(joined(t, logs, rows), TileBuilder::elementOf(uv));
           Value down = t.load(uv, {at[1], zero, zero, column}, {1, 1, r, columns}, {r, columns});
           Value o = t.contract(own, down, t.full({1, columns}, 0));
           return {{o, 0, {at[0], t.add(t.mul(at[1], dv), column)}, {1, columns}}};
         });
}

void emitAttention(TileEmitter &e, TileBuilder &t, llm::AttentionOp op) {
  bool isTwoWay = op.getBlock() || op.getSeen();
  if (t.tiles.attentionRows && !e.isStep && !isTwoWay)
    return emitTiledAttention(e, t, op);
  // One workgroup per sequence and key head; its query heads share the keys and values that the workgroup
  // reads.
  int64_t heads = op.getHeads(), kvHeads = op.getKvHeads(), group = heads / kvHeads;
  int64_t d = llm::columns(op.getQ()) / heads, dv = llm::columns(op.getValues()) / kvHeads;
  double scale = op.getScale().convertToDouble();
  forAll(e, t, {e.sequences(t), t.index(kvHeads)},
         [&](TileBuilder &t, ValueRange at, ValueRange destinations) -> SmallVector<Piece> {
           SequenceValues seq = e.sequence(t, at[0]);
           Mask mask{op.getWindow(), op.getBlock()};
           if (isTwoWay) {
             SequenceValues seen = op.getSeen() ? e.sequence(t, e.table(op.getSeen()).rows, at[0]) : seq;
             mask.end = t.add(seen.past, seen.length);
           }
           Value column = t.mul(at[1], group * dv);
           Value share =
               t.load(destinations[0], {seq.first, column}, {-1, group * dv}, {-1, group * dv}, {seq.length});
           auto done =
               byRows(t, seq.length, share, [&](TileBuilder &t, Value row, int64_t rows, ValueRange carried) {
                 return t.loop(t.index(0), t.index(group), 1, carried,
                               [&](TileBuilder &t, Value g, ValueRange carried) -> SmallVector<Value> {
                                 Value head = t.add(t.mul(at[1], group), g);
                                 Value q =
                                     e.tile(t, op.getQ(), {t.add(seq.first, row), rows, t.mul(head, d), d});
                                 Value o = attend(
                                     t, {q, rows, t.add(seq.past, row), true}, dv, scale, mask,
                                     [&](TileBuilder &t, Value j) { return keyBlock(e, t, op, seq, at[1], j); },
                                     [&](TileBuilder &t, Value j) { return valueBlock(e, t, op, seq, at[1], j); });
                                 return {t.store(o, carried[0], {row, t.mul(g, dv)}, {rows, dv})};
                               });
               });
           return {{done[0], 0, {seq.first, column}, {-1, group * dv}, {seq.length}}};
         });
}

/// Expanded form: keys and values of each block of positions are made from its latents, once for up to kRows
/// rows of the call.
static void emitExpandedAttention(TileEmitter &e, TileBuilder &t, llm::LatentAttentionOp op) {
  //          block j of 32 positions      for rows 0 .. kRows of the call:
  //   latents [32, r] ─► k [nope+rope, 32], v [32, dv] ─► rows 8 by 8: (max, sum, acc),
  //                                                       kept for all rows across blocks
  constexpr int64_t kRows = 256, kStep = 8;
  int64_t nope = op.getNope(), rope = op.getRope(), r = op.getLatent(), dv = op.getValueWidth(),
          width = nope + rope;
  double scale = op.getScale().convertToDouble();
  Value cache = e.argument(op.getCache()), uk = e.argument(op.getUp()), uv = e.transposedArgument(op.getUp());
  forAll(
      e, t, {e.sequences(t), t.index(op.getHeads())},
      [&](TileBuilder &t, ValueRange at, ValueRange destinations) -> SmallVector<Piece> {
        SequenceValues seq = e.sequence(t, at[0]);
        Value column = t.mul(at[1], dv), zero = t.index(0);
        Value share = t.load(destinations[0], {seq.first, column}, {-1, dv}, {-1, dv}, {seq.length});
        auto done = t.loop(
            zero, seq.length, kRows, share,
            [&](TileBuilder &t, Value start, ValueRange carried) -> SmallVector<Value> {
              Value count = t.min(t.sub(seq.length, start), t.index(kRows)),
                    position = t.add(seq.past, start);
              Value blocks = t.add(t.floorDiv(t.sub(t.add(position, count), t.index(1)), kBlock), 1);
              auto sums = t.loop(
                  zero, blocks, 1, {t.full({kRows}, kMinus), t.full({kRows}, 0), t.full({kRows, dv}, 0)},
                  [&](TileBuilder &t, Value j, ValueRange carried) {
                    Value base = t.mul(j, kBlock);
                    Value latents = t.load(cache, {seq.slot, base, t.index(0)}, {1, kBlock, r}, {kBlock, r});
                    Value shared =
                        t.load(cache, {seq.slot, base, t.index(r)}, {1, kBlock, rope}, {kBlock, rope});
                    Value up = t.load(uk, {at[1], t.index(0), t.index(0)}, {1, nope, r}, {nope, r});
                    Value down =
                        t.load(uv, {at[1], t.index(0), t.index(0), t.index(0)}, {1, 1, r, dv}, {r, dv});
                    Value own = t.contract(up, t.transpose(latents), t.full({nope, kBlock}, 0));
                    Value keys =
                        t.store(own, t.empty({width, kBlock}), {t.index(0), t.index(0)}, {nope, kBlock});
                    keys = t.store(t.transpose(shared), keys, {t.index(nope), t.index(0)}, {rope, kBlock});
                    Value values = t.contract(latents, down, t.full({kBlock, dv}, 0));
                    auto rows = [&](TileBuilder &t, Value row, int64_t n,
                                    ValueRange carried) -> SmallVector<Value> {
                      Value q = e.tile(t, op.getQ(),
                                       {t.add(seq.first, t.add(start, row)), n, t.mul(at[1], width), width});
                      SmallVector<Value> old{t.load(carried[0], {row}, {n}, {n}),
                                             t.load(carried[1], {row}, {n}, {n}),
                                             t.load(carried[2], {row, t.index(0)}, {n, dv}, {n, dv})};
                      auto fresh = attendBlock(t, {q, n, t.add(position, row), true}, scale, Mask{}, j, kBlock,
                                               keys, values, old);
                      return {t.store(fresh[0], carried[0], {row}, {n}),
                              t.store(fresh[1], carried[1], {row}, {n}),
                              t.store(fresh[2], carried[2], {row, t.index(0)}, {n, dv})};
                    };
                    // Rows before the block see nothing of it. Eight at a time where eight are left, then one
                    // by one.
                    Value firstRow = t.max(t.sub(base, position), t.index(0));
                    Value whole = t.sub(count, t.mod(count, kStep));
                    Value fromRow = t.min(t.sub(firstRow, t.mod(firstRow, kStep)), whole);
                    auto eights =
                        t.loop(fromRow, whole, kStep, carried, [&](TileBuilder &t, Value row, ValueRange c) {
                          return rows(t, row, kStep, c);
                        });
                    return t.loop(
                        t.max(whole, firstRow), count, 1, eights,
                        [&](TileBuilder &t, Value row, ValueRange c) { return rows(t, row, 1, c); });
                  });
              return {t.loop(zero, count, 1, carried,
                             [&](TileBuilder &t, Value row, ValueRange c) -> SmallVector<Value> {
                               Value acc = t.load(sums[2], {row, t.index(0)}, {1, dv}, {1, dv}),
                                     sum = t.load(sums[1], {row}, {1}, {1});
                               return {t.store(normalised(t, acc, sum), c[0], {t.add(start, row), t.index(0)},
                                               {1, dv})};
                             })[0]};
            });
        return {{done[0], 0, {seq.first, column}, {-1, dv}, {seq.length}}};
      });
}

/// Rows of a head shared out among workgroups, on its latents:
///
///   q_n [M, nope] UK [nope, r] ─► q [M, r + rope] ─► blocks of latents, as keys and as values ─► o [M, r] ─► o UV [r, dv]
///
/// q is in the workgroup's own memory, and o takes its place there.
static void emitTiledLatentAttention(TileEmitter &e, TileBuilder &t, llm::LatentAttentionOp op) {
  // Sums of 64 rows of 512 are what a workgroup's registers hold.
  constexpr int64_t kSums = 64 * 512, kFewest = 16, kMost = 64;
  int64_t nope = op.getNope(), rope = op.getRope(), r = op.getLatent(), dv = op.getValueWidth(), width = r + rope;
  int64_t m = std::min(t.tiles.attentionRows, kMost);
  while (m > kFewest && m * r > kSums)
    m /= 2;
  int64_t some = columnsOfQuery(r);
  Value uk = e.argument(op.getUp()), uv = e.transposedArgument(op.getUp());
  Type stored = TileBuilder::elementOf(e.argument(op.getCache()));
  forRowTiles(e, t, op.getHeads(), m, dv, [&](TileBuilder &t, const RowTile &tile) {
    Value zero = t.index(0), column = t.mul(tile.head, nope + rope);
    // As for a step's segments the scale goes into the queries.
    auto scaled = [&](TileBuilder &t, Value part) {
      return t.productOperand(t.map({part}, [&](TileBuilder &t, ValueRange v) { return t.mulf(v[0], t.f32(op.getScale().convertToDouble())); }), stored);
    };
    Value own = t.productOperand(e.tile(t, op.getQ(), {tile.first, -1, column, nope}), TileBuilder::elementOf(uk));
    Value rotated = scaled(t, e.tile(t, op.getQ(), {tile.first, -1, t.add(column, nope), rope}));
    Value none = t.full({m, width}, 0);
    Value q = t.store(rotated, t.productOperand(none, stored), {zero, t.index(r)}, {-1, rope});
    q = t.loop(zero, t.index(r), some, q, [&](TileBuilder &t, Value column, ValueRange carried) -> SmallVector<Value> {
      Value up = t.load(uk, {tile.head, zero, column}, {1, nope, some}, {nope, some});
      return {t.store(scaled(t, t.contract(own, up, t.full({-1, some}, 0))), carried[0], {zero, column}, {-1, some})};
    })[0];
    auto sums = attendBlocks(
        t, {q, m, tile.position, true, /*keysAreRows=*/true}, r, /*scale=*/1, Mask{},
        [&](TileBuilder &t, Value j) { return latentBlock(e, t, op, tile.seq, j, width); },
        [&](TileBuilder &t, Value j) { return latentBlock(e, t, op, tile.seq, j, r); }, zero, t.ceilDiv(tile.end, kBlock));
    // Rows that there are take the place of their queries: room for another tile there is not.
    Value o = normalised(t, t.load(sums[2], {zero, zero}, {-1, r}, {-1, r}), t.load(sums[1], {zero}, {-1}, {-1}));
    o = t.load(t.store(t.productOperand(o, stored), q, {zero, zero}, {-1, r}), {zero, zero}, {m, r}, {m, r});
    Value down = t.load(uv, {tile.head, zero, zero, zero}, {1, 1, r, dv}, {r, dv});
    return t.contract(o, down, t.full({m, dv}, 0));
  });
}

void emitLatentAttention(TileEmitter &e, TileBuilder &t, llm::LatentAttentionOp op) {
  if (t.tiles.attentionRows && !e.isStep && canBeTiled(op))
    return emitTiledLatentAttention(e, t, op);
  if (op.getForm() == "expanded")
    return emitExpandedAttention(e, t, op);
  // Absorbed form: q_n times UK gives a query on latents, shared cache blocks serve as keys (all columns) and
  // values (the latent part). UK packed [H, nope, r], UV packed [H, 1, r, v].
  int64_t heads = op.getHeads(), nope = op.getNope(), rope = op.getRope(), r = op.getLatent(),
          dv = op.getValueWidth();
  int64_t width = r + rope;
  Value uk = e.argument(op.getUp()), uv = e.transposedArgument(op.getUp());
  // Heads side by side in one workgroup share the transposed block; a few of them are enough, and leave work
  // for many threads.
  int64_t together = 1;
  for (int64_t g : {2, 3, 4, 5, 6, 7, 8})
    if (heads % g == 0)
      together = g;
  forAll(e, t, {e.sequences(t), t.index(heads / together)},
         [&](TileBuilder &t, ValueRange at, ValueRange destinations) -> SmallVector<Piece> {
           SequenceValues seq = e.sequence(t, at[0]);
           Value firstHead = t.mul(at[1], together), column = t.mul(firstHead, dv);
           Value share = t.load(destinations[0], {seq.first, column}, {-1, together * dv},
                                {-1, together * dv}, {seq.length});
           // Queries [rows, r + rope] of one head.
           auto query = [&](TileBuilder &t, Value row, int64_t rows, Value head) {
             Value q = t.mul(head, nope + rope);
             Value qn = e.tile(t, op.getQ(), {row, rows, q, nope});
             Value up = t.load(uk, {head, t.index(0), t.index(0)}, {1, nope, r}, {nope, r});
             Value onLatent = t.contract(qn, up, t.full({rows, r}, 0));
             Value both = t.store(onLatent, t.empty({rows, width}), {t.index(0), t.index(0)}, {rows, r});
             Value qr = e.tile(t, op.getQ(), {row, rows, t.add(q, nope), rope});
             return t.store(qr, both, {t.index(0), t.index(r)}, {rows, rope});
           };
           auto attendLatents = [&](TileBuilder &t, const Queries &q) {
             return attend(
                 t, q, r, op.getScale().convertToDouble(), Mask{},
                 [&](TileBuilder &t, Value j) { return t.transpose(latentBlock(e, t, op, seq, j, width)); },
                 [&](TileBuilder &t, Value j) { return latentBlock(e, t, op, seq, j, r); });
           };
           auto lift = [&](TileBuilder &t, Value latents, int64_t rows, Value head) {
             Value down = t.load(uv, {head, t.index(0), t.index(0), t.index(0)}, {1, 1, r, dv}, {r, dv});
             return t.contract(latents, down, t.full({rows, dv}, 0));
           };
           // Blocks of 8 rows head by head; rows left over with the heads of the workgroup side by side.
           constexpr int64_t kRows = 8;
           Value whole = t.sub(seq.length, t.mod(seq.length, kRows));
           auto blocks =
               t.loop(t.index(0), whole, kRows, share, [&](TileBuilder &t, Value row, ValueRange carried) {
                 return t.loop(t.index(0), t.index(together), 1, carried,
                               [&](TileBuilder &t, Value g, ValueRange carried) -> SmallVector<Value> {
                                 Value head = t.add(firstHead, g);
                                 Value q = query(t, t.add(seq.first, row), kRows, head);
                                 Value latents = attendLatents(t, {q, kRows, t.add(seq.past, row), true});
                                 return {t.store(lift(t, latents, kRows, head), carried[0],
                                                 {row, t.mul(g, dv)}, {kRows, dv})};
                               });
               });
           auto done =
               t.loop(whole, seq.length, 1, blocks, [&](TileBuilder &t, Value row, ValueRange carried) {
                 Value q = t.loop(t.index(0), t.index(together), 1, t.empty({together, width}),
                                  [&](TileBuilder &t, Value g, ValueRange carried) -> SmallVector<Value> {
                                    Value one = query(t, t.add(seq.first, row), 1, t.add(firstHead, g));
                                    return {t.store(one, carried[0], {g, t.index(0)}, {1, width})};
                                  })[0];
                 Value latents = attendLatents(t, {q, together, t.add(seq.past, row), false});
                 return t.loop(t.index(0), t.index(together), 1, carried,
                               [&](TileBuilder &t, Value g, ValueRange carried) -> SmallVector<Value> {
                                 Value one = t.load(latents, {g, t.index(0)}, {1, r}, {1, r});
                                 return {t.store(lift(t, one, 1, t.add(firstHead, g)), carried[0],
                                                 {row, t.mul(g, dv)}, {1, dv})};
                               });
               });
           return {{done[0], 0, {seq.first, column}, {-1, together * dv}, {seq.length}}};
         });
}

} // namespace llmc
