// See Verify.h. The model comes from the artifact's text and its weights are unpacked from the artifact's
// buffers, or both come from a directory; the compiled side is the runtime's engine, one dispatch at a time.
#include "tools/llmc/Verify.h"
#include <array>
#include "codegen/BuildArtifact.h"
#include "dialect/llm/LlmDialect.h"
#include "dialect/plan/Extent.h"
#include "dialect/reference/Difference.h"
#include "dialect/reference/Evaluator.h"
#include "dialect/reference/Storage.h"
#include "frontends/huggingface/Import.h"
#include "mlir/Parser/Parser.h"
#include "runtime/Engine.h"
#include "tools/llmc/Compile.h"
#include "tools/llmc/ModelMap.h"
#include "tools/llmc/VerifyWeights.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/SourceMgr.h"

using namespace mlir;
namespace llmc {
namespace {

using reference::Element;
using reference::Tensor;

/// A folder of temporary files, removed in the end.
class TemporaryFolder {
public:
  ~TemporaryFolder() {
    if (!path_.empty())
      llvm::sys::fs::remove_directories(path_);
  }
  absl::StatusOr<std::string> create() {
    if (auto error = llvm::sys::fs::createUniqueDirectory("llmc-verify", path_))
      return absl::UnavailableError("cannot make a temporary folder: " + error.message());
    return path_.str().str();
  }

private:
  llvm::SmallString<128> path_;
};

absl::StatusOr<OwningOpRef<ModuleOp>> modelOf(MLIRContext &context, const runtime::Artifact &artifact,
                                              const std::string &directory, const std::string &heads) {
  if (std::optional<uint32_t> blob = artifact.plan().modelBlob) {
    StringRef text(reinterpret_cast<const char *>(artifact.blobData(*blob)), artifact.blobs()[*blob].bytes);
    llvm::SourceMgr sources;
    sources.AddNewSourceBuffer(llvm::MemoryBuffer::getMemBufferCopy(text, artifact.path() + " (model)"),
                               llvm::SMLoc());
    SourceMgrDiagnosticHandler handler(sources, &context);
    OwningOpRef<ModuleOp> module = parseSourceFile<ModuleOp>(sources, &context);
    if (!module)
      return absl::DataLossError(artifact.path() +
                                 ": the model's text is not valid (see the message above); compile it again");
    return module;
  }
  if (directory.empty())
    return absl::FailedPreconditionError(
        artifact.path() + ": has no text of its model to compare with (it was compiled from a later stage or "
                          "with --no-model-text); give the checkpoint's directory with --weights=DIR");
  auto imported = importHuggingFace(context, directory, /*weights=*/true, heads);
  if (!imported.ok())
    return imported.status();
  return std::move(imported->model.module);
}

/// The artifact's plan must be what this compiler makes of the model: buffers and dispatches are taken for
/// each other by their numbers.
absl::Status checkSamePlan(ModuleOp planned, const runtime::Artifact &artifact) {
  auto made = buildArtifact(planned, {}, {});
  if (!made.ok())
    return made.status();
  auto describe = [](const runtime::Plan &plan) {
    std::vector<std::string> lines;
    for (const runtime::Buffer &b : plan.buffers)
      lines.push_back("buffer '" + b.name + "' " + runtime::kindName(b.kind) + " " +
                      runtime::elementName(b.type) + " " + runtime::printShape(b.shape) + " at " +
                      std::to_string(b.arenaOffset));
    for (const runtime::Kernel &k : plan.kernels) {
      lines.push_back("kernel '" + k.name + "'");
      for (const runtime::Parameter &p : k.parameters)
        lines.back() += std::string(" ") + runtime::elementName(p.type) + runtime::printShape(p.shape) +
                        (p.written ? "written" : "");
    }
    for (const runtime::Program &p : plan.programs)
      for (size_t i = 0; i < p.steps.size(); ++i) {
        const auto &dispatch = std::get<runtime::Dispatch>(p.steps[i]);
        lines.push_back("program '" + p.name + "' step " + std::to_string(i) + ": kernel " +
                        std::to_string(dispatch.kernel) + " on");
        for (uint32_t b : dispatch.buffers)
          lines.back() += " " + std::to_string(b);
      }
    return lines;
  };
  auto here = describe(made->plan), there = describe(artifact.plan());
  size_t i = 0;
  while (i < here.size() && i < there.size() && here[i] == there[i])
    ++i;
  if (i == here.size() && i == there.size())
    return absl::OkStatus();
  auto at = [&](const std::vector<std::string> &lines) { return i < lines.size() ? lines[i] : "nothing"; };
  return absl::FailedPreconditionError(
      artifact.path() +
      ": its plan is not the one that this llmc makes of the model, so values cannot be "
      "matched; verify it with the llmc that compiled it, or compile it again (it has " +
      at(there) + ", expected " + at(here) + ")");
}

/// Every blob; of weights the error says which.
absl::Status verifyBlobs(const runtime::Artifact &artifact) {
  for (const runtime::Buffer &b : artifact.plan().buffers)
    if (b.kind == runtime::BufferKind::weight)
      if (absl::Status s = artifact.verifyBlob(b.blob); !s.ok())
        return absl::Status(s.code(), "weight '" + b.name + "': " + std::string(s.message()));
  return artifact.verifyWeights();
}

Element elementOf(runtime::ElementType type) {
  using E = runtime::ElementType;
  switch (type) {
  case E::f32:
    return Element::F32;
  case E::bf16:
    return Element::BF16;
  case E::f16:
    return Element::F16;
  case E::f64:
    return Element::F64;
  case E::i64:
    return Element::I64;
  case E::i32:
    return Element::I32;
  case E::i16:
    return Element::I16;
  case E::i8:
  case E::u8:
    return Element::I8;
  case E::i1:
    return Element::I1;
  }
  llvm_unreachable("no such element type");
}

/// Columns `column .. column + width` of a buffer's rows.
Tensor columnsOf(const Tensor &whole, int64_t column, ArrayRef<int64_t> shape) {
  Tensor part(whole.element, shape);
  int64_t width = shape.back(), stride = whole.shape.back();
  for (int64_t i = 0; i < part.size(); ++i)
    part.cells[i] = whole.cells[i / width * stride + column + i % width];
  return part;
}

/// One sequence, first its prompt by `score`, then a token by `advance`, on both sides.
class Verifier {
public:
  Verifier(ModuleOp model, ModelMap &map, runtime::Engine &engine, reference::WeightProvider weights,
           VerifyReport &report)
      : model_(model), map_(map), engine_(engine), weights_(std::move(weights)), report_(report) {}

  absl::Status run() {
    std::vector<int32_t> tokens = report_.tokens;
    for (const char *name : {"score", "advance"}) {
      const runtime::Program *compiled = engine_.plan().program(name);
      if (!compiled || !compiled->loops.empty() || !model_.lookupSymbol<func::FuncOp>(name))
        continue;
      if (absl::Status s = runProgram(name, tokens); !s.ok())
        return s;
      past_ += tokens.size();
      tokens = {next_};
    }
    return absl::OkStatus();
  }

private:
  absl::Status runProgram(const std::string &name, const std::vector<int32_t> &tokens) {
    const ProgramMap &program = map_.program(name);
    report_.hidden += program.hidden;
    std::vector<std::optional<Tensor>> wanted;
    if (absl::Status s = evaluate(name, tokens, program, wanted); !s.ok())
      return s;
    size_t next = 0;
    const runtime::Program &compiled = *engine_.plan().program(name.c_str());
    int64_t rows[runtime::kMaxSpans] = {};
    fillInputs(compiled, tokens, rows);
    return engine_.runInSteps(compiled, rows, 1, [&](size_t step) -> absl::Status {
      for (; next < program.crossings.size() && program.crossings[next].step == step; ++next)
        compare(name, program, program.crossings[next], compiled, wanted);
      return absl::OkStatus();
    });
  }

  /// Runs the program on the reference evaluator and keeps the values that crossings need.
  absl::Status evaluate(const std::string &name, const std::vector<int32_t> &tokens,
                        const ProgramMap &program, std::vector<std::optional<Tensor>> &wanted) {
    wanted.assign(program.values.size(), std::nullopt);
    std::vector<bool> isNeeded(program.values.size());
    for (const Crossing &crossing : program.crossings)
      for (const Crossing::Part &part : crossing.parts)
        isNeeded[part.value] = true;
    size_t next = 0;
    reference::Options options;
    // Results come in the order of `values`; those of calls were results of the called function already, and
    // those within regions belong to their op.
    options.afterResult = [&](OpResult result, const reference::Value &value) {
      Operation *op = result.getOwner();
      if (isa<func::CallOp>(op) || !isa<func::FuncOp>(op->getParentOp()))
        return;
      if (next < wanted.size() && program.values[next].result == result && isNeeded[next] && value.isTensor())
        wanted[next] = value.tensor();
      ++next;
    };
    auto function = model_.lookupSymbol<func::FuncOp>(name);
    std::vector<reference::Value> arguments;
    for (BlockArgument argument : function.getArguments()) {
      auto value = makeArgument(function, argument, tokens);
      if (!value.ok())
        return value.status();
      arguments.push_back(std::move(*value));
    }
    auto results = reference::Evaluator(model_, weights_, options).call(name, arguments);
    if (failed(results))
      return absl::InternalError("the reference evaluator failed (see the message above)");
    for (auto [i, value] : llvm::enumerate(*results)) {
      if (auto state = function.getResultAttrOfType<StringAttr>(i, "llm.state"))
        states_[state.str()] = std::move(value);
      else if (auto output = function.getResultAttrOfType<StringAttr>(i, "llm.output");
               output && output.getValue() == "logits")
        next_ = largest(value.tensor());
    }
    return absl::OkStatus();
  }

  absl::StatusOr<reference::Value> makeArgument(func::FuncOp function, BlockArgument argument,
                                                const std::vector<int32_t> &tokens) {
    unsigned i = argument.getArgNumber();
    int64_t count = tokens.size();
    auto state = function.getArgAttrOfType<StringAttr>(i, "llm.state");
    if (state && states_.count(state.str()))
      return std::move(states_[state.str()]);
    if (isa<llm::SequencesType>(argument.getType())) {
      size_t span = llvm::count_if(function.getArguments().take_front(i),
                                   [&](BlockArgument before) { return bool(function.getArgAttr(before.getArgNumber(), "llm.span")); });
      auto [from, to] = spanOf(*engine_.plan().program(function.getName().str().c_str()), span, count);
      Tensor where(Element::I32, {to - from, 2}), rows(Element::I32, {1, 4});
      for (int64_t t = 0; t < to - from; ++t)
        where.intAt(t, 1) = from + t;
      rows.intAt(0, 2) = to - from;
      rows.intAt(0, 3) = from;
      return reference::Value::sequences(std::move(where), std::move(rows));
    }
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    auto element = type ? reference::elementOf(type.getElementType()) : std::nullopt;
    if (!element)
      return absl::UnimplementedError("program '" + function.getName().str() +
                                      "' has an argument that is no tensor");
    SmallVector<int64_t> shape(type.getShape());
    auto dims = function.getArgAttrOfType<ArrayAttr>(i, "llm.dims");
    size_t named = 0;
    const int64_t sizes[] = {count, 1, engine_.slots(), engine_.context(),
                             engine_.context() / runtime::kContextBlock};
    for (int64_t &size : shape)
      if (ShapedType::isDynamic(size)) {
        auto extent = dims && named < dims.size()
                          ? plan::parseExtent(cast<StringAttr>(dims[named++]).getValue())
                          : std::nullopt;
        if (!extent)
          return absl::InvalidArgumentError("program '" + function.getName().str() + "': argument " +
                                            std::to_string(i) + " has a dimension without a name");
        size = extent->factor * sizes[extent->symbol];
      }
    Tensor tensor(*element, shape);
    if (auto input = function.getArgAttrOfType<StringAttr>(i, "llm.input");
        input && input.getValue() == "tokens")
      for (int64_t t = 0; t < count; ++t)
        tensor.integer(t) = tokens[t];
    else if (input && input.getValue() == "bounds")
      for (auto [k, bound] : llvm::enumerate(boundsOf(tokens)))
        tensor.integer(k) = bound;
    return reference::Value(
        std::move(tensor)); // states begin at zero; sampling and draws of zeros are greedy
  }

  /// All tokens are known.
  std::array<int32_t, 4> boundsOf(const std::vector<int32_t> &tokens) const {
    int32_t end = past_ + tokens.size();
    return {end, end, end, 0};
  }

  /// Positions of a program's rows in a span for so many tokens that follow those there are.
  std::pair<int64_t, int64_t> spanOf(const runtime::Program &program, size_t span, int64_t count) const {
    runtime::SpanValues values = {past_, past_ + count, past_};
    for (const runtime::Setting &s : engine_.plan().metadata.settings)
      values[4 + s.column] = int64_t(s.standard);
    if (span >= program.spans.size())
      return {past_, past_ + count};
    return {runtime::evaluateGrid(program.spans[span].from, values.data()).value_or(0),
            runtime::evaluateGrid(program.spans[span].to, values.data()).value_or(0)};
  }

  void fillInputs(const runtime::Program &program, const std::vector<int32_t> &tokens, int64_t *counts) {
    const std::array<int32_t, 4> bounds = boundsOf(tokens);
    const runtime::CallInputs &in = engine_.inputs();
    std::copy(tokens.begin(), tokens.end(), in.tokens);
    for (size_t k = 0; k < std::max<size_t>(1, program.spans.size()); ++k) {
      auto [from, to] = spanOf(program, k, tokens.size());
      counts[k] = to - from;
      for (int64_t t = 0; t < to - from; ++t) {
        in.spans[k].where[2 * t] = 0;
        in.spans[k].where[2 * t + 1] = from + t;
      }
      const int32_t rows[4] = {0, 0, int32_t(to - from), int32_t(from)};
      std::copy(rows, rows + 4, in.spans[k].rows);
    }
    std::copy(bounds.begin(), bounds.end(), in.bounds);
    std::fill(in.sampling, in.sampling + 4, 0.0f);
    std::fill(in.draws, in.draws + 4, 0);
  }

  void compare(const std::string &name, const ProgramMap &program, const Crossing &crossing,
               const runtime::Program &compiled, const std::vector<std::optional<Tensor>> &wanted) {
    uint32_t id = std::get<runtime::Dispatch>(compiled.steps[crossing.step]).buffers[crossing.buffer];
    const runtime::Buffer &buffer = engine_.plan().buffers[id];
    for (const Crossing::Part &part : crossing.parts) {
      const std::optional<Tensor> &want = wanted[part.value];
      if (!want)
        continue;
      // A buffer of several linears side by side is wider than each.
      SmallVector<int64_t, 4> shape(want->shape);
      if (part.column >= 0)
        shape.back() = buffer.shape.back().multiplier;
      Tensor got = reference::tensorOfBytes(elementOf(buffer.type), shape,
                                            static_cast<const uint8_t *>(engine_.memory(id)));
      if (part.column >= 0)
        got = columnsOf(got, part.column, want->shape);
      reference::Difference d(*want, got);
      bool isReal = reference::isReal(want->element);
      report_.values.push_back(
          {name, program.values[part.value].name, crossing.kernel,
           std::string(reference::kindName(want->element)) + reference::text(want->shape), d.relative,
           d.worstRowError, d.worstRow, isReal ? d.relative <= report_.tolerance : d.largest == 0});
    }
  }

  /// The token of the largest logit in the last row.
  static int32_t largest(const Tensor &logits) {
    int64_t columns = logits.shape.back(), first = logits.size() - columns, best = 0;
    for (int64_t i = 1; i < columns; ++i)
      if (logits.real(first + i) > logits.real(first + best))
        best = i;
    return best;
  }

  ModuleOp model_;
  ModelMap &map_;
  runtime::Engine &engine_;
  reference::WeightProvider weights_;
  VerifyReport &report_;
  std::map<std::string, reference::Value> states_;
  int64_t past_ = 0;
  int32_t next_ = 0;
};

/// The sequence to run: as asked for, or random.
absl::StatusOr<std::vector<int32_t>> chooseTokens(const VerifyCommand &command, const runtime::Metadata &m) {
  std::vector<int32_t> tokens = command.tokens;
  uint64_t state = 1;
  if (tokens.empty())
    for (int64_t i = 0; i < command.random; ++i) {
      state = state * 6364136223846793005ull + 1442695040888963407ull;
      tokens.push_back(int32_t((state >> 33) % m.vocab));
    }
  int64_t patch = std::max<int64_t>(1, m.patch);
  if (command.tokens.empty())
    tokens.resize(llvm::alignTo(tokens.size(), patch), 0);
  else if (tokens.size() % patch)
    return absl::InvalidArgumentError("this model works on patches of " + std::to_string(patch) + " tokens; " +
                                      std::to_string(tokens.size()) + " are not whole patches");
  int64_t most = std::min<int64_t>(m.maxTokens, int64_t(m.context) - 1); // one more follows
  if (tokens.empty() || int64_t(tokens.size()) > most)
    return absl::InvalidArgumentError("verify takes 1 to " + std::to_string(most) +
                                      " tokens of this model, got " + std::to_string(tokens.size()));
  for (int32_t token : tokens)
    if (token < 0 || uint32_t(token) >= m.vocab)
      return absl::InvalidArgumentError("token " + std::to_string(token) + " is outside the vocabulary of " +
                                        std::to_string(m.vocab));
  return tokens;
}

} // namespace

const VerifiedValue *VerifyReport::firstBeyond() const {
  auto found = llvm::find_if(values, [](const VerifiedValue &v) { return !v.isWithin; });
  return found == values.end() ? nullptr : &*found;
}

absl::StatusOr<VerifyReport> verify(const VerifyCommand &command) {
  std::string file = command.input, directory = command.weights;
  TemporaryFolder temporary;
  if (llvm::sys::fs::is_directory(command.input)) {
    auto folder = temporary.create();
    if (!folder.ok())
      return folder.status();
    CompileCommand compilation;
    compilation.input = command.input;
    compilation.heads = command.heads;
    compilation.output = file = *folder + "/m.llmc";
    if (!command.levels.empty())
      compilation.levels = command.levels;
    if (absl::Status s = compile(compilation); !s.ok())
      return s;
    if (directory.empty())
      directory = command.input;
  } else if (!command.levels.empty()) {
    return absl::InvalidArgumentError("--cpu is for directories: " + file + " has its code already");
  }

  auto opened = runtime::Artifact::open(file);
  if (!opened.ok())
    return opened.status();
  const runtime::Artifact &artifact = **opened;
  const auto &objects = artifact.plan().codeObjects;
  if (artifact.hasWeights()) // else the engine refuses below
    if (absl::Status s = verifyBlobs(artifact); !s.ok())
      return s;
  if (llvm::none_of(objects, [](const runtime::CodeObject &o) { return o.target == "cpu"; }))
    return absl::FailedPreconditionError(file +
                                         ": has no code for a CPU, which verify needs; compile the model "
                                         "with --target=cpu");
  VerifyReport report;
  report.file = command.input;
  report.tolerance = command.tolerance;
  auto tokens = chooseTokens(command, artifact.plan().metadata);
  if (!tokens.ok())
    return tokens.status();
  report.tokens = *tokens;
  runtime::EngineOptions options;
  options.context = tokens->size() + 1;
  auto engine = runtime::Engine::open(file, options);
  if (!engine.ok())
    return engine.status();

  MLIRContext context;
  loadCompilerDialects(context);
  auto model = modelOf(context, artifact, directory, command.heads);
  if (!model.ok())
    return model.status();
  auto map = ModelMap::create(**model);
  if (!map.ok())
    return map.status();
  if (absl::Status s = checkSamePlan(map->planned(), artifact); !s.ok())
    return s;
  auto weights = directory.empty() ? weightsOfArtifact(artifact, **model, map->planned())
                                   : weightsOfCheckpoint(directory, command.heads);
  if (!weights.ok())
    return weights.status();
  Verifier verifier(**model, *map, **engine, *weights, report);
  if (absl::Status s = verifier.run(); !s.ok())
    return s;
  return report;
}

} // namespace llmc
