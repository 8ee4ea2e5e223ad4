// Calls of models that fill masks on a canvas: which rows each span has, and what a call gave. Nothing here allocates, locks or
// makes strings except on errors.
#include "runtime/Session.h"
#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace llmc::runtime {

void setSequence(const SpanInputs &in, int64_t sequence, int slot, int64_t start, int64_t length, int64_t past);

bool SessionPool::fillsCanvas() const {
  const Program *advance = engine_.advance().program;
  return advance && !advance->spans.empty();
}

absl::Status SessionPool::begin(Session *session, int64_t count) {
  if (count < 1)
    return absl::InvalidArgumentError("asked for " + std::to_string(count) + " tokens, expected at least 1");
  session->start_ = session->tokens();
  session->end_ = std::min(session->start_ + count, engine_.context());
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

SpanValues SessionPool::spanValues(const Session &session) const {
  SpanValues values = {session.past_, session.end_, session.start_, 0};
  for (unsigned i = 0; i < kSettingColumns; ++i)
    values[4 + i] = static_cast<int64_t>(session.settings_[i]);
  return values;
}

absl::Status SessionPool::fill(Session *const *sessions, const Sampling *sampling, int64_t count, Emission *emissions) {
  if (!fillsCanvas()) {
    for (int64_t i = 0; i < count; ++i) {
      if (emissions[i].capacity < 1)
        return absl::InvalidArgumentError("no room for a token");
      emissions[i].count = 0;
    }
    absl::Status status = advance(sessions, sampling, count, next_.data());
    for (int64_t i = 0; i < count && (status.ok() || absl::IsInternal(status)); ++i)
      if (next_[static_cast<size_t>(i)] >= 0)
        emissions[i].tokens[emissions[i].count++] = next_[static_cast<size_t>(i)];
    return status;
  }
  Turn turn(*this);
  if (!turn.isMine())
    return Turn::refusal();
  if (count < 1 || count > engine_.slots())
    return absl::InvalidArgumentError("session count is " + std::to_string(count) + ", expected 1 to " + std::to_string(engine_.slots()));
  if (absl::Status s = checkSessions(sessions, count); !s.ok())
    return s;
  for (int64_t i = 0; i < count; ++i) {
    Session &session = *sessions[i];
    emissions[i].count = 0;
    if (session.tokens() >= engine_.context())
      return absl::OutOfRangeError("session " + std::to_string(i) + " has filled its context of " + std::to_string(engine_.context()) +
                                   " tokens");
    if (session.end_ <= session.tokens())
      return absl::FailedPreconditionError("session " + std::to_string(i) +
                                           " has all tokens that were asked for; begin a generation to say how many shall follow");
    if (absl::Status s = checkSampling(sampling[i]); !s.ok())
      return s;
  }
  if (absl::Status s = flushChecked(sessions, count); !s.ok())
    return s;
  return fillChecked(sessions, sampling, count, emissions);
}

absl::Status SessionPool::fillChecked(Session *const *sessions, const Sampling *sampling, int64_t count, Emission *emissions) {
  const Program &program = *engine_.advance().program;
  const CallInputs &in = engine_.inputs();
  const size_t spans = program.spans.size();
  struct Ends {
    int64_t from[kMaxSpans], to[kMaxSpans];
  };
  int64_t bad = -1;
  for (int64_t begin = 0; begin < count;) {
    // As many sessions as the rows of every span have room for.
    int64_t rows[kMaxSpans] = {0, 0, 0}, n = 0, blockEnd[64];
    for (; begin + n < count && n < std::min<int64_t>(engine_.maxSequences(), 64); ++n) {
      Session &session = *sessions[begin + n];
      const SpanValues values = spanValues(session);
      Ends ends;
      bool fits = true;
      for (size_t k = 0; k < spans; ++k) {
        auto from = evaluateGrid(program.spans[k].from, values.data()), to = evaluateGrid(program.spans[k].to, values.data());
        if (!from || !to || *to <= *from)
          return absl::InternalError("the artifact's program '" + program.name + "' gives session " + std::to_string(begin + n) +
                                     " no rows; compile the model again");
        if (k + 1 == spans && *to - session.past_ > emissions[begin + n].capacity)
          return absl::InvalidArgumentError("room for " + std::to_string(emissions[begin + n].capacity) + " tokens, a block has " +
                                            std::to_string(*to - session.past_));
        ends.from[k] = *from;
        ends.to[k] = *to;
        if (*to > engine_.context())
          return absl::OutOfRangeError("session " + std::to_string(begin + n) + " would end at " + std::to_string(*to) +
                                       " tokens, beyond its context of " + std::to_string(engine_.context()));
        if (*to - *from > program.spans[k].maxRows)
          return absl::OutOfRangeError("session " + std::to_string(begin + n) + " asks for " + std::to_string(*to - *from) +
                                       " positions at once, this artifact takes " + std::to_string(program.spans[k].maxRows));
        fits &= rows[k] + *to - *from <= program.spans[k].maxRows;
      }
      if (!fits)
        break;
      for (size_t k = 0; k < spans; ++k) {
        const int64_t length = ends.to[k] - ends.from[k];
        setSequence(in.spans[k], n, session.slot_, rows[k], length, ends.from[k]);
        for (int64_t i = 0; i < length; ++i)
          addRow(static_cast<unsigned>(k), rows[k] + i, n, ends.from[k] + i);
        rows[k] += length;
      }
      blockEnd[n] = ends.to[spans - 1];
      const int32_t bounds[4] = {static_cast<int32_t>(session.past_), static_cast<int32_t>(session.end_),
                                 static_cast<int32_t>(session.start_), 0};
      memcpy(in.bounds + 4 * n, bounds, sizeof bounds);
      memcpy(in.settings + kSettingColumns * n, session.settings_.data(), sizeof session.settings_);
      setSampling(n, sampling[begin + n], session.past_);
      isDirty_[static_cast<size_t>(session.slot_)] = 1;
    }
    if (absl::Status s = engine_.run(engine_.advance(), rows, n); !s.ok())
      return s;
    for (int64_t i = 0; i < n; ++i) {
      Session &session = *sessions[begin + i];
      const int32_t *next = engine_.advance().next + i * engine_.context();
      Emission &out = emissions[begin + i];
      const int64_t made = blockEnd[i] - session.past_;
      if (next[0] < 0) {
        bad = begin + i;
        continue;
      }
      memcpy(out.tokens, next, static_cast<size_t>(made) * sizeof(int32_t));
      out.count = made;
      session.past_ = blockEnd[i];
    }
    begin += n;
  }
  if (bad >= 0)
    return absl::InternalError("session " + std::to_string(bad) +
                               ": the model's logits are not finite, so there is no next token; check the "
                               "weights (NaN or infinity)");
  return absl::OkStatus();
}

} // namespace llmc::runtime
