// Calls of programs whose rows are spans of positions, such as those of models that fill masks: which rows each span has, and what a
// call gave. Nothing here allocates, locks or makes strings except on errors.
#include "runtime/Session.h"
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

namespace llmc::runtime {

bool SessionPool::fillsCanvas() const {
  const Program *advance = engine_.advance().program;
  return advance && !advance->spans.empty();
}

absl::Status SessionPool::begin(Session *session, int64_t count) {
  if (count < 1)
    return absl::InvalidArgumentError("asked for " + std::to_string(count) + " tokens, expected at least 1");
  const Metadata &m = engine_.plan().metadata;
  const int64_t patch = std::max<int64_t>(1, m.patch);
  if (m.patch && session->count() == 0)
    return absl::FailedPreconditionError("the session has no token to go on from; ingest one first");
  while (session->count() % patch) // within its capacity: contexts are whole patches
    session->tokens_.push_back(static_cast<int32_t>(m.filler));
  session->start_ = session->count();
  session->end_ = std::min(session->start_ + (count + patch - 1) / patch * patch, engine_.context());
  return absl::OkStatus();
}

static std::string list(const std::vector<std::string> &names) {
  std::string text;
  for (const std::string &name : names)
    text += (text.empty() ? "" : ", ") + name;
  return text;
}

static std::string numberText(double v) {
  char text[32];
  snprintf(text, sizeof text, "%g", v);
  return text;
}

absl::Status SessionPool::set(Session *session, const std::string &name, const std::string &value) {
  const std::vector<Setting> &settings = engine_.plan().metadata.settings;
  auto found = std::find_if(settings.begin(), settings.end(), [&](const Setting &s) { return s.name == name; });
  if (found == settings.end()) {
    std::vector<std::string> names;
    for (const Setting &s : settings)
      names.push_back(s.name);
    return absl::NotFoundError("this model has no setting '" + name + "'; it has " + (names.empty() ? "none" : list(names)));
  }
  double number = 0;
  if (!found->words.empty()) {
    auto word = std::find(found->words.begin(), found->words.end(), value);
    if (word == found->words.end())
      return absl::InvalidArgumentError("setting '" + name + "' is '" + value + "', expected one of " + list(found->words));
    number = static_cast<double>(word - found->words.begin());
  } else {
    char *end = nullptr;
    number = strtod(value.c_str(), &end);
    bool isNumber = end != value.c_str() && *end == 0 && (!found->isWhole || number == static_cast<double>(static_cast<int64_t>(number)));
    if (!isNumber || !(number >= found->least && number <= found->most))
      return absl::InvalidArgumentError("setting '" + name + "' is '" + value + "', expected a " + (found->isWhole ? "whole " : "") +
                                        "number from " + numberText(found->least) + " to " + numberText(found->most));
  }
  session->settings_[found->column] = static_cast<float>(number);
  return absl::OkStatus();
}

SpanValues SessionPool::spanValues(const Session &session, int64_t end) const {
  SpanValues values = {session.past_, end, session.start_, 0};
  for (unsigned i = 0; i < kSettingColumns; ++i)
    values[4 + i] = static_cast<int64_t>(std::ceil(session.settings_[i]));
  return values;
}

absl::Status SessionPool::fill(Session *const *sessions, const Sampling *sampling, int64_t count, Emission *emissions) {
  for (int64_t i = 0; i < count; ++i)
    emissions[i].count = 0;
  if (fillsCanvas())
    return fillBlocks(sessions, sampling, count, emissions);
  for (int64_t i = 0; i < count; ++i)
    if (emissions[i].capacity < 1)
      return absl::InvalidArgumentError("no room for a token");
  if (count > engine_.slots())
    return advance(sessions, sampling, count, nullptr); // says what is wrong
  absl::Status status = advance(sessions, sampling, count, next_.data());
  const bool isMade = status.ok() || absl::IsInternal(status) || absl::IsCancelled(status);
  for (int64_t i = 0; i < count && isMade; ++i)
    if (next_[static_cast<size_t>(i)] >= 0)
      emissions[i].tokens[emissions[i].count++] = next_[static_cast<size_t>(i)];
  return status;
}

absl::Status SessionPool::fillBlocks(Session *const *sessions, const Sampling *sampling, int64_t count, Emission *emissions) {
  Turn turn(*this);
  if (!turn.isMine())
    return Turn::refusal();
  if (absl::Status s = checkCall(sessions, sampling, count); !s.ok())
    return s;
  for (int64_t i = 0; i < count; ++i)
    if (!sessions[i]->isCancelled_ && sessions[i]->end_ <= sessions[i]->count())
      return absl::FailedPreconditionError("session " + std::to_string(i) +
                                           " has all tokens that were asked for; begin a generation to say how many shall follow");
  if (absl::Status s = flushChecked(sessions, count); !s.ok())
    return s;
  int64_t active = 0, gone = -1, bad = -1;
  for (int64_t i = 0; i < count; ++i)
    if (sessions[i]->isCancelled_)
      gone = i;
    else
      active_[static_cast<size_t>(active++)] = i;
  for (int64_t begin = 0, taken = 0; begin < active; begin += taken)
    if (absl::Status s = runBlocks(active_.data() + begin, active - begin, sessions, sampling, emissions, taken, bad); !s.ok())
      return s;
  if (bad >= 0)
    return absl::InternalError("session " + std::to_string(bad) +
                               ": the model's logits are not finite, so there is no next token; check the "
                               "weights (NaN or infinity)");
  return gone >= 0 ? absl::CancelledError("session " + std::to_string(gone) + " was cancelled") : absl::OkStatus();
}

absl::StatusOr<bool> SessionPool::addSpans(const Program &program, int64_t sequence, const Session &session, int64_t which, int64_t end,
                                          int64_t *rows, int64_t *blockEnd) {
  auto name = [&] { return which < 0 ? "the session" : "session " + std::to_string(which); };
  const SpanValues values = spanValues(session, end);
  int64_t from[kMaxSpans], to[kMaxSpans];
  bool fits = true;
  for (size_t k = 0; k < program.spans.size(); ++k) {
    const Span &span = program.spans[k];
    auto first = evaluateGrid(span.from, values.data()), last = evaluateGrid(span.to, values.data());
    if (!first || !last || *last < *first + (k < kExtraSpan) || (blockEnd && k == kBlockSpan && *last <= session.past_))
      return absl::InternalError("the artifact's program '" + program.name + "' gives " + name() + " no rows; compile the model again");
    from[k] = *first;
    to[k] = *last;
    if (to[k] > engine_.context())
      return absl::OutOfRangeError(name() + " would end at " + std::to_string(to[k]) + " tokens, beyond its context of " +
                                   std::to_string(engine_.context()));
    if (to[k] - from[k] > span.maxRows && blockEnd)
      return absl::OutOfRangeError(name() + " asks for " + std::to_string(to[k] - from[k]) +
                                   " positions at once, this artifact takes " + std::to_string(span.maxRows));
    fits &= rows[k] + to[k] - from[k] <= span.maxRows;
  }
  if (!fits)
    return false;
  if (blockEnd)
    *blockEnd = to[kBlockSpan];
  for (unsigned k = 0; k < program.spans.size(); ++k) {
    setSequence(k, sequence, session, rows[k], to[k] - from[k], from[k]);
    for (int64_t i = from[k]; i < to[k]; ++i, ++rows[k])
      if (k == 0 && i < session.count()) // with its token, where the program begins with tokens
        addRow(rows[k], sequence, session, i);
      else
        addRow(k, rows[k], sequence, i);
  }
  return true;
}

/// Rows for as many of the next `take` tokens as there is room for; returns how many. Whole pieces, unless it is all of them.
absl::StatusOr<int64_t> SessionPool::addPiece(const Program &program, int64_t sequence, const Session &session, int64_t take,
                                             int64_t *rows) {
  while (take > 0) {
    auto fits = addSpans(program, sequence, session, /*which=*/-1, session.past_ + take, rows);
    if (!fits.ok())
      return fits.status();
    if (*fits)
      return take;
    take = (take - 1) / engine_.pieceTokens() * engine_.pieceTokens();
  }
  return 0;
}

/// One call of advance for the first of these sessions, as many as the rows of every span have room for.
absl::Status SessionPool::runBlocks(const int64_t *which, int64_t count, Session *const *sessions, const Sampling *sampling,
                                    Emission *emissions, int64_t &taken, int64_t &bad) {
  const Program &program = *engine_.advance().program;
  const CallInputs &in = engine_.inputs();
  int64_t rows[kMaxSpans] = {};
  for (taken = 0; taken < std::min(count, engine_.maxSequences()); ++taken) {
    Session &session = *sessions[which[taken]];
    int64_t end = 0;
    auto fits = addSpans(program, taken, session, which[taken], session.end_, rows, &end);
    if (!fits.ok())
      return fits.status();
    if (!*fits)
      break;
    Emission &emission = emissions[which[taken]];
    emission.count = end - session.past_;
    if (emission.count > emission.capacity)
      return absl::InvalidArgumentError("room for " + std::to_string(emission.capacity) + " tokens, a block has " +
                                        std::to_string(emission.count));
    const int32_t bounds[4] = {static_cast<int32_t>(session.past_), static_cast<int32_t>(session.end_),
                               static_cast<int32_t>(session.start_), 0};
    memcpy(in.bounds + 4 * taken, bounds, sizeof bounds);
    memcpy(in.settings + kSettingColumns * taken, session.settings_.data(), sizeof session.settings_);
    session.sampling_ = sampling[which[taken]];
    setSampling(taken, session.sampling_, session.past_);
    isDirty_[static_cast<size_t>(session.slot_)] = 1;
  }
  if (absl::Status s = engine_.run(engine_.advance(), rows, taken); !s.ok())
    return s;
  const int32_t vocab = static_cast<int32_t>(engine_.plan().metadata.vocab);
  for (int64_t i = 0; i < taken; ++i) {
    Session &session = *sessions[which[i]];
    Emission &emission = emissions[which[i]];
    const int32_t *next = engine_.advance().next + i * engine_.context();
    if (std::any_of(next, next + emission.count, [&](int32_t token) { return token < 0 || token >= vocab; })) {
      bad = which[i];
      emission.count = 0;
      continue;
    }
    memcpy(emission.tokens, next, static_cast<size_t>(emission.count) * sizeof(int32_t));
    session.tokens_.insert(session.tokens_.end(), next, next + emission.count); // within its capacity
    session.past_ += emission.count;
  }
  return absl::OkStatus();
}

} // namespace llmc::runtime
