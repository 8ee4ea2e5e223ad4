// The drop-in driver's memory: allocations, copies, filling.
#include "runtime/sim/DropIn.h"
#include <algorithm>
#include <cstdlib>
#include <cstring>

using namespace llmc::cuda;
using namespace llmc::sim;

namespace {

constexpr size_t kAlignment = 256;

void *allocate(size_t bytes) {
  return aligned_alloc(kAlignment, (std::max<size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment);
}
const void *pointer(DevicePointer address) { return reinterpret_cast<const void *>(address); }
void *writable(DevicePointer address) { return reinterpret_cast<void *>(address); }

/// A copy in a stream; `deviceSides` must be allocated when it is given and when it runs.
Result copy(void *to, const void *from, size_t bytes, std::initializer_list<DevicePointer> deviceSides,
            const void *hostSide, Stream handle) {
  for (DevicePointer address : deviceSides)
    if (bytes && !device().isAllocated(address, bytes))
      return kInvalidValue;
  StreamState *stream = device().stream(handle);
  if (!stream)
    return kInvalidHandle;
  bool isPageable = hostSide && bytes && !device().isPinned(hostSide, bytes);
  if (isPageable && stream->capture) {
    stream->isBroken = true;
    return misuse("a copy of host memory that is not pinned is captured", kStreamCaptureUnsupported);
  }
  std::vector<DevicePointer> addresses(deviceSides);
  Result r = submit(handle, {Work::Kind::copy, [=] {
                               for (DevicePointer address : addresses)
                                 if (bytes && !device().isAllocated(address, bytes))
                                   return misuse("memory was freed before a copy of it was done",
                                                 kIllegalAddress);
                               if (hostSide && !isPageable && bytes && !device().isPinned(hostSide, bytes))
                                 return misuse("pinned memory was freed before a copy of it was done",
                                               kIllegalAddress);
                               memmove(to, from, bytes);
                               return kSuccess;
                             }});
  // Memory that is not pinned is copied before the call returns.
  return r || !isPageable ? r : finish(*stream);
}

} // namespace

LLMC_EXPORT Result cuMemAlloc_v2(DevicePointer *address, size_t bytes) {
  LLMC_CALL(notWhileCapturing);
  DeviceState &d = device();
  if (bytes == 0)
    return kInvalidValue;
  if (bytes > d.memoryBytes - d.usedBytes)
    return kOutOfMemory;
  void *data = allocate(bytes);
  if (!data)
    return kOutOfMemory;
  memset(data, 0xff, bytes); // NaN: what was never written must not look like zero
  *address = reinterpret_cast<uintptr_t>(data);
  d.memory[*address] = bytes;
  d.usedBytes += bytes;
  return kSuccess;
}
LLMC_EXPORT Result cuMemFree_v2(DevicePointer address) {
  LLMC_CALL(evenWhenFailed);
  DeviceState &d = device();
  finishAll();
  auto found = d.memory.find(address);
  if (found == d.memory.end())
    return misuse("device memory is freed that is not allocated", kInvalidValue);
  d.usedBytes -= found->second;
  d.memory.erase(found);
  free(writable(address));
  return kSuccess;
}
LLMC_EXPORT Result cuMemGetInfo_v2(size_t *freeBytes, size_t *totalBytes) {
  LLMC_CALL(always);
  *totalBytes = device().memoryBytes;
  *freeBytes = device().memoryBytes - device().usedBytes;
  return kSuccess;
}
LLMC_EXPORT Result cuMemAllocHost_v2(void **data, size_t bytes) {
  LLMC_CALL(notWhileCapturing);
  *data = allocate(bytes);
  if (!*data)
    return kOutOfMemory;
  device().hostMemory[reinterpret_cast<uintptr_t>(*data)] = bytes;
  return kSuccess;
}
LLMC_EXPORT Result cuMemFreeHost(void *data) {
  LLMC_CALL(evenWhenFailed);
  finishAll();
  if (!device().hostMemory.erase(reinterpret_cast<uintptr_t>(data)))
    return misuse("pinned memory is freed that is not allocated", kInvalidValue);
  free(data);
  return kSuccess;
}

LLMC_EXPORT Result cuMemcpyHtoD_v2(DevicePointer to, const void *from, size_t bytes) {
  LLMC_CALL(notWhileCapturing);
  Result r = copy(writable(to), from, bytes, {to}, from, nullptr);
  return r ? r : finish(device().legacy);
}
LLMC_EXPORT Result cuMemcpyDtoH_v2(void *to, DevicePointer from, size_t bytes) {
  LLMC_CALL(notWhileCapturing);
  Result r = copy(to, pointer(from), bytes, {from}, to, nullptr);
  return r ? r : finish(device().legacy);
}
LLMC_EXPORT Result cuMemcpyHtoDAsync_v2(DevicePointer to, const void *from, size_t bytes, Stream stream) {
  LLMC_CALL(always);
  return copy(writable(to), from, bytes, {to}, from, stream);
}
LLMC_EXPORT Result cuMemcpyDtoHAsync_v2(void *to, DevicePointer from, size_t bytes, Stream stream) {
  LLMC_CALL(always);
  return copy(to, pointer(from), bytes, {from}, to, stream);
}
LLMC_EXPORT Result cuMemcpyDtoDAsync_v2(DevicePointer to, DevicePointer from, size_t bytes, Stream stream) {
  LLMC_CALL(always);
  return copy(writable(to), pointer(from), bytes, {to, from}, nullptr, stream);
}
LLMC_EXPORT Result cuMemsetD8Async(DevicePointer to, unsigned char value, size_t bytes, Stream stream) {
  LLMC_CALL(always);
  if (bytes && !device().isAllocated(to, bytes))
    return kInvalidValue;
  return submit(stream, {Work::Kind::set, [=] {
                           if (bytes && !device().isAllocated(to, bytes))
                             return misuse("memory was freed before it was filled", kIllegalAddress);
                           memset(writable(to), value, bytes);
                           return kSuccess;
                         }});
}
