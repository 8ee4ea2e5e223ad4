// The compiled statistics of logits against an oracle's (test/golden/README.md), at the temperatures that it has.
#include "test/Npy.h"
#include "test/codegen/run/Kernel.h"
#include <gtest/gtest.h>

namespace llmc::test {
namespace {

constexpr int64_t kRows = 200;

class Statistics : public ::testing::TestWithParam<std::string> {};

TEST_P(Statistics, AreThoseOfTheOracle) {
  const std::pair<std::string, std::string> cases[] = {{"autodeco-llama", "autodeco-llama"}, {"autodeco-qwen3", "qwen3-a"},
                                                       {"autodeco-qwen3moe", "qwen3moe-a"}, {"autodeco-llama-d", "llama-d"}};
  for (const auto &[heads, base] : cases) {
    auto logits = readNpy(LLMC_GOLDEN + base + "/logits.npy", kRows), decoding = readNpy(LLMC_GOLDEN + heads + "/decoding.npy", kRows);
    size_t vocabulary = logits[0].size();
    std::string v = std::to_string(vocabulary);
    auto [text, name] = kernelOfOp("func.func @f(%z: tensor<?x" + v + "xf32>, %t: tensor<?x1xf32>) -> tensor<?x4xf32> {\n"
                                   "  %s = llm.logit_statistics %z, %t : (tensor<?x" + v + "xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>\n"
                                   "  return %s : tensor<?x4xf32>\n}\n");
    ASSERT_FALSE(name.empty());
    Kernels kernels(text, GetParam());
    constexpr size_t kColumns = 256; // of a part, where no weights limit it
    Buffer<float> rows(kRows * vocabulary), temperatures(kRows), parts(kRows * 4 * ((vocabulary + kColumns - 1) / kColumns)), result(kRows * 4);
    for (int64_t r = 0; r < kRows; ++r) {
      std::copy(logits[r].begin(), logits[r].end(), &rows[r * vocabulary]);
      temperatures[r] = decoding[r][0];
    }
    kernels.run(name.substr(0, name.rfind("_join")), {rows.data(), temperatures.data(), parts.data()}, {kRows, kRows});
    kernels.run(name, {rows.data(), temperatures.data(), parts.data(), result.data()}, {kRows, kRows});
    for (int64_t r = 0; r < kRows; ++r)
      for (int column = 0; column < 4; ++column) {
        float want = decoding[r][2 + column];
        // The variance is at most 1/V.
        float scale = column == 2 ? 1 / float(vocabulary) : 1;
        EXPECT_NEAR(result[r * 4 + column], want, 1e-5 * std::max(scale, std::abs(want)))
            << heads << " row " << r << " column " << column;
      }
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, Statistics, ::testing::ValuesIn(levels()), [](const auto &info) { return info.index ? "v4" : "v3"; });

} // namespace
} // namespace llmc::test
