// See Simulation.h.
#include "test/codegen/sim/Simulation.h"
#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"
#include "runtime/cuda/CudaCode.h"
#include <cstring>
#include <dlfcn.h>
#include <fstream>
#include <sstream>

namespace llmc::test {

const runtime::CudaDriver &simulatedDriver() {
  static const runtime::CudaDriver *loaded = [] {
    auto driver = runtime::CudaDriver::load(LLMC_SIM);
    EXPECT_TRUE(driver.ok()) << driver.status();
    cuda::Context context;
    (*driver)->cuDevicePrimaryCtxRetain(&context, 0);
    return driver->release();
  }();
  return *loaded;
}

void *simulatorSymbol(const char *name) { return dlsym(dlopen(LLMC_SIM, RTLD_NOW), name); }

static const char *lastReport() { return simulatorFunction<const char *()>("llmcSimReport")(); }

cuda::Result launchCooperative(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                               cuda::Stream, void **);

mlir::OwningOpRef<mlir::ModuleOp> parseKernels(const std::string &text, mlir::MLIRContext &context) {
  mlir::DialectRegistry registry;
  registerCudaDialects(registry);
  context.appendDialectRegistry(registry);
  context.loadAllAvailableDialects();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  if (!module)
    return module;
  mlir::PassManager pm(&context);
  pm.addPass(mlir::createSCFToControlFlowPass());
  pm.addPass(mlir::createArithToLLVMConversionPass());
  pm.addPass(mlir::createConvertControlFlowToLLVMPass());
  EXPECT_TRUE(mlir::succeeded(pm.run(*module)));
  return module;
}

std::vector<char> compileKernels(const std::string &text) {
  mlir::MLIRContext context;
  auto module = parseKernels(text, context);
  if (!module) {
    ADD_FAILURE() << "the kernel cannot be parsed";
    return {};
  }
  auto code = compileForSimulator(*module);
  if (!code) {
    ADD_FAILURE() << llvm::toString(code.takeError());
    return {};
  }
  return std::move(*code);
}

std::string launchKernel(const std::vector<char> &code, const std::string &kernel, const LaunchShape &shape,
                         const std::vector<Argument> &arguments) {
  if (code.empty())
    return "not compiled";
  const runtime::CudaDriver &d = simulatedDriver();
  void *module = nullptr, *function = nullptr;
  EXPECT_EQ(d.cuModuleLoadData(&module, code.data()), cuda::kSuccess);
  EXPECT_EQ(d.cuModuleGetFunction(&function, module, kernel.c_str()), cuda::kSuccess);
  if (shape.sharedBytes > 48 << 10)
    EXPECT_EQ(
        d.cuFuncSetAttribute(function, cuda::kMaxDynamicSharedBytes, static_cast<int>(shape.sharedBytes)),
        cuda::kSuccess);
  std::vector<cuda::DevicePointer> devices(arguments.size());
  std::vector<void *> parameters;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const Argument &a = arguments[i];
    parameters.push_back(a.isBuffer ? static_cast<void *>(&devices[i]) : a.data);
    if (!a.isBuffer)
      continue;
    EXPECT_EQ(d.cuMemAlloc(&devices[i], a.bytes), cuda::kSuccess);
    EXPECT_EQ(d.cuMemcpyHtoD(devices[i], a.data, a.bytes), cuda::kSuccess);
  }
  for (size_t i = 0; i < arguments.size(); ++i)
    if (arguments[i].prepare)
      arguments[i].prepare(devices.data());
  if (shape.isCooperative)
    EXPECT_EQ(
        simulatorFunction<decltype(launchCooperative)>("cuLaunchCooperativeKernel")(
            function, shape.blocks, 1, 1, shape.threads, 1, 1, shape.sharedBytes, nullptr, parameters.data()),
        cuda::kSuccess);
  else
    EXPECT_EQ(d.cuLaunchKernel(function, shape.blocks, 1, 1, shape.threads, 1, 1, shape.sharedBytes, nullptr,
                               parameters.data(), nullptr),
              cuda::kSuccess);
  std::string report;
  if (d.cuStreamSynchronize(nullptr) != cuda::kSuccess) {
    report = lastReport();
    d.cuDevicePrimaryCtxRelease(0); // the error goes with the context
  }
  for (size_t i = 0; i < arguments.size(); ++i)
    if (arguments[i].isBuffer) {
      EXPECT_EQ(d.cuMemcpyDtoHAsync(arguments[i].data, devices[i], arguments[i].bytes, nullptr),
                cuda::kSuccess);
      EXPECT_EQ(d.cuMemFree(devices[i]), cuda::kSuccess);
    }
  EXPECT_EQ(d.cuModuleUnload(module), cuda::kSuccess);
  return report;
}

void addTensorMaps(std::vector<Argument> &arguments, const runtime::KernelLaunch &launch, const runtime::Dims &sizes,
                   std::vector<cuda::TensorMapBytes> &maps) {
  maps.resize(launch.tensorMaps.size());
  for (cuda::TensorMapBytes &map : maps)
    arguments.push_back(scalar(map));
  arguments[0].prepare = [&launch, &sizes, &maps](const cuda::DevicePointer *devices) {
    for (size_t i = 0; i < maps.size(); ++i)
      EXPECT_EQ(runtime::encodeTensorMap(simulatedDriver(), launch.tensorMaps[i], runtime::ElementType::bf16,
                                         reinterpret_cast<void *>(devices[launch.tensorMaps[i].parameter]), sizes, maps[i]),
                cuda::kSuccess);
  };
}

std::string readKernel(const std::string &file, const std::string &variant,
                       const std::vector<std::pair<std::string, std::string>> &values) {
  std::ifstream in(std::string(LLMC_SIM_INPUTS) + "/" + file + ".mlir");
  EXPECT_TRUE(in.good()) << file;
  std::string text, line;
  bool isKnown = variant.empty();
  const std::string only = "//" + variant + ":", without = "// not: " + variant;
  auto leavesOut = [&](const std::string &l) {
    size_t place = l.find(without);
    return place != std::string::npos &&
           (place + without.size() == l.size() || l[place + without.size()] == ' ');
  };
  while (std::getline(in, line)) {
    size_t start = line.find_first_not_of(' ');
    if (!variant.empty() && start != std::string::npos && line.compare(start, only.size(), only) == 0) {
      text += line.substr(start + only.size()) + "\n";
      isKnown = true;
      continue;
    }
    bool isLeftOut = !variant.empty() && leavesOut(line);
    isKnown |= isLeftOut;
    text += (isLeftOut ? "" : line) + "\n";
  }
  EXPECT_TRUE(isKnown) << file << " has no variant " << variant;
  auto all = values;
  const std::string define = "// define ";
  std::istringstream lines(text);
  while (std::getline(lines, line))
    if (line.compare(0, define.size(), define) == 0) {
      size_t equals = line.find(" = ");
      all.push_back({line.substr(define.size(), equals - define.size()), line.substr(equals + 3)});
    }
  for (const auto &[key, value] : all)
    for (size_t at; (at = text.find("@" + key + "@")) != std::string::npos;)
      text.replace(at, key.size() + 2, value);
  return text;
}

void expectFound(const std::string &report, const std::string &part) {
  EXPECT_NE(report.find(part), std::string::npos) << "reported: '" << report << "'";
}

float exactValue(size_t i) { return static_cast<float>(static_cast<int>(i * 37 % 31) - 15) / 8; }

uint16_t bf16Of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  return static_cast<uint16_t>(bits >> 16);
}

uint16_t f16Of(float value) {
  _Float16 half = static_cast<_Float16>(value);
  uint16_t bits;
  memcpy(&bits, &half, 2);
  return bits;
}

} // namespace llmc::test
