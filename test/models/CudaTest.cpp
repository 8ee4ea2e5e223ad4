// The CUDA path without a GPU: whole models in the simulator against the goldens, and what the runtime says
// when driver, device or memory are not as needed. The artifacts differ from those for a GPU in their code
// blob only.
#include "llmc.h"
#include "runtime/sim/SimControl.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <dlfcn.h>
#include <fstream>
#include <gtest/gtest.h>
#include <map>
#include <sstream>
#include <string>
#include <sys/stat.h>
#include <vector>

namespace {

std::string readFile(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The artifact of a checkpoint of test/golden, compiled with `flags` on first use.
std::string artifactOf(const std::string &name, const std::string &flags) {
  static std::map<std::string, std::string> known;
  std::string &path = known[name + flags];
  if (path.empty()) {
    mkdir(LLMC_WORK, 0777);
    path = std::string(LLMC_WORK) + "/cuda-" + std::to_string(known.size()) + ".llmc";
    std::string command = std::string(LLMC_PROGRAM) + " compile " LLMC_SOURCE "/test/golden/" + name + " " +
                          flags + " -o " + path;
    EXPECT_EQ(system(command.c_str()), 0) << command;
  }
  return path;
}

std::vector<int32_t> tokensOf(const std::string &name) {
  std::vector<int32_t> tokens;
  std::istringstream in(readFile(LLMC_SOURCE "/test/golden/" + name + "/tokens.txt"));
  for (std::string item; std::getline(in, item, ',');)
    tokens.push_back(std::stoi(item));
  return tokens;
}

struct Opened {
  llmc_model *model = nullptr;
  llmc_status status;
  std::string error;
  Opened(const std::string &path, const char *libcuda, int slots = 1) {
    llmc_model_options options;
    llmc_model_options_init(&options);
    options.libcuda = libcuda;
    options.slots = slots;
    options.context = 256;
    options.threads = 1;
    status = llmc_model_open(path.c_str(), &options, &model);
    if (status != LLMC_OK)
      error = llmc_last_error();
  }
  ~Opened() { llmc_model_close(model); }
};

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
  std::string file = readFile(LLMC_SOURCE "/test/golden/" + std::string(name) + "/logits.npy");
  uint16_t headerBytes;
  memcpy(&headerBytes, &file.at(8), 2);
  ASSERT_GE(file.size(), 10 + headerBytes + logits.size() * 4);
  double error = 0, norm = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    float golden;
    memcpy(&golden, &file[10 + headerBytes + i * 4], 4);
    error += std::pow(double(logits[i]) - golden, 2);
    norm += std::pow(double(golden), 2);
  }
  EXPECT_LE(std::sqrt(error / norm), kTolerance);
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

INSTANTIATE_TEST_SUITE_P(Models, Simulated,
                         testing::Values(std::pair("llama-a", "sm_80"), std::pair("llama-a", "sm_90a"),
                                         std::pair("kimi-a", "sm_80"), std::pair("kimi-a", "sm_90a"),
                                         std::pair("qwen2-a", "sm_80"), std::pair("qwen3-a", "sm_80"),
                                         std::pair("qwen3moe-a", "sm_80")),
                         [](const auto &info) {
                           std::string name = std::string(info.param.first) + "_" + info.param.second;
                           for (char &c : name)
                             c = c == '-' ? '_' : c;
                           return name;
                         });

template <typename F> F *control(const char *name) {
  return reinterpret_cast<F *>(dlsym(dlopen(LLMC_SIM, RTLD_NOW), name));
}
const char *const kSim = "--target=cuda --sim --arch=sm_80,sm_90a";

/// Puts the simulated device back as it was.
struct Restore {
  ~Restore() {
    control<void(int, int, uint64_t)>("llmcSimSetDevice")(9, 0, uint64_t(16) << 30);
    control<void(int64_t)>("llmcSimFailAllocation")(-1);
  }
};

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

TEST(CudaRuntime, SaysThatTheDriverTakesOtherCode) {
  expectError(Opened(artifactOf("llama-a", "--target=cuda --arch=sm_80 --ptxas=none"), LLMC_SIM),
              LLMC_UNSUPPORTED, "does not load the sm_80 code on llmc simulator: CUDA_ERROR_INVALID_IMAGE");
}

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

TEST(CudaRuntime, SaysThatMemoryIsTooSmall) {
  Restore restore;
  control<void(int, int, uint64_t)>("llmcSimSetDevice")(9, 0, 1 << 20);
  Opened opened(artifactOf("llama-a", kSim), LLMC_SIM);
  expectError(opened, LLMC_OUT_OF_MEMORY, "no memory for ");
  expectError(opened, LLMC_OUT_OF_MEMORY, "on llmc simulator, which has 1 MiB");
}

TEST(CudaRuntime, LeaksNothingWhicheverAllocationFails) {
  Restore restore;
  auto live = control<int64_t()>("llmcSimLiveAllocations");
  ASSERT_EQ(live(), 0);
  int64_t failures = 0;
  for (;; ++failures) {
    control<void(int64_t)>("llmcSimFailAllocation")(failures);
    Opened opened(artifactOf("llama-a", kSim), LLMC_SIM);
    if (opened.status == LLMC_OK)
      break;
    ASSERT_EQ(opened.status, LLMC_OUT_OF_MEMORY) << opened.error;
    ASSERT_EQ(live(), 0) << "after failure " << failures;
  }
  EXPECT_GT(failures, 10);
  EXPECT_EQ(live(), 0);
}

} // namespace
