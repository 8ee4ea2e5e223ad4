// The gated delta rule as the compiler makes it for GPUs from `llm` ops, against the recurrence in double: a prompt in chunks, in segments of them where
// heads are few, whatever the gates, and a step.
#include "test/codegen/sim/OpKernels.h"
#include <limits>
#include <map>
#include <numeric>

namespace llmc::test {
namespace {

struct Sizes {
  int heads, k, v;
};

/// Inputs of the rule: rows of all heads side by side, slots of state.
struct Inputs {
  Sizes n;
  std::vector<uint16_t> q, k, v;
  std::vector<float> g, beta, state;

  /// `gate`: what gates are multiples of; every seventh row has one of -1e4, which leaves nothing of the state.
  Inputs(Sizes n, int tokens, double gate, bool hasResets, int slots = 2)
      : n(n), q(values(size_t(tokens) * n.heads * n.k, 1)), k(values(q.size(), 2)), v(values(size_t(tokens) * n.heads * n.v, 3)) {
    for (auto *keys : {&q, &k}) // of norm 1
      for (size_t row = 0; row < size_t(tokens) * n.heads; ++row) {
        double sum = 0;
        for (int d = 0; d < n.k; ++d)
          sum += std::pow(wide((*keys)[row * n.k + d]), 2);
        for (int d = 0; d < n.k; ++d)
          (*keys)[row * n.k + d] = bf16Of(float(wide((*keys)[row * n.k + d]) / std::sqrt(sum)));
      }
    auto random = [](size_t count, uint32_t seed) {
      std::vector<float> result;
      for (uint16_t each : values(count, seed))
        result.push_back(wide(each));
      return result;
    };
    g = random(q.size(), 4);
    for (size_t i = 0; i < g.size(); ++i)
      g[i] = hasResets && i / (n.heads * n.k) % 7 == 6 && i % 3 == 0 ? -1e4f : float(-std::fabs(g[i]) * gate);
    beta = random(size_t(tokens) * n.heads, 5);
    for (float &each : beta)
      each = std::fabs(each);
    state = random(slots * size_t(n.heads) * n.k * n.v, 6);
  }
  /// Some rows, and the state of one slot.
  Inputs part(int first, int count, int slot) const {
    Inputs result = *this;
    auto rows = [&](auto &all, int width) { all = {all.begin() + first * width, all.begin() + (first + count) * width}; };
    rows(result.q, n.heads * n.k);
    rows(result.k, n.heads * n.k);
    rows(result.v, n.heads * n.v);
    rows(result.g, n.heads * n.k);
    rows(result.beta, n.heads);
    const int size = n.heads * n.k * n.v;
    result.state = {state.begin() + slot * size, state.begin() + (slot + 1) * size};
    return result;
  }
};

/// One token of one head: the state [K, V] after it, and its output.
void step(const Inputs &in, size_t token, int head, double *state, double *out) {
  const auto [heads, width, columns] = in.n;
  const size_t row = token * heads + head;
  for (int d = 0; d < width; ++d)
    for (int j = 0; j < columns; ++j)
      state[d * columns + j] *= std::exp(double(in.g[row * width + d]));
  for (int j = 0; j < columns; ++j) {
    double seen = 0, sum = 0;
    for (int d = 0; d < width; ++d)
      seen += state[d * columns + j] * wide(in.k[row * width + d]);
    const double y = in.beta[row] * (wide(in.v[row * columns + j]) - seen);
    for (int d = 0; d < width; ++d) {
      state[d * columns + j] += wide(in.k[row * width + d]) * y;
      sum += state[d * columns + j] * wide(in.q[row * width + d]);
    }
    out[j] = sum;
  }
}

std::string moduleOf(Sizes n, const char *function, const char *form) {
  auto rows = [&](int width, const char *type) { return "tensor<?x" + std::to_string(n.heads * width) + "x" + type + ">"; };
  std::string keys = rows(n.k, "bf16"), values = rows(n.v, "bf16"), gates = rows(n.k, "f32"), beta = rows(1, "f32"), out = rows(n.v, "f32"),
              state = "tensor<?x" + std::to_string(n.heads) + "x" + std::to_string(n.k) + "x" + std::to_string(n.v) + "xf32>";
  std::string types = keys + ", " + keys + ", " + values + ", " + gates + ", " + beta + ", " + state + ", !llm.sequences";
  auto arguments = [&](const char *p) {
    std::string names[] = {keys, keys, values, gates, beta, state, "!llm.sequences"}, all;
    for (int i = 0; i < 7; ++i)
      all += (i ? ", %" : "%") + std::string(p) + std::to_string(i) + ": " + names[i];
    return all;
  };
  return std::string("func.func @") + function + "(" + arguments("a") + ") -> (" + state + ", " + out + R"() {
  %y:2 = llm.dispatch(%a0, %a1, %a2, %a3, %a4, %a5, %a6) {kernel = "rule", tied = array<i64: 5, -1>} : ()" + types + ") -> (" + state +
         ", " + out + R"() {
  ^bb0()" + arguments("b") + R"():
    %o, %s = llm.delta_rule %b0, %b1, %b2, %b3, %b4, %b5, %b6 {form = ")" + form + "\"} : (" + types + ") -> (" + out + ", " + state + R"()
    llm.yield %s, %o : )" + state + ", " + out + R"(
  }
  return %y#0, %y#1 : )" + state + ", " + out + "\n}\n";
}

class DeltaRule : public testing::TestWithParam<const char *> {};

/// Whether the scan goes in segments: a quarter of an H100's multiprocessors would have nothing to do with more heads.
bool isCut(Sizes n) { return n.heads * (n.v % 32 ? 1 : n.v / 32) <= 33; }

/// The kernels of a prompt, for sequences of `counts` tokens in slots from the last one down. Updates the states; returns the output rows.
std::vector<float> runPrompt(OpKernels &kernels, Inputs &in, const std::vector<int> &counts) {
  const Sizes n = in.n;
  const int S = int(counts.size());
  std::vector<int32_t> where, rows;
  int tokens = 0;
  for (int s = 0; s < S; tokens += counts[s++]) {
    rows.insert(rows.end(), {S - 1 - s, tokens, counts[s], 0});
    for (int i = 0; i < counts[s]; ++i)
      where.insert(where.end(), {s, i});
  }
  constexpr int kChunk = 32;
  constexpr uint16_t kNarrowNan = 0x7fc0; // what is read before it is written shows
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const size_t all = size_t(tokens) * n.heads;
  std::vector<uint16_t> weights(all * n.k, kNarrowNan), queries = weights, keys = weights, maps = weights, values(all * n.v, kNarrowNan),
                        scores(all * kChunk, kNarrowNan);
  std::vector<float> decays(all * n.k, kNan), mapDecays = decays, additions = decays, o(all * n.v, kNan), starts = o, out = o;
  const runtime::Dims sizes = {tokens, S, S, 0, 0};
  kernels.run("rule_factors", sizes,
              {buffer(in.q), buffer(in.k), buffer(in.v), buffer(in.g), buffer(in.beta), buffer(where), buffer(rows), buffer(weights),
               buffer(queries), buffer(keys), buffer(values), buffer(scores), buffer(decays)});
  if (isCut(n)) {
    kernels.run("rule_maps", sizes, {buffer(where), buffer(rows), buffer(weights), buffer(keys), buffer(decays), buffer(maps), buffer(mapDecays)});
    kernels.run("rule_additions", sizes, {buffer(where), buffer(rows), buffer(weights), buffer(keys), buffer(values), buffer(decays), buffer(additions)});
    kernels.run("rule", sizes, {buffer(where), buffer(rows), buffer(weights), buffer(queries), buffer(keys), buffer(values), buffer(scores), buffer(decays),
                                buffer(maps), buffer(mapDecays), buffer(additions), buffer(o), buffer(starts), buffer(in.state)});
    kernels.run("rule_segments", sizes, {buffer(where), buffer(rows), buffer(weights), buffer(queries), buffer(keys), buffer(values), buffer(scores),
                                         buffer(decays), buffer(starts), buffer(o)});
  } else {
    kernels.run("rule", sizes, {buffer(where), buffer(rows), buffer(weights), buffer(queries), buffer(keys), buffer(values), buffer(scores),
                                buffer(decays), buffer(o), buffer(in.state)});
  }
  kernels.run("rule_finish", sizes, {buffer(o), buffer(out)});
  return out;
}

/// The kernels of a prompt, compiled on first use.
OpKernels &promptKernels(const char *arch, Sizes n) {
  static std::map<std::string, OpKernels> known;
  const std::string text = moduleOf(n, "ingest", "chunk");
  return known.try_emplace(arch + text, text, arch, /*maxTokens=*/1024).first->second;
}

/// Sequences of `counts` tokens. Returns the output rows.
std::vector<float> checkPrompt(const char *arch, Sizes n, const std::vector<int> &counts, double gate, bool hasResets) {
  SCOPED_TRACE(std::to_string(n.k) + " x " + std::to_string(n.v) + ", gates of " + std::to_string(gate));
  const int tokens = std::accumulate(counts.begin(), counts.end(), 0), S = int(counts.size());
  OpKernels &kernels = promptKernels(arch, n);
  Inputs in(n, tokens, gate, hasResets, S);
  std::vector<double> states(in.state.begin(), in.state.end()), expected(size_t(tokens) * n.heads * n.v);
  for (int s = 0, token = 0; s < S; ++s)
    for (int i = 0; i < counts[s]; ++i, ++token)
      for (int h = 0; h < n.heads; ++h)
        step(in, token, h, &states[(size_t(S - 1 - s) * n.heads + h) * n.k * n.v], &expected[(size_t(token) * n.heads + h) * n.v]);
  std::vector<float> out = runPrompt(kernels, in, counts);
  EXPECT_LE(relativeError(out, expected), kTolerance);
  EXPECT_LE(relativeError(in.state, states), kTolerance);
  return out;
}

TEST_P(DeltaRule, OfAPromptIsTheRecurrence) {
  checkPrompt(GetParam(), {1, 128, 64}, {40, 1}, 0.1, false);
  checkPrompt(GetParam(), {2, 40, 40}, {1, 63}, 0.5, false);
}

TEST_P(DeltaRule, TakesGatesHoweverStrong) {
  checkPrompt(GetParam(), {1, 32, 32}, {40, 17}, 5, false);
  checkPrompt(GetParam(), {1, 24, 20}, {33, 17}, 1, true);
}

TEST_P(DeltaRule, OfManyHeadsIsNotCut) {
  const Sizes n = {34, 24, 24};
  ASSERT_FALSE(isCut(n));
  checkPrompt(GetParam(), n, {34, 3}, 0.1, false);
}

// Segments of 64 tokens (keys of 24 and 32) and of 256: none that is whole, one and no more, several and a rest. Also decays so slow that a state
// goes through all of them, and values that are not whole parts of columns.
TEST_P(DeltaRule, GoesInSegments) {
  checkPrompt(GetParam(), {1, 32, 64}, {63, 64, 65}, 0.02, false);
  checkPrompt(GetParam(), {3, 24, 20}, {200, 1, 130}, 0.1, false);
  checkPrompt(GetParam(), {1, 128, 32}, {257, 3}, 0.01, false);
}

TEST_P(DeltaRule, TakesGatesHoweverStrongInSegments) {
  checkPrompt(GetParam(), {2, 32, 32}, {150, 64}, 5, false);
  checkPrompt(GetParam(), {1, 24, 40}, {130, 131}, 0.5, true);
  checkPrompt(GetParam(), {1, 32, 32}, {512}, 1e-4, false);
}

TEST_P(DeltaRule, RowsDoNotDependOnWhatFollows) {
  const Sizes n = {1, 32, 32};
  auto all = checkPrompt(GetParam(), n, {140, 1}, 0.3, false);
  for (int some : {6, 40, 64, 100, 128}) { // from the scan or from a segment
    auto rows = checkPrompt(GetParam(), n, {some, 1}, 0.3, false);
    EXPECT_TRUE(std::equal(rows.begin(), rows.begin() + some * 32, all.begin())) << some;
  }
}

/// Nor on other sequences, nor on where a sequence was cut if a segment ends there: rows and states have the same bits.
TEST_P(DeltaRule, ASequenceDoesNotKnowOfOthers) {
  for (Sizes n : {Sizes{2, 24, 40}, Sizes{1, 32, 64}}) {
    const std::vector<int> counts = {70, 200, 33};
    OpKernels &kernels = promptKernels(GetParam(), n);
    const Inputs in(n, 303, 0.1, false, 3);
    Inputs together = in;
    auto rows = runPrompt(kernels, together, counts);
    for (int s = 0, first = 0; s < 3; first += counts[s++]) {
      Inputs alone = in.part(first, counts[s], 2 - s);
      const auto expected = together.part(first, counts[s], 2 - s).state;
      auto own = runPrompt(kernels, alone, {counts[s]});
      EXPECT_TRUE(std::equal(own.begin(), own.end(), rows.begin() + first * n.heads * n.v)) << counts[s];
      EXPECT_TRUE(alone.state == expected) << counts[s];
    }
    for (int cut : {64, 128}) {
      Inputs begin = in.part(70, cut, 1), end = in.part(70 + cut, 200 - cut, 1);
      auto own = runPrompt(kernels, begin, {cut});
      end.state = begin.state;
      auto rest = runPrompt(kernels, end, {200 - cut});
      own.insert(own.end(), rest.begin(), rest.end());
      EXPECT_TRUE(std::equal(own.begin(), own.end(), rows.begin() + 70 * n.heads * n.v)) << cut;
      EXPECT_TRUE(end.state == together.part(70, 200, 1).state) << cut;
    }
  }
}

TEST_P(DeltaRule, OfAStepIsTheRecurrence) {
  for (Sizes n : {Sizes{2, 128, 128}, Sizes{3, 24, 40}}) {
    SCOPED_TRACE(n.k);
    OpKernels kernels(moduleOf(n, "advance", "step"), GetParam());
    Inputs in(n, 2, 5, false);
    std::vector<double> states(in.state.begin(), in.state.end()), expected(2 * size_t(n.heads) * n.v);
    const int slots[] = {1, 0};
    for (int s = 0; s < 2; ++s)
      for (int h = 0; h < n.heads; ++h)
        step(in, s, h, &states[(size_t(slots[s]) * n.heads + h) * n.k * n.v], &expected[(size_t(s) * n.heads + h) * n.v]);
    std::vector<int32_t> where = {0, 9, 1, 30}, rows = {slots[0], 0, 1, 9, slots[1], 1, 1, 30};
    std::vector<float> out(expected.size());
    kernels.run("rule", {2, 2, 2, 0, 0}, {buffer(in.q), buffer(in.k), buffer(in.v), buffer(in.g), buffer(in.beta), buffer(where), buffer(rows),
                                          buffer(in.state), buffer(out)});
    EXPECT_LE(relativeError(out, expected), 1e-5); // float32 throughout
    EXPECT_LE(relativeError(in.state, states), 1e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(Archs, DeltaRule, testing::Values("sm_80", "sm_90a"));

} // namespace
} // namespace llmc::test
