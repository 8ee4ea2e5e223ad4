// Deterministic arguments and weights for a function, made from its types and argument attributes.
//
//   llm.dims = ["T", "8*S", ...]  sizes of the dynamic dimensions; symbols T, S, SLOTS, CTX, CTXB
//   llm.limit = n                 integers are below n
//   llm.range = [low, high]       reals are uniform in that range instead of normal
//   llm.value = dense<...>        the very elements (f64 elements for any real type)
//   llm.rows = dense<...>         a table of sequences: (slot, first row, length, past) for each
//   llm.span = ["known", "end"]   a table with the rows that an engine would give it; bounds and settings then are of the same sessions
#pragma once
#include "dialect/reference/Evaluator.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace llmc::reference {

/// Sizes of the made-up call.
struct CallSizes {
  int64_t tokens = 65, sequences = 1;
  std::vector<int64_t> past; // per sequence; missing ones are 0
  int64_t context = 0;       // 0: as many positions as the sequences reach, and a block more
  uint64_t seed = 1;
};

/// `table` gets the call's sequences: (slot, first row, length, past) for each.
mlir::FailureOr<std::vector<Value>> makeArguments(mlir::func::FuncOp function, const CallSizes &sizes,
                                                  Tensor *table = nullptr);

/// What the first dimension of an argument counts: "T", "S", "SLOTS", "8*T", ...; empty if it is static.
std::string firstDimension(mlir::func::FuncOp function, unsigned argument);

/// (sequence, position) of each row of a call with these sequences.
Tensor positionsOf(const Tensor &table);

/// Normal numbers of deviation 1/sqrt(last dimension), those of vectors around 1, reproducible from the name
/// and as the storage type holds them.
WeightProvider makeWeights(uint64_t seed);

/// The elements of a dense attribute as a tensor of the given element kind.
Tensor tensorOf(mlir::DenseElementsAttr dense, Element element);

} // namespace llmc::reference
