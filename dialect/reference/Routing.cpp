// Mixture of experts: routing, grouping, expert linears, combination.
#include "dialect/llm/LlmDialect.h"
#include "dialect/reference/Handlers.h"
#include <cmath>

using namespace mlir;
namespace llmc::reference {

/// The indices of the k largest values, largest first, the lowest index first among equals; NaN counts as -infinity.
static std::vector<int64_t> largest(std::vector<double> values, int64_t k) {
  for (double &v : values)
    v = std::isnan(v) ? -INFINITY : v;
  std::vector<int64_t> order(values.size());
  for (size_t i = 0; i < order.size(); ++i)
    order[i] = (int64_t)i;
  std::sort(order.begin(), order.end(),
            [&](int64_t a, int64_t b) { return values[a] != values[b] ? values[a] > values[b] : a < b; });
  order.resize(k);
  return order;
}

static std::vector<double> scores(const Tensor &logits, int64_t row, bool isSigmoid) {
  int64_t experts = logits.dim(1);
  std::vector<double> s(experts);
  double top = -INFINITY, sum = 0;
  for (int64_t e = 0; e < experts; ++e)
    top = std::max(top, logits.at(row, e));
  for (int64_t e = 0; e < experts; ++e) {
    s[e] = isSigmoid ? 1 / (1 + std::exp(-logits.at(row, e))) : std::exp(logits.at(row, e) - top);
    sum += s[e];
  }
  for (double &x : s)
    x = isSigmoid ? x : x / sum;
  return s;
}

/// Takes experts outside of the best groups out of the choice.
static void keepBestGroups(std::vector<double> &t, int64_t groups, int64_t kept) {
  int64_t size = (int64_t)t.size() / groups;
  std::vector<double> best(groups);
  for (int64_t g = 0; g < groups; ++g) {
    std::vector<double> members(t.begin() + g * size, t.begin() + (g + 1) * size);
    for (int64_t i : largest(members, std::min<int64_t>(2, size)))
      best[g] += members[i];
  }
  std::vector<bool> isKept(groups, false);
  for (int64_t g : largest(best, kept))
    isKept[g] = true;
  for (size_t e = 0; e < t.size(); ++e)
    if (!isKept[e / size])
      t[e] = -INFINITY;
}

static LogicalResult evaluateRoute(Context &c) {
  auto op = cast<llm::RouteOp>(c.op);
  const Tensor &logits = c.in(0);
  int64_t rows = logits.dim(0), k = op.getTopK();
  Tensor ids(Element::I32, {rows, k}), weights(Element::F32, {rows, k});
  for (int64_t row = 0; row < rows; ++row) {
    std::vector<double> s = scores(logits, row, op.getScoring() == "sigmoid"), t = s;
    for (size_t e = 0; op.getBias() && e < t.size(); ++e)
      t[e] += c.in(1).real(e);
    if (op.getGroups() > 1)
      keepBestGroups(t, op.getGroups(), op.getTopGroups());
    std::vector<int64_t> chosen = largest(t, k);
    double sum = 0;
    for (int64_t e : chosen)
      sum += s[e];
    for (int64_t j = 0; j < k; ++j) {
      ids.intAt(row, j) = chosen[j];
      weights.at(row, j) = s[chosen[j]] / (op.getRenormalize() ? sum + 1e-20 : 1.0) * c.number(op.getScale());
    }
  }
  c.results.push_back(std::move(ids));
  return c.give(std::move(weights));
}

/// Empty groups at the end are (0, 0, 0).
static LogicalResult evaluateDispatchExperts(Context &c) {
  auto op = cast<llm::DispatchExpertsOp>(c.op);
  const Tensor &ids = c.in(0);
  int64_t experts = cast<RankedTensorType>(op.getGroups().getType()).getDimSize(0);
  Tensor order(Element::I32, {ids.size()}), place(Element::I32, ids.shape), groups(Element::I32, {experts, 3});
  int64_t next = 0, group = 0;
  for (int64_t e = 0; e < experts; ++e) {
    int64_t begin = next;
    for (int64_t pair = 0; pair < ids.size(); ++pair)
      if (ids.integer(pair) == e) {
        order.integer(next) = pair;
        place.integer(pair) = next++;
      }
    if (next > begin) {
      groups.intAt(group, 0) = e;
      groups.intAt(group, 1) = begin;
      groups.intAt(group++, 2) = next;
    }
  }
  if (next != ids.size())
    return c.error() << "an expert is not within 0 .. " << experts - 1;
  if (cast<RankedTensorType>(op.getOrder().getType()).getRank() == 2)
    order.shape = {ids.size(), 1};
  c.results.push_back(std::move(order));
  c.results.push_back(std::move(place));
  return c.give(std::move(groups));
}

static LogicalResult evaluateExpertLinear(Context &c) {
  auto op = cast<llm::ExpertLinearOp>(c.op);
  const Tensor &x = c.in(0), &order = c.in(1), &groups = c.in(2);
  int64_t rows = order.size(), depth = x.dim(1), gather = op.getGather(), align = op.getAlign();
  Tensor y(Element::F32, {rows, llm::columns(op.getResult())});
  for (int64_t g = 0; g < groups.dim(0); ++g) {
    int64_t expert = groups.intAt(g, 0), begin = groups.intAt(g, 1), end = groups.intAt(g, 2);
    if (begin < 0 || end > rows)
      return c.error() << "group " << g << " leaves the " << rows << " rows";
    for (int64_t r = begin; r < end; ++r) {
      int64_t source = gather > 0 ? order.integer(r) / gather : r, offset = 0;
      if (source < 0 || source >= x.dim(0))
        return c.error() << "row " << source << " is not in x";
      for (const Value &weight : c.operands.drop_front(3)) {
        const Tensor &w = weight.tensor();
        if (expert < 0 || expert >= w.dim(0))
          return c.error() << "expert " << expert << " has no weights";
        for (int64_t n = 0; n < w.dim(1); ++n) {
          double sum = 0;
          for (int64_t k = 0; k < depth; ++k)
            sum += x.at(source, k) * w.real((expert * w.dim(1) + n) * depth + k);
          y.at(r, offset + n) = sum;
        }
        offset += llvm::alignTo(w.dim(1), align);
      }
    }
  }
  return c.give(std::move(y));
}

static LogicalResult evaluateCombineExperts(Context &c) {
  const Tensor &x = c.in(0), &place = c.in(1), &weights = c.in(2);
  int64_t rows = place.dim(0), width = x.dim(1);
  Tensor y(Element::F32, {rows, width});
  for (int64_t t = 0; t < rows; ++t)
    for (int64_t j = 0; j < place.dim(1); ++j) {
      int64_t source = place.intAt(t, j);
      if (source < 0 || source >= x.dim(0))
        return c.error() << "row " << source << " is not in x";
      for (int64_t n = 0; n < width; ++n)
        y.at(t, n) += weights.at(t, j) * x.at(source, n);
    }
  return c.give(std::move(y));
}

void addRouting(Handlers &t) {
  t["llm.route"] = evaluateRoute;
  t["llm.dispatch_experts"] = evaluateDispatchExperts;
  t["llm.expert_linear"] = evaluateExpertLinear;
  t["llm.combine_experts"] = evaluateCombineExperts;
}

} // namespace llmc::reference
