// Which values of a model (as import stage text says it) the dispatches of its compiled programs write: what
// `llmc verify` can look at. Found by taking the model through the graph, chunk and plan stages with every op
// marked by a location, which passes keep.
#pragma once
#include "absl/status/statusor.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include <map>
#include <string>
#include <vector>

namespace llmc {

/// A result of an op in one call of its function, in the order in which a program computes them.
struct ModelValue {
  mlir::OpResult result;
  std::string name; ///< as the checkpoint calls things: "model.layers.3.self_attn.q_proj"
};

/// A buffer that a dispatch writes and what lies in it.
struct Crossing {
  size_t step;   ///< of the program
  size_t buffer; ///< place in the dispatch's list
  std::string kernel;
  struct Part {
    size_t value;   ///< among the program's values
    int64_t column; ///< where its columns begin in the buffer's rows; -1: it is the whole buffer
  };
  std::vector<Part> parts;
};

struct ProgramMap {
  std::vector<ModelValue> values;
  std::vector<Crossing> crossings; ///< in the order of the steps
  size_t hidden = 0;               ///< computed values that no buffer holds: fused into kernels
};

class ModelMap {
public:
  /// `model` is at the import stage; its ops get new locations.
  static absl::StatusOr<ModelMap> create(mlir::ModuleOp model);

  mlir::ModuleOp planned() { return *planned_; }
  const ProgramMap &program(const std::string &name) const { return programs_.at(name); }

private:
  mlir::OwningOpRef<mlir::ModuleOp> planned_;
  std::map<std::string, ProgramMap> programs_;
};

} // namespace llmc
