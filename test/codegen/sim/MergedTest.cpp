// A merged kernel (merge-kernels) in the simulator: steps that read what other blocks wrote, a loop that its own flags end, and the barrier
// between steps left out, which must be found.
#include "mlir/Parser/Parser.h"
#include "runtime/Plan.h"
#include "test/codegen/sim/Simulation.h"

namespace llmc::test {
namespace {

// next: y = x + 1, by four workgroups. turn: x = y from its end, so each workgroup reads what another one made. countdown: flags - 1, in fewer
// threads than the others have.
const char *const kKernels = R"(
#id = affine_map<(d0) -> (d0)>
func.func @next(%x: tensor<256xf32>, %y: tensor<256xf32> {llm.written}) -> tensor<256xf32> attributes {llm.kernel} {
  %one = arith.constant 1.0 : f32
  %r = scf.forall (%p) in (4) shared_outs(%o = %y) -> (tensor<256xf32>) {
    %at = affine.apply affine_map<(d0) -> (d0 * 64)>(%p)
    %xs = tensor.extract_slice %x[%at] [64] [1] : tensor<256xf32> to tensor<64xf32>
    %os = tensor.extract_slice %o[%at] [64] [1] : tensor<256xf32> to tensor<64xf32>
    %g = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%xs : tensor<64xf32>) outs(%os : tensor<64xf32>) {
    ^bb0(%a: f32, %b: f32):
      %s = arith.addf %a, %one : f32
      linalg.yield %s : f32
    } -> tensor<64xf32>
    scf.forall.in_parallel { tensor.parallel_insert_slice %g into %o[%at] [64] [1] : tensor<64xf32> into tensor<256xf32> }
  }
  return %r : tensor<256xf32>
}
func.func @turn(%y: tensor<256xf32>, %x: tensor<256xf32> {llm.written}) -> tensor<256xf32> attributes {llm.kernel} {
  %r = scf.forall (%p) in (4) shared_outs(%o = %x) -> (tensor<256xf32>) {
    %at = affine.apply affine_map<(d0) -> (d0 * 64)>(%p)
    %from = affine.apply affine_map<(d0) -> (192 - d0 * 64)>(%p)
    %ys = tensor.extract_slice %y[%from] [64] [1] : tensor<256xf32> to tensor<64xf32>
    %os = tensor.extract_slice %o[%at] [64] [1] : tensor<256xf32> to tensor<64xf32>
    %g = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%ys : tensor<64xf32>) outs(%os : tensor<64xf32>) {
    ^bb0(%a: f32, %b: f32):
      linalg.yield %a : f32
    } -> tensor<64xf32>
    scf.forall.in_parallel { tensor.parallel_insert_slice %g into %o[%at] [64] [1] : tensor<64xf32> into tensor<256xf32> }
  }
  return %r : tensor<256xf32>
}
func.func @countdown(%f: tensor<2xi32> {llm.written}) -> tensor<2xi32> attributes {llm.kernel} {
  %one = arith.constant 1 : i32
  %r = scf.forall (%p) in (1) shared_outs(%o = %f) -> (tensor<2xi32>) {
    %os = tensor.extract_slice %o[0] [2] [1] : tensor<2xi32> to tensor<2xi32>
    %g = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel"]} outs(%os : tensor<2xi32>) {
    ^bb0(%b: i32):
      %s = arith.subi %b, %one : i32
      %zero = arith.constant 0 : i32
      %m = arith.maxsi %s, %zero : i32
      linalg.yield %m : i32
    } -> tensor<2xi32>
    scf.forall.in_parallel { tensor.parallel_insert_slice %g into %o[0] [2] [1] : tensor<2xi32> into tensor<2xi32> }
  }
  return %r : tensor<2xi32>
})";

struct Outcome {
  std::string report;
  int64_t prefetchedBytes = 0;
  std::vector<float> x;
  std::vector<int32_t> flags;
};

/// Of y, with which instruction.
struct Prefetch {
  uint64_t bytes = 0;
  bool isBulk = false;
};

/// While any flag is set, at most `atMost` times: next, which ends with the prefetch, turn, countdown. `found` is in the counter before.
Outcome runLoop(bool hasGridBarriers, std::vector<int32_t> flags, int64_t atMost, unsigned blocks = 4, int64_t found = 0,
                const Prefetch &prefetch = {}) {
  mlir::DialectRegistry registry;
  registerCudaDialects(registry);
  mlir::MLIRContext context(registry);
  auto module = mlir::parseSourceString<mlir::ModuleOp>(kKernels, &context);
  CudaOptions options;
  options.isSimulated = true;
  options.hasGridBarriers = hasGridBarriers;
  options.merged = {{"next", {}}, {"turn", {}}, {"countdown", {}}};
  Outcome outcome;
  CudaArch arch{"sm_80", "+ptx70", 1 << 16};
  arch.hasWarpgroups = prefetch.isBulk;
  auto code = compileCudaKernels(*module, arch, options);
  if (!code || !code->merged) {
    ADD_FAILURE() << (code ? "nothing was merged" : llvm::toString(code.takeError()));
    return outcome;
  }
  EXPECT_LT(code->launches["countdown"].threads, code->merged->threads);

  outcome.flags = flags;
  for (int i = 0; i < 256; ++i)
    outcome.x.push_back(float(i));
  std::vector<float> y(256);
  std::vector<int64_t> counter{found};
  std::vector<uint64_t> table(4 * sizeof(runtime::StepRecord) / 8 + 7);
  std::vector<char> scratch(1);
  int64_t steps = 4, rows = 1, sequences = 2, zero = 0;
  std::vector<Argument> arguments{buffer(table), scalar(steps)};
  arguments.insert(arguments.end(), runtime::kMaxSpans, scalar(rows));
  arguments.insert(arguments.end(), {scalar(sequences), scalar(zero), scalar(zero), scalar(zero), buffer(scratch), buffer(counter)});
  const size_t first = arguments.size();
  arguments.insert(arguments.end(), {buffer(outcome.x), buffer(y), buffer(outcome.flags)});
  arguments.back().prepare = [&, first](const cuda::DevicePointer *devices) {
    const uint64_t x = devices[first], y = devices[first + 1], flags = devices[first + 2];
    const uint64_t words = devices[0] + 4 * sizeof(runtime::StepRecord);
    auto number = [&](const char *kernel) { return int64_t(code->launches[kernel].merged); };
    const runtime::StepRecord records[] = {{INT64_MAX, 0, flags, words, 0, 1, 4, atMost},
                                           {number("next"), 0, words, words + 40, prefetch.bytes != 0, 2, 2, 0},
                                           {number("turn"), 0, words + 16, words, 0, 3, 3, 0},
                                           {number("countdown"), 0, words + 32, words, 0, 0, 0, 0}};
    const uint64_t pointers[] = {x, y, y, x, flags, y, prefetch.bytes};
    EXPECT_EQ(simulatedDriver().cuMemcpyHtoD(devices[0], records, sizeof records), cuda::kSuccess);
    EXPECT_EQ(simulatedDriver().cuMemcpyHtoD(words, pointers, sizeof pointers), cuda::kSuccess);
  };
  LaunchShape shape;
  shape.blocks = blocks;
  shape.threads = code->merged->threads;
  shape.sharedBytes = code->merged->sharedBytes;
  shape.isCooperative = true;
  auto prefetched = simulatorFunction<int64_t()>("llmcSimPrefetchedBytes");
  const int64_t before = prefetched();
  outcome.report = launchKernel(code->bytes, code->merged->symbol, shape, arguments);
  outcome.prefetchedBytes = prefetched() - before;
  return outcome;
}

/// Blocks of 64 in turned order after an odd number of trips.
void expectTrips(const Outcome &o, int trips) {
  EXPECT_EQ(o.report, "");
  for (int i = 0; i < 256; ++i) {
    int from = trips % 2 ? 192 - i / 64 * 64 + i % 64 : i;
    ASSERT_EQ(o.x[i], float(from + trips)) << i;
  }
}

TEST(MergedKernel, LoopsUntilNoFlagIsLeft) {
  Outcome o = runLoop(true, {3, 1}, 100);
  expectTrips(o, 3);
  EXPECT_EQ(o.flags, (std::vector<int32_t>{0, 0}));
}

TEST(MergedKernel, LoopsNoMoreThanAllowed) {
  Outcome o = runLoop(true, {9, 9}, 2);
  expectTrips(o, 2);
  EXPECT_EQ(o.flags, (std::vector<int32_t>{7, 7}));
}

TEST(MergedKernel, LeavesOutALoopWithoutFlags) { expectTrips(runLoop(true, {0, 0}, 100), 0); }

TEST(MergedKernel, TakesAnyNumberOfBlocksAndGoesOnCounting) {
  expectTrips(runLoop(true, {2, 2}, 100, /*blocks=*/1), 2);
  expectTrips(runLoop(true, {3, 2}, 100, /*blocks=*/3, /*found=*/3 * 1000), 3);
}

TEST(MergedKernel, BlocksShareWhatTheyPrefetchForTheNextStep) {
  for (bool isBulk : {false, true})
    for (unsigned blocks : {1u, 3u, 4u}) {
      Outcome o = runLoop(true, {2, 1}, 100, blocks, 0, {1024, isBulk});
      expectTrips(o, 2);
      EXPECT_EQ(o.prefetchedBytes, 2 * 1024) << blocks << " blocks";
    }
}

TEST(MergedKernel, PrefetchesOfWhatIsNotThereAreFound) {
  expectFound(runLoop(true, {1, 1}, 1, 1, 0, {1024 + 16, /*isBulk=*/false}).report, "prefetches 128 bytes that are not all in device memory");
  expectFound(runLoop(true, {1, 1}, 1, 1, 0, {1024 + 16, /*isBulk=*/true}).report, "prefetches 1040 bytes that are not all in device memory");
  expectFound(runLoop(true, {1, 1}, 1, 1, 0, {1000, /*isBulk=*/true}).report, "not a multiple of 16");
}

TEST(MergedKernel, AMissingGridBarrierIsFound) {
  expectFound(runLoop(false, {3, 1}, 100).report, "shares memory that is written with another block");
}

} // namespace
} // namespace llmc::test
