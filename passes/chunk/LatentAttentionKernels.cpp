// Kernels of latent attention; the algorithm is that of AttentionTiles.h.
//
// A step goes in segments as attention does, and has a kernel before those, which brings the queries of all heads onto the latents: a segment is then
// one tile of queries [heads, r + rope], the heads being its rows, over blocks of latents that serve all of them as keys and values.
//
// Where a target shares a prompt's rows out among workgroups, each has a tile of rows of one head, with queries brought onto the latents before and
// results brought off them after, whatever the op's form. Keys and values of a block's positions would take r (nope + v) multiply-adds a position
// and save 2 r - nope - v for each row that meets it: at the usual widths (512, 128, 128) they pay from 171 rows on, which is more than a workgroup's
// accumulators hold; made once for all workgroups they would need memory that grows with the context, 16 KiB a position for 32 heads. The expanded
// form is for workgroups that take all rows of a head.
#include "passes/chunk/AttentionTiles.h"

using namespace mlir;
namespace llmc {
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
