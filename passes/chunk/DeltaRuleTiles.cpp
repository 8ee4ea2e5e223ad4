// Kernels of the gated delta rule over a prompt where products of whole tiles pay (Tiles::deltaRows). The formulas are those at the top of
// DeltaRuleKernels.cpp; here they are products of chunks, in three kernels:
//
//   factors   a workgroup per sequence, head and chunk      everything that does not need the state: convolutions, norms, gates, decays,
//                                                           scores, and the triangular system solved for all right-hand sides
//   scan      a workgroup per sequence, head and some       the state goes through the sequence, chunk by chunk; its columns never meet
//             columns of the head's values                  (where heads are few, most of it segment by segment: DeltaRuleSegments.cpp)
//   finish    a workgroup per rows and head                 what the dispatch makes of the rule's rows, which needs a head's whole row
//
// Scores by halves. Of a block of 2 h rows, with m the first row of its upper half, i in the upper and j in the lower half:
//
//      j  ────────► m ────────► i        e^{g_{j+1} + .. + g_i} = e^{g_{j+1} + .. + g_{m-1}} * e^{g_m + .. + g_i}
//        after_h(j)    upto_h(i)
//
//   upto_h(i)    decay from the start of the block of h rows that has row i, i included
//   after_h(j)   decay from row j, excluded, to the end of its block
//
// so that the scores of all such pairs are one product of rows k_i * upto_h(i) and k_j * after_h(j), masked. Each pair belongs to one
// h = 1, 2, 4, .. C/2. Both factors are products of decays, at most 1, and so is what a level makes of the one before it:
//
//   upto_2h(i) = upto_h(i) * (all of the lower half, for i in the upper one)        after_2h likewise
//
// At the end upto_C is the decay from before the chunk, after_C that to its end. Nothing overflows however strong the decay, nothing
// cancels, and no row depends on a later one.
//
// The system: u = beta (v - (upto k) S) - beta a u  is  u = M v - (M (upto k)) S  with  M = (1 + diag(beta) a)^-1 diag(beta).  The inverse is
// made by halves too, in float32, from that of the blocks on the diagonal (no powers of a, which would cancel). The scan has the transposed state [V, K], so that the result of each product is an operand of the next:
//
//   u^T  =  U0^T + S^T W^T           U0 = M v,  W = - M (upto k)
//   o^T  =  S^T (upto q)^T + u^T b^T
//   S^T  =  S^T diag(upto of the last row) + u^T (after k)
#include "passes/chunk/DeltaRuleTiles.h"

using namespace mlir;
namespace llmc {
namespace {

/// Number of the block of `h` rows that has `row`.
Value blockOf(TileBuilder &t, Value row, int64_t h) { return t.floorDiv(row, h); }

Value isOdd(TileBuilder &t, Value v) {
  return arith::CmpIOp::create(t.b, t.loc, arith::CmpIPredicate::eq, t.mod(v, 2), t.index(1));
}
/// Whether an element is in the lower left quarter of its block of 2 h rows on the diagonal.
Value isLowerLeft(TileBuilder &t, Value row, Value column, int64_t h) {
  Value block = blockOf(t, row, h);
  Value before = arith::CmpIOp::create(t.b, t.loc, arith::CmpIPredicate::eq, block, t.add(blockOf(t, column, h), 1));
  return arith::AndIOp::create(t.b, t.loc, before, isOdd(t, block));
}

Value times(TileBuilder &t, Value x, Value y) {
  return t.map({x, y}, [](TileBuilder &t, ValueRange v) { return t.mulf(v[0], v[1]); });
}

/// `tile`, whose rows are those that there are, with zeros after them.
Value padded(TileBuilder &t, const Rule &r, Value tile) {
  int64_t n = TileBuilder::shapeOf(tile)[1];
  return t.store(tile, t.full({r.c, n}, 0), {t.index(0), t.index(0)}, {-1, n});
}

/// Decays within blocks; see above.
struct Decays {
  Value upto, after; ///< [C, K]
};

Decays doubled(TileBuilder &t, const Rule &r, const Decays &d, int64_t h) {
  auto wider = [&](Value own, bool isUpper) {
    return t.mapWithColumn({r.c, r.k}, {own}, {{0, 1}}, [&](TileBuilder &t, ValueRange v, Value row, Value column) -> Value {
      Value block = blockOf(t, row, h), odd = isOdd(t, block);
      // The whole of the other half is what it has up to its last row.
      Value last = t.sub(t.mul(isUpper ? block : t.add(block, 2), h), t.index(1));
      Value other = isUpper ? choose(t, odd, last, row) : choose(t, odd, row, last);
      Value all = t.toF32(t.extract(d.upto, {other, column}));
      Value product = t.mulf(v[0], all);
      return isUpper ? choose(t, odd, product, v[0]) : choose(t, odd, v[0], product);
    });
  };
  return {wider(d.upto, true), wider(d.after, false)};
}

/// Scores [C, C] of keys (below the diagonal) and of queries (with it), and the decays of the chunk.
struct Scores {
  Value a, b;
  Decays decays;
};

Scores scoresOf(TileBuilder &t, const Rule &r, Value q, Value k, Value g) {
  Decays d{t.map({g}, [](TileBuilder &t, ValueRange v) { return t.exp(v[0]); }), t.full({r.c, r.k}, 1)};
  Value own = t.reduce(times(t, q, k), t.full({r.c}, 0));
  Value a = t.full({r.c, r.c}, 0);
  Value b = t.mapWithColumn({r.c, r.c}, {own}, {{0}}, [&](TileBuilder &t, ValueRange v, Value row, Value column) {
    return choose(t, isSame(t, row, column), v[0], t.f32(0));
  });
  for (int64_t h = 1; h < r.c; h *= 2) {
    Value keys = rounded(t, t.mapWithColumn({r.c, r.k}, {k, d.upto, d.after}, {{0, 1}, {0, 1}, {0, 1}},
                                            [&](TileBuilder &t, ValueRange v, Value row, Value) {
                                              return t.mulf(v[0], choose(t, isOdd(t, blockOf(t, row, h)), v[1], v[2]));
                                            }));
    Value queries = rounded(t, times(t, q, d.upto));
    auto ofLevel = [&](Value rows, Value into) {
      Value all = t.contract(rows, keys, t.full({r.c, r.c}, 0), /*aTransposed=*/false, /*bTransposed=*/true);
      return t.map(
          {r.c, r.c}, {all}, {{0, 1}},
          [&](TileBuilder &t, ValueRange v) {
            Value row = linalg::IndexOp::create(t.b, t.loc, 0), column = linalg::IndexOp::create(t.b, t.loc, 1);
            return choose(t, isLowerLeft(t, row, column, h), v[0], v[1]);
          },
          into);
    };
    a = ofLevel(keys, a);
    b = ofLevel(queries, b);
    d = doubled(t, r, d, h);
  }
  return {a, b, d};
}

/// A quarter of every block of 2 h rows on the diagonal of `tile` [C, C]: as [C / 2h, h, C / 2h, h], of which only elements (b, i, b, j) matter.
Value quarters(TileBuilder &t, Value tile, int64_t h, bool isLower, bool isRight) {
  int64_t blocks = TileBuilder::shapeOf(tile)[0] / (2 * h);
  auto whole = RankedTensorType::get({blocks, 2 * h, blocks, 2 * h}, TileBuilder::elementOf(tile));
  SmallVector<ReassociationIndices> groups{{0, 1}, {2, 3}};
  Value all = tensor::ExpandShapeOp::create(t.b, t.loc, whole, tile, groups);
  return t.load(all, {t.index(0), t.index(isLower ? h : 0), t.index(0), t.index(isRight ? h : 0)}, {blocks, h, blocks, h}, {blocks, h, blocks, h});
}

/// x y for every block b: sum_m x(b, i, m) y(b, m, j), [C / 2h, h, h]. Quarters are read as such.
Value blockProducts(TileBuilder &t, Value x, Value y, int64_t blocks, int64_t h) {
  MLIRContext *context = t.b.getContext();
  AffineExpr b, i, j, m;
  bindDims(context, b, i, j, m);
  auto place = [&](Value v, AffineExpr row, AffineExpr column) {
    return TileBuilder::shapeOf(v).size() == 4 ? AffineMap::get(4, 0, {b, row, b, column}, context) : AffineMap::get(4, 0, {b, row, column}, context);
  };
  SmallVector<AffineMap> maps{place(x, i, m), place(y, m, j), AffineMap::get(4, 0, {b, i, j}, context)};
  SmallVector<utils::IteratorType> iterators(4, utils::IteratorType::parallel);
  iterators.back() = utils::IteratorType::reduction;
  Value sums = t.full({blocks, h, h}, 0);
  return linalg::GenericOp::create(t.b, t.loc, TypeRange{sums.getType()}, ValueRange{x, y}, ValueRange{sums}, maps, iterators,
                                   [&](OpBuilder &nested, Location l, ValueRange args) {
                                     TileBuilder t(nested, l);
                                     linalg::YieldOp::create(nested, l, t.addf(args[2], t.mulf(args[0], args[1])));
                                   })
      .getResult(0);
}

/// (1 + diag(beta) a)^-1 diag(beta), [C, C], from the inverses of the blocks on the diagonal, in float32:
///   | A    |-1   |       A^-1            |
///   | B  D |   = | -D^-1 B A^-1   D^-1   |
Value solved(TileBuilder &t, const Rule &r, Value a, Value beta) {
  Value low = t.map({r.c, r.c}, {a, beta}, {{0, 1}, {0}}, [](TileBuilder &t, ValueRange v) {
    return arith::NegFOp::create(t.b, t.loc, t.mulf(v[0], v[1])).getResult();
  });
  Value inverse = t.mapWithColumn({r.c, r.c}, {low}, {{0, 1}}, [&](TileBuilder &t, ValueRange v, Value row, Value column) {
    return choose(t, isSame(t, row, column), t.f32(1), choose(t, isLowerLeft(t, row, column, 1), v[0], t.f32(0)));
  });
  for (int64_t h = 2; h < r.c; h *= 2) {
    int64_t blocks = r.c / (2 * h);
    Value right = blockProducts(t, quarters(t, low, h, true, false), quarters(t, inverse, h, false, false), blocks, h);
    Value made = blockProducts(t, quarters(t, inverse, h, true, true), right, blocks, h);
    inverse = t.map(
        {r.c, r.c}, {}, {},
        [&](TileBuilder &t, ValueRange v) {
          Value row = linalg::IndexOp::create(t.b, t.loc, 0), column = linalg::IndexOp::create(t.b, t.loc, 1);
          Value own = t.extract(made, {blockOf(t, row, 2 * h), t.mod(row, h), t.mod(column, h)});
          return choose(t, isLowerLeft(t, row, column, h), own, v[0]);
        },
        inverse);
  }
  return t.map({r.c, r.c}, {inverse, beta}, {{0, 1}, {1}}, [](TileBuilder &t, ValueRange v) { return t.mulf(v[0], v[1]); });
}

SmallVector<std::pair<unsigned, llm::ShortConvOp>> tailsOf(llm::DispatchOp dispatch) {
  SmallVector<std::pair<unsigned, llm::ShortConvOp>> tails;
  for (unsigned i = 0; i < dispatch.getNumResults(); ++i)
    if (auto conv = yielded(dispatch, i).getDefiningOp<llm::ShortConvOp>())
      tails.push_back({i, conv});
  return tails;
}

} // namespace

bool canTileDeltaRule(llm::DispatchOp dispatch, llm::DeltaRuleOp op, const Tiles &tiles) {
  Rule r(op, tiles);
  for (auto [result, conv] : tailsOf(dispatch))
    if (llm::columns(conv.getX()) % r.heads || cast<RankedTensorType>(conv.getTail().getType()).getDimSize(1) > r.c)
      return false;
  return true;
}

SmallVector<Type> deltaFactorTypes(llm::DeltaRuleOp op, const Tiles &tiles) {
  Rule r(op, tiles);
  SmallVector<Type> types;
  for (int f = 0; f < kNumFactors; ++f) {
    Type element = f == kDecays ? Type(Float32Type::get(op.getContext())) : Type(BFloat16Type::get(op.getContext()));
    types.push_back(RankedTensorType::get({ShapedType::kDynamic, r.heads * widthOf(r, f)}, element));
  }
  return types;
}

Type deltaOutputType(llm::DeltaRuleOp op) {
  return RankedTensorType::get(cast<RankedTensorType>(op.getV().getType()).getShape(), Float32Type::get(op.getContext()));
}

void emitDeltaFactors(TileEmitter &e, TileBuilder &t, llm::DeltaRuleOp op) {
  Rule r(op, t.tiles);
  forAll(e, t, {e.sequences(t), t.index(r.heads), t.ceilDiv(e.tokens(t), r.c)}, [&](TileBuilder &outer, ValueRange at, ValueRange destinations) {
    SequenceValues seq = e.sequence(outer, at[0]);
    e.current = seq;
    Value start = outer.mul(at[2], r.c), zero = outer.index(0);
    Value valid = outer.min(outer.max(outer.sub(seq.length, start), zero), outer.index(r.c));
    TileBuilder t = outer.withRows(valid, r.c);
    Value first = t.add(seq.first, start);
    auto operand = [&](Value v, int64_t width) { return padded(t, r, e.tile(t, v, {first, -1, t.mul(at[1], width), width})); };
    Value q = operand(op.getQ(), r.k), k = operand(op.getK(), r.k), v = rounded(t, operand(op.getV(), r.v));
    Value beta = t.load(operand(op.getBeta(), 1), {zero, zero}, {r.c, 1}, {r.c});
    Scores scores = scoresOf(t, r, q, k, operand(op.getG(), r.k));
    const Decays &d = scores.decays;
    Value m = rounded(t, solved(t, r, scores.a, beta));
    Value weights = t.contract(m, rounded(t, times(t, k, d.upto)), t.full({r.c, r.k}, 0));
    SmallVector<Value> factors(kNumFactors);
    factors[kWeights] = t.map({weights}, [](TileBuilder &t, ValueRange v) { return arith::NegFOp::create(t.b, t.loc, v[0]).getResult(); });
    factors[kQueries] = times(t, q, d.upto);
    factors[kKeys] = times(t, k, d.after);
    factors[kValues] = t.contract(m, v, t.full({r.c, r.v}, 0));
    factors[kScores] = scores.b;
    factors[kDecays] = d.upto;
    SmallVector<Piece> pieces;
    for (int f = 0; f < kNumFactors; ++f) {
      int64_t n = widthOf(r, f);
      Value column = t.mul(at[1], n), share = t.load(destinations[f], {first, column}, {-1, n}, {-1, n});
      Value made = t.store(t.load(factors[f], {zero, zero}, {-1, n}, {-1, n}), share, {zero, zero}, {-1, n});
      pieces.push_back({made, unsigned(f), {first, column}, {-1, n}, {valid}});
    }
    return pieces;
  });
}

Value ScanChunk::rows(int factor, int64_t width, Value offset) {
  return t.load(factors[factor], {first, t.add(t.mul(head, widthOf(r, factor)), offset)}, {-1, width}, {-1, width});
}

static Value product(TileBuilder &t, Value a, Value b, Value sums) { return t.contract(a, b, sums, /*aTransposed=*/false, /*bTransposed=*/true); }

static Value inside(TileBuilder &t, Value tile) {
  int64_t n = TileBuilder::shapeOf(tile)[0];
  return t.load(tile, {t.index(0), t.index(0)}, {n, -1}, {n, -1});
}

Value ScanChunk::updates(Value state, Value unit, Value column) {
  // Columns of rows that are not there stay zero.
  int64_t n = TileBuilder::shapeOf(state)[0];
  Value zero = t.index(0), all = t.full({n, r.c}, 0), u = inside(t, all);
  if (unit)
    u = product(t, unit, rows(kValues, n, column), u);
  u = product(t, state, rows(kWeights, r.k, zero), u);
  return rounded(t, t.store(u, all, {zero, zero}, {n, -1}));
}

Value ScanChunk::outputs(Value state, Value u) {
  Value o = product(t, state, rows(kQueries, r.k, t.index(0)), t.full({TileBuilder::shapeOf(state)[0], -1}, 0));
  return product(t, u, rows(kScores, r.c, t.index(0)), o);
}

Value ScanChunk::decay() {
  Value last = t.add(first, t.sub(t.rows(), t.index(1)));
  return t.load(factors[kDecays], {last, t.mul(head, r.k)}, {1, r.k}, {r.k});
}

Value ScanChunk::after(Value carried, Value u) {
  Value s = t.map(
      TileBuilder::shapeOf(carried), {decay()}, {{1}}, [](TileBuilder &t, ValueRange v) { return t.mulf(v[1], v[0]); }, carried);
  return t.contract(inside(t, u), rows(kKeys, r.k, t.index(0)), s);
}

Value identity(TileBuilder &t, int64_t rows, int64_t columns, Value first) {
  return t.mapWithColumn({rows, columns}, {}, {}, [&](TileBuilder &t, ValueRange, Value row, Value column) {
    return choose(t, isSame(t, first ? t.add(row, first) : row, column), t.f32(1), t.f32(0));
  });
}

SmallVector<Value> scanRows(TileBuilder &t, const Rule &r, const SequenceValues &seq, Value head, Value column, ValueRange factors, Value begin,
                            Value from, Value to, ValueRange init) {
  Value unit = rounded(t, identity(t, r.columns, r.columns));
  return t.loop(from, to, r.c, init, [&](TileBuilder &outer, Value start, ValueRange carried) -> SmallVector<Value> {
    ScanChunk chunk(outer, r, seq, head, factors, start);
    TileBuilder &t = chunk.t;
    Value local = begin ? t.sub(start, begin) : start, zero = t.index(0);
    Value state = rounded(t, carried[1]), u = chunk.updates(state, unit, column), o = chunk.outputs(state, u);
    Value share = t.load(carried[0], {local, zero}, {-1, r.columns}, {-1, r.columns});
    share = t.store(t.transposeInto(o, share), carried[0], {local, zero}, {-1, r.columns});
    return {share, chunk.after(carried[1], u)};
  });
}

void emitDeltaScan(TileEmitter &e, TileBuilder &t, llm::DeltaRuleOp op, ValueRange factors) {
  Rule r(op, t.tiles);
  auto tails = tailsOf(e.dispatch);
  // Destinations: the output rows, with segments the states at their starts, then what the dispatch updates.
  unsigned stateResult = 0;
  SmallVector<unsigned> places(e.dispatch.getNumResults());
  for (unsigned i = 0, next = r.segment ? 2 : 1; i < places.size(); ++i)
    if (e.dispatch.getTied()[i] >= 0) {
      places[i] = next++;
      if (yielded(e.dispatch, i) == op.getUpdated())
        stateResult = places[i];
    }
  // A workgroup's share of the tails: columns of its head, or all of them.
  bool isEven = llvm::all_of(tails, [&](auto &tail) { return llm::columns(tail.second.getX()) % (r.heads * (r.v / r.columns)) == 0; });
  if (!isEven)
    r.columns = r.v;
  forAll(e, t, {e.sequences(t), t.index(r.heads), t.index(r.v / r.columns)}, [&](TileBuilder &t, ValueRange at, ValueRange destinations) {
    SequenceValues seq = e.sequence(t, at[0]);
    e.current = seq;
    Value zero = t.index(0), within = t.mul(at[2], r.columns), column = t.add(t.mul(at[1], r.v), within);
    auto shareOf = [&](Value rows) { return t.load(rows, {seq.first, column}, {-1, r.columns}, {-1, r.columns}, {seq.length}); };
    Value stored = t.load(destinations[stateResult], {seq.slot, at[1], zero, within}, {1, 1, r.k, r.columns}, {r.k, r.columns});
    Value state = t.transpose(stored), from = zero;
    SmallVector<Piece> pieces;
    if (r.segment) {
      auto folded = foldSegments(t, r, seq, at[1], within, factors, shareOf(destinations[1]), state);
      pieces.push_back({folded[0], 1, {seq.first, column}, {-1, r.columns}, {seq.length}});
      state = folded[1];
      from = t.mul(t.floorDiv(seq.length, r.segment), r.segment);
    }
    auto done = scanRows(t, r, seq, at[1], within, factors, /*begin=*/{}, from, seq.length, {shareOf(destinations[0]), state});
    pieces.push_back({done[0], 0, {seq.first, column}, {-1, r.columns}, {seq.length}});
    pieces.push_back({t.transposeInto(done[1], stored), stateResult, {seq.slot, at[1], zero, within}, {1, 1, r.k, r.columns}});
    for (auto [result, conv] : tails) {
      int64_t n = llm::columns(conv.getX()) / (r.heads * (r.v / r.columns));
      Value from = t.mul(t.add(t.mul(at[1], r.v / r.columns), at[2]), n), tail = newTail(e, t, conv, seq, from, n);
      pieces.push_back({tail, places[result], {seq.slot, zero, from}, {1, TileBuilder::shapeOf(tail)[0], n}});
    }
    return pieces;
  });
}

void emitDeltaFinish(TileEmitter &e, TileBuilder &t, llm::DeltaRuleOp op, Value rows) {
  constexpr int64_t kRows = 16;
  Rule r(op, t.tiles);
  Value out;
  for (unsigned i = 0; i < e.dispatch.getNumResults(); ++i)
    if (e.dispatch.getTied()[i] < 0)
      out = yielded(e.dispatch, i);
  Value tokens = t.dim(rows, 0);
  forAll(e, t, {t.ceilDiv(tokens, kRows), t.index(r.heads)}, [&](TileBuilder &outer, ValueRange at, ValueRange destinations) -> SmallVector<Piece> {
    Value row = outer.mul(at[0], kRows), column = outer.mul(at[1], r.v), valid = outer.min(outer.sub(tokens, row), outer.index(kRows));
    TileBuilder t = outer.withRows(valid, kRows);
    e.bind(op.getResult(), t.load(rows, {row, column}, {-1, r.v}, {-1, r.v}));
    Value made = e.tile(t, out, {row, -1, column, r.v});
    e.unbind(op.getResult());
    Value share = t.load(destinations[0], {row, column}, {-1, r.v}, {-1, r.v});
    return {{t.store(made, share, {t.index(0), t.index(0)}, {-1, r.v}), 0, {row, column}, {-1, r.v}, {valid}}};
  });
}

} // namespace llmc
