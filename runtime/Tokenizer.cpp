// Encoding: cut at added tokens, normalize, cut at what normalization may have made, split by patterns,
// merge. Decoding: bytes.
#include "runtime/Tokenizer.h"
#include "runtime/tokenizer/Nfc.h"
#include "runtime/tokenizer/Utf8.h"
#include <algorithm>

namespace llmc::runtime {

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::create(const TokenizerPlan &plan, std::string_view file,
                                                             const std::string &what) {
  absl::StatusOr<TokenizerParts> parts =
      absl::NotFoundError(what + ": there is no tokenizer; give tokens instead of text");
  if (plan.kind == TokenizerKind::huggingFaceJson)
    parts = readTokenizerJson(file, what);
  else if (plan.kind == TokenizerKind::tiktoken)
    parts = readTiktoken(file, plan, what);
  if (!parts.ok())
    return parts.status();
  std::unique_ptr<Tokenizer> tokenizer(new Tokenizer);
  tokenizer->parts_ = std::move(*parts);
  tokenizer->parts_.bpe.finish();
  for (const AddedToken &token : tokenizer->parts_.added) {
    if (token.text.empty() || token.id >= Vocabulary::kMaxTokens)
      return absl::InvalidArgumentError(what + ": added token " + std::to_string(token.id) +
                                        " has no text or too large an id");
    if (token.id >= tokenizer->byId_.size()) {
      tokenizer->byId_.resize(token.id + 1, nullptr);
      tokenizer->specialBits_.resize(token.id + 1, false);
    }
    tokenizer->byId_[token.id] = &token;
    tokenizer->specialBits_[token.id] = token.isSpecial;
    tokenizer->byFirstByte_[static_cast<uint8_t>(token.text[0])].push_back(&token);
  }
  for (auto &list : tokenizer->byFirstByte_)
    std::sort(list.begin(), list.end(), [](const AddedToken *a, const AddedToken *b) {
      return a->text.size() != b->text.size() ? a->text.size() > b->text.size() : a < b;
    });
  return tokenizer;
}

std::string_view Tokenizer::bytes(int32_t token) const {
  if (token < 0)
    return {};
  size_t id = static_cast<size_t>(token);
  return id < byId_.size() && byId_[id] ? std::string_view(byId_[id]->text)
                                        : parts_.bpe.vocabulary.bytes(static_cast<uint32_t>(id));
}

bool Tokenizer::isSpecial(int32_t token) const {
  return token >= 0 && static_cast<size_t>(token) < specialBits_.size() &&
         specialBits_[static_cast<size_t>(token)];
}

bool Tokenizer::has(int32_t token) const {
  return token >= 0 && ((static_cast<size_t>(token) < byId_.size() && byId_[static_cast<size_t>(token)]) ||
                        parts_.bpe.vocabulary.has(static_cast<uint32_t>(token)));
}

Tokenizer::Match Tokenizer::findAdded(std::string_view text, size_t from, bool isNormalized,
                                      bool isParsingSpecial) const {
  for (size_t at = from; at < text.size(); ++at)
    for (const AddedToken *token : byFirstByte_[static_cast<uint8_t>(text[at])])
      if (token->isNormalized == isNormalized && (isParsingSpecial || !token->isSpecial) &&
          text.compare(at, token->text.size(), token->text) == 0)
        return {at, at + token->text.size(), token};
  return {text.size(), text.size(), nullptr};
}

static bool isSpace(uint32_t c) {
  return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
         c == 0x3000;
}

/// Calls `plain` on the stretches of `text` between matches that `find` gives, and appends the matches'
/// tokens.
template <typename Find, typename Plain>
static absl::Status cutAtAdded(std::string_view text, const Find &find, const Plain &plain,
                               std::vector<int32_t> &tokens) {
  for (size_t done = 0; done < text.size();) {
    auto match = find(done);
    size_t begin = match.begin, end = match.end;
    if (match.token && match.token->isStrippingLeft)
      for (size_t at = begin; at > done;) {
        do
          --at;
        while (at > done && (static_cast<uint8_t>(text[at]) & 0xc0) == 0x80);
        if (!isSpace(readUtf8(text.substr(at)).codepoint))
          break;
        begin = at;
      }
    if (match.token && match.token->isStrippingRight)
      while (end < text.size()) {
        Utf8Char c = readUtf8(text.substr(end));
        if (!isSpace(c.codepoint))
          break;
        end += c.bytes;
      }
    if (begin > done)
      if (absl::Status s = plain(text.substr(done, begin - done)); !s.ok())
        return s;
    if (match.token)
      tokens.push_back(static_cast<int32_t>(match.token->id));
    done = end;
  }
  return absl::OkStatus();
}

absl::Status Tokenizer::encode(std::string_view text, const EncodeOptions &options,
                               std::vector<int32_t> &tokens) const {
  if (text.size() > (1u << 30))
    return absl::InvalidArgumentError("text has " + std::to_string(text.size()) +
                                      " bytes, at most 2^30 can be tokenized at once");
  if (size_t valid = validUtf8Bytes(text); valid != text.size())
    return absl::InvalidArgumentError("text is not UTF-8 at byte " + std::to_string(valid));
  Bpe::Scratch scratch;
  if (options.isStart)
    tokens.insert(tokens.end(), parts_.prefix.begin(), parts_.prefix.end());
  absl::Status status = cutAtAdded(
      text, [&](size_t from) { return findAdded(text, from, false, options.isParsingSpecial); },
      [&](std::string_view part) {
        return encodeNormalized(part, options.isParsingSpecial, scratch, tokens);
      },
      tokens);
  if (!status.ok())
    return status;
  if (options.isStart)
    tokens.insert(tokens.end(), parts_.suffix.begin(), parts_.suffix.end());
  return absl::OkStatus();
}

absl::Status Tokenizer::encodeNormalized(std::string_view part, bool isParsingSpecial, Bpe::Scratch &scratch,
                                         std::vector<int32_t> &tokens) const {
  std::string normalized;
  if (parts_.isNfc) {
    normalized = toNfc(part);
    part = normalized;
  }
  return cutAtAdded(
      part, [&](size_t from) { return findAdded(part, from, true, isParsingSpecial); },
      [&](std::string_view plain) { return encodePlain(plain, scratch, tokens); }, tokens);
}

absl::Status Tokenizer::encodePlain(std::string_view text, Bpe::Scratch &scratch,
                                    std::vector<int32_t> &tokens) const {
  std::string spaced;
  if (parts_.isAddingSpace && text[0] != ' ') {
    spaced = " " + std::string(text);
    text = spaced;
  }
  std::vector<Piece> pieces = {{0, text.size()}}, finer;
  for (const SplitPattern &pattern : parts_.patterns) {
    finer.clear();
    for (const Piece &piece : pieces)
      if (absl::Status s = pattern.split(text, piece, finer); !s.ok())
        return s;
    pieces.swap(finer);
  }
  for (const Piece &piece : pieces)
    if (int byte = parts_.bpe.encode(text.substr(piece.begin, piece.end - piece.begin), scratch, tokens);
        byte >= 0)
      return absl::InvalidArgumentError("the vocabulary has no token for byte " + std::to_string(byte));
  return absl::OkStatus();
}

void TextStream::push(int32_t token, std::string &text) {
  if (!isShowingSpecial_ && tokenizer_.isSpecial(token))
    return;
  held_ += tokenizer_.bytes(token);
  size_t at = 0;
  while (at < held_.size()) {
    std::string_view rest = std::string_view(held_).substr(at);
    Utf8Char c = readUtf8(rest);
    if (c.kind == Utf8Kind::incomplete)
      break;
    if (c.kind == Utf8Kind::complete)
      text.append(rest.substr(0, c.bytes));
    else
      appendUtf8(text, 0xfffd);
    at += c.bytes;
  }
  held_.erase(0, at);
}

void TextStream::finish(std::string &text) {
  // What is held is the beginning of one character.
  if (!held_.empty())
    appendUtf8(text, 0xfffd);
  held_.clear();
}

} // namespace llmc::runtime
