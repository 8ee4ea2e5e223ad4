// From a Hugging Face directory to a module of `llm` ops with its checkpoint.
#pragma once
#include "frontends/huggingface/Checkpoint.h"
#include "frontends/huggingface/Config.h"
#include "models/Family.h"

namespace llmc {

struct ImportedModel {
  BuiltModel model;
  std::optional<Checkpoint> checkpoint; ///< absent with `weights = false`
  GenerationConfig generation;
  std::string generationText; ///< generation_config.json as it is, or empty
  TokenizerFiles tokenizer;
  std::string namedTokens; ///< JSON object of the special tokens that chat templates name (bos_token, ...), or empty
  struct SpecialToken {
    uint32_t id;
    std::string text;
  };
  std::vector<SpecialToken> tiktokenSpecials; ///< of a tiktoken tokenizer, all ids after the ordinary ones
};

/// Reads config.json, finds the family, builds the module and compares the checkpoint's tensors with what the
/// module reads. With `weights` false only config.json is needed and weights have its `dtype` (bf16 where it
/// names none). `heads`, if not empty, is a directory of what another family adds to this model (AutoDeco). Errors name
/// file, key or tensor.
absl::StatusOr<ImportedModel> importHuggingFace(mlir::MLIRContext &context, const std::string &directory,
                                                bool weights = true, const std::string &heads = "");

} // namespace llmc
