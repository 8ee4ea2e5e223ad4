// lower-blocks: the kernel ABI of the CUDA target. Kernel K with arguments a0, a1, ... becomes
//
//   K(ptr a0, ..., i64 T, ..., i64 CTXB, ptr scratch, i64 workgroups, tensor maps by value ...)
//     for (workgroup = blockIdx; workgroup < workgroups; workgroup += gridDim) { body of the scf.forall;
//     barrier }
//
// with scratch buffers in shared memory, the smallest first while they fit, and the others in the block's own
// part of `scratch`. All pointers are generic in the IR; LLVM infers address spaces from where they come.
#include "codegen/cuda/Passes.h"
#include "codegen/cuda/TensorMaps.h"
#include "dialect/plan/Extent.h"
#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "runtime/Plan.h"
#include "runtime/sim/SimThread.h"

namespace llmc {
#define GEN_PASS_DEF_LOWERBLOCKS
#define GEN_PASS_DEF_MARKKERNELS
#include "codegen/cuda/Passes.h.inc"

using namespace mlir;
using plan::Extent;
using plan::kNumSymbols;
using plan::parseExtent;
using runtime::GridOp;

namespace {

constexpr int64_t kScratchAlignment = 128;
constexpr int64_t kArgumentAlignment = 64; // every buffer of a plan starts at such an address
constexpr int64_t kTensorMapBytes = 128, kTensorMapAlignment = 64; // CUtensorMap's

/// The number of workgroups as a postfix program over dims (runtime/Plan.h).
class GridProgram {
public:
  void push(GridOp op, int64_t value = 0) {
    terms.push_back(int64_t(op));
    terms.push_back(value);
  }
  void append(const GridProgram &other) { terms.append(other.terms.begin(), other.terms.end()); }
  SmallVector<int64_t> terms; ///< op, value, op, value, ...
};

class BlockLowering {
public:
  BlockLowering(func::FuncOp kernel, int64_t sharedLimit, bool declareBuffers)
      : kernel(kernel), loc(kernel.getLoc()), b(kernel), name(kernel.getName()),
        pointer(LLVM::LLVMPointerType::get(b.getContext())), sharedLimit(sharedLimit),
        declareBuffers(declareBuffers) {}

  LogicalResult run() {
    if (failed(readKernel()) || failed(readGrid()) || failed(emit()))
      return failure();
    kernel.erase();
    return success();
  }

private:
  InFlightDiagnostic error(Operation *op) { return op->emitError() << "kernel '" << name << "': "; }

  LogicalResult readKernel() {
    for (auto op : kernel.getBody().front().getOps<scf::ForallOp>()) {
      if (forall)
        return error(op) << "expects one scf.forall at top level, got a second one";
      forall = op;
    }
    for (BlockArgument arg : kernel.getArguments()) {
      unsigned number = arg.getArgNumber();
      if (kernel.getArgAttr(number, kTensorMapAttr))
        continue;
      ++numBuffers;
      auto type = dyn_cast<MemRefType>(arg.getType());
      if (!type || !type.getLayout().isIdentity())
        return error(kernel) << "argument " << number << " is not a dense buffer";
      auto dims = kernel.getArgAttrOfType<ArrayAttr>(number, "llm.dims");
      unsigned given = dims ? dims.size() : 0;
      if (given != type.getNumDynamicDims())
        return error(kernel) << "argument " << number << " has " << type.getNumDynamicDims()
                             << " dynamic dimensions and llm.dims names " << given;
      for (unsigned i = 0; i < given; ++i) {
        auto text = dyn_cast<StringAttr>(dims[i]);
        std::optional<Extent> extent = text ? parseExtent(text.getValue()) : std::nullopt;
        if (!extent)
          return error(kernel)
                 << "argument " << number
                 << " has an llm.dims entry that is not SYMBOL or N*SYMBOL (T, S, SLOTS, CTX, CTXB)";
        extents[number].push_back(*extent);
      }
    }
    return success();
  }

  /// The postfix program of an index value, from constants and dims of arguments.
  std::optional<GridProgram> programOf(OpFoldResult bound) {
    GridProgram p;
    if (auto known = getConstantIntValue(bound)) {
      p.push(GridOp::constant, *known);
      return p;
    }
    Operation *op = cast<Value>(bound).getDefiningOp();
    if (!op)
      return std::nullopt;
    if (auto dim = dyn_cast<memref::DimOp>(op)) {
      auto arg = dyn_cast<BlockArgument>(dim.getSource());
      std::optional<int64_t> position = dim.getConstantIndex();
      if (!arg || !position || arg.getOwner() != &kernel.getBody().front())
        return std::nullopt;
      auto type = cast<MemRefType>(arg.getType());
      if (!type.isDynamicDim(*position)) {
        p.push(GridOp::constant, type.getDimSize(*position));
        return p;
      }
      Extent extent = extents[arg.getArgNumber()][type.getDynamicDimIndex(*position)];
      p.push(GridOp::symbol, extent.symbol);
      p.push(GridOp::constant, extent.factor);
      p.push(GridOp::mul);
      return p;
    }
    std::optional<GridOp> code;
    if (isa<arith::AddIOp>(op))
      code = GridOp::add;
    else if (isa<arith::SubIOp>(op))
      code = GridOp::sub;
    else if (isa<arith::MulIOp>(op))
      code = GridOp::mul;
    else if (isa<arith::DivUIOp, arith::DivSIOp, arith::FloorDivSIOp>(op))
      code = GridOp::div; // extents are not negative
    else if (isa<arith::CeilDivUIOp, arith::CeilDivSIOp>(op))
      code = GridOp::ceilDiv;
    else if (isa<arith::RemUIOp, arith::RemSIOp>(op))
      code = GridOp::rem;
    else if (isa<arith::MinSIOp, arith::MinUIOp>(op))
      code = GridOp::min;
    else if (isa<arith::MaxSIOp, arith::MaxUIOp>(op))
      code = GridOp::max;
    if (!code)
      return std::nullopt;
    for (Value operand : op->getOperands()) {
      auto part = programOf(operand);
      if (!part)
        return std::nullopt;
      p.append(*part);
    }
    p.push(*code);
    return p;
  }

  LogicalResult readGrid() {
    grid.push(GridOp::constant, 1);
    if (!forall)
      return success();
    for (unsigned i = 0; i < forall.getRank(); ++i) {
      auto upper = programOf(forall.getMixedUpperBound()[i]),
           lower = programOf(forall.getMixedLowerBound()[i]), step = programOf(forall.getMixedStep()[i]);
      if (!upper || !lower || !step)
        return error(forall)
               << "a bound of the scf.forall is not computed from constants and dims of arguments";
      grid.append(*upper);
      grid.append(*lower);
      grid.push(GridOp::sub);
      grid.append(*step);
      grid.push(GridOp::ceilDiv);
      if (i + 1 == forall.getRank() && blocksOfCluster() > 1) { // each has a workgroup
        grid.push(GridOp::constant, blocksOfCluster());
        grid.push(GridOp::ceilDiv);
        grid.push(GridOp::constant, blocksOfCluster());
        grid.push(GridOp::mul);
      }
      grid.push(GridOp::mul);
    }
    return success();
  }

  int64_t blocksOfCluster() {
    auto blocks = kernel->getAttrOfType<IntegerAttr>("llm.cluster");
    return blocks ? blocks.getInt() : 1;
  }

  Value i64(int64_t value) {
    return LLVM::ConstantOp::create(b, loc, b.getI64Type(), b.getI64IntegerAttr(value));
  }
  Value constant(int64_t value) { return arith::ConstantIndexOp::create(b, loc, value); }
  Value toIndex(Value value) { return arith::IndexCastOp::create(b, loc, b.getIndexType(), value); }

  Value extentOf(unsigned arg, unsigned dim, ArrayRef<Value> symbols) {
    auto type = cast<MemRefType>(kernel.getArgument(arg).getType());
    if (!type.isDynamicDim(dim))
      return i64(type.getDimSize(dim));
    Extent extent = extents[arg][type.getDynamicDimIndex(dim)];
    Value value = symbols[extent.symbol];
    return extent.factor == 1 ? value : LLVM::MulOp::create(b, loc, value, i64(extent.factor)).getResult();
  }

  /// A memref of type `type` over a raw pointer; `sizes` are its extents.
  Value makeBuffer(MemRefType type, Value data, ArrayRef<Value> sizes, LLVMTypeConverter &converter) {
    auto descriptor = MemRefDescriptor::poison(b, loc, converter.convertType(type));
    descriptor.setAllocatedPtr(b, loc, data);
    descriptor.setAlignedPtr(b, loc, data);
    descriptor.setOffset(b, loc, i64(0));
    Value stride = i64(1);
    for (int64_t dim = type.getRank() - 1; dim >= 0; --dim) {
      descriptor.setSize(b, loc, dim, sizes[dim]);
      descriptor.setStride(b, loc, dim, stride);
      if (dim)
        stride = LLVM::MulOp::create(b, loc, stride, sizes[dim]);
    }
    Value value = descriptor;
    return UnrealizedConversionCastOp::create(b, loc, Type(type), value).getResult(0);
  }

  static int64_t bytesOf(MemRefType type) {
    int64_t bits = type.getElementTypeBitWidth();
    return llvm::alignTo(type.getNumElements() * ((bits + 7) / 8), kScratchAlignment);
  }

  Value offset(Value base, Value bytes) {
    return LLVM::GEPOp::create(b, loc, pointer, b.getI8Type(), base, ArrayRef<LLVM::GEPArg>{bytes});
  }

  /// Homes of the allocas: those that must be in shared memory, then the smallest first, so that few buffers leave it. A thread's
  /// registers stay allocas.
  LogicalResult placeScratch(Value scratch, IRMapping &mapping, LLVMTypeConverter &converter) {
    std::vector<memref::AllocaOp> buffers;
    kernel.walk([&](memref::AllocaOp op) {
      if (op->hasAttr("llm.registers"))
        b.clone(*op, mapping);
      else
        buffers.push_back(op);
    });
    // Those of a wider alignment than the others' begin where everything begins. Equal sizes keep their order.
    std::multimap<std::tuple<bool, bool, int64_t>, memref::AllocaOp> bySize;
    for (memref::AllocaOp op : buffers)
      bySize.emplace(std::tuple(!op->hasAttr("llm.shared"), op.getAlignment().value_or(1) <= uint64_t(kScratchAlignment), bytesOf(op.getType())), op);
    buffers.clear();
    for (const auto &entry : bySize)
      buffers.push_back(entry.second);
    int64_t sharedBytes = 0, scratchBytes = 0, sharedAlignment = kScratchAlignment;
    SmallVector<int64_t> offsets;
    unsigned numShared = 0;
    for (memref::AllocaOp op : buffers) {
      int64_t bytes = bytesOf(op.getType());
      bool fits = numShared == offsets.size() && sharedBytes + bytes <= sharedLimit;
      if (!fits && op->hasAttr("llm.shared"))
        return error(op) << "needs more shared memory than the " << sharedLimit << " bytes that a block has; use smaller tiles";
      numShared += fits;
      int64_t &end = fits ? sharedBytes : scratchBytes;
      offsets.push_back(end);
      end += bytes;
      if (fits)
        sharedAlignment = std::max<int64_t>(sharedAlignment, op.getAlignment().value_or(1));
    }
    Value shared, global;
    if (sharedBytes) {
      // Its size is given at launch, so that it may exceed what a module can declare.
      std::string symbol = (name + "_shared").str();
      {
        OpBuilder::InsertionGuard guard(b);
        b.setInsertionPoint(kernel);
        LLVM::GlobalOp::create(b, loc, LLVM::LLVMArrayType::get(b.getI8Type(), 0), /*isConstant=*/false,
                               LLVM::Linkage::External, symbol, Attribute(), sharedAlignment,
                               /*addrSpace=*/3);
      }
      Value local = LLVM::AddressOfOp::create(b, loc, LLVM::LLVMPointerType::get(b.getContext(), 3), symbol);
      shared = LLVM::AddrSpaceCastOp::create(b, loc, pointer, local);
    }
    if (scratchBytes) {
      Value block = NVVM::BlockIdXOp::create(b, loc, b.getI32Type());
      Value wide = LLVM::ZExtOp::create(b, loc, b.getI64Type(), block);
      global = offset(scratch, LLVM::MulOp::create(b, loc, wide, i64(scratchBytes)));
      if (declareBuffers)
        declare(global, i64(scratchBytes), sim::kBufferWritten | sim::kBufferScratch);
    }
    for (unsigned i = 0; i < buffers.size(); ++i) {
      MemRefType type = buffers[i].getType();
      SmallVector<Value> sizes;
      for (int64_t size : type.getShape())
        sizes.push_back(i64(size));
      mapping.map(
          buffers[i].getResult(),
          makeBuffer(type, offset(i < numShared ? shared : global, i64(offsets[i])), sizes, converter));
    }
    function->setAttr("llm.shared_bytes", b.getI64IntegerAttr(sharedBytes));
    function->setAttr("llm.scratch_bytes", b.getI64IntegerAttr(scratchBytes));
    return success();
  }

  /// Tells the simulator that `data` has `bytes` bytes.
  void declare(Value data, Value bytes, uint32_t flags) {
    auto module = kernel->getParentOfType<ModuleOp>();
    constexpr StringRef kSymbol = "llmc.buffer";
    if (!module.lookupSymbol(kSymbol)) {
      OpBuilder top = OpBuilder::atBlockBegin(module.getBody());
      auto type = top.getFunctionType({pointer, top.getI64Type(), top.getI32Type()}, {});
      func::FuncOp::create(top, loc, kSymbol, type).setPrivate();
    }
    Value word = LLVM::ConstantOp::create(b, loc, b.getI32Type(), b.getI32IntegerAttr(flags));
    func::CallOp::create(b, loc, kSymbol, TypeRange(), ValueRange{data, bytes, word});
  }

  LogicalResult emit() {
    const unsigned numArgs = numBuffers, numMaps = kernel.getNumArguments() - numArgs, numFixed = numArgs + kNumSymbols + 2;
    SmallVector<Type> inputs(numArgs, pointer);
    inputs.append(kNumSymbols, b.getI64Type());
    inputs.append({pointer, b.getI64Type()});
    inputs.append(numMaps, pointer);
    b.setInsertionPoint(kernel);
    // The kernel keeps its name until it is erased; the symbol is free again right after.
    function = func::FuncOp::create(b, loc, name, b.getFunctionType(inputs, {}));
    auto threads = kernel->getAttrOfType<IntegerAttr>("llm.threads");
    function->setAttr("llm.threads", threads);
    function->setAttr("llm.grid", b.getDenseI64ArrayAttr(grid.terms));
    for (unsigned i = 0; i < numArgs; ++i) {
      function.setArgAttr(i, LLVM::LLVMDialect::getNoAliasAttrName(), b.getUnitAttr());
      function.setArgAttr(i, LLVM::LLVMDialect::getAlignAttrName(), b.getI64IntegerAttr(kArgumentAlignment));
      if (!kernel.getArgAttr(i, "llm.written"))
        function.setArgAttr(i, LLVM::LLVMDialect::getReadonlyAttrName(), b.getUnitAttr());
      if (Attribute constant = kernel.getArgAttr(i, "llm.constant"))
        function.setArgAttr(i, "llm.constant", constant);
    }
    SmallVector<Attribute> maps;
    for (unsigned i = 0; i < numMaps; ++i) {
      auto bytes = LLVM::LLVMArrayType::get(b.getI8Type(), kTensorMapBytes);
      function.setArgAttr(numFixed + i, LLVM::LLVMDialect::getByValAttrName(), TypeAttr::get(bytes));
      function.setArgAttr(numFixed + i, LLVM::LLVMDialect::getAlignAttrName(), b.getI64IntegerAttr(kTensorMapAlignment));
      maps.push_back(kernel.getArgAttr(numArgs + i, kTensorMapAttr));
    }
    function->setAttr("llm.tensor_maps", b.getArrayAttr(maps));
    b.setInsertionPointToStart(function.addEntryBlock());
    SmallVector<Value> symbols(function.getArguments().slice(numArgs, kNumSymbols));
    LLVMTypeConverter converter(b.getContext());
    IRMapping mapping;
    for (unsigned i = 0; i < numMaps; ++i)
      mapping.map(kernel.getArgument(numArgs + i), function.getArgument(numFixed + i));
    workgroups = function.getArgument(numFixed - 1);
    for (unsigned i = 0; i < numArgs; ++i) {
      auto type = cast<MemRefType>(kernel.getArgument(i).getType());
      SmallVector<Value> sizes;
      for (int64_t d = 0; d < type.getRank(); ++d)
        sizes.push_back(extentOf(i, d, symbols));
      mapping.map(kernel.getArgument(i), makeBuffer(type, function.getArgument(i), sizes, converter));
      if (declareBuffers) {
        Value bytes = i64((type.getElementTypeBitWidth() + 7) / 8);
        for (Value size : sizes)
          bytes = LLVM::MulOp::create(b, loc, bytes, size);
        auto flag = [&](StringRef name, uint32_t bit) { return kernel.getArgAttr(i, name) ? bit : 0; };
        declare(function.getArgument(i), bytes,
                flag("llm.written", sim::kBufferWritten) | flag("llm.other_rows", sim::kBufferOpen) |
                    flag("llm.constant", sim::kBufferConstant));
      }
    }
    if (failed(placeScratch(function.getArgument(numArgs + kNumSymbols), mapping, converter)))
      return failure();
    for (Operation &op : kernel.getBody().front().without_terminator())
      if ((!forall || &op != forall.getOperation()) && !isa<memref::AllocaOp>(op))
        b.clone(op, mapping);
    if (forall)
      emitWorkgroups(mapping);
    b.setInsertionPointToEnd(&function.getBody().front());
    if (blocksOfCluster() > 1) { // others may still write into this block's shared memory
      NVVM::ClusterArriveOp::create(b, loc, b.getUnitAttr());
      NVVM::ClusterWaitOp::create(b, loc, b.getUnitAttr());
      function->setAttr("llm.cluster", kernel->getAttr("llm.cluster"));
    }
    func::ReturnOp::create(b, loc);
    return success();
  }

  /// Where workgroup `number` is in the forall, of which dimension i has counts[i] steps: the last varies fastest. Where the kernel takes G
  /// of its rows together, they are cut in bands of G, and a band is walked like a forall of its own:
  ///
  ///     columns        G = 2: workgroups that run at the same time read G rows' tiles and a few columns', where they would
  ///   r  0 2 4         read all rows' tiles for one or two columns; the L2 cache brings either to all of them
  ///   o  1 3 5
  ///   w  6 7 8         the last band has the rows that are left
  SmallVector<Value> positions(Value number, ArrayRef<Value> counts) {
    auto div = [&](Value x, Value y) -> Value { return arith::DivUIOp::create(b, loc, x, y); };
    auto rem = [&](Value x, Value y) -> Value { return arith::RemUIOp::create(b, loc, x, y); };
    auto together = kernel->getAttrOfType<IntegerAttr>("llm.rows_together");
    if (together && counts.size() == 2) {
      Value most = constant(together.getInt()), columns = counts[0], rows = counts[1];
      Value band = arith::MulIOp::create(b, loc, most, columns), first = arith::MulIOp::create(b, loc, div(number, band), most);
      Value have = arith::MinUIOp::create(b, loc, arith::SubIOp::create(b, loc, rows, first), most), within = rem(number, band);
      return {div(within, have), arith::AddIOp::create(b, loc, first, rem(within, have)).getResult()};
    }
    SmallVector<Value> result(counts.size());
    for (size_t i = counts.size(); i-- > 1; number = div(number, counts[i]))
      result[i] = rem(number, counts[i]);
    result[0] = number;
    return result;
  }

  void emitWorkgroups(IRMapping &mapping) {
    auto wide = [&](Value v) { return toIndex(LLVM::ZExtOp::create(b, loc, b.getI64Type(), v)); };
    Value first = wide(NVVM::BlockIdXOp::create(b, loc, b.getI32Type()));
    Value step = wide(NVVM::GridDimXOp::create(b, loc, b.getI32Type()));
    auto loop = scf::ForOp::create(b, loc, first, toIndex(workgroups), step);
    b.setInsertionPointToStart(loop.getBody());
    auto value = [&](OpFoldResult bound) {
      auto known = getConstantIntValue(bound);
      return known ? constant(*known) : mapping.lookup(cast<Value>(bound));
    };
    auto lower = [&](int i) { return value(forall.getMixedLowerBound()[i]); };
    auto stride = [&](int i) { return value(forall.getMixedStep()[i]); };
    SmallVector<Value> counts;
    for (int i = 0; i < forall.getRank(); ++i) {
      Value span = arith::SubIOp::create(b, loc, value(forall.getMixedUpperBound()[i]), lower(i));
      counts.push_back(arith::CeilDivUIOp::create(b, loc, span, stride(i)));
    }
    if (blocksOfCluster() > 1) {
      Value blocks = constant(blocksOfCluster());
      counts.back() = arith::MulIOp::create(b, loc, arith::CeilDivUIOp::create(b, loc, counts.back(), blocks), blocks);
    }
    for (auto [i, position] : llvm::enumerate(positions(loop.getInductionVar(), counts))) {
      position = arith::MulIOp::create(b, loc, position, stride(i));
      mapping.map(forall.getInductionVar(i), arith::AddIOp::create(b, loc, position, lower(i)).getResult());
    }
    for (Operation &op : forall.getBody()->without_terminator())
      b.clone(op, mapping);
    // The next workgroup uses the same scratch.
    NVVM::Barrier0Op::create(b, loc);
  }

  func::FuncOp kernel;
  Location loc;
  OpBuilder b;
  StringRef name; // owned by the context
  Type pointer;
  int64_t sharedLimit;
  bool declareBuffers;
  unsigned numBuffers = 0; ///< arguments that are; the others are tensor maps
  Value workgroups;
  func::FuncOp function;
  scf::ForallOp forall;
  GridProgram grid;
  llvm::DenseMap<unsigned, SmallVector<Extent>> extents;
};

/// NVVM's attributes are legal on llvm.func only, so kernels get them when they have become that.
struct MarkKernels : impl::MarkKernelsBase<MarkKernels> {
  using MarkKernelsBase::MarkKernelsBase;

  void runOnOperation() override {
    Builder b(&getContext());
    for (auto function : getOperation().getOps<LLVM::LLVMFuncOp>()) {
      if (function->removeAttr("llm.body")) {
        function.setLinkage(LLVM::Linkage::Internal);
        function.setNoInline(true);
      }
      if (auto threads = function->getAttrOfType<IntegerAttr>("llm.threads")) {
        function->setAttr(NVVM::NVVMDialect::getKernelFuncAttrName(), b.getUnitAttr());
        function->setAttr(NVVM::NVVMDialect::getMaxntidAttrName(),
                          b.getDenseI32ArrayAttr({int32_t(threads.getInt())}));
        // The driver launches clusters of what the kernel says; the grid program gives a multiple of it.
        if (auto blocks = function->getAttrOfType<IntegerAttr>("llm.cluster"))
          function->setAttr(NVVM::NVVMDialect::getClusterDimAttrName(), b.getDenseI32ArrayAttr({int32_t(blocks.getInt()), 1, 1}));
        // Tensor maps are used where the launch put them, not from a copy.
        for (unsigned i = 0; i < function.getNumArguments(); ++i)
          if (function.getArgAttr(i, LLVM::LLVMDialect::getByValAttrName()))
            function.setArgAttr(i, NVVM::NVVMDialect::getGridConstantAttrName(), b.getUnitAttr());
      }
    }
  }
};

struct LowerBlocks : impl::LowerBlocksBase<LowerBlocks> {
  using LowerBlocksBase::LowerBlocksBase;

  void runOnOperation() override {
    SmallVector<func::FuncOp> kernels;
    for (auto func : getOperation().getOps<func::FuncOp>())
      if (func->hasAttr("llm.kernel") && !func.isExternal())
        kernels.push_back(func);
    for (func::FuncOp kernel : kernels) {
      if (!kernel->hasAttr("llm.threads")) {
        kernel->emitError() << "kernel '" << kernel.getName()
                            << "': expects llm.threads; run distribute-tiles first";
        return signalPassFailure();
      }
      if (failed(BlockLowering(kernel, sharedBytes, declareBuffers).run()))
        return signalPassFailure();
    }
  }
};

} // namespace
} // namespace llmc
