// specialize-programs: `advance` gets its own layer functions, in one-token form; that of a canvas keeps the others'.
#include "passes/Passes.h"

using namespace mlir;
namespace llmc {
#define GEN_PASS_DEF_SPECIALIZEPROGRAMS
#include "passes/Passes.h.inc"
namespace {

/// Latent attention of a prompt. Per cached position and head, expanding costs r (nope + v) multiply-adds
/// once for all rows of the call and saves (2 r + rope) - (nope + rope + v) of them for each row, so it pays
/// from some number of rows on. The choice must not depend on the piece in which a row comes (its bits
/// would), so it is made here: expanded if it pays from half of the largest call on.
StringRef formForPrompts(llm::LatentAttentionOp op) {
  constexpr int64_t kRows = 128;
  int64_t r = op.getLatent(), v = op.getValueWidth(), nope = op.getNope();
  int64_t saved = 2 * r - nope - v;
  return saved > 0 && r * (nope + v) <= kRows * saved ? "expanded" : "absorbed";
}

/// The programs of a canvas fill blocks of rows.
bool hasCanvas(func::FuncOp program) {
  return program.walk([](Operation *op) { return llm::isCanvasOp(op) ? WalkResult::interrupt() : WalkResult::advance(); })
      .wasInterrupted();
}

struct SpecializePrograms : impl::SpecializeProgramsBase<SpecializePrograms> {
  void runOnOperation() override {
    SymbolTable symbols(getOperation());
    getOperation().walk([&](llm::LatentAttentionOp op) {
      op.setFormAttr(StringAttr::get(&getContext(), formForPrompts(op)));
    });
    auto advance = symbols.lookup<func::FuncOp>("advance");
    if (!advance || hasCanvas(advance))
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
        clone.walk([&](llm::LatentAttentionOp op) { op.setFormAttr(b.getStringAttr("absorbed")); });
      }
      call.setCallee(clone.getName());
    });
  }
};

} // namespace

bool isStep(func::FuncOp function) {
  return function.getName().ends_with("_step") || (function.getName() == "advance" && !hasCanvas(function));
}
} // namespace llmc
