// See Import.h.
#include "frontends/huggingface/Import.h"
#include "frontends/huggingface/Files.h"
#include "models/Json.h"
#include "mlir/IR/BuiltinTypes.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include <cmath>

using namespace mlir;
namespace llmc {
namespace {

/// The special tokens of tokenizer_config.json, each a text or an object with the text as "content".
std::string namedTokens(const JsonValue &config) {
  llvm::json::Object names;
  for (const char *key :
       {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}) {
    const JsonValue *value = config.find(key);
    if (const JsonValue *content = value ? value->find("content") : nullptr)
      value = content;
    if (value && value->kind == JsonKind::String)
      names[key] = value->text;
  }
  return names.empty() ? "" : llvm::formatv("{0}", llvm::json::Value(std::move(names))).str();
}

/// What tokenizer_config.json adds: the chat template if it has no file of its own, and the names of a
/// tiktoken vocabulary's special ids.
absl::Status readTokenizerConfig(const std::string &directory, ImportedModel &model) {
  TokenizerFiles &files = model.tokenizer;
  JsonValue config;
  if (files.tokenizerConfig) {
    absl::StatusOr<JsonValue> parsed = parseJsonTree(*files.tokenizerConfig, 64);
    if (!parsed.ok())
      return absl::InvalidArgumentError(directory +
                                        "/tokenizer_config.json: " + std::string(parsed.status().message()) +
                                        ": download the file again");
    config = std::move(*parsed);
  }
  model.namedTokens = namedTokens(config);
  const JsonValue *chat = config.find("chat_template");
  if (!files.chatTemplate && chat) {
    if (chat->kind == JsonKind::String)
      files.chatTemplate = chat->text;
    for (const JsonValue &item : chat->items) // a list of named ones
      if (const JsonValue *name = item.find("name"), *text = item.find("template");
          name && text && name->text == "default")
        files.chatTemplate = text->text;
  }
  if (!files.tiktokenModel || model.model.tiktokenPattern.empty())
    return absl::OkStatus();
  // One line a token, in the order of their ids.
  StringRef text(*files.tiktokenModel);
  uint32_t first = text.count('\n') + (!text.empty() && text.back() != '\n');
  const JsonValue *names = config.find("added_tokens_decoder");
  for (uint32_t id = first; id < first + model.model.tiktokenSpecials; ++id) {
    std::string content = "<|reserved_token_" + std::to_string(id) + "|>";
    if (const JsonValue *entry = names ? names->find(std::to_string(id)) : nullptr)
      if (const JsonValue *given = entry->find("content"))
        content = given->text;
    model.tiktokenSpecials.push_back({id, content});
  }
  return absl::OkStatus();
}

/// The tokens that begin and end a text must be some of the model's.
absl::Status checkTokens(const ImportedModel &model, const std::string &directory) {
  auto check = [&](const char *key, int64_t token) -> absl::Status {
    if (token < model.model.facts.vocab)
      return absl::OkStatus();
    return absl::InvalidArgumentError(
        directory + ": " + key + " is " + std::to_string(token) + ", outside the vocabulary of " +
        std::to_string(model.model.facts.vocab) +
        " tokens; correct it in generation_config.json or, where that has none, in config.json");
  };
  for (int64_t token : model.generation.eosTokens)
    if (absl::Status status = check("eos_token_id", token); !status.ok())
      return status;
  return model.generation.bosToken ? check("bos_token_id", *model.generation.bosToken) : absl::OkStatus();
}

/// Settings whose default generation_config.json gives take it from there.
absl::Status setDefaults(ImportedModel &model, const std::string &path) {
  absl::StatusOr<ConfigReader> file = ConfigReader::parse(model.generationText, path);
  if (!file.ok())
    return file.status();
  ModuleOp module = *model.model.module;
  SmallVector<Attribute> settings(module->getAttrOfType<ArrayAttr>("llm.settings").getValue());
  for (auto [setting, attr] : llvm::zip_equal(model.model.settings, settings)) {
    std::optional<double> given = setting.key.empty() ? std::nullopt : file->getOptionalFloat(setting.key);
    if (!given)
      continue;
    if (!(*given >= setting.least && *given <= setting.most) || (setting.isWhole && *given != std::floor(*given)))
      file->fail(setting.key, llvm::formatv("must be a {0}number from {1} to {2}", setting.isWhole ? "whole " : "", (int64_t)setting.least,
                                            (int64_t)setting.most));
    NamedAttrList entries(cast<DictionaryAttr>(attr));
    entries.set("standard", Builder(module.getContext()).getF64FloatAttr(*given));
    attr = entries.getDictionary(module.getContext());
  }
  module->setAttr("llm.settings", ArrayAttr::get(module.getContext(), settings));
  return file->status();
}

/// The family that the configuration names.
absl::StatusOr<const Family *> familyOf(const ConfigReader &config) {
  absl::StatusOr<const Family *> family = findFamily(config);
  if (family.ok() && config.has("quantization_config"))
    return absl::UnimplementedError(
        config.fileName() +
        ": key \"quantization_config\": quantized checkpoints are not supported; use the BF16 or F32 one");
  return family;
}

} // namespace

absl::StatusOr<ImportedModel> importHuggingFace(MLIRContext &context, const std::string &directory,
                                                bool weights, const std::string &heads) {
  absl::StatusOr<ConfigReader> config = readConfig(directory);
  if (!config.ok())
    return config.status();
  absl::StatusOr<const Family *> family = familyOf(*config);
  if (!family.ok())
    return family.status();
  std::optional<ConfigReader> headsConfig;
  const Family *added = nullptr;
  if (!heads.empty()) {
    absl::StatusOr<ConfigReader> read = readConfig(heads);
    if (!read.ok())
      return read.status();
    headsConfig = std::move(*read);
    absl::StatusOr<const Family *> found = familyOf(*headsConfig);
    if (!found.ok())
      return found.status();
    added = *found;
    if (!added->buildOver || (*family)->buildOver) {
      const ConfigReader &wrong = added->buildOver ? *config : *headsConfig;
      return absl::InvalidArgumentError(wrong.fileName() + ": key \"model_type\" is \"" +
                                        (added->buildOver ? *family : added)->modelType +
                                        "\": --heads adds autodeco's heads to a base of another family");
    }
  }

  ImportedModel result;
  if (weights) {
    absl::StatusOr<Checkpoint> checkpoint = Checkpoint::open(directory);
    if (!checkpoint.ok())
      return checkpoint.status();
    result.checkpoint = std::move(*checkpoint);
    if (!heads.empty())
      if (absl::Status status = result.checkpoint->add(heads); !status.ok())
        return status;
  }
  std::string dtype = config->getStringOr(config->presentKey({"dtype", "torch_dtype"}), "bfloat16");
  if (!weights && dtype != "bfloat16" && dtype != "float16" && dtype != "float32")
    config->fail(config->presentKey({"dtype", "torch_dtype"}),
                 "without weights it must be bfloat16, float16 or float32");
  auto weightType = [&](StringRef name) -> Type {
    if (name.empty()) // what to assume of tensors that are not there
      return dtype == "float32"   ? Type(Float32Type::get(&context))
             : dtype == "float16" ? Type(Float16Type::get(&context))
                                  : Type(BFloat16Type::get(&context));
    const CheckpointTensor *tensor = result.checkpoint ? result.checkpoint->find(name.str()) : nullptr;
    if (!tensor)
      return {};
    if (tensor->type == StoredType::F32)
      return Float32Type::get(&context);
    if (tensor->type == StoredType::F16)
      return Float16Type::get(&context);
    return BFloat16Type::get(&context); // what is missing or of another type is reported below
  };
  absl::StatusOr<BuiltModel> model = added ? added->buildOver(context, *config, *headsConfig, weightType)
                                           : (*family)->build(context, *config, weightType);
  if (absl::IsUnimplemented(model.status())) // about tensors, of which a family knows the names only
    return absl::UnimplementedError(directory + ": " + std::string(model.status().message()));
  if (!model.ok())
    return model.status();
  result.model = std::move(*model);
  if (result.checkpoint) {
    const auto &ignorable = result.model.ignorable;
    auto ignored = [&](const std::string &name) { return llvm::is_contained(ignorable, name); };
    if (absl::Status status = result.checkpoint->check(result.model.tensors, {ignored}); !status.ok())
      return status;
  }
  absl::StatusOr<GenerationConfig> generation = readGenerationConfig(directory, *config);
  if (!generation.ok())
    return generation.status();
  result.generation = *generation;
  if (absl::Status status = checkTokens(result, directory); !status.ok())
    return status;
  std::string path = directory + "/generation_config.json";
  if (fileExists(path)) {
    absl::StatusOr<std::string> text = readFile(path, 1 << 20);
    if (!text.ok())
      return text.status();
    result.generationText = *text;
    if (!result.model.settings.empty())
      if (absl::Status status = setDefaults(result, path); !status.ok())
        return status;
  }
  absl::StatusOr<TokenizerFiles> tokenizer = readTokenizerFiles(directory);
  if (!tokenizer.ok())
    return tokenizer.status();
  result.tokenizer = std::move(*tokenizer);
  if (absl::Status status = readTokenizerConfig(directory, result); !status.ok())
    return status;
  return result;
}

} // namespace llmc
