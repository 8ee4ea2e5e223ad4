// llmc-run: generates text or tokens from an artifact, or writes logits. Exit code 1 for failures, 2 for
// wrong usage.
#include "tools/llmc-run/Chat.h"
#include "tools/llmc-run/Generate.h"
#include "tools/llmc-run/Score.h"
#include "tools/llmc-run/WriteNpy.h"
#include <algorithm>
#include <cinttypes>

namespace {

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
    open.slots = options_.isChatting || options_.isScoring ? 2 : 1; // to go back in a chat; to try a draw in
    open.libcuda = options_.libcuda ? options_.libcuda->c_str() : nullptr;
    llmc_model *model = nullptr;
    if (llmc_model_open(options_.artifact.c_str(), &open, &model) != LLMC_OK)
      return fail();
    model_.reset(model);
    llmc_session *session = nullptr;
    if ((options_.restorePath ? llmc_session_restore(model, options_.restorePath->c_str(), &session)
                              : llmc_session_create(model, &session)) != LLMC_OK)
      return fail();
    session_.reset(session);
    for (const auto &[name, value] : options_.settings)
      if (llmc_set(session, name.c_str(), value.c_str()) != LLMC_OK)
        return fail("--" + name + ": " + llmc_last_error());
    restored_ = llmc_session_tokens(session);
    loadSeconds_ = secondsSince(start);
    if ((options_.isAutomatic || options_.isPrintingDecoding) && !llmc_model_text(model, "predicts"))
      return fail(std::string(options_.isAutomatic ? "--temp auto" : "--print-decoding") +
                  ": this model does not predict how to draw its tokens" +
                  (options_.isAutomatic ? "; give a number" : ""));
    if (options_.profilePath && llmc_profile_start(model) != LLMC_OK)
      return fail();
    int code = options_.isChatting ? Chat(model, std::move(session_), options_).run() : complete();
    if (code == 0 && options_.profilePath &&
        llmc_profile_write(model, options_.profilePath->c_str(), 1) != LLMC_OK)
      return fail();
    return code;
  }

private:
  int complete() {
    if (int code = readPrompt())
      return code;
    int64_t context = llmc_model_info(model_.get(), LLMC_INFO_CONTEXT);
    if (!prompt_.empty() && restored_ + static_cast<int64_t>(prompt_.size()) > context)
      return fail("the prompt has " + std::to_string(prompt_.size()) + " tokens" +
                  (restored_ ? " after the " + std::to_string(restored_) + " of the session" : "") +
                  ", the context " + std::to_string(context) +
                  "; choose a larger one with -c (this model allows up to " +
                  std::to_string(llmc_model_info(model_.get(), LLMC_INFO_MODEL_CONTEXT)) + ")");
    if (options_.isScoring)
      return printBrier(model_.get(), session_.get(), prompt_, samplingOf(model_.get(), session_.get(), options_).seed);
    return options_.logitsPath ? writeLogits() : generate();
  }

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
    if (!options_.prompt)
      return 0;
    const int flags = (options_.restorePath ? 0 : LLMC_TOKENIZE_START) | LLMC_TOKENIZE_SPECIAL;
    if (!tokenize(model_.get(), *options_.prompt, flags, prompt_))
      return fail();
    return prompt_.empty() ? fail("the prompt is empty and this model has no start token to begin with") : 0;
  }

  int writeLogits() {
    int64_t vocab = llmc_model_info(model_.get(), LLMC_INFO_VOCAB),
            rows = static_cast<int64_t>(prompt_.size());
    int64_t most = llmc_model_info(model_.get(), LLMC_INFO_MAX_TOKENS);
    int64_t unit = llmc_model_info(model_.get(), LLMC_INFO_PIECE_TOKENS), piece = most >= unit ? most / unit * unit : most;
    // A model that fills masks may see the whole canvas, which then comes in one call.
    if (llmc_model_info(model_.get(), LLMC_INFO_MOST_TOKENS) > 1)
      piece = std::max(piece, std::min(rows, most));
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

  int generate() {
    llmc_sampling parameters = samplingOf(model_.get(), session_.get(), options_);
    bool isShowingText = !options_.isPrintingTokens && !options_.isPrintingDecoding &&
                         llmc_model_info(model_.get(), LLMC_INFO_HAS_TOKENIZER);
    std::unique_ptr<llmc_text_stream, Closer> stream;
    if (isShowingText) {
      llmc_text_stream *created = nullptr;
      if (llmc_text_stream_create(model_.get(), &created) != LLMC_OK)
        return fail();
      stream.reset(created);
      skipRestoredText(created);
      if (options_.prompt && !show(options_.prompt->data(), options_.prompt->size()))
        return failWriting();
    }
    auto start = Clock::now();
    if (llmc_ingest(session_.get(), prompt_.data(), static_cast<int64_t>(prompt_.size())) != LLMC_OK ||
        llmc_flush(session_.get()) != LLMC_OK)
      return fail();
    double ingestSeconds = secondsSince(start);

    TokenSource source(model_.get(), session_.get(), parameters);
    int64_t most = source.room(options_.count.value_or(128)), made = 0;
    if (!source.begin(most))
      return fail();
    start = Clock::now();
    double firstSeconds = 0;
    const char *text = nullptr;
    size_t bytes = 0;
    bool isWritten = true;
    for (; made < most && isWritten; ++made) {
      int32_t token;
      if (!source.next(token))
        return fail();
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
    if (!isWritten)
      return failWriting();
    if (options_.savePath && llmc_session_save(session_.get(), options_.savePath->c_str()) != LLMC_OK)
      return fail();
    return 0;
  }

  /// A character may have begun in the restored tokens.
  void skipRestoredText(llmc_text_stream *stream) const {
    std::vector<int32_t> tokens(static_cast<size_t>(restored_));
    llmc_session_read_tokens(session_.get(), 0, tokens.data(), restored_);
    const char *text;
    size_t bytes;
    for (int32_t token : tokens)
      llmc_text_stream_push(stream, token, &text, &bytes);
  }

  void printStats(const llmc_sampling &s, double ingestSeconds, int64_t made, double firstSeconds,
                  double advanceSeconds) const {
    auto info = [&](llmc_info i) { return llmc_model_info(model_.get(), i); };
    int64_t past = std::max<int64_t>(static_cast<int64_t>(prompt_.size()) - 1, 0);
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
  int64_t restored_ = 0; ///< tokens of the restored session
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
