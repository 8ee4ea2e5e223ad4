// JSON both ways: json.dumps as templates use it, and reading with the order of members kept.
#include "runtime/template/Value.h"
#include "runtime/tokenizer/Utf8.h"
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace llmc::runtime::jinja {
namespace {

void quote(std::string_view text, bool isAscii, std::string &out) {
  auto escape = [&](uint32_t c) {
    char buffer[8];
    snprintf(buffer, sizeof buffer, "\\u%04x", c);
    out += buffer;
  };
  out += '"';
  for (size_t at = 0; at < text.size();) {
    Utf8Char c = readUtf8(text.substr(at));
    const char *name = nullptr;
    switch (c.codepoint) {
    case '"':
      name = "\\\"";
      break;
    case '\\':
      name = "\\\\";
      break;
    case '\n':
      name = "\\n";
      break;
    case '\r':
      name = "\\r";
      break;
    case '\t':
      name = "\\t";
      break;
    case '\f':
      name = "\\f";
      break;
    case '\b':
      name = "\\b";
      break;
    default:
      break;
    }
    if (name)
      out += name;
    else if (c.codepoint < 0x20 || (isAscii && c.codepoint > 0x7e && c.codepoint < 0x10000))
      escape(c.codepoint);
    else if (isAscii && c.codepoint >= 0x10000) {
      escape(0xd800 + ((c.codepoint - 0x10000) >> 10));
      escape(0xdc00 + ((c.codepoint - 0x10000) & 0x3ff));
    } else
      out.append(text.substr(at, c.bytes));
    at += c.bytes;
  }
  out += '"';
}

class Writer {
public:
  Writer(const JsonFormat &format, std::string &out) : format_(format), out_(out) {}

  std::string write(const Value &value) {
    switch (value.kind()) {
    case Kind::text:
      quote(value.text(), format_.isAscii, out_);
      return "";
    case Kind::list:
      if (value.list().flavour > Flavour::tuple)
        break;
      return sequence('[', ']', value.list().items.size(),
                      [&](size_t i) { return write(value.list().items[i]); });
    case Kind::dict:
      return object(value.dict());
    default:
      if (std::string word = scalar(value); !word.empty()) {
        out_ += word;
        return "";
      }
    }
    return std::string("Object of type ") + typeName(value) + " is not JSON serializable";
  }

private:
  static std::string scalar(const Value &value) {
    switch (value.kind()) {
    case Kind::none:
      return "null";
    case Kind::boolean:
      return value.integer() ? "true" : "false";
    case Kind::integer:
      return std::to_string(value.integer());
    case Kind::real:
      return std::isnan(value.real())   ? "NaN"
             : std::isinf(value.real()) ? (value.real() < 0 ? "-Infinity" : "Infinity")
                                        : realText(value.real());
    default:
      return "";
    }
  }

  template <typename Item> std::string sequence(char open, char close, size_t count, const Item &item) {
    out_ += open;
    ++level_;
    for (size_t i = 0; i < count; ++i) {
      out_ += i ? format_.item : "";
      newLine();
      if (std::string error = item(i); !error.empty())
        return error;
    }
    --level_;
    if (count)
      newLine();
    out_ += close;
    return "";
  }

  std::string object(const Dict &dict) {
    std::vector<const std::pair<Value, Value> *> entries;
    for (const auto &entry : dict.entries)
      entries.push_back(&entry);
    if (format_.isSorted) {
      for (const auto *entry : entries)
        if (!entry->first.is(Kind::text))
          return "sort_keys is supported for keys that are strings only";
      std::sort(entries.begin(), entries.end(), // no two are equal
                [](const auto *a, const auto *b) { return a->first.text() < b->first.text(); });
    }
    return sequence('{', '}', entries.size(), [&](size_t i) -> std::string {
      const Value &key = entries[i]->first;
      if (key.is(Kind::text))
        quote(key.text(), format_.isAscii, out_);
      else if (std::string word = scalar(key); !word.empty())
        out_ += '"' + word + '"';
      else
        return std::string("keys must be str, int, float, bool or None, not ") + typeName(key);
      out_ += format_.key;
      return write(entries[i]->second);
    });
  }

  void newLine() {
    if (!format_.isIndented)
      return;
    out_ += '\n';
    for (int i = 0; i < level_; ++i)
      out_ += format_.indent;
  }

  const JsonFormat &format_;
  std::string &out_;
  int level_ = 0;
};

using nlohmann::json;

class Reader {
public:
  using number_integer_t = json::number_integer_t;
  using number_unsigned_t = json::number_unsigned_t;
  using number_float_t = json::number_float_t;
  using string_t = json::string_t;
  using binary_t = json::binary_t;
  Value root;
  std::string failure;

  bool null() { return place(Value::none()); }
  bool boolean(bool b) { return place(Value::boolean(b)); }
  bool number_integer(number_integer_t n) { return place(Value::integer(n)); }
  bool number_unsigned(number_unsigned_t n) {
    return n <= INT64_MAX ? place(Value::integer(static_cast<int64_t>(n)))
                          : fail("has a number beyond 64 bits");
  }
  bool number_float(number_float_t n, const string_t &) { return place(Value::real(n)); }
  bool binary(binary_t &) { return fail("has binary values, which are not JSON"); }
  bool string(string_t &s) { return place(Value::text(std::move(s))); }
  bool key(string_t &k) {
    open_.back().keys.push_back(std::move(k));
    return true;
  }
  bool start_object(std::size_t) { return start(true); }
  bool start_array(std::size_t) { return start(false); }
  bool end_object() { return finish(); }
  bool end_array() { return finish(); }
  bool parse_error(std::size_t position, const std::string &, const nlohmann::detail::exception &) {
    return fail("is not valid JSON at byte " + std::to_string(position));
  }

private:
  struct Open {
    bool isObject;
    std::vector<std::string> keys;
    std::vector<Value> values;
  };
  bool fail(const std::string &what) {
    if (failure.empty())
      failure = what;
    return false;
  }
  bool start(bool isObject) {
    if (open_.size() >= kMaxNesting)
      return fail("is nested deeper than " + std::to_string(kMaxNesting));
    open_.push_back({isObject, {}, {}});
    return true;
  }
  bool finish() {
    Open done = std::move(open_.back());
    open_.pop_back();
    if (!done.isObject)
      return place(Value::list(std::move(done.values)));
    // As in Python, of two equal keys the later value counts, at the earlier place.
    std::vector<std::pair<Value, Value>> entries;
    std::vector<std::pair<std::string_view, size_t>> order;
    for (size_t i = 0; i < done.keys.size(); ++i)
      order.push_back({done.keys[i], i});
    std::sort(order.begin(), order.end());
    std::vector<size_t> first(order.size());
    for (size_t i = 0; i < order.size(); ++i)
      first[order[i].second] =
          i && order[i - 1].first == order[i].first ? first[order[i - 1].second] : order[i].second;
    std::vector<size_t> places(order.size());
    for (size_t i = 0; i < done.keys.size(); ++i)
      if (first[i] == i) {
        places[i] = entries.size();
        entries.push_back({Value::text(done.keys[i]), std::move(done.values[i])});
      } else {
        entries[places[first[i]]].second = std::move(done.values[i]);
      }
    return place(Value::dict(std::move(entries)));
  }
  bool place(Value value) {
    if (open_.empty())
      root = std::move(value);
    else
      open_.back().values.push_back(std::move(value));
    return true;
  }
  std::vector<Open> open_;
};

} // namespace

std::string toJson(const Value &value, const JsonFormat &format, std::string &out) {
  return Writer(format, out).write(value);
}

absl::StatusOr<Value> fromJson(std::string_view text, const std::string &what) {
  Reader reader;
  if (!json::sax_parse(text.begin(), text.end(), &reader))
    return absl::InvalidArgumentError(what + ": " +
                                      (reader.failure.empty() ? "is not valid JSON" : reader.failure));
  return std::move(reader.root);
}

} // namespace llmc::runtime::jinja
