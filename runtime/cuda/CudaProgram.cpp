// See CudaProgram.h.
#include "runtime/cuda/CudaProgram.h"
#include <algorithm>

namespace llmc::runtime {
using namespace llmc::cuda;

static constexpr uint32_t kMaxGrid = 0x7fffffff;

CudaProgram::CudaProgram(const Gpu &gpu, const CudaCode &code, const CudaMemory &memory,
                         const Scratch &scratch, const std::vector<DeviceDispatch> &dispatches,
                         const std::vector<DeviceOutput> &outputs)
    : gpu_(gpu), memory_(memory), scratch_(scratch), outputs_(outputs) {
  size_t values = 0, parameters = 0, maps = 0;
  for (const DeviceDispatch &dispatch : dispatches) {
    values += dispatch.buffers.size();
    const size_t ownMaps = code.launch(dispatch.kernel).tensorMaps.size();
    parameters += dispatch.buffers.size() + dims_.size() + 2 + ownMaps;
    maps += ownMaps;
  }
  // Parameters are pointers into these: they must not move.
  values_.reserve(values);
  parameters_.reserve(parameters);
  maps_.reserve(maps);
  calls_.reserve(dispatches.size());
  for (const DeviceDispatch &dispatch : dispatches) {
    const KernelLaunch &launch = code.launch(dispatch.kernel);
    calls_.push_back({&launch, code.function(dispatch.kernel), parameters_.size(), 0, maps_.size()});
    for (void *buffer : dispatch.buffers) {
      values_.push_back(buffer);
      parameters_.push_back(&values_.back());
    }
    for (int64_t &dim : dims_)
      parameters_.push_back(&dim);
    parameters_.push_back(&scratch_.memory);
    parameters_.push_back(&calls_.back().workgroups);
    for (const TensorMap &map : launch.tensorMaps) {
      const Parameter &parameter = gpu.artifact().plan().kernels[dispatch.kernel].parameters[map.parameter];
      maps_.push_back({{}, &map, parameter.type, dispatch.buffers[map.parameter]});
      parameters_.push_back(&maps_.back().bytes);
    }
  }
}

CudaProgram::~CudaProgram() {
  gpu_.settle();
  for (Recording &recording : recordings_)
    gpu_.api().cuGraphExecDestroy(recording.exec);
}

absl::Status CudaProgram::copyInputs() {
  for (const CudaMemory::Inputs &inputs : memory_.inputs())
    if (Result r = gpu_.api().cuMemcpyHtoDAsync(reinterpret_cast<DevicePointer>(inputs.memory.device),
                                                inputs.memory.host, inputs.bytes, gpu_.stream()))
      return gpu_.failed("inputs cannot be copied", r);
  return absl::OkStatus();
}

absl::Status CudaProgram::copyOutputs(const Dims &dims) {
  for (const DeviceOutput &output : outputs_) {
    uint64_t bytes = shapeBytes(output.buffer->shape, output.buffer->type, dims).value_or(0);
    if (bytes)
      if (Result r = gpu_.api().cuMemcpyDtoHAsync(
              output.memory.host, reinterpret_cast<DevicePointer>(output.memory.device), bytes, gpu_.stream()))
        return gpu_.failed("outputs cannot be copied", r);
  }
  return absl::OkStatus();
}

/// Makes the tensor maps of a launch at these sizes.
absl::Status CudaProgram::describe(const Call &call, const Dims &dims) {
  for (size_t i = call.maps; i < call.maps + call.launch->tensorMaps.size(); ++i)
    if (Result r = encodeTensorMap(gpu_.api(), *maps_[i].plan, maps_[i].type, maps_[i].address, dims, maps_[i].bytes))
      return gpu_.failed("kernel '" + call.launch->symbol + "' cannot have its tensor map " + std::to_string(i - call.maps), r);
  return absl::OkStatus();
}

/// `isAfterKernel`: what the stream does before this is a kernel, and no copy; true afterwards unless nothing was
/// launched.
absl::Status CudaProgram::launch(Call &call, const Dims &dims, bool &isAfterKernel) {
  const KernelLaunch &launch = *call.launch;
  auto workgroups = evaluateGrid(launch.grid, dims);
  if (!workgroups)
    return damagedArtifact(gpu_.artifact().path(), "kernel '" + launch.symbol + "' has a grid without a value");
  call.workgroups = *workgroups;
  if (*workgroups == 0)
    return absl::OkStatus();
  if (absl::Status s = describe(call, dims); !s.ok())
    return s;
  uint32_t most = launch.scratchBytes ? scratch_.blocks : kMaxGrid;
  auto blocks = static_cast<unsigned>(std::min<int64_t>(*workgroups, most));
  LaunchAttribute overlap = {};
  overlap.id = kProgrammaticStreamSerialization;
  overlap.number = 1;
  bool isEarly = launch.waits && isAfterKernel && gpu_.api().version >= kOverlapCudaVersion;
  LaunchConfig config = {blocks, 1, 1, launch.threads, 1, 1, launch.sharedBytes, gpu_.stream(), &overlap, isEarly};
  isAfterKernel = true;
  if (Result r = gpu_.api().cuLaunchKernelEx(&config, call.function, parameters_.data() + call.parameters, nullptr))
    return gpu_.failed("kernel '" + launch.symbol + "' cannot be launched", r);
  return absl::OkStatus();
}

/// Gives all work to the stream. With a profile each kernel is waited for.
absl::Status CudaProgram::give(const Dims &dims, Profile *profile) {
  dims_ = dims;
  if (absl::Status s = copyInputs(); !s.ok())
    return s;
  bool isAfterKernel = false;
  for (size_t i = 0; i < calls_.size(); ++i) {
    int64_t begin = profile ? profile->now() : 0;
    if (absl::Status s = launch(calls_[i], dims, isAfterKernel); !s.ok())
      return s;
    if (!profile)
      continue;
    if (Result r = gpu_.api().cuStreamSynchronize(gpu_.stream()))
      return gpu_.failed("kernel '" + calls_[i].launch->symbol + "' failed", r);
    profile->add({name, kernels[i], dims[0], begin, profile->now()});
  }
  return copyOutputs(dims);
}

absl::Status CudaProgram::capture(const Dims &dims, Graph &graph) {
  graph = nullptr;
  if (Result r = gpu_.api().cuStreamBeginCapture(gpu_.stream(), kCaptureModeThreadLocal))
    return gpu_.failed("a recording cannot begin", r);
  absl::Status given = give(dims, nullptr);
  // Also after a failure: the stream is of no use before its capture has ended.
  Result r = gpu_.api().cuStreamEndCapture(gpu_.stream(), &graph);
  if (!given.ok() || r) {
    if (!r && graph)
      gpu_.api().cuGraphDestroy(graph);
    return given.ok() ? gpu_.failed("the kernels cannot be recorded", r) : given;
  }
  return absl::OkStatus();
}

absl::Status CudaProgram::instantiate(Graph graph, Recording &recording) {
  if (Result r = gpu_.api().cuGraphInstantiate(&recording.exec, graph, 0)) {
    recording.exec = nullptr;
    return gpu_.failed("a recording of the kernels cannot be made", r);
  }
  return absl::OkStatus();
}

absl::Status CudaProgram::record(const std::vector<Dims> &sizes) {
  recordings_.reserve(sizes.size());
  for (const Dims &dims : sizes) {
    Graph graph;
    if (absl::Status s = capture(dims, graph); !s.ok())
      return s;
    Recording recording{dims, dims, nullptr};
    absl::Status made = instantiate(graph, recording);
    gpu_.api().cuGraphDestroy(graph);
    if (!made.ok())
      return made;
    recordings_.push_back(recording);
    // Its place on the device is taken now rather than by the first call.
    if (Result r = gpu_.api().cuGraphUpload(recording.exec, gpu_.stream()))
      return gpu_.failed("a recording of the kernels cannot be put on the device", r);
  }
  return absl::OkStatus();
}

absl::Status CudaProgram::change(Recording &recording, const Dims &dims) {
  Graph graph;
  if (absl::Status s = capture(dims, graph); !s.ok())
    return s;
  GraphExecUpdateResult result;
  Result r = gpu_.api().cuGraphExecUpdate(recording.exec, graph, &result);
  absl::Status status = r ? gpu_.failed("a recording of the kernels cannot be changed", r) : absl::OkStatus();
  if (r == kGraphExecUpdateFailure) {
    // Kernels came or went (one without workgroups is left out).
    Recording other{recording.most, dims, nullptr};
    status = instantiate(graph, other);
    if (status.ok()) {
      gpu_.settle();
      gpu_.api().cuGraphExecDestroy(recording.exec);
      recording = other;
    }
  }
  gpu_.api().cuGraphDestroy(graph);
  if (status.ok())
    recording.now = dims;
  return status;
}

CudaProgram::Recording *CudaProgram::find(const Dims &dims) {
  for (Recording &recording : recordings_)
    if (recording.most[0] >= dims[0] && recording.most[1] >= dims[1])
      return &recording;
  return nullptr;
}

absl::Status CudaProgram::run(const Dims &dims, Profile *profile) {
  if (Result r = gpu_.use())
    return gpu_.failed("the context cannot be used", r);
  Recording *recording = profile ? nullptr : find(dims);
  if (!recording) {
    if (absl::Status s = give(dims, profile); !s.ok())
      return s;
  } else {
    if (recording->now != dims)
      if (absl::Status s = change(*recording, dims); !s.ok())
        return s;
    if (Result r = gpu_.api().cuGraphLaunch(recording->exec, gpu_.stream()))
      return gpu_.failed("the recorded kernels cannot be launched", r);
  }
  if (Result r = gpu_.api().cuStreamSynchronize(gpu_.stream()))
    return gpu_.failed("a kernel failed", r);
  return absl::OkStatus();
}

} // namespace llmc::runtime
