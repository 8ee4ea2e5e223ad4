// Linear kernels against sums in double: panels of all widths, weight types, norm prologue and gate epilogue.
#include "test/codegen/run/Kernel.h"
#include <cmath>
#include <gtest/gtest.h>

namespace llmc::test {
namespace {

std::string num(int64_t n) { return std::to_string(n); }

/// T x N outputs of the linear kernel on random numbers that depend on the row only through its index.
std::vector<float> runLinear(Kernels &kernels, int64_t T, int64_t K, int64_t P, int64_t W, bool isBf16, double *error) {
  int64_t N = P * W;
  Random random(K * 1000 + N);
  Buffer<uint16_t> narrow(P * K * W);
  Buffer<float> wide(P * K * W), x(T * K), r(T * N), o(T * N);
  for (size_t i = 0; i < wide.size(); ++i) {
    narrow[i] = toBf16(random());
    wide[i] = isBf16 ? fromBf16(narrow[i]) : float(random());
  }
  for (int64_t t = 0; t < T; ++t) {
    Random row(t + 7);
    for (int64_t k = 0; k < K; ++k)
      x[t * K + k] = row();
    for (int64_t n = 0; n < N; ++n)
      r[t * N + n] = row();
  }
  void *weights = isBf16 ? static_cast<void *>(narrow.data()) : wide.data();
  kernels.run("linear", {x.data(), weights, r.data(), o.data()}, {T});
  std::vector<double> expected(T * N);
  for (int64_t t = 0; t < T; ++t)
    for (int64_t n = 0; n < N; ++n) {
      double sum = 0;
      for (int64_t k = 0; k < K; ++k)
        sum += double(x[t * K + k]) * wide[(n / W * K + k) * W + n % W];
      expected[t * N + n] = sum + r[t * N + n];
    }
  *error = relativeError(o, expected);
  return std::vector<float>(o.data(), o.data() + T * N);
}

void checkLinear(int64_t K, int64_t P, int64_t W, bool isBf16) {
  for (const std::string &level : levels()) {
    SCOPED_TRACE(level + " K=" + num(K) + " P=" + num(P) + " W=" + num(W));
    Kernels kernels(tileProgram("linear", {{"K", num(K)},
                                           {"P", num(P)},
                                           {"W", num(W)},
                                           {"N", num(P * W)},
                                           {"E", isBf16 ? "bf16" : "f32"},
                                           {"EXT", isBf16 ? "arith.extf %q : bf16 to f32" : "arith.addf %q, %zero : f32"}}),
                    level);
    std::vector<float> all;
    for (int64_t T : {129, 1, 7, 8, 9}) {
      double error;
      std::vector<float> rows = runLinear(kernels, T, K, P, W, isBf16, &error);
      EXPECT_LT(error, 1e-6) << "T=" << T;
      if (T == 129)
        all = rows;
      // The same rows in another tile are bit-equal.
      EXPECT_TRUE(std::equal(rows.begin(), rows.end(), all.begin())) << "T=" << T;
    }
    EXPECT_LT(kernels.compileSeconds, 0.5);
  }
}

TEST(Linear, PanelsOf32) {
  for (int64_t K : {24, 72, 100})
    checkLinear(K, 3, 32, true);
}
TEST(Linear, TailPanels) {
  for (int64_t W : {1, 8, 24})
    checkLinear(72, 1, W, true);
}
TEST(Linear, Float32Weights) { checkLinear(100, 2, 32, false); }

TEST(Linear, NormPrologueAndGateEpilogue) {
  for (const std::string &level : levels())
    for (int64_t K : {24, 72, 100}) {
      SCOPED_TRACE(level + " K=" + num(K));
      const int64_t P = 2, N = 64;
      Substitutions values = {{"K", num(K)}, {"P", num(P)}, {"N", num(N)}};
      auto rows = [&](const char *m, const char *from, const char *to, const char *init) {
        Substitutions own = values;
        own.insert({{"M", m}, {"FROM", from}, {"TO", to}, {"INIT", init}});
        return tileProgram("norm-gate-rows", own);
      };
      Substitutions whole = values;
      whole["ROWS:8"] = rows("8", "%c0", "%main", "%column");
      whole["ROWS:1"] = rows("1", "%main", "%T", "%rows8");
      Kernels kernels(tileProgram("norm-gate", whole), level);
      std::vector<float> all;
      for (int64_t T : {129, 1, 9}) {
        Random random(5);
        Buffer<uint16_t> wg(K * N), wu(K * N);
        Buffer<float> g(K), x(T * K), o(T * N);
        for (int64_t i = 0; i < K * N; ++i) {
          wg[i] = toBf16(random());
          wu[i] = toBf16(random());
        }
        for (int64_t k = 0; k < K; ++k)
          g[k] = 1 + random() / 2;
        for (int64_t i = 0; i < T * K; ++i)
          x[i] = random() * 3;
        kernels.run("norm_gate", {x.data(), g.data(), wg.data(), wu.data(), o.data()}, {T});
        std::vector<double> expected(T * N);
        for (int64_t t = 0; t < T; ++t) {
          double squares = 0;
          for (int64_t k = 0; k < K; ++k)
            squares += double(x[t * K + k]) * x[t * K + k];
          double inverse = 1 / std::sqrt(squares / K + 1e-5);
          for (int64_t n = 0; n < N; ++n) {
            double gate = 0, up = 0;
            for (int64_t k = 0; k < K; ++k) {
              double h = x[t * K + k] * inverse * g[k];
              gate += h * fromBf16(wg[(n / 32 * K + k) * 32 + n % 32]);
              up += h * fromBf16(wu[(n / 32 * K + k) * 32 + n % 32]);
            }
            expected[t * N + n] = gate / (1 + std::exp(-gate)) * up;
          }
        }
        EXPECT_LT(relativeError(o, expected), 1e-6) << "T=" << T;
        if (T == 129)
          all.assign(o.data(), o.data() + T * N);
        EXPECT_TRUE(std::equal(o.data(), o.data() + T * N, all.begin())) << "T=" << T;
      }
    }
}

TEST(Linear, CompilationIsDeterministic) {
  Substitutions values = {{"K", "24"}, {"P", "3"}, {"W", "32"}, {"N", "96"}, {"E", "f32"}, {"EXT", "arith.addf %q, %zero : f32"}};
  std::string text = tileProgram("linear", values);
  Kernels first(text, "x86-64-v3"), second(text, "x86-64-v3");
  EXPECT_EQ(first.elf(), second.elf());
}

TEST(Linear, EqualKernelsShareTheirCode) {
  Substitutions values = {{"K", "24"}, {"P", "1"}, {"W", "32"}, {"N", "32"}, {"E", "bf16"}, {"EXT", "arith.extf %q : bf16 to f32"}};
  std::string one = tileProgram("linear", values), other = one;
  other.replace(other.find("@linear("), 7, "@again");
  // The affine map aliases stand once at the top of the file.
  other = other.substr(other.find("func.func"));
  Kernels single(one, "x86-64-v3"), both(one + other, "x86-64-v3");
  EXPECT_LT(both.elf().size(), single.elf().size() + 512);
  Buffer<float> x(24), r(32), o(32);
  Buffer<uint16_t> w(24 * 32);
  r[5] = 3;
  both.run("again", {x.data(), w.data(), r.data(), o.data()}, {1});
  EXPECT_EQ(o[5], 3);
}

} // namespace
} // namespace llmc::test
