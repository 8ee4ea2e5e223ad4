// LLVM IR of a kernel to an object file, and the link of all kernels of a level.
#include "codegen/cpu/EmitCode.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/Analysis/TargetLibraryInfo.h"
#include "llvm/AsmParser/Parser.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Target/TargetOptions.h"
#include "llvm/Transforms/Utils/Cloning.h"
#include <mutex>

using namespace llvm;

namespace llmc {
namespace {

constexpr const char *kTriple = "x86_64-unknown-linux-gnu";

/// Plain loops: the blocks that LLVM copies by call are large or of unknown size, and `rep` forms are fast
/// for both.
constexpr const char *kMemoryFunctions = R"(
define hidden ptr @memcpy(ptr %to, ptr %from, i64 %n) nounwind {
  call { ptr, ptr, i64 } asm sideeffect "rep movsb", "={di},={si},={cx},0,1,2,~{memory},~{dirflag},~{fpsr},~{flags}"(ptr %to, ptr %from, i64 %n)
  ret ptr %to
}
define hidden ptr @memset(ptr %to, i32 %value, i64 %n) nounwind {
  %byte = trunc i32 %value to i8
  call { ptr, i64 } asm sideeffect "rep stosb", "={di},={cx},{ax},0,1,~{memory},~{dirflag},~{fpsr},~{flags}"(i8 %byte, ptr %to, i64 %n)
  ret ptr %to
}
define hidden ptr @memmove(ptr %to, ptr %from, i64 %n) nounwind {
entry:
  %a = ptrtoint ptr %to to i64
  %b = ptrtoint ptr %from to i64
  %distance = sub i64 %a, %b
  %forward = icmp uge i64 %distance, %n
  br i1 %forward, label %copy, label %check
copy:
  %r = call ptr @memcpy(ptr %to, ptr %from, i64 %n)
  ret ptr %to
check:
  %none = icmp eq i64 %n, 0
  br i1 %none, label %done, label %loop
loop:
  %i = phi i64 [ %n, %check ], [ %next, %loop ]
  %next = sub i64 %i, 1
  %source = getelementptr i8, ptr %from, i64 %next
  %byte = load volatile i8, ptr %source
  %target = getelementptr i8, ptr %to, i64 %next
  store volatile i8 %byte, ptr %target
  %last = icmp eq i64 %next, 0
  br i1 %last, label %done, label %loop
done:
  ret ptr %to
}
)";

Expected<std::unique_ptr<TargetMachine>> makeTargetMachine(const CpuLevel &level) {
  static std::once_flag once;
  std::call_once(once, [] {
    InitializeNativeTarget();
    InitializeNativeTargetAsmPrinter();
    InitializeNativeTargetAsmParser();
  });
  std::string error;
  Triple triple(kTriple);
  const Target *target = TargetRegistry::lookupTarget(triple, error);
  if (!target)
    return createStringError("no x86-64 code generator in this LLVM: " + error);
  TargetOptions options;
  options.AllowFPOpFusion = FPOpFusion::Strict; // only the explicit fma is fused
  options.FunctionSections = true;
  options.DataSections = true;
  std::unique_ptr<TargetMachine> machine(target->createTargetMachine(triple, level.cpu, level.features,
                                                                     options, Reloc::PIC_, CodeModel::Small,
                                                                     CodeGenOptLevel::Aggressive));
  if (!machine)
    return createStringError("no code generator for " + level.name);
  return std::move(machine);
}

Error emit(Module &module, TargetMachine &machine, CodeGenFileType kind, SmallVectorImpl<char> &out) {
  raw_svector_ostream os(out);
  legacy::PassManager passes;
  if (machine.addPassesToEmitFile(passes, os, nullptr, kind))
    return createStringError("the code generator cannot write this kind of file");
  passes.run(module);
  return Error::success();
}

void setTarget(Module &module, TargetMachine &machine) {
  module.setTargetTriple(Triple(kTriple));
  module.setDataLayout(machine.createDataLayout());
}

std::string asText(Module &module) {
  std::string text;
  raw_string_ostream os(text);
  module.print(os, nullptr);
  return text;
}

/// ld.lld of LLVM's tools directory, or the first on PATH.
Expected<std::string> findLinker(const CompileOptions &options) {
  if (!options.linker.empty())
    return options.linker;
#ifdef LLMC_LLVM_TOOLS_DIR
  std::string bundled = std::string(LLMC_LLVM_TOOLS_DIR) + "/ld.lld";
  if (sys::fs::can_execute(bundled))
    return bundled;
#endif
  for (const char *name : {"ld.lld-22", "ld.lld"})
    if (ErrorOr<std::string> path = sys::findProgramByName(name))
      return *path;
  return createStringError("no linker: expects ld.lld-22 or ld.lld on PATH (package lld-22)");
}

/// Deletes its file when it goes out of scope.
struct TemporaryFile {
  SmallString<128> path;
  ~TemporaryFile() {
    if (!path.empty())
      sys::fs::remove(path);
  }
  Error create(StringRef suffix, ArrayRef<char> content) {
    int descriptor;
    if (std::error_code code = sys::fs::createTemporaryFile("llmc", suffix, descriptor, path))
      return createStringError(code, "cannot create a temporary file: " + code.message());
    raw_fd_ostream os(descriptor, /*shouldClose=*/true);
    os.write(content.data(), content.size());
    os.close();
    std::error_code code = os.error();
    os.clear_error(); // which is reported here, and would end the program in the destructor
    if (code)
      return createStringError(code, path.str() + ": cannot write: " + code.message());
    return Error::success();
  }
};

} // namespace

void optimise(Module &module, TargetMachine &machine) {
  PipelineTuningOptions tuning; // the tile program is vectorised already
  tuning.LoopVectorization = false;
  tuning.SLPVectorization = false;
  tuning.LoopInterleaving = false;
  PassBuilder builder(&machine, tuning);
  LoopAnalysisManager loops;
  FunctionAnalysisManager functions;
  CGSCCAnalysisManager callGraph;
  ModuleAnalysisManager modules;
  // Without library functions LLVM invents no calls: there is nothing to link against.
  TargetLibraryInfoImpl library(module.getTargetTriple());
  library.disableAllFunctions();
  functions.registerPass([&] { return TargetLibraryAnalysis(library); });
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(callGraph);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, callGraph, modules);
  builder.buildPerModuleDefaultPipeline(OptimizationLevel::O2).run(module, modules);
}

Error dumpKernel(const CompileOptions &options, StringRef kernel, const CpuLevel &level, StringRef extension,
                 StringRef text) {
  if (options.dumpDir.empty())
    return Error::success();
  SmallString<128> path(options.dumpDir);
  sys::path::append(path, "4-kernel");
  if (std::error_code code = sys::fs::create_directories(path))
    return createStringError(code, "cannot create '" + path.str() + "'");
  sys::path::append(path, kernel + "." + level.name + "." + extension);
  std::error_code code;
  raw_fd_ostream os(path, code);
  if (!code) {
    os << text;
    os.close();
    code = os.error();
    os.clear_error();
  }
  if (code)
    return createStringError(code, path.str() + ": cannot write: " + code.message());
  return Error::success();
}

Expected<ObjectFile> emitObject(mlir::ModuleOp module, StringRef kernel, ArrayRef<std::string> aliases,
                                const CpuLevel &level, const CompileOptions &options,
                                ArrayRef<StringRef> exports) {
  Expected<std::unique_ptr<TargetMachine>> machine = makeTargetMachine(level);
  if (!machine)
    return machine.takeError();
  LLVMContext context;
  std::unique_ptr<Module> ir = mlir::translateModuleToLLVMIR(module, context, kernel);
  if (!ir)
    return createStringError("kernel '" + kernel + "': translation to LLVM IR failed");
  setTarget(*ir, **machine);
  std::string entry = kernel.str(), body = entry + ".body";
  for (Function &function : *ir) {
    if (function.isDeclaration())
      continue;
    function.addFnAttr(Attribute::NoUnwind);
    function.addFnAttr("target-cpu", level.cpu);
    function.addFnAttr("target-features", level.features);
    // Both, or LLVM splits 512-bit operations for the sake of neighbours that we do not have.
    function.addFnAttr("prefer-vector-width", std::to_string(level.vectorBits));
    function.addFnAttr("min-legal-vector-width", std::to_string(level.vectorBits));
    function.addFnAttr("no-builtins");
    bool isExported =
        any_of(exports, [&](StringRef suffix) { return function.getName() == entry + suffix.str(); });
    if (isExported) {
      function.setVisibility(GlobalValue::ProtectedVisibility);
      function.setDSOLocal(true);
    } else {
      function.setLinkage(GlobalValue::InternalLinkage);
      if (function.getName() == body)
        function.addFnAttr(Attribute::AlwaysInline);
    }
  }
  optimise(*ir, **machine);
  for (const std::string &alias : aliases)
    for (StringRef suffix : exports) {
      auto *made = GlobalAlias::create(alias + suffix, ir->getFunction(entry + suffix.str()));
      made->setVisibility(GlobalValue::ProtectedVisibility);
    }
  if (!options.dumpDir.empty()) {
    if (Error error = dumpKernel(options, kernel, level, "ll", asText(*ir)))
      return std::move(error);
    SmallVector<char, 0> assembly;
    if (Error error = emit(*CloneModule(*ir), **machine, CodeGenFileType::AssemblyFile, assembly))
      return std::move(error);
    if (Error error = dumpKernel(options, kernel, level, "s", StringRef(assembly.data(), assembly.size())))
      return std::move(error);
  }
  ObjectFile object;
  if (Error error = emit(*ir, **machine, CodeGenFileType::ObjectFile, object))
    return std::move(error);
  return object;
}

Expected<ObjectFile> emitMemoryFunctions(const CpuLevel &level) {
  Expected<std::unique_ptr<TargetMachine>> machine = makeTargetMachine(level);
  if (!machine)
    return machine.takeError();
  LLVMContext context;
  SMDiagnostic diagnostic;
  std::unique_ptr<Module> ir = parseAssemblyString(kMemoryFunctions, diagnostic, context);
  if (!ir)
    return createStringError("memory functions: " + diagnostic.getMessage());
  setTarget(*ir, **machine);
  ObjectFile object;
  if (Error error = emit(*ir, **machine, CodeGenFileType::ObjectFile, object))
    return std::move(error);
  return object;
}

Expected<std::vector<char>> linkObjects(ArrayRef<ObjectFile> objects, const CompileOptions &options) {
  Expected<std::string> linker = findLinker(options);
  if (!linker)
    return linker.takeError();
  std::vector<TemporaryFile> inputs(objects.size());
  std::string list;
  for (auto [file, object] : zip_equal(inputs, objects)) {
    if (Error error = file.create("o", object))
      return std::move(error);
    list += file.path.str().str() + "\n";
  }
  TemporaryFile response, output, messages;
  for (auto [file, suffix] :
       {std::pair(&response, "rsp"), std::pair(&output, "so"), std::pair(&messages, "txt")})
    if (Error error = file->create(suffix, file == &response ? ArrayRef<char>(list.data(), list.size())
                                                             : ArrayRef<char>()))
      return std::move(error);
  std::string inputList = ("@" + response.path).str();
  std::vector<StringRef> arguments = {*linker,
                                      "-shared",
                                      "--no-undefined",
                                      "-Bsymbolic",
                                      "--build-id=none",
                                      "--gc-sections",
                                      "-s",
                                      "-z",
                                      "now",
                                      "-z",
                                      "noexecstack",
                                      "--hash-style=both",
                                      "-o",
                                      output.path,
                                      inputList};
  std::string failure;
  std::optional<StringRef> redirects[] = {StringRef(""), messages.path.str(), messages.path.str()};
  int code = sys::ExecuteAndWait(*linker, arguments, std::nullopt, redirects, 0, 0, &failure);
  if (code != 0) {
    auto text = MemoryBuffer::getFile(messages.path);
    return createStringError("linking kernels with '" + *linker + "' failed: " + failure +
                             (text ? (*text)->getBuffer().str() : std::string()));
  }
  auto linked = MemoryBuffer::getFile(output.path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!linked)
    return createStringError(linked.getError(), "cannot read '" + output.path.str() + "'");
  return std::vector<char>((*linked)->getBufferStart(), (*linked)->getBufferEnd());
}

} // namespace llmc
