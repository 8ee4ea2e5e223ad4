// The CUDA runtime against the drop-in driver: what it says when driver, device or memory are not as needed,
// that nothing is leaked whatever fails, and that advance is recorded once and replayed.
#include "test/models/CudaModels.h"

using namespace llmc::test;

namespace {

const char *const kSim = "--target=cuda --sim --arch=sm_80,sm_90a";

void expectError(const Opened &opened, llmc_status status, const std::string &part) {
  EXPECT_EQ(opened.status, status);
  EXPECT_NE(opened.error.find(part), std::string::npos) << opened.error;
}

TEST(CudaRuntime, SaysThatThereIsNoDriver) {
  Opened opened(artifactOf("llama-a", kSim), "/nowhere/libcuda.so.1");
  expectError(opened, LLMC_UNSUPPORTED, "cannot load the CUDA driver /nowhere/libcuda.so.1");
  expectError(opened, LLMC_UNSUPPORTED, "or compile the model for --target=cpu");
}

TEST(CudaRuntime, SaysThatALibraryIsNoDriver) {
  expectError(Opened(artifactOf("llama-a", kSim), "libm.so.6"), LLMC_UNSUPPORTED,
              "the CUDA driver libm.so.6 lacks cuInit");
}

TEST(CudaRuntime, ChoosesTheNewestCodeThatTheDeviceRuns) {
  Restore restore;
  auto setDevice = control<void(int, int, uint64_t)>("llmcSimSetDevice");
  for (auto [major, minor, level] : {std::tuple(9, 0, "sm_90a"), {8, 6, "sm_80"}, {10, 0, "sm_80"}}) {
    setDevice(major, minor, uint64_t(1) << 30);
    Opened opened(artifactOf("llama-a", kSim), LLMC_SIM);
    ASSERT_EQ(opened.status, LLMC_OK) << opened.error;
    EXPECT_STREQ(llmc_model_text(opened.model, "code_level"), level);
  }
  setDevice(7, 5, uint64_t(1) << 30);
  expectError(Opened(artifactOf("llama-a", kSim), LLMC_SIM), LLMC_UNSUPPORTED,
              "has no code for llmc simulator (sm_75): the artifact holds sm_80, sm_90a; compile the model "
              "again with --arch for this GPU");
}

TEST(CudaRuntime, SaysThatCodeIsForGpusOrForTheSimulator) {
  expectError(Opened(artifactOf("llama-a", "--target=cuda --arch=sm_80 --ptxas=none"), LLMC_SIM),
              LLMC_UNSUPPORTED, "is the simulator; compile the model again with --sim");
  expectError(Opened(artifactOf("llama-a", kSim), LLMC_GPU_DRIVER), LLMC_UNSUPPORTED,
              "drives GPUs; compile the model again without --sim");
  // One that takes GPU code, but no PTX and no cubin of this GPU.
  expectError(Opened(artifactOf("llama-a", "--target=cuda --arch=sm_80 --ptxas=none"), LLMC_GPU_DRIVER),
              LLMC_UNSUPPORTED, "does not load the sm_80 code on llmc simulator: CUDA_ERROR_INVALID_IMAGE");
}

TEST(CudaRuntime, SaysThatTheDriverIsTooOld) {
  Restore restore;
  control<void(int, int)>("llmcSimSetDriver")(11080, 1);
  expectError(Opened(artifactOf("llama-a", kSim), LLMC_SIM), LLMC_UNSUPPORTED,
              "(CUDA 11.8) is too old; install one of CUDA 12.0 or newer");
}

TEST(CudaRuntime, SaysThatThereIsNoGpu) {
  Restore restore;
  control<void(int, int)>("llmcSimSetDriver")(13000, 0);
  expectError(Opened(artifactOf("llama-a", kSim), LLMC_SIM), LLMC_UNSUPPORTED,
              "finds no GPU; compile the model for --target=cpu");
}

TEST(CudaRuntime, SaysThatMemoryIsTooSmall) {
  Restore restore;
  control<void(int, int, uint64_t)>("llmcSimSetDevice")(9, 0, 1 << 20);
  Opened opened(artifactOf("llama-a", kSim), LLMC_SIM);
  expectError(opened, LLMC_OUT_OF_MEMORY, "no memory for ");
  expectError(opened, LLMC_OUT_OF_MEMORY, "on llmc simulator, which has 1 MiB");
}

struct Use {
  llmc_status status = LLMC_OK;
  std::string error;
  std::string failed; ///< call to the driver that was made to fail before the model was closed
};

/// Opens a model, fills three sessions and moves on three, two and one of them: two changes of one recording
/// and another one; forks and saves one.
Use useModel(const std::string &path) {
  auto failedCall = control<const char *()>("llmcSimFailedCall");
  Opened opened(path, LLMC_SIM, 4);
  Use use{opened.status, opened.error, failedCall()};
  if (use.status != LLMC_OK)
    return use;
  llmc_session *sessions[3] = {};
  llmc_sampling sampling[3] = {};
  for (llmc_sampling &s : sampling)
    s.top_p = 1;
  int32_t next[3], prompt[] = {1, 2};
  auto keep = [&](llmc_status s) { use.status = use.status == LLMC_OK ? s : use.status; };
  for (llmc_session *&session : sessions) {
    keep(llmc_session_create(opened.model, &session));
    if (use.status == LLMC_OK)
      keep(llmc_ingest(session, prompt, 2));
  }
  for (int64_t count : {3, 2, 1})
    if (use.status == LLMC_OK)
      keep(llmc_advance_batch(sessions, sampling, count, next));
  llmc_session *fork = nullptr;
  std::string file = std::string(LLMC_WORK) + "/cuda-failing.session";
  if (use.status == LLMC_OK)
    keep(llmc_session_fork(sessions[0], &fork));
  if (use.status == LLMC_OK)
    keep(llmc_session_save(sessions[0], file.c_str()));
  if (use.status != LLMC_OK)
    use.error = llmc_last_error();
  use.failed = failedCall();
  remove(file.c_str());
  if (fork)
    llmc_session_free(fork);
  for (llmc_session *session : sessions)
    if (session)
      llmc_session_free(session);
  return use;
}

/// Every call to the driver that can fail does for want of memory, one after the other, and some for another reason. Kernels are not run: the
/// whole grows with the square of the calls, and what they compute is of no interest here.
std::map<std::string, int> failEveryCall(bool isPersistent) {
  Restore restore;
  control<void(int)>("llmcSimRunKernels")(0);
  auto live = control<const char *()>("llmcSimLiveObjects"), misuse = control<const char *()>("llmcSimReport");
  const std::string before = misuse();
  EXPECT_STREQ(live(), "");
  // One architecture: every run loads the code. With the merged kernel, whose table is memory too.
  const std::string path = artifactOf("llama-a", isPersistent ? "--target=cuda --sim --arch=sm_90a --persistent" : "--target=cuda --sim --arch=sm_90a");
  std::map<std::string, int> failures;
  for (auto [code, name] : {std::pair(2, "CUDA_ERROR_OUT_OF_MEMORY"), {719, "CUDA_ERROR_LAUNCH_FAILED"}}) {
    for (int64_t call = 0;; call += code == 2 ? 1 : 7) {
      if (testing::Test::HasFailure())
        return failures;
      control<void(int64_t, int)>("llmcSimFailCall")(call, code);
      auto [status, error, failed] = useModel(path);
      EXPECT_STREQ(live(), "") << "after " << failed;
      EXPECT_EQ(misuse(), before) << "after " << failed;
      if (failed.empty()) {
        EXPECT_EQ(status, LLMC_OK) << error;
        if (!*control<const char *()>("llmcSimFailedCall")())
          break;
        continue; // nobody can be told of what fails while a model is closed
      }
      ++failures[failed];
      EXPECT_NE(status, LLMC_OK) << "the failure of " << failed << " was not noticed";
      EXPECT_NE(error.find(path + ": "), std::string::npos) << failed << ": " << error;
      bool isTold = error.find(name) != std::string::npos || error.find(": no memory for ") != std::string::npos;
      EXPECT_TRUE(isTold) << failed << ": " << error;
      if (code == 2 && failed.find("Alloc") != std::string::npos)
        EXPECT_EQ(status, LLMC_OUT_OF_MEMORY) << failed << ": " << error;
    }
  }
  return failures;
}

TEST(CudaRuntime, LeaksNothingWhicheverCallFails) {
  auto failures = failEveryCall(/*isPersistent=*/false);
  for (const char *call :
       {"cuMemAlloc_v2", "cuMemAllocHost_v2", "cuEventCreate", "cuStreamCreate", "cuModuleLoadData",
        "cuStreamEndCapture", "cuGraphInstantiateWithFlags", "cuGraphLaunch", "cuGraphExecUpdate_v2",
        "cuMemcpyHtoDAsync_v2", "cuLaunchKernelEx"})
    EXPECT_GT(failures[call], 0) << call;
}

TEST(CudaRuntime, LeaksNothingOfAMergedKernel) {
  auto failures = failEveryCall(/*isPersistent=*/true);
  for (const char *call : {"cuOccupancyMaxActiveBlocksPerMultiprocessor", "cuMemcpyHtoD_v2", "cuLaunchCooperativeKernel"})
    EXPECT_GT(failures[call], 0) << call;
}

TEST(CudaRuntime, RecordsAdvanceOnceAndReplaysIt) {
  auto calls = control<int64_t(const char *)>("llmcSimCalls");
  Opened opened(artifactOf("llama-a", kSim), LLMC_SIM, 4);
  ASSERT_EQ(opened.status, LLMC_OK) << opened.error;
  llmc_session *sessions[4];
  llmc_sampling sampling[4] = {};
  int32_t next[4], prompt[] = {1, 2, 3};
  for (int i = 0; i < 4; ++i) {
    sampling[i].top_p = 1;
    prompt[0] = 1 + i;
    ASSERT_EQ(llmc_session_create(opened.model, &sessions[i]), LLMC_OK);
    ASSERT_EQ(llmc_ingest(sessions[i], prompt, 3), LLMC_OK);
    ASSERT_EQ(llmc_flush(sessions[i]), LLMC_OK) << llmc_last_error();
  }
  struct Counts {
    int64_t kernels, launches, updates, allocations, begun;
  };
  auto counts = [&] {
    return Counts{calls("cuLaunchKernelEx"), calls("cuGraphLaunch"), calls("cuGraphExecUpdate_v2"),
                  calls("cuMemAlloc_v2") + calls("cuMemAllocHost_v2") + calls("cuGraphInstantiateWithFlags"),
                  calls("cuStreamBeginCapture_v2")};
  };
  Counts before = counts();
  for (int64_t count : {1, 1, 2, 2, 4, 4, 1})
    ASSERT_EQ(llmc_advance_batch(sessions, sampling, count, next), LLMC_OK) << llmc_last_error();
  Counts after = counts();
  EXPECT_EQ(after.launches - before.launches, 7);
  EXPECT_EQ(after.kernels, before.kernels) << "what was recorded is launched kernel by kernel";
  EXPECT_EQ(after.begun, before.begun);
  EXPECT_EQ(after.allocations, before.allocations);
  // Three take the recording for four, which is changed for the first call only.
  for (int64_t count : {3, 3, 3})
    ASSERT_EQ(llmc_advance_batch(sessions, sampling, count, next), LLMC_OK) << llmc_last_error();
  after = counts();
  EXPECT_EQ(after.launches - before.launches, 10);
  EXPECT_EQ(after.updates - before.updates, 1);
  EXPECT_EQ(after.allocations, before.allocations);
  for (llmc_session *session : sessions)
    llmc_session_free(session);
}

/// Kernels that wait are launched early, but for the first after a copy, if the driver can record that.
TEST(CudaRuntime, LaunchesEarlyWhatWaits) {
  Restore restore;
  auto early = control<int64_t()>("llmcSimEarlyLaunches");
  auto calls = control<int64_t(const char *)>("llmcSimCalls");
  std::string path = artifactOf("llama-a", "--target=cuda --sim --overlap-launches --arch=sm_80,sm_90a");
  auto launches = [&](int major, int version) {
    control<void(int, int, uint64_t)>("llmcSimSetDevice")(major, 0, uint64_t(1) << 30);
    control<void(int, int)>("llmcSimSetDriver")(version, 1);
    int64_t earlyBefore = early(), before = calls("cuLaunchKernelEx");
    Opened opened(path, LLMC_SIM);
    EXPECT_EQ(opened.status, LLMC_OK) << opened.error;
    return std::pair(early() - earlyBefore, calls("cuLaunchKernelEx") - before);
  };
  auto [earlyOnes, all] = launches(9, 13000); // the one recording of advance
  EXPECT_EQ(earlyOnes, all - 1);
  EXPECT_GT(all, 5);
  EXPECT_EQ(launches(9, 12020), std::pair(int64_t(0), all));
  EXPECT_EQ(launches(8, 13000), std::pair(int64_t(0), all));
}

/// However many sessions move on together, each gets the tokens that it gets alone.
TEST(CudaRuntime, ReplaysGiveTheTokensOfOtherBatches) {
  std::string path = artifactOf("kimi-a", "--target=cuda --sim --arch=sm_90a");
  auto run = [&](std::vector<int64_t> counts) {
    Opened opened(path, LLMC_SIM, 5);
    EXPECT_EQ(opened.status, LLMC_OK) << opened.error;
    std::vector<llmc_session *> sessions(5);
    std::vector<llmc_sampling> sampling(5);
    std::vector<std::vector<int32_t>> tokens(5);
    for (int i = 0; i < 5; ++i) {
      int32_t prompt[] = {1 + i, 2, 3};
      sampling[i] = {};
      sampling[i].temperature = 0.7f;
      sampling[i].top_p = 0.9f;
      sampling[i].seed = static_cast<uint64_t>(i);
      EXPECT_EQ(llmc_session_create(opened.model, &sessions[i]), LLMC_OK) << llmc_last_error();
      EXPECT_EQ(llmc_ingest(sessions[i], prompt, 3), LLMC_OK) << llmc_last_error();
    }
    while (tokens[0].size() < 3)
      for (size_t first = 0, c = 0; first < 5; first += static_cast<size_t>(counts[c++])) {
        int32_t next[5];
        EXPECT_EQ(llmc_advance_batch(&sessions[first], &sampling[first], counts[c], next), LLMC_OK)
            << llmc_last_error();
        for (int64_t i = 0; i < counts[c]; ++i)
          tokens[first + static_cast<size_t>(i)].push_back(next[i]);
      }
    for (llmc_session *session : sessions)
      llmc_session_free(session);
    return tokens;
  };
  auto alone = run({1, 1, 1, 1, 1});
  EXPECT_EQ(run({5}), alone);
  EXPECT_EQ(run({3, 2}), alone);
}

} // namespace
