// Expressions: Python's operators, attributes, items and calls, with Jinja's undefined values.
#include "runtime/template/Interpreter.h"
#include "runtime/tokenizer/Utf8.h"
#include <algorithm>
#include <cmath>

namespace llmc::runtime::jinja {

Value Interpreter::evaluate(const Expression &e) {
  Deeper deeper(*this);
  if (!charge(1))
    return Value();
  at_ = e.at;
  switch (e.node) {
  case Node::constant:
    return e.value;
  case Node::name:
    return evaluateName(e);
  case Node::list:
  case Node::tuple:
    return evaluateItems(e);
  case Node::dict:
    return evaluateDict(e);
  case Node::attribute: {
    Value object = evaluate(*e.children[0]);
    at_ = e.at;
    return isFailed() ? Value() : attribute(object, e.text);
  }
  case Node::item: {
    Value object = evaluate(*e.children[0]), key = evaluate(*e.children[1]);
    at_ = e.at;
    return isFailed() ? Value() : item(object, key);
  }
  case Node::slice:
    return evaluateSlice(e);
  case Node::call:
    return evaluateCall(e);
  case Node::filter:
    return evaluateFilter(e, nullptr);
  case Node::test: {
    Value subject = evaluate(*e.children[0]);
    Arguments arguments;
    if (!evaluateArguments(e, 1, arguments))
      return Value();
    bool result = test(e.text, subject, arguments);
    return isFailed() ? Value() : Value::boolean(result);
  }
  case Node::negate:
  case Node::plus: {
    Value value = evaluate(*e.children[0]);
    at_ = e.at;
    if (isFailed())
      return Value();
    if (!value.isNumber())
      return fail(value.is(Kind::undefined) ? value.why()
                                            : std::string("a ") + typeName(value) + " has no sign");
    if (value.is(Kind::real))
      return Value::real(e.node == Node::negate ? -value.real() : value.real());
    return wholeBinary(e.node == Node::negate ? "-" : "+", 0, value.integer());
  }
  case Node::logicalNot:
    return Value::boolean(!isTrue(evaluate(*e.children[0])));
  case Node::logicalAnd: {
    Value left = evaluate(*e.children[0]);
    return isTrue(left) && !isFailed() ? evaluate(*e.children[1]) : left;
  }
  case Node::logicalOr: {
    Value left = evaluate(*e.children[0]);
    return isTrue(left) || isFailed() ? left : evaluate(*e.children[1]);
  }
  case Node::binary: {
    Value left = evaluate(*e.children[0]), right = evaluate(*e.children[1]);
    at_ = e.at;
    return isFailed() ? Value() : binary(e.text, left, right);
  }
  case Node::compare:
    return evaluateCompare(e);
  case Node::concatenate:
    return evaluateConcatenate(e);
  case Node::conditional:
    if (isTrue(evaluate(*e.children[1])))
      return isFailed() ? Value() : evaluate(*e.children[0]);
    return isFailed() || !e.children[2] ? Value::undefined("the condition is false and there is no else")
                                        : evaluate(*e.children[2]);
  }
  return Value();
}

Value Interpreter::evaluateName(const Expression &e) {
  if (const Value *value = find(e.text))
    return *value;
  if (isFunction(e.text))
    return Value::callable({Callable::Kind::function, e.text, Value(), nullptr, nullptr});
  return Value::undefined("'" + e.text + "' is undefined");
}

Value Interpreter::evaluateItems(const Expression &e) {
  std::vector<Value> items;
  for (const auto &child : e.children)
    items.push_back(evaluate(*child));
  return isFailed() ? Value()
                    : list(std::move(items), e.node == Node::tuple ? Flavour::tuple : Flavour::list);
}

Value Interpreter::evaluateDict(const Expression &e) {
  std::vector<std::pair<Value, Value>> entries;
  for (size_t i = 0; i < e.children.size(); i += 2) {
    Value key = evaluate(*e.children[i]), value = evaluate(*e.children[i + 1]);
    at_ = e.children[i]->at;
    if (key.is(Kind::list) || key.is(Kind::dict) || key.is(Kind::undefined))
      return fail(std::string("a ") + typeName(key) + " cannot be a key of a dict");
    if (!charge(1 + static_cast<int64_t>(entries.size()) / 16))
      return Value();
    auto same = std::find_if(entries.begin(), entries.end(),
                             [&](const auto &entry) { return isEqual(entry.first, key); });
    if (same != entries.end())
      same->second = std::move(value);
    else
      entries.emplace_back(std::move(key), std::move(value));
  }
  return isFailed() ? Value() : dict(std::move(entries));
}

Value Interpreter::evaluateConcatenate(const Expression &e) {
  std::string all;
  for (const auto &child : e.children) {
    Value value = evaluate(*child);
    at_ = e.at;
    if (isFailed())
      return Value();
    all += str(value);
  }
  return isFailed() ? Value() : text(std::move(all));
}

/// The places that object[start:stop:step] takes of `count`.
static std::vector<size_t> slicePlaces(int64_t count, const Value *parts, bool &isZeroStep) {
  int64_t step = parts[2].is(Kind::none) ? 1 : parts[2].integer();
  std::vector<size_t> places;
  isZeroStep = step == 0;
  if (isZeroStep)
    return places;
  auto place = [&](const Value &value, int64_t otherwise) {
    if (value.is(Kind::none))
      return otherwise;
    int64_t at = value.integer(), low = step > 0 ? 0 : -1, high = step > 0 ? count : count - 1;
    if (at < 0)
      at = at < -count ? low : at + count;
    return std::min(std::max(at, low), high);
  };
  int64_t start = place(parts[0], step > 0 ? 0 : count - 1), stop = place(parts[1], step > 0 ? count : -1);
  for (int64_t at = start; step > 0 ? at < stop : at > stop;) {
    places.push_back(static_cast<size_t>(at));
    // One further may be beyond 64 bits.
    if (step > 0 ? step >= stop - at : step <= stop - at)
      break;
    at += step;
  }
  return places;
}

Value Interpreter::evaluateSlice(const Expression &e) {
  Value object = evaluate(*e.children[0]), parts[3] = {Value::none(), Value::none(), Value::none()};
  for (size_t i = 0; i < 3; ++i)
    if (e.children[i + 1])
      parts[i] = evaluate(*e.children[i + 1]);
  at_ = e.at;
  if (isFailed())
    return Value();
  for (const Value &part : parts)
    if (!part.is(Kind::none) && !part.isWhole())
      return fail("a slice needs whole numbers, got a " + std::string(typeName(part)));
  bool isList = object.is(Kind::list) && object.list().flavour != Flavour::generator;
  if (!isList && !object.is(Kind::text))
    return fail(object.is(Kind::undefined) ? object.why()
                                           : std::string("a ") + typeName(object) + " cannot be sliced");
  std::vector<size_t> offsets = isList ? std::vector<size_t>() : characterOffsets(object.text());
  size_t count = isList ? object.list().items.size() : offsets.size() - 1;
  bool isZeroStep;
  std::vector<size_t> places = slicePlaces(static_cast<int64_t>(count), parts, isZeroStep);
  if (isZeroStep)
    return fail("the step of a slice is 0");
  if (!charge(static_cast<int64_t>(count) / 16))
    return Value();
  if (!isList) {
    std::string result;
    for (size_t at : places)
      result.append(object.text(), offsets[at], offsets[at + 1] - offsets[at]);
    return text(std::move(result));
  }
  std::vector<Value> items;
  for (size_t at : places)
    items.push_back(object.list().items[at]);
  return list(std::move(items), object.list().flavour);
}

bool Interpreter::evaluateArguments(const Expression &call, size_t first, Arguments &arguments) {
  for (size_t i = first; i < call.children.size(); ++i)
    arguments.positional.push_back(evaluate(*call.children[i]));
  for (const auto &named : call.named)
    arguments.named.emplace_back(named.first, evaluate(*named.second));
  at_ = call.at;
  return !isFailed();
}

Value Interpreter::evaluateCall(const Expression &e) {
  Value callee = evaluate(*e.children[0]);
  Arguments arguments;
  if (isFailed() || !evaluateArguments(e, 1, arguments))
    return Value();
  if (!callee.is(Kind::callable))
    return fail(callee.is(Kind::undefined) ? callee.why()
                                           : std::string("a ") + typeName(callee) + " cannot be called");
  const Callable &callable = callee.callable();
  switch (callable.kind) {
  case Callable::Kind::function:
    return callFunction(callable.name, arguments);
  case Callable::Kind::method:
    return callMethod(callable, arguments);
  case Callable::Kind::macro:
    return callMacro(callable, arguments);
  }
  return Value();
}

Value Interpreter::evaluateFilter(const Expression &e, const Value *subject) {
  Value inner;
  if (!e.children[0])
    inner = *subject;
  else
    inner = e.children[0]->node == Node::filter ? evaluateFilter(*e.children[0], subject)
                                                : evaluate(*e.children[0]);
  Arguments arguments;
  if (isFailed() || !charge(1) || !evaluateArguments(e, 1, arguments))
    return Value();
  return applyFilter(e.text, inner, arguments);
}

Value Interpreter::evaluateCompare(const Expression &e) {
  Value left = evaluate(*e.children[0]);
  for (size_t i = 0; i < e.operators.size(); ++i) {
    Value right = evaluate(*e.children[i + 1]);
    at_ = e.at;
    if (isFailed() || !compare(e.operators[i], left, right))
      return isFailed() ? Value() : Value::boolean(false);
    left = std::move(right);
  }
  return isFailed() ? Value() : Value::boolean(true);
}

bool Interpreter::compare(const std::string &op, const Value &a, const Value &b) {
  if (op == "==" || op == "!=")
    return isEqual(a, b) == (op == "==");
  if (op == "in" || op == "not in")
    return isIn(a, b) == (op == "in");
  int sign = order(op, a, b);
  // A NaN (2) is in no order with anything.
  return sign != 2 && (op == "<" ? sign < 0 : op == "<=" ? sign <= 0 : op == ">" ? sign > 0 : sign >= 0);
}

/// -1, 0 or 1; 2 with NaN.
int Interpreter::order(const std::string &op, const Value &a, const Value &b) {
  if (a.isWhole() && b.isWhole())
    return a.integer() < b.integer() ? -1 : a.integer() > b.integer();
  if (a.isNumber() && b.isNumber())
    return std::isnan(a.real()) || std::isnan(b.real()) ? 2 : a.real() < b.real() ? -1 : a.real() > b.real();
  if (a.is(Kind::text) && b.is(Kind::text)) {
    int sign = a.text().compare(b.text()); // UTF-8 has the order of code points
    return sign < 0 ? -1 : sign > 0;
  }
  if (a.is(Kind::list) && b.is(Kind::list) && a.list().flavour == b.list().flavour &&
      a.list().flavour <= Flavour::tuple) {
    const auto &x = a.list().items, &y = b.list().items;
    for (size_t i = 0; i < std::min(x.size(), y.size()); ++i)
      if (!isEqual(x[i], y[i]))
        return order(op, x[i], y[i]);
    return x.size() < y.size() ? -1 : x.size() > y.size();
  }
  for (const Value *value : {&a, &b})
    if (value->is(Kind::undefined))
      return fail(value->why()), 0;
  fail("'" + op + "' is not supported between a " + typeName(a) + " and a " + typeName(b));
  return 0;
}

bool Interpreter::isIn(const Value &one, const Value &container) {
  switch (container.kind()) {
  case Kind::undefined:
    return false;
  case Kind::text:
    if (!one.is(Kind::text))
      return fail(std::string("'in' a string needs a string, got a ") + typeName(one)), false;
    charge(static_cast<int64_t>(container.text().size()) / 64);
    return container.text().find(one.text()) != std::string::npos;
  case Kind::dict:
    if (one.is(Kind::list) || one.is(Kind::dict))
      return fail(std::string("a ") + typeName(one) + " cannot be a key of a dict"), false;
    charge(static_cast<int64_t>(container.dict().entries.size()) / 4);
    return container.dict().find(one) != nullptr;
  case Kind::list: {
    std::vector<Value> items;
    if (!iterate(container, items))
      return false;
    return std::any_of(items.begin(), items.end(), [&](const Value &item) { return isEqual(item, one); });
  }
  default:
    return fail(std::string("a ") + typeName(container) + " contains nothing"), false;
  }
}

Value Interpreter::repeat(const Value &what, int64_t times) {
  times = std::max<int64_t>(times, 0);
  int64_t size = static_cast<int64_t>(what.is(Kind::text) ? what.text().size()
                                                          : what.list().items.size() * sizeof(Value));
  int64_t bytes;
  if (__builtin_mul_overflow(size, times, &bytes) || bytes > options_.bytes - bytes_)
    return fail("the template makes more than " + std::to_string(options_.bytes) + " bytes of text");
  if (what.is(Kind::text)) {
    std::string result;
    for (int64_t i = 0; size && i < times; ++i)
      result += what.text();
    return text(std::move(result));
  }
  std::vector<Value> items;
  for (int64_t i = 0; size && i < times; ++i)
    items.insert(items.end(), what.list().items.begin(), what.list().items.end());
  return list(std::move(items), what.list().flavour);
}

Value Interpreter::binary(const std::string &op, const Value &a, const Value &b) {
  for (const Value *value : {&a, &b})
    if (value->is(Kind::undefined))
      return fail(value->why());
  if (a.isWhole() && b.isWhole())
    return wholeBinary(op, a.integer(), b.integer());
  if (a.isNumber() && b.isNumber())
    return realBinary(op, a.real(), b.real());
  auto isSequence = [](const Value &v) {
    return v.is(Kind::text) || (v.is(Kind::list) && v.list().flavour <= Flavour::tuple);
  };
  if (op == "+" && a.is(Kind::text) && b.is(Kind::text))
    return text(a.text() + b.text());
  if (op == "+" && isSequence(a) && isSequence(b) && a.is(Kind::list) && b.is(Kind::list) &&
      a.list().flavour == b.list().flavour) {
    std::vector<Value> items = a.list().items;
    items.insert(items.end(), b.list().items.begin(), b.list().items.end());
    return list(std::move(items), a.list().flavour);
  }
  if (op == "*" && isSequence(a) && b.isWhole())
    return repeat(a, b.integer());
  if (op == "*" && isSequence(b) && a.isWhole())
    return repeat(b, a.integer());
  if (op == "%" && a.is(Kind::text))
    return fail("formatting with % is not supported");
  return fail("'" + op + "' is not supported between a " + typeName(a) + " and a " + typeName(b));
}

Value Interpreter::wholeBinary(const std::string &op, int64_t a, int64_t b) {
  int64_t result;
  bool isTooLarge = false;
  if (op == "+") {
    isTooLarge = __builtin_add_overflow(a, b, &result);
  } else if (op == "-") {
    isTooLarge = __builtin_sub_overflow(a, b, &result);
  } else if (op == "*") {
    isTooLarge = __builtin_mul_overflow(a, b, &result);
  } else if (op == "**") {
    if (b < 0)
      return realBinary(op, static_cast<double>(a), static_cast<double>(b));
    result = 1;
    for (int64_t power = a; b > 0; b >>= 1) {
      if (b & 1)
        isTooLarge |= __builtin_mul_overflow(result, power, &result);
      if (b > 1)
        isTooLarge |= __builtin_mul_overflow(power, power, &power);
      if (isTooLarge)
        break;
    }
  } else {
    if (b == 0)
      return fail("division by zero");
    if (op == "/")
      return Value::real(static_cast<double>(a) / static_cast<double>(b));
    if (b == -1) {
      isTooLarge = op == "//" && __builtin_sub_overflow(0, a, &result);
      if (op == "%")
        result = 0;
    } else {
      // Towards minus infinity; the remainder has the divisor's sign.
      int64_t quotient = a / b, remainder = a % b;
      if (remainder != 0 && (remainder < 0) != (b < 0)) {
        --quotient;
        remainder += b;
      }
      result = op == "//" ? quotient : remainder;
    }
  }
  return isTooLarge ? fail("a number beyond 64 bits is not supported") : Value::integer(result);
}

Value Interpreter::realBinary(const std::string &op, double a, double b) {
  if (op == "+")
    return Value::real(a + b);
  if (op == "-")
    return Value::real(a - b);
  if (op == "*")
    return Value::real(a * b);
  if (op == "**") {
    if ((a == 0 && b < 0) || (a < 0 && b != std::floor(b)))
      return fail("this power is no real number");
    return Value::real(std::pow(a, b));
  }
  if (b == 0)
    return fail("division by zero");
  if (op == "/")
    return Value::real(a / b);
  double remainder = std::fmod(a, b);
  double quotient = (a - remainder) / b;
  if (remainder != 0 && (remainder < 0) != (b < 0)) {
    remainder += b;
    quotient -= 1;
  }
  if (remainder == 0)
    remainder = std::copysign(0.0, b);
  if (quotient != 0) {
    double floor = std::floor(quotient);
    quotient = quotient - floor > 0.5 ? floor + 1 : floor;
  } else {
    quotient = std::copysign(0.0, a / b);
  }
  return Value::real(op == "//" ? quotient : remainder);
}

bool Interpreter::iterate(const Value &value, std::vector<Value> &items) {
  switch (value.kind()) {
  case Kind::undefined:
    return true;
  case Kind::text: {
    // A string each, which is far more than a byte.
    if (!charge(0, static_cast<int64_t>(value.text().size() * 96)))
      return false;
    std::vector<size_t> offsets = characterOffsets(value.text());
    for (size_t i = 0; i + 1 < offsets.size(); ++i)
      items.push_back(Value::text(value.text().substr(offsets[i], offsets[i + 1] - offsets[i])));
    break;
  }
  case Kind::list:
    if (value.list().isConsumed)
      return true;
    value.list().isConsumed = value.list().flavour == Flavour::generator;
    items = value.list().items;
    break;
  case Kind::dict:
    for (const auto &entry : value.dict().entries)
      items.push_back(entry.first);
    break;
  default:
    return fail(std::string("a ") + typeName(value) + " cannot be gone through"), false;
  }
  return charge(static_cast<int64_t>(items.size()) / 4, static_cast<int64_t>(items.size() * sizeof(Value)));
}

Value Interpreter::item(const Value &object, const Value &key) {
  if (object.is(Kind::undefined))
    return fail(object.why());
  if (object.is(Kind::dict)) {
    if (!charge(static_cast<int64_t>(object.dict().entries.size()) / 16))
      return Value();
    if (const Value *value = object.dict().find(key))
      return *value;
  }
  if (key.isWhole()) {
    int64_t at = key.integer();
    auto place = [&](size_t count) { return at < 0 ? at + static_cast<int64_t>(count) : at; };
    if (object.is(Kind::list) && object.list().flavour != Flavour::generator) {
      int64_t i = place(object.list().items.size());
      if (i >= 0 && static_cast<size_t>(i) < object.list().items.size())
        return object.list().items[static_cast<size_t>(i)];
    } else if (object.is(Kind::text)) {
      std::vector<size_t> offsets = characterOffsets(object.text());
      charge(static_cast<int64_t>(offsets.size()) / 16);
      int64_t i = place(offsets.size() - 1);
      if (i >= 0 && static_cast<size_t>(i) + 1 < offsets.size())
        return text(
            object.text().substr(offsets[static_cast<size_t>(i)],
                                 offsets[static_cast<size_t>(i) + 1] - offsets[static_cast<size_t>(i)]));
    }
  }
  // Jinja falls back to the attribute of that name, a dict's member excepted, which was looked for.
  if (key.is(Kind::text))
    return attribute(object, key.text());
  std::string shown;
  print(key, true, shown);
  return Value::undefined("a " + std::string(typeName(object)) + " has no item " + shown);
}

} // namespace llmc::runtime::jinja
