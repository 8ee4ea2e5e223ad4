// Kernels of decoding on a canvas. They touch few numbers, so each is one workgroup per row or per sequence, written element
// by element. What reads logits is in PredictKernels.cpp.
#include "passes/chunk/Integers.h"
#include "passes/chunk/LogitRow.h"

using namespace mlir;
namespace llmc {
namespace {

using Less = arith::CmpIPredicate;

Value at(TileBuilder &t, Value table, Value row, int64_t column) { return t.extract(table, {row, t.index(column)}); }
Value toIndexOfReal(TileBuilder &t, Value f32) {
  return t.toIndex(arith::FPToSIOp::create(t.b, t.loc, t.b.getI32Type(), f32));
}

/// The row's slot and position.
struct Place {
  Value slot, position;
};
Place placeOf(TileBuilder &t, const TileEmitter::Table &table, Value row) {
  Value sequence = t.toIndex(at(t, table.where, row, 0));
  return {t.toIndex(at(t, table.rows, sequence, 0)), t.toIndex(at(t, table.where, row, 1))};
}

} // namespace

void emitWriteCanvas(TileEmitter &e, TileBuilder &t, llm::WriteCanvasOp op) {
  Value tokens = e.argument(op.getTokens());
  forAll(e, t, {e.tokens(t)}, [&](TileBuilder &t, ValueRange at, ValueRange) -> SmallVector<Piece> {
    Place place = placeOf(t, {e.where, e.rows}, at[0]);
    Value one = t.insert(t.extract(tokens, at[0]), t.empty({1, 1}, t.b.getI32Type()), {t.index(0), t.index(0)});
    return {{one, 0, {place.slot, place.position}, {1, 1}}};
  });
}

void emitReadCanvas(TileEmitter &e, TileBuilder &t, llm::ReadCanvasOp op) {
  Value canvas = e.argument(op.getCanvas());
  forAll(e, t, {e.tokens(t)}, [&](TileBuilder &t, ValueRange at, ValueRange) -> SmallVector<Piece> {
    Place place = placeOf(t, {e.where, e.rows}, at[0]);
    Value token = t.extract(canvas, {place.slot, place.position});
    if (op.getHidden()) {
      Value sequence = t.toIndex(llmc::at(t, e.where, at[0], 0));
      Value start = t.toIndex(llmc::at(t, e.argument(op.getBounds()), sequence, 2));
      token = choose(t, t.less(place.position, start), t.i32(*op.getHidden()), token);
    }
    return {{t.insert(token, t.empty({1}, t.b.getI32Type()), t.index(0)), 0, {at[0]}, {1}}};
  });
}

void emitOpenBlock(TileEmitter &e, TileBuilder &t, llm::OpenBlockOp op) {
  Value bounds = e.argument(op.getBounds());
  Value all = e.table(op.getSequences()).rows, block = e.table(op.getBlock()).rows;
  forAll(e, t, {t.dim(all, 0)}, [&](TileBuilder &t, ValueRange at, ValueRange destinations) -> SmallVector<Piece> {
    SequenceValues rows = e.sequence(t, all, at[0]), filled = e.sequence(t, block, at[0]);
    Value known = t.toIndex(llmc::at(t, bounds, at[0], 0));
    // From the first unknown position on; nothing when all are known.
    Value end = t.add(rows.past, rows.length), from = t.min(t.max(known, rows.past), end);
    Value count = t.sub(end, from);
    Value share = t.load(destinations[0], {rows.slot, from}, {1, -1}, {-1}, {count});
    Value masked = t.loop(t.index(0), count, 1, share, [&](TileBuilder &t, Value i, ValueRange c) -> SmallVector<Value> {
      return {t.insert(t.i32(op.getMask()), c[0], i)};
    })[0];
    Value blockEnd = t.add(filled.past, filled.length);
    Value masks = t.max(t.sub(blockEnd, t.max(known, filled.past)), t.index(0));
    Value progress = t.empty({1, 4}, t.b.getI32Type());
    for (int64_t k = 0; k < 4; ++k)
      progress = t.insert(k == 1 ? I32{t}.of(masks) : t.i32(0), progress, {t.index(0), t.index(k)});
    return {{masked, 0, {rows.slot, from}, {1, -1}, {count}}, {progress, 1, {at[0], t.index(0)}, {1, 4}}};
  });
}

void emitSelectRows(TileEmitter &e, TileBuilder &t, llm::SelectRowsOp op) {
  TileEmitter::Table from = e.table(op.getFrom()), wanted = e.table(op.getWanted());
  Value x = e.argument(op.getX());
  int64_t n = llm::columns(op.getX());
  forAll(e, t, {t.dim(wanted.where, 0)}, [&](TileBuilder &t, ValueRange at, ValueRange) -> SmallVector<Piece> {
    SequenceValues source = e.sequence(t, from.rows, t.toIndex(llmc::at(t, wanted.where, at[0], 0)));
    Value position = t.toIndex(llmc::at(t, wanted.where, at[0], 1));
    Value i = t.sub(t.sub(position, t.index(op.getShift())), source.past);
    i = t.max(t.min(i, t.sub(source.length, t.index(1))), t.index(0));
    Value row = t.load(x, {t.add(source.first, i), t.index(0)}, {1, n}, {1, n});
    Value there = choose(t, t.less(t.index(0), source.length), t.f32(1), t.f32(0));
    Value copy = t.map({1, n}, {row, there}, {{0, 1}, {}}, [](TileBuilder &t, ValueRange v) {
      return choose(t, compare(t, arith::CmpFPredicate::OGT, v[1], t.f32(0)), v[0], t.f32(0)); // not a product: v[0] may be anything
    });
    return {{copy, 0, {at[0], t.index(0)}, {1, n}}};
  });
}

void emitGuide(TileEmitter &e, TileBuilder &t, llm::GuideOp op) {
  int64_t n = llm::columns(op.getX());
  Value settings = e.argument(op.getSettings());
  forAll(e, t, {e.tokens(t)}, [&](TileBuilder &t, ValueRange at, ValueRange) -> SmallVector<Piece> {
    Tile row{at[0], 1, t.index(0), n};
    Value w = llmc::at(t, settings, t.toIndex(llmc::at(t, e.where, at[0], 0)), 6);
    Value guided = t.map({1, n}, {e.tile(t, op.getX(), row), e.tile(t, op.getUnprompted(), row), w}, {{0, 1}, {0, 1}, {}},
                         [](TileBuilder &t, ValueRange v) {
                           Value moved = t.addf(v[1], t.mulf(t.addf(v[2], t.f32(1)), t.subf(v[0], v[1])));
                           return choose(t, compare(t, arith::CmpFPredicate::OGT, v[2], t.f32(0)), moved, v[0]);
                         });
    return {{guided, 0, {at[0], t.index(0)}, {1, n}}};
  });
}

namespace {

/// One sequence's block while its masks are chosen.
struct Block {
  int64_t mask;
  Value tokens, confidence; // of all rows
  SequenceValues rows;
  Value known;              // index
  Value canvas;             // the block's positions, [length]
  Value from, to;           // where masks may be filled in this step, index

  Value confidenceAt(TileBuilder &t, Value i) const { return t.extract(confidence, {t.add(rows.first, i), t.index(0)}); }
  Value tokenAt(TileBuilder &t, Value i) const { return t.extract(tokens, t.add(rows.first, i)); }
  Value isFree(TileBuilder &t, Value i) const {
    return arith::CmpIOp::create(t.b, t.loc, arith::CmpIPredicate::sge, t.add(rows.past, i), known);
  }
  Value isMask(TileBuilder &t, Value i) const {
    I32 n{t};
    return n.both(n.is(Less::eq, t.extract(canvas, i), t.i32(mask)), isFree(t, i));
  }
  Value isInReach(TileBuilder &t, Value i) const { return I32{t}.both(I32{t}.is(Less::sge, i, from), t.less(i, to)); }
  /// Whether position i is a mask that may be filled.
  Value isMasked(TileBuilder &t, Value i) const { return I32{t}.both(isMask(t, i), isInReach(t, i)); }
  /// The best mask after (confidence, place) in the order best first, lower place first among equals: its confidence and
  /// place, or (-inf, length).
  SmallVector<Value> after(TileBuilder &t, Value confidence, Value place) const {
    return t.loop(t.index(0), rows.length, 1, {t.f32(-INFINITY), rows.length},
                  [&](TileBuilder &t, Value i, ValueRange best) -> SmallVector<Value> {
                    I32 n{t};
                    Value c = confidenceAt(t, i);
                    Value isLower = n.either(compare(t, arith::CmpFPredicate::OLT, c, confidence),
                                             n.both(compare(t, arith::CmpFPredicate::OEQ, c, confidence),
                                                    n.is(Less::sgt, i, place)));
                    Value isFirst = n.is(Less::eq, best[1], rows.length);
                    Value isBetter = n.either(isFirst, compare(t, arith::CmpFPredicate::OGT, c, best[0]));
                    Value takes = n.both(isMasked(t, i), n.both(isLower, isBetter));
                    return {choose(t, takes, c, best[0]), choose(t, takes, i, best[1])};
                  });
  }
  /// Masks whose confidence passes, f32 threshold.
  Value count(TileBuilder &t, arith::CmpFPredicate passes, Value threshold) const {
    return t.loop(t.index(0), rows.length, 1, t.index(0), [&](TileBuilder &t, Value i, ValueRange c) -> SmallVector<Value> {
      Value yes = I32{t}.both(isMasked(t, i), compare(t, passes, confidenceAt(t, i), threshold));
      return {choose(t, yes, t.add(c[0], 1), c[0])};
    })[0];
  }
};

/// floor(total / steps), one more for the first total mod steps.
Value share(TileBuilder &t, Value total, Value steps, Value step) {
  Value each = arith::DivUIOp::create(t.b, t.loc, total, steps), rest = arith::RemUIOp::create(t.b, t.loc, total, steps);
  return choose(t, t.less(step, rest), t.add(each, 1), each);
}

struct Numbers {
  Value block, steps, remask, threshold, factor, extra; // f32
  Value start, end, step, masks;                // index
};

/// How many masks the rule commits, where that does not depend on the sorted confidences (all but `factor`).
Value wanted(TileBuilder &t, const Block &block, StringRef rule, const Numbers &n, Value left) {
  Value one = t.index(1), steps = t.max(toIndexOfReal(t, n.steps), one);
  if (rule == "timestep") {
    auto time = [&](Value step) {
      Value share = t.divf(arith::SIToFPOp::create(t.b, t.loc, t.b.getF32Type(), I32{t}.of(step)), n.steps);
      return F64{t}.sub(F64{t}.c(1), F64{t}.mul(F64{t}.of(t.subf(t.f32(1), n.extra)), F64{t}.of(share)));
    };
    F64 d{t};
    Value ratio = arith::DivFOp::create(t.b, t.loc, time(t.add(n.step, 1)), time(n.step));
    Value m = arith::SIToFPOp::create(t.b, t.loc, t.b.getF64Type(), I32{t}.of(left));
    Value count = arith::FPToSIOp::create(t.b, t.loc, t.b.getI32Type(), d.mul(m, d.sub(d.c(1), ratio)));
    Value isOrigin = compare(t, arith::CmpFPredicate::OEQ, n.remask, t.f32(4));
    Value bound = arith::TruncFOp::create(t.b, t.loc, t.b.getF32Type(), ratio);
    Value chosen = choose(t, isOrigin, block.count(t, arith::CmpFPredicate::OGT, bound), t.toIndex(count));
    return choose(t, t.less(t.add(n.step, 1), steps), chosen, left);
  }
  if (rule == "transfer") {
    Value size = t.max(toIndexOfReal(t, n.block), one);
    Value span = t.sub(n.end, n.start);
    Value blocks = t.max(arith::DivUIOp::create(t.b, t.loc, t.sub(t.add(span, size), one), size), one);
    Value each = t.max(arith::DivUIOp::create(t.b, t.loc, toIndexOfReal(t, n.steps), blocks), one);
    Value scheduled = choose(t, t.less(n.step, each), share(t, n.masks, each, n.step), left);
    Value confident = t.max(block.count(t, arith::CmpFPredicate::OGE, n.threshold), one);
    return choose(t, compare(t, arith::CmpFPredicate::OGT, n.threshold, t.f32(0)), confident, scheduled);
  }
  Value confident = block.count(t, arith::CmpFPredicate::OGT, n.threshold);
  Value least = one;
  if (rule != "subblock")
    least = choose(t, t.less(n.step, steps), share(t, toIndexOfReal(t, n.block), steps, n.step), left);
  return t.max(confident, least);
}

} // namespace

void emitUnmask(TileEmitter &e, TileBuilder &t, llm::UnmaskOp op) {
  Value tokens = e.argument(op.getTokens()), confidence = e.argument(op.getConfidence()),
        bounds = e.argument(op.getBounds()), settings = e.argument(op.getSettings());
  bool edits = op.getRule() == "edit";
  forAll(e, t, {e.sequences(t)}, [&](TileBuilder &t, ValueRange at, ValueRange destinations) -> SmallVector<Piece> {
    I32 i{t};
    Value s = at[0], zero = t.index(0);
    SequenceValues rows = e.sequence(t, s);
    Value canvas = t.load(destinations[0], {rows.slot, rows.past}, {1, -1}, {-1}, {rows.length});
    Value progress = t.load(destinations[1], {s, zero}, {1, 4}, {4});
    Value known = t.toIndex(llmc::at(t, bounds, s, 0));
    Block block{(int64_t)op.getMask(), tokens, confidence, rows, known, canvas, zero, rows.length};
    auto setting = [&](int64_t k) { return llmc::at(t, settings, s, k); };
    Numbers n{setting(0), setting(1), setting(2), setting(3), setting(4), setting(7), t.toIndex(llmc::at(t, bounds, s, 2)),
              t.toIndex(llmc::at(t, bounds, s, 1)), t.toIndex(t.extract(progress, zero)),
              t.toIndex(t.extract(progress, t.index(1)))};

    // Masks left, the first of them, and whether a free row has no token.
    auto seen = t.loop(zero, rows.length, 1, {zero, rows.length, i.yes(false)}, [&](TileBuilder &t, Value k, ValueRange c) -> SmallVector<Value> {
      I32 i{t};
      Value bad = i.both(block.isFree(t, k), i.is(Less::slt, block.tokenAt(t, k), t.i32(0)));
      Value masked = block.isMask(t, k);
      return {choose(t, masked, t.add(c[0], 1), c[0]), choose(t, masked, t.min(c[1], k), c[1]), i.either(c[2], bad)};
    });
    Value all = seen[0], left = all;
    if (op.getRule() == "subblock") {
      Value size = t.max(toIndexOfReal(t, n.extra), t.index(1));
      Value isAnchor = i.both(i.is(Less::eq, n.step, zero), i.both(i.is(Less::eq, known, rows.past), t.less(zero, known)));
      block.from = t.mul(arith::DivUIOp::create(t.b, t.loc, seen[1], size), size);
      block.from = choose(t, isAnchor, zero, block.from);
      block.to = choose(t, isAnchor, t.index(1), t.add(block.from, size));
      left = block.count(t, arith::CmpFPredicate::UNE, t.f32(NAN)); // all of them
    }
    Value wasBad = i.is(Less::ne, t.extract(progress, t.index(2)), t.i32(0));
    Value isFinished = edits ? i.is(Less::slt, t.extract(progress, t.index(3)), t.i32(0)) : i.yes(false);
    Value isBad = i.either(wasBad, i.both(seen[2], i.no(isFinished)));
    Value isOver = i.either(isBad, isFinished); // nothing changes any more

    // The last mask to be committed: the `limit`-th in order; with a factor, the last before one fails.
    Value usesFactor = i.both(compare(t, arith::CmpFPredicate::OGT, n.factor, t.f32(0)),
                              compare(t, arith::CmpFPredicate::OLE, n.threshold, t.f32(0)));
    if (op.getRule() != "transfer")
      usesFactor = i.yes(false);
    Value limit = t.min(choose(t, usesFactor, left, wanted(t, block, op.getRule(), n, left)), left);
    limit = choose(t, isOver, zero, limit);
    auto last = t.loop(
        zero, limit, 1, {t.f32(INFINITY), zero, zero, i.yes(true)}, [&](TileBuilder &t, Value k, ValueRange c) -> SmallVector<Value> {
          I32 i{t};
          auto next = block.after(t, c[0], c[1]);
          Value rank = arith::SIToFPOp::create(t.b, t.loc, t.b.getF32Type(), i.of(t.add(k, 2)));
          Value least = t.subf(t.f32(1), t.divf(n.factor, rank));
          Value fails = i.both(compare(t, arith::CmpFPredicate::OLT, next[0], least), i.is(Less::ne, k, t.index(0)));
          Value open = i.both(c[3], i.no(i.both(usesFactor, fails)));
          return {choose(t, open, next[0], c[0]), choose(t, open, next[1], c[1]), choose(t, open, t.add(c[2], 1), c[2]), open};
        });
    // One that alone fails is committed as well (see the op).
    Value takesAll = i.both(usesFactor, i.is(Less::sge, t.add(last[2], 1), left));
    Value committed = choose(t, takesAll, choose(t, isOver, zero, left), last[2]);

    auto written = t.loop(
        zero, rows.length, 1, {canvas, i.yes(false)}, [&](TileBuilder &t, Value k, ValueRange c) -> SmallVector<Value> {
          I32 i{t};
          Value here = t.extract(c[0], k), token = block.tokenAt(t, k), sure = block.confidenceAt(t, k);
          Value free = i.both(block.isFree(t, k), i.no(isOver));
          Value masked = i.both(i.both(free, block.isInReach(t, k)), i.is(Less::eq, here, t.i32(op.getMask())));
          Value isAhead = i.either(compare(t, arith::CmpFPredicate::OGT, sure, last[0]),
                                   i.both(compare(t, arith::CmpFPredicate::OEQ, sure, last[0]), i.is(Less::sle, k, last[1])));
          Value some = i.is(Less::sgt, committed, t.index(0));
          Value takes = i.both(masked, i.both(some, i.either(takesAll, isAhead)));
          Value changes = i.yes(false);
          if (edits)
            changes = i.both(i.both(free, i.no(i.is(Less::eq, here, t.i32(op.getMask())))),
                             i.both(i.is(Less::ne, here, token), compare(t, arith::CmpFPredicate::OGT, sure, n.extra)));
          return {t.insert(choose(t, i.either(takes, changes), token, here), c[0], k), i.either(c[1], changes)};
        });

    Value noMask = i.is(Less::eq, all, zero);
    Value polishing = t.extract(progress, t.index(3));
    Value polished = i.both(i.both(noMask, written[1]), i.no(isOver));
    Value polishedNow = choose(t, polished, i.add(polishing, t.i32(1)), polishing);
    Value goesOn = i.is(Less::slt, committed, all);
    if (edits) {
      Value may = compare(t, arith::CmpFPredicate::OLT, n.extra, t.f32(1));
      Value most = arith::FPToSIOp::create(t.b, t.loc, t.b.getI32Type(), n.factor);
      Value another = choose(t, noMask, i.both(polished, i.is(Less::slt, polishedNow, most)), i.is(Less::sgt, most, t.i32(0)));
      goesOn = i.either(goesOn, i.both(may, another));
    }
    goesOn = i.both(goesOn, i.no(isOver));
    if (edits)
      polishedNow = choose(t, i.either(goesOn, isBad), polishedNow, t.i32(-1));
    // A sequence whose logits were bad before, or that is finished, keeps its count of steps.
    Value steps = t.extract(progress, zero);
    Value advanced = t.insert(choose(t, i.either(wasBad, isFinished), steps, i.add(steps, t.i32(1))), progress, zero);
    advanced = t.insert(choose(t, isBad, t.i32(1), t.i32(0)), advanced, t.index(2));
    advanced = t.insert(polishedNow, advanced, t.index(3));
    Value more = t.insert(choose(t, goesOn, t.i32(1), t.i32(0)), t.empty({1, 1}, t.b.getI32Type()), {zero, zero});
    return {{written[0], 0, {rows.slot, rows.past}, {1, -1}, {rows.length}},
            {advanced, 1, {s, zero}, {1, 4}},
            {more, 2, {s, zero}, {1, 1}}};
  });
}

namespace {

/// Positions `from .. from + count` of a sequence.
struct Chosen {
  Value slot, from, count;
};

/// See llm.next_rows.
Chosen chosenRows(TileEmitter &e, TileBuilder &t, llm::NextRowsOp op, Value s) {
  I32 i{t};
  SequenceValues most = e.sequence(t, e.table(op.getMost()).rows, s), rows = e.sequence(t, e.table(op.getBlock()).rows, s);
  Value known = t.toIndex(at(t, e.argument(op.getBounds()), s, 0)), zero = t.index(0);
  Value canvas = e.argument(op.getCanvas()), progress = e.argument(op.getProgress()), settings = e.argument(op.getSettings());
  Value first = t.loop(zero, rows.length, 1, rows.length, [&](TileBuilder &t, Value k, ValueRange c) -> SmallVector<Value> {
    I32 i{t};
    Value position = t.add(rows.past, k);
    Value isMask = i.both(i.is(Less::eq, t.extract(canvas, {rows.slot, position}), t.i32(op.getMask())), i.is(Less::sge, position, known));
    return {choose(t, isMask, t.min(c[0], k), c[0])};
  })[0];
  Value size = t.max(toIndexOfReal(t, at(t, settings, s, 7)), t.index(1));
  Value part = t.mul(arith::DivUIOp::create(t.b, t.loc, first, size), size);
  Value isAnchored = i.both(i.is(Less::eq, known, rows.past), t.less(zero, known));
  Value isComputed = t.less(choose(t, isAnchored, t.index(1), zero), t.toIndex(at(t, progress, s, 0)));
  Value isCached = compare(t, arith::CmpFPredicate::OGT, at(t, settings, s, 5), t.f32(0));
  Value narrows = i.both(isCached, i.both(isComputed, i.is(Less::ne, first, part)));
  Value isOver = i.either(i.is(Less::eq, first, rows.length), i.is(Less::ne, at(t, progress, s, 2), t.i32(0)));
  narrows = i.both(narrows, i.no(isOver));
  Value count = choose(t, narrows, t.sub(t.min(t.add(part, size), rows.length), part), most.length);
  return {rows.slot, choose(t, narrows, t.add(rows.past, part), most.past), choose(t, isOver, zero, count)};
}

} // namespace

void emitNextRows(TileEmitter &e, TileBuilder &t, llm::NextRowsOp op) {
  // Every sequence counts the rows of those before it: what it reads is little, and what joins them would be another kernel.
  forAll(e, t, {e.sequences(t)}, [&](TileBuilder &t, ValueRange at, ValueRange destinations) -> SmallVector<Piece> {
    I32 i{t};
    Value s = at[0], zero = t.index(0);
    Value start = t.loop(zero, s, 1, zero, [&](TileBuilder &t, Value before, ValueRange c) -> SmallVector<Value> {
      return {t.add(c[0], chosenRows(e, t, op, before).count)};
    })[0];
    Chosen chosen = chosenRows(e, t, op, s);
    Value share = t.load(destinations[0], {start, zero}, {-1, 2}, {-1, 2}, {chosen.count});
    Value where = t.loop(zero, chosen.count, 1, share, [&](TileBuilder &t, Value k, ValueRange c) -> SmallVector<Value> {
      I32 i{t};
      Value named = t.insert(i.of(s), c[0], {k, t.index(0)});
      return {t.insert(i.of(t.add(chosen.from, k)), named, {k, t.index(1)})};
    })[0];
    Value row = t.empty({1, 4}, t.b.getI32Type());
    const Value numbers[] = {chosen.slot, start, chosen.count, chosen.from};
    for (auto [column, number] : llvm::enumerate(numbers))
      row = t.insert(i.of(number), row, {zero, t.index(column)});
    Value count = t.insert(i.of(chosen.count), t.empty({1, 1}, t.b.getI32Type()), {zero, zero});
    return {{where, 0, {start, zero}, {-1, 2}, {chosen.count}}, {row, 1, {s, zero}, {1, 4}}, {count, 2, {s, zero}, {1, 1}}};
  });
}

void emitEmitBlock(TileEmitter &e, TileBuilder &t, llm::EmitBlockOp op) {
  Value canvas = e.argument(op.getCanvas()), bounds = e.argument(op.getBounds()), progress = e.argument(op.getProgress());
  forAll(e, t, {e.sequences(t)}, [&](TileBuilder &t, ValueRange at, ValueRange destinations) -> SmallVector<Piece> {
    I32 i{t};
    SequenceValues rows = e.sequence(t, at[0]);
    Value known = t.toIndex(llmc::at(t, bounds, at[0], 0)), zero = t.index(0);
    Value count = t.sub(t.add(rows.past, rows.length), known), width = t.dim(destinations[0], 1);
    Value share = t.load(destinations[0], {at[0], zero}, {1, -1}, {-1}, {width});
    Value isBad = i.is(Less::ne, llmc::at(t, progress, at[0], 2), t.i32(0));
    Value filled = t.loop(zero, width, 1, share, [&](TileBuilder &t, Value k, ValueRange c) -> SmallVector<Value> {
      I32 i{t};
      Value made = t.less(k, count);
      Value from = choose(t, made, t.add(known, k), zero); // never past the canvas
      Value token = choose(t, made, t.extract(canvas, {rows.slot, from}), t.i32(-2));
      Value bad = i.both(isBad, i.is(Less::eq, k, t.index(0)));
      return {t.insert(choose(t, bad, t.i32(-1), token), c[0], k)};
    })[0];
    return {{filled, 0, {at[0], zero}, {1, -1}, {width}}};
  });
}

} // namespace llmc
