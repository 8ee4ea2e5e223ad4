// What the ways of running share: handles, errors, text to tokens, and the loop that draws tokens and shows
// them as text.
#pragma once
#include "llmc.h"
#include "tools/llmc-run/Options.h"
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

struct Closer {
  void operator()(llmc_model *m) const { llmc_model_close(m); }
  void operator()(llmc_session *s) const { llmc_session_free(s); }
  void operator()(llmc_text_stream *s) const { llmc_text_stream_free(s); }
};

using Clock = std::chrono::steady_clock;
double secondsSince(Clock::time_point start);

/// Prints "llmc-run: error: TEXT", by default the last error of the C API. Returns 1, the exit code.
int fail(const std::string &text);
int fail();
int failWriting();

/// The tokens of a text; false with the C API's error set.
bool tokenize(llmc_model *model, const std::string &text, int flags, std::vector<int32_t> &tokens);

/// To standard output at once; false when that is gone.
bool show(const char *text, size_t bytes);

/// The session's sampling parameters, with what the command line says instead.
llmc_sampling samplingOf(llmc_model *model, llmc_session *session, const Options &options);

/// Tokens one by one from a session, whether the model draws them so or several at once.
class TokenSource {
public:
  TokenSource(llmc_model *model, llmc_session *session, const llmc_sampling &sampling);
  /// How many tokens may follow, at most `wanted` where that is given (else 128 or, drawn one by one, all that there is room for).
  int64_t room(std::optional<int64_t> wanted) const;
  /// Says that at most `count` follow; 0 is fine.
  bool begin(int64_t count);
  /// False with the C API's error set.
  bool next(int32_t &token);
  /// Whether the session has more tokens than `next` gave.
  bool isAhead() const { return used_ < got_; }

private:
  llmc_session *session_;
  llmc_sampling sampling_;
  std::vector<int32_t> tokens_;
  int64_t context_, got_ = 0, used_ = 0;
};
