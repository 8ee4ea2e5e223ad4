// The thread rule of llmc.h: models apart, calls on one model from several threads with a retry when it is
// busy, cancelling and freeing in between. Run under the thread sanitizer too (CMakeLists.txt).
#include "SessionFixture.h"
#include <atomic>
#include <mutex>
#include <random>
#include <thread>

namespace llmc::test {
namespace {

class Threads : public Sessions {
protected:
  /// Makes a call until no other call is in its way.
  template <typename Call> static llmc_status patiently(const Call &call) {
    for (;;) {
      llmc_status status = call();
      if (status != LLMC_BUSY)
        return status;
      std::this_thread::yield();
    }
  }
  /// One step of a session, and what it must give.
  static void step(llmc_session *session, std::vector<int32_t> &tokens) {
    int32_t token = -1, expected = testNext(tokens);
    llmc_status status = patiently([&] { return llmc_advance(session, &kGreedy, &token); });
    if (expected == kVocab - 1) {
      EXPECT_EQ(status, LLMC_NOT_FINITE);
      token = 5;
      EXPECT_EQ(patiently([&] { return llmc_ingest(session, &token, 1); }), LLMC_OK);
    } else {
      EXPECT_EQ(status, LLMC_OK) << llmc_last_error();
      EXPECT_EQ(token, expected);
    }
    tokens.push_back(token);
  }
};

TEST_F(Threads, each_has_its_model) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&, t] {
      llmc_model *model = open(1, 2);
      llmc_session *s = session(model);
      std::vector<int32_t> tokens = prompt(100 + t, t);
      ingest(s, tokens);
      for (int i = 0; i < 20; ++i)
        step(s, tokens);
      llmc_session_free(s);
      llmc_model_close(model);
    });
  for (std::thread &thread : threads)
    thread.join();
}

TEST_F(Threads, share_a_model_by_turns) {
  llmc_model *model = open(12, 2);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      std::string file = folder_.file("s" + std::to_string(t));
      for (int round = 0; round < 5; ++round) {
        llmc_session *s = nullptr, *fork = nullptr, *restored = nullptr;
        ASSERT_EQ(patiently([&] { return llmc_session_create(model, &s); }), LLMC_OK) << llmc_last_error();
        std::vector<int32_t> tokens = prompt(60 + 10 * t + round, t);
        auto count = static_cast<int64_t>(tokens.size());
        ASSERT_EQ(patiently([&] { return llmc_ingest(s, tokens.data(), count); }), LLMC_OK);
        step(s, tokens);
        ASSERT_EQ(patiently([&] { return llmc_session_fork(s, &fork); }), LLMC_OK) << llmc_last_error();
        ASSERT_EQ(patiently([&] { return llmc_session_save(fork, file.c_str()); }), LLMC_OK)
            << llmc_last_error();
        ASSERT_EQ(patiently([&] { return llmc_session_restore(model, file.c_str(), &restored); }), LLMC_OK);
        EXPECT_EQ(tokensOf(restored), tokens);
        std::vector<int32_t> a = tokens, b = tokens, c = tokens;
        for (int i = 0; i < 3; ++i) {
          step(s, a);
          step(fork, b);
          step(restored, c);
        }
        int32_t ids[4];
        size_t found = 0;
        EXPECT_EQ(llmc_tokenize(model, "hey", 3, 0, ids, 4, &found), LLMC_OK);
        for (llmc_session *each : {s, fork, restored})
          llmc_session_free(each); // while others run
      }
    });
  for (std::thread &thread : threads)
    thread.join();
  llmc_model_close(model);
}

TEST_F(Threads, cancel_what_another_one_runs) {
  llmc_model *model = open(8, 2);
  constexpr int kSessions = 8, kCancelled = 12;
  // A handle is replaced and cancelled under the lock; steps run outside of it.
  std::mutex mutex;
  llmc_session *sessions[kSessions];
  std::vector<int32_t> tokens[kSessions];
  auto start = [&](int i, int seed) {
    llmc_session *made = session(model);
    tokens[i] = prompt(70 + seed % 30, seed);
    ingest(made, tokens[i]);
    std::lock_guard<std::mutex> lock(mutex);
    sessions[i] = made;
  };
  for (int i = 0; i < kSessions; ++i)
    start(i, i);
  std::atomic<int> cancelled{0};
  std::thread canceller([&] {
    std::mt19937 random(3);
    while (cancelled < kCancelled) {
      {
        std::lock_guard<std::mutex> lock(mutex);
        llmc_session_cancel(sessions[random() % kSessions]);
      }
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 500));
    }
  });
  std::vector<llmc_sampling> sampling(kSessions, kGreedy);
  while (cancelled < kCancelled) {
    int32_t next[kSessions];
    llmc_status status = llmc_advance_batch(sessions, sampling.data(), kSessions, next);
    ASSERT_NE(status, LLMC_BUSY) << "cancelling is in the way of calls";
    for (int i = 0; i < kSessions; ++i) {
      if (next[i] >= 0) {
        EXPECT_EQ(next[i], testNext(tokens[i])) << i;
        tokens[i].push_back(next[i]);
      }
      bool isStopped = testNext(tokens[i]) == kVocab - 1 || tokens[i].size() > 500;
      if (next[i] >= 0 && !isStopped)
        continue;
      EXPECT_TRUE(isStopped || status == LLMC_CANCELLED) << status;
      llmc_session *old = sessions[i];
      {
        std::lock_guard<std::mutex> lock(mutex);
        sessions[i] = nullptr; // what is freed is not cancelled any more
      }
      llmc_session_free(old);
      cancelled += next[i] < 0;
      start(i, i + 10 * cancelled);
    }
  }
  canceller.join();
  for (llmc_session *each : sessions)
    llmc_session_free(each);
  llmc_model_close(model);
}

} // namespace
} // namespace llmc::test
