// The drop-in driver's graphs: a stream that is captured keeps its work instead of doing it; launching the
// graph does all of it, with the values that it was captured with.
#include "runtime/sim/DropIn.h"

using namespace llmc::cuda;
using namespace llmc::sim;

namespace {

/// The graph behind a live handle, or null.
template <typename Handle> CapturedGraph *graphOf(Handle handle, Object kind) {
  auto *graph = reinterpret_cast<CapturedGraph *>(handle);
  return device().isLive(graph, kind) ? graph : nullptr;
}

template <typename Handle> Result destroy(Handle handle, Object kind) {
  CapturedGraph *graph = graphOf(handle, kind);
  if (!graph)
    return misuse("a graph is destroyed that does not exist", kInvalidHandle);
  finishAll();
  device().objects.erase(graph);
  delete graph;
  return kSuccess;
}

} // namespace

LLMC_EXPORT Result cuStreamBeginCapture_v2(Stream handle, int mode) {
  LLMC_CALL(notWhileCapturing);
  StreamState *stream = device().stream(handle);
  if (!handle || !stream || mode < 0 || mode > 2)
    return misuse("a stream is captured that cannot be", stream ? kStreamCaptureUnsupported : kInvalidHandle);
  stream->capture = std::make_unique<CapturedGraph>();
  stream->isBroken = false;
  return kSuccess;
}
LLMC_EXPORT Result cuStreamEndCapture(Stream handle, Graph *graph) {
  Call call(__func__, Allowed::always);
  *graph = nullptr;
  StreamState *stream = device().stream(handle);
  if (!stream || !stream->capture)
    return misuse("the end of a capture that never began", kStreamCaptureUnmatched);
  std::unique_ptr<CapturedGraph> made = std::move(stream->capture); // ended, whatever the answer
  if (call.result || stream->isBroken)
    return call.result ? call.result : kStreamCaptureInvalidated;
  device().objects[made.get()] = Object::graph;
  *graph = reinterpret_cast<Graph>(made.release());
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
