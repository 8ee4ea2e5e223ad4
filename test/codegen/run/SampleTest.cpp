// Frequencies of compiled draws against exact probabilities, by chi-squared.
#include "test/ChiSquared.h"
#include "test/codegen/run/Kernel.h"
#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <numeric>

namespace llmc::test {
namespace {

constexpr int64_t kVocabulary = 12, kDraws = 20000;
// Two pairs of equals: one among the most probable, one in the middle.
const double kLogits[kVocabulary] = {0.3, 2.0, -1.0, 1.25, 2.0, 0.0, 1.25, -0.5, 1.75, 0.75, -3.0, 1.0};

struct Setting {
  float temperature;
  int64_t topK;
  float topP, minP;
};

std::pair<std::string, std::string> sampleKernel() {
  std::string v = std::to_string(kVocabulary);
  return kernelOfOp(
      "func.func @f(%z: tensor<?x" + v + "xf32>, %s: tensor<?x4xf32>, %d: tensor<?x4xi64>) -> tensor<?x1xi32> {\n"
      "  %t = llm.sample %z, %s, %d : (tensor<?x" + v + "xf32>, tensor<?x4xf32>, tensor<?x4xi64>) -> tensor<?x1xi32>\n"
      "  return %t : tensor<?x1xi32>\n}\n");
}

/// From the op's description, by sorting.
std::vector<double> probabilities(const Setting &s) {
  std::vector<double> p(kVocabulary);
  for (int64_t i = 0; i < kVocabulary; ++i)
    p[i] = std::exp(kLogits[i] / s.temperature);
  auto keepAtLeast = [&](double bound) {
    for (double &x : p)
      x = x >= bound * (1 - 1e-12) ? x : 0;
  };
  auto falling = [&] {
    std::vector<double> sorted(p);
    std::sort(sorted.rbegin(), sorted.rend());
    return sorted;
  };
  if (s.topK > 0)
    keepAtLeast(falling()[std::min(s.topK, kVocabulary) - 1]);
  if (s.topP < 1) {
    double left = std::accumulate(p.begin(), p.end(), 0.0), mass = 0;
    for (double x : falling())
      if ((mass += x) >= s.topP * left) {
        keepAtLeast(x);
        break;
      }
  }
  keepAtLeast(s.minP * falling()[0]);
  double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double &x : p)
    x /= sum;
  return p;
}

class Sample : public ::testing::TestWithParam<std::string> {};

TEST_P(Sample, FrequenciesFollowTheProbabilities) {
  const Setting settings[] = {
      {1, 0, 1, 0},    {0.5f, 0, 1, 0},   {2, 0, 1, 0},       {1, 3, 1, 0},         {1, 4, 1, 0}, // the fourth has an equal
      {1, 1, 1, 0},    {1, 0, 0.8f, 0},   {1, 0, 0.3f, 0},    {0.7f, 0, 0.95f, 0},  {1, 0, 1, 0.3f},
      {1.5f, 0, 1, 0.1f}, {1, 6, 0.7f, 0}, {1, 6, 0.9f, 0.45f}, {1.3f, 9, 0.9f, 0.2f},
  };
  auto [text, name] = sampleKernel();
  ASSERT_FALSE(name.empty());
  Kernels kernels(text, GetParam());
  Buffer<float> logits(kDraws * kVocabulary), sampling(kDraws * 4);
  Buffer<int64_t> draws(kDraws * 4);
  Buffer<int32_t> tokens(kDraws);
  for (bool isBySeed : {false, true})
    for (const Setting &s : settings) {
      SCOPED_TRACE("temperature " + std::to_string(s.temperature) + " top_k " + std::to_string(s.topK) + " top_p " + std::to_string(s.topP) + " min_p " +
                   std::to_string(s.minP) + (isBySeed ? " by seed" : " by position"));
      for (int64_t i = 0; i < kDraws; ++i) {
        std::copy(kLogits, kLogits + kVocabulary, &logits[i * kVocabulary]);
        const float options[] = {s.temperature, s.topP, s.minP, 0};
        std::copy(options, options + 4, &sampling[i * 4]);
        const int64_t numbers[] = {isBySeed ? i : 1234567890123, s.topK, isBySeed ? 17 : i, 0};
        std::copy(numbers, numbers + 4, &draws[i * 4]);
        tokens[i] = -7;
      }
      kernels.run(name, {logits.data(), sampling.data(), draws.data(), tokens.data()}, {kDraws, kDraws});
      std::vector<double> expected = probabilities(s), counts(kVocabulary);
      for (int64_t i = 0; i < kDraws; ++i) {
        ASSERT_TRUE(tokens[i] >= 0 && tokens[i] < kVocabulary) << "draw " << i << " gives " << tokens[i];
        counts[tokens[i]] += 1;
      }
      EXPECT_EQ(againstProbabilities(counts, expected), "");
    }
}

INSTANTIATE_TEST_SUITE_P(Levels, Sample, ::testing::ValuesIn(levels()), [](const auto &info) { return info.index ? "v4" : "v3"; });

} // namespace
} // namespace llmc::test
