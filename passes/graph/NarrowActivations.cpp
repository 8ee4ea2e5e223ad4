// narrow-activations: activations and caches are stored as bf16. Values inside a dispatch stay float32; what changes is the type
// of everything that could cross one.
#include "passes/Passes.h"
#include "llvm/ADT/EquivalenceClasses.h"

using namespace mlir;
namespace llmc {
#define GEN_PASS_DEF_NARROWACTIVATIONS
#include "passes/Passes.h.inc"
namespace {

/// Rows of activations or a state, as float32.
bool isWide(Value v, bool ofStates) {
  auto type = dyn_cast<RankedTensorType>(v.getType());
  return type && type.getElementType().isF32() && type.isDynamicDim(0) && (type.getRank() >= 3) == ofStates;
}

struct NarrowActivations : impl::NarrowActivationsBase<NarrowActivations> {
  /// Values that must have one type: an operand of a call and the callee's argument, what a function returns and what its calls give.
  llvm::EquivalenceClasses<void *> same;
  llvm::SmallDenseSet<void *> exempt; ///< leaders' members that stay as they are
  SmallVector<Value> values;

  void unite(Value a, Value b) { same.unionSets(a.getAsOpaquePointer(), b.getAsOpaquePointer()); }
  bool isExempt(Value v) {
    auto first = same.findLeader(same.insert(v.getAsOpaquePointer()));
    return llvm::any_of(llvm::make_range(first, same.member_end()), [&](void *m) { return exempt.contains(m); });
  }
  void keep(Value v) { exempt.insert(v.getAsOpaquePointer()); }

  void uniteAll(ValueRange a, ValueRange b) {
    for (auto [x, y] : llvm::zip_equal(a, b))
      unite(x, y);
  }

  /// What goes around loops and out of branches.
  void joinRegions(Operation *op) {
    if (auto loop = dyn_cast<scf::WhileOp>(op)) {
      uniteAll(loop.getInits(), loop.getBeforeArguments());
      uniteAll(loop.getYieldOp().getOperands(), loop.getBeforeArguments());
      uniteAll(loop.getConditionOp().getArgs(), loop.getAfterArguments());
      uniteAll(loop.getConditionOp().getArgs(), loop.getResults());
    } else if (auto branch = dyn_cast<scf::IfOp>(op); branch && branch.getNumResults()) {
      uniteAll(branch.thenYield().getOperands(), branch.getResults());
      uniteAll(branch.elseYield().getOperands(), branch.getResults());
    }
  }

  void joinCalls(ModuleOp module) {
    module.walk([&](func::CallOp call) {
      auto callee = SymbolTable::lookupNearestSymbolFrom<func::FuncOp>(call, call.getCalleeAttr());
      for (auto [operand, arg] : llvm::zip_equal(call.getOperands(), callee.getArguments()))
        unite(operand, arg);
      for (auto [result, value] : llvm::zip_equal(call.getResults(), callee.front().getTerminator()->getOperands()))
        unite(result, value);
    });
    module.walk([&](Operation *op) { joinRegions(op); });
    // A state has one type wherever it goes.
    module.walk([&](llm::AppendOp op) { unite(op.getCache(), op.getUpdated()); });
    for (auto function : module.getOps<func::FuncOp>())
      for (auto [i, value] : llvm::enumerate(function.front().getTerminator()->getOperands()))
        if (auto name = function.getResultAttrOfType<StringAttr>(i, "llm.state"))
          for (BlockArgument arg : function.getArguments())
            if (function.getArgAttrOfType<StringAttr>(arg.getArgNumber(), "llm.state") == name)
              unite(arg, value);
  }

  /// What must not be rounded: what chooses tokens and experts, tables of angles, gates that add up over a sequence, and what the
  /// caller gives or gets; and keepResiduals.
  void findExempt(ModuleOp module) {
    module.walk([&](Operation *op) {
      if (auto route = dyn_cast<llm::RouteOp>(op)) {
        keep(route.getLogits());
        keep(route.getWeights());
      } else if (auto combine = dyn_cast<llm::CombineExpertsOp>(op)) {
        keep(combine.getWeights());
      } else if (auto sample = dyn_cast<llm::SampleOp>(op)) {
        keep(sample.getLogits());
        keep(sample.getSampling());
      } else if (auto statistics = dyn_cast<llm::LogitStatisticsOp>(op)) {
        for (Value v : {Value(statistics.getLogits()), Value(statistics.getTemperature()), Value(statistics.getResult())})
          keep(v);
      } else if (auto predict = dyn_cast<llm::PredictOp>(op)) {
        for (Value v : {Value(predict.getLogits()), Value(predict.getSampling()), Value(predict.getSettings()),
                        Value(predict.getConfidence())})
          keep(v);
      } else if (auto guide = dyn_cast<llm::GuideOp>(op)) {
        keep(guide.getSettings());
      } else if (auto unmask = dyn_cast<llm::UnmaskOp>(op)) {
        keep(unmask.getSettings());
      } else if (auto table = dyn_cast<llm::RotaryTableOp>(op)) {
        keep(table.getResult());
      } else if (auto rotary = dyn_cast<llm::RotaryOp>(op)) {
        keep(rotary.getTable());
      } else if (auto delta = dyn_cast<llm::DeltaRuleOp>(op)) {
        keep(delta.getG());
        keep(delta.getBeta());
      }
    });
    for (auto function : module.getOps<func::FuncOp>()) {
      for (BlockArgument arg : function.getArguments())
        if (function.getArgAttr(arg.getArgNumber(), "llm.input"))
          keep(arg);
      for (auto [i, value] : llvm::enumerate(function.front().getTerminator()->getOperands()))
        if (function.getResultAttr(i, "llm.output"))
          keep(value);
    }
  }

  /// The sum that layers add to: what is rounded there is rounded in every layer, and only norms and additions read it. It enters and
  /// leaves layer functions, and maps in between make the next one of it.
  void keepResiduals(ModuleOp module) {
    module.walk([&](func::CallOp call) {
      for (Value v : llvm::concat<Value>(SmallVector<Value>(call.getOperands()), SmallVector<Value>(call.getResults())))
        if (isWide(v, false))
          keep(v);
    });
    module.walk([&](llm::MapOp map) {
      bool addsUp = map.getBody().front().getOperations().size() == 2 && isa<arith::AddFOp>(map.getBody().front().front());
      if (addsUp &&
          llvm::any_of(map.getInputs(), [&](Value v) { return isWide(v, false) && isExempt(v); }))
        keep(map.getResult());
    });
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    same = {};
    exempt.clear();
    joinCalls(module);
    findExempt(module);
    keepResiduals(module);
    llvm::SmallVector<Value> all;
    module.walk([&](Block *block) { llvm::append_range(all, block->getArguments()); });
    module.walk([&](Operation *op) { llvm::append_range(all, op->getResults()); });
    // Of what is kept the slices and maps that make it are too: they would round on the way.
    for (Value v : llvm::reverse(all))
      if (Operation *op = v.getDefiningOp(); isa_and_nonnull<llm::SliceOp>(op) && isExempt(v))
        keep(op->getOperand(0));
    llvm::SmallDenseSet<void *> caches;
    module.walk([&](llm::AppendOp op) { caches.insert(op.getCache().getAsOpaquePointer()); });
    auto isCache = [&](Value v) {
      auto first = same.findLeader(same.insert(v.getAsOpaquePointer()));
      return llvm::any_of(llvm::make_range(first, same.member_end()), [&](void *m) { return caches.contains(m); });
    };
    Type narrow = BFloat16Type::get(&getContext());
    SmallVector<Value> chosen;
    for (Value v : all)
      if ((isWide(v, false) && !isExempt(v)) || (isWide(v, true) && isCache(v)))
        chosen.push_back(v);
    for (Value v : chosen)
      v.setType(cast<RankedTensorType>(v.getType()).clone(narrow));
    numNarrowed += chosen.size();
    for (auto function : module.getOps<func::FuncOp>())
      function.setType(FunctionType::get(&getContext(), function.front().getArgumentTypes(),
                                         function.front().getTerminator()->getOperandTypes()));
  }
};

} // namespace
} // namespace llmc
