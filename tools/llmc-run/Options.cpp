// Flags by hand: few, and start-up time matters.
#include "tools/llmc-run/Options.h"
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>

const char *const kUsage =
    R"(usage: llmc-run MODEL.llmc -p TEXT [options]           continue a text
       llmc-run MODEL.llmc --tokens IDS [options]       continue token ids
       llmc-run MODEL.llmc --restore FILE [options]     go on from a saved session, after -p or --tokens if given
       llmc-run MODEL.llmc --chat [options]             talk: a line of standard input is a message
       llmc-run MODEL.llmc --tokens IDS --logits F.npy  write the logits after each token, float32 [tokens, vocab]

  -p, --prompt TEXT   text to continue; printed first
      --tokens IDS    token ids instead of text, e.g. 1,2,3
      --chat          apply the model's chat template; lines /reset, /stats and /exit are commands. With -p: one message, one answer
      --system TEXT   the system message of --chat
      --chat-vars J   more variables for the chat template, a JSON object, e.g. {"enable_thinking": false}
  -n, --predict N     tokens to generate (default 128, with --chat no limit; generation also ends at an end token or when the context is full)
      --temp T        temperature, 0 takes the likeliest token (default: the model's, else 0)
      --temp auto     the temperature and top-p that the model predicts for every token (AutoDeco; the default of
                      such models, for which numbers given with --temp and --top-p multiply the predicted ones)
      --top-k K       draw from the K likeliest tokens (0: all)
      --top-p P       draw from the likeliest tokens of total probability P
      --min-p M       draw from tokens at least M times as likely as the likeliest
      --seed S        equal seeds give equal texts (default: random)
      --NAME VALUE    a setting of the model's way of decoding, such as --steps 32 (llmc inspect lists what a model has)
      --ignore-eos    do not end at end tokens
  -c, --ctx-size C    context in tokens (default: the model's, at most 4096)
  -t, --threads N     threads (default: one per core)
      --libcuda PATH  the CUDA driver's library, for an artifact with CUDA code (default: libcuda.so.1)
      --print-tokens  print the generated ids, comma separated, instead of text; includes the end token
      --print-decoding  instead of text one line for each token: id, temperature, top-p with which it was drawn,
                      of models that predict these
      --logits FILE   see above
      --score         instead of writing on, BrierLM of the given text, for models that draw patches of tokens and have no logits
      --save FILE     save the session at the end, with its sampling parameters; -n 0 saves a prompt
      --verify        compare the checksums of all weights first
      --profile FILE  time of every dispatch as a Chrome/Perfetto trace, and a table by kernel on stderr
      --stats         timings and sizes on stderr
  -h, --help, --version
)";

namespace {

bool parseInteger(const char *text, int64_t low, int64_t high, int64_t &value) {
  char *end = nullptr;
  errno = 0;
  value = strtoll(text, &end, 10);
  return *text && !isspace(static_cast<unsigned char>(*text)) && !*end && errno == 0 && value >= low &&
         value <= high;
}

bool parseTokens(const std::string &text, std::vector<int32_t> &tokens) {
  for (size_t at = 0;;) {
    size_t end = std::min(text.find(',', at), text.size());
    int64_t token;
    if (!parseInteger(text.substr(at, end - at).c_str(), 0, INT32_MAX, token))
      return false;
    tokens.push_back(static_cast<int32_t>(token));
    if (end == text.size())
      return true;
    at = end + 1;
  }
}

class Parser {
public:
  Parser(int argc, char **argv, Options &options) : argc_(argc), argv_(argv), options_(options) {}

  std::string parse() {
    for (at_ = 1; at_ < argc_ && error_.empty(); ++at_)
      argument(argv_[at_]);
    if (!error_.empty() || options_.isHelp || options_.isVersion)
      return error_;
    if (options_.artifact.empty())
      return "no artifact given";
    if (options_.prompt && options_.tokens)
      return "-p and --tokens exclude each other";
    if (options_.isChatting &&
        (options_.tokens || options_.logitsPath || options_.isPrintingTokens || options_.isPrintingDecoding))
      return "--chat excludes --tokens, --logits, --print-tokens and --print-decoding";
    if (options_.isChatting && (options_.savePath || options_.restorePath))
      return "--chat excludes --save and --restore";
    if (!options_.isChatting && (options_.system || options_.chatVariables))
      return "--system and --chat-vars need --chat";
    if (!options_.isChatting && !options_.prompt && !options_.tokens && !options_.restorePath)
      return "give a prompt with -p TEXT or --tokens IDS";
    if (options_.logitsPath && (options_.count || options_.isPrintingTokens))
      return "--logits excludes -n and --print-tokens";
    if (options_.logitsPath && (options_.savePath || options_.restorePath))
      return "--logits excludes --save and --restore";
    if (options_.isScoring && (options_.logitsPath || options_.isChatting || options_.count || options_.isPrintingTokens ||
                               options_.isPrintingDecoding || options_.savePath || options_.restorePath))
      return "--score excludes --logits, --chat, -n, --print-tokens, --print-decoding, --save and --restore";
    if (options_.isPrintingDecoding && (options_.logitsPath || options_.isPrintingTokens))
      return "--print-decoding excludes --logits and --print-tokens";
    return "";
  }

private:
  void argument(std::string flag) {
    value_.reset();
    if (flag.size() > 2 && flag.compare(0, 2, "--") == 0)
      if (size_t equals = flag.find('='); equals != std::string::npos) {
        value_ = flag.substr(equals + 1);
        flag.resize(equals);
      }
    std::optional<std::string> tokens;
    if (flag == "-p" || flag == "--prompt")
      text(flag, options_.prompt);
    else if (flag == "--tokens")
      text(flag, tokens);
    else if (flag == "--chat")
      set(flag, options_.isChatting);
    else if (flag == "--system")
      text(flag, options_.system);
    else if (flag == "--chat-vars")
      text(flag, options_.chatVariables);
    else if (flag == "--logits")
      text(flag, options_.logitsPath);
    else if (flag == "--score")
      set(flag, options_.isScoring);
    else if (flag == "--profile")
      text(flag, options_.profilePath);
    else if (flag == "--save")
      text(flag, options_.savePath);
    else if (flag == "--restore")
      text(flag, options_.restorePath);
    else if (flag == "-n" || flag == "--predict")
      integer(flag, 0, INT32_MAX, options_.count);
    else if (flag == "--temp")
      temperature(flag);
    else if (flag == "--top-k")
      integer(flag, 0, INT32_MAX, options_.topK);
    else if (flag == "--top-p")
      real(flag, 1e-6, 1, options_.topP);
    else if (flag == "--min-p")
      real(flag, 0, 1, options_.minP);
    else if (flag == "--seed")
      integer(flag, 0, INT64_MAX, options_.seed);
    else if (flag == "-t" || flag == "--threads")
      integer(flag, 1, 1024, options_.threads);
    else if (flag == "-c" || flag == "--ctx-size")
      integer(flag, 1, 1 << 30, options_.context);
    else if (flag == "--libcuda")
      text(flag, options_.libcuda);
    else if (flag == "--print-tokens")
      set(flag, options_.isPrintingTokens);
    else if (flag == "--print-decoding")
      set(flag, options_.isPrintingDecoding);
    else if (flag == "--ignore-eos")
      set(flag, options_.isIgnoringEos);
    else if (flag == "--verify")
      set(flag, options_.isVerifying);
    else if (flag == "--stats")
      set(flag, options_.isPrintingStats);
    else if (flag == "-h" || flag == "--help")
      set(flag, options_.isHelp);
    else if (flag == "--version")
      set(flag, options_.isVersion);
    else if (flag.size() > 2 && flag.compare(0, 2, "--") == 0)
      setting(flag);
    else if (flag.size() > 1 && flag[0] == '-')
      error_ = "unknown flag " + flag;
    else if (!options_.artifact.empty())
      error_ = "more than one artifact given: " + options_.artifact + " and " + flag;
    else
      options_.artifact = flag;
    if (tokens) {
      options_.tokens.emplace();
      if (!parseTokens(*tokens, *options_.tokens))
        error_ = "--tokens expects numbers separated by commas, got '" + *tokens + "'";
    }
  }

  /// Whether the artifact knows it is seen when that is open.
  void setting(const std::string &flag) {
    if (!value_ && (at_ + 1 >= argc_ || argv_[at_ + 1][0] == '-'))
      error_ = "unknown flag " + flag;
    else if (take(flag))
      options_.settings.push_back({flag.substr(2), *value_});
  }

  bool take(const std::string &flag) {
    if (!value_ && at_ + 1 < argc_)
      value_ = argv_[++at_];
    if (!value_)
      error_ = flag + " needs a value";
    return value_.has_value();
  }

  void text(const std::string &flag, std::optional<std::string> &to) {
    if (take(flag))
      to = *value_;
  }

  template <typename T> void integer(const std::string &flag, int64_t low, int64_t high, T &to) {
    int64_t number;
    if (!take(flag))
      return;
    if (parseInteger(value_->c_str(), low, high, number))
      to = number;
    else
      error_ = flag + " expects a whole number from " + std::to_string(low) + " to " + std::to_string(high) +
               ", got '" + *value_ + "'";
  }

  void real(const std::string &flag, double low, double high, std::optional<double> &to) {
    if (!take(flag))
      return;
    char *end = nullptr;
    double number = strtod(value_->c_str(), &end);
    char range[64];
    snprintf(range, sizeof range, "%g to %g", low, high);
    if (value_->empty() || *end || !(number >= low && number <= high))
      error_ = flag + " expects a number from " + range + ", got '" + *value_ + "'";
    else
      to = number;
  }

  /// A number, or the word.
  void temperature(const std::string &flag) {
    if (!value_ && at_ + 1 < argc_)
      value_ = argv_[++at_];
    options_.isAutomatic = value_ == "auto";
    if (options_.isAutomatic)
      options_.temperature.reset();
    else
      real(flag, 0, 100, options_.temperature);
  }

  void set(const std::string &flag, bool &to) {
    to = true;
    if (value_)
      error_ = flag + " takes no value";
  }

  int argc_;
  char **argv_;
  Options &options_;
  int at_ = 1;
  std::optional<std::string> value_;
  std::string error_;
};
} // namespace

std::string parseOptions(int argc, char **argv, Options &options) {
  return Parser(argc, argv, options).parse();
}
