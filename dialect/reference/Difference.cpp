// See Difference.h.
#include "dialect/reference/Difference.h"
#include <cmath>

namespace llmc::reference {

const char *kindName(Element e) {
  static const char *const names[] = {"f64", "f32", "bf16", "f16", "i64", "i32", "i16", "i8", "i1", "index"};
  return names[(int)e];
}

Difference::Difference(const Tensor &wanted, const Tensor &got) {
  double errors = 0, size = 0, rowErrors = 0, worst = 0;
  int64_t columns = wanted.shape.empty() ? 1 : std::max<int64_t>(1, wanted.shape.back());
  for (int64_t i = 0; i < wanted.size(); ++i) {
    double a = isReal(wanted.element) ? wanted.real(i) : (double)wanted.integer(i);
    double b = isReal(got.element) ? got.real(i) : (double)got.integer(i);
    bool isSame = a == b || (std::isnan(a) && std::isnan(b));
    double error = isSame ? 0 : std::isfinite(a) && std::isfinite(b) ? std::fabs(a - b) : INFINITY;
    if (error > largest) {
      largest = error;
      at = i;
    }
    errors += error * error;
    rowErrors += error * error;
    if (rowErrors > worst) {
      worst = rowErrors;
      worstRow = i / columns;
    }
    if ((i + 1) % columns == 0)
      rowErrors = 0;
    size += std::isfinite(a) ? a * a : 0;
  }
  relative = errors == 0 ? 0 : size == 0 ? INFINITY : std::sqrt(errors / size);
  double meanRow = size * columns / std::max<int64_t>(1, wanted.size());
  worstRowError = worst == 0 ? 0 : meanRow == 0 ? INFINITY : std::sqrt(worst / meanRow);
}

} // namespace llmc::reference
