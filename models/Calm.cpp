// CALM (arXiv 2510.27688): an autoencoder maps K tokens to one vector and back; a Llama over such patches ends in a head that draws
// the next vector from noise in one shot. There is no softmax over tokens and no likelihood.
//
//      tokens ─► embed, join K, two linears, layer norm ─► Llama, position = patch ─► c
//      head:    x = LN(W noise), y = LN(W c); blocks x += W_d (silu(g) p), (g, p) = MLP([LN(x); y]); latent = MLP(LN(x))
//      decoder: latent ─► linear ─► layers ─► expand to K rows ─► layers ─► norm ─► logits by the tied table ─► argmax
//
// The first linear of a block is W_a LN(x) + W_b y, of which the second half, with its bias, is the same for all draws from one c.
#include "models/Decoder.h"
#include "models/PatchPrograms.h"

using namespace mlir;
namespace llmc {
namespace {

constexpr double kNormEps = 1e-6; // of all layer norms, whatever rms_norm_eps says
using Weights = PatchDecoding::Weights;

/// y = x W^T + b.
Value affine(BlockBuilder &b, const Weights &w, Value x, const std::string &name, int64_t rows, int64_t columns) {
  return b.linear(x, w(name + ".weight", {rows, columns}), w(name + ".bias", {rows}));
}

Value layerNorm(BlockBuilder &b, const Weights &w, Value x, const std::string &name) {
  return b.layerNorm(x, w(name + ".weight", {llm::columns(x)}), w(name + ".bias", {llm::columns(x)}), kNormEps);
}

//===-- autoencoder ---------------------------------------------------------------------------------------===//

struct Autoencoder {
  std::string prefix; ///< of its tensors
  std::string table;  ///< the tensor of embeddings, which is the decoder's head as well
  int64_t vocab = 128257, hidden = 512, intermediate = 1280, latent = 128, patch = 4;
  int64_t encoderLayers = 2, decoderLayers = 2;
  double eps = 1e-6;
};

constexpr const char *kTables[] = {"encoder.embed_tokens.weight", "decoder.lm_head_weight"};

/// The table is stored under either name, or under both.
void findTable(Autoencoder &a, const WeightType &weightType) {
  a.table = a.prefix + kTables[!weightType(a.prefix + kTables[0]) && weightType(a.prefix + kTables[1])];
}

Autoencoder readAutoencoder(const ConfigReader &file) {
  Autoencoder a;
  a.vocab = file.getInt("vocab_size");
  a.hidden = file.getInt("hidden_size");
  a.intermediate = file.getInt("intermediate_size");
  a.latent = file.getInt("latent_size");
  a.patch = readPatch(file);
  a.encoderLayers = file.getIntOr("num_encoder_layers", 2, {2, 256});
  a.decoderLayers = file.getIntOr("num_decoder_layers", 2, {2, 256});
  for (auto [key, layers] : {std::pair("num_encoder_layers", a.encoderLayers), std::pair("num_decoder_layers", a.decoderLayers)})
    if (layers % 2)
      file.fail(key, "must be even: half of the layers work on tokens, half on patches");
  a.eps = file.getFloatOr("rms_norm_eps", 1e-6, {0, 1});
  if (file.getBoolOr("mlp_bias", false))
    file.fail("mlp_bias", "only false is supported for this family");
  if (file.getStringOr("hidden_act", "silu") != "silu")
    file.fail("hidden_act", "only silu is supported for this family");
  for (const char *key : {"ae_dropout", "kl_clamp", "kl_weight", "tie_word_embeddings"}) // of training; the table is tied always
    file.ignore(key);
  return a;
}

Value aeLayer(BlockBuilder &b, const Weights &w, Value x, const Autoencoder &a, const std::string &name) {
  Value n = b.rmsNorm(x, w(name + ".layernorm.weight", {a.hidden}), a.eps);
  // Weights first, so that the two products can become one.
  Value gate = w(name + ".mlp.gate_proj.weight", {a.intermediate, a.hidden}), up = w(name + ".mlp.up_proj.weight", {a.intermediate, a.hidden});
  Value gated = b.linear(n, gate), raised = b.linear(n, up);
  return b.add(b.linear(b.siluMul(gated, raised), w(name + ".mlp.down_proj.weight", {a.hidden, a.intermediate})), x);
}

Value aeLayers(BlockBuilder &b, const Weights &w, Value x, const Autoencoder &a, const std::string &names, int64_t from, int64_t to) {
  for (int64_t i = from; i < to; ++i)
    x = aeLayer(b, w, x, a, a.prefix + names + "_layers." + std::to_string(i));
  return x;
}

void addEncoder(PatchDecoding &how, const Autoencoder &a) {
  how.encodeTokens = [a](BlockBuilder &b, const Weights &w, Value x) {
    return aeLayers(b, w, x, a, "encoder.encoder", 0, a.encoderLayers / 2);
  };
  how.encodePatches = [a](BlockBuilder &b, const Weights &w, Value x) {
    x = affine(b, w, x, a.prefix + "encoder.squeeze_layer", a.hidden, a.patch * a.hidden);
    x = aeLayers(b, w, x, a, "encoder.encoder", a.encoderLayers / 2, a.encoderLayers);
    x = b.rmsNorm(x, w(a.prefix + "encoder.norm.weight", {a.hidden}), a.eps);
    x = affine(b, w, x, a.prefix + "encoder.hidden_to_latent", 2 * a.latent, a.hidden);
    return b.slice(x, 0, a.latent); // the mean; beside it stands the log of the deviation
  };
}

void addDecoder(PatchDecoding &how, const Autoencoder &a) {
  how.expand = [a](BlockBuilder &b, const Weights &w, Value x) {
    x = affine(b, w, x, a.prefix + "decoder.latent_to_hidden", a.hidden, a.latent);
    x = aeLayers(b, w, x, a, "decoder.decoder", 0, a.decoderLayers / 2);
    return affine(b, w, x, a.prefix + "decoder.expand_layer", a.patch * a.hidden, a.hidden);
  };
  how.decode = [a](BlockBuilder &b, const Weights &w, Value x) {
    x = aeLayers(b, w, x, a, "decoder.decoder", a.decoderLayers / 2, a.decoderLayers);
    return b.linear(b.rmsNorm(x, w(a.prefix + "decoder.norm.weight", {a.hidden}), a.eps), w(a.table, {a.vocab, a.hidden}));
  };
}

/// Names of the encoder that a language model does not read, and of the table's other copy.
void ignoreEncoder(std::vector<std::string> &ignorable, const Autoencoder &a) {
  std::string e = a.prefix + "encoder.";
  for (int64_t i = 0; i < a.encoderLayers; ++i)
    for (const char *part : {"layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"})
      ignorable.push_back(e + "encoder_layers." + std::to_string(i) + "." + part + ".weight");
  ignorable.push_back(e + "norm.weight");
  for (const char *part : {"squeeze_layer.weight", "squeeze_layer.bias", "hidden_to_latent.weight", "hidden_to_latent.bias"})
    ignorable.push_back(e + part);
}
void ignoreTables(std::vector<std::string> &ignorable, const Autoencoder &a) {
  for (const char *table : kTables)
    if (a.prefix + table != a.table)
      ignorable.push_back(a.prefix + table);
}

/// The autoencoder alone: `score` gives the logits of its reconstruction.
absl::StatusOr<BuiltModel> buildAutoencoder(MLIRContext &context, const ConfigReader &file, const WeightType &weightType) {
  Autoencoder a = readAutoencoder(file);
  if (absl::Status status = file.finish(); !status.ok())
    return status;
  findTable(a, weightType);
  ModelBuilder builder(&context, weightType);
  builder.setWidths(a.hidden, 0);
  ModelBuilder::Ends ends;
  ends.embedding = ends.head = a.table;
  ends.hidden = a.hidden;
  ends.patch.emplace();
  ends.patch->patch = a.patch;
  addEncoder(*ends.patch, a);
  addDecoder(*ends.patch, a);
  absl::StatusOr<BuiltModel> model = finishModel(builder, ends, {"autoencoder", a.vocab, /*context=*/1 << 20});
  if (model.ok())
    ignoreTables(model->ignorable, a);
  return model;
}

//===-- language model ------------------------------------------------------------------------------------===//

struct Head {
  std::string prefix = "mlp_generator.";
  int64_t hidden = 0, noise = 0, blocks = 0, latent = 0;
  std::string block(int64_t i) const { return prefix + "mlp_blocks." + std::to_string(i) + "."; }
};

void addHead(PatchDecoding &how, const Head &h) {
  int64_t n = h.hidden;
  how.noise = h.noise;
  // Side by side, what each block adds because of y.
  how.context = [h, n](BlockBuilder &b, const Weights &w, Value c) -> Value {
    Value y = layerNorm(b, w, affine(b, w, c, h.prefix + "hidden_embd", n, n), h.prefix + "norm_hidden");
    SmallVector<Value> weights, biases, parts; // weights first, so that the products can become one
    for (int64_t i = 0; i < h.blocks; ++i) {
      weights.push_back(w(h.block(i) + "linears.0.weight", {n, 2 * n}));
      biases.push_back(w(h.block(i) + "linears.0.bias", {n}));
    }
    for (auto [weight, bias] : llvm::zip(weights, biases))
      parts.push_back(b.add(b.linear(y, weight, /*column=*/n), bias));
    return llm::ConcatOp::create(b.b, b.loc, b.rows(n * h.blocks), parts);
  };
  how.draw = [h, n](BlockBuilder &b, const Weights &w, Value noise, Value context) {
    Value x = layerNorm(b, w, affine(b, w, noise, h.prefix + "noise_embd", n, h.noise), h.prefix + "norm_noise");
    for (int64_t i = 0; i < h.blocks; ++i) {
      std::string p = h.block(i);
      Value inner = b.linear(layerNorm(b, w, x, p + "in_ln"), w(p + "linears.0.weight", {n, 2 * n}));
      inner = b.silu(b.add(inner, b.slice(context, i * n, n)));
      inner = b.silu(affine(b, w, inner, p + "linears.2", n, n));
      Value both = affine(b, w, inner, p + "linears.4", 2 * n, n);
      Value gated = b.siluMul(b.slice(both, 0, n), b.slice(both, n, n));
      x = b.add(affine(b, w, gated, p + "down_proj", n, n), x);
    }
    std::string p = h.prefix + "final_layer.";
    Value inner = b.silu(affine(b, w, layerNorm(b, w, x, p + "in_ln"), p + "linears.0", n, n));
    return affine(b, w, inner, p + "linears.2", h.latent, n);
  };
}

/// The head is stored under two names.
void ignoreHead(std::vector<std::string> &ignorable, const Head &h) {
  std::string other = h.prefix == "mlp_generator." ? "generative_head." : "mlp_generator.";
  std::vector<std::string> parts = {"noise_embd", "hidden_embd", "norm_hidden", "norm_noise", "final_layer.in_ln", "final_layer.linears.0",
                                    "final_layer.linears.2"};
  for (int64_t i = 0; i < h.blocks; ++i)
    for (const char *part : {"in_ln", "linears.0", "linears.2", "linears.4", "down_proj"})
      parts.push_back("mlp_blocks." + std::to_string(i) + "." + part);
  for (const std::string &part : parts)
    for (const char *kind : {".weight", ".bias"})
      ignorable.push_back(other + part + kind);
}

struct Calm {
  Decoder decoder;
  Head head;
  int64_t filler = 0;
};

Calm readCalm(const ConfigReader &file) {
  Calm m;
  m.decoder = readDecoder(file, {/*context=*/2048, /*headWidth=*/{}});
  m.decoder.queryKeyValueBias = m.decoder.outputBias = file.getBoolOr("attention_bias", false);
  m.decoder.feedForwardBias = file.getBoolOr("mlp_bias", false);
  m.decoder.names.layer = "transformer.layers.{}.";
  m.decoder.names.embedding = "transformer.embed_tokens";
  m.decoder.names.norm = "transformer.norm";
  m.head.hidden = m.decoder.hidden;
  m.head.noise = file.getInt("noise_size");
  m.head.blocks = file.getInt("num_mlp_layers", {1, 256});
  m.head.latent = file.getInt("latent_size");
  m.filler = file.getInt("pad_token_id", {0, m.decoder.vocab - 1});
  if (std::string kind = file.getStringOr("model_type", "energy"); kind != "energy")
    file.fail("model_type", "only the energy head is supported; of diffusion and flow heads no weights are published");
  for (const char *key : {"ae_path", "beta", "temp", "num_samples", "tie_word_embeddings"}) // of training; there is no head to tie
    file.ignore(key);
  return m;
}

absl::StatusOr<BuiltModel> buildCalm(MLIRContext &context, const ConfigReader &file, Calm m, Autoencoder a, const WeightType &weightType) {
  findTable(a, weightType);
  if (!weightType("mlp_generator.noise_embd.weight") && weightType("generative_head.noise_embd.weight"))
    m.head.prefix = "generative_head.";
  int64_t d = m.decoder.hidden, k = a.patch;
  PatchDecoding how;
  how.patch = k;
  how.filler = m.filler;
  how.settings = settingsOfDraws();
  how.compress = [d, k](BlockBuilder &b, const Weights &w, Value x) {
    Value inner = b.silu(affine(b, w, x, "embed_proj.0", 2 * d, k * d));
    return layerNorm(b, w, affine(b, w, inner, "embed_proj.2", d, 2 * d), "embed_proj.3");
  };
  addHead(how, m.head);
  addDecoder(how, a);
  m.decoder.patch = how;
  m.decoder.context *= k;
  absl::StatusOr<BuiltModel> model = buildDecoder(context, m.decoder, weightType, "calm");
  if (!model.ok())
    return model;
  ignoreEncoder(model->ignorable, a);
  ignoreTables(model->ignorable, a);
  ignoreHead(model->ignorable, m.head);
  return model;
}

/// The language model with the copy of the autoencoder that its checkpoint holds. Of that the configuration says nothing: it is the
/// published one.
absl::StatusOr<BuiltModel> build(MLIRContext &context, const ConfigReader &file, const WeightType &weightType) {
  Calm m = readCalm(file);
  Autoencoder a;
  a.prefix = "ae_model.";
  a.vocab = m.decoder.vocab;
  a.latent = m.head.latent;
  a.patch = readPatch(file);
  if (absl::Status status = file.finish(); !status.ok())
    return status;
  if (weightType("transformer.norm.weight") && !weightType("ae_model.decoder.norm.weight"))
    return absl::InvalidArgumentError(file.fileName() + ": this checkpoint has no autoencoder in it (ae_model.*); give the autoencoder's "
                                                        "directory with --autoencoder=DIR");
  return buildCalm(context, file, std::move(m), a, weightType);
}

/// The two directories as released. `base` is the language model's.
absl::StatusOr<BuiltModel> buildOver(MLIRContext &context, const ConfigReader &base, const ConfigReader &own, const WeightType &weightType) {
  if (base.getStringOr("model_type", "") != "energy" && base.getStringsOr("architectures", {}) != std::vector<std::string>{"EnergyTransformer"})
    return absl::InvalidArgumentError(base.fileName() + ": an autoencoder belongs to a CALM language model (architecture EnergyTransformer)");
  Calm m = readCalm(base);
  Autoencoder a = readAutoencoder(own);
  auto check = [&](const char *key, int64_t here, int64_t there) {
    if (here != there)
      own.fail(key, "the language model in " + base.fileName() + " has " + std::to_string(there) + "; they belong to different models");
  };
  check("vocab_size", a.vocab, m.decoder.vocab);
  check("latent_size", a.latent, m.head.latent);
  check("patch_size", a.patch, readPatch(base));
  for (const ConfigReader *file : {&base, &own})
    if (absl::Status status = file->finish(); !status.ok())
      return status;
  absl::StatusOr<BuiltModel> model = buildCalm(context, base, std::move(m), a, weightType);
  if (!model.ok())
    return model;
  Autoencoder copy = a; // beside the one given, the checkpoint may hold its own
  copy.prefix = "ae_model.";
  ignoreEncoder(model->ignorable, copy);
  ignoreTables(model->ignorable, copy);
  std::vector<TensorSpec> tensors = model->tensors;
  for (const TensorSpec &tensor : tensors)
    if (llvm::StringRef(tensor.name).starts_with("decoder.") || llvm::StringRef(tensor.name).starts_with("encoder."))
      model->ignorable.push_back(copy.prefix + tensor.name);
  return model;
}

} // namespace

int64_t readPatch(const ConfigReader &file) {
  int64_t patch = file.getInt("patch_size", {1, 32});
  if (patch & (patch - 1))
    file.fail("patch_size", "only powers of two are supported, so that pieces of prompts end with a patch");
  return patch;
}

extern const Family kAutoencoder, kCalm;
const Family kAutoencoder = {"autoencoder", nullptr, buildAutoencoder, buildOver};
const Family kCalm = {"calm", "EnergyTransformer", build};

} // namespace llmc
