// Rotary position embedding: its parameters in config.json and the frequencies that follow from them.
#pragma once

#include "models/Config.h"

#include <cstdint>
#include <vector>

namespace llmc {

/// The rotation of channel pair d (of headDim/2) at position p is p * inverseFrequencies(headDim)[d]; cosine
/// and sine are then multiplied by `attentionFactor`.
struct RopeScaling {
  enum class Kind { Default, Linear, Llama3, Yarn };

  Kind kind = Kind::Default;
  double theta = 10000.0;
  double factor = 1.0;           ///< All kinds but Default.
  int64_t originalPositions = 0; ///< Llama3, Yarn: context length of pre-training, in tokens.
  double lowFreqFactor = 1.0;    ///< Llama3.
  double highFreqFactor = 4.0;   ///< Llama3.
  double betaFast = 32.0;        ///< Yarn, rotations over the original context.
  double betaSlow = 1.0;         ///< Yarn.
  bool truncate = true;          ///< Yarn: round the ends of the ramp to whole channels.
  double attentionFactor = 1.0;  ///< 1 except for Yarn.

  /// ceil(headDim / 2) values in float32, computed in the order of operations that Hugging Face uses on
  /// float32 tensors, so that positions near a million rotate by the same angle.
  std::vector<float> inverseFrequencies(int64_t headDim) const;
};

/// Reads `rope_theta` with `rope_scaling`, or the newer `rope_parameters`; all absent: the default kind,
/// theta 10000. Errors (recorded in `config`): a kind other than default, linear, llama3 and yarn; both
/// spellings at once; values out of range; an odd `headDim`; rotation of a part of the channels, unless `part` takes
/// that part (of 1).
RopeScaling readRopeScaling(const ConfigReader &config, int64_t headDim, double *part = nullptr);

} // namespace llmc
