// Functions and tests that templates are given, and how arguments are matched with parameters.
#include "runtime/template/Interpreter.h"
#include <algorithm>
#include <cmath>

namespace llmc::runtime::jinja {

bool Interpreter::bind(const char *what, Arguments &arguments, std::initializer_list<const char *> names,
                       size_t required, std::vector<Value> &values) {
  values.assign(names.size(), Value());
  std::vector<bool> isGiven(names.size(), false);
  if (arguments.positional.size() > names.size())
    return fail(std::string(what) + " takes at most " + std::to_string(names.size()) + " arguments, got " +
                std::to_string(arguments.positional.size())),
           false;
  for (size_t i = 0; i < arguments.positional.size(); ++i) {
    values[i] = arguments.positional[i];
    isGiven[i] = true;
  }
  for (auto &named : arguments.named) {
    size_t i = static_cast<size_t>(
        std::find_if(names.begin(), names.end(), [&](const char *n) { return named.first == n; }) -
        names.begin());
    if (i == names.size() || isGiven[i])
      return fail(std::string(what) + " takes no argument '" + named.first + "', or was given it twice"),
             false;
    values[i] = named.second;
    isGiven[i] = true;
  }
  for (size_t i = 0; i < required; ++i)
    if (!isGiven[i])
      return fail(std::string(what) + " needs its argument '" + names.begin()[i] + "'"), false;
  return true;
}

bool Interpreter::isFunction(std::string_view name) const {
  return name == "range" || name == "dict" || name == "namespace" || name == "raise_exception" ||
         name == "strftime_now";
}

Value Interpreter::callFunction(const std::string &name, Arguments &arguments) {
  std::vector<Value> values;
  if (name == "range")
    return range(arguments);
  if (name == "strftime_now")
    return strftimeNow(arguments);
  if (name == "raise_exception") {
    if (!bind("raise_exception", arguments, {"message"}, 1, values))
      return Value();
    std::string message = str(values[0]);
    return fail("the template refuses this conversation: " + message);
  }
  // dict and namespace: members of another, then named ones.
  std::vector<std::pair<Value, Value>> entries;
  if (arguments.positional.size() > 1 ||
      (arguments.positional.size() == 1 && !arguments.positional[0].is(Kind::dict)))
    return fail(name + " takes one dict and arguments with names");
  if (!arguments.positional.empty())
    entries = arguments.positional[0].dict().entries;
  for (auto &named : arguments.named) {
    auto same = std::find_if(entries.begin(), entries.end(), [&](const auto &e) {
      return e.first.is(Kind::text) && e.first.text() == named.first;
    });
    if (same != entries.end())
      same->second = named.second;
    else
      entries.emplace_back(text(named.first), named.second);
  }
  if (name == "dict")
    return isFailed() ? Value() : dict(std::move(entries));
  Namespace space;
  for (auto &entry : entries) {
    if (!entry.first.is(Kind::text) || entry.first.text().empty() || entry.first.text()[0] == '_')
      return fail("the members of a namespace need names that begin with no underscore");
    space.members.emplace_back(entry.first.text(), entry.second);
  }
  spaces_.push_back(std::move(space));
  return charge(1, static_cast<int64_t>(sizeof(Namespace) + entries.size() * sizeof(Value)))
             ? Value::space(&spaces_.back())
             : Value();
}

Value Interpreter::range(Arguments &arguments) {
  size_t count = arguments.positional.size();
  if (count < 1 || count > 3 || !arguments.named.empty())
    return fail("range takes one to three numbers");
  for (const Value &value : arguments.positional)
    if (!value.isWhole())
      return fail(value.is(Kind::undefined)
                      ? value.why()
                      : std::string("range needs whole numbers, got a ") + typeName(value));
  int64_t start = count > 1 ? arguments.positional[0].integer() : 0;
  int64_t stop = arguments.positional[count > 1 ? 1 : 0].integer();
  int64_t step = count > 2 ? arguments.positional[2].integer() : 1;
  if (step == 0)
    return fail("the step of range is 0");
  std::vector<Value> items;
  for (int64_t at = start; step > 0 ? at < stop : at > stop;) {
    // The sandbox of transformers has the same bound.
    if (items.size() == 100000)
      return fail("range has more than 100000 numbers");
    items.push_back(Value::integer(at));
    if (__builtin_add_overflow(at, step, &at))
      break;
  }
  return list(std::move(items), Flavour::view);
}

Value Interpreter::strftimeNow(Arguments &arguments) {
  std::vector<Value> values;
  if (!bind("strftime_now", arguments, {"format"}, 1, values))
    return Value();
  if (!values[0].is(Kind::text))
    return fail("strftime_now needs a string");
  char buffer[1024];
  // One character more, so that an empty result differs from one that does not fit.
  std::string format = values[0].text() + "|";
  size_t length = format.find('\0') == std::string::npos
                      ? strftime(buffer, sizeof buffer, format.c_str(), &options_.now)
                      : 0;
  return length ? text(std::string(buffer, length - 1))
                : fail("strftime_now cannot use the format '" + values[0].text() + "'");
}

bool isTest(std::string_view name) {
  static constexpr std::string_view kTests[] = {
      "boolean", "callable", "defined",   "divisibleby", "eq",     "equalto",     "==",     "even",
      "false",   "float",    "ge",        ">=",          "gt",     "greaterthan", ">",      "in",
      "integer", "iterable", "le",        "<=",          "lt",     "lessthan",    "<",      "lower",
      "mapping", "ne",       "!=",        "none",        "number", "odd",         "sameas", "sequence",
      "string",  "true",     "undefined", "upper",       "filter", "test"};
  return std::find(std::begin(kTests), std::end(kTests), name) != std::end(kTests);
}

bool Interpreter::test(const std::string &name, const Value &v, Arguments &arguments) {
  auto is = [&](std::initializer_list<const char *> names) {
    return std::any_of(names.begin(), names.end(), [&](const char *n) { return name == n; });
  };
  std::vector<Value> values;
  const bool takesOne = is({"divisibleby", "eq", "equalto", "==", "ge", ">=", "gt", "greaterthan", ">", "in",
                            "le", "<=", "lt", "lessthan", "<", "ne", "!=", "sameas"});
  const std::string what = "test '" + name + "'";
  if (takesOne ? !bind(what.c_str(), arguments, {"other"}, 1, values)
               : !bind(what.c_str(), arguments, {}, 0, values))
    return false;
  if (takesOne) {
    const Value &other = values[0];
    if (is({"eq", "equalto", "=="}))
      return isEqual(v, other);
    if (is({"ne", "!="}))
      return !isEqual(v, other);
    if (name == "in")
      return isIn(v, other);
    if (name == "divisibleby")
      return isEqual(binary("%", v, other), Value::integer(0));
    if (name == "sameas") // identity as far as it can be seen: small values are the same object when equal
      return v.kind() == other.kind() &&
             (v.is(Kind::list) || v.is(Kind::dict) ? v.identity() == other.identity() : isEqual(v, other));
    const char *op = is({"ge", ">="})                 ? ">="
                     : is({"gt", "greaterthan", ">"}) ? ">"
                     : is({"le", "<="})               ? "<="
                                                      : "<";
    return compare(op, v, other);
  }
  if (name == "even" || name == "odd")
    return isEqual(binary("%", v, Value::integer(2)), Value::integer(name == "odd"));
  if (name == "lower" || name == "upper") {
    Value changed = classify(str(v), "is" + name);
    return isTrue(changed);
  }
  if (name == "filter" || name == "test")
    return v.is(Kind::text) && (name == "filter" ? isFilter(v.text()) : isTest(v.text()));
  const bool isGenerator = v.is(Kind::list) && v.list().flavour == Flavour::generator;
  return name == "defined"     ? !v.is(Kind::undefined)
         : name == "undefined" ? v.is(Kind::undefined)
         : name == "none"      ? v.is(Kind::none)
         : name == "boolean"   ? v.is(Kind::boolean)
         : name == "true"      ? v.is(Kind::boolean) && v.integer()
         : name == "false"     ? v.is(Kind::boolean) && !v.integer()
         : name == "integer"   ? v.is(Kind::integer)
         : name == "float"     ? v.is(Kind::real)
         : name == "number"    ? v.isNumber()
         : name == "string"    ? v.is(Kind::text)
         : name == "mapping"   ? v.is(Kind::dict)
         : name == "callable"  ? v.is(Kind::callable)
         : name == "iterable"  ? v.is(Kind::undefined) || v.is(Kind::text) || v.is(Kind::list) ||
                                     v.is(Kind::dict) || v.is(Kind::loop)
                               : v.is(Kind::undefined) || v.is(Kind::text) ||
                                     (v.is(Kind::list) && !isGenerator) || v.is(Kind::dict);
}

} // namespace llmc::runtime::jinja
