// overlap-launches: programmatic dependent launch (CUDA programming guide; PTX ISA, griddepcontrol). A kernel
// lets the next one start as soon as its own blocks have, and waits for the one before it.
//
//   llvm.func @k(...) attributes {nvvm.kernel} {     llvm.func @k(...) attributes {nvvm.kernel, llm.waits} {
//     ...                                        ->    nvvm.griddepcontrol launch_dependents
//                                                      nvvm.griddepcontrol wait
//                                                      ...
//
// The wait is the first thing that touches memory: which of a kernel's arguments the kernel before it wrote is known to
// the plan only. What overlaps is the start of a kernel's blocks with the end of the other's. Every kernel waits for all of
// the one before it, which has waited itself, so order is kept however many have started.
#include "codegen/cuda/Passes.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

namespace llmc {
#define GEN_PASS_DEF_OVERLAPLAUNCHES
#include "codegen/cuda/Passes.h.inc"

using namespace mlir;

namespace {

struct OverlapLaunches : impl::OverlapLaunchesBase<OverlapLaunches> {
  using OverlapLaunchesBase::OverlapLaunchesBase;

  void runOnOperation() override {
    for (auto kernel : getOperation().getOps<LLVM::LLVMFuncOp>()) {
      if (!kernel->hasAttr(NVVM::NVVMDialect::getKernelFuncAttrName()) || kernel.isExternal())
        continue;
      OpBuilder b = OpBuilder::atBlockBegin(&kernel.getBody().front());
      NVVM::GriddepcontrolOp::create(b, kernel.getLoc(), NVVM::GridDepActionKind::launch_dependents);
      NVVM::GriddepcontrolOp::create(b, kernel.getLoc(), NVVM::GridDepActionKind::wait);
      kernel->setAttr("llm.waits", b.getUnitAttr());
    }
  }
};

} // namespace
} // namespace llmc
