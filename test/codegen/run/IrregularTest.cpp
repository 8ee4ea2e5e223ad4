// Irregular control flow and carried tensors (irregular.mlir.in) against plain code in double.
#include "test/codegen/run/Kernel.h"
#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>

namespace llmc::test {
namespace {

class Irregular : public ::testing::TestWithParam<std::string> {
protected:
  Kernels kernels{tileProgram("irregular", {}), GetParam()};
  Random random{9};
  void fill(Buffer<float> &buffer) {
    for (size_t i = 0; i < buffer.size(); ++i)
      buffer[i] = random();
  }
};

TEST_P(Irregular, TailPanelUnderIf) {
  const int64_t T = 7;
  Buffer<float> x(T * 64), o(T * 40);
  fill(x);
  kernels.run("tail_if", {x.data(), o.data()}, {T});
  std::vector<double> expected(T * 40);
  for (int64_t i = 0; i < T * 40; ++i)
    expected[i] = std::exp(double(x[i / 40 * 64 + i % 40]));
  EXPECT_LT(relativeError(o, expected), 1e-6);
}

TEST_P(Irregular, SoftmaxOfKeysWithContiguousRows) {
  const int64_t T = 3, rows = 8 * T;
  Buffer<float> q(rows * 64);
  Buffer<uint16_t> k(32 * 64), o(rows * 32);
  fill(q);
  for (size_t i = 0; i < k.size(); ++i)
    k[i] = toBf16(random());
  kernels.run("softmax", {q.data(), k.data(), o.data()}, {T, 0, 0, 32, 1});
  std::vector<double> expected(rows * 32);
  std::vector<float> actual(rows * 32);
  for (int64_t r = 0; r < rows; ++r) {
    double total = 0;
    for (int64_t j = 0; j < 32; ++j) {
      double dot = 0;
      for (int64_t d = 0; d < 64; ++d)
        dot += double(q[r * 64 + d]) * fromBf16(k[j * 64 + d]);
      total += expected[r * 32 + j] = std::exp(dot);
    }
    for (int64_t j = 0; j < 32; ++j) {
      expected[r * 32 + j] = std::max(0.5, expected[r * 32 + j] / total);
      actual[r * 32 + j] = fromBf16(o[r * 32 + j]);
    }
  }
  EXPECT_LT(relativeError(actual, expected), 2e-3); // the output is bf16
}

TEST_P(Irregular, TopFour) {
  const int64_t T = 5;
  Buffer<float> x(T * 64), values(T * 4);
  Buffer<int32_t> ids(T * 4);
  fill(x);
  kernels.run("topk", {x.data(), ids.data(), values.data()}, {T});
  for (int64_t t = 0; t < T; ++t) {
    std::vector<int> order(64);
    for (int i = 0; i < 64; ++i)
      order[i] = i;
    std::sort(order.begin(), order.end(), [&](int a, int b) { return x[t * 64 + a] > x[t * 64 + b]; });
    for (int i = 0; i < 4; ++i) {
      EXPECT_EQ(ids[t * 4 + i], order[i]);
      EXPECT_EQ(values[t * 4 + i], x[t * 64 + order[i]]);
    }
  }
}

TEST_P(Irregular, CarriedTensorsTradePlaces) {
  const int64_t T = 6;
  Buffer<float> x(T * 64), o(T * 64);
  fill(x);
  kernels.run("carry", {x.data(), o.data()}, {T});
  std::vector<double> expected(T * 64);
  for (int64_t t = 0; t < T; ++t) {
    double q[64];
    for (int64_t i = 0; i < 64; ++i) {
      double a = std::exp(double(x[t * 64 + i])), b = std::tanh(double(x[t * 64 + i]));
      for (int64_t n = 0; n < t; ++n)
        std::swap(a += b, b);
      q[i] = b;
    }
    for (int64_t i = 0; i < 64; ++i)
      for (int64_t k = 0; k < 8; ++k)
        expected[t * 64 + i] += q[i / 8 * 8 + k] * q[i % 8 * 8 + k];
  }
  EXPECT_LT(relativeError(o, expected), 1e-6);
}

TEST_P(Irregular, WhileLoopOverScalars) {
  const int64_t S = 4;
  Buffer<float> x(S * 64);
  Buffer<int64_t> seeds(S * 4);
  Buffer<int32_t> o(S);
  fill(x);
  for (int64_t s = 0; s < S; ++s)
    seeds[s * 4] = 12345 * s + 1;
  kernels.run("sampler", {x.data(), seeds.data(), o.data()}, {0, S});
  for (int64_t s = 0; s < S; ++s) {
    unsigned __int128 product = (unsigned __int128)(uint64_t(seeds[s * 4])) * 6364136223846793005ull;
    double limit = std::log(double(uint64_t(product) ^ uint64_t(product >> 64))), sum = 0;
    int count = 0;
    while (count < 64 && sum < limit)
      sum += std::exp(double(x[s * 64 + count++]));
    EXPECT_EQ(o[s], count);
  }
}

TEST_P(Irregular, ConvolutionOnSlicesOfDynamicLength) {
  const int64_t T = 13;
  Buffer<float> x(T * 64), w(4 * 64), o(T * 64);
  fill(x);
  fill(w);
  kernels.run("conv", {x.data(), w.data(), o.data()}, {T});
  std::vector<double> expected(T * 64);
  for (int64_t t = 0; t + 3 < T; ++t)
    for (int64_t c = 0; c < 64; ++c)
      for (int64_t j = 0; j < 4; ++j)
        expected[t * 64 + c] += double(x[(t + j) * 64 + c]) * w[j * 64 + c];
  EXPECT_LT(relativeError(o, expected), 1e-6);
}

TEST(Narrow, ArithmeticOnSixteenBitsAndBooleans) {
  for (const std::string &level : levels()) {
    Kernels kernels(tileProgram("narrow", {}), level);
    const int64_t T = 3;
    Buffer<uint16_t> x(T * 40), s(T * 40);
    Buffer<_Float16> y(T * 40), p(T * 40);
    Buffer<uint8_t> b(T * 40);
    Random random(1);
    for (size_t i = 0; i < x.size(); ++i) {
      x[i] = toBf16(std::fabs(random()) + 0.1);
      y[i] = _Float16(random());
    }
    kernels.run("narrow", {x.data(), y.data(), s.data(), p.data(), b.data()}, {T});
    for (size_t i = 0; i < x.size(); ++i) {
      float v = fromBf16(x[i]), square = fromBf16(toBf16(v * v));
      float sum = fromBf16(toBf16(std::log(double(v)))) + fromBf16(toBf16(std::exp(square)));
      EXPECT_NEAR(fromBf16(s[i]), sum, std::fabs(sum) / 128) << level;
      float tanh = std::tanh(float(y[i] + y[i]));
      EXPECT_NEAR(float(p[i]), tanh, 1e-3) << level;
      EXPECT_EQ(b[i], p[i] < y[i]) << level;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, Irregular, ::testing::ValuesIn(levels()), [](const auto &info) { return info.index ? "v4" : "v3"; });

} // namespace
} // namespace llmc::test
