// See RowSymbols.h.
#include "passes/chunk/RowSymbols.h"

using namespace mlir;
namespace llmc {

/// The symbols of a canvas, or of what a canvas op knows by sequence and not by row; empty for rows.
static SmallVector<StringRef> canvasSymbols(Operation *op, Value v) {
  auto type = cast<RankedTensorType>(v.getType());
  if (!llm::isCanvasOp(op))
    return {};
  if (auto emit = dyn_cast<llm::EmitBlockOp>(op); emit && emit.getNext() == v)
    return {"S", "CTX"};
  if (type.getElementType().isInteger(32) && type.getRank() == 2 && type.isDynamicDim(1))
    return {"SLOTS", "CTX"};
  if (type.getElementType().isInteger(32) && type.getRank() == 2)
    return {"S"}; // bounds, progress, more
  if (type.getElementType().isInteger(64) || isa<llm::AcceptPatchOp>(op))
    return type.getRank() == 2 ? SmallVector<StringRef>{"S"} : SmallVector<StringRef>{}; // draws, sampling, settings
  if (auto predict = dyn_cast<llm::PredictOp>(op);
      predict && llvm::is_contained({Value(predict.getSampling()), Value(predict.getDraws()), Value(predict.getSettings())}, v))
    return {"S"};
  if (auto guide = dyn_cast<llm::GuideOp>(op); guide && guide.getSettings() == v)
    return {"S"};
  if (auto unmask = dyn_cast<llm::UnmaskOp>(op); unmask && unmask.getSettings() == v)
    return {"S"};
  if (auto next = dyn_cast<llm::NextRowsOp>(op); next && next.getSettings() == v)
    return {"S"};
  return {};
}

/// Rows of grouped (token, choice) pairs come k to a token.
static int64_t rowsPerToken(Value v) {
  if (Operation *def = v.getDefiningOp()) {
    if (auto linear = dyn_cast<llm::ExpertLinearOp>(def))
      return linear.getTopK();
    if (auto dispatch = dyn_cast<llm::DispatchExpertsOp>(def); dispatch && v == dispatch.getOrder())
      return llm::columns(dispatch.getIds());
    if (isa<llm::MapOp, llm::SliceOp>(def))
      return rowsPerToken(def->getOperand(0));
    return 1;
  }
  for (Operation *user : v.getUsers()) {
    if (auto linear = dyn_cast<llm::ExpertLinearOp>(user))
      if (v == linear.getOrder() || (v == linear.getX() && linear.getGather() == 0))
        return linear.getTopK();
    if (auto combine = dyn_cast<llm::CombineExpertsOp>(user); combine && v == combine.getX())
      return llm::columns(combine.getPlace());
  }
  return 1;
}

SmallVector<StringRef> symbolsOf(OpBuilder &b, Value v) {
  auto type = cast<RankedTensorType>(v.getType());
  if (type.hasStaticShape())
    return {};
  auto state = [&](Value s) { return s == v; };
  if (Operation *maker = v.getDefiningOp())
    if (auto symbols = canvasSymbols(maker, v); !symbols.empty())
      return symbols;
  for (Operation *user : v.getUsers()) {
    if (auto symbols = canvasSymbols(user, v); !symbols.empty())
      return symbols;
    if (auto append = dyn_cast<llm::AppendOp>(user); append && state(append.getCache()))
      return {"SLOTS", append.getKeyBlock() ? "CTXB" : "CTX"};
    if (auto attention = dyn_cast<llm::AttentionOp>(user)) {
      if (state(attention.getKeys()))
        return {"SLOTS", "CTXB"};
      if (state(attention.getValues()))
        return {"SLOTS", "CTX"};
    }
    if (auto attention = dyn_cast<llm::LatentAttentionOp>(user); attention && state(attention.getCache()))
      return {"SLOTS", "CTX"};
    if (auto delta = dyn_cast<llm::DeltaRuleOp>(user); delta && state(delta.getState()))
      return {"SLOTS"};
    if (auto conv = dyn_cast<llm::ShortConvOp>(user); conv && state(conv.getTail()))
      return {"SLOTS"};
  }
  if (int64_t k = rowsPerToken(v); k > 1)
    return {b.getStringAttr(Twine(k) + "*T").getValue()};
  return {"T"};
}

StringRef pairRows(OpBuilder &b, llm::ExpertLinearOp op) {
  return op.getTopK() > 1 ? b.getStringAttr(Twine(op.getTopK()) + "*T").getValue() : StringRef("T");
}

bool hasOtherRows(Value v) {
  return llvm::any_of(v.getUsers(), [&](Operation *user) {
    if (auto select = dyn_cast<llm::SelectRowsOp>(user))
      return v == select.getX() || v == select.getFrom();
    if (auto attention = dyn_cast<llm::AttentionOp>(user))
      return v == attention.getSeen();
    if (auto next = dyn_cast<llm::NextRowsOp>(user))
      return v == next.getMost();
    if (auto open = dyn_cast<llm::OpenBlockOp>(user))
      return v == open.getSequences();
    auto regroup = dyn_cast<llm::RegroupRowsOp>(user);
    return regroup && (v == regroup.getX() || v == regroup.getFrom());
  });
}

std::optional<double> readShare(Value v) {
  for (Operation *user : v.getUsers()) {
    if (auto embed = dyn_cast<llm::EmbedOp>(user); embed && embed.getTable() == v)
      return 1.0 / cast<RankedTensorType>(v.getType()).getDimSize(0);
    if (auto linear = dyn_cast<llm::ExpertLinearOp>(user);
        linear && llvm::is_contained(linear.getWeights(), v))
      return double(linear.getTopK()) / cast<RankedTensorType>(v.getType()).getDimSize(0);
  }
  return std::nullopt;
}

} // namespace llmc
