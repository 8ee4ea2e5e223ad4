// lower-workgroups: the kernel ABI. Kernel K with arguments a0, a1, ... becomes
//
//   void K(ptr buffers, ptr dims, i64 workgroup)   loads the pointers and the dims, calls K.body
//   void K.body(ptr noalias a0, ..., i64 T, ..., i64 workgroup)
//                                                  descriptors, then the body of the scf.forall
//   i64  K.grid(ptr dims)                          product of the forall's trip counts, 1 without one
//
// A written buffer overlaps no other argument of the call; that is what makes `noalias` true.
#include "codegen/cpu/Passes.h"
#include "dialect/plan/Extent.h"
#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

namespace llmc {
#define GEN_PASS_DEF_LOWERWORKGROUPS
#include "codegen/cpu/Passes.h.inc"

using namespace mlir;
using plan::Extent;
using plan::kNumSymbols;
using plan::parseExtent;

namespace {


class WorkgroupLowering {
public:
  explicit WorkgroupLowering(func::FuncOp kernel)
      : kernel(kernel), loc(kernel.getLoc()), b(kernel), name(kernel.getName()),
        pointer(LLVM::LLVMPointerType::get(b.getContext())) {}

  LogicalResult run() {
    if (failed(readKernel()))
      return failure();
    emitBody();
    if (failed(emitGrid()))
      return failure();
    emitEntry();
    kernel.erase();
    return success();
  }

private:
  LogicalResult error(Operation *op, const Twine &message) {
    return op->emitError() << "kernel '" << name << "': " << message;
  }

  LogicalResult readKernel() {
    for (auto op : kernel.getBody().front().getOps<scf::ForallOp>()) {
      if (forall)
        return error(op, "expects one scf.forall at top level, got a second one");
      forall = op;
    }
    for (BlockArgument arg : kernel.getArguments()) {
      auto type = dyn_cast<MemRefType>(arg.getType());
      if (!type || !type.getLayout().isIdentity())
        return error(kernel, "argument " + Twine(arg.getArgNumber()) + " is not a dense buffer");
      auto dims = kernel.getArgAttrOfType<ArrayAttr>(arg.getArgNumber(), "llm.dims");
      unsigned given = dims ? dims.size() : 0;
      if (given != type.getNumDynamicDims())
        return error(kernel, "argument " + Twine(arg.getArgNumber()) + " has " +
                                 Twine(type.getNumDynamicDims()) + " dynamic dimensions and llm.dims names " +
                                 Twine(given));
      for (unsigned i = 0; i < given; ++i) {
        auto text = dyn_cast<StringAttr>(dims[i]);
        std::optional<Extent> extent = text ? parseExtent(text.getValue()) : std::nullopt;
        if (!extent)
          return error(kernel,
                       "argument " + Twine(arg.getArgNumber()) +
                           " has an llm.dims entry that is not SYMBOL or N*SYMBOL (T, S, SLOTS, CTX, CTXB)");
        extents[arg.getArgNumber()].push_back(*extent);
      }
    }
    return success();
  }

  Value i64(int64_t value) {
    return LLVM::ConstantOp::create(b, loc, b.getI64Type(), b.getI64IntegerAttr(value));
  }
  Value toIndex(Value value) { return arith::IndexCastOp::create(b, loc, b.getIndexType(), value); }
  Value constant(int64_t value) { return arith::ConstantIndexOp::create(b, loc, value); }

  /// Extent of dimension `dim` of an argument as an i64, from the symbols' values.
  Value extentOf(unsigned arg, unsigned dim, ArrayRef<Value> symbols) {
    auto type = cast<MemRefType>(kernel.getArgument(arg).getType());
    if (!type.isDynamicDim(dim))
      return i64(type.getDimSize(dim));
    Extent extent = extents[arg][type.getDynamicDimIndex(dim)];
    Value value = symbols[extent.symbol];
    return extent.factor == 1 ? value : LLVM::MulOp::create(b, loc, value, i64(extent.factor)).getResult();
  }

  /// A memref over a raw pointer: the descriptor that the memref lowering expects, cast to the memref type.
  Value makeBuffer(unsigned arg, Value data, ArrayRef<Value> symbols, LLVMTypeConverter &converter) {
    auto type = cast<MemRefType>(kernel.getArgument(arg).getType());
    auto descriptor = MemRefDescriptor::poison(b, loc, converter.convertType(type));
    descriptor.setAllocatedPtr(b, loc, data);
    descriptor.setAlignedPtr(b, loc, data);
    descriptor.setOffset(b, loc, i64(0));
    Value stride = i64(1);
    for (int64_t dim = type.getRank() - 1; dim >= 0; --dim) {
      Value size = extentOf(arg, dim, symbols);
      descriptor.setSize(b, loc, dim, size);
      descriptor.setStride(b, loc, dim, stride);
      if (dim)
        stride = LLVM::MulOp::create(b, loc, stride, size);
    }
    Value value = descriptor;
    return UnrealizedConversionCastOp::create(b, loc, Type(type), value).getResult(0);
  }

  /// Number of iterations of induction variable `i` of the forall, given the values its bounds map to.
  Value tripCount(unsigned i, IRMapping &mapping) {
    auto mapped = [&](OpFoldResult bound) {
      if (auto known = getConstantIntValue(bound))
        return constant(*known);
      return mapping.lookup(cast<Value>(bound));
    };
    auto lower = getConstantIntValue(forall.getMixedLowerBound()[i]),
         step = getConstantIntValue(forall.getMixedStep()[i]);
    Value span = mapped(forall.getMixedUpperBound()[i]);
    if (lower != 0)
      span = arith::SubIOp::create(b, loc, span, mapped(forall.getMixedLowerBound()[i]));
    if (step == 1)
      return span;
    return arith::CeilDivUIOp::create(b, loc, span, mapped(forall.getMixedStep()[i]));
  }

  void emitBody() {
    unsigned numArgs = kernel.getNumArguments();
    SmallVector<Type> inputs(numArgs, pointer);
    inputs.append(kNumSymbols + 1, b.getI64Type());
    b.setInsertionPoint(kernel);
    auto body = func::FuncOp::create(b, loc, (name + ".body").str(), b.getFunctionType(inputs, {}));
    body.setPrivate();
    for (unsigned i = 0; i < numArgs; ++i)
      body.setArgAttr(i, LLVM::LLVMDialect::getNoAliasAttrName(), b.getUnitAttr());
    b.setInsertionPointToStart(body.addEntryBlock());
    SmallVector<Value> symbols(body.getArguments().slice(numArgs, kNumSymbols));
    LLVMTypeConverter converter(b.getContext());
    IRMapping mapping;
    for (unsigned i = 0; i < numArgs; ++i)
      mapping.map(kernel.getArgument(i), makeBuffer(i, body.getArgument(i), symbols, converter));
    for (Operation &op : kernel.getBody().front().without_terminator())
      if (!forall || &op != forall.getOperation())
        b.clone(op, mapping);
    if (!forall) { // simplified away: a single workgroup
      func::ReturnOp::create(b, loc);
      return;
    }
    Value rest = toIndex(body.getArguments().back());
    for (int i = forall.getRank() - 1; i >= 0; --i) {
      Value position = rest;
      if (i) {
        Value count = tripCount(i, mapping);
        position = arith::RemUIOp::create(b, loc, rest, count);
        rest = arith::DivUIOp::create(b, loc, rest, count);
      }
      auto value = [&](OpFoldResult bound) {
        auto known = getConstantIntValue(bound);
        return known ? constant(*known) : mapping.lookup(cast<Value>(bound));
      };
      position = arith::MulIOp::create(b, loc, position, value(forall.getMixedStep()[i]));
      position = arith::AddIOp::create(b, loc, position, value(forall.getMixedLowerBound()[i]));
      mapping.map(forall.getInductionVar(i), position);
    }
    for (Operation &op : forall.getBody()->without_terminator())
      b.clone(op, mapping);
    func::ReturnOp::create(b, loc);
  }

  /// Values of the symbols, loaded from the array that `dims` points to.
  SmallVector<Value> loadSymbols(Value dims) {
    SmallVector<Value> symbols;
    for (unsigned i = 0; i < kNumSymbols; ++i) {
      Value address =
          LLVM::GEPOp::create(b, loc, pointer, b.getI64Type(), dims, ArrayRef<LLVM::GEPArg>{int32_t(i)});
      symbols.push_back(LLVM::LoadOp::create(b, loc, b.getI64Type(), address, /*alignment=*/8));
    }
    return symbols;
  }

  LogicalResult emitGrid() {
    b.setInsertionPoint(kernel);
    auto grid =
        func::FuncOp::create(b, loc, (name + ".grid").str(), b.getFunctionType({pointer}, {b.getI64Type()}));
    b.setInsertionPointToStart(grid.addEntryBlock());
    SmallVector<Value> symbols = loadSymbols(grid.getArgument(0));
    IRMapping mapping;
    for (Operation &op : kernel.getBody().front()) {
      if (!forall || &op == forall.getOperation())
        break;
      if (auto dim = dyn_cast<memref::DimOp>(op)) {
        auto arg = dyn_cast<BlockArgument>(dim.getSource());
        std::optional<int64_t> position = dim.getConstantIndex();
        if (arg && position)
          mapping.map(dim.getResult(), toIndex(extentOf(arg.getArgNumber(), *position, symbols)));
        continue;
      }
      bool known =
          isPure(&op) && llvm::all_of(op.getOperands(), [&](Value v) { return mapping.contains(v); });
      if (known && llvm::none_of(op.getResultTypes(), llvm::IsaPred<MemRefType>))
        b.clone(op, mapping);
    }
    unsigned rank = forall ? forall.getRank() : 0;
    if (forall)
      for (auto bounds : {forall.getMixedUpperBound(), forall.getMixedLowerBound(), forall.getMixedStep()})
        for (OpFoldResult bound : bounds)
          if (auto value = dyn_cast<Value>(bound);
              value && !mapping.contains(value) && !getConstantIntValue(bound))
            return error(forall,
                         "a bound of the scf.forall is not computed from constants and dims of arguments");
    Value total = constant(1);
    for (unsigned i = 0; i < rank; ++i)
      total = arith::MulIOp::create(b, loc, total, tripCount(i, mapping));
    Value result = arith::IndexCastOp::create(b, loc, b.getI64Type(), total);
    func::ReturnOp::create(b, loc, result);
    return success();
  }

  void emitEntry() {
    b.setInsertionPoint(kernel);
    // The kernel keeps its name until it is erased; the symbol is free again right after.
    auto entry =
        func::FuncOp::create(b, loc, name, b.getFunctionType({pointer, pointer, b.getI64Type()}, {}));
    b.setInsertionPointToStart(entry.addEntryBlock());
    SmallVector<Value> operands;
    for (unsigned i = 0; i < kernel.getNumArguments(); ++i) {
      Value address = LLVM::GEPOp::create(b, loc, pointer, pointer, entry.getArgument(0),
                                          ArrayRef<LLVM::GEPArg>{int32_t(i)});
      operands.push_back(LLVM::LoadOp::create(b, loc, pointer, address, /*alignment=*/8));
    }
    operands.append(loadSymbols(entry.getArgument(1)));
    operands.push_back(entry.getArgument(2));
    func::CallOp::create(b, loc, (name + ".body").str(), TypeRange(), operands);
    func::ReturnOp::create(b, loc);
  }

  func::FuncOp kernel;
  Location loc;
  OpBuilder b;
  StringRef name; // owned by the context
  Type pointer;
  scf::ForallOp forall;
  llvm::DenseMap<unsigned, SmallVector<Extent>> extents;
};

struct LowerWorkgroups : impl::LowerWorkgroupsBase<LowerWorkgroups> {
  using LowerWorkgroupsBase::LowerWorkgroupsBase;

  void runOnOperation() override {
    SmallVector<func::FuncOp> kernels;
    for (auto func : getOperation().getOps<func::FuncOp>())
      if (func->hasAttr("llm.kernel") && !func.isExternal())
        kernels.push_back(func);
    for (func::FuncOp kernel : kernels)
      if (failed(WorkgroupLowering(kernel).run()))
        return signalPassFailure();
  }
};

} // namespace
} // namespace llmc
