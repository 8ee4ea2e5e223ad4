// Spin-then-sleep barriers on futexes, and the switch of the calling thread to a stack large enough for
// kernels.
#include "runtime/ThreadPool.h"
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <immintrin.h>
#include <linux/futex.h>
#include <sched.h>
#include <set>
#include <string>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace llmc::runtime {

static int quotaCpus() {
  FILE *file = fopen("/sys/fs/cgroup/cpu.max", "re");
  if (!file)
    return 1 << 20;
  long long quota = 0, period = 0;
  int read = fscanf(file, "%lld %lld", &quota, &period);
  fclose(file);
  return read == 2 && quota > 0 && period > 0 ? static_cast<int>(std::max(1LL, (quota + period - 1) / period))
                                              : 1 << 20;
}

int usableCpus() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0)
    return 1;
  std::set<int> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &set))
      continue;
    char path[96];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
    int first = cpu; // the first sibling stands for its core
    if (FILE *file = fopen(path, "re")) {
      if (fscanf(file, "%d", &first) != 1)
        first = cpu;
      fclose(file);
    }
    cores.insert(first);
  }
  return std::max(1, std::min(static_cast<int>(cores.size()), quotaCpus()));
}

absl::StatusOr<std::unique_ptr<ThreadPool>> ThreadPool::create(int threads) {
  if (threads < 1 || threads > 1024)
    return absl::InvalidArgumentError("threads is " + std::to_string(threads) + ", expected 1 to 1024");
  std::unique_ptr<ThreadPool> pool(new ThreadPool(threads));
  // About 20 us of spinning at 40 to 140 cycles a pause; none where threads have to share CPUs.
  pool->spins_ = threads <= usableCpus() ? 800 : 20;
  void *stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED)
    return absl::ResourceExhaustedError("no address space for a stack of 64 MiB");
  mprotect(stack, 4096, PROT_NONE);
  pool->leaderStack_ = stack;

  pool->workers_.reserve(static_cast<size_t>(threads)); // a thread that runs must not miss in it
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  int error = 0;
  for (int i = 1; i < threads && error == 0; ++i) {
    pthread_t worker;
    error = pthread_create(&worker, &attributes, workerMain, pool.get());
    if (error == 0)
      pool->workers_.push_back(worker);
  }
  pthread_attr_destroy(&attributes);
  if (error != 0)
    return absl::ResourceExhaustedError("cannot start " + std::to_string(threads) +
                                        " threads: " + strerror(error));
  return pool;
}

ThreadPool::~ThreadPool() {
  isStopping_ = true;
  epoch_.fetch_add(1);
  wake(epoch_);
  for (pthread_t worker : workers_)
    pthread_join(worker, nullptr);
  if (leaderStack_)
    munmap(leaderStack_, kStackBytes);
}

void ThreadPool::wait(std::atomic<uint32_t> &word, uint32_t old) {
  for (int i = 0; i < spins_; ++i) {
    if (word.load(std::memory_order_acquire) != old)
      return;
    _mm_pause();
  }
  // The waker stores the word and then reads sleepers_, both sequentially consistent: it either sees this
  // sleeper or this thread (and the kernel) sees the new word.
  sleepers_.fetch_add(1);
  while (word.load() == old)
    syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, old, nullptr, nullptr, 0);
  sleepers_.fetch_sub(1);
}

void ThreadPool::wake(std::atomic<uint32_t> &word) {
  if (sleepers_.load() > 0)
    syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 0x7fffffff, nullptr, nullptr, 0);
}

/// The next dispatch to share out. Those of one workgroup are run here and now: all threads are waiting, and
/// handing one workgroup to others would cost a barrier.
ThreadPool::Stage ThreadPool::prepare(size_t index) {
  Stage stage{index};
  for (; stage.index < count_; ++stage.index) {
    const Task &task = tasks_[stage.index];
    stage.grid = task.grid(dims_);
    if (stage.grid > 1)
      break;
    if (stage.grid == 1)
      task.kernel(task.buffers, dims_, 0);
  }
  // Several workgroups per claim where there are many, so that the counter is not what threads wait for.
  stage.claim = std::max<int64_t>(1, stage.grid / (threads_ * 16));
  nextWorkgroup_.store(0, std::memory_order_relaxed);
  return stage;
}

ThreadPool::Stage ThreadPool::barrier(size_t next) {
  uint32_t phase = phase_.load(std::memory_order_relaxed);
  Stage &after = stages_[(phase + 1) & 1];
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 < threads_) {
    wait(phase_, phase);
    return after;
  }
  arrived_.store(0, std::memory_order_relaxed);
  after = prepare(next);
  phase_.store(phase + 1);
  wake(phase_);
  return after;
}

void ThreadPool::work() {
  // Copies, since the leader may publish the next job as soon as the last barrier opens.
  const Task *tasks = tasks_;
  const size_t count = count_;
  const int64_t *dims = dims_;
  for (Stage stage = first_; stage.index < count; stage = barrier(stage.index + 1)) {
    const Task &task = tasks[stage.index];
    for (;;) {
      int64_t begin = nextWorkgroup_.fetch_add(stage.claim, std::memory_order_relaxed);
      if (begin >= stage.grid)
        break;
      for (int64_t w = begin, end = std::min(begin + stage.claim, stage.grid); w < end; ++w)
        task.kernel(task.buffers, dims, w);
    }
  }
}

void *ThreadPool::workerMain(void *argument) {
  auto *pool = static_cast<ThreadPool *>(argument);
  _mm_setcsr(0x1f80);
  for (uint32_t epoch = 0;; ++epoch) {
    pool->wait(pool->epoch_, epoch);
    if (pool->isStopping_)
      return nullptr;
    pool->work();
  }
}

void ThreadPool::leaderMain(unsigned low, unsigned high) {
  // makecontext passes ints; a pointer comes in two.
  auto *pool = reinterpret_cast<ThreadPool *>((static_cast<uintptr_t>(high) << 32) | low);
  if (pool->threads_ == 1) {
    for (size_t i = 0; i < pool->count_; ++i) {
      const Task &task = pool->tasks_[i];
      for (int64_t w = 0, grid = task.grid(pool->dims_); w < grid; ++w)
        task.kernel(task.buffers, pool->dims_, w);
    }
    return;
  }
  pool->first_ = pool->prepare(0);
  if (pool->first_.index == pool->count_)
    return; // nothing to share
  pool->epoch_.fetch_add(1);
  pool->wake(pool->epoch_);
  pool->work();
}

void ThreadPool::run(const Task *tasks, size_t count, const int64_t *dims) {
  if (count == 0)
    return;
  tasks_ = tasks;
  count_ = count;
  dims_ = dims;
  unsigned environment = _mm_getcsr();
  _mm_setcsr(0x1f80); // round to nearest, denormals kept, exceptions masked
  getcontext(&leader_);
  leader_.uc_stack.ss_sp = leaderStack_;
  leader_.uc_stack.ss_size = kStackBytes;
  leader_.uc_link = &caller_;
  auto self = reinterpret_cast<uintptr_t>(this);
  makecontext(&leader_, reinterpret_cast<void (*)()>(leaderMain), 2, static_cast<unsigned>(self),
              static_cast<unsigned>(self >> 32));
  swapcontext(&caller_, &leader_);
  _mm_setcsr(environment);
}

} // namespace llmc::runtime
