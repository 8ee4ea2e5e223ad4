// form-dispatches: groups ops into dispatches. See Passes.td for what joins what.
#include "passes/Passes.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
namespace llmc {
#define GEN_PASS_DEF_FORMDISPATCHES
#include "passes/Passes.h.inc"
namespace {

/// Ops whose rows depend on the same rows of their operands only, cheap enough to be computed again in every
/// dispatch that needs them.
bool isLocal(Operation *op) {
  return isa<llm::SliceOp, llm::ConcatOp, llm::MapOp, llm::RmsNormOp, llm::LayerNormOp, llm::L2NormOp,
             llm::RotaryOp, llm::DecayGateOp>(op);
}

/// Local ops that need whole groups of columns, more than the panel of 32 that a linear's epilogue works on.
bool needsWholeGroups(Operation *op) {
  return isa<llm::ConcatOp, llm::RmsNormOp, llm::LayerNormOp, llm::L2NormOp, llm::RotaryOp, llm::DecayGateOp>(op);
}

/// Whether the operand is asked for with all its columns at once, as a concatenation needs it.
bool isReadWhole(OpOperand &use) {
  Operation *user = use.getOwner();
  if (auto sample = dyn_cast<llm::SampleOp>(user))
    return &use == &sample.getSamplingMutable();
  return isa<llm::LinearOp, llm::ExpertLinearOp, llm::ConcatOp>(user);
}

bool isRoot(Operation *op) {
  return isa<llm::EmbedOp, llm::LinearOp, llm::ExpertLinearOp, llm::AppendOp, llm::AttentionOp,
             llm::LatentAttentionOp, llm::DeltaRuleOp, llm::RouteOp, llm::DispatchExpertsOp,
             llm::CombineExpertsOp, llm::SampleOp, llm::ArgmaxOp, llm::LogitStatisticsOp,
             llm::RotaryTableOp>(op) ||
         llm::isCanvasOp(op);
}

/// A router's linear joins the choice of experts if its weights are so few that one core reads them in less
/// time than another dispatch costs (a few microseconds at about 10 GB/s); a larger one is better shared out
/// among cores.
bool isSmallRouter(Operation *op, Operation *root) {
  constexpr int64_t kElements = 32768;
  auto linear = dyn_cast<llm::LinearOp>(op);
  return linear && isa<llm::RouteOp>(root) && linear->hasOneUse() && linear.getWeights().size() == 1 &&
         llm::elements(linear.getWeights().front()) <= kElements;
}

/// Whether others than `reader` read the linear's logits, all of them after `reader`, so that its dispatch can give them.
bool isReadLaterToo(Operation *linear, Operation *reader) {
  return llvm::all_of(linear->getUsers(), [&](Operation *user) {
    Operation *there = reader->getBlock()->findAncestorOpInBlock(*user);
    return there && (there == reader || reader->isBeforeInBlock(there));
  });
}

/// Whether the op's product is made within the dispatch of `root`: a small router; logits of which `root`, their only reader, asks a few
/// numbers; logits that others read after it has asked its own.
bool joinsReader(Operation *op, Operation *root) {
  if (!isa<llm::LinearOp>(op) || op->getBlock() != root->getBlock())
    return false;
  if (auto statistics = dyn_cast<llm::LogitStatisticsOp>(root))
    return statistics.getLogits().getDefiningOp() == op && statistics.getTemperature().getDefiningOp() != op && isReadLaterToo(op, root);
  return isSmallRouter(op, root) || (isa<llm::ArgmaxOp, llm::PredictOp>(root) && op->hasOneUse());
}

/// Whether the op is made within the dispatch of one of its readers.
bool joinsAReader(Operation *op) {
  return llvm::any_of(op->getUsers(), [&](Operation *user) { return joinsReader(op, user); });
}

/// The operand whose memory the op's `result` takes, or null.
Value tiedOperand(OpResult result) {
  Operation *op = result.getOwner();
  if (auto append = dyn_cast<llm::AppendOp>(op))
    return append.getCache();
  if (auto conv = dyn_cast<llm::ShortConvOp>(op))
    return result == conv.getUpdated() ? conv.getTail() : Value();
  if (auto delta = dyn_cast<llm::DeltaRuleOp>(op))
    return result == delta.getUpdated() ? delta.getState() : Value();
  if (auto write = dyn_cast<llm::WriteCanvasOp>(op))
    return write.getCanvas();
  if (auto open = dyn_cast<llm::OpenBlockOp>(op))
    return result == open.getUpdated() ? open.getCanvas() : Value();
  if (auto unmask = dyn_cast<llm::UnmaskOp>(op))
    return result == unmask.getUpdated()    ? unmask.getCanvas()
           : result == unmask.getAdvanced() ? unmask.getProgress()
                                            : Value();
  if (auto accept = dyn_cast<llm::AcceptPatchOp>(op))
    return result == accept.getAdvanced()  ? accept.getProgress()
           : result == accept.getPooled()  ? accept.getPool()
           : result == accept.getUpdated() ? accept.getCanvas()
                                           : Value();
  return {};
}

struct FormDispatches : impl::FormDispatchesBase<FormDispatches> {
  using FormDispatchesBase::FormDispatchesBase;
  using Group = llvm::SetVector<Operation *>;
  using Ordered = SmallVector<std::pair<Operation *, std::pair<Group, Operation *>>>; // root, (group, last)
  llvm::DenseSet<Operation *> taken; // epilogue ops that belong to a group already

  /// Adds the elementwise ops that alone use what the group makes. `last` becomes the op at whose place the
  /// dispatch stands.
  void takeEpilogue(Operation *root, Group &group, Operation *&last) {
    if (!isa<llm::LinearOp, llm::ExpertLinearOp, llm::DeltaRuleOp, llm::CombineExpertsOp>(root))
      return;
    Value made = root->getResult(0);
    while (true) {
      SmallVector<Operation *> slices;
      Operation *user = nullptr;
      bool single = !made.use_empty();
      auto note = [&](Operation *op) {
        single &= (!user || user == op) && op->getBlock() == root->getBlock();
        user = op;
      };
      for (Operation *op : made.getUsers()) {
        // A linear is made in panels of 32 columns, so only a slice that begins with a panel can be cut from
        // the one being made.
        if (auto slice = dyn_cast<llm::SliceOp>(op);
            slice && slice.getOffset() % 32 == 0 &&
            isa<llm::LinearOp, llm::ExpertLinearOp>(made.getDefiningOp())) {
          slices.push_back(op);
          for (Operation *next : op->getUsers())
            note(next);
          single &= !op->use_empty();
        } else {
          note(op);
        }
      }
      if (!single || !user)
        return;
      // A delta rule works head by head, so of what follows only a norm of each head joins it.
      bool joins = isa<llm::MapOp>(user);
      if (auto delta = dyn_cast<llm::DeltaRuleOp>(root)) {
        auto norm = dyn_cast<llm::RmsNormOp>(user);
        joins = norm && norm.getX() == made && made == delta.getResult() &&
                llm::elements(norm.getWeight()) ==
                    cast<RankedTensorType>(delta.getState().getType()).getDimSize(3);
      }
      joins &= !taken.contains(user);
      if (!joins)
        return;
      group.insert(slices.begin(), slices.end());
      group.insert(user);
      taken.insert(user);
      last = user;
      made = user->getResult(0);
    }
  }

  /// Whether an epilogue reads the op, directly or through ops that are computed in the epilogue.
  bool reaches(Operation *op, const llvm::DenseSet<Operation *> &epilogues) {
    SmallVector<Operation *> work(op->getUsers());
    while (!work.empty()) {
      Operation *user = work.pop_back_val();
      if (epilogues.contains(user))
        return true;
      if (isa<llm::MapOp, llm::SliceOp>(user))
        llvm::append_range(work, user->getUsers());
    }
    return false;
  }

  /// Adds the row-local producers of what is in the group (they are cloned, the originals die when unused),
  /// and, for a delta rule, the short convolutions that feed it.
  void takePrologue(Operation *root, Group &group, const llvm::DenseSet<Operation *> &materialized) {
    SmallVector<Operation *> work(group.begin(), group.end());
    while (!work.empty()) {
      Operation *op = work.pop_back_val();
      for (Value operand : op->getOperands()) {
        Operation *def = operand.getDefiningOp();
        if (!def || group.contains(def) || materialized.contains(def))
          continue;
        if (isLocal(def) || (isa<llm::ShortConvOp>(def) && isa<llm::DeltaRuleOp>(root)) ||
            joinsReader(def, root)) {
          group.insert(def);
          work.push_back(def);
        }
      }
    }
  }

  /// Whether the convolution is in one group, and what reads its rows in that group only.
  bool hasOneReader(llm::ShortConvOp conv, const Ordered &groups) {
    const Group *owner = nullptr;
    for (const auto &[root, entry] : groups)
      if (entry.first.contains(conv)) {
        if (owner)
          return false;
        owner = &entry.first;
      }
    return owner && llvm::all_of(conv.getResult().getUsers(), [&](Operation *user) {
             return llvm::all_of(groups, [&](const auto &group) {
               return group.second.first.contains(user) == (&group.second.first == owner);
             });
           });
  }

  /// Replaces the group by one llm.dispatch at the place of `last`.
  void outline(Operation *root, Group &group, Operation *last, unsigned number) {
    SmallVector<Operation *> ops(group.begin(), group.end());
    llvm::sort(ops, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
    llvm::SetVector<Value> inputs;
    for (Operation *op : ops)
      for (Value operand : op->getOperands())
        if (!operand.getDefiningOp() || !group.contains(operand.getDefiningOp()))
          inputs.insert(operand);
    // What leaves: results of ops that are not clones and have users outside. A kernel's skeleton makes all
    // results of its root, so those that nobody uses leave as well.
    SmallVector<OpResult> outputs;
    SmallVector<int64_t> tied;
    for (Operation *op : ops) {
      if (op != root && op != last && !isa<llm::ShortConvOp, llm::LinearOp>(op))
        continue; // a clone, or within the epilogue
      for (OpResult result : op->getResults()) {
        // A result without users is made all the same: kernels write all of a root's results, and states in
        // place.
        if (!result.use_empty() &&
            llvm::all_of(result.getUsers(), [&](Operation *user) { return group.contains(user); }))
          continue;
        outputs.push_back(result);
        Value operand = tiedOperand(result);
        tied.push_back(operand ? llvm::find(inputs, operand) - inputs.begin() : -1);
      }
    }
    OpBuilder b(last);
    SmallVector<Type> types;
    for (OpResult r : outputs)
      types.push_back(r.getType());
    StringAttr name = b.getStringAttr(getOperation().getName() + "_" + root->getName().stripDialect() + "_" +
                                      Twine(number));
    Location loc = NameLoc::get(name);
    auto dispatch =
        llm::DispatchOp::create(b, loc, types, inputs.getArrayRef(), b.getDenseI64ArrayAttr(tied), name);
    Block *body = b.createBlock(&dispatch.getBody());
    IRMapping map;
    for (Value v : inputs)
      map.map(v, body->addArgument(v.getType(), v.getLoc()));
    b.setInsertionPointToStart(body);
    for (Operation *op : ops)
      b.clone(*op, map);
    SmallVector<Value> yielded;
    for (OpResult r : outputs)
      yielded.push_back(map.lookup(r));
    llm::YieldOp::create(b, loc, yielded);
    for (auto [old, result] : llvm::zip(outputs, dispatch.getResults()))
      old.replaceUsesWithIf(result, [&](OpOperand &use) {
        return use.getOwner() != dispatch && !group.contains(use.getOwner());
      });
  }

  void eraseDead(Block &block) {
    for (Operation &op : llvm::make_early_inc_range(llvm::reverse(block)))
      if ((isRoot(&op) || isLocal(&op) || isa<llm::ShortConvOp>(op)) && op.use_empty())
        op.erase();
  }

  void runOnOperation() override {
    if (getOperation().isExternal() || getOperation()->hasAttr("llm.kernel"))
      return;
    taken.clear();
    SmallVector<Block *> blocks; // of the function and of the loops and branches in it, not of ops' bodies
    getOperation()->walk([&](Block *block) {
      if (isa<func::FuncOp, scf::WhileOp, scf::IfOp>(block->getParentOp()))
        blocks.push_back(block);
    });
    for (Block *each : blocks) {
      Block &block = *each;
      eraseDead(block);
      // Roots in order; a local op whose result leaves the function through something that is no dispatch, or
      // is read by an epilogue that could not make it in panels, is its own root.
      SmallVector<Operation *> roots;
      llvm::DenseSet<Operation *> epilogues, panelEpilogues;
      llvm::MapVector<Operation *, std::pair<Group, Operation *>> groups;
      llvm::DenseSet<Operation *> materialized;
      for (Operation &op : block) {
        if (!isRoot(&op) || joinsAReader(&op))
          continue;
        Group group;
        group.insert(&op);
        Operation *last = &op;
        takeEpilogue(&op, group, last);
        materialized.insert(last);
        epilogues.insert(group.begin(), group.end());
        if (isa<llm::LinearOp, llm::ExpertLinearOp>(op))
          panelEpilogues.insert(std::next(group.begin()), group.end());
        groups.insert({&op, {std::move(group), last}});
      }
      for (Operation &op : block) {
        if (!isLocal(&op) || epilogues.contains(&op))
          continue;
        bool escapes = llvm::any_of(op.getUsers(), [](Operation *u) {
          return !isRoot(u) && !isLocal(u) && !isa<llm::ShortConvOp>(u);
        });
        escapes |= needsWholeGroups(&op) && reaches(&op, panelEpilogues);
        escapes |= isa<llm::ConcatOp>(op) && !llvm::all_of(op.getUses(), isReadWhole);
        escapes |= storePrologues && !isStep(getOperation()) && !isa<llm::SliceOp>(op) &&
                   llvm::any_of(op.getUsers(), [&](Operation *u) {
                     return isa<llm::LinearOp, llm::ExpertLinearOp>(u) && (groups.contains(u) || joinsAReader(u));
                   });
        if (escapes) {
          Group group;
          group.insert(&op);
          materialized.insert(&op);
          groups.insert({&op, {std::move(group), &op}});
        }
      }
      unsigned number = 0;
      Ordered ordered(groups.begin(), groups.end());
      llvm::sort(ordered, [](auto &a, auto &b) { return a.second.second->isBeforeInBlock(b.second.second); });
      for (auto &[root, entry] : ordered)
        takePrologue(root, entry.first, materialized);
      for (auto conv : block.getOps<llm::ShortConvOp>())
        if (!hasOneReader(conv, ordered)) {
          conv.emitError("a short convolution has a kernel only where one delta rule alone reads it; give "
                         "every other reader a convolution of its own");
          return signalPassFailure();
        }
      for (auto &[root, entry] : ordered)
        outline(root, entry.first, entry.second, number++);
      eraseDead(block);
    }
  }
};

} // namespace
} // namespace llmc
