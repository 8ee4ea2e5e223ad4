// config.json through ConfigReader, generation_config.json, and the tokenizer's files.
#include "frontends/huggingface/Config.h"
#include "test/frontends/TempDirectory.h"

#include <gtest/gtest.h>

namespace llmc {
namespace {

ConfigReader configOf(const std::string &text) {
  absl::StatusOr<ConfigReader> config = ConfigReader::parse(text, "c");
  EXPECT_TRUE(config.ok()) << config.status();
  return *config;
}

TEST(Config, reads_every_type) {
  ConfigReader config = configOf(
      R"({"i":-3,"f":1e-5,"whole":10000,"b":true,"s":"silu","list":[1,2],"one":7,"null":null,"names":["A"],
          "o":{"i":4,"deep":{"b":false}}})");
  EXPECT_EQ(config.getInt("i", {-5, 5}), -3);
  EXPECT_EQ(config.getFloat("f"), 1e-5);
  EXPECT_EQ(config.getFloat("whole"), 10000.0);
  EXPECT_TRUE(config.getBool("b"));
  EXPECT_EQ(config.getString("s"), "silu");
  EXPECT_EQ(config.getInts("list"), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(config.getIntOrInts("list"), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(config.getIntOrInts("one"), std::vector<int64_t>{7});
  EXPECT_EQ(config.getStringsOr("names", {}), std::vector<std::string>{"A"});
  EXPECT_EQ(config.getObject("o").getInt("i"), 4);
  EXPECT_FALSE(config.getObject("o").getObject("deep").getBool("b"));
  EXPECT_TRUE(config.finish().ok()) << config.finish();
}

TEST(Config, takes_null_and_absent_for_the_fallback) {
  ConfigReader config = configOf(R"({"n":null})");
  for (const char *key : {"n", "absent"}) {
    EXPECT_FALSE(config.has(key));
    EXPECT_EQ(config.getIntOr(key, 5), 5);
    EXPECT_EQ(config.getFloatOr(key, 0.5), 0.5);
    EXPECT_TRUE(config.getBoolOr(key, true));
    EXPECT_EQ(config.getStringOr(key, "x"), "x");
    EXPECT_EQ(config.getIntsOr(key, {9}), std::vector<int64_t>{9});
    EXPECT_EQ(config.getOptionalInt(key), std::nullopt);
    EXPECT_EQ(config.getOptionalFloat(key), std::nullopt);
    EXPECT_TRUE(config.getIntOrInts(key).empty());
    EXPECT_FALSE(config.getOptionalObject(key).has_value());
  }
  EXPECT_TRUE(config.finish().ok());
}

TEST(Config, finds_the_name_that_is_present) {
  ConfigReader config = configOf(R"({"num_experts":null,"n_routed_experts":64})");
  EXPECT_EQ(config.presentKey({"num_experts", "n_routed_experts"}), "n_routed_experts");
  EXPECT_EQ(config.presentKey({"a", "b"}), "a");
}

TEST(Config, reports_all_errors_at_once_and_returns_values_in_range) {
  ConfigReader config = configOf(
      R"({"hidden_size":"big","heads":0,"eps":2.0,"tie":1,"act":null,"layers":[1,-2],"size":1.5,"o":[],
          "huge":99999999999999999999,"many":9,"names":[1]})");
  EXPECT_EQ(config.getInt("hidden_size"), 1);
  EXPECT_EQ(config.getInt("heads", {1, 4096}), 1);
  EXPECT_EQ(config.getFloat("eps", {1e-12, 1.0}), 1e-12);
  EXPECT_FALSE(config.getBool("tie"));
  EXPECT_EQ(config.getString("act"), "");
  EXPECT_TRUE(config.getInts("layers").empty());
  EXPECT_EQ(config.getIntOr("size", 3, {2, 8}), 2);
  EXPECT_EQ(config.getObject("o").getInt("inner"), 1); // the object's own error is enough
  EXPECT_EQ(config.getInt("huge"), 1);
  EXPECT_EQ(config.getInt("many", {1, 8}), 1);
  EXPECT_TRUE(config.getStringsOr("names", {"x"}).empty());
  EXPECT_EQ(config.getInt("vocab_size"), 1);
  config.fail("heads", "expects a divisor of hidden_size");
  config.fail("gone", "expects something");
  EXPECT_EQ(std::string(config.status().message()),
            "c: key \"hidden_size\": expects an integer of at least 1, found \"big\"\n"
            "c: key \"heads\": expects an integer from 1 to 4096, found 0\n"
            "c: key \"eps\": expects a number from 1e-12 to 1, found 2.0\n"
            "c: key \"tie\": expects true or false, found 1\n"
            "c: key \"act\" is missing: expects a string; the file is incomplete or of another model family\n"
            "c: key \"layers\": expects a list, each element an integer of at least 1, found [1, -2]\n"
            "c: key \"size\": expects an integer from 2 to 8, found 1.5\n"
            "c: key \"o\": expects an object, found []\n"
            "c: key \"huge\": expects an integer from 1 to 16777216, found 99999999999999999999\n"
            "c: key \"many\": expects an integer from 1 to 8, found 9\n"
            "c: key \"names\": expects a list of strings, found [1]\n"
            "c: key \"vocab_size\" is missing: expects an integer of at least 1; the file is incomplete or "
            "of another "
            "model family\n"
            "c: key \"heads\" is 0: expects a divisor of hidden_size\n"
            "c: key \"gone\" is absent: expects something");
}

TEST(Config, reports_keys_that_nobody_knows) {
  ConfigReader config = configOf(
      R"({"hidden_size":8,"use_cache":true,"transformers_version":"5","logit_cap":30.0,"nothing":null,"sliding_window":4096,
          "fine":1,"linear":{"heads":2,"gate":"exp","quiet":1},
          "quantization_config":{"bits":4},"task":{"a":{}}})");
  config.getInt("hidden_size");
  config.ignore("sliding_window");
  config.getObject("linear").getInt("heads");
  EXPECT_EQ(
      std::string(config.finish({"fine", "linear.quiet", "task"}).message()),
      "c: key \"logit_cap\" is not known for this model family, found 30.0\n"
      "c: key \"quantization_config\" is not known for this model family, found {\"bits\": 4}\n"
      "c: key \"linear.gate\" is not known for this model family, found \"exp\"\n"
      "keys that are not known could change the results: remove those without effect, else the model is not "
      "supported");
  EXPECT_TRUE(config.status().ok());
}

TEST(Config, cuts_long_lists_of_errors_and_long_values) {
  std::string text = "{\"long\":\"" + std::string(500, 'x') + "\"";
  for (int i = 0; i < 30; ++i)
    text += ",\"k" + std::to_string(i) + "\":0";
  ConfigReader config = configOf(text + "}");
  std::string message(config.finish().message());
  EXPECT_NE(message.find("\n... and 11 more\nkeys that"), std::string::npos) << message;
  EXPECT_LT(message.size(), 5000u);
}

TEST(Config, rejects_text_that_is_not_a_configuration) {
  struct {
    std::string text, message;
  } const kCases[] = {
      {"", "c: JSON syntax error at byte 0, where the text ends, after \"\": download the file again or "
           "correct it"},
      {"{\"a\":1,}", "c: JSON syntax error at byte 8, where the text ends, after \"{\\\"a\\\":1,}\": "
                     "download the file again or correct it"},
      {"{\"a\":NaN}",
       "c: JSON syntax error at byte 6, after \"{\\\"a\\\":N\": download the file again or correct it"},
      {"{\"a\":1,\"a\":2}",
       "c: the key \"a\" occurs twice in one object: download the file again or correct it"},
      {"[1,{\"b\":null}]", "c: expects a JSON object, found [1, {\"b\": null}]"},
      {"3", "c: expects a JSON object, found 3"},
      {"{\"a\":" + std::string(100'000, '['),
       "c: lists and objects are nested more than 32 deep: download the file again or correct it"},
      {"{\"a\":\"\xe2\x28\xa1\"}", "c: JSON syntax error at byte 8, after \"{\\\"a\\\":\\\"\xe2(\": download "
                                   "the file again or correct it"},
      {"{\"a\":1e400}",
       "c: the number that ends at byte 10 is too large for a 64-bit float: download the file again or "
       "correct it"},
      {std::string(5 << 20, ' '),
       "c: expects at most 4194304 bytes, found 5242880: this is not a model configuration"},
  };
  for (const auto &broken : kCases) {
    absl::StatusOr<ConfigReader> config = ConfigReader::parse(broken.text, "c");
    ASSERT_FALSE(config.ok()) << broken.message;
    EXPECT_EQ(std::string(config.status().message()), broken.message);
  }
}

TEST(Config, reads_the_directory) {
  TempDirectory directory;
  EXPECT_EQ(std::string(readConfig(directory.path).status().message()),
            directory.path + ": expects config.json, found none: download the checkpoint completely");
  directory.write("config.json", R"({"model_type":"llama"})");
  absl::StatusOr<ConfigReader> config = readConfig(directory.path);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->getString("model_type"), "llama");
  EXPECT_EQ(config->fileName(), directory / "config.json");
  EXPECT_EQ(readConfig(directory.path + "/")->fileName(), directory / "config.json");
  directory.write("config.json", std::string(5 << 20, ' '));
  EXPECT_EQ(std::string(readConfig(directory.path).status().message()),
            directory / "config.json: expects at most 4194304 bytes, found 5242880");
}

TEST(GenerationConfig, reads_values_and_falls_back_to_the_configuration) {
  TempDirectory directory;
  ConfigReader config = configOf(R"({"eos_token_id":2,"bos_token_id":1})");
  absl::StatusOr<GenerationConfig> absent = readGenerationConfig(directory.path, config);
  ASSERT_TRUE(absent.ok()) << absent.status();
  EXPECT_EQ(absent->eosTokens, std::vector<int64_t>{2});
  EXPECT_EQ(absent->bosToken, 1);
  EXPECT_FALSE(absent->doSample);
  EXPECT_FALSE(absent->temperature.has_value());

  directory.write(
      "generation_config.json",
      R"({"eos_token_id":[151645,151643],"bos_token_id":151643,"do_sample":true,"temperature":0.6,"top_k":20,
                      "top_p":0.95,"min_p":0,"repetition_penalty":1.05,"transformers_version":"4.51.0"})");
  absl::StatusOr<GenerationConfig> given = readGenerationConfig(directory.path, config);
  ASSERT_TRUE(given.ok()) << given.status();
  EXPECT_EQ(given->eosTokens, (std::vector<int64_t>{151645, 151643}));
  EXPECT_EQ(given->bosToken, 151643);
  EXPECT_TRUE(given->doSample);
  EXPECT_EQ(given->temperature, 0.6);
  EXPECT_EQ(given->topK, 20);
  EXPECT_EQ(given->topP, 0.95);
  EXPECT_EQ(given->minP, 0.0);
  EXPECT_EQ(given->repetitionPenalty, 1.05);
}

TEST(GenerationConfig, rejects_values_out_of_range) {
  TempDirectory directory;
  directory.write("generation_config.json",
                  R"({"eos_token_id":[1,-1],"temperature":-0.5,"top_p":1.5,"top_k":"all"})");
  std::string file = directory / "generation_config.json";
  EXPECT_EQ(
      std::string(readGenerationConfig(directory.path, configOf("{}")).status().message()),
      file +
          ": key \"eos_token_id\": expects a list, each element an integer of at least 0, found [1, -1]\n" +
          file + ": key \"temperature\": expects a number from 0 to 1e+06, found -0.5\n" + file +
          ": key \"top_p\": expects a number from 0 to 1, found 1.5\n" + file +
          ": key \"top_k\": expects an integer of at least 0, found \"all\"");
  std::filesystem::remove(file);
  EXPECT_EQ(
      std::string(
          readGenerationConfig(directory.path, configOf(R"({"eos_token_id":"</s>"})")).status().message()),
      "c: key \"eos_token_id\": expects an integer of at least 0, found \"</s>\"");
}

TEST(TokenizerFiles, reads_those_that_are_there) {
  TempDirectory directory;
  absl::StatusOr<TokenizerFiles> none = readTokenizerFiles(directory.path);
  ASSERT_TRUE(none.ok());
  EXPECT_FALSE(none->tokenizerJson || none->tiktokenModel || none->tokenizerConfig || none->chatTemplate);
  directory.write("tiktoken.model", std::string("IQ== 0\n\0", 8));
  directory.write("chat_template.jinja", "{{ x }}");
  absl::StatusOr<TokenizerFiles> some = readTokenizerFiles(directory.path);
  ASSERT_TRUE(some.ok());
  EXPECT_EQ(some->tiktokenModel, std::string("IQ== 0\n\0", 8));
  EXPECT_EQ(some->chatTemplate, "{{ x }}");
  EXPECT_FALSE(some->tokenizerJson.has_value());
}

TEST(TokenizerFiles, rejects_files_over_their_limit) {
  TempDirectory directory;
  directory.write("tokenizer.json", "");
  std::filesystem::resize_file(directory / "tokenizer.json", (size_t{256} << 20) + 1); // sparse
  EXPECT_EQ(std::string(readTokenizerFiles(directory.path).status().message()),
            directory / "tokenizer.json: expects at most 268435456 bytes, found 268435457");
}

} // namespace
} // namespace llmc
