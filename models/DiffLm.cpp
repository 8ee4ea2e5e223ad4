// The diffusion models of MegaDLMs ("Diffusion Language Models are Super Data Learners"): a Qwen3 that sees the whole canvas.
#include "models/Canvas.h"
#include "models/Decoder.h"

namespace llmc {

static absl::StatusOr<BuiltModel> build(mlir::MLIRContext &context, const ConfigReader &file,
                                        const WeightType &weightType) {
  Decoder c = readDecoder(file, {/*context=*/2048, /*headWidth=*/{}});
  c.headNorms = true;
  if (file.getStringOr("attn_mask_type", "bidirectional") != "bidirectional")
    file.fail("attn_mask_type", "only bidirectional is supported for this family");
  c.queryKeyValueBias = c.outputBias = file.getBoolOr("attention_bias", false);
  file.ignore("sliding_window"); // in the files, and of no effect
  file.ignore("use_sliding_window");
  file.ignore("max_window_layers");
  file.ignore("layer_types");
  c.canvas = fillBlockByBlock(file.getInt("mask_token_id", {0, c.vocab - 1}), c.context);
  if (absl::Status status = file.finish(); !status.ok())
    return status;
  absl::StatusOr<BuiltModel> model = buildDecoder(context, c, weightType, "difflm");
  if (model.ok())
    for (int64_t i = 0; i < c.layers; ++i) // written by the converter
      model->ignorable.push_back("model.layers." + std::to_string(i) + ".self_attn.rotary_emb.inv_freq");
  return model;
}

extern const Family kDiffLm;
const Family kDiffLm = {"difflm", "DiffLM", build};

} // namespace llmc
