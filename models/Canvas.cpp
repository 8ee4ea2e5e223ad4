// See Canvas.h.
#include "models/Canvas.h"

namespace llmc {

static const std::vector<std::string> kConfidences = {"low-confidence", "random", "entropy", "margin"};

CanvasDecoding fillBlockByBlock(int64_t mask, int64_t context) {
  CanvasDecoding canvas;
  canvas.mask = mask;
  double most = context, usual = std::min<int64_t>(128, context);
  canvas.settings = {
      {"block", 0, usual, 1, most},
      {"steps", 1, usual, 1, most},
      {"remask", 2, 0, 0, 3, true, kConfidences},
      {"threshold", 3, 0, 0, 1, false},
      {"factor", 4, 0, 0, 1e6, false},
      {"cache", 5, 0, 0, 2, true, {"none", "prefix", "dual"}},
      {"guidance", 6, 0, 0, 100, false},
  };
  canvas.isGuided = true;
  return canvas;
}

CanvasDecoding fillByTime(int64_t mask, int64_t context) {
  CanvasDecoding canvas;
  canvas.mask = mask;
  canvas.rule = "timestep";
  canvas.isTempered = true;
  canvas.shift = 1;
  canvas.isSemiAutoregressive = false;
  double most = context;
  std::vector<std::string> words = kConfidences;
  words.push_back("origin");
  canvas.settings = {
      {"steps", 1, std::min(512.0, most), 1, most, true, {}, "steps"},
      {"remask", 2, 4, 0, 4, true, words},
      {"eps", 7, 0.001, 0, 1, false, {}, "eps"},
  };
  return canvas;
}

CanvasDecoding fillKeptBlocks(int64_t mask, int64_t block, double threshold) {
  CanvasDecoding canvas;
  canvas.mask = mask;
  canvas.rule = "dynamic";
  canvas.isTempered = true;
  canvas.block = block;
  double k = block;
  canvas.settings = {
      {"block", 0, k, k, k}, // the checkpoint's
      {"steps", 1, k, 1, k},
      {"remask", 2, 0, 0, 3, true, kConfidences},
      {"threshold", 3, threshold, 0, 1, false, {}, "threshold"},
  };
  return canvas;
}

CanvasDecoding fillAndEditBlocks(int64_t mask, int64_t block, double threshold) {
  CanvasDecoding canvas = fillKeptBlocks(mask, block, threshold);
  canvas.rule = "edit";
  canvas.settings.push_back({"editing", 7, 1, 0, 1, false, {}, "editing_threshold"});
  canvas.settings.push_back({"post-steps", 4, 16, 0, kMostPolishing, true, {}, "max_post_steps"});
  return canvas;
}

CanvasDecoding fillSubblocks(int64_t mask, int64_t block) {
  CanvasDecoding canvas;
  canvas.mask = mask;
  canvas.rule = "subblock";
  canvas.isTempered = true;
  canvas.shift = 1;
  canvas.block = block;
  canvas.isAnchored = true;
  canvas.narrowsSteps = true;
  double k = block;
  canvas.settings = {
      {"block", 0, k, k, k}, // the checkpoint's
      {"sub-block", 7, std::min(8.0, k), 1, k, true, {}, "small_block_size"},
      {"remask", 2, 0, 0, 3, true, kConfidences},
      {"threshold", 3, 0.9, 0, 1, false, {}, "threshold"},
      {"cache", 5, 0, 0, 1, true, {"none", "block"}},
  };
  return canvas;
}

} // namespace llmc
