// specialize-programs: `advance` gets its own layer functions, in one-token form.
#include "passes/Passes.h"

using namespace mlir;
namespace llmc {
#define GEN_PASS_DEF_SPECIALIZEPROGRAMS
#include "passes/Passes.h.inc"
namespace {

struct SpecializePrograms : impl::SpecializeProgramsBase<SpecializePrograms> {
  void runOnOperation() override {
    SymbolTable symbols(getOperation());
    auto advance = symbols.lookup<func::FuncOp>("advance");
    if (!advance)
      return;
    llvm::StringMap<func::FuncOp> clones;
    advance.walk([&](func::CallOp call) {
      func::FuncOp &clone = clones[call.getCallee()];
      if (!clone) {
        auto callee = symbols.lookup<func::FuncOp>(call.getCallee());
        clone = callee.clone();
        clone.setName((callee.getName() + "_step").str());
        symbols.insert(clone, std::next(callee->getIterator()));
        OpBuilder b(&getContext());
        clone.walk([&](llm::DeltaRuleOp op) { op.setFormAttr(b.getStringAttr("step")); });
      }
      call.setCallee(clone.getName());
    });
  }
};

} // namespace
} // namespace llmc
