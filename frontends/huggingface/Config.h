// The small files of a Hugging Face directory: config.json, generation_config.json, and the tokenizer's, as
// bytes.
#pragma once

#include "models/Config.h"

#include "absl/status/statusor.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace llmc {

/// `config.json` of the directory, for the model family to read.
absl::StatusOr<ConfigReader> readConfig(const std::string &directory);

/// How the model's authors sample from it. Absent values are not set; nothing here is a limit of the model.
struct GenerationConfig {
  std::vector<int64_t> eosTokens; ///< Any of them ends the text; may be empty.
  std::optional<int64_t> bosToken;
  bool doSample = false; ///< False: greedy, whatever the values below.
  std::optional<double> temperature, topP, minP, repetitionPenalty;
  std::optional<int64_t> topK; ///< 0: no limit.
};

/// `generation_config.json`, which may be absent; token ids that it does not give are taken from `config`.
/// Keys it has beyond those above are passed over: they concern the sampling of other programs.
absl::StatusOr<GenerationConfig> readGenerationConfig(const std::string &directory,
                                                      const ConfigReader &config);

/// Contents of the tokenizer's files, uninterpreted; absent files are not set.
struct TokenizerFiles {
  std::optional<std::string> tokenizerJson;   ///< tokenizer.json, at most 256 MiB
  std::optional<std::string> tiktokenModel;   ///< tiktoken.model, at most 64 MiB
  std::optional<std::string> tokenizerConfig; ///< tokenizer_config.json, at most 64 MiB
  std::optional<std::string> chatTemplate;    ///< chat_template.jinja, at most 4 MiB
};

absl::StatusOr<TokenizerFiles> readTokenizerFiles(const std::string &directory);

} // namespace llmc
