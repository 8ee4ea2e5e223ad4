// Tokens by the patch: what llm.regroup_rows, noise, argmax, open_draws and accept_patch mean.
#include "dialect/llm/LlmDialect.h"
#include "dialect/reference/Handlers.h"
#include "dialect/reference/Sampling.h"
#include <algorithm>
#include <cmath>

using namespace mlir;
namespace llmc::reference {

namespace {

double unit(uint32_t word) { return (word >> 8) * 0x1p-24; }

LogicalResult evaluateRegroup(Context &c) {
  const Tensor &x = c.in(0);
  auto from = sequencesOf(c, c.operands[1], x.dim(0), INT64_MAX);
  auto into = sequencesOf(c, c.operands[2], c.operands[2].where().dim(0), INT64_MAX);
  if (failed(from) || failed(into))
    return failure();
  int64_t n = x.dim(1), m = llm::columns(c.op->getResult(0));
  Tensor y(Element::F32, {c.operands[2].where().dim(0), m});
  for (auto [s, rows] : llvm::enumerate(*into)) {
    const Sequence &source = (*from)[s];
    if (rows.length * m != source.length * n)
      return c.error() << "sequence " << s << " has " << source.length << " rows of " << n << " columns, which are not "
                       << rows.length << " of " << m;
    std::copy_n(x.cells.begin() + source.first * n, source.length * n, y.cells.begin() + rows.first * m);
  }
  return c.give(std::move(y));
}

LogicalResult evaluateNoise(Context &c) {
  auto op = cast<llm::NoiseOp>(c.op);
  const Tensor &draws = c.in(1);
  int64_t rows = c.operands[0].where().dim(0), n = llm::columns(op.getResult());
  auto sequences = sequencesOf(c, c.operands[0], rows, INT64_MAX);
  if (failed(sequences))
    return failure();
  Tensor y(Element::F32, {rows, n});
  for (auto [s, each] : llvm::enumerate(*sequences))
    for (int64_t i = 0; i < each.length; ++i) {
      uint64_t position = (uint64_t)draws.intAt(s, 2) + ((uint64_t)op.getStream() << 32);
      int64_t number = op.getProgress() ? c.in(2).intAt(s, 0) + i : each.past + i;
      for (int64_t k = 0; k < n; ++k)
        y.at(each.first + i, k) = unit(philox((uint64_t)draws.intAt(s, 0), position, (uint32_t)number, (uint32_t)k)) - 0.5;
    }
  return c.give(std::move(y));
}

LogicalResult evaluateArgmax(Context &c) {
  const Tensor &logits = c.in(0);
  Tensor tokens(Element::I32, {logits.dim(0)});
  for (int64_t t = 0; t < logits.dim(0); ++t) {
    int64_t best = -1;
    bool isFinite = true;
    for (int64_t v = 0; v < logits.dim(1); ++v) {
      double x = logits.at(t, v);
      isFinite &= !std::isnan(x) && x != INFINITY;
      if (x > (best < 0 ? -INFINITY : logits.at(t, best)))
        best = v;
    }
    tokens.integer(t) = isFinite ? best : -1;
  }
  return c.give(std::move(tokens));
}

LogicalResult evaluateOpen(Context &c) {
  int64_t sequences = c.in(0).dim(0);
  if (failed(c.give(Tensor(Element::I32, {sequences, 4}))))
    return failure();
  return c.give(Tensor(Element::I32, {sequences, llm::columns(c.op->getResult(1))}));
}

/// Columns of `progress`.
enum { kDraws, kAgreeing, kNotFinite, kChosen };

/// 1 / temperature as a whole number and a rest.
struct Power {
  int64_t whole;
  double rest;
  double value() const { return whole + rest; }
};
Power powerOf(double temperature) {
  double power = 1 / std::clamp(temperature, 0x1p-20, 1.0), nearest = std::floor(power + 0.5);
  if (std::abs(power - nearest) < 1e-4)
    return {(int64_t)nearest, 0};
  return {(int64_t)power, power - std::floor(power)};
}

/// A sequence's pool: the patch that draws are compared with and the first draws.
struct Pool {
  Tensor &t;
  int64_t sequence, patch;
  int64_t &at(int64_t draw, int64_t k) { return t.intAt(sequence, (draw + 1) * patch + k); }
  bool equal(int64_t a, int64_t b) {
    for (int64_t k = 0; k < patch; ++k)
      if (at(a, k) != at(b, k))
        return false;
    return true;
  }
};

/// Which of the first `count` draws the candidates' rule takes.
int64_t pick(Pool &pool, int64_t count, Power power, double u) {
  std::vector<std::pair<int64_t, int64_t>> found; // first draw, how many equal it
  int64_t most = 0;
  for (int64_t a = 0; a < count; ++a) {
    auto same = llvm::find_if(found, [&](auto &f) { return pool.equal(f.first, a); });
    if (same == found.end())
      same = found.insert(found.end(), {a, 0});
    most = std::max(most, ++same->second);
  }
  auto weight = [&](int64_t k) {
    if (power.rest != 0)
      return std::pow((double)k / most, power.value());
    double w = 1; // binomial(k, m) / binomial(most, m)
    for (int64_t i = 0, m = std::min(power.whole, most); i < m; ++i)
      w *= std::max(0.0, (double)(k - i)) / (most - i);
    return w;
  };
  double total = 0, sum = 0;
  for (auto [first, k] : found)
    total += weight(k);
  for (auto [first, k] : found)
    if ((sum += weight(k)) > u * total)
      return first;
  return found.back().first;
}

LogicalResult evaluateAccept(Context &c) {
  auto op = cast<llm::AcceptPatchOp>(c.op);
  const Tensor &tokens = c.in(0), &bounds = c.in(2), &sampling = c.in(3), &draws = c.in(4), &settings = c.in(5);
  Tensor &progress = c.operands[6].writable(), &pools = c.operands[7].writable(), &canvas = c.operands[8].writable();
  auto drawn = sequencesOf(c, c.operands[1], tokens.dim(0), canvas.dim(0));
  if (failed(drawn))
    return failure();
  int64_t patch = op.getPatch(), capacity = pools.dim(1) / patch - 1;
  Tensor more(Element::I32, {(int64_t)drawn->size(), 1});
  for (auto [s, rows] : llvm::enumerate(*drawn)) {
    Pool pool{pools, (int64_t)s, patch};
    Power power = powerOf(sampling.at(s, 0));
    bool isExact = settings.at(s, 0) != 0 || (power.whole == 1 && power.rest == 0);
    int64_t candidates = std::clamp<int64_t>(settings.at(s, 1), 1, capacity), limit = isExact ? (int64_t)settings.at(s, 2) : candidates;
    uint64_t seed = draws.intAt(s, 0), position = draws.intAt(s, 2);
    int64_t &made = progress.intAt(s, kDraws), &agreeing = progress.intAt(s, kAgreeing), &chosen = progress.intAt(s, kChosen);
    for (int64_t row = rows.first; row + patch <= rows.first + rows.length && !chosen && !progress.intAt(s, kNotFinite); row += patch) {
      bool isBad = false, isEqual = true;
      for (int64_t k = 0; k < patch; ++k) {
        int64_t token = tokens.integer(row + k);
        isBad |= token < 0;
        isEqual &= token == pool.at(-1, k);
        if (made < candidates)
          pool.at(made, k) = token;
      }
      if (isBad) {
        progress.intAt(s, kNotFinite) = 1;
        break;
      }
      int64_t draw = made++;
      if (isExact && agreeing < power.whole) {
        bool agrees = agreeing == 0 || isEqual;
        if (agreeing == 0)
          for (int64_t k = 0; k < patch; ++k)
            pool.at(-1, k) = tokens.integer(row + k);
        agreeing = agrees ? agreeing + 1 : 0;
        chosen = agreeing == power.whole && power.rest == 0;
      } else if (isExact) {
        double coin = unit(philox(seed, position + (uint64_t(1) << 32), (uint32_t)draw));
        chosen = isEqual;
        agreeing = coin < power.rest / (agreeing - power.whole + 1) ? 0 : agreeing + 1;
      }
      if (!chosen && made >= limit) {
        int64_t taken = pick(pool, std::min(made, candidates), power, unit(philox(seed, position + (uint64_t(2) << 32))));
        for (int64_t k = 0; k < patch; ++k)
          pool.at(-1, k) = pool.at(taken, k);
        chosen = 1;
      }
    }
    if (chosen)
      for (int64_t k = 0, known = bounds.intAt(s, 0); k < patch && known + k < canvas.dim(1); ++k)
        canvas.intAt(rows.slot, known + k) = pool.at(-1, k);
    more.integer(s) = !chosen && !progress.intAt(s, kNotFinite);
  }
  for (unsigned i : {6, 7, 8})
    if (failed(c.give(std::move(c.operands[i]))))
      return failure();
  return c.give(std::move(more));
}

} // namespace

void addPatch(Handlers &t) {
  t["llm.regroup_rows"] = evaluateRegroup;
  t["llm.noise"] = evaluateNoise;
  t["llm.argmax"] = evaluateArgmax;
  t["llm.open_draws"] = evaluateOpen;
  t["llm.accept_patch"] = evaluateAccept;
}

} // namespace llmc::reference
