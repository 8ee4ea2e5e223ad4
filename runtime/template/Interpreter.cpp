// Statements, scopes and budgets. A loop's body, a macro and a captured block have a scope of their own; an
// if has none.
#include "runtime/template/Interpreter.h"
#include <algorithm>

namespace llmc::runtime::jinja {

absl::StatusOr<std::string> Interpreter::render(const Body &body, const Dict &variables) {
  std::string out;
  out_ = &out;
  Scope given{nullptr, {}}, top{&given, {}};
  for (const auto &entry : variables.entries)
    if (entry.first.is(Kind::text))
      given.values.emplace_back(entry.first.text(), entry.second);
  scope_ = &top;
  run(body);
  if (isFailed())
    return error_;
  return out;
}

Value Interpreter::fail(const std::string &message) {
  if (error_.ok())
    error_ = absl::InvalidArgumentError(source_.message(at_, message));
  return Value();
}

bool Interpreter::charge(int64_t steps, int64_t bytes) {
  steps_ += steps;
  bytes_ += bytes;
  if (steps_ > options_.steps)
    fail("the template takes more than " + std::to_string(options_.steps) + " steps");
  if (bytes_ > options_.bytes)
    fail("the template makes more than " + std::to_string(options_.bytes) + " bytes of text");
  return !isFailed();
}

Value Interpreter::text(std::string text) {
  return charge(0, static_cast<int64_t>(text.size())) ? Value::text(std::move(text)) : Value();
}

Value Interpreter::list(std::vector<Value> items, Flavour flavour) {
  if (!charge(0, static_cast<int64_t>(items.size() * sizeof(Value))))
    return Value();
  Value value = Value::list(std::move(items), flavour);
  return value.depth() <= kMaxNesting ? value
                                      : fail("values are nested deeper than " + std::to_string(kMaxNesting));
}

Value Interpreter::dict(std::vector<std::pair<Value, Value>> entries) {
  if (!charge(0, static_cast<int64_t>(entries.size() * 2 * sizeof(Value))))
    return Value();
  Value value = Value::dict(std::move(entries));
  return value.depth() <= kMaxNesting ? value
                                      : fail("values are nested deeper than " + std::to_string(kMaxNesting));
}

std::string Interpreter::str(const Value &value) {
  if (value.is(Kind::text))
    return value.text();
  std::string out;
  if (std::string error = print(value, false, out); !error.empty())
    fail(error);
  charge(0, static_cast<int64_t>(out.size()));
  return out;
}

void Interpreter::emit(std::string_view text) {
  if (charge(0, static_cast<int64_t>(text.size())))
    out_->append(text);
}

const Value *Interpreter::find(std::string_view name) const {
  for (const Scope *scope = scope_; scope; scope = scope->parent)
    for (auto entry = scope->values.rbegin(); entry != scope->values.rend(); ++entry)
      if (entry->first == name)
        return &entry->second;
  return nullptr;
}

void Interpreter::set(std::string_view name, Value value) {
  for (auto &entry : scope_->values)
    if (entry.first == name) {
      entry.second = std::move(value);
      return;
    }
  scope_->values.emplace_back(name, std::move(value));
}

Scope *Interpreter::enter(Scope *parent) {
  Scope *outer = scope_;
  kept_.push_back(std::make_unique<Scope>(Scope{parent, {}}));
  scope_ = kept_.back().get();
  return outer;
}

/// Goes back to `outer`; the scope that was entered when there were `macros` macros is freed if no macro
/// looks into it.
void Interpreter::leave(Scope *outer, size_t macros) {
  scope_ = outer;
  if (macros == macros_)
    kept_.pop_back();
}

Interpreter::Flow Interpreter::run(const Body &body) {
  for (const auto &statement : body) {
    Flow flow = run(*statement);
    if (isFailed() || flow != Flow::normal)
      return flow;
  }
  return Flow::normal;
}

Interpreter::Flow Interpreter::run(const Statement &s) {
  Deeper deeper(*this);
  at_ = s.at;
  if (!charge(1))
    return Flow::normal;
  switch (s.form) {
  case Form::text:
    emit(s.name);
    break;
  case Form::output: {
    Value value = evaluate(*s.first);
    at_ = s.first->at;
    if (!isFailed())
      emit(str(value));
    break;
  }
  case Form::branch:
    for (const Statement *branch = &s;;) {
      if (isTrue(evaluate(*branch->first)))
        return isFailed() ? Flow::normal : run(branch->body);
      if (isFailed())
        return Flow::normal;
      // Not by recursion: there may be many elif.
      if (branch->otherwise.size() != 1 || branch->otherwise[0]->form != Form::branch)
        return run(branch->otherwise);
      branch = branch->otherwise[0].get();
    }
  case Form::loop:
    return runLoop(s);
  case Form::set:
  case Form::setBlock:
    runSet(s);
    break;
  case Form::macro: {
    Callable macro{Callable::Kind::macro, s.name, Value(), &s, scope_};
    ++macros_;
    set(s.name, Value::callable(std::move(macro)));
    break;
  }
  case Form::filter: {
    std::string inner = capture(s.body);
    if (isFailed())
      break;
    Value subject = text(std::move(inner));
    Value value = evaluateFilter(*s.first, &subject);
    if (!isFailed())
      emit(str(value));
    break;
  }
  case Form::with:
    runWith(s);
    break;
  case Form::generation: {
    std::string inner = capture(s.body);
    emit(inner);
    break;
  }
  case Form::leave:
    return Flow::leave;
  case Form::skip:
    return Flow::skip;
  }
  return Flow::normal;
}

Interpreter::Flow Interpreter::runLoop(const Statement &s) {
  Value over = evaluate(*s.first);
  std::vector<Value> items;
  at_ = s.first->at;
  if (isFailed() || !iterate(over, items))
    return Flow::normal;
  if (s.second) { // keep those for which the condition holds
    std::vector<Value> kept;
    for (Value &one : items) {
      size_t macros = macros_;
      Scope *outer = enter(scope_);
      bool isKept = charge(1) && assign(*s.target, one) && isTrue(evaluate(*s.second));
      leave(outer, macros);
      if (isFailed())
        return Flow::normal;
      if (isKept)
        kept.push_back(std::move(one));
    }
    items = std::move(kept);
  }
  auto loop = std::make_shared<Loop>();
  for (const Value &one : items)
    loop->depth = std::max(loop->depth, one.depth() + 1);
  loop->items = std::move(items);
  bool isCompleted = false;
  for (loop->index = 0; loop->index < loop->items.size(); ++loop->index) {
    size_t macros = macros_;
    Scope *outer = enter(scope_);
    scope_->values.emplace_back("loop", Value::loop(loop));
    Flow flow = Flow::normal;
    at_ = s.at;
    if (charge(1) && assign(*s.target, loop->items[loop->index]))
      flow = run(s.body);
    leave(outer, macros);
    isCompleted |= flow == Flow::normal;
    if (isFailed() || flow == Flow::leave)
      break;
  }
  // As in Jinja, else is for loops of which no round came to its end: also when all were left by break or
  // continue.
  return isCompleted || isFailed() ? Flow::normal : run(s.otherwise);
}

void Interpreter::runSet(const Statement &s) {
  Value value;
  if (s.form == Form::set) {
    value = evaluate(*s.first);
  } else {
    std::string inner = capture(s.body);
    if (isFailed())
      return;
    value = text(std::move(inner));
    if (s.first)
      value = evaluateFilter(*s.first, &value);
  }
  at_ = s.at;
  if (!isFailed())
    assign(*s.target, value);
}

void Interpreter::runWith(const Statement &s) {
  std::vector<Value> values;
  for (const auto &parameter : s.parameters)
    values.push_back(evaluate(*parameter.second));
  size_t macros = macros_;
  Scope *outer = enter(scope_);
  for (size_t i = 0; i < values.size() && !isFailed(); ++i)
    assign(*s.parameters[i].first, values[i]);
  if (!isFailed())
    run(s.body);
  leave(outer, macros);
}

std::string Interpreter::capture(const Body &body) {
  std::string text;
  std::string *outer = std::exchange(out_, &text);
  size_t macros = macros_;
  Scope *scope = enter(scope_);
  run(body);
  leave(scope, macros);
  out_ = outer;
  return text;
}

bool Interpreter::assign(const Expression &target, const Value &value) {
  if (target.node == Node::name) {
    set(target.text, value);
    return true;
  }
  if (target.node == Node::attribute) {
    const Value *object = find(target.children[0]->text);
    if (!object || !object->is(Kind::space))
      return fail("'" + target.children[0]->text + "' is not a namespace, so its members cannot be set"),
             false;
    if (target.text[0] == '_')
      return fail("a member of a namespace must not begin with an underscore"), false;
    Namespace &space = *object->space();
    if (Value *member = space.find(target.text))
      *member = value;
    else
      space.members.emplace_back(target.text, value);
    return charge(static_cast<int64_t>(space.members.size()) / 16);
  }
  std::vector<Value> parts;
  if (!iterate(value, parts))
    return false;
  if (parts.size() != target.children.size())
    return fail("expects " + std::to_string(target.children.size()) + " values to unpack, got " +
                std::to_string(parts.size())),
           false;
  for (size_t i = 0; i < parts.size(); ++i)
    if (!assign(*target.children[i], parts[i]))
      return false;
  return true;
}

Value Interpreter::callMacro(const Callable &callable, Arguments &arguments) {
  Deeper deeper(*this);
  const Statement &macro = *callable.macro;
  const auto &parameters = macro.parameters;
  if (arguments.positional.size() > parameters.size())
    return fail("macro '" + macro.name + "' takes not more than " + std::to_string(parameters.size()) +
                " arguments");
  std::vector<const Value *> given(parameters.size(), nullptr);
  for (size_t i = 0; i < arguments.positional.size(); ++i)
    given[i] = &arguments.positional[i];
  for (const auto &named : arguments.named) {
    auto at = std::find_if(parameters.begin(), parameters.end(),
                           [&](const auto &parameter) { return parameter.first->text == named.first; });
    if (at == parameters.end() || given[static_cast<size_t>(at - parameters.begin())])
      return fail("macro '" + macro.name + "' takes no argument '" + named.first +
                  "', or was given it twice");
    given[static_cast<size_t>(at - parameters.begin())] = &named.second;
  }
  std::string text;
  std::string *out = std::exchange(out_, &text);
  size_t macros = macros_;
  Scope *outer = enter(callable.scope);
  for (size_t i = 0; i < parameters.size() && !isFailed(); ++i)
    set(parameters[i].first->text,
        given[i] ? *given[i]
        : parameters[i].second
            ? evaluate(*parameters[i].second)
            : Value::undefined("parameter '" + parameters[i].first->text + "' was not provided"));
  if (!isFailed())
    run(macro.body);
  leave(outer, macros);
  out_ = out;
  return isFailed() ? Value() : this->text(std::move(text));
}

} // namespace llmc::runtime::jinja
