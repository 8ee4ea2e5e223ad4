// The drop-in for libcuda.so.1: the entry points of the driver API that the runtime uses, on the CPU. Streams
// are in order and each call is done when it returns; a failed launch is reported by the calls after it, as
// the real driver does.
#include "runtime/cuda/DriverApi.h"
#include "runtime/sim/Launch.h"
#include "runtime/sim/SimControl.h"
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <elf.h>
#include <map>
#include <memory>
#include <mutex>
#include <sys/mman.h>
#include <unistd.h>

using namespace llmc::cuda;
namespace sim = llmc::sim;

#define LLMC_EXPORT extern "C" __attribute__((visibility("default")))

namespace {

struct Function {
  std::string name;
  sim::Kernel code;
  uint64_t staticShared;
  uint64_t maxDynamicShared = 48 << 10;
};
struct Module {
  void *library = nullptr;
  std::map<std::string, std::unique_ptr<Function>> functions;
  ~Module() {
    if (library)
      dlclose(library);
  }
};

struct Device {
  std::mutex mutex;
  int major = 9, minor = 0;
  uint64_t memoryBytes = uint64_t(16) << 30, usedBytes = 0;
  int64_t allocationsLeft = -1;
  std::map<uintptr_t, uint64_t> allocations;
  bool isInitialised = false;
  Result sticky = kSuccess;
  std::string report;

  bool isAllocated(uintptr_t address, uint64_t bytes) const {
    auto next = allocations.upper_bound(address);
    if (next == allocations.begin())
      return false;
    auto [base, size] = *--next;
    return address - base < size && bytes <= size - (address - base);
  }
};
Device &device() {
  static Device *d = new Device; // outlives every user
  return *d;
}

/// What calls answer when there is no better reason: the error of an earlier launch stays.
Result state() { return device().isInitialised ? device().sticky : kNotInitialized; }

Result copy(void *to, const void *from, uint64_t bytes, DevicePointer deviceSide) {
  if (Result r = state())
    return r;
  if (bytes && !device().isAllocated(deviceSide, bytes))
    return kInvalidValue;
  memcpy(to, from, bytes);
  return kSuccess;
}

/// Loads a shared object from memory by way of a file without a name. Its size follows from its header: the
/// section headers come last.
void *openLibrary(const void *data, const Elf64_Ehdr &header) {
  int file = memfd_create("simulated module", MFD_CLOEXEC);
  if (file < 0)
    return nullptr;
  uint64_t bytes = header.e_shoff + uint64_t(header.e_shnum) * header.e_shentsize;
  bool isWritten = write(file, data, bytes) == static_cast<ssize_t>(bytes);
  std::string path = "/proc/self/fd/" + std::to_string(file);
  void *library = isWritten ? dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL) : nullptr;
  close(file);
  return library;
}

} // namespace

LLMC_EXPORT void llmcSimSetDevice(int major, int minor, uint64_t memoryBytes) {
  device().major = major;
  device().minor = minor;
  device().memoryBytes = memoryBytes;
}
LLMC_EXPORT void llmcSimFailAllocation(int64_t count) { device().allocationsLeft = count; }
LLMC_EXPORT int64_t llmcSimLiveAllocations(void) { return static_cast<int64_t>(device().allocations.size()); }
LLMC_EXPORT const char *llmcSimReport(void) { return device().report.c_str(); }

LLMC_EXPORT Result cuInit(unsigned) {
  device().isInitialised = true;
  return kSuccess;
}
LLMC_EXPORT Result cuDriverGetVersion(int *version) {
  *version = 13000;
  return kSuccess;
}
LLMC_EXPORT Result cuDeviceGetCount(int *count) {
  *count = 1;
  return kSuccess;
}
LLMC_EXPORT Result cuDeviceGet(int *handle, int ordinal) {
  *handle = 0;
  return ordinal == 0 ? kSuccess : kInvalidDevice;
}
LLMC_EXPORT Result cuDeviceGetName(char *name, int bytes, int) {
  snprintf(name, static_cast<size_t>(bytes), "llmc simulator");
  return kSuccess;
}
LLMC_EXPORT Result cuDeviceTotalMem_v2(size_t *bytes, int) {
  *bytes = device().memoryBytes;
  return kSuccess;
}
LLMC_EXPORT Result cuDeviceGetAttribute(int *value, int attribute, int) {
  switch (attribute) {
  case kComputeCapabilityMajor:
    *value = device().major;
    return kSuccess;
  case kComputeCapabilityMinor:
    *value = device().minor;
    return kSuccess;
  case kMultiprocessorCount:
    *value = 4;
    return kSuccess;
  case kMaxSharedBytesOptIn:
    *value = device().major >= 9 ? 227 << 10 : 163 << 10;
    return kSuccess;
  }
  return kInvalidValue;
}
LLMC_EXPORT Result cuDevicePrimaryCtxRetain(Context *context, int) {
  *context = reinterpret_cast<Context>(&device());
  return device().isInitialised ? kSuccess : kNotInitialized;
}
LLMC_EXPORT Result cuDevicePrimaryCtxRelease_v2(int) {
  device().sticky = kSuccess; // the context's error goes with it
  return kSuccess;
}
LLMC_EXPORT Result cuCtxSetCurrent(Context) { return device().isInitialised ? kSuccess : kNotInitialized; }

LLMC_EXPORT Result cuModuleLoadData(void **module, const void *data) {
  if (Result r = state())
    return r;
  Elf64_Ehdr header;
  if (memcmp(data, ELFMAG, SELFMAG) != 0)
    return kInvalidImage; // PTX
  memcpy(&header, data, sizeof header);
  if (header.e_machine != EM_X86_64)
    return kNoBinaryForGpu; // a cubin
  auto made = std::make_unique<Module>();
  made->library = openLibrary(data, header);
  if (!made->library)
    return kInvalidImage;
  *module = made.release();
  return kSuccess;
}
LLMC_EXPORT Result cuModuleUnload(void *handle) {
  delete static_cast<Module *>(handle);
  return kSuccess;
}
LLMC_EXPORT Result cuModuleGetFunction(void **function, void *handle, const char *name) {
  auto *module = static_cast<Module *>(handle);
  auto code = reinterpret_cast<sim::Kernel>(dlsym(module->library, name));
  auto fact = [&](const char *what) {
    return reinterpret_cast<sim::KernelFact>(dlsym(module->library, (std::string(name) + what).c_str()));
  };
  sim::KernelFact shared = fact(".static_shared"), abi = fact(".abi");
  if (!code || !shared)
    return kNotFound;
  if (!abi || abi() != sim::kAbiVersion)
    return kUnsupportedPtxVersion; // made for another simulator
  std::unique_ptr<Function> &known = module->functions[name];
  if (!known)
    known.reset(new Function{name, code, static_cast<uint64_t>(shared())});
  *function = known.get();
  return kSuccess;
}
LLMC_EXPORT Result cuFuncSetAttribute(void *handle, int attribute, int value) {
  if (attribute != kMaxDynamicSharedBytes || value < 0 || value > 227 << 10)
    return kInvalidValue;
  static_cast<Function *>(handle)->maxDynamicShared = static_cast<uint64_t>(value);
  return kSuccess;
}

LLMC_EXPORT Result cuMemAlloc_v2(DevicePointer *address, size_t bytes) {
  if (Result r = state())
    return r;
  Device &d = device();
  if (bytes == 0)
    return kInvalidValue;
  if (d.allocationsLeft == 0 || bytes > d.memoryBytes - d.usedBytes) {
    d.allocationsLeft = -1;
    return kOutOfMemory;
  }
  if (d.allocationsLeft > 0)
    --d.allocationsLeft;
  void *data = aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (!data)
    return kOutOfMemory;
  memset(data, 0xff, bytes); // NaN: what was never written must not look like zero
  *address = reinterpret_cast<uintptr_t>(data);
  d.allocations[*address] = bytes;
  d.usedBytes += bytes;
  return kSuccess;
}
LLMC_EXPORT Result cuMemFree_v2(DevicePointer address) {
  Device &d = device();
  auto found = d.allocations.find(address);
  if (found == d.allocations.end())
    return kInvalidValue;
  d.usedBytes -= found->second;
  free(reinterpret_cast<void *>(address));
  d.allocations.erase(found);
  return kSuccess;
}
LLMC_EXPORT Result cuMemAllocHost_v2(void **data, size_t bytes) {
  *data = aligned_alloc(256, (bytes + 255) / 256 * 256);
  return *data ? kSuccess : kOutOfMemory;
}
LLMC_EXPORT Result cuMemFreeHost(void *data) {
  free(data);
  return kSuccess;
}
LLMC_EXPORT Result cuMemcpyHtoD_v2(DevicePointer to, const void *from, size_t bytes) {
  return copy(reinterpret_cast<void *>(to), from, bytes, to);
}
LLMC_EXPORT Result cuMemcpyDtoH_v2(void *to, DevicePointer from, size_t bytes) {
  return copy(to, reinterpret_cast<const void *>(from), bytes, from);
}
LLMC_EXPORT Result cuMemcpyHtoDAsync_v2(DevicePointer to, const void *from, size_t bytes, Stream) {
  return cuMemcpyHtoD_v2(to, from, bytes);
}
LLMC_EXPORT Result cuMemcpyDtoHAsync_v2(void *to, DevicePointer from, size_t bytes, Stream) {
  return cuMemcpyDtoH_v2(to, from, bytes);
}
LLMC_EXPORT Result cuMemsetD8Async(DevicePointer to, unsigned char value, size_t bytes, Stream) {
  if (Result r = state())
    return r;
  if (bytes && !device().isAllocated(to, bytes))
    return kInvalidValue;
  memset(reinterpret_cast<void *>(to), value, bytes);
  return kSuccess;
}
LLMC_EXPORT Result cuStreamCreate(Stream *stream, unsigned) {
  *stream = reinterpret_cast<Stream>(&device());
  return state();
}
LLMC_EXPORT Result cuStreamDestroy_v2(Stream) { return kSuccess; }
LLMC_EXPORT Result cuStreamSynchronize(Stream) { return state(); }

LLMC_EXPORT Result cuLaunchKernel(void *handle, unsigned gridX, unsigned gridY, unsigned gridZ,
                                  unsigned blockX, unsigned blockY, unsigned blockZ, unsigned sharedBytes,
                                  Stream, void **parameters, void **extra) {
  if (Result r = state())
    return r;
  auto &function = *static_cast<Function *>(handle);
  uint64_t threads = uint64_t(blockX) * blockY * blockZ;
  if (!gridX || !gridY || !gridZ || threads == 0 || threads > 1024 ||
      sharedBytes > function.maxDynamicShared || extra)
    return kInvalidValue;
  Device &d = device();
  std::lock_guard<std::mutex> lock(d.mutex);
  sim::Launch launch;
  launch.kernel = function.name;
  launch.code = function.code;
  launch.parameters = parameters;
  const unsigned grid[3] = {gridX, gridY, gridZ}, block[3] = {blockX, blockY, blockZ};
  memcpy(launch.grid, grid, sizeof grid);
  memcpy(launch.block, block, sizeof block);
  launch.sharedBytes = function.staticShared + sharedBytes;
  launch.isAllocated = [&d](uintptr_t address, uint64_t bytes) { return d.isAllocated(address, bytes); };
  std::string report = sim::run(launch);
  if (!report.empty()) {
    fprintf(stderr, "llmc-sim: %s\n", report.c_str());
    d.report = report;
    d.sticky = report.find("out of bounds") != std::string::npos ? kIllegalAddress : kLaunchFailed;
  }
  return kSuccess;
}

LLMC_EXPORT Result cuGetErrorName(Result code, const char **text) {
  *text = errorName(code);
  return *text ? kSuccess : kInvalidValue;
}
LLMC_EXPORT Result cuGetErrorString(Result code, const char **text) { return cuGetErrorName(code, text); }
