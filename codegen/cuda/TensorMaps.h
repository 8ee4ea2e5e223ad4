// Views of a kernel's arguments as boxes that the copy engine (TMA) fetches, and the kernel arguments that describe them to it.
#pragma once
#include "codegen/cuda/ThreadCode.h"

namespace llmc {

/// A view of an argument as a box of it: the argument's last dimensions, and before them all others taken as one.
///
///   argument [E, P, K, 32], view [4, K, 32] of it at [e, p, 0, 0]    dimensions [E P, K, 32], offsets [e P + p, 0, 0]
///                           view [K, 32] at [e, p, 0, 0]             the same, the box having one of the first
struct GlobalBox {
  mlir::BlockArgument argument;
  llvm::SmallVector<mlir::OpFoldResult> offsets; ///< of the view, one for each dimension of the argument
  unsigned inner;                                ///< dimensions but for the first

  /// What `view` is with `inner` dimensions of the argument apart from those taken as one, if the copy engine can fetch it: a read-only argument
  /// in unit steps, rows at multiples of 16 bytes. The view has up to as many dimensions, its last ones being the argument's, and one more at most.
  static std::optional<GlobalBox> of(mlir::Value view, unsigned inner);
  /// The extent of the argument's dimension number `i` from the last (0: the contiguous one), if static.
  std::optional<int64_t> extentFromLast(unsigned i) const;
  mlir::OpFoldResult offsetFromLast(unsigned i) const { return offsets[offsets.size() - 1 - i]; }
};

/// How the copy engine places the rows of a box in shared memory: 16-byte chunks of 8 rows of 16 << n bytes change places.
enum class Swizzle : int64_t { none, bytes32, bytes64, bytes128 };

/// The argument of the kernel that describes boxes of `extents` elements in the last dimensions of the view's argument, and of one in those
/// before; added to the kernel unless it is there. It carries `llm.tensor_map = {parameter, shape, box, swizzle}`, `shape` as in llm.dims.
mlir::Value tensorMapOf(ThreadCode &t, const GlobalBox &box, llvm::ArrayRef<int64_t> extents, Swizzle swizzle);

/// Starts the copy of the box whose first element is `at` elements from the view's first in the last dimensions to shared memory at `to`; the barrier at
/// `barrier` counts its bytes. With `blocks`, to the same place in each of the first so many of the cluster, by the barrier there.
void copyBox(ThreadCode &t, mlir::Value map, const GlobalBox &box, llvm::ArrayRef<mlir::Value> at, mlir::Value to, mlir::Value barrier,
             int64_t blocks = 1);

constexpr unsigned kClusterSpace = 7; ///< LLVM's address space of the cluster's shared memory
constexpr llvm::StringLiteral kTensorMapAttr = "llm.tensor_map";

} // namespace llmc
