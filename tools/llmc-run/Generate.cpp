// See Generate.h.
#include "tools/llmc-run/Generate.h"
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <sys/random.h>

double secondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

int fail(const std::string &text) {
  fflush(stdout);
  fprintf(stderr, "llmc-run: error: %s\n", text.c_str());
  return 1;
}
int fail() { return fail(llmc_last_error()); }
int failWriting() { return fail(std::string("cannot write to stdout: ") + strerror(errno)); }

bool tokenize(llmc_model *model, const std::string &text, int flags, std::vector<int32_t> &tokens) {
  tokens.resize(text.size() + 16);
  size_t count = 0;
  for (;;) {
    if (llmc_tokenize(model, text.data(), text.size(), flags, tokens.data(), tokens.size(), &count) !=
        LLMC_OK)
      return false;
    bool isAll = count <= tokens.size();
    tokens.resize(count);
    if (isAll)
      return true;
  }
}

bool show(const char *text, size_t bytes) {
  return fwrite(text, 1, bytes, stdout) == bytes && (bytes == 0 || fflush(stdout) == 0);
}

llmc_sampling samplingOf(llmc_model *model, llmc_session *session, const Options &options) {
  llmc_sampling s;
  llmc_session_sampling(session, &s);
  if (options.isAutomatic) { // a restored session may have been drawn otherwise
    llmc_sampling own;
    llmc_model_sampling(model, &own);
    s.temperature = own.temperature;
    s.top_p = own.top_p;
  }
  if (options.temperature)
    s.temperature = static_cast<float>(*options.temperature);
  if (options.topK)
    s.top_k = static_cast<int32_t>(*options.topK);
  if (options.topP)
    s.top_p = static_cast<float>(*options.topP);
  if (options.minP)
    s.min_p = static_cast<float>(*options.minP);
  if (options.seed)
    s.seed = *options.seed;
  else if (!options.restorePath && getrandom(&s.seed, sizeof s.seed, 0) == sizeof s.seed)
    s.seed >>= 1; // so that it can be given back with --seed
  return s;
}

TokenSource::TokenSource(llmc_model *model, llmc_session *session, const llmc_sampling &sampling)
    : session_(session), sampling_(sampling),
      tokens_(static_cast<size_t>(llmc_model_info(model, LLMC_INFO_MOST_TOKENS))),
      context_(llmc_model_info(model, LLMC_INFO_CONTEXT)) {}

int64_t TokenSource::room(std::optional<int64_t> wanted) const {
  const bool isOneByOne = tokens_.size() == 1;
  // Where tokens are drawn one by one the last needs no room in the context, since nothing is drawn after it.
  int64_t room = context_ - llmc_session_tokens(session_) + isOneByOne;
  return std::min(wanted.value_or(isOneByOne ? room : 128), room);
}

bool TokenSource::begin(int64_t count) { return count < 1 || llmc_begin(session_, count) == LLMC_OK; }

bool TokenSource::next(int32_t &token) {
  if (used_ == got_) {
    used_ = 0;
    if (llmc_fill(session_, &sampling_, tokens_.data(), static_cast<int64_t>(tokens_.size()), &got_) != LLMC_OK)
      return false;
  }
  token = tokens_[static_cast<size_t>(used_++)];
  return true;
}
