// Ops that mix along the sequence. Rows of one sequence lie together: row `first + i` has position `past + i`.
#include "dialect/llm/LlmDialect.h"
#include "dialect/reference/Handlers.h"
#include <cmath>

using namespace mlir;
namespace llmc::reference {

FailureOr<std::vector<Sequence>> sequencesOf(Context &c, const Value &table, int64_t rows, int64_t slots, int64_t context) {
  std::vector<Sequence> all;
  const Tensor &t = table.rows();
  for (int64_t s = 0; s < t.dim(0); ++s) {
    Sequence q{t.intAt(s, 0), t.intAt(s, 1), t.intAt(s, 2), t.intAt(s, 3)};
    if (q.slot < 0 || q.slot >= slots || q.first < 0 || q.length < 0 || q.first + q.length > rows || q.past < 0 ||
        (context >= 0 && q.past + q.length > context))
      return c.error() << "sequence " << s << " (slot " << q.slot << ", rows " << q.first << " + " << q.length << ", past " << q.past
                       << ") leaves the tensors";
    all.push_back(q);
  }
  return all;
}

static LogicalResult evaluateAppend(Context &c) {
  auto op = cast<llm::AppendOp>(c.op);
  unsigned inputs = op.getInputs().size();
  Tensor &cache = c.operands[inputs].writable();
  int64_t block = op.getKeyBlock().value_or(1), width = 0;
  for (unsigned i = 0; i < inputs; ++i)
    width += c.in(i).dim(1);
  auto sequences = sequencesOf(c, c.operands[inputs + 1], c.in(0).dim(0), cache.dim(0), cache.dim(1) * block);
  if (failed(sequences))
    return failure();
  int64_t context = cache.dim(1) * block;
  for (const Sequence &s : *sequences)
    for (int64_t i = 0; i < s.length; ++i) {
      int64_t position = s.past + i, column = 0;
      for (unsigned k = 0; k < inputs; ++k)
        for (int64_t n = 0; n < c.in(k).dim(1); ++n, ++column) {
          // [B, CTX/b, N, b]; with b = 1 that is [B, CTX, N].
          int64_t at = ((s.slot * (context / block) + position / block) * width + column) * block + position % block;
          cache.real(at) = c.in(k).at(s.first + i, n);
        }
    }
  return c.give(std::move(c.operands[inputs]));
}

/// The positions that a row attends to.
struct Visible {
  int64_t begin, end;
};

/// Those that a row at `position` does, the rows that it may see reaching to `reach`.
static Visible visible(llm::AttentionOp op, int64_t position, int64_t reach) {
  if (auto window = op.getWindow())
    return {std::max<int64_t>(0, position + 1 - (int64_t)*window), position + 1};
  if (auto block = op.getBlock())
    return {0, std::min<int64_t>((position / *block + 1) * *block, reach)};
  return {0, op.getSeen() ? reach : position + 1};
}

/// exp(scores - max) / sum, in place.
static void softmax(std::vector<double> &scores) {
  double top = -INFINITY, sum = 0;
  for (double s : scores)
    top = std::max(top, s);
  for (double &s : scores)
    sum += s = std::exp(s - top);
  for (double &s : scores)
    s /= sum;
}

static LogicalResult evaluateAttention(Context &c) {
  auto op = cast<llm::AttentionOp>(c.op);
  const Tensor &q = c.in(0), &keys = c.in(1), &values = c.in(2);
  int64_t heads = op.getHeads(), kvHeads = op.getKvHeads(), d = q.dim(1) / heads, dv = values.dim(2) / kvHeads, context = values.dim(1);
  double scale = c.number(op.getScale());
  const Value &own = c.operands.back(), &wider = op.getSeen() ? c.operands[3] : own;
  int64_t most = std::min(context, keys.dim(1) * 32);
  auto sequences = sequencesOf(c, own, q.dim(0), values.dim(0), most), seen = sequencesOf(c, wider, wider.where().dim(0), values.dim(0), most);
  if (failed(sequences) || failed(seen))
    return failure();
  Tensor y(Element::F32, {q.dim(0), heads * dv});
  for (auto [number, s] : llvm::enumerate(*sequences))
    for (int64_t i = 0; i < s.length; ++i) {
      int64_t reach = (*seen)[number].past + (*seen)[number].length;
      if (reach < s.past + s.length)
        return c.error() << "sequence " << number << " is seen up to " << reach << ", and has rows up to " << s.past + s.length;
      auto [begin, end] = visible(op, s.past + i, reach);
      for (int64_t h = 0; h < heads; ++h) {
        int64_t row = s.first + i, kv = h / (heads / kvHeads);
        std::vector<double> p;
        for (int64_t t = begin; t < end; ++t) {
          double score = 0;
          for (int64_t e = 0; e < d; ++e)
            score += q.at(row, h * d + e) * keys.real(((s.slot * keys.dim(1) + t / 32) * kvHeads * d + kv * d + e) * 32 + t % 32);
          p.push_back(score * scale);
        }
        softmax(p);
        for (int64_t e = 0; e < dv; ++e) {
          double sum = 0;
          for (int64_t t = begin; t < end; ++t)
            sum += p[t - begin] * values.real((s.slot * context + t) * kvHeads * dv + kv * dv + e);
          y.at(row, h * dv + e) = sum;
        }
      }
    }
  return c.give(std::move(y));
}

/// One head of one sequence; `latent(t, e)` and `shared(t, e)` are the cached c and k_r of position t.
struct LatentHead {
  const Tensor &q, &up;
  Tensor &y;
  const Cell *cache; // of the sequence's slot
  int64_t heads, nope, rope, rank, v, head;
  double scale;

  double latent(int64_t t, int64_t e) const { return cache[t * (rank + rope) + e].real; }
  double shared(int64_t t, int64_t e) const { return cache[t * (rank + rope) + rank + e].real; }
  double upKey(int64_t d, int64_t e) const { return up.at(head * (nope + v) + d, e); }
  double upValue(int64_t d, int64_t e) const { return up.at(head * (nope + v) + nope + d, e); }
  double query(int64_t row, int64_t d) const { return q.at(row, head * (nope + rope) + d); }

  double sharedScore(int64_t row, int64_t t) const {
    double sum = 0;
    for (int64_t e = 0; e < rope; ++e)
      sum += query(row, nope + e) * shared(t, e);
    return sum;
  }

  /// Multi-query attention on latents: q goes through UK, the weighted latent through UV.
  void absorbed(const Sequence &s) const {
    for (int64_t i = 0; i < s.length; ++i) {
      int64_t row = s.first + i, position = s.past + i;
      std::vector<double> qa(rank), p, mixed(rank);
      for (int64_t e = 0; e < rank; ++e)
        for (int64_t d = 0; d < nope; ++d)
          qa[e] += query(row, d) * upKey(d, e);
      for (int64_t t = 0; t <= position; ++t) {
        double score = sharedScore(row, t);
        for (int64_t e = 0; e < rank; ++e)
          score += qa[e] * latent(t, e);
        p.push_back(score * scale);
      }
      softmax(p);
      for (int64_t t = 0; t <= position; ++t)
        for (int64_t e = 0; e < rank; ++e)
          mixed[e] += p[t] * latent(t, e);
      for (int64_t d = 0; d < v; ++d) {
        double sum = 0;
        for (int64_t e = 0; e < rank; ++e)
          sum += upValue(d, e) * mixed[e];
        y.at(row, head * v + d) = sum;
      }
    }
  }

  /// Ordinary attention on keys and values formed from the latents.
  void expanded(const Sequence &s) const {
    int64_t positions = s.past + s.length;
    std::vector<double> keys(positions * nope), values(positions * v);
    for (int64_t t = 0; t < positions; ++t)
      for (int64_t e = 0; e < rank; ++e) {
        for (int64_t d = 0; d < nope; ++d)
          keys[t * nope + d] += upKey(d, e) * latent(t, e);
        for (int64_t d = 0; d < v; ++d)
          values[t * v + d] += upValue(d, e) * latent(t, e);
      }
    for (int64_t i = 0; i < s.length; ++i) {
      int64_t row = s.first + i, position = s.past + i;
      std::vector<double> p;
      for (int64_t t = 0; t <= position; ++t) {
        double score = sharedScore(row, t);
        for (int64_t d = 0; d < nope; ++d)
          score += query(row, d) * keys[t * nope + d];
        p.push_back(score * scale);
      }
      softmax(p);
      for (int64_t d = 0; d < v; ++d) {
        double sum = 0;
        for (int64_t t = 0; t <= position; ++t)
          sum += p[t] * values[t * v + d];
        y.at(row, head * v + d) = sum;
      }
    }
  }
};

static LogicalResult evaluateLatentAttention(Context &c) {
  auto op = cast<llm::LatentAttentionOp>(c.op);
  const Tensor &q = c.in(0), &cache = c.in(1), &up = c.in(2);
  auto sequences = sequencesOf(c, c.operands[3], q.dim(0), cache.dim(0), cache.dim(1));
  if (failed(sequences))
    return failure();
  int64_t heads = op.getHeads(), v = op.getValueWidth();
  Tensor y(Element::F32, {q.dim(0), heads * v});
  for (const Sequence &s : *sequences) {
    const Cell *slot = cache.cells.data() + s.slot * cache.rowSize();
    for (int64_t h = 0; h < heads; ++h) {
      LatentHead head{q, up, y, slot, heads, (int64_t)op.getNope(), (int64_t)op.getRope(), op.getLatent(), v, h,
                      c.number(op.getScale())};
      op.getForm() == "absorbed" ? head.absorbed(s) : head.expanded(s);
    }
  }
  return c.give(std::move(y));
}

static LogicalResult evaluateShortConv(Context &c) {
  const Tensor &x = c.in(0), &weight = c.in(1);
  Tensor &tail = c.operands[2].writable();
  int64_t width = x.dim(1), taps = weight.shape.back(), kept = taps - 1;
  auto sequences = sequencesOf(c, c.operands[3], x.dim(0), tail.dim(0));
  if (failed(sequences))
    return failure();
  Tensor y(Element::F32, x.shape);
  for (const Sequence &s : *sequences)
    for (int64_t n = 0; n < width; ++n) {
      auto tailAt = [&](int64_t i) -> double & { return tail.real((s.slot * kept + i) * width + n); };
      // Inputs of this channel: the kept ones, then this call's.
      std::vector<double> inputs;
      for (int64_t i = 0; i < kept; ++i)
        inputs.push_back(tailAt(i));
      for (int64_t i = 0; i < s.length; ++i)
        inputs.push_back(x.at(s.first + i, n));
      for (int64_t i = 0; i < s.length; ++i) {
        double sum = 0;
        for (int64_t w = 0; w < taps; ++w)
          sum += weight.real(n * taps + w) * inputs[i + w];
        y.at(s.first + i, n) = sum / (1 + std::exp(-sum));
      }
      for (int64_t i = 0; i < kept; ++i)
        tailAt(i) = inputs[s.length + i];
    }
  c.results.push_back(std::move(y));
  return c.give(std::move(c.operands[2]));
}

static LogicalResult evaluateDecayGate(Context &c) {
  const Tensor &f = c.in(0), &aLog = c.in(1), &bias = c.in(2);
  int64_t perHead = f.dim(1) / aLog.size();
  Tensor g(Element::F32, f.shape);
  for (int64_t t = 0; t < f.dim(0); ++t)
    for (int64_t n = 0; n < f.dim(1); ++n) {
      double x = f.at(t, n) + bias.real(n);
      double softplus = std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x)));
      g.at(t, n) = -std::exp(aLog.real(n / perHead)) * softplus;
    }
  return c.give(std::move(g));
}

static LogicalResult evaluateDeltaRule(Context &c) {
  const Tensor &q = c.in(0), &k = c.in(1), &v = c.in(2), &g = c.in(3), &beta = c.in(4);
  Tensor &state = c.operands[5].writable();
  int64_t heads = state.dim(1), K = state.dim(2), V = state.dim(3);
  auto sequences = sequencesOf(c, c.operands[6], q.dim(0), state.dim(0));
  if (failed(sequences))
    return failure();
  Tensor o(Element::F32, v.shape);
  for (const Sequence &s : *sequences)
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t t = s.first; t < s.first + s.length; ++t) {
        auto S = [&](int64_t key, int64_t value) -> double & { return state.real(((s.slot * heads + h) * K + key) * V + value); };
        for (int64_t i = 0; i < K; ++i) {
          double decay = std::exp(g.at(t, h * K + i));
          for (int64_t j = 0; j < V; ++j)
            S(i, j) *= decay;
        }
        for (int64_t j = 0; j < V; ++j) {
          double recalled = 0, out = 0;
          for (int64_t i = 0; i < K; ++i)
            recalled += S(i, j) * k.at(t, h * K + i);
          double correction = beta.at(t, h) * (v.at(t, h * V + j) - recalled);
          for (int64_t i = 0; i < K; ++i) {
            S(i, j) += k.at(t, h * K + i) * correction;
            out += S(i, j) * q.at(t, h * K + i);
          }
          o.at(t, h * V + j) = out;
        }
      }
  c.results.push_back(std::move(o));
  return c.give(std::move(c.operands[5]));
}

void addMixer(Handlers &t) {
  t["llm.append"] = evaluateAppend;
  t["llm.attention"] = evaluateAttention;
  t["llm.latent_attention"] = evaluateLatentAttention;
  t["llm.short_conv"] = evaluateShortConv;
  t["llm.decay_gate"] = evaluateDecayGate;
  t["llm.delta_rule"] = evaluateDeltaRule;
}

} // namespace llmc::reference
