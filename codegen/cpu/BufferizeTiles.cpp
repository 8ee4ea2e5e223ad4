// bufferize-tiles: one-shot bufferization of a tile program, then a static home for every buffer that is
// left.
#include "codegen/cpu/Passes.h"
#include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.h"
#include "mlir/Dialect/Bufferization/Transforms/OneShotAnalysis.h"
#include "mlir/Dialect/Bufferization/Transforms/OneShotModuleBufferize.h"
#include "mlir/Dialect/Bufferization/Transforms/Transforms.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "mlir/Transforms/Passes.h"

namespace llmc {
#define GEN_PASS_DEF_BUFFERIZETILES
#include "codegen/cpu/Passes.h.inc"

using namespace mlir;

namespace {

/// What one workgroup may keep on its stack. Worker threads have 8 MiB of stack by default.
constexpr int64_t kMaxScratchBytes = 4 << 20;

Value skipCasts(Value value) {
  while (auto cast = value.getDefiningOp<memref::CastOp>())
    value = cast.getSource();
  return value;
}

/// The buffer that `value` is a view of.
Value viewedBuffer(Value value) {
  while (auto view = value.getDefiningOp<ViewLikeOpInterface>())
    value = view.getViewSource();
  return value;
}

/// `value` without casts and without subviews that start where their source starts and keep its dimensions.
Value skipPrefixes(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (auto cast = dyn_cast<memref::CastOp>(op)) {
      value = cast.getSource();
      continue;
    }
    auto view = dyn_cast<memref::SubViewOp>(op);
    if (!view || view.getType().getRank() != view.getSourceType().getRank() ||
        !llvm::all_of(view.getMixedOffsets(), [](OpFoldResult o) { return isConstantIntValue(o, 0); }) ||
        !view.hasUnitStride())
      break;
    value = view.getSource();
  }
  return value;
}

/// Whether a copy from `a` to `b`, which have the same extents, changes nothing. Workgroups run at the same
/// time: such a copy must go, it could write back what another one has just changed.
bool areSameElements(Value a, Value b) {
  a = skipPrefixes(a);
  b = skipPrefixes(b);
  if (a == b)
    return true;
  auto first = a.getDefiningOp<memref::SubViewOp>(), second = b.getDefiningOp<memref::SubViewOp>();
  return first && second && areSameElements(first.getSource(), second.getSource()) &&
         first.getDroppedDims() == second.getDroppedDims() &&
         isEqualConstantIntOrValueArray(first.getMixedOffsets(), second.getMixedOffsets()) &&
         isEqualConstantIntOrValueArray(first.getMixedStrides(), second.getMixedStrides());
}

/// Whether `tensor` is only the ground of an update: a slice is taken, and something is put in its place.
bool isUpdatedInPlace(Value tensor) {
  tensor::ExtractSliceOp taken;
  tensor::InsertSliceOp put;
  for (OpOperand &use : tensor.getUses()) {
    auto insert = dyn_cast<tensor::InsertSliceOp>(use.getOwner());
    if (auto slice = dyn_cast<tensor::ExtractSliceOp>(use.getOwner()); slice && !taken)
      taken = slice;
    else if (insert && !put && use.get() == insert.getDest())
      put = insert;
    else
      return false;
  }
  return taken && put && isEqualConstantIntOrValueArray(taken.getMixedOffsets(), put.getMixedOffsets()) &&
         isEqualConstantIntOrValueArray(taken.getMixedSizes(), put.getMixedSizes());
}

/// A filled tensor that several ops go on from is filled once for each: a fill costs less than the copy that sharing needs.
void separateFills(linalg::GenericOp fill) {
  if (fill.getNumDpsInits() != 1 || fill.getNumReductionLoops() || fill->hasOneUse() || isUpdatedInPlace(fill->getResult(0)) ||
      !fill.getRegionOutputArgs().front().use_empty() ||
      llvm::any_of(fill.getDpsInputs(), [](Value v) { return isa<RankedTensorType>(v.getType()); }))
    return;
  Value out = fill.getDpsInits().front();
  auto slice = out.getDefiningOp<tensor::ExtractSliceOp>();
  auto empty = (slice ? slice.getSource() : out).getDefiningOp<tensor::EmptyOp>();
  if (!empty)
    return;
  for (OpOperand &use : llvm::make_early_inc_range(llvm::drop_begin(fill->getResult(0).getUses()))) {
    OpBuilder b(fill);
    IRMapping mapping;
    b.clone(*empty, mapping);
    if (slice)
      b.clone(*slice, mapping);
    use.set(b.clone(*fill, mapping)->getResult(0));
  }
}

/// The extent of dimension `dim` of `tensor`, from where it is made.
OpFoldResult extentOf(Value tensor, int64_t dim) {
  auto type = cast<RankedTensorType>(tensor.getType());
  if (!type.isDynamicDim(dim))
    return IntegerAttr::get(IndexType::get(tensor.getContext()), type.getDimSize(dim));
  Operation *op = tensor.getDefiningOp();
  if (auto empty = dyn_cast_or_null<tensor::EmptyOp>(op))
    return empty.getMixedSizes()[dim];
  if (auto slice = dyn_cast_or_null<tensor::ExtractSliceOp>(op); slice && slice.getSourceType().getRank() == type.getRank())
    return slice.getMixedSizes()[dim];
  if (auto insert = dyn_cast_or_null<tensor::InsertSliceOp>(op))
    return extentOf(insert.getDest(), dim);
  if (auto computed = dyn_cast_or_null<linalg::LinalgOp>(op))
    return extentOf(computed.getDpsInits()[cast<OpResult>(tensor).getResultNumber()], dim);
  return {};
}

/// What `extent` cannot exceed, where that shows.
std::optional<int64_t> boundOf(OpFoldResult extent) {
  if (!extent)
    return std::nullopt;
  if (auto known = getConstantIntValue(extent))
    return known;
  Value value = cast<Value>(extent);
  if (auto dim = value.getDefiningOp<tensor::DimOp>())
    if (auto position = dim.getConstantIndex())
      return boundOf(extentOf(dim.getSource(), *position));
  if (auto minimum = value.getDefiningOp<arith::MinSIOp>())
    for (Value operand : minimum->getOperands())
      if (auto bound = getConstantIntValue(operand))
        return bound;
  return std::nullopt;
}

///   tensor.empty(%rows)    ->    tensor.extract_slice (tensor.empty() : tensor<128x..>)[0, ..][%rows, ..]
/// for %rows = min(.., 128): scratch is static.
void boundScratch(tensor::EmptyOp empty) {
  SmallVector<OpFoldResult> sizes = empty.getMixedSizes(), whole(sizes);
  for (OpFoldResult &size : whole)
    if (auto value = dyn_cast<Value>(size)) {
      std::optional<int64_t> bound = boundOf(value);
      if (!bound)
        return;
      size = IntegerAttr::get(IndexType::get(empty.getContext()), *bound);
    }
  OpBuilder b(empty);
  SmallVector<OpFoldResult> zeros(sizes.size(), b.getIndexAttr(0)), ones(sizes.size(), b.getIndexAttr(1));
  // One for each use: what two ops write cannot be one buffer, and a second one would be of dynamic shape again.
  for (OpOperand &use : llvm::make_early_inc_range(empty->getUses())) {
    Value all = tensor::EmptyOp::create(b, empty.getLoc(), whole, empty.getType().getElementType());
    use.set(tensor::ExtractSliceOp::create(b, empty.getLoc(), empty.getType(), all, zeros, sizes, ones));
  }
  empty.erase();
}

/// Whether `tensor` is put into a part of what all workgroups make together as it is.
bool goesToDestination(Value tensor) {
  auto put = tensor.hasOneUse() ? dyn_cast<tensor::InsertSliceOp>(*tensor.user_begin()) : tensor::InsertSliceOp();
  if (!put || put.getSource() != tensor)
    return false;
  Value to = put.getDest();
  while (auto slice = to.getDefiningOp<tensor::ExtractSliceOp>())
    to = slice.getSource();
  auto argument = dyn_cast<BlockArgument>(to);
  return argument && isa<scf::ForallOp>(argument.getOwner()->getParentOp());
}

/// A product of more than `rows` rows that would add up in its destination adds up in scratch.
void separateSums(linalg::GenericOp product, int64_t rows) {
  if (product.getNumReductionLoops() != 1 || product.getNumLoops() != 3 || product.getNumDpsInits() != 1 ||
      !goesToDestination(product->getResult(0)))
    return;
  Value sums = product.getDpsInits().front();
  while (auto fill = sums.getDefiningOp<linalg::GenericOp>()) {
    if (fill.getNumReductionLoops() || fill.getNumDpsInits() != 1)
      return;
    sums = fill.getDpsInits().front();
  }
  auto empty = sums.getDefiningOp<tensor::EmptyOp>();
  if (!empty || boundOf(empty.getMixedSizes()[0]).value_or(0) <= rows)
    return;
  if (!empty.getType().hasStaticShape())
    return boundScratch(empty); // a slice of scratch is no slice of the destination
  OpBuilder b(empty);
  empty.replaceAllUsesWith(bufferization::AllocTensorOp::create(b, empty.getLoc(), empty.getType(), ValueRange()).getResult());
}

InFlightDiagnostic kernelError(Operation *op) {
  auto kernel = isa<func::FuncOp>(op) ? cast<func::FuncOp>(op) : op->getParentOfType<func::FuncOp>();
  return op->emitError() << "kernel '" << (kernel ? kernel.getName() : StringRef("?")) << "': ";
}

Value entryAlloca(func::FuncOp kernel, Location loc, MemRefType type) {
  OpBuilder b(&kernel.getBody().front(), kernel.getBody().front().begin());
  auto plain = MemRefType::get(type.getShape(), type.getElementType());
  return memref::AllocaOp::create(b, loc, plain, b.getI64IntegerAttr(64));
}

/// A loop that hands a new buffer to its next iteration would need one buffer per iteration. Gives the
/// carried value one home instead, and copies the yielded buffer into it:
///
///   scf.for iter_args(%m = %init)          memref.copy %init, %home
///     ...                           ->     scf.for
///     scf.yield %new                         ...  memref.copy %new, %home
LogicalResult giveLoopBuffersHomes(scf::ForOp loop, func::FuncOp kernel) {
  auto yield = cast<scf::YieldOp>(loop.getBody()->getTerminator());
  SmallVector<unsigned> moving;
  for (auto [i, arg] : llvm::enumerate(loop.getRegionIterArgs()))
    if (isa<MemRefType>(arg.getType()) && skipCasts(yield.getOperand(i)) != arg)
      moving.push_back(i);
  if (moving.empty())
    return success();
  Location loc = loop.getLoc();
  SmallVector<Value> homes;
  for (unsigned i : moving) {
    auto type = cast<MemRefType>(loop.getRegionIterArg(i).getType());
    if (!type.hasStaticShape())
      return kernelError(loop) << "iteration argument " << i
                               << " of a loop does not bufferize in place and has the "
                               << "dynamic shape " << type
                               << "; update it with insert_slice into the argument itself";
    Value home = entryAlloca(kernel, loc, type);
    OpBuilder before(loop);
    memref::CopyOp::create(before, loc, loop.getInitArgs()[i], home);
    Value seen = home.getType() == type ? home : memref::CastOp::create(before, loc, type, home).getResult();
    loop.getInitArgsMutable()[i].assign(seen);
    homes.push_back(home);
  }
  OpBuilder atYield(yield);
  // Two arguments that trade places must not overwrite each other: through temporaries then.
  bool exchanges = llvm::any_of(moving, [&](unsigned i) {
    return llvm::is_contained(loop.getRegionIterArgs(), viewedBuffer(yield.getOperand(i)));
  });
  SmallVector<Value> sources;
  for (unsigned i : moving) {
    Value source = yield.getOperand(i);
    if (exchanges) {
      Value temporary = entryAlloca(kernel, loc, cast<MemRefType>(source.getType()));
      memref::CopyOp::create(atYield, loc, source, temporary);
      source = temporary;
    }
    sources.push_back(source);
  }
  for (auto [i, source, home] : llvm::zip_equal(moving, sources, homes)) {
    memref::CopyOp::create(atYield, loc, source, home);
    yield->setOperand(i, loop.getRegionIterArg(i));
  }
  return success();
}

struct BufferizeTiles : impl::BufferizeTilesBase<BufferizeTiles> {
  using BufferizeTilesBase::BufferizeTilesBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    SmallVector<func::FuncOp> kernels;
    for (auto func : module.getOps<func::FuncOp>())
      if (func->hasAttr("llm.kernel") && !func.isExternal())
        kernels.push_back(func);
    for (func::FuncOp kernel : kernels)
      for (unsigned i = 0; i < kernel.getNumArguments(); ++i)
        if (!kernel.getArgAttr(i, "llm.written"))
          kernel.setArgAttr(i, bufferization::BufferizationDialect::kWritableAttrName,
                            BoolAttr::get(&getContext(), false));
    module.walk([](linalg::GenericOp op) { separateFills(op); });
    if (accumulatorRows)
      module.walk([&](linalg::GenericOp op) { separateSums(op, accumulatorRows); });
    IRRewriter rewriter(&getContext());
    if (failed(bufferization::eliminateEmptyTensors(rewriter, module)))
      return signalPassFailure();
    SmallVector<tensor::EmptyOp> dynamic;
    module.walk([&](tensor::EmptyOp empty) {
      if (!empty.getType().hasStaticShape())
        dynamic.push_back(empty);
    });
    for (tensor::EmptyOp empty : dynamic)
      boundScratch(empty);
    bufferization::OneShotBufferizationOptions options;
    options.bufferizeFunctionBoundaries = true;
    options.setFunctionBoundaryTypeConversion(bufferization::LayoutMapOption::IdentityLayoutMap);
    options.allowReturnAllocsFromLoops = true;
    options.bufferAlignment = 64;
    bufferization::BufferizationState state;
    if (failed(bufferization::runOneShotModuleBufferize(module, options, state)))
      return signalPassFailure();
    bufferization::removeBufferizationAttributesInModule(module);
    simplify();
    module.walk([](memref::CopyOp copy) {
      if (areSameElements(copy.getSource(), copy.getTarget()))
        copy.erase();
    });
    for (func::FuncOp kernel : kernels)
      if (failed(settleBuffers(kernel)) || failed(dropResults(kernel)))
        return signalPassFailure();
    simplify();
  }

  /// Folds copies of a buffer onto itself and loops that carry an unchanging buffer.
  void simplify() {
    OpPassManager pm(ModuleOp::getOperationName());
    pm.addPass(createCanonicalizerPass());
    pm.addPass(createCSEPass());
    pm.addPass(createCanonicalizerPass());
    if (failed(runPipeline(pm, getOperation())))
      signalPassFailure();
  }

  LogicalResult settleBuffers(func::FuncOp kernel) {
    LogicalResult result = success();
    kernel.walk([&](Operation *op) { // inner loops first
      if (failed(result))
        return;
      if (auto loop = dyn_cast<scf::ForOp>(op))
        result = giveLoopBuffersHomes(loop, kernel);
      else if (isa<scf::WhileOp>(op) && llvm::any_of(op->getOperandTypes(), llvm::IsaPred<MemRefType>))
        result = kernelError(op)
                 << "scf.while carries a tensor; only scalars may be carried, use scf.for for tensors";
    });
    if (failed(result))
      return result;
    SmallVector<memref::AllocOp> allocs;
    kernel.walk([&](memref::AllocOp alloc) { allocs.push_back(alloc); });
    for (memref::AllocOp alloc : allocs) {
      // Outside the forall every workgroup would make the copy, while others write what it reads.
      bool isCopyOfAll =
          !alloc->getParentOfType<scf::ForallOp>() && llvm::any_of(alloc->getUsers(), [&](Operation *user) {
            auto copy = dyn_cast<memref::CopyOp>(user);
            return copy && copy.getTarget() == alloc.getResult() &&
                   isa<BlockArgument>(viewedBuffer(copy.getSource()));
          });
      if (isCopyOfAll || !alloc.getType().hasStaticShape()) {
        for (BlockArgument arg : kernel.getArguments())
          if (kernel.getArgAttr(arg.getArgNumber(), "llm.written") && arg.getType() == alloc.getType())
            return kernelError(alloc)
                   << "needs a copy of a buffer of type " << alloc.getType()
                   << ", as it would for written argument " << arg.getArgNumber()
                   << "; inside scf.forall read a written argument only through its shared_outs, "
                      "and insert into what was extracted";
        return kernelError(alloc) << "needs a scratch buffer of the dynamic shape " << alloc.getType()
                                  << "; tile it to a static shape, or update the destination in place";
      }
      alloc.replaceAllUsesWith(entryAlloca(kernel, alloc.getLoc(), alloc.getType()));
      alloc.erase();
    }
    kernel.walk([](memref::DeallocOp dealloc) { dealloc.erase(); });
    int64_t bytes = 0;
    kernel.walk([&](memref::AllocaOp scratch) {
      bytes += llvm::alignTo(
          (scratch.getType().getNumElements() * scratch.getType().getElementTypeBitWidth() + 7) / 8, 64);
    });
    if (bytes > kMaxScratchBytes)
      return kernelError(kernel) << "needs " << bytes << " bytes of scratch, and a workgroup has "
                                 << kMaxScratchBytes << "; use smaller tiles";
    return success();
  }

  /// Results are the written arguments again; callers know them by their position.
  LogicalResult dropResults(func::FuncOp kernel) {
    SmallVector<BlockArgument> written;
    for (BlockArgument arg : kernel.getArguments())
      if (kernel.getArgAttr(arg.getArgNumber(), "llm.written"))
        written.push_back(arg);
    auto terminator = cast<func::ReturnOp>(kernel.getBody().front().getTerminator());
    if (terminator.getNumOperands() != written.size())
      return kernelError(kernel) << "returns " << terminator.getNumOperands() << " values, and "
                                 << written.size() << " arguments are marked llm.written";
    for (auto [i, value] : llvm::enumerate(terminator.getOperands()))
      if (skipCasts(value) != written[i])
        return kernelError(kernel) << "result " << i << " does not bufferize to written argument "
                                   << written[i].getArgNumber() << "; return the scf.forall's result for it";
    terminator->setOperands({});
    llvm::BitVector all(kernel.getNumResults(), true);
    return kernel.eraseResults(all);
  }
};

} // namespace
} // namespace llmc
