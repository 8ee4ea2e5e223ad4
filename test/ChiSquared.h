// The chi-squared test, for draws against probabilities.
#pragma once
#include <cmath>
#include <string>
#include <vector>

namespace llmc::test {

/// P(chi-squared with `freedom` degrees of freedom > x): the regularized upper incomplete gamma function by its series.
inline double chiSquaredTail(double x, int freedom) {
  double a = freedom / 2.0, term = 1 / a, sum = term;
  x /= 2;
  for (int n = 1; n < 10000 && term > sum * 1e-16; ++n)
    sum += term *= x / (a + n);
  return 1 - sum * std::exp(a * std::log(x) - x - std::lgamma(a));
}

/// What speaks against `counts` being draws from `probabilities`, or "": a token of probability 0 that was drawn, or frequencies as unlikely
/// as one set in 10,000.
inline std::string againstProbabilities(const std::vector<double> &counts, const std::vector<double> &probabilities) {
  double draws = 0, chi = 0, rareWant = 0, rareCount = 0;
  int cells = 0;
  for (double count : counts)
    draws += count;
  auto add = [&](double want, double count) {
    chi += (count - want) * (count - want) / want;
    ++cells;
  };
  for (size_t v = 0; v < counts.size(); ++v) {
    double want = probabilities[v] * draws;
    if (want == 0 && counts[v] > 0)
      return "token " + std::to_string(v) + " should have been left out";
    if (want >= 10) {
      add(want, counts[v]);
    } else { // too rare for the approximation: counted together
      rareWant += want;
      rareCount += counts[v];
    }
  }
  if (rareWant > 0)
    add(rareWant, rareCount);
  if (cells > 1 && !(chiSquaredTail(chi, cells - 1) > 1e-4))
    return "chi-squared " + std::to_string(chi) + " over " + std::to_string(cells) + " tokens";
  return "";
}

} // namespace llmc::test
