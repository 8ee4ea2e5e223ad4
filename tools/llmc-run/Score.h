// BrierLM: how well draws of a model that has no probabilities foretell a text.
#pragma once
#include "tools/llmc-run/Generate.h"
#include <array>

/// Brier-n = E[1{x1 = y} + 1{x2 = y} - 1{x1 = x2}] over the first n tokens of what follows a patch, x1 and x2 being independent draws and y
/// the text; BrierLM = 100 (product of the four, none taken below 0)^(1/4).
class Brier {
public:
  static constexpr int kTokens = 4;
  /// `kTokens` each.
  void add(const int32_t *first, const int32_t *second, const int32_t *text);
  int64_t count() const { return count_; }
  double score(int n) const { return count_ ? static_cast<double>(sums_[static_cast<size_t>(n - 1)]) / static_cast<double>(count_) : 0; }
  double brierLm() const;

private:
  std::array<int64_t, kTokens> sums_ = {};
  int64_t count_ = 0;
};

/// Prints it for a text; returns the exit code.
int printBrier(llmc_model *model, llmc_session *session, const std::vector<int32_t> &tokens, uint64_t seed);
