// Kernels of appends and attention; the algorithm is that of AttentionTiles.h.
#include "passes/chunk/AttentionTiles.h"

using namespace mlir;
namespace llmc {

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

} // namespace llmc
