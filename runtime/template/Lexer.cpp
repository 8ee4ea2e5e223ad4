// Text to lexemes. The rules of whitespace are those of Jinja's lexer with trim_blocks and lstrip_blocks: a
// block tag takes the line feed after it and, alone on its line, the blanks before it; "-" takes all white
// space, "+" none.
#include "runtime/template/Syntax.h"
#include "runtime/tokenizer/Utf8.h"
#include <algorithm>

namespace llmc::runtime::jinja {

Source::Source(std::string_view text, std::string what) : what_(std::move(what)) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n')
      continue;
    text_.push_back(text[i] == '\r' ? '\n' : text[i]);
  }
  if (!text_.empty() && text_.back() == '\n')
    text_.pop_back();
}

std::string Source::message(uint32_t at, const std::string &message) const {
  std::string_view before = std::string_view(text_).substr(0, at);
  size_t line = static_cast<size_t>(std::count(before.begin(), before.end(), '\n')) + 1;
  size_t column = countCharacters(before.substr(before.rfind('\n') + 1)) + 1;
  return what_ + ": line " + std::to_string(line) + ", column " + std::to_string(column) + ": " + message;
}

namespace {

bool isDigit(char c) { return c >= '0' && c <= '9'; }
bool isNameStart(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

class Lexer {
public:
  explicit Lexer(const Source &source) : source_(source), in_(source.text()) {}

  absl::StatusOr<std::vector<Lexeme>> lex() {
    while (at_ < in_.size() && error_.ok())
      root();
    if (!error_.ok())
      return error_;
    push(Token::end, "", in_.size());
    return std::move(out_);
  }

private:
  void push(Token token, std::string text, size_t at) {
    out_.push_back({token, std::move(text), static_cast<uint32_t>(at)});
  }
  void fail(size_t at, const std::string &what) {
    if (error_.ok())
      error_ = absl::InvalidArgumentError(source_.message(static_cast<uint32_t>(at), what));
  }
  bool startsWith(size_t at, std::string_view text) const { return in_.substr(at, text.size()) == text; }
  size_t afterSpaces(size_t at) const {
    while (at < in_.size()) {
      Utf8Char c = readUtf8(in_.substr(at));
      if (!isPythonSpace(c.codepoint))
        break;
      at += c.bytes;
    }
    return at;
  }

  /// The text before a tag, with the white space taken off that the tag's sign asks for.
  void text(size_t begin, size_t end, char sign, bool isVariable) {
    std::string_view text = in_.substr(begin, end - begin);
    if (sign == '-') {
      while (!text.empty()) {
        size_t last = text.size() - 1;
        while (last > 0 && (static_cast<uint8_t>(text[last]) & 0xc0) == 0x80)
          --last;
        if (!isPythonSpace(readUtf8(text.substr(last)).codepoint))
          break;
        text = text.substr(0, last);
      }
    } else if (sign != '+' && !isVariable) {
      size_t line = text.rfind('\n') + 1; // 0 when there is none
      if ((line > 0 || isLineStart_) && afterSpaces(begin + line) >= end)
        text = text.substr(0, line);
    }
    if (!text.empty())
      push(Token::data, std::string(text), begin);
  }

  /// Moves behind a tag's end at `at` with its sign; `isTrimming`: it takes the line feed after it.
  void finishTag(size_t begin, size_t end, char sign, bool isTrimming) {
    at_ = end;
    if (sign == '-')
      at_ = afterSpaces(end);
    else if (sign != '+' && isTrimming && startsWith(end, "\n"))
      ++at_;
    isLineStart_ = at_ > begin && in_[at_ - 1] == '\n';
  }

  void root() {
    size_t begin = at_, open = begin;
    for (;; ++open) {
      open = in_.find('{', open);
      if (open == std::string_view::npos || open + 1 >= in_.size()) {
        push(Token::data, std::string(in_.substr(begin)), begin);
        at_ = in_.size();
        return;
      }
      if (in_[open + 1] == '{' || in_[open + 1] == '%' || in_[open + 1] == '#')
        break;
    }
    char kind = in_[open + 1];
    char sign =
        open + 2 < in_.size() && (in_[open + 2] == '-' || in_[open + 2] == '+') ? in_[open + 2] : '\0';
    text(begin, open, sign, kind == '{');
    size_t inner = open + (sign ? 3 : 2);
    if (kind == '#')
      return comment(open, inner);
    if (kind == '%' && raw(open, inner))
      return;
    push(kind == '{' ? Token::variableBegin : Token::blockBegin, "", open);
    at_ = inner;
    inside(open, kind == '{');
  }

  void comment(size_t open, size_t inner) {
    size_t end = in_.find("#}", inner);
    if (end == std::string_view::npos)
      return fail(open, "the comment has no end");
    char sign = end > inner && (in_[end - 1] == '-' || in_[end - 1] == '+') ? in_[end - 1] : '\0';
    finishTag(open, end + 2, sign, true);
  }

  /// A tag of one word whose inside begins at `at`: its end, or npos. `sign` becomes that of the end.
  size_t wordTag(size_t at, std::string_view word, char &sign) const {
    at = afterSpaces(at);
    if (!startsWith(at, word))
      return std::string_view::npos;
    at = afterSpaces(at + word.size());
    sign = startsWith(at, "-%}") ? '-' : startsWith(at, "+%}") ? '+' : '\0';
    at += sign ? 1 : 0;
    return startsWith(at, "%}") ? at + 2 : std::string_view::npos;
  }

  bool raw(size_t open, size_t inner) {
    char sign;
    size_t end = wordTag(inner, "raw", sign);
    if (end == std::string_view::npos || sign == '+')
      return false;
    finishTag(open, end, sign, false);
    for (size_t begin = at_, close = begin;; ++close) {
      close = in_.find("{%", close);
      if (close == std::string_view::npos) {
        fail(open, "raw has no endraw");
        return true;
      }
      char before =
          close + 2 < in_.size() && (in_[close + 2] == '-' || in_[close + 2] == '+') ? in_[close + 2] : '\0';
      end = wordTag(close + (before ? 3 : 2), "endraw", sign);
      if (end == std::string_view::npos)
        continue;
      text(begin, close, before, false);
      finishTag(close, end, sign, true);
      return true;
    }
  }

  void inside(size_t open, bool isVariable) {
    std::string closers;
    const std::string_view end = isVariable ? "}}" : "%}";
    for (;;) {
      at_ = afterSpaces(at_);
      if (at_ >= in_.size())
        return fail(open, std::string("the tag has no end, ") + std::string(end) + " is missing");
      if (closers.empty()) {
        char sign = in_[at_] == '-' || (in_[at_] == '+' && !isVariable) ? in_[at_] : '\0';
        if (startsWith(at_ + (sign ? 1 : 0), end)) {
          size_t begin = at_;
          push(isVariable ? Token::variableEnd : Token::blockEnd, "", begin);
          return finishTag(begin, begin + (sign ? 3 : 2), sign, !isVariable);
        }
      }
      char c = in_[at_];
      if (isDigit(c))
        number();
      else if (isNameStart(c))
        name();
      else if (c == '"' || c == '\'')
        string();
      else
        op(closers);
      if (!error_.ok())
        return;
    }
  }

  void name() {
    size_t begin = at_;
    while (at_ < in_.size() && (isNameStart(in_[at_]) || isDigit(in_[at_])))
      ++at_;
    push(Token::name, std::string(in_.substr(begin, at_ - begin)), begin);
  }

  std::string digits() {
    std::string text;
    while (at_ < in_.size() &&
           (isDigit(in_[at_]) || (in_[at_] == '_' && at_ + 1 < in_.size() && isDigit(in_[at_ + 1])))) {
      if (in_[at_] != '_')
        text.push_back(in_[at_]);
      ++at_;
    }
    return text;
  }

  void number() {
    size_t begin = at_;
    std::string text = digits();
    if (text == "0" && at_ < in_.size() && isNameStart(in_[at_]) && in_[at_] != 'e' && in_[at_] != 'E')
      return fail(begin, "numbers in other bases than ten are not supported");
    bool isReal = false, isAfterDot = begin > 0 && in_[begin - 1] == '.';
    auto digitAt = [&](size_t at) { return at < in_.size() && isDigit(in_[at]); };
    if (!isAfterDot && startsWith(at_, ".") && digitAt(at_ + 1)) {
      isReal = true;
      ++at_;
      text += "." + digits();
    }
    if (!isAfterDot && (startsWith(at_, "e") || startsWith(at_, "E"))) {
      size_t sign = startsWith(at_ + 1, "+") || startsWith(at_ + 1, "-") ? 1 : 0;
      if (digitAt(at_ + 1 + sign)) {
        isReal = true;
        text += "e" + std::string(in_.substr(at_ + 1, sign));
        at_ += 1 + sign;
        text += digits();
      }
    }
    if (!isReal && text.size() > 1 && text[0] == '0' && text.find_first_not_of('0') != std::string::npos)
      return fail(begin, "a number begins with 0");
    push(isReal ? Token::real : Token::integer, text, begin);
  }

  void string() {
    size_t begin = at_;
    char quote = in_[at_++];
    std::string text;
    for (;;) {
      if (at_ >= in_.size())
        return fail(begin, "the string has no end");
      char c = in_[at_++];
      if (c == quote)
        break;
      if (c != '\\')
        text.push_back(c);
      else if (!escape(text))
        return;
    }
    push(Token::text, std::move(text), begin);
  }

  bool escape(std::string &text) {
    size_t begin = at_ - 1;
    if (at_ >= in_.size())
      return fail(begin, "the string has no end"), false;
    char c = in_[at_++];
    static constexpr std::string_view kLetters = "\\'\"abfnrtv", kMeanings = "\\'\"\a\b\f\n\r\t\v";
    if (size_t i = kLetters.find(c); c && i != std::string_view::npos) {
      text.push_back(kMeanings[i]);
      return true;
    }
    if (c == '\n')
      return true;
    uint32_t code = 0;
    size_t length = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (length) {
      for (size_t i = 0; i < length; ++i, ++at_) {
        char h = at_ < in_.size() ? in_[at_] : '\0';
        int value = isDigit(h)             ? h - '0'
                    : h >= 'a' && h <= 'f' ? h - 'a' + 10
                    : h >= 'A' && h <= 'F' ? h - 'A' + 10
                                           : -1;
        if (value < 0)
          return fail(begin, "the escape in the string is cut short"), false;
        code = code << 4 | static_cast<uint32_t>(value);
      }
    } else if (c >= '0' && c <= '7') {
      code = static_cast<uint32_t>(c - '0');
      for (int i = 0; i < 2 && at_ < in_.size() && in_[at_] >= '0' && in_[at_] <= '7'; ++i)
        code = code << 3 | static_cast<uint32_t>(in_[at_++] - '0');
    } else if (c == 'N') {
      return fail(begin, "escapes by name are not supported"), false;
    } else {
      // Python keeps what it does not know.
      text.push_back('\\');
      --at_;
      return true;
    }
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
      return fail(begin, "the escape in the string is no character"), false;
    appendUtf8(text, code);
    return true;
  }

  void op(std::string &closers) {
    static constexpr std::string_view kTwo[] = {"//", "**", "==", "!=", ">=", "<="};
    for (std::string_view two : kTwo)
      if (startsWith(at_, two)) {
        push(Token::op, std::string(two), at_);
        at_ += 2;
        return;
      }
    char c = in_[at_];
    if (std::string_view("+-/*%~[](){}=<>.:|,").find(c) == std::string_view::npos)
      return fail(at_, "unexpected character '" +
                           std::string(in_.substr(at_, readUtf8(in_.substr(at_)).bytes)) + "'");
    if (c == '(' || c == '[' || c == '{')
      closers.push_back(c == '(' ? ')' : c == '[' ? ']' : '}');
    if (c == ')' || c == ']' || c == '}') {
      if (closers.empty() || closers.back() != c)
        return fail(at_, std::string("unexpected '") + c + "'");
      closers.pop_back();
    }
    push(Token::op, std::string(1, c), at_++);
  }

  const Source &source_;
  std::string_view in_;
  size_t at_ = 0;
  bool isLineStart_ = true;
  std::vector<Lexeme> out_;
  absl::Status error_;
};

} // namespace

absl::StatusOr<std::vector<Lexeme>> lex(const Source &source) {
  if (source.text().size() > (1u << 24))
    return absl::InvalidArgumentError(source.message(0, "the template is larger than 16 MiB"));
  if (size_t valid = validUtf8Bytes(source.text()); valid != source.text().size())
    return absl::InvalidArgumentError(
        source.message(static_cast<uint32_t>(valid), "the template is not UTF-8"));
  return Lexer(source).lex();
}

} // namespace llmc::runtime::jinja
