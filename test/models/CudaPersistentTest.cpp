// Artifacts of --persistent in the simulator: `advance` is one cooperative launch, and gives the bits that its kernels give one by one.
#include "runtime/SessionFile.h"
#include "test/models/CudaModels.h"

using namespace llmc::test;

namespace {

int64_t prefetchedBytes() { return control<int64_t()>("llmcSimPrefetchedBytes")(); }

/// Tokens of sessions that move on in batches of these sizes, one of them forked, and what a saved session holds in the end.
struct Outcome {
  std::vector<int32_t> tokens;
  std::string state;
  bool operator==(const Outcome &o) const { return tokens == o.tokens && state == o.state; }
};

Outcome useModel(const std::string &path) {
  Outcome outcome;
  Opened opened(path, LLMC_SIM, 4);
  EXPECT_EQ(opened.status, LLMC_OK) << opened.error;
  if (opened.status != LLMC_OK)
    return outcome;
  llmc_session *sessions[4] = {};
  llmc_sampling sampling[4] = {};
  for (int i = 0; i < 3; ++i) {
    int32_t prompt[] = {1 + i, 2, 3};
    EXPECT_EQ(llmc_session_create(opened.model, &sessions[i]), LLMC_OK) << llmc_last_error();
    EXPECT_EQ(llmc_ingest(sessions[i], prompt, 3), LLMC_OK) << llmc_last_error();
  }
  for (int i = 0; i < 4; ++i)
    sampling[i] = {0.7f, 0.9f, 0, 0, uint64_t(i)};
  int32_t next[4];
  auto advance = [&](int64_t count) {
    EXPECT_EQ(llmc_advance_batch(sessions, sampling, count, next), LLMC_OK) << llmc_last_error();
    outcome.tokens.insert(outcome.tokens.end(), next, next + count);
  };
  advance(1);
  advance(3); // the recording for four, changed
  EXPECT_EQ(llmc_session_fork(sessions[0], &sessions[3]), LLMC_OK) << llmc_last_error();
  advance(4);
  std::string file = path + ".session";
  EXPECT_EQ(llmc_session_save(sessions[3], file.c_str()), LLMC_OK) << llmc_last_error();
  outcome.state = readFile(file).substr(sizeof(llmc::runtime::SessionHeader)); // which names the artifact
  remove(file.c_str());
  for (llmc_session *session : sessions)
    llmc_session_free(session);
  return outcome;
}

class Persistent : public testing::TestWithParam<std::pair<const char *, const char *>> {};

TEST_P(Persistent, GivesTheBitsOfItsKernels) {
  auto [name, arch] = GetParam();
  const std::string flags = std::string("--target=cuda --sim --arch=") + arch;
  Outcome apart = useModel(artifactOf(name, flags));
  const int64_t before = callsOf("cuLaunchCooperativeKernel");
  const int64_t fetched = prefetchedBytes();
  Outcome merged = useModel(artifactOf(name, flags + " --persistent"));
  // Recordings for 1, 2 and 4 sessions; the last is changed to 3 and back.
  EXPECT_EQ(callsOf("cuLaunchCooperativeKernel") - before, 5);
  // Three calls, each with the weights of all layers, which are more than 10 KB.
  EXPECT_GT(prefetchedBytes() - fetched, 3 * 10000);
  ASSERT_EQ(merged.tokens.size(), 8u);
  EXPECT_EQ(merged.tokens, apart.tokens);
  EXPECT_TRUE(merged.state == apart.state);
}

INSTANTIATE_TEST_SUITE_P(Models, Persistent,
                         testing::Values(std::pair("llama-a", "sm_80"), std::pair("kimi-a", "sm_90a"), std::pair("qwen3moe-a", "sm_90a")),
                         [](const auto &info) {
                           std::string name = std::string(info.param.first) + "_" + info.param.second;
                           name[name.find('-')] = '_';
                           return name;
                         });

} // namespace
