// A model family: how a config.json becomes a module of `llm` ops. One .cpp per family; the list is in
// Families.cpp.
#pragma once
#include "models/Config.h"
#include "models/ModelBuilder.h"
#include "models/Tensors.h"

namespace llmc {

/// What a family makes of a configuration.
struct BuiltModel {
  mlir::OwningOpRef<mlir::ModuleOp> module;
  ModelFacts facts;
  /// Every tensor of the checkpoint that the module reads; stacked ones one by one.
  std::vector<TensorSpec> tensors;
  /// Tensors that may be in the checkpoint and are not needed (a copy of a tied head, buffers of older
  /// writers).
  std::vector<std::string> ignorable;
  /// For families whose tokenizer is a tiktoken file: the pattern that splits text, which the file does not
  /// hold, and how many special ids follow the ordinary ones.
  std::string tiktokenPattern;
  int64_t tiktokenSpecials = 0;
};

struct Family {
  const char *modelType;
  absl::StatusOr<BuiltModel> (*build)(mlir::MLIRContext &context, const ConfigReader &config,
                                      const WeightType &weightType);
  /// For families that add to another model: as `build`, of a base and of what is added in a directory of its
  /// own, whose configuration is `own`. Null for all others.
  absl::StatusOr<BuiltModel> (*buildOver)(mlir::MLIRContext &context, const ConfigReader &base,
                                          const ConfigReader &own, const WeightType &weightType) = nullptr;
};

/// The family of that `model_type`, or null.
const Family *findFamily(llvm::StringRef modelType);
/// "kimi_linear, llama": for messages; with `bases` only those that another family can add to.
std::string familyNames(bool bases = false);

/// Finishes `builder` and lists its tensors.
absl::StatusOr<BuiltModel> finishModel(ModelBuilder &builder, const ModelBuilder::Ends &ends,
                                       const ModelFacts &facts);

} // namespace llmc
