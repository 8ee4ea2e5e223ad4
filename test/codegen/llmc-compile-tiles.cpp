// llmc-compile-tiles FILE LEVEL [asm|elf]: a target alone, for tests of its output. Assembly of all kernels (PTX for sm_80 and sm_90a) goes to
// the standard output, or the code object with `elf`; `assemble` runs ptxas on PTX, or says that there is none. `merge` and `merge-assemble`:
// with all kernels in one beside them; arguments with llm.constant are weights.
#include "codegen/cpu/CpuTarget.h"
#include "codegen/cuda/CudaTarget.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Support/FileUtilities.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/raw_ostream.h"

/// PTX of the module's kernels for a GPU architecture, as text or through the assembler.
static int compileForGpu(mlir::ModuleOp module, llvm::StringRef name, llvm::StringRef mode) {
  auto arch = llmc::CudaArch::parse(name);
  if (!arch) {
    llvm::errs() << "error: " << llvm::toString(arch.takeError()) << "\n";
    return 1;
  }
  llmc::CudaOptions options;
  bool isAssembling = mode.ends_with("assemble");
  if (mode.starts_with("merge"))
    for (auto kernel : module.getOps<mlir::func::FuncOp>()) {
      llmc::CudaOptions::Merged &uses = options.merged[kernel.getName().str()];
      for (unsigned i = 0; i < kernel.getNumArguments(); ++i)
        if (kernel.getArgAttr(i, "llm.constant"))
          uses.constants.push_back(i);
    }
  options.ptxas = isAssembling ? llmc::findPtxas("") : "none";
  if (options.ptxas.empty()) {
    llvm::outs() << "no ptxas on this machine: PTX is not assembled\n";
    return 0;
  }
  auto code = llmc::compileCudaKernels(module, *arch, options);
  if (!code) {
    llvm::errs() << "error: " << llvm::toString(code.takeError()) << "\n";
    return 1;
  }
  if (isAssembling) {
    llvm::outs() << "assembled for " << name;
    if (code->merged)
      llvm::outs() << ", the merged kernel with " << code->merged->registers << " registers and " << code->merged->spillBytes
                   << " bytes spilled";
    llvm::outs() << "\n";
    for (const auto &[kernel, launch] : code->launches)
      llvm::outs() << kernel << ": " << launch.registers << " registers, " << launch.spillBytes << " bytes spilled\n";
  } else
    llvm::outs() << code->bytes.data();
  return 0;
}

int main(int argc, char **argv) {
  if (argc < 3) {
    llvm::errs() << "usage: llmc-compile-tiles FILE LEVEL [asm|elf]\n";
    return 2;
  }
  mlir::DialectRegistry registry;
  llmc::registerCudaDialects(registry);
  mlir::MLIRContext context(registry);
  auto module = mlir::parseSourceFile<mlir::ModuleOp>(argv[1], &context);
  if (!module)
    return 1;
  if (llvm::StringRef(argv[2]).starts_with("sm_"))
    return compileForGpu(*module, argv[2], argc > 3 ? argv[3] : "asm");
  llvm::SmallString<128> dump;
  bool isElf = argc > 3 && llvm::StringRef(argv[3]) == "elf";
  if (!isElf && llvm::sys::fs::createUniqueDirectory("llmc-tiles", dump))
    return 1;
  auto level = llmc::CpuLevel::parse(argv[2]);
  if (!level) {
    llvm::errs() << "error: " << llvm::toString(level.takeError()) << "\n";
    return 1;
  }
  llmc::CompileOptions options;
  options.dumpDir = dump.str().str();
  auto object = llmc::compileKernels(*module, *level, options);
  if (!object) {
    llvm::errs() << "error: " << llvm::toString(object.takeError()) << "\n";
    return 1;
  }
  if (isElf) {
    llvm::outs().write(object->elf.data(), object->elf.size());
    return 0;
  }
  std::error_code code;
  llvm::sys::path::append(dump, "4-kernel");
  for (llvm::sys::fs::directory_iterator file(dump, code), end; file != end && !code; file.increment(code))
    if (llvm::StringRef(file->path()).ends_with(".s"))
      if (auto text = llvm::MemoryBuffer::getFile(file->path()))
        llvm::outs() << (*text)->getBuffer();
  llvm::sys::fs::remove_directories(llvm::sys::path::parent_path(dump));
  return 0;
}
