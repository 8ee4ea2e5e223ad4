// Filling the input arrays of calls from sessions. Nothing here allocates, locks or makes strings except on
// errors.
#include "runtime/Session.h"
#include <algorithm>
#include <cstring>

namespace llmc::runtime {

/// Marks the pool as running for a scope; two at once are a caller's mistake.
class SessionPool::Turn {
public:
  explicit Turn(SessionPool &pool)
      : pool_(pool), isMine_(!pool.isBusy_.exchange(true, std::memory_order_acquire)) {}
  ~Turn() {
    if (isMine_)
      pool_.isBusy_.store(false, std::memory_order_release);
  }
  bool isMine() const { return isMine_; }
  static absl::Status refusal() {
    return absl::UnavailableError(
        "another call on this model is running; calls on the sessions of one model must not overlap");
  }

private:
  SessionPool &pool_;
  bool isMine_;
};

SessionPool::SessionPool(Engine &engine) : engine_(engine) {
  size_t slots = static_cast<size_t>(engine.slots());
  for (size_t i = 0; i < slots; ++i) {
    sessions_.emplace_back(new Session);
    sessions_.back()->slot_ = static_cast<int>(i);
  }
  isUsed_.assign(slots, 0);
  isDirty_.assign(slots, 0);
  isListed_.assign(slots, 0);
  feeds_.resize(slots);
}

absl::StatusOr<Session *> SessionPool::create() {
  Turn turn(*this);
  if (!turn.isMine())
    return Turn::refusal();
  auto free = std::find(isUsed_.begin(), isUsed_.end(), 0);
  if (free == isUsed_.end())
    return absl::ResourceExhaustedError(
        "all " + std::to_string(isUsed_.size()) +
        " session slots are in use; free a session or open the model with more slots");
  size_t slot = static_cast<size_t>(free - isUsed_.begin());
  if (isDirty_[slot])
    if (absl::Status s = engine_.clearSlot(static_cast<int>(slot)); !s.ok())
      return s;
  isDirty_[slot] = 0;
  isUsed_[slot] = 1;
  Session *session = sessions_[slot].get();
  session->past_ = session->pending_ = 0;
  session->decoding_ = {};
  return session;
}

absl::Status SessionPool::release(Session *session) {
  Turn turn(*this);
  if (!turn.isMine())
    return Turn::refusal();
  isUsed_[static_cast<size_t>(session->slot_)] = 0;
  return absl::OkStatus();
}

absl::Status SessionPool::reset(Session *session) {
  Turn turn(*this);
  if (!turn.isMine())
    return Turn::refusal();
  size_t slot = static_cast<size_t>(session->slot_);
  if (isDirty_[slot])
    if (absl::Status s = engine_.clearSlot(session->slot_); !s.ok())
      return s;
  isDirty_[slot] = 0;
  session->past_ = session->pending_ = 0;
  session->decoding_ = {};
  return absl::OkStatus();
}

absl::Status SessionPool::missing(const char *program) const {
  return absl::FailedPreconditionError(engine_.artifact().path() + ": has no program '" + program +
                                       "'; compile the model again with it");
}

absl::Status SessionPool::checkTokens(const Session &session, const int32_t *tokens, int64_t count) const {
  const int64_t vocab = engine_.plan().metadata.vocab;
  if (count < 0)
    return absl::InvalidArgumentError("token count is " + std::to_string(count));
  if (count > engine_.context() - session.tokens())
    return absl::OutOfRangeError(std::to_string(session.tokens()) + " tokens and " + std::to_string(count) +
                                 " more do not fit into the context of " + std::to_string(engine_.context()) +
                                 "; the model allows a context of up to " +
                                 std::to_string(engine_.plan().metadata.context));
  for (int64_t i = 0; i < count; ++i)
    if (tokens[i] < 0 || tokens[i] >= vocab)
      return absl::InvalidArgumentError("token " + std::to_string(i) + " is " + std::to_string(tokens[i]) +
                                        ", outside the vocabulary of " + std::to_string(vocab));
  return absl::OkStatus();
}

absl::Status SessionPool::checkSessions(Session *const *sessions, int64_t count) {
  bool isTwice = false;
  for (int64_t i = 0; i < count; ++i)
    isTwice |= isListed_[static_cast<size_t>(sessions[i]->slot_)]++ > 0;
  for (int64_t i = 0; i < count; ++i)
    isListed_[static_cast<size_t>(sessions[i]->slot_)] = 0;
  return isTwice ? absl::InvalidArgumentError("a session occurs twice in one call") : absl::OkStatus();
}

void SessionPool::addRow(int64_t row, int64_t sequence, int64_t position, int32_t token) {
  const CallInputs &in = engine_.inputs();
  in.tokens[row] = token;
  in.where[2 * row] = static_cast<int32_t>(sequence);
  in.where[2 * row + 1] = static_cast<int32_t>(position);
}

static void setSequence(const CallInputs &in, int64_t sequence, int slot, int64_t start, int64_t length,
                        int64_t past) {
  int32_t *row = in.rows + 4 * sequence;
  row[0] = slot;
  row[1] = static_cast<int32_t>(start);
  row[2] = static_cast<int32_t>(length);
  row[3] = static_cast<int32_t>(past);
}

/// Runs all feeds through ingest, as many sequences and rows per call as it takes.
absl::Status SessionPool::runIngest(Feed *feeds, int64_t count) {
  const int64_t maxTokens = engine_.maxTokens(), maxSequences = engine_.maxSequences();
  const int64_t unit = maxTokens >= kPieceTokens ? kPieceTokens : 1;
  for (;;) {
    int64_t rows = 0, sequences = 0;
    for (int64_t f = 0; f < count && sequences < maxSequences && rows < maxTokens; ++f) {
      Feed &feed = feeds[f];
      int64_t left = feed.count - feed.done, take = std::min(left, maxTokens - rows);
      if (take < left)
        take -= take % unit;
      if (take == 0)
        continue;
      Session &session = *feed.session;
      setSequence(engine_.inputs(), sequences, session.slot_, rows, take, session.past_);
      for (int64_t i = 0; i < take; ++i)
        addRow(rows + i, sequences, session.past_ + i, feed.token(feed.done + i));
      feed.done += take;
      session.past_ += take;
      isDirty_[static_cast<size_t>(session.slot_)] = 1;
      rows += take;
      ++sequences;
    }
    if (rows == 0)
      return absl::OkStatus();
    if (absl::Status s = engine_.run(engine_.ingest(), rows, sequences); !s.ok())
      return s;
  }
}

absl::Status SessionPool::ingest(const Prompt *prompts, int64_t count) {
  Turn turn(*this);
  if (!turn.isMine())
    return Turn::refusal();
  if (count < 0 || count > engine_.slots())
    return absl::InvalidArgumentError("prompt count is " + std::to_string(count) + " with " +
                                      std::to_string(engine_.slots()) + " session slots");
  int64_t runs = 0;
  bool isTwice = false;
  for (int64_t i = 0; i < count; ++i)
    isTwice |= isListed_[static_cast<size_t>(prompts[i].session->slot_)]++ > 0;
  for (int64_t i = 0; i < count; ++i)
    isListed_[static_cast<size_t>(prompts[i].session->slot_)] = 0;
  if (isTwice)
    return absl::InvalidArgumentError("a session occurs twice in one call");
  for (int64_t i = 0; i < count; ++i) {
    const Prompt &p = prompts[i];
    if (absl::Status s = checkTokens(*p.session, p.tokens, p.count); !s.ok())
      return s;
    // At least one token stays, for advance; with it whatever does not fill a piece.
    int64_t total = p.session->pending_ + p.count;
    feeds_[static_cast<size_t>(i)] = {p.session, p.tokens,
                                      total > 0 ? (total - 1) / kPieceTokens * kPieceTokens : 0, 0};
    runs += feeds_[static_cast<size_t>(i)].count;
  }
  if (runs > 0 && !engine_.ingest().isPresent)
    return missing("ingest");
  if (absl::Status s = runIngest(feeds_.data(), count); !s.ok())
    return s;
  for (int64_t i = 0; i < count; ++i) {
    Feed &feed = feeds_[static_cast<size_t>(i)];
    Session &session = *feed.session;
    int64_t total = session.pending_ + prompts[i].count, kept = total - feed.count;
    int32_t rest[kPieceTokens];
    for (int64_t k = 0; k < kept; ++k)
      rest[k] = feed.token(feed.count + k);
    memcpy(session.waiting_, rest, static_cast<size_t>(kept) * sizeof(int32_t));
    session.pending_ = kept;
  }
  return absl::OkStatus();
}

absl::Status SessionPool::flush(Session *const *sessions, int64_t count) {
  Turn turn(*this);
  if (!turn.isMine())
    return Turn::refusal();
  if (count < 0 || count > engine_.slots())
    return absl::InvalidArgumentError("session count is " + std::to_string(count));
  if (absl::Status s = checkSessions(sessions, count); !s.ok())
    return s;
  return flushChecked(sessions, count);
}

absl::Status SessionPool::flushChecked(Session *const *sessions, int64_t count) {
  int64_t feeds = 0;
  for (int64_t i = 0; i < count; ++i)
    if (sessions[i]->pending_ > 1)
      feeds_[static_cast<size_t>(feeds++)] = {sessions[i], nullptr, sessions[i]->pending_ - 1, 0};
  if (feeds == 0)
    return absl::OkStatus();
  if (!engine_.ingest().isPresent)
    return missing("ingest");
  if (absl::Status s = runIngest(feeds_.data(), feeds); !s.ok())
    return s;
  for (int64_t i = 0; i < feeds; ++i) {
    Session &session = *feeds_[static_cast<size_t>(i)].session;
    session.waiting_[0] = session.waiting_[session.pending_ - 1];
    session.pending_ = 1;
  }
  return absl::OkStatus();
}

absl::Status SessionPool::advance(Session *const *sessions, const Sampling *sampling, int64_t count,
                                  int32_t *next) {
  Turn turn(*this);
  if (!turn.isMine())
    return Turn::refusal();
  if (!engine_.advance().isPresent)
    return missing("advance");
  if (count < 1 || count > engine_.slots())
    return absl::InvalidArgumentError("session count is " + std::to_string(count) + ", expected 1 to " +
                                      std::to_string(engine_.slots()));
  if (absl::Status s = checkSessions(sessions, count); !s.ok())
    return s;
  for (int64_t i = 0; i < count; ++i) {
    if (sessions[i]->pending_ == 0)
      return absl::FailedPreconditionError("session " + std::to_string(i) +
                                           " has no token to go on from; ingest one first");
    if (sessions[i]->tokens() > engine_.context())
      return absl::OutOfRangeError("session " + std::to_string(i) + " has filled its context of " +
                                   std::to_string(engine_.context()) + " tokens");
    const Sampling &p = sampling[i];
    if (!(p.temperature >= 0 && p.temperature <= 1e6f) || !(p.topP > 0 && p.topP <= 1) ||
        !(p.minP >= 0 && p.minP <= 1) || p.topK < 0)
      return absl::InvalidArgumentError(
          "sampling parameters out of range: temperature 0 and more, top_p above 0 to 1, min_p 0 to 1, "
          "top_k 0 and more");
  }
  if (absl::Status s = flushChecked(sessions, count); !s.ok())
    return s;

  const CallInputs &in = engine_.inputs();
  const int32_t vocab = static_cast<int32_t>(engine_.plan().metadata.vocab);
  int64_t bad = -1;
  for (int64_t begin = 0; begin < count; begin += engine_.maxSequences()) {
    const int64_t n = std::min(engine_.maxSequences(), count - begin);
    for (int64_t i = 0; i < n; ++i) {
      Session &session = *sessions[begin + i];
      const Sampling &p = sampling[begin + i];
      setSequence(in, i, session.slot_, i, 1, session.past_);
      addRow(i, i, session.past_, session.waiting_[0]);
      isDirty_[static_cast<size_t>(session.slot_)] = 1;
      float *parameters = in.sampling + 4 * i;
      parameters[0] = p.temperature;
      parameters[1] = p.topP;
      parameters[2] = p.minP;
      parameters[3] = 0;
      int64_t *draw = in.draws + 4 * i;
      draw[0] = static_cast<int64_t>(p.seed);
      draw[1] = p.topK;
      draw[2] = session.past_ + 1; // the position that the new token will have
      draw[3] = 0;
    }
    if (absl::Status s = engine_.run(engine_.advance(), n, n); !s.ok())
      return s;
    for (int64_t i = 0; i < n; ++i) {
      Session &session = *sessions[begin + i];
      int32_t token = engine_.advance().next[i];
      ++session.past_;
      if (token < 0 || token >= vocab) {
        token = -1;
        bad = begin + i;
      }
      session.pending_ = token >= 0;
      session.waiting_[0] = token;
      if (const float *decoding = engine_.advance().decoding)
        session.decoding_ = {decoding[2 * i], decoding[2 * i + 1]};
      next[begin + i] = token;
    }
  }
  if (bad >= 0)
    return absl::InternalError("session " + std::to_string(bad) +
                               ": the model's logits are not finite, so there is no next token; check the "
                               "weights (NaN or infinity)");
  return absl::OkStatus();
}

absl::Status SessionPool::score(Session *session, const int32_t *tokens, int64_t count, float *logits) {
  Turn turn(*this);
  if (!turn.isMine())
    return Turn::refusal();
  if (!engine_.score().isPresent)
    return missing("score");
  if (absl::Status s = checkTokens(*session, tokens, count); !s.ok())
    return s;
  if (session->pending_ > 0) {
    if (session->tokens() > engine_.context())
      return absl::OutOfRangeError("the session has filled its context of " +
                                   std::to_string(engine_.context()) + " tokens");
    if (!engine_.ingest().isPresent)
      return missing("ingest");
    Feed feed = {session, nullptr, session->pending_, 0};
    if (absl::Status s = runIngest(&feed, 1); !s.ok())
      return s;
    session->pending_ = 0;
  }
  const int64_t most = engine_.maxTokens(), vocab = engine_.plan().metadata.vocab;
  const int64_t piece = most >= kPieceTokens ? most / kPieceTokens * kPieceTokens : most;
  for (int64_t begin = 0; begin < count; begin += piece) {
    const int64_t n = std::min(piece, count - begin);
    setSequence(engine_.inputs(), 0, session->slot_, 0, n, session->past_);
    for (int64_t i = 0; i < n; ++i)
      addRow(i, 0, session->past_ + i, tokens[begin + i]);
    isDirty_[static_cast<size_t>(session->slot_)] = 1;
    if (absl::Status s = engine_.run(engine_.score(), n, 1); !s.ok())
      return s;
    session->past_ += n;
    memcpy(logits + begin * vocab, engine_.score().logits, static_cast<size_t>(n * vocab) * sizeof(float));
  }
  return absl::OkStatus();
}

const float *SessionPool::lastLogits(int64_t index) const {
  return engine_.advance().logits + index * static_cast<int64_t>(engine_.plan().metadata.vocab);
}

} // namespace llmc::runtime
