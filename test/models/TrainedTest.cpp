// The trained checkpoints that make several tokens a call: what they write is text like the one they learnt from. What the others
// write equals the text of a reference loop (ModelTest.cpp), or is drawn as their heads say (AutoDecoTest.cpp).
#include "test/models/Generate.h"
#include <iterator>
#include <set>

namespace {

std::vector<int32_t> tokenized(const Model &model, const std::string &text) {
  std::vector<int32_t> tokens(text.size());
  size_t count = 0;
  EXPECT_EQ(llmc_tokenize(model.model, text.data(), text.size(), 0, tokens.data(), tokens.size(), &count), LLMC_OK)
      << llmc_last_error();
  tokens.resize(count);
  return tokens;
}

std::string textOf(const Model &model, const std::vector<int32_t> &tokens) {
  std::string text(tokens.size() * 32, 0);
  size_t bytes = 0;
  EXPECT_EQ(llmc_detokenize(model.model, tokens.data(), tokens.size(), text.data(), text.size(), &bytes), LLMC_OK)
      << llmc_last_error();
  text.resize(bytes);
  return text;
}

/// The words of a text without their case; apostrophes end them.
std::vector<std::string> wordsOf(const std::string &text) {
  std::vector<std::string> words;
  bool isInside = false;
  for (unsigned char c : text) {
    if (isalpha(c)) {
      if (!isInside)
        words.emplace_back();
      words.back() += static_cast<char>(tolower(c));
    }
    isInside = isalpha(c);
  }
  return words;
}

const char *const kPrompts[] = {"KING RICHARD III:\n", "First Citizen:\n", "ROMEO:\n", "What, "};

/// What a trained checkpoint must write after the prompts together; models/<family>/tiny/README.md says what it does write.
struct Written {
  std::string name;
  std::vector<std::pair<std::string, std::string>> settings;
  float temperature;
  double common;    // least share of its words that are among the 500 commonest of the text it was trained on
  size_t different; // least number of different words
};

void PrintTo(const Written &written, std::ostream *out) { *out << written.name; }

class Trained : public testing::TestWithParam<Written> {};

TEST_P(Trained, WritesRecognisableText) {
  std::istringstream file(readFile(kGolden + "common-words.txt"));
  const std::set<std::string> common{std::istream_iterator<std::string>(file), {}};
  ASSERT_EQ(common.size(), 500u);
  const Written &written = GetParam();
  Model model(written.name);
  std::set<std::string> different;
  std::string all;
  size_t count = 0, known = 0;
  for (const char *prompt : kPrompts) {
    Generation g{written.settings, tokenized(model, prompt), std::vector<int32_t>(64)};
    std::string text = textOf(model, generate(model, g, {written.temperature, 1, 0, 0, 1}));
    EXPECT_NE(text.find('\n'), std::string::npos) << text;
    all += prompt + text + "\n";
    for (const std::string &word : wordsOf(text)) {
      ++count;
      known += common.count(word);
      different.insert(word);
    }
  }
  EXPECT_GE(static_cast<double>(known), written.common * static_cast<double>(count)) << count << " words:\n" << all;
  EXPECT_GE(different.size(), written.different) << count << " words:\n" << all;
}

INSTANTIATE_TEST_SUITE_P(, Trained,
                         testing::Values(Written{"tiny-llada", {{"block", "16"}, {"steps", "64"}}, 0.7f, 0.9, 40}, // 132 of 138, 50 different
                                         Written{"tiny-sdar", {}, 0.7f, 0.85, 50},                                 // 133 of 143, 68 different
                                         Written{"tiny-calm", {}, 0.5f, 0.45, 55}),                                // 49 of 92, 77 different
                         [](const auto &info) { return info.param.name.substr(5); });

/// Kept keys and values are exact: going on in the session that made the blocks equals beginning a new one with their tokens.
TEST(TrainedSdar, KeptBlocksEqualRecomputedOnes) {
  Model model("tiny-sdar");
  const size_t block = 4;
  auto prompt = tokenized(model, kPrompts[0]);
  auto whole = generate(model, {{}, prompt, std::vector<int32_t>(64)});
  const size_t kept = 40 - prompt.size() % block; // up to the end of a block
  std::vector<int32_t> longer = prompt, rest(whole.begin() + kept, whole.end());
  longer.insert(longer.end(), whole.begin(), whole.begin() + kept);
  EXPECT_EQ(generate(model, {{}, longer, std::vector<int32_t>(rest.size())}), rest);
}

/// Where it has read enough to know the place, it goes on with the text that it learnt by heart, whatever is drawn.
TEST(TrainedCalm, GoesOnWithWhatItHasLearnt) {
  Model model("tiny-calm");
  const std::pair<const char *, const char *> places[] = {
      {"VOLUMNIA:\nI pray you, daughter, sing; or express yourself in a\nmore comfortable sort:",
       " if my son were my husband, I\nshould freelier rejoice in that absence wherein he\nwon honour"},
      {"MENENIUS:\nThere was a time when all the body's members\nRebell'd against the belly, thus accused it:\n",
       "That only like a gulf it did remain\nI' the midst o' the body, idle"},
  };
  for (auto [before, after] : places) {
    Generation g{{}, tokenized(model, before), std::vector<int32_t>(48)};
    std::string text = textOf(model, generate(model, g, {0.25f, 1, 0, 0, 1}));
    EXPECT_EQ(text.substr(0, strlen(after)), after) << text;
  }
}

TEST(TrainedCalm, AutoencoderReconstructsTextItHasNotSeen) {
  std::vector<int32_t> tokens = tokenized(Model("tiny-calm"), readFile(kGolden + "held-out.txt"));
  Model model("tiny-calm-ae");
  tokens.resize(std::min<size_t>(tokens.size(), 1024) / 2 * 2); // its context
  ASSERT_GT(tokens.size(), 1000u);
  auto logits = Session(model).score(tokens);
  size_t equal = 0;
  for (size_t t = 0; t < tokens.size(); ++t)
    equal += std::max_element(logits[t].begin(), logits[t].end()) - logits[t].begin() == tokens[t];
  EXPECT_GT(static_cast<double>(equal), 0.99 * static_cast<double>(tokens.size()));
}

} // namespace
