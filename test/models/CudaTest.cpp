// The CUDA path without a GPU: whole models in the simulator against the goldens. The artifacts differ from
// those for a GPU in their code blob only.
#include "test/models/CudaModels.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <sstream>

using namespace llmc::test;

namespace {

std::vector<int32_t> generate(const Opened &opened, const std::vector<int32_t> &prompt, int count,
                              float temperature) {
  llmc_session *session = nullptr;
  EXPECT_EQ(llmc_session_create(opened.model, &session), LLMC_OK) << llmc_last_error();
  EXPECT_EQ(llmc_ingest(session, prompt.data(), prompt.size()), LLMC_OK) << llmc_last_error();
  llmc_sampling sampling{};
  sampling.temperature = temperature;
  sampling.top_p = 0.9f;
  sampling.top_k = 20;
  sampling.seed = 7;
  std::vector<int32_t> tokens(count, -1);
  for (int32_t &token : tokens)
    EXPECT_EQ(llmc_advance(session, &sampling, &token), LLMC_OK) << llmc_last_error();
  llmc_session_free(session);
  return tokens;
}

class Simulated : public testing::TestWithParam<std::pair<const char *, const char *>> {};

std::vector<float> scored(const Opened &opened, const std::vector<int32_t> &tokens) {
  llmc_session *session = nullptr;
  EXPECT_EQ(llmc_session_create(opened.model, &session), LLMC_OK) << llmc_last_error();
  std::vector<float> logits(tokens.size() * llmc_model_info(opened.model, LLMC_INFO_VOCAB));
  EXPECT_EQ(llmc_score(session, tokens.data(), tokens.size(), logits.data()), LLMC_OK) << llmc_last_error();
  llmc_session_free(session);
  return logits;
}

/// Relative L2 error of the logits: activations and caches are stored as bf16, and products take bf16 operands.
constexpr double kTolerance = 2e-2;

/// Relative L2 error of the first rows of a checkpoint's logits.
double errorOf(const std::vector<float> &logits, const std::string &name) {
  std::string file = readFile(LLMC_SOURCE "/test/golden/" + name + "/logits.npy");
  uint16_t headerBytes;
  memcpy(&headerBytes, &file.at(8), 2);
  EXPECT_GE(file.size(), 10 + headerBytes + logits.size() * 4);
  double error = 0, norm = 0;
  for (size_t i = 0; i < logits.size() && 10 + headerBytes + (i + 1) * 4 <= file.size(); ++i) {
    float golden;
    memcpy(&golden, &file[10 + headerBytes + i * 4], 4);
    error += std::pow(double(logits[i]) - golden, 2);
    norm += std::pow(double(golden), 2);
  }
  return std::sqrt(error / norm);
}

TEST_P(Simulated, LogitsAgreeWithTheGoldens) {
  auto [name, arch] = GetParam();
  auto tokens = tokensOf(name);
  // One long prompt, of several tiles of rows; simulation is slow.
  bool isLong = name == std::string("llama-a") && arch == std::string("sm_80");
  tokens.resize(isLong ? tokens.size() : 24);
  Opened opened(artifactOf(name, std::string("--target=cuda --sim --arch=") + arch), LLMC_SIM);
  ASSERT_EQ(opened.status, LLMC_OK) << opened.error;
  EXPECT_STREQ(llmc_model_text(opened.model, "code_level"), arch);
  std::vector<float> logits = scored(opened, tokens);
  EXPECT_LE(errorOf(logits, name), kTolerance);
}

/// What a row gives depends neither on the rows behind it nor on the piece in which it comes.
TEST_P(Simulated, RowsDoNotDependOnTheirNeighbours) {
  auto [name, arch] = GetParam();
  auto tokens = tokensOf(name);
  tokens.resize(21);
  Opened opened(artifactOf(name, std::string("--target=cuda --sim --arch=") + arch), LLMC_SIM);
  ASSERT_EQ(opened.status, LLMC_OK) << opened.error;
  std::vector<float> all = scored(opened, tokens), some = scored(opened, {tokens.begin(), tokens.begin() + 6});
  EXPECT_TRUE(std::equal(some.begin(), some.end(), all.begin()));
}

/// Every token of `made` has a logit that, but for the tolerance on both sides, is the largest by the CPU's float32 arithmetic.
void expectGreedy(const Opened &cpu, std::vector<int32_t> prompt, const std::vector<int32_t> &made) {
  size_t first = prompt.size() - 1, vocab = llmc_model_info(cpu.model, LLMC_INFO_VOCAB);
  prompt.insert(prompt.end(), made.begin(), made.end());
  std::vector<float> logits = scored(cpu, prompt);
  for (size_t i = 0; i < made.size(); ++i) {
    const float *row = &logits[(first + i) * vocab];
    double norm = 0;
    for (size_t j = 0; j < vocab; ++j)
      norm += double(row[j]) * row[j];
    ASSERT_GE(made[i], 0);
    EXPECT_GE(row[made[i]], *std::max_element(row, row + vocab) - 2 * kTolerance * std::sqrt(norm)) << "token " << i;
  }
}

TEST_P(Simulated, GeneratesTokensThatTheCpuWould) {
  auto [name, arch] = GetParam();
  bool isLong = name == std::string("llama-a");
  auto prompt = tokensOf(name);
  prompt.resize(isLong ? 70 : 18);
  Opened gpu(artifactOf(name, std::string("--target=cuda --sim --arch=") + arch), LLMC_SIM);
  Opened cpu(artifactOf(name, "--cpu=native"), nullptr);
  ASSERT_EQ(gpu.status, LLMC_OK) << gpu.error;
  ASSERT_EQ(cpu.status, LLMC_OK) << cpu.error;
  expectGreedy(cpu, prompt, generate(gpu, prompt, isLong ? 8 : 3, 0));
  // The slot is used again: its state must have been cleared. The same draws give the same tokens.
  auto sampled = generate(gpu, {3}, 4, 0.8f);
  EXPECT_EQ(generate(gpu, {3}, 4, 0.8f), sampled);
}

/// Copies in device memory, and states that pass through host memory.
TEST_P(Simulated, SessionsForkAndComeBackFromFiles) {
  auto [name, arch] = GetParam();
  auto prompt = tokensOf(name);
  bool isLong = name == std::string("llama-a"); // simulation is slow
  prompt.resize(isLong ? 70 : 18);
  Opened opened(artifactOf(name, std::string("--target=cuda --sim --arch=") + arch), LLMC_SIM, 3);
  ASSERT_EQ(opened.status, LLMC_OK) << opened.error;
  const llmc_sampling greedy{0, 1, 0, 0, 0};
  llmc_session *all[3] = {};
  ASSERT_EQ(llmc_session_create(opened.model, &all[0]), LLMC_OK) << llmc_last_error();
  ASSERT_EQ(llmc_ingest(all[0], prompt.data(), prompt.size()), LLMC_OK) << llmc_last_error();
  int32_t token;
  for (int i = 0; i < 3; ++i)
    ASSERT_EQ(llmc_advance(all[0], &greedy, &token), LLMC_OK) << llmc_last_error();
  std::string file = std::string(LLMC_WORK) + "/cuda-" + name + arch + ".session";
  ASSERT_EQ(llmc_session_fork(all[0], &all[1]), LLMC_OK) << llmc_last_error();
  ASSERT_EQ(llmc_session_save(all[1], file.c_str()), LLMC_OK) << llmc_last_error();
  ASSERT_EQ(llmc_session_restore(opened.model, file.c_str(), &all[2]), LLMC_OK) << llmc_last_error();
  const std::string saved = readFile(file);
  ASSERT_EQ(llmc_session_save(all[2], file.c_str()), LLMC_OK) << llmc_last_error();
  EXPECT_TRUE(readFile(file) == saved);
  std::string bits;
  for (int i = 0; i < 3; ++i) { // each alone: the others' slots must stay what they are
    for (int step = 0; step < 4; ++step)
      ASSERT_EQ(llmc_advance(all[i], &greedy, &token), LLMC_OK) << llmc_last_error();
    ASSERT_EQ(llmc_session_save(all[i], file.c_str()), LLMC_OK) << llmc_last_error();
    if (i == 0)
      bits = readFile(file);
    EXPECT_TRUE(readFile(file) == bits) << "copy " << i;
  }
  EXPECT_NE(bits, saved);
  for (llmc_session *each : all)
    llmc_session_free(each);
  remove(file.c_str());
}

INSTANTIATE_TEST_SUITE_P(Models, Simulated,
                         testing::Values(std::pair("llama-a", "sm_80"), std::pair("llama-a", "sm_90a"),
                                         std::pair("kimi-a", "sm_80"), std::pair("kimi-a", "sm_90a"),
                                         std::pair("autodeco-llama", "sm_90a"),
                                         std::pair("qwen2-a", "sm_80"), std::pair("qwen3-a", "sm_80"),
                                         std::pair("qwen3-b", "sm_90a"), // heads of 32 columns: attention on warpgroups
                                         std::pair("qwen3moe-a", "sm_80")),
                         [](const auto &info) {
                           std::string name = std::string(info.param.first) + "_" + info.param.second;
                           for (char &c : name)
                             c = c == '-' ? '_' : c;
                           return name;
                         });

/// Models with a delta rule of few heads, of which long prompts go in segments: of 64 tokens, with unbounded gates, and of 128.
class Segments : public testing::TestWithParam<std::pair<const char *, const char *>> {
protected:
  std::string name = GetParam().first, flags = std::string("--target=cuda --sim --arch=") + GetParam().second;
};

TEST_P(Segments, LongPromptsAgreeWithTheGoldens) {
  Opened opened(artifactOf(name, flags), LLMC_SIM);
  ASSERT_EQ(opened.status, LLMC_OK) << opened.error;
  EXPECT_LE(errorOf(scored(opened, tokensOf(name)), name), kTolerance);
}

/// A call of 512 rows has no room for both prompts: the second one is cut where a segment ends, so that its state has the bits that it has alone.
TEST_P(Segments, ABatchEqualsEachAlone) {
  auto tokens = tokensOf(name);
  tokens.insert(tokens.end(), tokens.begin(), tokens.end());
  const int32_t *texts[] = {tokens.data(), tokens.data() + 7};
  const int64_t counts[] = {300, 280};
  Opened opened(artifactOf(name, flags), LLMC_SIM, 3, 512);
  ASSERT_EQ(opened.status, LLMC_OK) << opened.error;
  const std::string file = std::string(LLMC_WORK) + "/segments-" + name + ".session";
  llmc_session *sessions[3] = {};
  for (llmc_session *&each : sessions)
    ASSERT_EQ(llmc_session_create(opened.model, &each), LLMC_OK) << llmc_last_error();
  ASSERT_EQ(llmc_ingest_batch(sessions, texts, counts, 2), LLMC_OK) << llmc_last_error();
  const llmc_sampling greedy[2] = {{0, 1, 0, 0, 0}, {0, 1, 0, 0, 0}};
  int32_t next[3];
  ASSERT_EQ(llmc_advance_batch(sessions, greedy, 2, next), LLMC_OK) << llmc_last_error();
  ASSERT_EQ(llmc_ingest(sessions[2], texts[1], counts[1]), LLMC_OK) << llmc_last_error();
  ASSERT_EQ(llmc_advance(sessions[2], greedy, &next[2]), LLMC_OK) << llmc_last_error();
  std::string saved[2];
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(llmc_session_save(sessions[1 + i], file.c_str()), LLMC_OK) << llmc_last_error();
    saved[i] = readFile(file);
  }
  EXPECT_TRUE(saved[0] == saved[1]);
  for (llmc_session *each : sessions)
    llmc_session_free(each);
  remove(file.c_str());
}

INSTANTIATE_TEST_SUITE_P(Models, Segments, testing::Values(std::pair("kimi-extreme", "sm_80"), std::pair("kimi-b", "sm_90a")),
                         [](const auto &info) { return std::string(info.param.first).replace(4, 1, "_") + "_" + info.param.second; });

/// Registers and spills of every kernel, from the assembler where there is one.
class Resources : public testing::TestWithParam<const char *> {};

TEST_P(Resources, KernelsSpillNextToNothing) {
  // What ptxas 13.0 spills now is a few values that live across the loop over workgroups; a kernel that
  // spills in its inner loops has far more.
  constexpr int kMaxSpillBytes = 64;

  for (const char *arch : {"sm_80", "sm_90a"}) {
    std::string path = artifactOf(GetParam(), std::string("--target=cuda --arch=") + arch),
                table = path + ".txt";
    ASSERT_EQ(system((std::string(LLMC_PROGRAM) + " inspect --resources " + path + " > " + table).c_str()),
              0);
    std::istringstream in(readFile(table));
    std::string line, name, threads, registers, spills;
    std::getline(in, line);
    if (line.find("(PTX)") != std::string::npos)
      GTEST_SKIP() << "no ptxas on this machine: PTX is not assembled";
    ASSERT_NE(line.find(std::string("cuda ") + arch + " (cubin)"), std::string::npos) << line;
    std::getline(in, line);
    int kernels = 0;
    for (; std::getline(in, line); ++kernels) {
      std::istringstream(line) >> name >> threads >> registers >> spills;
      EXPECT_LE(std::atoi(spills.c_str()), kMaxSpillBytes) << line;
      EXPECT_GT(std::atoi(registers.c_str()), 0) << line;
    }
    EXPECT_GT(kernels, 5);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Resources, testing::Values("llama-a", "kimi-a"), [](const auto &info) {
  return std::string(info.param).replace(5 - (info.param[0] == 'k'), 1, "_");
});

} // namespace
