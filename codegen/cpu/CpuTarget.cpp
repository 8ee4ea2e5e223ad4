// The CPU target's pipeline from tile program to LLVM dialect, and the loop over kernels around it.
#include "codegen/cpu/CpuTarget.h"
#include "codegen/cpu/EmitCode.h"
#include "codegen/cpu/Passes.h"
#include "mlir/Conversion/AffineToStandard/AffineToStandard.h"
#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/FuncToLLVM/ConvertFuncToLLVMPass.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/MemRefToLLVM/MemRefToLLVM.h"
#include "mlir/Conversion/ReconcileUnrealizedCasts/ReconcileUnrealizedCasts.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Conversion/UBToLLVM/UBToLLVM.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVMPass.h"
#include "mlir/Dialect/Arith/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Bufferization/Transforms/FuncBufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Linalg/Transforms/SubsetInsertionOpInterfaceImpl.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Dialect/SCF/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Tensor/IR/TensorInferTypeOpInterfaceImpl.h"
#include "mlir/Dialect/Tensor/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Tensor/Transforms/SubsetInsertionOpInterfaceImpl.h"
#include "mlir/Dialect/UB/IR/UBOps.h"
#include "mlir/Dialect/Vector/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/IR/Threading.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/TargetParser/Host.h"

using namespace mlir;

namespace llmc {
namespace {

/// Tile program to LLVM dialect, one stage a line.
void buildPipeline(OpPassManager &pm, unsigned vectorBits) {
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createPrepareTiles());
  pm.addPass(createCSEPass());
  pm.addPass(createBufferizeTiles());
  VectorizeTilesOptions lanes;
  lanes.vectorBits = vectorBits;
  pm.addPass(createVectorizeTiles(lanes));
  pm.addPass(createLowerWorkgroups());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  pm.addPass(createExpandMath());
  pm.addPass(memref::createExpandStridedMetadataPass());
  pm.addPass(createLowerAffinePass());
  arith::ArithExpandOpsPassOptions expand;
  expand.includeBf16 = true;
  pm.addPass(arith::createArithExpandOpsPass(expand));
  pm.addPass(createSCFToControlFlowPass());
  pm.addPass(createConvertVectorToLLVMPass());
  pm.addPass(createConvertMathToLLVMPass());
  pm.addPass(createFinalizeMemRefToLLVMConversionPass());
  pm.addPass(createArithToLLVMConversionPass());
  pm.addPass(createConvertControlFlowToLLVMPass());
  pm.addPass(createUBToLLVMConversionPass());
  pm.addPass(createConvertFuncToLLVMPass());
  pm.addPass(createReconcileUnrealizedCastsPass());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
}

std::string toText(Operation *op) {
  std::string text;
  llvm::raw_string_ostream os(text);
  op->print(os);
  return text;
}

struct LowerTilesOptions : PassPipelineOptions<LowerTilesOptions> {
  Option<unsigned> vectorBits{*this, "vector-bits", llvm::cl::desc("Width of a vector register in bits"),
                              llvm::cl::init(512)};
};

/// A module that holds a copy of one kernel under a fixed name: equal text is equal code.
OwningOpRef<ModuleOp> isolate(func::FuncOp kernel, StringRef name) {
  OwningOpRef<ModuleOp> module = ModuleOp::create(kernel.getLoc());
  auto copy = cast<func::FuncOp>(kernel->clone());
  copy.setSymName(name);
  module->push_back(copy);
  return module;
}

/// Compiles the first of `kernels`, which have equal bodies; the others become further names of it.
llvm::Expected<ObjectFile> compileKernel(ArrayRef<func::FuncOp> kernels, const CpuLevel &level,
                                         const CompileOptions &options) {
  func::FuncOp first = kernels.front();
  std::string name = first.getName().str();
  OwningOpRef<ModuleOp> module = isolate(first, name);
  PassManager pm(module->getContext());
  buildPipeline(pm, level.vectorBits);
  if (failed(pm.run(*module)))
    return llvm::createStringError("kernel '" + name + "' cannot be compiled for " + level.name);
  if (!options.dumpDir.empty())
    if (llvm::Error error = dumpKernel(options, name, level, "mlir", toText(*module)))
      return std::move(error);
  std::vector<std::string> aliases;
  for (func::FuncOp other : kernels.drop_front())
    aliases.push_back(other.getName().str());
  return emitObject(*module, name, aliases, level, options);
}

} // namespace

llvm::Expected<CpuLevel> CpuLevel::parse(llvm::StringRef name) {
  if (name == "x86-64-v3")
    return CpuLevel{"x86-64-v3", "x86-64-v3", "", 256};
  if (name == "x86-64-v4")
    return CpuLevel{"x86-64-v4", "x86-64-v4", "", 512};
  if (name != "native")
    return llvm::createStringError("unknown CPU level '" + name +
                                   "': expects x86-64-v3, x86-64-v4 or native");
  // The highest level that this machine executes: an artifact then says what it needs in one word, and
  // differs from one for a named level by nothing.
  for (const char *level : {"x86-64-v4", "x86-64-v3"}) {
    llvm::Expected<CpuLevel> found = parse(level);
    if (found && found->runsHere())
      return found;
  }
  return llvm::createStringError(
      "CPU level 'native': this machine has no AVX2; compile for x86-64-v3 on another one");
}

bool CpuLevel::runsHere() const {
  llvm::StringMap<bool> host = llvm::sys::getHostCPUFeatures();
  bool hasV3 = true, hasV4 = true;
  for (const char *feature : {"avx2", "fma", "f16c", "bmi2", "movbe", "lzcnt"})
    hasV3 &= host.lookup(feature);
  for (const char *feature : {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"})
    hasV4 &= host.lookup(feature);
  return hasV3 && (hasV4 || name == "x86-64-v3");
}

void registerCpuDialects(DialectRegistry &registry) {
  registry.insert<affine::AffineDialect, arith::ArithDialect, bufferization::BufferizationDialect,
                  cf::ControlFlowDialect, func::FuncDialect, linalg::LinalgDialect, LLVM::LLVMDialect,
                  math::MathDialect, memref::MemRefDialect, scf::SCFDialect, tensor::TensorDialect,
                  ub::UBDialect, vector::VectorDialect>();
  arith::registerBufferizableOpInterfaceExternalModels(registry);
  bufferization::func_ext::registerBufferizableOpInterfaceExternalModels(registry);
  linalg::registerBufferizableOpInterfaceExternalModels(registry);
  linalg::registerSubsetOpInterfaceExternalModels(registry);
  scf::registerBufferizableOpInterfaceExternalModels(registry);
  tensor::registerBufferizableOpInterfaceExternalModels(registry);
  tensor::registerInferTypeOpInterfaceExternalModels(registry);
  tensor::registerSubsetOpInterfaceExternalModels(registry);
  vector::registerBufferizableOpInterfaceExternalModels(registry);
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
}

void registerCpuTarget() {
  registerCpuPasses();
  static PassPipelineRegistration<LowerTilesOptions> pipeline(
      "cpu-lower-tiles", "Tile programs to the LLVM dialect for the CPU",
      [](OpPassManager &pm, const LowerTilesOptions &options) { buildPipeline(pm, options.vectorBits); });
}

llvm::Expected<CodeObject> compileKernels(ModuleOp tilePrograms, const CpuLevel &level,
                                          const CompileOptions &options) {
  MLIRContext *context = tilePrograms.getContext();
  DialectRegistry registry;
  registerCpuDialects(registry);
  context->appendDialectRegistry(registry);
  for (StringRef name : registry.getDialectNames())
    context->getOrLoadDialect(name);

  // Kernels by their text; the first of equal ones gives the code its name.
  std::map<std::string, unsigned> known;
  std::vector<std::vector<func::FuncOp>> distinct;
  for (auto kernel : tilePrograms.getOps<func::FuncOp>())
    if (kernel->hasAttr("llm.kernel") && !kernel.isExternal()) {
      auto [place, isNew] = known.try_emplace(toText(*isolate(kernel, "kernel")), distinct.size());
      if (isNew)
        distinct.emplace_back();
      distinct[place->second].push_back(kernel);
    }

  // Kernels are compiled side by side; what comes out depends on their order in the module only.
  std::vector<ObjectFile> objects(distinct.size());
  std::vector<std::string> failures(distinct.size());
  ParallelDiagnosticHandler diagnostics(context);
  parallelFor(context, 0, distinct.size(), [&](size_t i) {
    diagnostics.setOrderIDForThread(i);
    llvm::Expected<ObjectFile> object = compileKernel(distinct[i], level, options);
    if (object)
      objects[i] = std::move(*object);
    else
      failures[i] = llvm::toString(object.takeError());
    diagnostics.eraseOrderIDForThread();
  });
  for (const std::string &failure : failures)
    if (!failure.empty())
      return llvm::createStringError(failure);
  llvm::Expected<ObjectFile> memory = emitMemoryFunctions(level);
  if (!memory)
    return memory.takeError();
  objects.push_back(std::move(*memory));
  llvm::Expected<std::vector<char>> elf = linkObjects(objects, options);
  if (!elf)
    return elf.takeError();
  return CodeObject{level.name, std::move(*elf)};
}

} // namespace llmc
