// LLVM IR of a kernel to PTX text by the NVPTX back end, and ptxas for who has it.
#include "codegen/cuda/EmitPtx.h"
#include "codegen/cpu/EmitCode.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Target/TargetOptions.h"
#include <mutex>

using namespace llvm;

namespace llmc {
namespace {

constexpr const char *kTriple = "nvptx64-nvidia-cuda";

Expected<std::unique_ptr<TargetMachine>> makeTargetMachine(const CudaArch &arch) {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
  });
  std::string error;
  Triple triple(kTriple);
  const Target *target = TargetRegistry::lookupTarget(triple, error);
  if (!target)
    return createStringError("no NVPTX code generator in this LLVM: " + error);
  TargetOptions options;
  options.AllowFPOpFusion = FPOpFusion::Strict; // only the explicit fma is fused
  std::unique_ptr<TargetMachine> machine(target->createTargetMachine(
      triple, arch.name, arch.features, options, std::nullopt, std::nullopt, CodeGenOptLevel::Aggressive));
  if (!machine)
    return createStringError("no code generator for " + arch.name);
  return std::move(machine);
}

/// Deletes its file when it goes out of scope.
struct TemporaryFile {
  SmallString<128> path;
  ~TemporaryFile() {
    if (!path.empty())
      sys::fs::remove(path);
  }
  Error create(StringRef suffix, StringRef content) {
    int descriptor;
    if (std::error_code code = sys::fs::createTemporaryFile("llmc", suffix, descriptor, path))
      return createStringError(code, "cannot create a temporary file: " + code.message());
    raw_fd_ostream os(descriptor, /*shouldClose=*/true);
    os << content;
    os.close();
    std::error_code code = os.error();
    os.clear_error(); // which is reported here, and would end the program in the destructor
    if (code)
      return createStringError(code, path.str() + ": cannot write: " + code.message());
    return Error::success();
  }
};

} // namespace

Expected<std::string> emitPtx(mlir::ModuleOp module, StringRef kernel, const CudaArch &arch,
                              const CudaOptions &options) {
  Expected<std::unique_ptr<TargetMachine>> machine = makeTargetMachine(arch);
  if (!machine)
    return machine.takeError();
  LLVMContext context;
  std::unique_ptr<Module> ir = mlir::translateModuleToLLVMIR(module, context, kernel);
  if (!ir)
    return createStringError("kernel '" + kernel + "': translation to LLVM IR failed");
  ir->setTargetTriple(Triple(kTriple));
  ir->setDataLayout((*machine)->createDataLayout());
  for (GlobalVariable &global : ir->globals())
    if (!global.isDeclaration()) // tables, which other kernels may have under the same name
      global.setName(kernel + "_" + global.getName());
  optimise(*ir, **machine);
  CompileOptions dump;
  dump.dumpDir = options.dumpDir;
  CpuLevel level{arch.name, "", "", 0};
  if (!options.dumpDir.empty()) {
    std::string text;
    raw_string_ostream os(text);
    ir->print(os, nullptr);
    if (Error error = dumpKernel(dump, kernel, level, "ll", text))
      return std::move(error);
  }
  SmallVector<char, 0> ptx;
  raw_svector_ostream os(ptx);
  legacy::PassManager passes;
  if ((*machine)->addPassesToEmitFile(passes, os, nullptr, CodeGenFileType::AssemblyFile))
    return createStringError("the NVPTX code generator cannot write PTX");
  passes.run(*ir);
  std::string text(ptx.data(), ptx.size());
  if (Error error = dumpKernel(dump, kernel, level, "ptx", text))
    return std::move(error);
  return text;
}

std::string joinPtx(ArrayRef<std::string> modules) {
  // .version, .target and .address_size may stand at the top only.
  constexpr StringRef kLastDirective = ".address_size 64\n";
  std::string all;
  for (StringRef text : modules) {
    size_t end = text.find(kLastDirective);
    all += all.empty() || end == StringRef::npos ? text : text.drop_front(end + kLastDirective.size());
  }
  return all;
}

std::string findPtxas(const std::string &asked) {
  if (asked == "none")
    return "";
  if (!asked.empty())
    return asked;
  if (ErrorOr<std::string> path = sys::findProgramByName("ptxas"))
    return *path;
  std::string usual = "/usr/local/cuda/bin/ptxas";
  return sys::fs::can_execute(usual) ? usual : "";
}

/// Reads what `ptxas -v` says of every kernel, and of the functions that it calls, whose names begin with its own; registers are the most of all:
///
///   ptxas info    : Compiling entry function 'k' for 'sm_80'
///   ptxas info    : Function properties for k
///       0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
///   ptxas info    : Used 32 registers, used 1 barriers, 400 bytes cmem[0]
///   ptxas info    : Function properties for k_f
///       8 bytes stack frame, 8 bytes spill stores, 8 bytes spill loads
static std::map<std::string, KernelResources> readResources(StringRef text) {
  std::map<std::string, KernelResources> result;
  std::map<StringRef, unsigned> spills; // of functions
  KernelResources *current = nullptr;
  StringRef function;
  SmallVector<StringRef> lines;
  text.split(lines, '\n');
  for (StringRef line : lines) {
    if (line.contains("Compiling entry function '"))
      current = &result[line.split("function '").second.split('\'').first.str()];
    if (!current)
      continue;
    if (line.contains("Function properties for "))
      function = line.split("properties for ").second.trim();
    if (line.contains(" bytes spill stores"))
      line.split(" bytes spill stores").first.rsplit(", ").second.getAsInteger(10, spills[function]);
    if (line.contains("Used "))
      line.split("Used ").second.split(' ').first.getAsInteger(10, current->registers);
  }
  for (auto [name, bytes] : spills) {
    auto kernel = result.find(name.str());
    for (auto other = result.begin(); kernel == result.end() && other != result.end(); ++other)
      if (name.starts_with(other->first + "_"))
        kernel = other;
    if (kernel != result.end())
      kernel->second.spillBytes += bytes;
  }
  return result;
}

Expected<Cubin> assemblePtx(StringRef ptx, const CudaArch &arch, const std::string &ptxas) {
  TemporaryFile input, output, messages;
  if (Error error = input.create("ptx", ptx))
    return std::move(error);
  if (Error error = output.create("cubin", ""))
    return std::move(error);
  if (Error error = messages.create("txt", ""))
    return std::move(error);
  std::string target = "-arch=" + arch.name, failure;
  std::vector<StringRef> arguments = {ptxas, target, "-O3", "-v", input.path, "-o", output.path};
  std::optional<StringRef> redirects[] = {StringRef(""), messages.path.str(), messages.path.str()};
  if (sys::ExecuteAndWait(ptxas, arguments, std::nullopt, redirects, 0, 0, &failure) != 0) {
    auto text = MemoryBuffer::getFile(messages.path);
    return createStringError("assembling kernels with '" + ptxas + "' failed: " + failure +
                             (text ? (*text)->getBuffer().str() : std::string()) +
                             "; compile with --ptxas=none to store PTX for the driver");
  }
  auto cubin = MemoryBuffer::getFile(output.path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!cubin)
    return createStringError(cubin.getError(), "cannot read '" + output.path.str() + "'");
  Cubin result;
  result.bytes.assign((*cubin)->getBufferStart(), (*cubin)->getBufferEnd());
  if (auto text = MemoryBuffer::getFile(messages.path)) {
    result.resources = readResources((*text)->getBuffer());
    SmallVector<StringRef> lines;
    (*text)->getBuffer().split(lines, '\n');
    for (StringRef line : lines)
      if (line.contains("Potential Performance Loss")) // as where it lets every wgmma end before the next begins
        result.losses.push_back(line.split(": ").second.str());
  }
  return result;
}

} // namespace llmc
