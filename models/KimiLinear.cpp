// Kimi Linear: gated delta rule layers (KDA) and latent attention layers (MLA, no positions), dense and
// expert feed-forwards. Source: the technical report arXiv 2510.26692 and the published checkpoint's
// config.json.
#include "models/Family.h"
#include <cmath>

using namespace mlir;
namespace llmc {
namespace {

struct Config {
  int64_t vocab, hidden, layers, heads, intermediate, context;
  double eps;
  bool tied;
  // KDA
  std::vector<int64_t> kdaLayers, mlaLayers; // 1-based, as in the file
  int64_t kdaHeads, kdaWidth, conv;
  // MLA
  int64_t latent, nope, rope, value, qRank;
  // experts; 0 experts: every layer is dense
  int64_t experts, topK, sharedExperts, expertWidth, firstDense, moeFrequency, groups, topGroups;
  bool renormalize;
  std::string scoring;
  double routedScale;
};

/// How published text is split before byte pairs are merged. Han never joins Latin; words end where the case
/// changes.
constexpr const char *kSplitPattern =
    R"([\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

/// The class default of the latent norm; published code does not pass the configured value.
constexpr double kLatentEps = 1e-6;

absl::StatusOr<Config> readConfig(const ConfigReader &file) {
  Config c;
  c.vocab = file.getInt("vocab_size");
  c.hidden = file.getInt("hidden_size");
  c.layers = file.getInt("num_hidden_layers", {1, 4096});
  c.heads = file.getInt("num_attention_heads", {1, 4096});
  if (file.getIntOr("num_key_value_heads", c.heads) != c.heads)
    file.fail("num_key_value_heads",
              "must equal num_attention_heads: latent attention expands one key per head");
  c.intermediate = file.getInt("intermediate_size");
  c.eps = file.getFloatOr("rms_norm_eps", 1e-6, {0, 1});
  c.tied = file.getBoolOr("tie_word_embeddings", false);
  c.context =
      file.getIntOr(file.presentKey({"model_max_length", "max_position_embeddings"}), 1048576, kContextRange);
  if (file.getStringOr("hidden_act", "silu") != "silu")
    file.fail("hidden_act", "only silu is supported for this family");

  ConfigReader linear = file.getObject("linear_attn_config");
  c.kdaLayers = linear.getInts("kda_layers");
  c.mlaLayers = linear.getInts("full_attn_layers");
  c.kdaWidth = linear.getInt("head_dim", {1, 4096});
  c.kdaHeads = linear.getInt("num_heads", {1, 4096});
  c.conv = linear.getIntOr("short_conv_kernel_size", 4, {2, 64});
  const bool areRead = file.status().ok(); // else the lists are not those of the file
  std::vector<int> seen(c.layers + 1, 0);
  for (const auto *list : {&c.kdaLayers, &c.mlaLayers})
    for (int64_t i : *list) {
      if (i > c.layers || seen[i]++)
        linear.fail(list == &c.kdaLayers ? "kda_layers" : "full_attn_layers",
                    "layer " + std::to_string(i) + (i > c.layers ? " does not exist" : " is listed twice") +
                        " (numbers start at 1)");
    }
  for (int64_t i = 1; i <= c.layers; ++i)
    if (areRead && !seen[i])
      linear.fail("kda_layers",
                  "layer " + std::to_string(i) + " is in neither kda_layers nor full_attn_layers");

  c.latent = file.getIntOr("kv_lora_rank", 512);
  c.nope = file.getIntOr("qk_nope_head_dim", 128);
  c.rope = file.getIntOr("qk_rope_head_dim", 64);
  c.value = file.getIntOr("v_head_dim", 128);
  c.qRank = file.getIntOr("q_lora_rank", 0, {0, IntRange().max});
  const bool hasNoPositions = file.getBoolOr("mla_use_nope", false);
  if (!c.mlaLayers.empty() && !hasNoPositions)
    file.fail("mla_use_nope", "must be true: this family's latent attention has no positions");

  c.experts = file.getIntOr("num_experts", 0, {0, 65536});
  c.topK = file.getIntOr(file.presentKey({"num_experts_per_token", "num_experts_per_tok"}), 1, {1, 4096});
  c.sharedExperts = file.getIntOr("num_shared_experts", 0, {0, 4096});
  c.expertWidth = file.getIntOr("moe_intermediate_size", 1);
  c.firstDense = file.getIntOr("first_k_dense_replace", 0, {0, 4096});
  c.moeFrequency = file.getIntOr("moe_layer_freq", 1);
  c.groups = file.getIntOr("num_expert_group", 1);
  c.topGroups = file.getIntOr("topk_group", 1);
  if (!file.getBoolOr("use_grouped_topk", true))
    c.groups = c.topGroups = 1;
  c.renormalize = file.getBoolOr("moe_renormalize", true);
  c.scoring = file.getStringOr("moe_router_activation_func", "sigmoid");
  if (c.scoring != "sigmoid" && c.scoring != "softmax")
    file.fail("moe_router_activation_func", "must be sigmoid or softmax");
  c.routedScale = file.getFloatOr("routed_scaling_factor", 1.0);
  checkExperts(file, "num_experts", c.layers, c.experts);
  if (c.experts) {
    if (c.topK > c.experts)
      file.fail("num_experts_per_token", "must be at most num_experts");
    if (c.experts % c.groups || c.topGroups > c.groups)
      file.fail("num_expert_group", "must divide num_experts and be at least topk_group");
    else if (c.topK > c.experts / c.groups * c.topGroups)
      file.fail("topk_group", "leaves fewer experts than num_experts_per_token");
  }
  if (auto next = file.getIntOr("num_nextn_predict_layers", 0, {0, 64}); next != 0)
    file.fail("num_nextn_predict_layers", "next-token prediction layers are not supported");
  absl::Status status =
      file.finish({"head_dim", "rope_theta", "rope_scaling", "rope_parameters", "model_max_length",
                   "max_position_embeddings", "aux_loss_alpha", "seq_aux", "router_aux_loss_coef"});
  if (!status.ok())
    return status;
  return c;
}

/// x + W_o norm(delta_rule(...)): steps 1 to 10 of the KDA block.
void kdaAttention(LayerBuilder &l, const Config &c) {
  int64_t d = c.hidden, h = c.kdaHeads, k = c.kdaWidth, n = h * k;
  Value norm = l.weight("input_layernorm.weight", {d});
  Value x = l.rmsNorm(l.x, norm, c.eps);

  auto projected = [&](StringRef p) {
    return l.linear(x, l.weight(("self_attn." + p + "_proj.weight").str(), {n, d}));
  };
  Value q = projected("q"), key = projected("k"), v = projected("v");
  auto convolved = [&](Value z, StringRef p) {
    Value weight = l.weight(("self_attn." + p + "_conv1d.weight").str(), {n, c.conv}, {{n, 1, c.conv}});
    std::string stateName = ("conv_" + p).str();
    Value tail = l.state(stateName, {ShapedType::kDynamic, c.conv - 1, n}, {"SLOTS"});
    auto op = llm::ShortConvOp::create(l.b, l.loc, z.getType(), tail.getType(), z, weight, tail, l.sequences);
    l.setState(stateName, op.getUpdated());
    return op.getResult();
  };
  q = l.l2Norm(convolved(q, "q"), h, 1e-6, 1.0 / std::sqrt((double)k));
  key = l.l2Norm(convolved(key, "k"), h, 1e-6);
  v = convolved(v, "v");

  Value aLog = l.weight("self_attn.A_log", {h}, {{1, 1, h, 1}, {h, 1}}, l.f32());
  Value dtBias = l.weight("self_attn.dt_bias", {n}, {}, l.f32());
  Value fDown = l.linear(x, l.weight("self_attn.f_a_proj.weight", {k, d}));
  Value f = l.linear(fDown, l.weight("self_attn.f_b_proj.weight", {n, k}));
  Value gate = llm::DecayGateOp::create(l.b, l.loc, f.getType(), f, aLog, dtBias);
  Value beta = l.sigmoid(l.linear(x, l.weight("self_attn.b_proj.weight", {h, d})));
  Value zDown = l.linear(x, l.weight("self_attn.g_a_proj.weight", {k, d}));
  Value z = l.linear(zDown, l.weight("self_attn.g_b_proj.weight", {n, k}));

  Value state = l.state("kda", {ShapedType::kDynamic, h, k, k}, {"SLOTS"});
  auto delta =
      llm::DeltaRuleOp::create(l.b, l.loc, v.getType(), state.getType(), q, key, v, gate, beta, state,
                               l.sequences, l.b.getStringAttr("chunk"), l.b.getI64IntegerAttr(16));
  l.setState("kda", delta.getUpdated());
  Value o = l.rmsNorm(delta.getResult(), l.weight("self_attn.o_norm.weight", {k}), c.eps, z);
  l.x = l.add(l.linear(o, l.weight("self_attn.o_proj.weight", {d, n})), l.x);
}

void latentAttention(LayerBuilder &l, const Config &c) {
  int64_t d = c.hidden, h = c.heads, r = c.latent, qk = c.nope + c.rope;
  Value x = l.rmsNorm(l.x, l.weight("input_layernorm.weight", {d}), c.eps);
  Value q;
  if (c.qRank) {
    Value down = l.linear(x, l.weight("self_attn.q_a_proj.weight", {c.qRank, d}));
    down = l.rmsNorm(down, l.weight("self_attn.q_a_layernorm.weight", {c.qRank}), kLatentEps);
    q = l.linear(down, l.weight("self_attn.q_b_proj.weight", {h * qk, c.qRank}));
  } else {
    q = l.linear(x, l.weight("self_attn.q_proj.weight", {h * qk, d}));
  }
  Value down = l.linear(x, l.weight("self_attn.kv_a_proj_with_mqa.weight", {r + c.rope, d}));
  Value latent = l.rmsNorm(l.slice(down, 0, r), l.weight("self_attn.kv_a_layernorm.weight", {r}), kLatentEps);
  Value keyPart = l.slice(down, r, c.rope); // shared by all heads, not normalised, not rotated
  Value cache = l.state("latent", {ShapedType::kDynamic, ShapedType::kDynamic, r + c.rope}, {"SLOTS", "CTX"});
  cache = llm::AppendOp::create(l.b, l.loc, cache.getType(), ValueRange{latent, keyPart}, cache, l.sequences,
                                IntegerAttr());
  l.setState("latent", cache);
  Value up = l.weight("self_attn.kv_b_proj.weight", {h * (c.nope + c.value), r});
  Value o = llm::LatentAttentionOp::create(
      l.b, l.loc, l.rows(h * c.value), q, cache, up, l.sequences, l.b.getI64IntegerAttr(h),
      l.b.getI64IntegerAttr(c.nope), l.b.getI64IntegerAttr(c.rope),
      l.b.getF64FloatAttr(1.0 / std::sqrt((double)qk)), l.b.getStringAttr("absorbed"));
  l.x = l.add(l.linear(o, l.weight("self_attn.o_proj.weight", {d, h * c.value})), l.x);
}

void denseFeedForward(LayerBuilder &l, Value x, const std::string &prefix, int64_t d, int64_t width) {
  Value gate = l.linear(x, l.weight(prefix + "gate_proj.weight", {width, d}));
  Value up = l.linear(x, l.weight(prefix + "up_proj.weight", {width, d}));
  l.x = l.add(l.linear(l.siluMul(gate, up), l.weight(prefix + "down_proj.weight", {d, width})), l.x);
}

void feedForward(LayerBuilder &l, const Config &c, bool moe) {
  int64_t d = c.hidden, w = c.expertWidth, e = c.experts, k = c.topK;
  Value x = l.rmsNorm(l.x, l.weight("post_attention_layernorm.weight", {d}), c.eps);
  if (!moe)
    return denseFeedForward(l, x, "mlp.", d, c.intermediate);

  const std::string p = "block_sparse_moe.";
  Value logits = l.linear(x, l.weight(p + "gate.weight", {e, d}));
  BlockBuilder::Routing routing = {k,        c.scoring,  c.renormalize && k > 1, c.routedScale,
                                   c.groups, c.topGroups};
  routing.bias = l.weight(p + "gate.e_score_correction_bias", {e});
  Value gate = l.stackedWeight(p + "experts.{}.w1.weight", e, {w, d}),
        up = l.stackedWeight(p + "experts.{}.w3.weight", e, {w, d});
  Value down = l.stackedWeight(p + "experts.{}.w2.weight", e, {d, w});
  Value routed = l.experts(x, logits, routing, gate, up, down);
  if (c.sharedExperts)
    denseFeedForward(l, x, p + "shared_experts.", d, w * c.sharedExperts);
  l.x = l.add(routed, l.x);
}

absl::StatusOr<BuiltModel> build(MLIRContext &context, const ConfigReader &file,
                                 const WeightType &weightType) {
  absl::StatusOr<Config> config = readConfig(file);
  if (!config.ok())
    return config.status();
  const Config &c = *config;
  ModelBuilder builder(&context, weightType);
  builder.setWidths(c.hidden, 0);
  std::vector<bool> isKda(c.layers + 1, false);
  for (int64_t i : c.kdaLayers)
    isKda[i] = true;
  for (int64_t i = 0; i < c.layers; ++i) {
    bool kda = isKda[i + 1];
    bool moe = c.experts && i >= c.firstDense && i % c.moeFrequency == 0;
    builder.layer(std::string(kda ? "kda" : "mla") + (moe ? "_experts" : "_dense"), i,
                  "model.layers." + std::to_string(i) + ".", [&](LayerBuilder &l) {
                    kda ? kdaAttention(l, c) : latentAttention(l, c);
                    feedForward(l, c, moe);
                  });
  }
  ModelBuilder::Ends ends;
  ends.embedding = "model.embed_tokens.weight";
  ends.norm = "model.norm.weight";
  ends.head = c.tied ? ends.embedding : "lm_head.weight";
  ends.hidden = c.hidden;
  ends.eps = c.eps;
  absl::StatusOr<BuiltModel> model = finishModel(builder, ends, {"kimi_linear", c.vocab, c.context});
  if (model.ok()) {
    model->tiktokenPattern = kSplitPattern;
    model->tiktokenSpecials = 258;
  }
  return model;
}

} // namespace

extern const Family kKimiLinear;
const Family kKimiLinear = {"kimi_linear", nullptr, build};

} // namespace llmc
