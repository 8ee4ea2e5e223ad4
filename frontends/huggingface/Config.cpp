// Reads the small files of a Hugging Face directory, each with a bound on its size.
#include "frontends/huggingface/Config.h"

#include "frontends/huggingface/Files.h"

#include "absl/strings/str_cat.h"

#include <limits>

namespace llmc {
namespace {

constexpr size_t kMebibyte = size_t{1} << 20;
constexpr IntRange kTokenRange = {0, std::numeric_limits<int32_t>::max()};

absl::StatusOr<ConfigReader> readJsonFile(const std::string &path) {
  absl::StatusOr<std::string> text = readFile(path, 4 * kMebibyte);
  if (!text.ok())
    return text.status();
  return ConfigReader::parse(*text, path);
}

absl::Status readOptionalFile(const std::string &path, size_t maxBytes, std::optional<std::string> &content) {
  if (!fileExists(path))
    return absl::OkStatus();
  absl::StatusOr<std::string> read = readFile(path, maxBytes);
  if (read.ok())
    content = std::move(*read);
  return read.status();
}

} // namespace

absl::StatusOr<ConfigReader> readConfig(const std::string &directory) {
  if (absl::Status status = checkDirectory(directory); !status.ok())
    return status;
  std::string path = pathIn(directory, "config.json");
  if (!fileExists(path))
    return absl::NotFoundError(
        absl::StrCat(directory, ": expects config.json, found none: download the checkpoint completely"));
  return readJsonFile(path);
}

absl::StatusOr<GenerationConfig> readGenerationConfig(const std::string &directory,
                                                      const ConfigReader &config) {
  GenerationConfig result;
  if (std::string path = pathIn(directory, "generation_config.json"); fileExists(path)) {
    absl::StatusOr<ConfigReader> generation = readJsonFile(path);
    if (!generation.ok())
      return generation.status();
    result.eosTokens = generation->getIntOrInts("eos_token_id", kTokenRange);
    result.bosToken = generation->getOptionalInt("bos_token_id", kTokenRange);
    result.doSample = generation->getBoolOr("do_sample", false);
    result.temperature = generation->getOptionalFloat("temperature", {0.0, 1e6});
    result.topP = generation->getOptionalFloat("top_p", {0.0, 1.0});
    result.minP = generation->getOptionalFloat("min_p", {0.0, 1.0});
    result.repetitionPenalty = generation->getOptionalFloat("repetition_penalty", {0.0, 1e6});
    result.topK = generation->getOptionalInt("top_k", kTokenRange);
    if (!generation->status().ok())
      return generation->status();
  }
  if (result.eosTokens.empty())
    result.eosTokens = config.getIntOrInts("eos_token_id", kTokenRange);
  if (!result.bosToken)
    result.bosToken = config.getOptionalInt("bos_token_id", kTokenRange);
  if (!config.status().ok())
    return config.status();
  return result;
}

absl::StatusOr<TokenizerFiles> readTokenizerFiles(const std::string &directory) {
  TokenizerFiles files;
  struct {
    const char *name;
    size_t maxBytes;
    std::optional<std::string> &content;
  } const kFiles[] = {{"tokenizer.json", 256 * kMebibyte, files.tokenizerJson},
                      {"tiktoken.model", 64 * kMebibyte, files.tiktokenModel},
                      {"tokenizer_config.json", 64 * kMebibyte, files.tokenizerConfig},
                      {"chat_template.jinja", 4 * kMebibyte, files.chatTemplate}};
  for (const auto &file : kFiles) {
    absl::Status status = readOptionalFile(pathIn(directory, file.name), file.maxBytes, file.content);
    if (!status.ok())
      return status;
  }
  return files;
}

} // namespace llmc
