// LLaDA-MoE: experts behind a softmax router whose weights are not renormalised, norms over the heads of q and k; it sees the
// whole canvas. Its model_type is LLaDA's, so it is known by its architecture.
#include "models/Canvas.h"
#include "models/Decoder.h"

namespace llmc {

static Decoder::Experts readExperts(const ConfigReader &file, int64_t layers) {
  Decoder::Experts e;
  e.count = file.getInt("num_experts", {1, 65536});
  e.topK = file.getInt("num_experts_per_tok", {1, 4096});
  if (e.topK > e.count)
    file.fail("num_experts_per_tok", "must be at most num_experts (" + std::to_string(e.count) + ")");
  e.width = file.getInt("expert_intermediate_size");
  std::vector<int64_t> sparse = file.getInts("moe_layer_freq", {0, 1});
  if ((int64_t)sparse.size() != layers)
    file.fail("moe_layer_freq", "must have an entry for each of the " + std::to_string(layers) + " layers");
  for (int64_t i = 0; i < layers; ++i)
    e.layers.push_back(i < (int64_t)sparse.size() && sparse[i]);
  file.ignore("norm_topk_prob"); // the published code takes the weights as they are
  if (file.getStringOr("moe_router_score_function", "softmax") != "softmax")
    file.fail("moe_router_score_function", "only softmax is supported for this family");
  if (file.getBoolOr("moe_router_enable_expert_bias", false))
    file.fail("moe_router_enable_expert_bias", "only false is supported for this family");
  if (file.getIntOr("shared_expert_intermediate_size", 0, {0, 1 << 24}))
    file.fail("shared_expert_intermediate_size", "a shared expert is not supported for this family");
  for (const char *key : {"router_num_group", "router_topk_group"})
    if (file.getIntOr(key, 1, {0, 65536}) > 1)
      file.fail(key, "groups of experts are not supported for this family");
  if (file.getFloatOr("routed_scaling_factor", 1.0) != 1.0)
    file.fail("routed_scaling_factor", "only 1 is supported for this family");
  return e;
}

static absl::StatusOr<BuiltModel> build(mlir::MLIRContext &context, const ConfigReader &file,
                                        const WeightType &weightType) {
  DecoderDefaults defaults{/*context=*/8192, /*headWidth=*/{}};
  defaults.intermediate = "dense_intermediate_size";
  Decoder c = readDecoder(file, defaults);
  c.headNorms = file.getBoolOr("qk_layernorm", true);
  c.queryKeyValueBias = c.outputBias = file.getBoolOr("attention_bias", false);
  c.experts = readExperts(file, c.layers);
  if (file.getOptionalFloat("clip_qkv"))
    file.fail("clip_qkv", "clipping of q, k and v is not supported");
  if (file.getFloatOr("partial_rotary_factor", 1.0) != 1.0)
    file.fail("partial_rotary_factor", "only 1 is supported for this family");
  c.canvas = fillBlockByBlock(file.getIntOr("mask_token_id", 156895, {0, c.vocab - 1}), c.context);
  if (absl::Status status = file.finish(); !status.ok())
    return status;
  return buildDecoder(context, c, weightType, "llada_moe");
}

extern const Family kLladaMoe;
const Family kLladaMoe = {"llada_moe", "LLaDAMoEModelLM", build};

} // namespace llmc
