// Compares results. See Compare.h.
#include "tools/llmc-reference/Compare.h"
#include "llvm/Support/Format.h"

using namespace mlir;
namespace llmc::reference {

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
