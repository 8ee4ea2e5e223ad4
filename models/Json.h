// Reading JSON that came from outside: strict, bounded in depth, without duplicate keys and without
// exceptions. Events for large files (safetensors headers), a tree for small ones (config.json).
#pragma once

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace llmc {

enum class JsonKind {
  Null,
  Boolean,
  Integer,
  Number,
  String,
  Key,
  BeginObject,
  EndObject,
  BeginArray,
  EndArray
};

/// One step through a JSON text. `text` may be moved from.
struct JsonEvent {
  JsonKind kind;
  bool boolean = false;
  int64_t integer = 0;   ///< Integer: a number without fraction or exponent that fits.
  double number = 0;     ///< Integer and Number; integers beyond int64 are Numbers.
  std::string text = {}; ///< String and Key: the text; Integer and Number: as written.
};

/// Walks `text`, calling `visit` for every event until it returns an error, which is then returned unchanged.
/// Own errors say what and where ("JSON syntax error at byte 12 ..."), without the name of the file.
absl::Status parseJson(std::string_view text, int maxDepth,
                       absl::FunctionRef<absl::Status(JsonEvent &)> visit);

/// A value with everything below it. Members keep the order of the file.
struct JsonValue {
  JsonKind kind = JsonKind::Null; ///< Null, Boolean, Integer, Number, String, BeginObject or BeginArray.
  bool boolean = false;
  int64_t integer = 0;
  double number = 0;
  std::string text;
  std::vector<JsonValue> items;
  std::vector<std::pair<std::string, JsonValue>> members;

  /// The member called `key`, or null.
  const JsonValue *find(const std::string &key) const;
};

absl::StatusOr<JsonValue> parseJsonTree(std::string_view text, int maxDepth);

/// For messages: in double quotes, control characters escaped, cut after 100 bytes.
std::string inQuotes(std::string_view text);

/// For messages: the value as JSON, cut after 100 bytes ("found ...").
std::string describe(const JsonValue &value);
/// The same for an event; lists and objects are only named.
std::string describe(const JsonEvent &event);

} // namespace llmc
