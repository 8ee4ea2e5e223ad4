// fuse-linears: linears that share their input become one, with slices of its result.
#include "passes/Passes.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
namespace llmc {
#define GEN_PASS_DEF_FUSELINEARS
#include "passes/Passes.h.inc"
namespace {

/// The op's storage type and everything that it depends on but its weights: ops with equal keys may join.
template <typename Op> SmallVector<void *> keyOf(Op op) {
  SmallVector<void *> key{op->getName().getAsOpaquePointer()};
  auto weights = op.getWeights();
  key.push_back(const_cast<void *>(
      cast<RankedTensorType>(weights.front().getType()).getElementType().getAsOpaquePointer()));
  key.push_back(
      const_cast<void *>(cast<RankedTensorType>(op.getResult().getType()).getElementType().getAsOpaquePointer()));
  for (Value operand : op->getOperands())
    if (!llvm::is_contained(weights, operand))
      key.push_back(operand.getAsOpaquePointer());
  if constexpr (std::is_same_v<Op, llm::LinearOp>)
    key.push_back(const_cast<void *>(op.getColumnAttr().getAsOpaquePointer()));
  if constexpr (std::is_same_v<Op, llm::ExpertLinearOp>)
    for (Attribute attr : {op.getGatherAttr(), op.getTopKAttr()})
      key.push_back(const_cast<void *>(attr.getAsOpaquePointer()));
  key.push_back(op->getBlock());
  // Linears that only feed one elementwise op (gate and up) stay with each other, so that it can become their
  // epilogue.
  Operation *user = op->hasOneUse() ? *op->getUsers().begin() : nullptr;
  bool isEpilogue =
      isa_and_nonnull<llm::MapOp>(user) && llvm::count_if(user->getOperands(), [&](Value v) {
                                             auto other = v.getDefiningOp<Op>();
                                             return other && other->hasOneUse() && other.getX() == op.getX();
                                           }) > 1;
  key.push_back(isEpilogue ? user : nullptr);
  // A router stands alone: what chooses experts may take it along.
  key.push_back(isa_and_nonnull<llm::RouteOp>(user) ? user : nullptr);
  return key;
}

struct FuseLinears : impl::FuseLinearsBase<FuseLinears> {
  using FuseLinearsBase::FuseLinearsBase;

  /// %a = linear %x, %wa    becomes    %ab = linear %x, %wa, %wb {align}
  /// %b = linear %x, %wb               %a = slice %ab at 0 ; %b = slice %ab at roundup(columns of a)
  template <typename Op> void fuse(ArrayRef<Op> group) {
    Op first = group.front();
    OpBuilder b(first);
    SmallVector<Value> weights;
    SmallVector<int64_t> offsets;
    int64_t columns = 0;
    for (Op op : group) {
      offsets.push_back(columns);
      columns += llvm::alignTo(llm::columns(op.getResult()), align);
      llvm::append_range(weights, op.getWeights());
    }
    // Weights are arguments of the layer's function or come before all uses: they dominate the first op, or
    // the ops stay apart.
    auto type = RankedTensorType::get({ShapedType::kDynamic, columns},
                                      cast<RankedTensorType>(first.getResult().getType()).getElementType());
    Op joined;
    if constexpr (std::is_same_v<Op, llm::LinearOp>)
      joined = Op::create(b, first.getLoc(), type, first.getX(), weights, b.getI64IntegerAttr(align), first.getColumnAttr());
    else
      joined = Op::create(b, first.getLoc(), type, first.getX(), first.getOrder(), first.getGroups(), weights,
                          first.getGatherAttr(), first.getTopKAttr(), b.getI64IntegerAttr(align));
    for (auto [member, offset] : llvm::zip(group, offsets)) {
      Op op = member;
      Value slice = llm::SliceOp::create(b, op.getLoc(), op.getResult().getType(), joined.getResult(),
                                         b.getI64IntegerAttr(offset));
      op.getResult().replaceAllUsesWith(slice);
    }
    for (Op op : group)
      op.erase();
    fused += group.size() - 1;
  }

  template <typename Op> void run() {
    llvm::MapVector<SmallVector<void *>, SmallVector<Op>, std::map<SmallVector<void *>, unsigned>> groups;
    getOperation().walk([&](Op op) {
      if (op.getWeights().size() != 1 || op.getAlign() != 1)
        return; // padded already, so joined already
      auto &group = groups[keyOf(op)];
      Operation *weight = op.getWeights().front().getDefiningOp();
      if (!group.empty() && weight && !weight->isBeforeInBlock(group.front()))
        return;
      group.push_back(op);
    });
    for (auto &[key, group] : groups)
      if (group.size() > 1)
        fuse<Op>(group);
  }

  void runOnOperation() override {
    run<llm::LinearOp>();
    run<llm::ExpertLinearOp>();
  }
};

} // namespace
} // namespace llmc
