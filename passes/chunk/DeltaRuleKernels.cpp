// Kernels of the gated delta rule: token by token ("step"), and over chunks of C tokens ("chunk").
//
// Per head, with S [K, V] the state before the chunk, g_i the log decays of its tokens (all <= 0) and rows i
// = 0 .. C-1:
//
//   P_i = g_0 + .. + g_i            inclusive prefix: decay from before the chunk to row i
//   R_j = g_{j+1} + .. + g_{C-1}    exclusive suffix: decay from row j to the end of the chunk
//   a_ij = k_i . (e^{g_{j+1} + .. + g_i} * k_j), j < i      b_ij the same with q_i, j <= i
//   u_i = beta_i (v_i - (e^{P_i} * k_i) S - sum_{j<i} a_ij u_j)
//   o_i = (e^{P_i} * q_i) S + sum_{j<=i} b_ij u_j
//   S'  = diag(e^{P_{C-1}}) S + sum_j (e^{R_j} * k_j) u_j^T
//
// Every exponent is a sum of gates, never a difference of cumulative sums: no exponential overflows however
// strong the decay, nothing cancels, and no row depends on a later one. The products over a pair's gates are
// formed by multiplying decays while going down a column. C = 16 keeps the pairwise part small against the
// three products with S; counting full tiles, 121,856 operations a token and head at K = V = 128, against
// 182,272 for C = 64.
//
// One workgroup per sequence and head does the whole sequence, so that the head's state stays in the core's
// cache, and the short convolutions, norms, gates and the gated head norm around the rule are computed on the
// rows as they pass. Where products of whole tiles pay, a prompt's chunks go another way: DeltaRuleTiles.cpp.
#include "passes/chunk/TileEmitter.h"

using namespace mlir;
namespace llmc {
namespace {

struct Head {
  llm::DeltaRuleOp op;
  int64_t k, v;
  Value head; ///< index
  SequenceValues sequence;
};

/// The operands of one row: q, k, decay e^g [1, K]; v [1, V]; beta scalar.
struct Row {
  Value q, k, g, v, beta;
};

Row loadRow(TileEmitter &e, TileBuilder &t, const Head &h, Value row) {
  auto part = [&](Value v, int64_t width) { return e.tile(t, v, {row, 1, t.mul(h.head, width), width}); };
  Value beta = e.tile(t, const_cast<llm::DeltaRuleOp &>(h.op).getBeta(), {row, 1, h.head, 1});
  llm::DeltaRuleOp op = h.op;
  return {part(op.getQ(), h.k), part(op.getK(), h.k), part(op.getG(), h.k), part(op.getV(), h.v),
          t.extract(beta, {t.index(0), t.index(0)})};
}

Value expOf(TileBuilder &t, Value tile) {
  return t.map({tile}, [](TileBuilder &t, ValueRange v) { return t.exp(v[0]); });
}

/// The dispatch's output for the head's columns of `row`, given the rule's own output [1, V].
Value finishRow(TileEmitter &e, TileBuilder &t, const Head &h, Value out, Value row, Value o) {
  llm::DeltaRuleOp op = h.op;
  e.bind(op.getResult(), o);
  Value tile = e.tile(t, out, {row, 1, t.mul(h.head, h.v), h.v});
  e.unbind(op.getResult());
  return tile;
}

/// Token by token; carries (output rows, state).
SmallVector<Value> emitStep(TileEmitter &e, TileBuilder &t, const Head &h, Value out, Value share,
                            Value state) {
  return t.loop(t.index(0), h.sequence.length, 1, {share, state},
                [&](TileBuilder &t, Value i, ValueRange carried) -> SmallVector<Value> {
                  Value row = t.add(h.sequence.first, i);
                  Row in = loadRow(e, t, h, row);
                  Value decay = t.load(expOf(t, in.g), {t.index(0), t.index(0)}, {1, h.k}, {h.k});
                  Value s = t.map(
                      {h.k, h.v}, {decay}, {{0}},
                      [](TileBuilder &t, ValueRange v) { return t.mulf(v[1], v[0]); }, carried[1]);
                  Value seen = t.contract(in.k, s, t.full({1, h.v}, 0));
                  Value y =
                      t.map({1, h.v}, {in.v, seen, in.beta}, {{0, 1}, {0, 1}, {}},
                            [](TileBuilder &t, ValueRange v) { return t.mulf(v[2], t.subf(v[0], v[1])); });
                  Value kColumn = t.load(in.k, {t.index(0), t.index(0)}, {1, h.k}, {h.k});
                  Value yRow = t.load(y, {t.index(0), t.index(0)}, {1, h.v}, {h.v});
                  s = t.map(
                      {h.k, h.v}, {kColumn, yRow}, {{0}, {1}},
                      [](TileBuilder &t, ValueRange v) { return t.addf(v[2], t.mulf(v[0], v[1])); }, s);
                  Value o = t.contract(in.q, s, t.full({1, h.v}, 0));
                  Value tile = finishRow(e, t, h, out, row, o);
                  return {t.store(tile, carried[0], {i, t.index(0)}, {1, h.v}), s};
                });
}

/// The one token of a step; (output row, state). The state is transposed, so that what a row of it is multiplied with lies along it: a target
/// with registers enough reads it once, at the very beginning, and writes it once.
SmallVector<Value> emitOneStep(TileEmitter &e, TileBuilder &t, const Head &h, Value out, Value share, Value state) {
  Value zero = t.index(0), s = t.transpose(state);
  Row in = loadRow(e, t, h, h.sequence.first);
  auto vector = [&](Value row, int64_t n) { return t.load(row, {zero, zero}, {1, n}, {n}); };
  Value k = vector(in.k, h.k), decay = vector(expOf(t, in.g), h.k);
  s = t.map(
      {h.v, h.k}, {decay}, {{1}}, [](TileBuilder &t, ValueRange v) { return t.mulf(v[1], v[0]); }, s);
  Value seen = t.timesVector(s, k, t.full({h.v}, 0));
  Value y = t.map({h.v}, {vector(in.v, h.v), seen, in.beta}, {{0}, {0}, {}},
                  [](TileBuilder &t, ValueRange v) { return t.mulf(v[2], t.subf(v[0], v[1])); });
  s = t.map(
      {h.v, h.k}, {y, k}, {{0}, {1}}, [](TileBuilder &t, ValueRange v) { return t.addf(v[2], t.mulf(v[0], v[1])); }, s);
  Value o = t.timesVector(s, vector(in.q, h.k), t.full({h.v}, 0));
  Value row = t.map({1, h.v}, {o}, {{1}}, [](TileBuilder &, ValueRange v) { return v[0]; });
  Value tile = finishRow(e, t, h, out, h.sequence.first, row);
  return {t.store(tile, share, {zero, zero}, {1, h.v}), t.transposeInto(s, state)};
}

/// One chunk of up to C rows starting at local row `start`; carries (output rows, state).
SmallVector<Value> emitChunk(TileEmitter &e, TileBuilder &t, const Head &h, int64_t c, Value out, Value start,
                             ValueRange carried) {
  Value valid = t.min(t.sub(h.sequence.length, start), t.index(c));
  Value zero = t.index(0);
  auto rowOf = [&](TileBuilder &t, Value tile, Value i, int64_t n) {
    return t.load(tile, {i, t.index(0)}, {1, n}, {1, n});
  };
  auto setRow = [&](TileBuilder &t, Value row, Value tile, Value i, int64_t n) {
    return t.store(row, tile, {i, t.index(0)}, {1, n});
  };

  // Rows beyond the end stay zero: q = k = v = beta = 0 and g = 0 leave the state as it is.
  auto in = t.loop(
      zero, valid, 1,
      {t.full({c, h.k}, 0), t.full({c, h.k}, 0), t.full({c, h.k}, 0), t.full({c, h.v}, 0), t.full({c}, 0)},
      [&](TileBuilder &t, Value i, ValueRange carried) -> SmallVector<Value> {
        Row r = loadRow(e, t, h, t.add(h.sequence.first, t.add(start, i)));
        return {setRow(t, r.q, carried[0], i, h.k), setRow(t, r.k, carried[1], i, h.k),
                setRow(t, r.g, carried[2], i, h.k), setRow(t, r.v, carried[3], i, h.v),
                t.insert(r.beta, carried[4], i)};
      });
  Value q = in[0], k = in[1], g = in[2], v = in[3], beta = in[4];

  auto plus = [](TileBuilder &t, Value x, Value y) {
    return t.map({x, y}, [](TileBuilder &t, ValueRange v) { return t.addf(v[0], v[1]); });
  };
  auto times = [](TileBuilder &t, Value x, Value y) {
    return t.map({x, y}, [](TileBuilder &t, ValueRange v) { return t.mulf(v[0], v[1]); });
  };
  Value prefix = t.loop(zero, t.index(c), 1, {t.empty({c, h.k}), t.full({1, h.k}, 0)},
                        [&](TileBuilder &t, Value i, ValueRange carried) -> SmallVector<Value> {
                          Value sum = plus(t, carried[1], rowOf(t, g, i, h.k));
                          return {setRow(t, sum, carried[0], i, h.k), sum};
                        })[0];
  Value suffix = t.loop(zero, t.index(c), 1, {t.empty({c, h.k}), t.full({1, h.k}, 0)},
                        [&](TileBuilder &t, Value i, ValueRange carried) -> SmallVector<Value> {
                          Value back = t.sub(t.index(c - 1), i);
                          Value tile = setRow(t, carried[1], carried[0], back, h.k);
                          return {tile, plus(t, carried[1], rowOf(t, g, back, h.k))};
                        })[0];
  Value decay = expOf(t, g), fromStart = expOf(t, prefix), toEnd = expOf(t, suffix);

  // Scores, column by column: z = k_j decayed down to row i.
  auto dot = [&](TileBuilder &t, Value x, Value y) {
    Value sum = t.reduce(times(t, x, y), t.full({1}, 0));
    return t.extract(sum, t.index(0));
  };
  auto scores =
      t.loop(zero, valid, 1, {t.full({c, c}, 0), t.full({c, c}, 0)},
             [&](TileBuilder &t, Value j, ValueRange carried) {
               Value z = rowOf(t, k, j, h.k);
               Value diagonal = t.insert(dot(t, rowOf(t, q, j, h.k), z), carried[1], {j, j});
               auto column = t.loop(
                   t.add(j, 1), valid, 1,
                   {carried[0], diagonal, t.map({z}, [](TileBuilder &, ValueRange v) { return v[0]; })},
                   [&](TileBuilder &t, Value i, ValueRange carried) -> SmallVector<Value> {
                     Value z = t.map(
                         {1, h.k}, {rowOf(t, decay, i, h.k)}, {},
                         [](TileBuilder &t, ValueRange v) { return t.mulf(v[1], v[0]); }, carried[2]);
                     Value a = t.insert(dot(t, rowOf(t, k, i, h.k), z), carried[0], {i, j});
                     Value b = t.insert(dot(t, rowOf(t, q, i, h.k), z), carried[1], {i, j});
                     return {a, b, z};
                   });
               return SmallVector<Value>{column[0], column[1]};
             });
  Value a = scores[0], b = scores[1];

  // The unit lower triangular system, by forward substitution.
  Value state = carried[1];
  Value seen = t.contract(times(t, fromStart, k), state, t.full({c, h.v}, 0));
  Value u = t.loop(
      zero, valid, 1, t.full({c, h.v}, 0),
      [&](TileBuilder &t, Value i, ValueRange carried) -> SmallVector<Value> {
        Value rest = t.map({rowOf(t, v, i, h.v), rowOf(t, seen, i, h.v)},
                           [](TileBuilder &t, ValueRange v) { return t.subf(v[0], v[1]); });
        rest = t.loop(zero, i, 1, rest, [&](TileBuilder &t, Value j, ValueRange inner) -> SmallVector<Value> {
          return {t.map(
              {1, h.v}, {rowOf(t, carried[0], j, h.v), t.extract(a, {i, j})}, {{0, 1}, {}},
              [](TileBuilder &t, ValueRange v) { return t.subf(v[2], t.mulf(v[0], v[1])); }, inner[0])};
        })[0];
        Value scaled = t.map({1, h.v}, {rest, t.extract(beta, i)}, {{0, 1}, {}},
                             [](TileBuilder &t, ValueRange v) { return t.mulf(v[0], v[1]); });
        return {setRow(t, scaled, carried[0], i, h.v)};
      })[0];

  Value o = t.contract(times(t, fromStart, q), state, t.full({c, h.v}, 0));
  o = t.contract(b, u, o);
  Value all = t.load(fromStart, {t.index(c - 1), zero}, {1, h.k}, {h.k});
  Value s =
      t.map({h.k, h.v}, {all}, {{0}}, [](TileBuilder &t, ValueRange v) { return t.mulf(v[1], v[0]); }, state);
  s = t.contract(times(t, toEnd, k), u, s, /*aTransposed=*/true);

  Value share = t.loop(
      zero, valid, 1, carried[0], [&](TileBuilder &t, Value i, ValueRange carried) -> SmallVector<Value> {
        Value local = t.add(start, i);
        Value tile = finishRow(e, t, h, out, t.add(h.sequence.first, local), rowOf(t, o, i, h.v));
        return {t.store(tile, carried[0], {local, t.index(0)}, {1, h.v})};
      })[0];
  return {share, s};
}

/// Whether a slice lies between the convolution and the rule. A head's workgroup writes the head's columns of
/// the new tail while others read theirs of the old one, which is safe only where the columns that a head
/// reads are those that it writes.
bool isSliced(llm::ShortConvOp conv) {
  SmallVector<Operation *> work(conv.getResult().getUsers());
  while (!work.empty()) {
    Operation *user = work.pop_back_val();
    if (isa<llm::SliceOp>(user))
      return true;
    if (!isa<llm::DeltaRuleOp, llm::YieldOp>(user))
      llvm::append_range(work, user->getUsers());
  }
  return false;
}

} // namespace

Value newTail(TileEmitter &e, TileBuilder &t, llm::ShortConvOp conv, const SequenceValues &s, Value column, int64_t n) {
  int64_t kept = cast<RankedTensorType>(conv.getTail().getType()).getDimSize(1);
  return t.loop(t.index(0), t.index(kept), 1, t.empty({kept, n}),
                [&](TileBuilder &t, Value w, ValueRange carried) -> SmallVector<Value> {
                  Value local = t.sub(t.add(s.length, w),
                                      t.index(kept)); // of this call's rows; negative: still in the old tail
                  Value row = t.select(
                      t.less(local, t.index(0)),
                      [&](TileBuilder &t) -> SmallVector<Value> {
                        Value old = t.load(e.argument(conv.getTail()), {s.slot, t.add(local, kept), column},
                                           {1, 1, n}, {1, n});
                        return {t.map({old}, [](TileBuilder &, ValueRange v) { return v[0]; })};
                      },
                      [&](TileBuilder &t) -> SmallVector<Value> {
                        Value x = e.tile(t, conv.getX(), {t.add(s.first, local), 1, column, n});
                        return {t.map({x}, [](TileBuilder &, ValueRange v) { return v[0]; })};
                      })[0];
                  return {t.store(row, carried[0], {w, t.index(0)}, {1, n})};
                })[0];
}

void emitDeltaRule(TileEmitter &e, TileBuilder &t, llm::DeltaRuleOp op) {
  auto shape = cast<RankedTensorType>(op.getState().getType()).getShape();
  int64_t heads = shape[1], k = shape[2], v = shape[3];
  // Which results are what: the output rows, the state, the convolutions' tails.
  unsigned outResult = 0, stateResult = 0;
  SmallVector<std::pair<unsigned, llm::ShortConvOp>> tails;
  for (unsigned i = 0; i < e.dispatch.getNumResults(); ++i) {
    Value value = yielded(e.dispatch, i);
    if (value == op.getUpdated())
      stateResult = i;
    else if (auto conv = value.getDefiningOp<llm::ShortConvOp>())
      tails.push_back({i, conv});
    else
      outResult = i;
  }
  for (auto [result, conv] : tails)
    if (isSliced(conv) || llm::columns(conv.getX()) % heads) {
      e.fail(t, conv, {t.index(0), 1, t.index(0), llm::columns(conv.getX()) / heads},
             "its columns are not split by heads; give q, k and v a convolution each");
      func::ReturnOp::create(t.b, t.loc, e.destinations);
      return;
    }
  Value out = yielded(e.dispatch, outResult);
  forAll(e, t, {e.sequences(t), t.index(heads)}, [&](TileBuilder &t, ValueRange at, ValueRange destinations) {
    Head h{op, k, v, at[1], e.sequence(t, at[0])};
    e.current = h.sequence;
    Value column = t.mul(at[1], v);
    Value share =
        t.load(destinations[outResult], {h.sequence.first, column}, {-1, v}, {-1, v}, {h.sequence.length});
    Value state = t.load(destinations[stateResult], {h.sequence.slot, at[1], t.index(0), t.index(0)},
                         {1, 1, k, v}, {k, v});
    SmallVector<Value> done;
    if (op.getForm() == "step" && e.isStep)
      done = emitOneStep(e, t, h, out, share, state);
    else if (op.getForm() == "step")
      done = emitStep(e, t, h, out, share, state);
    else
      done = t.loop(t.index(0), h.sequence.length, op.getChunk(), {share, state},
                    [&](TileBuilder &t, Value start, ValueRange carried) {
                      return emitChunk(e, t, h, op.getChunk(), out, start, carried);
                    });
    SmallVector<Piece> pieces{
        {done[0], outResult, {h.sequence.first, column}, {-1, v}, {h.sequence.length}},
        {done[1], stateResult, {h.sequence.slot, at[1], t.index(0), t.index(0)}, {1, 1, k, v}}};
    for (auto [result, conv] : tails) {
      int64_t n = llm::columns(conv.getX()) / heads;
      Value from = t.mul(at[1], n);
      Value tail = newTail(e, t, conv, h.sequence, from, n);
      pieces.push_back(
          {tail, result, {h.sequence.slot, t.index(0), from}, {1, TileBuilder::shapeOf(tail)[0], n}});
    }
    return pieces;
  });
}

} // namespace llmc
