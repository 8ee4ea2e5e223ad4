// See Compile.h. The order of the stages is in passes/Pipelines.cpp; here they are run, dumped and joined
// with the checkpoint.
#include "tools/llmc/Compile.h"
#include "codegen/BuildArtifact.h"
#include "runtime/TemporaryFile.h"
#include "codegen/cpu/CpuTarget.h"
#include "codegen/cuda/CudaTarget.h"
#include "frontends/huggingface/Files.h"
#include "frontends/huggingface/Import.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Support/FileUtilities.h"
#include "mlir/Transforms/Passes.h"
#include "passes/Pipelines.h"
#include "runtime/template/Template.h"
#include "tools/llmc-opt/Register.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SourceMgr.h"
#include <unistd.h>

using namespace mlir;
namespace llmc {
namespace {

absl::Status writeText(const std::string &path, function_ref<void(llvm::raw_ostream &)> print) {
  // Standard output, devices and pipes are written directly: renaming over /dev/stdout would replace it.
  bool isSpecial = llvm::sys::fs::exists(path) && !llvm::sys::fs::is_regular_file(path) &&
                   !llvm::sys::fs::is_directory(path);
  if (path.empty() || isSpecial) {
    std::error_code error;
    llvm::raw_fd_ostream out(path.empty() ? "-" : path, error);
    if (!error) {
      print(out);
      out.flush();
      error = out.error();
      out.clear_error(); // which is reported here, and would end the program in the destructor
    }
    return error ? absl::UnavailableError((path.empty() ? "standard output" : path) +
                                          ": cannot write: " + error.message())
                 : absl::OkStatus();
  }
  std::string text;
  llvm::raw_string_ostream out(text);
  print(out);
  runtime::TemporaryFile file(path);
  if (absl::Status s = file.open(text.size()); !s.ok())
    return s;
  if (absl::Status s = file.write(0, text.data(), text.size()); !s.ok())
    return s;
  return file.commit();
}

/// A stage's module, in dumpDir/`name`.
absl::Status dump(const CompileCommand &command, const std::string &name, Operation *module) {
  if (command.dumpDir.empty())
    return absl::OkStatus();
  std::string path = command.dumpDir + "/" + name;
  if (auto error = llvm::sys::fs::create_directories(llvm::sys::path::parent_path(path)))
    return absl::UnavailableError(path + ": cannot make its folder: " + error.message());
  return writeText(path, [&](llvm::raw_ostream &out) { out << textOf(module); });
}

absl::Status runStage(ModuleOp module, const char *name, function_ref<void(OpPassManager &)> stage) {
  PassManager pm(module.getContext());
  stage(pm);
  if (failed(pm.run(module)))
    return absl::InternalError(std::string("the ") + name + " stage failed (see the message above)");
  return absl::OkStatus();
}

/// Whether the IR has reached that stage already: every stage's output is legal input.
bool hasDispatches(ModuleOp m) {
  return m
      .walk([](Operation *op) {
        return isa<llm::DispatchOp>(op) ? WalkResult::interrupt() : WalkResult::advance();
      })
      .wasInterrupted();
}
bool hasKernels(ModuleOp m) {
  return llvm::any_of(m.getOps<func::FuncOp>(), [](func::FuncOp f) { return f->hasAttr("llm.kernel"); });
}
bool hasPrograms(ModuleOp m) { return !m.getOps<plan::ProgramOp>().empty(); }

absl::StatusOr<OwningOpRef<ModuleOp>> parseModule(MLIRContext &context, const std::string &path) {
  std::string message;
  auto file = openInputFile(path, &message);
  if (!file)
    return absl::NotFoundError(path + ": cannot read: " + message);
  llvm::SourceMgr sources;
  sources.AddNewSourceBuffer(std::move(file), llvm::SMLoc());
  SourceMgrDiagnosticHandler handler(sources, &context);
  OwningOpRef<ModuleOp> module = parseSourceFile<ModuleOp>(sources, &context);
  if (!module)
    return absl::InvalidArgumentError(path + ": is not valid MLIR (see the message above)");
  return module;
}

/// Every tensor that the plan's weights hold must be in the checkpoint with as many bytes as the plan
/// expects.
absl::Status checkWeights(ModuleOp planned, const Checkpoint &checkpoint, const std::string &directory) {
  for (auto buffer : planned.getOps<plan::BufferOp>())
    if (buffer.getWeights())
      for (auto name : buffer.getWeights()->getAsValueRange<StringAttr>()) {
        int64_t stack = 0;
        if (buffer.getLayoutAttr())
          if (auto attr = buffer.getLayoutAttr().getAs<IntegerAttr>("stack"))
            stack = attr.getInt();
        for (int64_t e = 0; e < std::max<int64_t>(1, stack); ++e) {
          auto [before, after] = name.split("{}");
          std::string full = stack ? (before + Twine(e) + after).str() : name.str();
          if (!checkpoint.find(full))
            return absl::NotFoundError(directory + ": tensor \"" + full +
                                       "\" is not in the checkpoint; the module reads it");
        }
      }
  return absl::OkStatus();
}

class ProgressBar {
public:
  explicit ProgressBar(bool wanted) : on(wanted && isatty(2)) {}
  void show(uint64_t done, uint64_t total) {
    if (!on || total == 0 || done * 200 / total == last)
      return;
    last = done * 200 / total;
    int filled = done * 40 / total;
    fprintf(stderr, "\r  packing weights [%.*s%*s] %3d %% of %.1f MB", filled,
            "########################################", 40 - filled, "", int(done * 100 / total),
            total / 1e6);
    if (done == total)
      fprintf(stderr, "\r\033[K");
  }

private:
  bool on;
  uint64_t last = ~uint64_t(0);
};

void fillTokenizer(const ImportedModel &imported, ArtifactContents &contents) {
  runtime::TokenizerPlan &tokenizer = contents.plan.tokenizer;
  if (imported.tokenizer.chatTemplate)
    tokenizer.chatTemplate = *imported.tokenizer.chatTemplate;
  if (imported.tokenizer.tokenizerJson) {
    tokenizer.kind = runtime::TokenizerKind::huggingFaceJson;
    tokenizer.blob = contents.blobs.size();
    contents.blobs.push_back(blobOf(*imported.tokenizer.tokenizerJson));
  } else if (imported.tokenizer.tiktokenModel) {
    tokenizer.kind = runtime::TokenizerKind::tiktoken;
    tokenizer.blob = contents.blobs.size();
    tokenizer.pattern = imported.model.tiktokenPattern;
    for (const auto &special : imported.tiktokenSpecials)
      tokenizer.specialTokens.push_back({special.id, special.text, true});
    contents.blobs.push_back(blobOf(*imported.tokenizer.tiktokenModel));
  }
}

/// The model is good without chat, so a template that the runtime cannot follow is no error here.
void warnOfTemplate(const std::string &text, const std::string &directory) {
  if (text.empty())
    return;
  if (auto parsed = runtime::Template::parse(text, directory + ": chat template"); !parsed.ok())
    llvm::errs() << "llmc: warning: " << std::string(parsed.status().message())
                 << "; llmc-run --chat will refuse this model\n";
}

/// The checkpoint's tensors, read from its files.
TensorSource tensorsOf(const Checkpoint &checkpoint, const std::string &directory, bool allowNonFinite) {
  auto find = [&checkpoint](const std::string &name) -> StoredTensor {
    const CheckpointTensor *tensor = checkpoint.find(name);
    if (!tensor)
      return {};
    return {tensor->shape, tensor->bytes.size(),
            [&checkpoint, tensor](uint64_t offset, uint8_t *to, size_t n) {
              return checkpoint.read(*tensor, offset, to, n);
            }};
  };
  return {find, directory, allowNonFinite};
}

/// The targets' names in the command, understood.
struct Targets {
  std::vector<CpuLevel> levels;
  std::vector<CudaArch> archs;
};

absl::StatusOr<Targets> parseTargets(const CompileCommand &command) {
  Targets targets;
  for (const std::string &name : command.levels) {
    auto level = CpuLevel::parse(name);
    if (!level)
      return absl::InvalidArgumentError("--cpu: " + llvm::toString(level.takeError()));
    targets.levels.push_back(*level);
  }
  for (const std::string &name : command.archs) {
    auto arch = CudaArch::parse(name);
    if (!arch)
      return absl::InvalidArgumentError("--arch: " + llvm::toString(arch.takeError()));
    targets.archs.push_back(*arch);
  }
  return targets;
}

/// The module that a text holds, with the checkpoint that belongs to it if an artifact is wanted.
absl::StatusOr<ImportedModel> readText(MLIRContext &context, const CompileCommand &command) {
  ImportedModel imported;
  auto parsed = parseModule(context, command.input);
  if (!parsed.ok())
    return parsed.status();
  imported.model.module = std::move(*parsed);
  if (!command.emit.empty() || !command.hasWeights)
    return imported;
  const std::string &directory = command.weights;
  if (directory.empty())
    return absl::InvalidArgumentError(command.input + ": an artifact needs weights: give their directory "
                                                      "with --weights=DIR, or compile it with --no-weights");
  auto checkpoint = Checkpoint::open(directory);
  if (!checkpoint.ok())
    return checkpoint.status();
  imported.checkpoint = std::move(*checkpoint);
  if (!command.heads.empty())
    if (absl::Status s = imported.checkpoint->add(command.heads); !s.ok())
      return s;
  auto tokenizer = readTokenizerFiles(directory);
  if (!tokenizer.ok())
    return tokenizer.status();
  imported.tokenizer = std::move(*tokenizer);
  if (auto config = readConfig(directory); config.ok())
    if (auto generation = readGenerationConfig(directory, *config); generation.ok())
      imported.generation = *generation;
  return imported;
}

/// The kernel stage's text in place of the module.
absl::Status lowerKernels(ModuleOp module, const CompileCommand &command, const Targets &targets) {
  PassManager pm(module.getContext());
  std::string error;
  llvm::raw_string_ostream stream(error);
  std::string pipeline =
      command.target == "cuda"
          ? "cuda-lower-tiles{shared-bytes=" + std::to_string(targets.archs.front().sharedBytes) +
                (command.isSimulated ? " sim=true}" : "}")
          : "cpu-lower-tiles";
  if (failed(parsePassPipeline(pipeline, pm, stream)))
    return absl::InternalError(pipeline + ": " + error);
  for (auto op : llvm::make_early_inc_range(module.getOps<func::FuncOp>()))
    if (!op->hasAttr("llm.kernel"))
      op.erase();
  if (failed(pm.run(module)))
    return absl::InternalError("the kernel stage failed (see the message above)");
  return absl::OkStatus();
}

/// The kernels of `advance`, and which of their parameters are weights wherever it dispatches them.
std::map<std::string, CudaOptions::Merged> kernelsOfAdvance(ModuleOp planned) {
  std::map<std::string, CudaOptions::Merged> kernels;
  SymbolTable symbols(planned);
  auto advance = symbols.lookup<plan::ProgramOp>("advance");
  if (!advance)
    return kernels;
  advance.walk([&](plan::DispatchOp dispatch) {
    auto kernel = symbols.lookup<func::FuncOp>(dispatch.getKernel());
    CudaOptions::Merged uses;
    for (auto [i, name] : llvm::enumerate(dispatch.getBuffers().getAsValueRange<FlatSymbolRefAttr>()))
      if (symbols.lookup<plan::BufferOp>(name).getKind() == "weight") {
        uses.constants.push_back(i);
        if (!kernel.getArgAttr(i, "llm.read_share"))
          uses.whole.push_back(i);
      }
    auto [known, isNew] = kernels.try_emplace(kernel.getName().str(), uses);
    if (!isNew) { // what is a weight once and an activation elsewhere is neither
      llvm::erase_if(known->second.constants, [&](unsigned i) { return !llvm::is_contained(uses.constants, i); });
      llvm::erase_if(known->second.whole, [&](unsigned i) { return !llvm::is_contained(uses.whole, i); });
    }
  });
  return kernels;
}

absl::StatusOr<std::vector<TargetCode>> generateCode(ModuleOp planned, ModuleOp tilePrograms, const CompileCommand &command,
                                                     const Targets &targets) {
  std::vector<TargetCode> code;
  if (command.target == "cuda") {
    CudaOptions options;
    options.dumpDir = command.dumpDir;
    options.ptxas = command.ptxas;
    options.isSimulated = command.isSimulated;
    options.overlapsLaunches = command.overlapsLaunches;
    if (command.isPersistent)
      options.merged = kernelsOfAdvance(planned);
    // Where a trip's rows are counted the host does it.
    planned.walk([&](plan::LoopOp loop) { options.hasLoops |= !loop.getRows(); });
    for (const CudaArch &arch : targets.archs) {
      auto object = compileCudaKernels(tilePrograms, arch, options);
      if (!object)
        return absl::InternalError(llvm::toString(object.takeError()));
      code.push_back({"cuda", object->arch, std::move(object->bytes), std::move(object->launches),
                      std::move(object->merged)});
      if (options.hasLoops)
        code.push_back({runtime::kLoopTestTarget, arch.name, std::move(object->loopTest),
                        {{object->loopTestLaunch.symbol, object->loopTestLaunch}}, {}});
    }
    return code;
  }
  CompileOptions options;
  options.dumpDir = command.dumpDir;
  for (const CpuLevel &level : targets.levels) {
    auto object = compileKernels(tilePrograms, level, options);
    if (!object)
      return absl::InternalError(llvm::toString(object.takeError()));
    code.push_back({"cpu", object->target, std::move(object->elf), {}, {}});
  }
  return code;
}

void fillMetadata(const ImportedModel &imported, const std::string &directory, runtime::Metadata &metadata) {
  metadata.name = llvm::sys::path::filename(StringRef(directory).rtrim('/')).str();
  for (int64_t id : imported.generation.eosTokens)
    metadata.eos.push_back(id);
  if (imported.generation.bosToken)
    metadata.bos = *imported.generation.bosToken;
  if (!imported.generationText.empty())
    metadata.entries.push_back({runtime::kGenerationConfigKey, imported.generationText});
  if (!imported.namedTokens.empty())
    metadata.entries.push_back({runtime::kSpecialTokensKey, imported.namedTokens});
}

} // namespace

void printPasses(FILE *out) {
  registerCSEPass();
  registerCanonicalizerPass();
  MLIRContext context;
  using Add = void (*)(OpPassManager &);
  // As for cuda, which has all passes.
  for (auto [stage, add] : {std::pair<const char *, Add>("graph", [](OpPassManager &pm) { addGraphStage(pm, "cuda"); }),
                            {"chunk", [](OpPassManager &pm) { addChunkStage(pm, "cuda"); }},
                            {"plan", [](OpPassManager &pm) { addPlanStage(pm); }}}) {
    fprintf(out, "%s\n", stage);
    PassManager pm(&context);
    add(pm);
    std::function<void(OpPassManager &)> list = [&](OpPassManager &manager) {
      for (Pass &pass : manager.getPasses()) {
        std::string name = pass.getArgument().str();
        if (name.empty()) { // a nest of one pass: "func.func(name{options})"
          llvm::raw_string_ostream stream(name);
          pass.printAsTextualPipeline(stream);
          name = StringRef(name).split('(').second.rtrim(')').split('{').first.str();
        }
        const PassInfo *info = PassInfo::lookup(name);
        fprintf(out, "  %-22s %s\n", name.c_str(), info ? info->getPassDescription().str().c_str() : "");
      }
    };
    list(pm);
  }
  fprintf(out, "kernel (each kernel, each CPU level)\n  cpu-lower-tiles\n");
}

std::string textOf(Operation *module) {
  std::string text;
  llvm::raw_string_ostream out(text);
  module->print(out, OpPrintingFlags().useLocalScope().enableDebugInfo(false));
  out << "\n";
  return text;
}

void loadCompilerDialects(MLIRContext &context) {
  DialectRegistry registry;
  registerDialects(registry);
  registry.insert<func::FuncDialect, arith::ArithDialect, math::MathDialect, scf::SCFDialect,
                  linalg::LinalgDialect, tensor::TensorDialect>();
  registerCpuDialects(registry);
  context.appendDialectRegistry(registry);
  context.loadAllAvailableDialects();
}

absl::Status compile(const CompileCommand &command) {
  MLIRContext context;
  loadCompilerDialects(context);
  auto targets = parseTargets(command);
  if (!targets.ok())
    return targets.status();

  // import
  bool isText = StringRef(command.input).ends_with(".mlir");
  if (command.emit.empty()) // before minutes of work
    if (absl::Status s = runtime::checkWritable(command.output); !s.ok())
      return s;
  auto imported =
      isText ? readText(context, command) : importHuggingFace(context, command.input, command.hasWeights, command.heads);
  if (!imported.ok())
    return imported.status();
  OwningOpRef<ModuleOp> module = std::move(imported->model.module);
  auto finishAt = [&](const char *stage) { return command.emit == stage; };
  auto print = [&] {
    return writeText(command.output, [&](llvm::raw_ostream &out) { out << textOf(*module); });
  };
  bool graphDone = hasDispatches(*module) || hasKernels(*module) || hasPrograms(*module);
  bool chunkDone = hasKernels(*module) || hasPrograms(*module), planDone = hasPrograms(*module);
  if (!graphDone)
    if (absl::Status s = dump(command, "1-import.mlir", *module); !s.ok())
      return s;
  if (finishAt("import"))
    return print();
  std::optional<std::string> modelText;
  if (!graphDone && command.hasModelText && command.emit.empty())
    modelText = textOf(*module);

  // graph
  if (!graphDone)
    if (absl::Status s = runStage(*module, "graph", [&](OpPassManager &pm) { addGraphStage(pm, command.target); }); !s.ok())
      return s;
  if (absl::Status s = dump(command, "2-graph.mlir", *module); !s.ok())
    return s;
  if (finishAt("graph"))
    return print();

  // chunk
  if (!chunkDone)
    if (absl::Status s = runStage(*module, "chunk", [&](OpPassManager &pm) { addChunkStage(pm, command.target, command.maxTokens); }); !s.ok())
      return s;
  for (auto kernel : module->getOps<func::FuncOp>())
    if (kernel->hasAttr("llm.kernel"))
      if (absl::Status s = dump(command, "3-chunk/" + kernel.getName().str() + ".mlir", kernel); !s.ok())
        return s;
  if (finishAt("chunk"))
    return print();
  if (finishAt("kernel")) {
    if (absl::Status s = lowerKernels(*module, command, *targets); !s.ok())
      return s;
    return print();
  }

  // plan, beside code
  OwningOpRef<ModuleOp> tilePrograms = module->clone();
  if (!planDone)
    if (absl::Status s = runStage(*module, "plan", [&](OpPassManager &pm) { addPlanStage(pm, command.maxTokens); }); !s.ok())
      return s;
  if (absl::Status s = dump(command, "5-plan.mlir", *module); !s.ok())
    return s;
  if (finishAt("plan"))
    return print();
  const std::string &directory = isText ? command.weights : command.input;
  if (imported->checkpoint)
    if (absl::Status s = checkWeights(*module, *imported->checkpoint, directory); !s.ok())
      return s;
  auto code = generateCode(*module, *tilePrograms, command, *targets);
  if (!code.ok())
    return code.status();

  // artifact
  TensorSource source;
  if (imported->checkpoint)
    source = tensorsOf(*imported->checkpoint, directory, command.allowNonFinite);
  auto contents = buildArtifact(*module, std::move(*code), source);
  if (!contents.ok())
    return contents.status();
  fillMetadata(*imported, directory.empty() ? command.input : directory, contents->plan.metadata);
  fillTokenizer(*imported, *contents);
  warnOfTemplate(contents->plan.tokenizer.chatTemplate, directory);
  if (modelText) {
    contents->plan.modelBlob = contents->blobs.size();
    contents->blobs.push_back(blobOf(std::move(*modelText)));
  }
  ProgressBar bar(command.progress);
  return writeArtifact(command.output, *contents,
                       [&](uint64_t done, uint64_t total) { bar.show(done, total); });
}

} // namespace llmc
