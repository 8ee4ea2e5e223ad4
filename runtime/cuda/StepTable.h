// Dispatches that one launch of the merged kernel does (Plan.h, CodeObject::merged): the table that it walks over, in device memory.
//
//   [ counter | record, record, ... | addresses of buffers | ranges to prefetch ]
#pragma once
#include "runtime/Device.h"
#include "runtime/cuda/CudaCode.h"

namespace llmc::runtime {

class StepTable {
public:
  /// Dispatches first .. first + count, all of them in the merged kernel, and the loops among them.
  static absl::StatusOr<std::unique_ptr<StepTable>> make(const Gpu &gpu, const CudaCode &code, const DeviceSteps &steps, size_t first,
                                                         size_t count, uint32_t scratchBlocks);
  ~StepTable();
  StepTable(const StepTable &) = delete;

  void *records() const { return reinterpret_cast<void *>(memory_ + kCounterBytes); }
  void *counter() const { return reinterpret_cast<void *>(memory_); }
  int64_t steps() const { return static_cast<int64_t>(records_.size()); }
  unsigned blocks() const { return blocks_; } ///< the same in every launch, as the counter demands

private:
  static constexpr uint64_t kCounterBytes = 128;

  explicit StepTable(const Gpu &gpu) : gpu_(gpu) {}
  absl::Status chooseBlocks(const CudaCode &code, const DeviceSteps &steps, size_t first, size_t count, uint32_t scratchBlocks);
  void addRecords(const CudaCode &code, const DeviceSteps &steps, size_t first, size_t count);
  void addRanges(const CudaCode &code, const DeviceSteps &steps);
  absl::Status upload();

  const Gpu &gpu_;
  std::vector<StepRecord> records_;
  std::vector<size_t> dispatchOf_; ///< by record; of a test kTest
  std::vector<uint64_t> words_;    ///< behind the records; addresses in the records count from there until upload
  cuda::DevicePointer memory_ = 0;
  unsigned blocks_ = 1;
};

} // namespace llmc::runtime
