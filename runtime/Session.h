// Sessions: one sequence of tokens each, in a slot of the engine's states, and the calls that move several of
// them forward. Saving to a file is in SessionFile.h.
#pragma once
#include "absl/status/statusor.h"
#include "runtime/Engine.h"
#include <atomic>

namespace llmc::runtime {

/// How the next token is drawn; passed through to the artifact's sampler. temperature 0 takes the likeliest.
/// Draws depend on the seed and the token's position only, so that these values are all the state of
/// sampling.
struct Sampling {
  float temperature = 0, topP = 1, minP = 0;
  int32_t topK = 0; ///< 0: all
  uint64_t seed = 0;
  bool isValid() const {
    return temperature >= 0 && temperature <= 1e6f && topP > 0 && topP <= 1 && minP >= 0 && minP <= 1 &&
           topK >= 0;
  }
};

/// Pieces of a prompt end at multiples of this, counted from where it began, so that how a prompt is cut
/// cannot be seen.
inline constexpr int64_t kPieceTokens = 64;

/// The first `past` tokens are in the slot's states; the others wait to be put there, the last one to be the
/// one that `advance` goes on from.
class Session {
public:
  ~Session() { cancel(); }
  /// Gives the session's slot back, from any thread at any time. A call that is running stops working on it
  /// before its next step; other calls with it fail.
  void cancel();
  const std::vector<int32_t> &tokens() const { return tokens_; }
  int64_t past() const { return past_; }
  /// Of the last `advance`; before it, what the session was created with.
  const Sampling &sampling() const { return sampling_; }

private:
  friend class SessionPool;
  int64_t count() const { return static_cast<int64_t>(tokens_.size()); }
  int64_t pending() const { return count() - past_; }

  int slot_ = 0;
  int64_t past_ = 0;
  std::vector<int32_t> tokens_; ///< has room for all that fit the context, and for the token drawn after them
  Sampling sampling_;
  std::atomic<bool> isCancelled_{false};
  std::atomic<bool> *isTaken_ = nullptr; ///< of the slot, in the pool
};

/// A prompt for one session.
struct Prompt {
  Session *session;
  const int32_t *tokens;
  int64_t count;
};

/// The sessions of an engine, which outlives them. One call at a time; an overlapping one is refused, not
/// queued, and changes nothing.
class SessionPool {
public:
  explicit SessionPool(Engine &engine);

  /// A fresh session, or an error when all slots are taken.
  absl::StatusOr<std::unique_ptr<Session>> create(const Sampling &sampling = {});
  /// A session that goes on from where this one is, apart from it.
  absl::StatusOr<std::unique_ptr<Session>> fork(const Session &session);
  absl::Status save(const Session &session, const std::string &path);
  /// A session as it was saved; see SessionFile.h for what is checked.
  absl::StatusOr<std::unique_ptr<Session>> restore(const std::string &path);
  /// Forgets all tokens.
  absl::Status reset(Session *session);

  /// Appends tokens to sessions (each at most once per call). The last few stay pending until `advance`,
  /// `score` or more.
  absl::Status ingest(const Prompt *prompts, int64_t count);
  /// Runs what `ingest` left pending, but for the last token, which `advance` takes.
  absl::Status flush(Session *const *sessions, int64_t count);
  /// The next token of each session (all must have one pending, see ingest); it is pending afterwards.
  /// Cancelled sessions and those whose logits are not finite get -1, the others advance all the same.
  absl::Status advance(Session *const *sessions, const Sampling *sampling, int64_t count, int32_t *next);
  /// Logits after each token, `count` rows of the vocabulary; appends the tokens to the session, none is
  /// pending afterwards.
  absl::Status score(Session *session, const int32_t *tokens, int64_t count, float *logits);

private:
  class Turn;
  /// What ingest is to run of a session: its tokens up to `end`.
  struct Feed {
    Session *session;
    int64_t end;
  };
  absl::StatusOr<std::unique_ptr<Session>> take(const Sampling &sampling);
  absl::Status checkTokens(const Session &session, const int32_t *tokens, int64_t count) const;
  /// Whether the sessions of a call differ; `sessionOf(i)` is number i.
  template <typename SessionOf> absl::Status checkDistinct(int64_t count, const SessionOf &sessionOf);
  absl::Status checkAdvance(Session *const *sessions, const Sampling *sampling, int64_t count);
  absl::Status flushChecked(Session *const *sessions, int64_t count);
  void addRow(int64_t row, int64_t sequence, const Session &session, int64_t position);
  absl::Status runIngest(const Feed *feeds, int64_t count);
  void fillStep(const int64_t *which, int64_t count, Session *const *sessions, const Sampling *sampling);
  absl::Status missing(const char *program) const;

  Engine &engine_;
  std::vector<std::atomic<bool>> isTaken_; ///< by slot
  std::vector<uint8_t> isDirty_, isListed_;
  std::vector<Feed> feeds_;
  std::vector<int64_t> active_; ///< which sessions of a call go into its steps
  std::atomic<bool> isBusy_{false};
};

} // namespace llmc::runtime
