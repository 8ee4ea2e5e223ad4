// See CudaProgram.h.
#include "runtime/cuda/CudaProgram.h"
#include <algorithm>

namespace llmc::runtime {
using namespace llmc::cuda;

static constexpr uint32_t kMaxGrid = 0x7fffffff;

CudaProgram::CudaProgram(const Gpu &gpu, const CudaCode &code, const CudaMemory &memory,
                         const Scratch &scratch, const DeviceSteps &steps, const std::vector<DeviceOutput> &outputs)
    : gpu_(gpu), code_(code), memory_(memory), scratch_(scratch), steps_(steps), outputs_(outputs) {
  size_t values = 0, parameters = 0, maps = 0;
  for (const DeviceDispatch &dispatch : steps.dispatches) {
    values += dispatch.buffers.size();
    const size_t ownMaps = code.launch(dispatch.kernel).tensorMaps.size();
    parameters += dispatch.buffers.size() + dims_.size() + 2 + ownMaps;
    maps += ownMaps;
  }
  // Parameters are pointers into these: they must not move.
  values_.reserve(values);
  parameters_.reserve(parameters);
  maps_.reserve(maps);
  calls_.reserve(steps.dispatches.size());
  for (const DeviceDispatch &dispatch : steps.dispatches) {
    const KernelLaunch &launch = code.launch(dispatch.kernel);
    calls_.push_back({&launch, code.function(dispatch.kernel), parameters_.size(), 0, maps_.size(), kNone});
    for (void *buffer : dispatch.buffers) {
      values_.push_back(buffer);
      parameters_.push_back(&values_.back());
    }
    parameters_.push_back(&rows_[dispatch.span]);
    for (size_t d = 1; d < dims_.size(); ++d)
      parameters_.push_back(&dims_[d]);
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
    drop(recording);
  if (trips_)
    gpu_.api().cuMemFree(trips_);
}

void CudaProgram::drop(Recording &recording) {
  if (recording.exec)
    gpu_.api().cuGraphExecDestroy(recording.exec);
  if (recording.graph)
    gpu_.api().cuGraphDestroy(recording.graph);
  recording.exec = nullptr;
  recording.graph = nullptr;
}

absl::Status CudaProgram::merge() {
  // What is merged are the kernels of one program. One that has a few of them by chance gains nothing.
  auto isMerged = [](const Call &call) { return call.launch->merged >= 0; };
  const int64_t count = std::count_if(calls_.begin(), calls_.end(), isMerged), all = static_cast<int64_t>(calls_.size());
  if (!code_.merged() || 2 * count < all || (!steps_.loops.empty() && count < all)) // a loop is in the merged kernel or in a graph
    return absl::OkStatus();
  for (size_t i = 0, end; i < calls_.size(); i = end) {
    for (end = i; end < calls_.size() && isMerged(calls_[end]);)
      ++end;
    if (end - i < 2 && steps_.loops.empty()) { // a barrier saves nothing
      end = std::max(end, i + 1);
      continue;
    }
    auto table = StepTable::make(gpu_, code_, steps_, i, end - i, scratch_.blocks);
    if (!table.ok())
      return table.status();
    for (size_t k = i; k < end; ++k)
      calls_[k].merged = merged_.size();
    merged_.push_back(std::move(*table));
  }
  return absl::OkStatus();
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
  Dims own = dims;
  own[0] = rows_[steps_.dispatches[static_cast<size_t>(&call - calls_.data())].span];
  if (own[0] == 0)
    return absl::OkStatus();
  auto workgroups = evaluateGrid(launch.grid, own);
  if (!workgroups)
    return damagedArtifact(gpu_.artifact().path(), "kernel '" + launch.symbol + "' has a grid without a value");
  call.workgroups = *workgroups;
  if (*workgroups == 0)
    return absl::OkStatus();
  if (absl::Status s = describe(call, own); !s.ok())
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

absl::Status CudaProgram::launchMerged(const StepTable &table) {
  const KernelLaunch &launch = *code_.merged();
  void *records = table.records(), *counter = table.counter();
  int64_t steps = table.steps();
  std::vector<void *> parameters = {&records, &steps};
  for (int64_t &rows : rows_)
    parameters.push_back(&rows);
  for (size_t d = 1; d < dims_.size(); ++d)
    parameters.push_back(&dims_[d]);
  parameters.insert(parameters.end(), {&scratch_.memory, &counter});
  if (Result r = gpu_.api().cuLaunchCooperativeKernel(code_.mergedFunction(), table.blocks(), 1, 1, launch.threads, 1, 1,
                                                      launch.sharedBytes, gpu_.stream(), parameters.data()))
    return gpu_.failed("kernel '" + launch.symbol + "' cannot be launched", r);
  return absl::OkStatus();
}

absl::Status CudaProgram::launchTest(const DeviceLoop &loop, unsigned long long handle, bool isFirst) {
  void *flags = loop.condition;
  int64_t sequences = dims_[1], most = loop.atMost, first = isFirst;
  DevicePointer trips = trips_ + sizeof(int64_t) * static_cast<size_t>(&loop - steps_.loops.data());
  void *parameters[] = {&handle, &flags, &sequences, &trips, &most, &first};
  const KernelLaunch &launch = *code_.loopTest();
  if (Result r = gpu_.api().cuLaunchKernel(code_.loopTestFunction(), 1, 1, 1, launch.threads, 1, 1, launch.sharedBytes, gpu_.stream(),
                                           parameters, nullptr))
    return gpu_.failed("kernel '" + launch.symbol + "' cannot be launched", r);
  return absl::OkStatus();
}

absl::Status CudaProgram::launchAll(size_t from, size_t to, const Dims &dims, bool mayOverlap) {
  bool isAfterKernel = false;
  for (size_t i = from; i < to; ++i) {
    isAfterKernel &= mayOverlap;
    if (size_t merged = calls_[i].merged; merged != kNone) {
      if (absl::Status s = launchMerged(*merged_[merged]); !s.ok())
        return s;
      isAfterKernel = true;
      while (i + 1 < to && calls_[i + 1].merged == merged)
        ++i;
    } else if (absl::Status s = launch(calls_[i], dims, isAfterKernel); !s.ok()) {
      return s;
    }
  }
  return absl::OkStatus();
}

/// Gives all work to the stream, from inputs on the host to outputs there.
absl::Status CudaProgram::give(const Dims &dims) {
  if (absl::Status s = copyInputs(); !s.ok())
    return s;
  if (absl::Status s = launchAll(0, calls_.size(), dims); !s.ok())
    return s;
  return copyOutputs(dims);
}

/// Whether the loop's flags say so, as the host sees them.
absl::StatusOr<bool> CudaProgram::goesOn(const DeviceLoop &loop, int64_t sequences) {
  std::vector<int32_t> flags(static_cast<size_t>(sequences));
  Result r = gpu_.api().cuMemcpyDtoHAsync(flags.data(), reinterpret_cast<DevicePointer>(loop.condition), flags.size() * sizeof(int32_t),
                                          gpu_.stream());
  if (!r)
    r = gpu_.api().cuStreamSynchronize(gpu_.stream());
  if (r)
    return gpu_.failed("a loop's condition cannot be read", r);
  return std::any_of(flags.begin(), flags.end(), [](int32_t flag) { return flag != 0; });
}

/// The same, loops tested by the host. With a profile each kernel is launched by itself and waited for.
absl::Status CudaProgram::giveInTurn(const Dims &dims, Profile *profile) {
  if (absl::Status s = copyInputs(); !s.ok())
    return s;
  auto launchPart = [&](size_t from, size_t to) {
    if (!profile)
      return launchAll(from, to, dims);
    bool isAfterKernel = false;
    for (size_t i = from; i < to; ++i) {
      int64_t begin = profile->now();
      if (absl::Status s = launch(calls_[i], dims, isAfterKernel); !s.ok())
        return s;
      if (Result r = gpu_.api().cuStreamSynchronize(gpu_.stream()))
        return gpu_.failed("kernel '" + calls_[i].launch->symbol + "' failed", r);
      profile->add({name, kernels[i], rows_[steps_.dispatches[i].span], begin, profile->now()});
    }
    return absl::OkStatus();
  };
  size_t next = 0;
  for (const DeviceLoop &loop : steps_.loops) {
    if (absl::Status s = launchPart(next, loop.first); !s.ok())
      return s;
    next = loop.first + loop.count;
    for (uint32_t trip = 0; trip < loop.atMost; ++trip) {
      auto isOn = goesOn(loop, dims[1]);
      if (!isOn.ok())
        return isOn.status();
      if (!*isOn)
        break;
      if (absl::Status s = launchPart(loop.first, next); !s.ok())
        return s;
    }
  }
  if (absl::Status s = launchPart(next, calls_.size()); !s.ok())
    return s;
  return copyOutputs(dims);
}

/// Adds to `graph` what `work` gives to the stream, after the nodes `last`, which are then those that nothing comes after yet.
template <typename Work> absl::Status CudaProgram::captureInto(Graph graph, Nodes &last, const Work &work) {
  const CudaDriver &api = gpu_.api();
  if (Result r = api.cuStreamBeginCaptureToGraph(gpu_.stream(), graph, last.data(), nullptr, last.size(), kCaptureModeThreadLocal))
    return gpu_.failed("a recording cannot begin", r);
  absl::Status given = work();
  int status = 0;
  unsigned long long id = 0;
  Graph same = nullptr;
  const GraphNode *nodes = nullptr;
  size_t count = 0;
  Result asked = api.cuStreamGetCaptureInfo(gpu_.stream(), &status, &id, &same, &nodes, &count);
  if (!asked)
    last.assign(nodes, nodes + count);
  // Also after a failure: the stream is of no use before its capture has ended.
  Result ended = api.cuStreamEndCapture(gpu_.stream(), &same);
  if (!given.ok())
    return given;
  return asked || ended ? gpu_.failed("the kernels cannot be recorded", asked ? asked : ended) : absl::OkStatus();
}

/// Launches in a loop's body do not start early: that a graph may repeat such a pair is nowhere said.
absl::Status CudaProgram::captureLoops(const Dims &dims, Graph graph) {
  const CudaDriver &api = gpu_.api();
  Nodes last;
  size_t next = 0;
  for (const DeviceLoop &loop : steps_.loops) {
    WhileNodeParams node;
    node.context = gpu_.context();
    if (Result r = api.cuGraphConditionalHandleCreate(&node.handle, graph, gpu_.context(), /*value=*/0, /*flags=*/0))
      return gpu_.failed("a recording cannot have a loop", r);
    absl::Status before = captureInto(graph, last, [&] {
      absl::Status s = next ? absl::OkStatus() : copyInputs();
      if (s.ok())
        s = launchAll(next, loop.first, dims);
      return s.ok() ? launchTest(loop, node.handle, /*isFirst=*/true) : s;
    });
    if (!before.ok())
      return before;
    GraphNode added = nullptr;
    if (Result r = api.cuGraphAddNode(&added, graph, last.data(), last.size(), &node))
      return gpu_.failed("a recording cannot have a loop", r);
    last = {added};
    next = loop.first + loop.count;
    Nodes inside;
    absl::Status body = captureInto(node.bodies[0], inside, [&] {
      absl::Status s = launchAll(loop.first, next, dims, /*mayOverlap=*/false);
      return s.ok() ? launchTest(loop, node.handle, /*isFirst=*/false) : s;
    });
    if (!body.ok())
      return body;
  }
  return captureInto(graph, last, [&] {
    absl::Status s = launchAll(next, calls_.size(), dims);
    return s.ok() ? copyOutputs(dims) : s;
  });
}

absl::Status CudaProgram::capture(const Dims &dims, Graph &graph) {
  graph = nullptr;
  if (isLooping()) {
    if (Result r = gpu_.api().cuGraphCreate(&graph, 0)) {
      graph = nullptr;
      return gpu_.failed("a recording cannot begin", r);
    }
    return captureLoops(dims, graph);
  }
  if (Result r = gpu_.api().cuStreamBeginCapture(gpu_.stream(), kCaptureModeThreadLocal))
    return gpu_.failed("a recording cannot begin", r);
  absl::Status given = give(dims);
  // Also after a failure: the stream is of no use before its capture has ended.
  Result r = gpu_.api().cuStreamEndCapture(gpu_.stream(), &graph);
  if (!given.ok() || r) {
    if (!r && graph)
      gpu_.api().cuGraphDestroy(graph);
    graph = nullptr;
    return given.ok() ? gpu_.failed("the kernels cannot be recorded", r) : given;
  }
  return absl::OkStatus();
}

absl::Status CudaProgram::instantiate(Recording &recording) {
  if (Result r = gpu_.api().cuGraphInstantiate(&recording.exec, recording.graph, 0)) {
    recording.exec = nullptr;
    return gpu_.failed("a recording of the kernels cannot be made", r);
  }
  return absl::OkStatus();
}

absl::Status CudaProgram::record(const std::vector<Dims> &sizes) {
  recordings_.reserve(sizes.size() + 1);
  if (isLooping() && code_.loopTest()) {
    if (Result r = gpu_.api().cuMemAlloc(&trips_, steps_.loops.size() * sizeof(int64_t))) {
      trips_ = 0;
      return gpu_.failed("no memory for the trips of loops", r);
    }
    recordings_.push_back({});
    recordings_.back().most.fill(INT64_MAX);
    return absl::OkStatus(); // made by the first call, which has the sizes
  }
  for (const Dims &dims : sizes) {
    dims_ = dims;
    rows_ = {dims[0]};
    recordings_.push_back({dims, {}, {}});
    if (absl::Status s = change(recordings_.back(), dims); !s.ok())
      return s;
    // Its place on the device is taken now rather than by the first call.
    if (Result r = gpu_.api().cuGraphUpload(recordings_.back().exec, gpu_.stream()))
      return gpu_.failed("a recording of the kernels cannot be put on the device", r);
  }
  return absl::OkStatus();
}

absl::Status CudaProgram::change(Recording &recording, const Dims &dims) {
  Recording other{recording.most, dims, rows_};
  absl::Status status = capture(dims, other.graph);
  if (status.ok()) {
    // Nodes of loops cannot be changed, and kernels may have come or gone (one without workgroups is left out).
    GraphExecUpdateResult result;
    Result r = recording.exec && !isLooping() ? gpu_.api().cuGraphExecUpdate(recording.exec, other.graph, &result) : kGraphExecUpdateFailure;
    if (r == kGraphExecUpdateFailure)
      status = instantiate(other);
    else if (r)
      status = gpu_.failed("a recording of the kernels cannot be changed", r);
  }
  if (status.ok()) {
    recording.now = dims;
    recording.rows = rows_;
    if (other.exec)
      std::swap(recording.exec, other.exec);
    if (isLooping())
      std::swap(recording.graph, other.graph);
    if (other.exec)
      gpu_.settle(); // it may still run
  }
  drop(other);
  return status;
}

CudaProgram::Recording *CudaProgram::find(const Dims &dims) {
  for (Recording &recording : recordings_)
    if (recording.most[0] >= dims[0] && recording.most[1] >= dims[1])
      return &recording;
  return nullptr;
}

absl::Status CudaProgram::run(const Dims &dims, const int64_t *rows, Profile *profile) {
  if (Result r = gpu_.use())
    return gpu_.failed("the context cannot be used", r);
  dims_ = dims;
  std::copy_n(rows, kMaxSpans, rows_.begin());
  Recording *recording = profile ? nullptr : find(dims);
  if (recording && (recording->now != dims || recording->rows != rows_))
    if (absl::Status s = change(*recording, dims); !s.ok()) {
      if (!isLooping() || !absl::IsUnimplemented(s))
        return s;
      drop(*recording);
      recordings_.clear(); // this driver makes no graphs with loops
      recording = nullptr;
    }
  if (!recording) {
    if (absl::Status s = profile || isLooping() ? giveInTurn(dims, profile) : give(dims); !s.ok())
      return s;
  } else if (Result r = gpu_.api().cuGraphLaunch(recording->exec, gpu_.stream())) {
    return gpu_.failed("the recorded kernels cannot be launched", r);
  }
  if (Result r = gpu_.api().cuStreamSynchronize(gpu_.stream()))
    return gpu_.failed("a kernel failed", r);
  return absl::OkStatus();
}

} // namespace llmc::runtime
