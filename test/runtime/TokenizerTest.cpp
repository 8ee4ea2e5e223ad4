// Tokenizers: patterns, merging, normalization, added tokens, streaming, and hostile files.
#include "runtime/Tokenizer.h"
#include "TestModel.h"
#include "runtime/tokenizer/Json.h"
#include "runtime/tokenizer/Nfc.h"
#include "runtime/tokenizer/Utf8.h"
#include <ctime>
#include <nlohmann/json.hpp>
#include <random>

namespace llmc::test {
using namespace llmc::runtime;
namespace {

const char *const kQwenPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const char *const kKimiPattern =
    R"([\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

std::vector<std::string> split(const char *pattern, const std::string &text) {
  auto compiled = SplitPattern::compile(pattern);
  EXPECT_TRUE(compiled.ok()) << compiled.status();
  std::vector<Piece> pieces;
  EXPECT_TRUE(compiled->split(text, {0, text.size()}, pieces).ok());
  std::vector<std::string> result;
  std::string joined;
  for (const Piece &piece : pieces) {
    result.push_back(text.substr(piece.begin, piece.end - piece.begin));
    joined += result.back();
  }
  EXPECT_EQ(joined, text) << "pieces must concatenate to the input";
  return result;
}
using Pieces = std::vector<std::string>;

TEST(SplitPattern, knows_letters_newer_than_its_library) {
  // U+1C89, a capital letter of Unicode 16, and U+31350, a Han character of Unicode 15.
  EXPECT_EQ(split(kQwenPattern, "a\u1c89b 1"), (std::vector<std::string>{"a\u1c89b", " ", "1"}));
  EXPECT_EQ(split(kKimiPattern, "ab\u1c89c\U00031350"), (std::vector<std::string>{"ab", "\u1c89c", "\U00031350"}));
}

TEST(SplitPattern, kimi) {
  EXPECT_EQ(split(kKimiPattern, "getUserName"), (Pieces{"get", "User", "Name"}));
  EXPECT_EQ(split(kKimiPattern, "iPhone"), (Pieces{"i", "Phone"}));
  EXPECT_EQ(split(kKimiPattern, "Hello WORLD 中文混合English测试 it's 12345"),
            (Pieces{"Hello", " WORLD", " ", "中文混合", "English", "测试", " it's", " ", "123", "45"}));
  EXPECT_EQ(split(kKimiPattern, "々〇 x\r\n  \n y  "), (Pieces{"々〇", " x", "\r\n  \n", " y", "  "}));
  EXPECT_EQ(split(kKimiPattern, "don't DON'T"), (Pieces{"don't", " DON'T"}));
}

TEST(SplitPattern, qwen_and_gpt2) {
  EXPECT_EQ(split(kQwenPattern, "I'm 42 years-old!\n\nYes  we 'RE"),
            (Pieces{"I", "'m", " ", "4", "2", " years", "-old", "!\n\n", "Yes", " ", " we", " '", "RE"}));
  EXPECT_EQ(split(kGpt2Pattern, "I'm 42 years-old!\n\nYes  we"),
            (Pieces{"I", "'m", " 42", " years", "-", "old", "!", "\n", "\n", "Yes", " ", " we"}));
  EXPECT_EQ(split(R"(\p{N})", "a12b"), (Pieces{"a", "1", "2", "b"}));
}

TEST(SplitPattern, intersections_become_classes_or_lookaheads) {
  EXPECT_EQ(*toPcre2(R"([a-z&&[^x]]+)"), "(?:(?=[^x])[a-z])+");
  EXPECT_EQ(toPcre2(R"([\p{Lu}&&[^\p{Han}]]*)")->substr(0, 10), R"([^\p{Ll}\p)");
  EXPECT_EQ(*toPcre2(R"([^\s\p{L}])"), R"([^\t-\r\x{85}\p{Z}\p{L}])");
  EXPECT_EQ(*toPcre2(R"(\S[\]\[]\u3042)"), R"([^\t-\r\x{85}\p{Z}][\]\[]\x{3042})");
  EXPECT_EQ(split(R"([a-z&&[^x]]+)", "abxcd"), (Pieces{"ab", "x", "cd"}));
  EXPECT_EQ(split(R"(\s+)", "a\u180eb\u3000c"), (Pieces{"a\u180eb", "\u3000", "c"}))
      << "U+180E is no white space";
  for (const char *bad : {"[a-z", "[a&&b]", "[[a]b]", "(", R"(\p{Nonsense})", "\\", R"([^a&&[b]])"}) {
    auto compiled = SplitPattern::compile(bad);
    EXPECT_FALSE(compiled.ok()) << bad;
    EXPECT_EQ(compiled.status().message().find("split pattern `"), 0u) << compiled.status();
  }
}

TEST(SplitPattern, long_runs_take_linear_time) {
  std::clock_t start = std::clock(); // of this process: other work does not count
  for (const char *unit : {"a", "A", " ", "\n", "中", "!", "1", "aB", "'"}) {
    std::string text;
    while (text.size() < 1000000)
      text += unit;
    split(kKimiPattern, text);
    split(kQwenPattern, text);
  }
  EXPECT_LT(double(std::clock() - start) / CLOCKS_PER_SEC, 10);
}

TEST(Nfc, composes_orders_and_leaves_alone) {
  EXPECT_EQ(toNfc("plain ASCII"), "plain ASCII");
  EXPECT_EQ(toNfc("e\u0301"), "\u00e9");
  EXPECT_EQ(toNfc("\u1112\u1161\u11ab"), "\ud55c");
  EXPECT_EQ(toNfc("a\u0323\u0307"), toNfc("a\u0307\u0323"));
  EXPECT_EQ(toNfc("\u212b"), "\u00c5") << "angstrom sign";
  EXPECT_EQ(toNfc("\u0958"), "\u0915\u093c") << "composition exclusion";
  EXPECT_EQ(toNfc("\u0301e"), "\u0301e");
  EXPECT_EQ(toNfc("a\u0300\u0300"), "\u00e0\u0300");
  EXPECT_EQ(toNfc("s\u0323\u0307"), "\u1e69");
}

TEST(Utf8, follows_table_3_7) {
  for (const char *bad : {"\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf0\x80\x80\x80",
                          "\xf4\x90\x80\x80", "\xf5", "\xe2\x28"})
    EXPECT_EQ(validUtf8Bytes(bad), 0u);
  EXPECT_EQ(validUtf8Bytes("aé中😀"), 10u);
  EXPECT_EQ(validUtf8Bytes("a\xe4\xb8"), 1u);
}

absl::StatusOr<std::unique_ptr<Tokenizer>> fromJson(const std::string &json) {
  TokenizerPlan plan;
  plan.kind = TokenizerKind::huggingFaceJson;
  return Tokenizer::create(plan, json, "tokenizer.json");
}

/// Every byte is a token (ids 0 to 255 in GPT-2's order of bytes as characters), then what the caller merges.
std::string byteJson(const std::string &merges, const std::string &more, const std::string &added = "[]",
                     const std::string &rest = "", const std::string &modelRest = "") {
  std::string vocab;
  int next = 256;
  for (int byte = 0; byte < 256; ++byte) {
    bool isPrintable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    std::string text;
    appendUtf8(text, static_cast<uint32_t>(isPrintable ? byte : next++));
    if (text == "\"" || text == "\\")
      text = "\\" + text;
    vocab += (byte ? ", \"" : "\"") + text + "\": " + std::to_string(byte);
  }
  return R"({"added_tokens": )" + added +
         R"(, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}, )" + rest +
         R"("decoder": {"type": "ByteLevel"}, "model": {"type": "BPE", )" + modelRest + R"("vocab": {)" +
         vocab + more + R"(}, "merges": )" + merges + "}}";
}

std::vector<int32_t> encode(const Tokenizer &tokenizer, const std::string &text, EncodeOptions options = {}) {
  std::vector<int32_t> tokens;
  absl::Status status = tokenizer.encode(text, options, tokens);
  EXPECT_TRUE(status.ok()) << status;
  return tokens;
}
using Tokens = std::vector<int32_t>;

TEST(Tokenizer, merges_by_rank_then_from_the_left) {
  auto t = fromJson(byteJson(R"(["b c", "a b", ["a", "a"], "aa a", "aa aa"])",
                             R"(, "bc": 256, "ab": 257, "aa": 258, "aaa": 259, "aaaa": 260)"));
  ASSERT_TRUE(t.ok()) << t.status();
  EXPECT_EQ(encode(**t, "abc"), (Tokens{'a', 256}));
  EXPECT_EQ(encode(**t, "aaa"), (Tokens{259}));
  EXPECT_EQ(encode(**t, "aaaa"), (Tokens{260})) << "both pairs merge before the triple is considered";
  EXPECT_EQ(encode(**t, "aaaaa"), (Tokens{258, 259}));
  EXPECT_EQ(encode(**t, "\xc3\xa9 \n"), (Tokens{0xc3, 0xa9, ' ', '\n'}));
  EXPECT_EQ(encode(**t, ""), Tokens{});
}

TEST(Tokenizer, ignore_merges_takes_whole_pieces) {
  std::string more = R"(, "he": 256, "hello": 257)", merges = R"(["h e"])";
  EXPECT_EQ(encode(**fromJson(byteJson(merges, more)), "hello"), (Tokens{256, 'l', 'l', 'o'}));
  EXPECT_EQ(encode(**fromJson(byteJson(merges, more, "[]", "", R"("ignore_merges": true, )")), "hello"),
            (Tokens{257}));
}

TEST(Tokenizer, added_tokens_longest_first_special_on_request_and_stripping) {
  auto added = [](int id, const char *text, bool special, bool normalized, const char *strip = "") {
    std::string s = strip;
    auto flag = [](bool b) { return std::string(b ? "true" : "false"); };
    return R"({"id": )" + std::to_string(id) + R"(, "content": ")" + text +
           R"(", "single_word": false, "lstrip": )" + flag(s == "l") + R"(, "rstrip": )" + flag(s == "r") +
           R"(, "normalized": )" + flag(normalized) + R"(, "special": )" + flag(special) + "}";
  };
  auto t =
      fromJson(byteJson("[]", "",
                        "[" + added(300, "<s>", true, false) + "," + added(301, "<s>x", false, false) + "," +
                            added(302, "<think>", false, true) + "," + added(303, "<l>", true, false, "l") +
                            "," + added(304, "<r>", true, false, "r") + "]"));
  ASSERT_TRUE(t.ok()) << t.status();
  EXPECT_EQ(encode(**t, "a<s>b<s>x"), (Tokens{'a', 300, 'b', 301}));
  EXPECT_EQ(encode(**t, "a<s>", {true, false}), (Tokens{'a', '<', 's', '>'}));
  EXPECT_EQ(encode(**t, "<think>", {true, false}), (Tokens{302})) << "not special, always recognised";
  EXPECT_EQ(encode(**t, "a \t<l> b"), (Tokens{'a', 303, ' ', 'b'}));
  EXPECT_EQ(encode(**t, "a <r> \u3000b"), (Tokens{'a', ' ', 304, 'b'}));
  EXPECT_TRUE((*t)->isSpecial(300));
  EXPECT_FALSE((*t)->isSpecial(302));
  EXPECT_EQ((*t)->bytes(302), "<think>");
  EXPECT_EQ((*t)->bytes(999), "");
  EXPECT_FALSE((*t)->has(299));
}

TEST(Tokenizer, template_puts_tokens_around_the_start) {
  auto t = fromJson(byteJson(
      "[]", "", "[]",
      R"("post_processor": {"type": "Sequence", "processors": [{"type": "ByteLevel"}, {"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "B", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
      "special_tokens": {"B": {"id": "B", "ids": [7], "tokens": ["B"]}}}]}, "normalizer": {"type": "NFC"}, )"));
  ASSERT_TRUE(t.ok()) << t.status();
  EXPECT_EQ(encode(**t, "a"), (Tokens{7, 'a'}));
  EXPECT_EQ(encode(**t, "a", {false, true}), (Tokens{'a'}));
  EXPECT_EQ(encode(**t, "e\u0301", {false, true}), (Tokens{0xc3, 0xa9}));
}

TEST(Tokenizer, tiktoken_ranks_are_ids) {
  TokenizerPlan plan;
  plan.kind = TokenizerKind::tiktoken;
  plan.pattern = kKimiPattern;
  plan.specialTokens = {{300, "[BOS]", true}, {301, "<|im_end|>", true}};
  // a b c d ab bc abcd
  std::string file = "YQ== 0\nYg== 1\nYw== 2\nZA== 3\nYWI= 4\nYmM= 5\nYWJjZA== 6\n";
  auto t = Tokenizer::create(plan, file, "tiktoken.model");
  ASSERT_TRUE(t.ok()) << t.status();
  EXPECT_EQ(encode(**t, "abc"), (Tokens{4, 2}));
  EXPECT_EQ(encode(**t, "abcd"), (Tokens{6})) << "a whole piece that is a token";
  EXPECT_EQ(encode(**t, "abcda[BOS]b"), (Tokens{4, 2, 3, 0, 300, 1}));
  EXPECT_EQ((*t)->bytes(6), "abcd");
  for (const char *bad : {"YQ==\n", "YQ== x\n", "Y== 0\n", "!!!! 0\n", "YQ== 0\nYQ== 1\n", "YQ== 0\nYg== 0\n",
                          "YQ== 99999999\n"})
    EXPECT_EQ(Tokenizer::create(plan, bad, "tiktoken.model").status().message().find("tiktoken.model: line "),
              0u)
        << bad;
  plan.pattern = "";
  EXPECT_FALSE(Tokenizer::create(plan, file, "tiktoken.model").ok());
}

TEST(Tokenizer, long_pieces_take_near_linear_time) {
  auto t =
      fromJson(byteJson(R"(["a a", "aa aa", "aaaa aaaa"])", R"(, "aa": 256, "aaaa": 257, "aaaaaaaa": 258)"));
  ASSERT_TRUE(t.ok());
  std::clock_t start = std::clock(); // of this process: other work does not count
  EXPECT_EQ(encode(**t, std::string(1 << 20, 'a')).size(), size_t{1 << 17});
  EXPECT_LT(double(std::clock() - start) / CLOCKS_PER_SEC, 5);
}

TEST(TextStream, holds_back_partial_characters) {
  auto t = fromJson(
      byteJson("[]", "", R"([{"id": 300, "content": "<|end|>", "special": true, "normalized": false}])"));
  ASSERT_TRUE(t.ok());
  TextStream stream(**t);
  std::string text;
  for (int32_t token : {0xe4, 0xb8})
    stream.push(token, text);
  EXPECT_EQ(text, "");
  stream.push(0xad, text);
  EXPECT_EQ(text, "中");
  stream.push(300, text);
  stream.push(0xff, text);
  EXPECT_EQ(text, "中\ufffd") << "never the start of a character";
  stream.push(0xf0, text);
  stream.push('a', text);
  EXPECT_EQ(text, "中\ufffd\ufffda");
  stream.push(0xe4, text);
  stream.finish(text);
  EXPECT_EQ(text, "中\ufffd\ufffda\ufffd");
}

/// Reads numbers and texts as test/golden/make_tokenizer_cases.py writes them.
class CaseReader {
public:
  explicit CaseReader(const std::string &name) : bytes_(readFile(kFolder + name)) {
    EXPECT_FALSE(bytes_.empty()) << name;
  }
  bool isAtEnd() const { return at_ >= bytes_.size(); }
  size_t number() {
    size_t value = 0;
    for (int shift = 0;; shift += 7) {
      uint8_t byte = static_cast<uint8_t>(bytes_.at(at_++));
      value |= static_cast<size_t>(byte & 0x7f) << shift;
      if (byte < 0x80)
        return value;
    }
  }
  std::string text() {
    size_t length = number();
    at_ += length;
    return bytes_.substr(at_ - length, length);
  }
  Tokens ids() {
    Tokens ids(number());
    for (int32_t &id : ids)
      id = static_cast<int32_t>(number());
    return ids;
  }
  static inline const std::string kFolder = LLMC_SOURCE_DIR "/test/golden/tokenizer/";

private:
  std::string bytes_;
  size_t at_ = 0;
};

/// Ids of 10,000 strings by other implementations; see test/golden/README.md. Decoded as a stream they give
/// the string.
void checkGolden(const Tokenizer &tokenizer, const std::string &folder, bool isNfc = false) {
  CaseReader strings("strings.bin"), ids(folder + "/ids.bin");
  int cases = 0, failures = 0;
  for (; !strings.isAtEnd() && failures < 20; ++cases) {
    std::string text = strings.text(), back;
    Tokens expected = ids.ids(), tokens = encode(tokenizer, text);
    EXPECT_EQ(tokens, expected) << "string " << cases << ": " << nlohmann::json(text).dump(-1, ' ', true);
    failures += tokens != expected;
    size_t starts = tokens.size() - encode(tokenizer, text, {false, true}).size();
    TextStream stream(tokenizer, /*isShowingSpecial=*/true);
    for (size_t i = starts; i < tokens.size(); ++i) {
      size_t before = back.size();
      stream.push(tokens[i], back);
      ASSERT_EQ(validUtf8Bytes(std::string_view(back).substr(before)), back.size() - before)
          << "a piece is whole characters";
    }
    stream.finish(back);
    EXPECT_EQ(back, isNfc ? toNfc(text) : text);
  }
  EXPECT_EQ(failures ? 10000 : cases, 10000);
  EXPECT_EQ(failures == 0, ids.isAtEnd());
}

std::unique_ptr<Tokenizer> goldenTokenizer(const std::string &folder) {
  auto t = fromJson(readFile(CaseReader::kFolder + folder + "/tokenizer.json"));
  EXPECT_TRUE(t.ok()) << t.status();
  return t.ok() ? std::move(*t) : nullptr;
}

TEST(GoldenTokenizer, gpt2) { checkGolden(*goldenTokenizer("gpt2-style"), "gpt2-style"); }
TEST(GoldenTokenizer, qwen) { checkGolden(*goldenTokenizer("qwen-style"), "qwen-style", /*isNfc=*/true); }
TEST(GoldenTokenizer, llama3) { checkGolden(*goldenTokenizer("llama3-style"), "llama3-style"); }

TEST(GoldenTokenizer, kimi) {
  TokenizerPlan plan;
  plan.kind = TokenizerKind::tiktoken;
  plan.pattern = kKimiPattern;
  std::string folder = CaseReader::kFolder + "kimi-style/", model = readFile(folder + "tiktoken.model");
  auto config = parseJson(readFile(folder + "tokenizer_config.json"), "tokenizer_config.json");
  ASSERT_TRUE(config.ok()) << config.status();
  const uint32_t first = static_cast<uint32_t>(std::count(model.begin(), model.end(), '\n'));
  for (uint32_t id = first; id < first + 258; ++id) {
    auto named = (*config)["added_tokens_decoder"].find(std::to_string(id));
    plan.specialTokens.push_back({id,
                                  named != (*config)["added_tokens_decoder"].end()
                                      ? (*named)["content"].get<std::string>()
                                      : "<|reserved_token_" + std::to_string(id) + "|>",
                                  true});
  }
  auto t = Tokenizer::create(plan, model, "tiktoken.model");
  ASSERT_TRUE(t.ok()) << t.status();
  checkGolden(**t, "kimi-style");
}

TEST(HostileTokenizer, says_what_is_wrong) {
  struct {
    std::string json, message;
  } cases[] = {
      {"", "is not valid JSON at byte 1"},
      {R"({"a": 1, "a": 2})", "key 'a' occurs twice"},
      {std::string(100000, '['), "is nested deeper than 64"},
      {"[]", "is not a JSON object"},
      {R"({"model": {"type": "Unigram"}})", "model type 'Unigram' is not supported, only byte-level BPE is"},
      {R"({"model": {"type": "BPE", "vocab": {"a": "b"}}})", "a token's id is not a number"},
      {R"({"model": {"type": "BPE", "vocab": {"a": 1, "b": 1}}})",
       "token 'b' with id 1 is a duplicate or out of range"},
      {R"({"model": {"type": "BPE", "vocab": {"a": 99999999999}}})",
       "token 'a' with id 99999999999 is a duplicate or out of range"},
      {R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["ab"]}})",
       "merge 'ab' is not two parts with a space between"},
      {R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a"]]}})", "a merge has not two parts"},
      {R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a a"]}})",
       "merge 0 of 'a' and 'a' is not of tokens"},
      {R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}})",
       "pre_tokenizer has no ByteLevel, only byte-level BPE is supported"},
      {R"({"normalizer": {"type": "Lowercase"}, "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}})",
       "normalizer 'Lowercase' is not supported, only NFC is"},
  };
  for (const auto &c : cases)
    EXPECT_EQ(fromJson(c.json).status().message(), "tokenizer.json: " + c.message);
}

TEST(HostileTokenizer, mutations_never_crash) {
  std::string good = byteJson(R"(["a b", ["ab", "c"]])", R"(, "ab": 256, "abc": 257)",
                              R"([{"id": 300, "content": "<s>", "special": true}])",
                              R"("normalizer": {"type": "NFC"}, "post_processor": {"type": "ByteLevel"}, )");
  std::mt19937 random(3);
  const std::string characters = "{}[]\",:0a \\-\x80";
  for (int round = 0; round < 2000; ++round) {
    std::string bad = good;
    for (unsigned i = 0; i <= random() % 4; ++i)
      bad[random() % bad.size()] = characters[random() % characters.size()];
    if (random() % 8 == 0)
      bad.resize(random() % bad.size());
    auto t = fromJson(bad);
    std::vector<int32_t> tokens;
    if (t.ok())
      (*t)->encode("abc <s> e\u0301", {}, tokens).IgnoreError();
  }
}

} // namespace
} // namespace llmc::test
