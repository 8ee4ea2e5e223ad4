// CALM: reconstructions of the autoencoder, latents and draws of the language model, and whole generations by either rule against an
// independent loop with the same random numbers.
#include "test/models/Generate.h"

namespace {

std::vector<std::vector<int32_t>> drawsOf(const std::string &name) {
  std::vector<std::vector<int32_t>> draws;
  std::istringstream file(readFile(kGolden + name + "/draws.txt"));
  for (std::string line; std::getline(file, line);) {
    std::istringstream in(line);
    draws.emplace_back();
    for (std::string item; std::getline(in, item, ',');)
      draws.back().push_back(std::stoi(item));
  }
  return draws;
}

class Calm : public testing::TestWithParam<std::string> {};

TEST_P(Calm, AutoencoderReconstructs) {
  const std::string name = GetParam() + "-ae";
  auto tokens = tokensOf(name);
  auto golden = goldenOf(name, tokens.size());
  for (const char *level : {"x86-64-v3", "native"}) {
    Model model(name, level);
    auto logits = Session(model).score(tokens);
    double worst = 0;
    for (size_t t = 0; t < tokens.size(); ++t)
      worst = std::max(worst, relativeError(logits[t], golden[t]));
    EXPECT_LT(worst, kTolerance) << level;
  }
}

struct Scored {
  std::vector<int32_t> first, second;
  std::vector<std::vector<float>> latents;
};

/// The goldens' draws are by seed 5; the text in calls of so many tokens.
Scored scored(const Model &model, const std::vector<int32_t> &tokens, size_t piece) {
  Session session(model);
  EXPECT_EQ(llmc_seed(session.session, 5), LLMC_OK);
  const size_t patch = llmc_model_info(model.model, LLMC_INFO_PATCH), columns = llmc_model_info(model.model, LLMC_INFO_LATENT);
  Scored s{std::vector<int32_t>(tokens.size()), std::vector<int32_t>(tokens.size()), {}};
  for (size_t begin = 0; begin < tokens.size(); begin += piece) {
    const size_t count = std::min(piece, tokens.size() - begin);
    std::vector<float> latents(count / patch * columns);
    EXPECT_EQ(llmc_score_draws(session.session, &tokens[begin], count, &s.first[begin], &s.second[begin], latents.data()), LLMC_OK)
        << llmc_last_error();
    for (size_t p = 0; p < count / patch; ++p)
      s.latents.emplace_back(latents.begin() + p * columns, latents.begin() + (p + 1) * columns);
  }
  return s;
}

TEST_P(Calm, LatentsAndDrawsAfterEveryPatch) {
  auto tokens = tokensOf(GetParam());
  auto draws = drawsOf(GetParam());
  for (const char *level : {"x86-64-v3", "native"}) {
    Model model(GetParam(), level);
    Scored s = scored(model, tokens, tokens.size());
    auto golden = readNpy(kGolden + GetParam() + "/latents.npy", s.latents.size());
    double worst = 0;
    for (size_t p = 0; p < golden.size(); ++p)
      worst = std::max(worst, relativeError(s.latents[p], golden[p]));
    EXPECT_LT(worst, kTolerance) << level;
    EXPECT_EQ(s.first, draws[0]) << level;
    EXPECT_EQ(s.second, draws[1]) << level;
    Scored pieces = scored(model, tokens, 64), small = scored(model, tokens, 8);
    EXPECT_EQ(pieces.latents, s.latents) << level;
    EXPECT_EQ(small.latents, s.latents) << level;
    EXPECT_EQ(small.second, s.second) << level;
  }
}

TEST_P(Calm, GenerationsEqualTheReferenceLoop) {
  for (const char *level : {"x86-64-v3", "native"}) {
    Model model(GetParam(), level);
    auto generations = generationsOf(GetParam());
    EXPECT_GE(generations.size(), 20u);
    for (const Generation &g : generations)
      EXPECT_EQ(generate(model, g, g.sampling), g.tokens) << level << ", temperature " << g.sampling.temperature;
  }
}

TEST_P(Calm, BatchesEqualEachAlone) {
  auto generations = generationsOf(GetParam());
  Model model(GetParam(), "native", 2, 8);
  std::vector<llmc_sampling> sampling;
  for (size_t i = 0; i < 7; ++i)
    sampling.push_back(generations[i].sampling);
  expectBatchesEqualEachAlone(model, generations, sampling);
}

/// Tokens that follow, of one generation.
std::vector<int32_t> next(Session &session, int64_t count, const llmc_sampling &sampling) {
  std::vector<int32_t> made, patch(64);
  EXPECT_EQ(llmc_begin(session.session, count), LLMC_OK) << llmc_last_error();
  while (int64_t(made.size()) < count) {
    int64_t n = 0;
    if (llmc_fill(session.session, &sampling, patch.data(), patch.size(), &n) != LLMC_OK || n == 0) {
      ADD_FAILURE() << llmc_last_error();
      break;
    }
    made.insert(made.end(), patch.begin(), patch.begin() + n);
  }
  return made;
}

// What was drawn last is not in the caches when more is said; a prompt that ends within a patch is completed with pads.
TEST_P(Calm, ConversationsGoOnAsIfReadAtOnce) {
  Model model(GetParam(), "native", 2, 3);
  const int32_t pad = 132;
  const llmc_sampling sampling{0.5f, 1, 0, 0, 77};
  const size_t patch = llmc_model_info(model.model, LLMC_INFO_PATCH);
  Session session(model);
  std::vector<int32_t> all = {5, 7, 9, 11, 13};
  session.ingest(all);
  auto made = next(session, 8, sampling);
  EXPECT_EQ(made.size(), 8u);
  while (all.size() % patch)
    all.push_back(pad);
  all.insert(all.end(), made.begin(), made.end());
  EXPECT_EQ(llmc_session_tokens(session.session), int64_t(all.size()));
  llmc_session *forked = nullptr;
  ASSERT_EQ(llmc_session_fork(session.session, &forked), LLMC_OK) << llmc_last_error();
  std::vector<int32_t> said(71, 42);
  session.ingest(said);
  all.insert(all.end(), said.begin(), said.end());
  auto answer = next(session, 6, sampling);
  EXPECT_EQ(answer.size(), (6 + patch - 1) / patch * patch);
  Session again(model);
  again.ingest(all);
  EXPECT_EQ(next(again, 6, sampling), answer);
  llmc_session_free(forked);
}

TEST_P(Calm, ErrorsSayWhy) {
  Model model(GetParam());
  Session session(model);
  std::vector<int32_t> tokens(8, 1), out(8);
  std::vector<float> logits(8 * model.vocab());
  EXPECT_EQ(llmc_score(session.session, tokens.data(), tokens.size(), logits.data()), LLMC_UNSUPPORTED);
  EXPECT_STREQ(llmc_last_error(), "this model has no logits and no probabilities of tokens: it draws patches of tokens from noise, and all that can be "
                                  "known of their distribution is draws from it (llmc-run --score measures those)");
  EXPECT_EQ(llmc_score_draws(session.session, tokens.data(), 3, out.data(), out.data(), nullptr), LLMC_INVALID_ARGUMENT);
  EXPECT_EQ(std::string(llmc_last_error()).find("this model works on patches of"), 0u) << llmc_last_error();
  EXPECT_EQ(llmc_begin(session.session, 4), LLMC_UNSUPPORTED);
  EXPECT_STREQ(llmc_last_error(), "the session has no token to go on from; ingest one first");
  session.ingest(tokens);
  ASSERT_EQ(llmc_begin(session.session, 4), LLMC_OK);
  const llmc_sampling flat{1.5f, 1, 0, 0, 0};
  int64_t count = 0;
  std::vector<int32_t> patch(64);
  EXPECT_EQ(llmc_fill(session.session, &flat, patch.data(), patch.size(), &count), LLMC_INVALID_ARGUMENT);
  EXPECT_STREQ(llmc_last_error(), "temperature 1.500000 is above 1.000000, the most that this model can be drawn at: it has no probabilities that could "
                                  "be flattened");
  llmc_sampling own;
  llmc_model_sampling(model.model, &own);
  EXPECT_EQ(own.temperature, 0.5f);
}

INSTANTIATE_TEST_SUITE_P(, Calm, testing::Values("calm-a", "calm-b"), [](const auto &info) { return info.index ? "b" : "a"; });

} // namespace
