// llmc: compile, run, verify, inspect.
#include "runtime/Inspect.h"
#include "tools/llmc-opt/Register.h"
#include "tools/llmc/Compile.h"
#include "tools/llmc/Run.h"
#include "tools/llmc/Verify.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/FileSystem.h"
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

namespace {

const char *const kUsage =
    R"(usage:
  llmc compile DIR -o m.llmc [--cpu=native|x86-64-v3|x86-64-v4[,...]] [--dump-dir=D]
  llmc compile DIR -o m.llmc --target=cuda [--arch=sm_90a|sm_80[,...]] [--ptxas=PATH|none] [--overlap-launches] [--persistent] [--sim]
  llmc compile BASE --heads=DIR -o m.llmc                AutoDeco: heads beside their base
  llmc compile MODEL --autoencoder=DIR -o m.llmc         CALM: the autoencoder beside its language model
  llmc compile DIR -o m.llmc --target=cuda [--arch=sm_90a|sm_80[,...]] [--ptxas=PATH|none] [--sim]
  llmc compile DIR|model.mlir --emit=import|graph|chunk|kernel|plan [-o out.mlir]
  llmc compile model.mlir --weights=DIR -o m.llmc
  llmc compile DIR --no-weights -o plan.llmc    from config.json alone: to inspect shapes, kernels, memory
  llmc compile DIR ... --no-model-text          leaves out the text of the model that llmc verify reads
  llmc compile DIR ... --max-tokens=N           tokens of a prompt that one call takes (512): more are faster on a GPU and take more memory
  llmc compile DIR ... --allow-non-finite       NaN and infinite weights are no error
  llmc compile --print-passes
  llmc run DIR -p TEXT [flags of llmc-run]     compiles if needed, then runs llmc-run
  llmc inspect m.llmc [--resources]
  llmc verify m.llmc|DIR [--tokens=1,2,3 | --random=N] [--weights=DIR] [--heads=DIR] [--tolerance=1e-5] [--cpu=...] [-o table|json]
                       compares a compiled model with the reference evaluator, value by value
)";

int usageError(const std::string &message) {
  fprintf(stderr, "llmc: %s\n%s", message.c_str(), kUsage);
  return 2;
}

int report(const absl::Status &status) {
  if (status.ok())
    return 0;
  fprintf(stderr, "llmc: error: %s\n", std::string(status.message()).c_str());
  return 1;
}

/// Takes `--name=value` or `--name value`; advances `i` past the value.
bool takeOption(llvm::ArrayRef<char *> args, size_t &i, llvm::StringRef name, std::string &value,
                bool &missing) {
  llvm::StringRef arg = args[i];
  if (arg == name) {
    if (i + 1 == args.size()) {
      missing = true;
      return true;
    }
    value = args[++i];
    return true;
  }
  if (arg.starts_with(name) && arg.size() > name.size() && arg[name.size()] == '=') {
    value = arg.drop_front(name.size() + 1).str();
    return true;
  }
  return false;
}

/// Names with commas between; an empty text leaves them as they are.
void splitList(llvm::StringRef text, std::vector<std::string> &names) {
  if (text.empty())
    return;
  names.clear();
  llvm::SmallVector<llvm::StringRef> parts;
  text.split(parts, ',');
  for (llvm::StringRef part : parts)
    names.push_back(part.str());
}

int compileMain(llvm::ArrayRef<char *> args) {
  llmc::CompileCommand command;
  std::string cpu, arch, maxTokens;
  for (size_t i = 0; i < args.size(); ++i) {
    llvm::StringRef arg = args[i];
    bool missing = false;
    if (takeOption(args, i, "-o", command.output, missing) || takeOption(args, i, "--cpu", cpu, missing) ||
        takeOption(args, i, "--emit", command.emit, missing) ||
        takeOption(args, i, "--dump-dir", command.dumpDir, missing) ||
        takeOption(args, i, "--weights", command.weights, missing) ||
        takeOption(args, i, "--heads", command.heads, missing) ||
        takeOption(args, i, "--autoencoder", command.heads, missing) ||
        takeOption(args, i, "--target", command.target, missing) ||
        takeOption(args, i, "--arch", arch, missing) ||
        takeOption(args, i, "--ptxas", command.ptxas, missing) || takeOption(args, i, "--max-tokens", maxTokens, missing)) {
      if (missing)
        return usageError(arg.str() + " needs a value");
    } else if (arg == "--print-passes") {
      command.printPasses = true;
    } else if (arg == "--no-weights") {
      command.hasWeights = false;
    } else if (arg == "--no-model-text") {
      command.hasModelText = false;
    } else if (arg == "--allow-non-finite") {
      command.allowNonFinite = true;
    } else if (arg == "--sim") {
      command.isSimulated = true;
    } else if (arg == "--overlap-launches") {
      command.overlapsLaunches = true;
    } else if (arg == "--persistent") {
      command.isPersistent = true;
    } else if (arg == "--no-progress") {
      command.progress = false;
    } else if (arg.starts_with("-")) {
      return usageError("unknown flag " + arg.str());
    } else if (!command.input.empty()) {
      return usageError("one input expected, got " + command.input + " and " + arg.str());
    } else {
      command.input = arg.str();
    }
  }
  llmc::registerAllPasses();
  if (command.printPasses) {
    llmc::printPasses(stdout);
    if (command.input.empty())
      return 0;
  }
  if (command.input.empty())
    return usageError("compile needs a directory or a .mlir file");
  if (command.target != "cpu" && command.target != "cuda")
    return usageError("--target=" + command.target + ": expects cpu or cuda");
  if (command.target == "cpu" && (command.isSimulated || command.overlapsLaunches || command.isPersistent || !arch.empty() || !command.ptxas.empty()))
    return usageError("--arch, --ptxas, --overlap-launches, --persistent and --sim are for --target=cuda");
  constexpr int64_t kPiece = 64, kMostTokens = 1 << 16; // of which prompts are cut; of which an artifact may tell
  if (!maxTokens.empty() && (llvm::StringRef(maxTokens).getAsInteger(10, command.maxTokens) || command.maxTokens < kPiece ||
                             command.maxTokens > kMostTokens || command.maxTokens % kPiece))
    return usageError("--max-tokens=" + maxTokens + ": expects a multiple of 64 up to 65536, the rows that one call has room for");
  if (command.target == "cuda" && !cpu.empty())
    return usageError("--cpu is for --target=cpu");
  if (!command.hasWeights && !command.weights.empty())
    return usageError("--no-weights and --weights exclude each other");
  const char *const stages[] = {"", "import", "graph", "chunk", "kernel", "plan"};
  if (!llvm::is_contained(stages, command.emit))
    return usageError("--emit=" + command.emit + ": expects import, graph, chunk, kernel or plan");
  if (command.emit.empty() && command.output.empty())
    return usageError("compile needs -o m.llmc (or --emit=STAGE)");
  splitList(cpu, command.levels);
  splitList(arch, command.archs);
  return report(llmc::compile(command));
}

bool parseTokens(llvm::StringRef text, std::vector<int32_t> &tokens) {
  llvm::SmallVector<llvm::StringRef> parts;
  text.split(parts, ',');
  for (llvm::StringRef part : parts)
    if (part.trim().getAsInteger(10, tokens.emplace_back()))
      return false;
  return true;
}

int verifyMain(llvm::ArrayRef<char *> args) {
  llmc::VerifyCommand command;
  std::string tokens, random, tolerance, cpu, format = "table";
  for (size_t i = 0; i < args.size(); ++i) {
    llvm::StringRef arg = args[i];
    bool missing = false;
    if (takeOption(args, i, "--tokens", tokens, missing) ||
        takeOption(args, i, "--random", random, missing) ||
        takeOption(args, i, "--weights", command.weights, missing) ||
        takeOption(args, i, "--heads", command.heads, missing) ||
        takeOption(args, i, "--autoencoder", command.heads, missing) ||
        takeOption(args, i, "--tolerance", tolerance, missing) ||
        takeOption(args, i, "--cpu", cpu, missing) || takeOption(args, i, "-o", format, missing)) {
      if (missing)
        return usageError(arg.str() + " needs a value");
    } else if (arg.starts_with("-")) {
      return usageError("unknown flag " + arg.str());
    } else if (!command.input.empty()) {
      return usageError("one input expected, got " + command.input + " and " + arg.str());
    } else {
      command.input = arg.str();
    }
  }
  if (command.input.empty())
    return usageError("verify needs an artifact or a directory");
  if (!command.heads.empty() && command.weights.empty() && !llvm::sys::fs::is_directory(command.input))
    return usageError("--heads=" + command.heads + " belongs to a directory or to --weights; an artifact has its heads");
  if (!tokens.empty() && !random.empty())
    return usageError("--tokens and --random exclude each other");
  if (!tokens.empty() && !parseTokens(tokens, command.tokens))
    return usageError("--tokens=" + tokens + ": expects numbers with commas between");
  if (!random.empty() && (llvm::StringRef(random).getAsInteger(10, command.random) || command.random < 1))
    return usageError("--random=" + random + ": expects a number of at least 1");
  if (!tolerance.empty() &&
      (llvm::StringRef(tolerance).getAsDouble(command.tolerance) || command.tolerance < 0))
    return usageError("--tolerance=" + tolerance + ": expects a number of at least 0");
  if (format != "table" && format != "json")
    return usageError("-o " + format + ": expects table or json");
  splitList(cpu, command.levels);
  command.isJson = format == "json";
  llmc::registerAllPasses();
  auto verified = llmc::verify(command);
  if (!verified.ok())
    return report(verified.status());
  llmc::print(*verified, command.isJson, stdout);
  return verified->firstBeyond() ? 1 : 0;
}

/// The command of the line; what it prints may still be in stdout's buffer.
int runMain(llvm::ArrayRef<char *> args) {
  if (args.empty())
    return usageError("a command is expected");
  llvm::StringRef verb = args[0];
  if (verb == "--help" || verb == "-h" || verb == "help") {
    fputs(kUsage, stdout);
    return 0;
  }
  if (verb == "--version") {
    puts("llmc 0.1");
    return 0;
  }
  if (verb == "compile")
    return compileMain(args.drop_front());
  if (verb == "run")
    return llmc::runCommand(args.drop_front());
  if (verb == "verify")
    return verifyMain(args.drop_front());
  if (verb == "inspect") {
    if (args.size() == 3 && llvm::StringRef(args[1]) == "--resources")
      return report(llmc::runtime::inspectResources(args[2], stdout));
    if (args.size() == 3 && llvm::StringRef(args[2]) == "--resources")
      return report(llmc::runtime::inspectResources(args[1], stdout));
    if (args.size() != 2)
      return usageError("inspect needs one artifact");
    return report(llmc::runtime::inspect(args[1], stdout));
  }
  return usageError("unknown command " + verb.str());
}

} // namespace

int main(int argc, char **argv) {
  signal(SIGXFSZ, SIG_IGN); // a file over the limit is an error of the call that writes it, not a signal
  int code = runMain(llvm::ArrayRef<char *>(argv + 1, argc - 1));
  if ((fflush(stdout) != 0 || ferror(stdout)) && code == 0)
    return report(absl::UnavailableError(std::string("standard output: cannot write: ") + strerror(errno)));
  return code;
}
