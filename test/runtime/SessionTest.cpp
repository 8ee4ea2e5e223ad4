// The runtime end to end on the toy model, through the C API: prompts, batches, slots, threads, errors.
#include "SessionFixture.h"
#include "runtime/ThreadPool.h"
#include <atomic>
#include <cmath>
#include <pthread.h>
#include <xmmintrin.h>

extern "C" int useFromC(const char *path);

namespace llmc::test {
namespace {

TEST_F(Sessions, advance_follows_any_length_of_prompt) {
  for (int threads : {1, 2, 5}) {
    llmc_model *model = open(1, threads);
    for (int64_t length : {1, 2, 63, 64, 65, 127, 128, 129, 130, 300, 510}) {
      llmc_session *s = session(model);
      std::vector<int32_t> tokens = prompt(length, 3);
      ASSERT_EQ(llmc_ingest(s, tokens.data(), length), LLMC_OK) << llmc_last_error();
      EXPECT_EQ(llmc_session_tokens(s), length);
      for (int i = 0; i < 2; ++i) {
        int32_t token = -2;
        int32_t expected = testNext(tokens);
        if (expected == 96)
          break;
        ASSERT_EQ(llmc_advance(s, &kGreedy, &token), LLMC_OK) << llmc_last_error();
        EXPECT_EQ(token, expected) << length << " " << i;
        tokens.push_back(token);
      }
      llmc_session_free(s);
    }
    llmc_model_close(model);
  }
}

TEST_F(Sessions, how_a_prompt_is_cut_does_not_matter) {
  llmc_model *model = open();
  std::vector<int32_t> tokens = prompt(300, 1);
  for (int64_t step : {1, 7, 64, 100, 299}) {
    llmc_session *s = session(model);
    for (int64_t at = 0; at < 300; at += step)
      ASSERT_EQ(llmc_ingest(s, tokens.data() + at, std::min<int64_t>(step, 300 - at)), LLMC_OK);
    if (step == 7) {
      ASSERT_EQ(llmc_flush(s), LLMC_OK);
    }
    int32_t token;
    ASSERT_EQ(llmc_advance(s, &kGreedy, &token), LLMC_OK);
    EXPECT_EQ(token, testNext(tokens));
    llmc_session_free(s);
  }
  llmc_model_close(model);
}

TEST_F(Sessions, batches_equal_single_sessions) {
  for (int threads : {1, 2}) {
    llmc_model *model = open(6, threads); // more than the artifact takes in one call
    std::vector<llmc_session *> sessions;
    std::vector<std::vector<int32_t>> prompts;
    std::vector<const int32_t *> pointers;
    std::vector<int64_t> counts;
    for (int i = 0; i < 6; ++i) {
      sessions.push_back(session(model));
      prompts.push_back(prompt(1 + 45 * i, i));
    }
    for (const auto &p : prompts) {
      pointers.push_back(p.data());
      counts.push_back(static_cast<int64_t>(p.size()));
    }
    ASSERT_EQ(llmc_ingest_batch(sessions.data(), pointers.data(), counts.data(), 6), LLMC_OK)
        << llmc_last_error();
    for (int round = 0; round < 5; ++round) {
      std::vector<llmc_sampling> sampling(6, kGreedy);
      for (size_t i = 0; i < 6; ++i)
        if (i % 2)
          sampling[i] = {1.0f, 0.9f, 0, static_cast<int32_t>(i), 1000 + i};
      int32_t tokens[6];
      llmc_status status = llmc_advance_batch(sessions.data(), sampling.data(), 6, tokens);
      for (size_t i = 0; i < 6; ++i) {
        int64_t expected = testNext(prompts[i]);
        if (expected == 96)
          expected = -1;
        else if (i % 2) // the toy sampler adds seed, top_k and position
          expected =
              (expected + 1000 + static_cast<int64_t>(i) * 2 + static_cast<int64_t>(prompts[i].size())) % 97;
        EXPECT_EQ(tokens[i], expected) << round << " " << i;
        if (expected < 0) {
          EXPECT_EQ(status, LLMC_NOT_FINITE);
          expected = 5;
          int32_t other = 5;
          ASSERT_EQ(llmc_ingest(sessions[i], &other, 1), LLMC_OK);
        }
        prompts[i].push_back(static_cast<int32_t>(expected));
      }
    }
    for (llmc_session *s : sessions)
      llmc_session_free(s);
    llmc_model_close(model);
  }
}

TEST_F(Sessions, used_slots_are_zero_again) {
  llmc_model *model = open(2);
  llmc_session *first = session(model), *second = session(model);
  std::vector<int32_t> tokens = prompt(400, 5), few = prompt(3, 6);
  int32_t token;
  ASSERT_EQ(llmc_ingest(first, tokens.data(), 400), LLMC_OK);
  ASSERT_EQ(llmc_advance(first, &kGreedy, &token), LLMC_OK);
  ASSERT_EQ(llmc_ingest(second, tokens.data(), 400), LLMC_OK);
  ASSERT_EQ(llmc_flush(second), LLMC_OK);
  llmc_session_free(first);
  first = session(model);
  ASSERT_EQ(llmc_ingest(first, few.data(), 3), LLMC_OK);
  ASSERT_EQ(llmc_advance(first, &kGreedy, &token), LLMC_OK);
  EXPECT_EQ(token, testNext(few));
  ASSERT_EQ(llmc_advance(second, &kGreedy, &token), LLMC_OK);
  EXPECT_EQ(token, testNext(tokens)) << "the neighbour's state was cleared too";
  ASSERT_EQ(llmc_session_reset(second), LLMC_OK);
  EXPECT_EQ(llmc_session_tokens(second), 0);
  ASSERT_EQ(llmc_ingest(second, few.data(), 3), LLMC_OK);
  ASSERT_EQ(llmc_advance(second, &kGreedy, &token), LLMC_OK);
  EXPECT_EQ(token, testNext(few));
  llmc_session_free(first);
  llmc_session_free(second);
  llmc_model_close(model);
}

TEST_F(Sessions, score_gives_logits_of_all_positions) {
  llmc_model *model = open(1, 2);
  llmc_session *s = session(model);
  std::vector<int32_t> tokens = prompt(200, 9), past = {4, 5};
  ASSERT_EQ(llmc_ingest(s, past.data(), 2), LLMC_OK);
  std::vector<float> logits(200 * 97);
  ASSERT_EQ(llmc_score(s, tokens.data(), 200, logits.data()), LLMC_OK) << llmc_last_error();
  for (int32_t token : tokens) {
    past.push_back(token);
    int32_t next = testNext(past);
    const float *row = &logits[(past.size() - 3) * 97];
    if (next == 96)
      EXPECT_TRUE(std::isnan(row[0]));
    else
      EXPECT_EQ(row[next], 0) << past.size();
  }
  EXPECT_EQ(llmc_session_tokens(s), 202);
  int32_t token;
  EXPECT_EQ(llmc_advance(s, &kGreedy, &token), LLMC_UNSUPPORTED);
  EXPECT_STREQ(llmc_last_error(), "session 0 has no token to go on from; ingest one first");
  llmc_session_free(s);
  llmc_model_close(model);
}

TEST_F(Sessions, errors_are_clear_and_change_nothing) {
  llmc_model *model = open(1, 1, 70);
  EXPECT_EQ(llmc_model_info(model, LLMC_INFO_CONTEXT), 96);
  llmc_session *s = session(model), *more = nullptr;
  EXPECT_EQ(llmc_session_create(model, &more), LLMC_OUT_OF_MEMORY);
  EXPECT_STREQ(llmc_last_error(),
               "all 1 session slots are in use; free a session or open the model with more slots");
  std::vector<int32_t> tokens(97, 1);
  EXPECT_EQ(llmc_ingest(s, tokens.data(), 97), LLMC_CONTEXT_FULL);
  EXPECT_STREQ(
      llmc_last_error(),
      "0 tokens and 97 more do not fit into the context of 96; the model allows a context of up to 512");
  tokens[5] = 97;
  EXPECT_EQ(llmc_ingest(s, tokens.data(), 10), LLMC_INVALID_ARGUMENT);
  EXPECT_STREQ(llmc_last_error(), "token 5 is 97, outside the vocabulary of 97");
  tokens[5] = -1;
  EXPECT_EQ(llmc_ingest(s, tokens.data(), 10), LLMC_INVALID_ARGUMENT);
  EXPECT_STREQ(llmc_last_error(), "token 5 is -1, outside the vocabulary of 97");
  tokens[5] = 1;
  EXPECT_EQ(llmc_ingest(s, tokens.data(), -1), LLMC_INVALID_ARGUMENT);
  EXPECT_STREQ(llmc_last_error(), "token count is -1");
  EXPECT_EQ(llmc_session_tokens(s), 0);
  ASSERT_EQ(llmc_ingest(s, tokens.data(), 96), LLMC_OK);
  int32_t token;
  llmc_sampling bad = {NAN, 1, 0, 0, 0};
  EXPECT_EQ(llmc_advance(s, &bad, &token), LLMC_INVALID_ARGUMENT);
  ASSERT_EQ(llmc_advance(s, &kGreedy, &token), LLMC_OK) << llmc_last_error();
  EXPECT_EQ(llmc_advance(s, &kGreedy, &token), LLMC_CONTEXT_FULL);
  EXPECT_STREQ(llmc_last_error(), "session 0 has filled its context of 96 tokens");
  llmc_session *twice[2] = {s, s};
  llmc_sampling two[2] = {kGreedy, kGreedy};
  int32_t out[2];
  EXPECT_EQ(llmc_advance_batch(twice, two, 2, out), LLMC_INVALID_ARGUMENT);
  llmc_model_close(model); // the session keeps it
  EXPECT_EQ(llmc_session_tokens(s), 97);
  llmc_session_free(s);

  llmc_model_options options;
  llmc_model_options_init(&options);
  options.context = 513;
  EXPECT_EQ(llmc_model_open(path_.c_str(), &options, &model), LLMC_INVALID_ARGUMENT);
  EXPECT_STREQ(llmc_last_error(), "context is 513, expected 1 to 512");
  EXPECT_EQ(llmc_model_open(folder_.file("none").c_str(), nullptr, &model), LLMC_NOT_FOUND);
  EXPECT_EQ(llmc_model_open("/tmp", nullptr, &model), LLMC_INVALID_ARGUMENT);
}

TEST_F(Sessions, missing_kernel_is_an_error) {
  ArtifactContents contents = testModel();
  contents.plan.kernels[2].name = "logitz";
  ASSERT_TRUE(writeArtifact(path_, contents).ok());
  llmc_model *model = nullptr;
  EXPECT_EQ(llmc_model_open(path_.c_str(), nullptr, &model), LLMC_BAD_ARTIFACT);
  EXPECT_NE(std::string(llmc_last_error()).find("lacks symbol 'logitz'"), std::string::npos)
      << llmc_last_error();
}

TEST_F(Sessions, small_caller_stacks_and_odd_rounding_modes_do_not_matter) {
  llmc_model *model = open(1, 2);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 64 << 10);
  pthread_t thread;
  auto body = [](void *argument) -> void * {
    auto *model = static_cast<llmc_model *>(argument);
    unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040); // flush denormals
    llmc_session *s = session(model);
    std::vector<int32_t> tokens = prompt(100, 2);
    EXPECT_EQ(llmc_ingest(s, tokens.data(), 100), LLMC_OK);
    int32_t token = -1;
    EXPECT_EQ(llmc_advance(s, &kGreedy, &token), LLMC_OK);
    EXPECT_EQ(token, testNext(tokens));
    EXPECT_EQ(_mm_getcsr() & 0x8040, 0x8040u);
    llmc_session_free(s);
    return nullptr;
  };
  ASSERT_EQ(pthread_create(&thread, &attributes, body, model), 0);
  pthread_join(thread, nullptr);
  llmc_model_close(model);
}

TEST_F(Sessions, text_goes_through_the_c_api) {
  llmc_model *model = open();
  EXPECT_STREQ(llmc_model_text(model, "name"), "toy");
  EXPECT_STREQ(llmc_model_text(model, "license"), "MIT");
  EXPECT_EQ(llmc_model_text(model, "absent"), nullptr);
  int32_t tokens[8];
  size_t count = 0;
  ASSERT_EQ(llmc_tokenize(model, "hey <|end|>", 11, LLMC_TOKENIZE_SPECIAL, tokens, 8, &count), LLMC_OK)
      << llmc_last_error();
  ASSERT_EQ(count, 4u);
  EXPECT_EQ(std::vector<int32_t>(tokens, tokens + 4), (std::vector<int32_t>{95, 'y' - 32, 0, 96}));
  char text[16];
  size_t bytes = 0;
  ASSERT_EQ(llmc_detokenize(model, tokens, 4, text, sizeof text, &bytes), LLMC_OK);
  EXPECT_EQ(std::string(text, bytes), "hey ");
  EXPECT_EQ(llmc_tokenize(model, "h\xffy", 3, 0, tokens, 8, &count), LLMC_INVALID_ARGUMENT);
  EXPECT_STREQ(llmc_last_error(), "text is not UTF-8 at byte 1");
  EXPECT_EQ(llmc_tokenize(model, "\t", 1, 0, tokens, 8, &count), LLMC_INVALID_ARGUMENT);
  EXPECT_STREQ(llmc_last_error(), "the vocabulary has no token for byte 9");
  llmc_model_close(model);
}

TEST_F(Sessions, the_header_is_c) { EXPECT_EQ(useFromC(path_.c_str()), 0); }

TEST(ThreadPool, every_workgroup_runs_once_in_order_of_dispatches) {
  using namespace llmc::runtime;
  struct Counts {
    std::atomic<int> runs[1000];
    std::atomic<int> done;
    std::atomic<int> early;
    int64_t expected;
  };
  static Counts counts[50];
  for (int threads : {1, 2, 4, 16}) {
    auto pool = ThreadPool::create(threads);
    ASSERT_TRUE(pool.ok());
    void *pointers[50][2];
    std::vector<Task> tasks;
    for (int i = 0; i < 50; ++i) {
      for (auto &run : counts[i].runs)
        run = 0;
      counts[i].done = counts[i].early = 0;
      pointers[i][0] = &counts[i];
      pointers[i][1] = i > 0 ? &counts[i - 1] : nullptr;
      tasks.push_back({[](void *const *buffers, const int64_t *dims, int64_t w) {
                         auto *mine = static_cast<Counts *>(buffers[0]),
                              *before = static_cast<Counts *>(buffers[1]);
                         if (before && before->done != before->expected)
                           ++mine->early;
                         ++mine->runs[w];
                         ++mine->done;
                       },
                       // Every third dispatch has one workgroup only.
                       i % 3 == 1 ? [](const int64_t *) -> int64_t { return 1; }
                                  : [](const int64_t *dims) { return dims[0]; },
                       pointers[i]});
    }
    for (int64_t grid : {1000, 1, 3, 0, 17, 2, 1}) {
      for (auto &c : counts) {
        for (auto &run : c.runs)
          run = 0;
        c.done = 0;
        c.expected = (&c - counts) % 3 == 1 ? 1 : grid;
      }
      Dims dims = {grid, 0, 0, 0, 0};
      (*pool)->run(tasks.data(), tasks.size(), dims.data());
      for (auto &c : counts) {
        EXPECT_EQ(c.done, c.expected);
        EXPECT_EQ(c.early, 0);
        for (int64_t w = 0; w < c.expected; ++w)
          ASSERT_EQ(c.runs[w], 1);
      }
    }
  }
  EXPECT_FALSE(ThreadPool::create(0).ok());
}

} // namespace
} // namespace llmc::test
