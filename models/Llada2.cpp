// LLaDA2.0 and 2.1: the Ling-2.0 backbone (queries, keys and values in one projection, norms over heads, rotation of a part of
// their channels, experts in groups behind a sigmoid router) that fills blocks of 32 positions.
#include "models/Canvas.h"
#include "models/Family.h"
#include "models/Rope.h"
#include <cmath>

using namespace mlir;
namespace llmc {
namespace {

constexpr int64_t kBlock = 32; // of all published checkpoints; not in their configuration
constexpr int64_t kMask = 156895;

struct Config {
  int64_t vocab, hidden, layers, heads, kvHeads, width, intermediate, context, rotated, mask;
  double eps;
  bool tied;
  RopeScaling rope;
  int64_t experts, topK, sharedExperts, expertWidth, firstDense, groups, topGroups;
  double routedScale;
  bool renormalize, biased, headNorms;
  std::string scoring;
};

absl::StatusOr<Config> readConfig(const ConfigReader &file) {
  Config c;
  c.vocab = file.getInt("vocab_size");
  c.hidden = file.getInt("hidden_size");
  c.layers = file.getInt("num_hidden_layers", {1, 4096});
  c.heads = file.getInt("num_attention_heads", {1, 4096});
  c.kvHeads = file.getIntOr("num_key_value_heads", c.heads, {1, 4096});
  if (c.heads % c.kvHeads)
    file.fail("num_key_value_heads", "must divide num_attention_heads (" + std::to_string(c.heads) + ")");
  c.width = file.getIntOr("head_dim", std::max<int64_t>(2, c.hidden / c.heads), {2, 65536});
  c.intermediate = file.getInt("intermediate_size");
  c.context = file.getInt("max_position_embeddings", {1, int64_t(1) << 40});
  c.eps = file.getFloatOr("rms_norm_eps", 1e-6, {0, 1});
  c.tied = file.getBoolOr("tie_word_embeddings", false);
  c.headNorms = file.getBoolOr("use_qk_norm", true);
  if (file.getStringOr("hidden_act", "silu") != "silu")
    file.fail("hidden_act", "only silu is supported for this family");
  for (const char *key : {"use_bias", "use_qkv_bias"})
    if (file.getBoolOr(key, false))
      file.fail(key, "only false is supported for this family");
  double part = 1;
  c.rope = readRopeScaling(file, c.width, &part);
  c.rotated = (int64_t)(c.width * part) / 2 * 2;
  if (c.rotated < 2)
    file.fail("partial_rotary_factor", "leaves no channels to rotate");
  c.mask = file.getIntOr("mask_token_id", std::min(kMask, c.vocab - 1), {0, c.vocab - 1});

  c.experts = file.getInt("num_experts", {1, 65536});
  c.topK = file.getInt("num_experts_per_tok", {1, 4096});
  c.sharedExperts = file.getIntOr("num_shared_experts", 0, {0, 4096});
  c.expertWidth = file.getInt("moe_intermediate_size");
  c.firstDense = file.getIntOr("first_k_dense_replace", 0, {0, 4096});
  c.groups = file.getIntOr("n_group", 1);
  c.topGroups = file.getIntOr("topk_group", 1);
  if (c.experts % c.groups || c.topGroups > c.groups)
    file.fail("n_group", "must divide num_experts and be at least topk_group");
  else if (c.topK > c.experts / c.groups * c.topGroups)
    file.fail("topk_group", "leaves fewer experts than num_experts_per_tok");
  c.routedScale = file.getFloatOr("routed_scaling_factor", 1.0);
  c.renormalize = file.getBoolOr("norm_topk_prob", true);
  c.biased = file.getBoolOr("moe_router_enable_expert_bias", true);
  c.scoring = file.getStringOr("score_function", "sigmoid");
  if (c.scoring != "sigmoid" && c.scoring != "softmax")
    file.fail("score_function", "must be sigmoid or softmax");
  for (const char *key : {"moe_shared_expert_intermediate_size", "num_nextn_predict_layers"})
    if (file.has(key))
      file.ignore(key);
  absl::Status status = file.finish({"router_dtype", "output_router_logits", "router_aux_loss_coef", "embedding_dropout",
                                     "output_dropout", "norm_head", "norm_softmax", "use_sliding_window", "sliding_window",
                                     "max_window_layers", "router_type", "mtp_loss_scaling_factor"});
  if (!status.ok())
    return status;
  return c;
}

void attention(LayerBuilder &l, const Config &c) {
  int64_t d = c.hidden, n = c.heads * c.width, kv = c.kvHeads * c.width, any = ShapedType::kDynamic;
  OpBuilder &b = l.b;
  Value x = l.rmsNorm(l.x, l.weight("input_layernorm.weight", {d}), c.eps);
  Value all = l.linear(x, l.weight("attention.query_key_value.weight", {n + 2 * kv, d}));
  Value q = l.slice(all, 0, n), k = l.slice(all, n, kv), v = l.slice(all, n + kv, kv);
  if (c.headNorms) {
    q = l.rmsNorm(q, l.weight("attention.query_layernorm.weight", {c.width}), c.eps);
    k = l.rmsNorm(k, l.weight("attention.key_layernorm.weight", {c.width}), c.eps);
  }
  auto rotate = [&](Value z, int64_t heads) -> Value {
    return llm::RotaryOp::create(b, l.loc, z.getType(), z, l.shared, b.getI64IntegerAttr(heads));
  };
  Value keys = l.state("keys", {any, any, kv, 32}, {"SLOTS", "CTXB"});
  keys = llm::AppendOp::create(b, l.loc, keys.getType(), rotate(k, c.kvHeads), keys, l.sequences, b.getI64IntegerAttr(32));
  l.setState("keys", keys);
  Value values = l.state("values", {any, any, kv}, {"SLOTS", "CTX"});
  values = llm::AppendOp::create(b, l.loc, values.getType(), v, values, l.sequences, IntegerAttr());
  l.setState("values", values);
  Value o = llm::AttentionOp::create(b, l.loc, l.rows(n), rotate(q, c.heads), keys, values, /*seen=*/Value(), l.sequences,
                                     b.getI64IntegerAttr(c.heads), b.getI64IntegerAttr(c.kvHeads),
                                     b.getF64FloatAttr(1.0 / std::sqrt((double)c.width)), IntegerAttr(),
                                     b.getI64IntegerAttr(kBlock));
  l.x = l.add(l.linear(o, l.weight("attention.dense.weight", {d, n})), l.x);
}

Value dense(LayerBuilder &l, Value x, const std::string &prefix, int64_t d, int64_t width) {
  Value gate = l.linear(x, l.weight(prefix + "gate_proj.weight", {width, d}));
  Value up = l.linear(x, l.weight(prefix + "up_proj.weight", {width, d}));
  return l.linear(l.siluMul(gate, up), l.weight(prefix + "down_proj.weight", {d, width}));
}

void feedForward(LayerBuilder &l, const Config &c, bool hasExperts, bool isMerged) {
  int64_t d = c.hidden, w = c.expertWidth, e = c.experts;
  Value x = l.rmsNorm(l.x, l.weight("post_attention_layernorm.weight", {d}), c.eps);
  if (!hasExperts) {
    l.x = l.add(dense(l, x, "mlp.", d, c.intermediate), l.x);
    return;
  }
  Value logits = l.linear(x, l.weight("mlp.gate.weight", {e, d}));
  BlockBuilder::Routing routing = {c.topK, c.scoring, c.renormalize, c.routedScale, c.groups, c.topGroups};
  if (c.biased)
    routing.bias = l.weight("mlp.gate.expert_bias", {e});
  auto experts = [&](const std::string &p, int64_t rows, int64_t columns) {
    return isMerged ? l.weight("mlp.experts." + p, {e, rows, columns})
                    : l.stackedWeight("mlp.experts.{}." + p + ".weight", e, {rows, columns});
  };
  Value gate = experts("gate_proj", w, d), up = experts("up_proj", w, d), down = experts("down_proj", d, w);
  Value routed = l.experts(x, logits, routing, gate, up, down);
  if (c.sharedExperts)
    l.x = l.add(dense(l, x, "mlp.shared_experts.", d, w * c.sharedExperts), l.x);
  l.x = l.add(routed, l.x);
}

absl::StatusOr<BuiltModel> build(MLIRContext &context, const ConfigReader &file, const WeightType &weightType) {
  absl::StatusOr<Config> config = readConfig(file);
  if (!config.ok())
    return config.status();
  const Config &c = *config;
  ModelBuilder builder(&context, weightType);
  builder.setWidths(c.hidden, c.rotated);
  for (int64_t i = 0; i < c.layers; ++i) {
    bool hasExperts = i >= c.firstDense;
    std::string prefix = "model.layers." + std::to_string(i) + ".";
    bool isMerged = hasExperts && builder.has(prefix + "mlp.experts.gate_proj");
    builder.layer(!hasExperts ? "layer" : isMerged ? "layer_merged_experts" : "layer_experts", i, prefix, [&](LayerBuilder &l) {
      attention(l, c);
      feedForward(l, c, hasExperts, isMerged);
    });
  }
  ModelBuilder::Ends ends;
  ends.embedding = "model.word_embeddings.weight";
  ends.norm = "model.norm.weight";
  ends.head = c.tied ? ends.embedding : "lm_head.weight";
  ends.hidden = c.hidden;
  ends.eps = c.eps;
  ends.canvas = fillAndEditBlocks(c.mask, kBlock, /*threshold=*/0.95);
  ends.shared = [&](BlockBuilder &b, Value sequences) -> Value {
    return llm::RotaryTableOp::create(b.b, b.loc, b.rows(c.rotated), sequences,
                                      b.b.getDenseF32ArrayAttr(c.rope.inverseFrequencies(c.rotated)),
                                      b.b.getF64FloatAttr(c.rope.attentionFactor));
  };
  return finishModel(builder, ends, {"llada2_moe", c.vocab, c.context});
}

} // namespace

extern const Family kLlada2;
const Family kLlada2 = {"llada2_moe", nullptr, build};

} // namespace llmc
