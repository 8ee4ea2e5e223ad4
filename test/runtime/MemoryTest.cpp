// Memory that runs out at every single place where the runtime asks for some: the first request fails, or the
// second, ... and then also all after it. Every time a clear error, nothing lost, and the model goes on. A
// program of its own, since it stands between the runtime and the C library's malloc, mmap and
// pthread_create.
#include "SessionFixture.h"
#include <atomic>
#include <cerrno>
#include <cstring>
#include <dlfcn.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>

namespace {

/// What the hooks do to requests of the thread that runs a test. `left` counts down to the one that fails.
thread_local bool isWatching = false;
bool isLasting = false;
int64_t left = 0, requests = 0;
bool hasFailed = false;
std::atomic<int64_t> live{0}; ///< blocks and mappings that are not given back

bool fails() {
  if (!isWatching)
    return false;
  ++requests;
  bool failing = left > 0 ? --left == 0 : left == 0 && isLasting && hasFailed;
  hasFailed |= failing;
  return failing;
}

void *counted(void *block) {
  live += block != nullptr;
  return block;
}

void *withoutMemory() {
  errno = ENOMEM;
  return nullptr;
}

} // namespace

// glibc's own entry points; the names below replace them for the program and its libraries.
extern "C" {
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);

void *malloc(size_t bytes) { return fails() ? withoutMemory() : counted(__libc_malloc(bytes)); }
void *calloc(size_t count, size_t bytes) {
  return fails() ? withoutMemory() : counted(__libc_calloc(count, bytes));
}
void *realloc(void *old, size_t bytes) {
  if (fails())
    return withoutMemory();
  live -= old != nullptr;
  return counted(__libc_realloc(old, bytes));
}
void *memalign(size_t alignment, size_t bytes) {
  return fails() ? withoutMemory() : counted(__libc_memalign(alignment, bytes));
}
void *aligned_alloc(size_t alignment, size_t bytes) { return memalign(alignment, bytes); }
int posix_memalign(void **block, size_t alignment, size_t bytes) {
  *block = memalign(alignment, bytes);
  return *block ? 0 : ENOMEM;
}
void free(void *block) {
  live -= block != nullptr;
  __libc_free(block);
}
void *mmap(void *address, size_t bytes, int protection, int flags, int file, off_t offset) {
  if (fails())
    return withoutMemory(), MAP_FAILED;
  auto *map = reinterpret_cast<void *>(syscall(SYS_mmap, address, bytes, protection, flags, file, offset));
  live += map != MAP_FAILED && !(flags & MAP_FIXED);
  return map;
}
void *mmap64(void *address, size_t bytes, int protection, int flags, int file, off_t offset) {
  return mmap(address, bytes, protection, flags, file, offset);
}
int munmap(void *address, size_t bytes) {
  --live;
  return static_cast<int>(syscall(SYS_munmap, address, bytes));
}
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*main)(void *),
                   void *argument) {
  static auto *real = reinterpret_cast<decltype(&pthread_create)>(dlsym(RTLD_NEXT, "pthread_create"));
  return fails() ? EAGAIN : real(thread, attributes, main, argument);
}
}

namespace llmc::test {
namespace {

class Memory : public Sessions {
protected:
  /// Runs `call` again and again with its first, second, ... request failing until it needs no more, and
  /// gives the number of requests. `undo` frees what was made.
  template <typename Call, typename Undo> int64_t walk(const char *what, const Call &call, const Undo &undo) {
    for (bool lasting : {false, true}) {
      // Beforehand, so that what is kept for good is there, room for the text of errors for one.
      EXPECT_EQ(llmc_model_open((std::string(200, 'x') + std::string(300, '/')).c_str(), nullptr, &none_),
                LLMC_NOT_FOUND);
      EXPECT_EQ(call(), LLMC_OK) << what << ": " << llmc_last_error();
      undo();
      // Number 0 is another first one, for what the C library keeps for good at the first exception.
      for (int64_t number = 0;; ++number) {
        int64_t before = live;
        isLasting = lasting;
        left = std::max<int64_t>(number, 1);
        requests = 0;
        hasFailed = false;
        isWatching = true;
        llmc_status status = call();
        isWatching = false;
        if (!hasFailed) {
          EXPECT_EQ(status, LLMC_OK) << llmc_last_error();
          undo();
          if (lasting) {
            printf("%s: %lld requests\n", what, static_cast<long long>(requests));
            return requests;
          }
          break;
        }
        undo();
        int64_t lost = live - before;
        std::string where =
            std::string(what) + ", request " + std::to_string(number) + (lasting ? " and all after it" : "");
        EXPECT_TRUE(lost == 0 || number == 0) << where << " leaks " << lost;
        if (status != LLMC_OK) // a few requests are for speed only and can be done without
          check(status, where);
        if (HasFailure())
          return -1;
      }
    }
    return -1;
  }

  llmc_model *none_ = nullptr;

  static void check(llmc_status status, const std::string &where) {
    std::string text = llmc_last_error();
    bool isClear = text == "out of memory" || text.find("no memory for ") != std::string::npos ||
                   text.find("Cannot allocate memory") != std::string::npos ||
                   text.find("no address space for a stack") != std::string::npos ||
                   text.find("cannot start 2 threads: ") != std::string::npos;
    EXPECT_TRUE(isClear) << where << ": " << text;
    EXPECT_EQ(status, LLMC_OUT_OF_MEMORY) << where << ": " << text;
  }
};

TEST_F(Memory, runs_out_while_a_model_is_opened) {
  llmc_model *model = nullptr;
  llmc_model_options options;
  llmc_model_options_init(&options);
  options.threads = 2;
  int64_t requests = walk(
      "open", [&] { return llmc_model_open(path_.c_str(), &options, &model); },
      [&] { llmc_model_close(model); });
  EXPECT_GT(requests, 50);
}

TEST_F(Memory, runs_out_under_sessions) {
  llmc_model *model = open(3, 2);
  llmc_session *s = session(model), *made = nullptr;
  std::vector<int32_t> tokens = prompt(200, 1);
  ingest(s, tokens);
  auto free = [&] { llmc_session_free(made); };
  EXPECT_GT(walk("create", [&] { return llmc_session_create(model, &made); }, free), 2);
  EXPECT_GT(walk("fork", [&] { return llmc_session_fork(s, &made); }, free), 2);
  std::string file = folder_.file("saved");
  EXPECT_GT(walk("save", [&] { return llmc_session_save(s, file.c_str()); }, [] {}), 2);
  EXPECT_GT(walk("restore", [&] { return llmc_session_restore(model, file.c_str(), &made); }, free), 2);
  // What goes on after all that is what went on before.
  expectNext(s, tokens);
  ASSERT_EQ(llmc_session_restore(model, file.c_str(), &made), LLMC_OK);
  tokens.pop_back();
  expectNext(made, tokens);
  llmc_session_free(made);
  llmc_session_free(s);
  llmc_model_close(model);
}

TEST_F(Memory, is_not_asked_for_by_calls_that_compute) {
  llmc_model *model = open(2, 2);
  llmc_session *s[2] = {session(model), session(model)};
  std::vector<int32_t> tokens = prompt(100, 1);
  const int32_t *lists[2] = {tokens.data(), tokens.data()};
  int64_t counts[2] = {100, 70};
  llmc_sampling sampling[2] = {kGreedy, kGreedy};
  int32_t next[2];
  std::vector<float> logits(97 * 10);
  left = -1;
  requests = 0;
  isWatching = true;
  llmc_status ingested = llmc_ingest_batch(s, lists, counts, 2), flushed = llmc_flush(s[0]),
              advanced = llmc_advance_batch(s, sampling, 2, next),
              scored = llmc_score(s[0], tokens.data(), 10, logits.data());
  isWatching = false;
  EXPECT_EQ(requests, 0);
  for (llmc_status status : {ingested, flushed, advanced, scored})
    EXPECT_EQ(status, LLMC_OK);
  llmc_session_free(s[0]);
  llmc_session_free(s[1]);
  llmc_model_close(model);
}

TEST_F(Memory, runs_out_while_text_becomes_tokens) {
  int32_t tokens[8];
  size_t count;
  llmc_model *model = nullptr;
  // Each on a fresh model: the first text reads the tokenizer.
  auto call = [&] { return llmc_tokenize(model, "hello", 5, 0, tokens, 8, &count); };
  auto fresh = [&] {
    llmc_model_close(model);
    model = open();
  };
  fresh();
  EXPECT_GT(walk("tokenize", call, fresh), 50);
  llmc_model_close(model);
}

} // namespace
} // namespace llmc::test
