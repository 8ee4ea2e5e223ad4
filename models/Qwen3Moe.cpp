// Qwen3-MoE (Tongyi-DeepResearch is one): Qwen3's attention; all or some of the feed-forwards are experts
// behind a softmax router without bias, groups or scale.
#include "models/Decoder.h"

namespace llmc {

/// Experts in every `decoder_sparse_step`-th layer except those of `mlp_only_layers`.
Decoder::Experts readQwen3Experts(const ConfigReader &file, int64_t layers) {
  Decoder::Experts e;
  std::string count = file.presentKey({"num_experts", "num_local_experts"});
  e.count = file.getInt(count, {0, 65536});
  if (count == "num_experts" && file.getIntOr("num_local_experts", e.count, {0, 65536}) != e.count)
    file.fail("num_local_experts", "num_experts says " + std::to_string(e.count) + "; keep one of the two");
  checkExperts(file, count, layers, e.count);
  int64_t step = file.getIntOr("decoder_sparse_step", 1, {1, 4096});
  std::vector<int64_t> dense = file.getIntsOr("mlp_only_layers", {}, {0, 65536});
  for (int64_t i = 0; i < layers; ++i)
    e.layers.push_back(e.count && (i + 1) % step == 0 && !llvm::is_contained(dense, i));
  bool any = llvm::is_contained(e.layers, true);
  e.topK = file.getIntOr("num_experts_per_tok", 8, {1, 4096});
  if (any && e.topK > e.count)
    file.fail("num_experts_per_tok", "must be at most " + count + " (" + std::to_string(e.count) + ")");
  e.width = any ? file.getInt("moe_intermediate_size") : file.getIntOr("moe_intermediate_size", 1);
  e.renormalize = file.getBoolOr("norm_topk_prob", false); // published files say true
  return e;
}

static absl::StatusOr<BuiltModel> build(mlir::MLIRContext &context, const ConfigReader &file,
                                        const WeightType &weightType) {
  Decoder c = readDecoder(file, {/*context=*/32768, /*headWidth=*/{}});
  c.headNorms = true;
  c.queryKeyValueBias = c.outputBias = file.getBoolOr("attention_bias", false);
  c.experts = readQwen3Experts(file, c.layers);
  // Where a window is used, transformers 4 gives it to the layers from max_window_layers on and transformers
  // 5 to all: only what both agree on is accepted. The published files use none.
  c.windows = readWindows(file, c.layers);
  if (file.getBoolOr("use_sliding_window", false) && llvm::is_contained(c.windows, 0))
    file.fail(file.presentKey({"layer_types", "max_window_layers"}),
              "a window in some of the layers only is not defined for this family; max_window_layers 0 gives "
              "it to all");
  if (absl::Status status = file.finish(); !status.ok())
    return status;
  return buildDecoder(context, c, weightType, "qwen3_moe");
}

extern const Family kQwen3Moe;
const Family kQwen3Moe = {"qwen3_moe", nullptr, build};

} // namespace llmc
