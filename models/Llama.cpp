// Llama: a plain decoder; biases where the configuration asks for them.
#include "models/Decoder.h"

namespace llmc {

static absl::StatusOr<BuiltModel> build(mlir::MLIRContext &context, const ConfigReader &file,
                                        const WeightType &weightType) {
  Decoder c = readDecoder(file, {/*context=*/2048, /*headWidth=*/{}});
  c.queryKeyValueBias = c.outputBias = file.getBoolOr("attention_bias", false);
  c.feedForwardBias = file.getBoolOr("mlp_bias", false);
  if (absl::Status status = file.finish(); !status.ok())
    return status;
  absl::StatusOr<BuiltModel> model = buildDecoder(context, c, weightType, "llama");
  if (model.ok())
    for (int64_t i = 0; i < c.layers; ++i) // written by old converters
      model->ignorable.push_back("model.layers." + std::to_string(i) + ".self_attn.rotary_emb.inv_freq");
  return model;
}

extern const Family kLlama;
const Family kLlama = {"llama", nullptr, build};

} // namespace llmc
