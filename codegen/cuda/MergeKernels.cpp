// merge-kernels: the kernels of a module as one cooperative kernel that walks over a table of steps (runtime/Plan.h, StepRecord):
//
//   func @a(ptr, ptr, i64 x 5, ptr scratch, i64 workgroups)        func private @steps_a(...)  never inlined, no kernel any more
//   func @b(...)                                              ->   func private @steps_b(...)
//                                                                  func @steps(ptr table, i64 steps, i64 rows x 3, i64 x 4, ptr scratch, ptr counter)
//                                                                    for (step = 0; step != steps; step = next)
//                                                                      switch (table[step].kernel)
//                                                                        case 0: steps_a(table[step].arguments..., T, ..., scratch, workgroups of a)
//                                                                        case 1: steps_b(...)
//                                                                        default: a test: next = any of its flags ? table[step].next : .otherwise
//                                                                      prefetch this block's share of table[step].ranges
//                                                                      grid barrier
//
// All blocks take the same way, so the barrier is one counter that only grows: every block adds one and waits until all have. It never returns
// to zero: a launch finds a multiple of gridDim there, whatever was launched before it with as many blocks.
//
// Fewer threads than the merged kernel has: a body runs in its first warps, which meet at a barrier of their own. What other blocks write
// between steps is read as ordinary memory; weights, which nobody writes, stay readable through the read-only cache.
//
// Bodies are called: inlined, what all of them compute from the thread's number lies in one loop and is kept in registers for all of it.
#include "codegen/cuda/Passes.h"
#include "dialect/plan/Extent.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "runtime/Plan.h"
#include "runtime/sim/SimThread.h"

namespace llmc {
#define GEN_PASS_DEF_MERGEKERNELS
#define GEN_PASS_DEF_MARKCONSTANTS
#include "codegen/cuda/Passes.h.inc"

using namespace mlir;
using runtime::GridOp;
using runtime::StepRecord;

namespace {

constexpr int64_t kNamedBarrier = 1; ///< of the first warps; 0 is of all

class Merging {
public:
  using Value = mlir::Value;
  Merging(ModuleOp module, StringRef name, int64_t sharedLimit, bool hasBulkPrefetch, bool hasGridBarriers, bool declareBuffers)
      : module(module), name(name), hasBulkPrefetch(hasBulkPrefetch), hasGridBarriers(hasGridBarriers), declareBuffers(declareBuffers),
        b(module.getContext()), loc(module.getLoc()), pointer(LLVM::LLVMPointerType::get(b.getContext())),
        global(LLVM::LLVMPointerType::get(b.getContext(), 1)), i64(b.getI64Type()) {
    for (auto function : llvm::make_early_inc_range(module.getOps<func::FuncOp>())) {
      if (!function->hasAttr("llm.threads"))
        continue;
      if (numberOf(function, "llm.shared_bytes") <= sharedLimit)
        bodies.push_back(function);
      else
        function.erase();
    }
  }

  void run() {
    int64_t threads = 32, sharedBytes = 0, scratchBytes = 0;
    SmallVector<StringRef> names;
    for (func::FuncOp body : bodies) {
      threads = std::max(threads, numberOf(body, "llm.threads"));
      sharedBytes = std::max(sharedBytes, numberOf(body, "llm.shared_bytes"));
      scratchBytes = std::max(scratchBytes, numberOf(body, "llm.scratch_bytes"));
      names.push_back(body.getName());
      makeFunction(body);
    }
    emit(threads);
    for (func::FuncOp body : bodies)
      makeBody(body, threads);
    kernel->setAttr("llm.threads", b.getI64IntegerAttr(threads));
    kernel->setAttr("llm.shared_bytes", b.getI64IntegerAttr(sharedBytes));
    kernel->setAttr("llm.scratch_bytes", b.getI64IntegerAttr(scratchBytes));
    kernel->setAttr("llm.grid", b.getDenseI64ArrayAttr({int64_t(GridOp::constant), 1}));
    kernel->setAttr("llm.tensor_maps", b.getArrayAttr({}));
    kernel->setAttr("llm.bodies", b.getStrArrayAttr(names));
  }

private:
  static int64_t numberOf(func::FuncOp function, StringRef key) { return function->getAttrOfType<IntegerAttr>(key).getInt(); }

  /// A name beside the kernel's in one code object, and pointers to global memory, as which nothing else tells a function its buffers.
  void makeFunction(func::FuncOp body) {
    body.setName((name + "_" + body.getName()).str());
    body.setPrivate();
    Block &entry = body.getBody().front();
    b.setInsertionPointToStart(&entry);
    for (BlockArgument argument : entry.getArguments()) {
      if (argument.getType() != pointer)
        continue;
      argument.setType(global);
      auto generic = LLVM::AddrSpaceCastOp::create(b, loc, pointer, argument);
      argument.replaceAllUsesExcept(generic, generic);
    }
    body.setFunctionType(b.getFunctionType(entry.getArgumentTypes(), {}));
  }

  /// Meets in fewer threads than the block has.
  void makeBody(func::FuncOp body, int64_t threads) {
    int64_t own = numberOf(body, "llm.threads");
    if (own != threads)
      body.walk([&](NVVM::Barrier0Op barrier) {
        OpBuilder at(barrier);
        auto number = [&](int64_t v) -> Value { return LLVM::ConstantOp::create(at, barrier.getLoc(), at.getI32IntegerAttr(v)); };
        NVVM::BarrierOp::create(at, barrier.getLoc(), TypeRange(), number(kNamedBarrier), number(own), nullptr, Value());
        barrier.erase();
      });
    for (StringRef key : {"llm.threads", "llm.shared_bytes", "llm.scratch_bytes", "llm.grid", "llm.tensor_maps"})
      body->removeAttr(key);
    body->setAttr("llm.body", b.getUnitAttr());
  }

  Value number(int64_t v) { return arith::ConstantIntOp::create(b, loc, v, 64); }
  Value add(Value x, Value y) { return arith::AddIOp::create(b, loc, x, y); }
  Value mul(Value x, Value y) { return arith::MulIOp::create(b, loc, x, y); }
  Value is(arith::CmpIPredicate p, Value x, Value y) { return arith::CmpIOp::create(b, loc, p, x, y); }
  Value choose(Value c, Value x, Value y) { return arith::SelectOp::create(b, loc, c, x, y); }
  Value wide(Value v) { return LLVM::ZExtOp::create(b, loc, i64, v); }
  Value at(Value base, Value bytes) { return LLVM::GEPOp::create(b, loc, global, b.getI8Type(), base, ArrayRef<LLVM::GEPArg>{bytes}); }
  Value toGlobal(Value p) { return LLVM::AddrSpaceCastOp::create(b, loc, global, p); }
  Value toGeneric(Value p) { return LLVM::AddrSpaceCastOp::create(b, loc, pointer, p); }
  /// A word of the table, which nobody changes.
  Value word(Type type, Value base, int64_t offset) {
    auto load = LLVM::LoadOp::create(b, loc, type, at(base, number(offset)), /*alignment=*/8);
    load.setInvariant(true);
    return load;
  }

  /// The value of a body's grid program.
  Value workgroups(func::FuncOp body, ArrayRef<Value> symbols) {
    SmallVector<Value> stack;
    ArrayRef<int64_t> terms = body->getAttrOfType<DenseI64ArrayAttr>("llm.grid").asArrayRef();
    for (size_t i = 0; i + 1 < terms.size(); i += 2) {
      GridOp op = GridOp(terms[i]);
      if (op == GridOp::constant || op == GridOp::symbol) {
        stack.push_back(op == GridOp::constant ? number(terms[i + 1]) : symbols[terms[i + 1]]);
        continue;
      }
      Value y = stack.pop_back_val(), x = stack.pop_back_val();
      stack.push_back(combine(op, x, y));
    }
    return stack.back();
  }
  Value combine(GridOp op, Value x, Value y) {
    switch (op) {
    case GridOp::add:
      return add(x, y);
    case GridOp::sub:
      return arith::SubIOp::create(b, loc, x, y);
    case GridOp::mul:
      return mul(x, y);
    case GridOp::div:
      return arith::DivUIOp::create(b, loc, x, y);
    case GridOp::ceilDiv:
      return arith::CeilDivUIOp::create(b, loc, x, y);
    case GridOp::rem:
      return arith::RemUIOp::create(b, loc, x, y);
    case GridOp::min:
      return arith::MinUIOp::create(b, loc, x, y);
    default:
      return arith::MaxUIOp::create(b, loc, x, y);
    }
  }

  void declare(Value data, Value bytes, bool isWritten) {
    if (!declareBuffers)
      return;
    Value flags = LLVM::ConstantOp::create(b, loc, b.getI32IntegerAttr(isWritten ? sim::kBufferWritten : sim::kBufferConstant));
    func::CallOp::create(b, loc, "llmc.buffer", TypeRange(), ValueRange{toGeneric(data), bytes, flags});
  }

  /// One case: the arguments from the table, the body in the threads that it wants.
  void callBody(func::FuncOp body, Value record, ArrayRef<Value> symbols, int64_t threads) {
    unsigned numBuffers = body.getNumArguments() - plan::kNumSymbols - 2;
    Value arguments = word(global, record, offsetof(StepRecord, arguments));
    declare(arguments, number(8 * numBuffers), false);
    SmallVector<Value> operands;
    for (unsigned i = 0; i < numBuffers; ++i)
      operands.push_back(word(global, arguments, 8 * i));
    llvm::append_range(operands, symbols);
    operands.push_back(scratch);
    operands.push_back(workgroups(body, symbols));
    // A body of one workgroup has no loop over them: it relies on a grid of no more blocks than workgroups. Without rows nothing is to be done.
    Value isIn = is(arith::CmpIPredicate::ult, wide(NVVM::BlockIdXOp::create(b, loc, b.getI32Type())), operands.back());
    isIn = arith::AndIOp::create(b, loc, isIn, is(arith::CmpIPredicate::ne, symbols[0], number(0)));
    int64_t own = numberOf(body, "llm.threads");
    if (own != threads) {
      Value isThread = is(arith::CmpIPredicate::ult, thread, LLVM::ConstantOp::create(b, loc, b.getI32IntegerAttr(own)));
      isIn = arith::AndIOp::create(b, loc, isIn, isThread);
    }
    auto branch = scf::IfOp::create(b, loc, isIn, /*withElseRegion=*/false);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(branch.thenYield());
    func::CallOp::create(b, loc, body, operands);
  }

  /// for (i = from; i < to; i += step)
  void loop(Value from, Value to, Value step, function_ref<void(Value)> body) {
    auto made = scf::ForOp::create(b, loc, from, to, step);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(made.getBody());
    body(made.getInductionVar());
  }

  /// Weights of what follows, into the L2 cache: no order is needed, for nobody writes them.
  void prefetch(Value record) {
    Value ranges = word(global, record, offsetof(StepRecord, ranges)), count = word(i64, record, offsetof(StepRecord, rangeCount));
    declare(ranges, mul(count, number(16)), false);
    // An L2 line where there is an instruction for no more.
    const int64_t piece = hasBulkPrefetch ? 4096 : 128;
    Value worker = add(mul(wide(NVVM::BlockIdXOp::create(b, loc, b.getI32Type())), wide(NVVM::BlockDimXOp::create(b, loc, b.getI32Type()))),
                       wide(thread));
    Value workers = mul(blocks, wide(NVVM::BlockDimXOp::create(b, loc, b.getI32Type())));
    loop(number(0), count, number(1), [&](Value i) {
      Value range = at(ranges, mul(i, number(16)));
      Value data = word(global, range, 0), bytes = word(i64, range, 8);
      loop(mul(worker, number(piece)), bytes, mul(workers, number(piece)), [&](Value offset) {
        if (!hasBulkPrefetch) {
          // As text: the back end has the instruction from sm_90 on, PTX has it everywhere.
          LLVM::InlineAsmOp::create(b, loc, TypeRange(), ValueRange{at(data, offset)}, "prefetch.global.L2 [$0];", "l",
                                    /*has_side_effects=*/true, /*is_align_stack=*/false, LLVM::TailCallKind::None,
                                    LLVM::AsmDialectAttr(), ArrayAttr());
          return;
        }
        Value rest = arith::MinUIOp::create(b, loc, arith::SubIOp::create(b, loc, bytes, offset), number(piece));
        NVVM::CpAsyncBulkPrefetchOp::create(b, loc, at(data, offset), arith::TruncIOp::create(b, loc, b.getI32Type(), rest), Value());
      });
    });
  }

  /// Waits until `target` blocks have arrived in all.
  void gridBarrier(Value target) {
    NVVM::Barrier0Op::create(b, loc);
    if (!hasGridBarriers)
      return;
    Value isFirst = is(arith::CmpIPredicate::eq, thread, LLVM::ConstantOp::create(b, loc, b.getI32IntegerAttr(0)));
    auto branch = scf::IfOp::create(b, loc, isFirst, /*withElseRegion=*/false);
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPoint(branch.thenYield());
      // A fence and a relaxed addition are a release; the NVPTX back end drops the order of an addition that releases.
      LLVM::FenceOp::create(b, loc, LLVM::AtomicOrdering::acq_rel, "device");
      LLVM::AtomicRMWOp::create(b, loc, LLVM::AtomicBinOp::add, counter, number(1), LLVM::AtomicOrdering::monotonic, "device", 8);
      auto wait = scf::WhileOp::create(b, loc, TypeRange(), ValueRange());
      b.createBlock(&wait.getBefore());
      auto seen = LLVM::LoadOp::create(b, loc, i64, counter, 8, false, false, false, false, LLVM::AtomicOrdering::acquire, "device");
      scf::ConditionOp::create(b, loc, is(arith::CmpIPredicate::ult, seen, target), ValueRange());
      b.createBlock(&wait.getAfter());
      scf::YieldOp::create(b, loc);
    }
    NVVM::Barrier0Op::create(b, loc);
  }

  /// Whether any of the flags of a test is not 0.
  Value anyFlag(Value record, Value sequences) {
    Value flags = word(global, record, offsetof(StepRecord, arguments));
    declare(flags, mul(sequences, number(4)), true);
    Value none = arith::ConstantIntOp::create(b, loc, 0, 1);
    auto made = scf::ForOp::create(b, loc, number(0), sequences, number(1), none);
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(made.getBody());
      Value flag = LLVM::LoadOp::create(b, loc, b.getI32Type(), at(flags, mul(made.getInductionVar(), number(4))), 4);
      Value isSet = is(arith::CmpIPredicate::ne, flag, LLVM::ConstantOp::create(b, loc, b.getI32IntegerAttr(0)));
      scf::YieldOp::create(b, loc, ValueRange{arith::OrIOp::create(b, loc, made.getRegionIterArg(0), isSet)});
    }
    return made.getResult(0);
  }

  void emit(int64_t threads) {
    constexpr unsigned kSpans = runtime::kMaxSpans;
    SmallVector<Type> inputs{pointer, i64};
    inputs.append(kSpans + plan::kNumSymbols - 1, i64); // rows of every span stand in for T
    inputs.append({pointer, pointer});
    b.setInsertionPointToEnd(module.getBody());
    kernel = func::FuncOp::create(b, loc, name, b.getFunctionType(inputs, {}));
    Block *entry = kernel.addEntryBlock();
    b.setInsertionPointToStart(entry);
    auto arguments = entry->getArguments();
    Value table = toGlobal(arguments[0]), steps = arguments[1];
    scratch = toGlobal(arguments[arguments.size() - 2]);
    counter = toGlobal(arguments.back());
    thread = NVVM::ThreadIdXOp::create(b, loc, b.getI32Type());
    blocks = wide(NVVM::GridDimXOp::create(b, loc, b.getI32Type()));
    declare(table, mul(steps, number(sizeof(StepRecord))), false);
    declare(counter, number(8), true);
    SmallVector<Value> rows(arguments.slice(2, kSpans)), others(arguments.slice(2 + kSpans, plan::kNumSymbols - 1));
    // Before it has added its own, a block finds less than a whole round there.
    Value found = LLVM::LoadOp::create(b, loc, i64, counter, 8, false, false, false, false, LLVM::AtomicOrdering::monotonic, "device");
    Value first = mul(add(arith::DivUIOp::create(b, loc, found, blocks), number(1)), blocks);
    auto walk = scf::WhileOp::create(b, loc, TypeRange{i64, i64, i64}, ValueRange{number(0), number(0), first});
    SmallVector<Location> places(3, loc);
    Block *before = b.createBlock(&walk.getBefore(), {}, TypeRange{i64, i64, i64}, places);
    scf::ConditionOp::create(b, loc, is(arith::CmpIPredicate::ne, before->getArgument(0), steps), before->getArguments());
    Block *after = b.createBlock(&walk.getAfter(), {}, TypeRange{i64, i64, i64}, places);
    Value step = after->getArgument(0), trips = after->getArgument(1), target = after->getArgument(2);
    Value record = at(table, mul(step, number(sizeof(StepRecord))));
    Value which = word(i64, record, offsetof(StepRecord, kernel)), span = word(i64, record, offsetof(StepRecord, span));
    Value T = rows[0];
    for (unsigned k = 1; k < kSpans; ++k)
      T = choose(is(arith::CmpIPredicate::eq, span, number(k)), rows[k], T);
    SmallVector<Value> symbols{T};
    llvm::append_range(symbols, others);

    SmallVector<int64_t> cases;
    for (size_t k = 0; k < bodies.size(); ++k)
      cases.push_back(k);
    Value selector = arith::IndexCastOp::create(b, loc, b.getIndexType(), which);
    auto choice = scf::IndexSwitchOp::create(b, loc, TypeRange{b.getI1Type()}, selector, cases, cases.size());
    {
      OpBuilder::InsertionGuard guard(b);
      for (size_t k = 0; k < bodies.size(); ++k) {
        b.createBlock(&choice.getCaseRegions()[k]);
        callBody(bodies[k], record, symbols, threads);
        scf::YieldOp::create(b, loc, ValueRange{arith::ConstantIntOp::create(b, loc, 1, 1)});
      }
      b.createBlock(&choice.getDefaultRegion());
      Value any = anyFlag(record, others[0]);
      Value isLeft = is(arith::CmpIPredicate::ult, trips, word(i64, record, offsetof(StepRecord, atMost)));
      scf::YieldOp::create(b, loc, ValueRange{arith::AndIOp::create(b, loc, any, isLeft)});
    }
    Value goesOn = choice.getResult(0);
    Value next = choose(goesOn, word(i64, record, offsetof(StepRecord, next)), word(i64, record, offsetof(StepRecord, otherwise)));
    // A loop's trips are counted by its test alone.
    Value isTest = is(arith::CmpIPredicate::uge, which, number(bodies.size()));
    Value counted = choose(goesOn, add(trips, number(1)), number(0));
    Value newTrips = choose(isTest, counted, trips);
    prefetch(record);
    auto branch = scf::IfOp::create(b, loc, is(arith::CmpIPredicate::ne, next, steps), /*withElseRegion=*/false);
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPoint(branch.thenYield());
      gridBarrier(target);
    }
    scf::YieldOp::create(b, loc, ValueRange{next, newTrips, add(target, blocks)});
    b.setInsertionPointToEnd(entry);
    func::ReturnOp::create(b, loc);
  }

  ModuleOp module;
  StringRef name;
  bool hasBulkPrefetch, hasGridBarriers, declareBuffers;
  OpBuilder b;
  Location loc;
  Type pointer, global, i64;
  SmallVector<func::FuncOp> bodies; ///< by their number in the table
  func::FuncOp kernel;
  Value thread, blocks, scratch, counter;
};

struct MergeKernels : impl::MergeKernelsBase<MergeKernels> {
  using MergeKernelsBase::MergeKernelsBase;

  void runOnOperation() override {
    Merging(getOperation(), name, sharedBytes, bulkPrefetch, barriers, declareBuffers).run();
  }
};

/// Loads of weights may take the read-only cache. NVPTX finds that out itself for arguments of kernels; a merged one has none.
struct MarkConstants : impl::MarkConstantsBase<MarkConstants> {
  using MarkConstantsBase::MarkConstantsBase;

  void runOnOperation() override {
    for (auto function : getOperation().getOps<LLVM::LLVMFuncOp>())
      function.walk([&](LLVM::LoadOp load) {
        Value base = load.getAddr();
        while (Operation *op = base.getDefiningOp()) {
          if (!isa<LLVM::GEPOp, LLVM::AddrSpaceCastOp>(op))
            break;
          base = op->getOperand(0);
        }
        auto argument = dyn_cast<BlockArgument>(base);
        if (argument && argument.getOwner() == &function.getBody().front() && function.getArgAttr(argument.getArgNumber(), "llm.constant")) {
          load.setInvariant(true);
          ++numMarked;
        }
      });
  }
};

} // namespace
} // namespace llmc
