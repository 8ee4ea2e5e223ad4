// Text to tokens and back, as the checkpoint's tokenizer does it: byte-level BPE from tokenizer.json or
// tiktoken.model.
#pragma once
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/Plan.h"
#include "runtime/tokenizer/Bpe.h"
#include "runtime/tokenizer/SplitPattern.h"
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace llmc::runtime {

/// A token that is recognised in text as a whole. `isStrippingLeft`/`Right`: white space beside it belongs to
/// it.
struct AddedToken {
  std::string text;
  uint32_t id = 0;
  bool isSpecial = true, isNormalized = false, isStrippingLeft = false, isStrippingRight = false;
};

/// What a tokenizer file says; made by readTokenizerJson and readTiktoken.
struct TokenizerParts {
  Bpe bpe;
  std::vector<AddedToken> added;
  std::vector<SplitPattern> patterns;  ///< applied one after the other
  std::vector<int32_t> prefix, suffix; ///< put around a text that starts a sequence
  bool isNfc = false, isAddingSpace = false;
};

/// From the text of a tokenizer.json; `what` names it in errors. Unsupported parts are errors, never ignored.
absl::StatusOr<TokenizerParts> readTokenizerJson(std::string_view text, const std::string &what);
/// From lines of "base64 rank"; pattern and special tokens come from the plan.
absl::StatusOr<TokenizerParts> readTiktoken(std::string_view text, const TokenizerPlan &plan,
                                            const std::string &what);

struct EncodeOptions {
  bool isStart = true;          ///< put the tokenizer's own prefix and suffix (BOS) around
  bool isParsingSpecial = true; ///< recognise special tokens written out in the text
};

/// Immutable after creation, so usable from several threads.
class Tokenizer {
public:
  static absl::StatusOr<std::unique_ptr<Tokenizer>> create(const TokenizerPlan &plan, std::string_view file,
                                                           const std::string &what);

  /// Appends the tokens of `text`, which must be UTF-8.
  absl::Status encode(std::string_view text, const EncodeOptions &options,
                      std::vector<int32_t> &tokens) const;
  /// The bytes of a token, not always whole characters; empty for unknown ids.
  std::string_view bytes(int32_t token) const;
  bool isSpecial(int32_t token) const;
  bool has(int32_t token) const;
  /// One more than the highest id.
  uint32_t size() const {
    return static_cast<uint32_t>(std::max<size_t>(parts_.bpe.vocabulary.size(), specialBits_.size()));
  }

private:
  Tokenizer() = default;
  struct Match {
    size_t begin, end;
    const AddedToken *token;
  };
  Match findAdded(std::string_view text, size_t from, bool isNormalized, bool isParsingSpecial) const;
  absl::Status encodeNormalized(std::string_view text, bool isParsingSpecial, Bpe::Scratch &scratch,
                                std::vector<int32_t> &tokens) const;
  absl::Status encodePlain(std::string_view text, Bpe::Scratch &scratch, std::vector<int32_t> &tokens) const;

  TokenizerParts parts_;
  std::vector<const AddedToken *> byFirstByte_[256]; ///< longest first
  std::vector<const AddedToken *> byId_;
  std::vector<bool> specialBits_;
};

/// Turns tokens into text as they come: holds back bytes that may become a character, replaces those that
/// cannot by U+FFFD.
class TextStream {
public:
  explicit TextStream(const Tokenizer &tokenizer, bool isShowingSpecial = false)
      : tokenizer_(tokenizer), isShowingSpecial_(isShowingSpecial) {}
  /// Appends what can be shown after this token.
  void push(int32_t token, std::string &text);
  /// Appends what is left.
  void finish(std::string &text);

private:
  const Tokenizer &tokenizer_;
  bool isShowingSpecial_;
  std::string held_;
};

} // namespace llmc::runtime
