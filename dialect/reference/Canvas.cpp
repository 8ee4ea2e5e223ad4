// Decoding on a canvas: what llm.write_canvas, read_canvas, open_block, select_rows, guide, predict, unmask, next_rows and emit_block
// mean.
#include "dialect/llm/LlmDialect.h"
#include "dialect/reference/Handlers.h"
#include "dialect/reference/Sampling.h"
#include <algorithm>
#include <cmath>
#include <numeric>

using namespace mlir;
namespace llmc::reference {

namespace {

/// A row of `bounds`.
struct Bounds {
  int64_t known, end, start;
};
Bounds boundsOf(const Tensor &t, int64_t s) { return {t.intAt(s, 0), t.intAt(s, 1), t.intAt(s, 2)}; }

/// Columns of `settings`.
struct Settings {
  int64_t block, steps, remask, cache;
  double threshold, factor, guidance, extra;
};
Settings settingsOf(const Tensor &t, int64_t s) {
  return {(int64_t)t.at(s, 0), (int64_t)t.at(s, 1), (int64_t)t.at(s, 2), (int64_t)t.at(s, 5), t.at(s, 3), t.at(s, 4),
          t.at(s, 6), t.at(s, 7)};
}

/// Columns of `progress`.
enum { kSteps, kMasks, kNotFinite, kPolishing };

LogicalResult evaluateWrite(Context &c) {
  Tensor &canvas = c.operands[1].writable();
  auto sequences = sequencesOf(c, c.operands[2], c.in(0).dim(0), canvas.dim(0), canvas.dim(1));
  if (failed(sequences))
    return failure();
  for (const Sequence &s : *sequences)
    for (int64_t i = 0; i < s.length; ++i)
      canvas.intAt(s.slot, s.past + i) = c.in(0).integer(s.first + i);
  return c.give(std::move(c.operands[1]));
}

LogicalResult evaluateRead(Context &c) {
  auto op = cast<llm::ReadCanvasOp>(c.op);
  const Tensor &canvas = c.in(0);
  Tensor tokens(Element::I32, {c.operands[1].where().dim(0)});
  auto sequences = sequencesOf(c, c.operands[1], tokens.dim(0), canvas.dim(0), canvas.dim(1));
  if (failed(sequences))
    return failure();
  for (auto [number, s] : llvm::enumerate(*sequences))
    for (int64_t i = 0; i < s.length; ++i) {
      bool hides = op.getHidden() && s.past + i < boundsOf(c.in(2), number).start;
      tokens.integer(s.first + i) = hides ? (int64_t)*op.getHidden() : canvas.intAt(s.slot, s.past + i);
    }
  return c.give(std::move(tokens));
}

LogicalResult evaluateOpen(Context &c) {
  auto op = cast<llm::OpenBlockOp>(c.op);
  Tensor &canvas = c.operands[0].writable();
  auto all = sequencesOf(c, c.operands[1], c.operands[1].where().dim(0), canvas.dim(0), canvas.dim(1));
  auto block = sequencesOf(c, c.operands[2], c.operands[2].where().dim(0), canvas.dim(0), canvas.dim(1));
  if (failed(all) || failed(block))
    return failure();
  Tensor progress(Element::I32, {(int64_t)all->size(), 4});
  for (auto [s, rows] : llvm::enumerate(*all)) {
    int64_t known = boundsOf(c.in(3), s).known;
    for (int64_t p = std::max(known, rows.past); p < rows.past + rows.length; ++p)
      canvas.intAt(rows.slot, p) = op.getMask();
    const Sequence &b = (*block)[s];
    progress.intAt(s, kMasks) = std::max<int64_t>(0, b.past + b.length - std::max(known, b.past));
  }
  if (failed(c.give(std::move(c.operands[0]))))
    return failure();
  return c.give(std::move(progress));
}

LogicalResult evaluateSelect(Context &c) {
  const Tensor &x = c.in(0);
  auto from = sequencesOf(c, c.operands[1], x.dim(0), INT64_MAX);
  auto wanted = sequencesOf(c, c.operands[2], c.operands[2].where().dim(0), INT64_MAX);
  if (failed(from) || failed(wanted))
    return failure();
  int64_t shift = cast<llm::SelectRowsOp>(c.op).getShift();
  Tensor y(Element::F32, {c.operands[2].where().dim(0), x.dim(1)});
  for (auto [s, rows] : llvm::enumerate(*wanted))
    for (int64_t i = 0; i < rows.length; ++i) {
      const Sequence &source = (*from)[s];
      if (source.length == 0)
        continue;
      int64_t row = std::clamp<int64_t>(rows.past + i - shift - source.past, 0, source.length - 1);
      for (int64_t n = 0; n < x.dim(1); ++n)
        y.at(rows.first + i, n) = x.at(source.first + row, n);
    }
  return c.give(std::move(y));
}

LogicalResult evaluateGuide(Context &c) {
  const Tensor &x = c.in(0), &unprompted = c.in(1);
  auto block = sequencesOf(c, c.operands[2], x.dim(0), INT64_MAX);
  if (failed(block))
    return failure();
  Tensor y(Element::F32, {x.dim(0), x.dim(1)});
  for (auto [s, rows] : llvm::enumerate(*block)) {
    double w = settingsOf(c.in(3), s).guidance;
    for (int64_t row = rows.first; row < rows.first + rows.length; ++row)
      for (int64_t n = 0; n < x.dim(1); ++n)
        y.at(row, n) = w > 0 ? unprompted.at(row, n) + (w + 1) * (x.at(row, n) - unprompted.at(row, n)) : x.at(row, n);
  }
  return c.give(std::move(y));
}

/// softmax(logits / temperature) over all ids.
std::vector<double> softmaxOf(ArrayRef<Cell> logits, double temperature) {
  double top = -INFINITY, sum = 0;
  for (Cell x : logits)
    top = std::max(top, x.real);
  std::vector<double> p;
  for (Cell x : logits)
    sum += p.emplace_back(std::exp((x.real - top) / temperature));
  for (double &x : p)
    x /= sum;
  return p;
}

/// Where a row's random numbers come from.
struct Stream {
  uint64_t seed, position;
  uint32_t step;
  double at(uint32_t index) const { return (philox(seed, position, step, index) + 0.5) * 0x1p-32; }
};

struct Prediction {
  int64_t token;
  double confidence;
};

Prediction predict(ArrayRef<Cell> logits, int64_t mask, double temperature, double topP, int64_t topK, int64_t remask,
                   bool tempered, const Stream &random) {
  int64_t vocabulary = logits.size(), best = -1;
  bool hasToken = false;
  for (int64_t v = 0; v < vocabulary; ++v) {
    double x = logits[v].real;
    if (std::isnan(x) || x == INFINITY)
      return {-1, 0};
    hasToken |= x > -INFINITY;
    if (v != mask && (best < 0 || x > logits[best].real))
      best = v;
  }
  if (!hasToken || logits[best].real == -INFINITY)
    return {-1, 0};
  std::vector<double> plain = softmaxOf(logits, 1);
  int64_t token = best;
  if (temperature > 0) {
    std::vector<double> p = softmaxOf(logits, temperature);
    p[mask] = 0;
    keepTopK(p, topK);
    keepTopP(p, topP);
    double highest = -INFINITY;
    for (int64_t v = 0; v < vocabulary; ++v)
      if (p[v] > 0)
        if (double key = logits[v].real - temperature * std::log(-std::log1p(-random.at(v))); key > highest) {
          highest = key;
          token = v;
        }
    if (tempered) {
      double mass = std::accumulate(p.begin(), p.end(), 0.0);
      for (double &x : p)
        x /= mass;
      plain = p;
    }
  }
  switch (remask) {
  case 1:
  case 4: return {token, random.at(vocabulary)};
  case 2: {
    double sum = 0;
    for (double x : plain)
      sum += x * std::log(x + 1e-10);
    return {token, sum};
  }
  case 3: {
    std::nth_element(plain.begin(), plain.begin() + 1, plain.end(), std::greater<double>());
    return {token, plain[0] - plain[1]};
  }
  default: return {token, plain[token]};
  }
}

LogicalResult evaluatePredict(Context &c) {
  auto op = cast<llm::PredictOp>(c.op);
  const Tensor &logits = c.in(0), &sampling = c.in(2), &draws = c.in(3), &settings = c.in(4), &progress = c.in(5);
  int64_t rows = logits.dim(0), vocabulary = logits.dim(1);
  auto block = sequencesOf(c, c.operands[1], rows, INT64_MAX);
  if (failed(block))
    return failure();
  Tensor tokens(Element::I32, {rows}), confidence(Element::F32, {rows, 1});
  for (auto [s, each] : llvm::enumerate(*block))
    for (int64_t i = 0; i < each.length; ++i) {
      int64_t row = each.first + i;
      Stream random{(uint64_t)draws.intAt(s, 0), (uint64_t)(each.past + i), (uint32_t)(1 + progress.intAt(s, kSteps))};
      Prediction p = predict(ArrayRef<Cell>(logits.cells).slice(row * vocabulary, vocabulary), op.getMask(),
                             sampling.at(s, 0), sampling.at(s, 1), draws.intAt(s, 1), settingsOf(settings, s).remask,
                             op.getTempered(), random);
      tokens.integer(row) = p.token;
      confidence.real(row) = p.confidence;
    }
  if (failed(c.give(std::move(tokens))))
    return failure();
  return c.give(std::move(confidence));
}

/// The i-th of `steps` shares of `total`.
int64_t share(int64_t total, int64_t steps, int64_t i) {
  return total / steps + (i < total % steps);
}

/// Positions of a block from .. to, counted from its first row.
struct Range {
  int64_t from, to;
};

/// Where the rule may commit masks in this step.
Range reach(StringRef rule, ArrayRef<int64_t> masked, const Settings &set, int64_t known, const Sequence &rows, int64_t step) {
  if (rule != "subblock" || masked.empty())
    return {0, rows.length};
  if (step == 0 && known == rows.past && known > 0)
    return {0, 1};
  int64_t size = std::max<int64_t>(1, set.extra), from = masked.front() / size * size;
  return {from, from + size};
}

/// How many of the sorted confidences (best first) the rule commits.
int64_t commits(StringRef rule, const std::vector<double> &sorted, const Settings &set, const Bounds &bounds,
                int64_t step, int64_t masks) {
  int64_t m = sorted.size();
  auto above = [&](auto passes) { return std::count_if(sorted.begin(), sorted.end(), passes); };
  if (rule == "timestep") {
    if (step + 1 >= set.steps)
      return m;
    double slope = (1 - set.extra) / set.steps, now = 1 - slope * step, then = 1 - slope * (step + 1);
    return set.remask == 4 ? above([&](double x) { return x > then / now; }) : (int64_t)(m * (1 - then / now));
  }
  if (rule == "transfer") {
    if (set.threshold > 0)
      return std::max<int64_t>(1, above([&](double x) { return x >= set.threshold; }));
    if (set.factor > 0) {
      int64_t r = m - 1;
      for (int64_t n = m; n >= 2; --n)
        if (sorted[n - 1] < 1 - set.factor / (n + 1))
          r = n - 1;
      return r == 0 || r == m - 1 ? r + 1 : r;
    }
    int64_t blocks = std::max<int64_t>(1, (bounds.end - bounds.start + set.block - 1) / set.block);
    int64_t steps = std::max<int64_t>(1, set.steps / blocks);
    return step >= steps ? m : share(masks, steps, step);
  }
  int64_t confident = above([&](double x) { return x > set.threshold; });
  int64_t least = rule == "subblock" ? 1 : step >= set.steps ? m : share(set.block, std::max<int64_t>(1, set.steps), step);
  return std::max(confident, least);
}

LogicalResult evaluateUnmask(Context &c) {
  auto op = cast<llm::UnmaskOp>(c.op);
  const Tensor &tokens = c.in(1), &confidence = c.in(2);
  Tensor &canvas = c.operands[0].writable(), &progress = c.operands[6].writable();
  auto block = sequencesOf(c, c.operands[3], tokens.dim(0), canvas.dim(0), canvas.dim(1));
  if (failed(block))
    return failure();
  Tensor more(Element::I32, {(int64_t)block->size(), 1});
  auto finish = [&](size_t s) {
    if (op.getRule() == "edit" && !more.integer(s))
      progress.intAt(s, kPolishing) = -1;
  };
  for (size_t s = 0; s < block->size(); ++s) {
    const Sequence &rows = (*block)[s];
    if (progress.intAt(s, kNotFinite) || progress.intAt(s, kPolishing) < 0)
      continue;
    Bounds bounds = boundsOf(c.in(4), s);
    Settings set = settingsOf(c.in(5), s);
    std::vector<int64_t> masked;
    bool changes = false;
    int64_t step = progress.intAt(s, kSteps)++;
    for (int64_t i = 0; i < rows.length; ++i)
      if (rows.past + i >= bounds.known && tokens.integer(rows.first + i) < 0)
        progress.intAt(s, kNotFinite) = 1;
    if (progress.intAt(s, kNotFinite))
      continue;
    for (int64_t i = 0; i < rows.length; ++i) {
      int64_t p = rows.past + i, row = rows.first + i, &here = canvas.intAt(rows.slot, p);
      if (p < bounds.known)
        continue;
      if (here == (int64_t)op.getMask()) {
        masked.push_back(i);
      } else if (op.getRule() == "edit" && here != tokens.integer(row) && confidence.real(row) > set.extra) {
        here = tokens.integer(row);
        changes = true;
      }
    }
    bool polishes = op.getRule() == "edit" && set.extra < 1;
    if (masked.empty()) {
      more.integer(s) = polishes && changes && ++progress.intAt(s, kPolishing) < set.factor;
      finish(s);
      continue;
    }
    int64_t all = masked.size();
    Range range = reach(op.getRule(), masked, set, bounds.known, rows, step);
    llvm::erase_if(masked, [&](int64_t i) { return i < range.from || i >= range.to; });
    auto of = [&](int64_t i) { return confidence.real(rows.first + i); };
    std::stable_sort(masked.begin(), masked.end(), [&](int64_t a, int64_t b) { return of(a) > of(b); });
    std::vector<double> sorted;
    for (int64_t i : masked)
      sorted.push_back(of(i));
    int64_t n = std::min<int64_t>(masked.size(), commits(op.getRule(), sorted, set, bounds, step, progress.intAt(s, kMasks)));
    for (int64_t k = 0; k < n; ++k)
      canvas.intAt(rows.slot, rows.past + masked[k]) = tokens.integer(rows.first + masked[k]);
    // A block whose last masks were filled is read once more where its tokens may still change.
    more.integer(s) = n < all || (polishes && set.factor >= 1);
    finish(s);
  }
  if (failed(c.give(std::move(c.operands[0]))) || failed(c.give(std::move(c.operands[6]))))
    return failure();
  return c.give(std::move(more));
}

/// Rows of a sequence that the next step computes: see llm.next_rows. `most` without rows if the block has no mask.
Sequence nextRows(const Sequence &most, const Sequence &block, ArrayRef<int64_t> masked, const Settings &set, int64_t known, int64_t steps) {
  Sequence rows = most;
  if (masked.empty()) {
    rows.length = 0;
    return rows;
  }
  bool isAnchored = known == block.past && known > 0;
  Range part = reach("subblock", masked, set, known, block, /*step=*/1);
  if (set.cache > 0 && masked.front() != part.from && steps > isAnchored) {
    rows.past = block.past + part.from;
    rows.length = std::min(part.to, block.length) - part.from;
  }
  return rows;
}

LogicalResult evaluateNextRows(Context &c) {
  auto op = cast<llm::NextRowsOp>(c.op);
  const Tensor &canvas = c.in(0), &progress = c.in(5);
  auto most = sequencesOf(c, c.operands[1], c.operands[1].where().dim(0), canvas.dim(0), canvas.dim(1));
  auto block = sequencesOf(c, c.operands[2], c.operands[2].where().dim(0), canvas.dim(0), canvas.dim(1));
  if (failed(most) || failed(block))
    return failure();
  int64_t count = block->size(), total = 0;
  std::vector<Sequence> next;
  for (int64_t s = 0; s < count; ++s) {
    const Sequence &each = (*block)[s];
    int64_t known = boundsOf(c.in(3), s).known;
    std::vector<int64_t> masked;
    for (int64_t i = 0; i < each.length && !progress.intAt(s, kNotFinite); ++i)
      if (each.past + i >= known && canvas.intAt(each.slot, each.past + i) == (int64_t)op.getMask())
        masked.push_back(i);
    next.push_back(nextRows((*most)[s], each, masked, settingsOf(c.in(4), s), known, progress.intAt(s, kSteps)));
    total += next.back().length;
  }
  Tensor where(Element::I32, {total, 2}), rows(Element::I32, {count, 4}), counts(Element::I32, {count, 1});
  int64_t first = 0;
  for (auto [s, each] : llvm::enumerate(next)) {
    const int64_t row[] = {each.slot, first, each.length, each.past};
    for (int64_t column = 0; column < 4; ++column)
      rows.intAt(s, column) = row[column];
    counts.integer(s) = each.length;
    for (int64_t i = 0; i < each.length; ++i, ++first) {
      where.intAt(first, 0) = s;
      where.intAt(first, 1) = each.past + i;
    }
  }
  if (failed(c.give(Value::sequences(std::move(where), std::move(rows)))))
    return failure();
  return c.give(std::move(counts));
}

LogicalResult evaluateAny(Context &c) {
  return c.give(integerCell(llvm::any_of(c.in(0).cells, [](Cell x) { return x.integer != 0; })));
}

LogicalResult evaluateEmit(Context &c) {
  const Tensor &canvas = c.in(0);
  auto block = sequencesOf(c, c.operands[1], c.operands[1].where().dim(0), canvas.dim(0), canvas.dim(1));
  if (failed(block))
    return failure();
  Tensor next = Tensor::filled(Element::I32, {(int64_t)block->size(), canvas.dim(1)}, integerCell(-2));
  for (auto [s, rows] : llvm::enumerate(*block)) {
    int64_t known = boundsOf(c.in(2), s).known;
    for (int64_t p = known; p < rows.past + rows.length; ++p)
      next.intAt(s, p - known) = canvas.intAt(rows.slot, p);
    if (c.in(3).intAt(s, kNotFinite))
      next.intAt(s, 0) = -1;
  }
  return c.give(std::move(next));
}

} // namespace

void addCanvas(Handlers &t) {
  t["llm.write_canvas"] = evaluateWrite;
  t["llm.read_canvas"] = evaluateRead;
  t["llm.open_block"] = evaluateOpen;
  t["llm.select_rows"] = evaluateSelect;
  t["llm.guide"] = evaluateGuide;
  t["llm.predict"] = evaluatePredict;
  t["llm.unmask"] = evaluateUnmask;
  t["llm.next_rows"] = evaluateNextRows;
  t["llm.any"] = evaluateAny;
  t["llm.emit_block"] = evaluateEmit;
}

} // namespace llmc::reference
