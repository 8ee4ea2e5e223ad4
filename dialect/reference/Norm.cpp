// Row norms and rotary positions.
#include "dialect/llm/LlmDialect.h"
#include "dialect/reference/Handlers.h"
#include <cmath>

using namespace mlir;
namespace llmc::reference {

static LogicalResult evaluateRmsNorm(Context &c) {
  auto op = cast<llm::RmsNormOp>(c.op);
  const Tensor &x = c.in(0), &weight = c.in(1);
  int64_t width = weight.size();
  double eps = c.number(op.getEps());
  Tensor y(Element::F32, x.shape);
  for (int64_t start = 0; start < x.size(); start += width) {
    double squares = 0;
    for (int64_t d = 0; d < width; ++d)
      squares += x.real(start + d) * x.real(start + d);
    double factor = 1 / std::sqrt(squares / width + eps);
    for (int64_t d = 0; d < width; ++d)
      y.real(start + d) = x.real(start + d) * factor * weight.real(d);
  }
  if (op.getGate())
    for (int64_t i = 0; i < y.size(); ++i)
      y.real(i) *= 1 / (1 + std::exp(-c.in(2).real(i)));
  return c.give(std::move(y));
}

static LogicalResult evaluateLayerNorm(Context &c) {
  const Tensor &x = c.in(0), &weight = c.in(1), &bias = c.in(2);
  int64_t width = x.dim(1);
  double eps = c.number(cast<llm::LayerNormOp>(c.op).getEps());
  Tensor y(Element::F32, x.shape);
  for (int64_t t = 0; t < x.dim(0); ++t) {
    double mean = 0, variance = 0;
    for (int64_t d = 0; d < width; ++d)
      mean += x.at(t, d) / width;
    for (int64_t d = 0; d < width; ++d)
      variance += (x.at(t, d) - mean) * (x.at(t, d) - mean) / width;
    for (int64_t d = 0; d < width; ++d)
      y.at(t, d) = (x.at(t, d) - mean) / std::sqrt(variance + eps) * weight.real(d) + bias.real(d);
  }
  return c.give(std::move(y));
}

static LogicalResult evaluateL2Norm(Context &c) {
  auto op = cast<llm::L2NormOp>(c.op);
  const Tensor &x = c.in(0);
  int64_t width = x.dim(1) / (int64_t)op.getHeads();
  double eps = c.number(op.getEps()), scale = c.number(op.getScale());
  Tensor y(Element::F32, x.shape);
  for (int64_t start = 0; start < x.size(); start += width) {
    double squares = 0;
    for (int64_t d = 0; d < width; ++d)
      squares += x.real(start + d) * x.real(start + d);
    for (int64_t d = 0; d < width; ++d)
      y.real(start + d) = x.real(start + d) / std::sqrt(squares + eps) * scale;
  }
  return c.give(std::move(y));
}

static LogicalResult evaluateRotaryTable(Context &c) {
  auto op = cast<llm::RotaryTableOp>(c.op);
  const Tensor &where = c.operands[0].where();
  ArrayRef<float> frequencies = op.getFrequencies();
  int64_t n = frequencies.size(), rows = where.dim(0);
  double scale = c.number(op.getScale());
  Tensor table(Element::F32, {rows, 2 * n});
  for (int64_t t = 0; t < rows; ++t)
    for (int64_t d = 0; d < n; ++d) {
      double angle = (float)where.intAt(t, 1) * frequencies[d]; // a float32 product: the published models round here
      table.at(t, d) = std::cos(angle) * scale;
      table.at(t, n + d) = std::sin(angle) * scale;
    }
  return c.give(std::move(table));
}

static LogicalResult evaluateRotary(Context &c) {
  const Tensor &x = c.in(0), &table = c.in(1);
  int64_t half = table.dim(1) / 2, heads = cast<llm::RotaryOp>(c.op).getHeads(), width = x.dim(1) / heads;
  Tensor y = x;
  for (int64_t t = 0; t < x.dim(0); ++t)
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t d = 0; d < half; ++d) {
        int64_t low = h * width + d, high = low + half;
        double cosine = table.at(t, d), sine = table.at(t, half + d);
        y.at(t, low) = x.at(t, low) * cosine - x.at(t, high) * sine;
        y.at(t, high) = x.at(t, high) * cosine + x.at(t, low) * sine;
      }
  return c.give(std::move(y));
}

void addNorm(Handlers &t) {
  t["llm.rms_norm"] = evaluateRmsNorm;
  t["llm.layer_norm"] = evaluateLayerNorm;
  t["llm.l2_norm"] = evaluateL2Norm;
  t["llm.rotary_table"] = evaluateRotaryTable;
  t["llm.rotary"] = evaluateRotary;
}

} // namespace llmc::reference
