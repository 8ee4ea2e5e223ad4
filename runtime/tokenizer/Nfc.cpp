// Form C by the Unicode standard, annex 15: decompose, order combining marks, compose. ICU would do it too,
// with 30 MB of data; the tables here are made at build time from Python's and take 50 KB.
#include "runtime/tokenizer/Nfc.h"
#include "runtime/tokenizer/Utf8.h"
#include <algorithm>
#include <cstdint>
#include <vector>

namespace llmc::runtime {
namespace {

struct ClassRow {
  uint32_t codepoint;
  uint8_t combiningClass;
};
struct DecompositionRow {
  uint32_t codepoint;
  uint16_t offset, length;
};
struct PairRow {
  uint32_t first, second, composed;
};
#include "runtime/tokenizer/NfcTables.inc"

constexpr uint32_t kSBase = 0xAC00, kLBase = 0x1100, kVBase = 0x1161, kTBase = 0x11A7;
constexpr uint32_t kLCount = 19, kVCount = 21, kTCount = 28, kSCount = kLCount * kVCount * kTCount;

/// `order` makes sorting by class stable; only set for marks.
struct Char {
  uint32_t codepoint;
  uint8_t combiningClass;
  uint32_t order = 0;
};

template <typename Row, size_t n> const Row *find(const Row (&rows)[n], uint32_t codepoint) {
  const Row *row =
      std::lower_bound(rows, rows + n, codepoint, [](const Row &r, uint32_t c) { return r.codepoint < c; });
  return row != rows + n && row->codepoint == codepoint ? row : nullptr;
}

Char classified(uint32_t codepoint) {
  const ClassRow *row = codepoint < 0x300 ? nullptr : find(kClasses, codepoint);
  return {codepoint, row ? row->combiningClass : uint8_t{0}};
}

void decompose(uint32_t c, std::vector<Char> &out) {
  if (c - kSBase < kSCount) {
    uint32_t s = c - kSBase;
    out.push_back({kLBase + s / (kVCount * kTCount), 0});
    out.push_back({kVBase + s % (kVCount * kTCount) / kTCount, 0});
    if (s % kTCount)
      out.push_back({kTBase + s % kTCount, 0});
  } else if (const DecompositionRow *row = c < 0xC0 ? nullptr : find(kDecompositions, c)) {
    for (uint32_t i = 0; i < row->length; ++i)
      out.push_back(classified(kPool[row->offset + i]));
  } else {
    out.push_back(classified(c));
  }
}

/// 0 when the two do not compose.
uint32_t compose(uint32_t a, uint32_t b) {
  if (a - kLBase < kLCount && b - kVBase < kVCount)
    return kSBase + ((a - kLBase) * kVCount + (b - kVBase)) * kTCount;
  if (a - kSBase < kSCount && (a - kSBase) % kTCount == 0 && b - kTBase - 1 < kTCount - 1)
    return a + (b - kTBase);
  const PairRow *end = std::end(kPairs);
  const PairRow *row =
      std::lower_bound(std::begin(kPairs), end, std::make_pair(a, b), [](const PairRow &r, const auto &key) {
        return std::make_pair(r.first, r.second) < key;
      });
  return row != end && row->first == a && row->second == b ? row->composed : 0;
}

} // namespace

std::string toNfc(std::string_view text) {
  // Below U+0300 nothing combines, so most text is returned as it is.
  bool isPlain = std::all_of(text.begin(), text.end(), [](char c) { return static_cast<uint8_t>(c) < 0xcc; });
  if (isPlain)
    return std::string(text);

  std::vector<Char> chars;
  chars.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    Utf8Char c = readUtf8(text.substr(at));
    decompose(c.codepoint, chars);
    at += c.bytes;
  }
  for (size_t i = 0; i < chars.size();) {
    size_t end = i;
    for (; end < chars.size() && chars[end].combiningClass != 0; ++end)
      chars[end].order = static_cast<uint32_t>(end - i);
    std::sort(chars.begin() + static_cast<ptrdiff_t>(i), chars.begin() + static_cast<ptrdiff_t>(end),
              [](const Char &a, const Char &b) {
                return a.combiningClass != b.combiningClass ? a.combiningClass < b.combiningClass
                                                            : a.order < b.order;
              });
    i = end + 1;
  }
  // A character composes with the last starter unless something between them has the same or a higher class.
  constexpr size_t kNone = SIZE_MAX;
  size_t starter = kNone, out = 0;
  int lastClass = -1;
  for (size_t i = 0; i < chars.size(); ++i) {
    Char c = chars[i];
    if (starter != kNone && lastClass < static_cast<int>(c.combiningClass)) {
      if (uint32_t composed = compose(chars[starter].codepoint, c.codepoint)) {
        chars[starter].codepoint = composed;
        continue;
      }
    }
    if (c.combiningClass == 0) {
      starter = out;
      lastClass = -1;
    } else {
      lastClass = c.combiningClass;
    }
    chars[out++] = c;
  }
  std::string result;
  result.reserve(text.size());
  for (size_t i = 0; i < out; ++i)
    appendUtf8(result, chars[i].codepoint);
  return result;
}

} // namespace llmc::runtime
