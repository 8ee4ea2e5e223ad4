// UTF-8 as the Unicode standard defines it (table 3-7): no overlong forms, no surrogates, nothing above
// U+10FFFF.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace llmc::runtime {

enum class Utf8Kind { complete, incomplete, invalid };
/// One character, or the longest part of one that could still be continued (`incomplete`) or never can
/// (`invalid`).
struct Utf8Char {
  uint32_t codepoint;
  size_t bytes;
  Utf8Kind kind;
};

inline Utf8Char readUtf8(std::string_view text) {
  auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  uint8_t first = byte(0);
  if (first < 0x80)
    return {first, 1, Utf8Kind::complete};
  size_t length = first >= 0xc2 && first <= 0xdf   ? 2
                  : first >= 0xe0 && first <= 0xef ? 3
                  : first >= 0xf0 && first <= 0xf4 ? 4
                                                   : 0;
  if (length == 0)
    return {0xfffd, 1, Utf8Kind::invalid};
  uint32_t codepoint = first & (0x7f >> length);
  for (size_t i = 1; i < length; ++i) {
    if (i == text.size())
      return {0xfffd, i, Utf8Kind::incomplete};
    uint8_t low = 0x80, high = 0xbf;
    if (i == 1) {
      low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
      high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    }
    if (byte(i) < low || byte(i) > high)
      return {0xfffd, i, Utf8Kind::invalid};
    codepoint = codepoint << 6 | (byte(i) & 0x3f);
  }
  return {codepoint, length, Utf8Kind::complete};
}

inline void appendUtf8(std::string &out, uint32_t c) {
  auto add = [&](uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    add(c);
  } else if (c < 0x800) {
    add(0xc0 | c >> 6);
    add(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    add(0xe0 | c >> 12);
    add(0x80 | (c >> 6 & 0x3f));
    add(0x80 | (c & 0x3f));
  } else {
    add(0xf0 | c >> 18);
    add(0x80 | (c >> 12 & 0x3f));
    add(0x80 | (c >> 6 & 0x3f));
    add(0x80 | (c & 0x3f));
  }
}

/// Offset of the first byte that is not part of a character; the size when all is well.
inline size_t validUtf8Bytes(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    Utf8Char c = readUtf8(text.substr(at));
    if (c.kind != Utf8Kind::complete)
      break;
    at += c.bytes;
  }
  return at;
}

} // namespace llmc::runtime
