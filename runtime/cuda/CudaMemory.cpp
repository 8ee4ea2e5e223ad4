// See CudaMemory.h.
//
//   weights     | w0 | w1 | ...                      one cuMemAlloc, filled through two pinned halves
//   the rest    | inputs | states, transients, ... | outputs |     one cuMemAlloc, zeroed once
//   host        | inputs | outputs |                 one cuMemAllocHost
#include "runtime/cuda/CudaMemory.h"
#include <algorithm>
#include <cstring>
#include <map>

namespace llmc::runtime {
using namespace llmc::cuda;

namespace {

/// Where cuMemAlloc's own addresses begin; wide loads and tensor maps need no more.
constexpr uint64_t kDeviceAlignment = 256;

/// The place of `bytes` more in an allocation of `total` so far; nothing when it leaves 64 bits.
std::optional<uint64_t> place(uint64_t &total, uint64_t bytes) {
  auto end = checkedAdd(total, bytes);
  auto padded = end ? checkedAdd(*end, kDeviceAlignment - 1) : std::nullopt;
  if (!padded)
    return std::nullopt;
  uint64_t at = total;
  total = *padded / kDeviceAlignment * kDeviceAlignment;
  return at;
}

DevicePointer addressOf(void *memory) { return reinterpret_cast<DevicePointer>(memory); }

/// Two pinned halves and the events that tell when each may be filled again. Ends after the copies have.
struct Staging {
  const Gpu &gpu;
  uint8_t *host = nullptr;
  uint64_t halfBytes;
  Event events[2] = {};

  Staging(const Gpu &gpu, uint64_t bytes) : gpu(gpu), halfBytes(bytes) {}
  ~Staging() {
    for (Event event : events)
      if (event)
        gpu.api().cuEventDestroy(event);
    if (host)
      gpu.api().cuMemFreeHost(host);
  }
  Result open() {
    void *data = nullptr;
    if (Result r = gpu.api().cuMemAllocHost(&data, 2 * halfBytes))
      return r;
    host = static_cast<uint8_t *>(data);
    for (Event &event : events)
      if (Result r = gpu.api().cuEventCreate(&event, kEventDisableTiming)) {
        event = nullptr;
        return r;
      }
    return kSuccess;
  }
};

} // namespace

CudaMemory::~CudaMemory() {
  gpu_.settle();
  for (DevicePointer memory : memory_)
    gpu_.api().cuMemFree(memory);
  for (void *memory : hostMemory_)
    gpu_.api().cuMemFreeHost(memory);
}

absl::StatusOr<void *> CudaMemory::reserve(uint64_t bytes) {
  memory_.reserve(memory_.size() + 1); // what throws does so before there is something to lose
  DevicePointer address = 0;
  Result r = gpu_.api().cuMemAlloc(&address, std::max<uint64_t>(bytes, 1));
  if (r == kOutOfMemory) {
    size_t total = 0, free = 0;
    gpu_.api().cuMemGetInfo(&free, &total);
    return absl::ResourceExhaustedError("on " + gpu_.name() + ", which has " + std::to_string(total >> 20) +
                                        " MiB of which " + std::to_string(free >> 20) + " MiB are free");
  }
  if (r)
    return gpu_.failed("device memory cannot be had", r);
  memory_.push_back(address);
  return reinterpret_cast<void *>(address);
}

absl::StatusOr<uint8_t *> CudaMemory::reserveHost(uint64_t bytes) {
  hostMemory_.reserve(hostMemory_.size() + 1);
  void *data = nullptr;
  Result r = gpu_.api().cuMemAllocHost(&data, std::max<uint64_t>(bytes, 1));
  if (r == kOutOfMemory)
    return absl::ResourceExhaustedError("in pinned host memory, of " + std::to_string(bytes) + " bytes");
  if (r)
    return gpu_.failed("pinned memory cannot be had", r);
  hostMemory_.push_back(data);
  memset(data, 0, bytes);
  return static_cast<uint8_t *>(data);
}

absl::StatusOr<std::vector<ExchangeMemory>>
CudaMemory::allocate(const std::vector<MemoryRequest> &requests) {
  // Inputs first, so that they are one range on both sides and one copy takes them over.
  std::vector<uint64_t> places(requests.size()), hostPlaces(requests.size());
  uint64_t bytes = 0, hostBytes = 0, inputBytes = 0;
  for (MemoryUse use : {MemoryUse::input, MemoryUse::device, MemoryUse::output}) {
    for (size_t i = 0; i < requests.size(); ++i) {
      if (requests[i].use != use)
        continue;
      auto at = place(bytes, requests[i].bytes);
      auto hostAt = use == MemoryUse::device ? std::optional<uint64_t>(0) : place(hostBytes, requests[i].bytes);
      if (!at || !hostAt)
        return absl::ResourceExhaustedError("it is more than any machine has");
      places[i] = *at;
      hostPlaces[i] = *hostAt;
    }
    if (use == MemoryUse::input)
      inputBytes = bytes;
  }
  auto memory = reserve(bytes);
  if (!memory.ok())
    return memory.status();
  auto host = reserveHost(hostBytes);
  if (!host.ok())
    return host.status();
  if (Result r = gpu_.api().cuMemsetD8Async(addressOf(*memory), 0, bytes, gpu_.stream()))
    return gpu_.failed("device memory cannot be cleared", r);
  auto *base = static_cast<uint8_t *>(*memory);
  std::vector<ExchangeMemory> result;
  for (size_t i = 0; i < requests.size(); ++i)
    result.push_back({requests[i].use == MemoryUse::device ? nullptr : *host + hostPlaces[i], base + places[i]});
  if (inputBytes)
    inputs_.push_back({{*host, base}, inputBytes});
  return result;
}

absl::StatusOr<std::vector<void *>> CudaMemory::hold(const std::vector<WeightBytes> &weights) {
  // Weights that two buffers name (tied embeddings) are there once.
  std::map<std::pair<const uint8_t *, uint64_t>, uint64_t> known;
  std::vector<WeightBytes> distinct;
  std::vector<uint64_t> offsets;
  uint64_t bytes = 0;
  for (const WeightBytes &w : weights) {
    auto [entry, isNew] = known.try_emplace({w.data, w.bytes}, bytes);
    if (!isNew)
      continue;
    if (!place(bytes, w.bytes)) // the file is smaller than that
      return absl::ResourceExhaustedError("it is more than any machine has");
    distinct.push_back(w);
    offsets.push_back(entry->second);
  }
  std::vector<void *> result;
  if (weights.empty())
    return result;
  auto memory = reserve(bytes);
  if (!memory.ok())
    return memory.status();
  auto *base = static_cast<uint8_t *>(*memory);
  std::vector<void *> places;
  for (uint64_t offset : offsets)
    places.push_back(base + offset);
  if (absl::Status s = upload(distinct, places); !s.ok())
    return s;
  for (const WeightBytes &w : weights)
    result.push_back(base + known[{w.data, w.bytes}]);
  return result;
}

absl::Status CudaMemory::upload(const std::vector<WeightBytes> &weights, const std::vector<void *> &places) {
  const CudaDriver &api = gpu_.api();
  uint64_t most = 0;
  for (const WeightBytes &w : weights)
    most = std::max(most, w.bytes);
  Staging staging(gpu_, std::min(kStagingBytes, std::max<uint64_t>(most, 1)));
  Result r = staging.open();
  if (r == kOutOfMemory)
    return absl::ResourceExhaustedError("in pinned host memory, to copy them through");
  if (r)
    return gpu_.failed("memory to copy weights through cannot be had", r);
  uint64_t pieces = 0;
  for (size_t i = 0; i < weights.size() && !r; ++i)
    for (uint64_t at = 0; at < weights[i].bytes && !r; at += staging.halfBytes, ++pieces) {
      const int half = pieces % 2;
      uint64_t bytes = std::min(staging.halfBytes, weights[i].bytes - at);
      if (pieces >= 2 && (r = api.cuEventSynchronize(staging.events[half])))
        break;
      uint8_t *host = staging.host + half * staging.halfBytes;
      memcpy(host, weights[i].data + at, bytes); // reads the file while the other half is under way
      r = api.cuMemcpyHtoDAsync(addressOf(places[i]) + at, host, bytes, gpu_.stream());
      if (!r)
        r = api.cuEventRecord(staging.events[half], gpu_.stream());
    }
  Result last = api.cuStreamSynchronize(gpu_.stream()); // also after a failure: copies read the halves
  if (r || last)
    return gpu_.failed("weights cannot be copied", r ? r : last);
  return absl::OkStatus();
}

} // namespace llmc::runtime
