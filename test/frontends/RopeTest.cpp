// Rotary frequencies against a table made by transformers, and configurations that must be refused.
#include "models/Rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <sstream>

namespace llmc {
namespace {

ConfigReader configOf(const std::string &text) {
  absl::StatusOr<ConfigReader> config = ConfigReader::parse(text, "c");
  EXPECT_TRUE(config.ok()) << config.status();
  return *config;
}

/// Distance in float32 numbers, for positive values.
int64_t ulps(float a, float b) {
  int32_t x, y;
  std::memcpy(&x, &a, 4);
  std::memcpy(&y, &b, 4);
  return std::abs(static_cast<int64_t>(x) - y);
}

TEST(Rope, matches_the_table_of_transformers) {
  std::ifstream table(ROPE_TABLE);
  ASSERT_TRUE(table.good());
  std::string line, name;
  RopeScaling rope;
  std::optional<ConfigReader> config;
  int64_t headDim = 0;
  int cases = 0;
  while (std::getline(table, line)) {
    std::istringstream words(line);
    std::string key;
    words >> key >> std::ws;
    if (key == "case") {
      words >> name;
    } else if (key == "config") {
      std::string text;
      std::getline(words, text);
      config = configOf(text);
    } else if (key == "head_dim") {
      words >> headDim;
      rope = readRopeScaling(*config, headDim);
      EXPECT_TRUE(config->finish({"max_position_embeddings"}).ok()) << name << ": " << config->finish({});
    } else if (key == "attention_factor") {
      double factor;
      words >> factor;
      EXPECT_DOUBLE_EQ(rope.attentionFactor, factor) << name;
    } else if (key == "frequencies") {
      ++cases;
      std::vector<float> found = rope.inverseFrequencies(headDim);
      std::string bits;
      for (size_t i = 0; words >> bits; ++i) {
        uint32_t pattern = static_cast<uint32_t>(std::stoul(bits, nullptr, 16));
        float expected;
        std::memcpy(&expected, &pattern, 4);
        ASSERT_LT(i, found.size()) << name;
        // Only the power differs: torch's vectorized float32 pow is within an ulp of the rounded true value,
        // and the divisions after it pass that on. The blends of llama3 and yarn add up two such values.
        EXPECT_LE(ulps(found[i], expected), 2)
            << name << " channel " << i << ": " << found[i] << " " << expected;
      }
      EXPECT_EQ(static_cast<int64_t>(found.size()), (headDim + 1) / 2) << name;
    }
  }
  EXPECT_EQ(cases, 16);
}

std::string messageFor(const std::string &text, int64_t headDim = 64) {
  ConfigReader config = configOf(text);
  RopeScaling rope = readRopeScaling(config, headDim);
  for (float value : rope.inverseFrequencies(8)) // whatever was read, the result is made of numbers
    EXPECT_TRUE(std::isfinite(value)) << text;
  return std::string(config.finish({"max_position_embeddings"}).message());
}

TEST(Rope, refuses_what_it_does_not_compute) {
  const std::string kKinds =
      ": this kind of rotary scaling is not supported; default, linear, llama3 and yarn are";
  EXPECT_EQ(messageFor(R"({"rope_scaling":{"rope_type":"dynamic","factor":2.0}})"),
            "c: key \"rope_scaling.rope_type\" is \"dynamic\"" + kKinds);
  EXPECT_EQ(messageFor(R"({"rope_scaling":{"type":"mrope"}})"),
            "c: key \"rope_scaling.type\" is \"mrope\"" + kKinds);
  EXPECT_EQ(messageFor(R"({"rope_scaling":{"rope_type":"longrope"}})"),
            "c: key \"rope_scaling.rope_type\" is \"longrope\"" + kKinds);
  EXPECT_EQ(messageFor(R"({"rope_parameters":{"rope_type":"default","partial_rotary_factor":0.5}})"),
            "c: key \"rope_parameters.partial_rotary_factor\" is 0.5: rotation of a part of the channels is "
            "not supported");
  EXPECT_EQ(messageFor(R"({"partial_rotary_factor":0.25})"),
            "c: key \"partial_rotary_factor\" is 0.25: rotation of a part of the channels is not supported");
  EXPECT_EQ(messageFor(R"({"head_dim":63})", 63),
            "c: key \"head_dim\" is 63: rotary embedding expects an even head size, found 63");
}

TEST(Rope, refuses_contradictions) {
  EXPECT_EQ(
      messageFor(R"({"rope_scaling":{"rope_type":"default"},"rope_parameters":{"rope_type":"default"}})"),
      "c: key \"rope_scaling\" is {\"rope_type\": \"default\"}: rope_parameters is there too; keep one of "
      "the two");
  EXPECT_EQ(messageFor(R"({"rope_theta":10000,"rope_parameters":{"rope_theta":500000}})"),
            "c: key \"rope_parameters.rope_theta\" is 500000: the key of that name outside says 10000");
  EXPECT_EQ(messageFor(R"({"rope_scaling":{"type":"linear","rope_type":"default"}})"),
            "c: key \"rope_scaling.type\" is \"linear\": rope_type says \"default\"; keep one of the two");
  EXPECT_EQ(
      messageFor(R"({"rope_scaling":{"type":"llama3","factor":8,"low_freq_factor":4,"high_freq_factor":4,)"
                 R"("original_max_position_embeddings":8192}})"),
      "c: key \"rope_scaling.high_freq_factor\" is 4: expects more than low_freq_factor, which is 4");
  EXPECT_EQ(messageFor(R"({"rope_scaling":{"type":"yarn","factor":8,"beta_fast":1,"beta_slow":2,)"
                       R"("original_max_position_embeddings":8192}})"),
            "c: key \"rope_scaling.beta_fast\" is 1: expects at least beta_slow, which is 2");
}

TEST(Rope, refuses_values_out_of_range) {
  EXPECT_EQ(messageFor(R"({"rope_theta":0})"),
            "c: key \"rope_theta\": expects a number from 1.001 to 1e+15, found 0");
  EXPECT_EQ(messageFor(R"({"rope_theta":"10000"})"),
            "c: key \"rope_theta\": expects a number from 1.001 to 1e+15, found \"10000\"");
  EXPECT_EQ(messageFor(R"({"rope_scaling":"linear"})"),
            "c: key \"rope_scaling\": expects an object, found \"linear\"");
  EXPECT_EQ(messageFor(R"({"rope_scaling":{"type":"linear"}})"),
            "c: key \"rope_scaling.factor\" is missing: expects a number from 1 to 1e+06; the file is "
            "incomplete or of "
            "another model family");
  EXPECT_EQ(messageFor(R"({"rope_scaling":{"type":"linear","factor":0}})"),
            "c: key \"rope_scaling.factor\": expects a number from 1 to 1e+06, found 0");
  EXPECT_EQ(
      messageFor(R"({"rope_scaling":{"type":"yarn","factor":4,"original_max_position_embeddings":-1}})"),
      "c: key \"rope_scaling.original_max_position_embeddings\": expects an integer of at least 1, found -1");
  EXPECT_EQ(
      messageFor(R"({"rope_scaling":{"type":"linear","factor":2,"short_factor":[1.0]}})"),
      "c: key \"rope_scaling.short_factor\" is not known for this model family, found [1.0]\n"
      "keys that are not known could change the results: remove those without effect, else the model is not "
      "supported");
}

} // namespace
} // namespace llmc
