// Attributes and methods of Python's strings, dicts and lists.
#include "runtime/template/Interpreter.h"
#include "runtime/tokenizer/Utf8.h"
#include <algorithm>
#include <cstring>

namespace llmc::runtime::jinja {
namespace {

bool isOneOf(std::string_view name, std::initializer_list<const char *> names) {
  return std::any_of(names.begin(), names.end(), [&](const char *n) { return name == n; });
}

bool isTextMethod(std::string_view name) {
  return isOneOf(name, {"split",      "rsplit",       "splitlines",   "strip",     "lstrip",     "rstrip",
                        "startswith", "endswith",     "replace",      "upper",     "lower",      "title",
                        "capitalize", "find",         "rfind",        "index",     "rindex",     "count",
                        "join",       "removeprefix", "removesuffix", "partition", "rpartition", "isdigit",
                        "isalpha",    "isalnum",      "isspace",      "isnumeric", "isdecimal",  "isupper",
                        "islower"});
}
bool changesItsObject(std::string_view name, bool isDict) {
  return isDict ? isOneOf(name, {"clear", "pop", "popitem", "setdefault", "update"})
                : isOneOf(name, {"append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"});
}

bool isAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<uint8_t>(c) < 0x80; });
}

/// Scripts and symbols that have no upper and lower case, in blocks.
bool isWithoutCase(uint32_t c) {
  return (c >= 0x590 && c <= 0xe7f) || (c >= 0x2000 && c <= 0x206f) || (c >= 0x2e80 && c <= 0xa63f) ||
         (c >= 0xac00 && c <= 0xd7ff) || (c >= 0xff00 && c <= 0xff20) || (c >= 0x1f000 && c <= 0x1faff) ||
         (c >= 0x20000 && c <= 0x3ffff);
}

char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
bool isLetter(char c) { return upper(c) != lower(c); }

} // namespace

Value Interpreter::attribute(const Value &object, std::string_view name) {
  auto method = [&] {
    return Value::callable({Callable::Kind::method, std::string(name), object, nullptr, nullptr});
  };
  auto unsafe = [&] {
    return Value::undefined("attribute '" + std::string(name) + "' of a " + typeName(object) +
                            " must not be used in a template");
  };
  if (object.is(Kind::undefined))
    return fail(object.why());
  if (name.substr(0, 2) == "__")
    return unsafe();
  switch (object.kind()) {
  case Kind::dict:
    if (isOneOf(name, {"items", "keys", "values", "get"}))
      return method();
    if (changesItsObject(name, true))
      return unsafe();
    if (!charge(static_cast<int64_t>(object.dict().entries.size()) / 16))
      return Value();
    if (const Value *value = object.dict().find(name))
      return *value;
    break;
  case Kind::text:
    if (isTextMethod(name))
      return method();
    break;
  case Kind::list:
    if (object.list().flavour <= Flavour::tuple && isOneOf(name, {"index", "count"}))
      return method();
    if (object.list().flavour == Flavour::list && changesItsObject(name, false))
      return unsafe();
    break;
  case Kind::space:
    if (const Value *value = object.space()->find(name))
      return *value;
    break;
  case Kind::loop: {
    if (name == "cycle")
      return method();
    return loopAttribute(object.loop(), name);
  }
  default:
    break;
  }
  return Value::undefined("a " + std::string(typeName(object)) + " has no attribute '" + std::string(name) +
                          "'");
}

Value Interpreter::loopAttribute(const Loop &loop, std::string_view name) {
  int64_t at = static_cast<int64_t>(loop.index), count = static_cast<int64_t>(loop.items.size());
  if (name == "index")
    return Value::integer(at + 1);
  if (name == "index0")
    return Value::integer(at);
  if (name == "revindex")
    return Value::integer(count - at);
  if (name == "revindex0")
    return Value::integer(count - at - 1);
  if (name == "first")
    return Value::boolean(at == 0);
  if (name == "last")
    return Value::boolean(at + 1 == count);
  if (name == "length")
    return Value::integer(count);
  if (name == "depth" || name == "depth0")
    return Value::integer(name == "depth");
  if (name == "previtem")
    return at > 0 ? loop.items[loop.index - 1] : Value::undefined("there is no previous item");
  if (name == "nextitem")
    return at + 1 < count ? loop.items[loop.index + 1] : Value::undefined("there is no next item");
  return Value::undefined("a loop has no attribute '" + std::string(name) + "'");
}

Value Interpreter::callMethod(const Callable &method, Arguments &arguments) {
  const Value &self = method.self;
  std::vector<Value> values;
  if (!charge(1))
    return Value();
  if (self.is(Kind::text))
    return charge(static_cast<int64_t>(self.text().size()) / 64)
               ? textMethod(self.text(), method.name, arguments)
               : Value();
  if (self.is(Kind::loop)) {
    if (arguments.positional.empty())
      return fail("cycle needs something to choose from");
    return arguments.positional[self.loop().index % arguments.positional.size()];
  }
  if (self.is(Kind::dict)) {
    const Dict &dict = self.dict();
    if (method.name == "get") {
      if (!bind("get", arguments, {"key", "default"}, 1, values) ||
          !charge(static_cast<int64_t>(dict.entries.size()) / 16))
        return Value();
      const Value *value = dict.find(values[0]);
      return value                                                              ? *value
             : values[1].is(Kind::undefined) && arguments.positional.size() < 2 ? Value::none()
                                                                                : values[1];
    }
    if (!bind(method.name.c_str(), arguments, {}, 0, values))
      return Value();
    std::vector<Value> items;
    for (const auto &entry : dict.entries)
      items.push_back(method.name == "keys"     ? entry.first
                      : method.name == "values" ? entry.second
                                                : list({entry.first, entry.second}, Flavour::tuple));
    return isFailed() ? Value() : list(std::move(items), Flavour::view);
  }
  // A list's or tuple's index and count.
  if (!bind(method.name.c_str(), arguments, {"value"}, 1, values) ||
      !charge(static_cast<int64_t>(self.list().items.size())))
    return Value();
  const auto &items = self.list().items;
  auto is = [&](const Value &v) { return isEqual(v, values[0]); };
  if (method.name == "count")
    return Value::integer(std::count_if(items.begin(), items.end(), is));
  auto found = std::find_if(items.begin(), items.end(), is);
  return found == items.end() ? fail("the value is not in the list") : Value::integer(found - items.begin());
}

Value Interpreter::textMethod(const std::string &self, const std::string &name, Arguments &arguments) {
  if (name == "split" || name == "rsplit" || name == "splitlines")
    return split(self, name, arguments);
  if (name == "strip" || name == "lstrip" || name == "rstrip")
    return strip(self, name, arguments);
  if (isOneOf(name, {"startswith", "endswith", "removeprefix", "removesuffix"}))
    return startsOrEndsWith(self, name, arguments);
  if (isOneOf(name, {"find", "rfind", "index", "rindex", "count", "partition", "rpartition"}))
    return search(self, name, arguments);
  std::vector<Value> values;
  if (name == "join") {
    std::vector<Value> items;
    if (!bind("join", arguments, {"iterable"}, 1, values) || !iterate(values[0], items))
      return Value();
    return join(self, items, false);
  }
  if (name == "replace") {
    if (!bind("replace", arguments, {"old", "new", "count"}, 2, values))
      return Value();
    if (!values[0].is(Kind::text) || !values[1].is(Kind::text) ||
        (!values[2].is(Kind::undefined) && !values[2].isWhole()))
      return fail("replace needs two strings and perhaps a number");
    return replace(self, values[0].text(), values[1].text(), values[2].isWhole() ? values[2].integer() : -1);
  }
  if (!bind(name.c_str(), arguments, {}, 0, values))
    return Value();
  return name.compare(0, 2, "is") == 0 ? classify(self, name) : changeCase(self, name);
}

Value Interpreter::join(const std::string &separator, const std::vector<Value> &items, bool isConverting) {
  std::string all;
  for (size_t i = 0; i < items.size(); ++i) {
    if (!isConverting && !items[i].is(Kind::text))
      return fail(std::string("join needs strings, got a ") + typeName(items[i]));
    all += i ? separator : "";
    all += str(items[i]);
    if (!charge(0, static_cast<int64_t>(separator.size())))
      return Value();
  }
  return isFailed() ? Value() : text(std::move(all));
}

Value Interpreter::replace(const std::string &self, const std::string &from, const std::string &to,
                           int64_t count) {
  std::string result;
  int64_t done = 0;
  auto append = [&](std::string_view part) {
    result += part;
    return charge(1, static_cast<int64_t>(part.size()));
  };
  if (from.empty()) { // before every character and at the end
    std::vector<size_t> offsets = characterOffsets(self);
    for (size_t i = 0; i < offsets.size(); ++i) {
      if ((count < 0 || done++ < count) && !append(to))
        return Value();
      if (i + 1 < offsets.size() &&
          !append(std::string_view(self).substr(offsets[i], offsets[i + 1] - offsets[i])))
        return Value();
    }
    return text(std::move(result));
  }
  size_t at = 0;
  for (size_t next; (count < 0 || done < count) && (next = self.find(from, at)) != std::string::npos;
       ++done) {
    if (!append(std::string_view(self).substr(at, next - at)) || !append(to))
      return Value();
    at = next + from.size();
  }
  result += self.substr(at);
  return text(std::move(result));
}

Value Interpreter::changeCase(const std::string &self, std::string_view how) {
  for (size_t at = 0; at < self.size();) {
    Utf8Char c = readUtf8(std::string_view(self).substr(at));
    if (c.codepoint >= 0x80 && !isWithoutCase(c.codepoint))
      return fail("changing case is supported for ASCII letters only, got '" + self.substr(at, c.bytes) +
                  "'");
    at += c.bytes;
  }
  std::string result = self;
  if (how == "upper")
    std::transform(result.begin(), result.end(), result.begin(), upper);
  else
    std::transform(result.begin(), result.end(), result.begin(), lower);
  if (how == "capitalize" && !result.empty())
    result[0] = upper(result[0]);
  // str.title: letters after what is no letter. The filter title: letters after these separators.
  for (size_t i = 0; i < result.size(); ++i) {
    bool isFirst = i == 0;
    if (!isFirst && how == "title")
      isFirst = !isLetter(result[i - 1]);
    else if (!isFirst && how == "title words")
      isFirst = strchr("- \t\n\v\f\r({[<", result[i - 1]) != nullptr && result[i - 1] != '\0';
    if (isFirst && how.substr(0, 5) == "title")
      result[i] = upper(result[i]);
  }
  return text(std::move(result));
}

Value Interpreter::classify(const std::string &self, const std::string &name) {
  bool isSpaceTest = name == "isspace";
  if (!isSpaceTest && !isAscii(self))
    return fail(name + " is supported for ASCII strings only");
  bool isAll = !self.empty(), hasCased = false;
  for (size_t at = 0; at < self.size();) {
    Utf8Char c = readUtf8(std::string_view(self).substr(at));
    at += c.bytes;
    char ch = static_cast<char>(c.codepoint);
    bool isDigit = ch >= '0' && ch <= '9';
    hasCased |= isLetter(ch);
    if (isSpaceTest)
      isAll &= isPythonSpace(c.codepoint);
    else if (name == "isalpha")
      isAll &= isLetter(ch);
    else if (name == "isalnum")
      isAll &= isLetter(ch) || isDigit;
    else if (name == "isupper")
      isAll &= !isLetter(ch) || ch == upper(ch);
    else if (name == "islower")
      isAll &= !isLetter(ch) || ch == lower(ch);
    else
      isAll &= isDigit;
  }
  return Value::boolean(isAll && (hasCased || (name != "isupper" && name != "islower")));
}

Value Interpreter::strip(const std::string &self, const std::string &name, Arguments &arguments) {
  std::vector<Value> values;
  if (!bind(name.c_str(), arguments, {"chars"}, 0, values))
    return Value();
  return strip(self, values[0], name != "rstrip", name != "lstrip");
}

Value Interpreter::strip(const std::string &self, const Value &characters, bool isLeft, bool isRight) {
  bool isSpaces = characters.is(Kind::undefined) || characters.is(Kind::none);
  if (!isSpaces && !characters.is(Kind::text))
    return fail(std::string("strip needs a string, got a ") + typeName(characters));
  std::vector<size_t> offsets = characterOffsets(self);
  size_t begin = 0, end = offsets.size() - 1;
  auto isStripped = [&](size_t i) {
    std::string_view c = std::string_view(self).substr(offsets[i], offsets[i + 1] - offsets[i]);
    // A whole character cannot be found in the middle of others.
    return isSpaces ? isPythonSpace(readUtf8(c).codepoint) : characters.text().find(c) != std::string::npos;
  };
  while (isLeft && begin < end && isStripped(begin))
    ++begin;
  while (isRight && end > begin && isStripped(end - 1))
    --end;
  if (!charge(static_cast<int64_t>(offsets.size()) / 16))
    return Value();
  return text(self.substr(offsets[begin], offsets[end] - offsets[begin]));
}

Value Interpreter::startsOrEndsWith(const std::string &self, const std::string &name, Arguments &arguments) {
  std::vector<Value> values, options;
  if (!bind(name.c_str(), arguments, {"prefix"}, 1, values))
    return Value();
  bool isStart = name == "startswith" || name == "removeprefix", isTest = name.back() == 'h';
  if (isTest && values[0].is(Kind::list) && values[0].list().flavour == Flavour::tuple)
    options = values[0].list().items;
  else
    options.push_back(values[0]);
  for (const Value &option : options) {
    if (!option.is(Kind::text))
      return fail(name + " needs a string, got a " + typeName(option));
    const std::string &part = option.text();
    bool isThere = part.size() <= self.size() &&
                   self.compare(isStart ? 0 : self.size() - part.size(), part.size(), part) == 0;
    if (isTest && isThere)
      return Value::boolean(true);
    if (!isTest && isThere)
      return text(isStart ? self.substr(part.size()) : self.substr(0, self.size() - part.size()));
  }
  return isTest ? Value::boolean(false) : text(self);
}

Value Interpreter::search(const std::string &self, const std::string &name, Arguments &arguments) {
  std::vector<Value> values;
  if (!bind(name.c_str(), arguments, {"sub"}, 1, values))
    return Value();
  if (!values[0].is(Kind::text))
    return fail(name + " needs a string, got a " + typeName(values[0]));
  const std::string &part = values[0].text();
  bool isLast = name[0] == 'r';
  size_t at = isLast ? self.rfind(part) : self.find(part);
  if (name == "count") {
    if (part.empty())
      return Value::integer(static_cast<int64_t>(countCharacters(self)) + 1);
    int64_t count = 0;
    for (; at != std::string::npos; at = self.find(part, at + part.size()))
      ++count;
    return Value::integer(count);
  }
  if (name == "partition" || name == "rpartition") {
    if (part.empty())
      return fail(name + " needs a separator that is not empty");
    std::vector<Value> parts = {text(""), text(""), text("")};
    if (at == std::string::npos)
      parts[isLast ? 2 : 0] = text(self);
    else
      parts = {text(self.substr(0, at)), text(part), text(self.substr(at + part.size()))};
    return list(std::move(parts), Flavour::tuple);
  }
  if (at == std::string::npos)
    return name == "find" || name == "rfind" ? Value::integer(-1) : fail("the substring is not found");
  return Value::integer(static_cast<int64_t>(countCharacters(std::string_view(self).substr(0, at))));
}

std::vector<std::string_view> splitLines(std::string_view text, bool isKeepingEnds) {
  std::vector<std::string_view> lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    Utf8Char c = readUtf8(text.substr(at));
    size_t end = at + c.bytes;
    bool isEnd = (c.codepoint >= 0x0a && c.codepoint <= 0x0d) ||
                 (c.codepoint >= 0x1c && c.codepoint <= 0x1e) || c.codepoint == 0x85 ||
                 c.codepoint == 0x2028 || c.codepoint == 0x2029;
    if (isEnd) {
      if (c.codepoint == '\r' && end < text.size() && text[end] == '\n')
        ++end;
      lines.push_back(text.substr(begin, (isKeepingEnds ? end : at) - begin));
      begin = end;
    }
    at = end;
  }
  if (begin < text.size())
    lines.push_back(text.substr(begin));
  return lines;
}

/// str.split() and rsplit() at white space, `most` times (-1: always).
static std::vector<std::string_view> splitAtSpaces(std::string_view text, int64_t most, bool isFromRight) {
  std::vector<std::pair<size_t, size_t>> words; // begin and end of each
  bool isInWord = false;
  for (size_t at = 0; at < text.size();) {
    Utf8Char c = readUtf8(text.substr(at));
    bool isSpace = isPythonSpace(c.codepoint);
    if (!isSpace && !isInWord)
      words.push_back({at, at});
    isInWord = !isSpace;
    at += c.bytes;
    if (isInWord)
      words.back().second = at;
  }
  std::vector<std::string_view> parts;
  size_t count = words.size(), kept = most < 0 ? count : std::min(count, static_cast<size_t>(most) + 1);
  if (kept == 0)
    return parts;
  // With fewer cuts than words the last part (the first, from the right) keeps the spaces inside and on its
  // far side.
  if (!isFromRight) {
    for (size_t i = 0; i + 1 < kept; ++i)
      parts.push_back(text.substr(words[i].first, words[i].second - words[i].first));
    size_t begin = words[kept - 1].first,
           end = kept < count || (most >= 0 && kept == static_cast<size_t>(most) + 1)
                     ? text.size()
                     : words[kept - 1].second;
    parts.push_back(text.substr(begin, end - begin));
  } else {
    size_t first = count - kept;
    size_t begin = most >= 0 && kept == static_cast<size_t>(most) + 1 ? 0 : words[first].first;
    parts.push_back(text.substr(begin, words[first].second - begin));
    for (size_t i = first + 1; i < count; ++i)
      parts.push_back(text.substr(words[i].first, words[i].second - words[i].first));
  }
  return parts;
}

Value Interpreter::split(const std::string &self, const std::string &name, Arguments &arguments) {
  std::vector<Value> values;
  std::vector<std::string_view> parts;
  std::string_view rest = self;
  if (name == "splitlines") {
    if (!bind("splitlines", arguments, {"keepends"}, 0, values))
      return Value();
    parts = splitLines(self, isTrue(values[0]));
  } else {
    if (!bind(name.c_str(), arguments, {"sep", "maxsplit"}, 0, values))
      return Value();
    bool isAtSpaces = values[0].is(Kind::undefined) || values[0].is(Kind::none),
         isFromRight = name == "rsplit";
    int64_t most = values[1].isWhole() ? values[1].integer() : -1;
    if (!isAtSpaces && (!values[0].is(Kind::text) || values[0].text().empty()))
      return fail(name + " needs a separator that is a string and not empty");
    if (isAtSpaces) {
      parts = splitAtSpaces(self, most, isFromRight);
    } else {
      const std::string &separator = values[0].text();
      for (size_t at; most < 0 || static_cast<int64_t>(parts.size()) < most;) {
        at = isFromRight ? rest.rfind(separator) : rest.find(separator);
        if (at == std::string_view::npos)
          break;
        parts.push_back(isFromRight ? rest.substr(at + separator.size()) : rest.substr(0, at));
        rest = isFromRight ? rest.substr(0, at) : rest.substr(at + separator.size());
      }
      parts.push_back(rest);
      if (isFromRight)
        std::reverse(parts.begin(), parts.end());
    }
  }
  std::vector<Value> items;
  for (std::string_view part : parts) {
    if (!charge(1, 32))
      return Value();
    items.push_back(text(std::string(part)));
  }
  return isFailed() ? Value() : list(std::move(items));
}

} // namespace llmc::runtime::jinja
