// Qwen3: norms over the heads of q and k before the rotation, an explicit head width.
#include "models/Decoder.h"

namespace llmc {

static absl::StatusOr<BuiltModel> build(mlir::MLIRContext &context, const ConfigReader &file,
                                        const WeightType &weightType) {
  Decoder c = readDecoder(file, {/*context=*/32768, /*headWidth=*/128});
  c.headNorms = true;
  c.queryKeyValueBias = c.outputBias = file.getBoolOr("attention_bias", false);
  c.windows = readWindows(file, c.layers);
  if (absl::Status status = file.finish(); !status.ok())
    return status;
  return buildDecoder(context, c, weightType, "qwen3");
}

extern const Family kQwen3;
const Family kQwen3 = {"qwen3", nullptr, build};

} // namespace llmc
