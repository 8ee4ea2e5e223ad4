// Patches that the compiled rules accept, by chi-squared against exact probabilities, and the draws that they take. A distribution of three
// patches of one token each, by the probabilities (.55, .30, .15).
#include "test/ChiSquared.h"
#include "test/codegen/run/Kernel.h"
#include <cmath>
#include <gtest/gtest.h>
#include <numeric>
#include <random>

namespace llmc::test {
namespace {

constexpr int64_t kSequences = 4000, kDraws = 400, kContext = 32, kPool = 1025;
const std::vector<double> kP = {0.55, 0.30, 0.15};

std::pair<std::string, std::string> acceptKernel() {
  const std::string types = "(tensor<?xi32>, !llm.sequences, tensor<?x4xi32>, tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x8xf32>, tensor<?x4xi32>, "
                            "tensor<?x1025xi32>, tensor<?x?xi32>) -> (tensor<?x4xi32>, tensor<?x1025xi32>, tensor<?x?xi32>, tensor<?x1xi32>)";
  return kernelOfOp("func.func @f(%t: tensor<?xi32>, %q: !llm.sequences, %b: tensor<?x4xi32>, %s: tensor<?x4xf32>, %d: tensor<?x4xi64>, "
                    "%e: tensor<?x8xf32>, %p: tensor<?x4xi32>, %o: tensor<?x1025xi32>, %c: tensor<?x?xi32>) -> (tensor<?x4xi32>, "
                    "tensor<?x1025xi32>, tensor<?x?xi32>, tensor<?x1xi32>) {\n  %r:4 = llm.accept_patch %t, %q, %b, %s, %d, %e, %p, %o, %c {patch = 1 : i64} : " +
                    types + "\n  return %r#0, %r#1, %r#2, %r#3 : tensor<?x4xi32>, tensor<?x1025xi32>, tensor<?x?xi32>, tensor<?x1xi32>\n}\n");
}

struct Outcome {
  std::vector<double> counts = std::vector<double>(3);
  double draws = 0; ///< mean
  int64_t open = 0;
};

class Patch : public ::testing::TestWithParam<std::string> {
protected:
  void SetUp() override {
    auto [text, kernel] = acceptKernel();
    ASSERT_FALSE(kernel.empty());
    name = kernel;
    kernels = std::make_unique<Kernels>(text, GetParam());
  }

  Outcome run(double temperature, bool isExact, int64_t candidates, int64_t most = 4096) {
    Buffer<int32_t> tokens(kSequences * kDraws), where(kSequences * kDraws * 2), rows(kSequences * 4), bounds(kSequences * 4),
        progress(kSequences * 4), pool(kSequences * kPool), canvas(kSequences * kContext), more(kSequences);
    Buffer<float> sampling(kSequences * 4), settings(kSequences * 8);
    Buffer<int64_t> draws(kSequences * 4);
    std::mt19937_64 random(++seed);
    std::discrete_distribution<int> patches(kP.begin(), kP.end());
    for (int64_t i = 0; i < kSequences * kDraws; ++i) {
      tokens[i] = patches(random);
      where[2 * i] = int32_t(i / kDraws);
      where[2 * i + 1] = int32_t(i % kDraws);
    }
    for (int64_t s = 0; s < kSequences; ++s) {
      const int32_t row[] = {int32_t(s), int32_t(s * kDraws), int32_t(kDraws), 0};
      std::copy(row, row + 4, &rows[4 * s]);
      bounds[4 * s] = int32_t(s % kContext);
      sampling[4 * s] = float(temperature);
      settings[8 * s] = isExact;
      settings[8 * s + 1] = float(candidates);
      settings[8 * s + 2] = float(most);
      draws[4 * s] = 1000003 * int64_t(seed) + s;
      draws[4 * s + 2] = s;
    }
    kernels->run(name,
                 {tokens.data(), where.data(), rows.data(), bounds.data(), sampling.data(), draws.data(), settings.data(), progress.data(),
                  pool.data(), canvas.data(), more.data()},
                 {kSequences * kDraws, kSequences, kSequences, kContext, 1});
    Outcome outcome;
    for (int64_t s = 0; s < kSequences; ++s) {
      outcome.open += more[s];
      outcome.draws += double(progress[4 * s]) / kSequences;
      outcome.counts[canvas[s * kContext + s % kContext]] += 1;
    }
    return outcome;
  }

  std::string name;
  std::unique_ptr<Kernels> kernels;
  uint64_t seed = 0;
};

std::vector<double> sharpened(double power) {
  std::vector<double> p;
  for (double x : kP)
    p.push_back(std::pow(x, power));
  double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double &x : p)
    x /= sum;
  return p;
}

/// What the candidates' rule gives, summed over all counts of n draws.
std::vector<double> ofCandidates(int64_t n, double power) {
  std::vector<double> result(3);
  auto logFactorial = [](double k) { return std::lgamma(k + 1); };
  for (int64_t a = 0; a <= n; ++a)
    for (int64_t b = 0; a + b <= n; ++b) {
      const int64_t counts[] = {a, b, n - a - b};
      double chance = logFactorial(n);
      int64_t top = 0;
      for (int i = 0; i < 3; ++i) {
        chance += counts[i] * std::log(kP[i]) - logFactorial(counts[i]);
        top = std::max(top, counts[i]);
      }
      double weights[3], sum = 0;
      const int64_t m = std::min(int64_t(power), top);
      for (int i = 0; i < 3; ++i) {
        double k = counts[i];
        if (power != std::floor(power))
          weights[i] = k > 0 ? std::pow(k / top, power) : 0;
        else
          weights[i] = k < m ? 0 : std::exp(logFactorial(k) - logFactorial(k - m) - logFactorial(top) + logFactorial(top - m));
        sum += weights[i];
      }
      for (int i = 0; i < 3; ++i)
        result[i] += std::exp(chance) * weights[i] / sum;
    }
  return result;
}

TEST_P(Patch, ExactRuleFollowsThePower) {
  // Means from the algorithm: equal draws are collected until one differs.
  struct {
    double temperature, power, draws;
  } const cases[] = {{1, 1, 1}, {0.5, 2, 4.82}, {0.4, 2.5, 9.3}, {0.7, 1 / 0.7, 4.2}, {1.0 / 3, 3, 12.3}, {0.9, 1 / 0.9, 0}};
  for (const auto &c : cases) {
    SCOPED_TRACE(c.temperature);
    Outcome outcome = run(c.temperature, true, 200);
    EXPECT_EQ(outcome.open, 0);
    EXPECT_EQ(againstProbabilities(outcome.counts, sharpened(c.power)), "");
    if (c.draws > 0) {
      EXPECT_NEAR(outcome.draws, c.draws, 0.04 * c.draws);
    }
  }
}

TEST_P(Patch, CandidatesAreWeighedByHowManyAgree) {
  struct {
    int64_t candidates;
    double first, second, third; // published for temperature 0.5
  } const worked[] = {{4, .656, .261, .083}, {20, .706, .231, .063}, {200, .726, .220, .054}};
  for (const auto &c : worked) {
    std::vector<double> expected = ofCandidates(c.candidates, 2);
    EXPECT_NEAR(expected[0], c.first, 2e-3);
    EXPECT_NEAR(expected[1], c.second, 2e-3);
    EXPECT_NEAR(expected[2], c.third, 2e-3);
    Outcome outcome = run(0.5, false, c.candidates);
    EXPECT_EQ(outcome.open, 0);
    EXPECT_NEAR(outcome.draws, double(c.candidates), 1e-6);
    EXPECT_EQ(againstProbabilities(outcome.counts, expected), "");
  }
  for (double power : {1.0 / 0.7, 3.0, 1.0}) // the last is one draw, whatever the number of candidates
    EXPECT_EQ(againstProbabilities(run(1 / power, false, 9).counts, power == 1 ? kP : ofCandidates(9, power)), "");
}

TEST_P(Patch, NoTemperatureIsTheMode) {
  Outcome outcome = run(0, false, 150);
  EXPECT_GT(outcome.counts[0], 0.99 * kSequences);
}

TEST_P(Patch, ExactRuleGivesWayAfterMostDraws) {
  Outcome outcome = run(0.05, true, 24, 40); // 20 equal draws in a row do not happen
  EXPECT_EQ(outcome.open, 0);
  EXPECT_NEAR(outcome.draws, 40, 0.5);
  EXPECT_EQ(againstProbabilities(outcome.counts, ofCandidates(24, 20)), "");
}

INSTANTIATE_TEST_SUITE_P(Levels, Patch, ::testing::ValuesIn(levels()), [](const auto &info) { return info.index ? "v4" : "v3"; });

} // namespace
} // namespace llmc::test
