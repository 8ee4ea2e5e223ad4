// The drop-in driver: that streams and graphs do what they should when they should, and that misuse is found.
// Kernels are tested elsewhere; here work is copying and filling.
#include "runtime/cuda/Driver.h"
#include "runtime/sim/SimControl.h"
#include <cstring>
#include <dlfcn.h>
#include <gtest/gtest.h>

namespace {
using namespace llmc::cuda;
using llmc::runtime::CudaDriver;

template <typename F> F *control(const char *name) {
  return reinterpret_cast<F *>(dlsym(dlopen(LLMC_SIM, RTLD_NOW), name));
}
std::string report() { return control<const char *()>("llmcSimReport")(); }
std::string liveObjects() { return control<const char *()>("llmcSimLiveObjects")(); }

/// A stream, 4 bytes of device memory and two pinned places of 4 bytes; given back at the end.
class DropIn : public testing::Test {
protected:
  void SetUp() override {
    auto loaded = CudaDriver::load(LLMC_SIM);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    driver = std::move(*loaded);
    ASSERT_EQ(liveObjects(), "");
    ASSERT_EQ(driver->cuDevicePrimaryCtxRetain(&context, 0), kSuccess);
    ASSERT_EQ(driver->cuStreamCreate(&stream, kStreamNonBlocking), kSuccess);
    ASSERT_EQ(driver->cuMemAlloc(&memory, 4), kSuccess);
    ASSERT_EQ(driver->cuMemAllocHost(reinterpret_cast<void **>(&in), 4), kSuccess);
    ASSERT_EQ(driver->cuMemAllocHost(reinterpret_cast<void **>(&out), 4), kSuccess);
    *in = 5;
    *out = 0;
  }
  void TearDown() override {
    driver->cuStreamDestroy(stream);
    driver->cuMemFree(memory);
    driver->cuMemFreeHost(in);
    driver->cuMemFreeHost(out);
    driver->cuDevicePrimaryCtxRelease(0);
    EXPECT_EQ(liveObjects(), "");
  }

  Result copyIn() { return driver->cuMemcpyHtoDAsync(memory, in, 4, stream); }
  Result copyOut() { return driver->cuMemcpyDtoHAsync(out, memory, 4, stream); }
  /// The graph that copies *in to *out.
  GraphExec makeGraph() {
    Graph graph = nullptr;
    GraphExec exec = nullptr;
    EXPECT_EQ(driver->cuStreamBeginCapture(stream, kCaptureModeThreadLocal), kSuccess);
    EXPECT_EQ(copyIn(), kSuccess);
    EXPECT_EQ(copyOut(), kSuccess);
    EXPECT_EQ(driver->cuStreamEndCapture(stream, &graph), kSuccess);
    EXPECT_EQ(driver->cuGraphInstantiate(&exec, graph, 0), kSuccess);
    EXPECT_EQ(driver->cuGraphDestroy(graph), kSuccess);
    return exec;
  }

  std::unique_ptr<CudaDriver> driver;
  Context context = nullptr;
  Stream stream = nullptr;
  DevicePointer memory = 0;
  int32_t *in = nullptr, *out = nullptr;
};

TEST_F(DropIn, WorkIsDoneWhenItIsWaitedFor) {
  ASSERT_EQ(copyIn(), kSuccess);
  *in = 6; // too early: this is what is copied
  ASSERT_EQ(copyOut(), kSuccess);
  EXPECT_EQ(*out, 0);
  ASSERT_EQ(driver->cuStreamSynchronize(stream), kSuccess);
  EXPECT_EQ(*out, 6);
}

TEST_F(DropIn, AnEventIsDoneWithTheWorkBeforeIt) {
  Event events[2];
  for (Event &event : events)
    ASSERT_EQ(driver->cuEventCreate(&event, kEventDefault), kSuccess);
  ASSERT_EQ(driver->cuEventRecord(events[0], stream), kSuccess);
  ASSERT_EQ(copyIn(), kSuccess);
  ASSERT_EQ(copyOut(), kSuccess);
  ASSERT_EQ(driver->cuEventRecord(events[1], stream), kSuccess);
  ASSERT_EQ(driver->cuMemsetD8Async(memory, 0, 4, stream), kSuccess);
  float milliseconds = -1;
  EXPECT_EQ(driver->cuEventElapsedTime(&milliseconds, events[0], events[1]), kNotReady);
  ASSERT_EQ(driver->cuEventSynchronize(events[0]), kSuccess);
  EXPECT_EQ(*out, 0);
  ASSERT_EQ(driver->cuEventSynchronize(events[1]), kSuccess);
  EXPECT_EQ(*out, 5);
  EXPECT_EQ(driver->cuEventElapsedTime(&milliseconds, events[0], events[1]), kSuccess);
  EXPECT_GE(milliseconds, 0);
  for (Event event : events)
    EXPECT_EQ(driver->cuEventDestroy(event), kSuccess);
}

TEST_F(DropIn, AGraphDoesNothingBeforeItIsLaunchedAndThenEverything) {
  GraphExec exec = makeGraph();
  ASSERT_EQ(driver->cuStreamSynchronize(stream), kSuccess);
  EXPECT_EQ(*out, 0);
  for (int32_t value : {7, 8}) {
    *in = value;
    ASSERT_EQ(driver->cuGraphLaunch(exec, stream), kSuccess);
    ASSERT_EQ(driver->cuStreamSynchronize(stream), kSuccess);
    EXPECT_EQ(*out, value);
  }
  EXPECT_EQ(driver->cuGraphExecDestroy(exec), kSuccess);
}

TEST_F(DropIn, AGraphIsUpdatedToOneOfTheSameForm) {
  GraphExec exec = makeGraph();
  Graph graph = nullptr;
  GraphExecUpdateResult result;
  ASSERT_EQ(driver->cuStreamBeginCapture(stream, kCaptureModeThreadLocal), kSuccess);
  ASSERT_EQ(copyIn(), kSuccess);
  ASSERT_EQ(driver->cuMemcpyDtoHAsync(out, memory, 2, stream), kSuccess);
  ASSERT_EQ(driver->cuStreamEndCapture(stream, &graph), kSuccess);
  ASSERT_EQ(driver->cuGraphExecUpdate(exec, graph, &result), kSuccess);
  ASSERT_EQ(driver->cuGraphDestroy(graph), kSuccess);
  *in = 0x11223344;
  ASSERT_EQ(driver->cuGraphLaunch(exec, stream), kSuccess);
  ASSERT_EQ(driver->cuStreamSynchronize(stream), kSuccess);
  EXPECT_EQ(*out, 0x3344);

  ASSERT_EQ(driver->cuStreamBeginCapture(stream, kCaptureModeThreadLocal), kSuccess);
  ASSERT_EQ(copyIn(), kSuccess);
  ASSERT_EQ(driver->cuStreamEndCapture(stream, &graph), kSuccess);
  EXPECT_EQ(driver->cuGraphExecUpdate(exec, graph, &result), kGraphExecUpdateFailure);
  EXPECT_NE(result.result, 0);
  ASSERT_EQ(driver->cuGraphDestroy(graph), kSuccess);
  EXPECT_EQ(driver->cuGraphExecDestroy(exec), kSuccess);
}

TEST_F(DropIn, FindsAGraphThatWasDestroyed) {
  GraphExec exec = makeGraph();
  ASSERT_EQ(driver->cuGraphExecDestroy(exec), kSuccess);
  EXPECT_EQ(driver->cuGraphLaunch(exec, stream), kInvalidHandle);
  EXPECT_EQ(report(), "a graph is launched that does not exist");
  EXPECT_EQ(driver->cuGraphExecDestroy(exec), kInvalidHandle);
}

TEST_F(DropIn, FindsWhatACaptureDoesNotAllow) {
  Stream other;
  ASSERT_EQ(driver->cuStreamCreate(&other, kStreamNonBlocking), kSuccess);
  int32_t pageable = 1;
  DevicePointer more;
  struct Case {
    std::function<Result()> call;
    const char *report;
  } cases[] = {
      {[&] { return driver->cuMemsetD8Async(memory, 0, 4, other); },
       "work is given to another stream than the one that is captured"},
      {[&] { return driver->cuStreamSynchronize(stream); }, "a stream is waited for while it is captured"},
      {[&] { return driver->cuMemAlloc(&more, 4); }, "cuMemAlloc_v2 is called while a stream is captured"},
      {[&] { return driver->cuMemcpyHtoDAsync(memory, &pageable, 4, stream); },
       "a copy of host memory that is not pinned is captured"},
  };
  for (Case &c : cases) {
    Graph graph = nullptr;
    ASSERT_EQ(driver->cuStreamBeginCapture(stream, kCaptureModeThreadLocal), kSuccess);
    EXPECT_EQ(c.call(), kStreamCaptureUnsupported) << c.report;
    EXPECT_EQ(report(), c.report);
    EXPECT_EQ(driver->cuStreamEndCapture(stream, &graph), kStreamCaptureInvalidated) << c.report;
    EXPECT_EQ(graph, nullptr);
  }
  Graph graph = nullptr;
  EXPECT_EQ(driver->cuStreamEndCapture(stream, &graph), kStreamCaptureUnmatched);
  EXPECT_EQ(driver->cuStreamDestroy(other), kSuccess);
}

TEST_F(DropIn, ALoopThatNeverBeginsDoesNothing) {
  Graph graph = nullptr, same = nullptr;
  WhileNodeParams loop;
  GraphNode node = nullptr;
  GraphExec exec = nullptr;
  ASSERT_EQ(driver->cuGraphCreate(&graph, 0), kSuccess);
  ASSERT_EQ(driver->cuGraphConditionalHandleCreate(&loop.handle, graph, context, 0, 0), kSuccess);
  loop.context = context;
  ASSERT_EQ(driver->cuGraphAddNode(&node, graph, nullptr, 0, &loop), kSuccess);
  ASSERT_EQ(driver->cuStreamBeginCaptureToGraph(stream, loop.bodies[0], nullptr, nullptr, 0, kCaptureModeThreadLocal), kSuccess);
  EXPECT_EQ(copyIn(), kSuccess);
  EXPECT_EQ(driver->cuStreamEndCapture(stream, &same), kSuccess);
  EXPECT_EQ(same, loop.bodies[0]);
  ASSERT_EQ(driver->cuStreamBeginCaptureToGraph(stream, graph, &node, nullptr, 1, kCaptureModeThreadLocal), kSuccess);
  EXPECT_EQ(copyOut(), kSuccess);
  EXPECT_EQ(driver->cuStreamEndCapture(stream, &same), kSuccess);
  ASSERT_EQ(driver->cuGraphInstantiate(&exec, graph, 0), kSuccess);
  ASSERT_EQ(driver->cuMemsetD8Async(memory, 1, 4, stream), kSuccess);
  ASSERT_EQ(driver->cuGraphLaunch(exec, stream), kSuccess);
  ASSERT_EQ(driver->cuStreamSynchronize(stream), kSuccess);
  EXPECT_EQ(*out, 0x01010101);
  EXPECT_EQ(driver->cuGraphExecDestroy(exec), kSuccess);
  EXPECT_EQ(driver->cuGraphDestroy(graph), kSuccess);
}

TEST_F(DropIn, FindsLoopsThatAreMadeInTheWrongPlace) {
  Graph graph = nullptr, other = nullptr, same = nullptr;
  WhileNodeParams loop;
  GraphNode node = nullptr;
  ASSERT_EQ(driver->cuGraphCreate(&graph, 0), kSuccess);
  ASSERT_EQ(driver->cuGraphCreate(&other, 0), kSuccess);
  ASSERT_EQ(driver->cuGraphConditionalHandleCreate(&loop.handle, other, context, 0, 0), kSuccess);
  loop.context = context;
  EXPECT_EQ(driver->cuGraphAddNode(&node, graph, nullptr, 0, &loop), kInvalidValue);
  EXPECT_EQ(report(), "a loop has the condition of another graph, or none");
  ASSERT_EQ(driver->cuStreamBeginCaptureToGraph(stream, graph, nullptr, nullptr, 0, kCaptureModeThreadLocal), kSuccess);
  EXPECT_EQ(copyIn(), kSuccess);
  EXPECT_EQ(driver->cuStreamEndCapture(stream, &same), kSuccess);
  ASSERT_EQ(driver->cuGraphConditionalHandleCreate(&loop.handle, graph, context, 0, 0), kSuccess);
  EXPECT_EQ(driver->cuGraphAddNode(&node, graph, nullptr, 0, &loop), kInvalidValue);
  EXPECT_EQ(report(), "a loop is added to a graph, but not after all that it has");
  EXPECT_EQ(driver->cuStreamBeginCaptureToGraph(stream, graph, nullptr, nullptr, 0, kCaptureModeThreadLocal), kInvalidValue);
  EXPECT_EQ(report(), "a stream is captured into a graph, but not after all that it has");
  EXPECT_EQ(driver->cuGraphDestroy(graph), kSuccess);
  EXPECT_EQ(driver->cuGraphDestroy(other), kSuccess);
}

TEST_F(DropIn, FindsMemoryThatAGraphOutlives) {
  GraphExec exec = makeGraph();
  ASSERT_EQ(driver->cuMemFreeHost(in), kSuccess);
  ASSERT_EQ(driver->cuGraphLaunch(exec, stream), kSuccess);
  EXPECT_EQ(driver->cuStreamSynchronize(stream), kIllegalAddress);
  EXPECT_EQ(report(), "pinned memory was freed before a copy of it was done");
  EXPECT_EQ(copyOut(), kIllegalAddress) << "the error stays";
  ASSERT_EQ(driver->cuGraphExecDestroy(exec), kSuccess);
  ASSERT_EQ(driver->cuDevicePrimaryCtxRelease(0), kSuccess);
  ASSERT_EQ(driver->cuDevicePrimaryCtxRetain(&context, 0), kSuccess);
  ASSERT_EQ(driver->cuMemAllocHost(reinterpret_cast<void **>(&in), 4), kSuccess);
}

TEST_F(DropIn, MakesTheCallFailThatATestNames) {
  control<void(int64_t, int)>("llmcSimFailCall")(1, kOutOfMemory);
  EXPECT_EQ(copyIn(), kSuccess);
  EXPECT_EQ(copyOut(), kOutOfMemory);
  EXPECT_STREQ(control<const char *()>("llmcSimFailedCall")(), "cuMemcpyDtoHAsync_v2");
  EXPECT_EQ(copyOut(), kSuccess);
}

TEST(DropInDeathTest, TellsAtExitWhatWasNotGivenBack) {
  auto leak = [] {
    auto driver = CudaDriver::load(LLMC_SIM);
    DevicePointer memory;
    Event event;
    (*driver)->cuMemAlloc(&memory, 4);
    (*driver)->cuMemAlloc(&memory, 4);
    (*driver)->cuEventCreate(&event, kEventDefault);
    exit(0);
  };
  EXPECT_EXIT(leak(), testing::ExitedWithCode(0), "never given back: 2 device allocations, 1 event");
}

} // namespace
