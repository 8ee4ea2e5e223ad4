// Kernels written by hand in the NVVM dialect, compiled for the simulator and launched through its drop-in
// libcuda. Buffers go to the device and come back.
#pragma once
#include "codegen/cuda/CudaTarget.h"
#include "mlir/IR/OwningOpRef.h"
#include "runtime/cuda/Driver.h"
#include <functional>
#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace llmc::test {

const runtime::CudaDriver &simulatedDriver();

/// The module in `text`, which may use scf and arith beside the llvm and nvvm dialects, without those.
mlir::OwningOpRef<mlir::ModuleOp> parseKernels(const std::string &text, mlir::MLIRContext &context);

/// Code of the kernels in `text`, or nothing and a failure.
std::vector<char> compileKernels(const std::string &text);

/// A function of the simulator's library.
void *simulatorSymbol(const char *name);
template <typename F> F *simulatorFunction(const char *name) {
  return reinterpret_cast<F *>(simulatorSymbol(name));
}

/// A parameter of a kernel: a buffer of the device, or a scalar.
struct Argument {
  void *data;
  size_t bytes;
  bool isBuffer;
  /// Called before the launch with the device addresses of all arguments.
  std::function<void(const cuda::DevicePointer *)> prepare = nullptr;
};
template <typename T> Argument buffer(std::vector<T> &values) {
  return {values.data(), values.size() * sizeof(T), true, nullptr};
}
template <typename T> Argument scalar(T &value) { return {&value, sizeof(T), false, nullptr}; }

struct LaunchShape {
  unsigned blocks = 1, threads = 32, sharedBytes = 0;
  bool isCooperative = false;
};

/// Runs a kernel; the simulator's report, "" when there is none.
std::string launchKernel(const std::vector<char> &code, const std::string &kernel, const LaunchShape &shape,
                         const std::vector<Argument> &arguments);

/// Adds tensor maps, of bf16 arguments at these sizes, that a launch takes behind `arguments`. `maps` is their place.
void addTensorMaps(std::vector<Argument> &arguments, const runtime::KernelLaunch &launch, const runtime::Dims &sizes,
                   std::vector<cuda::TensorMapBytes> &maps);

/// The text of Inputs/<file>.mlir. A line that ends in `// not: NAME` is left out of variant NAME, one that
/// begins with `//NAME:` is only in it: mistakes are planted so. @X@ becomes the value of X,
/// which `// define X = ...` at the start of a line gives where `values` does not.
std::string readKernel(const std::string &file, const std::string &variant = "",
                       const std::vector<std::pair<std::string, std::string>> &values = {});

void expectFound(const std::string &report, const std::string &part);

// Numbers for tests: small multiples of 1/8, so that products and their sums are exact in float32.
float exactValue(size_t i);
uint16_t bf16Of(float value);
uint16_t f16Of(float value);

} // namespace llmc::test
