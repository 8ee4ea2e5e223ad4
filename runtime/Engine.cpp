// Opening: device, memory, pointers. After it, running a program is filling input arrays and handing it to the device.
#include "runtime/Engine.h"
#include "runtime/cpu/CpuDevice.h"
#include "runtime/cuda/CudaDevice.h"
#include <algorithm>

namespace llmc::runtime {

static absl::Status badOption(const char *name, int64_t value, int64_t low, int64_t high) {
  return absl::InvalidArgumentError(std::string(name) + " is " + std::to_string(value) + ", expected " + std::to_string(low) +
                                    " to " + std::to_string(high));
}

absl::StatusOr<std::unique_ptr<Engine>> Engine::open(const std::string &path, const EngineOptions &options) {
  auto artifact = Artifact::open(path);
  if (!artifact.ok())
    return artifact.status();
  std::unique_ptr<Engine> engine(new Engine);
  engine->artifact_ = std::move(*artifact);
  if (options.isVerifyingWeights)
    if (absl::Status s = engine->artifact_->verifyWeights(); !s.ok())
      return s;

  const Metadata &m = engine->plan().metadata;
  const int64_t modelContext = static_cast<int64_t>(m.context);
  int64_t context = options.context ? options.context : std::min(modelContext, kDefaultContext);
  if (context < 1 || context > modelContext)
    return badOption("context", context, 1, modelContext);
  context = (context + kContextBlock - 1) / kContextBlock * kContextBlock;
  if (options.slots < 1 || options.slots > kMaxSlots)
    return badOption("slots", options.slots, 1, kMaxSlots);
  engine->dims_ = {0, 0, options.slots, context, context / kContextBlock};

  if (absl::Status s = engine->openDevice(options); !s.ok())
    return s;
  if (absl::Status s = engine->allocate(); !s.ok())
    return s;
  if (absl::Status s = engine->resolve(); !s.ok())
    return s;
  return engine;
}

absl::Status Engine::openDevice(const EngineOptions &options) {
  // An artifact with code for both runs on the CPU unless a driver is asked for.
  auto has = [&](const char *target) {
    return std::any_of(plan().codeObjects.begin(), plan().codeObjects.end(), [&](const CodeObject &o) { return o.target == target; });
  };
  bool isCuda = has("cuda") && (!has("cpu") || !options.libcuda.empty());
  auto device = isCuda ? openCudaDevice(*artifact_, options.libcuda) : openCpuDevice(*artifact_, options.threads);
  if (!device.ok())
    return device.status();
  device_ = std::move(*device);
  return absl::OkStatus();
}

absl::Status Engine::allocate() {
  const Metadata &m = plan().metadata;
  Dims most = dims_;
  most[0] = m.maxTokens;
  most[1] = m.maxSequences;
  for (const Program &program : plan().programs)
    arenaBytes_ = std::max(arenaBytes_, program.arenaBytes);

  auto full = [&](const absl::Status &status, const std::string &what, uint64_t bytes) {
    if (status.code() != absl::StatusCode::kResourceExhausted)
      return status;
    std::string reason(status.message());
    return absl::ResourceExhaustedError(artifact_->path() + ": no memory for " + what + " of " + std::to_string(bytes) + " bytes" +
                                        (reason.empty() ? "" : " (" + reason + ")") + " (context " + std::to_string(context()) + ", " +
                                        std::to_string(slots()) + " sessions); choose a smaller context or fewer sessions");
  };
  auto arena = device_->allocate(arenaBytes_);
  if (!arena.ok())
    return full(arena.status(), "the arena", arenaBytes_);

  const uint64_t T = m.maxTokens, S = m.maxSequences;
  auto aligned = [](uint64_t bytes) { return (bytes + kBufferAlignment - 1) / kBufferAlignment * kBufferAlignment; };
  const uint64_t sizes[5] = {aligned(4 * T), aligned(8 * T), aligned(16 * S), aligned(16 * S), aligned(32 * S)};
  auto inputs = device_->allocateExchange(sizes[0] + sizes[1] + sizes[2] + sizes[3] + sizes[4], /*isInput=*/true);
  if (!inputs.ok())
    return full(inputs.status(), "inputs", sizes[0] + sizes[1] + sizes[2] + sizes[3] + sizes[4]);
  uint64_t offset = 0, offsets[5];
  for (int i = 0; i < 5; ++i) {
    offsets[i] = offset;
    offset += sizes[i];
  }
  inputs_.tokens = reinterpret_cast<int32_t *>(inputs->host + offsets[0]);
  inputs_.where = reinterpret_cast<int32_t *>(inputs->host + offsets[1]);
  inputs_.rows = reinterpret_cast<int32_t *>(inputs->host + offsets[2]);
  inputs_.sampling = reinterpret_cast<float *>(inputs->host + offsets[3]);
  inputs_.draws = reinterpret_cast<int64_t *>(inputs->host + offsets[4]);

  bufferPointers_.assign(plan().buffers.size(), nullptr);
  outputs_.assign(plan().buffers.size(), {});
  for (size_t i = 0; i < plan().buffers.size(); ++i) {
    const Buffer &b = plan().buffers[i];
    switch (b.kind) {
    case BufferKind::weight:
    case BufferKind::constant: {
      uint64_t bytes = *shapeBytes(b.shape, b.type, most);
      auto memory = device_->hold(artifact_->blobData(b.blob) + b.blobOffset, bytes);
      if (!memory.ok())
        return full(memory.status(), "weight '" + b.name + "'", bytes);
      bufferPointers_[i] = *memory;
      break;
    }
    case BufferKind::transient: bufferPointers_[i] = static_cast<uint8_t *>(*arena) + b.arenaOffset; break;
    case BufferKind::state: {
      auto bytes = shapeBytes(b.shape, b.type, most);
      auto sum = bytes ? checkedAdd(stateBytes_, *bytes) : std::nullopt;
      auto memory = sum ? device_->allocate(*bytes) : absl::ResourceExhaustedError("");
      if (!memory.ok())
        return full(memory.status(), "state '" + b.name + "'", bytes.value_or(UINT64_MAX));
      stateBytes_ = *sum;
      bufferPointers_[i] = *memory;
      states_.push_back({*memory, *bytes / static_cast<uint64_t>(dims_[2])});
      break;
    }
    case BufferKind::output: {
      uint64_t bytes = *shapeBytes(b.shape, b.type, most);
      auto memory = device_->allocateExchange(bytes, /*isInput=*/false);
      if (!memory.ok())
        return full(memory.status(), "output '" + b.name + "'", bytes);
      outputs_[i] = *memory;
      bufferPointers_[i] = memory->device;
      break;
    }
    case BufferKind::input: {
      int which = b.name == "tokens" ? 0 : b.name == "where" ? 1 : b.name == "rows" ? 2 : b.name == "sampling" ? 3 : 4;
      bufferPointers_[i] = static_cast<uint8_t *>(inputs->device) + offsets[which];
      break;
    }
    }
  }
  return absl::OkStatus();
}

absl::Status Engine::resolve() {
  if (absl::Status s = resolveProgram("ingest", ingest_); !s.ok())
    return s;
  if (absl::Status s = resolveProgram("advance", advance_); !s.ok())
    return s;
  return resolveProgram("score", score_);
}

absl::Status Engine::resolveProgram(const char *name, ReadyProgram &ready) {
  const Program *program = plan().program(name);
  if (!program)
    return absl::OkStatus();
  ready.isPresent = true;
  std::vector<DeviceOutput> outputs;
  for (uint32_t id : program->outputs) {
    const Buffer &b = plan().buffers[id];
    if (b.name == "next")
      ready.next = reinterpret_cast<int32_t *>(outputs_[id].host);
    else if (b.name == "decoding")
      ready.decoding = reinterpret_cast<float *>(outputs_[id].host);
    else
      ready.logits = reinterpret_cast<float *>(outputs_[id].host);
    outputs.push_back({&b, outputs_[id]});
  }
  std::vector<DeviceDispatch> dispatches;
  for (const Step &step : program->steps) {
    const Dispatch &dispatch = std::get<Dispatch>(step);
    dispatches.push_back({dispatch.kernel, {}});
    for (uint32_t id : dispatch.buffers)
      dispatches.back().buffers.push_back(bufferPointers_[id]);
  }
  auto code = device_->prepare(dispatches, outputs);
  if (!code.ok())
    return code.status();
  ready.code = std::move(*code);
  ready.code->name = program->name.c_str();
  for (const DeviceDispatch &dispatch : dispatches)
    ready.code->kernels.push_back(dispatch.kernel);
  return absl::OkStatus();
}

absl::Status Engine::run(const ReadyProgram &program, int64_t tokens, int64_t sequences) {
  dims_[0] = tokens;
  dims_[1] = sequences;
  return device_->run(*program.code, dims_, profile_.get());
}

Profile &Engine::startProfile() {
  profile_ = std::make_unique<Profile>();
  return *profile_;
}

absl::Status Engine::clearSlot(int slot) {
  for (const State &state : states_)
    if (absl::Status s = device_->clear(state.memory, static_cast<uint64_t>(slot) * state.slotBytes, state.slotBytes); !s.ok())
      return s;
  return absl::OkStatus();
}

} // namespace llmc::runtime
