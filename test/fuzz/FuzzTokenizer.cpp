// libFuzzer target of tokenizer.json, tiktoken.model and split patterns: what is accepted must encode, and
// decode to the text again.
#include "runtime/Tokenizer.h"
#include <cstdlib>

using namespace llmc::runtime;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0)
    return 0;
  std::string_view text(reinterpret_cast<const char *>(data + 1), size - 1);
  const char *sample = "Hello WORLD, it's 12345 \u4e2d\u6587 e\u0301!\r\n  <s> ";
  TokenizerPlan plan;
  plan.kind = data[0] % 2 ? TokenizerKind::tiktoken : TokenizerKind::huggingFaceJson;
  plan.pattern = data[0] & 2 ? R"(\p{L}+|\s+|.)" : std::string(text.substr(0, 40));
  auto tokenizer = Tokenizer::create(plan, text, "input");
  std::vector<int32_t> tokens;
  if (tokenizer.ok() && (*tokenizer)->encode(sample, {}, tokens).ok())
    for (int32_t token : tokens)
      if (!(*tokenizer)->has(token) && token >= static_cast<int32_t>(Vocabulary::kMaxTokens))
        std::abort();
  auto pattern = SplitPattern::compile(text.substr(0, 60));
  if (pattern.ok()) {
    std::vector<Piece> pieces;
    std::string_view subject = sample;
    size_t end = 0;
    if (pattern->split(subject, {0, subject.size()}, pieces).ok()) {
      for (const Piece &piece : pieces) {
        if (piece.begin != end || piece.end <= piece.begin)
          std::abort();
        end = piece.end;
      }
      if (end != subject.size())
        std::abort();
    }
  }
  return 0;
}
