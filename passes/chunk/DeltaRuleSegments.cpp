// The scan of the delta rule (DeltaRuleTiles.cpp) where heads are too few to fill the chip: along the sequence too. Over a segment of L tokens
// the transposed state changes by
//
//   S^T  ->  S^T (diag(d) + R) + B         d = the decay over the segment, [K],  R [K, K] and B [V, K] of its tokens alone
//
// B is the scan of the segment from a state of zero, diag(d) + R that of the identity with values of zero. So:
//
//   maps        a workgroup per segment, head and rows of the identity       d, R
//   additions   a workgroup per segment, head and columns of the values      B
//   scan        as before, but from segment to segment while they are whole, then chunk by chunk through the tokens that are left
//   segments    a workgroup per segment, head and columns of the values      rows, from the state at the segment's start
//
//   tokens      0          L          2L         3L    length
//               |----------|----------|----------|-----|
//   scan        S0 ------> S1 ------> S2 ------> S3 -> last            one product a segment instead of five a chunk
//   segments    S0 rows    S1 rows    S2 rows                          side by side
//
// d is kept apart from R and stays float32: it multiplies the state as it does from chunk to chunk, so that a state that hardly decays is not rounded
// a little more with every segment; what is rounded are R and the state that meets it, as the factors of a chunk are.
//
// A segment is cut by the length of its sequence alone, L tokens from where the sequence begins in the call, and only one that is whole goes by its map: so
// a row's bits depend neither on what follows nor on other sequences, and sequences of fewer than L tokens are scanned as ever. Pieces of a prompt
// that end with a segment give the same bits as the whole.
//
// L is 2 K: a product with R costs as much as the chunks of 2 K / 7 tokens (what a chunk's products cost is 3.5 times its tokens by K by V), so from
// segment to segment it goes 7 times faster. All in all there are 2.4 times the products, for a chip of which a quarter or less had work.
//
// What is per segment lies in the rows of its tokens, of which there are at least K and V.
#include "passes/chunk/DeltaRuleTiles.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
namespace llmc {

/// Pieces of prompts end at multiples of this or of longer segments.
static constexpr int64_t kPiece = 64;
/// Segments from which on they pay: 2 K / C chunks twice over, and from start to start in between, are then less than all chunks in a row.
static constexpr int64_t kFewestSegments = 4;

Rule::Rule(llm::DeltaRuleOp op, const Tiles &tiles) : op(op), c(tiles.deltaRows) {
  auto shape = cast<RankedTensorType>(op.getState().getType()).getShape();
  heads = shape[1];
  k = shape[2];
  v = shape[3];
  columns = v % tiles.deltaColumns ? v : tiles.deltaColumns;
  segment = llvm::alignTo(std::max(2 * k, v), std::max(kPiece, c));
  if (heads * (v / columns) > tiles.deltaScans || tiles.callRows / segment < kFewestSegments)
    segment = 0;
}

int64_t deltaSegment(llm::DeltaRuleOp op, const Tiles &tiles) { return Rule(op, tiles).segment; }

static Type rowsOf(llm::DeltaRuleOp op, int64_t dimension, Type element) {
  auto shape = cast<RankedTensorType>(op.getState().getType()).getShape();
  return RankedTensorType::get({ShapedType::kDynamic, shape[1] * shape[dimension]}, element);
}

SmallVector<Type> deltaMapTypes(llm::DeltaRuleOp op) {
  MLIRContext *context = op.getContext();
  return {rowsOf(op, 2, BFloat16Type::get(context)), rowsOf(op, 2, Float32Type::get(context))};
}

Type deltaAdditionType(llm::DeltaRuleOp op) { return rowsOf(op, 2, Float32Type::get(op.getContext())); }

namespace {

/// Places of what the parts before have made, after the factors.
enum Made { kMaps = kNumFactors, kMapDecays, kAdditions };

/// A workgroup's part of a segment.
struct Segment {
  SequenceValues seq;
  Value head, part;
  Value start; ///< the first token, in the sequence
  Value first; ///< the same in the call; 0 if the sequence has no such segment
  Value end;   ///< the token behind the last, or `start` if the sequence has no such segment
  Value has;   ///< whether it has
};

/// Workgroups over sequences, heads, and segments with `parts` parts each.
void forSegments(TileEmitter &e, TileBuilder &t, const Rule &r, int64_t parts,
                 function_ref<SmallVector<Piece>(TileBuilder &, const Segment &, ValueRange destinations)> body) {
  Value all = t.mul(t.floorDiv(e.tokens(t), r.segment), parts);
  forAll(e, t, {e.sequences(t), t.index(r.heads), all}, [&](TileBuilder &t, ValueRange at, ValueRange destinations) {
    Segment s;
    s.seq = e.sequence(t, at[0]);
    e.current = s.seq;
    s.head = at[1];
    s.part = t.mod(at[2], parts);
    s.start = t.mul(t.floorDiv(at[2], parts), r.segment);
    Value end = t.add(s.start, r.segment);
    s.has = arith::CmpIOp::create(t.b, t.loc, arith::CmpIPredicate::sle, end, s.seq.length);
    s.end = choose(t, s.has, end, s.start);
    s.first = choose(t, s.has, t.add(s.seq.first, s.start), t.index(0));
    return body(t, s, destinations);
  });
}

/// `tile` at row `row` and column `column` of result `result`; nothing of it where there is no such segment.
Piece pieceOf(TileBuilder &outer, const Segment &s, Value tile, Value destination, unsigned result, Value row, Value column) {
  auto shape = TileBuilder::shapeOf(tile);
  Value count = choose(outer, s.has, outer.index(shape[0]), outer.index(0)), zero = outer.index(0);
  TileBuilder t = outer.withRows(count, shape[0]);
  Value share = t.load(destination, {row, column}, {-1, shape[1]}, {-1, shape[1]});
  Value made = t.store(t.load(tile, {zero, zero}, {-1, shape[1]}, {-1, shape[1]}), share, {zero, zero}, {-1, shape[1]});
  return {made, result, {row, column}, {-1, shape[1]}, {count}};
}

} // namespace

void emitDeltaMaps(TileEmitter &e, TileBuilder &t, llm::DeltaRuleOp op, ValueRange factors) {
  Rule r(op, t.tiles);
  int64_t rows = r.k % t.tiles.deltaColumns ? r.k : t.tiles.deltaColumns;
  forSegments(e, t, r, r.k / rows, [&](TileBuilder &t, const Segment &s, ValueRange destinations) -> SmallVector<Piece> {
    Value offset = t.mul(s.part, rows), column = t.mul(s.head, r.k);
    Value whole = t.loop(s.start, s.end, r.c, identity(t, rows, r.k, offset), [&](TileBuilder &t, Value start, ValueRange carried) -> SmallVector<Value> {
      ScanChunk chunk(t, r, s.seq, s.head, factors, start);
      return {chunk.after(carried[0], chunk.updates(rounded(chunk.t, carried[0])))};
    })[0];
    Value decay = t.loop(s.start, s.end, r.c, t.full({r.k}, 1), [&](TileBuilder &t, Value start, ValueRange carried) -> SmallVector<Value> {
      ScanChunk chunk(t, r, s.seq, s.head, factors, start);
      return {t.map(
          {r.k}, {chunk.decay()}, {{0}}, [](TileBuilder &t, ValueRange v) { return t.mulf(v[1], v[0]); }, carried[0])};
    })[0];
    Value rest = t.mapWithColumn({rows, r.k}, {whole, decay}, {{0, 1}, {1}}, [&](TileBuilder &t, ValueRange v, Value row, Value column) {
      return t.subf(v[0], choose(t, isSame(t, t.add(row, offset), column), v[1], t.f32(0)));
    });
    // Every part writes the decays, each into a row of its own.
    Value once = t.map({1, r.k}, {decay}, {{1}}, [](TileBuilder &, ValueRange v) { return v[0]; });
    return {pieceOf(t, s, rounded(t, rest), destinations[0], 0, t.add(s.first, offset), column),
            pieceOf(t, s, once, destinations[1], 1, t.add(s.first, s.part), column)};
  });
}

void emitDeltaAdditions(TileEmitter &e, TileBuilder &t, llm::DeltaRuleOp op, ValueRange factors) {
  Rule r(op, t.tiles);
  forSegments(e, t, r, r.v / r.columns, [&](TileBuilder &t, const Segment &s, ValueRange destinations) -> SmallVector<Piece> {
    Value offset = t.mul(s.part, r.columns), unit = rounded(t, identity(t, r.columns, r.columns));
    // Zeros, as rows that the identity has not: a fill would become one with that in the loop where both have a shape, and be copied for it.
    Value none = identity(t, r.columns, r.k, t.index(r.k));
    Value made = t.loop(s.start, s.end, r.c, none, [&](TileBuilder &t, Value start, ValueRange carried) -> SmallVector<Value> {
      ScanChunk chunk(t, r, s.seq, s.head, factors, start);
      return {chunk.after(carried[0], chunk.updates(rounded(chunk.t, carried[0]), unit, offset))};
    })[0];
    return {pieceOf(t, s, made, destinations[0], 0, t.add(s.first, offset), t.mul(s.head, r.k))};
  });
}

SmallVector<Value> foldSegments(TileBuilder &t, const Rule &r, const SequenceValues &seq, Value head, Value column, ValueRange factors, Value starts,
                                Value state) {
  return t.loop(t.index(0), t.floorDiv(seq.length, r.segment), 1, {starts, state}, [&](TileBuilder &t, Value i, ValueRange carried) -> SmallVector<Value> {
    Value zero = t.index(0), start = t.mul(i, r.segment), first = t.add(seq.first, start), keys = t.mul(head, r.k);
    Value share = t.load(carried[0], {start, zero}, {r.k, r.columns}, {r.k, r.columns});
    share = t.store(t.transposeInto(carried[1], share), carried[0], {start, zero}, {r.k, r.columns});
    Value decay = t.load(factors[kMapDecays], {first, keys}, {1, r.k}, {r.k});
    Value map = t.load(factors[kMaps], {first, keys}, {r.k, r.k}, {r.k, r.k});
    Value more = t.load(factors[kAdditions], {t.add(first, column), keys}, {r.columns, r.k}, {r.columns, r.k});
    Value old = rounded(t, carried[1]);
    Value kept = t.map(
        {r.columns, r.k}, {decay, more}, {{1}, {0, 1}}, [](TileBuilder &t, ValueRange v) { return t.addf(t.mulf(v[2], v[0]), v[1]); }, carried[1]);
    return {share, t.contract(old, map, kept)};
  });
}

void emitDeltaSegments(TileEmitter &e, TileBuilder &t, llm::DeltaRuleOp op, ValueRange factors, Value starts) {
  Rule r(op, t.tiles);
  forSegments(e, t, r, r.v / r.columns, [&](TileBuilder &t, const Segment &s, ValueRange destinations) -> SmallVector<Piece> {
    Value within = t.mul(s.part, r.columns), column = t.add(t.mul(s.head, r.v), within), count = t.sub(s.end, s.start);
    Value share = t.load(destinations[0], {s.first, column}, {-1, r.columns}, {-1, r.columns}, {count});
    Value state = t.transpose(t.load(starts, {s.first, column}, {r.k, r.columns}, {r.k, r.columns}));
    auto done = scanRows(t, r, s.seq, s.head, within, factors, s.start, s.start, s.end, {share, state});
    return {{done[0], 0, {s.first, column}, {-1, r.columns}, {count}}};
  });
}

} // namespace llmc
