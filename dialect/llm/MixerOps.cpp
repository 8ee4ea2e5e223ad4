// Verifiers of the ops that mix along the sequence.
#include "dialect/llm/LlmDialect.h"
#include "mlir/IR/Builders.h"
#define GET_OP_CLASSES
#include "dialect/llm/MixerOps.cpp.inc"

using namespace mlir;
namespace llmc::llm {

static ArrayRef<int64_t> shape(Value v) { return cast<RankedTensorType>(v.getType()).getShape(); }

LogicalResult AppendOp::verify() {
  int64_t n = 0;
  for (Value v : getInputs())
    n += columns(v);
  auto cache = shape(getCache());
  if (getKeyBlock() ? cache.size() != 4 || cache[2] != n || cache[3] != (int64_t)*getKeyBlock()
                    : cache.size() != 3 || cache[2] != n)
    return emitOpError("expects a cache of ") << n << " columns, got " << getCache().getType();
  if (getCache().getType() != getUpdated().getType())
    return emitOpError("expects the updated cache to keep its type");
  return success();
}

LogicalResult AttentionOp::verify() {
  int64_t heads = getHeads(), kv = getKvHeads();
  if (heads % kv != 0)
    return emitOpError("expects kv_heads that divide heads, got ") << kv << " and " << heads;
  if (columns(getQ()) % heads != 0)
    return emitOpError("expects q columns that are a multiple of heads");
  auto keys = shape(getKeys());
  int64_t d = columns(getQ()) / heads;
  if (keys.size() != 4 || keys[2] != kv * d || keys[3] != 32)
    return emitOpError("expects keys [B, CTX/32, ") << kv * d << ", 32], got " << getKeys().getType();
  if (columns(getValues()) % kv != 0 || columns(getResult()) != columns(getValues()) / kv * heads)
    return emitOpError("expects values and result of matching head width");
  if (getWindow() && (getBlock() || getSeen()))
    return emitOpError("expects a window alone, without block and seen");
  return success();
}

LogicalResult LatentAttentionOp::verify() {
  int64_t heads = getHeads();
  if (columns(getQ()) != heads * (int64_t)(getNope() + getRope()))
    return emitOpError("expects q of heads * (nope + rope) columns, got ") << getQ().getType();
  if (shape(getUp()).size() != 2 || shape(getUp())[0] % heads != 0 || getValueWidth() <= 0)
    return emitOpError("expects up [heads * (nope + v), r], got ") << getUp().getType();
  if (columns(getCache()) != getLatent() + (int64_t)getRope())
    return emitOpError("expects a cache of ")
           << getLatent() + (int64_t)getRope() << " columns, got " << getCache().getType();
  if (columns(getResult()) != heads * getValueWidth())
    return emitOpError("expects a result of ")
           << heads * getValueWidth() << " columns, got " << getResult().getType();
  if (getForm() != "absorbed" && getForm() != "expanded")
    return emitOpError("expects form absorbed or expanded, got ") << getForm();
  return success();
}

LogicalResult ShortConvOp::verify() {
  auto weight = shape(getWeight()), tail = shape(getTail());
  if (weight.front() != columns(getX()) || tail.size() != 3 || tail[1] != weight.back() - 1 ||
      tail[2] != columns(getX()))
    return emitOpError("expects weight [N, 1, W] and tail [B, W-1, N] for N = ")
           << columns(getX()) << ", got " << getWeight().getType() << " and " << getTail().getType();
  return success();
}

LogicalResult DecayGateOp::verify() {
  if (elements(getDtBias()) != columns(getF()) || columns(getF()) % elements(getALog()) != 0)
    return emitOpError("expects dt_bias [H K] and a_log [H] for H K = ") << columns(getF());
  return success();
}

LogicalResult DeltaRuleOp::verify() {
  auto state = shape(getState());
  if (state.size() != 4 || llvm::any_of(state.drop_front(), [](int64_t n) { return n <= 0; }))
    return emitOpError("expects a state [B, H, K, V], got ") << getState().getType();
  int64_t h = state[1], k = state[2], v = state[3];
  if (columns(getQ()) != h * k || columns(getK()) != h * k || columns(getG()) != h * k ||
      columns(getV()) != h * v || columns(getBeta()) != h || columns(getResult()) != h * v)
    return emitOpError("expects columns that match the state ") << getState().getType();
  if (getForm() != "chunk" && getForm() != "step")
    return emitOpError("expects form chunk or step, got ") << getForm();
  return success();
}

} // namespace llmc::llm
