// Sequence mixers and irregular loops against plain loops in double.
#include "test/codegen/run/Kernel.h"
#include <cmath>
#include <gtest/gtest.h>

namespace llmc::test {
namespace {

std::string num(int64_t n) { return std::to_string(n); }

void fill(Buffer<float> &buffer, Random &random, double scale = 1) {
  for (size_t i = 0; i < buffer.size(); ++i)
    buffer[i] = random() * scale;
}

TEST(Mixer, OnlineSoftmaxOverABlockedCache) {
  for (const std::string &level : levels())
    for (int64_t D : {24, 64}) {
      SCOPED_TRACE(level + " D=" + num(D));
      Kernels kernels(tileProgram("attention", {{"D", num(D)}}), level);
      const int64_t lengths[] = {1, 7, 32, 33, 129}, T = 5, blocks = 5;
      Random random(3);
      Buffer<float> q(T * D), k(blocks * 32 * D), v(blocks * 32 * D), o(T * D);
      Buffer<int32_t> length(T);
      fill(q, random, 4);
      fill(k, random, 2);
      fill(v, random);
      for (int64_t t = 0; t < T; ++t)
        length[t] = lengths[t];
      kernels.run("attention", {q.data(), k.data(), v.data(), length.data(), o.data()}, {T, 0, 0, blocks * 32, blocks});
      std::vector<double> expected(T * D);
      for (int64_t t = 0; t < T; ++t) {
        std::vector<double> score(length[t]);
        double largest = -INFINITY, total = 0;
        for (int64_t j = 0; j < length[t]; ++j) {
          for (int64_t d = 0; d < D; ++d)
            score[j] += double(q[t * D + d]) * k[(j / 32 * D + d) * 32 + j % 32] * 0.25;
          largest = std::max(largest, score[j]);
        }
        for (double &s : score)
          total += s = std::exp(s - largest);
        for (int64_t j = 0; j < length[t]; ++j)
          for (int64_t d = 0; d < D; ++d)
            expected[t * D + d] += score[j] / total * v[j * D + d];
      }
      EXPECT_LT(relativeError(o, expected), 1e-6);
    }
}

TEST(Mixer, DeltaRuleUpdatesItsStateInPlace) {
  const int64_t H = 3, K = 24, V = 40, S = 3, slots = 4;
  const int32_t table[S][4] = {{2, 0, 1, 0}, {0, 1, 9, 5}, {3, 10, 7, 1}};
  const int64_t T = 17;
  for (const std::string &level : levels()) {
    SCOPED_TRACE(level);
    Kernels kernels(tileProgram("delta-rule", {{"H", num(H)}, {"K", num(K)}, {"V", num(V)}}), level);
    Random random(11);
    Buffer<int32_t> rows(S * 4);
    Buffer<float> q(T * H * K), k(T * H * K), v(T * H * V), g(T * H * K), beta(T * H), state(slots * H * K * V), o(T * H * V);
    for (int64_t i = 0; i < S * 4; ++i)
      rows[i] = table[i / 4][i % 4];
    fill(q, random);
    fill(k, random, 0.2);
    fill(v, random);
    fill(state, random);
    for (size_t i = 0; i < g.size(); ++i)
      g[i] = -std::fabs(random());
    for (size_t i = 0; i < beta.size(); ++i)
      beta[i] = std::fabs(random());
    std::vector<double> expectedState(state.data(), state.data() + state.size()), expected(o.size());
    kernels.run("delta_rule", {rows.data(), q.data(), k.data(), v.data(), g.data(), beta.data(), state.data(), o.data()}, {T, S, slots});
    for (const auto &[slot, start, length, past] : table)
      for (int64_t h = 0; h < H; ++h)
        for (int64_t t = start; t < start + length; ++t) {
          double *s = &expectedState[(slot * H + h) * K * V];
          for (int64_t j = 0; j < V; ++j) {
            double predicted = 0;
            for (int64_t i = 0; i < K; ++i) {
              s[i * V + j] *= std::exp(double(g[(t * H + h) * K + i]));
              predicted += s[i * V + j] * k[(t * H + h) * K + i];
            }
            double u = beta[t * H + h] * (v[(t * H + h) * V + j] - predicted), out = 0;
            for (int64_t i = 0; i < K; ++i) {
              s[i * V + j] += k[(t * H + h) * K + i] * u;
              out += s[i * V + j] * q[(t * H + h) * K + i];
            }
            expected[(t * H + h) * V + j] = out;
          }
        }
    EXPECT_LT(relativeError(o, expected), 1e-6);
    EXPECT_LT(relativeError(state, expectedState), 1e-6);
  }
}

TEST(Mixer, ArgmaxTakesTheFirstOfEquals) {
  const int64_t S = 5, V = 1003;
  for (const std::string &level : levels()) {
    Kernels kernels(tileProgram("argmax", {{"V", num(V)}}), level);
    Random random(2);
    Buffer<float> logits(S * V);
    Buffer<int32_t> next(S);
    fill(logits, random);
    for (int64_t s = 0; s < S; ++s)
      logits[s * V + 100 * s + 2] = logits[s * V + 500] = 7;
    for (int64_t i = 0; i < V; ++i)
      logits[4 * V + i] = NAN;
    kernels.run("argmax", {logits.data(), next.data()}, {0, S});
    for (int64_t s = 0; s < 4; ++s)
      EXPECT_EQ(next[s], 100 * s + 2) << level;
    EXPECT_EQ(next[4], -1) << level;
  }
}

TEST(Mixer, TransposeAndSums) {
  const int64_t T = 3;
  for (const std::string &level : levels())
    for (auto [M, N] : {std::pair<int64_t, int64_t>{8, 100}, {1, 24}, {9, 7}, {33, 72}, {5, 1}}) {
      SCOPED_TRACE(level + " M=" + num(M) + " N=" + num(N));
      Kernels kernels(tileProgram("transpose-sums", {{"M", num(M)}, {"N", num(N)}}), level);
      Random random(M);
      Buffer<float> x(T * M * N), t(T * M * N), r(T * M), c(T * N), big(T * M);
      fill(x, random);
      kernels.run("transpose_sums", {x.data(), t.data(), r.data(), c.data(), big.data()}, {T});
      std::vector<double> et(T * M * N), er(T * M), ec(T * N), eb(T * M, -INFINITY);
      for (int64_t i = 0; i < T; ++i)
        for (int64_t m = 0; m < M; ++m)
          for (int64_t n = 0; n < N; ++n) {
            double value = x[(i * M + m) * N + n];
            et[(i * N + n) * M + m] = value;
            er[i * M + m] += value;
            ec[i * N + n] += value;
            eb[i * M + m] = std::max(eb[i * M + m], value);
          }
      EXPECT_EQ(relativeError(t, et), 0);
      EXPECT_EQ(relativeError(big, eb), 0);
      EXPECT_LT(relativeError(r, er), 1e-6);
      EXPECT_LT(relativeError(c, ec), 1e-6);
    }
}

TEST(Mixer, TriangularSolve) {
  const int64_t T = 2, N = 19;
  for (const std::string &level : levels()) {
    Kernels kernels(tileProgram("triangular", {{"N", num(N)}}), level);
    Random random(4);
    Buffer<float> a(T * N * N), b(T * N), o(T * N);
    fill(a, random, 0.3);
    fill(b, random);
    kernels.run("triangular", {a.data(), b.data(), o.data()}, {T});
    std::vector<double> expected(T * N);
    for (int64_t t = 0; t < T; ++t)
      for (int64_t i = 0; i < N; ++i) {
        double sum = b[t * N + i];
        for (int64_t j = 0; j < i; ++j)
          sum -= a[(t * N + i) * N + j] * expected[t * N + j];
        expected[t * N + i] = sum;
      }
    EXPECT_LT(relativeError(o, expected), 1e-6) << level;
  }
}

} // namespace
} // namespace llmc::test
