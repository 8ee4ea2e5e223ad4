// llmc-run: generates text or tokens from an artifact, or writes logits. Exit code 1 for failures, 2 for
// wrong usage.
#include "llmc.h"
#include "tools/llmc-run/Options.h"
#include "tools/llmc-run/WriteNpy.h"
#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstring>
#include <memory>
#include <sys/random.h>

namespace {

using Clock = std::chrono::steady_clock;
double secondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

int fail(const std::string &text) {
  fprintf(stderr, "llmc-run: error: %s\n", text.c_str());
  return 1;
}
int fail() { return fail(llmc_last_error()); }

struct Closer {
  void operator()(llmc_model *m) const { llmc_model_close(m); }
  void operator()(llmc_session *s) const { llmc_session_free(s); }
  void operator()(llmc_text_stream *s) const { llmc_text_stream_free(s); }
};

class Run {
public:
  explicit Run(const Options &options) : options_(options) {}

  int run() {
    auto start = Clock::now();
    llmc_model_options open;
    llmc_model_options_init(&open);
    open.threads = static_cast<int32_t>(options_.threads);
    open.context = options_.context;
    open.verify_weights = options_.isVerifying;
    open.libcuda = options_.libcuda ? options_.libcuda->c_str() : nullptr;
    llmc_model *model = nullptr;
    if (llmc_model_open(options_.artifact.c_str(), &open, &model) != LLMC_OK)
      return fail();
    model_.reset(model);
    llmc_session *session = nullptr;
    if (llmc_session_create(model, &session) != LLMC_OK)
      return fail();
    session_.reset(session);
    loadSeconds_ = secondsSince(start);
    if (int code = readPrompt())
      return code;
    int64_t context = llmc_model_info(model, LLMC_INFO_CONTEXT);
    if (static_cast<int64_t>(prompt_.size()) > context)
      return fail("the prompt has " + std::to_string(prompt_.size()) + " tokens, the context " +
                  std::to_string(context) + "; choose a larger one with -c (this model allows up to " +
                  std::to_string(llmc_model_info(model, LLMC_INFO_MODEL_CONTEXT)) + ")");
    if ((options_.isAutomatic || options_.isPrintingDecoding) && !llmc_model_text(model, "predicts"))
      return fail(std::string(options_.isAutomatic ? "--temp auto" : "--print-decoding") +
                  ": this model does not predict how to draw its tokens" +
                  (options_.isAutomatic ? "; give a number" : ""));
    if (options_.profilePath && llmc_profile_start(model) != LLMC_OK)
      return fail();
    int code = options_.logitsPath ? writeLogits() : generate();
    if (code == 0 && options_.profilePath &&
        llmc_profile_write(model, options_.profilePath->c_str(), 1) != LLMC_OK)
      return fail();
    return code;
  }

private:
  int readPrompt() {
    if (options_.tokens) {
      prompt_ = *options_.tokens;
      int64_t vocab = llmc_model_info(model_.get(), LLMC_INFO_VOCAB);
      for (int32_t token : prompt_)
        if (token >= vocab)
          return fail("token " + std::to_string(token) + " is outside the vocabulary of " +
                      std::to_string(vocab));
      return 0;
    }
    const std::string &text = *options_.prompt;
    const int flags = LLMC_TOKENIZE_START | LLMC_TOKENIZE_SPECIAL;
    prompt_.resize(text.size() + 16);
    size_t count = 0;
    if (llmc_tokenize(model_.get(), text.data(), text.size(), flags, prompt_.data(), prompt_.size(),
                      &count) != LLMC_OK)
      return fail();
    if (count > prompt_.size()) {
      prompt_.resize(count);
      if (llmc_tokenize(model_.get(), text.data(), text.size(), flags, prompt_.data(), prompt_.size(),
                        &count) != LLMC_OK)
        return fail();
    }
    prompt_.resize(count);
    return prompt_.empty() ? fail("the prompt is empty and this model has no start token to begin with") : 0;
  }

  int writeLogits() {
    int64_t vocab = llmc_model_info(model_.get(), LLMC_INFO_VOCAB),
            rows = static_cast<int64_t>(prompt_.size());
    int64_t most = llmc_model_info(model_.get(), LLMC_INFO_MAX_TOKENS);
    int64_t piece = most >= 64 ? most / 64 * 64 : most;
    NpyWriter file;
    if (std::string error = file.open(*options_.logitsPath, rows, vocab); !error.empty())
      return fail(error);
    std::vector<float> logits(static_cast<size_t>(std::min(piece, rows) * vocab));
    auto start = Clock::now();
    for (int64_t begin = 0; begin < rows; begin += piece) {
      int64_t count = std::min(piece, rows - begin);
      if (llmc_score(session_.get(), prompt_.data() + begin, count, logits.data()) != LLMC_OK)
        return fail();
      if (std::string error = file.append(logits.data(), count * vocab); !error.empty())
        return fail(error);
    }
    if (std::string error = file.finish(); !error.empty())
      return fail(error);
    if (options_.isPrintingStats)
      fprintf(stderr, "score: %" PRId64 " tokens, %.1f tokens/s\n", rows,
              static_cast<double>(rows) / secondsSince(start));
    return 0;
  }

  llmc_sampling sampling() const {
    llmc_sampling s;
    llmc_model_sampling(model_.get(), &s);
    if (options_.temperature)
      s.temperature = static_cast<float>(*options_.temperature);
    if (options_.topK)
      s.top_k = static_cast<int32_t>(*options_.topK);
    if (options_.topP)
      s.top_p = static_cast<float>(*options_.topP);
    if (options_.minP)
      s.min_p = static_cast<float>(*options_.minP);
    if (options_.seed)
      s.seed = *options_.seed;
    else if (getrandom(&s.seed, sizeof s.seed, 0) == sizeof s.seed)
      s.seed >>= 1; // so that it can be given back with --seed
    return s;
  }

  bool show(const char *text, size_t bytes) {
    return fwrite(text, 1, bytes, stdout) == bytes && (bytes == 0 || fflush(stdout) == 0);
  }

  int generate() {
    llmc_sampling parameters = sampling();
    bool isShowingText = !options_.isPrintingTokens && !options_.isPrintingDecoding &&
                         llmc_model_info(model_.get(), LLMC_INFO_HAS_TOKENIZER);
    std::unique_ptr<llmc_text_stream, Closer> stream;
    if (isShowingText) {
      llmc_text_stream *created = nullptr;
      if (llmc_text_stream_create(model_.get(), &created) != LLMC_OK)
        return fail();
      stream.reset(created);
      if (options_.prompt && !show(options_.prompt->data(), options_.prompt->size()))
        return fail(std::string("cannot write to stdout: ") + strerror(errno));
    }
    auto start = Clock::now();
    if (llmc_ingest(session_.get(), prompt_.data(), static_cast<int64_t>(prompt_.size())) != LLMC_OK ||
        llmc_flush(session_.get()) != LLMC_OK)
      return fail();
    double ingestSeconds = secondsSince(start);

    // The last token drawn needs no room in the context, since nothing is drawn after it.
    int64_t room =
        llmc_model_info(model_.get(), LLMC_INFO_CONTEXT) - static_cast<int64_t>(prompt_.size()) + 1;
    int64_t most = std::min(options_.count.value_or(128), room), made = 0;
    start = Clock::now();
    double firstSeconds = 0;
    const char *text = nullptr;
    size_t bytes = 0;
    bool isWritten = true;
    for (; made < most && isWritten; ++made) {
      int32_t token;
      if (llmc_advance(session_.get(), &parameters, &token) != LLMC_OK) {
        fflush(stdout);
        return fail();
      }
      if (made == 0)
        firstSeconds = secondsSince(start);
      bool isEnd = !options_.isIgnoringEos && llmc_model_is_eos(model_.get(), token);
      if (isShowingText) {
        if (!isEnd) {
          llmc_text_stream_push(stream.get(), token, &text, &bytes);
          isWritten = show(text, bytes);
        }
      } else if (options_.isPrintingDecoding) {
        float temperature, topP;
        if (llmc_session_decoding(session_.get(), &temperature, &topP) != LLMC_OK)
          return fail();
        char line[64];
        isWritten = show(
            line, static_cast<size_t>(snprintf(line, sizeof line, "%d, %.6f, %.6f\n", token,
                                               static_cast<double>(temperature), static_cast<double>(topP))));
      } else {
        std::string number = (made ? "," : "") + std::to_string(token);
        isWritten = show(number.data(), number.size());
      }
      if (isEnd) {
        ++made;
        break;
      }
    }
    double advanceSeconds = secondsSince(start);
    if (isShowingText) {
      llmc_text_stream_finish(stream.get(), &text, &bytes);
      isWritten = isWritten && show(text, bytes);
    }
    isWritten = isWritten && (options_.isPrintingDecoding || show("\n", 1));
    if (options_.isPrintingStats)
      printStats(parameters, ingestSeconds, made, firstSeconds, advanceSeconds);
    return isWritten ? 0 : fail(std::string("cannot write to stdout: ") + strerror(errno));
  }

  void printStats(const llmc_sampling &s, double ingestSeconds, int64_t made, double firstSeconds,
                  double advanceSeconds) const {
    auto info = [&](llmc_info i) { return llmc_model_info(model_.get(), i); };
    int64_t past = static_cast<int64_t>(prompt_.size()) - 1;
    fprintf(stderr, "model: %s, code %s, %" PRId64 " threads, context %" PRId64 "\n",
            llmc_model_text(model_.get(), "name"), llmc_model_text(model_.get(), "code_level"),
            info(LLMC_INFO_THREADS), info(LLMC_INFO_CONTEXT));
    fprintf(stderr, "memory: file %.1f MiB mapped, states %.1f MiB, arena %.1f MiB\n",
            static_cast<double>(info(LLMC_INFO_FILE_BYTES)) / 1048576,
            static_cast<double>(info(LLMC_INFO_STATE_BYTES)) / 1048576,
            static_cast<double>(info(LLMC_INFO_ARENA_BYTES)) / 1048576);
    fprintf(stderr, "load: %.1f ms\n", loadSeconds_ * 1e3);
    fprintf(stderr, "ingest: %" PRId64 " tokens, %.3f s, %.1f tokens/s\n", past, ingestSeconds,
            static_cast<double>(past) / std::max(ingestSeconds, 1e-9));
    fprintf(stderr, "advance: %" PRId64 " tokens, %.3f s, %.1f tokens/s, first after %.1f ms\n", made,
            advanceSeconds, static_cast<double>(made) / std::max(advanceSeconds, 1e-9),
            (ingestSeconds + firstSeconds) * 1e3);
    fprintf(stderr, "sampling: temperature %g, top_k %d, top_p %g, min_p %g, seed %" PRIu64 "\n",
            static_cast<double>(s.temperature), s.top_k, static_cast<double>(s.top_p),
            static_cast<double>(s.min_p), s.seed);
  }

  const Options &options_;
  std::unique_ptr<llmc_model, Closer> model_;
  std::unique_ptr<llmc_session, Closer> session_;
  std::vector<int32_t> prompt_;
  double loadSeconds_ = 0;
};

} // namespace

int main(int argc, char **argv) {
  Options options;
  std::string error = parseOptions(argc, argv, options);
  if (!error.empty()) {
    fprintf(stderr, "llmc-run: error: %s (llmc-run --help lists the flags)\n", error.c_str());
    return 2;
  }
  if (options.isHelp || options.isVersion) {
    if (options.isHelp)
      fputs(kUsage, stdout);
    else
      printf("llmc-run %s\n", llmc_version());
    return 0;
  }
  return Run(options).run();
}
