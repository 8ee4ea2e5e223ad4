// Sessions on compiled models, one with key/value caches and one with recurrent states: whatever is done to
// many at once, each ends up with the same bits as alone. A saved file holds all of a session's state and
// equal sessions are equal files, so that bits are compared by comparing files. And logits that are not
// finite.
#include "llmc.h"
#include <algorithm>
#include <cstring>
#include <fstream>
#include <gtest/gtest.h>
#include <map>
#include <random>
#include <string>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

namespace {

std::string readFile(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string workFile(const std::string &name) {
  mkdir(LLMC_WORK, 0777);
  return LLMC_WORK "/sessions-" + name;
}

std::string compile(const std::string &directory, const std::string &name) {
  std::string path = workFile(name + ".llmc");
  std::string command = LLMC_PROGRAM " compile " + directory + " --cpu=native -o " + path;
  EXPECT_EQ(system(command.c_str()), 0) << command;
  return path;
}

/// The artifact of a checkpoint of test/golden, compiled on first use.
std::string artifactOf(const std::string &name) {
  static std::map<std::string, std::string> known;
  std::string &path = known[name];
  if (path.empty())
    path = compile(LLMC_SOURCE "/test/golden/" + name, name);
  return path;
}

constexpr llmc_sampling kGreedy = {0, 1, 0, 0, 0};

struct Model {
  llmc_model *model = nullptr;
  Model(const std::string &path, int slots, int threads = 1, int64_t context = 256) {
    llmc_model_options options;
    llmc_model_options_init(&options);
    options.slots = slots;
    options.threads = threads;
    options.context = context;
    EXPECT_EQ(llmc_model_open(path.c_str(), &options, &model), LLMC_OK) << llmc_last_error();
  }
  ~Model() { llmc_model_close(model); }
  Model(const Model &) = delete;

  llmc_session *create() const {
    llmc_session *session = nullptr;
    EXPECT_EQ(llmc_session_create(model, &session), LLMC_OK) << llmc_last_error();
    return session;
  }
  llmc_session *restore(const std::string &path) const {
    llmc_session *session = nullptr;
    EXPECT_EQ(llmc_session_restore(model, path.c_str(), &session), LLMC_OK) << llmc_last_error();
    return session;
  }
};

void save(const llmc_session *session, const std::string &path) {
  EXPECT_EQ(llmc_session_save(session, path.c_str()), LLMC_OK) << llmc_last_error();
}
/// All of a session as bytes.
std::string bitsOf(const llmc_session *session) {
  std::string path = workFile("bits." + std::to_string(getpid()));
  save(session, path);
  std::string bits = readFile(path);
  unlink(path.c_str());
  return bits;
}
llmc_session *fork(const llmc_session *session) {
  llmc_session *made = nullptr;
  EXPECT_EQ(llmc_session_fork(session, &made), LLMC_OK) << llmc_last_error();
  return made;
}
int32_t advance(llmc_session *session, const llmc_sampling &sampling) {
  int32_t token = -1;
  EXPECT_EQ(llmc_advance(session, &sampling, &token), LLMC_OK) << llmc_last_error();
  return token;
}
void ingest(llmc_session *session, const std::vector<int32_t> &tokens) {
  EXPECT_EQ(llmc_ingest(session, tokens.data(), static_cast<int64_t>(tokens.size())), LLMC_OK)
      << llmc_last_error();
}

std::vector<int32_t> randomTokens(std::mt19937 &random, int64_t count, int64_t vocab) {
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < count; ++i)
    tokens.push_back(static_cast<int32_t>(random() % static_cast<uint64_t>(vocab)));
  return tokens;
}
llmc_sampling randomSampling(std::mt19937 &random) {
  llmc_sampling s = {0, 1, 0, 0, random()};
  if (random() % 3) {
    s.temperature = 0.5f + static_cast<float>(random() % 100) / 100;
    s.top_p = random() % 2 ? 0.9f : 1;
    s.top_k = static_cast<int32_t>(random() % 50);
  }
  return s;
}

class SessionsOf : public testing::TestWithParam<const char *> {};

TEST_P(SessionsOf, eight_at_different_positions_equal_each_alone) {
  Model model(artifactOf(GetParam()), 8, 2), alone(artifactOf(GetParam()), 1);
  const int64_t vocab = llmc_model_info(model.model, LLMC_INFO_VOCAB);
  std::mt19937 random(8);
  const int64_t lengths[8] = {1, 2, 17, 63, 64, 65, 100, 200};
  std::vector<llmc_session *> sessions;
  std::vector<std::vector<int32_t>> prompts, generated(8);
  std::vector<const int32_t *> pointers;
  std::vector<llmc_sampling> sampling;
  for (int64_t length : lengths) {
    sessions.push_back(model.create());
    prompts.push_back(randomTokens(random, length, vocab));
    sampling.push_back(randomSampling(random));
  }
  for (const auto &prompt : prompts)
    pointers.push_back(prompt.data());
  ASSERT_EQ(llmc_ingest_batch(sessions.data(), pointers.data(), lengths, 8), LLMC_OK) << llmc_last_error();
  for (int step = 0; step < 40; ++step) {
    int32_t next[8];
    ASSERT_EQ(llmc_advance_batch(sessions.data(), sampling.data(), 8, next), LLMC_OK) << llmc_last_error();
    for (size_t i = 0; i < 8; ++i)
      generated[i].push_back(next[i]);
  }
  for (size_t i = 0; i < 8; ++i) {
    llmc_session *one = alone.create();
    ingest(one, prompts[i]);
    for (int32_t token : generated[i])
      ASSERT_EQ(advance(one, sampling[i]), token) << i;
    EXPECT_TRUE(bitsOf(one) == bitsOf(sessions[i])) << "session " << i;
    llmc_session_free(one);
    llmc_session_free(sessions[i]);
  }
}

TEST_P(SessionsOf, forks_and_restored_ones_go_on_identically) {
  Model model(artifactOf(GetParam()), 4, 2), other(artifactOf(GetParam()), 2, 1, 512);
  const int64_t vocab = llmc_model_info(model.model, LLMC_INFO_VOCAB);
  std::mt19937 random(4);
  for (int64_t length : {1, 31, 64, 130}) {
    llmc_session *first = model.create(), *used = model.create();
    ingest(used, randomTokens(random, 150, vocab)); // its slot must be cleared for what comes next
    advance(used, kGreedy);
    llmc_session_free(used);
    ingest(first, randomTokens(random, length, vocab));
    llmc_sampling sampling = randomSampling(random);
    if (length != 31)
      for (int i = 0; i < 10; ++i)
        advance(first, sampling);
    std::string file = workFile(GetParam());
    save(first, file);
    // A fork, the file in the same model, and the file in a model of another context and number of threads.
    llmc_session *all[4] = {first, fork(first), model.restore(file), other.restore(file)};
    for (llmc_session *each : all)
      EXPECT_TRUE(bitsOf(each) == readFile(file));
    for (int step = 0; step < 25; ++step) {
      int32_t expected = advance(first, sampling);
      for (int i = 1; i < 4; ++i)
        ASSERT_EQ(advance(all[i], sampling), expected) << "length " << length << ", copy " << i;
    }
    std::string bits = bitsOf(first);
    for (llmc_session *each : all) {
      EXPECT_TRUE(bitsOf(each) == bits);
      llmc_session_free(each);
    }
    unlink(file.c_str());
  }
}

/// One of the random test's sessions, and all that was done to it and to those it was forked from.
struct Played {
  struct Step {
    std::vector<int32_t> ingested; ///< none: an advance
    llmc_sampling sampling;
    int32_t token;
  };
  llmc_session *session = nullptr;
  std::vector<Step> steps;
};

class Interleaving {
public:
  static constexpr int kSlots = 16, kSteps = 2000;
  static constexpr int64_t kContext = 192;

  explicit Interleaving(const std::string &path)
      : model_(path, kSlots, 2, kContext), alone_(path, 1, 1, kContext),
        vocab_(llmc_model_info(model_.model, LLMC_INFO_VOCAB)), file_(path + ".saved") {}

  void run() {
    for (int step = 0; step < kSteps && !testing::Test::HasFailure(); ++step)
      oneStep();
    while (!live_.empty() && !testing::Test::HasFailure())
      end(live_.size() - 1);
    for (Played &played : live_)
      llmc_session_free(played.session);
    unlink(file_.c_str());
    printf("%d advanced, %d ingested, %d forked, %d restored, %d ended\n", advanced_, ingested_, forked_,
           restored_, ended_);
  }

private:
  size_t pick() { return random_() % live_.size(); }

  void oneStep() {
    unsigned what = random_() % 100;
    if (live_.size() < kSlots && (live_.empty() || what < 8)) {
      live_.push_back({model_.create(), {}});
      ingestSome({live_.size() - 1});
    } else if (what < 16) {
      std::vector<size_t> some;
      for (size_t i = 0; i < live_.size(); ++i)
        if (random_() % 4 == 0)
          some.push_back(i);
      ingestSome(some);
    } else if (what < 20 && live_.size() < kSlots) {
      size_t from = pick();
      live_.push_back(live_[from]);
      live_.back().session = fork(live_[from].session);
      ++forked_;
    } else if (what < 25) {
      Played &played = live_[pick()];
      save(played.session, file_);
      llmc_session_cancel(played.session);
      llmc_session_free(played.session);
      played.session = model_.restore(file_);
      ++restored_;
    } else if (what < 27) {
      end(pick());
    } else {
      advanceSome();
    }
  }

  void ingestSome(const std::vector<size_t> &which) {
    std::vector<llmc_session *> sessions;
    std::vector<const int32_t *> pointers;
    std::vector<int64_t> counts;
    std::vector<std::vector<int32_t>> tokens;
    for (size_t i : which) {
      int64_t room = kContext - llmc_session_tokens(live_[i].session) - 1;
      int64_t count =
          std::min<int64_t>(1 + static_cast<int64_t>(random_() % (random_() % 4 ? 12 : 130)), room);
      if (count < 1)
        continue;
      tokens.push_back(randomTokens(random_, count, vocab_));
      live_[i].steps.push_back({tokens.back(), {}, -1});
      sessions.push_back(live_[i].session);
      counts.push_back(count);
      ++ingested_;
    }
    for (const auto &list : tokens)
      pointers.push_back(list.data());
    if (!sessions.empty()) {
      ASSERT_EQ(llmc_ingest_batch(sessions.data(), pointers.data(), counts.data(),
                                  static_cast<int64_t>(sessions.size())),
                LLMC_OK)
          << llmc_last_error();
    }
  }

  void advanceSome() {
    std::vector<size_t> which;
    for (size_t i = 0; i < live_.size(); ++i)
      if (random_() % 3)
        which.push_back(i);
    std::shuffle(which.begin(), which.end(), random_);
    std::vector<llmc_session *> sessions;
    std::vector<llmc_sampling> sampling;
    for (size_t i : which) {
      sessions.push_back(live_[i].session);
      sampling.push_back(randomSampling(random_));
    }
    if (which.empty())
      return;
    std::vector<int32_t> next(which.size());
    ASSERT_EQ(
        llmc_advance_batch(sessions.data(), sampling.data(), static_cast<int64_t>(which.size()), next.data()),
        LLMC_OK)
        << llmc_last_error();
    std::vector<size_t> full;
    for (size_t n = 0; n < which.size(); ++n) {
      live_[which[n]].steps.push_back({{}, sampling[n], next[n]});
      if (llmc_session_tokens(sessions[n]) >= kContext)
        full.push_back(which[n]);
      ++advanced_;
    }
    std::sort(full.rbegin(), full.rend());
    for (size_t i : full)
      end(i);
  }

  /// Compares a session with one that did the same alone, and cancels it.
  void end(size_t i) {
    Played &played = live_[i];
    llmc_session *one = alone_.create();
    for (const Played::Step &step : played.steps)
      if (step.ingested.empty()) {
        ASSERT_EQ(advance(one, step.sampling), step.token);
      } else {
        ingest(one, step.ingested);
      }
    EXPECT_TRUE(bitsOf(one) == bitsOf(played.session)) << "after " << played.steps.size() << " steps";
    llmc_session_free(one);
    llmc_session_cancel(played.session);
    llmc_session_free(played.session);
    live_.erase(live_.begin() + static_cast<std::ptrdiff_t>(i));
    ++ended_;
  }

  Model model_, alone_;
  int64_t vocab_;
  std::string file_;
  std::mt19937 random_{16};
  std::vector<Played> live_;
  int advanced_ = 0, ingested_ = 0, forked_ = 0, restored_ = 0, ended_ = 0;
};

TEST_P(SessionsOf, interleaved_at_random_equal_each_alone) { Interleaving(artifactOf(GetParam())).run(); }

INSTANTIATE_TEST_SUITE_P(Models, SessionsOf, testing::Values("llama-a", "kimi-a"), [](const auto &info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

/// A checkpoint of test/golden with the largest finite bf16 value in place of some weights of a tensor.
std::string overflowing(const std::string &name, const std::string &tensor, size_t firstElement,
                        size_t elements) {
  std::string directory = workFile(name + "-" + tensor);
  mkdir(directory.c_str(), 0777);
  std::string source = LLMC_SOURCE "/test/golden/" + name + "/",
              weights = readFile(source + "model.safetensors");
  uint64_t headerBytes;
  memcpy(&headerBytes, weights.data(), sizeof headerBytes);
  size_t at = weights.find("\"" + tensor + "\"");
  EXPECT_LT(at, headerBytes);
  EXPECT_LT(weights.find("\"BF16\"", at) - at, 200u);
  size_t offset = std::stoull(weights.substr(weights.find('[', weights.find("data_offsets", at)) + 1));
  for (size_t i = 0; i < elements; ++i)
    memcpy(&weights[8 + headerBytes + offset + 2 * (firstElement + i)], "\x7f\x7f", 2);
  std::ofstream(directory + "/model.safetensors", std::ios::binary) << weights;
  std::ofstream(directory + "/config.json") << readFile(source + "config.json");
  return compile(directory, name + "-" + tensor);
}

TEST(Logits, that_overflow_never_become_a_token) {
  std::mt19937 random(2);
  // One row of the head: one infinite logit, which greedy search would like best. The last norm: no finite
  // one.
  for (auto [tensor, first, elements] :
       {std::tuple("lm_head.weight", 72 * 5, 72), {"model.norm.weight", 0, 72}}) {
    Model model(overflowing("llama-a", tensor, first, elements), 2);
    for (float temperature : {0.0f, 0.7f}) {
      llmc_session *sessions[2] = {model.create(), model.create()};
      ingest(sessions[0], randomTokens(random, 70, 257));
      ingest(sessions[1], {3});
      llmc_sampling sampling[2] = {{temperature, 1, 0, 0, 1}, {temperature, 0.9f, 0, 40, 2}};
      int32_t tokens[2] = {7, 7};
      ASSERT_EQ(llmc_advance_batch(sessions, sampling, 2, tokens), LLMC_NOT_FINITE)
          << tensor << " " << temperature;
      EXPECT_STREQ(llmc_last_error(),
                   "session 1: the model's logits are not finite, so there is no next token; check the "
                   "weights (NaN or infinity)");
      EXPECT_EQ(tokens[0], -1);
      EXPECT_EQ(tokens[1], -1);
      EXPECT_EQ(llmc_session_tokens(sessions[1]), 1);
      // There is nothing to go on from either.
      EXPECT_EQ(llmc_advance(sessions[1], sampling, tokens), LLMC_UNSUPPORTED);
      EXPECT_STREQ(llmc_last_error(), "session 0 has no token to go on from; ingest one first");
      for (llmc_session *each : sessions)
        llmc_session_free(each);
    }
  }
}

} // namespace
