// Rotary embedding parameters. Formulas: "YaRN: Efficient Context Window Extension of Large Language Models"
// (Peng et al., 2023) sections 3.2 to 3.4, and the Llama 3.1 model card's frequency interpolation.
#include "models/Rope.h"

#include "models/Json.h"

#include "absl/strings/str_cat.h"

#include <algorithm>
#include <cmath>

namespace llmc {
namespace {

constexpr double kPi = 3.14159265358979323846;
// Bounds that no sensible model leaves; they keep every value below finite and non-zero.
constexpr FloatRange kThetaRange = {1.001, 1e15};
constexpr FloatRange kFactorRange = {1.0, 1e6};
constexpr FloatRange kPositiveRange = {1e-6, 1e6};

/// theta^(2d/n) in float32. The power is rounded once from double: at most an ulp from any float32 pow.
std::vector<float> wavelengthFactors(double theta, int64_t headDim) {
  std::vector<float> result;
  for (int64_t channel = 0; channel < headDim; channel += 2) {
    float exponent = static_cast<float>(channel) / static_cast<float>(headDim);
    result.push_back(static_cast<float>(std::pow(static_cast<double>(static_cast<float>(theta)), exponent)));
  }
  return result;
}

/// Long waves are slowed by the factor, short ones kept, those between interpolated by wavelength.
float llama3Frequency(float frequency, const RopeScaling &rope) {
#pragma STDC FP_CONTRACT OFF
  float factor = static_cast<float>(rope.factor);
  float low = static_cast<float>(rope.lowFreqFactor);
  float wavelength = (1.0f / frequency) * static_cast<float>(2 * kPi);
  float positions = static_cast<float>(rope.originalPositions);
  if (wavelength < static_cast<float>(rope.originalPositions / rope.highFreqFactor))
    return frequency;
  if (wavelength > static_cast<float>(rope.originalPositions / rope.lowFreqFactor))
    return frequency / factor;
  float smooth =
      ((1.0f / wavelength) * positions - low) / static_cast<float>(rope.highFreqFactor - rope.lowFreqFactor);
  return (1.0f - smooth) * frequency / factor + smooth * frequency;
}

/// The channel pair that makes `rotations` turns over the original context.
double yarnChannel(double rotations, const RopeScaling &rope, int64_t headDim) {
  return headDim * std::log(rope.originalPositions / (rotations * 2 * kPi)) / (2 * std::log(rope.theta));
}

std::vector<float> yarnFrequencies(const RopeScaling &rope, int64_t headDim) {
#pragma STDC FP_CONTRACT OFF
  double low = yarnChannel(rope.betaFast, rope, headDim), high = yarnChannel(rope.betaSlow, rope, headDim);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(headDim - 1));
  if (low == high)
    high += 0.001; // a ramp of no width would divide by zero
  std::vector<float> result = wavelengthFactors(rope.theta, headDim);
  for (size_t d = 0; d < result.size(); ++d) {
    float kept = 1.0f / result[d];
    float slowed = 1.0f / (static_cast<float>(rope.factor) * result[d]);
    float ramp = (static_cast<float>(d) - static_cast<float>(low)) / static_cast<float>(high - low);
    float keep = 1.0f - std::clamp(ramp, 0.0f, 1.0f);
    result[d] = slowed * (1.0f - keep) + kept * keep;
  }
  return result;
}

/// Magnitude correction of YaRN, 0.1 m ln(s) + 1.
double yarnMagnitude(double factor, double mscale) {
  return factor <= 1.0 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

void readYarn(const ConfigReader &parameters, const ConfigReader &config, RopeScaling &rope) {
  int64_t maxPositions = config.getIntOr("max_position_embeddings", 0, kContextRange);
  rope.originalPositions = parameters.has("original_max_position_embeddings") || maxPositions == 0
                               ? parameters.getInt("original_max_position_embeddings", kContextRange)
                               : maxPositions;
  if (!parameters.has("factor") && maxPositions > 0)
    rope.factor = static_cast<double>(maxPositions) / std::max<int64_t>(rope.originalPositions, 1);
  else
    rope.factor = parameters.getFloat("factor", kFactorRange);
  rope.betaFast = parameters.getFloatOr("beta_fast", 32.0, kPositiveRange);
  rope.betaSlow = parameters.getFloatOr("beta_slow", 1.0, kPositiveRange);
  if (rope.betaFast < rope.betaSlow)
    parameters.fail("beta_fast", absl::StrCat("expects at least beta_slow, which is ", rope.betaSlow));
  rope.truncate = parameters.getBoolOr("truncate", true);
  // A zero mscale means "not given", as in the files of DeepSeek's descendants.
  double mscale = parameters.getFloatOr("mscale", 0.0, {0.0, 1e3});
  double mscaleAllDim = parameters.getFloatOr("mscale_all_dim", 0.0, {0.0, 1e3});
  rope.attentionFactor = mscale != 0 && mscaleAllDim != 0
                             ? yarnMagnitude(rope.factor, mscale) / yarnMagnitude(rope.factor, mscaleAllDim)
                             : yarnMagnitude(rope.factor, 1.0);
  rope.attentionFactor = parameters.getFloatOr("attention_factor", rope.attentionFactor, {0.0, 1e3});
}

void readLlama3(const ConfigReader &parameters, const ConfigReader &config, RopeScaling &rope) {
  rope.factor = parameters.getFloat("factor", kFactorRange);
  rope.lowFreqFactor = parameters.getFloat("low_freq_factor", kPositiveRange);
  rope.highFreqFactor = parameters.getFloat("high_freq_factor", kPositiveRange);
  if (parameters.status().ok() && rope.highFreqFactor <= rope.lowFreqFactor)
    parameters.fail("high_freq_factor",
                    absl::StrCat("expects more than low_freq_factor, which is ", rope.lowFreqFactor));
  rope.originalPositions = parameters.has("original_max_position_embeddings")
                               ? parameters.getInt("original_max_position_embeddings", kContextRange)
                               : config.getInt("max_position_embeddings", kContextRange);
}

/// The kind by its newer key `rope_type` or its older `type`; some writers left both.
std::string readKind(const ConfigReader &parameters) {
  std::string older = parameters.getStringOr("type", "default");
  std::string kind = parameters.getStringOr("rope_type", older);
  if (parameters.has("type") && kind != older)
    parameters.fail("type", absl::StrCat("rope_type says ", inQuotes(kind), "; keep one of the two"));
  return kind;
}

} // namespace

std::vector<float> RopeScaling::inverseFrequencies(int64_t headDim) const {
  if (kind == Kind::Yarn)
    return yarnFrequencies(*this, headDim);
  std::vector<float> result = wavelengthFactors(theta, headDim);
  for (float &value : result) {
    value = 1.0f / value;
    if (kind == Kind::Linear)
      value /= static_cast<float>(factor);
    else if (kind == Kind::Llama3)
      value = llama3Frequency(value, *this);
  }
  return result;
}

RopeScaling readRopeScaling(const ConfigReader &config, int64_t headDim, double *part) {
  RopeScaling rope;
  auto readPart = [&](const ConfigReader &from) {
    if (!from.has("partial_rotary_factor"))
      return;
    double factor = from.getFloat("partial_rotary_factor", {0, 1});
    if (part)
      *part = factor;
    else if (factor != 1.0)
      from.fail("partial_rotary_factor", "rotation of a part of the channels is not supported");
  };
  if (headDim % 2 != 0)
    config.fail("head_dim", absl::StrCat("rotary embedding expects an even head size, found ", headDim));
  readPart(config);
  if (config.has("rope_scaling") && config.has("rope_parameters"))
    config.fail("rope_scaling", "rope_parameters is there too; keep one of the two");
  rope.theta = config.getFloatOr("rope_theta", rope.theta, kThetaRange);
  std::optional<ConfigReader> parameters =
      config.getOptionalObject(config.presentKey({"rope_parameters", "rope_scaling"}));
  if (!parameters)
    return rope;

  if (parameters->has("rope_theta")) {
    double theta = parameters->getFloat("rope_theta", kThetaRange);
    if (config.has("rope_theta") && theta != rope.theta)
      parameters->fail("rope_theta", absl::StrCat("the key of that name outside says ", rope.theta));
    rope.theta = theta;
  }
  readPart(*parameters);

  std::string kind = readKind(*parameters);
  if (kind == "default") {
    rope.kind = RopeScaling::Kind::Default;
  } else if (kind == "linear") {
    rope.kind = RopeScaling::Kind::Linear;
    rope.factor = parameters->getFloat("factor", kFactorRange);
  } else if (kind == "llama3") {
    rope.kind = RopeScaling::Kind::Llama3;
    readLlama3(*parameters, config, rope);
  } else if (kind == "yarn") {
    rope.kind = RopeScaling::Kind::Yarn;
    readYarn(*parameters, config, rope);
  } else {
    parameters->fail(parameters->presentKey({"rope_type", "type"}),
                     "this kind of rotary scaling is not supported; default, linear, llama3 and yarn are");
    for (const char *key : {"factor", "original_max_position_embeddings", "long_factor", "short_factor"})
      parameters->ignore(key); // one error is enough
  }
  return rope;
}

} // namespace llmc
