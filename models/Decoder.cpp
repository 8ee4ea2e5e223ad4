// See Decoder.h.
#include "models/Decoder.h"
#include <cmath>

using namespace mlir;
namespace llmc {

Decoder readDecoder(const ConfigReader &file, const DecoderDefaults &defaults) {
  Decoder c;
  c.vocab = file.getInt("vocab_size");
  c.hidden = file.getInt("hidden_size");
  c.layers = file.getInt("num_hidden_layers", {1, 4096});
  c.heads = file.getInt("num_attention_heads", {1, 4096});
  c.kvHeads = file.getIntOr("num_key_value_heads", c.heads, {1, 4096});
  if (c.heads % c.kvHeads)
    file.fail("num_key_value_heads", "must divide num_attention_heads (" + std::to_string(c.heads) + ")");
  if (file.status().ok() && !file.has("head_dim") && !defaults.headWidth && c.hidden % c.heads)
    file.fail("num_attention_heads",
              "must divide hidden_size (" + std::to_string(c.hidden) + ") where head_dim is absent");
  c.headWidth = file.getIntOr("head_dim", defaults.headWidth.value_or(c.hidden / c.heads), {2, 65536});
  c.intermediate = file.getInt(defaults.intermediate);
  c.context = file.getIntOr("max_position_embeddings", defaults.context, kContextRange);
  c.eps = file.getFloatOr("rms_norm_eps", 1e-6, {0, 1});
  c.tied = file.getBoolOr("tie_word_embeddings", false);
  if (file.getStringOr("hidden_act", "silu") != "silu")
    file.fail("hidden_act", "only silu is supported for this family");
  c.rope = readRopeScaling(file, c.headWidth); // refuses odd widths
  return c;
}

std::vector<int64_t> readWindows(const ConfigReader &file, int64_t layers) {
  bool use = file.getBoolOr("use_sliding_window", false);
  if (!use) { // then these mean nothing, whatever they say
    file.ignore("sliding_window");
    file.ignore("max_window_layers");
  }
  int64_t window = use ? file.getIntOr("sliding_window", 4096) : 0;
  int64_t first = use ? file.getIntOr("max_window_layers", 28, {0, 1 << 20}) : layers;
  std::vector<int64_t> windows(layers, 0);
  for (int64_t i = first; i < layers; ++i)
    windows[i] = window;
  if (!file.has("layer_types"))
    return windows;
  std::vector<std::string> types = file.getStringsOr("layer_types", {});
  if ((int64_t)types.size() != layers)
    file.fail("layer_types", "must have an entry for each of the " + std::to_string(layers) + " layers");
  for (int64_t i = 0; i < std::min<int64_t>(layers, types.size()); ++i) {
    bool slides = types[i] == "sliding_attention";
    if (!slides && types[i] != "full_attention")
      file.fail("layer_types", "layer " + std::to_string(i) + " must be full_attention or sliding_attention");
    else if (slides && !use)
      file.fail("layer_types", "layer " + std::to_string(i) + " slides, but use_sliding_window is not true");
    windows[i] = slides ? window : 0;
  }
  return windows;
}

namespace {

void attention(LayerBuilder &l, const Decoder &c, int64_t window) {
  int64_t d = c.hidden, n = c.heads * c.headWidth, kv = c.kvHeads * c.headWidth, any = ShapedType::kDynamic;
  OpBuilder &b = l.b;
  Value x = l.rmsNorm(l.x, l.weight(c.names.inputNorm + ".weight", {d}), c.eps);
  auto project = [&](Value in, const std::string &p, int64_t rows, int64_t columns, bool bias) {
    Value weight = l.weight(p + ".weight", {rows, columns});
    return l.linear(in, weight, bias ? l.weight(p + ".bias", {rows}) : Value());
  };
  Value q = project(x, c.names.q, n, d, c.queryKeyValueBias);
  Value k = project(x, c.names.k, kv, d, c.queryKeyValueBias);
  Value v = project(x, c.names.v, kv, d, c.queryKeyValueBias);
  if (c.headNorms) {
    q = l.rmsNorm(q, l.weight("self_attn.q_norm.weight", {c.headWidth}), c.eps);
    k = l.rmsNorm(k, l.weight("self_attn.k_norm.weight", {c.headWidth}), c.eps);
  }
  auto rotate = [&](Value z, int64_t heads) -> Value {
    return llm::RotaryOp::create(b, l.loc, z.getType(), z, l.shared, b.getI64IntegerAttr(heads));
  };
  q = rotate(q, c.heads);
  k = rotate(k, c.kvHeads);
  Value keys = l.state("keys", {any, any, kv, 32}, {"SLOTS", "CTXB"});
  keys = llm::AppendOp::create(b, l.loc, keys.getType(), k, keys, l.sequences, b.getI64IntegerAttr(32));
  l.setState("keys", keys);
  Value values = l.state("values", {any, any, kv}, {"SLOTS", "CTX"});
  values = llm::AppendOp::create(b, l.loc, values.getType(), v, values, l.sequences, IntegerAttr());
  l.setState("values", values);
  bool hasBlocks = c.canvas && c.canvas->block;
  Value o = llm::AttentionOp::create(b, l.loc, l.rows(n), q, keys, values, l.seen, l.sequences, b.getI64IntegerAttr(c.heads), b.getI64IntegerAttr(c.kvHeads),
                                     b.getF64FloatAttr(1.0 / std::sqrt((double)c.headWidth)),
                                     window ? b.getI64IntegerAttr(window) : IntegerAttr(),
                                     hasBlocks ? b.getI64IntegerAttr(*c.canvas->block) : IntegerAttr());
  l.x = l.add(project(o, c.names.o, d, n, c.outputBias), l.x);
}

void denseFeedForward(LayerBuilder &l, const Decoder &c, Value x) {
  int64_t d = c.hidden, w = c.intermediate;
  auto project = [&](Value in, const std::string &p, int64_t rows, int64_t columns) {
    Value weight = l.weight(p + ".weight", {rows, columns});
    return l.linear(in, weight, c.feedForwardBias ? l.weight(p + ".bias", {rows}) : Value());
  };
  Value gate = project(x, c.names.gate, w, d), up = project(x, c.names.up, w, d);
  l.x = l.add(project(l.siluMul(gate, up), c.names.down, d, w), l.x);
}

/// Writers store the experts one by one, or all of a layer in two tensors, gate and up one below the other.
void expertFeedForward(LayerBuilder &l, const Decoder &c, Value x, bool joined) {
  int64_t d = c.hidden, e = c.experts.count, w = c.experts.width;
  Value logits = l.linear(x, l.weight("mlp.gate.weight", {e, d}));
  Value gate, up, down;
  if (joined) {
    Value both = l.weight("mlp.experts.gate_up_proj", {e, 2 * w, d});
    gate = l.weightRows(both, e, 0, w);
    up = l.weightRows(both, e, w, w);
    down = l.weight("mlp.experts.down_proj", {e, d, w});
  } else {
    gate = l.stackedWeight("mlp.experts.{}.gate_proj.weight", e, {w, d});
    up = l.stackedWeight("mlp.experts.{}.up_proj.weight", e, {w, d});
    down = l.stackedWeight("mlp.experts.{}.down_proj.weight", e, {d, w});
  }
  l.x = l.add(l.experts(x, logits, {c.experts.topK, "softmax", c.experts.renormalize}, gate, up, down), l.x);
}

} // namespace

absl::StatusOr<BuiltModel> buildDecoder(MLIRContext &context, const Decoder &c, const WeightType &weightType,
                                        const std::string &family) {
  ModelBuilder builder(&context, weightType);
  builder.setWidths(c.hidden, c.headWidth);
  if (c.canvas && (!c.canvas->block || c.canvas->narrowsSteps))
    builder.seeBeyondRows();
  for (int64_t i = 0; i < c.layers; ++i) {
    auto [before, after] = StringRef(c.names.layer).split("{}");
    std::string prefix = (before + Twine(i) + after).str();
    int64_t window = c.windows.empty() ? 0 : c.windows[i];
    bool experts = !c.experts.layers.empty() && c.experts.layers[i],
         joined = experts && builder.has(prefix + "mlp.experts.gate_up_proj");
    std::string kind = "layer";
    kind += window ? "_window" : "";
    kind += joined ? "_joined_experts" : experts ? "_experts" : "";
    builder.layer(kind, i, prefix, [&](LayerBuilder &l) {
      attention(l, c, window);
      Value x = l.rmsNorm(l.x, l.weight(c.names.feedForwardNorm + ".weight", {c.hidden}), c.eps);
      experts ? expertFeedForward(l, c, x, joined) : denseFeedForward(l, c, x);
    });
  }
  ModelBuilder::Ends ends;
  ends.embedding = c.names.embedding + ".weight";
  ends.norm = c.names.norm + ".weight";
  ends.head = c.tied ? ends.embedding : c.names.head + ".weight";
  ends.canvas = c.canvas;
  ends.patch = c.patch;
  ends.hidden = c.hidden;
  ends.eps = c.eps;
  ends.shared = [&](BlockBuilder &b, Value sequences) -> Value {
    return llm::RotaryTableOp::create(b.b, b.loc, b.rows(c.headWidth), sequences,
                                      b.b.getDenseF32ArrayAttr(c.rope.inverseFrequencies(c.headWidth)),
                                      b.b.getF64FloatAttr(c.rope.attentionFactor));
  };
  return finishModel(builder, ends, {family, c.vocab, c.context});
}

} // namespace llmc
