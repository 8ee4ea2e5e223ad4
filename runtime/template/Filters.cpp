// Filters: values in, values out, with the parameters that Jinja gives them.
#include "runtime/template/Interpreter.h"
#include "runtime/tokenizer/Utf8.h"
#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <list>

namespace llmc::runtime::jinja {

bool isFilter(std::string_view name) {
  static constexpr std::string_view kFilters[] = {
      "abs",  "capitalize", "count",      "d",       "default", "dictsort", "first",  "float",  "indent",
      "int",  "items",      "join",       "last",    "length",  "list",     "lower",  "map",    "max",
      "min",  "reject",     "rejectattr", "replace", "reverse", "round",    "safe",   "select", "selectattr",
      "sort", "string",     "sum",        "title",   "tojson",  "trim",     "unique", "upper"};
  return std::find(std::begin(kFilters), std::end(kFilters), name) != std::end(kFilters);
}

Value Interpreter::applyFilter(const std::string &name, const Value &v, Arguments &arguments) {
  std::vector<Value> values, items;
  const char *what = name.c_str();
  auto plain = [&] { return bind(what, arguments, {}, 0, values); };
  if (name == "tojson")
    return filterJson(v, arguments);
  if (name == "safe")
    return fail("filter 'safe' is supported as the last step of {{ }} only");
  if (name == "default" || name == "d") {
    if (!bind(what, arguments, {"default_value", "boolean"}, 0, values))
      return Value();
    bool isReplaced = v.is(Kind::undefined) || (isTrue(values[1]) && !isTrue(v));
    bool isGiven = !arguments.positional.empty() || !arguments.named.empty();
    return !isReplaced ? v : isGiven ? values[0] : text("");
  }
  if (name == "trim")
    return bind(what, arguments, {"chars"}, 0, values) ? strip(str(v), values[0], true, true) : Value();
  if (name == "length" || name == "count")
    return plain() ? filterLength(v) : Value();
  if (name == "join") {
    if (!bind(what, arguments, {"d", "attribute"}, 0, values) || !iterate(v, items))
      return Value();
    if (!values[1].is(Kind::undefined) && !values[1].is(Kind::none))
      for (Value &item : items)
        item = path(item, values[1]);
    return isFailed() ? Value() : join(values[0].is(Kind::undefined) ? "" : str(values[0]), items, true);
  }
  if (name == "string")
    return plain() ? text(str(v)) : Value();
  if (name == "upper" || name == "lower" || name == "capitalize" || name == "title")
    return plain() ? changeCase(str(v), name == "title" ? "title words" : name) : Value();
  if (name == "replace") {
    if (!bind(what, arguments, {"old", "new", "count"}, 2, values))
      return Value();
    std::string self = str(v), from = str(values[0]), to = str(values[1]);
    return isFailed() ? Value() : replace(self, from, to, values[2].isWhole() ? values[2].integer() : -1);
  }
  if (name == "first" || name == "last") {
    if (!plain() || !iterate(v, items))
      return Value();
    return items.empty()     ? Value::undefined("a sequence is empty and has no " + name + " item")
           : name == "first" ? items.front()
                             : items.back();
  }
  if (name == "list")
    return plain() && iterate(v, items) ? list(std::move(items)) : Value();
  if (name == "items") {
    if (!plain())
      return Value();
    if (!v.is(Kind::dict) && !v.is(Kind::undefined))
      return fail(std::string("filter 'items' needs a dict, got a ") + typeName(v));
    if (v.is(Kind::dict))
      for (const auto &entry : v.dict().entries)
        items.push_back(list({entry.first, entry.second}, Flavour::tuple));
    return isFailed() ? Value() : list(std::move(items), Flavour::generator);
  }
  if (name == "reverse") {
    if (!plain())
      return Value();
    if (!iterate(v, items))
      return Value();
    std::reverse(items.begin(), items.end());
    return v.is(Kind::text) ? join("", items, false) : list(std::move(items), Flavour::generator);
  }
  if (name == "int" || name == "float" || name == "abs")
    return filterNumber(name, v, arguments);
  if (name == "round")
    return filterRound(v, arguments);
  if (name == "sum") {
    if (!bind(what, arguments, {"attribute", "start"}, 0, values) || !iterate(v, items))
      return Value();
    Value sum = values[1].is(Kind::undefined) ? Value::integer(0) : values[1];
    for (const Value &item : items)
      sum = isFailed()
                ? sum
                : binary("+", sum,
                         values[0].is(Kind::undefined) || values[0].is(Kind::none) ? item
                                                                                   : path(item, values[0]));
    return sum;
  }
  if (name == "map")
    return filterMap(v, arguments);
  if (name == "select" || name == "reject" || name == "selectattr" || name == "rejectattr")
    return filterSelect(name, v, arguments);
  if (name == "indent")
    return filterIndent(v, arguments);
  return filterSort(name, v, arguments);
}

Value Interpreter::filterLength(const Value &v) {
  switch (v.kind()) {
  case Kind::undefined:
    return Value::integer(0);
  case Kind::text:
    return Value::integer(static_cast<int64_t>(countCharacters(v.text())));
  case Kind::dict:
    return Value::integer(static_cast<int64_t>(v.dict().entries.size()));
  case Kind::list:
    if (v.list().flavour != Flavour::generator)
      return Value::integer(static_cast<int64_t>(v.list().items.size()));
    [[fallthrough]];
  default:
    return fail(std::string("a ") + typeName(v) + " has no length");
  }
}

Value Interpreter::filterJson(const Value &v, Arguments &arguments) {
  std::vector<Value> values;
  if (!bind("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"}, 0, values))
    return Value();
  JsonFormat format;
  format.isAscii = isTrue(values[0]);
  format.isSorted = isTrue(values[3]);
  if (values[1].isWhole() || values[1].is(Kind::text)) {
    format.isIndented = true;
    format.item = ",";
    format.indent =
        values[1].is(Kind::text)
            ? values[1].text()
            : std::string(
                  static_cast<size_t>(std::min<int64_t>(std::max<int64_t>(values[1].integer(), 0), 64)), ' ');
  }
  if (values[2].is(Kind::list)) {
    const auto &pair = values[2].list().items;
    if (pair.size() != 2 || !pair[0].is(Kind::text) || !pair[1].is(Kind::text))
      return fail("separators of tojson are two strings");
    format.item = pair[0].text();
    format.key = pair[1].text();
  }
  std::string out;
  if (std::string error = toJson(v, format, out); !error.empty())
    return fail(v.is(Kind::undefined) ? v.why() : error);
  return text(std::move(out));
}

/// int() of a string; false when it is none.
static bool parseWhole(const std::string &text, int64_t base, int64_t &number, bool &isTooLarge) {
  std::string digits;
  size_t begin = text.find_first_not_of(" \t\n\v\f\r"), end = text.find_last_not_of(" \t\n\v\f\r");
  if (begin == std::string::npos)
    return false;
  for (size_t i = begin; i <= end; ++i) {
    bool isBetween = i > begin && i < end && isalnum(static_cast<unsigned char>(text[i - 1])) &&
                     isalnum(static_cast<unsigned char>(text[i + 1]));
    if (text[i] == '_' && isBetween)
      continue;
    digits.push_back(text[i]);
  }
  size_t first = digits[0] == '+' || digits[0] == '-' ? 1 : 0;
  if (first >= digits.size() || !isalnum(static_cast<unsigned char>(digits[first])))
    return false;
  if (base == 16 && digits.compare(first, 2, "0x") != 0 && digits.size() > first + 1 &&
      (digits[first + 1] == 'x' || digits[first + 1] == 'X'))
    return false;
  char *stop;
  errno = 0;
  number = strtoll(digits.c_str(), &stop, static_cast<int>(base));
  isTooLarge = errno == ERANGE;
  return *stop == '\0';
}

/// float() of a string; false when it is none.
static bool parseReal(const std::string &text, double &number) {
  size_t begin = text.find_first_not_of(" \t\n\v\f\r"), end = text.find_last_not_of(" \t\n\v\f\r");
  if (begin == std::string::npos)
    return false;
  std::string trimmed = text.substr(begin, end + 1 - begin);
  if (trimmed.find_first_of("xXpP(") != std::string::npos) // C's, not Python's
    return false;
  char *stop;
  number = strtod(trimmed.c_str(), &stop);
  return *stop == '\0';
}

Value Interpreter::filterNumber(const std::string &name, const Value &v, Arguments &arguments) {
  std::vector<Value> values;
  if (v.is(Kind::undefined))
    return fail(v.why());
  if (name == "abs") {
    if (!bind("abs", arguments, {}, 0, values))
      return Value();
    if (!v.isNumber())
      return fail(std::string("abs needs a number, got a ") + typeName(v));
    return v.is(Kind::real) ? Value::real(std::fabs(v.real()))
                            : wholeBinary(v.integer() < 0 ? "-" : "+", 0, v.integer());
  }
  bool isInt = name == "int";
  if (isInt ? !bind("int", arguments, {"default", "base"}, 0, values)
            : !bind("float", arguments, {"default"}, 0, values))
    return Value();
  Value otherwise = !values[0].is(Kind::undefined) ? values[0] : isInt ? Value::integer(0) : Value::real(0);
  double real = 0;
  bool isReal = v.isNumber() || (v.is(Kind::text) && parseReal(v.text(), real));
  if (v.isNumber())
    real = v.real();
  if (!isInt)
    return isReal ? Value::real(real) : otherwise;
  if (v.isWhole())
    return Value::integer(v.integer());
  int64_t base = isInt && values[1].isWhole() ? values[1].integer() : 10, whole;
  bool isTooLarge = false;
  if (base != 10 && base != 2 && base != 8 && base != 16)
    return fail("int is supported for the bases 2, 8, 10 and 16");
  if (v.is(Kind::text) && parseWhole(v.text(), base, whole, isTooLarge))
    return isTooLarge ? fail("a number beyond 64 bits is not supported") : Value::integer(whole);
  if (!isReal || std::isnan(real) || std::isinf(real))
    return otherwise;
  if (std::fabs(real) >= 9.2e18)
    return fail("a number beyond 64 bits is not supported");
  return Value::integer(static_cast<int64_t>(real));
}

Value Interpreter::filterRound(const Value &v, Arguments &arguments) {
  std::vector<Value> values;
  if (!bind("round", arguments, {"precision", "method"}, 0, values))
    return Value();
  if (!v.isNumber())
    return fail(v.is(Kind::undefined) ? v.why() : std::string("round needs a number, got a ") + typeName(v));
  int64_t precision = values[0].isWhole() ? values[0].integer() : 0;
  std::string method = values[1].is(Kind::text) ? values[1].text() : "common";
  if (precision < 0 || precision > 15 || (method != "common" && method != "ceil" && method != "floor"))
    return fail("round takes a precision of 0 to 15 and a method of common, ceil or floor");
  if (method != "common") {
    double scale = std::pow(10.0, static_cast<double>(precision)), scaled = v.real() * scale;
    return Value::real((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
  }
  if (v.isWhole())
    return Value::integer(v.integer());
  // The C library rounds the exact value, ties to even, as Python's round does.
  char buffer[400];
  snprintf(buffer, sizeof buffer, "%.*f", static_cast<int>(precision), v.real());
  return Value::real(strtod(buffer, nullptr));
}

/// A member by a dotted path, or an item by number.
Value Interpreter::path(const Value &object, const Value &dotted) {
  if (!dotted.is(Kind::text))
    return item(object, dotted);
  Value value = object;
  const std::string &name = dotted.text();
  for (size_t at = 0; at <= name.size() && !isFailed();) {
    size_t end = std::min(name.find('.', at), name.size());
    std::string part = name.substr(at, end - at);
    bool isNumber =
        !part.empty() && part.find_first_not_of("0123456789") == std::string::npos && part.size() < 10;
    value = item(value, isNumber ? Value::integer(atoi(part.c_str())) : text(part));
    at = end + 1;
  }
  return value;
}

Value Interpreter::filterMap(const Value &v, Arguments &arguments) {
  std::vector<Value> items;
  if (!iterate(v, items))
    return Value();
  if (arguments.positional.empty()) {
    std::vector<Value> values;
    if (!bind("map", arguments, {"attribute", "default"}, 1, values))
      return Value();
    for (Value &one : items) {
      one = path(one, values[0]);
      if (isFailed())
        return Value();
      if (one.is(Kind::undefined) && !values[1].is(Kind::undefined))
        one = values[1];
    }
    return list(std::move(items), Flavour::generator);
  }
  if (!arguments.positional[0].is(Kind::text) || !isFilter(arguments.positional[0].text()))
    return fail("map needs the name of a filter that is supported");
  Arguments rest{{arguments.positional.begin() + 1, arguments.positional.end()}, arguments.named};
  Deeper deeper(*this);
  for (Value &one : items) {
    if (!charge(1))
      return Value();
    Arguments each = rest;
    one = applyFilter(arguments.positional[0].text(), one, each);
  }
  return isFailed() ? Value() : list(std::move(items), Flavour::generator);
}

Value Interpreter::filterSelect(const std::string &name, const Value &v, Arguments &arguments) {
  std::vector<Value> items, kept;
  bool isByAttribute = name == "selectattr" || name == "rejectattr", isKeeping = name[0] == 's';
  size_t first = isByAttribute ? 1 : 0;
  if (!iterate(v, items))
    return Value();
  if (arguments.positional.size() < first)
    return fail(name + " needs the name of an attribute");
  bool hasTest = arguments.positional.size() > first;
  if (hasTest && (!arguments.positional[first].is(Kind::text) || !isTest(arguments.positional[first].text())))
    return fail(name + " needs the name of a test that is supported");
  Arguments rest;
  if (hasTest)
    rest = {{arguments.positional.begin() + static_cast<ptrdiff_t>(first) + 1, arguments.positional.end()},
            arguments.named};
  for (Value &one : items) {
    if (!charge(1))
      return Value();
    Value subject = isByAttribute ? path(one, arguments.positional[0]) : one;
    if (isFailed())
      return Value();
    Arguments each = rest;
    bool isPassing = hasTest ? test(arguments.positional[first].text(), subject, each) : isTrue(subject);
    if (isPassing == isKeeping)
      kept.push_back(std::move(one));
  }
  return isFailed() ? Value() : list(std::move(kept), Flavour::generator);
}

Value Interpreter::sortKey(const Value &one, const Value &attribute, bool isCaseSensitive) {
  Value key = attribute.is(Kind::undefined) || attribute.is(Kind::none) ? one : path(one, attribute);
  return key.is(Kind::text) && !isCaseSensitive && !isFailed() ? changeCase(key.text(), "lower") : key;
}

/// sort, unique, min, max and dictsort.
Value Interpreter::filterSort(const std::string &name, const Value &v, Arguments &arguments) {
  std::vector<Value> values, items;
  const bool isDict = name == "dictsort", isSort = name == "sort";
  bool isBound = isDict   ? bind("dictsort", arguments, {"case_sensitive", "by", "reverse"}, 0, values)
                 : isSort ? bind("sort", arguments, {"reverse", "case_sensitive", "attribute"}, 0, values)
                          : bind(name.c_str(), arguments, {"case_sensitive", "attribute"}, 0, values);
  if (!isBound)
    return Value();
  bool isReversed = (isSort && isTrue(values[0])) || (isDict && isTrue(values[2]));
  bool isCaseSensitive = isTrue(values[isSort ? 1 : 0]);
  Value attribute = isDict ? Value::integer(values[1].is(Kind::text) && values[1].text() == "value")
                           : values[isSort ? 2 : 1];
  if (isDict) {
    if (!v.is(Kind::dict))
      return fail(v.is(Kind::undefined) ? v.why()
                                        : std::string("dictsort needs a dict, got a ") + typeName(v));
    for (const auto &entry : v.dict().entries)
      items.push_back(list({entry.first, entry.second}, Flavour::tuple));
  } else if (!iterate(v, items)) {
    return Value();
  }
  std::vector<std::pair<Value, Value>> keyed;
  for (Value &one : items) {
    keyed.emplace_back(sortKey(one, attribute, isCaseSensitive), one);
    if (isFailed() || !charge(8))
      return Value();
  }
  if (name == "unique") {
    std::vector<Value> seen;
    items.clear();
    for (auto &entry : keyed) {
      if (!charge(static_cast<int64_t>(seen.size()) / 4))
        return Value();
      if (std::any_of(seen.begin(), seen.end(), [&](const Value &s) { return isEqual(s, entry.first); }))
        continue;
      seen.push_back(entry.first);
      items.push_back(entry.second);
    }
    return list(std::move(items), Flavour::generator);
  }
  auto isBefore = [&](const auto &a, const auto &b) { return !isFailed() && compare("<", a.first, b.first); };
  if (!isSort && !isDict) {
    if (keyed.empty())
      return Value::undefined("a sequence is empty and has no " + name);
    auto best = name == "min" ? std::min_element(keyed.begin(), keyed.end(), isBefore)
                              : std::max_element(keyed.begin(), keyed.end(), isBefore);
    return isFailed() ? Value() : best->second;
  }
  // Reversed, equal ones keep their order. A list's sort is stable and safe with values that are in no order
  // (NaN).
  std::list<std::pair<Value, Value>> ordered(std::make_move_iterator(keyed.begin()),
                                             std::make_move_iterator(keyed.end()));
  ordered.sort([&](const auto &a, const auto &b) { return isReversed ? isBefore(b, a) : isBefore(a, b); });
  items.clear();
  for (auto &entry : ordered)
    items.push_back(std::move(entry.second));
  return isFailed() ? Value() : list(std::move(items));
}

Value Interpreter::filterIndent(const Value &v, Arguments &arguments) {
  std::vector<Value> values;
  if (!bind("indent", arguments, {"width", "first", "blank"}, 0, values))
    return Value();
  std::string indent =
      values[0].is(Kind::text) ? values[0].text()
      : values[0].isWhole()
          ? std::string(
                static_cast<size_t>(std::min<int64_t>(std::max<int64_t>(values[0].integer(), 0), 4096)), ' ')
          : "    ";
  std::string self = str(v) + "\n", result = isTrue(values[1]) ? indent : "";
  bool isFirst = true;
  for (std::string_view line : splitLines(self, false)) {
    if (!isFirst)
      result += "\n" + (line.empty() && !isTrue(values[2]) ? "" : indent);
    isFirst = false;
    result += line;
    if (!charge(1, static_cast<int64_t>(indent.size() + line.size())))
      return Value();
  }
  return text(std::move(result));
}

} // namespace llmc::runtime::jinja
