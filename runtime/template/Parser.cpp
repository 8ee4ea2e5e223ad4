// Lexemes to a tree, by recursive descent with Jinja's precedences.
#include "runtime/template/Syntax.h"
#include <algorithm>
#include <cerrno>
#include <cstdlib>

namespace llmc::runtime::jinja {
namespace {

/// Tags and expressions inside each other.
constexpr int kMaxDepth = 100;

class Parser {
public:
  Parser(const Source &source, std::vector<Lexeme> lexemes) : source_(source), lexemes_(std::move(lexemes)) {}

  absl::StatusOr<Body> parse() {
    Body body = statements({});
    if (error_.ok() && here().token != Token::end)
      fail("unexpected tag '" + lexemes_[at_ + 1].text + "'", lexemes_[at_ + 1].at);
    if (!error_.ok())
      return error_;
    return body;
  }

private:
  struct Deeper {
    explicit Deeper(Parser &p) : parser(p) {
      if (++parser.depth_ > kMaxDepth)
        parser.fail("tags and expressions are nested deeper than " + std::to_string(kMaxDepth));
    }
    ~Deeper() { --parser.depth_; }
    Parser &parser;
  };

  // Lexemes. After an error everything looks like the end, so that all loops come out.
  const Lexeme &here() const { return error_.ok() ? lexemes_[at_] : lexemes_.back(); }
  bool isOp(std::string_view text) const { return here().token == Token::op && here().text == text; }
  bool isName(std::string_view text) const { return here().token == Token::name && here().text == text; }
  bool takeOp(std::string_view text) { return isOp(text) && (++at_, true); }
  bool takeName(std::string_view text) { return isName(text) && (++at_, true); }
  bool take(Token token) { return here().token == token && (++at_, true); }

  void fail(const std::string &what, uint32_t at, bool isUnsupported = false) {
    if (!error_.ok())
      return;
    std::string message = source_.message(at, what);
    error_ = isUnsupported ? absl::UnimplementedError(message) : absl::InvalidArgumentError(message);
  }
  void fail(const std::string &what) { fail(what, here().at); }
  void unsupported(const std::string &what, uint32_t at) { fail(what + " is not supported", at, true); }
  std::string found() const {
    switch (here().token) {
    case Token::end:
      return "the end of the template";
    case Token::variableEnd:
    case Token::blockEnd:
      return "the end of the tag";
    case Token::text:
      return "a string";
    default:
      return "'" + here().text + "'";
    }
  }
  void expectOp(std::string_view text) {
    if (!takeOp(text))
      fail("expects '" + std::string(text) + "', got " + found());
  }
  std::string expectName() {
    std::string text = here().text;
    if (!take(Token::name))
      fail("expects a name, got " + found());
    return text;
  }
  void expectBlockEnd() {
    if (!take(Token::blockEnd))
      fail("expects the end of the tag, got " + found());
  }

  // Expressions.
  ExpressionPtr make(Node node, uint32_t at, std::string text = "") {
    auto e = std::make_unique<Expression>();
    e->node = node;
    e->at = at;
    e->text = std::move(text);
    return e;
  }
  void add(ExpressionPtr &to, ExpressionPtr child) {
    if (child && (to->depth = std::max(to->depth, child->depth + 1)) > kMaxDepth)
      fail("the expression is nested deeper than " + std::to_string(kMaxDepth), to->at);
    to->children.push_back(std::move(child));
  }
  ExpressionPtr join(Node node, uint32_t at, std::string text, ExpressionPtr a, ExpressionPtr b = nullptr) {
    ExpressionPtr e = make(node, at, std::move(text));
    add(e, std::move(a));
    if (b)
      add(e, std::move(b));
    return e;
  }

  ExpressionPtr expression() {
    Deeper deeper(*this);
    ExpressionPtr value = disjunction();
    for (uint32_t at = here().at; takeName("if"); at = here().at) {
      ExpressionPtr condition = disjunction();
      value = join(Node::conditional, at, "", std::move(value), std::move(condition));
      add(value, takeName("else") ? expression() : nullptr);
    }
    return value;
  }

  ExpressionPtr disjunction() {
    ExpressionPtr left = conjunction();
    for (uint32_t at = here().at; takeName("or"); at = here().at)
      left = join(Node::logicalOr, at, "", std::move(left), conjunction());
    return left;
  }

  ExpressionPtr conjunction() {
    ExpressionPtr left = negation();
    for (uint32_t at = here().at; takeName("and"); at = here().at)
      left = join(Node::logicalAnd, at, "", std::move(left), negation());
    return left;
  }

  ExpressionPtr negation() {
    Deeper deeper(*this);
    uint32_t at = here().at;
    if (takeName("not"))
      return join(Node::logicalNot, at, "", negation());
    return comparison();
  }

  ExpressionPtr comparison() {
    ExpressionPtr first = sum(), chain;
    for (;;) {
      uint32_t at = here().at;
      std::string op;
      for (const char *o : {"==", "!=", "<", "<=", ">", ">="})
        if (isOp(o))
          op = o;
      if (isName("in"))
        op = "in";
      else if (isName("not") && lexemes_[at_ + 1].token == Token::name && lexemes_[at_ + 1].text == "in") {
        op = "not in";
        ++at_;
      }
      if (op.empty())
        break;
      ++at_;
      if (!chain)
        chain = join(Node::compare, at, "", std::move(first));
      chain->operators.push_back(op);
      add(chain, sum());
    }
    return chain ? std::move(chain) : std::move(first);
  }

  ExpressionPtr binaries(std::initializer_list<const char *> ops, ExpressionPtr (Parser::*next)()) {
    ExpressionPtr left = (this->*next)();
    for (;;) {
      auto op = std::find_if(ops.begin(), ops.end(), [&](const char *o) { return isOp(o); });
      if (op == ops.end())
        return left;
      uint32_t at = here().at;
      ++at_;
      left = join(Node::binary, at, *op, std::move(left), (this->*next)());
    }
  }
  ExpressionPtr sum() { return binaries({"+", "-"}, &Parser::concatenation); }
  ExpressionPtr product() { return binaries({"*", "/", "//", "%"}, &Parser::power); }
  ExpressionPtr power() { return binaries({"**"}, &Parser::unary); }

  ExpressionPtr concatenation() {
    ExpressionPtr first = product();
    if (!isOp("~"))
      return first;
    ExpressionPtr all = join(Node::concatenate, here().at, "", std::move(first));
    while (takeOp("~"))
      add(all, product());
    return all;
  }

  ExpressionPtr unary() { return unary(true); }
  ExpressionPtr unary(bool isFiltered) {
    Deeper deeper(*this);
    uint32_t at = here().at;
    ExpressionPtr e;
    if (takeOp("-"))
      e = join(Node::negate, at, "", unary(false));
    else if (takeOp("+"))
      e = join(Node::plus, at, "", unary(false));
    else
      e = primary();
    e = postfix(std::move(e));
    return isFiltered ? filters(std::move(e)) : std::move(e);
  }

  ExpressionPtr constant(uint32_t at, Value value) {
    ExpressionPtr e = make(Node::constant, at);
    e->value = std::move(value);
    return e;
  }

  ExpressionPtr primary() {
    const Lexeme lexeme = here();
    uint32_t at = lexeme.at;
    switch (lexeme.token) {
    case Token::name:
      ++at_;
      if (lexeme.text == "true" || lexeme.text == "True" || lexeme.text == "false" || lexeme.text == "False")
        return constant(at, Value::boolean(lexeme.text[0] == 't' || lexeme.text[0] == 'T'));
      if (lexeme.text == "none" || lexeme.text == "None")
        return constant(at, Value::none());
      for (const char *global :
           {"cycler", "joiner", "lipsum", "caller", "varargs", "kwargs", "self", "super"})
        if (lexeme.text == global)
          unsupported("'" + lexeme.text + "'", at);
      return make(Node::name, at, lexeme.text);
    case Token::text: {
      std::string text;
      for (; here().token == Token::text; ++at_)
        text += here().text;
      return constant(at, Value::text(std::move(text)));
    }
    case Token::integer: {
      ++at_;
      errno = 0;
      int64_t number = strtoll(lexeme.text.c_str(), nullptr, 10);
      if (errno)
        unsupported("a number beyond 64 bits", at);
      return constant(at, Value::integer(number));
    }
    case Token::real:
      ++at_;
      return constant(at, Value::real(strtod(lexeme.text.c_str(), nullptr)));
    default:
      break;
    }
    if (takeOp("(")) {
      ExpressionPtr e = tuple(true, true);
      expectOp(")");
      return e;
    }
    if (takeOp("["))
      return listLiteral(at);
    if (takeOp("{"))
      return dictLiteral(at);
    fail("expects an expression, got " + found());
    return constant(at, Value::none());
  }

  ExpressionPtr listLiteral(uint32_t at) {
    ExpressionPtr list = make(Node::list, at);
    while (error_.ok() && !isOp("]")) {
      add(list, expression());
      if (!takeOp(","))
        break;
    }
    expectOp("]");
    return list;
  }

  ExpressionPtr dictLiteral(uint32_t at) {
    ExpressionPtr dict = make(Node::dict, at);
    while (error_.ok() && !isOp("}")) {
      add(dict, expression());
      expectOp(":");
      add(dict, expression());
      if (!takeOp(","))
        break;
    }
    expectOp("}");
    return dict;
  }

  bool isTupleEnd() const {
    return here().token == Token::variableEnd || here().token == Token::blockEnd ||
           here().token == Token::end || isOp(")");
  }

  /// One expression, or several with commas between, which are a tuple.
  ExpressionPtr tuple(bool isInParentheses, bool withCondition) {
    uint32_t at = here().at;
    auto one = [&] { return withCondition ? expression() : disjunction(); };
    if (isTupleEnd()) {
      if (!isInParentheses)
        fail("expects an expression, got " + found());
      return make(Node::tuple, at);
    }
    ExpressionPtr first = one();
    if (!isOp(","))
      return first;
    ExpressionPtr all = join(Node::tuple, at, "", std::move(first));
    while (takeOp(",") && !isTupleEnd() && !isName("recursive"))
      add(all, one());
    return all;
  }

  ExpressionPtr postfix(ExpressionPtr e) {
    for (;;) {
      uint32_t at = here().at;
      if (takeOp(".")) {
        const Lexeme lexeme = here();
        if (take(Token::integer))
          e = join(Node::item, at, "", std::move(e),
                   constant(at, Value::integer(strtoll(lexeme.text.c_str(), nullptr, 10))));
        else
          e = join(Node::attribute, lexeme.at, expectName(), std::move(e));
      } else if (takeOp("[")) {
        e = subscript(std::move(e), at);
      } else if (takeOp("(")) {
        e = join(Node::call, e->at, "", std::move(e));
        arguments(e);
        checkMethod(*e);
      } else {
        return e;
      }
    }
  }

  /// Methods of Python's strings that Interpreter does not have are told before anything is rendered.
  void checkMethod(const Expression &call) {
    const Expression &callee = *call.children[0];
    if (callee.node != Node::attribute)
      return;
    for (const char *name :
         {"format", "format_map", "encode", "casefold", "center", "ljust", "rjust", "expandtabs", "translate",
          "swapcase", "isidentifier", "isprintable", "istitle", "zfill", "copy", "changed"})
      if (callee.text == name)
        unsupported("method '" + callee.text + "'", callee.at);
  }

  ExpressionPtr subscript(ExpressionPtr object, uint32_t at) {
    auto isPartEnd = [&] { return isOp(":") || isOp("]") || isOp(","); };
    ExpressionPtr first = isPartEnd() ? nullptr : expression();
    if (isOp(","))
      unsupported("a subscript with commas", here().at);
    if (first && takeOp("]"))
      return join(Node::item, at, "", std::move(object), std::move(first));
    ExpressionPtr slice = join(Node::slice, at, "", std::move(object));
    add(slice, std::move(first));
    expectOp(":");
    add(slice, isPartEnd() ? nullptr : expression());
    add(slice, takeOp(":") && !isPartEnd() ? expression() : nullptr);
    expectOp("]");
    return slice;
  }

  /// Arguments and the closing parenthesis, appended to `call`.
  void arguments(ExpressionPtr &call) {
    while (error_.ok() && !isOp(")")) {
      if (isOp("*") || isOp("**"))
        unsupported("an unpacked argument", here().at);
      if (here().token == Token::name && lexemes_[at_ + 1].token == Token::op &&
          lexemes_[at_ + 1].text == "=") {
        std::string name = here().text;
        at_ += 2;
        ExpressionPtr value = expression();
        if ((call->depth = std::max(call->depth, value->depth + 1)) > kMaxDepth)
          fail("the expression is nested deeper than " + std::to_string(kMaxDepth), call->at);
        call->named.emplace_back(name, std::move(value));
      } else {
        if (!call->named.empty())
          fail("an argument without a name follows one with a name");
        add(call, expression());
      }
      if (!takeOp(","))
        break;
    }
    expectOp(")");
  }

  std::string dottedName() {
    std::string name = expectName();
    while (takeOp("."))
      name += "." + expectName();
    return name;
  }

  /// `name(arguments)` after "|".
  ExpressionPtr filter(ExpressionPtr subject) {
    uint32_t at = here().at;
    std::string name = dottedName();
    if (error_.ok() && !isFilter(name))
      unsupported("filter '" + name + "'", at);
    ExpressionPtr e = make(Node::filter, at, name);
    add(e, std::move(subject));
    if (takeOp("("))
      arguments(e);
    // These take the name of another filter or test.
    if (name == "map" || name == "select" || name == "reject" || name == "selectattr" ||
        name == "rejectattr") {
      size_t place = name.size() > 6 ? 2 : 1; // selectattr and rejectattr: an attribute first
      if (place < e->children.size() && e->children[place]->value.is(Kind::text)) {
        const std::string &inner = e->children[place]->value.text();
        bool isKnown = name == "map" ? isFilter(inner) : isTest(inner);
        if (!isKnown)
          unsupported((name == "map" ? "filter '" : "test '") + inner + "'", at);
      }
    }
    return e;
  }

  ExpressionPtr test(ExpressionPtr subject) {
    uint32_t start = here().at;
    bool isNegated = takeName("not");
    uint32_t at = here().at;
    std::string name = dottedName();
    if (error_.ok() && !isTest(name))
      unsupported("test '" + name + "'", at);
    ExpressionPtr e = join(Node::test, at, name, std::move(subject));
    Token token = here().token;
    if (takeOp("(")) {
      arguments(e);
    } else if (((token == Token::name && !isName("else") && !isName("or") && !isName("and") &&
                 !isName("if")) ||
                token == Token::text || token == Token::integer || token == Token::real || isOp("[") ||
                isOp("{"))) {
      if (isName("is"))
        fail("tests cannot be chained with 'is'");
      add(e, postfix(primary()));
    }
    return isNegated ? join(Node::logicalNot, start, "", std::move(e)) : std::move(e);
  }

  ExpressionPtr filters(ExpressionPtr e) {
    for (;;) {
      if (takeOp("|"))
        e = filter(std::move(e));
      else if (takeName("is"))
        e = test(std::move(e));
      else if (takeOp("(")) {
        e = join(Node::call, e->at, "", std::move(e));
        arguments(e);
      } else
        return e;
    }
  }

  /// A name, names with commas between, or (in set) a member of a namespace.
  ExpressionPtr target(bool withMember) {
    auto one = [&]() -> ExpressionPtr {
      uint32_t at = here().at;
      if (takeOp("(")) {
        ExpressionPtr inner = target(false);
        expectOp(")");
        return inner;
      }
      std::string name = expectName();
      for (const char *word : {"true", "false", "none", "True", "False", "None", "loop"})
        if (name == word)
          fail("'" + name + "' cannot be assigned to", at);
      return make(Node::name, at, name);
    };
    Deeper deeper(*this);
    uint32_t at = here().at;
    ExpressionPtr first = one();
    if (withMember && isOp(".")) {
      ++at_;
      return join(Node::attribute, at, expectName(), std::move(first));
    }
    if (!isOp(","))
      return first;
    ExpressionPtr all = join(Node::tuple, at, "", std::move(first));
    while (takeOp(",") && here().token == Token::name && !isName("in"))
      add(all, one());
    return all;
  }

  // Statements.
  using Statement_ = std::unique_ptr<Statement>;
  Statement_ statement(Form form, uint32_t at) {
    auto s = std::make_unique<Statement>();
    s->form = form;
    s->at = at;
    return s;
  }

  /// Up to a tag that begins with one of `ends`, whose name is then next, or to the end.
  Body statements(std::initializer_list<const char *> ends) {
    Deeper deeper(*this);
    Body body;
    while (error_.ok() && here().token != Token::end) {
      const Lexeme &lexeme = here();
      if (lexeme.token == Token::data) {
        body.push_back(statement(Form::text, lexeme.at));
        body.back()->name = lexeme.text;
        ++at_;
      } else if (take(Token::variableBegin)) {
        body.push_back(statement(Form::output, lexeme.at));
        body.back()->first = output();
        if (!take(Token::variableEnd))
          fail("expects the end of the tag, got " + found());
      } else {
        const Lexeme &tag = lexemes_[at_ + 1];
        for (const char *end : ends)
          if (tag.token == Token::name && tag.text == end) {
            ++at_;
            return body;
          }
        if (tag.token == Token::name &&
            (tag.text.compare(0, 3, "end") == 0 || tag.text == "else" || tag.text == "elif"))
          return body; // an outer tag's, or nobody's
        ++at_;
        if (Statement_ s = block())
          body.push_back(std::move(s));
      }
    }
    return body;
  }

  ExpressionPtr output() {
    ExpressionPtr e = tuple(false, true);
    // As the last step of printing it changes nothing; elsewhere it would make what it is joined with be
    // escaped.
    if (e->node == Node::filter && e->text == "safe")
      return std::move(e->children[0]);
    return e;
  }

  /// The body of the tag that began at `at`, and its closing tag.
  Body closed(const char *name, uint32_t at) {
    Body body = statements({name});
    closeTag(name, at);
    return body;
  }
  void closeTag(const char *name, uint32_t at) {
    if (!takeName(name)) {
      fail(std::string("the tag has no ") + name, at);
      return;
    }
    expectBlockEnd();
  }

  /// Bodies that are rendered on their own, which break and continue cannot leave.
  Body captured(const char *name, uint32_t at) {
    int loops = std::exchange(loops_, 0);
    Body body = closed(name, at);
    loops_ = loops;
    return body;
  }

  Statement_ block() {
    uint32_t at = here().at;
    std::string tag = expectName();
    if (tag == "for")
      return loop(at);
    if (tag == "if")
      return branch(at);
    if (tag == "set")
      return set(at);
    if (tag == "macro")
      return macro(at);
    if (tag == "with")
      return with(at);
    if (tag == "filter") {
      Statement_ s = statement(Form::filter, at);
      s->first = filterChain();
      expectBlockEnd();
      s->body = captured("endfilter", at);
      return s;
    }
    if (tag == "generation") {
      Statement_ s = statement(Form::generation, at);
      expectBlockEnd();
      s->body = captured("endgeneration", at);
      return s;
    }
    if (tag == "break" || tag == "continue") {
      if (loops_ == 0)
        fail("'" + tag + "' outside a loop", at);
      expectBlockEnd();
      return statement(tag == "break" ? Form::leave : Form::skip, at);
    }
    if (error_.ok())
      unsupported("tag '" + tag + "'", at);
    return nullptr;
  }

  ExpressionPtr filterChain() {
    ExpressionPtr e = filter(nullptr);
    while (takeOp("|"))
      e = filter(std::move(e));
    return e;
  }

  Statement_ loop(uint32_t at) {
    Statement_ s = statement(Form::loop, at);
    s->target = target(false);
    if (!takeName("in"))
      fail("expects 'in', got " + found());
    s->first = tuple(false, false);
    if (takeName("if"))
      s->second = expression();
    if (isName("recursive"))
      unsupported("a recursive loop", here().at);
    expectBlockEnd();
    ++loops_;
    s->body = statements({"endfor", "else"});
    --loops_;
    if (takeName("else")) {
      expectBlockEnd();
      s->otherwise = statements({"endfor"});
    }
    closeTag("endfor", at);
    return s;
  }

  Statement_ branch(uint32_t at) {
    Statement_ first = statement(Form::branch, at);
    int elifs = 0;
    for (Statement *s = first.get();;) {
      s->first = tuple(false, false);
      expectBlockEnd();
      s->body = statements({"elif", "else", "endif"});
      uint32_t next = here().at;
      if (takeName("elif")) {
        if (++elifs > 500)
          fail("more than 500 elif tags");
        s->otherwise.push_back(statement(Form::branch, next));
        s = s->otherwise.back().get();
        continue;
      }
      if (takeName("else")) {
        expectBlockEnd();
        s->otherwise = statements({"endif"});
      }
      break;
    }
    closeTag("endif", at);
    return first;
  }

  Statement_ set(uint32_t at) {
    Statement_ s = statement(Form::set, at);
    s->target = target(true);
    if (takeOp("=")) {
      s->first = tuple(false, true);
      expectBlockEnd();
      return s;
    }
    s->form = Form::setBlock;
    if (takeOp("|"))
      s->first = filterChain();
    expectBlockEnd();
    s->body = captured("endset", at);
    return s;
  }

  Statement_ macro(uint32_t at) {
    Statement_ s = statement(Form::macro, at);
    s->name = expectName();
    expectOp("(");
    while (error_.ok() && !isOp(")")) {
      ExpressionPtr name = make(Node::name, here().at, expectName());
      ExpressionPtr value = takeOp("=") ? expression() : nullptr;
      if (!value && !s->parameters.empty() && s->parameters.back().second)
        fail("a parameter without a default follows one with a default", name->at);
      s->parameters.emplace_back(std::move(name), std::move(value));
      if (!takeOp(","))
        break;
    }
    expectOp(")");
    expectBlockEnd();
    s->body = captured("endmacro", at);
    return s;
  }

  Statement_ with(uint32_t at) {
    Statement_ s = statement(Form::with, at);
    while (here().token == Token::name) {
      ExpressionPtr name = target(false);
      expectOp("=");
      s->parameters.emplace_back(std::move(name), expression());
      if (!takeOp(","))
        break;
    }
    expectBlockEnd();
    s->body = closed("endwith", at);
    return s;
  }

  const Source &source_;
  std::vector<Lexeme> lexemes_;
  size_t at_ = 0;
  int depth_ = 0, loops_ = 0;
  absl::Status error_;
};

} // namespace

absl::StatusOr<Body> parse(const Source &source) {
  auto lexemes = lex(source);
  if (!lexemes.ok())
    return lexemes.status();
  return Parser(source, std::move(*lexemes)).parse();
}

} // namespace llmc::runtime::jinja
