// LLaDA: a Llama that sees the whole canvas, and fills its masks block by block.
#include "models/Canvas.h"
#include "models/Decoder.h"

namespace llmc {

/// Options of the code that no published checkpoint uses, and that would change the mathematics.
static void refuseVariants(const ConfigReader &file) {
  auto must = [&](const std::string &key, bool wanted) {
    if (file.getBoolOr(key, wanted) != wanted)
      file.fail(key, std::string("only ") + (wanted ? "true" : "false") + " is supported for this family");
  };
  for (const char *key : {"include_bias", "include_qkv_bias", "bias_for_layer_norm", "attention_layer_norm", "input_emb_norm",
                          "scale_logits", "alibi"})
    must(key, false);
  must("rope", true);
  must("rope_full_precision", true);
  must("layer_norm_with_affine", true);
  auto word = [&](const std::string &key, const std::string &wanted) {
    if (file.getStringOr(key, wanted) != wanted)
      file.fail(key, "only " + wanted + " is supported for this family");
  };
  word("layer_norm_type", "rms");
  word("activation_type", "silu");
  word("block_type", "llama");
  if (file.getIntOr("block_group_size", 1) != 1)
    file.fail("block_group_size", "only 1 is supported for this family");
}

static absl::StatusOr<BuiltModel> build(mlir::MLIRContext &context, const ConfigReader &file,
                                        const WeightType &weightType) {
  Decoder c;
  refuseVariants(file);
  c.hidden = file.getInt("d_model");
  c.layers = file.getInt("n_layers", {1, 4096});
  c.heads = file.getInt("n_heads", {1, 4096});
  c.kvHeads = file.getIntOr("n_kv_heads", c.heads, {1, 4096});
  if (c.heads % c.kvHeads)
    file.fail("n_kv_heads", "must divide n_heads (" + std::to_string(c.heads) + ")");
  if (c.hidden % c.heads)
    file.fail("n_heads", "must divide d_model (" + std::to_string(c.hidden) + ")");
  c.headWidth = c.hidden / c.heads;
  c.intermediate = file.getInt("mlp_hidden_size");
  c.context = file.getInt("max_sequence_length", {1, int64_t(1) << 24});
  c.eps = file.getFloatOr("rms_norm_eps", 1e-5, {0, 1});
  c.tied = file.getBool("weight_tying");
  c.rope.theta = file.getFloat("rope_theta", {1, 1e12});
  // Rows of the table are padded: the head has as many.
  int64_t vocab = file.getInt("vocab_size");
  c.vocab = file.getIntOr("embedding_size", vocab, {vocab, std::numeric_limits<int32_t>::max()});
  c.canvas = fillBlockByBlock(file.getInt("mask_token_id", {0, c.vocab - 1}), c.context);
  if (absl::Status status = file.finish({"mlp_ratio", "alibi_bias_max", "multi_query_attention", "flash_attention", "attention_dropout",
                                         "residual_dropout", "embedding_dropout", "init_fn", "init_std", "init_device",
                                         "init_cutoff_factor", "precision", "use_cache"});
      !status.ok())
    return status;
  c.names.layer = "model.transformer.blocks.{}.";
  c.names.inputNorm = "attn_norm";
  c.names.feedForwardNorm = "ff_norm";
  c.names.q = "q_proj";
  c.names.k = "k_proj";
  c.names.v = "v_proj";
  c.names.o = "attn_out";
  c.names.gate = "ff_proj";
  c.names.up = "up_proj";
  c.names.down = "ff_out";
  c.names.embedding = "model.transformer.wte";
  c.names.norm = "model.transformer.ln_f";
  c.names.head = "model.transformer.ff_out";
  return buildDecoder(context, c, weightType, "llada");
}

extern const Family kLlada;
const Family kLlada = {"llada", "LLaDAModelLM", build};

} // namespace llmc
