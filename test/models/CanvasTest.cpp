// Models that fill masks: logits of a canvas, and whole generations against independent loops, token for token, alone and in
// batches.
#include "test/models/Cases.h"
#include "test/models/Generations.h"

using llmc::test::Generation;

namespace {

std::vector<Generation> generationsOf(const std::string &name) {
  return llmc::test::parseGenerations(readFile(kGolden + name + "/generations.txt"));
}

const llmc_sampling kGreedy{0, 1, 0, 0, 0};

void prepare(Session &session, const Generation &g) {
  for (const auto &[name, value] : g.settings)
    ASSERT_EQ(llmc_set(session.session, name.c_str(), value.c_str()), LLMC_OK) << llmc_last_error();
  session.ingest(g.prompt);
  ASSERT_EQ(llmc_begin(session.session, g.tokens.size()), LLMC_OK) << llmc_last_error();
}

std::vector<int32_t> generate(const Model &model, const Generation &g, const llmc_sampling &sampling = kGreedy) {
  Session session(model);
  prepare(session, g);
  std::vector<int32_t> made, block(llmc_model_info(model.model, LLMC_INFO_MOST_TOKENS));
  while (made.size() < g.tokens.size()) {
    int64_t count = 0;
    if (llmc_fill(session.session, &sampling, block.data(), block.size(), &count) != LLMC_OK || count == 0) {
      ADD_FAILURE() << llmc_last_error();
      break;
    }
    made.insert(made.end(), block.begin(), block.begin() + count);
  }
  made.resize(g.tokens.size());
  return made;
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
      EXPECT_EQ(generate(model, g), g.tokens) << level;
  }
}

TEST_P(Canvas, BatchesEqualEachAlone) {
  auto generations = generationsOf(GetParam());
  const size_t count = 6;
  Model model(GetParam(), "native", 2, count);
  // Sampled, so that what depends on neighbours would show in the random numbers too.
  std::vector<llmc_sampling> sampling;
  for (size_t i = 0; i < count; ++i)
    sampling.push_back({i % 2 ? 0.8f : 0.0f, 1, 0, 0, 40 + i});
  const int64_t most = llmc_model_info(model.model, LLMC_INFO_MOST_TOKENS);
  std::vector<std::vector<int32_t>> alone, together(count);
  for (size_t i = 0; i < count; ++i)
    alone.push_back(generate(model, generations[i], sampling[i]));
  std::vector<std::unique_ptr<Session>> sessions;
  for (size_t i = 0; i < count; ++i) {
    sessions.push_back(std::make_unique<Session>(model));
    prepare(*sessions.back(), generations[i]);
  }
  for (bool isOpen = true; isOpen;) {
    std::vector<llmc_session *> list;
    std::vector<llmc_sampling> parameters;
    std::vector<size_t> which;
    for (size_t i = 0; i < count; ++i)
      if (together[i].size() < alone[i].size()) {
        list.push_back(sessions[i]->session);
        parameters.push_back(sampling[i]);
        which.push_back(i);
      }
    isOpen = !list.empty();
    if (!isOpen)
      break;
    std::vector<int32_t> tokens(list.size() * most);
    std::vector<int64_t> counts(list.size());
    ASSERT_EQ(llmc_fill_batch(list.data(), parameters.data(), list.size(), tokens.data(), most, counts.data()), LLMC_OK)
        << llmc_last_error();
    for (size_t k = 0; k < list.size(); ++k)
      together[which[k]].insert(together[which[k]].end(), &tokens[k * most], &tokens[k * most] + counts[k]);
  }
  for (size_t i = 0; i < count; ++i) {
    together[i].resize(alone[i].size());
    EXPECT_EQ(together[i], alone[i]) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(, Canvas, testing::Values("llada-a", "llada-b", "dream-a", "difflm-a", "llada-moe-a", "sdar-a",
                                                 "sdar-moe-a", "llada2-a"), [](const auto &info) {
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

TEST(CanvasModel, ErrorsSayWhatToDo) {
  Model model("llada-a");
  Session session(model);
  std::vector<int32_t> tokens(llmc_model_info(model.model, LLMC_INFO_MOST_TOKENS));
  int64_t count;
  session.ingest({1, 2, 3});
  EXPECT_EQ(llmc_fill(session.session, &kGreedy, tokens.data(), tokens.size(), &count), LLMC_UNSUPPORTED);
  EXPECT_STREQ(llmc_last_error(), "session 0 has all tokens that were asked for; begin a generation to say how many shall follow");
  EXPECT_EQ(llmc_set(session.session, "stepz", "3"), LLMC_NOT_FOUND);
  EXPECT_STREQ(llmc_last_error(), "this model has no setting 'stepz'; it has block, steps, remask, threshold, factor, cache");
  EXPECT_EQ(llmc_set(session.session, "steps", "2.5"), LLMC_INVALID_ARGUMENT);
  EXPECT_STREQ(llmc_last_error(), "setting 'steps' is '2.5', expected a whole number from 1 to 224");
  EXPECT_EQ(llmc_set(session.session, "remask", "best"), LLMC_INVALID_ARGUMENT);
  EXPECT_STREQ(llmc_last_error(), "setting 'remask' is 'best', expected one of low-confidence, random, entropy, margin");
  int32_t token;
  EXPECT_NE(llmc_advance(session.session, &kGreedy, &token), LLMC_OK);
  EXPECT_STREQ(llmc_last_error(), "this model makes several tokens at a time; ask for them with fill");
}

} // namespace
