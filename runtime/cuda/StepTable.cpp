// See StepTable.h.
#include "runtime/cuda/StepTable.h"
#include <algorithm>
#include <cstring>

namespace llmc::runtime {
using namespace llmc::cuda;

static constexpr size_t kTest = SIZE_MAX;

absl::StatusOr<std::unique_ptr<StepTable>> StepTable::make(const Gpu &gpu, const CudaCode &code, const DeviceSteps &steps, size_t first,
                                                           size_t count, uint32_t scratchBlocks) {
  std::unique_ptr<StepTable> table(new StepTable(gpu));
  if (absl::Status s = table->chooseBlocks(code, steps, first, count, scratchBlocks); !s.ok())
    return s;
  table->addRecords(code, steps, first, count);
  table->addRanges(code, steps);
  if (absl::Status s = table->upload(); !s.ok())
    return s;
  return table;
}

StepTable::~StepTable() {
  if (memory_)
    gpu_.api().cuMemFree(memory_);
}

/// As many as run at once, for they wait for each other; and no more than the largest step has work for.
absl::Status StepTable::chooseBlocks(const CudaCode &code, const DeviceSteps &steps, size_t first, size_t count,
                                     uint32_t scratchBlocks) {
  const KernelLaunch &merged = *code.merged();
  int perProcessor = 0;
  if (Result r = gpu_.api().cuOccupancyMaxActiveBlocksPerMultiprocessor(&perProcessor, code.mergedFunction(),
                                                                        static_cast<int>(merged.threads), merged.sharedBytes))
    return gpu_.failed("the occupancy of kernel '" + merged.symbol + "' cannot be asked for", r);
  int64_t most = int64_t(perProcessor) * gpu_.processors(), useful = 1;
  if (most == 0)
    return gpu_.unsupported("kernel '" + merged.symbol + "' does not fit into a multiprocessor of " + gpu_.name() +
                            "; compile the model again without --persistent");
  if (merged.scratchBytes)
    most = std::min<int64_t>(most, scratchBlocks);
  for (size_t i = first; i < first + count; ++i)
    useful = std::max(useful, evaluateGrid(code.launch(steps.dispatches[i].kernel).grid, steps.most).value_or(most));
  blocks_ = static_cast<unsigned>(std::min(most, useful));
  return absl::OkStatus();
}

void StepTable::addRecords(const CudaCode &code, const DeviceSteps &steps, size_t first, size_t count) {
  auto add = [&](StepRecord record, size_t dispatch) {
    record.next = record.otherwise = static_cast<int64_t>(records_.size()) + 1;
    records_.push_back(record);
    dispatchOf_.push_back(dispatch);
  };
  const DeviceLoop *loop = nullptr;
  size_t test = 0;
  for (size_t i = first; i <= first + count; ++i) {
    if (loop && i == loop->first + loop->count) { // back to the test, which knows now where the loop ends
      records_.back().next = records_.back().otherwise = static_cast<int64_t>(test);
      records_[test].otherwise = static_cast<int64_t>(records_.size());
      loop = nullptr;
    }
    if (i == first + count)
      break;
    for (const DeviceLoop &l : steps.loops)
      if (l.first == i && l.count) {
        loop = &l;
        test = records_.size();
        StepRecord record;
        record.kernel = INT64_MAX;
        record.arguments = reinterpret_cast<uint64_t>(l.condition);
        record.atMost = l.atMost;
        add(record, kTest);
      }
    const DeviceDispatch &dispatch = steps.dispatches[i];
    StepRecord record;
    record.kernel = code.launch(dispatch.kernel).merged;
    record.span = dispatch.span;
    record.arguments = words_.size() * sizeof(uint64_t);
    for (void *buffer : dispatch.buffers)
      words_.push_back(reinterpret_cast<uint64_t>(buffer));
    add(record, i);
  }
}

/// Half of the cache at most: the other half is in use.
void StepTable::addRanges(const CudaCode &code, const DeviceSteps &steps) {
  constexpr uint64_t kGranule = 16; // of bulk prefetches
  for (StepRecord &record : records_) {
    record.ranges = words_.size() * sizeof(uint64_t);
    uint64_t left = gpu_.cacheBytes() / 2;
    size_t next = static_cast<size_t>(record.next);
    if (next < records_.size() && dispatchOf_[next] == kTest)
      next = static_cast<size_t>(records_[next].next); // a loop that goes on
    if (next >= records_.size() || dispatchOf_[next] == kTest)
      continue;
    const DeviceDispatch &dispatch = steps.dispatches[dispatchOf_[next]];
    const std::vector<Parameter> &parameters = gpu_.artifact().plan().kernels[dispatch.kernel].parameters;
    for (uint32_t w : code.launch(dispatch.kernel).whole) {
      uint64_t bytes = std::min(shapeBytes(parameters[w].shape, parameters[w].type, steps.most).value_or(0), left) / kGranule * kGranule;
      if (bytes == 0)
        continue;
      left -= bytes;
      words_.push_back(reinterpret_cast<uint64_t>(dispatch.buffers[w]));
      words_.push_back(bytes);
      ++record.rangeCount;
    }
  }
}

absl::Status StepTable::upload() {
  const uint64_t recordBytes = records_.size() * sizeof(StepRecord);
  std::vector<uint8_t> bytes(kCounterBytes + recordBytes + words_.size() * sizeof(uint64_t));
  if (Result r = gpu_.api().cuMemAlloc(&memory_, bytes.size())) {
    memory_ = 0;
    return gpu_.failed("no memory for the steps of the merged kernel", r);
  }
  const uint64_t behind = memory_ + kCounterBytes + recordBytes;
  for (size_t i = 0; i < records_.size(); ++i) {
    if (dispatchOf_[i] != kTest)
      records_[i].arguments += behind;
    records_[i].ranges += behind;
  }
  memcpy(bytes.data() + kCounterBytes, records_.data(), recordBytes);
  if (!words_.empty())
    memcpy(bytes.data() + kCounterBytes + recordBytes, words_.data(), words_.size() * sizeof(uint64_t));
  if (Result r = gpu_.api().cuMemcpyHtoD(memory_, bytes.data(), bytes.size()))
    return gpu_.failed("the steps of the merged kernel cannot be copied", r);
  return absl::OkStatus();
}

} // namespace llmc::runtime
