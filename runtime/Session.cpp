// Slots, and filling the input arrays of calls from sessions. Calls that compute neither allocate nor lock,
// and make strings on errors only.
#include "runtime/Session.h"
#include "runtime/SessionFile.h"
#include <algorithm>
#include <cstring>

namespace llmc::runtime {

absl::Status SessionPool::Turn::refusal() {
  return absl::UnavailableError("another call on this model is running; calls on the sessions of one model must not overlap");
}

/// The text of errors about one session of a call.
static std::string nameOf(int64_t index) { return "session " + std::to_string(index); }
static absl::Status cancelled(int64_t index) {
  return absl::CancelledError(nameOf(index) + " was cancelled");
}

void Session::cancel() {
  // The flag first: whoever finds the slot free knows that it is no longer this session's.
  if (!isCancelled_.exchange(true) && isTaken_)
    isTaken_->store(false, std::memory_order_release);
}

SessionPool::SessionPool(Engine &engine) : engine_(engine), isTaken_(static_cast<size_t>(engine.slots())) {
  size_t slots = static_cast<size_t>(engine.slots());
  isDirty_.assign(slots, 0);
  isListed_.assign(slots, 0);
  feeds_.resize(slots);
  active_.resize(slots);
  next_.resize(slots);
}

/// A fresh session in a free slot. Slots are taken in turns only, so that one given back while a call runs is
/// not in use again before that call ends.
absl::StatusOr<std::unique_ptr<Session>> SessionPool::take(const Sampling &sampling) {
  size_t slot = 0;
  while (slot < isTaken_.size() && isTaken_[slot].load(std::memory_order_acquire))
    ++slot;
  if (slot == isTaken_.size())
    return absl::ResourceExhaustedError(
        "all " + std::to_string(isTaken_.size()) +
        " session slots are in use; free a session or open the model with more slots");
  auto session = std::make_unique<Session>();
  session->tokens_.reserve(static_cast<size_t>(engine_.context()) + 1);
  session->slot_ = static_cast<int>(slot);
  session->sampling_ = sampling;
  for (const Setting &setting : engine_.plan().metadata.settings)
    session->settings_[setting.column] = static_cast<float>(setting.standard);
  if (isDirty_[slot])
    if (absl::Status s = engine_.clearSlot(session->slot_); !s.ok())
      return s;
  isDirty_[slot] = 0;
  isTaken_[slot].store(true, std::memory_order_relaxed);
  session->isTaken_ = &isTaken_[slot];
  return session;
}

absl::StatusOr<std::unique_ptr<Session>> SessionPool::create(const Sampling &sampling) {
  Turn turn(*this);
  return turn.isMine() ? take(sampling) : Turn::refusal();
}

absl::StatusOr<std::unique_ptr<Session>> SessionPool::fork(Session &session) {
  Turn turn(*this);
  if (!turn.isMine())
    return Turn::refusal();
  if (absl::Status s = settle(session); !s.ok())
    return s;
  if (session.isCancelled_)
    return cancelled(0);
  auto made = take(session.sampling_);
  if (!made.ok())
    return made;
  Session &copy = **made;
  // Cancelled since: the slot may be the very one that it gave back.
  if (session.isCancelled_)
    return cancelled(0);
  isDirty_[static_cast<size_t>(copy.slot_)] = 1;
  if (absl::Status s = engine_.copySlot(session.slot_, copy.slot_, session.past_); !s.ok())
    return s;
  copy.tokens_ = session.tokens_; // within its capacity
  copy.past_ = session.past_;
  copy.start_ = session.start_;
  copy.end_ = session.end_;
  copy.settings_ = session.settings_;
  copy.decoding_ = session.decoding_;
  return made;
}

absl::Status SessionPool::save(Session &session, const std::string &path) {
  Turn turn(*this);
  if (!turn.isMine())
    return Turn::refusal();
  if (absl::Status s = settle(session); !s.ok())
    return s;
  if (session.isCancelled_)
    return cancelled(0);
  return writeSessionFile(path, engine_, session.slot_,
                          {session.past_, session.sampling_, session.tokens_, session.start_, session.end_, session.settings_});
}

absl::StatusOr<std::unique_ptr<Session>> SessionPool::restore(const std::string &path) {
  Turn turn(*this);
  if (!turn.isMine())
    return Turn::refusal();
  SessionFile file;
  auto saved = file.open(path, engine_);
  if (!saved.ok())
    return saved.status();
  auto made = take(saved->sampling);
  if (!made.ok())
    return made;
  Session &session = **made;
  isDirty_[static_cast<size_t>(session.slot_)] = 1;
  if (absl::Status s = file.readStates(engine_, session.slot_); !s.ok())
    return s;
  session.tokens_.assign(saved->tokens.begin(), saved->tokens.end()); // within its capacity
  session.past_ = saved->past;
  session.start_ = saved->start;
  session.end_ = saved->end;
  session.settings_ = saved->settings;
  return made;
}

absl::Status SessionPool::reset(Session *session) {
  Turn turn(*this);
  if (!turn.isMine())
    return Turn::refusal();
  if (session->isCancelled_)
    return cancelled(0);
  size_t slot = static_cast<size_t>(session->slot_);
  if (isDirty_[slot])
    if (absl::Status s = engine_.clearSlot(session->slot_); !s.ok())
      return s;
  isDirty_[slot] = 0;
  session->tokens_.clear();
  session->past_ = session->start_ = session->end_ = 0;
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
  if (count > engine_.context() - session.count())
    return absl::OutOfRangeError(std::to_string(session.count()) + " tokens and " + std::to_string(count) +
                                 " more do not fit into the context of " + std::to_string(engine_.context()) +
                                 "; the model allows a context of up to " +
                                 std::to_string(engine_.plan().metadata.context));
  for (int64_t i = 0; i < count; ++i)
    if (tokens[i] < 0 || tokens[i] >= vocab)
      return absl::InvalidArgumentError("token " + std::to_string(i) + " is " + std::to_string(tokens[i]) +
                                        ", outside the vocabulary of " + std::to_string(vocab));
  return absl::OkStatus();
}

template <typename SessionOf>
absl::Status SessionPool::checkDistinct(int64_t count, const SessionOf &sessionOf) {
  bool isTwice = false;
  // Cancelled sessions have no slot of their own any more.
  for (int64_t i = 0; i < count; ++i)
    if (const Session &session = sessionOf(i); !session.isCancelled_)
      isTwice |= isListed_[static_cast<size_t>(session.slot_)]++ > 0;
  for (int64_t i = 0; i < count; ++i)
    isListed_[static_cast<size_t>(sessionOf(i).slot_)] = 0;
  return isTwice ? absl::InvalidArgumentError("a session occurs twice in one call") : absl::OkStatus();
}

void SessionPool::addRow(unsigned span, int64_t row, int64_t sequence, int64_t position) {
  int32_t *where = engine_.inputs().spans[span].where + 2 * row;
  where[0] = static_cast<int32_t>(sequence);
  where[1] = static_cast<int32_t>(position);
}

void SessionPool::addRow(int64_t row, int64_t sequence, const Session &session, int64_t position) {
  engine_.inputs().tokens[row] = session.tokens_[static_cast<size_t>(position)];
  addRow(0, row, sequence, position);
}

void SessionPool::setSequence(unsigned span, int64_t sequence, const Session &session, int64_t start, int64_t length,
                              int64_t past) {
  int32_t *row = engine_.inputs().spans[span].rows + 4 * sequence;
  row[0] = session.slot_;
  row[1] = static_cast<int32_t>(start);
  row[2] = static_cast<int32_t>(length);
  row[3] = static_cast<int32_t>(past);
}

void SessionPool::setSampling(int64_t sequence, const Sampling &p, int64_t position) {
  float *parameters = engine_.inputs().sampling + 4 * sequence;
  parameters[0] = p.temperature;
  parameters[1] = p.topP;
  parameters[2] = p.minP;
  parameters[3] = 0;
  int64_t *draw = engine_.inputs().draws + 4 * sequence;
  draw[0] = static_cast<int64_t>(p.seed);
  draw[1] = p.topK;
  draw[2] = position;
  draw[3] = 0;
}

/// Runs all feeds through ingest, as many sequences and rows per step as it takes.
absl::Status SessionPool::runIngest(const Feed *feeds, int64_t count) {
  const int64_t maxTokens = engine_.maxTokens(), maxSequences = engine_.maxSequences();
  const int64_t piece = engine_.pieceTokens(), unit = maxTokens >= piece ? piece : 1;
  const Program &program = *engine_.ingest().program;
  for (;;) {
    int64_t rows[kMaxSpans] = {}, sequences = 0, waiting = 0;
    for (int64_t f = 0; f < count && sequences < maxSequences && rows[0] < maxTokens; ++f) {
      Session &session = *feeds[f].session;
      int64_t left = feeds[f].end - session.past_, take = std::min(left, maxTokens - rows[0]);
      if (take < left)
        take -= take % unit;
      if (take == 0 || session.isCancelled_)
        continue;
      if (program.spans.empty()) {
        setSequence(0, sequences, session, rows[0], take, session.past_);
        for (int64_t i = 0; i < take; ++i)
          addRow(rows[0]++, sequences, session, session.past_ + i);
      } else {
        auto placed = addPiece(program, sequences, session, take, rows);
        if (!placed.ok())
          return placed.status();
        take = *placed;
        waiting += take == 0;
        if (take == 0)
          continue;
      }
      session.past_ += take;
      isDirty_[static_cast<size_t>(session.slot_)] = 1;
      ++sequences;
    }
    if (sequences == 0)
      return waiting ? absl::InternalError("the artifact's program 'ingest' has no room for a piece of a prompt; compile the model again")
                     : absl::OkStatus();
    if (absl::Status s = engine_.run(engine_.ingest(), rows, sequences); !s.ok())
      return s;
  }
}

/// Runs the whole pieces of what is pending. Copies of a session need not run them then, and no result changes.
absl::Status SessionPool::settle(Session &session) {
  const int64_t piece = engine_.pieceTokens(), pieces = (session.pending() - 1) / piece * piece;
  if (session.isCancelled_ || pieces <= 0 || !engine_.ingest().isPresent)
    return absl::OkStatus();
  const Feed feed = {&session, session.past_ + pieces};
  return runIngest(&feed, 1);
}

absl::Status SessionPool::ingest(const Prompt *prompts, int64_t count) {
  Turn turn(*this);
  if (!turn.isMine())
    return Turn::refusal();
  if (count < 0 || count > engine_.slots())
    return absl::InvalidArgumentError("prompt count is " + std::to_string(count) + " with " +
                                      std::to_string(engine_.slots()) + " session slots");
  if (absl::Status s =
          checkDistinct(count, [&](int64_t i) -> const Session & { return *prompts[i].session; });
      !s.ok())
    return s;
  const int64_t piece = engine_.pieceTokens(), call = std::max(piece, engine_.maxTokens() / piece * piece);
  bool isRunning = false;
  for (int64_t i = 0; i < count; ++i) {
    const Prompt &p = prompts[i];
    if (absl::Status s = checkTokens(*p.session, p.tokens, p.count); !s.ok())
      return s;
    // At least one token stays, for advance; with it whatever does not fill a call, so that the rest of a prompt takes one call, not two.
    int64_t total = p.session->pending() + p.count;
    int64_t runs = total > 0 ? (total - 1) / call * call : 0;
    feeds_[static_cast<size_t>(i)] = {p.session, p.session->past_ + runs};
    isRunning |= runs > 0;
  }
  if (isRunning && !engine_.ingest().isPresent)
    return missing("ingest");
  for (int64_t i = 0; i < count; ++i) {
    std::vector<int32_t> &tokens = prompts[i].session->tokens_;
    tokens.insert(tokens.end(), prompts[i].tokens, prompts[i].tokens + prompts[i].count);
  }
  if (absl::Status s = runIngest(feeds_.data(), count); !s.ok())
    return s;
  for (int64_t i = 0; i < count; ++i)
    if (prompts[i].session->isCancelled_)
      return cancelled(i);
  return absl::OkStatus();
}

absl::Status SessionPool::flush(Session *const *sessions, int64_t count) {
  Turn turn(*this);
  if (!turn.isMine())
    return Turn::refusal();
  if (count < 0 || count > engine_.slots())
    return absl::InvalidArgumentError("session count is " + std::to_string(count));
  if (absl::Status s = checkDistinct(count, [&](int64_t i) -> const Session & { return *sessions[i]; });
      !s.ok())
    return s;
  if (absl::Status s = flushChecked(sessions, count); !s.ok())
    return s;
  for (int64_t i = 0; i < count; ++i)
    if (sessions[i]->isCancelled_)
      return cancelled(i);
  return absl::OkStatus();
}

absl::Status SessionPool::flushChecked(Session *const *sessions, int64_t count) {
  // `advance` takes the last token itself, but for models whose tokens are on a canvas by then.
  const int64_t kept = fillsCanvas() ? 0 : 1;
  int64_t feeds = 0;
  for (int64_t i = 0; i < count; ++i)
    if (int64_t end = wholePatches(*sessions[i]) - kept; end > sessions[i]->past_)
      feeds_[static_cast<size_t>(feeds++)] = {sessions[i], end};
  if (feeds == 0)
    return absl::OkStatus();
  return engine_.ingest().isPresent ? runIngest(feeds_.data(), feeds) : missing("ingest");
}

/// What all calls that make tokens ask of their sessions.
absl::Status SessionPool::checkCall(Session *const *sessions, const Sampling *sampling, int64_t count) {
  if (!engine_.advance().isPresent)
    return missing("advance");
  if (count < 1 || count > engine_.slots())
    return absl::InvalidArgumentError("session count is " + std::to_string(count) + ", expected 1 to " +
                                      std::to_string(engine_.slots()));
  if (absl::Status s = checkDistinct(count, [&](int64_t i) -> const Session & { return *sessions[i]; });
      !s.ok())
    return s;
  for (int64_t i = 0; i < count; ++i) {
    const Session &session = *sessions[i];
    if (session.isCancelled_)
      continue;
    if (session.count() > engine_.context() - (fillsCanvas() ? 1 : 0))
      return absl::OutOfRangeError(nameOf(i) + " has filled its context of " +
                                   std::to_string(engine_.context()) + " tokens");
    if (!sampling[i].isValid())
      return absl::InvalidArgumentError(
          "sampling parameters out of range: temperature 0 and more, top_p above 0 to 1, min_p 0 to 1, "
          "top_k 0 and more");
    if (double most = engine_.plan().metadata.mostTemperature; most > 0 && static_cast<double>(sampling[i].temperature) > most)
      return absl::InvalidArgumentError("temperature " + std::to_string(sampling[i].temperature) + " is above " + std::to_string(most) +
                                        ", the most that this model can be drawn at: it has no probabilities that could be flattened");
  }
  return absl::OkStatus();
}

absl::Status SessionPool::checkAdvance(Session *const *sessions, const Sampling *sampling, int64_t count) {
  if (fillsCanvas())
    return absl::FailedPreconditionError("this model makes several tokens at a time; ask for them with fill");
  if (engine_.advance().isPresent && count <= engine_.slots())
    for (int64_t i = 0; i < count; ++i)
      if (!sessions[i]->isCancelled_ && sessions[i]->pending() == 0)
        return absl::FailedPreconditionError(nameOf(i) + " has no token to go on from; ingest one first");
  return checkCall(sessions, sampling, count);
}

/// The inputs of one step of advance for the sessions with these numbers.
void SessionPool::fillStep(const int64_t *which, int64_t count, Session *const *sessions,
                           const Sampling *sampling) {
  for (int64_t i = 0; i < count; ++i) {
    Session &session = *sessions[which[i]];
    const Sampling &p = session.sampling_ = sampling[which[i]];
    setSequence(0, i, session, i, 1, session.past_);
    addRow(i, i, session, session.past_);
    isDirty_[static_cast<size_t>(session.slot_)] = 1;
    setSampling(i, p, session.past_ + 1); // the position that the new token will have
  }
}

absl::Status SessionPool::advance(Session *const *sessions, const Sampling *sampling, int64_t count,
                                  int32_t *next) {
  Turn turn(*this);
  if (!turn.isMine())
    return Turn::refusal();
  if (absl::Status s = checkAdvance(sessions, sampling, count); !s.ok())
    return s;
  if (absl::Status s = flushChecked(sessions, count); !s.ok())
    return s;

  // From here on a session that is cancelled finishes its step: nobody else gets its slot before this call
  // ends.
  int64_t active = 0, gone = -1, bad = -1;
  for (int64_t i = 0; i < count; ++i) {
    next[i] = -1;
    if (sessions[i]->isCancelled_)
      gone = i;
    else
      active_[static_cast<size_t>(active++)] = i;
  }
  const int32_t vocab = static_cast<int32_t>(engine_.plan().metadata.vocab);
  for (int64_t begin = 0; begin < active; begin += engine_.maxSequences()) {
    const int64_t n = std::min(engine_.maxSequences(), active - begin), *which = active_.data() + begin;
    fillStep(which, n, sessions, sampling);
    if (absl::Status s = engine_.run(engine_.advance(), n, n); !s.ok())
      return s;
    for (int64_t i = 0; i < n; ++i) {
      Session &session = *sessions[which[i]];
      int32_t token = engine_.advance().next[i];
      ++session.past_;
      if (token < 0 || token >= vocab) {
        bad = which[i];
        continue;
      }
      session.tokens_.push_back(token); // within its capacity
      next[which[i]] = token;
      if (const float *decoding = engine_.advance().decoding)
        session.decoding_ = {decoding[2 * i], decoding[2 * i + 1]};
    }
  }
  if (bad >= 0)
    return absl::InternalError(nameOf(bad) +
                               ": the model's logits are not finite, so there is no next token; check the "
                               "weights (NaN or infinity)");
  return gone >= 0 ? cancelled(gone) : absl::OkStatus();
}

absl::Status SessionPool::score(Session *session, const int32_t *tokens, int64_t count, float *logits) {
  if (engine_.score().isPresent && !engine_.score().logits)
    return absl::FailedPreconditionError(
        "this model has no logits and no probabilities of tokens: it draws patches of tokens from noise, and all that can be known of their "
        "distribution is draws from it (llmc-run --score measures those)");
  const int64_t vocab = engine_.plan().metadata.vocab;
  return runScore(session, tokens, count, [&](int64_t begin, int64_t n, const int64_t *rows) {
    memcpy(logits + begin * vocab, engine_.score().logits + (rows[0] - n) * vocab, static_cast<size_t>(n * vocab) * sizeof(float));
  });
}

absl::Status SessionPool::scoreDraws(Session *session, const int32_t *tokens, int64_t count, const Draws &draws) {
  const ReadyProgram &score = engine_.score();
  if (!score.isPresent || !score.first || !score.second)
    return absl::FailedPreconditionError("this model does not draw patches of tokens; ask for its logits");
  const int64_t patch = engine_.plan().metadata.patch, columns = score.latentColumns;
  return runScore(session, tokens, count, [&](int64_t begin, int64_t n, const int64_t *rows) {
    memcpy(draws.first + begin, score.first + (rows[0] - n), static_cast<size_t>(n) * sizeof(int32_t));
    memcpy(draws.second + begin, score.second + (rows[0] - n), static_cast<size_t>(n) * sizeof(int32_t));
    if (draws.latents)
      memcpy(draws.latents + begin / patch * columns, score.latents + (rows[1] - n / patch) * columns,
             static_cast<size_t>(n / patch * columns) * sizeof(float));
  });
}

absl::Status SessionPool::runScore(Session *session, const int32_t *tokens, int64_t count, TakeRows take) {
  Turn turn(*this);
  if (!turn.isMine())
    return Turn::refusal();
  if (!engine_.score().isPresent)
    return missing("score");
  const int64_t patch = std::max<int64_t>(1, engine_.plan().metadata.patch);
  if (session->count() % patch || count % patch)
    return absl::InvalidArgumentError("this model works on patches of " + std::to_string(patch) + " tokens; " + std::to_string(count) +
                                      " after " + std::to_string(session->count()) + " are not whole patches");
  if (absl::Status s = checkTokens(*session, tokens, count); !s.ok())
    return s;
  if (session->pending() > 0) {
    if (session->count() > engine_.context())
      return absl::OutOfRangeError("the session has filled its context of " +
                                   std::to_string(engine_.context()) + " tokens");
    if (!engine_.ingest().isPresent)
      return missing("ingest");
    Feed feed = {session, session->count()};
    if (absl::Status s = runIngest(&feed, 1); !s.ok())
      return s;
  }
  const int64_t most = engine_.maxTokens(), unit = engine_.pieceTokens();
  const Program &program = *engine_.score().program;
  const int64_t piece = most >= unit ? most / unit * unit : most;
  for (int64_t begin = 0, n = 0; begin < count && !session->isCancelled_; begin += n) {
    n = std::min(piece, count - begin);
    const size_t before = session->tokens_.size();
    session->tokens_.insert(session->tokens_.end(), tokens + begin, tokens + begin + n);
    int64_t rows[kMaxSpans] = {};
    if (program.spans.empty()) {
      setSequence(0, 0, *session, 0, n, session->past_);
      for (int64_t i = 0; i < n; ++i)
        addRow(rows[0]++, 0, *session, session->past_ + i);
    } else {
      auto placed = addPiece(program, 0, *session, n, rows);
      if (!placed.ok())
        return placed.status();
      n = *placed;
      if (n == 0)
        return absl::InternalError("the artifact's program 'score' has no room for a piece of a text; compile the model again");
      session->tokens_.resize(before + static_cast<size_t>(n));
    }
    setSampling(0, session->sampling_, 0);
    const int32_t end = static_cast<int32_t>(session->past_ + n), bounds[4] = {end, end, end, 0};
    memcpy(engine_.inputs().bounds, bounds, sizeof bounds);
    isDirty_[static_cast<size_t>(session->slot_)] = 1;
    if (absl::Status s = engine_.run(engine_.score(), rows, 1); !s.ok())
      return s;
    session->past_ += n;
    take(begin, n, rows);
  }
  return session->isCancelled_ ? cancelled(0) : absl::OkStatus();
}

} // namespace llmc::runtime
