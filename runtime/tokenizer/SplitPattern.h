// The regular expressions that cut text into pieces before merging: published patterns run by PCRE2.
#pragma once
#include "absl/status/statusor.h"
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace llmc::runtime {

/// GPT-2's pattern, which pre-tokenizer ByteLevel means by use_regex.
extern const char *const kGpt2Pattern;

/// Half-open byte range of a text.
struct Piece {
  size_t begin, end;
};

/// A pattern as published (Oniguruma or Rust syntax) in PCRE2's: class intersections, which PCRE2 would take
/// literally, become equal classes or lookaheads; white space, word characters and scripts get the meaning
/// they have there.
absl::StatusOr<std::string> toPcre2(std::string_view pattern);

class SplitPattern {
public:
  static absl::StatusOr<SplitPattern> compile(std::string_view pattern);
  /// Cuts text[piece] (valid UTF-8) into matches and what lies between; together they are the piece again.
  absl::Status split(std::string_view text, Piece piece, std::vector<Piece> &pieces) const;

private:
  struct Code;
  std::shared_ptr<const Code> code_;
};

} // namespace llmc::runtime
