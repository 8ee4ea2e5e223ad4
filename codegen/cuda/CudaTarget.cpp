// The CUDA target's pipeline from tile program to the NVVM dialect, and the loop over kernels around it.
#include "codegen/cuda/CudaTarget.h"
#include "codegen/cpu/EmitCode.h"
#include "codegen/cpu/Passes.h"
#include "codegen/cuda/EmitPtx.h"
#include "codegen/cuda/Layout.h"
#include "codegen/cuda/LoopTest.h"
#include "codegen/cuda/Passes.h"
#include "codegen/sim/Passes.h"
#include "dialect/plan/Extent.h"
#include "mlir/Conversion/AffineToStandard/AffineToStandard.h"
#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/FuncToLLVM/ConvertFuncToLLVMPass.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/MemRefToLLVM/MemRefToLLVM.h"
#include "mlir/Conversion/NVVMToLLVM/NVVMToLLVM.h"
#include "mlir/Conversion/ReconcileUnrealizedCasts/ReconcileUnrealizedCasts.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Conversion/UBToLLVM/UBToLLVM.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/IR/Threading.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace llmc {
namespace {

/// The level of simulated code: what LowerBlocks and the simulator's kernels may take for granted (fused
/// multiply-add is an instruction).
CpuLevel simulatorLevel(StringRef name) { return {name.str(), "x86-64-v3", "", 256}; }
constexpr StringRef kSimulatorExports[] = {"", ".static_shared", ".cluster", ".parameters", ".abi"};

/// The merged kernel's name in the code object.
constexpr StringRef kMergedKernel = "llmc_steps";

/// What of the pipeline there is to choose.
struct Lowering {
  unsigned sharedBytes;
  bool hasWarpgroups = false, isSimulated = false, hasBarriers = true, overlapsLaunches = false;
  bool endsBeforeSimulation = false; ///< of what is simulated
  std::optional<MergeKernelsOptions> merges = {};
};

/// Tile program to NVVM dialect, one stage a line.
void buildPipeline(OpPassManager &pm, const Lowering &lowering) {
  const bool isSimulated = lowering.isSimulated;
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createPrepareTiles());
  pm.addPass(createCSEPass());
  BufferizeTilesOptions bufferize;
  bufferize.accumulatorRows = kStreamedRows;
  pm.addPass(createBufferizeTiles(bufferize));
  DistributeTilesOptions distribute;
  distribute.barriers = lowering.hasBarriers;
  distribute.warpgroups = lowering.hasWarpgroups;
  pm.addPass(createDistributeTiles(distribute));
  pm.addPass(createCanonicalizerPass()); // scratch that became registers is gone before the rest is placed
  LowerBlocksOptions blocks;
  blocks.sharedBytes = lowering.sharedBytes;
  blocks.declareBuffers = isSimulated;
  pm.addPass(createLowerBlocks(blocks));
  if (lowering.merges)
    pm.addPass(createMergeKernels(*lowering.merges));
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  if (!isSimulated)
    pm.addPass(createSelectInstructions());
  pm.addPass(createExpandMath());
  pm.addPass(memref::createExpandStridedMetadataPass());
  pm.addPass(createLowerAffinePass());
  arith::ArithExpandOpsPassOptions expand;
  expand.includeBf16 = isSimulated; // PTX has instructions for it
  pm.addPass(arith::createArithExpandOpsPass(expand));
  pm.addPass(createSCFToControlFlowPass());
  pm.addPass(createConvertMathToLLVMPass());
  pm.addPass(createFinalizeMemRefToLLVMConversionPass());
  pm.addPass(createArithToLLVMConversionPass());
  pm.addPass(createConvertControlFlowToLLVMPass());
  pm.addPass(createUBToLLVMConversionPass());
  pm.addPass(createConvertFuncToLLVMPass());
  pm.addPass(createReconcileUnrealizedCastsPass());
  pm.addPass(createMarkKernels());
  if (lowering.overlapsLaunches)
    pm.addPass(createOverlapLaunches());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  if (lowering.merges)
    pm.addPass(createMarkConstants());
  if (isSimulated && !lowering.endsBeforeSimulation)
    pm.addPass(createSimulateThreads());
}

/// Leaves room for a second block.
MergeKernelsOptions mergingFor(bool hasBulkCopies, unsigned sharedBytes, bool isSimulated) {
  MergeKernelsOptions options;
  options.name = kMergedKernel.str();
  options.bulkPrefetch = hasBulkCopies;
  options.sharedBytes = sharedBytes / 2;
  options.declareBuffers = isSimulated;
  return options;
}

struct LowerTilesOptions : PassPipelineOptions<LowerTilesOptions> {
  Option<unsigned> sharedBytes{*this, "shared-bytes", llvm::cl::desc("Shared memory that a block may use"),
                               llvm::cl::init(160 << 10)};
  Option<bool> hasWarpgroups{*this, "warpgroups", llvm::cl::desc("wgmma and the copy engine, as on sm_90a"), llvm::cl::init(false)};
  Option<bool> isSimulated{*this, "sim", llvm::cl::desc("Go on to code for the simulator"),
                           llvm::cl::init(false)};
  Option<bool> endsBeforeSimulation{*this, "before-sim", llvm::cl::desc("What code for the simulator is made from"), llvm::cl::init(false)};
  Option<bool> merges{*this, "merge", llvm::cl::desc("Merge the kernels into one"), llvm::cl::init(false)};
};

std::string toText(Operation *op) {
  std::string text;
  llvm::raw_string_ostream os(text);
  op->print(os);
  return text;
}

/// A module that holds a copy of one kernel under the name that it has in the code object.
OwningOpRef<ModuleOp> isolate(func::FuncOp kernel, StringRef name) {
  OwningOpRef<ModuleOp> module = ModuleOp::create(kernel.getLoc());
  auto copy = cast<func::FuncOp>(kernel->clone());
  copy.setSymName(name);
  module->push_back(copy);
  return module;
}

/// A name that PTX allows: letters, digits and underscores. `number` keeps changed names apart.
std::string symbolFor(StringRef kernel, size_t number) {
  std::string name = kernel.str();
  for (char &c : name)
    if (!llvm::isAlnum(c) && c != '_')
      c = '_';
  return name == kernel && !llvm::isDigit(name[0]) ? name : "k" + std::to_string(number) + "_" + name;
}

runtime::TensorMap tensorMapOf(DictionaryAttr map) {
  runtime::TensorMap result;
  result.parameter = map.getAs<IntegerAttr>("parameter").getInt();
  result.swizzle = map.getAs<IntegerAttr>("swizzle").getInt();
  for (Attribute extent : map.getAs<ArrayAttr>("shape")) {
    if (auto known = dyn_cast<IntegerAttr>(extent)) {
      result.shape.push_back({uint64_t(known.getInt()), runtime::Symbol::one});
      continue;
    }
    plan::Extent named = *plan::parseExtent(cast<StringAttr>(extent).getValue());
    result.shape.push_back({uint64_t(named.factor), runtime::Symbol(named.symbol + 1)}); // before the symbols of a kernel is `one`
  }
  for (int64_t extent : map.getAs<DenseI64ArrayAttr>("box").asArrayRef())
    result.box.push_back(extent);
  return result;
}

runtime::KernelLaunch launchOf(LLVM::LLVMFuncOp kernel) {
  runtime::KernelLaunch launch;
  auto number = [&](StringRef key) {
    auto attr = kernel->getAttrOfType<IntegerAttr>(key);
    return attr ? attr.getInt() : 0;
  };
  launch.symbol = kernel.getName().str();
  launch.threads = number("llm.threads");
  launch.sharedBytes = number("llm.shared_bytes");
  launch.scratchBytes = number("llm.scratch_bytes");
  launch.waits = kernel->hasAttr("llm.waits");
  ArrayRef<int64_t> terms = kernel->getAttrOfType<DenseI64ArrayAttr>("llm.grid").asArrayRef();
  for (size_t i = 0; i + 1 < terms.size(); i += 2)
    launch.grid.push_back({runtime::GridOp(terms[i]), terms[i + 1]});
  for (Attribute map : kernel->getAttrOfType<ArrayAttr>("llm.tensor_maps"))
    launch.tensorMaps.push_back(tensorMapOf(cast<DictionaryAttr>(map)));
  return launch;
}

/// What one kernel becomes: PTX text or an object file of the simulator.
struct CompiledKernel {
  runtime::KernelLaunch launch;
  std::vector<std::string> bodies; ///< of a merged one: the symbols of those that it is made of, in their order
  std::string ptx;
  ObjectFile object;
};

/// The kernel `symbol` of a module of tile programs.
llvm::Expected<CompiledKernel> lowerAndEmit(ModuleOp module, StringRef name, StringRef symbol, const Lowering &lowering,
                                            const CudaArch &arch, const CudaOptions &options) {
  auto fail = [&] { return llvm::createStringError("kernel '" + name + "' cannot be compiled for " + arch.name); };
  PassManager pm(module.getContext());
  buildPipeline(pm, lowering);
  if (failed(pm.run(module)))
    return fail();
  CompiledKernel result;
  auto kernel = module.lookupSymbol<LLVM::LLVMFuncOp>(symbol);
  result.launch = launchOf(kernel);
  if (auto bodies = kernel->getAttrOfType<ArrayAttr>("llm.bodies"))
    for (StringRef body : bodies.getAsValueRange<StringAttr>())
      result.bodies.push_back(body.str());
  if (!isGridProgram(result.launch.grid))
    return llvm::createStringError(
        "kernel '" + name +
        "': the bounds of its scf.forall are too complex for the host; compute them in fewer "
        "steps");
  CompileOptions dump;
  dump.dumpDir = options.dumpDir;
  CpuLevel level = simulatorLevel(options.isSimulated ? arch.name + ".sim" : arch.name);
  if (!options.dumpDir.empty())
    if (llvm::Error error = dumpKernel(dump, symbol, level, "mlir", toText(module)))
      return std::move(error);
  if (options.isSimulated) {
    auto object = emitObject(module, symbol, {}, level, dump, kSimulatorExports);
    if (!object)
      return object.takeError();
    result.object = std::move(*object);
    return result;
  }
  PassManager toLlvm(module.getContext());
  toLlvm.addPass(createConvertNVVMToLLVMPass()); // what has no intrinsic becomes assembly
  if (failed(toLlvm.run(module)))
    return fail();
  auto ptx = emitPtx(module, symbol, arch, options);
  if (!ptx)
    return ptx.takeError();
  result.ptx = std::move(*ptx);
  return result;
}

llvm::Expected<CompiledKernel> compileKernel(func::FuncOp kernel, StringRef symbol, const CudaArch &arch,
                                             const CudaOptions &options) {
  OwningOpRef<ModuleOp> module = isolate(kernel, symbol);
  Lowering lowering{arch.sharedBytes, arch.hasWarpgroups, options.isSimulated, options.hasBarriers,
                    options.overlapsLaunches && arch.hasOverlap};
  return lowerAndEmit(*module, kernel.getName(), symbol, lowering, arch, options);
}

/// The kernels of `places` as one, but for those that need too much shared memory. Without warpgroups: their warps have roles and registers
/// of their own, and their tensor maps would be parameters of every step.
llvm::Expected<CompiledKernel> compileMerged(std::vector<func::FuncOp> &kernels, const std::map<size_t, CudaOptions::Merged> &places,
                                             const CudaArch &arch, const CudaOptions &options) {
  OwningOpRef<ModuleOp> module = ModuleOp::create(kernels.front().getLoc());
  for (const auto &[place, uses] : places) {
    auto copy = cast<func::FuncOp>(kernels[place]->clone());
    copy.setSymName(symbolFor(copy.getName(), place));
    for (unsigned i : uses.constants)
      copy.setArgAttr(i, "llm.constant", UnitAttr::get(copy.getContext()));
    module->push_back(copy);
  }
  Lowering lowering{arch.sharedBytes, /*hasWarpgroups=*/false, options.isSimulated, options.hasBarriers};
  lowering.merges = mergingFor(/*hasBulkCopies=*/arch.hasWarpgroups, arch.sharedBytes, options.isSimulated);
  lowering.merges->barriers = options.hasGridBarriers;
  return lowerAndEmit(*module, kMergedKernel, kMergedKernel, lowering, arch, options);
}

/// Which of the distinct kernels are to be merged: those that are asked for under one of their names, with what holds for all of these.
std::map<size_t, CudaOptions::Merged> placesToMerge(ArrayRef<std::pair<std::string, size_t>> kernels, const CudaOptions &options) {
  std::map<size_t, CudaOptions::Merged> places;
  for (const auto &[name, place] : kernels) {
    auto asked = options.merged.find(name);
    if (asked == options.merged.end())
      continue;
    auto [known, isNew] = places.try_emplace(place, asked->second);
    auto keepCommon = [](std::vector<unsigned> &mine, const std::vector<unsigned> &others) {
      llvm::erase_if(mine, [&](unsigned i) { return !llvm::is_contained(others, i); });
    };
    if (!isNew) {
      keepCommon(known->second.constants, asked->second.constants);
      keepCommon(known->second.whole, asked->second.whole);
    }
  }
  return places;
}

llvm::Expected<CompiledKernel> compileLoopTest(MLIRContext *context, const CudaArch &arch, const CudaOptions &options) {
  OwningOpRef<ModuleOp> module = makeLoopTest(context);
  return lowerAndEmit(*module, kLoopTestKernel, kLoopTestKernel, Lowering{arch.sharedBytes, /*hasWarpgroups=*/false, options.isSimulated},
                      arch, options);
}

llvm::Expected<std::vector<char>> linkForSimulator(std::vector<ObjectFile> objects) {
  auto memory = emitMemoryFunctions(simulatorLevel("sim"));
  if (!memory)
    return memory.takeError();
  objects.push_back(std::move(*memory));
  return linkObjects(objects, {});
}

/// The bytes of a code object: host code, a cubin, or PTX with a NUL. `resources` gets what the assembler says of each kernel.
llvm::Expected<std::vector<char>> joinKernels(std::vector<CompiledKernel> kernels, Location loc, const CudaArch &arch,
                                              const CudaOptions &options, std::map<std::string, KernelResources> &resources) {
  if (options.isSimulated) {
    std::vector<ObjectFile> objects;
    for (CompiledKernel &kernel : kernels)
      objects.push_back(std::move(kernel.object));
    return linkForSimulator(std::move(objects));
  }
  std::vector<std::string> modules;
  for (CompiledKernel &kernel : kernels)
    modules.push_back(std::move(kernel.ptx));
  std::string ptx = joinPtx(modules), ptxas = findPtxas(options.ptxas);
  if (ptxas.empty() || kernels.empty())
    return std::vector<char>(ptx.c_str(), ptx.c_str() + ptx.size() + 1);
  auto cubin = assemblePtx(ptx, arch, ptxas);
  if (!cubin)
    return cubin.takeError();
  for (const std::string &loss : cubin->losses)
    emitWarning(loc) << "ptxas for " << arch.name << ": " << loss;
  resources.insert(cubin->resources.begin(), cubin->resources.end());
  return std::move(cubin->bytes);
}

} // namespace

llvm::Expected<CudaArch> CudaArch::parse(llvm::StringRef name) {
  // The largest blocks' shared memory: 163 KiB and 227 KiB (CUDA programming guide, technical
  // specifications), less what the system keeps.
  if (name == "sm_80")
    return CudaArch{"sm_80", "+ptx70", 160 << 10};
  if (name == "sm_90a")
    return CudaArch{"sm_90a", "+ptx80", 224 << 10, /*hasOverlap=*/true, /*hasWarpgroups=*/true};
  return llvm::createStringError("unknown GPU architecture '" + name + "': expects sm_80 or sm_90a");
}

void registerCudaDialects(DialectRegistry &registry) {
  registerCpuDialects(registry);
  registry.insert<NVVM::NVVMDialect>();
  registerNVVMDialectTranslation(registry);
}

void registerCudaTarget() {
  registerCudaPasses();
  registerSimPasses();
  static PassPipelineRegistration<LowerTilesOptions> pipeline(
      "cuda-lower-tiles", "Tile programs to the NVVM dialect",
      [](OpPassManager &pm, const LowerTilesOptions &options) {
        Lowering lowering{options.sharedBytes, options.hasWarpgroups, options.isSimulated || options.endsBeforeSimulation};
        lowering.endsBeforeSimulation = options.endsBeforeSimulation;
        if (options.merges)
          lowering.merges = mergingFor(/*hasBulkCopies=*/true, options.sharedBytes, options.isSimulated);
        buildPipeline(pm, lowering);
      });
}

llvm::Expected<CudaCode> compileCudaKernels(ModuleOp tilePrograms, const CudaArch &arch,
                                            const CudaOptions &options) {
  MLIRContext *context = tilePrograms.getContext();
  DialectRegistry registry;
  registerCudaDialects(registry);
  context->appendDialectRegistry(registry);
  for (StringRef name : registry.getDialectNames())
    context->getOrLoadDialect(name);

  // Kernels by their text; equal ones are compiled once and share a symbol.
  std::map<std::string, size_t> known;
  std::vector<func::FuncOp> distinct;
  std::vector<std::pair<std::string, size_t>> kernels;
  for (auto kernel : tilePrograms.getOps<func::FuncOp>())
    if (kernel->hasAttr("llm.kernel") && !kernel.isExternal()) {
      auto [place, isNew] = known.try_emplace(toText(*isolate(kernel, "kernel")), distinct.size());
      if (isNew)
        distinct.push_back(kernel);
      kernels.emplace_back(kernel.getName().str(), place->second);
    }

  std::vector<CompiledKernel> compiled(distinct.size());
  std::vector<std::string> failures(distinct.size());
  ParallelDiagnosticHandler diagnostics(context);
  parallelFor(context, 0, distinct.size(), [&](size_t i) {
    diagnostics.setOrderIDForThread(i);
    auto kernel = compileKernel(distinct[i], symbolFor(distinct[i].getName(), i), arch, options);
    if (kernel)
      compiled[i] = std::move(*kernel);
    else
      failures[i] = llvm::toString(kernel.takeError());
    diagnostics.eraseOrderIDForThread();
  });
  for (const std::string &failure : failures)
    if (!failure.empty())
      return llvm::createStringError(failure);

  CudaCode code;
  code.arch = arch.name;
  const std::map<size_t, CudaOptions::Merged> places = placesToMerge(kernels, options);
  if (!places.empty()) {
    auto merged = compileMerged(distinct, places, arch, options);
    if (!merged)
      return merged.takeError();
    for (const auto &[place, uses] : places) {
      runtime::KernelLaunch &launch = compiled[place].launch;
      auto found = llvm::find(merged->bodies, launch.symbol);
      if (found == merged->bodies.end())
        continue;
      launch.merged = std::distance(merged->bodies.begin(), found);
      launch.whole.assign(uses.whole.begin(), uses.whole.end());
    }
    if (!merged->bodies.empty()) {
      code.merged = merged->launch;
      compiled.push_back(std::move(*merged));
    }
  }
  for (const auto &[name, place] : kernels)
    code.launches[name] = compiled[place].launch;
  std::map<std::string, KernelResources> resources;
  auto bytes = joinKernels(std::move(compiled), tilePrograms.getLoc(), arch, options, resources);
  if (!bytes)
    return bytes.takeError();
  code.bytes = std::move(*bytes);
  if (options.hasLoops) {
    std::vector<CompiledKernel> test(1);
    auto kernel = compileLoopTest(context, arch, options);
    if (!kernel)
      return kernel.takeError();
    code.loopTestLaunch = kernel->launch;
    test[0] = std::move(*kernel);
    CudaOptions asText = options; // the driver, which has the function that it calls, assembles it
    asText.ptxas = "none";
    auto testBytes = joinKernels(std::move(test), tilePrograms.getLoc(), arch, asText, resources);
    if (!testBytes)
      return testBytes.takeError();
    code.loopTest = std::move(*testBytes);
  }
  auto fill = [&](runtime::KernelLaunch &launch) {
    launch.registers = resources[launch.symbol].registers;
    launch.spillBytes = resources[launch.symbol].spillBytes;
  };
  for (auto &entry : code.launches)
    fill(entry.second);
  if (code.merged)
    fill(*code.merged);
  return code;
}

llvm::Expected<std::vector<char>> compileForSimulator(ModuleOp kernels) {
  OwningOpRef<ModuleOp> module = cast<ModuleOp>(kernels->clone());
  std::vector<std::string> names;
  for (auto function : module->getOps<LLVM::LLVMFuncOp>())
    if (function->hasAttr(NVVM::NVVMDialect::getKernelFuncAttrName()))
      names.push_back(function.getName().str());
  PassManager pm(module->getContext());
  pm.addPass(createSimulateThreads());
  if (failed(pm.run(*module)))
    return llvm::createStringError("the kernels cannot be simulated (see the message above)");
  std::vector<ObjectFile> objects;
  std::vector<std::string> exportsText;
  for (const std::string &name : names)
    for (StringRef suffix : kSimulatorExports)
      exportsText.push_back(name + suffix.str());
  std::vector<StringRef> exports(exportsText.begin(), exportsText.end());
  auto object = emitObject(*module, "", {}, simulatorLevel("sim"), {}, exports);
  if (!object)
    return object.takeError();
  objects.push_back(std::move(*object));
  return linkForSimulator(std::move(objects));
}

} // namespace llmc
