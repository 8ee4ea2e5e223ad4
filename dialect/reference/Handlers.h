// How an op family plugs into the evaluator: each has one `add...` function that enters its ops in the table by name.
#pragma once
#include "dialect/reference/Evaluator.h"
#include "mlir/IR/Operation.h"
#include "llvm/ADT/StringMap.h"

namespace llmc::reference {

class Frame;

/// Who reads the elements of a tensor that the workgroups of an scf.forall share.
struct SharedReads {
  static constexpr int32_t kNobody = -1, kSeveral = -2;
  int32_t workgroup = 0;
  std::vector<int32_t> readers; // per element

  void note(int64_t at) { readers[at] = readers[at] == kNobody || readers[at] == workgroup ? workgroup : kSeveral; }
};

/// One op being evaluated: its operands' values, and where to put its results.
class Context {
public:
  mlir::Operation *op;
  llvm::MutableArrayRef<Value> operands; // the handler may move out of them
  llvm::SmallVectorImpl<Value> &results; // append one per result

  Context(Frame &frame, mlir::Operation *op, llvm::MutableArrayRef<Value> operands, llvm::SmallVectorImpl<Value> &results)
      : op(op), operands(operands), results(results), frame(frame) {}

  const Tensor &in(unsigned i) const { return operands[i].tensor(); }
  int64_t integer(unsigned i) const { return operands[i].integer(); }
  /// A real attribute of the op.
  double number(const llvm::APFloat &attribute) const;
  /// See Options.
  int64_t mostTrips() const;
  mlir::LogicalResult give(Value v) {
    results.push_back(std::move(v));
    return mlir::success();
  }
  mlir::InFlightDiagnostic error() { return op->emitError("reference evaluator: "); }

  /// Runs a block with these arguments (moved from) and returns what its terminator passes on.
  mlir::LogicalResult run(mlir::Block &block, llvm::MutableArrayRef<Value> arguments, llvm::SmallVectorImpl<Value> &passed);
  /// The value of an SSA value of an enclosing region.
  const Value &captured(mlir::Value v);
  /// Calls another function of the module.
  mlir::FailureOr<std::vector<Value>> call(llvm::StringRef function, llvm::ArrayRef<Value> arguments);
  /// Calls a kernel, telling who wants to know.
  mlir::FailureOr<std::vector<Value>> launch(mlir::func::FuncOp kernel, std::vector<Value> &arguments);
  mlir::FailureOr<Tensor> weight(llvm::StringRef name, llvm::ArrayRef<int64_t> shape, mlir::Type elementType);
  /// The body as a program on scalars, or null if it holds ops of another sort.
  const ScalarProgram *scalarBody(mlir::Block &block);
  /// The record of reads of this value, if it is a tensor shared by workgroups; else null.
  SharedReads *sharedReads(mlir::Value v);
  /// Makes `v` such a tensor until the caller erases the record.
  llvm::DenseMap<mlir::Value, SharedReads> &allSharedReads();
  /// Loop indices of the `linalg` op being run, innermost op last.
  std::vector<std::vector<int64_t>> &loopIndices();

private:
  Frame &frame;
};

using Handler = mlir::LogicalResult (*)(Context &);
using Handlers = llvm::StringMap<Handler>;

void addMath(Handlers &);
void addNorm(Handlers &);
void addMixer(Handlers &);
void addRouting(Handlers &);
void addDecoding(Handlers &);
void addCanvas(Handlers &);
void addPatch(Handlers &);
void addDispatch(Handlers &);
void addUpstreamControl(Handlers &);
void addUpstreamTensor(Handlers &);
/// All structured linalg ops, by interface and not by name.
mlir::LogicalResult evaluateLinalg(Context &);
void addUpstreamLinalg(Handlers &);

/// A row of the table of sequences.
struct Sequence {
  int64_t slot, first, length, past;
};

/// The table's sequences, checked against the number of rows and, if given, of slots and positions.
mlir::FailureOr<std::vector<Sequence>> sequencesOf(Context &c, const Value &table, int64_t rows, int64_t slots,
                                                   int64_t context = -1);

/// Shape and kind of a tensor type whose dynamic dimensions are filled from `sizes` in order.
Tensor tensorOfType(mlir::Type type, llvm::ArrayRef<int64_t> sizes, bool zero = false);
inline Element elementOfTensor(mlir::Type type) {
  return *elementOf(llvm::cast<mlir::RankedTensorType>(type).getElementType());
}

} // namespace llmc::reference
