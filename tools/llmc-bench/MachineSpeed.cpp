// See MachineSpeed.h.
#include "tools/llmc-bench/MachineSpeed.h"
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <sys/mman.h>
#include <thread>
#include <vector>

namespace llmc {
namespace {

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Runs `work(thread)` on all threads at once and returns the time of the slowest.
double together(int threads, const std::function<void(int)> &work) {
  std::atomic<int> ready{0};
  std::atomic<bool> go{false};
  std::vector<std::thread> pool;
  for (int i = 0; i < threads; ++i)
    pool.emplace_back([&, i] {
      ++ready;
      while (!go) {
      }
      work(i);
    });
  while (ready < threads) {
  }
  double start = seconds();
  go = true;
  for (std::thread &t : pool)
    t.join();
  return seconds() - start;
}

typedef float Vector __attribute__((vector_size(64)));

__attribute__((target("avx512f"))) void multiplyAdd512(Vector *acc, long n) {
  Vector a[24], x = acc[0] * 0 + 1.0000001f, y = acc[0] * 0 + 1e-9f;
  for (Vector &v : a)
    v = acc[0];
#pragma clang loop unroll(disable)
  for (long i = 0; i < n; ++i)
    for (Vector &v : a)
      asm("vfmadd213ps %2, %1, %0" : "+v"(v) : "v"(x), "v"(y));
  for (Vector &v : a)
    acc[0] += v;
}

typedef float Vector8 __attribute__((vector_size(32)));
__attribute__((target("avx2,fma"))) void multiplyAdd256(Vector8 *acc, long n) {
  Vector8 a[12], x = acc[0] * 0 + 1.0000001f, y = acc[0] * 0 + 1e-9f;
  for (Vector8 &v : a)
    v = acc[0];
  for (long i = 0; i < n; ++i)
    for (Vector8 &v : a)
      asm("vfmadd213ps %2, %1, %0" : "+x"(v) : "x"(x), "x"(y));
  for (Vector8 &v : a)
    acc[0] += v;
}

__attribute__((target("avx2"))) uint64_t readAll(const uint8_t *data, size_t bytes) {
  typedef uint64_t Words __attribute__((vector_size(32)));
  Words sum[8] = {};
  const Words *p = reinterpret_cast<const Words *>(data);
  for (size_t i = 0; i + 8 <= bytes / 32; i += 8) {
    __builtin_prefetch(reinterpret_cast<const char *>(p + i) + 4096);
    __builtin_prefetch(reinterpret_cast<const char *>(p + i) + 4160);
    __builtin_prefetch(reinterpret_cast<const char *>(p + i) + 4224);
    __builtin_prefetch(reinterpret_cast<const char *>(p + i) + 4288);
    for (int j = 0; j < 8; ++j)
      sum[j] ^= p[i + j];
  }
  Words all = sum[0] ^ sum[1] ^ sum[2] ^ sum[3] ^ sum[4] ^ sum[5] ^ sum[6] ^ sum[7];
  return all[0] ^ all[1] ^ all[2] ^ all[3];
}

} // namespace

MachineSpeed measureMachine(int threads) {
  MachineSpeed speed{};
  constexpr size_t kBytes = size_t(512) << 20;
  void *memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return speed;
  uint8_t *data = static_cast<uint8_t *>(memory);
  for (size_t i = 0; i < kBytes; i += 4096)
    data[i] = uint8_t(i >> 12);
  std::atomic<uint64_t> sink{0};
  for (int run = 0; run < 5; ++run) {
    size_t share = kBytes / threads / 4096 * 4096;
    double time = together(threads, [&](int i) { sink += readAll(data + i * share, share); });
    speed.readBytesPerSecond = std::max(speed.readBytesPerSecond, share * threads / time);
  }
  munmap(memory, kBytes);
  bool wide = __builtin_cpu_supports("avx512f");
  for (int run = 0; run < 5; ++run) {
    constexpr long kSteps = 2000000;
    double time = together(threads, [&](int i) {
      if (wide) {
        alignas(64) Vector acc = {float(i)};
        multiplyAdd512(&acc, kSteps / 4);
        sink += uint64_t(acc[0]);
      } else {
        alignas(32) Vector8 acc = {float(i)};
        multiplyAdd256(&acc, kSteps / 4);
        sink += uint64_t(acc[0]);
      }
    });
    double flops = double(threads) * (kSteps / 4) * (wide ? 24 * 16 : 12 * 8) * 2;
    speed.flopsPerSecond = std::max(speed.flopsPerSecond, flops / time);
  }
  return speed;
}

} // namespace llmc
