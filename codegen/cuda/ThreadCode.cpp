// See ThreadCode.h.
#include "codegen/cuda/ThreadCode.h"
#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
namespace llmc {

GenericLoops::GenericLoops(OpBuilder &b, linalg::GenericOp op)
    : op(op), loc(op.getLoc()), kinds(op.getIteratorTypesArray()) {
  for (Range range : cast<linalg::LinalgOp>(op.getOperation()).createLoopRanges(b, loc))
    extents.push_back(range.size);
  for (unsigned i = 0; i < kinds.size(); ++i)
    if (kinds[i] == utils::IteratorType::reduction)
      reductions.push_back(i);
  for (AffineExpr expr : op.getMatchingIndexingMap(op.getDpsInitOperand(0)).getResults())
    for (unsigned i = 0; i < kinds.size(); ++i)
      if (expr.isFunctionOfDim(i) && kinds[i] == utils::IteratorType::parallel && !llvm::is_contained(parallels, i))
        parallels.push_back(i);
  for (unsigned i = 0; i < kinds.size(); ++i)
    if (kinds[i] == utils::IteratorType::parallel && !llvm::is_contained(parallels, i))
      parallels.insert(parallels.begin(), i);
}

Operation *combinerOf(linalg::GenericOp op, unsigned i) {
  SmallVector<Operation *, 4> combiners;
  Value reduced = matchReduction(op.getRegionOutputArgs(), i, combiners);
  if (!reduced || combiners.size() != 1 || !arith::getNeutralElement(combiners[0]))
    return nullptr;
  return combiners[0];
}

ThreadCode::ThreadCode(func::FuncOp kernel, int64_t threads)
    : b(kernel), loc(kernel.getLoc()), kernel(kernel), threads(threads) {
  b.setInsertionPointToStart(&kernel.getBody().front());
  thread = NVVM::ThreadIdXOp::create(b, loc, b.getI32Type());
  Value wide = toIndex(thread);
  warp = div(wide, kWarp);
  lane = rem(wide, kWarp);
}

void ThreadCode::where(Value condition, function_ref<void()> body) {
  if (!condition)
    return body();
  auto branch = scf::IfOp::create(b, loc, condition, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(branch.thenYield());
  body();
}

void ThreadCode::loop(Value from, Value to, int64_t step, function_ref<void(Value)> body) {
  auto loop = scf::ForOp::create(b, loc, from, to, index(step));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  body(loop.getInductionVar());
}

void ThreadCode::barrier() { NVVM::Barrier0Op::create(b, loc); }

Value ThreadCode::forIteration(Value v, scf::ForOp loop, IRMapping &mapping) {
  Operation *op = v.getDefiningOp();
  if (mapping.contains(v) || !op || op->getParentOp() != loop)
    return mapping.lookupOrDefault(v);
  for (Value operand : op->getOperands())
    forIteration(operand, loop, mapping);
  b.clone(*op, mapping);
  return mapping.lookup(v);
}

Value ThreadCode::pointer(Value buffer, ValueRange at, Space space) {
  auto type = cast<MemRefType>(buffer.getType());
  LLVMTypeConverter converter(b.getContext());
  Value parts =
      UnrealizedConversionCastOp::create(b, loc, TypeRange(converter.convertType(type)), ValueRange(buffer)).getResult(0);
  MemRefDescriptor descriptor(parts);
  SmallVector<int64_t> strides;
  int64_t offset;
  bool isStrided = succeeded(type.getStridesAndOffset(strides, offset));
  Type i64 = b.getI64Type();
  auto number = [&](int64_t v) -> Value { return LLVM::ConstantOp::create(b, loc, i64, b.getI64IntegerAttr(v)); };
  Value place = isStrided && !ShapedType::isDynamic(offset) ? number(offset) : descriptor.offset(b, loc);
  for (auto [d, position] : llvm::enumerate(at)) {
    Value stride = isStrided && !ShapedType::isDynamic(strides[d]) ? number(strides[d]) : descriptor.stride(b, loc, d);
    Value wide = arith::IndexCastOp::create(b, loc, i64, position);
    place = LLVM::AddOp::create(b, loc, place, LLVM::MulOp::create(b, loc, wide, stride));
  }
  auto generic = LLVM::LLVMPointerType::get(b.getContext());
  Value p = LLVM::GEPOp::create(b, loc, generic, converter.convertType(type.getElementType()), descriptor.alignedPtr(b, loc),
                                ArrayRef<LLVM::GEPArg>{place});
  if (space == Space::generic)
    return p;
  return LLVM::AddrSpaceCastOp::create(b, loc, LLVM::LLVMPointerType::get(b.getContext(), unsigned(space)), p);
}

memref::AllocaOp ThreadCode::allocateShared(int64_t bytes, int64_t alignment) {
  OpBuilder top(&kernel.getBody().front(), kernel.getBody().front().begin());
  auto op = memref::AllocaOp::create(top, loc, MemRefType::get({bytes}, b.getI8Type()), b.getI64IntegerAttr(alignment));
  op->setAttr("llm.shared", b.getUnitAttr());
  return op;
}

Value ThreadCode::allocateRegisters(int64_t count, Type element) {
  OpBuilder top(&kernel.getBody().front(), kernel.getBody().front().begin());
  auto op = memref::AllocaOp::create(top, loc, MemRefType::get({count}, element));
  op->setAttr("llm.registers", b.getUnitAttr());
  return op;
}

SmallVector<Value> ThreadCode::pointOf(Value number, ArrayRef<OpFoldResult> extents) {
  bool isNarrow = number.getType().isInteger(32);
  SmallVector<Value> at(extents.size());
  Value rest = number;
  for (int64_t d = extents.size() - 1; d >= 0; --d) {
    auto known = getConstantIntValue(extents[d]);
    Value position = rest;
    if (known == 1) {
      at[d] = index(0);
      continue;
    }
    if (d) {
      Value extent = !known ? value(extents[d]) : isNarrow ? i32(*known) : index(*known);
      position = arith::RemUIOp::create(b, loc, rest, extent);
      rest = arith::DivUIOp::create(b, loc, rest, extent);
    }
    at[d] = isNarrow ? toIndex(position) : position;
  }
  return at;
}

void ThreadCode::overPoints(Value first, int64_t step, ArrayRef<OpFoldResult> extents,
                            function_ref<void(ArrayRef<Value>)> body) {
  int64_t total = 1;
  for (OpFoldResult extent : extents) {
    auto known = getConstantIntValue(extent);
    total = known && total >= 0 ? total * *known : -1;
  }
  bool isNarrow = total >= 0 && total < (int64_t(1) << 30);
  auto number = [&](int64_t v) { return isNarrow ? i32(v) : index(v); };
  Value from = isNarrow ? first : toIndex(first);
  Value to = number(isNarrow ? total : 1);
  if (!isNarrow)
    for (OpFoldResult extent : extents)
      to = arith::MulIOp::create(b, loc, to, value(extent));
  auto loop = scf::ForOp::create(b, loc, from, to, number(step));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  body(pointOf(loop.getInductionVar(), extents));
}

SmallVector<Value> ThreadCode::indices(GenericLoops &g, OpOperand &operand, ArrayRef<Value> at) {
  SmallVector<Value> result;
  for (AffineExpr expr : g.op.getMatchingIndexingMap(&operand).getResults()) {
    if (auto dim = dyn_cast<AffineDimExpr>(expr))
      result.push_back(at[dim.getPosition()]);
    else if (auto constant = dyn_cast<AffineConstantExpr>(expr))
      result.push_back(index(constant.getValue()));
    else
      result.push_back(affine::AffineApplyOp::create(b, loc, AffineMap::get(at.size(), 0, expr), at));
  }
  return result;
}

SmallVector<Value> ThreadCode::cloneBody(GenericLoops &g, ArrayRef<Value> at, ValueRange outs,
                                         function_ref<Value(OpOperand &)> load) {
  IRMapping mapping;
  Block *body = g.op.getBody();
  for (OpOperand *input : g.op.getDpsInputOperands()) {
    BlockArgument arg = body->getArgument(input->getOperandNumber());
    if (arg.use_empty())
      continue;
    Value x = input->get();
    Value given = load && isa<MemRefType>(x.getType()) ? load(*input) : Value();
    mapping.map(arg, given                            ? given
                     : isa<MemRefType>(x.getType()) ? memref::LoadOp::create(b, loc, x, indices(g, *input, at)).getResult()
                                                    : x);
  }
  for (auto [arg, out] : llvm::zip_equal(g.op.getRegionOutputArgs(), outs))
    mapping.map(arg, out);
  for (Operation &inner : body->without_terminator()) {
    if (auto position = dyn_cast<linalg::IndexOp>(inner)) {
      mapping.map(position.getResult(), at[position.getDim()]);
      continue;
    }
    Operation *copy = b.clone(inner, mapping);
    if (Value fused = fuseMultiplyAdd(copy, outs))
      mapping.map(inner.getResult(0), fused);
  }
  SmallVector<Value> results;
  for (Value v : body->getTerminator()->getOperands())
    results.push_back(mapping.lookupOrDefault(v));
  return results;
}

/// Replaces acc + x * y, where acc is what the reduction carries, by one operation and returns its value; else nothing.
Value ThreadCode::fuseMultiplyAdd(Operation *op, ValueRange accumulators) {
  auto add = dyn_cast<arith::AddFOp>(op);
  if (!add)
    return {};
  for (auto [acc, other] : {std::pair(add.getLhs(), add.getRhs()), std::pair(add.getRhs(), add.getLhs())}) {
    auto product = other.getDefiningOp<arith::MulFOp>();
    if (!product || !llvm::is_contained(accumulators, acc) || !(acc.getType().isF32() || acc.getType().isF64()))
      continue;
    Value fused = math::FmaOp::create(b, op->getLoc(), product.getLhs(), product.getRhs(), acc);
    op->erase();
    return fused;
  }
  return {};
}

Value ThreadCode::combine(Operation *combiner, Value x, Value y) {
  OperationState state(combiner->getLoc(), combiner->getName(), {x, y}, combiner->getResultTypes(), combiner->getAttrs());
  return b.create(state)->getResult(0);
}

Value BlockStorage::registersOf(Value buffer) {
  if (!isa<MemRefType>(buffer.getType()) || !layouts.inRegisters(buffer))
    return {};
  auto scratch = scratchOf(buffer);
  Value &registers = known[scratch];
  if (!registers) {
    const Layouts::Register &r = layouts.registers.find(scratch)->second;
    registers = t.allocateRegisters(r.isVector ? 2 * r.fragments.fm : r.fragments.registers(),
                                    scratch.getType().getElementType());
  }
  return registers;
}

Value BlockStorage::pooled(ArrayRef<int64_t> shape, Type element, int64_t offset) {
  if (!pool)
    pool = t.allocateShared(0);
  int64_t bytes = element.getIntOrFloatBitWidth() / 8;
  for (int64_t size : shape)
    bytes *= size;
  poolBytes = std::max(poolBytes, offset + bytes);
  return memref::ViewOp::create(t.b, t.loc, MemRefType::get(shape, element), pool, t.index(offset), ValueRange());
}

void BlockStorage::finish() {
  if (pool)
    pool.getResult().setType(MemRefType::get({poolBytes}, t.b.getI8Type()));
}

} // namespace llmc
