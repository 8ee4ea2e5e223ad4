// See Chat.h. Only what is new in the conversation is ingested: when the text that the template gives goes on
// from what is in the session, its rest. Templates that leave out what an answer thought give other text than
// was drawn; then the session goes back to where that answer began, and the rest from there is ingested.
//
//   turn 1   [system, question][how an answer begins][thoughts, answer]
//   turn 2   [system, question][answer, question    ][how an answer begins][...
//                              ^ a fork was kept here
#include "tools/llmc-run/Chat.h"
#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <unistd.h>

int Chat::run() {
  if (int code = start())
    return code;
  if (!options_.prompt)
    return readLines();
  return turn(*options_.prompt) == Outcome::good ? 0 : 1;
}

/// Says at once when this model cannot chat.
int Chat::start() {
  sampling_ = samplingOf(model_, session_.get(), options_);
  reset();
  if (!tokenize(model_, "", 0, tokens_))
    return fail();
  std::vector<Message> probe = messages_;
  probe.push_back({"user", "Hello"});
  std::string text;
  if (!render(probe, true, text)) {
    // A template may refuse what is said here by the way; what it says to the real messages counts.
    size_t bytes;
    llmc_status status = llmc_chat_render(model_, nullptr, 0, 1, nullptr, nullptr, 0, &bytes);
    if (status == LLMC_NOT_FOUND || status == LLMC_UNSUPPORTED)
      return fail();
  }
  findEndTokens();
  return 0;
}

/// Asks at a terminal. False at the end of the input.
static bool readLine(bool isTerminal, std::string &line) {
  if (isTerminal)
    show("> ", 2);
  line.clear();
  int c;
  while ((c = getc(stdin)) != EOF && c != '\n')
    line.push_back(static_cast<char>(c));
  const bool isRead = c != EOF || !line.empty();
  while (!line.empty() && line.back() == '\r')
    line.pop_back();
  return isRead;
}

int Chat::readLines() {
  const bool isTerminal = isatty(0) && isatty(1);
  bool isGood = true;
  std::string line;
  while (readLine(isTerminal, line)) {
    if (line.empty())
      continue;
    if (line == "/exit")
      break;
    if (line == "/reset") {
      reset();
    } else if (line == "/stats") {
      printStats();
    } else {
      Outcome outcome = turn(line);
      if (outcome == Outcome::fatal)
        return 1;
      isGood &= outcome == Outcome::good;
    }
  }
  if (isTerminal)
    show("\n", 1);
  return isGood || isTerminal ? 0 : 1;
}

void Chat::reset() {
  messages_.clear();
  if (options_.system)
    messages_.push_back({"system", *options_.system});
  tokens_.clear();
  text_.clear();
  turn_.reset();
  turnTokens_.clear();
  llmc_session_reset(session_.get());
}

bool Chat::render(const std::vector<Message> &messages, bool isAsking, std::string &text) {
  std::vector<llmc_chat_message> list;
  for (const Message &message : messages)
    list.push_back({message.role.c_str(), message.content.c_str()});
  const char *variables = options_.chatVariables ? options_.chatVariables->c_str() : nullptr;
  size_t bytes = 0;
  text.resize(4096);
  for (;;) {
    if (llmc_chat_render(model_, list.data(), list.size(), isAsking, variables, text.data(), text.size(),
                         &bytes) != LLMC_OK)
      return false;
    bool isAll = bytes <= text.size();
    text.resize(bytes);
    if (isAll)
      return true;
  }
}

/// Models without end tokens of their own end with what the template puts after an answer, if that is a
/// special token.
void Chat::findEndTokens() {
  const std::string mark = "an answer";
  std::vector<Message> messages = messages_;
  messages.push_back({"user", "Hello"});
  messages.push_back({"assistant", mark});
  std::string text;
  std::vector<int32_t> tokens;
  if (!render(messages, false, text))
    return;
  size_t at = text.rfind(mark);
  if (at == std::string::npos ||
      !tokenize(model_, text.substr(at + mark.size()), LLMC_TOKENIZE_SPECIAL, tokens) || tokens.empty())
    return;
  // Special tokens have bytes, but show nothing.
  const char *raw;
  size_t rawBytes = 0, shownBytes = 0;
  if (llmc_token_bytes(model_, tokens[0], &raw, &rawBytes) == LLMC_OK && rawBytes > 0 &&
      llmc_detokenize(model_, tokens.data(), 1, nullptr, 0, &shownBytes) == LLMC_OK && shownBytes == 0)
    ends_.push_back(tokens[0]);
}

bool Chat::isEnd(int32_t token) const {
  return !options_.isIgnoringEos &&
         (llmc_model_is_eos(model_, token) || std::find(ends_.begin(), ends_.end(), token) != ends_.end());
}

/// The message is taken back, so that the conversation is as it was.
Chat::Outcome Chat::refuse(const std::string &why) {
  fail(why);
  messages_.pop_back();
  return Outcome::refused;
}

Chat::Outcome Chat::turn(const std::string &message) {
  messages_.push_back({"user", message});
  std::string text, reply;
  if (!render(messages_, true, text))
    return refuse(llmc_last_error());
  if (Outcome outcome = ingest(text); outcome != Outcome::good)
    return outcome;
  Outcome outcome = answer(reply);
  messages_.push_back({"assistant", reply});
  if (options_.isPrintingStats)
    printStats();
  return outcome;
}

/// Returns to before the last answer if `fresh`, the whole conversation, goes on from there, and takes what was there off it.
bool Chat::goBack(std::vector<int32_t> &fresh) {
  if (!turn_ || fresh.size() <= turnTokens_.size() || !std::equal(turnTokens_.begin(), turnTokens_.end(), fresh.begin()))
    return false;
  session_ = std::move(turn_);
  tokens_ = std::move(turnTokens_);
  fresh.erase(fresh.begin(), fresh.begin() + static_cast<ptrdiff_t>(tokens_.size()));
  return true;
}

bool Chat::append(const std::vector<int32_t> &tokens) {
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  return tokens.empty() || llmc_ingest(session_.get(), tokens.data(), static_cast<int64_t>(tokens.size())) == LLMC_OK;
}

/// How many of `tokens`, which follow those of the session, come before the words with which an answer begins; all where that is
/// not to be told.
size_t Chat::tokensBeforeAnswer(const std::vector<int32_t> &tokens) {
  std::string text;
  std::vector<int32_t> before;
  if (!render(messages_, false, text) || !tokenize(model_, text, LLMC_TOKENIZE_SPECIAL, before) ||
      before.size() <= tokens_.size() || before.size() > tokens_.size() + tokens.size() ||
      !std::equal(tokens_.begin(), tokens_.end(), before.begin()) ||
      !std::equal(before.begin() + static_cast<ptrdiff_t>(tokens_.size()), before.end(), tokens.begin()))
    return tokens.size();
  return before.size() - tokens_.size();
}

Chat::Outcome Chat::ingest(const std::string &text) {
  std::vector<int32_t> fresh;
  bool isGoingOn = !isAhead_ && text.compare(0, text_.size(), text_) == 0;
  if (!tokenize(model_, isGoingOn ? text.substr(text_.size()) : text, LLMC_TOKENIZE_SPECIAL, fresh))
    return refuse(llmc_last_error());
  if (!isGoingOn && !isAhead_ && fresh.size() > tokens_.size() &&
      std::equal(tokens_.begin(), tokens_.end(), fresh.begin())) {
    // Other text that is the same tokens, such as a character that was cut.
    fresh.erase(fresh.begin(), fresh.begin() + static_cast<ptrdiff_t>(tokens_.size()));
    isGoingOn = true;
  }
  int64_t total = static_cast<int64_t>((isGoingOn ? tokens_.size() : 0) + fresh.size());
  if (total == 0)
    return refuse("the chat template gives no text for this conversation");
  if (total > context())
    return refuse("the conversation has " + std::to_string(total) + " tokens, the context " +
                  std::to_string(context()) +
                  "; /reset forgets it, -c makes the context larger (this model allows up to " +
                  std::to_string(llmc_model_info(model_, LLMC_INFO_MODEL_CONTEXT)) + ")");
  auto start = Clock::now();
  isRewriting_ |= !isGoingOn;
  if (!isGoingOn && !goBack(fresh)) {
    tokens_.clear();
    if (llmc_session_reset(session_.get()) != LLMC_OK)
      return fail(), Outcome::fatal;
  }
  isAhead_ = false;
  ingested_ = static_cast<int64_t>(fresh.size());
  turn_.reset();
  if (isRewriting_) {
    auto middle = fresh.begin() + static_cast<ptrdiff_t>(tokensBeforeAnswer(fresh));
    llmc_session *fork = nullptr;
    if (!append({fresh.begin(), middle}) || llmc_session_fork(session_.get(), &fork) != LLMC_OK)
      return fail(), Outcome::fatal;
    turn_.reset(fork);
    turnTokens_ = tokens_;
    fresh.erase(fresh.begin(), middle);
  }
  if (!append(fresh) || llmc_flush(session_.get()) != LLMC_OK)
    return fail(), Outcome::fatal;
  text_ = text;
  ingestSeconds_ = secondsSince(start);
  return Outcome::good;
}

Chat::Outcome Chat::answer(std::string &reply) {
  llmc_text_stream *created = nullptr;
  if (llmc_text_stream_create(model_, &created) != LLMC_OK)
    return fail(), Outcome::fatal;
  std::unique_ptr<llmc_text_stream, Closer> stream(created);
  TokenSource source(model_, session_.get(), sampling_);
  const int64_t room = source.room(std::nullopt), most = source.room(options_.count);
  if (!source.begin(most))
    return fail(), Outcome::fatal;
  auto start = Clock::now();
  const char *text = nullptr;
  size_t bytes = 0;
  bool isWritten = true, hasEnded = false;
  auto put = [&] {
    reply.append(text, bytes);
    isWritten = isWritten && show(text, bytes);
  };
  for (made_ = 0; made_ < most && isWritten && !hasEnded; ++made_) {
    int32_t token;
    if (!source.next(token))
      return fail(), Outcome::fatal;
    tokens_.push_back(token);
    if (llmc_token_bytes(model_, token, &text, &bytes) == LLMC_OK)
      text_.append(text, bytes);
    hasEnded = isEnd(token);
    if (!hasEnded && llmc_text_stream_push(stream.get(), token, &text, &bytes) == LLMC_OK)
      put();
  }
  answerSeconds_ = secondsSince(start);
  isAhead_ = source.isAhead();
  if (llmc_text_stream_finish(stream.get(), &text, &bytes) == LLMC_OK)
    put();
  if (!isWritten || !show("\n", 1))
    return failWriting(), Outcome::fatal;
  if (!hasEnded && made_ == room) {
    fail("the context of " + std::to_string(context()) +
         " tokens is full, the answer ends here; /reset forgets the conversation, -c makes the context "
         "larger (this model "
         "allows up to " +
         std::to_string(llmc_model_info(model_, LLMC_INFO_MODEL_CONTEXT)) + ")");
    return Outcome::refused;
  }
  return Outcome::good;
}

void Chat::printStats() const {
  auto rate = [](int64_t tokens, double seconds) {
    return static_cast<double>(tokens) / std::max(seconds, 1e-9);
  };
  fprintf(stderr, "context: %zu of %" PRId64 " tokens, %zu messages\n", tokens_.size(), context(),
          messages_.size());
  fprintf(stderr, "ingest: %" PRId64 " tokens, %.3f s, %.1f tokens/s\n", ingested_, ingestSeconds_,
          rate(ingested_, ingestSeconds_));
  fprintf(stderr, "advance: %" PRId64 " tokens, %.3f s, %.1f tokens/s\n", made_, answerSeconds_,
          rate(made_, answerSeconds_));
}
