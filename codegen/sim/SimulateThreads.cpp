// simulate-threads: NVVM kernels to code for one simulated thread on this CPU (runtime/sim/SimThread.h has
// the other half).
//
//   llvm.func @k(%x) {nvvm.kernel}           @k(%thread, %parameters)
//   %t = nvvm.read.ptx.sreg.tid.x            %t = llvm.load %thread[16]
//   nvvm.barrier0                            call %barrier(%thread, "nvvm.barrier0 1", ...)
//   %v = llvm.load %p                        call %read(%thread, "llvm.load 1", %p, size), then the load
//   %d = nvvm.mma.sync A[..] B[..] C[..]     operands to an array, call %warp(...), %d from an array
//   llvm.mlir.addressof @shared              %thread.shared + its offset
#include "codegen/sim/KernelSimulation.h"
#include "codegen/sim/Passes.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/Path.h"
#include "mlir/IR/AttrTypeSubElements.h"

namespace llmc {
#define GEN_PASS_DEF_SIMULATETHREADS
#include "codegen/sim/Passes.h.inc"

using namespace mlir;

static constexpr unsigned kSharedSpace = 3;

/// Every variable has the alignment that it declares and, where its size is unknown, not more: a kernel that
/// needs more than it has asked for is then found.
SharedLayout::SharedLayout(ModuleOp module) {
  DataLayout layout(module);
  auto alignmentOf = [&](LLVM::GlobalOp global) -> int64_t {
    return global.getAlignment() ? *global.getAlignment()
                                 : layout.getTypeABIAlignment(global.getGlobalType());
  };
  SmallVector<LLVM::GlobalOp> dynamic;
  int64_t alignment = 1;
  for (auto global : module.getOps<LLVM::GlobalOp>()) {
    if (global.getAddrSpace() != kSharedSpace)
      continue;
    int64_t bytes = layout.getTypeSize(global.getGlobalType()).getFixedValue();
    if (bytes == 0) {
      dynamic.push_back(global);
      alignment = std::max(alignment, alignmentOf(global));
      continue;
    }
    staticBytes = llvm::alignTo(staticBytes, alignmentOf(global));
    offsets[global.getSymName()] = staticBytes;
    staticBytes += bytes;
  }
  if (dynamic.empty())
    return;
  staticBytes = llvm::alignTo(staticBytes, alignment);
  if (staticBytes % (2 * alignment) == 0)
    staticBytes += alignment;
  for (LLVM::GlobalOp global : dynamic)
    offsets[global.getSymName()] = staticBytes;
}

/// `type` with every pointer in the one address space that the CPU has.
static Type inOneSpace(Type type) {
  MLIRContext *context = type.getContext();
  if (isa<LLVM::LLVMPointerType>(type))
    return LLVM::LLVMPointerType::get(context);
  if (auto array = dyn_cast<LLVM::LLVMArrayType>(type))
    return LLVM::LLVMArrayType::get(inOneSpace(array.getElementType()), array.getNumElements());
  auto record = dyn_cast<LLVM::LLVMStructType>(type);
  if (!record || record.isIdentified())
    return type;
  SmallVector<Type> members;
  for (Type member : record.getBody())
    members.push_back(inOneSpace(member));
  return LLVM::LLVMStructType::getLiteral(context, members, record.isPacked());
}

KernelSimulation::KernelSimulation(LLVM::LLVMFuncOp kernel, const SharedLayout &shared)
    : kernel(kernel), shared(shared), b(kernel), pointer(LLVM::LLVMPointerType::get(b.getContext())) {}

LogicalResult KernelSimulation::run() {
  if (kernel.getFunctionType().getReturnType() != LLVM::LLVMVoidType::get(b.getContext()))
    return kernel.emitError("expects a function without result");
  SmallVector<Operation *> ops;
  kernel.walk([&](Operation *op) {
    ops.push_back(op);
    if (auto wgmma = dyn_cast<NVVM::WgmmaMmaAsyncOp>(op))
      accumulators.insert(wgmma.getResults().getType());
    else if (isWgmma(op))
      accumulators.insert(op->getResult(0).getType());
  });
  changeSignature();
  for (Operation *op : ops)
    if (op != kernel.getOperation() && failed(rewrite(op)))
      return failure();
  return success();
}

Value KernelSimulation::constant(Type type, int64_t value) {
  return LLVM::ConstantOp::create(b, loc(), type, b.getIntegerAttr(type, value));
}

Value KernelSimulation::at(Value base, int64_t offset) {
  return LLVM::GEPOp::create(b, loc(), pointer, b.getI8Type(), base, ArrayRef<LLVM::GEPArg>{int32_t(offset)});
}

Value KernelSimulation::member(Type type, Value base, int64_t offset) {
  return LLVM::LoadOp::create(b, loc(), type, at(base, offset));
}

Value KernelSimulation::what(Operation *op) {
  std::string text =
      (op->getName().getStringRef() + " " + Twine(++numbers[op->getName().getStringRef()])).str();
  if (auto place = op->getLoc()->findInstanceOf<FileLineColLoc>())
    text += (" at " + llvm::sys::path::filename(place.getFilename().strref()) + ":" + Twine(place.getLine()) +
             ":" + Twine(place.getColumn()))
                .str();
  std::string symbol = (kernel.getName() + "." + op->getName().getStringRef() + "." +
                        Twine(numbers[op->getName().getStringRef()]))
                           .str();
  text += '\0';
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(kernel);
  auto type = LLVM::LLVMArrayType::get(b.getI8Type(), text.size());
  LLVM::GlobalOp::create(b, loc(), type, /*isConstant=*/true, LLVM::Linkage::Internal, symbol,
                         b.getStringAttr(text));
  b.setInsertionPoint(op);
  return LLVM::AddressOfOp::create(b, loc(), pointer, symbol);
}

Value KernelSimulation::call(sim::Function function, Value what, ArrayRef<Value> arguments, Type result) {
  SmallVector<Value> operands{member(pointer, functions, 8 * int64_t(function)), thread};
  if (what)
    operands.push_back(what);
  operands.append(arguments.begin(), arguments.end());
  SmallVector<Type> types;
  for (Value v : ArrayRef<Value>(operands).drop_front())
    types.push_back(v.getType());
  auto type = LLVM::LLVMFunctionType::get(result ? result : LLVM::LLVMVoidType::get(b.getContext()), types);
  auto call = LLVM::CallOp::create(b, loc(), type, operands);
  call.setConvergent(true); // threads meet in it
  return result ? call.getResult() : Value();
}

LogicalResult KernelSimulation::replace(Operation *op, Value value) {
  op->getResult(0).replaceAllUsesWith(value);
  return erase(op);
}

LogicalResult KernelSimulation::erase(Operation *op) {
  op->erase();
  return success();
}

void KernelSimulation::changeSignature() {
  Block &entry = kernel.getBody().front();
  SmallVector<BlockArgument> old(entry.getArguments());
  b.setInsertionPointToStart(&entry);
  thread = entry.addArgument(pointer, loc());
  const bool isKernel = kernel->hasAttr(NVVM::NVVMDialect::getKernelFuncAttrName());
  Value parameters = isKernel ? Value(entry.addArgument(pointer, loc())) : Value();
  for (BlockArgument arg : old) {
    if (!isKernel) { // a function that kernels call gets them as they are, after the thread
      arg.replaceAllUsesWith(entry.addArgument(inOneSpace(arg.getType()), loc()));
      continue;
    }
    Value place = member(pointer, parameters, 8 * arg.getArgNumber());
    // A parameter by value (a tensor map) is where the launch says.
    bool isByValue = kernel.getArgAttr(arg.getArgNumber(), LLVM::LLVMDialect::getByValAttrName()) != nullptr;
    arg.replaceAllUsesWith(isByValue ? place : member(inOneSpace(arg.getType()), place, 0));
  }
  functions = member(pointer, thread, offsetof(sim::Thread, functions));
  sharedBase = member(pointer, thread, offsetof(sim::Thread, shared));
  operandWords = LLVM::AllocaOp::create(b, loc(), pointer, b.getI32Type(), i32(kOperandWords), 8);
  resultWords = LLVM::AllocaOp::create(b, loc(), pointer, b.getI32Type(), i32(kResultWords), 8);
  entry.eraseArguments(0, old.size());
  kernel.setFunctionType(LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(b.getContext()),
                                                     llvm::to_vector(entry.getArgumentTypes())));
  kernel.removeArgAttrsAttr();
  for (NamedAttribute attribute : llvm::to_vector(kernel->getDiscardableAttrs()))
    if (attribute.getName().getValue().starts_with("nvvm."))
      kernel->removeAttr(attribute.getName());
}

bool KernelSimulation::isChecked(Value address) {
  while (auto gep = address.getDefiningOp<LLVM::GEPOp>())
    address = gep.getBase();
  return !address.getDefiningOp<LLVM::AddressOfOp>() && !address.getDefiningOp<LLVM::AllocaOp>();
}

static Value sizeOf(Type type, LLVM::LLVMFuncOp kernel, llvm::function_ref<Value(int64_t)> constant) {
  return constant(DataLayout::closest(kernel).getTypeSize(type).getFixedValue());
}

void KernelSimulation::check(Operation *op, sim::Function function, Value address, Type type) {
  if (isChecked(address))
    call(function, what(op), {address, sizeOf(type, kernel, [&](int64_t n) { return i64(n); })});
}

void KernelSimulation::checkAtomic(Operation *op, Value address, Type type, uint32_t order) {
  if (isChecked(address))
    call(sim::Function::atomic, what(op),
         {address, sizeOf(type, kernel, [&](int64_t n) { return i64(n); }), i32(order)});
}

LogicalResult KernelSimulation::rewrite(Operation *op) {
  b.setInsertionPoint(op);
  for (Value result : op->getResults())
    result.setType(inOneSpace(result.getType()));
  for (Region &region : op->getRegions())
    for (Block &block : region)
      for (BlockArgument arg : block.getArguments())
        arg.setType(inOneSpace(arg.getType()));
  for (BlockArgument arg : op->getBlock()->getArguments())
    arg.setType(inOneSpace(arg.getType()));
  if (!isa<NVVM::NVVMDialect>(op->getDialect()))
    return rewriteMemory(op);
  if (op->getName().getStringRef().starts_with("nvvm.read.ptx.sreg."))
    return rewriteRegister(op);
  return rewriteWarp(op);
}

static uint32_t orderBits(LLVM::AtomicOrdering ordering) {
  switch (ordering) {
  case LLVM::AtomicOrdering::acquire:
    return sim::kAcquires;
  case LLVM::AtomicOrdering::release:
    return sim::kReleases;
  case LLVM::AtomicOrdering::acq_rel:
  case LLVM::AtomicOrdering::seq_cst:
    return sim::kAcquires | sim::kReleases;
  default:
    return 0;
  }
}

LogicalResult KernelSimulation::rewriteMemory(Operation *op) {
  constexpr uint32_t kReadsAndWrites = sim::kAtomicReads | sim::kAtomicWrites;
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case<LLVM::LoadOp>([&](LLVM::LoadOp load) {
        // A volatile access is a relaxed atomic one (PTX ISA, memory consistency model).
        if (load.getOrdering() != LLVM::AtomicOrdering::not_atomic || load.getVolatile_())
          checkAtomic(load, load.getAddr(), load.getType(),
                      sim::kAtomicReads | (orderBits(load.getOrdering()) & sim::kAcquires));
        else
          check(load, sim::Function::read, load.getAddr(), load.getType());
        load.removeSyncscopeAttr();
        return success();
      })
      .Case<LLVM::StoreOp>([&](LLVM::StoreOp store) {
        Type type = store.getValue().getType();
        if (store.getOrdering() != LLVM::AtomicOrdering::not_atomic || store.getVolatile_())
          checkAtomic(store, store.getAddr(), type,
                      sim::kAtomicWrites | (orderBits(store.getOrdering()) & sim::kReleases));
        else
          check(store, sim::Function::write, store.getAddr(), type);
        store.removeSyncscopeAttr();
        return success();
      })
      .Case<LLVM::AtomicRMWOp>([&](LLVM::AtomicRMWOp atomic) {
        checkAtomic(atomic, atomic.getPtr(), atomic.getType(),
                    kReadsAndWrites | orderBits(atomic.getOrdering()));
        atomic.removeSyncscopeAttr();
        return success();
      })
      .Case<LLVM::AtomicCmpXchgOp>([&](LLVM::AtomicCmpXchgOp atomic) {
        checkAtomic(atomic, atomic.getPtr(), atomic.getVal().getType(),
                    kReadsAndWrites | sim::kAtomicSpins | orderBits(atomic.getSuccessOrdering()) |
                        orderBits(atomic.getFailureOrdering()));
        atomic.removeSyncscopeAttr();
        return success();
      })
      .Case<LLVM::ExtractValueOp>([&](LLVM::ExtractValueOp op) {
        settleAccumulator(op);
        return success();
      })
      .Case<LLVM::FenceOp>([&](LLVM::FenceOp fence) {
        call(sim::Function::fence, what(fence), {i32(int64_t(sim::FenceKind::memory))});
        return erase(fence);
      })
      .Case<LLVM::InlineAsmOp>([&](LLVM::InlineAsmOp text) -> LogicalResult {
        if (isWgmma(text))
          return multiplyWarpgroup(text);
        if (!text.getAsmString().starts_with("prefetch.global.L2 [$0]"))
          return text.emitOpError("has no simulation; of inline PTX only prefetch.global.L2 and wgmma have");
        call(sim::Function::prefetch, what(text), {text.getOperands()[0], i32(0)});
        return erase(text);
      })
      .Case<LLVM::AddrSpaceCastOp>([&](LLVM::AddrSpaceCastOp cast) { return replace(cast, cast.getArg()); })
      .Case<LLVM::AddressOfOp>([&](LLVM::AddressOfOp address) {
        auto found = shared.offsets.find(address.getGlobalName());
        return found == shared.offsets.end() ? success() : replace(address, at(sharedBase, found->second));
      })
      .Case<LLVM::CallOp>([&](LLVM::CallOp c) -> LogicalResult {
        if (c.getCallee() != StringRef("llmc.buffer")) {
          if (c.getCallee() == StringRef("cudaGraphSetConditional")) {
            call(sim::Function::setConditional, what(c), SmallVector<Value>(c.getArgOperands()));
            return erase(c);
          }
          auto callee = SymbolTable::lookupNearestSymbolFrom<LLVM::LLVMFuncOp>(c, c.getCalleeAttr());
          if (!callee || callee.isExternal())
            return c.emitOpError("has no simulation; a simulated kernel calls functions of its module only");
          SmallVector<Value> operands{thread};
          llvm::append_range(operands, c.getArgOperands());
          auto made = LLVM::CallOp::create(b, loc(), TypeRange(), c.getCalleeAttr(), operands);
          made.setConvergent(true); // threads meet in it
          return erase(c);
        }
        call(sim::Function::buffer, Value(), SmallVector<Value>(c.getArgOperands()));
        return erase(c);
      })
      .Default([&](Operation *o) -> LogicalResult {
        bool isKnown =
            isMemoryEffectFree(o) || o->hasTrait<OpTrait::IsTerminator>() || isa<LLVM::AllocaOp>(o);
        return isKnown ? success() : o->emitOpError("has no simulation");
      });
}

LogicalResult KernelSimulation::rewriteRegister(Operation *op) {
  StringRef name = op->getName().getStringRef().drop_front(strlen("nvvm.read.ptx.sreg."));
  if (name == "warpsize")
    return replace(op, i32(32));
  int64_t offset = llvm::StringSwitch<int64_t>(name)
                       .StartsWith("tid.", offsetof(sim::Thread, threadId))
                       .StartsWith("ntid.", offsetof(sim::Thread, blockDim))
                       .StartsWith("ctaid.", offsetof(sim::Thread, blockId))
                       .StartsWith("nctaid.", offsetof(sim::Thread, gridDim))
                       .Case("laneid", offsetof(sim::Thread, lane))
                       .Case("warpid", offsetof(sim::Thread, warp))
                       .Case("nwarpid", offsetof(sim::Thread, numWarps))
                       .Default(-1);
  if (offset < 0)
    return op->emitOpError("has no simulation");
  char axis = name.contains('.') ? name.back() : 'x';
  return replace(op, member(b.getI32Type(), thread, offset + 4 * (axis - 'x')));
}

/// K.parameters(): the table of the kernel's parameter sizes, zero at its end.
static void describeParameters(LLVM::LLVMFuncOp kernel) {
  OpBuilder b(kernel);
  DataLayout layout = DataLayout::closest(kernel);
  SmallVector<int64_t> bytes;
  for (auto [i, argument] : llvm::enumerate(kernel.getArgumentTypes())) {
    auto byValue = kernel.getArgAttrOfType<TypeAttr>(i, LLVM::LLVMDialect::getByValAttrName());
    bytes.push_back(layout.getTypeSize(byValue ? byValue.getValue() : argument).getFixedValue());
  }
  bytes.push_back(0);
  auto type = LLVM::LLVMArrayType::get(b.getI64Type(), bytes.size());
  auto table =
      LLVM::GlobalOp::create(b, kernel.getLoc(), type, /*isConstant=*/true, LLVM::Linkage::Internal,
                             (kernel.getName() + ".parameter_bytes").str(), b.getI64TensorAttr(bytes));
  auto pointer = LLVM::LLVMPointerType::get(b.getContext());
  auto function =
      LLVM::LLVMFuncOp::create(b, kernel.getLoc(), (kernel.getName() + ".parameters").str(),
                               LLVM::LLVMFunctionType::get(pointer, {}));
  b.setInsertionPointToStart(function.addEntryBlock(b));
  Value address = LLVM::AddressOfOp::create(b, kernel.getLoc(), table);
  LLVM::ReturnOp::create(b, kernel.getLoc(), address);
}

/// bf16 values become their bits. Conversions have been expanded, so values are moved only, and x86 without AVX512-BF16 keeps a bf16
/// that lives across blocks as float32, with a call of a library to get it back.
static void keepBrainFloatsAsBits(ModuleOp module) {
  auto bits = IntegerType::get(module.getContext(), 16);
  AttrTypeReplacer replacer;
  replacer.addReplacement([=](BFloat16Type) -> Type { return bits; });
  replacer.addReplacement([=](FloatAttr constant) -> std::optional<std::pair<Attribute, WalkResult>> {
    if (!constant.getType().isBF16())
      return std::nullopt;
    return std::pair<Attribute, WalkResult>(IntegerAttr::get(bits, constant.getValue().bitcastToAPInt()), WalkResult::skip());
  });
  replacer.addReplacement([=](DenseElementsAttr constants) -> std::optional<std::pair<Attribute, WalkResult>> {
    if (!constants.getElementType().isBF16())
      return std::nullopt;
    return std::pair<Attribute, WalkResult>(constants.bitcast(bits), WalkResult::skip());
  });
  replacer.recursivelyReplaceElementsIn(module, /*replaceAttrs=*/true, /*replaceLocs=*/false, /*replaceTypes=*/true);
}

namespace {

struct SimulateThreads : impl::SimulateThreadsBase<SimulateThreads> {
  using SimulateThreadsBase::SimulateThreadsBase;

  /// A function without arguments that returns `value`.
  static void addFact(LLVM::LLVMFuncOp kernel, StringRef suffix, int64_t value) {
    OpBuilder b(kernel);
    auto function = LLVM::LLVMFuncOp::create(b, kernel.getLoc(), (kernel.getName() + suffix).str(),
                                             LLVM::LLVMFunctionType::get(b.getI64Type(), {}));
    b.setInsertionPointToStart(function.addEntryBlock(b));
    Value constant = LLVM::ConstantOp::create(b, kernel.getLoc(), b.getI64Type(), b.getI64IntegerAttr(value));
    LLVM::ReturnOp::create(b, kernel.getLoc(), constant);
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    keepBrainFloatsAsBits(module);
    SharedLayout shared(module);
    SmallVector<LLVM::LLVMFuncOp> functions;
    for (auto function : module.getOps<LLVM::LLVMFuncOp>())
      if (!function.isExternal())
        functions.push_back(function);
    for (LLVM::LLVMFuncOp kernel : functions) {
      const bool isKernel = kernel->hasAttr(NVVM::NVVMDialect::getKernelFuncAttrName());
      auto cluster = kernel->getAttrOfType<DenseI32ArrayAttr>(NVVM::NVVMDialect::getClusterDimAttrName());
      if (isKernel)
        describeParameters(kernel);
      if (failed(KernelSimulation(kernel, shared).run()))
        return signalPassFailure();
      if (!isKernel)
        continue;
      addFact(kernel, ".static_shared", shared.staticBytes);
      addFact(kernel, ".cluster", cluster ? cluster[0] : 1); // blocks lie side by side in x
      addFact(kernel, ".abi", sim::kAbiVersion);
    }
    for (Operation &op : llvm::make_early_inc_range(*module.getBody())) {
      auto global = dyn_cast<LLVM::GlobalOp>(op);
      auto function = dyn_cast<LLVM::LLVMFuncOp>(op);
      if ((global && global.getAddrSpace() == kSharedSpace) || (function && function.isExternal()))
        op.erase();
    }
  }
};

} // namespace
} // namespace llmc
