// For the tests of the CUDA path: artifacts of the golden checkpoints, compiled once, and models opened.
#pragma once
#include "llmc.h"
#include "runtime/sim/SimControl.h"
#include "test/Npy.h"
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <map>
#include <sstream>
#include <string>
#include <sys/stat.h>
#include <vector>

namespace llmc::test {

/// A function of SimControl.h.
template <typename F> F *control(const char *name) {
  return reinterpret_cast<F *>(dlsym(dlopen(LLMC_SIM, RTLD_NOW), name));
}
inline int64_t callsOf(const char *name) { return control<int64_t(const char *)>("llmcSimCalls")(name); }

/// Puts the simulated device back as it was.
struct Restore {
  ~Restore() {
    control<void(int, int, uint64_t)>("llmcSimSetDevice")(9, 0, uint64_t(16) << 30);
    control<void(int, int)>("llmcSimSetDriver")(13000, 1);
    control<void(int64_t, int)>("llmcSimFailCall")(-1, 0);
    control<void(int)>("llmcSimRunKernels")(1);
  }
};

/// The artifact of a checkpoint of test/golden, compiled with `flags` on first use.
inline std::string artifactOf(const std::string &name, const std::string &flags) {
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

inline std::vector<int32_t> tokensOf(const std::string &name) {
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
  Opened(const std::string &path, const char *libcuda, int slots = 1, int64_t context = 256) {
    llmc_model_options options;
    llmc_model_options_init(&options);
    options.libcuda = libcuda;
    options.slots = slots;
    options.context = context;
    options.threads = 1;
    status = llmc_model_open(path.c_str(), &options, &model);
    if (status != LLMC_OK)
      error = llmc_last_error();
  }
  ~Opened() { llmc_model_close(model); }
};

} // namespace llmc::test
