// ConfigReader: typed access to config.json with a record of errors and of the keys read.
#include "models/Config.h"

#include "models/Json.h"

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include <algorithm>
#include <cmath>

namespace llmc {

struct ConfigReader::Document {
  std::string fileName;
  JsonValue root;
  std::vector<std::string> errors;
  absl::flat_hash_set<const JsonValue *> read;    // values somebody asked for
  absl::flat_hash_set<const JsonValue *> entered; // objects somebody reads key by key
};

namespace {

constexpr size_t kMaxConfigBytes = size_t{4} << 20; // the largest published ones are some 100 KB
constexpr int kMaxConfigDepth = 32;
constexpr size_t kMaxErrorLines = 20;

/// The upper bound is left out where it is one that only damaged files exceed and `found` does not.
std::string rangeText(IntRange range, double found = 0) {
  bool isWide = range.max >= IntRange().max;
  if (isWide && found <= static_cast<double>(range.max))
    return absl::StrCat("an integer of at least ", range.min);
  return absl::StrCat("an integer from ", range.min, " to ", range.max);
}

std::string rangeText(FloatRange range) {
  bool hasMin = range.min != FloatRange().min, hasMax = range.max != FloatRange().max;
  if (hasMin && hasMax)
    return absl::StrCat("a number from ", range.min, " to ", range.max);
  if (hasMin)
    return absl::StrCat("a number of at least ", range.min);
  return hasMax ? absl::StrCat("a number of at most ", range.max) : "a number";
}

std::string joinErrors(const std::vector<std::string> &errors) {
  if (errors.size() <= kMaxErrorLines)
    return absl::StrJoin(errors, "\n");
  return absl::StrCat(absl::StrJoin(errors.begin(), errors.begin() + kMaxErrorLines, "\n"), "\n... and ",
                      errors.size() - kMaxErrorLines, " more");
}

} // namespace

absl::StatusOr<ConfigReader> ConfigReader::parse(std::string_view text, const std::string &fileName) {
  if (text.size() > kMaxConfigBytes)
    return absl::InvalidArgumentError(absl::StrCat(fileName, ": expects at most ", kMaxConfigBytes,
                                                   " bytes, found ", text.size(),
                                                   ": this is not a model configuration"));
  absl::StatusOr<JsonValue> root = parseJsonTree(text, kMaxConfigDepth);
  if (!root.ok())
    return absl::InvalidArgumentError(
        absl::StrCat(fileName, ": ", root.status().message(), ": download the file again or correct it"));
  if (root->kind != JsonKind::BeginObject)
    return absl::InvalidArgumentError(
        absl::StrCat(fileName, ": expects a JSON object, found ", describe(*root)));
  auto document = std::make_shared<Document>();
  document->fileName = fileName;
  document->root = std::move(*root);
  document->entered.insert(&document->root);
  const JsonValue *object = &document->root;
  return ConfigReader(std::move(document), object, "");
}

const std::string &ConfigReader::fileName() const { return document->fileName; }

bool ConfigReader::has(const std::string &key) const {
  const JsonValue *value = object ? object->find(key) : nullptr;
  return value && value->kind != JsonKind::Null;
}

std::string ConfigReader::presentKey(const std::vector<std::string> &keys) const {
  for (const std::string &key : keys)
    if (has(key))
      return key;
  return keys.empty() ? std::string() : keys.front();
}

/// The value of `key`, marked as read; null when absent or null in the file.
const JsonValue *ConfigReader::read(const std::string &key) const {
  const JsonValue *value = object ? object->find(key) : nullptr;
  if (!value)
    return nullptr;
  document->read.insert(value);
  return value->kind == JsonKind::Null ? nullptr : value;
}

const JsonValue *ConfigReader::require(const std::string &key, const std::string &expected) const {
  const JsonValue *value = read(key);
  if (!value && object)
    document->errors.push_back(absl::StrCat(document->fileName, ": key ", inQuotes(path + key),
                                            " is missing: expects ", expected,
                                            "; the file is incomplete or of another model family"));
  return value;
}

void ConfigReader::mismatch(const std::string &key, const JsonValue &value,
                            const std::string &expected) const {
  document->errors.push_back(absl::StrCat(document->fileName, ": key ", inQuotes(path + key), ": expects ",
                                          expected, ", found ", describe(value)));
}

int64_t ConfigReader::toInt(const std::string &key, const JsonValue &value, IntRange range) const {
  if (value.kind == JsonKind::Integer && value.integer >= range.min && value.integer <= range.max)
    return value.integer;
  mismatch(key, value, rangeText(range, value.number));
  return std::clamp<int64_t>(0, range.min, range.max);
}

double ConfigReader::toFloat(const std::string &key, const JsonValue &value, FloatRange range) const {
  bool isNumber = value.kind == JsonKind::Integer || value.kind == JsonKind::Number;
  if (isNumber && value.number >= range.min && value.number <= range.max)
    return value.number;
  mismatch(key, value, rangeText(range));
  return std::clamp(0.0, range.min, range.max);
}

bool ConfigReader::toBool(const std::string &key, const JsonValue &value) const {
  if (value.kind == JsonKind::Boolean)
    return value.boolean;
  mismatch(key, value, "true or false");
  return false;
}

std::string ConfigReader::toString(const std::string &key, const JsonValue &value) const {
  if (value.kind == JsonKind::String)
    return value.text;
  mismatch(key, value, "a string");
  return "";
}

std::vector<int64_t> ConfigReader::toInts(const std::string &key, const JsonValue &value,
                                          IntRange elements) const {
  std::vector<int64_t> result;
  bool good = value.kind == JsonKind::BeginArray;
  for (const JsonValue &item : value.items) {
    good &= item.kind == JsonKind::Integer && item.integer >= elements.min && item.integer <= elements.max;
    result.push_back(item.integer);
  }
  if (good)
    return result;
  mismatch(key, value, absl::StrCat("a list, each element ", rangeText(elements)));
  return {};
}

int64_t ConfigReader::getInt(const std::string &key, IntRange range) const {
  const JsonValue *value = require(key, rangeText(range));
  return value ? toInt(key, *value, range) : std::clamp<int64_t>(0, range.min, range.max);
}

int64_t ConfigReader::getIntOr(const std::string &key, int64_t fallback, IntRange range) const {
  return getOptionalInt(key, range).value_or(fallback);
}

std::optional<int64_t> ConfigReader::getOptionalInt(const std::string &key, IntRange range) const {
  const JsonValue *value = read(key);
  return value ? std::optional<int64_t>(toInt(key, *value, range)) : std::nullopt;
}

double ConfigReader::getFloat(const std::string &key, FloatRange range) const {
  const JsonValue *value = require(key, rangeText(range));
  return value ? toFloat(key, *value, range) : std::clamp(0.0, range.min, range.max);
}

double ConfigReader::getFloatOr(const std::string &key, double fallback, FloatRange range) const {
  return getOptionalFloat(key, range).value_or(fallback);
}

std::optional<double> ConfigReader::getOptionalFloat(const std::string &key, FloatRange range) const {
  const JsonValue *value = read(key);
  return value ? std::optional<double>(toFloat(key, *value, range)) : std::nullopt;
}

bool ConfigReader::getBool(const std::string &key) const {
  const JsonValue *value = require(key, "true or false");
  return value && toBool(key, *value);
}

bool ConfigReader::getBoolOr(const std::string &key, bool fallback) const {
  const JsonValue *value = read(key);
  return value ? toBool(key, *value) : fallback;
}

std::string ConfigReader::getString(const std::string &key) const {
  const JsonValue *value = require(key, "a string");
  return value ? toString(key, *value) : "";
}

std::string ConfigReader::getStringOr(const std::string &key, const std::string &fallback) const {
  const JsonValue *value = read(key);
  return value ? toString(key, *value) : fallback;
}

std::vector<int64_t> ConfigReader::getInts(const std::string &key, IntRange elements) const {
  const JsonValue *value = require(key, absl::StrCat("a list, each element ", rangeText(elements)));
  return value ? toInts(key, *value, elements) : std::vector<int64_t>();
}

std::vector<int64_t> ConfigReader::getIntsOr(const std::string &key, std::vector<int64_t> fallback,
                                             IntRange elements) const {
  const JsonValue *value = read(key);
  return value ? toInts(key, *value, elements) : fallback;
}

std::vector<int64_t> ConfigReader::getIntOrInts(const std::string &key, IntRange elements) const {
  const JsonValue *value = read(key);
  if (!value)
    return {};
  if (value->kind == JsonKind::BeginArray)
    return toInts(key, *value, elements);
  return {toInt(key, *value, elements)};
}

std::vector<std::string> ConfigReader::getStringsOr(const std::string &key,
                                                    std::vector<std::string> fallback) const {
  const JsonValue *value = read(key);
  if (!value)
    return fallback;
  std::vector<std::string> result;
  bool good = value->kind == JsonKind::BeginArray;
  for (const JsonValue &item : value->items) {
    good &= item.kind == JsonKind::String;
    result.push_back(item.text);
  }
  if (good)
    return result;
  mismatch(key, *value, "a list of strings");
  return {};
}

ConfigReader ConfigReader::getObject(const std::string &key) const {
  if (require(key, "an object"))
    if (std::optional<ConfigReader> nested = getOptionalObject(key))
      return *nested;
  return ConfigReader(document, nullptr, absl::StrCat(path, key, "."));
}

std::optional<ConfigReader> ConfigReader::getOptionalObject(const std::string &key) const {
  const JsonValue *value = read(key);
  if (!value)
    return std::nullopt;
  if (value->kind != JsonKind::BeginObject) {
    mismatch(key, *value, "an object");
    return std::nullopt;
  }
  document->entered.insert(value);
  return ConfigReader(document, value, absl::StrCat(path, key, "."));
}

void ConfigReader::ignore(const std::string &key) const { read(key); }

void ConfigReader::fail(const std::string &key, const std::string &message) const {
  const JsonValue *value = read(key);
  document->errors.push_back(absl::StrCat(document->fileName, ": key ", inQuotes(path + key), " is ",
                                          value ? describe(*value) : "absent", ": ", message));
}

absl::Status ConfigReader::status() const {
  return document->errors.empty() ? absl::OkStatus()
                                  : absl::InvalidArgumentError(joinErrors(document->errors));
}

absl::Status ConfigReader::finish(const std::vector<std::string> &harmless) const {
  absl::flat_hash_set<std::string> known(commonHarmlessKeys().begin(), commonHarmlessKeys().end());
  known.insert(harmless.begin(), harmless.end());
  std::vector<std::string> errors = document->errors;
  // Objects still to look at, in the order of the file; no recursion needed because depth does not matter.
  std::vector<std::pair<std::string, const JsonValue *>> open = {{"", &document->root}};
  for (size_t i = 0; i < open.size(); ++i) {
    auto [prefix, outer] = open[i];
    for (const auto &[key, value] : outer->members) {
      std::string full = prefix + key;
      if (value.kind == JsonKind::Null || known.contains(full))
        continue;
      if (document->entered.contains(&value))
        open.emplace_back(full + ".", &value);
      else if (!document->read.contains(&value))
        errors.push_back(absl::StrCat(document->fileName, ": key ", inQuotes(full),
                                      " is not known for this model family, found ", describe(value)));
    }
  }
  if (errors.empty())
    return absl::OkStatus();
  const char *advice =
      errors.size() == document->errors.size()
          ? ""
          : "\nkeys that are not known could change the results: remove those without effect, else "
            "the model is not supported";
  return absl::InvalidArgumentError(absl::StrCat(joinErrors(errors), advice));
}

const std::vector<std::string> &commonHarmlessKeys() {
  static const std::vector<std::string> kKeys = {"_name_or_path",
                                                 "architectures",
                                                 "auto_map",
                                                 "attention_dropout",
                                                 "bos_token_id",
                                                 "chunk_size_feed_forward",
                                                 "classifier_dropout",
                                                 "dtype",
                                                 "embd_pdrop",
                                                 "eos_token_id",
                                                 "finetuning_task",
                                                 "hidden_dropout",
                                                 "id2label",
                                                 "initializer_range",
                                                 "is_decoder",
                                                 "label2id",
                                                 "model_type",
                                                 "output_attentions",
                                                 "output_hidden_states",
                                                 "output_router_logits",
                                                 "pad_token_id",
                                                 "pretraining_tp",
                                                 "resid_pdrop",
                                                 "return_dict",
                                                 "router_aux_loss_coef",
                                                 "task_specific_params",
                                                 "torch_dtype",
                                                 "transformers_version",
                                                 "unsloth_fixed",
                                                 "unsloth_version",
                                                 "use_cache"};
  return kKeys;
}

} // namespace llmc
