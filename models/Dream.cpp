// Dream: a Qwen2 that sees the whole canvas and predicts the next position.
#include "models/Canvas.h"
#include "models/Decoder.h"

namespace llmc {

static absl::StatusOr<BuiltModel> build(mlir::MLIRContext &context, const ConfigReader &file,
                                        const WeightType &weightType) {
  Decoder c = readDecoder(file, {/*context=*/131072, /*headWidth=*/{}});
  c.queryKeyValueBias = true;
  if (file.getBoolOr("use_sliding_window", false))
    file.fail("use_sliding_window", "a window is not defined for this family");
  file.ignore("sliding_window");
  file.ignore("max_window_layers");
  c.canvas = fillByTime(file.getInt("mask_token_id", {0, c.vocab - 1}), c.context);
  if (absl::Status status = file.finish({"use_mrope"}); !status.ok())
    return status;
  return buildDecoder(context, c, weightType, "dream");
}

extern const Family kDream;
const Family kDream = {"Dream", "DreamModel", build};

} // namespace llmc
