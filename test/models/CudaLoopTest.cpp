// Loops of programs on the CUDA path, in the simulator: in the merged kernel, in a graph, or trip by trip from the host.
#include "test/models/CudaModels.h"
#include "test/models/Generations.h"
#include <set>

using namespace llmc::test;

namespace {

constexpr int kOutOfMemory = 2, kNotSupported = 801; // CUDA_ERROR_...
const std::string kFlags = "--target=cuda --sim --arch=sm_80";

/// What a model that fills masks made, by how many calls to the driver.
struct Filled {
  llmc_status status = LLMC_OK;
  std::string error, failed;
  std::vector<int32_t> tokens;
  int64_t merged = 0, kernels = 0, nodes = 0, graphs = 0; ///< launches of kernels, loops in graphs, launches of graphs
};

/// Opens the model and fills `blocks` blocks of 6 masks in 3 steps each; what is before a block is computed once for it. From then on the driver's call after `failing` further ones
/// fails with `code`.
Filled fill(const std::string &path, int blocks = 1, int64_t failing = -1, int code = 0) {
  Opened opened(path, LLMC_SIM, 1, /*context: the model's*/ 0);
  EXPECT_EQ(opened.status, LLMC_OK) << opened.error;
  llmc_session *session = nullptr;
  EXPECT_EQ(llmc_session_create(opened.model, &session), LLMC_OK) << llmc_last_error();
  for (auto [name, value] : {std::pair("block", "6"), {"steps", "3"}, {"cache", "prefix"}})
    EXPECT_EQ(llmc_set(session, name, value), LLMC_OK);
  Generation g = parseGenerations(readFile(LLMC_SOURCE "/test/golden/llada-a/generations.txt"))[0];
  EXPECT_EQ(llmc_ingest(session, g.prompt.data(), g.prompt.size()), LLMC_OK) << llmc_last_error();
  EXPECT_EQ(llmc_begin(session, 6 * blocks), LLMC_OK) << llmc_last_error();
  EXPECT_EQ(llmc_flush(session), LLMC_OK) << llmc_last_error();
  Filled made;
  auto count = [&](int64_t sign) {
    made.merged += sign * callsOf("cuLaunchCooperativeKernel");
    made.kernels += sign * callsOf("cuLaunchKernelEx");
    made.nodes += sign * callsOf("cuGraphAddNode");
    made.graphs += sign * callsOf("cuGraphLaunch");
  };
  count(-1);
  std::vector<int32_t> block(llmc_model_info(opened.model, LLMC_INFO_MOST_TOKENS));
  const llmc_sampling greedy{0, 1, 0, 0, 0};
  if (code)
    control<void(int64_t, int)>("llmcSimFailCall")(failing, code);
  for (int i = 0; i < blocks && made.status == LLMC_OK; ++i) {
    int64_t tokens = 0;
    made.status = llmc_fill(session, &greedy, block.data(), block.size(), &tokens);
    made.tokens.insert(made.tokens.end(), block.begin(), block.begin() + tokens);
  }
  if (made.status != LLMC_OK)
    made.error = llmc_last_error();
  made.failed = control<const char *()>("llmcSimFailedCall")();
  count(1);
  control<void(int64_t, int)>("llmcSimFailCall")(-1, 0);
  llmc_session_free(session);
  return made;
}

/// One launch a block, however many steps it takes: of the merged kernel, or of a graph.
TEST(CudaLoops, FillMasksWithoutTheHost) {
  Restore restore;
  const std::string path = artifactOf("llada-a", kFlags);
  Filled graph = fill(path, 2);
  ASSERT_EQ(graph.status, LLMC_OK) << graph.error;
  EXPECT_EQ(graph.tokens.size(), 12u);
  EXPECT_EQ(graph.graphs, 2);
  EXPECT_GE(graph.nodes, 2); // sizes differ, so the graph was made twice

  control<void(int, int)>("llmcSimSetDriver")(12020, 1); // has no loops in graphs
  Filled host = fill(path, 2);
  EXPECT_EQ(host.graphs + host.nodes, 0);
  EXPECT_GT(host.kernels, 50);
  EXPECT_EQ(host.tokens, graph.tokens);
  control<void(int, int)>("llmcSimSetDriver")(13000, 1);

  Filled merged = fill(artifactOf("llada-a", kFlags + " --persistent"), 2);
  EXPECT_EQ(merged.tokens, graph.tokens);
  EXPECT_EQ(merged.merged, 2);
  EXPECT_EQ(merged.graphs + merged.nodes, 0);
  EXPECT_EQ(merged.kernels, 0);
}

/// Kernels of a loop's body are launched one after the other, whatever those outside of it are.
TEST(CudaLoops, LaunchNothingEarlyInABody) {
  Restore restore;
  auto early = control<int64_t()>("llmcSimEarlyLaunches");
  control<void(int)>("llmcSimRunKernels")(0); // then no loop goes on
  const std::string path = artifactOf("llada-a", "--target=cuda --sim --arch=sm_90a --overlap-launches");
  const int64_t before = early();
  Filled made = fill(path);
  EXPECT_EQ(made.status, LLMC_OK) << made.error;
  EXPECT_GT(made.nodes, 0);
  // The body has as many kernels as there are outside of it.
  EXPECT_GT(early(), before);
  EXPECT_LE(2 * (early() - before), made.kernels);
}

/// A driver that refuses such a graph at whichever point leaves loops to the host. Kernels run only where the loop itself is refused.
TEST(CudaLoops, AreTheHostsWhereTheDriverHasNone) {
  Restore restore;
  const std::string path = artifactOf("llada-a", kFlags);
  const std::vector<int32_t> expected = fill(path).tokens;
  std::map<std::string, int64_t> refused; // the last call of each name
  for (int64_t call = 1; call < 1000; ++call) {
    control<void(int)>("llmcSimRunKernels")(0);
    Filled made = fill(path, 1, call, kNotSupported);
    if (made.failed.empty() || made.failed == "cuGraphLaunch") // what comes then is no graph's making
      break;
    EXPECT_EQ(made.status, LLMC_OK) << made.failed << ": " << made.error;
    EXPECT_EQ(made.graphs, 0);
    refused[made.failed] = call;
  }
  for (const char *call : {"cuGraphCreate", "cuGraphConditionalHandleCreate", "cuStreamBeginCaptureToGraph", "cuStreamGetCaptureInfo_v2",
                           "cuGraphAddNode", "cuStreamEndCapture", "cuGraphInstantiateWithFlags"})
    EXPECT_EQ(refused.count(call), 1u) << call;
  control<void(int)>("llmcSimRunKernels")(1);
  Filled host = fill(path, 1, refused["cuGraphAddNode"], kNotSupported);
  EXPECT_EQ(host.failed, "cuGraphAddNode");
  EXPECT_EQ(host.tokens, expected);
}

TEST(CudaLoops, LeakNothingWhicheverCallFails) {
  Restore restore;
  const std::string path = artifactOf("llada-a", kFlags);
  auto live = control<const char *()>("llmcSimLiveObjects"), misuse = control<const char *()>("llmcSimReport");
  const std::string before = misuse();
  control<void(int)>("llmcSimRunKernels")(0); // then no loop goes on
  std::set<std::string> failures;
  for (int64_t call = 0; call < 1000; ++call) {
    Filled made = fill(path, 2, call, kOutOfMemory);
    EXPECT_STREQ(live(), "") << "after " << made.failed;
    EXPECT_EQ(misuse(), before) << "after " << made.failed;
    if (made.failed.empty())
      break;
    // Where a graph is waited for that goes, what the driver says is of no interest.
    bool mayBeOk = made.failed == "cuCtxSetCurrent" || made.failed == "cuStreamSynchronize";
    EXPECT_TRUE(made.status == LLMC_OUT_OF_MEMORY || (mayBeOk && made.status == LLMC_OK)) << made.failed << ": " << made.error;
    failures.insert(made.failed);
  }
  for (const char *call : {"cuGraphCreate", "cuGraphConditionalHandleCreate", "cuGraphAddNode", "cuGraphInstantiateWithFlags"})
    EXPECT_EQ(failures.count(call), 1u) << call;
}

} // namespace
