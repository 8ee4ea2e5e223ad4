// build-plan: programs become lists of dispatches on named buffers.
#include "passes/Passes.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
namespace llmc {
#define GEN_PASS_DEF_BUILDPLAN
#include "passes/Passes.h.inc"
namespace {

struct BuildPlan : impl::BuildPlanBase<BuildPlan> {
  /// A value's buffers by name: two for sequences, one otherwise. Weights that no kernel has read yet are
  /// known by their op, and by the pack without panels that takes some of their rows.
  struct Place {
    SmallVector<StringAttr, 2> buffers;
    llm::WeightOp weight;
    llm::PackOp rows;
    std::optional<int64_t> span = {}; ///< of which table of sequences it has the rows
  };
  using Places = llvm::DenseMap<Value, Place>;

  std::optional<OpBuilder> top;         ///< where buffers are declared
  llvm::StringMap<StringAttr> declared; ///< key of a shared buffer -> name
  llvm::StringSet<> names;
  unsigned transients = 0;
  std::string program;
  llvm::SmallDenseSet<Operation *> active; ///< functions being followed

  StringAttr declare(std::string name, StringRef kind, Type type, ArrayAttr dims, ArrayAttr weights = {},
                     DictionaryAttr layout = {}) {
    std::string unique = name;
    for (unsigned i = 1; !names.insert(unique).second; ++i)
      unique = name + "." + std::to_string(i);
    plan::BufferOp::create(*top, UnknownLoc::get(&getContext()), unique, kind, type,
                           dims && !dims.empty() ? dims : ArrayAttr(), IntegerAttr(), weights, layout);
    return top->getStringAttr(unique);
  }

  /// The buffer of weights in a layout, declared at its first use.
  StringAttr weightBuffer(SmallVector<llm::WeightOp> weights, Type type, DictionaryAttr layout) {
    std::string key;
    llvm::raw_string_ostream out(key);
    SmallVector<Attribute> held;
    for (llm::WeightOp w : weights) {
      held.push_back(w.getNameAttr());
      out << w.getName() << "\n";
    }
    out << layout << type;
    StringAttr &name = declared[key];
    if (!name) {
      SmallVector<NamedAttribute> entries(layout.begin(), layout.end());
      if (auto stack = weights.front().getStackAttr())
        entries.push_back(top->getNamedAttr("stack", stack));
      name = declare(weights.front().getName().str(), "weight", type, {}, top->getArrayAttr(held),
                     top->getDictionaryAttr(entries));
    }
    return name;
  }

  StringAttr plainBuffer(Place &place) {
    if (place.weight) {
      Type type = place.rows ? place.rows.getType() : place.weight.getType();
      place.buffers = {weightBuffer(
          {place.weight}, type, place.rows ? place.rows->getAttrDictionary() : top->getDictionaryAttr({}))};
      place.weight = {};
      place.rows = {};
    }
    return place.buffers.front();
  }

  /// Packs of stored weights become buffers. A pack without panels waits for its use: a pack of what it takes
  /// joins it.
  LogicalResult pack(llm::PackOp op, Places &places) {
    SmallVector<llm::WeightOp> weights;
    SmallVector<int64_t> parts; // first row and number of rows of each weight
    bool ofRows = false;
    for (Value w : op.getWeights()) {
      Place &place = places[w];
      if (!place.weight)
        return op.emitOpError("expects weights of the checkpoint");
      if (place.rows && place.rows.getGroups() != op.getGroups())
        return op.emitOpError("expects ")
               << place.rows.getGroups() << " groups, as in the rows that it packs, got " << op.getGroups();
      weights.push_back(place.weight);
      ofRows |= bool(place.rows);
      parts.push_back(op.getFrom() + (place.rows ? place.rows.getFrom() : 0));
      parts.push_back(op.getCount().value_or(llm::elements(w) / op.getGroups() /
                                             cast<RankedTensorType>(w.getType()).getShape().back()));
    }
    Place &result = places[op.getResult()];
    if (op.getPanel() == 0 && weights.size() == 1 && !ofRows) {
      result.weight = weights.front();
      result.rows = op;
      return success();
    }
    DictionaryAttr layout = op->getAttrDictionary();
    if (ofRows)
      layout = top->getDictionaryAttr({top->getNamedAttr("groups", op.getGroupsAttr()),
                                       top->getNamedAttr("panel", op.getPanelAttr()),
                                       top->getNamedAttr("parts", top->getDenseI64ArrayAttr(parts))});
    result.buffers = {weightBuffer(weights, op.getType(), layout)};
    return success();
  }

  /// Buffers that a launch must write a result to: outputs, and what a loop carries.
  using Fixed = llvm::DenseMap<Value, SmallVector<StringAttr, 2>>;

  /// The table whose rows a launch works on: that of its last sequences, else of its operands' rows.
  FailureOr<int64_t> spanOf(llm::LaunchOp op, Places &places) {
    std::optional<int64_t> table, rows;
    for (Value operand : op.getInputs()) {
      std::optional<int64_t> span = places[operand].span;
      if (isa<llm::SequencesType>(operand.getType()))
        table = span;
      else if (span && rows && *span != *rows)
        rows = -1;
      else if (span)
        rows = span;
    }
    if (!table && rows && *rows < 0)
      return op.emitOpError("reads rows of two tables of sequences and none of the tables");
    return table.value_or(rows.value_or(0));
  }

  /// A table that a launch makes has rows of the first one that it reads.
  static std::optional<int64_t> narrowedSpan(llm::LaunchOp op, Places &places) {
    auto table = llvm::find_if(op.getInputs(), [](Value v) { return isa<llm::SequencesType>(v.getType()); });
    return table == op.getInputs().end() ? std::nullopt : places[*table].span;
  }

  LogicalResult launch(llm::LaunchOp op, Places &places, OpBuilder &steps, const Fixed &fixed) {
    auto kernel = SymbolTable::lookupNearestSymbolFrom<func::FuncOp>(op, op.getKernelAttr());
    if (!kernel)
      return op.emitOpError("names a kernel that does not exist: ") << op.getKernel();
    // A sequence table is two arguments, a tied operand its result's.
    size_t wanted = llvm::count_if(op.getResultTypes(), llvm::IsaPred<llm::SequencesType>) + op.getNumResults();
    for (auto [i, operand] : llvm::enumerate(op.getInputs()))
      if (!llvm::is_contained(op.getTied(), (int64_t)i))
        wanted += isa<llm::SequencesType>(operand.getType()) ? 2 : 1;
    if (wanted != kernel.getNumArguments())
      return op.emitOpError("passes ")
             << wanted << " buffers to a kernel of " << kernel.getNumArguments() << " arguments";
    SmallVector<Attribute> buffers;
    auto add = [&](StringAttr name) { buffers.push_back(FlatSymbolRefAttr::get(name)); };
    for (auto [i, operand] : llvm::enumerate(op.getInputs())) {
      if (llvm::is_contained(op.getTied(), (int64_t)i))
        continue;
      Place &place = places[operand];
      plainBuffer(place);
      for (StringAttr name : place.buffers)
        add(name);
    }
    FailureOr<int64_t> found = spanOf(op, places);
    if (failed(found))
      return failure();
    int64_t span = *found;
    for (auto [result, tied] : llvm::zip(op.getResults(), op.getTied())) {
      Place place;
      bool isTable = isa<llm::SequencesType>(result.getType());
      place.span = isTable ? narrowedSpan(op, places) : span;
      if (tied >= 0) {
        place = places[op.getInputs()[tied]];
      } else if (auto buffer = fixed.find(result); buffer != fixed.end()) {
        place.buffers = buffer->second;
      } else {
        for (unsigned i = buffers.size(), end = i + (isTable ? 2 : 1); i < end; ++i)
          place.buffers.push_back(declare(program + "." + std::to_string(transients++), "transient", kernel.getArgumentTypes()[i],
                                          kernel.getArgAttrOfType<ArrayAttr>(i, "llm.dims")));
      }
      for (StringAttr name : place.buffers)
        add(name);
      places[result] = place;
    }
    plan::DispatchOp::create(steps, op.getLoc(), op.getKernelAttr(), steps.getArrayAttr(buffers),
                             steps.getI64IntegerAttr(span));
    return success();
  }

  /// What tells the rows of the tables that a loop carries: its condition, if the launch that makes a table makes that too.
  FailureOr<IntegerAttr> countedRows(scf::WhileOp op, unsigned tested, Places &places) {
    IntegerAttr rows;
    Operation *yield = op.getAfterBody()->getTerminator();
    for (auto [k, init] : llvm::enumerate(op.getInits())) {
      if (!isa<llm::SequencesType>(init.getType()))
        continue;
      bool areTold = !rows && init.getDefiningOp() && init.getDefiningOp() == op.getInits()[tested].getDefiningOp() &&
                     yield->getOperand(k).getDefiningOp() == yield->getOperand(tested).getDefiningOp();
      if (!areTold || places[init].span.value_or(0) == 0)
        return op.emitOpError("expects carried table ") << k << " to be the only one, made together with the condition, which counts its rows";
      rows = top->getI64IntegerAttr(*places[init].span);
    }
    return rows;
  }

  /// scf.while whose condition is llm.any of what it carries. Everything carried stays in its buffer: a state is updated in place, and
  /// what a launch of the body makes anew is written over the value of the trip before, which nothing reads from there on.
  LogicalResult loop(scf::WhileOp op, Places &places, OpBuilder &steps) {
    auto condition = op.getConditionOp();
    auto any = condition.getCondition().getDefiningOp<llm::AnyOp>();
    Block &before = *op.getBeforeBody(), &after = *op.getAfterBody();
    auto carriedNumber = [&](Value v) -> std::optional<unsigned> {
      auto arg = dyn_cast_or_null<BlockArgument>(v);
      return arg && arg.getOwner() == &before ? std::optional<unsigned>(arg.getArgNumber()) : std::nullopt;
    };
    std::optional<unsigned> tested = carriedNumber(any ? Value(any.getMore()) : Value());
    bool passesOn = llvm::all_of(condition.getArgs(), [&](Value v) { return carriedNumber(v).has_value(); });
    if (!tested || !passesOn || &before.front() != any || any->getNextNode() != condition)
      return op.emitOpError("expects as condition llm.any of a carried value, and nothing else before the body");
    auto atMost = op->getAttrOfType<IntegerAttr>("llm.at_most");
    if (!atMost)
      return op.emitOpError("expects llm.at_most, the largest number of trips");
    FailureOr<IntegerAttr> rows = countedRows(op, *tested, places);
    if (failed(rows))
      return failure();
    // The body's arguments and the results are those carried values that are passed on.
    SmallVector<SmallVector<Value, 1>> carried(before.getNumArguments());
    for (auto [i, v] : llvm::enumerate(condition.getArgs())) {
      unsigned k = *carriedNumber(v);
      Place begin = places[op.getInits()[k]]; // a copy: the table may move when it grows
      places[after.getArgument(i)] = begin;
      places[op.getResult(i)] = begin;
      carried[k].push_back(after.getArgument(i));
    }
    Fixed made;
    Operation *yield = after.getTerminator();
    for (auto [k, value] : llvm::enumerate(yield->getOperands())) {
      auto maker = value.getDefiningOp<llm::LaunchOp>();
      if (!maker || maker.getTied()[cast<OpResult>(value).getResultNumber()] >= 0)
        continue;
      auto isReadBefore = [&](Operation *user) { return after.findAncestorOpInBlock(*user)->isBeforeInBlock(maker); };
      if (!llvm::all_of(carried[k], [&](Value v) { return llvm::all_of(v.getUsers(), isReadBefore); }))
        return op.emitOpError("expects carried value ")
               << k << ", which is made anew in each trip, to be read by the condition and by what comes before that only";
      made[value] = places[op.getInits()[k]].buffers;
    }
    auto planned = plan::LoopOp::create(steps, op.getLoc(), FlatSymbolRefAttr::get(places[op.getInits()[*tested]].buffers.front()), atMost,
                                        *rows);
    OpBuilder inner(&getContext());
    inner.setInsertionPointToStart(&planned.getBody().emplaceBlock());
    if (failed(follow(after, places, inner, made)))
      return failure();
    for (auto [k, value] : llvm::enumerate(yield->getOperands()))
      if (places[value].buffers != places[op.getInits()[k]].buffers)
        return op.emitOpError("expects carried value ") << k << " to be updated in place";
    return success();
  }

  LogicalResult follow(Block &block, Places &places, OpBuilder &steps, const Fixed &fixed) {
    for (Operation &op : block.without_terminator()) {
      if (auto weight = dyn_cast<llm::WeightOp>(op)) {
        places[weight.getResult()].weight = weight;
      } else if (auto packOp = dyn_cast<llm::PackOp>(op)) {
        if (failed(pack(packOp, places)))
          return failure();
      } else if (auto call = dyn_cast<func::CallOp>(op)) {
        auto callee = SymbolTable::lookupNearestSymbolFrom<func::FuncOp>(call, call.getCalleeAttr());
        if (!callee.getBody().hasOneBlock())
          return call.emitOpError("expects a function of one block: ") << call.getCallee();
        if (!active.insert(callee).second)
          return call.emitOpError("is recursive, and a plan is a flat list: ") << call.getCallee();
        Places inner;
        for (auto [arg, operand] : llvm::zip(callee.getArguments(), call.getOperands()))
          inner[arg] = places[operand];
        if (failed(follow(callee.front(), inner, steps, Fixed())))
          return failure();
        active.erase(callee);
        for (auto [result, value] :
             llvm::zip(call.getResults(), callee.front().getTerminator()->getOperands()))
          places[result] = inner[value];
      } else if (auto launchOp = dyn_cast<llm::LaunchOp>(op)) {
        if (failed(launch(launchOp, places, steps, fixed)))
          return failure();
      } else if (auto whileOp = dyn_cast<scf::WhileOp>(op)) {
        if (failed(loop(whileOp, places, steps)))
          return failure();
      } else {
        return op.emitOpError("is not part of a kernel: run form-dispatches and form-kernels first");
      }
    }
    return success();
  }

  LogicalResult build(func::FuncOp function) {
    program = function.getName().str();
    transients = 0;
    active.clear();
    if (!function.getBody().hasOneBlock())
      return function.emitOpError("expects a program of one block");
    Places places;
    SmallVector<Attribute> inputs, outputs, spans;
    auto ref = [&](StringAttr name) { return FlatSymbolRefAttr::get(name); };
    auto shared = [&](StringRef key, std::string name, StringRef kind, Type type, ArrayAttr dims) {
      StringAttr &entry = declared[key];
      if (!entry)
        entry = declare(name, kind, type, dims);
      return entry;
    };
    for (BlockArgument arg : function.getArguments()) {
      unsigned i = arg.getArgNumber();
      auto dims = function.getArgAttrOfType<ArrayAttr>(i, "llm.dims");
      if (auto name = function.getArgAttrOfType<StringAttr>(i, "llm.state")) {
        places[arg].buffers = {
            shared(("state " + name.getValue()).str(), name.str(), "state", arg.getType(), dims)};
      } else if (isa<llm::SequencesType>(arg.getType())) {
        auto i32 = IntegerType::get(&getContext(), 32);
        // The first table is `where` and `rows`, others have their name before that.
        auto named = function.getArgAttrOfType<StringAttr>(i, "llm.input");
        std::string prefix = program + "." + (named && named != "sequences" ? named.str() + "_" : "");
        auto rows = function.getArgAttrOfType<ArrayAttr>(i, "llm.span");
        places[arg].span = rows ? spans.size() : 0;
        if (rows)
          spans.push_back(rows);
        auto table = [&](StringRef name, int64_t width, StringRef symbol) {
          StringAttr buffer = declare(prefix + name.str(), "input",
                                      RankedTensorType::get({ShapedType::kDynamic, width}, i32),
                                      top->getStrArrayAttr({symbol}));
          places[arg].buffers.push_back(buffer);
          inputs.push_back(ref(buffer));
        };
        table("where", 2, "T");
        table("rows", 4, "S");
      } else if (auto name = function.getArgAttrOfType<StringAttr>(i, "llm.input")) {
        StringAttr buffer = declare(program + "." + name.str(), "input", arg.getType(), dims);
        places[arg].buffers = {buffer};
        inputs.push_back(ref(buffer));
      } else {
        return function.emitOpError("expects llm.input or llm.state on argument ") << i;
      }
    }
    // What is returned as an output is written there by the kernel that makes it.
    Fixed outputOf;
    for (auto [i, value] : llvm::enumerate(function.front().getTerminator()->getOperands()))
      if (auto name = function.getResultAttrOfType<StringAttr>(i, "llm.output")) {
        auto maker = value.getDefiningOp<llm::LaunchOp>();
        bool isNew = maker && maker.getTied()[cast<OpResult>(value).getResultNumber()] < 0 &&
                     !outputOf.contains(value);
        if (!isNew)
          return function.emitOpError("expects output ")
                 << name << " to be a result of its own of a kernel that the program launches";
        auto dims = function.getResultAttrOfType<ArrayAttr>(i, "llm.dims");
        if (!dims)
          dims = top->getStrArrayAttr({program == "advance" ? "S" : "T"});
        outputOf[value] = {declare(program + "." + name.str(), "output", value.getType(), dims)};
        outputs.push_back(ref(outputOf[value].front()));
      }
    OpBuilder b(&getContext());
    b.setInsertionPointToEnd(getOperation().getBody());
    auto op = plan::ProgramOp::create(b, function.getLoc(), program + ".program", b.getArrayAttr(inputs),
                                      b.getArrayAttr(outputs), IntegerAttr(),
                                      spans.empty() ? ArrayAttr() : b.getArrayAttr(spans), DenseI64ArrayAttr());
    OpBuilder steps(&getContext());
    steps.setInsertionPointToStart(&op.getBody().emplaceBlock());
    if (failed(follow(function.front(), places, steps, outputOf)))
      return failure();
    for (auto [i, value] : llvm::enumerate(function.front().getTerminator()->getOperands()))
      if (auto name = function.getResultAttrOfType<StringAttr>(i, "llm.state"))
        if (places[value].buffers != SmallVector<StringAttr, 2>{declared[("state " + name.getValue()).str()]})
          return function.emitOpError("returns a state that is not updated in place: ") << name;
    return success();
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    declared.clear();
    names.clear();
    top.emplace(&getContext());
    top->setInsertionPointToStart(module.getBody());
    // Buffers come in the order of their first use.
    auto anchor = plan::ProgramOp::create(*top, module.getLoc(), "anchor", top->getArrayAttr({}),
                                          top->getArrayAttr({}), IntegerAttr(), ArrayAttr(),
                                          DenseI64ArrayAttr());
    anchor.getBody().emplaceBlock();
    top->setInsertionPoint(anchor);
    SmallVector<func::FuncOp> programs, layers;
    for (auto function : module.getOps<func::FuncOp>())
      if (!function->hasAttr("llm.kernel"))
        (function.isPublic() ? programs : layers).push_back(function);
    for (func::FuncOp function : programs)
      if (failed(build(function)))
        return signalPassFailure();
    anchor.erase();
    for (func::FuncOp function : programs) { // the programs take the place of the functions
      std::string name = function.getName().str();
      function.erase();
      SymbolTable::lookupSymbolIn(module, name + ".program")
          ->setAttr("sym_name", StringAttr::get(&getContext(), name));
    }
    for (func::FuncOp function : layers)
      function.erase();
  }
};

} // namespace
} // namespace llmc
