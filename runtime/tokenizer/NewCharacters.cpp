// PCRE2 10.42 knows Unicode 14, the engines of the reference tokenizers know Unicode 16. Where a text is cut
// does not depend on which letter it is, so a new letter is matched as an old one of the same category and
// length.
#include "runtime/tokenizer/NewCharacters.h"
#include "runtime/tokenizer/Utf8.h"
#include <algorithm>
#include <iterator>

namespace llmc::runtime {
namespace {

/// Categories of Unicode; kHan is Lo of the script Han.
enum Category : uint8_t { kLu, kLl, kLm, kLo, kHan, kMn, kMc, kNd, kNo };

/// Characters of Unicode 14 that take three and four bytes. Where the new ones have none of three, there is
/// none here.
constexpr uint32_t kStandIns[][2] = {{0x1E00, 0x10400}, {0x1E01, 0x10428}, {0, 0x16B40},
                                     {0, 0x10280},      {0, 0x20000},      {0x941, 0x101FD},
                                     {0x903, 0x11000},  {0, 0x104A0},      {0, 0x10107}};

struct Range {
  uint32_t first, last;
  Category category;
};
/// What Unicode 15.0, 15.1 and 16.0 added.
constexpr Range kNew[] = {
    {0x897, 0x897, kMn},      {0xCF3, 0xCF3, kMc},      {0xECE, 0xECE, kMn},      {0x1C89, 0x1C89, kLu},
    {0x1C8A, 0x1C8A, kLl},    {0xA7CB, 0xA7CC, kLu},    {0xA7CD, 0xA7CD, kLl},    {0xA7DA, 0xA7DA, kLu},
    {0xA7DB, 0xA7DB, kLl},    {0xA7DC, 0xA7DC, kLu},    {0x105C0, 0x105F3, kLo},  {0x10D40, 0x10D49, kNd},
    {0x10D4A, 0x10D4D, kLo},  {0x10D4E, 0x10D4E, kLm},  {0x10D4F, 0x10D4F, kLo},  {0x10D50, 0x10D65, kLu},
    {0x10D69, 0x10D6D, kMn},  {0x10D6F, 0x10D6F, kLm},  {0x10D70, 0x10D85, kLl},  {0x10EC2, 0x10EC4, kLo},
    {0x10EFC, 0x10EFF, kMn},  {0x1123F, 0x11240, kLo},  {0x11241, 0x11241, kMn},  {0x11380, 0x11389, kLo},
    {0x1138B, 0x1138B, kLo},  {0x1138E, 0x1138E, kLo},  {0x11390, 0x113B5, kLo},  {0x113B7, 0x113B7, kLo},
    {0x113B8, 0x113BA, kMc},  {0x113BB, 0x113C0, kMn},  {0x113C2, 0x113C2, kMc},  {0x113C5, 0x113C5, kMc},
    {0x113C7, 0x113CA, kMc},  {0x113CC, 0x113CD, kMc},  {0x113CE, 0x113CE, kMn},  {0x113CF, 0x113CF, kMc},
    {0x113D0, 0x113D0, kMn},  {0x113D1, 0x113D1, kLo},  {0x113D2, 0x113D2, kMn},  {0x113D3, 0x113D3, kLo},
    {0x113E1, 0x113E2, kMn},  {0x116D0, 0x116E3, kNd},  {0x1171E, 0x1171E, kMc},  {0x11BC0, 0x11BE0, kLo},
    {0x11BF0, 0x11BF9, kNd},  {0x11F00, 0x11F01, kMn},  {0x11F02, 0x11F02, kLo},  {0x11F03, 0x11F03, kMc},
    {0x11F04, 0x11F10, kLo},  {0x11F12, 0x11F33, kLo},  {0x11F34, 0x11F35, kMc},  {0x11F36, 0x11F3A, kMn},
    {0x11F3E, 0x11F3F, kMc},  {0x11F40, 0x11F40, kMn},  {0x11F41, 0x11F41, kMc},  {0x11F42, 0x11F42, kMn},
    {0x11F50, 0x11F59, kNd},  {0x11F5A, 0x11F5A, kMn},  {0x1342F, 0x1342F, kLo},  {0x13440, 0x13440, kMn},
    {0x13441, 0x13446, kLo},  {0x13447, 0x13455, kMn},  {0x13460, 0x143FA, kLo},  {0x16100, 0x1611D, kLo},
    {0x1611E, 0x16129, kMn},  {0x1612A, 0x1612C, kMc},  {0x1612D, 0x1612F, kMn},  {0x16130, 0x16139, kNd},
    {0x16D40, 0x16D42, kLm},  {0x16D43, 0x16D6A, kLo},  {0x16D6B, 0x16D6C, kLm},  {0x16D70, 0x16D79, kNd},
    {0x18CFF, 0x18CFF, kLo},  {0x1B132, 0x1B132, kLo},  {0x1B155, 0x1B155, kLo},  {0x1CCF0, 0x1CCF9, kNd},
    {0x1D2C0, 0x1D2D3, kNo},  {0x1DF25, 0x1DF2A, kLl},  {0x1E030, 0x1E06D, kLm},  {0x1E08F, 0x1E08F, kMn},
    {0x1E4D0, 0x1E4EA, kLo},  {0x1E4EB, 0x1E4EB, kLm},  {0x1E4EC, 0x1E4EF, kMn},  {0x1E4F0, 0x1E4F9, kNd},
    {0x1E5D0, 0x1E5ED, kLo},  {0x1E5EE, 0x1E5EF, kMn},  {0x1E5F0, 0x1E5F0, kLo},  {0x1E5F1, 0x1E5FA, kNd},
    {0x2B739, 0x2B739, kHan}, {0x2EBF0, 0x2EE5D, kHan}, {0x31350, 0x323AF, kHan},
};

} // namespace

bool replaceNewCharacters(std::string_view text, std::string &copy) {
  bool isReplaced = false;
  for (size_t at = 0; at < text.size();) {
    // They begin with these bytes; most text has none of them.
    uint8_t lead = static_cast<uint8_t>(text[at]);
    if (lead != 0xe0 && lead != 0xe1 && lead != 0xea && lead != 0xf0) {
      ++at;
      continue;
    }
    Utf8Char c = readUtf8(text.substr(at));
    const Range *range =
        std::lower_bound(std::begin(kNew), std::end(kNew), c.codepoint,
                         [](const Range &r, uint32_t codepoint) { return r.last < codepoint; });
    if (range != std::end(kNew) && range->first <= c.codepoint) {
      if (!isReplaced)
        copy.assign(text);
      isReplaced = true;
      std::string standIn;
      appendUtf8(standIn, kStandIns[range->category][c.bytes - 3]);
      copy.replace(at, c.bytes, standIn);
    }
    at += c.bytes;
  }
  return isReplaced;
}

} // namespace llmc::runtime
