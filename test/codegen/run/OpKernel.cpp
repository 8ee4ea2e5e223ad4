// From `llm` ops to the tile programs that the loader of the numbers tests compiles.
#include "dialect/llm/LlmDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "passes/Pipelines.h"
#include "test/codegen/run/Kernel.h"

namespace llmc::test {

std::pair<std::string, std::string> kernelOfOp(const std::string &text) {
  mlir::DialectRegistry registry;
  registerCpuDialects(registry);
  registry.insert<llm::LlmDialect, mlir::func::FuncDialect>();
  mlir::MLIRContext context(registry);
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  mlir::PassManager pm(&context);
  addGraphStage(pm);
  addChunkStage(pm);
  if (!module || failed(pm.run(*module)))
    return {};
  std::string program = "module {\n", name;
  llvm::raw_string_ostream os(program);
  for (auto kernel : module->getOps<mlir::func::FuncOp>())
    if (kernel->hasAttr("llm.kernel")) {
      name = kernel.getName().str();
      kernel->print(os);
    }
  os << "\n}\n";
  return {program, name};
}

} // namespace llmc::test
