// Fast-dLLM v2: a Qwen2.5 made to fill blocks, part after part, each block seen as a whole and kept when it is finished.
#include "models/Canvas.h"
#include "models/Decoder.h"

namespace llmc {

constexpr int64_t kMask = 151665; // of the published checkpoints; not in their configuration

static absl::StatusOr<BuiltModel> build(mlir::MLIRContext &context, const ConfigReader &file,
                                        const WeightType &weightType) {
  Decoder c = readDecoder(file, {/*context=*/32768, /*headWidth=*/{}});
  c.queryKeyValueBias = true;
  if (file.getBoolOr("use_sliding_window", false))
    file.fail("use_sliding_window", "a window is not defined for this family");
  readWindows(file, c.layers); // refuses layer_types that slide
  if (file.getBoolOr("use_mrope", false))
    file.fail("use_mrope", "positions in several dimensions are not supported");
  int64_t block = file.getIntOr("bd_size", 32, {1, 64});
  if (64 % block)
    file.fail("bd_size", "must divide 64");
  c.canvas = fillSubblocks(file.getIntOr("mask_token_id", std::min(kMask, c.vocab - 1), {0, c.vocab - 1}), block);
  if (absl::Status status = file.finish(); !status.ok())
    return status;
  return buildDecoder(context, c, weightType, "fast_dllm_v2");
}

extern const Family kFastDllm;
const Family kFastDllm = {"Fast_dLLM_Qwen", nullptr, build};

} // namespace llmc
