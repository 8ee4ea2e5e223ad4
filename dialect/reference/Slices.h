// Rectangular parts of tensors, as tensor.extract_slice and its relatives describe them.
#pragma once
#include "dialect/reference/Handlers.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

namespace llmc::reference {

/// Offsets, sizes and strides with all dynamic ones filled in; one entry per dimension of the large tensor.
struct SliceNumbers {
  llvm::SmallVector<int64_t, 4> offsets, sizes, strides;
};

SliceNumbers sliceNumbers(Context &c, mlir::OffsetSizeAndStrideOpInterface op);

/// Whether every element of the slice lies in a tensor of this shape.
bool isInside(const SliceNumbers &slice, llvm::ArrayRef<int64_t> shape);

/// Calls `visit` with the flat position of every element of the slice, in row-major order.
template <typename Visit>
void forEachInSlice(const SliceNumbers &slice, llvm::ArrayRef<int64_t> shape, Visit visit) {
  int64_t rank = (int64_t)shape.size();
  if (rank == 0)
    return visit((int64_t)0);
  auto strides = rowMajorStrides(shape);
  llvm::SmallVector<int64_t, 4> index(rank, 0);
  int64_t start = 0;
  for (int64_t d = 0; d < rank; ++d) {
    if (slice.sizes[d] <= 0)
      return;
    start += slice.offsets[d] * strides[d];
    strides[d] *= slice.strides[d];
  }
  int64_t inner = slice.sizes[rank - 1], innerStride = strides[rank - 1];
  while (true) {
    for (int64_t i = 0, at = start; i < inner; ++i, at += innerStride)
      visit(at);
    int64_t d = rank - 2;
    for (; d >= 0; --d) {
      start += strides[d];
      if (++index[d] < slice.sizes[d])
        break;
      start -= slice.sizes[d] * strides[d];
      index[d] = 0;
    }
    if (d < 0)
      return;
  }
}

} // namespace llmc::reference
