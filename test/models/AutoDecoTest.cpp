// AutoDeco: what the heads predict against an independent oracle, what tokens are drawn with it, and what callers see of it.
#include "test/ChiSquared.h"
#include "test/models/Cases.h"
#include <numeric>
#include <set>

namespace {

using namespace llmc::test;

struct Decoding {
  float temperature = -1, topP = -1;
  bool operator==(const Decoding &o) const { return temperature == o.temperature && topP == o.topP; }
};

Decoding decodingOf(const Session &session) {
  Decoding d;
  EXPECT_EQ(llmc_session_decoding(session.session, &d.temperature, &d.topP), LLMC_OK) << llmc_last_error();
  return d;
}

llmc_sampling parameters(float temperature = 1, float topP = 1, uint64_t seed = 1) {
  llmc_sampling s{};
  s.temperature = temperature;
  s.top_p = topP;
  s.seed = seed;
  return s;
}

int32_t draw(Session &session, const llmc_sampling &sampling) {
  int32_t token = -1;
  EXPECT_EQ(llmc_advance(session.session, &sampling, &token), LLMC_OK) << llmc_last_error();
  return token;
}

/// What is drawn after the first `n` tokens of a case, and with what.
std::pair<int32_t, Decoding> drawAfter(const Model &model, const std::vector<int32_t> &tokens, size_t n,
                                       const llmc_sampling &sampling) {
  Session session(model);
  session.ingest(first(tokens, n));
  int32_t token = draw(session, sampling);
  return {token, decodingOf(session)};
}

class AutoDeco : public testing::TestWithParam<std::string> {
protected:
  std::string base() const { return baseOf(GetParam()); }
  std::vector<int32_t> tokens = tokensOf(base());
  /// Temperature, top-p and four statistics after each token.
  std::vector<std::vector<float>> golden = readNpy(kGolden + GetParam() + "/decoding.npy", tokens.size());
};

TEST_P(AutoDeco, PredictsWhatTheOracleDoes) {
  for (const char *level : {"native", "x86-64-v3"}) {
    Model model(GetParam(), level);
    for (size_t n : {1, 2, 3, 5, 8, 13, 21, 34, 55, 63, 64, 65, 66, 89, 127, 128, 129, 144, 177, 200}) {
      Decoding d = drawAfter(model, tokens, n, parameters()).second;
      EXPECT_NEAR(d.temperature, golden[n - 1][0], 1e-5) << level << ", prompt of " << n;
      EXPECT_NEAR(d.topP, golden[n - 1][1], 1e-5) << level << ", prompt of " << n;
    }
  }
}

TEST_P(AutoDeco, TheCallersNumbersMultiply) {
  Model model(GetParam());
  auto logits = goldenOf(base(), tokens.size());
  for (size_t n : {7, 70}) {
    Decoding predicted = drawAfter(model, tokens, n, parameters()).second;
    auto [token, half] = drawAfter(model, tokens, n, parameters(0.5f, 0.25f));
    EXPECT_FLOAT_EQ(half.temperature, predicted.temperature * 0.5f);
    EXPECT_FLOAT_EQ(half.topP, predicted.topP * 0.25f);
    // Greedy by wish, and where what is left of the temperature is below 1e-5.
    int32_t likeliest = argmax(logits[n - 1]);
    auto [greedy, none] = drawAfter(model, tokens, n, parameters(0));
    EXPECT_EQ(greedy, likeliest);
    EXPECT_EQ(none.temperature, 0);
    bool isPredicted = predicted.temperature != 1;
    auto [cold, least] = drawAfter(model, tokens, n, parameters(4e-6f));
    EXPECT_EQ(least.temperature, isPredicted ? 0 : 4e-6f);
    EXPECT_EQ(cold, likeliest);
  }
}

TEST_P(AutoDeco, ABatchEqualsEachAloneBitForBit) {
  Model model(GetParam(), "native", 2, 3);
  const std::vector<size_t> lengths = {1, 70, 33};
  std::vector<llmc_sampling> sampling;
  for (size_t i = 0; i < lengths.size(); ++i)
    sampling.push_back(parameters(1, 1, 10 + i));
  using Step = std::pair<int32_t, Decoding>;
  std::vector<std::vector<Step>> alone(lengths.size());
  for (size_t i = 0; i < lengths.size(); ++i) {
    Session session(model);
    session.ingest(first(tokens, lengths[i]));
    for (int step = 0; step < 12; ++step) {
      int32_t token = draw(session, sampling[i]);
      alone[i].push_back({token, decodingOf(session)});
    }
  }
  std::vector<std::unique_ptr<Session>> sessions;
  std::vector<llmc_session *> handles;
  for (size_t n : lengths) {
    sessions.push_back(std::make_unique<Session>(model));
    sessions.back()->ingest(first(tokens, n));
    handles.push_back(sessions.back()->session);
  }
  for (int step = 0; step < 12; ++step) {
    std::vector<int32_t> next(lengths.size());
    ASSERT_EQ(llmc_advance_batch(handles.data(), sampling.data(), handles.size(), next.data()), LLMC_OK)
        << llmc_last_error();
    for (size_t i = 0; i < lengths.size(); ++i)
      EXPECT_TRUE(alone[i][step] == Step(next[i], decodingOf(*sessions[i]))) << "sequence " << i << ", token " << step;
  }
}

/// softmax(logits / temperature), cut to the fewest likeliest that reach `topP`.
std::vector<double> probabilities(const std::vector<float> &logits, double temperature, double topP) {
  double top = *std::max_element(logits.begin(), logits.end()), sum = 0, mass = 0, bound = 0;
  std::vector<double> p;
  for (float l : logits)
    p.push_back(std::exp((l - top) / temperature));
  sum = std::accumulate(p.begin(), p.end(), 0.0);
  std::vector<double> falling(p);
  std::sort(falling.rbegin(), falling.rend());
  for (double x : falling) {
    bound = x;
    if ((mass += x) >= topP * sum)
      break;
  }
  for (double &x : p)
    x = x >= bound ? x / mass : 0;
  return p;
}

TEST_P(AutoDeco, DrawsFollowThePredictedDistribution) {
  constexpr int64_t kSlots = 64, kRounds = 60;
  Model model(GetParam(), "native", 2, kSlots);
  auto logits = goldenOf(base(), tokens.size());
  std::vector<std::unique_ptr<Session>> sessions;
  std::vector<llmc_session *> handles;
  for (int64_t i = 0; i < kSlots; ++i) {
    sessions.push_back(std::make_unique<Session>(model));
    handles.push_back(sessions.back()->session);
  }
  // The rows with the flattest distributions that are drawn from, near the beginning.
  std::vector<size_t> rows(24);
  std::iota(rows.begin(), rows.end(), 0);
  auto kept = [&](size_t t) {
    auto p = probabilities(logits[t], golden[t][0], golden[t][1]);
    return std::count_if(p.begin(), p.end(), [](double x) { return x > 0; });
  };
  std::sort(rows.begin(), rows.end(), [&](size_t a, size_t b) { return kept(a) > kept(b); });
  ASSERT_GT(kept(rows[1]), 1);
  for (size_t row : {rows[0], rows[1]}) {
    std::vector<double> counts(model.vocab());
    for (int64_t round = 0; round < kRounds; ++round) {
      std::vector<llmc_sampling> sampling;
      for (int64_t i = 0; i < kSlots; ++i) {
        ASSERT_EQ(llmc_session_reset(handles[i]), LLMC_OK);
        sessions[i]->ingest(first(tokens, row + 1));
        sampling.push_back(parameters(1, 1, round * kSlots + i));
      }
      std::vector<int32_t> next(kSlots);
      ASSERT_EQ(llmc_advance_batch(handles.data(), sampling.data(), kSlots, next.data()), LLMC_OK) << llmc_last_error();
      for (int32_t token : next)
        counts.at(token) += 1;
    }
    EXPECT_EQ(againstProbabilities(counts, probabilities(logits[row], golden[row][0], golden[row][1])), "")
        << "after " << row + 1 << " tokens";
  }
}

INSTANTIATE_TEST_SUITE_P(Models, AutoDeco,
                         testing::Values("autodeco-llama", "autodeco-llama-d", "autodeco-qwen2", "autodeco-qwen3",
                                         "autodeco-qwen3moe"),
                         [](const auto &info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(AutoDecoModel, TellsWhatItPredicts) {
  llmc_sampling own;
  Model both("autodeco-llama"), temperature("autodeco-llama-d"), topP("autodeco-qwen2"), none("llama-a");
  EXPECT_STREQ(llmc_model_text(both.model, "predicts"), "temperature, top_p");
  EXPECT_STREQ(llmc_model_text(both.model, "family"), "autodeco");
  EXPECT_STREQ(llmc_model_text(temperature.model, "predicts"), "temperature");
  EXPECT_STREQ(llmc_model_text(topP.model, "predicts"), "top_p");
  EXPECT_EQ(llmc_model_text(none.model, "predicts"), nullptr);
  for (const Model *model : {&both, &temperature, &topP}) {
    llmc_model_sampling(model->model, &own);
    EXPECT_EQ(own.temperature, 1);
    EXPECT_EQ(own.top_p, 1);
  }
  llmc_model_sampling(none.model, &own);
  EXPECT_EQ(own.temperature, 0);
  Session session(none);
  float x, y;
  session.ingest({1});
  session.advance();
  EXPECT_EQ(llmc_session_decoding(session.session, &x, &y), LLMC_NOT_FOUND);
  EXPECT_STREQ(llmc_last_error(), "this model does not predict its sampling parameters");
  Session fresh(both);
  EXPECT_EQ(llmc_session_decoding(fresh.session, &x, &y), LLMC_NOT_FOUND);
  EXPECT_STREQ(llmc_last_error(), "no token was drawn in this session yet");
  EXPECT_EQ(llmc_session_decoding(fresh.session, &x, nullptr), LLMC_INVALID_ARGUMENT);
}

TEST(TinyAutoDeco, WritesTextWithTemperaturesOfItsOwn) {
  Model model("tiny-autodeco");
  llmc_sampling own;
  llmc_model_sampling(model.model, &own); // the base's generation_config.json says temperature 0.8
  EXPECT_EQ(own.temperature, 1);
  own.seed = 3;
  const std::string prompt = "KING RICHARD III:\n";
  std::vector<int32_t> tokens(64);
  size_t count = 0;
  ASSERT_EQ(llmc_tokenize(model.model, prompt.data(), prompt.size(), LLMC_TOKENIZE_START, tokens.data(), tokens.size(), &count),
            LLMC_OK);
  Session session(model);
  session.ingest(first(tokens, count));
  std::vector<int32_t> made;
  std::vector<float> temperatures;
  for (int i = 0; i < 200; ++i) {
    made.push_back(draw(session, own));
    Decoding d = decodingOf(session);
    temperatures.push_back(d.temperature);
    EXPECT_TRUE(d.temperature > 0 && d.temperature < 2 && d.topP > 0 && d.topP < 1) << d.temperature << " " << d.topP;
  }
  auto [least, most] = std::minmax_element(temperatures.begin(), temperatures.end());
  EXPECT_GT(*most - *least, 0.2f);
  std::string text(4096, '\0');
  size_t bytes = 0;
  ASSERT_EQ(llmc_detokenize(model.model, made.data(), made.size(), text.data(), text.size(), &bytes), LLMC_OK);
  text.resize(bytes);
  for (char &c : text)
    c = isalpha(static_cast<unsigned char>(c)) ? static_cast<char>(tolower(c)) : ' ';
  // Of English words, these are about four in ten of Shakespeare's.
  const std::set<std::string> common = {"the", "and", "i",   "to",   "of",  "you", "my",  "a",    "that", "in",   "is",   "not",
                                        "it",  "me",  "for", "with", "be",  "his", "your", "he",  "this", "but",  "have", "as",
                                        "him", "so",  "will", "what", "thou", "her", "no",  "by",  "all",  "shall", "if",  "are"};
  std::istringstream words(text);
  int known = 0, all = 0;
  for (std::string word; words >> word; ++all)
    known += common.count(word);
  EXPECT_GT(all, 60) << text;
  EXPECT_GT(known, all / 5) << text;
}

} // namespace
