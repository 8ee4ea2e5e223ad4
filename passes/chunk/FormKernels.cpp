// form-kernels: dispatches become launches of kernels, each of which is a tile program. The skeletons are in
// *Kernels.cpp.
#include "passes/chunk/KernelParts.h"
#include "passes/chunk/LinearTiles.h"
#include "passes/chunk/RowSymbols.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/TypeSwitch.h"
#include <numeric>

using namespace mlir;
namespace llmc {
#define GEN_PASS_DEF_FORMKERNELS
#include "passes/Passes.h.inc"
namespace {

/// The op that gives the dispatch its skeleton.
Operation *rootOf(llm::DispatchOp dispatch) {
  Operation *root = nullptr, *last = nullptr;
  for (Operation &op : dispatch.getBody().front().without_terminator()) {
    last = &op;
    if (isa<llm::EmbedOp, llm::LinearOp, llm::ExpertLinearOp, llm::AppendOp, llm::AttentionOp,
            llm::LatentAttentionOp, llm::DeltaRuleOp, llm::RouteOp, llm::DispatchExpertsOp,
            llm::CombineExpertsOp, llm::SampleOp, llm::ArgmaxOp, llm::LogitStatisticsOp, llm::RotaryTableOp>(op) ||
        llm::isCanvasOp(&op))
      root = &op;
  }
  return root ? root : last;
}

/// The text of the body: dispatches of equal text are one kernel.
std::string keyOf(llm::DispatchOp dispatch, TypeRange operandTypes) {
  std::string key;
  llvm::raw_string_ostream out(key);
  for (Type type : operandTypes)
    out << type << ",";
  for (int64_t tied : dispatch.getTied())
    out << tied << ",";
  // Values are numbered in order of appearance, so a clone in an empty function prints the same whatever
  // surrounded it.
  OwningOpRef<Operation *> alone(dispatch->cloneWithoutRegions());
  IRMapping map;
  Region region;
  dispatch.getBody().cloneInto(&region, map);
  llvm::DenseMap<Value, unsigned> numbers;
  auto number = [&](Value v) { return numbers.try_emplace(v, numbers.size()).first->second; };
  for (BlockArgument arg : region.front().getArguments())
    number(arg);
  region.walk<WalkOrder::PreOrder>([&](Operation *op) {
    out << "\n" << op->getName() << "(";
    for (Value v : op->getOperands())
      out << number(v) << ",";
    out << ")" << op->getAttrDictionary();
    for (Region &r : op->getRegions())
      for (Block &block : r)
        for (BlockArgument arg : block.getArguments())
          number(arg);
    for (Value v : op->getResults()) {
      number(v);
      out << v.getType();
    }
  });
  return key;
}

struct FormKernels : impl::FormKernelsBase<FormKernels> {
  using FormKernelsBase::FormKernelsBase;
  Tiles sizes;
  llvm::StringMap<func::FuncOp> known;
  llvm::StringMap<SmallVector<int64_t>> usedBy; ///< operands of the dispatch that a part of it takes
  int64_t pieceTokens = 1;                      ///< prompts may be cut where all their kernels' segments end

  /// A packed weight for `v` in front of the launch.
  Value pack(OpBuilder &b, Location loc, ValueRange weights, int64_t groups, int64_t panel, int64_t from = 0,
             std::optional<int64_t> count = {}, std::optional<int64_t> columns = {}) {
    auto type = cast<RankedTensorType>(weights.front().getType());
    int64_t k = columns.value_or(type.getShape().back()), units = 0;
    for (Value w : weights) {
      int64_t rows = count.value_or(llm::elements(w) / groups / k);
      units += panel ? llvm::divideCeil(rows, panel) : rows;
    }
    SmallVector<int64_t> shape =
        panel ? SmallVector<int64_t>{groups, units, k, panel} : SmallVector<int64_t>{groups, units, k};
    return llm::PackOp::create(b, loc, RankedTensorType::get(shape, type.getElementType()), weights,
                               b.getI64IntegerAttr(groups), b.getI64IntegerAttr(panel),
                               b.getI64IntegerAttr(from),
                               count ? b.getI64IntegerAttr(*count) : IntegerAttr());
  }

  /// Whether a linear in any program reads the weight (a tied embedding): then it is stored in panels only.
  bool hasLinearUser(Value weight) {
    if (auto stored = weight.getDefiningOp<llm::WeightOp>()) {
      auto found = getOperation().walk([&](llm::WeightOp same) {
        return same.getName() == stored.getName() && readByLinear(same.getResult()) ? WalkResult::interrupt()
                                                                                    : WalkResult::advance();
      });
      return found.wasInterrupted();
    }
    return readByLinear(weight);
  }

  bool readByLinear(Value weight) {
    return llvm::any_of(weight.getUsers(), [&](Operation *user) {
      if (auto dispatch = dyn_cast<llm::DispatchOp>(user))
        for (auto [i, operand] : llvm::enumerate(dispatch.getInputs()))
          if (operand == weight && readByLinear(dispatch.getBody().getArgument(i)))
            return true;
      if (auto packed = dyn_cast<llm::PackOp>(user))
        return packed.getPanel() == 32;
      return isa<llm::LinearOp>(user);
    });
  }

  LogicalResult convert(llm::DispatchOp dispatch) {
    OpBuilder b(dispatch);
    Location loc = dispatch.getLoc();
    Block &body = dispatch.getBody().front();
    Operation *root = rootOf(dispatch);

    // What is passed, and which kernel arguments stand for which body argument.
    enum class Role { Plain, Where, Rows, Transposed, Gathered };
    SmallVector<Value> passed;
    SmallVector<std::pair<Value, Role>> roles;
    llvm::SmallDenseSet<Value> done;
    for (auto [i, operand] : llvm::enumerate(dispatch.getInputs())) {
      Value inner = body.getArgument(i);
      if (llvm::is_contained(dispatch.getTied(), (int64_t)i))
        continue;
      if (isa<llm::SequencesType>(operand.getType())) {
        passed.push_back(operand);
        roles.push_back({inner, Role::Where});
        roles.push_back({inner, Role::Rows});
        continue;
      }
      if (done.contains(inner))
        continue;
      Value value = operand;
      for (Operation *user : inner.getUsers()) {
        auto outer = [&](ValueRange weights) {
          SmallVector<Value> result;
          for (Value w : weights) {
            result.push_back(dispatch.getInputs()[cast<BlockArgument>(w).getArgNumber()]);
            done.insert(w);
          }
          return result;
        };
        if (auto linear = dyn_cast<llm::LinearOp>(user);
            linear && llvm::is_contained(linear.getWeights(), inner)) {
          value = pack(b, loc, outer(linear.getWeights()), 1, 32);
        } else if (auto linear = dyn_cast<llm::ExpertLinearOp>(user);
                   linear && llvm::is_contained(linear.getWeights(), inner)) {
          int64_t experts = cast<RankedTensorType>(inner.getType()).getDimSize(0);
          value = pack(b, loc, outer(linear.getWeights()), experts, 32);
        } else if (auto conv = dyn_cast<llm::ShortConvOp>(user); conv && conv.getWeight() == inner) {
          value = pack(b, loc, operand, 1, llm::columns(conv.getX()));
        } else if (auto embed = dyn_cast<llm::EmbedOp>(user); embed && embed.getTable() == inner) {
          value = pack(b, loc, operand, 1, hasLinearUser(operand) ? 32 : 0);
        } else if (auto latent = dyn_cast<llm::LatentAttentionOp>(user); latent && latent.getUp() == inner) {
          value = pack(b, loc, operand, latent.getHeads(), 0, 0, latent.getNope());
          passed.push_back(value);
          roles.push_back({inner, Role::Plain});
          value = pack(b, loc, operand, latent.getHeads(), latent.getValueWidth(), latent.getNope(),
                       latent.getValueWidth());
          passed.push_back(value);
          roles.push_back({inner, Role::Transposed});
          value = {};
        } else {
          continue;
        }
        break;
      }
      if (!value)
        continue;
      passed.push_back(value);
      roles.push_back({inner, Role::Plain});
    }
    // Several weights of one linear are one argument: it stands for the first of them, which the emitter asks
    // for.

    // A program of one token a sequence has tiles of its own where the target's depend on it.
    bool isStep = sizes.areShared() && llmc::isStep(dispatch->getParentOfType<func::FuncOp>());
    if (auto experts = dyn_cast<llm::ExpertLinearOp>(root);
        experts && experts.getGather() && sizes.areShared() && !isStep && storedInput(experts.getX())) {
      FailureOr<Value> rows = gather(b, dispatch, experts);
      if (failed(rows))
        return failure();
      passed.push_back(*rows);
      roles.push_back({experts.getX(), Role::Gathered});
    }

    SmallVector<Value> inputs(passed);
    SmallVector<int64_t> tied;
    for (int64_t operand : dispatch.getTied()) {
      if (operand >= 0) {
        inputs.push_back(dispatch.getInputs()[operand]);
        tied.push_back(inputs.size() - 1);
      } else {
        tied.push_back(-1);
      }
    }

    std::string key = keyOf(dispatch, ValueRange(inputs).getTypes()) + (isStep ? "step" : "");
    if (SmallVector<KernelPart> parts = partsOf(dispatch, root, sizes, isStep); !parts.empty()) {
      // What one part reads another one may update: to those before it, it is an operand like others.
      for (int64_t operand : dispatch.getTied())
        if (operand >= 0) {
          passed.push_back(dispatch.getInputs()[operand]);
          roles.push_back({body.getArgument(operand), Role::Plain});
        }
      SmallVector<Made> made;
      SmallVector<Value> results(dispatch.getNumResults());
      if (auto rule = dyn_cast<llm::DeltaRuleOp>(root))
        pieceTokens = std::lcm(pieceTokens, std::max<int64_t>(deltaSegment(rule, sizes), 1));
      for (const KernelPart &part : parts)
        if (failed(launchPart(b, dispatch, root, passed, roles, key, part, isStep, made, results)))
          return failure();
      dispatch.replaceAllUsesWith(results);
      dispatch.erase();
      return success();
    }
    func::FuncOp &kernel = known[key];
    if (!kernel)
      if (failed(emit(dispatch, root, passed, roles, isStep, kernel)))
        return failure();
    auto launch = llm::LaunchOp::create(b, loc, dispatch.getResultTypes(), FlatSymbolRefAttr::get(kernel),
                                        inputs, b.getDenseI64ArrayAttr(tied));
    dispatch.replaceAllUsesWith(launch.getResults());
    dispatch.erase();
    return success();
  }

  /// What a part has made for those after it, and the value of the body that it stands for.
  struct Made {
    Value value, stands;
  };

  /// Launches a part with those operands that it uses, of `passed` and of `made` so far.
  template <typename Roles>
  LogicalResult launchPart(OpBuilder &b, llm::DispatchOp dispatch, Operation *root, ValueRange passed, const Roles &roles,
                           const std::string &key, const KernelPart &part, bool isStep, SmallVectorImpl<Made> &made,
                           SmallVectorImpl<Value> &results) {
    func::FuncOp &kernel = known[(Twine(key) + part.suffix).str()];
    SmallVector<int64_t> &used = usedBy[(Twine(key) + part.suffix).str()];
    SmallVector<Type> types;
    SmallVector<int64_t> updated; // operands of the dispatch
    for (const KernelOut &out : part.outs) {
      types.push_back(out.type);
      updated.push_back(out.result >= 0 ? dispatch.getTied()[out.result] : -1);
    }
    SmallVector<Value> operands(passed);
    for (const Made &m : made)
      operands.push_back(m.value);
    if (!kernel) {
      OpBuilder inKernel(&getContext());
      Kernel inside(*this, dispatch, part.suffix);
      inside.emitter.isStep = isStep;
      SmallVector<unsigned> owners = addInputs(inside, root, passed, roles);
      SmallVector<Value> before;
      for (auto [i, m] : llvm::enumerate(made)) {
        before.push_back(inside.argument(m.value.getType(), {"T"}, false));
        owners.push_back(passed.size() + i);
        if (m.stands)
          inside.emitter.setArgument(m.stands, before.back());
      }
      for (auto [type, operand] : llvm::zip_equal(types, updated)) {
        Value state = operand >= 0 ? Value(dispatch.getBody().getArgument(operand)) : Value();
        Value arg = inside.argument(type, state ? symbolsOf(inKernel, state) : SmallVector<StringRef>{"T"}, true);
        inside.emitter.destinations.push_back(arg);
        if (state)
          inside.emitter.setArgument(state, arg);
      }
      inside.emitter.tied = updated;
      kernel = inside.finish(types);
      inKernel.setInsertionPointToStart(inside.entry);
      TileBuilder t(inKernel, dispatch.getLoc(), sizes);
      part.body(inside.emitter, t, before);
      if (inside.emitter.failed())
        return failure();
      llvm::SmallDenseSet<unsigned> kept;
      for (auto [i, owner] : llvm::enumerate(owners))
        if (!inside.entry->getArgument(i).use_empty())
          kept.insert(owner);
      llvm::BitVector unused(kernel.getNumArguments());
      for (auto [i, owner] : llvm::enumerate(owners))
        unused[i] = !kept.contains(owner);
      if (failed(kernel.eraseArguments(unused)))
        return failure();
      for (unsigned owner = 0; owner < operands.size(); ++owner)
        if (kept.contains(owner))
          used.push_back(owner);
    }
    SmallVector<Value> given;
    for (int64_t owner : used)
      given.push_back(operands[owner]);
    SmallVector<int64_t> places;
    for (auto [out, operand] : llvm::zip_equal(part.outs, updated)) {
      bool isUpdated = operand >= 0 || out.updates >= 0;
      places.push_back(isUpdated ? int64_t(given.size()) : -1);
      if (isUpdated)
        given.push_back(operand >= 0 ? dispatch.getInputs()[operand] : made[out.updates].value);
    }
    auto launch = llm::LaunchOp::create(b, dispatch.getLoc(), types, FlatSymbolRefAttr::get(kernel), given, b.getDenseI64ArrayAttr(places));
    for (auto [out, value] : llvm::zip_equal(part.outs, launch.getResults())) {
      if (out.result >= 0)
        results[out.result] = value;
      if (out.updates >= 0)
        made[out.updates].value = value;
      else if (out.result < 0 || out.stands)
        made.push_back({value, out.stands});
    }
    return success();
  }

  /// A kernel in the making.
  struct Kernel {
    Kernel(FormKernels &pass, llm::DispatchOp dispatch, StringRef suffix)
        : b(&pass.getContext()), loc(dispatch.getLoc()),
          function(func::FuncOp::create(b, loc, (dispatch.getKernel() + suffix).str(), b.getFunctionType({}, {}))),
          entry(function.addEntryBlock()), emitter(dispatch, function) {
      SymbolTable(pass.getOperation()).insert(function);
      function.setPrivate();
      function->setAttr("llm.kernel", b.getUnitAttr());
    }
    Value argument(Type type, ArrayRef<StringRef> dims, bool written, bool hasOtherRows = false) {
      SmallVector<NamedAttribute> list;
      if (!dims.empty())
        list.push_back(b.getNamedAttr("llm.dims", b.getStrArrayAttr(dims)));
      if (written)
        list.push_back(b.getNamedAttr("llm.written", b.getUnitAttr()));
      if (hasOtherRows) // its rows are those of another table than the dispatch's: there may be more than T
        list.push_back(b.getNamedAttr("llm.other_rows", b.getUnitAttr()));
      attrs.push_back(b.getDictionaryAttr(list));
      return entry->addArgument(type, loc);
    }
    /// The function, once it has all arguments.
    func::FuncOp finish(ArrayRef<Type> results) {
      function.setType(b.getFunctionType(entry->getArgumentTypes(), results));
      function.setAllArgAttrs(attrs);
      return function;
    }
    OpBuilder b;
    Location loc;
    func::FuncOp function;
    Block *entry;
    TileEmitter emitter;
    SmallVector<DictionaryAttr> attrs;
  };

  template <typename Roles>
  LogicalResult emit(llm::DispatchOp dispatch, Operation *root, ValueRange passed, const Roles &roles, bool isStep, func::FuncOp &kernel) {
    OpBuilder b(&getContext());
    Kernel made(*this, dispatch, "");
    TileEmitter &emitter = made.emitter;
    emitter.isStep = isStep;
    addInputs(made, root, passed, roles);
    SmallVector<Type> results;
    auto destination = [&](Type type, ArrayRef<StringRef> dims, int64_t tied) {
      results.push_back(type);
      emitter.destinations.push_back(made.argument(type, dims, true));
      emitter.tied.push_back(tied);
    };
    for (auto [i, operand] : llvm::enumerate(dispatch.getTied())) {
      Type type = dispatch.getResult(i).getType();
      if (isa<llm::SequencesType>(type)) {
        for (auto [width, symbol] : {std::pair(2, "T"), std::pair(4, "S")})
          destination(RankedTensorType::get({ShapedType::kDynamic, width}, b.getI32Type()), {symbol}, -1);
        continue;
      }
      Value described = operand >= 0 ? Value(dispatch.getBody().getArgument(operand)) : yielded(dispatch, i);
      destination(type, symbolsOf(b, described), operand);
      if (operand >= 0)
        emitter.setArgument(described, emitter.destinations.back());
    }
    kernel = made.finish(results);
    b.setInsertionPointToStart(made.entry);
    TileBuilder t(b, dispatch.getLoc(), sizes);
    llvm::TypeSwitch<Operation *>(root)
        .Case([&](llm::EmbedOp op) { emitEmbed(emitter, t, op); })
        .Case([&](llm::LinearOp op) { emitLinear(emitter, t, op); })
        .Case([&](llm::ExpertLinearOp op) { emitExpertLinear(emitter, t, op); })
        .Case([&](llm::CombineExpertsOp op) { emitCombineExperts(emitter, t, op); })
        .Case([&](llm::RouteOp op) { emitRoute(emitter, t, op); })
        .Case([&](llm::DispatchExpertsOp op) { emitDispatchExperts(emitter, t, op); })
        .Case([&](llm::AppendOp op) { emitAppend(emitter, t, op); })
        .Case([&](llm::AttentionOp op) { emitAttention(emitter, t, op); })
        .Case([&](llm::LatentAttentionOp op) { emitLatentAttention(emitter, t, op); })
        .Case([&](llm::DeltaRuleOp op) { emitDeltaRule(emitter, t, op); })
        .Case([&](llm::RotaryTableOp op) { emitRotaryTable(emitter, t, op); })
        .Case([&](llm::SampleOp op) { emitSample(emitter, t, op); })
        .Case([&](llm::WriteCanvasOp op) { emitWriteCanvas(emitter, t, op); })
        .Case([&](llm::ReadCanvasOp op) { emitReadCanvas(emitter, t, op); })
        .Case([&](llm::OpenBlockOp op) { emitOpenBlock(emitter, t, op); })
        .Case([&](llm::SelectRowsOp op) { emitSelectRows(emitter, t, op); })
        .Case([&](llm::GuideOp op) { emitGuide(emitter, t, op); })
        .Case([&](llm::UnmaskOp op) { emitUnmask(emitter, t, op); })
        .Case([&](llm::NextRowsOp op) { emitNextRows(emitter, t, op); })
        .Case([&](llm::EmitBlockOp op) { emitEmitBlock(emitter, t, op); })
        .Case([&](llm::RegroupRowsOp op) { emitRegroupRows(emitter, t, op); })
        .Case([&](llm::NoiseOp op) { emitNoise(emitter, t, op); })
        .Case([&](llm::OpenDrawsOp op) { emitOpenDraws(emitter, t, op); })
        .Case([&](llm::AcceptPatchOp op) { emitAcceptPatch(emitter, t, op); })
        .Default([&](Operation *op) { emitRows(emitter, t, op); });
    return failure(emitter.failed());
  }

  /// Arguments for what is passed. Returns for each argument the number of the operand that it stands for.
  template <typename Roles> SmallVector<unsigned> addInputs(Kernel &made, Operation *root, ValueRange passed, const Roles &roles) {
    OpBuilder b(&getContext());
    TileEmitter &emitter = made.emitter;
    SmallVector<unsigned> owners;
    auto dynamic = ShapedType::kDynamic;
    Type i32 = b.getI32Type();
    auto argument = [&](Type type, ArrayRef<StringRef> dims, bool written) { return made.argument(type, dims, written); };
    auto &attrs = made.attrs;
    size_t next = 0;
    for (auto [inner, role] : roles) {
      using Role = std::decay_t<decltype(role)>;
      owners.push_back(next);
      if (role == Role::Where) {
        emitter.where = made.argument(RankedTensorType::get({dynamic, 2}, i32), {"T"}, false, hasOtherRows(inner));
      } else if (role == Role::Rows) {
        emitter.rows = argument(RankedTensorType::get({dynamic, 4}, i32), {"S"}, false);
        emitter.setTable(inner, {emitter.where, emitter.rows});
        ++next;
      } else if (role == Role::Gathered) {
        auto experts = cast<llm::ExpertLinearOp>(root);
        emitter.gathered = argument(passed[next].getType(), {pairRows(b, experts)}, false);
        ++next;
      } else {
        Value arg = made.argument(passed[next].getType(), symbolsOf(b, inner), false, hasOtherRows(inner));
        if (auto share =
                readShare(inner)) // of a weight, how much one token reads: for accounts of memory traffic
          attrs.back() = b.getDictionaryAttr({b.getNamedAttr("llm.read_share", b.getF64FloatAttr(*share))});
        role == Role::Plain ? emitter.setArgument(inner, arg) : emitter.setTransposedArgument(inner, arg);
        ++next;
      }
    }
    return owners;
  }

  /// A kernel beside the dispatch's own: `inputs` and one destination, with the names of their rows. `body` emits it.
  LogicalResult emitBeside(llm::DispatchOp dispatch, StringRef suffix, TypeRange inputs, Type out, ArrayRef<StringRef> rows,
                           func::FuncOp &kernel, function_ref<void(TileEmitter &, TileBuilder &, Block &)> body) {
    OpBuilder b(&getContext());
    Kernel made(*this, dispatch, suffix);
    for (auto [type, name] : llvm::zip(inputs, rows))
      made.argument(type, {name}, false);
    made.emitter.destinations.push_back(made.argument(out, {rows.back()}, true));
    kernel = made.finish({out});
    b.setInsertionPointToStart(made.entry);
    TileBuilder t(b, dispatch.getLoc(), sizes);
    body(made.emitter, t, *made.entry);
    return failure(made.emitter.failed());
  }

  /// Launches the kernel that puts the rows that `op` gathers side by side.
  FailureOr<Value> gather(OpBuilder &b, llm::DispatchOp dispatch, llm::ExpertLinearOp op) {
    BlockArgument x = storedInput(op.getX()), order = cast<BlockArgument>(op.getOrder());
    auto type = RankedTensorType::get({ShapedType::kDynamic, llm::columns(op.getX())},
                                      cast<RankedTensorType>(x.getType()).getElementType());
    std::string key = "gather";
    llvm::raw_string_ostream out(key);
    out << x.getType() << op.getX().getType() << op.getTopK();
    for (Value v = op.getX(); auto slice = v.getDefiningOp<llm::SliceOp>(); v = slice.getX())
      out << "," << slice.getOffset();
    func::FuncOp &kernel = known[key];
    StringRef pairs = pairRows(b, op);
    if (!kernel)
      if (failed(emitBeside(dispatch, "_gather", {x.getType(), order.getType()}, type, {"T", pairs, pairs}, kernel,
                            [&](TileEmitter &e, TileBuilder &t, Block &entry) {
                              e.setArgument(x, entry.getArgument(0));
                              e.setArgument(order, entry.getArgument(1));
                              emitGatherRows(e, t, op);
                            })))
        return failure();
    auto operand = [&](BlockArgument arg) { return dispatch.getInputs()[arg.getArgNumber()]; };
    return llm::LaunchOp::create(b, dispatch.getLoc(), type, FlatSymbolRefAttr::get(kernel),
                                 ValueRange{operand(x), operand(order)}, b.getDenseI64ArrayAttr({-1}))
        .getResult(0);
  }

  void runOnOperation() override {
    known.clear();
    usedBy.clear();
    pieceTokens = 1;
    std::optional<Tiles> found = tilesOf(target);
    if (!found) {
      getOperation().emitError("form-kernels: unknown target '") << target << "': expects cpu or cuda";
      return signalPassFailure();
    }
    sizes = *found;
    sizes.callRows = maxTokens;
    SmallVector<llm::DispatchOp> dispatches;
    getOperation().walk([&](llm::DispatchOp op) { dispatches.push_back(op); });
    for (llm::DispatchOp op : dispatches)
      if (failed(convert(op)))
        return signalPassFailure();
    if (pieceTokens > 1)
      getOperation()->setAttr("llm.piece_tokens", OpBuilder(&getContext()).getI64IntegerAttr(pieceTokens));
  }
};

} // namespace
} // namespace llmc
