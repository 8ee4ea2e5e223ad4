// The kernels that the compiler makes of a dispatch of `llm` ops for GPUs, in the simulator.
#pragma once
#include "runtime/Plan.h"
#include "test/codegen/sim/Simulation.h"
#include <cmath>

namespace llmc::test {

/// Tolerance of a kernel alone (the design's): bf16 operands and results, float32 sums.
constexpr double kTolerance = 5e-3;

inline float wide(uint16_t v) {
  uint32_t bits = uint32_t(v) << 16;
  float result;
  memcpy(&result, &bits, 4);
  return result;
}

/// Pseudo-random bf16 in [-1, 1).
inline std::vector<uint16_t> values(size_t count, uint32_t seed) {
  std::vector<uint16_t> result(count);
  uint32_t state = seed * 2654435761u + 12345;
  for (uint16_t &v : result) {
    state = state * 1664525u + 1013904223u;
    v = bf16Of(float(int32_t(state)) / 2147483648.0f);
  }
  return result;
}

/// The kernels of the one dispatch in `text`, compiled for the simulator.
class OpKernels {
public:
  /// `maxTokens`: most rows in one call. With a mistake that `mutate` makes in the one kernel, in the NVVM dialect.
  OpKernels(const std::string &text, const char *arch, int64_t maxTokens = 512, const std::function<void(mlir::ModuleOp)> &mutate = {});
  void run(const std::string &kernel, runtime::Dims sizes, std::vector<Argument> arguments) {
    EXPECT_EQ(reportOf(kernel, sizes, std::move(arguments)), "") << kernel;
  }
  /// What the simulator finds; `change` changes a copy of what the launch is told.
  std::string reportOf(const std::string &kernel, runtime::Dims sizes, std::vector<Argument> arguments,
                       const std::function<void(runtime::KernelLaunch &)> &change = {});
  const runtime::KernelLaunch &launch(const std::string &kernel) { return code.launches[kernel]; }

private:
  CudaCode code;
};

inline float wide(float v) { return v; }

/// |made - expected| / |expected| over all elements.
template <typename T> double relativeError(const std::vector<T> &made, const std::vector<double> &expected) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += std::pow(wide(made[i]) - expected[i], 2);
    norm += expected[i] * expected[i];
  }
  return std::sqrt(difference / norm);
}

} // namespace llmc::test
