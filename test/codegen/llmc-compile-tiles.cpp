// llmc-compile-tiles FILE LEVEL [asm|elf]: the CPU target alone, for tests of its output. Assembly of all kernels goes to the
// standard output, or the code object with `elf`.
#include "codegen/cpu/CpuTarget.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Support/FileUtilities.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/raw_ostream.h"

int main(int argc, char **argv) {
  if (argc < 3) {
    llvm::errs() << "usage: llmc-compile-tiles FILE LEVEL [asm|elf]\n";
    return 2;
  }
  mlir::DialectRegistry registry;
  llmc::registerCpuDialects(registry);
  mlir::MLIRContext context(registry);
  auto module = mlir::parseSourceFile<mlir::ModuleOp>(argv[1], &context);
  if (!module)
    return 1;
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
