// From logits to tokens.
#include "dialect/llm/LlmDialect.h"
#include "dialect/reference/Handlers.h"
#include "dialect/reference/Sampling.h"
#include <cmath>
#include <numeric>

using namespace mlir;
namespace llmc::reference {

uint32_t philox(uint64_t key, uint64_t position, uint32_t step, uint32_t index) {
  uint32_t c[4] = {(uint32_t)position, (uint32_t)(position >> 32), step, index}, k[2] = {(uint32_t)key, (uint32_t)(key >> 32)};
  for (int round = 0; round < 10; ++round) {
    uint64_t a = 0xD2511F53ull * c[0], b = 0xCD9E8D57ull * c[2];
    uint32_t next[4] = {(uint32_t)(b >> 32) ^ c[1] ^ k[0], (uint32_t)b, (uint32_t)(a >> 32) ^ c[3] ^ k[1], (uint32_t)a};
    std::copy(next, next + 4, c);
    k[0] += 0x9E3779B9u;
    k[1] += 0xBB67AE85u;
  }
  return c[0];
}

void keepTopK(std::vector<double> &p, int64_t topK) {
  if (topK <= 0 || topK >= (int64_t)p.size())
    return;
  std::vector<double> sorted(p);
  std::sort(sorted.begin(), sorted.end(), std::greater<double>());
  for (double &x : p)
    if (x < sorted[topK - 1])
      x = 0;
}

void keepTopP(std::vector<double> &p, double topP) {
  if (topP >= 1)
    return;
  std::vector<double> sorted(p);
  std::sort(sorted.begin(), sorted.end(), std::greater<double>());
  double mass = 0, bound = 0, wanted = topP * std::accumulate(p.begin(), p.end(), 0.0);
  for (double x : sorted) {
    bound = x;
    if ((mass += x) >= wanted)
      break;
  }
  for (double &x : p)
    if (x < bound)
      x = 0;
}

static int64_t sample(const Tensor &logits, int64_t row, const Tensor &sampling, const Tensor &draws) {
  int64_t vocabulary = logits.dim(1), best = 0;
  for (int64_t v = 0; v < vocabulary; ++v) {
    double x = logits.at(row, v);
    if (std::isnan(x) || x == INFINITY)
      return -1;
    if (x > logits.at(row, best))
      best = v;
  }
  double top = logits.at(row, best), temperature = sampling.at(row, 0), minP = sampling.at(row, 2), sum = 0;
  if (top == -INFINITY)
    return -1; // no token is possible
  if (!(temperature > 0))
    return best;

  std::vector<double> p(vocabulary);
  for (int64_t v = 0; v < vocabulary; ++v)
    sum += p[v] = std::exp((logits.at(row, v) - top) / temperature);
  for (double &x : p)
    x /= sum;
  double largest = p[best];
  keepTopK(p, draws.intAt(row, 1));
  keepTopP(p, sampling.at(row, 1));
  double mass = 0;
  for (double &x : p)
    mass += x = x >= minP * largest ? x : 0;

  double u = (philox((uint64_t)draws.intAt(row, 0), (uint64_t)draws.intAt(row, 2)) >> 8) * 0x1p-24;
  // Tokens in rising order share [0, mass); the draw falls on one of them.
  double left = u * mass;
  int64_t last = best;
  for (int64_t v = 0; v < vocabulary; ++v)
    if (p[v] > 0) {
      if (left < p[v])
        return v;
      left -= p[v];
      last = v;
    }
  return last;
}

static LogicalResult evaluateSample(Context &c) {
  const Tensor &logits = c.in(0);
  Tensor tokens(Element::I32, {logits.dim(0)});
  if (cast<RankedTensorType>(c.op->getResult(0).getType()).getRank() == 2)
    tokens.shape = {logits.dim(0), 1};
  for (int64_t s = 0; s < logits.dim(0); ++s)
    tokens.integer(s) = sample(logits, s, c.in(1), c.in(2));
  return c.give(std::move(tokens));
}

static LogicalResult evaluateLogitStatistics(Context &c) {
  const Tensor &logits = c.in(0), &temperature = c.in(1);
  int64_t vocabulary = logits.dim(1);
  Tensor result(Element::F32, {logits.dim(0), 4});
  for (int64_t s = 0; s < logits.dim(0); ++s) {
    std::vector<double> q(vocabulary);
    double top = logits.at(s, 0), sum = 0, entropy = 0, squares = 0;
    for (int64_t v = 0; v < vocabulary; ++v)
      top = std::max(top, logits.at(s, v));
    for (int64_t v = 0; v < vocabulary; ++v)
      sum += q[v] = std::exp((logits.at(s, v) - top) / (temperature.at(s, 0) + 1e-8));
    for (double &x : q) {
      x /= sum;
      entropy -= x * std::log(x + 1e-8);
      squares += (x - 1.0 / vocabulary) * (x - 1.0 / vocabulary);
    }
    std::sort(q.begin(), q.end(), std::greater<double>());
    result.at(s, 0) = q[0];
    result.at(s, 1) = entropy;
    result.at(s, 2) = squares / (vocabulary - 1);
    result.at(s, 3) = std::accumulate(q.begin(), q.begin() + std::min<int64_t>(5, vocabulary), 0.0);
  }
  return c.give(std::move(result));
}

void addDecoding(Handlers &t) {
  t["llm.sample"] = evaluateSample;
  t["llm.logit_statistics"] = evaluateLogitStatistics;
}

} // namespace llmc::reference
