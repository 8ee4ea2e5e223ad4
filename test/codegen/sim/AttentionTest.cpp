// Attention as the compiler makes it for GPUs from `llm` ops, at sizes whose products run on tensor cores, against sums in double: a prompt
// in tiles of rows, and a step in segments of the context, over keys and values or over latents.
#include "test/codegen/sim/OpKernels.h"
#include <cmath>

namespace llmc::test {
namespace {

/// Tolerance of a kernel alone (the design's): bf16 operands and results, float32 sums.
constexpr double kTolerance = 5e-3;

/// Pseudo-random bf16 in [-1, 1).
std::vector<uint16_t> values(size_t count, uint32_t seed) {
  std::vector<uint16_t> result(count);
  uint32_t state = seed * 2654435761u + 12345;
  for (uint16_t &v : result) {
    state = state * 1664525u + 1013904223u;
    v = bf16Of(float(int32_t(state)) / 2147483648.0f);
  }
  return result;
}

/// softmax(scores) weighted sums of `count` rows of values, in double.
template <typename Score, typename Row> std::vector<double> attended(int count, int width, Score score, Row row) {
  std::vector<double> weights(count), sums(width);
  double most = -1e30, total = 0;
  for (int i = 0; i < count; ++i)
    most = std::max(most, weights[i] = score(i));
  for (double &w : weights)
    total += w = std::exp(w - most);
  for (int i = 0; i < count; ++i)
    for (int j = 0; j < width; ++j)
      sums[j] += weights[i] / total * row(i, j);
  return sums;
}

double relativeError(const std::vector<uint16_t> &made, const std::vector<double> &expected) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += std::pow(wide(made[i]) - expected[i], 2);
    norm += expected[i] * expected[i];
  }
  return std::sqrt(difference / norm);
}

// Two sequences in slots 1 and 0, of which one has less than a block of positions and one several segments.
constexpr int kContext = 128, kPast[] = {100, 3}, kSlot[] = {1, 0};

class Attention : public testing::TestWithParam<const char *> {};

TEST_P(Attention, OverLatentsIsThatOfTheSums) {
  // 512 columns for 32 heads: more accumulators than the warps that have their rows can hold.
  constexpr int kHeads = 32, kNope = 16, kRope = 32, kLatent = 512, kValue = 32, kWidth = kLatent + kRope;
  const double scale = 0.125;
  OpKernels kernels(R"(
func.func @advance(%q: tensor<?x1536xbf16>, %c: tensor<?x?x544xbf16>, %up: tensor<1536x512xbf16>, %s: !llm.sequences) -> tensor<?x1024xbf16> {
  %y = llm.dispatch(%q, %c, %up, %s) {kernel = "latent", tied = array<i64: -1>}
      : (tensor<?x1536xbf16>, tensor<?x?x544xbf16>, tensor<1536x512xbf16>, !llm.sequences) -> tensor<?x1024xbf16> {
  ^bb0(%a: tensor<?x1536xbf16>, %b: tensor<?x?x544xbf16>, %d: tensor<1536x512xbf16>, %e: !llm.sequences):
    %o = llm.latent_attention %a, %b, %d, %e {heads = 32 : i64, nope = 16 : i64, rope = 32 : i64, scale = 0.125 : f64}
        : (tensor<?x1536xbf16>, tensor<?x?x544xbf16>, tensor<1536x512xbf16>, !llm.sequences) -> tensor<?x1024xbf16>
    llm.yield %o : tensor<?x1024xbf16>
  }
  return %y : tensor<?x1024xbf16>
})",
                    GetParam());
  auto q = values(2 * kHeads * (kNope + kRope), 1), cache = values(2 * kContext * kWidth, 2), uk = values(kHeads * kNope * kLatent, 3),
       uv = values(kHeads * kLatent * kValue, 4);
  std::vector<uint16_t> queries(2 * kHeads * kWidth), o(2 * kHeads * kValue);
  std::vector<float> parts(2 * 32 * kHeads * (kLatent + 1));
  std::vector<int32_t> where = {0, kPast[0], 1, kPast[1]}, rows = {kSlot[0], 0, 1, kPast[0], kSlot[1], 1, 1, kPast[1]};
  const runtime::Dims sizes = {2, 2, 2, kContext, kContext / 32};
  kernels.run("latent_query", sizes, {buffer(q), buffer(uk), buffer(queries)});
  kernels.run("latent", sizes, {buffer(cache), buffer(where), buffer(rows), buffer(queries), buffer(parts)});
  kernels.run("latent_join", sizes, {buffer(uv), buffer(parts), buffer(o)});
  std::vector<double> expected;
  for (int s = 0; s < 2; ++s)
    for (int h = 0; h < kHeads; ++h) {
      const uint16_t *own = &q[(s * kHeads + h) * (kNope + kRope)];
      auto latent = [&](int i, int j) { return double(wide(cache[(size_t(kSlot[s]) * kContext + i) * kWidth + j])); };
      std::vector<double> absorbed(kWidth);
      for (int j = 0; j < kLatent; ++j)
        for (int n = 0; n < kNope; ++n)
          absorbed[j] += double(wide(own[n])) * wide(uk[(h * kNope + n) * kLatent + j]);
      for (int j = 0; j < kRope; ++j)
        absorbed[kLatent + j] = wide(own[kNope + j]);
      auto sums = attended(
          kPast[s] + 1, kLatent,
          [&](int i) {
            double score = 0;
            for (int j = 0; j < kWidth; ++j)
              score += absorbed[j] * latent(i, j);
            return score * scale;
          },
          latent);
      for (int v = 0; v < kValue; ++v) {
        double value = 0;
        for (int j = 0; j < kLatent; ++j)
          value += sums[j] * wide(uv[(size_t(h) * kLatent + j) * kValue + v]);
        expected.push_back(value);
      }
    }
  EXPECT_LE(relativeError(o, expected), kTolerance);
}

/// Two key heads of 64 for 8 heads; `counts`: tokens of the two sequences.
void checkHeads(const char *arch, const char *function, std::array<int, 2> counts) {
  constexpr int kHeads = 8, kKeyHeads = 2, kHead = 64;
  const double scale = 0.125;
  const int tokens = counts[0] + counts[1];
  OpKernels kernels(std::string("func.func @") + function + R"((%q: tensor<?x512xbf16>, %keys: tensor<?x?x128x32xbf16>,
    %values: tensor<?x?x128xbf16>, %s: !llm.sequences) -> tensor<?x512xbf16> {
  %y = llm.dispatch(%q, %keys, %values, %s) {kernel = "attend", tied = array<i64: -1>}
      : (tensor<?x512xbf16>, tensor<?x?x128x32xbf16>, tensor<?x?x128xbf16>, !llm.sequences) -> tensor<?x512xbf16> {
  ^bb0(%a: tensor<?x512xbf16>, %k: tensor<?x?x128x32xbf16>, %v: tensor<?x?x128xbf16>, %t: !llm.sequences):
    %z = llm.attention %a, %k, %v, %t {heads = 8 : i64, kv_heads = 2 : i64, scale = 0.125 : f64}
        : (tensor<?x512xbf16>, tensor<?x?x128x32xbf16>, tensor<?x?x128xbf16>, !llm.sequences) -> tensor<?x512xbf16>
    llm.yield %z : tensor<?x512xbf16>
  }
  return %y : tensor<?x512xbf16>
})",
                    arch);
  auto q = values(size_t(tokens) * kHeads * kHead, 1), keys = values(2 * kContext * kKeyHeads * kHead, 2),
       stored = values(2 * kContext * kKeyHeads * kHead, 3);
  std::vector<uint16_t> o(q.size());
  std::vector<int32_t> where, rows = {kSlot[0], 0, counts[0], kPast[0], kSlot[1], counts[0], counts[1], kPast[1]};
  for (int s = 0; s < 2; ++s)
    for (int i = 0; i < counts[s]; ++i)
      where.insert(where.end(), {s, kPast[s] + i});
  const runtime::Dims sizes = {tokens, 2, 2, kContext, kContext / 32};
  if (std::string(function) == "advance") {
    std::vector<float> parts(size_t(tokens) * 32 * kHeads * (kHead + 1));
    kernels.run("attend", sizes, {buffer(q), buffer(keys), buffer(stored), buffer(where), buffer(rows), buffer(parts)});
    kernels.run("attend_join", sizes, {buffer(parts), buffer(o)});
  } else {
    kernels.run("attend", sizes, {buffer(q), buffer(keys), buffer(stored), buffer(where), buffer(rows), buffer(o)});
  }
  std::vector<double> expected;
  for (int t = 0; t < tokens; ++t)
    for (int h = 0; h < kHeads; ++h) {
      const int s = where[2 * t], g = h / (kHeads / kKeyHeads);
      auto sums = attended(
          where[2 * t + 1] + 1, kHead,
          [&](int i) {
            double score = 0;
            for (int j = 0; j < kHead; ++j) // keys: blocks of 32 positions, position innermost
              score += double(wide(q[(size_t(t) * kHeads + h) * kHead + j])) *
                       wide(keys[((size_t(kSlot[s]) * (kContext / 32) + i / 32) * kKeyHeads * kHead + g * kHead + j) * 32 + i % 32]);
            return score * scale;
          },
          [&](int i, int j) { return double(wide(stored[(size_t(kSlot[s]) * kContext + i) * kKeyHeads * kHead + g * kHead + j])); });
      expected.insert(expected.end(), sums.begin(), sums.end());
    }
  EXPECT_LE(relativeError(o, expected), kTolerance);
}

TEST_P(Attention, OfAStepIsThatOfTheSums) { checkHeads(GetParam(), "advance", {1, 1}); }
TEST_P(Attention, OfAPromptIsThatOfTheSums) { checkHeads(GetParam(), "score", {17, 70}); }

INSTANTIATE_TEST_SUITE_P(Archs, Attention, testing::Values("sm_80", "sm_90a"));

} // namespace
} // namespace llmc::test
