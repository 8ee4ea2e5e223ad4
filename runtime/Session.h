// Sessions: one sequence of tokens each, in a slot of the engine's states, and the calls that move several of
// them forward. Saving to a file is in SessionFile.h.
#pragma once
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "runtime/Engine.h"
#include <array>
#include <atomic>
#include <cmath>

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

/// What a token was drawn with.
struct Decoding {
  float temperature = NAN, topP = NAN;
};

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
  /// What the last token was drawn with, of a model that predicts it; NaN before the first and for others.
  Decoding decoding() const { return decoding_; }
  /// For draws that no parameters come with.
  void setSeed(uint64_t seed) { sampling_.seed = seed; }

private:
  friend class SessionPool;
  int64_t start_ = 0, end_ = 0; ///< positions of the generation, see SessionPool::begin
  std::array<float, kSettingColumns> settings_ = {};
  int64_t count() const { return static_cast<int64_t>(tokens_.size()); }
  int64_t pending() const { return count() - past_; }

  int slot_ = 0;
  int64_t past_ = 0;
  std::vector<int32_t> tokens_; ///< has room for all that fit the context, and for the token drawn after them
  Sampling sampling_;
  Decoding decoding_;
  std::atomic<bool> isCancelled_{false};
  std::atomic<bool> *isTaken_ = nullptr; ///< of the slot, in the pool
};

/// What a session gets from one call: up to `capacity` tokens.
struct Emission {
  int32_t *tokens = nullptr;
  int64_t capacity = 0;
  int64_t count = 0;
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
  absl::StatusOr<std::unique_ptr<Session>> fork(Session &session);
  absl::Status save(Session &session, const std::string &path);
  /// A session as it was saved; see SessionFile.h for what is checked.
  absl::StatusOr<std::unique_ptr<Session>> restore(const std::string &path);
  /// Forgets all tokens.
  absl::Status reset(Session *session);

  /// Appends tokens to sessions (each at most once per call). What does not fill a call stays pending until
  /// `advance`, `score` or more.
  absl::Status ingest(const Prompt *prompts, int64_t count);
  /// Runs what `ingest` left pending, but for the last token, which `advance` takes.
  absl::Status flush(Session *const *sessions, int64_t count);
  /// The next token of each session (all must have one pending, see ingest); it is pending afterwards.
  /// Cancelled sessions and those whose logits are not finite get -1, the others advance all the same.
  absl::Status advance(Session *const *sessions, const Sampling *sampling, int64_t count, int32_t *next);
  /// Whether `advance` fills masks on a canvas, many tokens a call, instead of drawing one.
  bool fillsCanvas() const;
  /// Most tokens that one call of `fill` gives a session.
  int64_t mostTokens() const {
    const int64_t patch = engine_.plan().metadata.patch;
    return !fillsCanvas() ? 1 : patch ? std::max<int64_t>(2, patch) : engine_.context();
  }
  /// Says how many tokens the session shall get from here on, at most what fits into its context. Of a model that works on patches both
  /// ends are those of patches: a prompt is completed with the model's filler.
  absl::Status begin(Session *session, int64_t count);
  /// Sets a parameter of generation that the artifact declares: a number or one of its words.
  absl::Status set(Session *session, const std::string &name, const std::string &value);
  /// The next tokens of each session, as many as the model makes at once: 1, or those of a block. They are part of the session
  /// afterwards and never change.
  absl::Status fill(Session *const *sessions, const Sampling *sampling, int64_t count, Emission *emissions);
  /// Logits after each token, `count` rows of the vocabulary; appends the tokens to the session, none is
  /// pending afterwards.
  absl::Status score(Session *session, const int32_t *tokens, int64_t count, float *logits);
  /// For models without logits: two independent draws of the token one patch after each of these (`first`, `second`), and for each patch the
  /// latents that the first was decoded from (may be null). Whole patches only; draws by the session's seed.
  struct Draws {
    int32_t *first, *second;
    float *latents;
  };
  absl::Status scoreDraws(Session *session, const int32_t *tokens, int64_t count, const Draws &draws);
  int64_t latentColumns() const { return engine_.score().latentColumns; }

private:
  /// Marks the pool as running for a scope; two at once are a caller's mistake.
  class Turn {
  public:
    explicit Turn(SessionPool &pool) : pool_(pool), isMine_(!pool.isBusy_.exchange(true, std::memory_order_acquire)) {}
    ~Turn() {
      if (isMine_)
        pool_.isBusy_.store(false, std::memory_order_release);
    }
    bool isMine() const { return isMine_; }
    static absl::Status refusal();

  private:
    SessionPool &pool_;
    bool isMine_;
  };
  /// What ingest is to run of a session: its tokens up to `end`.
  struct Feed {
    Session *session;
    int64_t end;
  };
  absl::StatusOr<std::unique_ptr<Session>> take(const Sampling &sampling);
  absl::Status settle(Session &session);
  absl::Status checkTokens(const Session &session, const int32_t *tokens, int64_t count) const;
  /// Whether the sessions of a call differ; `sessionOf(i)` is number i.
  template <typename SessionOf> absl::Status checkDistinct(int64_t count, const SessionOf &sessionOf);
  absl::Status checkAdvance(Session *const *sessions, const Sampling *sampling, int64_t count);
  absl::Status flushChecked(Session *const *sessions, int64_t count);
  /// A row of the first span, with its token, or of another one.
  void addRow(int64_t row, int64_t sequence, const Session &session, int64_t position);
  void addRow(unsigned span, int64_t row, int64_t sequence, int64_t position);
  void setSequence(unsigned span, int64_t sequence, const Session &session, int64_t start, int64_t length, int64_t past);
  void setSampling(int64_t sequence, const Sampling &sampling, int64_t position);
  absl::Status checkCall(Session *const *sessions, const Sampling *sampling, int64_t count);
  absl::Status fillBlocks(Session *const *sessions, const Sampling *sampling, int64_t count, Emission *emissions);
  absl::Status runBlocks(const int64_t *which, int64_t count, Session *const *sessions, const Sampling *sampling,
                         Emission *emissions, int64_t &taken, int64_t &bad);
  SpanValues spanValues(const Session &session, int64_t end) const;
  /// Gives a sequence its rows of every span of the program, after the `rows` that there are, and their tokens. False, with nothing
  /// changed: there is no room. Errors name session number `which`, negative: the only one.
  absl::StatusOr<bool> addSpans(const Program &program, int64_t sequence, const Session &session, int64_t which, int64_t end,
                                int64_t *rows, int64_t *blockEnd = nullptr);
  absl::StatusOr<int64_t> addPiece(const Program &program, int64_t sequence, const Session &session, int64_t take, int64_t *rows);
  /// How many tokens of a session `ingest` can take now: whole patches.
  int64_t wholePatches(const Session &session) const {
    const int64_t patch = std::max<int64_t>(1, engine_.plan().metadata.patch);
    return session.count() / patch * patch;
  }
  using TakeRows = absl::FunctionRef<void(int64_t begin, int64_t count, const int64_t *rows)>; // owns nothing, so asks for no memory
  absl::Status runScore(Session *session, const int32_t *tokens, int64_t count, TakeRows take);
  absl::Status runIngest(const Feed *feeds, int64_t count);
  void fillStep(const int64_t *which, int64_t count, Session *const *sessions, const Sampling *sampling);
  absl::Status missing(const char *program) const;

  Engine &engine_;
  std::vector<std::atomic<bool>> isTaken_; ///< by slot
  std::vector<uint8_t> isDirty_, isListed_;
  std::vector<Feed> feeds_;
  std::vector<int32_t> next_;   ///< one per slot
  std::vector<int64_t> active_; ///< which sessions of a call go into its steps
  std::atomic<bool> isBusy_{false};
};

} // namespace llmc::runtime
