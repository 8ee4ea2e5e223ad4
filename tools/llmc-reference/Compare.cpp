// Compares results. See Compare.h.
#include "tools/llmc-reference/Compare.h"
#include "llvm/Support/Format.h"
#include <cmath>

using namespace mlir;
namespace llmc::reference {

const char *kindName(Element e) {
  static const char *const names[] = {"f64", "f32", "bf16", "f16", "i64", "i32", "i16", "i8", "i1", "index"};
  return names[(int)e];
}

Difference::Difference(const Tensor &wanted, const Tensor &got) {
  double errors = 0, size = 0;
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
    size += std::isfinite(a) ? a * a : 0;
  }
  relative = errors == 0 ? 0 : size == 0 ? INFINITY : std::sqrt(errors / size);
}

LogicalResult compare(ArrayRef<Value> wanted, ArrayRef<Value> got, double tolerance, Location at,
                      StringRef label) {
  if (wanted.size() != got.size())
    return emitError(at) << label << "gives " << got.size() << " results instead of " << wanted.size();
  bool isRight = true;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (!wanted[i].isTensor() || !got[i].isTensor())
      continue;
    const Tensor &a = wanted[i].tensor(), &b = got[i].tensor();
    if (ArrayRef<int64_t>(a.shape) != ArrayRef<int64_t>(b.shape) || a.element != b.element)
      return emitError(at) << label << "result " << i << " is " << kindName(b.element) << text(b.shape)
                           << " instead of " << kindName(a.element) << text(a.shape);
    Difference d(a, b);
    bool isWrong = isReal(a.element) ? !(d.relative <= tolerance) : d.largest != 0;
    llvm::outs() << label << "result " << i << ": " << kindName(a.element) << text(a.shape)
                 << llvm::format(" relative L2 error %.3g", d.relative)
                 << llvm::format(", largest %.3g", d.largest) << " at " << d.at
                 << (isWrong ? "  BEYOND TOLERANCE\n" : "\n");
    isRight &= !isWrong;
  }
  return isRight ? success() : emitError(at) << label << "results differ by more than the tolerance";
}

} // namespace llmc::reference
