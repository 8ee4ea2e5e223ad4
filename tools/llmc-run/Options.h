// The command line of llmc-run.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

struct Options {
  std::string artifact;
  std::optional<std::string> prompt, system, chatVariables, logitsPath, libcuda, profilePath, savePath, restorePath;
  std::optional<std::vector<int32_t>> tokens;
  std::optional<int64_t> count;
  std::optional<double> temperature, topP, minP;
  std::optional<int64_t> topK;
  std::optional<uint64_t> seed;
  std::vector<std::pair<std::string, std::string>> settings; ///< flags that the artifact may know
  int64_t threads = 0, context = 0;
  bool isPrintingTokens = false, isPrintingStats = false, isIgnoringEos = false, isVerifying = false,
       isChatting = false, isHelp = false, isVersion = false;
  bool isScoring = false;
  bool isAutomatic = false, isPrintingDecoding = false; ///< --temp auto, --print-decoding
};

extern const char *const kUsage;

/// Fills `options`; an error's text, or "" when all is well.
std::string parseOptions(int argc, char **argv, Options &options);
