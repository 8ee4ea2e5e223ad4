// Opening: device, memory, pointers. After it, running a program is filling input arrays and handing it to the device.
#include "runtime/Engine.h"
#include "runtime/cpu/CpuDevice.h"
#include "runtime/cuda/CudaDevice.h"
#include <algorithm>
#include <set>

namespace llmc::runtime {

static absl::Status badOption(const char *name, int64_t value, int64_t low, int64_t high) {
  return absl::InvalidArgumentError(std::string(name) + " is " + std::to_string(value) + ", expected " + std::to_string(low) +
                                    " to " + std::to_string(high));
}

absl::StatusOr<std::unique_ptr<Engine>> Engine::open(const std::string &path, const EngineOptions &options) {
  auto artifact = Artifact::open(path);
  if (!artifact.ok())
    return artifact.status();
  if (!(*artifact)->hasWeights())
    return absl::FailedPreconditionError(
        path +
        ": has no weights, so it can be inspected and not run: it was compiled with --no-weights; "
        "make one that runs with `llmc compile DIR -o m.llmc`, DIR being a directory with the weights");
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

/// Where the inputs lie in one piece of memory, which reaches the device with every run.
Engine::InputLayout Engine::layOutInputs() const {
  const uint64_t T = plan().metadata.maxTokens, S = plan().metadata.maxSequences;
  InputLayout layout;
  auto add = [&](const std::string &name, uint64_t bytes) {
    layout.offsets[name] = layout.bytes;
    layout.bytes += (bytes + kBufferAlignment - 1) / kBufferAlignment * kBufferAlignment;
  };
  for (const Program &program : plan().programs)
    layout.spans = std::max(layout.spans, program.spans.size());
  add("tokens", 4 * T);
  for (unsigned k = 0; k < layout.spans; ++k) {
    add(std::string(spanPrefix(k)) + "where", 8 * T);
    add(std::string(spanPrefix(k)) + "rows", 16 * S);
  }
  add("bounds", 16 * S);
  add("settings", 4 * kSettingColumns * S);
  add("sampling", 16 * S);
  add("draws", 32 * S);
  return layout;
}

void Engine::setInputs(const InputLayout &layout, uint8_t *host) {
  auto integers = [&](const std::string &name) { return reinterpret_cast<int32_t *>(host + layout.offsets.at(name)); };
  inputs_.tokens = integers("tokens");
  for (unsigned k = 0; k < layout.spans; ++k)
    inputs_.spans[k] = {integers(std::string(spanPrefix(k)) + "where"), integers(std::string(spanPrefix(k)) + "rows")};
  inputs_.bounds = integers("bounds");
  inputs_.settings = reinterpret_cast<float *>(integers("settings"));
  inputs_.sampling = reinterpret_cast<float *>(integers("sampling"));
  inputs_.draws = reinterpret_cast<int64_t *>(integers("draws"));
}

absl::Status Engine::allocate() {
  const Metadata &m = plan().metadata;
  Dims most = dims_;
  most[0] = m.maxTokens;
  most[1] = m.maxSequences;
  std::set<size_t> conditions; // what a loop is decided by is read by the host
  for (const Program &program : plan().programs) {
    arenaBytes_ = std::max(arenaBytes_, program.arenaBytes);
    for (const Loop &loop : program.loops)
      conditions.insert(loop.condition);
  }

  // What is asked for, and of which buffer. The arena and the inputs are not of one buffer.
  const InputLayout layout = layOutInputs();
  std::vector<MemoryRequest> requests = {{arenaBytes_, MemoryUse::device}, {layout.bytes, MemoryUse::input}};
  std::vector<size_t> owners(requests.size());
  std::vector<WeightBytes> weights;
  std::vector<size_t> weightOwners;
  std::optional<uint64_t> total = checkedAdd(arenaBytes_, layout.bytes);
  uint64_t weightBytes = 0;
  auto isRead = [&](size_t i) { return plan().buffers[i].kind == BufferKind::output || conditions.count(i); };
  for (size_t i = 0; i < plan().buffers.size(); ++i) {
    const Buffer &b = plan().buffers[i];
    if ((b.kind == BufferKind::transient && !isRead(i)) || b.kind == BufferKind::input)
      continue;
    auto bytes = shapeBytes(b.shape, b.type, most);
    if (b.kind == BufferKind::weight || b.kind == BufferKind::constant) {
      weights.push_back({artifact_->blobData(b.blob) + b.blobOffset, *bytes});
      weightOwners.push_back(i);
      weightBytes += *bytes;
      continue;
    }
    total = bytes && total ? checkedAdd(*total, *bytes) : std::nullopt;
    requests.push_back({bytes.value_or(0), isRead(i) ? MemoryUse::output : MemoryUse::device});
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
  setInputs(layout, inputs.host);
  bufferPointers_.assign(plan().buffers.size(), nullptr);
  outputs_.assign(plan().buffers.size(), {});
  for (size_t i = 0; i < plan().buffers.size(); ++i) {
    const Buffer &b = plan().buffers[i];
    if (b.kind == BufferKind::transient)
      bufferPointers_[i] = static_cast<uint8_t *>(arena.device) + b.arenaOffset;
    else if (auto input = layout.offsets.find(b.name); b.kind == BufferKind::input && input != layout.offsets.end())
      bufferPointers_[i] = static_cast<uint8_t *>(inputs.device) + input->second; // others no program has
  }
  for (size_t i = 0; i < weights.size(); ++i)
    bufferPointers_[weightOwners[i]] = (*held)[i];
  for (size_t r = 2; r < requests.size(); ++r) {
    const size_t i = owners[r];
    bufferPointers_[i] = (*memory)[r].device;
    if (isRead(i))
      outputs_[i] = (*memory)[r];
    else
      states_.push_back(stateOf(plan().buffers[i], (*memory)[r].device, requests[r].bytes / static_cast<uint64_t>(dims_[2]), dims_));
  }
  return absl::OkStatus();
}

absl::Status Engine::full(const absl::Status &status, const std::string &what, uint64_t bytes) const {
  if (status.code() != absl::StatusCode::kResourceExhausted)
    return status;
  std::string reason(status.message());
  return absl::ResourceExhaustedError(artifact_->path() + ": no memory for " + what + " of " + std::to_string(bytes) + " bytes" +
                                      (reason.empty() ? "" : " (" + reason + ")") + " (context " + std::to_string(context()) + ", " +
                                      std::to_string(slots()) + " sessions); choose a smaller context or fewer sessions");
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
  ready.program = program;
  for (uint32_t id : program->outputs)
    if (plan().buffers[id].name == "next")
      ready.next = reinterpret_cast<int32_t *>(outputs_[id].host);
    else if (plan().buffers[id].name == "decoding")
      ready.decoding = reinterpret_cast<float *>(outputs_[id].host);
    else if (plan().buffers[id].name == "first")
      ready.first = reinterpret_cast<int32_t *>(outputs_[id].host);
    else if (plan().buffers[id].name == "second")
      ready.second = reinterpret_cast<int32_t *>(outputs_[id].host);
    else if (plan().buffers[id].name == "latents") {
      ready.latents = reinterpret_cast<float *>(outputs_[id].host);
      ready.latentColumns = static_cast<int64_t>(plan().buffers[id].shape[1].multiplier);
    } else
      ready.logits = reinterpret_cast<float *>(outputs_[id].host);
  // Segments end where the span changes and where a loop begins or ends.
  const std::vector<Step> &steps = program->steps;
  std::set<size_t> cuts;
  for (const Loop &loop : program->loops)
    cuts.insert({loop.first, loop.first + loop.count});
  // Advance moves the same sessions on again and again: one call for each of a few numbers of them.
  std::vector<Dims> usualSizes;
  const int64_t most = std::min<int64_t>(slots(), maxSequences());
  bool isOneByOne = program->name == "advance" && program->spans.empty();
  for (int64_t sequences = 1; isOneByOne && sequences < 2 * most; sequences *= 2) {
    usualSizes.push_back(dims_);
    usualSizes.back()[0] = usualSizes.back()[1] = std::min(sequences, most);
  }
  Dims largest = dims_;
  largest[0] = maxTokens();
  largest[1] = maxSequences();
  if (!usualSizes.empty())
    largest = usualSizes.back();
  std::vector<DeviceDispatch> all;
  for (const Step &step : steps)
    all.push_back(withAddresses(std::get<Dispatch>(step)));
  // Rows that a loop's condition counts are told to the device trip by trip.
  const bool countsRows = std::any_of(program->loops.begin(), program->loops.end(), [](const Loop &loop) { return loop.rows > 0; });
  const bool isWhole = ready.isWhole = !countsRows && device_->runsWhole(all, !program->loops.empty());
  if (isWhole)
    cuts.clear();
  std::map<size_t, size_t> segmentAt; // by first step
  for (size_t i = 0; i < steps.size();) {
    const unsigned span = std::get<Dispatch>(steps[i]).span;
    segmentAt[i] = ready.segments.size();
    DeviceSteps code;
    code.most = largest;
    std::set<uint32_t> written;
    do {
      const Dispatch &dispatch = std::get<Dispatch>(steps[i]);
      code.dispatches.push_back(all[i]);
      for (uint32_t id : dispatch.buffers)
        if (outputs_[id].host)
          written.insert(id);
      ++i;
    } while (i < steps.size() && (isWhole || std::get<Dispatch>(steps[i]).span == span) && !cuts.count(i));
    for (const Loop &loop : program->loops)
      if (isWhole)
        code.loops.push_back({loop.first, loop.count, bufferPointers_[loop.condition], loop.atMost});
    std::vector<DeviceOutput> outputs;
    for (uint32_t id : written)
      // Who generates needs no logits: a row of them is more than all else that is copied.
      if (plan().buffers[id].kind == BufferKind::output ? plan().buffers[id].name != "logits" || program->name != "advance" : !isWhole)
        outputs.push_back({&plan().buffers[id], outputs_[id]});
    auto made = device_->prepare(code, outputs, usualSizes);
    if (!made.ok())
      return made.status();
    (*made)->name = program->name.c_str();
    for (const DeviceDispatch &dispatch : code.dispatches)
      (*made)->kernels.push_back(dispatch.kernel);
    ready.segments.push_back({std::move(*made), span});
  }
  if (isWhole)
    return absl::OkStatus();
  segmentAt[steps.size()] = ready.segments.size();
  for (const Loop &loop : program->loops) {
    const size_t first = segmentAt.at(loop.first), end = segmentAt.at(loop.first + loop.count);
    ready.loops.push_back({first, end - first, reinterpret_cast<const int32_t *>(outputs_[loop.condition].host), loop.atMost, loop.rows});
  }
  return absl::OkStatus();
}

absl::Status Engine::runSegments(const ReadyProgram &program, size_t first, size_t end, const int64_t *rows) {
  for (size_t i = first; i < end; ++i) {
    dims_[0] = rows[program.segments[i].span];
    if (dims_[0] == 0 && !program.isWhole)
      continue;
    if (absl::Status s = device_->run(*program.segments[i].code, dims_, rows, profile_.get()); !s.ok())
      return s;
  }
  return absl::OkStatus();
}

absl::Status Engine::runLoop(const ReadyProgram &program, const ReadyProgram::Loop &loop, const int64_t *rows, int64_t sequences) {
  int64_t now[kMaxSpans];
  std::copy(rows, rows + kMaxSpans, now);
  const int32_t *begin = loop.condition, *end = begin + sequences;
  for (uint32_t trip = 0; trip < loop.atMost && std::any_of(begin, end, [](int32_t flag) { return flag != 0; }); ++trip) {
    if (loop.rows) {
      int64_t &count = now[loop.rows] = 0;
      for (const int32_t *each = begin; each < end; ++each)
        if (*each < 0 || (count += *each) > rows[loop.rows])
          return absl::InternalError("the artifact's program '" + program.program->name +
                                     "' asks for more rows in a trip than its call has; compile the model again");
    }
    if (absl::Status s = runSegments(program, loop.first, loop.first + loop.count, now); !s.ok())
      return s;
  }
  return absl::OkStatus();
}

absl::Status Engine::run(const ReadyProgram &program, const int64_t *rows, int64_t sequences) {
  dims_[1] = sequences;
  size_t next = 0;
  for (const ReadyProgram::Loop &loop : program.loops) {
    if (absl::Status s = runSegments(program, next, loop.first, rows); !s.ok())
      return s;
    if (absl::Status s = runLoop(program, loop, rows, sequences); !s.ok())
      return s;
    next = loop.first + loop.count;
  }
  return runSegments(program, next, program.segments.size(), rows);
}

DeviceDispatch Engine::withAddresses(const Dispatch &dispatch) const {
  DeviceDispatch result{dispatch.kernel, {}, dispatch.span};
  for (uint32_t id : dispatch.buffers)
    result.buffers.push_back(bufferPointers_[id]);
  return result;
}

absl::Status Engine::runInSteps(const Program &program, const int64_t *rows, int64_t sequences,
                                const std::function<absl::Status(size_t step)> &after) {
  dims_[1] = sequences;
  for (size_t i = 0; i < program.steps.size(); ++i) {
    dims_[0] = rows[std::get<Dispatch>(program.steps[i]).span];
    auto code = device_->prepare({{withAddresses(std::get<Dispatch>(program.steps[i]))}, {}, dims_}, {}, {});
    if (!code.ok())
      return code.status();
    if (absl::Status s = device_->run(**code, dims_, rows, /*profile=*/nullptr); !s.ok())
      return s;
    if (absl::Status s = after(i); !s.ok())
      return s;
  }
  return absl::OkStatus();
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
