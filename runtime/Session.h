// Sessions: one sequence of tokens each, in a slot of the engine's states, and the calls that move several of
// them forward.
#pragma once
#include "absl/status/statusor.h"
#include "runtime/Engine.h"
#include <atomic>
#include <cmath>

namespace llmc::runtime {

/// How the next token is drawn; passed through to the artifact's sampler. temperature 0 takes the likeliest.
struct Sampling {
  float temperature = 0, topP = 1, minP = 0;
  int32_t topK = 0; ///< 0: all
  uint64_t seed = 0;
};

/// What a token was drawn with.
struct Decoding {
  float temperature = NAN, topP = NAN;
};

/// Pieces of a prompt end at multiples of this, counted from where it began, so that how a prompt is cut
/// cannot be seen.
inline constexpr int64_t kPieceTokens = 64;

class SessionPool;

/// `past` tokens are in the state; up to kPieceTokens more wait to be put there.
class Session {
public:
  int64_t past() const { return past_; }
  int64_t tokens() const { return past_ + pending_; }
  /// What the last token was drawn with, of a model that predicts it; NaN before the first and for others.
  Decoding decoding() const { return decoding_; }

private:
  friend class SessionPool;
  int slot_ = 0;
  int64_t past_ = 0;
  int64_t pending_ = 0;
  int32_t waiting_[kPieceTokens];
  Decoding decoding_;
};

/// A prompt for one session.
struct Prompt {
  Session *session;
  const int32_t *tokens;
  int64_t count;
};

/// The sessions of an engine. One call at a time; an overlapping one is refused, not queued.
class SessionPool {
public:
  explicit SessionPool(Engine &engine);

  /// A fresh session, or an error when all slots are taken.
  absl::StatusOr<Session *> create();
  absl::Status release(Session *session);
  /// Forgets all tokens.
  absl::Status reset(Session *session);

  /// Appends tokens to sessions (each at most once per call). The last few stay pending until `advance`,
  /// `score` or more.
  absl::Status ingest(const Prompt *prompts, int64_t count);
  /// Runs what `ingest` left pending, but for the last token, which `advance` takes.
  absl::Status flush(Session *const *sessions, int64_t count);
  /// The next token of each session (all must have one pending, see ingest); it is pending afterwards.
  absl::Status advance(Session *const *sessions, const Sampling *sampling, int64_t count, int32_t *next);
  /// Logits after each token, `count` rows of the vocabulary; appends the tokens to the session, none is
  /// pending afterwards.
  absl::Status score(Session *session, const int32_t *tokens, int64_t count, float *logits);
  /// Logits from which the last `advance` drew for its session number `index`.
  const float *lastLogits(int64_t index) const;

private:
  class Turn;
  /// The next `count` tokens of a session for ingest: what waits, then what the caller gave.
  struct Feed {
    Session *session;
    const int32_t *tokens;
    int64_t count, done;
    int32_t token(int64_t i) const {
      return i < session->pending_ ? session->waiting_[i] : tokens[i - session->pending_];
    }
  };
  absl::Status checkTokens(const Session &session, const int32_t *tokens, int64_t count) const;
  absl::Status checkSessions(Session *const *sessions, int64_t count);
  absl::Status flushChecked(Session *const *sessions, int64_t count);
  void addRow(int64_t row, int64_t sequence, int64_t position, int32_t token);
  absl::Status runIngest(Feed *feeds, int64_t count);
  absl::Status missing(const char *program) const;

  Engine &engine_;
  std::vector<std::unique_ptr<Session>> sessions_; ///< by slot
  std::vector<uint8_t> isUsed_, isDirty_, isListed_;
  std::vector<Feed> feeds_;
  std::atomic<bool> isBusy_{false};
};

} // namespace llmc::runtime
