// The list of families.
#include "models/Family.h"
#include "llvm/ADT/StringExtras.h"

namespace llmc {

extern const Family kAutoDeco, kKimiLinear, kLlama, kQwen2, kQwen3, kQwen3Moe;
static const Family *const kFamilies[] = {&kAutoDeco, &kKimiLinear, &kLlama, &kQwen2, &kQwen3, &kQwen3Moe};

const Family *findFamily(llvm::StringRef modelType) {
  for (const Family *family : kFamilies)
    if (modelType == family->modelType)
      return family;
  return nullptr;
}

std::string familyNames(bool bases) {
  std::vector<std::string> names;
  for (const Family *family : kFamilies)
    if (!bases || !family->buildOver)
      names.push_back(family->modelType);
  return llvm::join(names, ", ");
}

absl::StatusOr<BuiltModel> finishModel(ModelBuilder &builder, const ModelBuilder::Ends &ends,
                                       const ModelFacts &facts) {
  BuiltModel model;
  model.module = builder.finish(ends, facts);
  if (!model.module)
    return absl::InternalError("the model's module does not verify");
  model.facts = facts;
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
