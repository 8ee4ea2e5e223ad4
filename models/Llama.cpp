// Llama: grouped-query attention with rotary positions and a SwiGLU feed-forward.
#include "models/Family.h"
#include "models/Rope.h"
#include <cmath>

using namespace mlir;
namespace llmc {
namespace {

struct Config {
  int64_t vocab, hidden, layers, heads, kvHeads, width, intermediate, context;
  double eps;
  bool tied, attentionBias, mlpBias;
  RopeScaling rope;
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
  c.width = file.getIntOr("head_dim", c.hidden / c.heads, {2, 65536});
  if (c.width % 2)
    file.fail("head_dim", "must be even: rotary positions turn pairs");
  c.intermediate = file.getInt("intermediate_size");
  c.context = file.getIntOr("max_position_embeddings", 2048, {1, int64_t(1) << 40});
  c.eps = file.getFloatOr("rms_norm_eps", 1e-6, {0, 1});
  c.tied = file.getBoolOr("tie_word_embeddings", false);
  c.attentionBias = file.getBoolOr("attention_bias", false);
  c.mlpBias = file.getBoolOr("mlp_bias", false);
  if (file.getStringOr("hidden_act", "silu") != "silu")
    file.fail("hidden_act", "only silu is supported for this family");
  c.rope = readRopeScaling(file, c.width);
  absl::Status status = file.finish({"pretraining_tp", "max_position_embeddings"});
  if (!status.ok())
    return status;
  return c;
}

void attention(LayerBuilder &l, const Config &c) {
  int64_t d = c.hidden, n = c.heads * c.width, kv = c.kvHeads * c.width;
  Value x = l.rmsNorm(l.x, l.weight("input_layernorm.weight", {d}), c.eps);
  auto project = [&](Value in, const std::string &p, int64_t rows, int64_t columns) {
    Value weight = l.weight("self_attn." + p + "_proj.weight", {rows, columns});
    Value bias = c.attentionBias ? l.weight("self_attn." + p + "_proj.bias", {rows}) : Value();
    return l.linear(in, weight, bias);
  };
  Value q = project(x, "q", n, d), k = project(x, "k", kv, d), v = project(x, "v", kv, d);
  auto rotate = [&](Value z, int64_t heads) -> Value {
    return llm::RotaryOp::create(l.b, l.loc, z.getType(), z, l.shared, l.b.getI64IntegerAttr(heads));
  };
  q = rotate(q, c.heads);
  k = rotate(k, c.kvHeads);
  int64_t any = ShapedType::kDynamic;
  Value keys = l.state("keys", {any, any, kv, 32}, {"SLOTS", "CTXB"});
  keys = llm::AppendOp::create(l.b, l.loc, keys.getType(), k, keys, l.sequences, l.b.getI64IntegerAttr(32));
  l.setState("keys", keys);
  Value values = l.state("values", {any, any, kv}, {"SLOTS", "CTX"});
  values = llm::AppendOp::create(l.b, l.loc, values.getType(), v, values, l.sequences, IntegerAttr());
  l.setState("values", values);
  Value o = llm::AttentionOp::create(l.b, l.loc, l.rows(n), q, keys, values, l.sequences, l.b.getI64IntegerAttr(c.heads),
                                     l.b.getI64IntegerAttr(c.kvHeads), l.b.getF64FloatAttr(1.0 / std::sqrt((double)c.width)), IntegerAttr());
  l.x = l.add(project(o, "o", d, n), l.x);
}

void feedForward(LayerBuilder &l, const Config &c) {
  int64_t d = c.hidden, w = c.intermediate;
  Value x = l.rmsNorm(l.x, l.weight("post_attention_layernorm.weight", {d}), c.eps);
  auto project = [&](Value in, const std::string &p, int64_t rows, int64_t columns) {
    Value weight = l.weight("mlp." + p + "_proj.weight", {rows, columns});
    return l.linear(in, weight, c.mlpBias ? l.weight("mlp." + p + "_proj.bias", {rows}) : Value());
  };
  Value gate = project(x, "gate", w, d), up = project(x, "up", w, d);
  l.x = l.add(project(l.siluMul(gate, up), "down", d, w), l.x);
}

absl::StatusOr<BuiltModel> build(MLIRContext &context, const ConfigReader &file, const WeightType &weightType) {
  absl::StatusOr<Config> config = readConfig(file);
  if (!config.ok())
    return config.status();
  const Config &c = *config;
  ModelBuilder builder(&context, weightType);
  builder.setWidths(c.hidden, c.width);
  for (int64_t i = 0; i < c.layers; ++i)
    builder.layer("layer", i, "model.layers." + std::to_string(i) + ".", [&](LayerBuilder &l) {
      attention(l, c);
      feedForward(l, c);
    });
  ModelBuilder::Ends ends;
  ends.embedding = "model.embed_tokens.weight";
  ends.norm = "model.norm.weight";
  ends.head = c.tied ? ends.embedding : "lm_head.weight";
  ends.hidden = c.hidden;
  ends.eps = c.eps;
  ends.shared = [&](BlockBuilder &b, Value sequences) -> Value {
    return llm::RotaryTableOp::create(b.b, b.loc, b.rows(c.width), sequences,
                                      b.b.getDenseF32ArrayAttr(c.rope.inverseFrequencies(c.width)),
                                      b.b.getF64FloatAttr(c.rope.attentionFactor));
  };
  absl::StatusOr<BuiltModel> model = finishModel(builder, ends, {"llama", c.vocab, c.context});
  if (model.ok())
    for (int64_t i = 0; i < c.layers; ++i) // written by old converters
      model->ignorable.push_back("model.layers." + std::to_string(i) + ".self_attn.rotary_emb.inv_freq");
  return model;
}

} // namespace

extern const Family kLlama;
const Family kLlama = {"llama", build};

} // namespace llmc
