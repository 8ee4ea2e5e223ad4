// Families from config.json alone: published sizes become modules with the published tensors, and what would
// change the mathematics without being understood is refused.
#include "models/Family.h"
#include "absl/strings/match.h"
#include <gtest/gtest.h>
#include <numeric>

using namespace mlir;
namespace llmc {
namespace {

struct Built {
  MLIRContext context;
  absl::StatusOr<BuiltModel> model = absl::UnknownError("not built");

  explicit Built(const std::string &text, const WeightType &type = [](StringRef) { return Type(); }) {
    auto config = ConfigReader::parse(text, "c");
    EXPECT_TRUE(config.ok()) << config.status();
    const Family *family = findFamily(config->getString("model_type"), config->getStringsOr("architectures", {""}).front());
    EXPECT_NE(family, nullptr);
    model = family->build(context, *config, type);
  }
  std::string message() const { return std::string(model.status().message()); }
  int64_t parameters() const {
    int64_t sum = 0;
    for (const TensorSpec &t : model->tensors) {
      int64_t size = 1;
      for (int64_t d : t.shape)
        size *= d;
      sum += size;
    }
    return sum;
  }
  /// Layer functions, which equal layers share.
  std::vector<std::string> kinds() const {
    std::vector<std::string> names;
    for (auto f : model->module.get().getOps<func::FuncOp>())
      if (f.isPrivate())
        names.push_back(f.getName().str());
    return names;
  }
  std::vector<int64_t> windows() const {
    std::vector<int64_t> list;
    model->module.get().walk([&](llm::AttentionOp op) { list.push_back(op.getWindow().value_or(0)); });
    return list;
  }
  const TensorSpec *tensor(const std::string &name) const {
    for (const TensorSpec &t : model->tensors)
      if (t.name == name)
        return &t;
    return nullptr;
  }
};

using Names = std::vector<std::string>;

const std::string kQwen25 =
    R"({"architectures":["Qwen2ForCausalLM"],"attention_dropout":0.0,"bos_token_id":151643,"eos_token_id":151645,
  "hidden_act":"silu","hidden_size":3584,"initializer_range":0.02,"intermediate_size":18944,"max_position_embeddings":32768,"max_window_layers":28,
  "model_type":"qwen2","num_attention_heads":28,"num_hidden_layers":28,"num_key_value_heads":4,"rms_norm_eps":1e-06,"rope_theta":1000000.0,
  "sliding_window":131072,"tie_word_embeddings":false,"torch_dtype":"bfloat16","transformers_version":"4.43.1","use_cache":true,"use_mrope":false,
  "use_sliding_window":false,"vocab_size":152064})";

const std::string kQwen3 =
    R"({"architectures":["Qwen3ForCausalLM"],"attention_bias":false,"attention_dropout":0.0,"bos_token_id":151643,
  "eos_token_id":151645,"head_dim":128,"hidden_act":"silu","hidden_size":1024,"initializer_range":0.02,"intermediate_size":3072,
  "max_position_embeddings":40960,"max_window_layers":28,"model_type":"qwen3","num_attention_heads":16,"num_hidden_layers":28,
  "num_key_value_heads":8,"rms_norm_eps":1e-06,"rope_scaling":null,"rope_theta":1000000,"sliding_window":null,"tie_word_embeddings":true,
  "torch_dtype":"bfloat16","transformers_version":"4.51.0","use_cache":true,"use_sliding_window":false,"vocab_size":151936})";

const std::string kQwen3Moe =
    R"({"architectures":["Qwen3MoeForCausalLM"],"attention_bias":false,"attention_dropout":0.0,"bos_token_id":151643,
  "decoder_sparse_step":1,"eos_token_id":151645,"head_dim":128,"hidden_act":"silu","hidden_size":2048,"initializer_range":0.02,
  "intermediate_size":6144,"max_position_embeddings":40960,"max_window_layers":48,"mlp_only_layers":[],"model_type":"qwen3_moe",
  "moe_intermediate_size":768,"norm_topk_prob":true,"num_attention_heads":32,"num_experts":128,"num_experts_per_tok":8,"num_hidden_layers":48,
  "num_key_value_heads":4,"output_router_logits":false,"rms_norm_eps":1e-06,"rope_scaling":null,"rope_theta":1000000.0,
  "router_aux_loss_coef":0.001,"sliding_window":null,"tie_word_embeddings":false,"torch_dtype":"bfloat16","transformers_version":"4.51.0",
  "use_cache":true,"use_sliding_window":false,"vocab_size":151936})";

const std::string kLlama31 =
    R"({"architectures":["LlamaForCausalLM"],"attention_bias":false,"attention_dropout":0.0,"bos_token_id":128000,
  "eos_token_id":[128001,128008,128009],"hidden_act":"silu","hidden_size":4096,"initializer_range":0.02,"intermediate_size":14336,
  "max_position_embeddings":131072,"mlp_bias":false,"model_type":"llama","num_attention_heads":32,"num_hidden_layers":32,"num_key_value_heads":8,
  "pretraining_tp":1,"rms_norm_eps":1e-05,"rope_scaling":{"factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,
  "original_max_position_embeddings":8192,"rope_type":"llama3"},"rope_theta":500000.0,"tie_word_embeddings":false,"torch_dtype":"bfloat16",
  "use_cache":true,"vocab_size":128256})";

const std::string kLlada8b =
    R"({"architectures":["LLaDAModelLM"],"model_type":"llada","d_model":4096,"n_layers":32,"n_heads":32,"n_kv_heads":32,
  "mlp_hidden_size":12288,"mlp_ratio":4,"activation_type":"silu","block_type":"llama","block_group_size":1,"weight_tying":false,
  "mask_token_id":126336,"eos_token_id":126081,"pad_token_id":126081,"use_cache":false,"vocab_size":126464,"embedding_size":126464,
  "max_sequence_length":4096,"rope":true,"rope_full_precision":true,"rope_theta":500000.0,"layer_norm_type":"rms",
  "rms_norm_eps":1e-05,"layer_norm_with_affine":true,"bias_for_layer_norm":false,"include_bias":false,"include_qkv_bias":false,
  "attention_layer_norm":false,"input_emb_norm":false,"scale_logits":false,"alibi":false,"alibi_bias_max":8.0,
  "flash_attention":false,"multi_query_attention":null,"attention_dropout":0.0,"residual_dropout":0.0,"embedding_dropout":0.0,
  "init_fn":"mitchell","init_std":0.02,"init_device":"meta","init_cutoff_factor":null,"precision":"amp_bf16",
  "transformers_version":"4.46.3"})";

const std::string kDream7b =
    R"({"architectures":["DreamModel"],"model_type":"Dream","vocab_size":152064,"hidden_size":3584,"intermediate_size":18944,
  "num_hidden_layers":28,"num_attention_heads":28,"num_key_value_heads":4,"rms_norm_eps":1e-06,"rope_theta":1000000.0,
  "rope_scaling":null,"max_position_embeddings":131072,"max_window_layers":28,"tie_word_embeddings":false,"use_sliding_window":false,
  "sliding_window":null,"mask_token_id":151666,"pad_token_id":151643,"bos_token_id":151643,"eos_token_id":151643,"hidden_act":"silu",
  "initializer_range":0.02,"attention_dropout":0.0,"use_cache":true,"torch_dtype":"bfloat16"})";

const std::string kLlada2Mini =
    R"({"architectures":["LLaDA2MoeModelLM"],"model_type":"llada2_moe","hidden_size":2048,"num_hidden_layers":20,"num_attention_heads":16,
  "num_key_value_heads":4,"head_dim":128,"intermediate_size":5120,"moe_intermediate_size":512,"num_experts":256,
  "num_experts_per_tok":8,"num_shared_experts":1,"first_k_dense_replace":1,"n_group":8,"topk_group":4,"routed_scaling_factor":2.5,
  "score_function":"sigmoid","moe_router_enable_expert_bias":true,"norm_topk_prob":true,"router_dtype":"fp32",
  "partial_rotary_factor":0.5,"rope_theta":600000,"rms_norm_eps":1e-06,"vocab_size":157184,"tie_word_embeddings":false,
  "use_bias":false,"use_qkv_bias":false,"use_qk_norm":true,"max_position_embeddings":16384,"pad_token_id":156892,"hidden_act":"silu",
  "torch_dtype":"bfloat16"})";

/// `text` with the first `from` replaced by `to`.
std::string with(std::string text, const std::string &from, const std::string &to) {
  size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(Family, published_sizes_have_the_published_tensors) {
  Built qwen25(kQwen25), qwen3(kQwen3), qwen3Moe(kQwen3Moe), llama31(kLlama31);
  for (Built *built : {&qwen25, &qwen3, &qwen3Moe, &llama31}) {
    ASSERT_TRUE(built->model.ok()) << built->message();
    EXPECT_EQ(built->kinds().size(), 1u);
    for (int64_t window : built->windows())
      EXPECT_EQ(window, 0);
  }
  EXPECT_EQ(qwen25.parameters(), 7615616512);
  EXPECT_EQ(qwen25.model->tensors.size(), 339u);
  EXPECT_EQ(qwen3.parameters(), 596049920);
  EXPECT_EQ(qwen3.model->tensors.size(), 310u);
  EXPECT_EQ(qwen3.model->ignorable, Names{"lm_head.weight"});
  EXPECT_EQ(qwen3Moe.parameters(), 30532122624);
  EXPECT_EQ(qwen3Moe.model->tensors.size(), 18867u);
  EXPECT_EQ(llama31.parameters(), 8030261248);
  EXPECT_EQ(llama31.model->tensors.size(), 291u);
  EXPECT_EQ(qwen3.model->facts.context, 40960);
  EXPECT_EQ(qwen3.tensor("model.layers.0.self_attn.q_proj.weight")->shape,
            (std::vector<int64_t>{2048, 1024}));
  EXPECT_EQ(qwen3Moe.tensor("model.layers.47.mlp.experts.127.down_proj.weight")->shape,
            (std::vector<int64_t>{2048, 768}));
}

TEST(Family, published_sizes_of_models_that_fill_masks) {
  Built llada(kLlada8b), dream(kDream7b), llada2(kLlada2Mini);
  for (Built *built : {&llada, &dream, &llada2})
    ASSERT_TRUE(built->model.ok()) << built->message();
  EXPECT_EQ(llada.parameters(), 8015581184);
  EXPECT_EQ(llada.model->tensors.size(), 291u);
  EXPECT_EQ(dream.parameters(), 7615616512);
  EXPECT_EQ(dream.model->tensors.size(), 339u);
  EXPECT_EQ(llada2.parameters(), 16255643392);
}

TEST(Family, fast_dllm_v2_is_a_qwen2_with_blocks) {
  std::string text = with(with(kQwen25, "\"model_type\":\"qwen2\"", "\"model_type\":\"Fast_dLLM_Qwen\",\"bd_size\":32"), "Qwen2ForCausalLM",
                          "Fast_dLLM_QwenForCausalLM");
  Built built(text);
  ASSERT_TRUE(built.model.ok()) << built.message();
  EXPECT_EQ(built.parameters(), 7615616512);
  EXPECT_EQ(built.model->tensors.size(), 339u);
  EXPECT_NE(Built(with(text, "\"bd_size\":32", "\"bd_size\":24")).message().find("key \"bd_size\" is 24: must divide 64"), std::string::npos);
  EXPECT_NE(Built(with(text, "\"use_sliding_window\":false", "\"use_sliding_window\":true")).message().find("a window is not defined"),
            std::string::npos);
}

TEST(Family, windows_follow_the_configuration) {
  std::string sliding =
      with(with(kQwen25, "\"use_sliding_window\":false", "\"use_sliding_window\":true"), "131072", "100");
  EXPECT_EQ(Built(sliding).windows(), std::vector<int64_t>{0}); // all layers come before max_window_layers
  Built last(with(sliding, "\"max_window_layers\":28", "\"max_window_layers\":27"));
  ASSERT_TRUE(last.model.ok()) << last.message();
  EXPECT_EQ(last.kinds(), (Names{"layer", "layer_window"}));
  EXPECT_EQ(last.windows(), (std::vector<int64_t>{0, 100}));

  std::string four = with(kQwen3, "\"num_hidden_layers\":28", "\"num_hidden_layers\":3");
  std::string types = R"("layer_types":["sliding_attention","full_attention","full_attention"])";
  std::string windowed = with(four, "\"sliding_window\":null", "\"sliding_window\":7," + types);
  EXPECT_EQ(Built(with(windowed, "\"use_sliding_window\":false", "\"use_sliding_window\":true")).windows(),
            (std::vector<int64_t>{7, 0}));
  EXPECT_EQ(Built(windowed).message(), "c: key \"layer_types\" is [\"sliding_attention\", "
                                       "\"full_attention\", \"full_attention\"]: layer 0 slides, but "
                                       "use_sliding_window is not true");
  EXPECT_EQ(
      Built(with(four, "\"sliding_window\":null", R"("layer_types":["full_attention","chunked_attention"])"))
          .message(),
      "c: key \"layer_types\" is [\"full_attention\", \"chunked_attention\"]: must have an entry for each of "
      "the 3 layers\n"
      "c: key \"layer_types\" is [\"full_attention\", \"chunked_attention\"]: layer 1 must be full_attention "
      "or sliding_attention");
}

TEST(Family, experts_stand_in_the_layers_that_the_configuration_says) {
  std::string six = with(kQwen3Moe, "\"num_hidden_layers\":48", "\"num_hidden_layers\":6");
  Built built(with(with(six, "\"decoder_sparse_step\":1", "\"decoder_sparse_step\":2"),
                   "\"mlp_only_layers\":[]", "\"mlp_only_layers\":[3,17]"));
  ASSERT_TRUE(built.model.ok()) << built.message();
  EXPECT_EQ(built.kinds(), (Names{"layer", "layer_experts"}));
  for (int64_t i = 0; i < 6; ++i) {
    std::string mlp = "model.layers." + std::to_string(i) + ".mlp.";
    bool sparse = i == 1 || i == 5;
    EXPECT_EQ(built.tensor(mlp + "gate.weight") != nullptr, sparse) << i;
    EXPECT_EQ(built.tensor(mlp + "gate_proj.weight") != nullptr, !sparse) << i;
  }
  Built local(with(kQwen3Moe, "num_experts\"", "num_local_experts\""));
  EXPECT_EQ(local.model->tensors.size(), 18867u);
  Built none(with(kQwen3Moe, "\"num_experts\":128", "\"num_experts\":0"));
  ASSERT_TRUE(none.model.ok()) << none.message();
  EXPECT_EQ(none.kinds(), Names{"layer"});
}

TEST(Family, experts_may_be_joined_in_two_tensors_layer_by_layer) {
  MLIRContext context;
  auto type = [&](StringRef name) -> Type {
    bool joined =
        name == "model.layers.1.mlp.experts.gate_up_proj" || name == "model.layers.1.mlp.experts.down_proj";
    return joined ? Type(Float32Type::get(&context)) : Type();
  };
  auto config =
      ConfigReader::parse(with(kQwen3Moe, "\"num_hidden_layers\":48", "\"num_hidden_layers\":3"), "c");
  auto model = findFamily("qwen3_moe")->build(context, *config, type);
  ASSERT_TRUE(model.ok()) << model.status();
  int64_t joined = 0, single = 0;
  for (const TensorSpec &t : model->tensors) {
    if (t.name == "model.layers.1.mlp.experts.gate_up_proj")
      EXPECT_EQ(t.shape, (std::vector<int64_t>{128, 1536, 2048}));
    if (t.name == "model.layers.1.mlp.experts.down_proj")
      EXPECT_EQ(t.shape, (std::vector<int64_t>{128, 2048, 768}));
    joined += absl::StrContains(t.name, ".mlp.experts.") && absl::StrContains(t.name, "layers.1.");
    single += absl::StrContains(t.name, ".mlp.experts.") && !absl::StrContains(t.name, "layers.1.");
  }
  EXPECT_EQ(joined, 2);
  EXPECT_EQ(single, 2 * 3 * 128);
}

TEST(Family, experts_of_a_layer_must_be_stored_alike) {
  MLIRContext context;
  auto type = [&](StringRef name) -> Type {
    if (name.ends_with("experts.5.up_proj.weight"))
      return Float16Type::get(&context);
    return BFloat16Type::get(&context);
  };
  auto config =
      ConfigReader::parse(with(kQwen3Moe, "\"mlp_only_layers\":[]", "\"mlp_only_layers\":[0]"), "c");
  // The type says yes to every name, also to joined ones: those are taken then, so they are left out here.
  auto model = findFamily("qwen3_moe")->build(context, *config, [&](StringRef name) {
    return name.ends_with("experts.gate_up_proj") ? Type() : type(name);
  });
  EXPECT_EQ(std::string(model.status().message()),
            "tensor \"model.layers.1.mlp.experts.5.up_proj.weight\" is not of the type of "
            "\"model.layers.1.mlp.experts.0.up_proj.weight\": experts of one "
            "layer must be stored alike; convert the checkpoint to one type");
}

/// AutoDeco over a base: its keys beside those of the base.
std::string autoDeco(const std::string &base, const std::string &own = "") {
  size_t at = base.find("\"model_type\":");
  return with(base, "\"model_type\":", "\"base_model_type\":")
      .insert(at, own + "\"model_type\":\"autodeco\",\"base_model_name_or_path\":\"x\",");
}

TEST(Family, autodeco_heads_have_the_published_sizes) {
  struct {
    std::string base;
    int64_t heads;
  } const kCases[] = {{kLlama31, 2099458}, {kQwen25, 1837314}, {kQwen3Moe, 1050882}};
  for (const auto &[base, heads] : kCases) {
    Built alone(base), built(autoDeco(base));
    ASSERT_TRUE(built.model.ok()) << built.message();
    EXPECT_EQ(built.parameters(), alone.parameters() + heads);
    EXPECT_EQ(built.model->tensors[0].name, "llm." + alone.model->tensors[0].name);
    EXPECT_EQ(built.kinds(), alone.kinds());
  }
  Built tied(autoDeco(kQwen3));
  ASSERT_TRUE(tied.model.ok()) << tied.message();
  EXPECT_EQ(tied.model->ignorable[0], "llm.lm_head.weight");
}

TEST(Family, autodeco_heads_follow_the_configuration) {
  auto widths = [](const std::string &own) {
    Built built(autoDeco(kQwen3, own));
    EXPECT_TRUE(built.model.ok()) << built.message();
    std::vector<int64_t> found;
    for (const char *name : {"temp_head.mlp.0.weight", "top_p_head.mlp.0.weight"})
      found.push_back(built.tensor(name) ? built.tensor(name)->shape[1] : 0);
    int statistics = 0;
    built.model->module->walk([&](llm::LogitStatisticsOp) { ++statistics; });
    found.push_back(statistics);
    return found;
  };
  using Found = std::vector<int64_t>;
  EXPECT_EQ(widths(""), (Found{1024, 1029, 1}));
  EXPECT_EQ(widths("\"use_enhanced_features\":false,"), (Found{1024, 1025, 0}));
  EXPECT_EQ(widths("\"enable_top_p_head\":false,"), (Found{1024, 0, 0}));
  EXPECT_EQ(widths("\"enable_temperature_head\":false,"), (Found{0, 1029, 1}));
}

TEST(Family, autodeco_stands_on_any_base_that_draws_from_logits) {
  Built built(autoDeco(kLlama31));
  ASSERT_TRUE(built.model.ok()) << built.message();
  ModuleOp module = built.model->module.get();
  auto advance = module.lookupSymbol<func::FuncOp>("advance");
  EXPECT_EQ(advance.getResultAttrOfType<StringAttr>(2, "llm.output").getValue(), "decoding");
  EXPECT_EQ(module->getAttrOfType<ArrayAttr>("llm.predicts").size(), 2u);
  EXPECT_EQ(built.model->facts.context, 131072);
}

TEST(Family, autodeco_refuses_what_does_not_fit) {
  const std::string kBases = "calm, difflm, Dream, Fast_dLLM_Qwen, kimi_linear, llada, llada2_moe, llada_moe, llama, qwen2, qwen3, qwen3_moe, sdar, sdar_moe";
  struct {
    std::string text, message;
  } const kCases[] = {
      {with(autoDeco(kQwen3), "\"base_model_type\":\"qwen3\"", "\"base_model_type\":\"mixtral\""),
       "c: key \"base_model_type\" is \"mixtral\": no family that llmc knows; it knows " + kBases},
      {with(autoDeco(kQwen3), "\"base_model_type\":\"qwen3\"", "\"base_model_type\":\"autodeco\""),
       "c: key \"base_model_type\" is \"autodeco\": no family that llmc knows; it knows " + kBases},
      {with(autoDeco(kQwen3), "\"base_model_type\":\"qwen3\",", ""),
       "c: key \"base_model_type\" is missing: expects a string; the file is incomplete or of another model "
       "family"},
      {autoDeco(kQwen3, "\"enable_temperature_head\":false,\"enable_top_p_head\":false,"),
       "c: key \"enable_top_p_head\" is false: one of the two heads must be enabled; without them this is the "
       "base model"},
      {autoDeco(kQwen3, "\"temperature_hidden_size\":2048,\"top_p_hidden_size\":1024,"),
       "c: key \"temperature_hidden_size\" is 2048: the hidden states of the base have 1024 columns; these "
       "heads belong to another base"},
      {autoDeco(kQwen3, "\"use_enhanced_features\":5,"),
       "c: key \"use_enhanced_features\": expects true or false, found 5"},
      {autoDeco(with(kQwen3, "\"hidden_act\":\"silu\"", "\"hidden_act\":\"gelu\"")),
       "c: key \"hidden_act\" is \"gelu\": only silu is supported for this family"},
  };
  for (const auto &broken : kCases)
    EXPECT_EQ(Built(broken.text).message(), broken.message);
  EXPECT_EQ(Built(autoDeco(kQwen3), [](StringRef name) -> Type {
              static MLIRContext context;
              return name.starts_with("temp_head.") ? Type(BFloat16Type::get(&context)) : Type();
            }).message(),
            "c: these are AutoDeco's heads alone; compile the base and give their directory with --heads=DIR");
}

TEST(Family, refuses_what_it_does_not_understand) {
  struct {
    std::string text, message;
  } const kCases[] = {
      {with(kQwen3, "\"num_key_value_heads\":8", "\"num_key_value_heads\":5"),
       "c: key \"num_key_value_heads\" is 5: must divide num_attention_heads (16)"},
      {with(kQwen25, "\"num_attention_heads\":28", "\"num_attention_heads\":12"),
       "c: key \"num_attention_heads\" is 12: must divide hidden_size (3584) where head_dim is absent"},
      {with(kQwen3, "\"head_dim\":128", "\"head_dim\":33"),
       "c: key \"head_dim\" is 33: rotary embedding expects an even head size, found 33"},
      {with(kQwen3, "\"hidden_act\":\"silu\"", "\"hidden_act\":\"gelu\""),
       "c: key \"hidden_act\" is \"gelu\": only silu is supported for this family"},
      {with(kQwen3, "\"rope_scaling\":null", R"("rope_scaling":{"rope_type":"dynamic","factor":2.0})"),
       "c: key \"rope_scaling.rope_type\" is \"dynamic\": this kind of rotary scaling is not supported; "
       "default, linear, llama3 and yarn are"},
      {with(kQwen25, "\"use_mrope\":false", "\"use_mrope\":true"),
       "c: key \"use_mrope\" is true: positions in several dimensions are not supported"},
      {with(kQwen3Moe, "\"num_experts_per_tok\":8", "\"num_experts_per_tok\":129"),
       "c: key \"num_experts_per_tok\" is 129: must be at most num_experts (128)"},
      {with(kQwen3Moe, "\"num_experts\":128", "\"num_experts\":128,\"num_local_experts\":64"),
       "c: key \"num_local_experts\" is 64: num_experts says 128; keep one of the two"},
      {with(kQwen3Moe, "\"num_experts\":128,", ""),
       "c: key \"num_experts\" is missing: expects an integer from 0 to 65536; the file is incomplete or of "
       "another model family"},
      {with(kQwen3Moe, "\"moe_intermediate_size\":768,", ""),
       "c: key \"moe_intermediate_size\" is missing: expects an integer of at least 1; the file is "
       "incomplete or of another model family"},
      {with(kQwen3Moe, "\"decoder_sparse_step\":1", "\"decoder_sparse_step\":0"),
       "c: key \"decoder_sparse_step\": expects an integer from 1 to 4096, found 0"},
      {with(with(kQwen3Moe, "\"use_sliding_window\":false", "\"use_sliding_window\":true"),
            "\"sliding_window\":null", "\"sliding_window\":512"),
       "c: key \"max_window_layers\" is 48: a window in some of the layers only is not defined for this "
       "family; max_window_layers 0 gives it to all"},
  };
  for (const auto &broken : kCases)
    EXPECT_EQ(Built(broken.text).message(), broken.message);
  const std::string kAdvice = "\nkeys that are not known could change the results: remove those without "
                              "effect, else the model is not supported";
  for (const auto &[text, key, value] : std::vector<std::array<std::string, 3>>{
           {kQwen25, "dual_chunk_attention_config", "{\"chunk_size\": 262144}"},
           {kQwen25, "attention_bias", "false"},
           {kQwen3, "logit_softcap", "30.0"},
           {kQwen3Moe, "shared_expert_intermediate_size", "5632"},
           {kLlama31, "sliding_window", "4096"}})
    EXPECT_EQ(Built(with(text, "{", "{\"" + key + "\":" + value + ",")).message(),
              "c: key \"" + key + "\" is not known for this model family, found " + value + kAdvice);
}

const std::string kCalmM =
    R"({"architectures":["EnergyTransformer"],"ae_path":"/checkpoints/autoencoder","attention_bias":false,"attention_dropout":0.0,"beta":1.0,
  "bos_token_id":128000,"eos_token_id":128001,"hidden_act":"silu","hidden_size":1024,"initializer_range":0.02,"intermediate_size":2752,
  "latent_size":128,"max_position_embeddings":2048,"mlp_bias":false,"model_type":"energy","noise_size":64,"num_attention_heads":16,
  "num_hidden_layers":16,"num_key_value_heads":16,"num_mlp_layers":4,"num_samples":8,"pad_token_id":128256,"patch_size":4,"pretraining_tp":1,
  "rms_norm_eps":1e-06,"rope_scaling":null,"rope_theta":10000.0,"temp":1.0,"tie_word_embeddings":false,"torch_dtype":"float32",
  "transformers_version":"4.43.0","use_cache":true,"vocab_size":128257})";

TEST(Calm, PublishedSizes) {
  Built built(kCalmM);
  ASSERT_TRUE(built.model.ok()) << built.message();
  int64_t autoencoder = 0;
  for (const TensorSpec &t : built.model->tensors)
    if (absl::StartsWith(t.name, "ae_model."))
      autoencoder += std::accumulate(t.shape.begin(), t.shape.end(), int64_t(1), std::multiplies<int64_t>());
  EXPECT_EQ(built.parameters() - autoencoder, 371732608);
  EXPECT_EQ(built.model->facts.context, 8192); // tokens, of 2048 patches
  EXPECT_EQ(built.kinds(), Names{"layer"});
  EXPECT_NE(built.tensor("mlp_generator.mlp_blocks.3.linears.4.weight"), nullptr);
  EXPECT_EQ(built.tensor("ae_model.encoder.squeeze_layer.weight"), nullptr); // of training
}

// What a draw reads of the hidden state is the same for all: outside of the loop there is one product for it in each block, inside none.
TEST(Calm, DrawsShareTheirContext) {
  Built built(kCalmM);
  ASSERT_TRUE(built.model.ok()) << built.message();
  auto advance = built.model->module->lookupSymbol<func::FuncOp>("advance");
  int shared = 0, inLoop = 0, drawn = 0;
  advance.walk([&](llm::LinearOp op) {
    auto type = cast<RankedTensorType>(op.getWeights().front().getType());
    if (type.getShape() != ArrayRef<int64_t>({1024, 2048}) || llm::columns(op.getX()) != 1024)
      return;
    bool isShared = op.getColumn() == 1024, isInLoop = !isa<func::FuncOp>(op->getParentOp());
    shared += isShared && !isInLoop;
    inLoop += isShared && isInLoop;
    drawn += !isShared && isInLoop;
  });
  EXPECT_EQ(shared, 4);
  EXPECT_EQ(inLoop, 0);
  EXPECT_EQ(drawn, 4);
}

TEST(Calm, RefusesWhatItCannotDo) {
  EXPECT_EQ(Built(with(kCalmM, "\"patch_size\":4", "\"patch_size\":3")).message(),
            "c: key \"patch_size\" is 3: only powers of two are supported, so that pieces of prompts end with a patch");
  EXPECT_EQ(Built(with(kCalmM, "\"model_type\":\"energy\"", "\"model_type\":\"flow\"")).message(),
            "c: key \"model_type\" is \"flow\": only the energy head is supported; of diffusion and flow heads no weights are published");
}

} // namespace
} // namespace llmc
