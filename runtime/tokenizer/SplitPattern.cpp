// Translation of patterns to PCRE2 and matching with its JIT, falling back to the interpreter where the JIT's
// stack ends.
#include "runtime/tokenizer/SplitPattern.h"
#include <new>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace llmc::runtime {

const char *const kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

namespace {

// White_Space and word characters of Unicode technical standard 18, as class members. PCRE2's own differ by
// U+180E and marks.
constexpr const char *kSpaces = R"(\t-\r\x{85}\p{Z})";
constexpr const char *kWords = R"(\p{L}\p{M}\p{Nd}\p{Pc})";

constexpr const char *kCategories[] = {"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl",
                                       "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc",
                                       "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Cn"};

class Translator {
public:
  explicit Translator(std::string_view in) : in_(in) {}

  absl::StatusOr<std::string> translate() {
    while (at_ < in_.size()) {
      if (in_[at_] == '[') {
        auto text = characterClass();
        if (!text.ok())
          return text.status();
        out_ += *text;
      } else if (in_[at_] == '\\') {
        std::string escaped = escape(/*isInClass=*/false);
        if (escaped.empty())
          return fail("ends in the middle of an escape");
        out_ += escaped;
      } else {
        out_.push_back(in_[at_++]);
      }
    }
    return out_;
  }

private:
  absl::Status fail(const std::string &what) const {
    return absl::InvalidArgumentError("split pattern `" + std::string(in_) + "` " + what);
  }

  /// An escape sequence as PCRE2 means it; empty when it is cut short.
  std::string escape(bool isInClass) {
    size_t begin = at_++;
    if (at_ >= in_.size())
      return {};
    char c = in_[at_++];
    auto set = [&](const char *members, bool isNegated) {
      return isInClass ? std::string(members) : (isNegated ? "[^" : "[") + std::string(members) + "]";
    };
    switch (c) {
    case 's':
      return set(kSpaces, false);
    case 'w':
      return set(kWords, false);
    case 'S':
      if (!isInClass)
        return set(kSpaces, true);
      break;
    case 'W':
      if (!isInClass)
        return set(kWords, true);
      break;
    case 'u':
      if (at_ + 4 > in_.size())
        return {};
      at_ += 4;
      return "\\x{" + std::string(in_.substr(at_ - 4, 4)) + "}";
    case 'p':
    case 'P': {
      if (at_ >= in_.size())
        return {};
      if (in_[at_] != '{')
        return std::string(in_.substr(begin, ++at_ - begin));
      size_t end = in_.find('}', at_);
      if (end == std::string_view::npos)
        return {};
      std::string name(in_.substr(at_ + 1, end - at_ - 1));
      at_ = end + 1;
      // A bare script name means the Script property in the published syntaxes, Script_Extensions in PCRE2.
      for (const char *script :
           {"Han", "Hiragana", "Katakana", "Hangul", "Latin", "Greek", "Cyrillic", "Arabic", "Hebrew", "Thai",
            "Devanagari", "Bengali", "Tamil", "Armenian", "Georgian", "Ethiopic", "Khmer", "Lao", "Myanmar"})
        if (name == script)
          name = "sc:" + name;
      return std::string("\\") + c + "{" + name + "}";
    }
    default:
      break;
    }
    return std::string(in_.substr(begin, at_ - begin));
  }

  struct ClassBody {
    bool isNegated = false;
    std::string members;
    std::vector<std::string> categories; ///< when the members are nothing but \p{general category}
    bool isCategories = true;
  };

  /// Members up to "]" or "&&".
  absl::StatusOr<ClassBody> classBody() {
    ClassBody body;
    if (at_ < in_.size() && in_[at_] == '^') {
      body.isNegated = true;
      ++at_;
    }
    bool isFirst = true;
    while (at_ < in_.size() && (in_[at_] != ']' || isFirst) && in_.substr(at_, 2) != "&&") {
      if (in_[at_] == '\\') {
        size_t begin = at_;
        std::string text = escape(/*isInClass=*/true);
        if (text.empty())
          return fail("ends in the middle of an escape");
        std::string_view raw = in_.substr(begin, at_ - begin);
        if (raw.size() >= 5 && raw.size() <= 6 && raw.substr(0, 3) == "\\p{")
          body.categories.emplace_back(raw.substr(3, raw.size() - 4));
        else if (raw.size() == 3 && raw[1] == 'p')
          body.categories.emplace_back(raw.substr(2));
        else
          body.isCategories = false;
        body.members += text;
      } else if (in_[at_] == '[') {
        return fail("has a class inside a class, which is only supported after &&");
      } else {
        body.isCategories = false;
        body.members.push_back(in_[at_++]);
      }
      isFirst = false;
    }
    if (at_ >= in_.size())
      return fail("has a class without an end");
    return body;
  }

  static std::string print(const ClassBody &body) {
    return (body.isNegated ? "[^" : "[") + body.members + "]";
  }

  /// [A], or [A&&[B]] as a class where A is a union of categories and B is negated, else with a lookahead.
  absl::StatusOr<std::string> characterClass() {
    ++at_;
    auto first = classBody();
    if (!first.ok())
      return first.status();
    if (in_[at_] == ']') {
      ++at_;
      return print(*first);
    }
    if (in_.substr(at_, 3) != "&&[" || first->isNegated)
      return fail("has a class intersection of an unsupported form; supported is [A&&[B]]");
    at_ += 3;
    auto second = classBody();
    if (!second.ok())
      return second.status();
    if (in_.substr(at_, 2) != "]]")
      return fail("has a class intersection of an unsupported form; supported is [A&&[B]]");
    at_ += 2;
    if (first->isCategories && second->isNegated) {
      // A and not B = not (not A or B), and not A is the other categories. One class matches without
      // backtracking.
      std::string text = "[^";
      for (const char *category : kCategories) {
        bool isInA = false;
        for (const std::string &a : first->categories)
          isInA |= a == category || (a.size() == 1 && a[0] == category[0]);
        if (!isInA)
          text += std::string("\\p{") + category + "}";
      }
      return text + second->members + "]";
    }
    return "(?:(?=" + print(*second) + ")" + print(*first) + ")";
  }

  std::string_view in_;
  size_t at_ = 0;
  std::string out_;
};

} // namespace

absl::StatusOr<std::string> toPcre2(std::string_view pattern) { return Translator(pattern).translate(); }

struct SplitPattern::Code {
  pcre2_code *code = nullptr;
  ~Code() { pcre2_code_free(code); }
};

absl::StatusOr<SplitPattern> SplitPattern::compile(std::string_view pattern) {
  if (pattern.size() > 65536)
    return absl::InvalidArgumentError("split pattern has " + std::to_string(pattern.size()) +
                                      " bytes, at most 65536 are supported");
  auto translated = toPcre2(pattern);
  if (!translated.ok())
    return translated.status();
  auto code = std::make_shared<Code>();
  int error;
  PCRE2_SIZE offset;
  code->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated->data()), translated->size(),
                             PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
  if (!code->code) {
    if (error == PCRE2_ERROR_HEAP_FAILED)
      throw std::bad_alloc(); // as everywhere when memory runs out
    PCRE2_UCHAR message[256];
    pcre2_get_error_message(error, message, sizeof message);
    return absl::InvalidArgumentError("split pattern `" + std::string(pattern) +
                                      "` is not supported: " + reinterpret_cast<const char *>(message));
  }
  // Without a JIT (hardened systems) the interpreter does the same, slower.
  pcre2_jit_compile(code->code, PCRE2_JIT_COMPLETE);
  SplitPattern result;
  result.code_ = code;
  return result;
}

absl::Status SplitPattern::split(std::string_view text, Piece piece, std::vector<Piece> &pieces) const {
  const auto *subject = reinterpret_cast<PCRE2_SPTR>(text.data() + piece.begin);
  const size_t length = piece.end - piece.begin;
  std::unique_ptr<pcre2_match_data, void (*)(pcre2_match_data *)> match(pcre2_match_data_create(1, nullptr),
                                                                        pcre2_match_data_free);
  std::unique_ptr<pcre2_match_context, void (*)(pcre2_match_context *)> context(
      pcre2_match_context_create(nullptr), pcre2_match_context_free);
  if (!match || !context)
    throw std::bad_alloc();
  pcre2_set_match_limit(context.get(), UINT32_MAX);
  pcre2_set_depth_limit(context.get(), UINT32_MAX);
  size_t at = 0, from = 0; // text up to `at` is in pieces; searching goes on at `from`
  while (from < length) {
    int found =
        pcre2_match(code_->code, subject, length, from, PCRE2_NO_UTF_CHECK, match.get(), context.get());
    if (found == PCRE2_ERROR_JIT_STACKLIMIT)
      found = pcre2_match(code_->code, subject, length, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, match.get(),
                          context.get());
    if (found == PCRE2_ERROR_NOMATCH)
      break;
    if (found == PCRE2_ERROR_NOMEMORY)
      throw std::bad_alloc();
    if (found < 0)
      return absl::InternalError("splitting text failed with PCRE2 error " + std::to_string(found));
    const PCRE2_SIZE *range = pcre2_get_ovector_pointer(match.get());
    if (range[1] <= range[0]) {
      // An empty match cuts nothing; go on at the next character.
      from = std::max(from, range[0]) + 1;
      while (from < length && (subject[from] & 0xc0) == 0x80)
        ++from;
      continue;
    }
    if (range[0] > at)
      pieces.push_back({piece.begin + at, piece.begin + range[0]});
    pieces.push_back({piece.begin + range[0], piece.begin + range[1]});
    at = from = range[1];
  }
  if (at < length)
    pieces.push_back({piece.begin + at, piece.end});
  return absl::OkStatus();
}

} // namespace llmc::runtime
