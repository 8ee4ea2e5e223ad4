// Threads that run lists of dispatches in step: workgroups of one dispatch are shared out, a barrier lies
// between dispatches. Made for dispatches of microseconds: threads spin at barriers and only sleep when the
// wait is long.
#pragma once
#include "absl/status/statusor.h"
#include <atomic>
#include <cstdint>
#include <memory>
#include <pthread.h>
#include <ucontext.h>
#include <vector>

namespace llmc::runtime {

/// The ABI of generated code. dims = {T, S, SLOTS, CTX, CTXB}.
using KernelFunction = void (*)(void *const *buffers, const int64_t *dims, int64_t workgroup);
using GridFunction = int64_t (*)(const int64_t *dims);

/// One dispatch, ready to run: all `grid(dims)` workgroups of `kernel`.
struct Task {
  KernelFunction kernel;
  GridFunction grid;
  void *const *buffers;
};

/// CPUs that this process may use: its affinity, one per core where cores have several, and its control
/// group's quota.
int usableCpus();

class ThreadPool {
public:
  /// `threads` threads in all, the caller of `run` is one of them; 1 to 1024. Workers live until the pool is
  /// destroyed.
  static absl::StatusOr<std::unique_ptr<ThreadPool>> create(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  /// Runs the tasks in order and returns when all are done. One call at a time. Neither allocates nor locks.
  /// Kernels run on stacks of kStackBytes in the default floating-point environment, whatever the caller's
  /// are.
  void run(const Task *tasks, size_t count, const int64_t *dims);
  int threads() const { return threads_; }

  static constexpr size_t kStackBytes = 64 << 20;

private:
  explicit ThreadPool(int threads) : threads_(threads) {}
  static void *workerMain(void *pool);
  static void leaderMain(unsigned low, unsigned high);
  /// A dispatch that is being shared out: its index in the list, the list's length when nothing is left.
  struct Stage {
    size_t index = 0;
    int64_t grid = 0, claim = 1;
  };
  void work();
  Stage prepare(size_t index);
  Stage barrier(size_t next);
  void wait(std::atomic<uint32_t> &word, uint32_t old);
  void wake(std::atomic<uint32_t> &word);

  const int threads_;
  int spins_ = 0;
  std::vector<pthread_t> workers_;
  void *leaderStack_ = nullptr;
  ucontext_t caller_, leader_;

  // The current job; written by the leader while all others wait for `epoch_`.
  const Task *tasks_ = nullptr;
  size_t count_ = 0;
  const int64_t *dims_ = nullptr;
  bool isStopping_ = false;
  Stage first_;
  // What follows a barrier, by the parity of the phase that it opens; written by the last thread to arrive.
  // Apart from first_, since a thread may still be leaving the last barrier of a job when the next job is
  // published.
  Stage stages_[2];

  // On lines of their own: each is written by all threads.
  alignas(64) std::atomic<int64_t> nextWorkgroup_{0};
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<uint32_t> phase_{0};
  alignas(64) std::atomic<uint32_t> epoch_{0};
  alignas(64) std::atomic<int> sleepers_{0};
};

} // namespace llmc::runtime
