// The safetensors header parser: good files, and one broken file for every rule of the format.
#include "frontends/huggingface/Safetensors.h"
#include "test/frontends/TempDirectory.h"

#include <gtest/gtest.h>

namespace llmc {
namespace {

absl::StatusOr<SafetensorsFile> parse(const std::string &bytes) {
  return SafetensorsFile::parse({reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size()}, "f");
}

std::string text(absl::Span<const uint8_t> bytes) { return std::string(bytes.begin(), bytes.end()); }

TEST(Safetensors, reads_tensors_in_the_order_of_their_bytes) {
  std::string bytes =
      safetensors("{" + entry("b", "F32", "[1]", 4, 8) + "," + entry("a", "BF16", "[2,1]", 0, 4) +
                      ",\"__metadata__\":{\"format\":\"pt\"}}   ",
                  "abcdEFGH");
  absl::StatusOr<SafetensorsFile> file = parse(bytes);
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ(file->tensors().size(), 2u);
  EXPECT_EQ(file->tensors()[0].name, "a");
  EXPECT_EQ(file->tensors()[0].type, StoredType::BF16);
  EXPECT_EQ(file->tensors()[0].shape, (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(text(file->bytes(file->tensors()[0])), "abcd");
  EXPECT_EQ(text(file->bytes(file->tensors()[1])), "EFGH");
  ASSERT_EQ(file->metadata().size(), 1u);
  EXPECT_EQ(file->metadata()[0], std::make_pair(std::string("format"), std::string("pt")));
}

TEST(Safetensors, reads_scalars_and_empty_tensors) {
  std::string bytes =
      safetensors("{" + entry("empty", "F32", "[0,9]", 0, 0) + "," + entry("scalar", "I8", "[]", 0, 1) + "," +
                      entry("end", "F64", "[3,0]", 1, 1) + "," + entry("mid", "U8", "[0]", 0, 0) + "}",
                  "x");
  absl::StatusOr<SafetensorsFile> file = parse(bytes);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->tensors().size(), 4u);
  EXPECT_EQ(text(file->bytes(file->tensors()[2])), "x");
}

TEST(Safetensors, reads_types_smaller_than_a_byte) {
  EXPECT_TRUE(parse(safetensors("{" + entry("a", "F6_E2M3", "[4]", 0, 3) + "}", "xyz")).ok());
  EXPECT_TRUE(parse(safetensors("{" + entry("a", "F4", "[4]", 0, 2) + "}", "xy")).ok());
}

TEST(Safetensors, reads_files_without_tensors) {
  EXPECT_TRUE(parse(safetensors("{}")).ok());
  EXPECT_TRUE(parse(safetensors("{\"__metadata__\":{}}")).ok());
}

TEST(Safetensors, names_every_type_as_the_format_does) {
  EXPECT_STREQ(typeName(StoredType::BOOL), "BOOL");
  EXPECT_STREQ(typeName(StoredType::F8_E5M2FNUZ), "F8_E5M2FNUZ");
  EXPECT_STREQ(typeName(StoredType::BF16), "BF16");
  EXPECT_STREQ(typeName(StoredType::U64), "U64");
  EXPECT_EQ(typeBits(StoredType::F6_E3M2), 6);
  EXPECT_EQ(typeBits(StoredType::F32), 32);
  EXPECT_EQ(typeBits(StoredType::C64), 64);
}

struct Broken {
  const char *kind;
  std::string bytes;
  const char *message;
};

void expectMessages(const std::vector<Broken> &cases) {
  for (const Broken &broken : cases) {
    SCOPED_TRACE(broken.kind);
    absl::StatusOr<SafetensorsFile> file = parse(broken.bytes);
    ASSERT_FALSE(file.ok());
    EXPECT_EQ(std::string(file.status().message()), broken.message);
  }
}

std::string tensorWith(const std::string &body) { return safetensors("{\"a\":" + body + "}"); }

TEST(Safetensors, rejects_files_that_are_not_of_the_format) {
  expectMessages({
      {"empty file", "", "f: truncated: the file is 0 bytes, expects at least 8: download it again"},
      {"seven bytes", "1234567", "f: truncated: the file is 7 bytes, expects at least 8: download it again"},
      {"header over its bound", lengthBytes(100'000'001) + "{",
       "f: header length at byte 0: expects at most 100000000, found 100000001: it is not a safetensors file "
       "or is "
       "damaged; download it again"},
      {"largest length", lengthBytes(~uint64_t{0}) + "{}",
       "f: header length at byte 0: expects at most 100000000, found 18446744073709551615: it is not a "
       "safetensors "
       "file or is damaged; download it again"},
      {"LFS pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
       "f: header length at byte 0: expects at most 100000000, found 2336927755350992246: it is a Git LFS "
       "pointer; "
       "fetch the file itself with git lfs pull"},
      {"web page", "<!DOCTYPE html>",
       "f: header length at byte 0: expects at most 100000000, found 5789751444030890300: it is a web page; "
       "download "
       "the file itself"},
      {"pickle", std::string("PK\x03\x04") + std::string(30, '\x01'),
       "f: header length at byte 0: expects at most 100000000, found 72340172888558416: it is a pickle of "
       "PyTorch; "
       "convert it to safetensors"},
      {"header cut", lengthBytes(100) + "{",
       "f: truncated: the file is 9 bytes, its header ends at byte 108: download it again"},
      {"header of no bytes", lengthBytes(0),
       "f: header at byte 8: expects \"{\", found a header of no bytes: it is not a safetensors file or is "
       "damaged; "
       "download it again"},
      {"header begins with a blank", safetensors(" {}"),
       "f: header at byte 8: expects \"{\", found \" \": it is not a safetensors file or is damaged; "
       "download it again"},
      {"header is a list", safetensors("[]"),
       "f: header at byte 8: expects \"{\", found \"[\": it is not a safetensors file or is damaged; "
       "download it again"},
  });
}

TEST(Safetensors, rejects_headers_that_are_not_json) {
  expectMessages({
      {"syntax", safetensors("{\"a\" 1}"), "f: header: JSON syntax error at byte 6, after \"{\\\"a\\\" 1\""},
      {"unfinished", safetensors("{\"a\":"),
       "f: header: JSON syntax error at byte 5, where the text ends, after \"{\\\"a\\\":\""},
      {"two values", safetensors("{}{}"), "f: header: JSON syntax error at byte 3, after \"{}{\""},
      {"comment", safetensors("{/**/}"), "f: header: JSON syntax error at byte 2, after \"{/\""},
      {"not UTF-8", safetensors("{\"\xff\":1}"),
       "f: header: JSON syntax error at byte 3, after \"{\\\"\xff\""},
      {"overlong UTF-8", safetensors("{\"\xc0\xaf\":1}"),
       "f: header: JSON syntax error at byte 3, after \"{\\\"\xc0\""},
      {"lone surrogate", safetensors("{\"\\ud800\":1}"),
       "f: header: JSON syntax error at byte 9, after \"{\\\"\\\\ud800\\\"\""},
      {"zero byte ends the object early", safetensors(std::string("{}\0{", 4)),
       "f: header: JSON syntax error at byte 2: a zero byte"},
      {"number no float holds", tensorWith("{\"shape\":[1e999]}"),
       "f: header: the number that ends at byte 20 is too large for a 64-bit float"},
      {"deep nesting", tensorWith("{\"shape\":" + std::string(100'000, '[')),
       "f: header: lists and objects are nested more than 3 deep"},
      {"an object for a list", tensorWith("{\"shape\":{}}"),
       "f: header: tensor \"a\": \"shape\": expects a list of integers from 0 to 2^63-1, found an object"},
  });
}

TEST(Safetensors, rejects_entries_of_the_wrong_form) {
  expectMessages({
      {"tensor is a number", tensorWith("1"), "f: header: tensor \"a\": expects an object, found 1"},
      {"no dtype", tensorWith("{\"shape\":[],\"data_offsets\":[0,4]}"),
       "f: header: tensor \"a\": \"dtype\" is missing"},
      {"no shape", tensorWith("{\"dtype\":\"F32\",\"data_offsets\":[0,4]}"),
       "f: header: tensor \"a\": \"shape\" is missing"},
      {"no offsets", tensorWith("{\"dtype\":\"F32\",\"shape\":[]}"),
       "f: header: tensor \"a\": \"data_offsets\" is missing"},
      {"unknown field", tensorWith("{\"strides\":[1]}"),
       "f: header: tensor \"a\": expects the keys dtype, shape and data_offsets, found \"strides\""},
      {"unknown type", tensorWith("{\"dtype\":\"Q4_K\"}"),
       "f: header: tensor \"a\": \"dtype\": expects a type of the format (such as BF16), found \"Q4_K\""},
      {"type is a number", tensorWith("{\"dtype\":7}"),
       "f: header: tensor \"a\": \"dtype\": expects a type of the format (such as BF16), found 7"},
      {"negative dimension", tensorWith("{\"shape\":[2,-1]}"),
       "f: header: tensor \"a\": \"shape\": expects a list of integers from 0 to 2^63-1, found -1"},
      {"fractional dimension", tensorWith("{\"shape\":[1.0]}"),
       "f: header: tensor \"a\": \"shape\": expects a list of integers from 0 to 2^63-1, found 1.0"},
      {"dimension over 63 bits", tensorWith("{\"shape\":[9223372036854775808]}"),
       "f: header: tensor \"a\": \"shape\": expects a list of integers from 0 to 2^63-1, found "
       "9223372036854775808"},
      {"shape is null", tensorWith("{\"shape\":null}"),
       "f: header: tensor \"a\": \"shape\": expects a list of integers from 0 to 2^63-1, found null"},
      {"65 dimensions",
       tensorWith("{\"shape\":[1" +
                  [] {
                    std::string s;
                    for (int i = 0; i < 64; ++i)
                      s += ",1";
                    return s;
                  }() +
                  "]}"),
       "f: header: tensor \"a\": \"shape\": expects at most 64 dimensions"},
      {"one offset", tensorWith("{\"data_offsets\":[0]}"),
       "f: header: tensor \"a\": \"data_offsets\": expects two integers from 0 to 2^63-1, found the end of "
       "the list"},
      {"three offsets", tensorWith("{\"data_offsets\":[0,4,8]}"),
       "f: header: tensor \"a\": \"data_offsets\": expects two integers from 0 to 2^63-1, found a third, 8"},
      {"negative offset", tensorWith("{\"data_offsets\":[-4,0]}"),
       "f: header: tensor \"a\": \"data_offsets\": expects two integers from 0 to 2^63-1, found -4"},
      {"metadata is a list", safetensors("{\"__metadata__\":[]}"),
       "f: header: \"__metadata__\": expects an object of strings, found a list"},
      {"metadata holds a number", safetensors("{\"__metadata__\":{\"step\":5}}"),
       "f: header: \"__metadata__\": the value of \"step\": expects a string, found 5"},
      {"control characters in a name", safetensors("{\"a\\n\\u0000\\\"\":1}"),
       "f: header: tensor \"a\\x0a\\x00\\\"\": expects an object, found 1"},
      {"long name", safetensors("{\"" + std::string(300, 'n') + "\":1}"),
       "f: header: tensor "
       "\"nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
       "nnnnnnnnnnnnnnnn\"...: expects an object, found 1"},
  });
}

TEST(Safetensors, rejects_duplicate_keys) {
  std::string a = entry("a", "U8", "[1]", 0, 1);
  expectMessages({
      {"tensor", safetensors("{" + a + "," + a + "}", "x"),
       "f: header: the key \"a\" occurs twice in one object"},
      {"tensor, escaped once", safetensors("{" + a + ",\"\\u0061\":{}}", "x"),
       "f: header: the key \"a\" occurs twice in one object"},
      {"field", tensorWith("{\"dtype\":\"U8\",\"dtype\":\"I8\"}"),
       "f: header: the key \"dtype\" occurs twice in one object"},
      {"metadata", safetensors("{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}"),
       "f: header: the key \"k\" occurs twice in one object"},
      {"two metadata", safetensors("{\"__metadata__\":{},\"__metadata__\":{}}"),
       "f: header: the key \"__metadata__\" occurs twice in one object"},
  });
}

TEST(Safetensors, rejects_sizes_and_offsets_that_disagree) {
  expectMessages({
      {"end before begin", safetensors("{" + entry("a", "U8", "[1]", 4, 3) + "}"),
       "f: tensor \"a\": begins at byte 4 of the data and ends before, at 3"},
      {"shape larger than bytes", safetensors("{" + entry("a", "F32", "[2]", 0, 4) + "}", "1234"),
       "f: tensor \"a\": the shape [2] of F32 expects 8 bytes, found 4 (data_offsets 0 to 4)"},
      {"shape smaller than bytes", safetensors("{" + entry("a", "BF16", "[1,1]", 0, 4) + "}", "1234"),
       "f: tensor \"a\": the shape [1, 1] of BF16 expects 2 bytes, found 4 (data_offsets 0 to 4)"},
      {"product wraps to zero", safetensors("{" + entry("a", "U8", "[4294967296,4294967296]", 0, 0) + "}"),
       "f: tensor \"a\": the shape [4294967296, 4294967296] of U8 has more bits than 64-bit numbers count"},
      {"bits wrap", safetensors("{" + entry("a", "F32", "[1152921504606846976]", 0, 0) + "}"),
       "f: tensor \"a\": the shape [1152921504606846976] of F32 has more bits than 64-bit numbers count"},
      {"half a byte", safetensors("{" + entry("a", "F4", "[3]", 0, 2) + "}", "12"),
       "f: tensor \"a\": the shape [3] of F4 is 12 bits, not a whole number of bytes"},
      {"overlap",
       safetensors("{" + entry("a", "U8", "[4]", 0, 4) + "," + entry("b", "U8", "[4]", 2, 6) + "}", "123456"),
       "f: tensor \"b\": begins at byte 2 of the data, inside tensor \"a\", which ends at 4"},
      {"same bytes twice",
       safetensors("{" + entry("a", "U8", "[4]", 0, 4) + "," + entry("b", "U8", "[4]", 0, 4) + "}", "1234"),
       "f: tensor \"b\": begins at byte 0 of the data, inside tensor \"a\", which ends at 4"},
      {"empty tensor inside another",
       safetensors("{" + entry("a", "U8", "[4]", 0, 4) + "," + entry("b", "U8", "[0]", 2, 2) + "}", "1234"),
       "f: tensor \"b\": begins at byte 2 of the data, inside tensor \"a\", which ends at 4"},
      {"hole",
       safetensors("{" + entry("a", "U8", "[2]", 0, 2) + "," + entry("b", "U8", "[2]", 4, 6) + "}", "123456"),
       "f: tensor \"b\": begins at byte 4 of the data, expects 2: the bytes between belong to no tensor"},
      {"hole at the start", safetensors("{" + entry("a", "U8", "[2]", 1, 3) + "}", "123"),
       "f: tensor \"a\": begins at byte 1 of the data, expects 0: the bytes between belong to no tensor"},
      {"data cut", safetensors("{" + entry("a", "F32", "[1000]", 0, 4000) + "}", "1234"),
       "f: truncated: the file is 72 bytes, its header describes 4068 bytes: download it again"},
      {"data of nearly 2^60 bytes",
       safetensors("{" + entry("a", "U8", "[1152921504606846975]", 0, 1152921504606846975) + "}"),
       "f: truncated: the file is 97 bytes, its header describes 1152921504606847072 bytes: download it "
       "again"},
      {"data behind the last tensor", safetensors("{" + entry("a", "U8", "[1]", 0, 1) + "}", "12"),
       "f: the file is 63 bytes, its header describes 62 bytes: the rest belongs to no tensor; download it "
       "again"},
      {"data without tensors", safetensors("{}", "1"),
       "f: the file is 11 bytes, its header describes 10 bytes: the rest belongs to no tensor; download it "
       "again"},
  });
}

// Every prefix of a good file, and every file with one byte changed, is read or refused, never worse.
TEST(Safetensors, survives_cuts_and_changed_bytes) {
  std::string good =
      safetensors("{\"__metadata__\":{\"k\":\"v\"}," + entry("a", "BF16", "[2,1]", 0, 4) + "}", "1234");
  ASSERT_TRUE(parse(good).ok());
  for (size_t length = 0; length < good.size(); ++length)
    EXPECT_FALSE(parse(good.substr(0, length)).ok()) << length;
  for (size_t at = 0; at < good.size(); ++at)
    for (int value = 0; value < 256; ++value) {
      std::string changed = good;
      changed[at] = static_cast<char>(value);
      absl::StatusOr<SafetensorsFile> file = parse(changed);
      for (size_t i = 0; file.ok() && i < file->tensors().size(); ++i)
        EXPECT_EQ(text(file->bytes(file->tensors()[i])).size(), 4u);
    }
}

} // namespace
} // namespace llmc
