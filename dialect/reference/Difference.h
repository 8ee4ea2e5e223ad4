// How far a tensor is from what it should be.
#pragma once
#include "dialect/reference/Tensor.h"

namespace llmc::reference {

/// "f32", "bf16", ...
const char *kindName(Element e);

/// Relative L2 error and largest error; infinite when one side has a NaN or infinity that the other has not.
/// A row is all elements with the same indices but the last; its error is relative to the root mean square of
/// the wanted rows' norms, so that a row of almost nothing does not count as wrong.
struct Difference {
  double relative = 0, largest = 0;
  int64_t at = 0; // where the largest is
  double worstRowError = 0;
  int64_t worstRow = 0;

  Difference(const Tensor &wanted, const Tensor &got);
};

} // namespace llmc::reference
