// The list of families.
#include "models/Family.h"
#include "llvm/ADT/StringExtras.h"

namespace llmc {

extern const Family kAutoDeco, kAutoencoder, kCalm, kDiffLm, kDream, kFastDllm, kKimiLinear, kLlada, kLlada2, kLladaMoe, kLlama, kQwen2, kQwen3, kQwen3Moe, kSdar,
    kSdarMoe;
static const Family *const kFamilies[] = {&kAutoDeco, &kAutoencoder, &kCalm, &kDiffLm, &kDream, &kFastDllm, &kKimiLinear, &kLlada, &kLlada2, &kLladaMoe, &kLlama,
                                          &kQwen2,  &kQwen3, &kQwen3Moe,   &kSdar, &kSdarMoe};

const Family *findFamily(llvm::StringRef modelType, llvm::StringRef architecture) {
  for (const Family *family : kFamilies)
    if (family->architecture && architecture == family->architecture)
      return family;
  for (const Family *family : kFamilies)
    if (!family->architecture && modelType == family->modelType)
      return family;
  return nullptr;
}

absl::StatusOr<const Family *> findFamily(const ConfigReader &config) {
  std::vector<std::string> architectures = config.getStringsOr("architectures", {});
  std::string architecture = architectures.empty() ? "" : architectures.front();
  if (const Family *family = findFamily("", architecture)) // some checkpoints have no model_type
    return family;
  std::string modelType = config.getString("model_type");
  if (absl::Status status = config.status(); !status.ok())
    return status;
  if (const Family *family = findFamily(modelType, architecture))
    return family;
  return absl::UnimplementedError(config.fileName() + ": key \"model_type\" is \"" + modelType +
                                  "\", a family that llmc does not know; it knows " + familyNames());
}

std::string familyNames(bool bases) {
  std::vector<std::string> names;
  for (const Family *family : kFamilies)
    if (!bases || !family->buildOver)
      names.push_back(family->modelType);
  return llvm::join(names, ", ");
}

void checkExperts(const ConfigReader &config, const std::string &key, int64_t layers, int64_t experts) {
  constexpr int64_t kMaxExperts = 1 << 18; // the largest published model has 23,000
  if (layers * experts > kMaxExperts)
    config.fail(key, "with " + std::to_string(layers) + " layers these are more than " +
                         std::to_string(kMaxExperts) + " experts in all");
}

absl::StatusOr<BuiltModel> finishModel(ModelBuilder &builder, const ModelBuilder::Ends &ends,
                                       const ModelFacts &facts) {
  BuiltModel model;
  model.module = builder.finish(ends, facts);
  if (!model.module)
    return absl::InternalError("the model's module does not verify");
  model.facts = facts;
  if (ends.canvas)
    model.settings = ends.canvas->settings;
  for (const LayerWeight &w : builder.tensors()) {
    TensorSpec spec{w.name, {w.shape.begin(), w.shape.end()}, false, {}};
    for (const auto &shape : w.alternatives)
      spec.alternatives.push_back({shape.begin(), shape.end()});
    for (int64_t e = 0; e < std::max<int64_t>(w.stack, 1); ++e) {
      if (w.stack) {
        auto [before, after] = llvm::StringRef(w.name).split("{}");
        spec.name = (before + llvm::Twine(e) + after).str();
        std::string first = (before + "0" + after).str();
        if (builder.has(spec.name) && builder.has(first) &&
            builder.storedType(spec.name) != builder.storedType(first))
          return absl::UnimplementedError(
              "tensor \"" + spec.name + "\" is not of the type of \"" + first +
              "\": experts of one layer must be stored alike; convert the checkpoint to one type");
      }
      model.tensors.push_back(spec);
    }
  }
  if (ends.head == ends.embedding)
    model.ignorable.push_back("lm_head.weight");
  return model;
}

} // namespace llmc
