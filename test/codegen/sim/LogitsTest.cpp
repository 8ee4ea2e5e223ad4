// Numbers over logits as the compiler makes them for GPUs, a product's rows reduced where they are made, against sums in double: tokens and
// confidences on a canvas in tiles of rows, statistics in a step. Operands are small multiples of 1/8, so that logits are exact, and equal ones occur.
#include "test/codegen/sim/OpKernels.h"
#include <algorithm>
#include <cmath>

namespace llmc::test {
namespace {

constexpr double kOfSums = 1e-5; // of float32 sums

struct Logits {
  Logits(int rows, int depth, int columns) : columns(columns), x(rows * depth), weights(columns * depth), z(rows * columns) {
    std::vector<float> a(x.size()), b(weights.size());
    for (size_t i = 0; i < a.size(); ++i)
      x[i] = bf16Of(a[i] = exactValue(i * 7 + 1));
    for (size_t i = 0; i < b.size(); ++i)
      weights[i] = bf16Of(b[i] = exactValue(i * 5 + 3));
    for (int r = 0; r < rows; ++r)
      for (int c = 0; c < columns; ++c)
        for (int k = 0; k < depth; ++k)
          z[r * columns + c] += a[r * depth + k] * b[c * depth + k];
    // Packed as kernels read it: [panels, k, 32].
    packed.resize((columns + 31) / 32 * 32 * depth);
    for (int c = 0; c < columns; ++c)
      for (int k = 0; k < depth; ++k)
        packed[(c / 32 * depth + k) * 32 + c % 32] = weights[c * depth + k];
  }
  int columns;
  std::vector<uint16_t> x, weights, packed;
  std::vector<double> z;
};

/// softmax of a row.
std::vector<double> softmaxOf(const double *row, int columns, double temperature) {
  double top = *std::max_element(row, row + columns), sum = 0;
  std::vector<double> p;
  for (int c = 0; c < columns; ++c)
    sum += p.emplace_back(std::exp((row[c] - top) / temperature));
  for (double &v : p)
    v /= sum;
  return p;
}

class LogitKernels : public testing::TestWithParam<const char *> {};

// Two tiles of rows, three of columns, the last of both narrower. Every fourth sequence: probability, random, entropy, margin.
TEST_P(LogitKernels, PredictGreedily) {
  constexpr int kRows = 150, kDepth = 32, kColumns = 300, kMask = 299, kParts = 3, kSequences = 5;
  Logits logits(kRows, kDepth, kColumns);
  const std::string rest = "!llm.sequences, tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?xi32>, tensor<?x1xf32>)";
  OpKernels kernels("func.func @f(%x: tensor<?x32xbf16>, %w: tensor<300x32xbf16>, %q: !llm.sequences, %s: tensor<?x4xf32>, %d: tensor<?x4xi64>, "
                    "%e: tensor<?x8xf32>, %p: tensor<?x4xi32>) -> (tensor<?xi32>, tensor<?x1xf32>) {\n"
                    "  %r:2 = llm.dispatch(%x, %w, %q, %s, %d, %e, %p) {kernel = \"sure\", tied = array<i64: -1, -1>} : (tensor<?x32xbf16>, "
                    "tensor<300x32xbf16>, " + rest + " {\n"
                    "  ^bb0(%a: tensor<?x32xbf16>, %b: tensor<300x32xbf16>, %q1: !llm.sequences, %s1: tensor<?x4xf32>, %d1: tensor<?x4xi64>, "
                    "%e1: tensor<?x8xf32>, %p1: tensor<?x4xi32>):\n"
                    "    %z = llm.linear %a, %b : (tensor<?x32xbf16>, tensor<300x32xbf16>) -> tensor<?x300xf32>\n"
                    "    %t, %c = llm.predict %z, %q1, %s1, %d1, %e1, %p1 {mask = 299 : i64, tempered} : (tensor<?x300xf32>, " + rest + "\n"
                    "    llm.yield %t, %c : tensor<?xi32>, tensor<?x1xf32>\n  }\n  return %r#0, %r#1 : tensor<?xi32>, tensor<?x1xf32>\n}\n",
                    GetParam());
  std::vector<int32_t> where, rows, progress(4 * kSequences), tokens(kRows);
  std::vector<float> sampling, settings(8 * kSequences), parts(kRows * 6 * kParts), confidence(kRows);
  std::vector<float> stored(kRows * kColumns);
  std::vector<int64_t> draws(4 * kSequences, 3);
  for (int s = 0; s < kSequences; ++s) {
    const int each = kRows / kSequences;
    rows.insert(rows.end(), {s, s * each, each, 0});
    for (int i = 0; i < each; ++i)
      where.insert(where.end(), {s, i});
    // The last draws at a temperature, of the one most probable token.
    sampling.insert(sampling.end(), {s == 4 ? 0.5f : 0.0f, 1, 0, 0});
    draws[4 * s + 1] = s == 4;
    settings[8 * s + 2] = s == 4 ? 0 : float(s);
  }
  const runtime::Dims sizes = {kRows, kSequences, kSequences, 64, 2};
  kernels.run("sure", sizes, {buffer(logits.x), buffer(logits.packed), buffer(where), buffer(rows), buffer(sampling), buffer(draws),
                              buffer(settings), buffer(progress), buffer(parts), buffer(stored)});
  kernels.run("sure_join", sizes, {buffer(where), buffer(rows), buffer(sampling), buffer(draws), buffer(settings), buffer(progress),
                                   buffer(parts), buffer(stored), buffer(tokens), buffer(confidence)});
  for (int r = 0; r < kRows; ++r) {
    SCOPED_TRACE(r);
    const double *row = &logits.z[r * kColumns];
    auto p = softmaxOf(row, kColumns, 1);
    int best = int(std::max_element(row, row + kMask) - row), kind = r / (kRows / kSequences);
    if (kind < 4) {
      EXPECT_EQ(tokens[r], best);
    } else { // of equal logits any
      EXPECT_EQ(row[tokens[r]], row[best]);
    }
    double expected = p[best];
    if (kind == 2) {
      expected = 0;
      for (double v : p)
        expected += v * std::log(v + 1e-10);
    } else if (kind == 3) {
      std::sort(p.rbegin(), p.rend());
      expected = p[0] - p[1];
    } else if (kind == 4) {
      expected = 1.0 / std::count(row, row + kMask, row[best]);
    }
    if (kind == 1) {
      EXPECT_TRUE(confidence[r] > 0 && confidence[r] < 1);
    } else {
      EXPECT_NEAR(confidence[r], expected, kOfSums * std::max(1.0, std::abs(expected)));
    }
  }
}

TEST_P(LogitKernels, StatisticsOfAStep) {
  constexpr int kRows = 21, kDepth = 32, kColumns = 300, kParts = 5;
  Logits logits(kRows, kDepth, kColumns);
  OpKernels kernels(R"(
func.func @advance(%x: tensor<?x32xbf16>, %w: tensor<300x32xbf16>, %h: tensor<?x1xf32>) -> (tensor<?x300xf32>, tensor<?x4xf32>) {
  %r:2 = llm.dispatch(%x, %w, %h) {kernel = "sums", tied = array<i64: -1, -1>} : (tensor<?x32xbf16>, tensor<300x32xbf16>, tensor<?x1xf32>) -> (tensor<?x300xf32>, tensor<?x4xf32>) {
  ^bb0(%a: tensor<?x32xbf16>, %b: tensor<300x32xbf16>, %c: tensor<?x1xf32>):
    %z = llm.linear %a, %b : (tensor<?x32xbf16>, tensor<300x32xbf16>) -> tensor<?x300xf32>
    %s = llm.logit_statistics %z, %c : (tensor<?x300xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
    llm.yield %z, %s : tensor<?x300xf32>, tensor<?x4xf32>
  }
  return %r#0, %r#1 : tensor<?x300xf32>, tensor<?x4xf32>
})",
                    GetParam());
  std::vector<float> temperatures, parts(kRows * 4 * kParts), made(kRows * kColumns), statistics(kRows * 4);
  for (int r = 0; r < kRows; ++r)
    temperatures.push_back(0.25f + 0.125f * float(r));
  const runtime::Dims sizes = {kRows, kRows, kRows, 64, 2};
  kernels.run("sums", sizes, {buffer(logits.x), buffer(logits.packed), buffer(temperatures), buffer(parts), buffer(made)});
  kernels.run("sums_join", sizes, {buffer(temperatures), buffer(parts), buffer(made), buffer(statistics)});
  for (int r = 0; r < kRows; ++r) {
    SCOPED_TRACE(r);
    for (int c = 0; c < kColumns; ++c)
      ASSERT_EQ(made[r * kColumns + c], logits.z[r * kColumns + c]) << c;
    auto q = softmaxOf(&logits.z[r * kColumns], kColumns, temperatures[r] + 1e-8);
    double entropy = 0, squares = 0, five = 0;
    for (double v : q) {
      entropy -= v * std::log(v + 1e-8);
      squares += v * v;
    }
    std::sort(q.rbegin(), q.rend());
    for (int i = 0; i < 5; ++i)
      five += q[i];
    const double expected[] = {q[0], entropy, (squares - 1.0 / kColumns) / (kColumns - 1), five};
    for (int i = 0; i < 4; ++i)
      EXPECT_NEAR(statistics[4 * r + i], expected[i], kOfSums * std::max(i == 2 ? 1.0 / kColumns : 1.0, expected[i])) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, LogitKernels, testing::Values("sm_80", "sm_90a"), [](const auto &info) { return std::string(info.param); });

} // namespace
} // namespace llmc::test
