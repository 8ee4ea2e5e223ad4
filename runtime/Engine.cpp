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

  auto full = [&](const absl::Status &status, const char *what, uint64_t bytes) {
    if (status.code() != absl::StatusCode::kResourceExhausted)
      return status;
    std::string reason(status.message());
    return absl::ResourceExhaustedError(artifact_->path() + ": no memory for " + what + " of " + std::to_string(bytes) + " bytes" +
                                        (reason.empty() ? "" : " (" + reason + ")") + " (context " + std::to_string(context()) + ", " +
                                        std::to_string(slots()) + " sessions); choose a smaller context or fewer sessions");
  };
  const uint64_t T = m.maxTokens, S = m.maxSequences;
  auto aligned = [](uint64_t bytes) { return (bytes + kBufferAlignment - 1) / kBufferAlignment * kBufferAlignment; };
  const uint64_t sizes[5] = {aligned(4 * T), aligned(8 * T), aligned(16 * S), aligned(16 * S), aligned(32 * S)};
  uint64_t inputBytes = 0, offsets[5];
  for (int i = 0; i < 5; ++i) {
    offsets[i] = inputBytes;
    inputBytes += sizes[i];
  }

  // What is asked for, and of which buffer. The arena and the inputs are not of one buffer.
  std::vector<MemoryRequest> requests = {{arenaBytes_, MemoryUse::device}, {inputBytes, MemoryUse::input}};
  std::vector<size_t> owners(requests.size());
  std::vector<WeightBytes> weights;
  std::vector<size_t> weightOwners;
  std::optional<uint64_t> total = checkedAdd(arenaBytes_, inputBytes);
  uint64_t weightBytes = 0;
  for (size_t i = 0; i < plan().buffers.size(); ++i) {
    const Buffer &b = plan().buffers[i];
    if (b.kind == BufferKind::transient || b.kind == BufferKind::input)
      continue;
    auto bytes = shapeBytes(b.shape, b.type, most);
    if (b.kind == BufferKind::weight || b.kind == BufferKind::constant) {
      weights.push_back({artifact_->blobData(b.blob) + b.blobOffset, *bytes});
      weightOwners.push_back(i);
      weightBytes += *bytes;
      continue;
    }
    total = bytes && total ? checkedAdd(*total, *bytes) : std::nullopt;
    requests.push_back({bytes.value_or(0), b.kind == BufferKind::output ? MemoryUse::output : MemoryUse::device});
    owners.push_back(i);
    if (b.kind == BufferKind::state)
      stateBytes_ += bytes.value_or(0);
  }

  auto held = device_->hold(weights);
  if (!held.ok())
    return full(held.status(), "weights", weightBytes);
  auto memory = total ? device_->allocate(requests) : absl::ResourceExhaustedError("");
  if (!memory.ok())
    return full(memory.status(), "states and what kernels exchange", total.value_or(UINT64_MAX));

  const ExchangeMemory &arena = (*memory)[0], &inputs = (*memory)[1];
  inputs_.tokens = reinterpret_cast<int32_t *>(inputs.host + offsets[0]);
  inputs_.where = reinterpret_cast<int32_t *>(inputs.host + offsets[1]);
  inputs_.rows = reinterpret_cast<int32_t *>(inputs.host + offsets[2]);
  inputs_.sampling = reinterpret_cast<float *>(inputs.host + offsets[3]);
  inputs_.draws = reinterpret_cast<int64_t *>(inputs.host + offsets[4]);
  bufferPointers_.assign(plan().buffers.size(), nullptr);
  outputs_.assign(plan().buffers.size(), {});
  for (size_t i = 0; i < weights.size(); ++i)
    bufferPointers_[weightOwners[i]] = (*held)[i];
  for (size_t r = 2; r < requests.size(); ++r) {
    const size_t i = owners[r];
    bufferPointers_[i] = (*memory)[r].device;
    if (plan().buffers[i].kind == BufferKind::output)
      outputs_[i] = (*memory)[r];
    else
      states_.push_back(stateOf(plan().buffers[i], (*memory)[r].device, requests[r].bytes / static_cast<uint64_t>(dims_[2]), dims_));
  }
  for (size_t i = 0; i < plan().buffers.size(); ++i) {
    const Buffer &b = plan().buffers[i];
    if (b.kind == BufferKind::transient)
      bufferPointers_[i] = static_cast<uint8_t *>(arena.device) + b.arenaOffset;
    if (b.kind != BufferKind::input)
      continue;
    int which = b.name == "tokens" ? 0 : b.name == "where" ? 1 : b.name == "rows" ? 2 : b.name == "sampling" ? 3 : 4;
    bufferPointers_[i] = static_cast<uint8_t *>(inputs.device) + offsets[which];
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
    else
      ready.logits = reinterpret_cast<float *>(outputs_[id].host);
    // Who generates needs no logits: a row of them is more than all else that is copied.
    if (b.name == "next" || program->name != "advance")
      outputs.push_back({&b, outputs_[id]});
  }
  std::vector<DeviceDispatch> dispatches;
  for (const Step &step : program->steps) {
    const Dispatch &dispatch = std::get<Dispatch>(step);
    dispatches.push_back({dispatch.kernel, {}});
    for (uint32_t id : dispatch.buffers)
      dispatches.back().buffers.push_back(bufferPointers_[id]);
  }
  // Advance moves the same sessions on again and again: one call for each of a few numbers of them.
  std::vector<Dims> usualSizes;
  const int64_t most = std::min<int64_t>(slots(), maxSequences());
  for (int64_t sequences = 1; program->name == "advance" && sequences < 2 * most; sequences *= 2) {
    usualSizes.push_back(dims_);
    usualSizes.back()[0] = usualSizes.back()[1] = std::min(sequences, most);
  }
  auto code = device_->prepare(dispatches, outputs, usualSizes);
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

Engine::State Engine::stateOf(const Buffer &buffer, void *memory, uint64_t slotBytes, const Dims &dims) {
  State state{memory, slotBytes};
  uint64_t runs = 1;
  for (size_t d = 1; d < buffer.shape.size(); ++d) {
    const Dim &dim = buffer.shape[d];
    if (dim.symbol == Symbol::one) {
      runs *= dim.multiplier;
      continue;
    }
    // The verifier lets no state grow in two dimensions.
    int64_t rows = dims[static_cast<size_t>(dim.symbol) - 1];
    if (slotBytes == 0)
      break;
    state.runs = runs;
    state.rowBytes = slotBytes / runs / static_cast<uint64_t>(rows);
    state.rowPositions = dim.symbol == Symbol::contextBlocks ? kContextBlock : 1;
    break;
  }
  return state;
}

uint64_t Engine::State::usedOfRun(int64_t positions) const {
  if (rowBytes == 0)
    return slotBytes;
  return static_cast<uint64_t>((positions + rowPositions - 1) / rowPositions) * rowBytes;
}

/// Calls body(state, offset in the state's memory, bytes) for every run of a slot's used part.
template <typename Body>
absl::Status Engine::forEachRun(int slot, int64_t positions, const Body &body) const {
  for (const State &state : states_)
    if (uint64_t used = state.usedOfRun(positions))
      for (uint64_t run = 0; run < state.runs; ++run)
        if (absl::Status s = body(
                state, static_cast<uint64_t>(slot) * state.slotBytes + run * (state.slotBytes / state.runs),
                used);
            !s.ok())
          return s;
  return absl::OkStatus();
}

uint64_t Engine::usedBytes(int64_t positions) const {
  uint64_t sum = 0;
  for (const State &state : states_)
    sum += state.runs * state.usedOfRun(positions);
  return sum;
}

absl::Status Engine::copySlot(int from, int to, int64_t positions) {
  return forEachRun(from, positions, [&](const State &state, uint64_t offset, uint64_t bytes) {
    uint64_t there =
        offset - static_cast<uint64_t>(from) * state.slotBytes + static_cast<uint64_t>(to) * state.slotBytes;
    return device_->copy(state.memory, offset, there, bytes);
  });
}

/// Bytes that pass through host memory at a time.
static constexpr uint64_t kTransferBytes = 1 << 20;

absl::Status Engine::readSlot(int slot, int64_t positions, const Take &take) const {
  std::vector<uint8_t> buffer(std::min(kTransferBytes, usedBytes(positions)));
  return forEachRun(slot, positions, [&](const State &state, uint64_t offset, uint64_t bytes) {
    for (uint64_t done = 0, n; done < bytes; done += n) {
      n = std::min<uint64_t>(bytes - done, buffer.size());
      if (absl::Status s = device_->read(state.memory, offset + done, n, buffer.data()); !s.ok())
        return s;
      if (absl::Status s = take(buffer.data(), n); !s.ok())
        return s;
    }
    return absl::OkStatus();
  });
}

absl::Status Engine::writeSlot(int slot, int64_t positions, const Give &give) {
  std::vector<uint8_t> buffer(std::min(kTransferBytes, usedBytes(positions)));
  return forEachRun(slot, positions, [&](const State &state, uint64_t offset, uint64_t bytes) {
    for (uint64_t done = 0, n; done < bytes; done += n) {
      n = std::min<uint64_t>(bytes - done, buffer.size());
      if (absl::Status s = give(buffer.data(), n); !s.ok())
        return s;
      if (absl::Status s = device_->write(state.memory, offset + done, n, buffer.data()); !s.ok())
        return s;
    }
    return absl::OkStatus();
  });
}

} // namespace llmc::runtime
