// The drop-in for libcuda.so.1: the entry points of the driver API that the runtime uses, on the CPU. Here:
// device, context, modules and launches; the others are in DeviceMemory.cpp, Streams.cpp and Graphs.cpp. A failed
// launch is reported by the calls after it, as the real driver does.
#include "runtime/sim/DropIn.h"
#include "runtime/sim/Launch.h"
#include "runtime/sim/TensorMap.h"
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

using namespace llmc::cuda;
using namespace llmc::sim;

namespace {

constexpr int kProcessors = 4;
constexpr uint64_t kThreadsPerProcessor = 2048;
uint64_t sharedPerProcessor() { return (device().major >= 9 ? 228 : 164) << 10; }

struct Module {
  void *library = nullptr;
  int file = -1; ///< open as long: dlopen knows libraries by their paths, and this one has its number
  std::map<std::string, std::unique_ptr<FunctionState>> functions;
  ~Module() {
    if (library)
      dlclose(library);
    if (file >= 0)
      close(file);
  }
};

/// Loads a shared object from memory by way of a file without a name. Its size follows from its header: the
/// section headers come last.
void openLibrary(Module &module, const void *data, const Elf64_Ehdr &header) {
  module.file = memfd_create("simulated module", MFD_CLOEXEC);
  if (module.file < 0)
    return;
  uint64_t bytes = header.e_shoff + uint64_t(header.e_shnum) * header.e_shentsize;
  if (write(module.file, data, bytes) == static_cast<ssize_t>(bytes))
    module.library = dlopen(("/proc/self/fd/" + std::to_string(module.file)).c_str(), RTLD_NOW | RTLD_LOCAL);
}

/// A launch's own copy of its parameters: the real driver copies them when it is called.
struct Parameters {
  struct alignas(64) Unit { ///< by value, a tensor map among others must lie at a multiple of 64
    uint8_t bytes[64];
  };
  std::vector<std::vector<Unit>> values;
  std::vector<void *> pointers;
  Parameters(const FunctionState &function, void *const *given) {
    for (size_t i = 0; i < function.parameterBytes.size(); ++i) {
      values.emplace_back((static_cast<size_t>(function.parameterBytes[i]) + sizeof(Unit) - 1) / sizeof(Unit));
      memcpy(values.back().data(), given[i], static_cast<size_t>(function.parameterBytes[i]));
    }
    for (std::vector<Unit> &value : values)
      pointers.push_back(value.data());
  }
};

/// Blocks of a multiprocessor at once, as occupancy would allow.
uint64_t residentBlocks(const FunctionState &function, uint64_t threads, uint64_t dynamicShared) {
  return std::min(kThreadsPerProcessor / threads, sharedPerProcessor() / (function.staticShared + dynamicShared + (1 << 10)));
}

Result runGrid(const Launch &launch) {
  if (!device().runsKernels)
    return kSuccess;
  std::string report = run(launch);
  if (report.empty())
    return kSuccess;
  return misuse(report, report.find("out of bounds") != std::string::npos ? kIllegalAddress : kLaunchFailed);
}

/// Gives a grid to its stream. A launch that would not be accepted answers why.
Result launch(const FunctionState &function, const LaunchConfig &config, void **given,
              bool isCooperative = false) {
  const uint64_t threads = uint64_t(config.blockX) * config.blockY * config.blockZ,
                 blocks = uint64_t(config.gridX) * config.gridY * config.gridZ;
  if (blocks == 0 || threads == 0 || threads > 1024 || config.sharedBytes > function.maxDynamicShared)
    return kInvalidValue;
  if (config.gridX % function.cluster)
    return kInvalidClusterSize;
  // Blocks that wait for each other must all be resident.
  if (isCooperative && blocks > residentBlocks(function, threads, config.sharedBytes) * kProcessors)
    return kCooperativeLaunchTooLarge;
  Launch launch;
  launch.kernel = function.name;
  launch.code = function.code;
  const unsigned grid[3] = {config.gridX, config.gridY, config.gridZ},
                 block[3] = {config.blockX, config.blockY, config.blockZ};
  memcpy(launch.grid, grid, sizeof grid);
  memcpy(launch.block, block, sizeof block);
  launch.sharedBytes = function.staticShared + config.sharedBytes;
  launch.cluster = function.cluster;
  launch.isCooperative = isCooperative;
  launch.isAllocated = [](uintptr_t address, uint64_t bytes) { return device().isAllocated(address, bytes); };
  launch.setConditional = [](uint64_t handle, uint32_t value) {
    auto known = device().conditionals.find(handle);
    if (known != device().conditionals.end())
      known->second.value = value;
    return known != device().conditionals.end();
  };
  launch.prefetchedBytes = &device().prefetchedBytes;
  auto parameters = std::make_shared<Parameters>(function, given);
  launch.parameters = parameters->pointers.data();
  return submit(config.stream, {Work::Kind::kernel, [launch, parameters] { return runGrid(launch); }});
}

} // namespace

LLMC_EXPORT Result cuDriverGetVersion(int *version) {
  *version = device().driverVersion;
  return kSuccess;
}
LLMC_EXPORT Result cuDeviceGetCount(int *count) {
  LLMC_CALL(always);
  *count = device().count;
  return kSuccess;
}
LLMC_EXPORT Result cuDeviceGet(int *handle, int ordinal) {
  LLMC_CALL(always);
  *handle = 0;
  return ordinal < device().count ? kSuccess : kInvalidDevice;
}
LLMC_EXPORT Result cuDeviceGetName(char *name, int bytes, int) {
  LLMC_CALL(always);
  snprintf(name, static_cast<size_t>(bytes), "llmc simulator");
  return kSuccess;
}
LLMC_EXPORT Result cuDeviceTotalMem_v2(size_t *bytes, int) {
  LLMC_CALL(always);
  *bytes = device().memoryBytes;
  return kSuccess;
}
LLMC_EXPORT Result cuDeviceGetAttribute(int *value, int attribute, int) {
  LLMC_CALL(always);
  switch (attribute) {
  case kComputeCapabilityMajor:
    *value = device().major;
    return kSuccess;
  case kComputeCapabilityMinor:
    *value = device().minor;
    return kSuccess;
  case kMultiprocessorCount:
    *value = kProcessors;
    return kSuccess;
  case kL2CacheBytes:
    *value = 40 << 20;
    return kSuccess;
  case kCooperativeLaunch:
    *value = 1;
    return kSuccess;
  case kMaxSharedBytesOptIn:
    *value = device().major >= 9 ? 227 << 10 : 163 << 10;
    return kSuccess;
  }
  return kInvalidValue;
}
LLMC_EXPORT Result cuDevicePrimaryCtxRetain(Context *context, int) {
  LLMC_CALL(notWhileCapturing);
  *context = reinterpret_cast<Context>(&device());
  ++device().contexts;
  return kSuccess;
}
LLMC_EXPORT Result cuDevicePrimaryCtxRelease_v2(int) {
  LLMC_CALL(evenWhenFailed);
  DeviceState &d = device();
  d.contexts = std::max(d.contexts - 1, 0);
  if (!d.contexts) { // the context's work and error go with it
    for (StreamState *stream : d.streams())
      stream->waiting.clear();
    d.sticky = kSuccess;
  }
  return kSuccess;
}
LLMC_EXPORT Result cuCtxSetCurrent(Context) {
  LLMC_CALL(always);
  return kSuccess;
}

LLMC_EXPORT Result cuModuleLoadData(void **module, const void *data) {
  LLMC_CALL(notWhileCapturing);
  Elf64_Ehdr header;
  if (memcmp(data, ELFMAG, SELFMAG) != 0)
    return kInvalidImage; // PTX
  memcpy(&header, data, sizeof header);
  if (header.e_machine != EM_X86_64)
    return kNoBinaryForGpu; // a cubin
  auto made = std::make_unique<Module>();
  openLibrary(*made, data, header);
  if (!made->library)
    return kInvalidImage;
  device().objects[made.get()] = Object::module;
  *module = made.release();
  return kSuccess;
}
LLMC_EXPORT Result cuModuleUnload(void *handle) {
  LLMC_CALL(evenWhenFailed);
  if (!device().isLive(handle, Object::module))
    return misuse("a module is unloaded that is not loaded", kInvalidHandle);
  finishAll();
  device().objects.erase(handle);
  delete static_cast<Module *>(handle);
  return kSuccess;
}
LLMC_EXPORT Result cuModuleGetFunction(void **function, void *handle, const char *name) {
  LLMC_CALL(always);
  if (!device().isLive(handle, Object::module))
    return misuse("a function is asked of a module that is not loaded", kInvalidHandle);
  auto *module = static_cast<Module *>(handle);
  auto find = [&](const char *suffix) {
    return dlsym(module->library, (std::string(name) + suffix).c_str());
  };
  auto code = reinterpret_cast<Kernel>(find(""));
  auto shared = reinterpret_cast<KernelFact>(find(".static_shared")), cluster = reinterpret_cast<KernelFact>(find(".cluster")),
       abi = reinterpret_cast<KernelFact>(find(".abi"));
  auto parameters = reinterpret_cast<ParameterBytes>(find(".parameters"));
  if (!code || !shared)
    return kNotFound;
  if (!abi || abi() != kAbiVersion || !parameters || !cluster)
    return kUnsupportedPtxVersion; // made for another simulator
  std::unique_ptr<FunctionState> &known = module->functions[name];
  if (!known) {
    known.reset(new FunctionState{name, code, {}, static_cast<uint64_t>(shared()), static_cast<uint32_t>(cluster())});
    for (const int64_t *bytes = parameters(); *bytes; ++bytes)
      known->parameterBytes.push_back(*bytes);
  }
  *function = known.get();
  return kSuccess;
}
LLMC_EXPORT Result cuFuncSetAttribute(void *handle, int attribute, int value) {
  LLMC_CALL(always);
  if (attribute != kMaxDynamicSharedBytes || value < 0 || value > 227 << 10)
    return kInvalidValue;
  static_cast<FunctionState *>(handle)->maxDynamicShared = static_cast<uint64_t>(value);
  return kSuccess;
}

LLMC_EXPORT Result cuLaunchKernel(void *handle, unsigned gridX, unsigned gridY, unsigned gridZ,
                                  unsigned blockX, unsigned blockY, unsigned blockZ, unsigned sharedBytes,
                                  Stream stream, void **parameters, void **extra) {
  LLMC_CALL(always);
  LaunchConfig config = {gridX, gridY, gridZ, blockX, blockY, blockZ, sharedBytes, stream, nullptr, 0};
  return extra ? kInvalidValue : launch(*static_cast<FunctionState *>(handle), config, parameters);
}
LLMC_EXPORT Result cuLaunchKernelEx(const LaunchConfig *config, void *handle, void **parameters,
                                    void **extra) {
  LLMC_CALL(always);
  for (unsigned i = 0; i < config->attributeCount; ++i)
    if (config->attributes[i].id == kProgrammaticStreamSerialization)
      ++device().earlyLaunches;
    else
      return kInvalidValue;
  return extra ? kInvalidValue : launch(*static_cast<FunctionState *>(handle), *config, parameters);
}

LLMC_EXPORT Result cuLaunchCooperativeKernel(void *handle, unsigned gridX, unsigned gridY, unsigned gridZ,
                                             unsigned blockX, unsigned blockY, unsigned blockZ,
                                             unsigned sharedBytes, Stream stream, void **parameters) {
  LLMC_CALL(always);
  LaunchConfig config = {gridX, gridY, gridZ, blockX, blockY, blockZ, sharedBytes, stream, nullptr, 0};
  return launch(*static_cast<FunctionState *>(handle), config, parameters, /*isCooperative=*/true);
}

LLMC_EXPORT Result cuOccupancyMaxActiveBlocksPerMultiprocessor(int *count, void *handle, int threads, size_t sharedBytes) {
  LLMC_CALL(always);
  if (threads <= 0)
    return kInvalidValue;
  *count = static_cast<int>(residentBlocks(*static_cast<FunctionState *>(handle), static_cast<uint64_t>(threads), sharedBytes));
  return kSuccess;
}

/// As cuda.h declares it; `map` is 128 bytes at a multiple of 64.
LLMC_EXPORT Result cuTensorMapEncodeTiled(void *map, int type, uint32_t rank, void *address,
                                          const uint64_t *extents, const uint64_t *strides,
                                          const uint32_t *box, const uint32_t *elementStrides, int interleave,
                                          int swizzle, int, int fill) {
  LLMC_CALL(always);
  TensorMap made;
  std::string wrong = encodeTiled(made, type, rank, reinterpret_cast<uintptr_t>(address), extents, strides,
                                  box, elementStrides, interleave, swizzle, fill);
  if (!wrong.empty())
    return misuse("cuTensorMapEncodeTiled: " + wrong, kInvalidValue);
  memset(map, 0, 128);
  memcpy(map, &made, sizeof made);
  return kSuccess;
}

LLMC_EXPORT Result cuGetErrorName(Result code, const char **text) {
  *text = errorName(code);
  return *text ? kSuccess : kInvalidValue;
}
LLMC_EXPORT Result cuGetErrorString(Result code, const char **text) { return cuGetErrorName(code, text); }
