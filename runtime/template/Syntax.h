// A template as a tree, and the way from text to tree. Whitespace control as chat templates have it:
// trim_blocks and lstrip_blocks on, one final line feed dropped.
#pragma once
#include "absl/status/statusor.h"
#include "runtime/template/Value.h"

namespace llmc::runtime::jinja {

enum class Token : uint8_t {
  data,
  variableBegin,
  variableEnd,
  blockBegin,
  blockEnd,
  name,
  integer,
  real,
  text,
  op,
  end
};

struct Lexeme {
  Token token;
  std::string text; ///< of strings with escapes resolved
  uint32_t at;      ///< byte in the template
};

/// Source with line ends made "\n"; knows where a byte stands.
class Source {
public:
  Source(std::string_view text, std::string what);
  const std::string &text() const { return text_; }
  /// "WHAT: line 3, column 7: MESSAGE"
  std::string message(uint32_t at, const std::string &message) const;

private:
  std::string text_, what_;
};

absl::StatusOr<std::vector<Lexeme>> lex(const Source &source);

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

enum class Node : uint8_t {
  constant,    ///< value
  name,        ///< text
  list,        ///< children
  tuple,       ///< children
  dict,        ///< children: key, value, key, value, ...
  attribute,   ///< child . text
  item,        ///< child [ child ]
  slice,       ///< child [ child : child : child ], parts may be null
  call,        ///< first child is what is called, the others and `named` its arguments
  filter,      ///< text; first child is what it is applied to, null in a filter block
  test,        ///< text
  negate,      ///< -child
  plus,        ///< +child
  logicalNot,  ///< not child
  logicalAnd,  ///< two children
  logicalOr,   ///< two children
  binary,      ///< operator in text
  compare,     ///< children with operators in `operators` between
  concatenate, ///< children joined by ~
  conditional, ///< child 0 if child 1 else child 2, which may be null
};

struct Expression {
  Node node;
  uint32_t at;
  std::string text;
  Value value;
  std::vector<ExpressionPtr> children;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  std::vector<std::string> operators;
  int depth = 1;
};

enum class Form : uint8_t {
  text,       ///< name holds it
  output,     ///< first
  loop,       ///< for target in first if second: body, else otherwise
  branch,     ///< if first: body, else otherwise
  set,        ///< target = first
  setBlock,   ///< target = body, through the filter first if there is one
  macro,      ///< name, parameters, body
  filter,     ///< body through first
  with,       ///< parameters, body
  generation, ///< body; marks what the model says, for training
  leave,      ///< break
  skip,       ///< continue
};

struct Statement {
  Form form;
  uint32_t at;
  std::string name;
  ExpressionPtr target, first, second;
  std::vector<std::unique_ptr<Statement>> body, otherwise;
  std::vector<std::pair<ExpressionPtr, ExpressionPtr>> parameters; ///< name and value, which may be null
};
using Body = std::vector<std::unique_ptr<Statement>>;

/// InvalidArgument for wrong syntax, Unimplemented for a construct that is not supported; both say where.
absl::StatusOr<Body> parse(const Source &source);

/// Whether Interpreter has a filter or test of this name.
bool isFilter(std::string_view name);
bool isTest(std::string_view name);

} // namespace llmc::runtime::jinja
