// Qwen2 and Qwen2.5: biases on q, k and v and nowhere else; the last layers may attend to a window.
#include "models/Decoder.h"

namespace llmc {

static absl::StatusOr<BuiltModel> build(mlir::MLIRContext &context, const ConfigReader &file,
                                        const WeightType &weightType) {
  Decoder c = readDecoder(file, {/*context=*/32768, /*headWidth=*/{}});
  c.queryKeyValueBias = true;
  c.windows = readWindows(file, c.layers);
  if (file.getBoolOr("use_mrope", false)) // false in some published files
    file.fail("use_mrope", "positions in several dimensions are not supported");
  if (absl::Status status = file.finish(); !status.ok())
    return status;
  return buildDecoder(context, c, weightType, "qwen2");
}

extern const Family kQwen2;
const Family kQwen2 = {"qwen2", nullptr, build};

} // namespace llmc
