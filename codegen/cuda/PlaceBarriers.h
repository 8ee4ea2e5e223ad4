// Which accesses of a bufferized tile program need a barrier between them, when every op is run by all
// threads of a block.
#pragma once
#include "codegen/cuda/Layout.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace llmc {

/// The ops of `kernel` before which a barrier is needed, in order: an access to a buffer since the last
/// barrier conflicts with one of theirs. Buffers that loops or branches exchange count as one buffer; what lives
/// in registers needs none; products end with barriers of their own. Fails,
/// with a diagnostic, on an op whose accesses are not known.
mlir::FailureOr<llvm::SmallVector<mlir::Operation *>> findBarriers(mlir::func::FuncOp kernel,
                                                                        const Layouts &layouts);

} // namespace llmc
