// Runs a template's tree. Every step, every byte made and every level of nesting is counted, so that no
// template runs for ever or fills the memory.
#pragma once
#include "absl/status/status.h"
#include "runtime/template/Syntax.h"
#include "runtime/template/Template.h"
#include <deque>
#include <initializer_list>

namespace llmc::runtime::jinja {

/// str.splitlines()
std::vector<std::string_view> splitLines(std::string_view text, bool isKeepingEnds);

/// Arguments of a call, evaluated.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

struct Scope {
  Scope *parent;
  std::vector<std::pair<std::string_view, Value>> values;
};

/// Levels of statements, expressions and macro calls: what native stack they need is bounded with them.
inline constexpr int kMaxLevels = 600;

class Interpreter {
public:
  Interpreter(const Source &source, const TemplateOptions &options) : source_(source), options_(options) {}
  absl::StatusOr<std::string> render(const Body &body, const Dict &variables);

private:
  enum class Flow { normal, leave, skip };
  struct Deeper {
    explicit Deeper(Interpreter &i) : interpreter(i) {
      if (++interpreter.depth_ > kMaxLevels)
        interpreter.fail("the template calls itself too deeply");
    }
    ~Deeper() { --interpreter.depth_; }
    Interpreter &interpreter;
  };

  // Statements (Interpreter.cpp).
  Flow run(const Body &body);
  Flow run(const Statement &statement);
  Flow runLoop(const Statement &loop);
  void runSet(const Statement &set);
  void runWith(const Statement &with);
  std::string capture(const Body &body);
  bool assign(const Expression &target, const Value &value);
  void emit(std::string_view text);
  void set(std::string_view name, Value value);
  const Value *find(std::string_view name) const;
  Scope *enter(Scope *parent);
  void leave(Scope *outer, size_t macros);

  // Expressions (Evaluate.cpp).
  Value evaluate(const Expression &e);
  Value evaluateName(const Expression &e);
  Value evaluateItems(const Expression &e);
  Value evaluateDict(const Expression &e);
  Value evaluateSlice(const Expression &e);
  Value evaluateCall(const Expression &e);
  Value evaluateFilter(const Expression &e, const Value *subject);
  Value evaluateCompare(const Expression &e);
  Value evaluateConcatenate(const Expression &e);
  bool evaluateArguments(const Expression &call, size_t first, Arguments &arguments);
  Value binary(const std::string &op, const Value &a, const Value &b);
  Value wholeBinary(const std::string &op, int64_t a, int64_t b);
  Value realBinary(const std::string &op, double a, double b);
  Value repeat(const Value &what, int64_t times);
  bool compare(const std::string &op, const Value &a, const Value &b);
  int order(const std::string &op, const Value &a, const Value &b);
  bool isIn(const Value &item, const Value &container);
  Value callMacro(const Callable &macro, Arguments &arguments);

  // What Python objects have (Evaluate.cpp, Methods.cpp).
  Value attribute(const Value &object, std::string_view name);
  Value loopAttribute(const Loop &loop, std::string_view name);
  Value item(const Value &object, const Value &key);
  bool iterate(const Value &value, std::vector<Value> &items);
  Value callMethod(const Callable &method, Arguments &arguments);
  Value textMethod(const std::string &text, const std::string &name, Arguments &arguments);
  Value split(const std::string &text, const std::string &name, Arguments &arguments);
  Value strip(const std::string &text, const std::string &name, Arguments &arguments);
  Value startsOrEndsWith(const std::string &text, const std::string &name, Arguments &arguments);
  Value search(const std::string &text, const std::string &name, Arguments &arguments);
  Value classify(const std::string &text, const std::string &name);
  Value join(const std::string &separator, const std::vector<Value> &items, bool isConverting);
  Value replace(const std::string &text, const std::string &from, const std::string &to, int64_t count);
  Value changeCase(const std::string &text, std::string_view how);
  Value strip(const std::string &text, const Value &characters, bool isLeft, bool isRight);

  // Names that templates are given (Functions.cpp, Filters.cpp).
  bool isFunction(std::string_view name) const;
  Value callFunction(const std::string &name, Arguments &arguments);
  Value range(Arguments &arguments);
  Value strftimeNow(Arguments &arguments);
  Value applyFilter(const std::string &name, const Value &subject, Arguments &arguments);
  Value filterJson(const Value &subject, Arguments &arguments);
  Value filterNumber(const std::string &name, const Value &subject, Arguments &arguments);
  Value filterRound(const Value &subject, Arguments &arguments);
  Value filterSort(const std::string &name, const Value &subject, Arguments &arguments);
  Value filterSelect(const std::string &name, const Value &subject, Arguments &arguments);
  Value filterMap(const Value &subject, Arguments &arguments);
  Value filterIndent(const Value &subject, Arguments &arguments);
  Value filterLength(const Value &subject);
  Value path(const Value &object, const Value &dotted);
  Value sortKey(const Value &item, const Value &attribute, bool isCaseSensitive);
  bool test(const std::string &name, const Value &subject, Arguments &arguments);

  // Values, with their cost.
  Value text(std::string text);
  Value list(std::vector<Value> items, Flavour flavour = Flavour::list);
  Value dict(std::vector<std::pair<Value, Value>> entries);
  std::string str(const Value &value);
  bool charge(int64_t steps, int64_t bytes = 0);
  /// Arguments by the names of parameters; false and an error when there are too many, unknown ones or too
  /// few.
  bool bind(const char *what, Arguments &arguments, std::initializer_list<const char *> names,
            size_t required, std::vector<Value> &values);
  Value fail(const std::string &message);
  bool isFailed() const { return !error_.ok(); }

  const Source &source_;
  const TemplateOptions &options_;
  absl::Status error_;
  uint32_t at_ = 0; ///< what is being evaluated, for errors
  int depth_ = 0;
  int64_t steps_ = 0, bytes_ = 0;
  std::string *out_ = nullptr;
  Scope *scope_ = nullptr;
  std::deque<std::unique_ptr<Scope>> kept_; ///< scopes that a macro may still look into
  std::deque<Namespace> spaces_;
  size_t macros_ = 0;
};

} // namespace llmc::runtime::jinja
