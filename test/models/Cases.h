// The cases of test/golden: their checkpoints compiled by the llmc program, once per CPU level, their tokens and logits, and
// models and sessions of the C API that end with their scope.
#pragma once
#include "llmc.h"
#include "test/Npy.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <sys/stat.h>
#include <vector>

using llmc::test::readFile;
using llmc::test::readNpy;

inline const std::string kGolden = LLMC_SOURCE "/test/golden/";

/// The case whose base the heads of this case are for; the case itself if it has all it needs.
inline std::string baseOf(const std::string &name) {
  for (auto [heads, base] : {std::pair("autodeco-qwen2", "qwen2-a"), std::pair("autodeco-qwen3", "qwen3-a"),
                             std::pair("autodeco-qwen3moe", "qwen3moe-a"), std::pair("autodeco-llama-d", "llama-d")})
    if (name == heads)
      return base;
  return name;
}

/// What `llmc compile` is given for a case: the directory of its checkpoint, beside its logits or, of a trained
/// model, under models/; or a base and the directory of heads for it.
inline std::string checkpointOf(const std::string &name) {
  const std::string models = LLMC_SOURCE "/models/";
  if (name == "tiny-autodeco")
    return models + "llama/tiny --heads=" + models + "autodeco/tiny";
  if (name == "tiny-kimi")
    return models + "kimi_linear/tiny";
  if (name == "tiny-calm")
    return models + "calm/tiny --autoencoder=" + models + "calm/tiny/autoencoder";
  if (name == "tiny-calm-ae")
    return models + "calm/tiny/autoencoder";
  if (name.rfind("tiny-", 0) == 0)
    return models + name.substr(5) + "/tiny";
  if (name == "calm-a" || name == "calm-b")
    return kGolden + name + " --autoencoder=" + kGolden + name + "-ae";
  if (baseOf(name) != name)
    return kGolden + baseOf(name) + " --heads=" + kGolden + name;
  return kGolden + name;
}

/// Compiles the checkpoint into `path` and returns whether that worked.
inline bool compileTo(const std::string &name, const std::string &level, const std::string &path) {
  std::string command =
      std::string(LLMC_PROGRAM) + " compile " + checkpointOf(name) + " --cpu=" + level + " -o " + path;
  return system(command.c_str()) == 0;
}

inline std::string artifactOf(const std::string &name, const std::string &level) {
  static std::map<std::string, std::string> known;
  std::string &path = known[name + "." + level];
  if (path.empty()) {
    mkdir(LLMC_WORK, 0777);
    path = std::string(LLMC_WORK) + "/" + name + "." + level + ".llmc";
    EXPECT_TRUE(compileTo(name, level, path)) << name;
  }
  return path;
}

inline std::vector<int32_t> tokensOf(const std::string &name) {
  std::vector<int32_t> tokens;
  std::istringstream in(readFile(kGolden + name + "/tokens.txt"));
  for (std::string item; std::getline(in, item, ',');)
    tokens.push_back(std::stoi(item));
  return tokens;
}

inline std::vector<std::vector<float>> goldenOf(const std::string &name, size_t tokens) {
  return readNpy(kGolden + name + "/logits.npy", tokens);
}

struct Model {
  llmc_model *model = nullptr;
  Model(const std::string &name, const std::string &level = "native", int threads = 2, int slots = 1) {
    llmc_model_options options;
    llmc_model_options_init(&options);
    options.threads = threads;
    options.slots = slots;
    EXPECT_EQ(llmc_model_open(artifactOf(name, level).c_str(), &options, &model), LLMC_OK)
        << llmc_last_error();
  }
  ~Model() { llmc_model_close(model); }
  size_t vocab() const { return llmc_model_info(model, LLMC_INFO_VOCAB); }
};

struct Session {
  llmc_session *session = nullptr;
  size_t vocab;
  explicit Session(const Model &m) : vocab(m.vocab()) {
    EXPECT_EQ(llmc_session_create(m.model, &session), LLMC_OK) << llmc_last_error();
  }
  ~Session() { llmc_session_free(session); }
  Session(const Session &) = delete;

  std::vector<std::vector<float>> score(const std::vector<int32_t> &tokens) {
    std::vector<float> flat(tokens.size() * vocab);
    EXPECT_EQ(llmc_score(session, tokens.data(), tokens.size(), flat.data()), LLMC_OK) << llmc_last_error();
    std::vector<std::vector<float>> rows;
    for (size_t t = 0; t < tokens.size(); ++t)
      rows.emplace_back(flat.begin() + t * vocab, flat.begin() + (t + 1) * vocab);
    return rows;
  }
  void ingest(const std::vector<int32_t> &tokens) {
    EXPECT_EQ(llmc_ingest(session, tokens.data(), tokens.size()), LLMC_OK) << llmc_last_error();
  }
  int32_t advance() {
    llmc_sampling greedy{};
    greedy.top_p = 1;
    int32_t token = -1;
    EXPECT_EQ(llmc_advance(session, &greedy, &token), LLMC_OK) << llmc_last_error();
    return token;
  }
};

inline double relativeError(const std::vector<float> &x, const std::vector<float> &golden) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < golden.size(); ++i) {
    error += std::pow(double(x[i]) - golden[i], 2);
    norm += std::pow(double(golden[i]), 2);
  }
  return std::sqrt(error / norm);
}

inline std::vector<int32_t> first(const std::vector<int32_t> &v, size_t n) { return {v.begin(), v.begin() + n}; }
inline std::vector<int32_t> from(const std::vector<int32_t> &v, size_t begin, size_t end) {
  return {v.begin() + begin, v.begin() + end};
}
inline int32_t argmax(const std::vector<float> &row) {
  return std::max_element(row.begin(), row.end()) - row.begin();
}

/// The tolerance of the design for unquantized logits on the CPU.
inline constexpr double kTolerance = 1e-5;
