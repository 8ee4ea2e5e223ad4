// Names of a model's values as a user knows them: by the tensors of the checkpoint that make them.
#pragma once
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include <map>
#include <string>
#include <vector>

namespace llmc {

/// Names of the values of one call of a function (or of a program):
///
///   a linear, a norm, a short convolution, an embedding   its weight: "model.layers.3.self_attn.q_proj"
///   any other op                                          the op, and the last such value before it:
///                                                         "model.layers.3.add(self_attn.o_proj)"
///
/// The beginning that all tensors of the call share ("model.layers.3.") comes first in all of its names; equal
/// names are numbered.
class ValueNames {
public:
  ValueNames() = default;
  /// Of the function that `call` calls, from the function whose names are `caller`.
  ValueNames(const ValueNames &caller, mlir::func::CallOp call);

  /// The name of a result; ask for each once, in order.
  std::string of(mlir::OpResult result);

private:
  std::string tensorOf(mlir::Value weight) const;
  std::string shortName(mlir::OpResult result);

  std::string prefix_;
  std::vector<std::string> arguments_; ///< tensor that a function argument is, or ""
  std::map<std::string, unsigned> uses_;
  std::map<mlir::Operation *, std::string> roots_; ///< by op: the weight's name in its own
};

} // namespace llmc
