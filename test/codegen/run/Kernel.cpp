// The loader of the numbers tests.
#include "test/codegen/run/Kernel.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include <cstdio>
#include <ctime>
#include <dlfcn.h>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>
#include <unistd.h>

namespace llmc::test {

std::string tileProgram(const std::string &name, const Substitutions &values) {
  std::ifstream file(std::string(LLMC_TILE_PROGRAMS) + "/" + name + ".mlir.in");
  std::stringstream content;
  content << file.rdbuf();
  std::string text = content.str();
  for (const auto &[key, value] : values)
    for (size_t at; (at = text.find("@" + key + "@")) != std::string::npos;)
      text.replace(at, key.size() + 2, value);
  return text;
}

std::vector<std::string> levels() {
  std::vector<std::string> result;
  for (const char *name : {"x86-64-v3", "x86-64-v4"})
    if (llvm::cantFail(CpuLevel::parse(name)).runsHere())
      result.push_back(name);
  return result;
}

Kernels::Kernels(const std::string &text, const std::string &level) {
  mlir::DialectRegistry registry;
  registerCpuDialects(registry);
  mlir::MLIRContext context(registry);
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  if (!module) {
    ADD_FAILURE() << "the tile program does not parse";
    return;
  }
  CompileOptions options;
  if (const char *dir = std::getenv("LLMC_TEST_DUMP"))
    options.dumpDir = dir;
  timespec begin, end;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
  auto object = compileKernels(*module, llvm::cantFail(CpuLevel::parse(level)), options);
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
  compileSeconds = end.tv_sec - begin.tv_sec + (end.tv_nsec - begin.tv_nsec) * 1e-9;
  if (!object) {
    ADD_FAILURE() << llvm::toString(object.takeError());
    return;
  }
  image = object->elf;
  char path[] = "/tmp/llmc-kernels-XXXXXX";
  int file = mkstemp(path);
  bool isWritten = write(file, image.data(), image.size()) == ssize_t(image.size());
  close(file);
  library = isWritten ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : nullptr;
  if (!library)
    ADD_FAILURE() << "cannot load the object: " << dlerror();
  unlink(path);
}

Kernels::~Kernels() {
  if (library)
    dlclose(library);
}

void Kernels::run(const std::string &kernel, std::vector<void *> buffers, Dims dims) {
  if (!library)
    return;
  auto entry = reinterpret_cast<void (*)(void *const *, const int64_t *, int64_t)>(dlsym(library, kernel.c_str()));
  auto grid = reinterpret_cast<int64_t (*)(const int64_t *)>(dlsym(library, (kernel + ".grid").c_str()));
  if (!entry || !grid) {
    ADD_FAILURE() << "the object does not export " << kernel;
    return;
  }
  int64_t values[] = {dims.tokens, dims.sequences, dims.slots, dims.context, dims.contextBlocks};
  int64_t count = grid(values);
  // Backwards, since workgroups may run in any order.
  for (int64_t i = count; i-- > 0;)
    entry(buffers.data(), values, i);
}

} // namespace llmc::test
