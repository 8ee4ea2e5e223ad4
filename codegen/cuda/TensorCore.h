// The instructions of tensor cores as code of one thread: what Layout.h draws, in NVVM ops.
#pragma once
#include "codegen/cuda/ThreadCode.h"

namespace llmc {

/// Four registers of two bf16: 16 rows of 16 k; two: 16 k of 8 columns.
using OperandA = llvm::SmallVector<mlir::Value, 4>;
using OperandB = llvm::SmallVector<mlir::Value, 2>;

/// `count` (2 or 4) matrices of 8 x 8 from rows of 8 in shared memory; lane i gives the address of row i.
llvm::SmallVector<mlir::Value> loadMatrices(ThreadCode &t, mlir::Value address, int64_t count, bool isTransposed);
/// The accumulators of one fragment after sums + a b.
llvm::SmallVector<mlir::Value> multiplyAdd(ThreadCode &t, mlir::ValueRange a, mlir::ValueRange b, mlir::ValueRange sums);
/// The a operand of 16 k from `k` on out of accumulators, of which a row of fragments begins with number `first`.
OperandA fragmentOfA(ThreadCode &t, mlir::Value accumulators, int64_t k, int64_t first = 0);
/// A warpgroup's sums (a struct) and a b, of 16 k: a in registers, b [k, n] in shared memory as `descriptor` says, n innermost. In flight as
/// NVVM's wgmma, which takes no registers for a.
mlir::Value multiplyWarpgroup(ThreadCode &t, mlir::ValueRange a, mlir::Value descriptor, mlir::Value sums);
/// Two bf16 as one register, the first in the low half.
mlir::Value pack(ThreadCode &t, mlir::Value low, mlir::Value high);

/// `elements` bf16 (2, 4 or 8) from global to shared memory without a stop; zeros where `isInside` does not hold.
void copyAsync(ThreadCode &t, mlir::Value to, mlir::Value from, int64_t elements, mlir::Value isInside);
void commitCopies(ThreadCode &t);
/// Waits until all groups of this thread's copies but the last `pending` have arrived.
void waitForCopies(ThreadCode &t, int64_t pending);

} // namespace llmc
