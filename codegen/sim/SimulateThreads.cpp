// simulate-threads: NVVM kernels to code for one simulated thread on this CPU (runtime/sim/SimThread.h has
// the other half).
//
//   llvm.func @k(%x: !llvm.ptr) attributes {nvvm.kernel}    ->   llvm.func @k(%thread: !llvm.ptr,
//   %parameters: !llvm.ptr) %t = nvvm.read.ptx.sreg.tid.x                           ->   %t = llvm.load
//   %thread[16] nvvm.barrier0                                           ->   call %barrier(%thread, site) %v
//   = llvm.load %p                                       ->   call %read(%thread, %p, size); %v = llvm.load
//   %p llvm.mlir.addressof @shared : !llvm.ptr<3>              ->   %thread.shared + its offset
#include "codegen/sim/Passes.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "runtime/sim/SimThread.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

namespace llmc {
#define GEN_PASS_DEF_SIMULATETHREADS
#include "codegen/sim/Passes.h.inc"

using namespace mlir;

namespace {

constexpr unsigned kSharedSpace = 3;

/// Offsets of the module's shared variables; those of unknown size (dynamic shared memory) start where the
/// others end.
struct SharedLayout {
  llvm::StringMap<int64_t> offsets;
  int64_t staticBytes = 0;

  explicit SharedLayout(ModuleOp module) {
    DataLayout layout(module);
    SmallVector<LLVM::GlobalOp> dynamic;
    for (auto global : module.getOps<LLVM::GlobalOp>()) {
      if (global.getAddrSpace() != kSharedSpace)
        continue;
      int64_t bytes = layout.getTypeSize(global.getGlobalType()).getFixedValue();
      if (bytes == 0) {
        dynamic.push_back(global);
        continue;
      }
      staticBytes = llvm::alignTo(staticBytes, 128);
      offsets[global.getSymName()] = staticBytes;
      staticBytes += bytes;
    }
    staticBytes = llvm::alignTo(staticBytes, 128);
    for (LLVM::GlobalOp global : dynamic)
      offsets[global.getSymName()] = staticBytes;
  }
};

/// `type` with every pointer in the one address space that the CPU has.
Type inOneSpace(Type type) {
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

class KernelSimulation {
public:
  KernelSimulation(LLVM::LLVMFuncOp kernel, const SharedLayout &shared, int64_t &numBarriers)
      : kernel(kernel), shared(shared), numBarriers(&numBarriers), b(kernel),
        pointer(LLVM::LLVMPointerType::get(b.getContext())) {}

  LogicalResult run() {
    if (kernel.getFunctionType().getReturnType() != LLVM::LLVMVoidType::get(b.getContext()))
      return kernel.emitError("expects a kernel without result");
    SmallVector<Operation *> ops;
    kernel.walk([&](Operation *op) { ops.push_back(op); });
    changeSignature();
    for (Operation *op : ops)
      if (op != kernel.getOperation() && failed(rewrite(op)))
        return failure();
    return success();
  }

private:
  Value constant(Type type, int64_t value) {
    return LLVM::ConstantOp::create(b, loc(), type, b.getIntegerAttr(type, value));
  }
  Value i64(int64_t value) { return constant(b.getI64Type(), value); }
  Value i32(int64_t value) { return constant(b.getI32Type(), value); }
  Location loc() { return kernel.getLoc(); }
  Value at(Value base, int64_t offset) {
    return LLVM::GEPOp::create(b, loc(), pointer, b.getI8Type(), base,
                               ArrayRef<LLVM::GEPArg>{int32_t(offset)});
  }
  Value member(Type type, Value base, int64_t offset) {
    return LLVM::LoadOp::create(b, loc(), type, at(base, offset));
  }

  void changeSignature() {
    Block &entry = kernel.getBody().front();
    SmallVector<BlockArgument> old(entry.getArguments());
    b.setInsertionPointToStart(&entry);
    thread = entry.addArgument(pointer, loc());
    Value parameters = entry.addArgument(pointer, loc());
    for (BlockArgument arg : old) {
      Value place = member(pointer, parameters, 8 * arg.getArgNumber());
      arg.replaceAllUsesWith(member(inOneSpace(arg.getType()), place, 0));
    }
    functions = member(pointer, thread, offsetof(sim::Thread, functions));
    sharedBase = member(pointer, thread, offsetof(sim::Thread, shared));
    entry.eraseArguments(0, old.size());
    kernel.setFunctionType(
        LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(b.getContext()), {pointer, pointer}));
    kernel.removeArgAttrsAttr();
    kernel->removeAttr(NVVM::NVVMDialect::getKernelFuncAttrName());
    kernel->removeAttr(NVVM::NVVMDialect::getMaxntidAttrName());
  }

  /// Calls a function of the table; the result has type `result` unless that is null.
  Value call(sim::Function function, ArrayRef<Value> arguments, Type result = {}) {
    SmallVector<Value> operands{member(pointer, functions, 8 * int64_t(function)), thread};
    operands.append(arguments.begin(), arguments.end());
    SmallVector<Type> types;
    for (Value v : ArrayRef<Value>(operands).drop_front())
      types.push_back(v.getType());
    auto type = LLVM::LLVMFunctionType::get(result ? result : LLVM::LLVMVoidType::get(b.getContext()), types);
    auto call = LLVM::CallOp::create(b, loc(), type, operands);
    call.setConvergent(true); // threads meet in it
    return result ? call.getResult() : Value();
  }

  /// Shared and global memory is checked; what the compiler put into the module itself is not.
  void check(sim::Function function, Value address, Type type) {
    Value base = address;
    while (auto gep = base.getDefiningOp<LLVM::GEPOp>())
      base = gep.getBase();
    if (base.getDefiningOp<LLVM::AddressOfOp>() || base.getDefiningOp<LLVM::AllocaOp>())
      return;
    DataLayout layout = DataLayout::closest(kernel);
    call(function, {address, i64(layout.getTypeSize(type).getFixedValue())});
  }

  LogicalResult replace(Operation *op, Value value) {
    op->getResult(0).replaceAllUsesWith(value);
    op->erase();
    return success();
  }

  Value sreg(int64_t member) { return this->member(b.getI32Type(), thread, member); }

  LogicalResult rewrite(Operation *op) {
    b.setInsertionPoint(op);
    for (Value result : op->getResults())
      result.setType(inOneSpace(result.getType()));
    for (Region &region : op->getRegions())
      for (Block &block : region)
        for (BlockArgument arg : block.getArguments())
          arg.setType(inOneSpace(arg.getType()));
    for (BlockArgument arg : op->getBlock()->getArguments())
      arg.setType(inOneSpace(arg.getType()));
    return llvm::TypeSwitch<Operation *, LogicalResult>(op)
        .Case<LLVM::LoadOp>([&](LLVM::LoadOp load) {
          check(sim::Function::read, load.getAddr(), load.getType());
          return success();
        })
        .Case<LLVM::StoreOp>([&](LLVM::StoreOp store) {
          check(sim::Function::write, store.getAddr(), store.getValue().getType());
          return success();
        })
        .Case<LLVM::AddrSpaceCastOp>([&](LLVM::AddrSpaceCastOp cast) { return replace(cast, cast.getArg()); })
        .Case<LLVM::AddressOfOp>([&](LLVM::AddressOfOp address) {
          auto found = shared.offsets.find(address.getGlobalName());
          return found == shared.offsets.end() ? success() : replace(address, at(sharedBase, found->second));
        })
        .Case<LLVM::CallOp>([&](LLVM::CallOp c) -> LogicalResult {
          if (c.getCallee() != StringRef("llmc.buffer"))
            return c.emitError("has no simulation; a simulated kernel calls no functions");
          call(sim::Function::buffer, SmallVector<Value>(c.getArgOperands()));
          c.erase();
          return success();
        })
        .Case<NVVM::ThreadIdXOp>(
            [&](Operation *o) { return replace(o, sreg(offsetof(sim::Thread, threadId))); })
        .Case<NVVM::ThreadIdYOp>(
            [&](Operation *o) { return replace(o, sreg(offsetof(sim::Thread, threadId) + 4)); })
        .Case<NVVM::ThreadIdZOp>(
            [&](Operation *o) { return replace(o, sreg(offsetof(sim::Thread, threadId) + 8)); })
        .Case<NVVM::BlockDimXOp>(
            [&](Operation *o) { return replace(o, sreg(offsetof(sim::Thread, blockDim))); })
        .Case<NVVM::BlockIdXOp>(
            [&](Operation *o) { return replace(o, sreg(offsetof(sim::Thread, blockId))); })
        .Case<NVVM::BlockIdYOp>(
            [&](Operation *o) { return replace(o, sreg(offsetof(sim::Thread, blockId) + 4)); })
        .Case<NVVM::GridDimXOp>(
            [&](Operation *o) { return replace(o, sreg(offsetof(sim::Thread, gridDim))); })
        .Case<NVVM::GridDimYOp>(
            [&](Operation *o) { return replace(o, sreg(offsetof(sim::Thread, gridDim) + 4)); })
        .Case<NVVM::LaneIdOp>([&](Operation *o) { return replace(o, sreg(offsetof(sim::Thread, lane))); })
        .Case<NVVM::Barrier0Op>([&](NVVM::Barrier0Op o) {
          call(sim::Function::barrier, {i32((*numBarriers)++)});
          o.erase();
          return success();
        })
        .Case<NVVM::BarrierOp>([&](NVVM::BarrierOp o) -> LogicalResult {
          if (o.getNumOperands() || o.getNumResults())
            return o.emitError("has no simulation; only barriers of the whole block have");
          call(sim::Function::barrier, {i32((*numBarriers)++)});
          o.erase();
          return success();
        })
        .Case<NVVM::SyncWarpOp>([&](NVVM::SyncWarpOp o) {
          call(sim::Function::syncWarp, {o.getMask()});
          o.erase();
          return success();
        })
        .Case<NVVM::ShflOp>([&](NVVM::ShflOp o) { return shuffle(o); })
        .Case<NVVM::VoteSyncOp>([&](NVVM::VoteSyncOp o) { return vote(o); })
        .Default([&](Operation *o) -> LogicalResult {
          bool isKnown = isMemoryEffectFree(o) || o->hasTrait<OpTrait::IsTerminator>() || isa<LLVM::AllocaOp>(o);
          return isKnown ? success() : o->emitError("has no simulation");
        });
  }

  LogicalResult shuffle(NVVM::ShflOp op) {
    if (op.getReturnValueAndIsValid())
      return op.emitError("has no simulation with the predicate as second result");
    Type type = op.getVal().getType();
    Value bits = type.isF32() ? LLVM::BitcastOp::create(b, loc(), b.getI32Type(), op.getVal()).getResult()
                              : op.getVal();
    Value moved =
        call(sim::Function::shuffle,
             {op.getThreadMask(), bits, op.getOffset(), op.getMaskAndClamp(), i32(int64_t(op.getKind()))},
             b.getI32Type());
    return replace(op, type.isF32() ? LLVM::BitcastOp::create(b, loc(), type, moved).getResult() : moved);
  }

  LogicalResult vote(NVVM::VoteSyncOp op) {
    Value predicate = LLVM::ZExtOp::create(b, loc(), b.getI32Type(), op.getPred());
    Value result =
        call(sim::Function::vote, {op.getMask(), predicate, i32(int64_t(op.getKind()))}, b.getI32Type());
    if (op.getType().isInteger(1))
      result = LLVM::ICmpOp::create(b, loc(), LLVM::ICmpPredicate::ne, result, i32(0));
    return replace(op, result);
  }

  LLVM::LLVMFuncOp kernel;
  const SharedLayout &shared;
  int64_t *numBarriers;
  OpBuilder b;
  Type pointer;
  Value thread, functions, sharedBase;
};

// NVVM's kinds are passed through as numbers.
static_assert(uint32_t(NVVM::ShflKind::bfly) == uint32_t(sim::ShuffleKind::bfly) &&
              uint32_t(NVVM::ShflKind::up) == uint32_t(sim::ShuffleKind::up) &&
              uint32_t(NVVM::ShflKind::down) == uint32_t(sim::ShuffleKind::down) &&
              uint32_t(NVVM::ShflKind::idx) == uint32_t(sim::ShuffleKind::idx));
static_assert(uint32_t(NVVM::VoteSyncKind::any) == uint32_t(sim::VoteKind::any) &&
              uint32_t(NVVM::VoteSyncKind::all) == uint32_t(sim::VoteKind::all) &&
              uint32_t(NVVM::VoteSyncKind::ballot) == uint32_t(sim::VoteKind::ballot) &&
              uint32_t(NVVM::VoteSyncKind::uni) == uint32_t(sim::VoteKind::uni));

struct SimulateThreads : impl::SimulateThreadsBase<SimulateThreads> {
  using SimulateThreadsBase::SimulateThreadsBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    SharedLayout shared(module);
    int64_t numBarriers = 0;
    SmallVector<LLVM::LLVMFuncOp> kernels;
    for (auto function : module.getOps<LLVM::LLVMFuncOp>())
      if (function->hasAttr(NVVM::NVVMDialect::getKernelFuncAttrName()))
        kernels.push_back(function);
    for (LLVM::LLVMFuncOp kernel : kernels) {
      if (failed(KernelSimulation(kernel, shared, numBarriers).run()))
        return signalPassFailure();
      OpBuilder b(kernel);
      auto size = LLVM::LLVMFuncOp::create(b, kernel.getLoc(), (kernel.getName() + ".static_shared").str(),
                                           LLVM::LLVMFunctionType::get(b.getI64Type(), {}));
      b.setInsertionPointToStart(size.addEntryBlock(b));
      Value bytes = LLVM::ConstantOp::create(b, kernel.getLoc(), b.getI64Type(),
                                             b.getI64IntegerAttr(shared.staticBytes));
      LLVM::ReturnOp::create(b, kernel.getLoc(), bytes);
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
