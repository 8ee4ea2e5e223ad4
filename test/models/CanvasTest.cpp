// Models that fill masks: logits of a canvas, and whole generations against independent loops, token for token, alone and in
// batches.
#include "test/models/Generate.h"

namespace {

const llmc_sampling kGreedy{0, 1, 0, 0, 0};

/// Appends what one call makes; whether that worked.
bool fillOnce(const Model &model, llmc_session *session, const llmc_sampling &sampling, std::vector<int32_t> &made) {
  std::vector<int32_t> block(llmc_model_info(model.model, LLMC_INFO_MOST_TOKENS));
  int64_t count = 0;
  bool isMade = llmc_fill(session, &sampling, block.data(), block.size(), &count) == LLMC_OK && count > 0;
  EXPECT_TRUE(isMade) << llmc_last_error();
  made.insert(made.end(), block.begin(), block.begin() + count);
  return isMade;
}

class Canvas : public testing::TestWithParam<std::string> {};

TEST_P(Canvas, LogitsOfEveryPosition) {
  auto tokens = tokensOf(GetParam());
  auto golden = goldenOf(GetParam(), tokens.size());
  for (const char *level : {"x86-64-v3", "native"}) {
    Model model(GetParam(), level);
    auto logits = Session(model).score(tokens);
    double worst = 0;
    for (size_t t = 0; t < tokens.size(); ++t)
      worst = std::max(worst, relativeError(logits[t], golden[t]));
    EXPECT_LT(worst, 1e-5) << level;
  }
}

TEST_P(Canvas, GenerationsEqualTheReferenceLoops) {
  for (const char *level : {"x86-64-v3", "native"}) {
    Model model(GetParam(), level);
    auto generations = generationsOf(GetParam());
    EXPECT_GE(generations.size(), 20u);
    for (const Generation &g : generations)
      EXPECT_EQ(generate(model, g, g.sampling), g.tokens) << level;
  }
}

TEST_P(Canvas, BatchesEqualEachAlone) {
  const size_t count = 6;
  Model model(GetParam(), "native", 2, count);
  // Sampled, so that what depends on neighbours would show in the random numbers too.
  std::vector<llmc_sampling> sampling;
  std::vector<Generation> all = generationsOf(GetParam()), some; // from all parts of the list, which have settings of their own
  for (size_t i = 0; i < count; ++i) {
    sampling.push_back({i % 2 ? 0.8f : 0.0f, 1, 0, 0, 40 + i});
    some.push_back(all[i * all.size() / count]);
  }
  expectBatchesEqualEachAlone(model, some, sampling);
}

// A session that has begun to write is saved and goes on elsewhere with its settings, and with what its blocks keep.
TEST_P(Canvas, RestoredSessionsGoOn) {
  const std::string path = std::string(LLMC_WORK) + "/" + GetParam() + ".session";
  Model model(GetParam()), other(GetParam(), "native", 1, 2);
  auto generations = generationsOf(GetParam());
  for (size_t i = 0; i < 7; ++i) {
    const Generation &g = generations[i % 2 ? i : generations.size() - 1 - i];
    std::vector<int32_t> made;
    for (bool isFirst : {true, false}) { // before anything is written, and after the first call
      Session session(model);
      prepare(session, g);
      made.clear();
      if (!isFirst)
        ASSERT_TRUE(fillOnce(model, session.session, kGreedy, made));
      ASSERT_EQ(llmc_session_save(session.session, path.c_str()), LLMC_OK) << llmc_last_error();
      llmc_session *restored = nullptr;
      ASSERT_EQ(llmc_session_restore(other.model, path.c_str(), &restored), LLMC_OK) << llmc_last_error();
      while (made.size() < g.tokens.size() && fillOnce(other, restored, kGreedy, made)) {
      }
      llmc_session_free(restored);
      made.resize(g.tokens.size());
      EXPECT_EQ(made, g.tokens) << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, Canvas, testing::Values("llada-a", "llada-b", "dream-a", "difflm-a", "llada-moe-a", "sdar-a", "sdar-moe-a",
                                                 "llada2-a", "llada2-b", "fastdllm-a"), [](const auto &info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

/// Pearson's chi-squared of drawn counts against probabilities; what is expected less than 5 times is counted together.
double chiSquared(const std::vector<int> &counts, const std::vector<double> &p, int draws, int &cells) {
  double sum = 0, restExpected = 0, restCount = 0;
  cells = 0;
  auto add = [&](double count, double expected) {
    sum += (count - expected) * (count - expected) / expected;
    ++cells;
  };
  for (size_t i = 0; i < p.size(); ++i)
    if (p[i] * draws >= 5) {
      add(counts[i], p[i] * draws);
    } else {
      restCount += counts[i];
      restExpected += p[i] * draws;
    }
  if (restExpected >= 5)
    add(restCount, restExpected);
  else
    EXPECT_LE(restCount, 20);
  return sum;
}

// One mask after a prompt: its token is drawn from softmax(logits / T) over all ids but the mask, of those that top-k keeps where the
// model's loop knows it. Seeds are fixed, so a bound of four standard deviations cannot fail by chance later.
TEST(CanvasModel, TokensAreDrawnInProportion) {
  Model model("llada-b");
  const int32_t mask = 250;
  std::vector<int32_t> prompt = {7, 11, 13, 17, 19}, canvas = prompt, block(llmc_model_info(model.model, LLMC_INFO_MOST_TOKENS));
  canvas.push_back(mask);
  std::vector<float> logits = Session(model).score(canvas).back();
  for (int topK : {0, 12}) {
    const double temperature = 0.7;
    std::vector<double> p(logits.size());
    std::vector<float> sorted(logits);
    sorted.erase(sorted.begin() + mask);
    std::sort(sorted.rbegin(), sorted.rend());
    double total = 0;
    for (size_t v = 0; v < p.size(); ++v)
      if (int32_t(v) != mask && (topK == 0 || logits[v] >= sorted[topK - 1]))
        total += p[v] = std::exp((logits[v] - sorted[0]) / temperature);
    for (double &x : p)
      x /= total;
    const int draws = 3000;
    std::vector<int> counts(p.size());
    Session session(model);
    for (int i = 0; i < draws; ++i) {
      ASSERT_EQ(llmc_session_reset(session.session), LLMC_OK);
      ASSERT_EQ(llmc_set(session.session, "block", "1"), LLMC_OK);
      session.ingest(prompt);
      ASSERT_EQ(llmc_begin(session.session, 1), LLMC_OK);
      llmc_sampling sampling{float(temperature), 1, 0, topK, uint64_t(1000 + i)};
      int64_t count;
      ASSERT_EQ(llmc_fill(session.session, &sampling, block.data(), block.size(), &count), LLMC_OK) << llmc_last_error();
      ASSERT_EQ(count, 1);
      ++counts[block[0]];
    }
    EXPECT_EQ(counts[mask], 0);
    int cells;
    double x = chiSquared(counts, p, draws, cells);
    EXPECT_GE(cells, 8);
    EXPECT_LT(x, cells - 1 + 4 * std::sqrt(2.0 * (cells - 1))) << cells;
  }
}

/// No confidence reaches 1: the rule then commits one token a step, as the schedule does.
TEST(CanvasModel, AThresholdThatNothingReachesEqualsTheSchedule) {
  Model model("llada-a");
  auto made = [&](std::vector<std::pair<std::string, std::string>> settings) {
    settings.push_back({"block", "16"});
    return generate(model, {settings, {3, 1, 4, 1, 5, 9, 2, 6}, std::vector<int32_t>(64)});
  };
  auto scheduled = made({{"steps", "64"}});
  EXPECT_EQ(made({{"threshold", "1"}}), scheduled);
  EXPECT_NE(made({{"steps", "8"}}), scheduled); // so that the settings are seen to matter
}

/// Caches say nothing where there is guidance, whose forwards keep no keys and values.
TEST(CanvasModel, GuidanceComputesAllRowsWhateverTheCache) {
  Model model("llada-a");
  auto made = [&](const char *cache) {
    return generate(model, {{{"block", "8"}, {"steps", "24"}, {"guidance", "0.5"}, {"cache", cache}}, {3, 1, 4, 1, 5, 9, 2, 6}, std::vector<int32_t>(24)});
  };
  EXPECT_EQ(made("prefix"), made("none"));
  EXPECT_EQ(made("dual"), made("none"));
}

TEST(CanvasModel, ErrorsSayWhatToDo) {
  Model model("llada-a");
  Session session(model);
  std::vector<int32_t> tokens(llmc_model_info(model.model, LLMC_INFO_MOST_TOKENS));
  int64_t count;
  session.ingest({1, 2, 3});
  EXPECT_EQ(llmc_fill(session.session, &kGreedy, tokens.data(), tokens.size(), &count), LLMC_UNSUPPORTED);
  EXPECT_STREQ(llmc_last_error(), "session 0 has all tokens that were asked for; begin a generation to say how many shall follow");
  EXPECT_EQ(llmc_set(session.session, "stepz", "3"), LLMC_NOT_FOUND);
  EXPECT_STREQ(llmc_last_error(), "this model has no setting 'stepz'; it has block, steps, remask, threshold, factor, cache, guidance");
  EXPECT_EQ(llmc_set(session.session, "steps", "2.5"), LLMC_INVALID_ARGUMENT);
  EXPECT_STREQ(llmc_last_error(), "setting 'steps' is '2.5', expected a whole number from 1 to 224");
  EXPECT_EQ(llmc_set(session.session, "remask", "best"), LLMC_INVALID_ARGUMENT);
  EXPECT_STREQ(llmc_last_error(), "setting 'remask' is 'best', expected one of low-confidence, random, entropy, margin");
  int32_t token;
  EXPECT_NE(llmc_advance(session.session, &kGreedy, &token), LLMC_OK);
  EXPECT_STREQ(llmc_last_error(), "this model makes several tokens at a time; ask for them with fill");
}

} // namespace
