// The kernels of an artifact that a GPU runs, loaded.
#pragma once
#include "runtime/cuda/Gpu.h"

namespace llmc::runtime {

/// Fills `bytes` with the tensor map of the array at `address` at these sizes.
cuda::Result encodeTensorMap(const CudaDriver &driver, const TensorMap &map, ElementType type, void *address, const Dims &dims,
                             cuda::TensorMapBytes &bytes);

class CudaCode {
public:
  /// The newest code object that this GPU and driver run; an error says which there are.
  static absl::StatusOr<std::unique_ptr<CudaCode>> load(const Gpu &gpu);
  ~CudaCode();
  CudaCode(const CudaCode &) = delete;

  const std::string &level() const { return object_->level; }
  const KernelLaunch &launch(uint32_t kernel) const { return object_->launches[kernel]; }
  void *function(uint32_t kernel) const { return functions_[kernel]; }
  /// The merged kernel, null if there is none that this GPU can launch.
  const KernelLaunch *merged() const { return mergedFunction_ ? &*object_->merged : nullptr; }
  void *mergedFunction() const { return mergedFunction_; }

  /// The kernel that tests a loop in a graph (kLoopTestTarget), null if there is none or the driver's graphs have no loops.
  const KernelLaunch *loopTest() const { return loopTestFunction_ ? loopTest_ : nullptr; }
  void *loopTestFunction() const { return loopTestFunction_; }

private:
  explicit CudaCode(const Gpu &gpu) : gpu_(gpu) {}
  absl::Status choose();
  absl::Status loadModule();
  absl::Status findFunctions();
  absl::Status loadLoopTest();
  absl::StatusOr<void *> findFunction(void *module, const KernelLaunch &launch) const;

  const Gpu &gpu_;
  const CodeObject *object_ = nullptr;
  void *module_ = nullptr;
  std::vector<void *> functions_; ///< by kernel
  void *mergedFunction_ = nullptr;
  const KernelLaunch *loopTest_ = nullptr;
  void *loopTestModule_ = nullptr, *loopTestFunction_ = nullptr;
};

} // namespace llmc::runtime
