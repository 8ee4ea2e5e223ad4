// The strict JSON reader. The only file that includes nlohmann-json, whose SAX parser neither recurses nor
// throws.
#include "models/Json.h"

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <limits>

namespace llmc {
namespace {

constexpr size_t kMessageBytes = 100;

/// nlohmann's handler interface on one side, JsonEvent on the other. Returning false stops the parser.
class EventSource {
public:
  EventSource(std::string_view text, int maxDepth, absl::FunctionRef<absl::Status(JsonEvent &)> visit)
      : input(text), maxDepth(maxDepth), visit(visit) {}

  bool null() { return send({JsonKind::Null}); }
  bool boolean(bool value) { return send({JsonKind::Boolean, value}); }
  bool number_integer(int64_t value) {
    return send({JsonKind::Integer, false, value, static_cast<double>(value), std::to_string(value)});
  }
  bool number_unsigned(uint64_t value) {
    if (value <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
      return number_integer(static_cast<int64_t>(value));
    return send({JsonKind::Number, false, 0, static_cast<double>(value), std::to_string(value)});
  }
  bool number_float(double value, const std::string &text) {
    return send({JsonKind::Number, false, 0, value, text});
  }
  bool string(std::string &text) { return send({JsonKind::String, false, 0, 0, std::move(text)}); }
  bool binary(std::vector<uint8_t> &) { return false; } // never sent for JSON text
  bool start_object(size_t) { return open() && send({JsonKind::BeginObject}); }
  bool start_array(size_t) { return open() && send({JsonKind::BeginArray}); }
  bool end_object() {
    openKeys.pop_back();
    return send({JsonKind::EndObject});
  }
  bool end_array() {
    openKeys.pop_back();
    return send({JsonKind::EndArray});
  }
  bool key(std::string &text) {
    // Readers differ in which of two equal keys wins, so a file with both means nothing.
    if (!openKeys.back().insert(text).second) {
      status =
          absl::InvalidArgumentError(absl::StrCat("the key ", inQuotes(text), " occurs twice in one object"));
      return false;
    }
    return send({JsonKind::Key, false, 0, 0, std::move(text)});
  }

  template <class Error> bool parse_error(size_t position, const std::string &, const Error &error) {
    size_t at = std::min(position, input.size());
    if (error.id == 406) { // out_of_range.406: a number that no double holds
      status = absl::InvalidArgumentError(
          absl::StrCat("the number that ends at byte ", at, " is too large for a 64-bit float"));
      return false;
    }
    size_t from = at > 20 ? at - 20 : 0;
    status = absl::InvalidArgumentError(absl::StrCat("JSON syntax error at byte ", at,
                                                     at == input.size() ? ", where the text ends" : "",
                                                     ", after ", inQuotes(input.substr(from, at - from))));
    return false;
  }

  absl::Status status;

private:
  bool open() {
    if (static_cast<int>(openKeys.size()) >= maxDepth) {
      status = absl::InvalidArgumentError(
          absl::StrCat("lists and objects are nested more than ", maxDepth, " deep"));
      return false;
    }
    openKeys.emplace_back();
    return true;
  }
  bool send(JsonEvent event) {
    status = visit(event);
    return status.ok();
  }

  std::string_view input;
  int maxDepth;
  absl::FunctionRef<absl::Status(JsonEvent &)> visit;
  std::vector<absl::flat_hash_set<std::string>> openKeys; // one per open list or object
};

void append(const JsonValue &value, std::string &out) {
  if (out.size() > kMessageBytes)
    return;
  switch (value.kind) {
  case JsonKind::Boolean:
    out += value.boolean ? "true" : "false";
    return;
  case JsonKind::Integer:
  case JsonKind::Number:
    out += value.text;
    return;
  case JsonKind::String:
    out += inQuotes(value.text);
    return;
  case JsonKind::BeginArray:
    out += "[";
    for (size_t i = 0; i < value.items.size() && out.size() <= kMessageBytes; ++i) {
      out += i ? ", " : "";
      append(value.items[i], out);
    }
    out += "]";
    return;
  case JsonKind::BeginObject:
    out += "{";
    for (size_t i = 0; i < value.members.size() && out.size() <= kMessageBytes; ++i) {
      out += i ? ", " : "";
      out += inQuotes(value.members[i].first) + ": ";
      append(value.members[i].second, out);
    }
    out += "}";
    return;
  default:
    out += "null";
  }
}

} // namespace

absl::Status parseJson(std::string_view text, int maxDepth,
                       absl::FunctionRef<absl::Status(JsonEvent &)> visit) {
  // nlohmann takes a zero byte for the end of the input; what stands behind it would go unread.
  if (size_t zero = text.find('\0'); zero != std::string_view::npos)
    return absl::InvalidArgumentError(absl::StrCat("JSON syntax error at byte ", zero, ": a zero byte"));
  EventSource source(text, maxDepth, visit);
  bool done = nlohmann::json::sax_parse(text.data(), text.data() + text.size(), &source);
  if (!done && source.status.ok())
    return absl::InvalidArgumentError("JSON syntax error");
  return source.status;
}

const JsonValue *JsonValue::find(const std::string &key) const {
  for (const auto &member : members)
    if (member.first == key)
      return &member.second;
  return nullptr;
}

absl::StatusOr<JsonValue> parseJsonTree(std::string_view text, int maxDepth) {
  JsonValue root;
  std::vector<JsonValue *> open; // stable: a container does not grow while one of its elements is open
  std::string key;
  absl::Status status = parseJson(text, maxDepth, [&](JsonEvent &event) {
    if (event.kind == JsonKind::Key) {
      key = std::move(event.text);
      return absl::OkStatus();
    }
    if (event.kind == JsonKind::EndObject || event.kind == JsonKind::EndArray) {
      open.pop_back();
      return absl::OkStatus();
    }
    JsonValue *value = &root;
    if (!open.empty() && open.back()->kind == JsonKind::BeginArray)
      value = &open.back()->items.emplace_back();
    else if (!open.empty())
      value = &open.back()->members.emplace_back(std::move(key), JsonValue()).second;
    value->kind = event.kind;
    value->boolean = event.boolean;
    value->integer = event.integer;
    value->number = event.number;
    value->text = std::move(event.text);
    if (event.kind == JsonKind::BeginObject || event.kind == JsonKind::BeginArray)
      open.push_back(value);
    return absl::OkStatus();
  });
  if (!status.ok())
    return status;
  return root;
}

std::string inQuotes(std::string_view text) {
  std::string out = "\"";
  std::string_view head = text.substr(0, kMessageBytes);
  for (unsigned char c : head) {
    if (c == '"' || c == '\\')
      out += '\\';
    if (c < 0x20 || c == 0x7f)
      out += absl::StrFormat("\\x%02x", c);
    else
      out += static_cast<char>(c);
  }
  return out + (head.size() < text.size() ? "\"..." : "\"");
}

std::string describe(const JsonValue &value) {
  std::string out;
  append(value, out);
  if (out.size() > kMessageBytes)
    out = out.substr(0, kMessageBytes) + "...";
  return out;
}

std::string describe(const JsonEvent &event) {
  switch (event.kind) {
  case JsonKind::Boolean:
    return event.boolean ? "true" : "false";
  case JsonKind::Integer:
  case JsonKind::Number:
    return event.text.substr(0, kMessageBytes);
  case JsonKind::String:
  case JsonKind::Key:
    return inQuotes(event.text);
  case JsonKind::BeginObject:
    return "an object";
  case JsonKind::BeginArray:
    return "a list";
  case JsonKind::EndObject:
    return "the end of the object";
  case JsonKind::EndArray:
    return "the end of the list";
  default:
    return "null";
  }
}

} // namespace llmc
