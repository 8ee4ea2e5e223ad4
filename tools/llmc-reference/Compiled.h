// Runs functions of a module as machine code on this machine: graph and chunk stages, kernels compiled for
// one CPU level, and a walk over the launches that executes their workgroups one after the other on real
// buffers.
#pragma once
#include "codegen/cpu/CpuTarget.h"
#include "dialect/reference/Evaluator.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/OwningOpRef.h"
#include <map>

namespace llmc::reference {

/// Dense elements in their storage type, 64-byte aligned, between guards of a pattern that reads as NaN.
class Buffer {
public:
  /// Filled with what nobody wrote: NaN, or the smallest integer.
  Buffer(Element element, llvm::ArrayRef<int64_t> shape);
  explicit Buffer(const Tensor &values);
  ~Buffer();
  Buffer(const Buffer &) = delete;
  std::shared_ptr<Buffer> copy() const;

  uint8_t *data() const { return memory + kGuard; }
  size_t bytes() const { return size; }
  size_t elementBytes() const;
  Tensor tensor() const;
  bool areGuardsWhole() const;

  Element element;
  llvm::SmallVector<int64_t, 4> shape;

private:
  static constexpr size_t kGuard = 4096;
  size_t guardAfter() const { return kGuard + (64 - size % 64) % 64; }
  uint8_t *memory;
  size_t size;
};

/// What an SSA value of a compiled function holds: a buffer, or the two of a table of sequences.
struct Passed {
  std::shared_ptr<Buffer> first, second;

  Passed() = default;
  Passed(std::shared_ptr<Buffer> buffer) : first(std::move(buffer)) {}
  explicit Passed(const Value &v);
};

/// The module's tile programs: a copy taken through the stages that it has not seen yet; null after a
/// diagnostic.
mlir::OwningOpRef<mlir::ModuleOp> lowerToTiles(mlir::ModuleOp module);

/// The kernels of a module of tile programs as code of one level.
class Compiled {
public:
  static llvm::Expected<std::unique_ptr<Compiled>> create(mlir::ModuleOp tiles, const CpuLevel &level,
                                                          WeightProvider weights);
  ~Compiled();

  enum class Order { Rising, Falling };
  /// Runs a function. States are updated in place, so arguments that are states hold the new ones afterwards.
  /// Reports what a launch does to memory that is not its to write.
  mlir::FailureOr<std::vector<Passed>> run(llvm::StringRef function, llvm::ArrayRef<Passed> arguments,
                                           Order order = Order::Rising);

private:
  Compiled(mlir::ModuleOp tiles, WeightProvider weights) : tiles(tiles), weights(std::move(weights)) {}
  using Values = llvm::DenseMap<mlir::Value, Passed>;
  mlir::LogicalResult execute(mlir::Operation &op, Values &values, Order order);
  mlir::LogicalResult launch(mlir::Operation &op, Values &values, Order order);
  mlir::FailureOr<Passed> weight(mlir::Operation &op);

  mlir::ModuleOp tiles;
  WeightProvider weights;
  std::map<mlir::Operation *, Passed> stored; // by llm.weight
  std::map<std::pair<mlir::Operation *, std::vector<std::shared_ptr<Buffer>>>, Passed>
      packed; // by llm.pack and what it packs
  void *library = nullptr;
};

} // namespace llmc::reference
