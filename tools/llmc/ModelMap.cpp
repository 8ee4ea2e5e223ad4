// See ModelMap.h.
#include "tools/llmc/ModelMap.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "dialect/llm/LlmDialect.h"
#include "dialect/plan/PlanDialect.h"
#include "mlir/Pass/PassManager.h"
#include "passes/Pipelines.h"
#include "tools/llmc/ValueNames.h"

using namespace mlir;
namespace llmc {
namespace {

/// Marks of ops: the names of their locations.
StringAttr markOf(Operation *op) {
  auto loc = dyn_cast<NameLoc>(op->getLoc());
  return loc ? loc.getName() : StringAttr();
}
void mark(Operation *op, const Twine &text) {
  op->setLoc(NameLoc::get(StringAttr::get(op->getContext(), text)));
}

/// What a weight operand stands for in a function, whatever passes did around it: an argument, a tensor, or
/// rows of one.
std::string weightKey(Value v) {
  std::string key;
  llvm::raw_string_ostream out(key);
  if (auto argument = dyn_cast<BlockArgument>(v))
    out << "argument " << argument.getArgNumber();
  else if (auto weight = v.getDefiningOp<llm::WeightOp>())
    out << "tensor " << weight.getName();
  else if (auto pack = v.getDefiningOp<llm::PackOp>()) {
    out << pack->getAttrDictionary();
    for (Value w : pack.getWeights())
      out << "(" << weightKey(w) << ")";
  }
  return key;
}

/// A part of what a dispatch writes: a result in the model, and its first column or -1 for the whole.
struct Origin {
  OpResult result;
  int64_t column;
};

/// Dispatches of the graph stage, before they become launches.
class Dispatches {
public:
  /// Marks every op of the model.
  explicit Dispatches(ModuleOp model) {
    model.walk([&](Operation *op) {
      mark(op, "op " + Twine(ops_.size()));
      ops_[markOf(op)] = op;
    });
  }

  /// Notes what each dispatch writes, and marks it so that its launch is known again.
  void note(ModuleOp graph) {
    graph.walk([&](llm::DispatchOp dispatch) {
      mark(dispatch, "dispatch " + Twine(written_.size()));
      auto &results = written_[markOf(dispatch)];
      for (Value v : dispatch.getBody().front().getTerminator()->getOperands())
        results.push_back(originsOf(dispatch, v));
    });
  }

  /// What each result of a launch is.
  ArrayRef<SmallVector<Origin>> written(llm::LaunchOp launch) const {
    auto found = written_.find(markOf(launch));
    return found == written_.end() ? ArrayRef<SmallVector<Origin>>() : found->second;
  }

private:
  SmallVector<Origin> originsOf(llm::DispatchOp dispatch, Value v) {
    Operation *op = v.getDefiningOp(), *origin = op ? ops_.lookup(markOf(op)) : nullptr;
    if (!origin)
      return {};
    if (auto linear = dyn_cast<llm::LinearOp>(op); linear && linear.getWeights().size() > 1)
      return joined(dispatch, linear, origin);
    if (auto linear = dyn_cast<llm::ExpertLinearOp>(op); linear && linear.getWeights().size() > 1)
      return joined(dispatch, linear, origin);
    unsigned number = cast<OpResult>(v).getResultNumber();
    if (number >= origin->getNumResults() || origin->getResult(number).getType() != v.getType())
      return {};
    return {{origin->getResult(number), -1}};
  }

  /// A linear of several weights is as many linears of the model, side by side: those of the same weights.
  template <typename Op> SmallVector<Origin> joined(llm::DispatchOp dispatch, Op op, Operation *first) {
    SmallVector<Origin> parts;
    int64_t column = 0;
    for (Value inner : op.getWeights()) {
      std::string key = weightKey(dispatch.getInputs()[cast<BlockArgument>(inner).getArgNumber()]);
      SmallVector<Op> found;
      first->getParentOfType<func::FuncOp>().walk([&](Op candidate) {
        if (candidate.getWeights().size() == 1 && weightKey(candidate.getWeights().front()) == key)
          found.push_back(candidate);
      });
      if (found.size() != 1) // read twice: which of them this is cannot be told
        return {};
      parts.push_back({found.front()->getResult(0), column});
      column += llvm::alignTo(llm::columns(found.front()->getResult(0)), op.getAlign());
    }
    return parts;
  }

  llvm::DenseMap<StringAttr, Operation *> ops_;
  llvm::DenseMap<StringAttr, SmallVector<SmallVector<Origin>>> written_;
};

/// A value by the chain of calls that it is computed in and its op.
using Key = std::pair<std::string, OpResult>;
struct KeyLess {
  bool operator()(const Key &a, const Key &b) const {
    auto order = [](const Key &k) {
      return std::make_tuple(StringRef(k.first), k.second.getOwner(), k.second.getResultNumber());
    };
    return order(a) < order(b);
  }
};

/// Lists the values of a program in the order of computation.
class Flattened {
public:
  Flattened(ModuleOp module, ProgramMap &map) : symbols_(module), map_(map) {}

  void add(func::FuncOp function, const std::string &chain, ValueNames &names) {
    unsigned calls = 0;
    for (Operation &op : function.front().without_terminator()) {
      if (auto call = dyn_cast<func::CallOp>(op)) {
        ValueNames inner(names, call);
        add(symbols_.lookup<func::FuncOp>(call.getCallee()), chain + "/" + std::to_string(calls++), inner);
        continue;
      }
      for (OpResult result : op.getResults()) {
        places_[{chain, result}] = map_.values.size();
        map_.values.push_back({result, names.of(result)});
      }
    }
  }
  size_t placeOf(const std::string &chain, OpResult result) const { return places_.at({chain, result}); }

private:
  SymbolTable symbols_;
  ProgramMap &map_;
  std::map<Key, size_t, KeyLess> places_;
};

/// Lists the launches of a program in the order of its dispatches.
void addLaunches(ModuleOp chunk, func::FuncOp function, const std::string &chain,
                 const Dispatches &dispatches, const Flattened &flattened, size_t &step, ProgramMap &map) {
  unsigned calls = 0;
  for (Operation &op : function.front()) {
    if (auto call = dyn_cast<func::CallOp>(op)) {
      auto callee = chunk.lookupSymbol<func::FuncOp>(call.getCallee());
      addLaunches(chunk, callee, chain + "/" + std::to_string(calls++), dispatches, flattened, step, map);
    } else if (auto launch = dyn_cast<llm::LaunchOp>(op)) {
      auto kernel = chunk.lookupSymbol<func::FuncOp>(launch.getKernel());
      size_t first = kernel.getNumArguments() - launch.getNumResults(); // destinations come last
      // Of a dispatch that takes several kernels each makes some results, in their order, and what only the next one reads.
      unsigned next = 0;
      for (ArrayRef<Origin> origins : dispatches.written(launch)) {
        auto isWritten = [&](unsigned i) {
          return llvm::all_of(origins, [&](const Origin &o) { return o.column >= 0 || o.result.getType() == launch.getResult(i).getType(); });
        };
        unsigned i = next;
        while (i < launch.getNumResults() && !isWritten(i))
          ++i;
        if (i == launch.getNumResults())
          continue; // by another kernel
        next = i + 1;
        Crossing crossing{step, first + i, launch.getKernel().str(), {}};
        for (const Origin &origin : origins)
          crossing.parts.push_back({flattened.placeOf(chain, origin.result), origin.column});
        if (!crossing.parts.empty())
          map.crossings.push_back(std::move(crossing));
      }
      ++step;
    }
  }
}

/// Values that somebody computes: weights are read.
size_t countHidden(const ProgramMap &map) {
  std::vector<bool> isSeen(map.values.size());
  for (const Crossing &crossing : map.crossings)
    for (const Crossing::Part &part : crossing.parts)
      isSeen[part.value] = true;
  size_t hidden = 0;
  for (auto [value, seen] : llvm::zip(map.values, isSeen))
    hidden += !seen && !isa<llm::WeightOp, llm::PackOp>(value.result.getOwner()) &&
              !value.result.getOwner()->hasTrait<OpTrait::ConstantLike>();
  return hidden;
}

/// The text may come from anywhere: what is walked below must have bodies and an end.
absl::Status checkCalls(ModuleOp model, func::FuncOp function, SmallVectorImpl<func::FuncOp> &active) {
  auto fail = [&](const std::string &what) {
    return absl::InvalidArgumentError("the model's function '" + function.getName().str() + "' " + what);
  };
  if (function.isExternal() || !function.getBody().hasOneBlock())
    return fail("has no body of one block");
  if (llvm::is_contained(active, function))
    return fail("calls itself");
  active.push_back(function);
  for (Operation &op : function.front()) {
    if (isa<llm::DispatchOp, llm::LaunchOp>(op))
      return fail("is of a later stage than import");
    if (auto call = dyn_cast<func::CallOp>(op)) {
      auto callee = model.lookupSymbol<func::FuncOp>(call.getCallee());
      if (!callee)
        return fail("calls '" + call.getCallee().str() + "', which is no function of the model");
      if (absl::Status s = checkCalls(model, callee, active); !s.ok())
        return s;
    }
  }
  active.pop_back();
  return absl::OkStatus();
}

absl::Status runStage(ModuleOp module, function_ref<void(OpPassManager &)> stage) {
  PassManager pm(module.getContext());
  stage(pm);
  return succeeded(pm.run(module))
             ? absl::OkStatus()
             : absl::InternalError("the model cannot be compiled (see the message above)");
}

} // namespace

absl::StatusOr<ModelMap> ModelMap::create(ModuleOp model) {
  SmallVector<func::FuncOp> active;
  for (auto function : model.getOps<func::FuncOp>())
    if (absl::Status s = checkCalls(model, function, active); !s.ok())
      return s;
  ModelMap map;
  Dispatches dispatches(model);
  OwningOpRef<ModuleOp> module = model.clone();
  if (absl::Status s = runStage(*module, [](OpPassManager &pm) { addGraphStage(pm); }); !s.ok())
    return s;
  dispatches.note(*module);
  if (absl::Status s = runStage(*module, [](OpPassManager &pm) { addChunkStage(pm); }); !s.ok())
    return s;
  std::map<std::string, size_t> steps;
  for (auto function : model.getOps<func::FuncOp>()) {
    auto lowered = module->lookupSymbol<func::FuncOp>(function.getName());
    // A loop's trips write the same values again and again: what it makes is seen in what is generated, not here.
    if (!function.isPublic() || !lowered || !function.getOps<scf::WhileOp>().empty())
      continue;
    std::string name = function.getName().str();
    ProgramMap &program = map.programs_[name];
    Flattened flattened(model, program);
    ValueNames names;
    flattened.add(function, "", names);
    addLaunches(*module, lowered, "", dispatches, flattened, steps[name], program);
    program.hidden = countHidden(program);
  }
  if (absl::Status s = runStage(*module, [](OpPassManager &pm) { addPlanStage(pm); }); !s.ok())
    return s;
  for (auto program : module->getOps<plan::ProgramOp>())
    if (steps.count(program.getSymName().str()) &&
        size_t(llvm::range_size(program.getBody().front())) != steps[program.getSymName().str()])
      return absl::InternalError("program '" + program.getSymName().str() +
                                 "': the plan has another number of dispatches than the launches before it");
  map.planned_ = std::move(module);
  return map;
}

} // namespace llmc
