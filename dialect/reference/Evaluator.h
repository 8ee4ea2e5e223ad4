// The reference evaluator: runs functions of a module in double precision. It defines what the llm ops mean, and gives
// the same meaning to the tile programs that passes make of them.
//
// f32 values are kept as doubles without rounding. Rounding happens only where the IR asks for it: truncf to bf16 or f16,
// extf from f32 to f64 (code that widens a float32 explicitly means the float32), bitcasts, and where an llm op's
// description says so.
#pragma once
#include "dialect/reference/Tensor.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Support/LogicalResult.h"
#include <functional>
#include <memory>

namespace llmc::reference {

/// What an SSA value holds: a scalar, a tensor (copied when written while shared), or a table of sequences.
class Value {
public:
  Value() = default;
  Value(Cell scalar) : cell(scalar) {}
  Value(Tensor tensor) : first(std::make_shared<Tensor>(std::move(tensor))) {}
  /// The table of a call's sequences: `where [T, 2]` and `rows [S, 4]`, both i32 (see `!llm.sequences`).
  static Value sequences(Tensor where, Tensor rows) {
    Value v(std::move(where));
    v.second = std::make_shared<Tensor>(std::move(rows));
    return v;
  }

  bool isTensor() const { return first && !second; }
  bool isSequences() const { return first && second; }
  bool isScalar() const { return !first; }

  double real() const { return cell.real; }
  int64_t integer() const { return cell.integer; }
  Cell scalar() const { return cell; }
  const Tensor &tensor() const { return *first; }
  const Tensor &where() const { return *first; }
  const Tensor &rows() const { return *second; }

  /// The tensor for writing; copies it first if another value shares it.
  Tensor &writable() {
    if (first.use_count() > 1)
      first = std::make_shared<Tensor>(*first);
    return *first;
  }

private:
  Cell cell = integerCell(0);
  std::shared_ptr<Tensor> first, second;
};

/// Gives the elements of the checkpoint tensor `name`, already of the wanted shape and kind. Stacked weights ask once
/// per member, with the member's number in the name.
using WeightProvider =
    std::function<mlir::FailureOr<Tensor>(llvm::StringRef name, llvm::ArrayRef<int64_t> shape, mlir::Type elementType)>;

struct Options {
  /// Called with every result of every op that is run, except inside bodies that are evaluated element by element
  /// (`llm.map`, `linalg.generic`).
  std::function<void(mlir::OpResult, const Value &)> afterResult;
  /// Called before every launch of a kernel, with its arguments, which it may change, and after it with its results.
  std::function<void(mlir::func::FuncOp kernel, std::vector<Value> &arguments)> beforeLaunch;
  std::function<void(mlir::func::FuncOp kernel, llvm::ArrayRef<Value> results)> afterLaunch;
  /// Takes real attributes of llm ops (scales, epsilons) as the float32 that kernels hold. What remains of a difference between
  /// an op and its kernel is then not the rounding of constants.
  bool hasFloat32Attributes = false;
  /// Trips of each loop of a program (not of those in kernels). Fewer than it wants are enough where only its launches are of interest.
  int64_t mostTrips = INT64_MAX;
};

class Context;
struct Program;
struct ScalarProgram;

class Evaluator {
public:
  Evaluator(mlir::ModuleOp module, WeightProvider weights, Options options = {});
  ~Evaluator();

  /// Runs a function. Errors (an unknown function, an op without evaluation, an index out of bounds, two workgroups that
  /// write one element) are reported as diagnostics on the op.
  mlir::FailureOr<std::vector<Value>> call(llvm::StringRef function, llvm::ArrayRef<Value> arguments);

private:
  friend class Context;
  friend class Frame;
  mlir::ModuleOp module;
  WeightProvider weights;
  Options options;
  llvm::DenseMap<mlir::Operation *, std::unique_ptr<Program>> programs; // by function
  llvm::DenseMap<mlir::Block *, std::unique_ptr<ScalarProgram>> bodies; // element by element; null: not only scalars
};

} // namespace llmc::reference
