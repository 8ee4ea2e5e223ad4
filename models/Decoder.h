// The decoder that many families share: pre-norm layers of grouped-query attention with rotary positions and
// a SwiGLU feed-forward, dense or of experts. Families differ in the fields of `Decoder`; nothing here knows
// a family.
#pragma once
#include "models/Family.h"
#include "models/Rope.h"

namespace llmc {

struct Decoder {
  int64_t vocab = 0, hidden = 0, layers = 0, heads = 0, kvHeads = 0, intermediate = 0;
  int64_t headWidth = 0; ///< heads * headWidth need not be `hidden`
  int64_t context = 0;
  double eps = 1e-6;
  bool tied = false;
  RopeScaling rope;

  bool queryKeyValueBias = false, outputBias = false, feedForwardBias = false;
  /// An RMS norm over each head of q and k, one weight for all heads, before the rotation.
  bool headNorms = false;
  /// Per layer: attention sees the last that many positions, the own one included; 0: all. Empty: 0 for every
  /// layer.
  std::vector<int64_t> windows;

  /// The feed-forward of layers that are in `layers`: a softmax router over all experts and the best `topK`,
  /// whose weights are divided by their sum if `renormalize`.
  struct Experts {
    int64_t count = 0, topK = 1, width = 1;
    bool renormalize = false;
    std::vector<bool> layers; ///< empty: none
  } experts;

  /// How the model writes by filling masks; none: one token after the other.
  std::optional<CanvasDecoding> canvas;
  /// How it draws patches of tokens, of which each is one position; none: tokens are positions.
  std::optional<PatchDecoding> patch;

  /// Names of tensors; of a layer's, what follows its prefix.
  struct Names {
    std::string layer = "model.layers.{}.";
    std::string inputNorm = "input_layernorm", feedForwardNorm = "post_attention_layernorm";
    std::string q = "self_attn.q_proj", k = "self_attn.k_proj", v = "self_attn.v_proj", o = "self_attn.o_proj";
    std::string gate = "mlp.gate_proj", up = "mlp.up_proj", down = "mlp.down_proj";
    std::string embedding = "model.embed_tokens", norm = "model.norm", head = "lm_head";
  } names;
};

/// What a family's configuration class takes for keys that are not in the file.
struct DecoderDefaults {
  int64_t context = 32768;
  std::optional<int64_t> headWidth; ///< none: hidden / heads
  const char *intermediate = "intermediate_size"; ///< the key of the dense feed-forward's width
};

/// Reads the keys that all these families share: sizes, heads, norms, activation, tied embedding, rotary
/// positions.
Decoder readDecoder(const ConfigReader &file, const DecoderDefaults &defaults);

/// Reads `use_sliding_window`, `sliding_window`, `max_window_layers` and `layer_types`: the window of each
/// layer, for `Decoder::windows`. Without `layer_types` the layers from `max_window_layers` (absent: 28) on
/// have the window.
std::vector<int64_t> readWindows(const ConfigReader &file, int64_t layers);

/// Reads the experts' keys of Qwen3-MoE configurations.
Decoder::Experts readQwen3Experts(const ConfigReader &file, int64_t layers);

/// The module, with the names of tensors that Hugging Face checkpoints of these families have.
absl::StatusOr<BuiltModel> buildDecoder(mlir::MLIRContext &context, const Decoder &decoder,
                                        const WeightType &weightType, const std::string &family);

} // namespace llmc
