// Tiles of row-local ops, and the loops that skeletons share. See TileEmitter.h.
#include "passes/chunk/TileEmitter.h"

using namespace mlir;
namespace llmc {

Value TileEmitter::fail(TileBuilder &t, Operation *op, const Tile &at, const Twine &reason) {
  if (!hasFailed)
    dispatch.emitError("no kernel for this dispatch: ")
        << op->getName() << " cannot make a tile of " << (at.rows < 0 ? "M" : std::to_string(at.rows)) << " x " << at.columns << ": " << reason;
  hasFailed = true;
  return t.full({at.rows, at.columns}, 0);
}

SequenceValues TileEmitter::sequence(TileBuilder &t, Value rows, Value s) {
  auto field = [&](int64_t i) { return t.toIndex(t.extract(rows, {s, t.index(i)})); };
  return {field(0), field(1), field(2), field(3)};
}

Value TileEmitter::byGroups(TileBuilder &t, Value v, const Tile &at, int64_t width) {
  auto result = t.loop(t.index(0), t.index(at.columns / width), 1, t.empty({at.rows, at.columns}),
                       [&](TileBuilder &t, Value i, ValueRange carried) -> SmallVector<Value> {
                         Value offset = t.mul(i, width);
                         Value part = tile(t, v, {at.row, at.rows, t.add(at.column, offset), width});
                         return {t.store(part, carried[0], {t.index(0), offset}, {at.rows, width})};
                       });
  return result[0];
}

Value TileEmitter::tile(TileBuilder &t, Value v, const Tile &at) {
  if (Value known = bound.lookup(v))
    if (auto shape = TileBuilder::shapeOf(known); shape[1] == at.columns)
      return at.rows >= 0 || ShapedType::isDynamic(shape[0])
                 ? known
                 : t.load(known, {t.index(0), t.index(0)}, {-1, at.columns}, {-1, at.columns}); // made with rows to spare
  if (Value arg = arguments.lookup(v)) {
    Value tile = t.load(arg, {at.row, at.column}, {at.rows, at.columns}, {at.rows, at.columns});
    return tile;
  }
  Operation *op = v.getDefiningOp();
  if (!op)
    return fail(t, dispatch, at, "an operand has no argument");
  if (auto slice = dyn_cast<llm::SliceOp>(op)) {
    bool isMade = isa_and_nonnull<llm::LinearOp, llm::ExpertLinearOp>(slice.getX().getDefiningOp()) &&
                  !bound.lookup(slice.getX());
    if (isMade && slice.getOffset() % 32)
      return fail(t, op, at, "a slice of a linear begins with one of its panels of 32 columns");
    return tile(t, slice.getX(), {at.row, at.rows, t.add(at.column, slice.getOffset()), at.columns});
  }
  if (auto map = dyn_cast<llm::MapOp>(op))
    return mapTile(t, map, at);
  if (auto concat = dyn_cast<llm::ConcatOp>(op))
    return concatTile(t, concat, at);
  if (auto norm = dyn_cast<llm::RmsNormOp>(op))
    return normTile(t, norm, at);
  if (auto norm = dyn_cast<llm::LayerNormOp>(op))
    return layerNormTile(t, norm, at);
  if (auto norm = dyn_cast<llm::L2NormOp>(op))
    return l2Tile(t, norm, at);
  if (auto rotary = dyn_cast<llm::RotaryOp>(op))
    return rotaryTile(t, rotary, at);
  if (auto gate = dyn_cast<llm::DecayGateOp>(op))
    return gateTile(t, gate, at);
  if (auto conv = dyn_cast<llm::ShortConvOp>(op))
    return convTile(t, conv, at);
  if (auto linear = dyn_cast<llm::LinearOp>(op))
    return linearTile(t, op, linear.getX(), argument(linear.getWeights().front()), at, linear.getColumn());
  if (auto linear = dyn_cast<llm::ExpertLinearOp>(op))
    return linearTile(t, op, linear.getX(), argument(linear.getWeights().front()), at);
  return fail(t, op, at, "it is no op of a prologue or epilogue");
}

Value TileEmitter::mapTile(TileBuilder &t, llm::MapOp op, const Tile &at) {
  SmallVector<Value> inputs;
  SmallVector<SmallVector<int64_t>> dims;
  for (Value v : op.getInputs()) {
    if (cast<RankedTensorType>(v.getType()).getRank() == 1) {
      inputs.push_back(t.load(argument(v), {at.column}, {at.columns}, {at.columns}));
      dims.push_back({1});
    } else {
      inputs.push_back(tile(t, v, at));
      dims.push_back({0, 1});
    }
  }
  return t.map({at.rows, at.columns}, inputs, dims, [&](TileBuilder &t, ValueRange args) {
    IRMapping mapping;
    Block &body = op.getBody().front();
    for (auto [inner, outer] : llvm::zip(body.getArguments(), args))
      mapping.map(inner, outer);
    for (Operation &inner : body.without_terminator())
      t.b.clone(inner, mapping);
    return mapping.lookupOrDefault(body.getTerminator()->getOperand(0));
  });
}

Value TileEmitter::concatTile(TileBuilder &t, llm::ConcatOp op, const Tile &at) {
  int64_t all = llm::columns(op.getResult()), offset = 0;
  if (at.columns != all)
    return fail(t, op, at, "a concatenation needs all of its " + Twine(all) + " columns");
  Value result = t.empty({at.rows, all});
  for (Value x : op.getInputs()) {
    int64_t n = llm::columns(x);
    Value part = tile(t, x, {at.row, at.rows, t.index(0), n});
    result = t.store(part, result, {t.index(0), t.index(offset)}, {at.rows, n});
    offset += n;
  }
  return result;
}

/// Sum of squares of each row, [rows].
static Value sumOfSquares(TileBuilder &t, Value x) {
  Value squares = t.map({x}, [](TileBuilder &t, ValueRange v) { return t.mulf(v[0], v[0]); });
  return t.reduce(squares, t.full({TileBuilder::shapeOf(x)[0]}, 0));
}

Value TileEmitter::normTile(TileBuilder &t, llm::RmsNormOp op, const Tile &at) {
  int64_t d = llm::elements(op.getWeight());
  if (at.columns != d)
    return at.columns % d ? fail(t, op, at, "a norm needs whole groups of " + Twine(d) + " columns")
                          : byGroups(t, op.getResult(), at, d);
  Value x = tile(t, op.getX(), at);
  double eps = op.getEps().convertToDouble();
  Value scale = t.map({sumOfSquares(t, x)}, [&](TileBuilder &t, ValueRange v) -> Value {
    Value mean = t.addf(t.mulf(v[0], t.f32(1.0 / d)), t.f32(eps));
    return t.divf(t.f32(1), math::SqrtOp::create(t.b, t.loc, mean));
  });
  Value weight = t.load(argument(op.getWeight()), {t.index(0)}, {d}, {d});
  SmallVector<Value> inputs{x, scale, weight};
  SmallVector<SmallVector<int64_t>> dims{{0, 1}, {0}, {1}};
  if (op.getGate()) {
    inputs.push_back(tile(t, op.getGate(), at));
    dims.push_back({0, 1});
  }
  return t.map({at.rows, d}, inputs, dims, [](TileBuilder &t, ValueRange v) {
    Value y = t.mulf(t.mulf(v[0], v[1]), v[2]);
    if (v.size() == 3)
      return y;
    Value e = t.exp(arith::NegFOp::create(t.b, t.loc, v[3]));
    return t.divf(y, t.addf(t.f32(1), e)); // y * sigmoid(gate)
  });
}

Value TileEmitter::layerNormTile(TileBuilder &t, llm::LayerNormOp op, const Tile &at) {
  int64_t d = llm::columns(op.getX());
  if (at.columns != d)
    return fail(t, op, at, "a layer norm needs all of its " + Twine(d) + " columns");
  Value x = tile(t, op.getX(), at);
  double eps = op.getEps().convertToDouble();
  Value mean = t.map({t.reduce(x, t.full({at.rows}, 0))}, [&](TileBuilder &t, ValueRange v) { return t.mulf(v[0], t.f32(1.0 / d)); });
  Value centred = t.map({at.rows, d}, {x, mean}, {{0, 1}, {0}}, [](TileBuilder &t, ValueRange v) { return t.subf(v[0], v[1]); });
  Value scale = t.map({sumOfSquares(t, centred)}, [&](TileBuilder &t, ValueRange v) -> Value {
    Value variance = t.addf(t.mulf(v[0], t.f32(1.0 / d)), t.f32(eps));
    return t.divf(t.f32(1), math::SqrtOp::create(t.b, t.loc, variance));
  });
  Value weight = t.load(argument(op.getWeight()), {t.index(0)}, {d}, {d}), bias = t.load(argument(op.getBias()), {t.index(0)}, {d}, {d});
  return t.map({at.rows, d}, {centred, scale, weight, bias}, {{0, 1}, {0}, {1}, {1}},
               [](TileBuilder &t, ValueRange v) { return t.addf(t.mulf(t.mulf(v[0], v[1]), v[2]), v[3]); });
}

Value TileEmitter::l2Tile(TileBuilder &t, llm::L2NormOp op, const Tile &at) {
  int64_t d = llm::columns(op.getX()) / (int64_t)op.getHeads();
  if (at.columns != d)
    return at.columns % d ? fail(t, op, at, "a norm needs whole heads of " + Twine(d) + " columns")
                          : byGroups(t, op.getResult(), at, d);
  Value x = tile(t, op.getX(), at);
  double eps = op.getEps().convertToDouble(), factor = op.getScale().convertToDouble();
  Value scale = t.map({sumOfSquares(t, x)}, [&](TileBuilder &t, ValueRange v) -> Value {
    return t.divf(t.f32(factor), math::SqrtOp::create(t.b, t.loc, t.addf(v[0], t.f32(eps))));
  });
  return t.map({at.rows, d}, {x, scale}, {{0, 1}, {0}},
               [](TileBuilder &t, ValueRange v) { return t.mulf(v[0], v[1]); });
}

Value TileEmitter::rotaryTile(TileBuilder &t, llm::RotaryOp op, const Tile &at) {
  int64_t rotated = llm::columns(op.getTable()), half = rotated / 2, n = llm::columns(op.getX()) / op.getHeads();
  if (at.columns != n)
    return at.columns % n ? fail(t, op, at, "a rotation needs whole heads of " + Twine(n) + " columns")
                          : byGroups(t, op.getResult(), at, n);
  Value x = tile(t, op.getX(), at);
  Value table = tile(t, op.getTable(), {at.row, at.rows, t.index(0), rotated});
  auto part = [&](Value v, int64_t from) {
    return t.load(v, {t.index(0), t.index(from)}, {at.rows, half}, {at.rows, half});
  };
  Value x1 = part(x, 0), x2 = part(x, half), c = part(table, 0), s = part(table, half);
  Value y1 = t.map({x1, x2, c, s}, [](TileBuilder &t, ValueRange v) {
    return t.subf(t.mulf(v[0], v[2]), t.mulf(v[1], v[3]));
  });
  Value y2 = t.map({x1, x2, c, s}, [](TileBuilder &t, ValueRange v) {
    return t.addf(t.mulf(v[1], v[2]), t.mulf(v[0], v[3]));
  });
  Value y = t.store(y1, t.empty({at.rows, n}), {t.index(0), t.index(0)}, {at.rows, half});
  y = t.store(y2, y, {t.index(0), t.index(half)}, {at.rows, half});
  if (rotated == n)
    return y;
  Value rest = t.load(x, {t.index(0), t.index(rotated)}, {at.rows, n - rotated}, {at.rows, n - rotated});
  return t.store(rest, y, {t.index(0), t.index(rotated)}, {at.rows, n - rotated});
}

Value TileEmitter::gateTile(TileBuilder &t, llm::DecayGateOp op, const Tile &at) {
  int64_t k = llm::columns(op.getF()) / llm::elements(op.getALog());
  if (at.columns > k ? at.columns % k : k % at.columns)
    return fail(t, op, at,
                "a decay gate needs columns of one head or whole heads of " + Twine(k) + " columns");
  if (at.columns > k)
    return byGroups(t, op.getResult(), at, k);
  // A head's value lies along the one dimension that is not 1, if there is one.
  SmallVector<Value> place;
  for (int64_t size : cast<RankedTensorType>(op.getALog().getType()).getShape())
    place.push_back(size == 1 ? t.index(0) : t.floorDiv(at.column, k));
  Value rate = t.exp(t.toF32(t.extract(argument(op.getALog()), place)));
  Value f = tile(t, op.getF(), at);
  Value bias = t.load(argument(op.getDtBias()), {at.column}, {at.columns}, {at.columns});
  return t.map({at.rows, at.columns}, {f, bias, rate}, {{0, 1}, {1}, {}},
               [](TileBuilder &t, ValueRange v) -> Value {
                 Value x = t.addf(v[0], v[1]);
                 Value soft = math::Log1pOp::create(t.b, t.loc, t.exp(x));
                 Value large = arith::CmpFOp::create(t.b, t.loc, arith::CmpFPredicate::OGT, x, t.f32(20));
                 Value plus = arith::SelectOp::create(t.b, t.loc, large, x, soft);
                 return arith::NegFOp::create(t.b, t.loc, t.mulf(v[2], plus));
               });
}

/// x / (1 + e^-x)
static Value silu(TileBuilder &t, Value x) {
  Value e = t.exp(arith::NegFOp::create(t.b, t.loc, x));
  return t.divf(x, t.addf(t.f32(1), e));
}

/// The convolution of the rows that there are, which begin with the sequence's first row in this call or W-1 rows later: the inputs with
/// the W-1 before them, from the call or from the tail, are one tile of which every tap reads rows.
Value TileEmitter::convRows(TileBuilder &t, llm::ShortConvOp op, const Tile &at) {
  Value weight = argument(op.getWeight()), zero = t.index(0);
  int64_t width = TileBuilder::shapeOf(weight)[2], kept = width - 1, n = at.columns;
  Value x = tile(t, op.getX(), at);
  Value all = t.empty({t.mostRows() + kept, n}, TileBuilder::elementOf(x));
  if (kept) {
    auto same = [](TileBuilder &, ValueRange v) { return v[0]; };
    // Where there are no rows there need be none before them.
    Value isLater = arith::AndIOp::create(t.b, t.loc, t.less(current.first, at.row), t.less(zero, t.rows()));
    Value before = t.select(
        isLater,
        [&](TileBuilder &t) -> SmallVector<Value> {
          return {t.map({tile(t, op.getX(), {t.sub(at.row, t.index(kept)), kept, at.column, n})}, same)};
        },
        [&](TileBuilder &t) -> SmallVector<Value> {
          return {t.map({t.load(argument(op.getTail()), {current.slot, zero, at.column}, {1, kept, n}, {kept, n})}, same)};
        })[0];
    all = t.store(before, all, {zero, zero}, {kept, n});
  }
  all = t.store(x, all, {t.index(kept), zero}, {-1, n});
  SmallVector<Value> inputs;
  SmallVector<SmallVector<int64_t>> dims;
  for (int64_t w = 0; w < width; ++w) {
    inputs.push_back(t.load(all, {t.index(w), zero}, {-1, n}, {-1, n}));
    inputs.push_back(t.load(weight, {zero, zero, t.index(w), at.column}, {1, 1, 1, n}, {n}));
    dims.append({{0, 1}, {1}});
  }
  return t.map({-1, n}, inputs, dims, [&](TileBuilder &t, ValueRange v) {
    Value sum = t.mulf(v[0], v[1]);
    for (int64_t w = 1; w < width; ++w)
      sum = t.addf(sum, t.mulf(v[2 * w], v[2 * w + 1]));
    return silu(t, sum);
  });
}

Value TileEmitter::convTile(TileBuilder &t, llm::ShortConvOp op, const Tile &at) {
  if (at.rows < 0 && t.mostRows() && current.first)
    return convRows(t, op, at);
  if (at.rows != 1 || !current.first)
    return fail(t, op, at, "a convolution works row by row within a sequence");
  Value weight = argument(op.getWeight()); // [1, 1, W, N]: packed with the channels innermost
  int64_t width = TileBuilder::shapeOf(weight)[2], n = at.columns;
  Value local = t.sub(at.row, current.first);
  Value sum = t.full({1, n}, 0);
  for (int64_t w = 0; w < width; ++w) {
    // Input width-1-w tokens ago: a row of this call, or of the tail kept from the calls before.
    Value input;
    int64_t back = width - 1 - w;
    if (back == 0) {
      input = tile(t, op.getX(), at);
    } else {
      Value inside = t.less(t.index(back - 1), local);
      input = t.select(
          inside,
          [&](TileBuilder &t) -> SmallVector<Value> {
            return {t.map({tile(t, op.getX(), {t.sub(at.row, t.index(back)), 1, at.column, n})},
                          [](TileBuilder &, ValueRange v) { return v[0]; })};
          },
          [&](TileBuilder &t) -> SmallVector<Value> {
            Value old =
                t.load(argument(op.getTail()), {current.slot, t.add(local, w), at.column}, {1, 1, n}, {1, n});
            return {t.map({old}, [](TileBuilder &, ValueRange v) { return v[0]; })};
          })[0];
    }
    Value taps = t.load(weight, {t.index(0), t.index(0), t.index(w), at.column}, {1, 1, 1, n}, {1, n});
    sum = t.map(
        {1, n}, {input, taps}, {{0, 1}, {0, 1}},
        [](TileBuilder &t, ValueRange v) { return t.addf(v[2], t.mulf(v[0], v[1])); }, sum);
  }
  return t.map({sum}, [](TileBuilder &t, ValueRange v) { return silu(t, v[0]); });
}

Value TileEmitter::product(TileBuilder &t, Value a, Value panels, Value panel, const Tile &at, int64_t column) {
  int64_t rows = TileBuilder::shapeOf(a)[0], k = TileBuilder::shapeOf(a)[1], p = TileBuilder::shapeOf(panels)[3];
  Value group = expert ? expert : t.index(0), zero = t.index(0);
  auto weights = [&](TileBuilder &t, Value from, int64_t depth) {
    return t.load(panels, {group, panel, t.add(from, column), zero}, {1, 1, depth, p}, {depth, p});
  };
  if (ShapedType::isDynamic(rows) || rows == at.rows)
    return t.contract(a, weights(t, zero, k), t.full({at.rows, p}, 0));
  // A piece of the panel in float32 stays in the first-level cache while all rows pass over it. The sums go
  // on from piece to piece, so their order is the same.
  //
  //        k                     32
  //   ┌────┬────┬───┐          ┌────┐
  //   │    │████│   │ 8 rows   │████│ kDepth, widened once
  //   │    │████│   │ 8 rows   └────┘
  //   └────┴────┴───┘ as far as there are rows; of the last 8 some may be zeros
  constexpr int64_t kDepth = 256;
  Value end = t.rows();
  auto piece = [&](TileBuilder &t, Value from, int64_t depth, Value sums) {
    Value stored = weights(t, from, depth);
    Value wide = TileBuilder::elementOf(stored).isF32()
                     ? stored
                     : t.map({stored}, [](TileBuilder &, ValueRange v) { return v[0]; });
    return t.loop(zero, end, kFewRows, sums, [&](TileBuilder &t, Value row, ValueRange carried) -> SmallVector<Value> {
      Value part = t.load(a, {row, from}, {kFewRows, depth}, {kFewRows, depth});
      Value sum = t.contract(part, wide, t.load(carried[0], {row, zero}, {kFewRows, p}, {kFewRows, p}));
      return {t.store(sum, carried[0], {row, zero}, {kFewRows, p})};
    })[0];
  };
  int64_t whole = k / kDepth * kDepth;
  Value sums = t.loop(zero, t.index(whole), kDepth, t.full({rows, p}, 0),
                      [&](TileBuilder &t, Value from, ValueRange carried) -> SmallVector<Value> {
                        return {piece(t, from, kDepth, carried[0])};
                      })[0];
  if (whole < k)
    sums = piece(t, t.index(whole), k - whole, sums);
  return t.load(sums, {zero, zero}, {at.rows, p}, {at.rows, p});
}

Value TileEmitter::linearTile(TileBuilder &t, Operation *op, Value x, Value panels, const Tile &at, int64_t column) {
  // panels [groups, P, K, 32]; the request begins with a panel.
  auto shape = TileBuilder::shapeOf(panels);
  int64_t k = llm::columns(x), p = shape[3];
  int64_t wide = llvm::divideCeil(at.columns, p);
  if (wide > 1 && t.tiles.areShared()) { // one product over several panels
    Value a = tile(t, x, {at.row, at.rows, t.index(0), k});
    Value w = t.load(panels, {expert ? expert : t.index(0), t.floorDiv(at.column, p), t.index(column), t.index(0)},
                     {1, wide, k, p}, {wide, k, p});
    Value product = t.contract(a, w, t.full({at.rows, wide * p}, 0));
    return at.columns == wide * p
               ? product
               : t.load(product, {t.index(0), t.index(0)}, {at.rows, at.columns}, {at.rows, at.columns});
  }
  if (at.columns >
      p) { // panel by panel; whoever asks for so much binds the input first, so that it is made once
    int64_t whole = at.columns / p * p;
    auto part = [&](TileBuilder &t, Value into, Value offset, int64_t columns) {
      Value tile = linearTile(t, op, x, panels, {at.row, at.rows, t.add(at.column, offset), columns}, column);
      return t.store(tile, into, {t.index(0), offset}, {at.rows, columns});
    };
    Value result = t.loop(t.index(0), t.index(whole), p, t.empty({at.rows, at.columns}),
                          [&](TileBuilder &t, Value offset, ValueRange carried) -> SmallVector<Value> {
                            return {part(t, carried[0], offset, p)};
                          })[0];
    return whole < at.columns ? part(t, result, t.index(whole), at.columns - whole) : result;
  }
  Value a = bound.lookup(x);
  if (!a)
    a = tile(t, x, {at.row, at.rows, t.index(0), k});
  Value all = product(t, a, panels, t.floorDiv(at.column, p), at, column);
  return at.columns == p
             ? all
             : t.load(all, {t.index(0), t.index(0)}, {at.rows, at.columns}, {at.rows, at.columns});
}

void forAll(TileEmitter &e, TileBuilder &t, ArrayRef<Value> bounds,
            function_ref<SmallVector<Piece>(TileBuilder &, ValueRange, ValueRange)> body) {
  SmallVector<OpFoldResult> upper;
  for (Value v : bounds)
    upper.push_back(getAsOpFoldResult(v));
  auto op = scf::ForallOp::create(
      t.b, t.loc, upper, e.destinations, std::nullopt, [&](OpBuilder &nested, Location l, ValueRange args) {
        TileBuilder inner = t.inside(nested, l);
        ValueRange at = args.take_front(bounds.size()), destinations = args.drop_front(bounds.size());
        // What is updated in place is read from where it is written.
        for (auto [i, operand] : llvm::enumerate(e.tied))
          if (operand >= 0)
            e.setArgument(e.dispatch.getBody().getArgument(operand), destinations[i]);
        SmallVector<Piece> pieces = body(inner, at, destinations);
        for (Piece &piece : pieces)
          piece.tile = inner.cast(piece.tile, TileBuilder::elementOf(destinations[piece.result]));
        auto end = scf::InParallelOp::create(nested, l);
        nested.setInsertionPointToStart(&end.getRegion().front());
        for (const Piece &piece : pieces) {
          SmallVector<OpFoldResult> offsets, sizes, ones(piece.offsets.size(), nested.getIndexAttr(1));
          size_t next = 0;
          for (Value v : piece.offsets)
            offsets.push_back(getAsOpFoldResult(v));
          for (int64_t s : piece.sizes)
            sizes.push_back(s >= 0 ? OpFoldResult(nested.getIndexAttr(s))
                                   : OpFoldResult(piece.dynamic[next++]));
          tensor::ParallelInsertSliceOp::create(nested, l, piece.tile, destinations[piece.result], offsets,
                                                sizes, ones);
        }
      });
  func::ReturnOp::create(t.b, t.loc, op.getResults());
}

using RowsBody = function_ref<SmallVector<Value>(TileBuilder &, Value, int64_t, ValueRange)>;

/// Rows `from .. count`, 8 at a time, the rest one by one.
static SmallVector<Value> byFewRows(TileBuilder &t, Value from, Value count, ValueRange init, RowsBody body) {
  Value whole = t.sub(count, t.mod(t.sub(count, from), kFewRows));
  auto blocks = t.loop(from, whole, kFewRows, init, [&](TileBuilder &t, Value row, ValueRange carried) {
    return body(t, row, kFewRows, carried);
  });
  return t.loop(whole, count, 1, blocks,
                [&](TileBuilder &t, Value row, ValueRange carried) { return body(t, row, 1, carried); });
}

SmallVector<Value> byRows(TileBuilder &t, Value count, ValueRange init, RowsBody body) {
  return byFewRows(t, t.index(0), count, init, body);
}

SmallVector<Value> byRowBlocks(TileBuilder &t, Value count, int64_t size, ValueRange init, RowsBody body) {
  if (size <= kFewRows)
    return byRows(t, count, init, body);
  Value end = arith::SelectOp::create(t.b, t.loc, t.less(count, t.index(kManyRows)), t.index(0), count);
  auto blocks = t.loop(t.index(0), end, size, init, [&](TileBuilder &outer, Value row, ValueRange carried) {
    TileBuilder t = outer.withRows(outer.min(outer.sub(count, row), outer.index(size)));
    return body(t, row, -1, carried);
  });
  return byFewRows(t, end, count, blocks, body);
}

} // namespace llmc
