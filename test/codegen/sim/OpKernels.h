// Kernels as the compiler makes them for GPUs from `llm` ops, run in the simulator.
#pragma once
#include "runtime/Plan.h"
#include "test/codegen/sim/Simulation.h"

namespace llmc::test {

/// The kernels of the one dispatch in `text`, compiled for the simulator. Failures are the test's.
class OpKernels {
public:
  OpKernels(const std::string &text, const char *arch);
  void run(const std::string &kernel, runtime::Dims sizes, std::vector<Argument> arguments);

private:
  CudaCode code;
};

float wide(uint16_t bf16);

} // namespace llmc::test
