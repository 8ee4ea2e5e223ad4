// Whole models against goldens made by independent implementations (test/golden/README.md), and the promises
// about pieces, batches, threads and compilations. Each checkpoint is compiled once per CPU level by the llmc
// program.
#include "test/models/Cases.h"

namespace {

class Golden : public testing::TestWithParam<std::string> {};

TEST_P(Golden, LogitsAtEveryPositionOfEveryPromptLength) {
  auto tokens = tokensOf(GetParam());
  auto golden = goldenOf(GetParam(), tokens.size());
  Model model(GetParam());
  for (size_t n : {1, 2, 63, 64, 65, 200}) {
    Session session(model);
    auto rows = session.score(first(tokens, n));
    ASSERT_EQ(rows[0].size(), golden[0].size());
    for (size_t t = 0; t < n; ++t)
      ASSERT_LE(relativeError(rows[t], golden[t]), kTolerance) << "prompt of " << n << ", position " << t;
  }
}

TEST_P(Golden, Avx2Code) {
  auto tokens = tokensOf(GetParam());
  auto golden = goldenOf(GetParam(), tokens.size());
  Model model(GetParam(), "x86-64-v3");
  EXPECT_STREQ(llmc_model_text(model.model, "code_level"), "x86-64-v3");
  Session session(model);
  auto rows = session.score(tokens);
  for (size_t t = 0; t < tokens.size(); ++t)
    ASSERT_LE(relativeError(rows[t], golden[t]), kTolerance) << "position " << t;
}

TEST_P(Golden, ChunkAlignedPiecesEqualTheWholeBitForBit) {
  auto tokens = tokensOf(GetParam());
  Model model(GetParam());
  Session whole(model);
  auto expected = whole.score(tokens);
  llmc_session_free(whole.session);
  whole.session = nullptr;
  for (size_t cut : {64, 128}) {
    Session session(model);
    auto a = session.score(first(tokens, cut)), b = session.score(from(tokens, cut, tokens.size()));
    a.insert(a.end(), b.begin(), b.end());
    EXPECT_TRUE(a == expected) << "cut at " << cut;
  }
}

TEST_P(Golden, OddPiecesStayWithinTolerance) {
  auto tokens = tokensOf(GetParam());
  auto golden = goldenOf(GetParam(), tokens.size());
  Model model(GetParam());
  Session session(model);
  for (size_t at = 0; at < tokens.size();) {
    size_t n = std::min<size_t>(1 + at % 23, tokens.size() - at);
    auto rows = session.score(from(tokens, at, at + n));
    for (size_t t = 0; t < n; ++t)
      ASSERT_LE(relativeError(rows[t], golden[at + t]), kTolerance) << "position " << at + t;
    at += n;
  }
}

TEST_P(Golden, AdvanceEqualsScoreOnTheLongerText) {
  auto prompt = first(tokensOf(GetParam()), 20);
  Model model(GetParam(), "native", 2, 2);
  Session generating(model), scoring(model);
  generating.ingest(prompt);
  auto text = prompt;
  for (int i = 0; i < 40; ++i)
    text.push_back(generating.advance());
  auto rows = scoring.score(text);
  for (size_t t = prompt.size(); t < text.size(); ++t)
    EXPECT_EQ(text[t], argmax(rows[t - 1])) << "position " << t;
  // The states reached token by token and all at once agree: bit for bit without a recurrence, within
  // tolerance where chunked and one-token forms differ.
  auto x = generating.score({5, 7}), y = scoring.score({5, 7});
  for (size_t t = 0; t < x.size(); ++t)
    if (GetParam().find("kimi") == std::string::npos)
      EXPECT_TRUE(x[t] == y[t]);
    else
      EXPECT_LE(relativeError(x[t], y[t]), kTolerance);
}

TEST_P(Golden, OneThreadEqualsTwo) {
  auto tokens = tokensOf(GetParam());
  Model one(GetParam(), "native", 1), two(GetParam(), "native", 2);
  Session a(one), b(two);
  EXPECT_TRUE(a.score(tokens) == b.score(tokens));
  a.ingest({3});
  b.ingest({3});
  for (int i = 0; i < 8; ++i)
    EXPECT_EQ(a.advance(), b.advance());
}

TEST_P(Golden, ABatchEqualsEachAlone) {
  auto tokens = tokensOf(GetParam());
  Model model(GetParam(), "native", 2, 4);
  std::vector<std::vector<int32_t>> alone;
  const std::vector<size_t> lengths = {1, 70, 33};
  for (size_t n : lengths) {
    Session session(model);
    session.ingest(first(tokens, n));
    alone.emplace_back();
    for (int i = 0; i < 12; ++i)
      alone.back().push_back(session.advance());
  }
  std::vector<std::unique_ptr<Session>> sessions;
  std::vector<llmc_session *> handles;
  std::vector<const int32_t *> data;
  std::vector<int64_t> counts;
  for (size_t n : lengths) {
    sessions.push_back(std::make_unique<Session>(model));
    handles.push_back(sessions.back()->session);
    data.push_back(tokens.data());
    counts.push_back(n);
  }
  ASSERT_EQ(llmc_ingest_batch(handles.data(), data.data(), counts.data(), handles.size()), LLMC_OK)
      << llmc_last_error();
  llmc_sampling greedy{};
  greedy.top_p = 1;
  std::vector<llmc_sampling> sampling(handles.size(), greedy);
  for (int i = 0; i < 12; ++i) {
    std::vector<int32_t> next(handles.size());
    ASSERT_EQ(llmc_advance_batch(handles.data(), sampling.data(), handles.size(), next.data()), LLMC_OK)
        << llmc_last_error();
    for (size_t j = 0; j < next.size(); ++j)
      EXPECT_EQ(next[j], alone[j][i]) << "sequence " << j << ", token " << i;
  }
}

TEST_P(Golden, TwoCompilationsGiveTheSameBytes) {
  std::string again = std::string(LLMC_WORK) + "/again.llmc";
  ASSERT_TRUE(compileTo(GetParam(), "native", again));
  EXPECT_TRUE(readFile(again) == readFile(artifactOf(GetParam(), "native")));
}

INSTANTIATE_TEST_SUITE_P(Models, Golden,
                         testing::Values("autodeco-llama", "llama-a", "llama-b", "llama-c", "llama-d", "kimi-a", "kimi-b",
                                         "kimi-c", "kimi-extreme", "qwen2-a", "qwen3-a", "qwen3-b",
                                         "qwen3moe-a", "qwen3moe-b", "tiny-llama", "tiny-kimi"),
                         [](const auto &info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

class Tiny : public testing::TestWithParam<std::string> {};

/// greedy.txt: ids of a prompt, the likeliest ids after it, their text as a JSON string.
TEST_P(Tiny, WritesTheTextOfTheReferenceLoop) {
  std::istringstream file(readFile(kGolden + GetParam() + "/greedy.txt"));
  auto ids = [&] {
    std::string line;
    std::getline(file, line);
    std::vector<int32_t> list;
    std::istringstream in(line);
    for (std::string item; std::getline(in, item, ',');)
      list.push_back(std::stoi(item));
    return list;
  };
  auto prompt = ids(), expected = ids();
  ASSERT_FALSE(expected.empty());
  Model model(GetParam());
  Session session(model);
  session.ingest(prompt);
  for (size_t i = 0; i < expected.size(); ++i)
    ASSERT_EQ(session.advance(), expected[i]) << "token " << i;
}

INSTANTIATE_TEST_SUITE_P(Models, Tiny, testing::Values("tiny-llama", "tiny-kimi"), [](const auto &info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

} // namespace
