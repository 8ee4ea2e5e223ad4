// tiktoken.model: a line per token, base64 of its bytes, a space, its rank, which is its id.
#include "runtime/Tokenizer.h"
#include <array>

namespace llmc::runtime {

static bool decodeBase64(std::string_view text, std::string &out) {
  static const std::array<int8_t, 256> values = [] {
    std::array<int8_t, 256> table;
    table.fill(-1);
    const char *alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int i = 0; i < 64; ++i)
      table[static_cast<uint8_t>(alphabet[i])] = static_cast<int8_t>(i);
    return table;
  }();
  out.clear();
  if (text.empty() || text.size() % 4)
    return false;
  size_t padding = text.back() != '=' ? 0 : text[text.size() - 2] == '=' ? 2 : 1;
  for (size_t i = 0; i < text.size(); i += 4) {
    uint32_t bits = 0;
    for (size_t k = 0; k < 4; ++k) {
      bool isPadding = i + k >= text.size() - padding;
      int8_t value = isPadding ? int8_t{0} : values[static_cast<uint8_t>(text[i + k])];
      if (value < 0)
        return false;
      bits = bits << 6 | static_cast<uint32_t>(value);
    }
    size_t bytes = i + 4 == text.size() ? 3 - padding : 3;
    for (size_t k = 0; k < bytes; ++k)
      out.push_back(static_cast<char>(bits >> (16 - 8 * k)));
  }
  return true;
}

absl::StatusOr<TokenizerParts> readTiktoken(std::string_view text, const TokenizerPlan &plan,
                                            const std::string &what) {
  TokenizerParts parts;
  parts.bpe.isRankedById = true;
  parts.bpe.vocabulary.reserve(text.size() / 16, text.size() / 2);
  std::string bytes;
  size_t line = 0;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find('\n', at), text.size());
    std::string_view row = text.substr(at, end - at);
    at = end + 1;
    ++line;
    if (!row.empty() && row.back() == '\r')
      row.remove_suffix(1);
    if (row.empty())
      continue;
    size_t space = row.find(' ');
    uint64_t rank = 0;
    bool isGood = space != std::string_view::npos && space + 1 < row.size() && row.size() - space <= 9 &&
                  decodeBase64(row.substr(0, space), bytes);
    for (size_t i = space + 1; isGood && i < row.size(); ++i) {
      isGood = row[i] >= '0' && row[i] <= '9';
      rank = rank * 10 + static_cast<uint64_t>(row[i] - '0');
    }
    if (!isGood)
      return absl::InvalidArgumentError(what + ": line " + std::to_string(line) + " is not \"base64 rank\"");
    if (!parts.bpe.vocabulary.add(static_cast<uint32_t>(std::min<uint64_t>(rank, UINT32_MAX)), bytes))
      return absl::InvalidArgumentError(what + ": line " + std::to_string(line) +
                                        " repeats a token or rank, or its rank is too large");
  }
  if (plan.pattern.empty())
    return absl::InvalidArgumentError(what +
                                      ": a tiktoken vocabulary needs a split pattern, the artifact has none");
  auto pattern = SplitPattern::compile(plan.pattern);
  if (!pattern.ok())
    return absl::InvalidArgumentError(what + ": " + std::string(pattern.status().message()));
  parts.patterns.push_back(std::move(*pattern));
  for (const SpecialToken &token : plan.specialTokens)
    parts.added.push_back({token.text, token.id, token.special, false, false, false});
  return parts;
}

} // namespace llmc::runtime
