// See LoopTest.cpp.
#pragma once
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace llmc {

inline constexpr llvm::StringLiteral kLoopTestKernel = "llmc_loop_test";

/// A module with the kernel as the passes after lower-blocks take it.
mlir::OwningOpRef<mlir::ModuleOp> makeLoopTest(mlir::MLIRContext *context);

} // namespace llmc
