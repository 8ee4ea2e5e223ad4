// Speed of the generated linear kernel on one thread: bytes of weights per second and floating-point operations per second.
// Usage: bench-linear-kernel [LEVEL]. The weights of one pass come from memory, as they do when a model decodes: copies of
// the matrix are used in turn until they exceed any cache.
#include "test/codegen/run/Kernel.h"
#include <cstdio>
#include <ctime>

using namespace llmc::test;

/// Time of this thread alone: other work on the machine takes memory bandwidth from the figures, not time.
static double cpuSeconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec + now.tv_nsec * 1e-9;
}

int main(int argc, char **argv) {
  std::string level = argc > 1 ? argv[1] : levels().back();
  std::printf("%s\n%6s %6s %5s %10s %10s %10s\n", level.c_str(), "K", "N", "T", "us", "GB/s", "GFLOP/s");
  for (int64_t size : {1024, 2048}) {
    const int64_t K = size, N = size, P = N / 32, copies = (512 << 20) / (K * N * 2);
    auto num = [](int64_t n) { return std::to_string(n); };
    Kernels kernels(tileProgram("linear", {{"K", num(K)}, {"P", num(P)}, {"W", "32"}, {"N", num(N)}, {"E", "bf16"}, {"EXT", "arith.extf %q : bf16 to f32"}}), level);
    Buffer<uint16_t> weights(copies * K * N);
    for (size_t i = 0; i < weights.size(); ++i)
      weights[i] = 0x3c00 + i % 64;
    for (int64_t T : {1, 8, 64}) {
      Buffer<float> x(T * K), r(T * N), o(T * N);
      for (size_t i = 0; i < x.size(); ++i)
        x[i] = 1.0f / (1 + i % 7);
      int64_t runs = T == 1 ? copies * 2 : copies / 2;
      kernels.run("linear", {x.data(), weights.data(), r.data(), o.data()}, {T});
      double begin = cpuSeconds();
      for (int64_t i = 0; i < runs; ++i)
        kernels.run("linear", {x.data(), weights.data() + i % copies * K * N, r.data(), o.data()}, {T});
      double seconds = (cpuSeconds() - begin) / runs;
      std::printf("%6ld %6ld %5ld %10.1f %10.2f %10.1f\n", long(K), long(N), long(T), seconds * 1e6, K * N * 2 / seconds / 1e9, 2.0 * T * K * N / seconds / 1e9);
    }
  }
}
