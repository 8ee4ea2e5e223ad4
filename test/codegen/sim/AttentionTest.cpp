// Attention as the compiler makes it for GPUs from `llm` ops, at sizes whose products run on tensor cores, against sums in double: a prompt
// in tiles of rows, and a step in segments of the context, over keys and values or over latents.
#include "test/codegen/sim/OpKernels.h"

namespace llmc::test {
namespace {

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

// Two sequences in slots 1 and 0, of which one has less than a block of positions and one several segments.
constexpr int kContext = 128, kPast[] = {100, 3}, kSlot[] = {1, 0};

class Attention : public testing::TestWithParam<const char *> {};

/// Heads on one cache of latents, and two sequences of tokens that are the last of `kContext` or fewer positions.
class OnLatents {
public:
  struct Shape {
    int heads, nope, rope, latent, value;
    int width() const { return latent + rope; }
  };
  OnLatents(Shape shape, const char *arch, const char *function)
      : shape(shape), isStep(function == std::string("advance")), kernels(textOf(shape, function), arch),
        cache(values(size_t(2) * kContext * shape.width(), 2)), uk(values(size_t(shape.heads) * shape.nope * shape.latent, 3)),
        uv(values(size_t(shape.heads) * shape.latent * shape.value, 4)) {}

  /// What `counts` tokens of the sequences with queries `q` give after `past` others.
  std::vector<uint16_t> run(const std::vector<uint16_t> &queries, std::array<int, 2> counts, std::array<int, 2> past) {
    const int tokens = counts[0] + counts[1];
    std::vector<uint16_t> q = queries, o(size_t(tokens) * shape.heads * shape.value);
    std::vector<int32_t> where, rows = {kSlot[0], 0, counts[0], past[0], kSlot[1], counts[0], counts[1], past[1]};
    for (int s = 0; s < 2; ++s)
      for (int i = 0; i < counts[s]; ++i)
        where.insert(where.end(), {s, past[s] + i});
    const runtime::Dims sizes = {tokens, 2, 2, kContext, kContext / 32};
    if (!isStep) {
      kernels.run("latent", sizes, {buffer(q), buffer(cache), buffer(uk), buffer(uv), buffer(where), buffer(rows), buffer(o)});
      return o;
    }
    std::vector<uint16_t> onLatents(size_t(tokens) * shape.heads * shape.width());
    std::vector<float> parts(size_t(tokens) * 32 * shape.heads * (shape.latent + 1));
    kernels.run("latent_query", sizes, {buffer(q), buffer(uk), buffer(onLatents)});
    kernels.run("latent", sizes, {buffer(cache), buffer(where), buffer(rows), buffer(onLatents), buffer(parts)});
    kernels.run("latent_join", sizes, {buffer(uv), buffer(parts), buffer(o)});
    return o;
  }

  /// The same by sums in double.
  std::vector<double> expected(const std::vector<uint16_t> &q, std::array<int, 2> counts, std::array<int, 2> past) const {
    std::vector<double> all;
    for (int t = 0; t < counts[0] + counts[1]; ++t) {
      const int s = t >= counts[0], position = past[s] + t - (s ? counts[0] : 0);
      for (int h = 0; h < shape.heads; ++h)
        addRow(all, &q[(size_t(t) * shape.heads + h) * (shape.nope + shape.rope)], s, position, h);
    }
    return all;
  }

  std::vector<uint16_t> queries(int tokens) const { return values(size_t(tokens) * shape.heads * (shape.nope + shape.rope), 1); }

private:
  static std::string textOf(Shape d, const char *function) {
    auto matrix = [](const std::string &rows, int columns) { return "tensor<" + rows + "x" + std::to_string(columns) + "xbf16>"; };
    auto entry = [](const char *name, int value) { return name + (" = " + std::to_string(value)) + " : i64, "; };
    const std::string q = matrix("?", d.heads * (d.nope + d.rope)), cache = matrix("?x?", d.width()), o = matrix("?", d.heads * d.value),
                      up = matrix(std::to_string(d.heads * (d.nope + d.value)), d.latent),
                      operands = q + ", " + cache + ", " + up + ", !llm.sequences";
    return std::string("func.func @") + function + "(%q: " + q + ", %c: " + cache + ", %up: " + up + ", %s: !llm.sequences) -> " + o +
           " {\n  %y = llm.dispatch(%q, %c, %up, %s) {kernel = \"latent\", tied = array<i64: -1>} : (" + operands + ") -> " + o +
           " {\n  ^bb0(%a: " + q + ", %b: " + cache + ", %d: " + up + ", %e: !llm.sequences):\n" +
           "    %o = llm.latent_attention %a, %b, %d, %e {" + entry("heads", d.heads) + entry("nope", d.nope) + entry("rope", d.rope) +
           "scale = 0.125 : f64} : (" + operands + ") -> " + o + "\n    llm.yield %o : " + o + "\n  }\n  return %y : " + o + "\n}\n";
  }

  void addRow(std::vector<double> &all, const uint16_t *own, int sequence, int position, int h) const {
    auto latent = [&](int i, int j) { return double(wide(cache[(size_t(kSlot[sequence]) * kContext + i) * shape.width() + j])); };
    std::vector<double> absorbed(shape.width());
    for (int j = 0; j < shape.latent; ++j)
      for (int n = 0; n < shape.nope; ++n)
        absorbed[j] += double(wide(own[n])) * wide(uk[(size_t(h) * shape.nope + n) * shape.latent + j]);
    for (int j = 0; j < shape.rope; ++j)
      absorbed[shape.latent + j] = wide(own[shape.nope + j]);
    auto sums = attended(
        position + 1, shape.latent,
        [&](int i) {
          double score = 0;
          for (int j = 0; j < shape.width(); ++j)
            score += absorbed[j] * latent(i, j);
          return score * 0.125;
        },
        latent);
    for (int v = 0; v < shape.value; ++v) {
      double value = 0;
      for (int j = 0; j < shape.latent; ++j)
        value += sums[j] * wide(uv[(size_t(h) * shape.latent + j) * shape.value + v]);
      all.push_back(value);
    }
  }

  Shape shape;
  bool isStep;
  OpKernels kernels;
  std::vector<uint16_t> cache, uk, uv;
};

TEST_P(Attention, OfAStepOverLatentsIsThatOfTheSums) {
  // 512 columns for 32 heads: more accumulators than the warps that have their rows can hold.
  OnLatents latents({32, 16, 32, 512, 32}, GetParam(), "advance");
  auto q = latents.queries(2);
  EXPECT_LE(relativeError(latents.run(q, {1, 1}, {kPast[0], kPast[1]}), latents.expected(q, {1, 1}, {kPast[0], kPast[1]})), kTolerance);
}

/// A prompt over latents: against the sums, and, bit for bit, against the same tokens in two calls.
void checkPrompt(OnLatents::Shape shape, const char *arch) {
  OnLatents latents(shape, arch, "score");
  const std::array<int, 2> all = {17, 70}, past = {kPast[0], kPast[1]}, some = {1, 63}, rest = {16, 7};
  auto q = latents.queries(87);
  auto o = latents.run(q, all, past);
  EXPECT_LE(relativeError(o, latents.expected(q, all, past)), kTolerance);
  // Rows of the first sequence, then of the second: those of a part of both lie apart.
  auto partOf = [&](const std::vector<uint16_t> &rows, int width, std::array<int, 2> from, std::array<int, 2> counts) {
    std::vector<uint16_t> part;
    for (int s = 0; s < 2; ++s) {
      auto first = rows.begin() + ptrdiff_t(s * all[0] + from[s]) * width;
      part.insert(part.end(), first, first + ptrdiff_t(counts[s]) * width);
    }
    return part;
  };
  const int qWidth = shape.heads * (shape.nope + shape.rope), oWidth = shape.heads * shape.value;
  EXPECT_EQ(latents.run(partOf(q, qWidth, {0, 0}, some), some, past), partOf(o, oWidth, {0, 0}, some));
  EXPECT_EQ(latents.run(partOf(q, qWidth, some, rest), rest, {past[0] + some[0], past[1] + some[1]}), partOf(o, oWidth, some, rest));
}

// 512 columns for 64 rows, then widths that are no multiple of a fragment, then queries made in several parts of their columns.
TEST_P(Attention, OfAPromptOverLatentsIsThatOfTheSums) { checkPrompt({1, 16, 32, 512, 32}, GetParam()); }
TEST_P(Attention, OfAPromptOverNarrowLatentsIsThatOfTheSums) { checkPrompt({3, 20, 12, 28, 25}, GetParam()); }
TEST_P(Attention, OfAPromptOverManyColumnsIsThatOfTheSums) { checkPrompt({1, 16, 8, 160, 40}, GetParam()); }

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
