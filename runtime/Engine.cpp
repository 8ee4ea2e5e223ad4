// Opening: code object, memory, pointers. After it, running a program is filling input arrays and calling the
// thread pool.
#include "runtime/Engine.h"
#include "runtime/cpu/CpuLevel.h"
#include <cstring>
#include <sys/mman.h>

namespace llmc::runtime {

Pages &Pages::operator=(Pages &&other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

Pages::~Pages() {
  if (data_)
    munmap(data_, bytes_);
}

std::optional<Pages> Pages::map(uint64_t bytes) {
  Pages pages;
  bytes = std::max<uint64_t>((bytes + kPageBytes - 1) / kPageBytes * kPageBytes, kPageBytes);
  void *data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED)
    return std::nullopt;
  pages.data_ = static_cast<uint8_t *>(data);
  pages.bytes_ = bytes;
  return pages;
}

static absl::Status badOption(const char *name, int64_t value, int64_t low, int64_t high) {
  return absl::InvalidArgumentError(std::string(name) + " is " + std::to_string(value) + ", expected " +
                                    std::to_string(low) + " to " + std::to_string(high));
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

  auto pool = ThreadPool::create(options.threads ? options.threads : usableCpus());
  if (!pool.ok())
    return pool.status();
  engine->pool_ = std::move(*pool);
  if (absl::Status s = engine->loadCode(); !s.ok())
    return s;
  if (absl::Status s = engine->allocate(); !s.ok())
    return s;
  if (absl::Status s = engine->resolve(); !s.ok())
    return s;
  return engine;
}

absl::Status Engine::loadCode() {
  const std::string &path = artifact_->path();
  auto chosen = chooseCodeObject(plan().codeObjects, detectCpu(), path);
  if (!chosen.ok())
    return chosen.status();
  const CodeObject &object = plan().codeObjects[*chosen];
  codeLevel_ = object.level;
  for (const std::string &feature : object.features)
    codeLevel_ += "+" + feature;
  const BlobEntry &blob = artifact_->blobs()[object.blob];
  auto code = ElfImage::load(artifact_->blobData(object.blob), blob.bytes, path + " (" + object.level + ")");
  if (!code.ok())
    return code.status();
  code_ = std::move(*code);
  return absl::OkStatus();
}

absl::Status Engine::allocate() {
  const Metadata &m = plan().metadata;
  Dims most = dims_;
  most[0] = m.maxTokens;
  most[1] = m.maxSequences;
  uint64_t arenaBytes = 0;
  for (const Program &program : plan().programs)
    arenaBytes = std::max(arenaBytes, program.arenaBytes);

  auto full = [&](const std::string &what, uint64_t bytes) {
    return absl::ResourceExhaustedError(artifact_->path() + ": no memory for " + what + " of " +
                                        std::to_string(bytes) + " bytes (context " +
                                        std::to_string(context()) + ", " + std::to_string(slots()) +
                                        " sessions); choose a smaller context or fewer sessions");
  };
  auto arena = Pages::map(arenaBytes);
  if (!arena)
    return full("the arena", arenaBytes);
  arena_ = std::move(*arena);

  const uint64_t T = m.maxTokens, S = m.maxSequences;
  auto aligned = [](uint64_t bytes) {
    return (bytes + kBufferAlignment - 1) / kBufferAlignment * kBufferAlignment;
  };
  const uint64_t sizes[5] = {aligned(4 * T), aligned(8 * T), aligned(16 * S), aligned(16 * S),
                             aligned(32 * S)};
  auto inputs = Pages::map(sizes[0] + sizes[1] + sizes[2] + sizes[3] + sizes[4]);
  if (!inputs)
    return full("inputs", 4 * T);
  inputPages_ = std::move(*inputs);
  uint8_t *at = inputPages_.data();
  inputs_.tokens = reinterpret_cast<int32_t *>(at);
  inputs_.where = reinterpret_cast<int32_t *>(at += sizes[0]);
  inputs_.rows = reinterpret_cast<int32_t *>(at += sizes[1]);
  inputs_.sampling = reinterpret_cast<float *>(at += sizes[2]);
  inputs_.draws = reinterpret_cast<int64_t *>(at += sizes[3]);

  bufferPointers_.assign(plan().buffers.size(), nullptr);
  for (size_t i = 0; i < plan().buffers.size(); ++i) {
    const Buffer &b = plan().buffers[i];
    switch (b.kind) {
    case BufferKind::weight:
    case BufferKind::constant:
      // Mapped read only and verified never to be written.
      bufferPointers_[i] = const_cast<uint8_t *>(artifact_->blobData(b.blob) + b.blobOffset);
      break;
    case BufferKind::transient:
      bufferPointers_[i] = arena_.data() + b.arenaOffset;
      break;
    case BufferKind::state: {
      auto bytes = shapeBytes(b.shape, b.type, most);
      auto sum = bytes ? checkedAdd(stateBytes_, *bytes) : std::nullopt;
      auto pages = sum ? Pages::map(*bytes) : std::nullopt;
      if (!pages)
        return full("state '" + b.name + "'", bytes.value_or(UINT64_MAX));
      stateBytes_ = *sum;
      bufferPointers_[i] = pages->data();
      states_.push_back({std::move(*pages), *bytes / static_cast<uint64_t>(dims_[2])});
      break;
    }
    case BufferKind::output: {
      uint64_t bytes = *shapeBytes(b.shape, b.type, most);
      auto pages = Pages::map(bytes);
      if (!pages)
        return full("output '" + b.name + "'", bytes);
      bufferPointers_[i] = pages->data();
      outputs_.push_back(std::move(*pages));
      break;
    }
    case BufferKind::input:
      bufferPointers_[i] = b.name == "tokens"     ? static_cast<void *>(inputs_.tokens)
                           : b.name == "where"    ? static_cast<void *>(inputs_.where)
                           : b.name == "rows"     ? static_cast<void *>(inputs_.rows)
                           : b.name == "sampling" ? static_cast<void *>(inputs_.sampling)
                                                  : static_cast<void *>(inputs_.draws);
      break;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<void *> Engine::kernelFunction(const std::string &name) {
  if (void *function = code_->function(name))
    return function;
  return damagedArtifact(artifact_->path(), "code object '" + codeLevel_ + "' lacks symbol '" + name + "'");
}

absl::Status Engine::resolve() {
  // Also kernels that no program uses: an artifact holds what its plan says.
  for (const Kernel &kernel : plan().kernels)
    for (const char *suffix : {"", ".grid"})
      if (auto function = kernelFunction(kernel.name + suffix); !function.ok())
        return function.status();
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
  ready.name = program->name.c_str();
  for (uint32_t id : program->outputs) {
    const Buffer &b = plan().buffers[id];
    if (b.name == "next")
      ready.next = static_cast<int32_t *>(bufferPointers_[id]);
    else
      ready.logits = static_cast<float *>(bufferPointers_[id]);
  }
  size_t pointers = 0;
  for (const Step &step : program->steps)
    pointers += std::get<Dispatch>(step).buffers.size();
  ready.pointers.reserve(pointers); // tasks point into it
  for (const Step &step : program->steps) {
    const Dispatch &dispatch = std::get<Dispatch>(step);
    const std::string &kernel = plan().kernels[dispatch.kernel].name;
    Task task;
    task.buffers = ready.pointers.data() + ready.pointers.size();
    task.kernel = reinterpret_cast<KernelFunction>(*kernelFunction(kernel));
    task.grid = reinterpret_cast<GridFunction>(*kernelFunction(kernel + ".grid"));
    for (uint32_t id : dispatch.buffers)
      ready.pointers.push_back(bufferPointers_[id]);
    ready.tasks.push_back(task);
    ready.kernels.push_back(dispatch.kernel);
  }
  return absl::OkStatus();
}

void Engine::run(const ReadyProgram &program, int64_t tokens, int64_t sequences) {
  dims_[0] = tokens;
  dims_[1] = sequences;
  if (!profile_) {
    pool_->run(program.tasks.data(), program.tasks.size(), dims_.data());
    return;
  }
  for (size_t i = 0; i < program.tasks.size(); ++i) {
    int64_t begin = profile_->now();
    pool_->run(&program.tasks[i], 1, dims_.data());
    profile_->add({program.name, program.kernels[i], tokens, begin, profile_->now()});
  }
}

Profile &Engine::startProfile() {
  profile_ = std::make_unique<Profile>();
  return *profile_;
}

void Engine::clearSlot(int slot) {
  for (const State &state : states_) {
    uint8_t *begin = state.pages.data() + static_cast<uint64_t>(slot) * state.slotBytes,
            *end = begin + state.slotBytes;
    auto overPage = [](uint8_t *p) { return reinterpret_cast<uintptr_t>(p) % kPageBytes; };
    uint8_t *firstPage = begin + (kPageBytes - overPage(begin)) % kPageBytes, *lastPage = end - overPage(end);
    // Whole pages go back to the system (untouched ones cost nothing) and read as zero; small states are
    // simply written.
    if (state.slotBytes < 64 * kPageBytes || lastPage <= firstPage ||
        madvise(firstPage, static_cast<size_t>(lastPage - firstPage), MADV_DONTNEED) != 0) {
      memset(begin, 0, state.slotBytes);
      continue;
    }
    memset(begin, 0, static_cast<size_t>(firstPage - begin));
    memset(lastPage, 0, static_cast<size_t>(end - lastPage));
  }
}

} // namespace llmc::runtime
