// Chat templates: equal to Jinja on stored cases, and bounded and clear on hostile ones.
#include "runtime/template/Template.h"
#include "TestModel.h"
#include <ctime>

namespace llmc::test {
using namespace llmc::runtime;
using jinja::Kind;
using jinja::Value;
namespace {

const std::string kFolder = LLMC_SOURCE_DIR "/test/golden/chat/";

/// The moment at which the goldens were made.
TemplateOptions options() {
  TemplateOptions options;
  options.now.tm_year = 124;
  options.now.tm_mon = 6;
  options.now.tm_mday = 26;
  options.now.tm_hour = 13;
  options.now.tm_min = 5;
  options.now.tm_sec = 9;
  options.now.tm_wday = 5;
  options.now.tm_yday = 207;
  return options;
}

absl::StatusOr<std::string> render(const std::string &text, const Value &variables,
                                   const TemplateOptions &options = test::options()) {
  auto parsed = Template::parse(text, "t");
  return parsed.ok() ? (*parsed)->render(variables, options) : parsed.status();
}

Value readJson(const std::string &name) {
  auto value = jinja::fromJson(readFile(kFolder + name), name);
  EXPECT_TRUE(value.ok()) << value.status();
  return value.ok() ? *value : Value();
}
const Value &member(const Value &object, const char *key) {
  static const Value none;
  const Value *found = object.is(Kind::dict) ? object.dict().find(std::string_view(key)) : nullptr;
  return found ? *found : none;
}

/// Compares with "output", or expects an error where there is an "error".
void check(const Value &expected, const absl::StatusOr<std::string> &got, const std::string &what) {
  const Value &output = member(expected, "output");
  if (output.is(Kind::text)) {
    ASSERT_TRUE(got.ok()) << what << "\n" << got.status();
    EXPECT_EQ(*got, output.text()) << what;
  } else {
    EXPECT_FALSE(got.ok()) << what << "\nexpects " << member(expected, "error").text() << ", got " << *got;
  }
}

TEST(Template, equals_jinja_on_conversations) {
  Value file = readJson("cases.json");
  size_t cases = 0;
  for (const Value &one : member(file, "cases").list().items) {
    const std::string &name = member(one, "template").text(),
                      &conversation = member(one, "conversation").text();
    int64_t setting = member(one, "setting").integer();
    auto variables = member(file, "settings").list().items[static_cast<size_t>(setting)].dict().entries;
    variables.emplace_back(Value::text("messages"),
                           member(member(file, "conversations"), conversation.c_str()));
    check(one, render(readFile(kFolder + name), Value::dict(variables)),
          name + ", " + conversation + ", setting " + std::to_string(setting));
    ++cases;
  }
  EXPECT_GE(cases, 300u);
}

TEST(Template, equals_jinja_on_single_constructs) {
  Value file = readJson("snippets.json");
  for (const Value &one : member(file, "cases").list().items) {
    const std::string &text = member(one, "template").text();
    check(one, render(text, member(file, "variables")), text);
  }
}

TEST(Template, says_where_and_what_is_not_supported) {
  struct {
    const char *text, *message;
  } cases[] = {
      {"a\n  {% include 'x' %}", "t: line 2, column 6: tag 'include' is not supported"},
      {"{% call f() %}{% endcall %}", "t: line 1, column 4: tag 'call' is not supported"},
      {"é{{ x | xmlattr }}", "t: line 1, column 9: filter 'xmlattr' is not supported"},
      {"{{ x is escaped }}", "t: line 1, column 9: test 'escaped' is not supported"},
      {"{{ x|map('xmlattr') }}", "t: line 1, column 6: filter 'xmlattr' is not supported"},
      {"{% for a in b recursive %}{% endfor %}", "t: line 1, column 15: a recursive loop is not supported"},
      {"{{ f(*a) }}", "t: line 1, column 6: an unpacked argument is not supported"},
      {"{{ '%s'.format(1) }}", "t: line 1, column 9: method 'format' is not supported"},
      {"{{ cycler(1) }}", "t: line 1, column 4: 'cycler' is not supported"},
      {"{{ 99999999999999999999 }}", "t: line 1, column 4: a number beyond 64 bits is not supported"},
      {"{{ 0x10 }}", "t: line 1, column 4: numbers in other bases than ten are not supported"},
      {"{{ a[1, 2] }}", "t: line 1, column 7: a subscript with commas is not supported"},
      {"{{ 'a\\", "t: line 1, column 6: the string has no end"},
      {"{{ x", "t: line 1, column 1: the tag has no end, }} is missing"},
      {"{% if x %}\n", "t: line 1, column 4: the tag has no endif"},
      {"\n{% endfor %}", "t: line 2, column 4: unexpected tag 'endfor'"},
      {"{{ 1 + }}", "t: line 1, column 8: expects an expression, got the end of the tag"},
  };
  for (const auto &c : cases)
    EXPECT_EQ(Template::parse(c.text, "t").status().message(), c.message) << c.text;
}

TEST(Template, errors_of_rendering_name_the_place) {
  Value none = Value::dict({});
  struct {
    const char *text, *message;
  } cases[] = {
      {"{{ raise_exception('no system turn') }}",
       "t: line 1, column 4: the template refuses this conversation: no system turn"},
      {"\n{{ messages[0] }}", "t: line 2, column 12: 'messages' is undefined"},
      {"{{ 'a' + 1 }}", "t: line 1, column 8: '+' is not supported between a str and a int"},
      {"{{ '%d' % 1 }}", "t: line 1, column 9: formatting with % is not supported"},
      {"{{ 'É'|lower }}", "t: line 1, column 8: changing case is supported for ASCII letters only, got 'É'"},
      {"{{ 9223372036854775807 + 1 }}", "t: line 1, column 24: a number beyond 64 bits is not supported"},
  };
  for (const auto &c : cases)
    EXPECT_EQ(render(c.text, none).status().message(), c.message) << c.text;
}

std::string repeat(const std::string &text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i)
    all += text;
  return all;
}

TEST(HostileTemplate, is_bounded) {
  const std::string deep = "nested deeper than", steps = "takes more than 5000000 steps",
                    bytes = "makes more than 67108864 bytes", calls = "calls itself too deeply";
  struct {
    std::string text, message;
  } cases[] = {
      {"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", calls},
      {"{% macro f() %}{% for i in [1] %}{% if true %}{{ 'a' ~ f() }}{% endif %}{% endfor %}{% endmacro %}{{ "
       "f() }}",
       calls},
      {"{{ range(10 ** 15) }}", "range has more than 100000 numbers"},
      {"{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", bytes},
      {"{% for a in range(9999) %}{% for b in range(50) %}{{ 1+1+1+1+1+1+1+1+1+1 }}{% endfor %}{% endfor %}",
       steps},
      {"{{ 'a' * 10 ** 15 }}", bytes},
      {"{{ [1] * 10 ** 15 }}", bytes},
      {"{% set n = namespace(s='ab') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s "
       "}}",
       bytes},
      {"{% set n = namespace(s='ab') %}{% for i in range(99) %}{% set n.s = n.s|replace('a', n.s) %}{% "
       "endfor %}",
       bytes},
      {"{% set n = namespace(s=[1]) %}{% for i in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}", bytes},
      {"{% set n = namespace(s=[]) %}{% for i in range(999) %}{% set n.s = [n.s] %}{% endfor %}",
       "nested deeper than 64"},
      {"{% set n = namespace(s={}) %}{% for i in range(999) %}{% set n.s = {'a': n.s} %}{% endfor %}",
       "nested deeper than 64"},
      {"{% set n = namespace() %}{% set n.n = n %}{{ n }}", "a Namespace cannot be printed"},
      {"{% set n = namespace() %}{% set n.n = [n] %}{{ n.n == n.n }}{{ n.n|tojson }}",
       "Object of type Namespace is not JSON serializable"},
      {"{{ " + repeat("(", 100000) + "1" + repeat(")", 100000) + " }}", deep},
      {"{{ " + repeat("not ", 100000) + "1 }}", deep},
      {"{{ " + repeat("-", 100000) + "1 }}", deep},
      {"{{ 1" + repeat(" + 1", 100000) + " }}", deep},
      {"{{ a" + repeat(".a", 100000) + " }}", deep},
      {"{{ a" + repeat("|trim", 100000) + " }}", deep},
      {"{{ a" + repeat(" if a else a", 100000) + " }}", deep},
      {repeat("{% if a %}", 100000), deep},
      {"{% if a %}" + repeat("{% elif a %}", 100000), "more than 500 elif tags"},
      {"{{ " + repeat("{'a': ", 100000) + "1" + repeat("}", 100000) + " }}", deep},
      {"{{ strftime_now('%99999999d') }}", "strftime_now cannot use the format"},
      {"{{ ('a' * 10 ** 7).split('') }}", "a separator that is a string and not empty"},
      {"{% set s = 'a' * 10 ** 7 %}{% for c in s %}{% for d in s %}{% endfor %}{% endfor %}", bytes},
  };
  for (const auto &c : cases) {
    std::clock_t start = std::clock(); // of this process: other work does not count
    auto result = render(c.text, Value::dict({}));
    double seconds = double(std::clock() - start) / CLOCKS_PER_SEC;
    EXPECT_FALSE(result.ok()) << c.text.substr(0, 100);
    EXPECT_NE(result.status().message().find(c.message), absl::string_view::npos) << result.status() << "\n"
                                                                                  << c.text.substr(0, 100);
    EXPECT_LT(seconds, 10) << c.text.substr(0, 100);
  }
}

TEST(HostileTemplate, limits_are_those_given) {
  TemplateOptions few;
  few.steps = 1000;
  few.bytes = 1000;
  EXPECT_EQ(render("{% for i in range(5000) %}{% endfor %}", Value::dict({}), few).status().message(),
            "t: line 1, column 13: the template makes more than 1000 bytes of text");
  few.bytes = 1 << 20;
  EXPECT_EQ(render("{% for i in range(5000) %}{% endfor %}", Value::dict({}), few).status().message(),
            "t: line 1, column 13: the template takes more than 1000 steps");
}

TEST(TemplateJson, keeps_order_and_says_what_is_wrong) {
  auto value = jinja::fromJson(R"({"b": 1, "a": [true, null, -2, 1.5, "\u00e9"], "b": 2})", "x");
  ASSERT_TRUE(value.ok()) << value.status();
  std::string out;
  EXPECT_EQ(jinja::toJson(*value, {}, out), "");
  EXPECT_EQ(out, R"({"b": 2, "a": [true, null, -2, 1.5, "é"]})");
  EXPECT_EQ(jinja::fromJson("{", "x").status().message(), "x: is not valid JSON at byte 2");
  EXPECT_EQ(jinja::fromJson(repeat("[", 9999), "x").status().message(), "x: is nested deeper than 64");
}

} // namespace
} // namespace llmc::test
