// Kernels of tokens by the patch: rows of another length, noise, the largest column of a product that is never written, and the
// choice among draws.
#include "passes/chunk/ColumnParts.h"
#include "passes/chunk/Integers.h"
#include "passes/chunk/LogitRow.h"

using namespace mlir;
namespace llmc {

void emitRegroupRows(TileEmitter &e, TileBuilder &t, llm::RegroupRowsOp op) {
  TileEmitter::Table from = e.table(op.getFrom()), into = e.table(op.getInto());
  Value x = e.argument(op.getX());
  int64_t n = llm::columns(op.getX()), m = llm::columns(op.getResult());
  forAll(e, t, {t.dim(into.where, 0)}, [&](TileBuilder &t, ValueRange at, ValueRange) -> SmallVector<Piece> {
    Value s = t.toIndex(t.extract(into.where, {at[0], t.index(0)}));
    SequenceValues source = e.sequence(t, from.rows, s), here = e.sequence(t, into.rows, s);
    Value i = t.sub(at[0], here.first), zero = t.index(0);
    auto copy = [&](Value part) { return t.map({part}, [](TileBuilder &, ValueRange v) { return v[0]; }); };
    Value row;
    if (m < n) { // a part of a row
      int64_t k = n / m;
      row = copy(t.load(x, {t.add(source.first, t.floorDiv(i, k)), t.mul(t.mod(i, k), m)}, {1, m}, {1, m}));
    } else { // rows side by side
      row = t.empty({1, m});
      for (int64_t j = 0; j < m / n; ++j) {
        Value part = copy(t.load(x, {t.add(t.add(source.first, t.mul(i, m / n)), j), zero}, {1, n}, {1, n}));
        row = t.store(part, row, {zero, t.index(j * n)}, {1, n});
      }
    }
    return {{row, 0, {at[0], zero}, {1, m}}};
  });
}

/// (word >> 8) 2^-24 of an i64 word: exact in f32.
static Value unitOf(TileBuilder &t, Value word) {
  Value shift = arith::ConstantOp::create(t.b, t.loc, t.b.getI64IntegerAttr(8));
  Value top = arith::ShRUIOp::create(t.b, t.loc, word, shift);
  return t.mulf(arith::SIToFPOp::create(t.b, t.loc, t.b.getF32Type(), top), t.f32(0x1p-24));
}

/// The position of `draws` in stream number `stream`, as Philox takes it.
static Value streamOf(TileBuilder &t, Value draws, Value s, int64_t stream) {
  Value high = arith::ConstantOp::create(t.b, t.loc, t.b.getI64IntegerAttr(stream << 32));
  return arith::AddIOp::create(t.b, t.loc, t.extract(draws, {s, t.index(2)}), high);
}

void emitNoise(TileEmitter &e, TileBuilder &t, llm::NoiseOp op) {
  Value draws = e.argument(op.getDraws());
  int64_t n = llm::columns(op.getResult());
  forAll(e, t, {e.tokens(t)}, [&](TileBuilder &t, ValueRange at, ValueRange) -> SmallVector<Piece> {
    I32 i{t};
    Value zero = t.index(0), s = t.toIndex(t.extract(e.where, {at[0], zero}));
    Value number = t.extract(e.where, {at[0], t.index(1)});
    if (op.getProgress())
      number = i.add(i.of(t.sub(at[0], e.sequence(t, s).first)), t.extract(e.argument(op.getProgress()), {s, zero}));
    Value seed = t.extract(draws, {s, zero}), position = streamOf(t, draws, s, op.getStream()), step = i.long64(number);
    Value row = t.mapWithColumn({1, n}, {seed, position, step}, {{}, {}, {}},
                                [&](TileBuilder &t, ValueRange v, Value, Value column) -> Value {
                                  Value index = arith::IndexCastOp::create(t.b, t.loc, t.b.getI64Type(), column);
                                  return t.subf(unitOf(t, philox(t, v[0], v[1], v[2], index)), t.f32(0.5));
                                });
    return {{row, 0, {at[0], zero}, {1, n}}};
  });
}

//===-- argmax --------------------------------------------------------------------------------------------===//

ColumnParts argmaxParts(llm::ArgmaxOp op, const Tiles &tiles, bool isStep) { return ColumnParts::of(op.getLogits(), 2, tiles, isStep); }

void emitArgmaxParts(TileEmitter &e, TileBuilder &t, llm::ArgmaxOp op) {
  emitColumnParts(e, t, argmaxParts(op, t.tiles, e.isStep), [&](TileBuilder &t, const PartTile &tile) -> SmallVector<Value> {
    // What is no number or +infinity counts as +infinity, which stays.
    Value known = t.map({tile.rows, tile.columns()}, {tile.values}, {}, [](TileBuilder &t, ValueRange v) {
      Value isNumber = compare(t, arith::CmpFPredicate::ORD, v[0], v[0]);
      return choose(t, isNumber, v[0], t.f32(INFINITY));
    });
    Value best = t.reduce(known, t.full({tile.rows}, -INFINITY), /*maximum=*/true);
    return {best, minusColumn(t, tile, known, best, t.full({tile.rows}, kNoColumn))};
  });
}

void emitJoinArgmax(TileEmitter &e, TileBuilder &t, llm::ArgmaxOp op, Value parts) {
  forAll(e, t, {t.dim(e.destinations[0], 0)}, [&](TileBuilder &t, ValueRange at, ValueRange) -> SmallVector<Piece> {
    I32 i{t};
    Value values = partsOfRow(t, parts, at[0], 0), best = largestOf(t, values);
    Value column = arith::NegFOp::create(t.b, t.loc, largestWhere(t, partsOfRow(t, parts, at[0], 1), values, best));
    Value isNumber = i.both(compare(t, arith::CmpFPredicate::OLT, best, t.f32(INFINITY)),
                            compare(t, arith::CmpFPredicate::OGT, best, t.f32(-INFINITY)));
    Value id = arith::FPToSIOp::create(t.b, t.loc, t.b.getI32Type(), choose(t, isNumber, column, t.f32(-1)));
    return {{t.insert(id, t.empty({1}, t.b.getI32Type()), t.index(0)), 0, {at[0]}, {1}}};
  });
}

//===-- the choice among draws ----------------------------------------------------------------------------===//

void emitOpenDraws(TileEmitter &e, TileBuilder &t, llm::OpenDrawsOp op) {
  int64_t width = llm::columns(op.getPool());
  forAll(e, t, {t.dim(e.argument(op.getBounds()), 0)}, [&](TileBuilder &t, ValueRange at, ValueRange) -> SmallVector<Piece> {
    auto zeros = [&](int64_t n) {
      return t.loop(t.index(0), t.index(n), 1, t.empty({1, n}, t.b.getI32Type()),
                    [](TileBuilder &t, Value i, ValueRange c) -> SmallVector<Value> {
                      return {t.insert(t.i32(0), c[0], {t.index(0), i})};
                    })[0];
    };
    return {{zeros(4), 0, {at[0], t.index(0)}, {1, 4}}, {zeros(width), 1, {at[0], t.index(0)}, {1, width}}};
  });
}

namespace {

using Integer = arith::CmpIPredicate;

/// The pool of one sequence: draw number -1 is the patch that others are compared with.
struct Pool {
  int64_t patch;
  Value draws; // [(N + 1) K] i32
  Value place(TileBuilder &t, Value draw, int64_t k) const { return t.add(t.mul(t.add(draw, 1), patch), k); }
  Value at(TileBuilder &t, Value draw, int64_t k) const { return t.extract(draws, place(t, draw, k)); }
  Value equal(TileBuilder &t, Value a, Value b) const {
    I32 i{t};
    Value same = i.yes(true);
    for (int64_t k = 0; k < patch; ++k)
      same = i.both(same, i.is(Integer::eq, at(t, a, k), at(t, b, k)));
    return same;
  }
};

/// 1 / temperature = whole (i32) + rest (f32), as llm.accept_patch says.
struct Power {
  Value whole, rest, value;
};
Power powerOf(TileBuilder &t, Value temperature) {
  I32 i{t};
  auto real = [&](Value n) -> Value { return arith::SIToFPOp::create(t.b, t.loc, t.b.getF32Type(), n); };
  auto integer = [&](Value x) -> Value { return arith::FPToSIOp::create(t.b, t.loc, t.b.getI32Type(), x); };
  Value least = t.f32(0x1p-20), most = t.f32(1);
  Value clamped = choose(t, compare(t, arith::CmpFPredicate::OGT, temperature, least), temperature, least);
  clamped = choose(t, compare(t, arith::CmpFPredicate::OLT, clamped, most), clamped, most);
  Value power = t.divf(most, clamped), nearest = integer(t.addf(power, t.f32(0.5))), below = integer(power);
  Value distance = t.subf(power, real(nearest));
  Value isWhole = i.both(compare(t, arith::CmpFPredicate::OLT, distance, t.f32(1e-4)),
                         compare(t, arith::CmpFPredicate::OGT, distance, t.f32(-1e-4)));
  Value rest = choose(t, isWhole, t.f32(0), t.subf(power, real(below)));
  return {choose(t, isWhole, nearest, below), rest, power};
}

/// Which of the first `count` draws (index) the candidates' rule takes.
Value pick(TileBuilder &t, const Pool &pool, Value count, const Power &power, Value u) {
  Value zero = t.index(0), one = t.index(1);
  // How many draws equal draw a; 0 where an earlier one does.
  Value counts = t.empty({TileBuilder::shapeOf(pool.draws)[0] / pool.patch}, t.b.getI32Type());
  auto tallied = t.loop(zero, count, 1, {counts, t.i32(0)}, [&](TileBuilder &t, Value a, ValueRange c) -> SmallVector<Value> {
    I32 i{t};
    auto found = t.loop(zero, count, 1, {t.i32(0), i.yes(true)}, [&](TileBuilder &t, Value b, ValueRange f) -> SmallVector<Value> {
      I32 i{t};
      Value same = pool.equal(t, a, b), isEarlier = i.both(same, i.is(Integer::slt, b, a));
      return {choose(t, same, i.add(f[0], t.i32(1)), f[0]), i.both(f[1], i.no(isEarlier))};
    });
    Value k = choose(t, found[1], found[0], t.i32(0));
    return {t.insert(k, c[0], a), choose(t, i.is(Integer::sgt, k, c[1]), k, c[1])};
  });
  Value most = t.toIndex(tallied[1]), least = t.min(t.toIndex(power.whole), most);
  auto weight = [&](TileBuilder &t, Value k) -> Value {
    F64 d{t};
    auto real = [&](Value n) -> Value { return arith::SIToFPOp::create(t.b, t.loc, t.b.getF32Type(), I32{t}.of(n)); };
    // binomial(k, m) / binomial(most, m), in factors at most 1.
    Value ratio = t.loop(zero, least, 1, d.c(1), [&](TileBuilder &t, Value i, ValueRange c) -> SmallVector<Value> {
      F64 d{t};
      Value left = t.max(t.sub(k, i), t.index(0));
      return {d.mul(c[0], arith::DivFOp::create(t.b, t.loc, d.of(real(left)), d.of(real(t.sub(most, i)))))};
    })[0];
    Value share = t.divf(real(t.max(k, one)), real(t.max(most, one)));
    Value raised = d.of(t.exp(t.mulf(power.value, math::LogOp::create(t.b, t.loc, share))));
    Value isWhole = compare(t, arith::CmpFPredicate::OEQ, power.rest, t.f32(0));
    Value isThere = I32{t}.is(Integer::sgt, k, zero);
    return choose(t, isThere, choose(t, isWhole, ratio, raised), d.c(0));
  };
  Value total = t.loop(zero, count, 1, F64{t}.c(0), [&](TileBuilder &t, Value a, ValueRange c) -> SmallVector<Value> {
    return {F64{t}.add(c[0], weight(t, t.toIndex(t.extract(tallied[0], a))))};
  })[0];
  Value bound = F64{t}.mul(F64{t}.of(u), total);
  // The first whose running sum passes the bound; the last that occurs if rounding keeps all from it.
  auto chosen = t.loop(zero, count, 1, {F64{t}.c(0), zero, I32{t}.yes(true)}, [&](TileBuilder &t, Value a, ValueRange c) -> SmallVector<Value> {
    I32 i{t};
    Value k = t.toIndex(t.extract(tallied[0], a));
    Value sum = F64{t}.add(c[0], weight(t, k));
    Value takes = i.both(c[2], i.is(Integer::sgt, k, zero));
    Value passes = compare(t, arith::CmpFPredicate::OGT, sum, bound);
    return {sum, choose(t, takes, a, c[1]), i.both(c[2], i.no(i.both(takes, passes)))};
  });
  return chosen[1];
}

} // namespace

void emitAcceptPatch(TileEmitter &e, TileBuilder &t, llm::AcceptPatchOp op) {
  Value tokens = e.argument(op.getTokens()), bounds = e.argument(op.getBounds()), sampling = e.argument(op.getSampling()),
        draws = e.argument(op.getDraws()), settings = e.argument(op.getSettings());
  int64_t patch = op.getPatch(), width = llm::columns(op.getPool()), capacity = width / patch - 1;
  forAll(e, t, {e.sequences(t)}, [&](TileBuilder &t, ValueRange at, ValueRange destinations) -> SmallVector<Piece> {
    I32 i{t};
    Value s = at[0], zero = t.index(0), before = t.index(-1);
    SequenceValues rows = e.sequence(t, s);
    Value progress = t.load(destinations[0], {s, zero}, {1, 4}, {4});
    Value pool = t.load(destinations[1], {s, zero}, {1, width}, {width});
    auto column = [&](Value v, int64_t k) { return t.extract(v, {s, t.index(k)}); };
    auto setting = [&](int64_t k) -> Value { return arith::FPToSIOp::create(t.b, t.loc, t.b.getI32Type(), column(settings, k)); };
    Power power = powerOf(t, column(sampling, 0));
    Value isWhole = compare(t, arith::CmpFPredicate::OEQ, power.rest, t.f32(0));
    Value isExact = i.either(i.is(Integer::ne, setting(0), t.i32(0)),
                             i.both(isWhole, i.is(Integer::eq, power.whole, t.i32(1))));
    Value candidates = i.of(t.max(t.min(t.toIndex(setting(1)), t.index(capacity)), t.index(1)));
    Value limit = choose(t, isExact, setting(2), candidates);
    Value seed = column(draws, 0), coins = streamOf(t, draws, s, 1), choices = streamOf(t, draws, s, 2);

    // Carried: pool, draws made, how many agree, not finite, chosen.
    SmallVector<Value> carried{pool};
    for (int64_t k = 0; k < 4; ++k)
      carried.push_back(t.extract(progress, t.index(k)));
    Value count = t.floorDiv(rows.length, patch);
    auto done = t.loop(zero, count, 1, carried, [&](TileBuilder &t, Value j, ValueRange c) -> SmallVector<Value> {
      I32 i{t};
      Value open = i.both(i.is(Integer::eq, c[3], t.i32(0)), i.is(Integer::eq, c[4], t.i32(0)));
      auto look = [&](TileBuilder &t) -> SmallVector<Value> {
        I32 i{t};
        Pool here{patch, c[0]};
        SmallVector<Value> drawn;
        Value isBad = i.yes(false), isEqual = i.yes(true);
        for (int64_t k = 0; k < patch; ++k) {
          drawn.push_back(t.extract(tokens, t.add(t.add(rows.first, t.mul(j, patch)), k)));
          isBad = i.either(isBad, i.is(Integer::slt, drawn[k], t.i32(0)));
          isEqual = i.both(isEqual, i.is(Integer::eq, drawn[k], here.at(t, before, k)));
        }
        // Among the first draws it is kept. The first of those that shall agree is what others are compared with.
        Value isKept = i.is(Integer::slt, c[1], candidates), slot = t.min(t.toIndex(c[1]), t.index(capacity - 1));
        Value collects = i.both(isExact, i.is(Integer::slt, c[2], power.whole));
        Value begins = i.both(i.both(collects, i.no(isBad)), i.is(Integer::eq, c[2], t.i32(0)));
        for (int64_t k = 0; k < patch; ++k) {
          Value old = here.at(t, slot, k), first = here.at(t, before, k);
          here.draws = t.insert(choose(t, isKept, drawn[k], old), here.draws, here.place(t, slot, k));
          here.draws = t.insert(choose(t, begins, drawn[k], first), here.draws, here.place(t, before, k));
        }
        Value made = i.add(c[1], t.i32(1)), more = i.add(c[2], t.i32(1));
        // While equal draws are collected; once there are enough of them, with a coin each.
        Value agrees = i.either(begins, isEqual), collected = choose(t, agrees, more, t.i32(0));
        Value enough = i.both(i.both(agrees, isWhole), i.is(Integer::eq, more, power.whole));
        Value trial = arith::SubIOp::create(t.b, t.loc, more, power.whole);
        Value coin = unitOf(t, philox(t, seed, coins, i.long64(c[1])));
        Value odds = t.divf(power.rest, arith::SIToFPOp::create(t.b, t.loc, t.b.getF32Type(), trial));
        Value tossed = choose(t, compare(t, arith::CmpFPredicate::OLT, coin, odds), t.i32(0), more);
        Value agreeing = choose(t, isExact, choose(t, collects, collected, tossed), c[2]);
        Value accepted = i.both(isExact, choose(t, collects, enough, isEqual));
        // The other rule, when it is its turn.
        Value isLast = i.both(i.both(i.no(accepted), i.no(isBad)), i.is(Integer::sge, made, limit));
        Value settled = t.select(
            isLast,
            [&](TileBuilder &t) -> SmallVector<Value> {
              Value u = unitOf(t, philox(t, seed, choices));
              Value number = pick(t, here, t.min(t.toIndex(made), t.toIndex(candidates)), power, u), draws = here.draws;
              for (int64_t k = 0; k < patch; ++k)
                draws = t.insert(here.at(t, number, k), draws, here.place(t, before, k));
              return {draws};
            },
            [&](TileBuilder &) -> SmallVector<Value> { return {here.draws}; })[0];
        Value chosen = i.both(i.either(accepted, isLast), i.no(isBad));
        return {settled, choose(t, isBad, c[1], made), choose(t, isBad, c[2], agreeing), choose(t, isBad, t.i32(1), c[3]),
                choose(t, chosen, t.i32(1), t.i32(0))};
      };
      return t.select(open, look, [&](TileBuilder &) -> SmallVector<Value> { return {c[0], c[1], c[2], c[3], c[4]}; });
    });

    Value chosen = i.is(Integer::ne, done[4], t.i32(0)), isBad = i.is(Integer::ne, done[3], t.i32(0));
    Value known = t.toIndex(column(bounds, 0));
    Value room = t.min(t.sub(t.dim(destinations[2], 1), known), t.index(patch));
    Value place = t.load(destinations[2], {rows.slot, known}, {1, -1}, {-1}, {room});
    Value written = t.loop(zero, room, 1, place, [&](TileBuilder &t, Value k, ValueRange c) -> SmallVector<Value> {
      return {t.insert(choose(t, chosen, t.extract(done[0], k), t.extract(c[0], k)), c[0], k)};
    })[0];
    Value advanced = progress;
    for (int64_t k = 0; k < 4; ++k)
      advanced = t.insert(done[1 + k], advanced, t.index(k));
    Value goesOn = i.both(i.no(chosen), i.no(isBad));
    Value more = t.insert(choose(t, goesOn, t.i32(1), t.i32(0)), t.empty({1, 1}, t.b.getI32Type()), {zero, zero});
    return {{advanced, 0, {s, zero}, {1, 4}},
            {done[0], 1, {s, zero}, {1, width}},
            {written, 2, {rows.slot, known}, {1, -1}, {room}},
            {more, 3, {s, zero}, {1, 1}}};
  });
}

} // namespace llmc
