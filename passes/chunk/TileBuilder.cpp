// The words of TileBuilder.h in upstream ops.
#include "passes/chunk/TileBuilder.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
namespace llmc {

static std::optional<int64_t> constant(Value v) { return getConstantIntValue(v); }

Value TileBuilder::index(int64_t i) { return arith::ConstantIndexOp::create(b, loc, i); }

Value TileBuilder::add(Value x, Value y) {
  auto cx = constant(x), cy = constant(y);
  if (cx && cy)
    return index(*cx + *cy);
  if (cx && *cx == 0)
    return y;
  if (cy && *cy == 0)
    return x;
  return arith::AddIOp::create(b, loc, x, y);
}
Value TileBuilder::sub(Value x, Value y) { return arith::SubIOp::create(b, loc, x, y); }
Value TileBuilder::mul(Value x, int64_t y) {
  if (auto c = constant(x))
    return index(*c * y);
  return y == 1 ? x : arith::MulIOp::create(b, loc, x, index(y)).getResult();
}
Value TileBuilder::mul(Value x, Value y) { return arith::MulIOp::create(b, loc, x, y); }
Value TileBuilder::floorDiv(Value x, int64_t y) {
  if (auto c = constant(x))
    return index(*c / y);
  return y == 1 ? x : arith::DivUIOp::create(b, loc, x, index(y)).getResult();
}
Value TileBuilder::ceilDiv(Value x, int64_t y) { return floorDiv(add(x, y - 1), y); }
Value TileBuilder::mod(Value x, int64_t y) {
  if (auto c = constant(x))
    return index(*c % y);
  return arith::RemUIOp::create(b, loc, x, index(y));
}
Value TileBuilder::min(Value x, Value y) { return arith::MinSIOp::create(b, loc, x, y); }
Value TileBuilder::max(Value x, Value y) { return arith::MaxSIOp::create(b, loc, x, y); }
Value TileBuilder::less(Value x, Value y) {
  return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, x, y);
}
Value TileBuilder::f32(double v) { return arith::ConstantOp::create(b, loc, b.getF32FloatAttr((float)v)); }
Value TileBuilder::i32(int64_t v) {
  return arith::ConstantOp::create(b, loc, b.getI32IntegerAttr((int32_t)v));
}
Value TileBuilder::toIndex(Value i) { return arith::IndexCastOp::create(b, loc, b.getIndexType(), i); }
Value TileBuilder::toF32(Value v) {
  if (v.getType().isF32() || !isa<FloatType>(v.getType()))
    return v;
  return arith::ExtFOp::create(b, loc, b.getF32Type(), v);
}
Value TileBuilder::addf(Value x, Value y) { return arith::AddFOp::create(b, loc, x, y); }
Value TileBuilder::subf(Value x, Value y) { return arith::SubFOp::create(b, loc, x, y); }
Value TileBuilder::mulf(Value x, Value y) { return arith::MulFOp::create(b, loc, x, y); }
Value TileBuilder::divf(Value x, Value y) { return arith::DivFOp::create(b, loc, x, y); }
Value TileBuilder::exp(Value x) { return math::ExpOp::create(b, loc, x); }
Value TileBuilder::roughExp2(Value x) { return math::Exp2Op::create(b, loc, x, arith::FastMathFlags::afn); }
Value TileBuilder::fma(Value x, Value y, Value z) { return math::FmaOp::create(b, loc, x, y, z); }
Value TileBuilder::maxf(Value x, Value y) { return arith::MaximumFOp::create(b, loc, x, y); }

Value TileBuilder::dim(Value tensor, int64_t i) {
  int64_t size = shapeOf(tensor)[i];
  if (size != ShapedType::kDynamic)
    return index(size);
  if (auto slice = tensor.getDefiningOp<tensor::ExtractSliceOp>()) { // as many as it was asked for
    llvm::SmallBitVector dropped = slice.getDroppedDims();
    unsigned of = 0;
    for (int64_t left = i; dropped[of] || left; ++of)
      left -= !dropped[of];
    return getValueOrCreateConstantIndexOp(b, loc, slice.getMixedSizes()[of]);
  }
  return tensor::DimOp::create(b, loc, tensor, i);
}

Value TileBuilder::empty(ArrayRef<int64_t> shape, Type element) {
  SmallVector<int64_t> sizes;
  for (int64_t size : shape)
    sizes.push_back(size < 0 ? ShapedType::kDynamic : size);
  return tensor::EmptyOp::create(b, loc, sizes, element ? element : b.getF32Type(),
                                 ShapedType::isDynamicShape(sizes) ? ValueRange(rowCount) : ValueRange());
}

Value TileBuilder::full(ArrayRef<int64_t> shape, double value) {
  return linalg::FillOp::create(b, loc, f32(value), empty(shape)).getResult(0);
}

SmallVector<OpFoldResult> TileBuilder::mixed(ArrayRef<Value> values) {
  SmallVector<OpFoldResult> result;
  for (Value v : values)
    if (auto c = constant(v))
      result.push_back(b.getIndexAttr(*c));
    else
      result.push_back(v);
  return result;
}

SmallVector<OpFoldResult> TileBuilder::mixed(ArrayRef<int64_t> sizes, ValueRange dynamic) {
  SmallVector<OpFoldResult> result;
  for (int64_t size : sizes)
    if (size >= 0)
      result.push_back(b.getIndexAttr(size));
    else if (dynamic.empty())
      result.push_back(rowCount);
    else {
      result.push_back(dynamic.front());
      dynamic = dynamic.drop_front();
    }
  return result;
}

static RankedTensorType tileType(ArrayRef<int64_t> shape, Type element) {
  SmallVector<int64_t> dims;
  for (int64_t s : shape)
    dims.push_back(s < 0 ? ShapedType::kDynamic : s);
  return RankedTensorType::get(dims, element);
}

Value TileBuilder::load(Value tensor, ArrayRef<Value> offsets, ArrayRef<int64_t> sizes,
                        ArrayRef<int64_t> shape, ValueRange dynamic) {
  SmallVector<OpFoldResult> ones(offsets.size(), b.getIndexAttr(1));
  return tensor::ExtractSliceOp::create(b, loc, tileType(shape, elementOf(tensor)), tensor, mixed(offsets),
                                        mixed(sizes, dynamic), ones);
}

Value TileBuilder::store(Value tile, Value tensor, ArrayRef<Value> offsets, ArrayRef<int64_t> sizes,
                         ValueRange dynamic) {
  SmallVector<OpFoldResult> ones(offsets.size(), b.getIndexAttr(1));
  tile = cast(tile, elementOf(tensor));
  return tensor::InsertSliceOp::create(b, loc, tile, tensor, mixed(offsets), mixed(sizes, dynamic), ones);
}

Value TileBuilder::extract(Value tensor, ValueRange indices) {
  return tensor::ExtractOp::create(b, loc, tensor, indices);
}
Value TileBuilder::insert(Value scalar, Value tensor, ValueRange indices) {
  if (scalar.getType() != elementOf(tensor))
    scalar = toF32(scalar);
  return tensor::InsertOp::create(b, loc, scalar, tensor, indices);
}

Value TileBuilder::cast(Value tile, Type element) {
  if (elementOf(tile) == element)
    return tile;
  return map(shapeOf(tile), {tile}, {}, [](TileBuilder &, ValueRange v) { return v[0]; }, empty(shapeOf(tile), element));
}

/// The affine map that picks `dims` out of `rank` dimensions.
static AffineMap pick(MLIRContext *context, unsigned rank, ArrayRef<int64_t> dims) {
  SmallVector<AffineExpr> exprs;
  for (int64_t d : dims)
    exprs.push_back(getAffineDimExpr(d, context));
  return AffineMap::get(rank, 0, exprs, context);
}

Value TileBuilder::map(ArrayRef<int64_t> shape, ValueRange inputs, ArrayRef<SmallVector<int64_t>> dims,
                       Body body, Value into) {
  unsigned rank = shape.size();
  MLIRContext *context = b.getContext();
  AffineMap identity = AffineMap::getMultiDimIdentityMap(rank, context);
  SmallVector<AffineMap> maps;
  for (size_t i = 0; i < inputs.size(); ++i)
    maps.push_back(!isa<RankedTensorType>(inputs[i].getType()) ? AffineMap::get(rank, 0, context)
                   : dims.empty()                              ? identity
                                                               : pick(context, rank, dims[i]));
  maps.push_back(identity);
  Value out = into ? into : empty(shape);
  SmallVector<utils::IteratorType> iterators(rank, utils::IteratorType::parallel);
  auto op = linalg::GenericOp::create(
      b, loc, TypeRange{out.getType()}, inputs, ValueRange{out}, maps, iterators,
      [&](OpBuilder &nested, Location l, ValueRange args) {
        TileBuilder t = inside(nested, l);
        SmallVector<Value> values;
        for (Value v : args.drop_back())
          values.push_back(t.toF32(v));
        if (into)
          values.push_back(t.toF32(args.back()));
        Value y = body(t, values);
        if (y.getType().isF32() && y.getType() != elementOf(out))
          y = arith::TruncFOp::create(nested, l, elementOf(out), y);
        linalg::YieldOp::create(nested, l, y);
      });
  return op.getResult(0);
}

Value TileBuilder::map(ValueRange inputs, Body body) {
  return map(shapeOf(inputs.front()), inputs, {}, body);
}

Value TileBuilder::mapWithColumn(ArrayRef<int64_t> shape, ValueRange inputs,
                                 ArrayRef<SmallVector<int64_t>> dims,
                                 function_ref<Value(TileBuilder &, ValueRange, Value, Value)> body, Value into) {
  int64_t last = shape.size() - 1;
  auto withPlace = [&](TileBuilder &t, ValueRange args) {
    Value row = last ? linalg::IndexOp::create(t.b, t.loc, 0).getResult() : t.index(0);
    Value column = linalg::IndexOp::create(t.b, t.loc, last);
    return body(t, args, row, column);
  };
  return map(shape, inputs, dims, withPlace, into);
}

Value TileBuilder::contract(Value a, Value w, Value acc, bool aTransposed, bool bTransposed) {
  MLIRContext *context = b.getContext();
  a = productOperand(a, elementOf(w));
  SmallVector<int64_t> aDims = aTransposed ? SmallVector<int64_t>{2, 0} : SmallVector<int64_t>{0, 2};
  SmallVector<int64_t> bDims = bTransposed ? SmallVector<int64_t>{1, 2} : SmallVector<int64_t>{2, 1};
  SmallVector<AffineMap> maps{pick(context, 3, aDims), pick(context, 3, bDims), pick(context, 3, {0, 1})};
  if (shapeOf(w).size() == 3) {
    AffineExpr n = getAffineDimExpr(1, context), k = getAffineDimExpr(2, context);
    int64_t panel = shapeOf(w)[2];
    maps[1] = AffineMap::get(3, 0, {n.floorDiv(panel), k, n % panel}, context);
  }
  SmallVector<utils::IteratorType> iterators{utils::IteratorType::parallel, utils::IteratorType::parallel,
                                             utils::IteratorType::reduction};
  auto op = linalg::GenericOp::create(b, loc, TypeRange{acc.getType()}, ValueRange{a, w}, ValueRange{acc},
                                      maps, iterators, [&](OpBuilder &nested, Location l, ValueRange args) {
                                        TileBuilder t = inside(nested, l);
                                        Value product = t.mulf(t.toF32(args[0]), t.toF32(args[1]));
                                        linalg::YieldOp::create(nested, l, t.addf(args[2], product));
                                      });
  return op.getResult(0);
}

Value TileBuilder::reduce(Value tile, Value init, bool maximum) {
  MLIRContext *context = b.getContext();
  unsigned rank = shapeOf(tile).size();
  SmallVector<int64_t> kept;
  for (unsigned i = 0; i + 1 < rank; ++i)
    kept.push_back(i);
  SmallVector<AffineMap> maps{AffineMap::getMultiDimIdentityMap(rank, context), pick(context, rank, kept)};
  SmallVector<utils::IteratorType> iterators(rank, utils::IteratorType::parallel);
  iterators.back() = utils::IteratorType::reduction;
  auto op = linalg::GenericOp::create(b, loc, TypeRange{init.getType()}, ValueRange{tile}, ValueRange{init},
                                      maps, iterators, [&](OpBuilder &nested, Location l, ValueRange args) {
                                        TileBuilder t = inside(nested, l);
                                        Value v = t.toF32(args[0]);
                                        linalg::YieldOp::create(
                                            nested, l, maximum ? t.maxf(args[1], v) : t.addf(args[1], v));
                                      });
  return op.getResult(0);
}

Value TileBuilder::timesVector(Value a, Value x, Value init) {
  MLIRContext *context = b.getContext();
  SmallVector<AffineMap> maps{pick(context, 2, {0, 1}), pick(context, 2, {1}), pick(context, 2, {0})};
  SmallVector<utils::IteratorType> iterators{utils::IteratorType::parallel, utils::IteratorType::reduction};
  return linalg::GenericOp::create(b, loc, TypeRange{init.getType()}, ValueRange{a, x}, ValueRange{init}, maps, iterators,
                                   [&](OpBuilder &nested, Location l, ValueRange args) {
                                     TileBuilder t = inside(nested, l);
                                     linalg::YieldOp::create(nested, l, t.addf(args[2], t.mulf(t.toF32(args[0]), t.toF32(args[1]))));
                                   })
      .getResult(0);
}

Value TileBuilder::transpose(Value tile) {
  auto shape = shapeOf(tile);
  return map({shape[1], shape[0]}, {tile}, {{1, 0}}, [](TileBuilder &, ValueRange v) { return v[0]; });
}

Value TileBuilder::transposeInto(Value tile, Value into) {
  MLIRContext *context = b.getContext();
  SmallVector<AffineMap> maps{pick(context, 2, {0, 1}), pick(context, 2, {1, 0})};
  SmallVector<utils::IteratorType> iterators(2, utils::IteratorType::parallel);
  return linalg::GenericOp::create(b, loc, TypeRange{into.getType()}, ValueRange{tile}, ValueRange{into}, maps, iterators,
                                   [&](OpBuilder &nested, Location l, ValueRange args) {
                                     Value v = inside(nested, l).toF32(args[0]);
                                     if (v.getType() != elementOf(into))
                                       v = arith::TruncFOp::create(nested, l, elementOf(into), v);
                                     linalg::YieldOp::create(nested, l, v);
                                   })
      .getResult(0);
}

SmallVector<Value> TileBuilder::loop(Value from, Value to, int64_t step, ValueRange init, LoopBody body) {
  auto op = scf::ForOp::create(b, loc, from, to, index(step), init,
                               [&](OpBuilder &nested, Location l, Value i, ValueRange carried) {
                                 TileBuilder t = inside(nested, l);
                                 scf::YieldOp::create(nested, l, body(t, i, carried));
                               });
  return SmallVector<Value>(op.getResults());
}

SmallVector<Value> TileBuilder::select(Value condition, Branch yes, Branch no) {
  auto branch = [this](Branch body) {
    return [this, body](OpBuilder &nested, Location l) {
      TileBuilder t = inside(nested, l);
      scf::YieldOp::create(nested, l, body(t));
    };
  };
  auto op = scf::IfOp::create(b, loc, condition, branch(yes), branch(no));
  return SmallVector<Value>(op.getResults());
}

} // namespace llmc
