// Models that fill masks on the CUDA path, in the simulator.
#include "test/models/CudaModels.h"
#include "test/models/Generations.h"
#include <algorithm>
#include <cmath>
#include <cstring>

using namespace llmc::test;

namespace {

/// As in CudaTest.cpp.
constexpr double kTolerance = 2e-2;
constexpr int64_t kContext = 0; // the model's
constexpr int32_t kMask = 250; // of all checkpoints here

struct CanvasSession {
  llmc_session *session = nullptr;
  const Opened &opened;
  explicit CanvasSession(const Opened &o) : opened(o) {
    EXPECT_EQ(llmc_session_create(o.model, &session), LLMC_OK) << llmc_last_error();
  }
  ~CanvasSession() { llmc_session_free(session); }

  std::vector<float> score(const std::vector<int32_t> &tokens) {
    std::vector<float> logits(tokens.size() * llmc_model_info(opened.model, LLMC_INFO_VOCAB));
    EXPECT_EQ(llmc_score(session, tokens.data(), tokens.size(), logits.data()), LLMC_OK) << llmc_last_error();
    return logits;
  }
  /// The generation's tokens, in the order in which they come.
  std::vector<int32_t> fill(const Generation &g) {
    for (const auto &[name, value] : g.settings)
      EXPECT_EQ(llmc_set(session, name.c_str(), value.c_str()), LLMC_OK) << llmc_last_error();
    EXPECT_EQ(llmc_ingest(session, g.prompt.data(), g.prompt.size()), LLMC_OK) << llmc_last_error();
    EXPECT_EQ(llmc_begin(session, g.tokens.size()), LLMC_OK) << llmc_last_error();
    std::vector<int32_t> made, block(llmc_model_info(opened.model, LLMC_INFO_MOST_TOKENS));
    for (int64_t count = 1; made.size() < g.tokens.size() && count > 0;) {
      count = 0;
      EXPECT_EQ(llmc_fill(session, &g.sampling, block.data(), block.size(), &count), LLMC_OK) << llmc_last_error();
      made.insert(made.end(), block.begin(), block.begin() + count);
    }
    return made;
  }
};

double relativeError(const float *x, const float *golden, size_t count) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < count; ++i) {
    error += std::pow(double(x[i]) - golden[i], 2);
    norm += std::pow(double(golden[i]), 2);
  }
  return std::sqrt(error / norm);
}

/// A golden's numbers, row after row.
std::vector<float> goldenOf(const std::string &file, size_t rows) {
  std::vector<float> all;
  for (const std::vector<float> &row : readNpy(LLMC_SOURCE "/test/golden/" + file, rows))
    all.insert(all.end(), row.begin(), row.end());
  return all;
}

struct Case {
  const char *name, *arch;
  /// Rows of 100 in which bf16 chooses another expert (test/golden/README.md: "whole rows differ").
  int mostFlips;
};

class CudaCanvas : public testing::TestWithParam<Case> {};

TEST_P(CudaCanvas, LogitsOfEveryPosition) {
  auto [name, arch, mostFlips] = GetParam();
  auto tokens = tokensOf(name);
  Opened opened(artifactOf(name, std::string("--target=cuda --sim --arch=") + arch), LLMC_SIM, 1, kContext);
  ASSERT_EQ(opened.status, LLMC_OK) << opened.error;
  std::vector<float> logits = CanvasSession(opened).score(tokens), golden = goldenOf(std::string(name) + "/logits.npy", tokens.size());
  ASSERT_EQ(golden.size(), logits.size());
  // Rows with another expert are left out; that they are few is a claim of its own.
  const size_t vocab = logits.size() / tokens.size();
  std::vector<float> kept, keptGolden;
  size_t flips = 0;
  for (size_t t = 0; t < tokens.size(); ++t) {
    const float *row = &logits[t * vocab], *expected = &golden[t * vocab];
    if (mostFlips && relativeError(row, expected, vocab) > 2.5 * kTolerance) {
      ++flips;
      continue;
    }
    kept.insert(kept.end(), row, row + vocab);
    keptGolden.insert(keptGolden.end(), expected, expected + vocab);
  }
  EXPECT_LE(flips * 100, mostFlips * tokens.size());
  EXPECT_LE(relativeError(kept.data(), keptGolden.data(), kept.size()), kTolerance);
}

INSTANTIATE_TEST_SUITE_P(Models, CudaCanvas,
                         testing::Values(Case{"llada-a", "sm_80", 0}, Case{"llada-a", "sm_90a", 0}, Case{"dream-a", "sm_90a", 0},
                                         Case{"difflm-a", "sm_80", 0}, Case{"llada-moe-a", "sm_90a", 5}, Case{"sdar-a", "sm_90a", 0},
                                         Case{"sdar-moe-a", "sm_80", 5}, Case{"llada2-a", "sm_80", 5}),
                         [](const auto &info) {
                           std::string name = std::string(info.param.name) + "_" + info.param.arch;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

/// With one step a block, each of its tokens has the largest logit of its row of a canvas whose rest is masks, but for the tolerance
/// on both sides; by the CPU's float32 arithmetic.
void expectLikeliest(const char *name, const char *arch, Generation g, size_t block) {
  Opened gpu(artifactOf(name, std::string("--target=cuda --sim --arch=") + arch), LLMC_SIM, 1, kContext);
  Opened cpu(artifactOf(name, "--cpu=native"), nullptr, 1, kContext);
  ASSERT_EQ(gpu.status, LLMC_OK) << gpu.error;
  ASSERT_EQ(cpu.status, LLMC_OK) << cpu.error;
  std::vector<int32_t> made = CanvasSession(gpu).fill(g), canvas = g.prompt;
  ASSERT_EQ(made.size(), g.tokens.size());
  canvas.resize(g.prompt.size() + made.size(), kMask);
  for (size_t first = 0; first < made.size(); first += block) {
    std::vector<float> logits = CanvasSession(cpu).score(canvas);
    const size_t vocab = logits.size() / canvas.size();
    for (size_t i = first; i < std::min(first + block, made.size()); ++i) {
      float *row = &logits[(g.prompt.size() + i) * vocab];
      double norm = 0;
      for (size_t v = 0; v < vocab; ++v)
        norm += double(row[v]) * row[v];
      row[kMask] = -INFINITY; // never drawn
      ASSERT_GE(made[i], 0);
      ASSERT_NE(made[i], kMask);
      EXPECT_GE(row[made[i]], *std::max_element(row, row + vocab) - 2 * kTolerance * std::sqrt(norm)) << "token " << i;
      canvas[g.prompt.size() + i] = made[i];
    }
  }
}

TEST(CudaCanvasModel, FillsMasksWithTheLikeliestTokens) {
  auto generations = parseGenerations(readFile(LLMC_SOURCE "/test/golden/llada-a/generations.txt"));
  Generation g{{{"block", "4"}, {"steps", "1"}}, generations[0].prompt, std::vector<int32_t>(8)};
  expectLikeliest("llada-a", "sm_90a", g, 4);
}

/// Many steps a block: what is committed when depends on confidences, so a rounding may lead elsewhere, and most often does not.
void expectNearlyTheReference(const std::string &name, const char *arch, std::initializer_list<size_t> which) {
  auto generations = parseGenerations(readFile(LLMC_SOURCE "/test/golden/" + name + "/generations.txt"));
  Opened opened(artifactOf(name, std::string("--target=cuda --sim --arch=") + arch), LLMC_SIM, 1, kContext);
  ASSERT_EQ(opened.status, LLMC_OK) << opened.error;
  size_t equal = 0, all = 0;
  for (size_t i : which) {
    const Generation &g = generations[i];
    std::vector<int32_t> made = CanvasSession(opened).fill(g);
    ASSERT_GE(made.size(), g.tokens.size()); // the last block may be longer
    for (size_t k = 0; k < g.tokens.size(); ++k, ++all)
      equal += made[k] == g.tokens[k];
  }
  EXPECT_GE(equal * 4, all * 3) << equal << " of " << all;
}

TEST(CudaCanvasModel, GenerationsAreNearlyTheReference) { expectNearlyTheReference("llada-a", "sm_80", {1}); }

/// Without the block cache and with it, whose table of rows is made by a kernel.
TEST(CudaCanvasModel, PartsOfBlocksAreNearlyTheReference) { expectNearlyTheReference("fastdllm-a", "sm_90a", {3, 21, 23}); }

/// Latents that patches are decoded from, after each patch of the text, and the patches.
TEST(CudaCalm, LatentsAndDrawsAfterEveryPatch) {
  const std::string name = "calm-b";
  auto tokens = tokensOf(name);
  Opened opened(artifactOf(name, "--autoencoder=" LLMC_SOURCE "/test/golden/calm-b-ae --target=cuda --sim --arch=sm_90a"), LLMC_SIM, 1, kContext);
  ASSERT_EQ(opened.status, LLMC_OK) << opened.error;
  CanvasSession s(opened);
  const size_t patches = tokens.size() / llmc_model_info(opened.model, LLMC_INFO_PATCH);
  std::vector<int32_t> first(tokens.size()), second(tokens.size()), golden;
  std::vector<float> latents(patches * llmc_model_info(opened.model, LLMC_INFO_LATENT));
  ASSERT_EQ(llmc_seed(s.session, 5), LLMC_OK); // the goldens'
  ASSERT_EQ(llmc_score_draws(s.session, tokens.data(), tokens.size(), first.data(), second.data(), latents.data()), LLMC_OK)
      << llmc_last_error();
  std::vector<float> expected = goldenOf(name + "/latents.npy", patches);
  ASSERT_EQ(expected.size(), latents.size());
  EXPECT_LE(relativeError(latents.data(), expected.data(), latents.size()), kTolerance);
  std::istringstream file(readFile(LLMC_SOURCE "/test/golden/" + name + "/draws.txt"));
  for (std::string item; golden.size() < first.size() && std::getline(file, item, ',');)
    golden.push_back(std::stoi(item));
  size_t equal = 0;
  for (size_t i = 0; i < first.size(); ++i)
    equal += first[i] == golden[i];
  EXPECT_GE(equal * 10, first.size() * 9);
}

/// Candidates are drawn in rounds until enough agree: a loop of the plan.
TEST(CudaCalm, GeneratesPatchesThatTheCpuWould) {
  const std::string autoencoder = "--autoencoder=" LLMC_SOURCE "/test/golden/calm-b-ae ";
  Opened gpu(artifactOf("calm-b", autoencoder + "--target=cuda --sim --arch=sm_80"), LLMC_SIM, 1, kContext);
  ASSERT_EQ(gpu.status, LLMC_OK) << gpu.error;
  size_t equal = 0, all = 0;
  auto generations = parseGenerations(readFile(LLMC_SOURCE "/test/golden/calm-b/generations.txt"));
  for (size_t i : {0, 1}) {
    Generation &g = generations[i];
    g.tokens.resize(4);
    auto made = CanvasSession(gpu).fill(g);
    for (size_t k = 0; k < g.tokens.size(); ++k, ++all)
      equal += k < made.size() && made[k] == g.tokens[k];
  }
  EXPECT_GE(equal * 4, all * 3) << equal << " of " << all;
}

} // namespace
