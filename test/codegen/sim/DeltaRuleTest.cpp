// The gated delta rule as the compiler makes it for GPUs from `llm` ops, against the recurrence in double: a prompt in chunks, whatever the
// gates, and a step.
#include "test/codegen/sim/OpKernels.h"
#include <array>

namespace llmc::test {
namespace {

struct Sizes {
  int heads, k, v;
};

/// Inputs of the rule: rows of all heads side by side, two slots of state.
struct Inputs {
  Sizes n;
  std::vector<uint16_t> q, k, v;
  std::vector<float> g, beta, state;

  /// `gate`: what gates are multiples of; every seventh row has one of -1e4, which leaves nothing of the state.
  Inputs(Sizes n, int tokens, double gate, bool hasResets)
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
    state = random(2 * size_t(n.heads) * n.k * n.v, 6);
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

/// Two sequences of `counts` tokens in slots 1 and 0. Returns the output rows.
std::vector<float> checkPrompt(const char *arch, Sizes n, std::array<int, 2> counts, double gate, bool hasResets) {
  SCOPED_TRACE(std::to_string(n.k) + " x " + std::to_string(n.v) + ", gates of " + std::to_string(gate));
  const int tokens = counts[0] + counts[1], slots[] = {1, 0};
  OpKernels kernels(moduleOf(n, "ingest", "chunk"), arch);
  Inputs in(n, tokens, gate, hasResets);
  std::vector<double> states(in.state.begin(), in.state.end()), expected(size_t(tokens) * n.heads * n.v);
  for (int s = 0, token = 0; s < 2; ++s)
    for (int i = 0; i < counts[s]; ++i, ++token)
      for (int h = 0; h < n.heads; ++h)
        step(in, token, h, &states[(size_t(slots[s]) * n.heads + h) * n.k * n.v], &expected[(size_t(token) * n.heads + h) * n.v]);
  std::vector<int32_t> where, rows = {slots[0], 0, counts[0], 0, slots[1], counts[0], counts[1], 0};
  for (int s = 0; s < 2; ++s)
    for (int i = 0; i < counts[s]; ++i)
      where.insert(where.end(), {s, i});
  constexpr int kChunk = 32;
  const size_t all = size_t(tokens) * n.heads;
  std::vector<uint16_t> weights(all * n.k), queries(all * n.k), keys(all * n.k), values(all * n.v), scores(all * kChunk);
  std::vector<float> decays(all * n.k), o(all * n.v), out(all * n.v);
  const runtime::Dims sizes = {tokens, 2, 2, 0, 0};
  kernels.run("rule_factors", sizes,
              {buffer(in.q), buffer(in.k), buffer(in.v), buffer(in.g), buffer(in.beta), buffer(where), buffer(rows), buffer(weights),
               buffer(queries), buffer(keys), buffer(values), buffer(scores), buffer(decays)});
  kernels.run("rule", sizes, {buffer(where), buffer(rows), buffer(weights), buffer(queries), buffer(keys), buffer(values), buffer(scores),
                              buffer(decays), buffer(o), buffer(in.state)});
  kernels.run("rule_finish", sizes, {buffer(o), buffer(out)});
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

TEST_P(DeltaRule, RowsDoNotDependOnWhatFollows) {
  const Sizes n = {1, 32, 32};
  auto some = checkPrompt(GetParam(), n, {6, 1}, 0.3, false), all = checkPrompt(GetParam(), n, {40, 1}, 0.3, false);
  EXPECT_TRUE(std::equal(some.begin(), some.begin() + 6 * 32, all.begin()));
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
