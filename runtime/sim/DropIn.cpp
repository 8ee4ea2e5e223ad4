// See DropIn.h; and the functions of SimControl.h.
#include "runtime/sim/DropIn.h"
#include "runtime/sim/SimControl.h"
#include <cstdio>
#include <cstdlib>

using namespace llmc::cuda;

namespace llmc::sim {

/// The device as it is at first. LLMC_SIM_CAPABILITY=8.0 makes it one of that compute capability.
static DeviceState *makeDevice() {
  auto *made = new DeviceState;
  const char *asked = getenv("LLMC_SIM_CAPABILITY");
  if (asked && sscanf(asked, "%d.%d", &made->major, &made->minor) != 2)
    fprintf(stderr, "llmc-sim: LLMC_SIM_CAPABILITY is '%s', expected one such as 8.0\n", asked);
  return made;
}

DeviceState &device() {
  static DeviceState *d = makeDevice(); // outlives every user
  return *d;
}

bool DeviceState::holds(const std::map<uintptr_t, uint64_t> &ranges, uintptr_t address, uint64_t bytes) {
  auto next = ranges.upper_bound(address);
  if (next == ranges.begin())
    return false;
  auto [base, size] = *--next;
  return address - base < size && bytes <= size - (address - base);
}

StreamState *DeviceState::stream(Stream handle) {
  if (!handle)
    return &legacy;
  return isLive(handle, Object::stream) ? reinterpret_cast<StreamState *>(handle) : nullptr;
}

std::vector<StreamState *> DeviceState::streams() {
  std::vector<StreamState *> all{&legacy};
  for (auto [object, kind] : objects)
    if (kind == Object::stream)
      all.push_back(static_cast<StreamState *>(object));
  return all;
}

bool DeviceState::isCapturing() {
  for (StreamState *s : streams())
    if (s->capture)
      return true;
  return false;
}

Call::Call(const char *name, Allowed allowed) : lock(device().mutex), result(kSuccess) {
  DeviceState &d = device();
  ++d.callCounts[name];
  if (allowed == Allowed::evenWhenFailed)
    return;
  if (!d.isInitialised)
    result = kNotInitialized;
  else if (d.callsLeft == 0) {
    d.callsLeft = -1;
    d.failedCall = name;
    result = d.callFailure;
  } else if (d.sticky)
    result = d.sticky;
  else if (allowed == Allowed::notWhileCapturing && d.isCapturing()) {
    for (StreamState *s : d.streams())
      s->isBroken = true;
    result = misuse(std::string(name) + " is called while a stream is captured", kStreamCaptureUnsupported);
  }
  if (d.callsLeft > 0)
    --d.callsLeft;
}

Result misuse(const std::string &what, Result code) {
  fprintf(stderr, "llmc-sim: %s\n", what.c_str());
  device().report = what;
  return code;
}

Result submit(Stream handle, Work work) {
  DeviceState &d = device();
  StreamState *stream = d.stream(handle);
  if (!stream)
    return misuse("work is given to a stream that does not exist", kInvalidHandle);
  if (stream->capture) {
    work.node = reinterpret_cast<GraphNode>(++d.handles);
    stream->capture->nodes.push_back(std::move(work));
    return stream->isBroken ? kStreamCaptureInvalidated : kSuccess;
  }
  // The real driver refuses this for the stream without a handle only; in any other the work would be left
  // out of the graph without a word.
  if (d.isCapturing()) {
    for (StreamState *s : d.streams())
      s->isBroken = true;
    return misuse("work is given to another stream than the one that is captured", kStreamCaptureUnsupported);
  }
  stream->waiting.push_back(std::move(work));
  ++stream->submitted;
  return kSuccess;
}

Result finish(StreamState &stream, uint64_t until) {
  DeviceState &d = device();
  while (!stream.waiting.empty() && stream.done < until && !d.sticky) {
    Work work = std::move(stream.waiting.front());
    stream.waiting.pop_front();
    ++stream.done;
    if (Result r = work.run())
      d.sticky = r;
  }
  return d.sticky;
}

void finishAll() {
  for (StreamState *s : device().streams())
    finish(*s);
}

/// "2 graphs, 1 stream", or "".
static std::string liveObjects() {
  static constexpr const char *kNames[kObjects] = {"context", "device allocation", "pinned allocation",
                                                   "module",  "stream",            "event",
                                                   "graph",   "executable graph"};
  DeviceState &d = device();
  size_t counts[kObjects] = {};
  counts[int(Object::context)] = static_cast<size_t>(d.contexts);
  counts[int(Object::memory)] = d.memory.size();
  counts[int(Object::hostMemory)] = d.hostMemory.size();
  for (auto [object, kind] : d.objects)
    ++counts[int(kind)];
  std::string text;
  for (int i = 0; i < kObjects; ++i)
    if (counts[i])
      text += (text.empty() ? "" : ", ") + std::to_string(counts[i]) + " " + kNames[i] +
              (counts[i] > 1 ? "s" : "");
  return text;
}

} // namespace llmc::sim

using namespace llmc::sim;

LLMC_EXPORT void llmcSimSetDevice(int major, int minor, uint64_t memoryBytes) {
  device().major = major;
  device().minor = minor;
  device().memoryBytes = memoryBytes;
}
LLMC_EXPORT void llmcSimSetDriver(int version, int devices) {
  device().driverVersion = version;
  device().count = devices;
}
LLMC_EXPORT void llmcSimFailCall(int64_t count, int code) {
  device().callsLeft = count;
  device().callFailure = code;
  device().failedCall.clear();
}
LLMC_EXPORT void llmcSimRunKernels(int isOn) { device().runsKernels = isOn != 0; }
LLMC_EXPORT const char *llmcSimFailedCall(void) { return device().failedCall.c_str(); }
LLMC_EXPORT int64_t llmcSimCalls(const char *name) {
  auto found = device().callCounts.find(name);
  return found == device().callCounts.end() ? 0 : found->second;
}
LLMC_EXPORT int64_t llmcSimEarlyLaunches(void) { return device().earlyLaunches; }
LLMC_EXPORT int64_t llmcSimPrefetchedBytes(void) { return device().prefetchedBytes; }
LLMC_EXPORT const char *llmcSimLiveObjects(void) {
  static std::string text;
  text = liveObjects();
  return text.c_str();
}
LLMC_EXPORT const char *llmcSimReport(void) { return device().report.c_str(); }

LLMC_EXPORT Result cuInit(unsigned) {
  static bool isWatching = false;
  if (!isWatching)
    atexit([] {
      if (std::string left = liveObjects(); !left.empty())
        fprintf(stderr, "llmc-sim: never given back: %s\n", left.c_str());
    });
  isWatching = true;
  device().isInitialised = true;
  return device().count ? kSuccess : kNoDevice;
}
