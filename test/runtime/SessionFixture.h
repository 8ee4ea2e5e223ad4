// Sessions of the toy model through the C API, for tests.
#pragma once
#include "TestModel.h"
#include "runtime/include/llmc.h"

namespace llmc::test {

class Sessions : public testing::Test {
protected:
  void SetUp() override {
    path_ = folder_.file("toy.llmc");
    absl::Status status = writeArtifact(path_, testModel());
    ASSERT_TRUE(status.ok()) << status;
  }

  llmc_model *open(int slots = 1, int threads = 1, int64_t context = 0) const {
    return openFile(path_, slots, threads, context);
  }
  static llmc_model *openFile(const std::string &path, int slots = 1, int threads = 1, int64_t context = 0) {
    llmc_model_options options;
    llmc_model_options_init(&options);
    options.slots = slots;
    options.threads = threads;
    options.context = context;
    llmc_model *model = nullptr;
    EXPECT_EQ(llmc_model_open(path.c_str(), &options, &model), LLMC_OK) << llmc_last_error();
    return model;
  }
  static llmc_session *session(llmc_model *model) {
    llmc_session *session = nullptr;
    EXPECT_EQ(llmc_session_create(model, &session), LLMC_OK) << llmc_last_error();
    return session;
  }
  static llmc_session *forkOf(const llmc_session *session) {
    llmc_session *fork = nullptr;
    EXPECT_EQ(llmc_session_fork(session, &fork), LLMC_OK) << llmc_last_error();
    return fork;
  }
  static void ingest(llmc_session *session, const std::vector<int32_t> &tokens) {
    EXPECT_EQ(llmc_ingest(session, tokens.data(), static_cast<int64_t>(tokens.size())), LLMC_OK)
        << llmc_last_error();
  }
  /// Advances and appends what the toy model must say, or what is given instead of the end token, to
  /// `tokens`.
  static void expectNext(llmc_session *session, std::vector<int32_t> &tokens, const std::string &what = "") {
    int32_t token = -2, expected = testNext(tokens);
    llmc_status status = llmc_advance(session, &kGreedy, &token);
    if (expected == kVocab - 1) { // the toy's logits are not finite here
      EXPECT_EQ(status, LLMC_NOT_FINITE) << what;
      expected = 5;
      ingest(session, {expected});
    } else {
      EXPECT_EQ(status, LLMC_OK) << what << ": " << llmc_last_error();
      EXPECT_EQ(token, expected) << what;
    }
    tokens.push_back(expected);
  }
  static std::vector<int32_t> tokensOf(const llmc_session *session) {
    std::vector<int32_t> tokens(static_cast<size_t>(llmc_session_tokens(session)));
    EXPECT_EQ(llmc_session_read_tokens(session, 0, tokens.data(), static_cast<int64_t>(tokens.size())),
              static_cast<int64_t>(tokens.size()));
    return tokens;
  }
  static std::vector<int32_t> prompt(int64_t count, int seed) {
    std::vector<int32_t> tokens;
    for (int64_t i = 0; i < count; ++i)
      tokens.push_back(static_cast<int32_t>((i * 31 + seed * 17 + i * i) % 97));
    while (testNext(tokens) == 96 || testNext(tokens) == 0)
      tokens.back() = (tokens.back() + 1) % 97;
    return tokens;
  }
  static constexpr llmc_sampling kGreedy = {0, 1, 0, 0, 0};

  TemporaryFolder folder_;
  std::string path_;
};

} // namespace llmc::test
