// SDAR: a Qwen3, dense or of experts, that sees its own block of positions and those before it, and fills block after block.
#include "models/Canvas.h"
#include "models/Decoder.h"

namespace llmc {

/// Blocks as long as the checkpoint was trained with; the published files do not all say so.
static void fillBlocks(Decoder &c, const ConfigReader &file) {
  int64_t block = file.getIntOr("block_size", 4, {1, 64});
  if (64 % block)
    file.fail("block_size", "must divide 64");
  c.canvas = fillKeptBlocks(file.getIntOr("mask_token_id", 151669, {0, c.vocab - 1}), block, /*threshold=*/0.85);
}

static Decoder readSdar(const ConfigReader &file) {
  Decoder c = readDecoder(file, {/*context=*/32768, /*headWidth=*/128});
  c.headNorms = true;
  c.queryKeyValueBias = c.outputBias = file.getBoolOr("attention_bias", false);
  if (file.getBoolOr("use_sliding_window", false))
    file.fail("use_sliding_window", "a window is not defined for this family");
  file.ignore("sliding_window");
  file.ignore("max_window_layers");
  fillBlocks(c, file);
  return c;
}

static absl::StatusOr<BuiltModel> buildDense(mlir::MLIRContext &context, const ConfigReader &file,
                                             const WeightType &weightType) {
  Decoder c = readSdar(file);
  if (absl::Status status = file.finish({"fuse_cross_entropy"}); !status.ok())
    return status;
  return buildDecoder(context, c, weightType, "sdar");
}

static absl::StatusOr<BuiltModel> buildExperts(mlir::MLIRContext &context, const ConfigReader &file,
                                               const WeightType &weightType) {
  Decoder c = readSdar(file);
  c.experts = readQwen3Experts(file, c.layers);
  if (absl::Status status = file.finish({"fuse_cross_entropy"}); !status.ok())
    return status;
  return buildDecoder(context, c, weightType, "sdar_moe");
}

extern const Family kSdar, kSdarMoe;
const Family kSdar = {"sdar", nullptr, buildDense};
const Family kSdarMoe = {"sdar_moe", nullptr, buildExperts};

} // namespace llmc
