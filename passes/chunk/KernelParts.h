// Dispatches that become several kernels, each made by a part.
#pragma once
#include "passes/chunk/TileEmitter.h"

namespace llmc {

/// What a part makes, by the token: a result of the dispatch (`result`), something of type `type` for the parts that follow, or both, if
/// `stands` says for which value of the body they find it. Or what a part before it has made, number `updates`, with more of it written.
struct KernelOut {
  mlir::Type type;
  int64_t result = -1;
  mlir::Value stands = {};
  int64_t updates = -1;
};
/// One of the kernels that a dispatch takes: `body` makes `outs` of the dispatch's operands and of what the parts before it have made for
/// each other.
struct KernelPart {
  llvm::StringRef suffix;
  llvm::SmallVector<KernelOut> outs;
  std::function<void(TileEmitter &, TileBuilder &, mlir::ValueRange before)> body;
};

/// The parts in which a dispatch goes, if it does: numbers over many columns by parts of the columns and what joins them; a step's attention
/// over segments of the context, likewise; the delta rule of a prompt.
llvm::SmallVector<KernelPart> partsOf(llm::DispatchOp dispatch, mlir::Operation *root, const Tiles &sizes, bool isStep);

} // namespace llmc
