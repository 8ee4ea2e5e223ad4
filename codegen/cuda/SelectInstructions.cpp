// select-instructions: f32 functions for which PTX has an instruction that math's expansions would spell out.
//
//   arith.maximumf x, y            max.NaN.f32, which is exactly that
//   math.exp2 x fastmath<afn>      ex2.approx.ftz.f32: 2 ulp, and 0 for what is no normal number (PTX ISA, ex2)
//
// The simulator has none of them: there both are expanded.
#include "codegen/cuda/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"

namespace llmc {
#define GEN_PASS_DEF_SELECTINSTRUCTIONS
#include "codegen/cuda/Passes.h.inc"

using namespace mlir;

namespace {

struct SelectInstructions : impl::SelectInstructionsBase<SelectInstructions> {
  using SelectInstructionsBase::SelectInstructionsBase;

  void runOnOperation() override {
    SmallVector<Operation *> found;
    getOperation().walk([&](Operation *op) {
      auto power = dyn_cast<math::Exp2Op>(op);
      bool isRough = power && arith::bitEnumContainsAll(power.getFastmath(), arith::FastMathFlags::afn);
      if ((isRough || isa<arith::MaximumFOp>(op)) && op->getResult(0).getType().isF32())
        found.push_back(op);
    });
    for (Operation *op : found) {
      OpBuilder b(op);
      Type f32 = b.getF32Type();
      Value made;
      if (auto maximum = dyn_cast<arith::MaximumFOp>(op)) {
        made = LLVM::MaximumOp::create(b, op->getLoc(), f32, maximum.getLhs(), maximum.getRhs());
      } else {
        auto dialect = LLVM::AsmDialectAttr::get(b.getContext(), LLVM::AsmDialect::AD_ATT);
        made = LLVM::InlineAsmOp::create(b, op->getLoc(), TypeRange{f32}, op->getOperands(), "ex2.approx.ftz.f32 $0, $1;", "=f,f",
                                         /*has_side_effects=*/false, /*is_align_stack=*/false, LLVM::tailcallkind::TailCallKind::None,
                                         dialect, ArrayAttr())
                   .getRes();
      }
      op->replaceAllUsesWith(ValueRange{made});
      op->erase();
    }
  }
};

} // namespace
} // namespace llmc
