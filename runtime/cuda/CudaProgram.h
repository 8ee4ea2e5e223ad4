// A program on a CUDA device: its launches with parameters made in advance, and recordings of it. Where the code has a merged kernel,
// dispatches that are in it and follow each other are one launch (StepTable.h).
#pragma once
#include "runtime/cuda/CudaCode.h"
#include "runtime/cuda/CudaMemory.h"
#include "runtime/cuda/StepTable.h"
#include <array>

namespace llmc::runtime {

/// Global scratch that all launches share; the stream keeps them in order.
struct Scratch {
  void *memory = nullptr;
  uint32_t blocks = 1; ///< there is room for
};

/// A recording is a CUDA graph of the whole program, copies included, at certain sizes. There is one for each of the
/// sizes given to `record`; a call with other sizes takes the next larger recording and has it changed first:
///
///   recordings   1 | 2 | 4 | 8        sequences
///   a call of 3 sequences -> the third, changed to 3; more calls of 3 replay it as it is
///
/// A program with loops has a recording for calls of any size. There a loop is a node that does its body again until a kernel,
/// which the code brings (kLoopTestTarget), has found that it ends; the host learns of it when all is done:
///
///   inputs -> dispatches -> test -> [ while: dispatches -> test ] -> dispatches -> outputs
///
/// A driver that does not make such graphs has the host test each trip.
class CudaProgram : public DeviceProgram {
public:
  CudaProgram(const Gpu &gpu, const CudaCode &code, const CudaMemory &memory, const Scratch &scratch,
              const DeviceSteps &steps, const std::vector<DeviceOutput> &outputs);
  ~CudaProgram() override;

  /// Makes what is launched at once, if most of the program is in the merged kernel.
  absl::Status merge();
  /// Records the program at these sizes, smallest first.
  absl::Status record(const std::vector<Dims> &sizes);
  /// Does everything: from inputs on the host to outputs on the host.
  absl::Status run(const Dims &dims, const int64_t *rows, Profile *profile);

private:
  struct Call {
    const KernelLaunch *launch;
    void *function;
    size_t parameters; ///< first of its pointers
    int64_t workgroups;
    size_t maps;   ///< first of its tensor maps
    size_t merged; ///< the launch that it is in, of those in merged_; kNone: one of its own
  };
  /// A tensor map, and what it describes.
  struct Map {
    cuda::TensorMapBytes bytes;
    const TensorMap *plan;
    ElementType type;
    void *address;
  };
  static constexpr size_t kNone = SIZE_MAX;
  struct Recording {
    Dims most, now;
    std::array<int64_t, kMaxSpans> rows = {}; ///< now
    cuda::GraphExec exec = nullptr; ///< null: not made yet
    cuda::Graph graph = nullptr;    ///< kept as long where it has loops
  };
  using Nodes = std::vector<cuda::GraphNode>;

  bool isLooping() const { return !steps_.loops.empty() && merged_.empty(); }
  absl::Status give(const Dims &dims);
  absl::Status giveInTurn(const Dims &dims, Profile *profile);
  absl::StatusOr<bool> goesOn(const DeviceLoop &loop, int64_t sequences);
  absl::Status copyInputs();
  absl::Status copyOutputs(const Dims &dims);
  absl::Status launch(Call &call, const Dims &dims, bool &isAfterKernel);
  absl::Status launchMerged(const StepTable &table);
  absl::Status launchAll(size_t from, size_t to, const Dims &dims, bool mayOverlap = true);
  absl::Status launchTest(const DeviceLoop &loop, unsigned long long handle, bool isFirst);
  absl::Status describe(const Call &call, const Dims &dims);
  absl::Status capture(const Dims &dims, cuda::Graph &graph);
  absl::Status captureLoops(const Dims &dims, cuda::Graph graph);
  template <typename Work> absl::Status captureInto(cuda::Graph graph, Nodes &last, const Work &work);
  absl::Status instantiate(Recording &recording);
  void drop(Recording &recording);
  absl::Status change(Recording &recording, const Dims &dims);
  Recording *find(const Dims &dims);

  const Gpu &gpu_;
  const CudaCode &code_;
  const CudaMemory &memory_;
  Scratch scratch_;
  DeviceSteps steps_;
  Dims dims_ = {}; ///< parameters point to these
  std::array<int64_t, kMaxSpans> rows_ = {};
  std::vector<Call> calls_;
  std::vector<void *> values_;     ///< device addresses that parameters point to
  std::vector<Map> maps_;
  std::vector<void *> parameters_; ///< of all calls, as cuLaunchKernel takes them
  std::vector<DeviceOutput> outputs_;
  std::vector<Recording> recordings_;
  cuda::DevicePointer trips_ = 0; ///< i64 by loop, of graphs
  std::vector<std::unique_ptr<StepTable>> merged_;
};

} // namespace llmc::runtime
