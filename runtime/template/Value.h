// What a template computes with: Python's values as far as chat templates need them. Immutable but for
// namespaces.
#pragma once
#include "absl/status/statusor.h"
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace llmc::runtime::jinja {

enum class Kind : uint8_t {
  undefined,
  none,
  boolean,
  integer,
  real,
  text,
  list,
  dict,
  space,
  loop,
  callable
};
/// What a sequence is in Python. A generator is always true, has no length and can be gone through once; a
/// view or range is never printed here.
enum class Flavour : uint8_t { list, tuple, generator, view };

/// Values nest no deeper, so that walking and freeing them needs little stack.
inline constexpr int kMaxNesting = 64;

class Value;
struct List;
struct Dict;
struct Loop;
struct Callable;
struct Statement;
struct Scope;

/// What namespace() makes; lives as long as the rendering, so that it may refer to itself.
struct Namespace;

class Value {
public:
  /// Undefined; `what` is the error when more than printing or testing is done with it.
  static Value undefined(std::string what) {
    return Value(Kind::undefined, std::make_shared<const std::string>(std::move(what)));
  }
  static Value none() { return Value(Kind::none, nullptr); }
  static Value boolean(bool b) {
    Value v(Kind::boolean, nullptr);
    v.integer_ = b;
    return v;
  }
  static Value integer(int64_t i) {
    Value v(Kind::integer, nullptr);
    v.integer_ = i;
    return v;
  }
  static Value real(double d) {
    Value v(Kind::real, nullptr);
    v.real_ = d;
    return v;
  }
  static Value text(std::string s) {
    return Value(Kind::text, std::make_shared<const std::string>(std::move(s)));
  }
  static Value space(Namespace *space) {
    Value v(Kind::space, nullptr);
    v.space_ = space;
    return v;
  }
  /// The caller keeps to kMaxNesting.
  static Value list(std::vector<Value> items, Flavour flavour = Flavour::list);
  static Value dict(std::vector<std::pair<Value, Value>> entries);
  static Value loop(std::shared_ptr<Loop> loop);
  static Value callable(Callable callable);

  Value() = default;
  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  /// An int or bool, as Python's int().
  bool isWhole() const { return kind_ == Kind::integer || kind_ == Kind::boolean; }
  bool isNumber() const { return isWhole() || kind_ == Kind::real; }
  int64_t integer() const { return integer_; }
  double real() const { return kind_ == Kind::real ? real_ : static_cast<double>(integer_); }
  const std::string &text() const { return *static_cast<const std::string *>(object_.get()); }
  std::string why() const { return object_ ? text() : "a value is undefined"; }
  const List &list() const { return *static_cast<const List *>(object_.get()); }
  const Dict &dict() const { return *static_cast<const Dict *>(object_.get()); }
  const Loop &loop() const { return *static_cast<const Loop *>(object_.get()); }
  const Callable &callable() const { return *static_cast<const Callable *>(object_.get()); }
  Namespace *space() const { return space_; }
  const void *identity() const { return object_.get(); }
  /// 0 for what holds no other values.
  int depth() const;

private:
  Value(Kind kind, std::shared_ptr<const void> object) : kind_(kind), object_(std::move(object)) {}
  Kind kind_ = Kind::undefined;
  union {
    int64_t integer_ = 0;
    double real_;
    Namespace *space_;
  };
  std::shared_ptr<const void> object_;
};

struct List {
  std::vector<Value> items;
  Flavour flavour;
  int depth;
  mutable bool isConsumed = false; ///< of a generator
};

struct Dict {
  std::vector<std::pair<Value, Value>> entries; ///< in order of insertion
  int depth;
  /// Null when there is none.
  const Value *find(const Value &key) const;
  const Value *find(std::string_view key) const;
};

struct Loop {
  std::vector<Value> items;
  size_t index = 0;
  int depth = 0;
};

struct Callable {
  enum class Kind { function, method, macro } kind;
  std::string name;
  Value self;                       ///< of a method
  const Statement *macro = nullptr; ///< and where it was defined:
  Scope *scope = nullptr;
};

struct Namespace {
  std::vector<std::pair<std::string, Value>> members;
  Value *find(std::string_view name);
};

/// bool(value).
bool isTrue(const Value &value);
/// a == b; never an error.
bool isEqual(const Value &a, const Value &b);
/// type(value).__name__
const char *typeName(const Value &value);
/// Appends str(value) or repr(value); an error's text, or "".
std::string print(const Value &value, bool isRepr, std::string &out);
/// repr() of a float.
std::string realText(double value);

struct JsonFormat {
  bool isAscii = false, isSorted = false, isIndented = false;
  std::string indent, item = ", ", key = ": ";
};
/// Appends json.dumps(value); an error's text, or "".
std::string toJson(const Value &value, const JsonFormat &format, std::string &out);

/// A JSON text with the order of its members; `what` names it in errors.
absl::StatusOr<Value> fromJson(std::string_view text, const std::string &what);

/// White space for strip() and split() without arguments.
bool isPythonSpace(uint32_t codepoint);
/// Characters of a valid UTF-8 text.
size_t countCharacters(std::string_view text);
/// Byte offset of each character, and the size.
std::vector<size_t> characterOffsets(std::string_view text);

} // namespace llmc::runtime::jinja
