// Typed, checked reading of a model's config.json by the model families. Knows JSON text, not directories.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace llmc {

struct JsonValue;

/// The default is that of sizes: far above any published model, and products of three still fit 64 bits twice
/// over.
struct IntRange {
  int64_t min = 1;
  int64_t max = int64_t(1) << 24;
};
/// Context lengths; the bound is that of the artifact.
inline constexpr IntRange kContextRange = {1, int64_t(1) << 30};

struct FloatRange {
  double min = std::numeric_limits<double>::lowest();
  double max = std::numeric_limits<double>::max();
};

/// A view of one object of the file. Getters return a value that is always in range and collect what is
/// wrong; `finish` reports all of it at once, so a family reads its whole configuration first and checks
/// once:
///
///     ModelConfig c;
///     c.hidden = config.getInt("hidden_size");
///     c.heads = config.getInt("num_attention_heads", {1, 4096});
///     ...
///     if (absl::Status status = config.finish({"head_dim"}); !status.ok()) return status;
///
/// A key whose value is null counts as absent. Copies and nested views share one record of errors and of keys
/// read.
class ConfigReader {
public:
  /// `fileName` is used in messages only. Errors: not JSON, not an object, over 4 MiB.
  static absl::StatusOr<ConfigReader> parse(std::string_view text, const std::string &fileName);

  const std::string &fileName() const;

  /// Present and not null. Does not count as reading.
  bool has(const std::string &key) const;
  /// The first of `keys` that is present, else the first: for families that name one thing differently.
  std::string presentKey(const std::vector<std::string> &keys) const;

  /// Without a fallback an absent key is an error. After an error: the value nearest to 0 in `range` (element
  /// lists: empty, strings: empty, booleans: false), so that arithmetic before `finish` stays defined.
  int64_t getInt(const std::string &key, IntRange range = {}) const;
  int64_t getIntOr(const std::string &key, int64_t fallback, IntRange range = {}) const;
  std::optional<int64_t> getOptionalInt(const std::string &key, IntRange range = {}) const;
  double getFloat(const std::string &key, FloatRange range = {}) const; ///< Integers are accepted.
  double getFloatOr(const std::string &key, double fallback, FloatRange range = {}) const;
  std::optional<double> getOptionalFloat(const std::string &key, FloatRange range = {}) const;
  bool getBool(const std::string &key) const;
  bool getBoolOr(const std::string &key, bool fallback) const;
  std::string getString(const std::string &key) const;
  std::string getStringOr(const std::string &key, const std::string &fallback) const;
  std::vector<int64_t> getInts(const std::string &key, IntRange elements = {}) const;
  std::vector<int64_t> getIntsOr(const std::string &key, std::vector<int64_t> fallback,
                                 IntRange elements = {}) const;
  /// One integer or a list of them (eos_token_id); empty when absent.
  std::vector<int64_t> getIntOrInts(const std::string &key, IntRange elements = {}) const;
  std::vector<std::string> getStringsOr(const std::string &key, std::vector<std::string> fallback) const;

  /// A nested object, whose keys are then reported as "key.inner". Absent without error only in the second
  /// form.
  ConfigReader getObject(const std::string &key) const;
  std::optional<ConfigReader> getOptionalObject(const std::string &key) const;

  /// Marks `key` as read without looking at it: known, and of no effect in this configuration
  /// (sliding_window when use_sliding_window is false).
  void ignore(const std::string &key) const;
  /// Records an error of the family's own about `key`: "FILE: key "KEY" is VALUE: <message>".
  void fail(const std::string &key, const std::string &message) const;

  /// Everything wrong so far, except unread keys.
  absl::Status status() const;
  /// `status`, and an error for every key that nobody read and that is neither in `commonHarmlessKeys` nor in
  /// `harmless`: it could change the mathematics. Nested keys are written "outer.inner"; a harmless object
  /// covers what is in it.
  absl::Status finish(const std::vector<std::string> &harmless = {}) const;

private:
  struct Document;
  ConfigReader(std::shared_ptr<Document> document, const JsonValue *object, std::string path)
      : document(std::move(document)), object(object), path(std::move(path)) {}

  const JsonValue *read(const std::string &key) const;
  const JsonValue *require(const std::string &key, const std::string &expected) const;
  void mismatch(const std::string &key, const JsonValue &value, const std::string &expected) const;
  int64_t toInt(const std::string &key, const JsonValue &value, IntRange range) const;
  double toFloat(const std::string &key, const JsonValue &value, FloatRange range) const;
  bool toBool(const std::string &key, const JsonValue &value) const;
  std::string toString(const std::string &key, const JsonValue &value) const;
  std::vector<int64_t> toInts(const std::string &key, const JsonValue &value, IntRange elements) const;

  std::shared_ptr<Document> document;
  const JsonValue *object; // within document; null: absent, and the error is recorded already
  std::string path;        // "" or "outer."
};

/// Keys that Hugging Face writes into config.json for every family and that inference does not depend on, or
/// that the frontend itself reads (model_type, token ids).
const std::vector<std::string> &commonHarmlessKeys();

} // namespace llmc
