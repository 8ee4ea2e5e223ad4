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
  /// Of models that fill masks.
  std::vector<Setting> settings;
  /// For families whose tokenizer is a tiktoken file: the pattern that splits text, which the file does not
  /// hold, and how many special ids follow the ordinary ones.
  std::string tiktokenPattern;
  int64_t tiktokenSpecials = 0;
};

struct Family {
  const char *modelType;
  /// `architectures[0]` of its checkpoints, for families that share a model_type or have none; null: any.
  const char *architecture;
  absl::StatusOr<BuiltModel> (*build)(mlir::MLIRContext &context, const ConfigReader &config,
                                      const WeightType &weightType);
  /// For families that add to another model: as `build`, of a base and of what is added in a directory of its
  /// own, whose configuration is `own`. Null for all others.
  absl::StatusOr<BuiltModel> (*buildOver)(mlir::MLIRContext &context, const ConfigReader &base,
                                          const ConfigReader &own, const WeightType &weightType) = nullptr;
};

/// The family of that architecture, else of that `model_type`, or null; either may be empty.
const Family *findFamily(llvm::StringRef modelType, llvm::StringRef architecture = "");
/// That of a configuration, or an error that names those known.
absl::StatusOr<const Family *> findFamily(const ConfigReader &config);
/// "kimi_linear, llama": for messages; with `bases` only those that another family may add to.
std::string familyNames(bool bases = false);

/// An error where `layers` of `experts` each are more than any machine holds: every expert has a name and a
/// place.
void checkExperts(const ConfigReader &config, const std::string &key, int64_t layers, int64_t experts);

/// Finishes `builder` and lists its tensors.
absl::StatusOr<BuiltModel> finishModel(ModelBuilder &builder, const ModelBuilder::Ends &ends,
                                       const ModelFacts &facts);

} // namespace llmc
