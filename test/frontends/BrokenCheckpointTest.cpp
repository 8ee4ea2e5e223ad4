// Broken checkpoint directories, each made from a good one by one change, and the whole message that the
// import gives. The rules of single files are in SafetensorsTest.cpp; here they are met on the way of `llmc
// compile`.
#include "frontends/huggingface/Import.h"
#include "mlir/IR/MLIRContext.h"
#include "test/frontends/TempDirectory.h"

#include <functional>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sstream>
#include <sys/stat.h>
#include <unistd.h>

namespace llmc {
namespace {

using Json = nlohmann::ordered_json;

/// A copy of a checkpoint and the ways to break it.
class Copy : public TempDirectory {
public:
  explicit Copy(const std::string &good) {
    std::filesystem::copy(LLMC_GOLDEN + good, path);
    std::filesystem::permissions(path, std::filesystem::perms(0755)); // for who is not root
  }
  std::string read(const std::string &name) const {
    std::ifstream in(*this / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void remove(const std::string &name) const { std::filesystem::remove_all(*this / name); }
  void cut(const std::string &name, size_t bytes) const { std::filesystem::resize_file(*this / name, bytes); }
  void becomeDirectory(const std::string &name) const {
    remove(name);
    std::filesystem::create_directory(*this / name);
  }

  /// Changes a JSON file.
  void json(const std::string &name, const std::function<void(Json &)> &change) const {
    Json value = Json::parse(read(name));
    change(value);
    write(name, value.dump());
  }
  /// Sets a key of config.json to a value given as JSON.
  void config(const std::string &key, const std::string &value) const {
    json("config.json", [&](Json &c) { c[Json::json_pointer("/" + key)] = Json::parse(value); });
  }
  void withoutKey(const std::string &key) const {
    json("config.json", [&](Json &c) { c.erase(key); });
  }
  void index(const std::string &tensor, const std::string &file) const {
    json("model.safetensors.index.json", [&](Json &i) { i["weight_map"][tensor] = file; });
  }

  /// Changes the header of a safetensors file and leaves its data.
  void header(const std::function<void(Json &)> &change,
              const std::string &name = "model.safetensors") const {
    std::string file = read(name);
    uint64_t length;
    memcpy(&length, file.data(), 8);
    Json value = Json::parse(file.substr(8, length));
    change(value);
    write(name, safetensors(value.dump(), file.substr(8 + length)));
  }
};

struct Case {
  const char *kind;
  const char *good; ///< a folder of test/golden
  void (*change)(const Copy &);
  const char *message; ///< "DIR" stands for the directory
};

std::string importError(const std::string &directory) {
  mlir::MLIRContext context;
  absl::StatusOr<ImportedModel> model = importHuggingFace(context, directory);
  return model.ok() ? "no error" : std::string(model.status().message());
}

template <size_t N> void expectMessages(const Case (&cases)[N]) {
  for (const Case &broken : cases) {
    SCOPED_TRACE(broken.kind);
    Copy copy(broken.good);
    broken.change(copy);
    std::string found = importError(copy.path);
    for (size_t at; (at = found.find(copy.path)) != std::string::npos;)
      found.replace(at, copy.path.size(), "DIR");
    EXPECT_EQ(found, broken.message);
  }
}

TEST(BrokenCheckpoint, is_good_before_it_is_broken) {
  for (const char *good : {"llama-a", "llama-b", "llama-d", "kimi-a", "qwen2-a", "qwen3moe-a", "qwen3moe-b"})
    EXPECT_EQ(importError(Copy(good).path), "no error") << good;
}

const Case kDirectories[] = {
    {"absent", "llama-a", [](const Copy &c) { c.remove(""); },
     "DIR: cannot open the directory: No such file or directory"},
    {"a file", "llama-a",
     [](const Copy &c) {
       c.remove("");
       std::ofstream(c.path) << "x";
     },
     "DIR: expects a directory with a Hugging Face checkpoint"},
    {"empty", "llama-a", [](const Copy &c) { c.becomeDirectory(""); },
     "DIR: expects config.json, found none: download the checkpoint completely"},
    {"no weights", "llama-a", [](const Copy &c) { c.remove("model.safetensors"); },
     "DIR: expects model.safetensors or model.safetensors.index.json, found neither: download the "
     "checkpoint completely"},
    {"weights as a pickle", "llama-a",
     [](const Copy &c) {
       c.remove("model.safetensors");
       c.write("pytorch_model.bin", "PK");
     },
     "DIR: expects model.safetensors or model.safetensors.index.json, found neither: the weights are "
     "there as a pickle of PyTorch; convert them to safetensors"},
    {"config.json is a directory", "llama-a", [](const Copy &c) { c.becomeDirectory("config.json"); },
     "DIR/config.json: expects a regular file"},
    {"weights are a directory", "llama-a", [](const Copy &c) { c.becomeDirectory("model.safetensors"); },
     "DIR/model.safetensors: expects a regular file"},
    {"weights are a dangling link", "llama-a",
     [](const Copy &c) {
       c.remove("model.safetensors");
       std::filesystem::create_symlink("../blobs/12ab", c / "model.safetensors");
     },
     "DIR/model.safetensors: cannot open: No such file or directory"},
    {"config.json is empty", "llama-a", [](const Copy &c) { c.cut("config.json", 0); },
     "DIR/config.json: JSON syntax error at byte 0, where the text ends, after \"\": download the "
     "file again or correct it"},
    {"config.json is cut", "llama-a", [](const Copy &c) { c.cut("config.json", 50); },
     "DIR/config.json: JSON syntax error at byte 50, where the text ends, after "
     "\"amaForCausalLM\\\"\\x0a  ],\": download the file again or correct it"},
    {"config.json is a list", "llama-a", [](const Copy &c) { c.write("config.json", "[1]"); },
     "DIR/config.json: expects a JSON object, found [1]"},
    {"config.json is binary", "llama-a", [](const Copy &c) { c.write("config.json", "\x80\x02}"); },
     "DIR/config.json: JSON syntax error at byte 1, after \"\x80\": download the file again or "
     "correct it"},
    {"config.json is huge", "llama-a", [](const Copy &c) { c.cut("config.json", 5 << 20); },
     "DIR/config.json: expects at most 4194304 bytes, found 5242880"},
    {"config.json is nested deeply", "llama-a",
     [](const Copy &c) { c.write("config.json", "{\"a\":" + std::string(1000, '[')); },
     "DIR/config.json: lists and objects are nested more than 32 deep: download the file again or "
     "correct it"},
    {"a key twice", "llama-a",
     [](const Copy &c) { c.write("config.json", R"({"model_type":"llama","model_type":"qwen3"})"); },
     "DIR/config.json: the key \"model_type\" occurs twice in one object: download the file again or "
     "correct it"},
    {"a setting beyond its limits", "llada2-b",
     [](const Copy &c) { c.write("generation_config.json", R"({"threshold":1.5,"max_post_steps":2.5})"); },
     "DIR/generation_config.json: key \"threshold\" is 1.5: must be a number from 0 to 1\n"
     "DIR/generation_config.json: key \"max_post_steps\" is 2.5: must be a whole number from 0 to 64"},
    {"generation_config.json is cut", "llama-a",
     [](const Copy &c) { c.write("generation_config.json", "{"); },
     "DIR/generation_config.json: JSON syntax error at byte 1, where the text ends, after \"{\": "
     "download the file again or correct it"},
    {"temperature is negative", "llama-a",
     [](const Copy &c) { c.write("generation_config.json", R"({"temperature":-1})"); },
     "DIR/generation_config.json: key \"temperature\": expects a number from 0 to 1e+06, found -1"},
    {"end token outside the vocabulary", "llama-a",
     [](const Copy &c) { c.write("generation_config.json", R"({"eos_token_id":[2,257]})"); },
     "DIR: eos_token_id is 257, outside the vocabulary of 257 tokens; correct it in "
     "generation_config.json or, where that has none, in config.json"},
    {"tokenizer_config.json is cut", "llama-a",
     [](const Copy &c) { c.write("tokenizer_config.json", "{\"chat_template\": \""); },
     "DIR/tokenizer_config.json: JSON syntax error at byte 19, where the text ends, after "
     "\"{\\\"chat_template\\\": \\\"\": download the file again"},
    {"tokenizer.json is a directory", "llama-a", [](const Copy &c) { c.becomeDirectory("tokenizer.json"); },
     "DIR/tokenizer.json: expects a regular file"},
};
TEST(BrokenCheckpoint, directories_and_small_files) { expectMessages(kDirectories); }

const Case kConfigs[] = {
    {"no family", "llama-a", [](const Copy &c) { c.withoutKey("model_type"); },
     "DIR/config.json: key \"model_type\" is missing: expects a string; the file is incomplete or of "
     "another model family"},
    {"family is a number", "llama-a", [](const Copy &c) { c.config("model_type", "3"); },
     "DIR/config.json: key \"model_type\": expects a string, found 3"},
    {"unknown family", "llama-a", [](const Copy &c) { c.config("model_type", "\"mamba\""); },
     "DIR/config.json: key \"model_type\" is \"mamba\", a family that llmc does not know; it knows "
     "autodeco, autoencoder, calm, difflm, Dream, Fast_dLLM_Qwen, kimi_linear, llada, llada2_moe, llada_moe, llama, qwen2, qwen3, qwen3_moe, sdar, sdar_moe"},
    {"quantized", "llama-a",
     [](const Copy &c) { c.config("quantization_config", R"({"quant_method":"awq","bits":4})"); },
     "DIR/config.json: key \"quantization_config\": quantized checkpoints are not supported; use the "
     "BF16 or F32 one"},
    {"missing size", "llama-a", [](const Copy &c) { c.withoutKey("hidden_size"); },
     "DIR/config.json: key \"hidden_size\" is missing: expects an integer of at least 1; the file is "
     "incomplete or of another model family"},
    {"size is null", "llama-a", [](const Copy &c) { c.config("vocab_size", "null"); },
     "DIR/config.json: key \"vocab_size\" is missing: expects an integer of at least 1; the file is "
     "incomplete or of another model family"},
    {"size is text", "llama-a", [](const Copy &c) { c.config("hidden_size", "\"72\""); },
     "DIR/config.json: key \"hidden_size\": expects an integer of at least 1, found \"72\""},
    {"size is zero", "llama-a", [](const Copy &c) { c.config("intermediate_size", "0"); },
     "DIR/config.json: key \"intermediate_size\": expects an integer of at least 1, found 0"},
    {"size is negative", "llama-a", [](const Copy &c) { c.config("num_hidden_layers", "-3"); },
     "DIR/config.json: key \"num_hidden_layers\": expects an integer from 1 to 4096, found -3"},
    {"size is a fraction", "llama-a", [](const Copy &c) { c.config("hidden_size", "72.5"); },
     "DIR/config.json: key \"hidden_size\": expects an integer of at least 1, found 72.5"},
    {"size over 32 bits", "llama-a", [](const Copy &c) { c.config("hidden_size", "4294967296"); },
     "DIR/config.json: key \"hidden_size\": expects an integer from 1 to 16777216, found 4294967296"},
    {"too many layers", "llama-a", [](const Copy &c) { c.config("num_hidden_layers", "1000000"); },
     "DIR/config.json: key \"num_hidden_layers\": expects an integer from 1 to 4096, found 1000000"},
    {"absurd weights", "llama-a",
     [](const Copy &c) {
       c.config("hidden_size", "2147483646");
       c.config("num_attention_heads", "4096");
       c.config("num_key_value_heads", "4096");
       c.config("head_dim", "65536");
     },
     "DIR/config.json: key \"hidden_size\": expects an integer from 1 to 16777216, found 2147483646"},
    {"absurd experts", "qwen3moe-a",
     [](const Copy &c) {
       c.config("num_experts", "65536");
       c.config("num_hidden_layers", "4096");
     },
     "DIR/config.json: key \"num_experts\" is 65536: with 4096 layers these are more than 262144 "
     "experts in all"},
    {"absurd vocabulary", "llama-a", [](const Copy &c) { c.config("vocab_size", "2147483647"); },
     "DIR/config.json: key \"vocab_size\": expects an integer from 1 to 16777216, found 2147483647"},
    {"absurd context", "llama-a", [](const Copy &c) { c.config("max_position_embeddings", "1099511627777"); },
     "DIR/config.json: key \"max_position_embeddings\": expects an integer from 1 to 1073741824, "
     "found 1099511627777"},
    {"key/value heads do not divide", "llama-a", [](const Copy &c) { c.config("num_key_value_heads", "2"); },
     "DIR/config.json: key \"num_key_value_heads\" is 2: must divide num_attention_heads (3)"},
    {"more key/value heads than heads", "llama-a",
     [](const Copy &c) { c.config("num_key_value_heads", "6"); },
     "DIR/config.json: key \"num_key_value_heads\" is 6: must divide num_attention_heads (3)"},
    {"heads do not divide", "llama-a",
     [](const Copy &c) {
       c.config("num_attention_heads", "5");
       c.config("num_key_value_heads", "5");
     },
     "DIR/config.json: key \"num_attention_heads\" is 5: must divide hidden_size (72) where head_dim "
     "is absent"},
    {"odd head size", "llama-a", [](const Copy &c) { c.config("head_dim", "25"); },
     "DIR/config.json: key \"head_dim\" is 25: rotary embedding expects an even head size, found 25"},
    {"two errors", "llama-a",
     [](const Copy &c) {
       c.withoutKey("vocab_size");
       c.config("tie_word_embeddings", "\"no\"");
     },
     "DIR/config.json: key \"vocab_size\" is missing: expects an integer of at least 1; the file is "
     "incomplete or of another model family\n"
     "DIR/config.json: key \"tie_word_embeddings\": expects true or false, found \"no\""},
    {"unknown option", "llama-a", [](const Copy &c) { c.config("final_logit_softcapping", "30.0"); },
     "DIR/config.json: key \"final_logit_softcapping\" is not known for this model family, found "
     "30.0\n"
     "keys that are not known could change the results: remove those without effect, else the model "
     "is not supported"},
    {"other activation", "llama-a", [](const Copy &c) { c.config("hidden_act", "\"gelu_new\""); },
     "DIR/config.json: key \"hidden_act\" is \"gelu_new\": only silu is supported for this family"},
    {"norm epsilon", "llama-a", [](const Copy &c) { c.config("rms_norm_eps", "-1e-5"); },
     "DIR/config.json: key \"rms_norm_eps\": expects a number from 0 to 1, found -1e-05"},
    {"rope base", "llama-a", [](const Copy &c) { c.config("rope_theta", "0"); },
     "DIR/config.json: key \"rope_theta\": expects a number from 1.001 to 1e+15, found 0"},
    {"rope scaling is a number", "llama-a", [](const Copy &c) { c.config("rope_scaling", "2.0"); },
     "DIR/config.json: key \"rope_scaling\": expects an object, found 2.0"},
    {"unknown rope scaling", "llama-a",
     [](const Copy &c) { c.config("rope_scaling", R"({"rope_type":"longrope"})"); },
     "DIR/config.json: key \"rope_scaling.rope_type\" is \"longrope\": this kind of rotary scaling "
     "is not supported; default, linear, llama3 and yarn are"},
    {"llama3 rope without factors", "llama-a",
     [](const Copy &c) { c.config("rope_scaling", R"({"rope_type":"llama3"})"); },
     "DIR/config.json: key \"rope_scaling.factor\" is missing: expects a number from 1 to 1e+06; the "
     "file is incomplete or of another model family\n"
     "DIR/config.json: key \"rope_scaling.low_freq_factor\" is missing: expects a number from 1e-06 "
     "to 1e+06; the file is incomplete or of another model family\n"
     "DIR/config.json: key \"rope_scaling.high_freq_factor\" is missing: expects a number from 1e-06 "
     "to 1e+06; the file is incomplete or of another model family"},
    {"yarn ramp reversed", "llama-a",
     [](const Copy &c) {
       c.config("rope_scaling", R"({"rope_type":"yarn","factor":4,"beta_fast":1,"beta_slow":32})");
     },
     "DIR/config.json: key \"rope_scaling.beta_fast\" is 1: expects at least beta_slow, which is 32"},
    {"linear factor below 1", "llama-a",
     [](const Copy &c) { c.config("rope_scaling", R"({"rope_type":"linear","factor":0.5})"); },
     "DIR/config.json: key \"rope_scaling.factor\": expects a number from 1 to 1e+06, found 0.5"},
    {"two rope descriptions", "llama-a",
     [](const Copy &c) {
       c.config("rope_scaling", R"({"rope_type":"linear","factor":2})");
       c.config("rope_parameters", R"({"rope_type":"default"})");
     },
     "DIR/config.json: key \"rope_scaling\" is {\"rope_type\": \"linear\", \"factor\": 2}: "
     "rope_parameters is there too; keep one of the two"},
    {"partial rotation", "llama-a", [](const Copy &c) { c.config("partial_rotary_factor", "0.5"); },
     "DIR/config.json: key \"partial_rotary_factor\" is 0.5: rotation of a part of the channels is "
     "not supported"},
    {"layer types", "qwen2-a",
     [](const Copy &c) { c.config("layer_types", R"(["full_attention","linear_attention"])"); },
     "DIR/config.json: key \"layer_types\" is [\"full_attention\", \"linear_attention\"]: must have "
     "an entry for each of the 4 layers\n"
     "DIR/config.json: key \"layer_types\" is [\"full_attention\", \"linear_attention\"]: layer 1 "
     "must be full_attention or sliding_attention"},
    {"more chosen experts than there are", "qwen3moe-a",
     [](const Copy &c) { c.config("num_experts_per_tok", "8"); },
     "DIR/config.json: key \"num_experts_per_tok\" is 8: must be at most num_experts (7)"},
    {"two numbers of experts", "qwen3moe-a", [](const Copy &c) { c.config("num_local_experts", "9"); },
     "DIR/config.json: key \"num_local_experts\" is 9: num_experts says 7; keep one of the two"},
    {"layers of no kind and of two", "kimi-a",
     [](const Copy &c) {
       c.config("linear_attn_config/kda_layers", "[1,3,6]");
       c.config("linear_attn_config/full_attn_layers", "[1,2]");
     },
     "DIR/config.json: key \"linear_attn_config.kda_layers\" is [1, 3, 6]: layer 6 does not exist "
     "(numbers start at 1)\n"
     "DIR/config.json: key \"linear_attn_config.full_attn_layers\" is [1, 2]: layer 1 is listed "
     "twice (numbers start at 1)\n"
     "DIR/config.json: key \"linear_attn_config.kda_layers\" is [1, 3, 6]: layer 4 is in neither "
     "kda_layers nor full_attn_layers\n"
     "DIR/config.json: key \"linear_attn_config.kda_layers\" is [1, 3, 6]: layer 5 is in neither "
     "kda_layers nor full_attn_layers"},
    {"no description of linear attention", "kimi-a",
     [](const Copy &c) { c.withoutKey("linear_attn_config"); },
     "DIR/config.json: key \"linear_attn_config\" is missing: expects an object; the file is "
     "incomplete or of another model family"},
    {"latent attention with positions", "kimi-a", [](const Copy &c) { c.config("mla_use_nope", "false"); },
     "DIR/config.json: key \"mla_use_nope\" is false: must be true: this family's latent attention "
     "has no positions"},
    {"key/value heads of latent attention", "kimi-a",
     [](const Copy &c) { c.config("num_key_value_heads", "1"); },
     "DIR/config.json: key \"num_key_value_heads\" is 1: must equal num_attention_heads: latent "
     "attention expands one key per head"},
    {"expert groups", "kimi-a", [](const Copy &c) { c.config("num_expert_group", "2"); },
     "DIR/config.json: key \"num_expert_group\" is 2: must divide num_experts and be at least "
     "topk_group"},
    {"router function", "kimi-a", [](const Copy &c) { c.config("moe_router_activation_func", "\"relu\""); },
     "DIR/config.json: key \"moe_router_activation_func\" is \"relu\": must be sigmoid or softmax"},
    {"prediction layers", "kimi-a", [](const Copy &c) { c.config("num_nextn_predict_layers", "1"); },
     "DIR/config.json: key \"num_nextn_predict_layers\" is 1: next-token prediction layers are not "
     "supported"},
    {"end token is text", "llama-a", [](const Copy &c) { c.config("eos_token_id", "\"</s>\""); },
     "DIR/config.json: key \"eos_token_id\": expects an integer of at least 0, found \"</s>\""},
    {"end token outside the vocabulary of config.json", "llama-a",
     [](const Copy &c) { c.config("eos_token_id", "1000"); },
     "DIR: eos_token_id is 1000, outside the vocabulary of 257 tokens; correct it in "
     "generation_config.json or, where that has none, in config.json"},
    {"start token outside the vocabulary", "llama-a", [](const Copy &c) { c.config("bos_token_id", "257"); },
     "DIR: bos_token_id is 257, outside the vocabulary of 257 tokens; correct it in "
     "generation_config.json or, where that has none, in config.json"},
};
TEST(BrokenCheckpoint, configurations) { expectMessages(kConfigs); }

const Case kWeights[] = {
    {"empty file", "llama-a", [](const Copy &c) { c.cut("model.safetensors", 0); },
     "DIR/model.safetensors: truncated: the file is 0 bytes, expects at least 8: download it again"},
    {"header cut", "llama-a", [](const Copy &c) { c.cut("model.safetensors", 1000); },
     "DIR/model.safetensors: truncated: the file is 1000 bytes, its header ends at byte 3104: "
     "download it again"},
    {"data cut", "llama-a", [](const Copy &c) { c.cut("model.safetensors", 290671); },
     "DIR/model.safetensors: truncated: the file is 290671 bytes, its header describes 290672 bytes: "
     "download it again"},
    {"bytes behind the end", "llama-a", [](const Copy &c) { c.cut("model.safetensors", 290673); },
     "DIR/model.safetensors: the file is 290673 bytes, its header describes 290672 bytes: the rest "
     "belongs to no tensor; download it again"},
    {"a pointer of git lfs", "llama-a",
     [](const Copy &c) {
       c.write("model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n");
     },
     "DIR/model.safetensors: header length at byte 0: expects at most 100000000, found "
     "2336927755350992246: it is a Git LFS pointer; fetch the file itself with git lfs pull"},
    {"header of 100 MB and a byte", "llama-a",
     [](const Copy &c) { c.write("model.safetensors", lengthBytes(100'000'001)); },
     "DIR/model.safetensors: header length at byte 0: expects at most 100000000, found 100000001: it "
     "is not a safetensors file or is damaged; download it again"},
    {"header is a list", "llama-a", [](const Copy &c) { c.write("model.safetensors", safetensors("[]")); },
     "DIR/model.safetensors: header at byte 8: expects \"{\", found \"[\": it is not a safetensors "
     "file or is damaged; download it again"},
    {"overlap", "llama-a",
     [](const Copy &c) { c.header([](Json &h) { h["model.norm.weight"]["data_offsets"] = {0, 144}; }); },
     "DIR/model.safetensors: tensor \"lm_head.weight\": begins at byte 0 of the data, inside tensor "
     "\"model.norm.weight\", which ends at 144"},
    {"hole", "llama-a", [](const Copy &c) { c.header([](Json &h) { h.erase("lm_head.weight"); }); },
     "DIR/model.safetensors: tensor \"model.embed_tokens.weight\": begins at byte 37008 of the data, "
     "expects 0: the bytes between belong to no tensor"},
    {"offsets reversed", "llama-a",
     [](const Copy &c) { c.header([](Json &h) { h["lm_head.weight"]["data_offsets"] = {37008, 0}; }); },
     "DIR/model.safetensors: tensor \"lm_head.weight\": begins at byte 37008 of the data and ends "
     "before, at 0"},
    {"negative dimension", "llama-a",
     [](const Copy &c) { c.header([](Json &h) { h["lm_head.weight"]["shape"] = {-257, 72}; }); },
     "DIR/model.safetensors: header: tensor \"lm_head.weight\": \"shape\": expects a list of "
     "integers from 0 to 2^63-1, found -257"},
    {"shape of other bytes", "llama-a",
     [](const Copy &c) { c.header([](Json &h) { h["lm_head.weight"]["shape"] = {257, 73}; }); },
     "DIR/model.safetensors: tensor \"lm_head.weight\": the shape [257, 73] of BF16 expects 37522 "
     "bytes, found 37008 (data_offsets 0 to 37008)"},
    {"unknown type", "llama-a",
     [](const Copy &c) { c.header([](Json &h) { h["lm_head.weight"]["dtype"] = "BF17"; }); },
     "DIR/model.safetensors: header: tensor \"lm_head.weight\": \"dtype\": expects a type of the "
     "format (such as BF16), found \"BF17\""},
    {"missing tensor", "llama-a",
     [](const Copy &c) {
       c.header([](Json &h) {
         h["lm_head.other"] = h["lm_head.weight"];
         h.erase("lm_head.weight");
       });
     },
     "DIR: the tensors are not those of the model in config.json\n"
     "  1 missing:\n"
     "    lm_head.weight [257, 72]\n"
     "  1 unexpected:\n"
     "    \"lm_head.other\" BF16 [257, 72]\n"
     "  check that config.json and the weights are of the same model and version"},
    {"transposed tensor", "llama-a",
     [](const Copy &c) { c.header([](Json &h) { h["lm_head.weight"]["shape"] = {72, 257}; }); },
     "DIR: the tensors are not those of the model in config.json\n"
     "  1 of another shape:\n"
     "    lm_head.weight: expects [257, 72], found [72, 257]\n"
     "  check that config.json and the weights are of the same model and version"},
    {"integers", "llama-a",
     [](const Copy &c) { c.header([](Json &h) { h["lm_head.weight"]["dtype"] = "I16"; }); },
     "DIR: the tensors are not those of the model in config.json\n"
     "  1 of a type that is not supported (quantized checkpoints are not):\n"
     "    lm_head.weight: expects F32, BF16 or F16, found I16\n"
     "  check that config.json and the weights are of the same model and version"},
    {"fp8 with scales", "llama-a",
     [](const Copy &c) {
       c.header([](Json &h) {
         h["lm_head.weight"] = {{"dtype", "F8_E4M3"}, {"shape", {257, 72}}, {"data_offsets", {0, 18504}}};
         h["lm_head.weight_scale_inv"] = {
             {"dtype", "F32"}, {"shape", {4626}}, {"data_offsets", {18504, 37008}}};
       });
     },
     "DIR: the tensors are not those of the model in config.json\n"
     "  1 of a type that is not supported (quantized checkpoints are not):\n"
     "    lm_head.weight: expects F32, BF16 or F16, found F8_E4M3\n"
     "  1 unexpected:\n"
     "    \"lm_head.weight_scale_inv\" F32 [4626]\n"
     "  check that config.json and the weights are of the same model and version"},
    {"experts of two types", "qwen3moe-a",
     [](const Copy &c) {
       c.header([](Json &h) { h["model.layers.1.mlp.experts.2.up_proj.weight"]["dtype"] = "F16"; },
                "model-00001-of-00002.safetensors");
     },
     "DIR: tensor \"model.layers.1.mlp.experts.2.up_proj.weight\" is not of the type of "
     "\"model.layers.1.mlp.experts.0.up_proj.weight\": experts of one layer must be stored alike; "
     "convert the checkpoint to one type"},
    {"an expert too few", "qwen3moe-a", [](const Copy &c) { c.config("num_experts", "8"); },
     "DIR: the tensors are not those of the model in config.json\n"
     "  6 missing:\n"
     "    model.layers.1.mlp.experts.7.gate_proj.weight [19, 56]\n"
     "    model.layers.1.mlp.experts.7.up_proj.weight [19, 56]\n"
     "    model.layers.1.mlp.experts.7.down_proj.weight [56, 19]\n"
     "    model.layers.3.mlp.experts.7.gate_proj.weight [19, 56]\n"
     "    model.layers.3.mlp.experts.7.up_proj.weight [19, 56]\n"
     "    model.layers.3.mlp.experts.7.down_proj.weight [56, 19]\n"
     "  2 of another shape:\n"
     "    model.layers.1.mlp.gate.weight: expects [8, 56], found [7, 56]\n"
     "    model.layers.3.mlp.gate.weight: expects [8, 56], found [7, 56]\n"
     "  check that config.json and the weights are of the same model and version"},
    {"weights of another family", "qwen3moe-b", [](const Copy &c) { c.config("model_type", "\"qwen3\""); },
     "DIR/config.json: key \"decoder_sparse_step\" is not known for this model family, found 2\n"
     "DIR/config.json: key \"mlp_only_layers\" is not known for this model family, found []\n"
     "DIR/config.json: key \"num_local_experts\" is not known for this model family, found 6\n"
     "DIR/config.json: key \"num_experts_per_tok\" is not known for this model family, found 2\n"
     "DIR/config.json: key \"moe_intermediate_size\" is not known for this model family, found 45\n"
     "DIR/config.json: key \"norm_topk_prob\" is not known for this model family, found false\n"
     "keys that are not known could change the results: remove those without effect, else the model "
     "is not supported"},
    {"missing shard", "llama-b", [](const Copy &c) { c.remove("model-00002-of-00003.safetensors"); },
     "DIR: the checkpoint is incomplete, model.safetensors.index.json names files that are not "
     "there: download them\n"
     "  1 of 3 missing:\n"
     "    model-00002-of-00003.safetensors"},
    {"index is cut", "llama-b", [](const Copy &c) { c.cut("model.safetensors.index.json", 100); },
     "DIR/model.safetensors.index.json: JSON syntax error at byte 100, where the text ends, after "
     "\"ed_tokens.weight\\\": \\\"\": download the file again"},
    {"index without files", "llama-b", [](const Copy &c) { c.write("model.safetensors.index.json", "{}"); },
     "DIR/model.safetensors.index.json: key \"weight_map\" is missing: download the file again"},
    {"index leads outside", "llama-b", [](const Copy &c) { c.index("lm_head.weight", "../../etc/passwd"); },
     "DIR/model.safetensors.index.json: \"weight_map\": tensor \"lm_head.weight\": expects the name "
     "of a file in the same directory, found \"../../etc/passwd\": download the file again"},
    {"index names an absolute path", "llama-b", [](const Copy &c) { c.index("lm_head.weight", "/dev/zero"); },
     "DIR/model.safetensors.index.json: \"weight_map\": tensor \"lm_head.weight\": expects the name "
     "of a file in the same directory, found \"/dev/zero\": download the file again"},
    {"index names the wrong shard", "llama-b",
     [](const Copy &c) { c.index("model.norm.weight", "model-00001-of-00003.safetensors"); },
     "DIR/model.safetensors.index.json: tensor \"model.norm.weight\": expects it in "
     "model-00001-of-00003.safetensors, found it in DIR/model-00003-of-00003.safetensors: download "
     "the checkpoint again"},
    {"index names a tensor that no shard has", "llama-b",
     [](const Copy &c) { c.index("model.bias", "model-00001-of-00003.safetensors"); },
     "DIR/model.safetensors.index.json: tensor \"model.bias\": expects it in "
     "model-00001-of-00003.safetensors, found it in none of the files: download the checkpoint again"},
    {"two shards with one tensor", "llama-b",
     [](const Copy &c) {
       c.write("model-00002-of-00003.safetensors", c.read("model-00001-of-00003.safetensors"));
     },
     "DIR: tensor \"model.embed_tokens.weight\" is in two files, "
     "DIR/model-00001-of-00003.safetensors and DIR/model-00002-of-00003.safetensors: remove files "
     "that do not belong to this checkpoint"},
    {"shard cut", "llama-b", [](const Copy &c) { c.cut("model-00003-of-00003.safetensors", 5000); },
     "DIR/model-00003-of-00003.safetensors: truncated: the file is 5000 bytes, its header describes "
     "97392 bytes: download it again"},
};
TEST(BrokenCheckpoint, weights) { expectMessages(kWeights); }

/// Drops root's rights, which make every file readable, while it lives.
class AsNobody {
public:
  AsNobody() : was(::geteuid()) {
    if (was == 0)
      EXPECT_EQ(::seteuid(65534), 0);
  }
  ~AsNobody() { EXPECT_EQ(::seteuid(was), 0); }

private:
  uid_t was;
};

TEST(BrokenCheckpoint, names_what_must_not_be_read) {
  for (const char *file : {"config.json", "model.safetensors"}) {
    Copy copy("llama-a");
    std::filesystem::permissions(copy / file, std::filesystem::perms(0));
    AsNobody nobody;
    EXPECT_EQ(importError(copy.path), copy / file + ": cannot open: Permission denied");
  }
  Copy copy("llama-a");
  std::filesystem::permissions(copy.path, std::filesystem::perms(0));
  AsNobody nobody;
  EXPECT_EQ(importError(copy.path), copy.path + ": cannot open the directory: Permission denied");
}

} // namespace
} // namespace llmc
