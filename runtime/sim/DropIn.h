// What the entry points of the drop-in driver share: the device's state, the objects that programs hold, and
// the work of streams. Work waits until somebody waits for it, as late as the real driver could be: memory
// that is overwritten too early shows in results.
#pragma once
#include "runtime/cuda/DriverApi.h"
#include "runtime/sim/SimThread.h"
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#define LLMC_EXPORT extern "C" __attribute__((visibility("default")))

namespace llmc::sim {

/// Something that a stream does, or a node of a graph.
struct Work {
  enum class Kind { kernel, copy, set, mark, loop };
  Kind kind;
  std::function<cuda::Result()> run;
  cuda::GraphNode node = nullptr; ///< its handle in a graph
};

/// The nodes of a graph in the order in which they were captured, each after the one before it; an executable one has its own copy.
struct CapturedGraph {
  std::vector<Work> nodes;
  std::vector<std::shared_ptr<CapturedGraph>> bodies; ///< of its loops
  cuda::Graph self = reinterpret_cast<cuda::Graph>(this); ///< its handle, of a body
};

/// What a conditional handle stands for.
struct Conditional {
  CapturedGraph *graph;
  uint32_t value;
};

struct StreamState {
  std::deque<Work> waiting;
  uint64_t submitted = 0, done = 0;
  CapturedGraph *capture = nullptr;        ///< null: not capturing
  std::unique_ptr<CapturedGraph> captured; ///< the same, unless the graph was there before
  bool isBroken = false;                  ///< the capture cannot succeed any more
};

struct EventState {
  StreamState *stream = nullptr; ///< null: never recorded
  uint64_t after = 0;            ///< done when the stream has done as many
  std::chrono::steady_clock::time_point time;
};

struct FunctionState {
  std::string name;
  Kernel code;
  std::vector<int64_t> parameterBytes;
  uint64_t staticShared;
  uint32_t cluster; ///< blocks of one
  uint64_t maxDynamicShared = 48 << 10;
};

/// What a program must give back.
enum class Object { context, memory, hostMemory, module, stream, event, graph, graphExec };
inline constexpr int kObjects = 8;

struct DeviceState {
  std::recursive_mutex mutex; ///< held by every call
  int major = 9, minor = 0, driverVersion = 13000, count = 1;
  uint64_t memoryBytes = uint64_t(16) << 30, usedBytes = 0;
  int64_t callsLeft = -1; ///< until one fails with callFailure; negative: none does
  cuda::Result callFailure = cuda::kOutOfMemory;
  std::string failedCall;
  std::map<uintptr_t, uint64_t> memory, hostMemory;
  std::map<void *, Object> objects; ///< all but memory and context
  std::map<CapturedGraph *, CapturedGraph *> bodies; ///< of loops, and the graph that each is in
  std::map<uint64_t, Conditional> conditionals;      ///< by handle
  uint64_t handles = 0;                              ///< given so far, of nodes and conditions
  std::map<std::string, int64_t> callCounts;
  int64_t earlyLaunches = 0; ///< with the attribute for programmatic dependent launch
  int64_t prefetchedBytes = 0; ///< by kernels, into the L2 cache
  StreamState legacy; ///< the stream without a handle
  int contexts = 0;
  bool isInitialised = false;
  bool runsKernels = true; ///< false: launches do nothing
  cuda::Result sticky = cuda::kSuccess;
  std::string report;

  bool isAllocated(uintptr_t address, uint64_t bytes) const { return holds(memory, address, bytes); }
  bool isPinned(const void *address, uint64_t bytes) const {
    return holds(hostMemory, reinterpret_cast<uintptr_t>(address), bytes);
  }
  bool isLive(void *object, Object kind) const {
    auto found = objects.find(object);
    return found != objects.end() && found->second == kind;
  }
  /// The state of a live stream, or null.
  StreamState *stream(cuda::Stream handle);
  /// Each stream's state.
  std::vector<StreamState *> streams();
  bool isCapturing();

private:
  static bool holds(const std::map<uintptr_t, uint64_t> &ranges, uintptr_t address, uint64_t bytes);
};
DeviceState &device();

/// When an entry point may be called.
enum class Allowed { always, notWhileCapturing, evenWhenFailed };

/// Begins an entry point: one at a time. `result` is an error when the call must not go on: it was asked to
/// fail, an earlier launch failed, or a stream is being captured and the call is not allowed then.
struct Call {
  std::lock_guard<std::recursive_mutex> lock;
  cuda::Result result;
  Call(const char *name, Allowed allowed);
};
#define LLMC_CALL(allowed)                                                                                   \
  ::llmc::sim::Call call(__func__, ::llmc::sim::Allowed::allowed);                                           \
  if (call.result)                                                                                           \
  return call.result

/// Notes and prints a mistake of the caller; the answer to it.
cuda::Result misuse(const std::string &what, cuda::Result code);

/// Hands work to a stream, or to the graph that the stream is captured into.
cuda::Result submit(cuda::Stream stream, Work work);
/// Does what waits in a stream, up to its `until`-th work; stops at the first failure, which stays.
cuda::Result finish(StreamState &stream, uint64_t until = UINT64_MAX);
/// The same for all streams, as calls that free memory do.
void finishAll();

} // namespace llmc::sim
