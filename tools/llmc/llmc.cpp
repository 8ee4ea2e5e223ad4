// llmc: compile, run, inspect.
#include "runtime/Inspect.h"
#include "tools/llmc/Compile.h"
#include "tools/llmc/Run.h"
#include "tools/llmc-opt/Register.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include <cstdio>
#include <cstring>

namespace {

const char *const kUsage =
    R"(usage:
  llmc compile DIR -o m.llmc [--cpu=native|x86-64-v3|x86-64-v4[,...]] [--dump-dir=D]
  llmc compile BASE --heads=DIR -o m.llmc                AutoDeco: heads beside their base
  llmc compile DIR -o m.llmc --target=cuda [--arch=sm_90a|sm_80[,...]] [--ptxas=PATH|none] [--sim]
  llmc compile DIR|model.mlir --emit=import|graph|chunk|kernel|plan [-o out.mlir]
  llmc compile model.mlir --weights=DIR -o m.llmc
  llmc compile --print-passes
  llmc run DIR -p TEXT [flags of llmc-run]     compiles if needed, then runs llmc-run
  llmc inspect m.llmc [--resources]
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

int compileMain(llvm::ArrayRef<char *> args) {
  llmc::CompileCommand command;
  std::string cpu, arch;
  for (size_t i = 0; i < args.size(); ++i) {
    llvm::StringRef arg = args[i];
    bool missing = false;
    if (takeOption(args, i, "-o", command.output, missing) || takeOption(args, i, "--cpu", cpu, missing) ||
        takeOption(args, i, "--emit", command.emit, missing) ||
        takeOption(args, i, "--dump-dir", command.dumpDir, missing) ||
        takeOption(args, i, "--weights", command.weights, missing) ||
        takeOption(args, i, "--heads", command.heads, missing) ||
        takeOption(args, i, "--target", command.target, missing) ||
        takeOption(args, i, "--arch", arch, missing) ||
        takeOption(args, i, "--ptxas", command.ptxas, missing)) {
      if (missing)
        return usageError(arg.str() + " needs a value");
    } else if (arg == "--print-passes") {
      command.printPasses = true;
    } else if (arg == "--sim") {
      command.isSimulated = true;
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
  if (command.target == "cpu" && (command.isSimulated || !arch.empty() || !command.ptxas.empty()))
    return usageError("--arch, --ptxas and --sim are for --target=cuda");
  if (command.target == "cuda" && !cpu.empty())
    return usageError("--cpu is for --target=cpu");
  const char *const stages[] = {"", "import", "graph", "chunk", "kernel", "plan"};
  if (!llvm::is_contained(stages, command.emit))
    return usageError("--emit=" + command.emit + ": expects import, graph, chunk, kernel or plan");
  if (command.emit.empty() && command.output.empty())
    return usageError("compile needs -o m.llmc (or --emit=STAGE)");
  auto list = [](const std::string &text, std::vector<std::string> &names) {
    if (text.empty())
      return;
    names.clear();
    llvm::SmallVector<llvm::StringRef> parts;
    llvm::StringRef(text).split(parts, ',');
    for (llvm::StringRef part : parts)
      names.push_back(part.str());
  };
  list(cpu, command.levels);
  list(arch, command.archs);
  return report(llmc::compile(command));
}

} // namespace

int main(int argc, char **argv) {
  llvm::ArrayRef<char *> args(argv + 1, argc - 1);
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
