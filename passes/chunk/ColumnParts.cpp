// The first kernel of ColumnParts.h, and the words in which statistics of a tile, and of all parts, are written.
#include "passes/chunk/ColumnParts.h"
#include "passes/chunk/Integers.h"
#include "passes/chunk/LinearTiles.h"
#include "passes/chunk/LogitRow.h"

using namespace mlir;
namespace llmc {

ColumnParts ColumnParts::of(Value columns, int64_t statistics, const Tiles &tiles, bool isStep) {
  // A workgroup's share of the weights: a part per 256 KB would make the second kernel read a tenth of what the first one saved.
  constexpr int64_t kWeightBytes = 512 * 1024, kMostPanels = 8;
  ColumnParts p{columns, statistics};
  int64_t n = llm::columns(columns), panels = llvm::divideCeil(n, 32), per = std::min(panels, kMostPanels);
  if (tiles.areShared())
    per = panelsPerTile(panels, isStep ? tiles.stepPanels : tiles.promptPanels);
  else if (auto linear = p.linear())
    per = panelsPerGroup(panels, llm::columns(linear.getX()), kWeightBytes);
  p.width = 32 * per;
  p.parts = llvm::divideCeil(n, p.width);
  return p;
}

RankedTensorType ColumnParts::type() const {
  return RankedTensorType::get({ShapedType::kDynamic, statistics, parts}, Float32Type::get(columns.getContext()));
}

SmallVector<Value> ColumnParts::byWidth(TileBuilder &t, Value p, function_ref<SmallVector<Value>(TileBuilder &, int64_t columns)> emit) const {
  int64_t n = llm::columns(columns), rest = n % width;
  if (!rest || n < width)
    return emit(t, std::min(n, width));
  return t.select(
      t.less(p, t.index(n / width)), [&](TileBuilder &t) { return emit(t, width); }, [&](TileBuilder &t) { return emit(t, rest); });
}

namespace {

using Statistics = function_ref<SmallVector<Value>(TileBuilder &, const PartTile &)>;
using IsNeeded = function_ref<Value(TileBuilder &, Value row)>;

/// A workgroup's part and what it writes: `share` [rows, S] of the first destination, `stored` [rows, W] of the second if there is one.
struct Part {
  TileEmitter &e;
  const ColumnParts &parts;
  Statistics statistics;
  IsNeeded isNeeded;

  /// Statistics of a tile, into row `rowInto` of `share` and below.
  Value reduce(TileBuilder &t, const PartTile &tile, Value share, Value rowInto) const {
    Value count = tile.count(t);
    for (auto [i, vector] : llvm::enumerate(statistics(t, tile)))
      share = t.store(t.load(vector, {t.index(0)}, {-1}, {-1}, {count}), share, {rowInto, t.index(i)}, {-1, 1}, {count});
    return share;
  }

  /// The tile's rows, all of them or none, into row `rowInto` of `stored` and below.
  Value keep(TileBuilder &t, const PartTile &tile, Value stored, Value rowInto) const {
    Value zero = t.index(0), count = tile.count(t);
    if (isNeeded)
      count = arith::SelectOp::create(t.b, t.loc, anyRow(t, tile, isNeeded), count, zero);
    Value rows = t.load(tile.values, {zero, zero}, {-1, tile.columns()}, {-1, tile.columns()}, {count});
    return t.store(rows, stored, {rowInto, zero}, {-1, tile.columns()}, {count});
  }

  Value width(TileBuilder &t, Value column) const {
    return t.min(t.sub(t.index(llm::columns(parts.columns)), column), t.index(parts.width));
  }
};

/// Rows `row ..` of the linear's columns from `first` on, as many as the builder has, in the first rows of scratch [most, columns]: few rows as they
/// come, many with their input made once and each panel widened once.
Value makeTile(TileEmitter &e, TileBuilder &t, llm::LinearOp op, Value row, int64_t most, Value first, int64_t columns) {
  int64_t k = llm::columns(op.getX());
  bool isInputMade = !isa<BlockArgument>(op.getX());
  auto input = [&](TileBuilder &t, Value i, int64_t rows) { return e.tile(t, op.getX(), {t.add(row, i), rows, t.index(0), k}); };
  auto panels = [&](TileBuilder &t, Value i, int64_t rows, Value into) {
    auto panel = [&](TileBuilder &t, Value column, int64_t width, Value into) {
      Value made = e.tile(t, op.getResult(), {t.add(row, i), rows, t.add(first, column), width});
      return t.store(made, into, {i, column}, {rows, width});
    };
    int64_t whole = columns / 32 * 32;
    into = t.loop(t.index(0), t.index(whole), 32, into, [&](TileBuilder &t, Value column, ValueRange c) -> SmallVector<Value> {
      return {panel(t, column, 32, c[0])};
    })[0];
    into = whole < columns ? panel(t, t.index(whole), columns - whole, into) : into;
    e.unbind(op.getX());
    return into;
  };
  Value scratch = t.empty({most, columns});
  return t.select(
      t.less(t.rows(), t.index(kManyRows)),
      [&](TileBuilder &t) {
        return byRows(t, t.rows(), scratch, [&](TileBuilder &t, Value i, int64_t rows, ValueRange c) -> SmallVector<Value> {
          if (isInputMade)
            e.bind(op.getX(), input(t, i, rows));
          return {panels(t, i, rows, c[0])};
        });
      },
      [&](TileBuilder &t) -> SmallVector<Value> {
        e.bind(op.getX(), makeInput(t, -1, most, k, input));
        return {panels(t, t.index(0), -1, scratch)};
      })[0];
}

/// A workgroup takes all rows, in blocks of up to 256, whose tiles are reduced 8 rows at a time, the rest one by one.
void emitByRowBlocks(TileBuilder &t, const Part &part) {
  const ColumnParts &parts = part.parts;
  TileEmitter &e = part.e;
  auto linear = parts.linear();
  int64_t blockRows = rowsPerBlock(t, linear ? llm::columns(linear.getX()) : parts.width);
  Value tokens = t.dim(e.destinations[0], 0);
  forAll(e, t, {t.index(parts.parts)}, [&](TileBuilder &t, ValueRange at, ValueRange destinations) -> SmallVector<Piece> {
    Value zero = t.index(0), first = t.mul(at[0], parts.width), width = part.width(t, first);
    SmallVector<Value> shares{t.load(destinations[0], {zero, zero, at[0]}, {-1, parts.statistics, 1}, {-1, parts.statistics}, {tokens})};
    if (destinations.size() == 2)
      shares.push_back(t.load(destinations[1], {zero, first}, {-1, -1}, {-1, -1}, {tokens, width}));
    auto block = [&](TileBuilder &outer, Value row, int64_t columns, ValueRange carried) {
      TileBuilder t = outer.withRows(outer.min(outer.sub(tokens, row), outer.index(blockRows)));
      Value made = linear ? makeTile(e, t, linear, row, blockRows, first, columns) : Value();
      return byRows(t, t.rows(), carried, [&](TileBuilder &t, Value i, int64_t rows, ValueRange c) {
        Value here = t.add(row, i);
        Value values = linear ? t.load(made, {i, t.index(0)}, {rows, columns}, {rows, columns})
                              : e.tile(t, parts.columns, {here, rows, first, columns});
        PartTile tile{values, here, rows, first};
        SmallVector<Value> done{part.reduce(t, tile, c[0], here)};
        if (c.size() == 2)
          done.push_back(part.keep(t, tile, c[1], here));
        return done;
      });
    };
    auto done = parts.byWidth(t, at[0], [&](TileBuilder &t, int64_t columns) {
      return t.loop(t.index(0), tokens, blockRows, shares,
                    [&](TileBuilder &t, Value row, ValueRange carried) { return block(t, row, columns, carried); });
    });
    SmallVector<Piece> pieces{{done[0], 0, {zero, zero, at[0]}, {-1, parts.statistics, 1}, {tokens}}};
    if (done.size() == 2)
      pieces.push_back({done[1], 1, {zero, first}, {-1, -1}, {tokens, width}});
    return pieces;
  });
}

/// Rows are shared out among workgroups as well.
void emitByTiles(TileBuilder &t, const Part &part) {
  const ColumnParts &parts = part.parts;
  TileEmitter &e = part.e;
  auto linear = parts.linear();
  int64_t rows = e.isStep ? t.tiles.stepRows : t.tiles.promptRows;
  Value tokens = t.dim(e.destinations[0], 0);
  forAll(e, t, {t.index(parts.parts), t.ceilDiv(tokens, rows)},
         [&](TileBuilder &outer, ValueRange at, ValueRange destinations) -> SmallVector<Piece> {
           Value zero = outer.index(0), row = outer.mul(at[1], rows), first = outer.mul(at[0], parts.width);
           Value valid = outer.min(outer.sub(tokens, row), outer.index(rows)), width = part.width(outer, first);
           TileBuilder t = outer.withRows(valid);
           SmallVector<Value> shares{t.load(destinations[0], {row, zero, at[0]}, {-1, parts.statistics, 1}, {-1, parts.statistics})};
           if (destinations.size() == 2)
             shares.push_back(t.load(destinations[1], {row, first}, {-1, -1}, {-1, -1}, {valid, width}));
           if (linear && !isa<BlockArgument>(linear.getX())) {
             Value x = e.tile(t, linear.getX(), {row, -1, zero, llm::columns(linear.getX())});
             e.bind(linear.getX(), t.productOperand(x, e.weightType(linear)));
           }
           auto done = parts.byWidth(t, at[0], [&](TileBuilder &t, int64_t columns) {
             Value made = e.tile(t, parts.columns, {row, -1, first, columns});
             made = t.store(made, t.full({rows, columns}, 0), {zero, zero}, {-1, columns});
             PartTile tile{made, row, rows, first, valid};
             SmallVector<Value> done(shares);
             if (done.size() == 2)
               done[1] = part.keep(t, tile, shares[1], zero);
             done[0] = part.reduce(t, tile, shares[0], zero);
             return done;
           });
           if (linear)
             e.unbind(linear.getX());
           SmallVector<Piece> pieces{{done[0], 0, {row, zero, at[0]}, {-1, parts.statistics, 1}, {valid}}};
           if (done.size() == 2)
             pieces.push_back({done[1], 1, {row, first}, {-1, -1}, {valid, width}});
           return pieces;
         });
}

} // namespace

void emitColumnParts(TileEmitter &e, TileBuilder &t, const ColumnParts &parts, Statistics statistics, IsNeeded isNeeded) {
  Part part{e, parts, statistics, isNeeded};
  t.tiles.areShared() ? emitByTiles(t, part) : emitByRowBlocks(t, part);
}

/// The row of the call that row `i` of a tile is; of one that is not there the last that is.
static Value rowOf(TileBuilder &t, const PartTile &tile, Value i) {
  return t.add(tile.row, tile.valid ? t.min(i, t.sub(tile.valid, t.index(1))) : i);
}

SmallVector<Value> perRow(TileBuilder &t, const PartTile &tile, TypeRange types,
                          function_ref<SmallVector<Value>(TileBuilder &, Value row)> body) {
  SmallVector<Value> vectors;
  for (auto [i, type] : llvm::enumerate(types))
    vectors.push_back(t.map({tile.rows}, {}, {},
                            [&, i = i](TileBuilder &t, ValueRange) {
                              return body(t, rowOf(t, tile, linalg::IndexOp::create(t.b, t.loc, 0)))[i];
                            },
                            t.empty({tile.rows}, type)));
  return vectors;
}

Value anyRow(TileBuilder &t, const PartTile &tile, function_ref<Value(TileBuilder &, Value row)> body) {
  Value flags = t.mapWithColumn({1, tile.rows}, {}, {}, [&](TileBuilder &t, ValueRange, Value, Value i) {
    return choose(t, body(t, rowOf(t, tile, i)), t.f32(1), t.f32(0));
  });
  return compare(t, arith::CmpFPredicate::OGT, t.extract(t.reduce(flags, t.full({1}, 0), /*maximum=*/true), t.index(0)), t.f32(0));
}

Value minusColumn(TileBuilder &t, const PartTile &tile, Value values, Value best, Value init) {
  auto real = [](TileBuilder &t, Value index) -> Value {
    return arith::SIToFPOp::create(t.b, t.loc, t.b.getF32Type(), I32{t}.of(index));
  };
  Value first = real(t, tile.column);
  Value numbers = t.mapWithColumn({tile.rows, tile.columns()}, {values, best, first}, {{0, 1}, {0}, {}},
                                  [&](TileBuilder &t, ValueRange v, Value, Value column) -> Value {
                                    Value minus = arith::NegFOp::create(t.b, t.loc, t.addf(v[2], real(t, column)));
                                    return choose(t, compare(t, arith::CmpFPredicate::OEQ, v[0], v[1]), minus, t.f32(kNoColumn));
                                  });
  return t.reduce(numbers, init, /*maximum=*/true);
}

Value partsOfRow(TileBuilder &t, Value parts, Value row, int64_t statistic) {
  int64_t n = TileBuilder::shapeOf(parts)[2];
  return t.load(parts, {row, t.index(statistic), t.index(0)}, {1, 1, n}, {1, n});
}

Value largestOf(TileBuilder &t, Value tile) { return t.extract(t.reduce(tile, t.full({1}, -INFINITY), /*maximum=*/true), t.index(0)); }
Value sumOf(TileBuilder &t, Value tile) { return t.extract(t.reduce(tile, t.full({1}, 0)), t.index(0)); }

Value largestWhere(TileBuilder &t, Value values, Value best, Value of) {
  Value there = t.map(TileBuilder::shapeOf(values), {values, best, of}, {{0, 1}, {0, 1}, {}}, [](TileBuilder &t, ValueRange v) {
    return choose(t, compare(t, arith::CmpFPredicate::OEQ, v[1], v[2]), v[0], t.f32(-INFINITY));
  });
  return largestOf(t, there);
}

} // namespace llmc
