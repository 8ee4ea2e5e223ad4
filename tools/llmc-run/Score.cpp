// See Score.h.
#include "tools/llmc-run/Score.h"
#include <algorithm>
#include <cinttypes>
#include <cmath>

void Brier::add(const int32_t *first, const int32_t *second, const int32_t *text) {
  bool isFirst = true, isSecond = true, isEqual = true;
  for (size_t n = 0; n < kTokens; ++n) {
    isFirst &= first[n] == text[n];
    isSecond &= second[n] == text[n];
    isEqual &= first[n] == second[n];
    sums_[n] += isFirst + isSecond - isEqual;
  }
  ++count_;
}

double Brier::brierLm() const {
  double product = 1;
  for (int n = 1; n <= kTokens; ++n)
    product *= std::max(0.0, score(n));
  return 100 * std::pow(product, 1.0 / kTokens);
}

namespace {

struct Draws {
  std::vector<int32_t> first, second;
};

bool drawAfter(llmc_session *session, const int32_t *tokens, size_t count, Draws &draws) {
  draws.first.resize(count);
  draws.second.resize(count);
  return llmc_score_draws(session, tokens, static_cast<int64_t>(count), draws.first.data(), draws.second.data(), nullptr) == LLMC_OK;
}

/// Patches that hold four tokens or more: one pass over the text.
bool scoreWhole(llmc_session *session, const std::vector<int32_t> &tokens, size_t patch, Brier &brier) {
  Draws draws;
  if (!drawAfter(session, tokens.data(), tokens.size(), draws))
    return false;
  for (size_t at = 0; at + 2 * patch <= tokens.size(); at += patch)
    brier.add(&draws.first[at], &draws.second[at], &tokens[at + patch]);
  return true;
}

/// Shorter ones: what follows the first draw is drawn in a session of its own, until there are four tokens.
bool scoreRolledOut(llmc_session *session, const std::vector<int32_t> &tokens, size_t patch, Brier &brier) {
  for (size_t at = 0; at + patch + Brier::kTokens <= tokens.size(); at += patch) {
    Draws next;
    if (!drawAfter(session, &tokens[at], patch, next))
      return false;
    std::vector<int32_t> first = next.first, second = next.second;
    llmc_session *branch = nullptr;
    if (llmc_session_fork(session, &branch) != LLMC_OK)
      return false;
    std::unique_ptr<llmc_session, Closer> owner(branch);
    while (first.size() < Brier::kTokens) {
      if (!drawAfter(branch, &first[first.size() - patch], patch, next))
        return false;
      first.insert(first.end(), next.first.begin(), next.first.end());
      second.insert(second.end(), next.second.begin(), next.second.end());
    }
    brier.add(first.data(), second.data(), &tokens[at + patch]);
  }
  return true;
}

} // namespace

int printBrier(llmc_model *model, llmc_session *session, const std::vector<int32_t> &text, uint64_t seed) {
  if (llmc_model_info(model, LLMC_INFO_LATENT) == 0)
    return fail("--score: this model has logits, from which everything about a text follows; write them with --logits FILE");
  const size_t patch = static_cast<size_t>(llmc_model_info(model, LLMC_INFO_PATCH));
  std::vector<int32_t> tokens(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(text.size() / patch * patch));
  if (llmc_seed(session, seed) != LLMC_OK)
    return fail();
  Brier brier;
  if (!(patch >= Brier::kTokens ? scoreWhole(session, tokens, patch, brier) : scoreRolledOut(session, tokens, patch, brier)))
    return fail();
  if (brier.count() == 0)
    return fail("--score: the text has " + std::to_string(text.size()) + " tokens, too few to foretell any from a whole patch of " +
                std::to_string(patch));
  char line[160];
  int length = snprintf(line, sizeof line, "BrierLM %.3f (Brier-1 %.4f, -2 %.4f, -3 %.4f, -4 %.4f) over %" PRId64 " patches\n",
                        brier.brierLm(), brier.score(1), brier.score(2), brier.score(3), brier.score(4), brier.count());
  return show(line, static_cast<size_t>(length)) ? 0 : failWriting();
}
