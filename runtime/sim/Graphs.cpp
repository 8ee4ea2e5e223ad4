// The drop-in driver's graphs: a stream that is captured keeps its work instead of doing it; launching the
// graph does all of it, with the values that it was captured with. A loop is a node with a graph of its own, which is done again
// while its handle's value is not 0.
#include "runtime/sim/DropIn.h"
#include <utility>

using namespace llmc::cuda;
using namespace llmc::sim;

namespace {

/// The first driver whose graphs have loops.
constexpr int kLoopVersion = 12030;

/// The graph behind a live handle, or null.
template <typename Handle> CapturedGraph *graphOf(Handle handle, Object kind) {
  auto *graph = reinterpret_cast<CapturedGraph *>(handle);
  return device().isLive(graph, kind) ? graph : nullptr;
}

/// The graph behind a handle that may be a loop's body, or null.
CapturedGraph *graphOrBody(Graph handle) {
  auto *graph = reinterpret_cast<CapturedGraph *>(handle);
  return device().bodies.count(graph) ? graph : graphOf(handle, Object::graph);
}

/// Whether what comes after these nodes comes after all of the graph; the order of other work is not simulated.
bool isAtEnd(const CapturedGraph &graph, const GraphNode *after, size_t count) {
  return graph.nodes.empty() ? count == 0 : count == 1 && after[0] == graph.nodes.back().node;
}

Result capture(StreamState *stream, CapturedGraph *graph) {
  stream->capture = graph;
  stream->isBroken = false;
  return kSuccess;
}

/// What a capture may not begin with.
Result mayCapture(Stream handle, StreamState *stream, int mode) {
  if (!handle || !stream || mode < 0 || mode > 2)
    return misuse("a stream is captured that cannot be", stream ? kStreamCaptureUnsupported : kInvalidHandle);
  return kSuccess;
}

template <typename Handle> Result destroy(Handle handle, Object kind) {
  CapturedGraph *graph = graphOf(handle, kind);
  if (!graph)
    return misuse("a graph is destroyed that does not exist", kInvalidHandle);
  finishAll();
  device().objects.erase(graph);
  if (kind == Object::graph) { // an executable one needs its loops' handles and bodies from here
    for (const auto &body : graph->bodies)
      device().bodies.erase(body.get());
    for (auto each = device().conditionals.begin(); each != device().conditionals.end();)
      each = each->second.graph == graph ? device().conditionals.erase(each) : std::next(each);
  }
  delete graph;
  return kSuccess;
}

} // namespace

LLMC_EXPORT Result cuStreamBeginCapture_v2(Stream handle, int mode) {
  LLMC_CALL(notWhileCapturing);
  StreamState *stream = device().stream(handle);
  if (Result r = mayCapture(handle, stream, mode))
    return r;
  stream->captured = std::make_unique<CapturedGraph>();
  return capture(stream, stream->captured.get());
}
LLMC_EXPORT Result cuStreamBeginCaptureToGraph(Stream handle, Graph graphHandle, const GraphNode *after, const void *edges, size_t count,
                                               int mode) {
  LLMC_CALL(notWhileCapturing);
  StreamState *stream = device().stream(handle);
  if (Result r = mayCapture(handle, stream, mode))
    return r;
  CapturedGraph *graph = graphOrBody(graphHandle);
  if (!graph)
    return misuse("a stream is captured into a graph that does not exist", kInvalidHandle);
  if (edges || !isAtEnd(*graph, after, count))
    return misuse("a stream is captured into a graph, but not after all that it has", kInvalidValue);
  return capture(stream, graph);
}
LLMC_EXPORT Result cuStreamEndCapture(Stream handle, Graph *graph) {
  Call call(__func__, Allowed::always);
  *graph = nullptr;
  StreamState *stream = device().stream(handle);
  if (!stream || !stream->capture)
    return misuse("the end of a capture that never began", kStreamCaptureUnmatched);
  std::unique_ptr<CapturedGraph> made = std::move(stream->captured); // ended, whatever the answer
  CapturedGraph *captured = std::exchange(stream->capture, nullptr);
  if (call.result || stream->isBroken)
    return call.result ? call.result : kStreamCaptureInvalidated;
  if (made)
    device().objects[made.release()] = Object::graph;
  *graph = reinterpret_cast<Graph>(captured);
  return kSuccess;
}
LLMC_EXPORT Result cuStreamGetCaptureInfo_v2(Stream handle, int *status, unsigned long long *id, Graph *graph, const GraphNode **last,
                                             size_t *count) {
  LLMC_CALL(always);
  StreamState *stream = device().stream(handle);
  if (!stream)
    return kInvalidHandle;
  *status = stream->capture ? 1 : 0;
  if (!stream->capture)
    return kSuccess;
  *id = 1;
  *graph = reinterpret_cast<Graph>(stream->capture);
  const std::vector<Work> &nodes = stream->capture->nodes;
  *count = nodes.empty() ? 0 : 1;
  *last = nodes.empty() ? nullptr : &nodes.back().node;
  return kSuccess;
}
LLMC_EXPORT Result cuStreamIsCapturing(Stream handle, int *status) {
  LLMC_CALL(evenWhenFailed);
  StreamState *stream = device().stream(handle);
  if (!stream)
    return kInvalidHandle;
  *status = !stream->capture ? 0 : stream->isBroken ? 2 : 1;
  return kSuccess;
}

LLMC_EXPORT Result cuGraphCreate(Graph *graph, unsigned flags) {
  LLMC_CALL(notWhileCapturing);
  if (flags)
    return kInvalidValue;
  auto *made = new CapturedGraph;
  device().objects[made] = Object::graph;
  *graph = reinterpret_cast<Graph>(made);
  return kSuccess;
}
LLMC_EXPORT Result cuGraphConditionalHandleCreate(unsigned long long *handle, Graph graphHandle, Context context, unsigned value,
                                                  unsigned flags) {
  LLMC_CALL(notWhileCapturing);
  CapturedGraph *graph = graphOf(graphHandle, Object::graph);
  if (!graph || !context)
    return misuse("a condition is made for a graph or a context that does not exist", kInvalidHandle);
  if (flags || device().driverVersion < kLoopVersion)
    return kNotSupported;
  *handle = ++device().handles;
  device().conditionals[*handle] = {graph, value};
  return kSuccess;
}
/// Loops only.
LLMC_EXPORT Result cuGraphAddNode(GraphNode *node, Graph graphHandle, const GraphNode *after, size_t count, WhileNodeParams *params) {
  LLMC_CALL(notWhileCapturing);
  CapturedGraph *graph = graphOf(graphHandle, Object::graph);
  const WhileNodeParams expected;
  if (!graph)
    return misuse("a node is added to a graph that does not exist", kInvalidHandle);
  if (params->type != expected.type || params->kind != expected.kind || params->count != expected.count)
    return kNotSupported;
  auto condition = device().conditionals.find(params->handle);
  if (condition == device().conditionals.end() || condition->second.graph != graph || !params->context)
    return misuse("a loop has the condition of another graph, or none", kInvalidValue);
  if (!isAtEnd(*graph, after, count))
    return misuse("a loop is added to a graph, but not after all that it has", kInvalidValue);
  auto body = std::make_shared<CapturedGraph>();
  device().bodies[body.get()] = graph;
  Work work{Work::Kind::loop, [body, handle = params->handle] {
              for (auto &conditionals = device().conditionals; conditionals.count(handle) && conditionals.at(handle).value;)
                for (const Work &each : body->nodes)
                  if (Result r = each.run())
                    return r;
              return kSuccess;
            }};
  *node = work.node = reinterpret_cast<GraphNode>(++device().handles);
  graph->nodes.push_back(std::move(work));
  graph->bodies.push_back(body);
  params->bodies = &body->self;
  return kSuccess;
}

LLMC_EXPORT Result cuGraphInstantiateWithFlags(GraphExec *exec, Graph handle, unsigned long long) {
  LLMC_CALL(notWhileCapturing);
  CapturedGraph *graph = graphOf(handle, Object::graph);
  if (!graph)
    return misuse("a graph is instantiated that does not exist", kInvalidHandle);
  auto *made = new CapturedGraph(*graph);
  device().objects[made] = Object::graphExec;
  *exec = reinterpret_cast<GraphExec>(made);
  return kSuccess;
}
LLMC_EXPORT Result cuGraphExecUpdate_v2(GraphExec execHandle, Graph handle, GraphExecUpdateResult *info) {
  LLMC_CALL(notWhileCapturing);
  CapturedGraph *graph = graphOf(handle, Object::graph), *exec = graphOf(execHandle, Object::graphExec);
  if (!graph || !exec)
    return misuse("a graph is updated that does not exist", kInvalidHandle);
  *info = {};
  bool isSame = graph->nodes.size() == exec->nodes.size();
  for (size_t i = 0; isSame && i < graph->nodes.size(); ++i)
    isSame = graph->nodes[i].kind == exec->nodes[i].kind;
  if (!isSame) {
    info->result = 2; // CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED
    return kGraphExecUpdateFailure;
  }
  exec->nodes = graph->nodes;
  return kSuccess;
}
LLMC_EXPORT Result cuGraphUpload(GraphExec exec, Stream stream) {
  LLMC_CALL(notWhileCapturing);
  if (!graphOf(exec, Object::graphExec) || !device().stream(stream))
    return misuse("a graph or a stream does not exist", kInvalidHandle);
  return kSuccess;
}
LLMC_EXPORT Result cuGraphLaunch(GraphExec handle, Stream stream) {
  LLMC_CALL(notWhileCapturing);
  CapturedGraph *exec = graphOf(handle, Object::graphExec);
  if (!exec)
    return misuse("a graph is launched that does not exist", kInvalidHandle);
  for (const Work &work : exec->nodes)
    if (Result r = submit(stream, work))
      return r;
  return kSuccess;
}
LLMC_EXPORT Result cuGraphDestroy(Graph handle) {
  LLMC_CALL(evenWhenFailed);
  return destroy(handle, Object::graph);
}
LLMC_EXPORT Result cuGraphExecDestroy(GraphExec handle) {
  LLMC_CALL(evenWhenFailed);
  return destroy(handle, Object::graphExec);
}
