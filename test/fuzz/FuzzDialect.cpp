// libFuzzer target of the dialects' text, read as `llmc compile model.mlir` reads it: whatever it says,
// parsing and verifying end with a module or with diagnostics.
#include "dialect/llm/LlmDialect.h"
#include "dialect/plan/PlanDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include <memory>
#include <string>

using namespace mlir;

static std::unique_ptr<MLIRContext> makeContext() {
  auto context = std::make_unique<MLIRContext>(MLIRContext::Threading::DISABLED);
  context
      ->loadDialect<llmc::llm::LlmDialect, llmc::plan::PlanDialect, func::FuncDialect, arith::ArithDialect>();
  return context;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  // A context costs more than an input, and keeps every type and attribute that it has seen.
  static std::unique_ptr<MLIRContext> context;
  static int uses = 0;
  if (uses++ % 500 == 0)
    context = makeContext();
  std::string text(reinterpret_cast<const char *>(data), size); // with a zero behind it, as files are mapped
  if (text.rfind("ML\xefR", 0) == 0)
    return 0; // bytecode, whose reader is not ours
  ScopedDiagnosticHandler quiet(context.get(), [](Diagnostic &) { return success(); });
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(text, context.get());
  return 0;
}
