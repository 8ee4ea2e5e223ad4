// Truth, equality, printing and JSON of values, as Python does them.
#include "runtime/template/Value.h"
#include "runtime/tokenizer/Utf8.h"
#include <algorithm>
#include <charconv>
#include <cmath>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace llmc::runtime::jinja {

Value Value::list(std::vector<Value> items, Flavour flavour) {
  int depth = 1;
  for (const Value &item : items)
    depth = std::max(depth, 1 + item.depth());
  return Value(Kind::list, std::make_shared<const List>(List{std::move(items), flavour, depth}));
}

Value Value::dict(std::vector<std::pair<Value, Value>> entries) {
  int depth = 1;
  for (const auto &entry : entries)
    depth = std::max({depth, 1 + entry.first.depth(), 1 + entry.second.depth()});
  return Value(Kind::dict, std::make_shared<const Dict>(Dict{std::move(entries), depth}));
}

Value Value::loop(std::shared_ptr<Loop> loop) { return Value(Kind::loop, std::move(loop)); }
Value Value::callable(Callable callable) {
  return Value(Kind::callable, std::make_shared<const Callable>(std::move(callable)));
}

int Value::depth() const {
  switch (kind_) {
  case Kind::list:
    return list().depth;
  case Kind::dict:
    return dict().depth;
  case Kind::loop:
    return loop().depth;
  case Kind::callable:
    return 1 + callable().self.depth();
  default:
    return 0;
  }
}

const Value *Dict::find(const Value &key) const {
  for (const auto &entry : entries)
    if (isEqual(entry.first, key))
      return &entry.second;
  return nullptr;
}

const Value *Dict::find(std::string_view key) const {
  for (const auto &entry : entries)
    if (entry.first.is(Kind::text) && entry.first.text() == key)
      return &entry.second;
  return nullptr;
}

Value *Namespace::find(std::string_view name) {
  for (auto &member : members)
    if (member.first == name)
      return &member.second;
  return nullptr;
}

bool isTrue(const Value &value) {
  switch (value.kind()) {
  case Kind::undefined:
  case Kind::none:
    return false;
  case Kind::boolean:
  case Kind::integer:
    return value.integer() != 0;
  case Kind::real:
    return value.real() != 0;
  case Kind::text:
    return !value.text().empty();
  case Kind::list:
    return value.list().flavour == Flavour::generator || !value.list().items.empty();
  case Kind::dict:
    return !value.dict().entries.empty();
  default:
    return true;
  }
}

bool isEqual(const Value &a, const Value &b) {
  if (a.isNumber() && b.isNumber())
    return a.isWhole() && b.isWhole() ? a.integer() == b.integer() : a.real() == b.real();
  if (a.kind() != b.kind())
    return false;
  switch (a.kind()) {
  case Kind::undefined:
  case Kind::none:
    return true;
  case Kind::text:
    return a.text() == b.text();
  case Kind::list:
    return a.identity() == b.identity() ||
           (a.list().flavour == b.list().flavour && a.list().flavour <= Flavour::tuple &&
            std::equal(a.list().items.begin(), a.list().items.end(), b.list().items.begin(),
                       b.list().items.end(), isEqual));
  case Kind::dict: {
    if (a.dict().entries.size() != b.dict().entries.size())
      return false;
    for (const auto &entry : a.dict().entries) {
      const Value *other = b.dict().find(entry.first);
      if (!other || !isEqual(entry.second, *other))
        return false;
    }
    return true;
  }
  case Kind::space:
    return a.space() == b.space();
  default:
    return a.identity() == b.identity();
  }
}

const char *typeName(const Value &value) {
  switch (value.kind()) {
  case Kind::undefined:
    return "Undefined";
  case Kind::none:
    return "NoneType";
  case Kind::boolean:
    return "bool";
  case Kind::integer:
    return "int";
  case Kind::real:
    return "float";
  case Kind::text:
    return "str";
  case Kind::list:
    return value.list().flavour == Flavour::list        ? "list"
           : value.list().flavour == Flavour::tuple     ? "tuple"
           : value.list().flavour == Flavour::generator ? "generator"
                                                        : "view";
  case Kind::dict:
    return "dict";
  case Kind::space:
    return "Namespace";
  case Kind::loop:
    return "LoopContext";
  case Kind::callable:
    return "function";
  }
  return "";
}

std::string realText(double value) {
  if (std::isnan(value))
    return "nan";
  if (std::isinf(value))
    return value < 0 ? "-inf" : "inf";
  // The shortest digits that read back, then Python's choice of notation.
  char buffer[64];
  auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  std::string_view text(buffer, static_cast<size_t>(end - buffer));
  std::string sign = text[0] == '-' ? "-" : "", digits;
  size_t e = text.find('e');
  for (char c : text.substr(0, e))
    if (c >= '0' && c <= '9')
      digits.push_back(c);
  int exponent = 0;
  std::string_view tail = text.substr(e + 1);
  if (tail[0] == '+')
    tail.remove_prefix(1);
  std::from_chars(tail.data(), tail.data() + tail.size(), exponent);
  if (exponent < -4 || exponent >= 16) {
    char number[16];
    snprintf(number, sizeof number, "e%c%02d", exponent < 0 ? '-' : '+', std::abs(exponent));
    return sign + digits.substr(0, 1) + (digits.size() > 1 ? "." + digits.substr(1) : "") + number;
  }
  if (exponent < 0)
    return sign + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  size_t whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= whole)
    return sign + digits + std::string(whole - digits.size(), '0') + ".0";
  return sign + digits.substr(0, whole) + "." + digits.substr(whole);
}

/// str.isprintable() of a character outside ASCII.
static bool isPrintable(std::string_view character) {
  static pcre2_code *const code = [] {
    int error;
    PCRE2_SIZE offset;
    return pcre2_compile(reinterpret_cast<PCRE2_SPTR>("[\\p{C}\\p{Z}]"), PCRE2_ZERO_TERMINATED,
                         PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr);
  }();
  pcre2_match_data *match = pcre2_match_data_create(1, nullptr);
  int found = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(character.data()), character.size(), 0, 0, match,
                          nullptr);
  pcre2_match_data_free(match);
  return found < 0;
}

static void appendHex(std::string &out, const char *format, uint32_t c) {
  char buffer[16];
  snprintf(buffer, sizeof buffer, format, c);
  out += buffer;
}

static void reprText(std::string_view text, std::string &out) {
  char quote =
      text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos ? '"' : '\'';
  out.push_back(quote);
  for (size_t at = 0; at < text.size();) {
    Utf8Char c = readUtf8(text.substr(at));
    std::string_view bytes = text.substr(at, c.bytes);
    at += c.bytes;
    if (c.codepoint == static_cast<uint32_t>(quote) || c.codepoint == '\\')
      out.append("\\").append(bytes);
    else if (c.codepoint == '\n')
      out += "\\n";
    else if (c.codepoint == '\r')
      out += "\\r";
    else if (c.codepoint == '\t')
      out += "\\t";
    else if (c.codepoint < 0x20 || c.codepoint == 0x7f)
      appendHex(out, "\\x%02x", c.codepoint);
    else if (c.codepoint < 0x7f || isPrintable(bytes))
      out.append(bytes);
    else
      appendHex(out,
                c.codepoint < 0x100     ? "\\x%02x"
                : c.codepoint < 0x10000 ? "\\u%04x"
                                        : "\\U%08x",
                c.codepoint);
  }
  out.push_back(quote);
}

std::string print(const Value &value, bool isRepr, std::string &out) {
  switch (value.kind()) {
  case Kind::undefined:
    out += isRepr ? "Undefined" : "";
    return "";
  case Kind::none:
    out += "None";
    return "";
  case Kind::boolean:
    out += value.integer() ? "True" : "False";
    return "";
  case Kind::integer:
    out += std::to_string(value.integer());
    return "";
  case Kind::real:
    out += realText(value.real());
    return "";
  case Kind::text:
    if (isRepr)
      reprText(value.text(), out);
    else
      out += value.text();
    return "";
  case Kind::list: {
    const List &list = value.list();
    if (list.flavour > Flavour::tuple)
      return std::string("a ") + typeName(value) + " cannot be printed; make it a list first";
    bool isTuple = list.flavour == Flavour::tuple;
    out += isTuple ? "(" : "[";
    for (size_t i = 0; i < list.items.size(); ++i) {
      out += i ? ", " : "";
      if (std::string error = print(list.items[i], true, out); !error.empty())
        return error;
    }
    out += isTuple ? (list.items.size() == 1 ? ",)" : ")") : "]";
    return "";
  }
  case Kind::dict: {
    out += "{";
    bool isFirst = true;
    for (const auto &entry : value.dict().entries) {
      out += isFirst ? "" : ", ";
      isFirst = false;
      for (const Value *part : {&entry.first, &entry.second}) {
        if (std::string error = print(*part, true, out); !error.empty())
          return error;
        out += part == &entry.first ? ": " : "";
      }
    }
    out += "}";
    return "";
  }
  default:
    return std::string("a ") + typeName(value) + " cannot be printed";
  }
}

bool isPythonSpace(uint32_t c) {
  return (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
         c == 0x3000;
}

size_t countCharacters(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(),
                                           [](char c) { return (static_cast<uint8_t>(c) & 0xc0) != 0x80; }));
}

std::vector<size_t> characterOffsets(std::string_view text) {
  std::vector<size_t> offsets;
  for (size_t i = 0; i < text.size(); ++i)
    if ((static_cast<uint8_t>(text[i]) & 0xc0) != 0x80)
      offsets.push_back(i);
  offsets.push_back(text.size());
  return offsets;
}

} // namespace llmc::runtime::jinja
