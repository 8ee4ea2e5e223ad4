// The simulator: results of warp operations, and every kind of mistake that it must find, planted in kernels
// written by hand in the NVVM dialect and in tile programs compiled without barriers.
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "test/codegen/sim/Simulation.h"
#include <gtest/gtest.h>

namespace llmc::test {
namespace {

/// Code of kernels written in the NVVM dialect. `body` may use %x, %y (pointers) and %tid (i64), and the
/// shared array @s of 64 floats.
std::vector<char> compileNvvm(const std::string &body) {
  std::string text = R"(
    llvm.func @llmc.buffer(!llvm.ptr, i64, i32)
    llvm.mlir.global internal @s() {addr_space = 3 : i32} : !llvm.array<64 x f32>
    llvm.func @k(%x: !llvm.ptr, %y: !llvm.ptr) attributes {nvvm.kernel} {
      %tid32 = nvvm.read.ptx.sreg.tid.x : i32
      %tid = llvm.zext %tid32 : i32 to i64
      %s = llvm.mlir.addressof @s : !llvm.ptr<3>
      %one = llvm.mlir.constant(1 : i64) : i64
      %n = llvm.mlir.constant(64 : i64) : i64
      %f = llvm.mlir.constant(1.0 : f32) : f32
      %mine = llvm.getelementptr %s[%tid] : (!llvm.ptr<3>, i64) -> !llvm.ptr<3>, f32
      %next0 = llvm.add %tid, %one : i64
      %next1 = llvm.urem %next0, %n : i64
      %next = llvm.getelementptr %s[%next1] : (!llvm.ptr<3>, i64) -> !llvm.ptr<3>, f32
      %xi = llvm.getelementptr %x[%tid] : (!llvm.ptr, i64) -> !llvm.ptr, f32
      %yi = llvm.getelementptr %y[%tid] : (!llvm.ptr, i64) -> !llvm.ptr, f32
      )" + body + R"(
      llvm.return
    }
  )";
  return compileKernels(text);
}

struct Outcome {
  std::string report; ///< "" when all went well
  std::vector<float> x, y;
};

/// Launches `kernel` of `code` with the two buffers of 64 floats: x counts from 0, y is zero.
Outcome launch(const std::vector<char> &code, unsigned threads, unsigned blocks = 1,
               const char *kernel = "k") {
  Outcome outcome;
  outcome.x.resize(64);
  outcome.y.resize(64);
  for (int i = 0; i < 64; ++i)
    outcome.x[i] = float(i);
  LaunchShape shape;
  shape.blocks = blocks;
  shape.threads = threads;
  outcome.report = launchKernel(code, kernel, shape, {buffer(outcome.x), buffer(outcome.y)});
  return outcome;
}

std::string reportOf(const std::string &body, unsigned threads = 64, unsigned blocks = 1) {
  return launch(compileNvvm(body), threads, blocks).report;
}

const std::string kWrite = "llvm.store %f, %mine : f32, !llvm.ptr<3>\n";
const std::string kReadNext =
    "%v = llvm.load %next : !llvm.ptr<3> -> f32\n llvm.store %v, %yi : f32, !llvm.ptr\n";
const std::string kBarrier = "nvvm.barrier0\n";

TEST(Simulator, PassesWhatABarrierOrders) { EXPECT_EQ(reportOf(kWrite + kBarrier + kReadNext), ""); }

TEST(Simulator, FindsTheRaceOfAMissingBarrier) {
  // Thread 63 reads what thread 0 has written.
  expectFound(reportOf(kWrite + "%w = llvm.load %mine : !llvm.ptr<3> -> f32\n" +
                       "llvm.store %w, %next : f32, !llvm.ptr<3>"),
              "without a barrier between: shared memory at offset");
  expectFound(reportOf(kWrite + kBarrier + kReadNext + kWrite),
              "writes what another thread reads, without a barrier between: shared memory at offset");
}

TEST(Simulator, FindsAReadAfterWriteWithinAWarp) {
  // Only the last thread of 32 reads something written: the first thread's element.
  std::string report = reportOf(kWrite + R"(
    %zero = llvm.mlir.constant(0 : i64) : i64
    %first = llvm.getelementptr %s[%zero] : (!llvm.ptr<3>, i64) -> !llvm.ptr<3>, f32
    %v = llvm.load %first : !llvm.ptr<3> -> f32
    llvm.store %v, %yi : f32, !llvm.ptr)",
                                32);
  expectFound(report, "thread 1 reads what another thread writes, without a barrier between: shared memory "
                      "at offset 0, thread 0");
}

TEST(Simulator, AWarpBarrierOrdersItsWarpOnly) {
  std::string warp = "%all = llvm.mlir.constant(-1 : i32) : i32\n nvvm.bar.warp.sync %all : i32\n";
  std::string swap = R"(
    %partner = llvm.xor %tid, %D : i64
    %place = llvm.getelementptr %s[%partner] : (!llvm.ptr<3>, i64) -> !llvm.ptr<3>, f32
    %v = llvm.load %place : !llvm.ptr<3> -> f32
    llvm.store %v, %yi : f32, !llvm.ptr)";
  EXPECT_EQ(reportOf("%D = llvm.mlir.constant(1 : i64) : i64\n" + kWrite + warp + swap), "");
  expectFound(reportOf("%D = llvm.mlir.constant(32 : i64) : i64\n" + kWrite + warp + swap), "reads ");
}

TEST(Simulator, FindsReadsOfUnwrittenSharedMemory) {
  expectFound(reportOf(kReadNext), "thread 0 reads memory that was never written: shared memory at offset 4");
}

TEST(Simulator, FindsAccessesOutOfBounds) {
  expectFound(reportOf("%far = llvm.getelementptr %mine[64] : (!llvm.ptr<3>) -> !llvm.ptr<3>, f32\n "
                       "llvm.store %f, %far : f32, !llvm.ptr<3>"),
              "thread 0 writes 4 bytes out of bounds");
  expectFound(reportOf("%far = llvm.getelementptr %xi[64] : (!llvm.ptr) -> !llvm.ptr, f32\n %v = llvm.load "
                       "%far : !llvm.ptr -> f32\n"
                       "llvm.store %v, %yi : f32, !llvm.ptr"),
              "thread 0 reads 4 bytes out of bounds");
  std::string declared =
      "%bytes = llvm.mlir.constant(8 : i64) : i64\n %w = llvm.mlir.constant(1 : i32) : i32\n"
      "llvm.call @llmc.buffer(%y, %bytes, %w) : (!llvm.ptr, i64, i32) -> ()\n";
  expectFound(reportOf(declared + "llvm.store %f, %yi : f32, !llvm.ptr"),
              "thread 2 writes 4 bytes out of bounds");
  EXPECT_EQ(reportOf(declared + "llvm.store %f, %yi : f32, !llvm.ptr", 2), "");
}

TEST(Simulator, FindsWritesToReadOnlyBuffers) {
  expectFound(
      reportOf("%bytes = llvm.mlir.constant(256 : i64) : i64\n %r = llvm.mlir.constant(0 : i32) : i32\n"
               "llvm.call @llmc.buffer(%y, %bytes, %r) : (!llvm.ptr, i64, i32) -> ()\n llvm.store %f, %yi : "
               "f32, !llvm.ptr"),
      "writes 4 bytes of buffer 0 at offset 0 of 256, which the kernel only reads");
}

TEST(Simulator, FindsBlocksThatWriteTheSamePlace) {
  std::string body = "%bytes = llvm.mlir.constant(256 : i64) : i64\n %w = llvm.mlir.constant(1 : i32) : i32\n"
                     "llvm.call @llmc.buffer(%y, %bytes, %w) : (!llvm.ptr, i64, i32) -> ()\n llvm.store %f, "
                     "%yi : f32, !llvm.ptr";
  EXPECT_EQ(reportOf(body, 64, 1), "");
  expectFound(reportOf(body, 64, 2),
              "block 1: thread 0 shares memory that is written with another block: buffer 0 at offset 0");
}

TEST(Simulator, FindsScratchReadBeforeItIsWritten) {
  expectFound(
      reportOf("%bytes = llvm.mlir.constant(256 : i64) : i64\n %w = llvm.mlir.constant(3 : i32) : i32\n"
               "llvm.call @llmc.buffer(%y, %bytes, %w) : (!llvm.ptr, i64, i32) -> ()\n %v = llvm.load %yi : "
               "!llvm.ptr -> f32\n"
               "llvm.store %v, %mine : f32, !llvm.ptr<3>"),
      "reads memory that was never written: scratch at offset 0");
}

TEST(Simulator, FindsThreadsAtDifferentBarriers) {
  expectFound(reportOf(R"(
    %half = llvm.mlir.constant(32 : i64) : i64
    %low = llvm.icmp "ult" %tid, %half : i64
    llvm.cond_br %low, ^a, ^b
  ^a:
    nvvm.barrier0
    llvm.br ^c
  ^b:
    nvvm.barrier0
    llvm.br ^c
  ^c:)"),
              "thread 32 waits at another barrier than the threads before it");
}

TEST(Simulator, ShufflesAsThePtxManualSays) {
  std::string shuffle = R"(
    %all = llvm.mlir.constant(-1 : i32) : i32
    %o = llvm.mlir.constant(@O@ : i32) : i32
    %c = llvm.mlir.constant(@C@ : i32) : i32
    %v = llvm.load %xi : !llvm.ptr -> f32
    %r = nvvm.shfl.sync @K@ %all, %v, %o, %c : f32 -> f32
    llvm.store %r, %yi : f32, !llvm.ptr)";
  auto run = [&](const char *kind, int offset, int clamp, auto expected) {
    std::string body = shuffle;
    for (auto [key, value] : {std::pair("@K@", std::string(kind)),
                              {"@O@", std::to_string(offset)},
                              {"@C@", std::to_string(clamp)}})
      body.replace(body.find(key), 3, value);
    Outcome o = launch(compileNvvm(body), 64);
    EXPECT_EQ(o.report, "");
    for (int i = 0; i < 64; ++i)
      EXPECT_EQ(o.y[i], float(i / 32 * 32 + expected(i % 32))) << kind << " lane " << i;
  };
  run("bfly", 16, 31, [](int lane) { return lane ^ 16; });
  run("down", 3, 31, [](int lane) { return lane + 3 < 32 ? lane + 3 : lane; });
  run("up", 3, 0, [](int lane) { return lane - 3 >= 0 ? lane - 3 : lane; });
  run("idx", 5, 31, [](int) { return 5; });
}

TEST(Simulator, FindsLanesMissingFromAShuffle) {
  expectFound(reportOf(R"(
    %half = llvm.mlir.constant(16 : i64) : i64
    %all = llvm.mlir.constant(-1 : i32) : i32
    %o = llvm.mlir.constant(1 : i32) : i32
    %c = llvm.mlir.constant(31 : i32) : i32
    %low = llvm.icmp "ult" %tid, %half : i64
    llvm.cond_br %low, ^a, ^b
  ^a:
    %r = nvvm.shfl.sync bfly %all, %f, %o, %c : f32 -> f32
    llvm.store %r, %yi : f32, !llvm.ptr
    llvm.br ^b
  ^b:)"),
              "thread 0 waits for thread 16, which does not take part in a warp operation whose mask names "
              "it (nvvm.shfl.sync 1");
}

TEST(Simulator, VotesAndBallots) {
  Outcome o = launch(compileNvvm(R"(
    %all = llvm.mlir.constant(-1 : i32) : i32
    %two = llvm.mlir.constant(2 : i64) : i64
    %low = llvm.icmp "ult" %tid, %two : i64
    %b = nvvm.vote.sync ballot %all, %low -> i32
    llvm.store %b, %yi : i32, !llvm.ptr)"),
                     64);
  EXPECT_EQ(o.report, "");
  uint32_t first, second;
  memcpy(&first, &o.y[0], 4);
  memcpy(&second, &o.y[32], 4);
  EXPECT_EQ(first, 3u);
  EXPECT_EQ(second, 0u);
}

/// y = exp(x / sum of x) by two workgroups of 32 elements, with the sum in shared memory.
const char *const kTiles = R"(
func.func @k(%x: tensor<64xf32>, %o: tensor<64xf32> {llm.written}) -> tensor<64xf32> attributes {llm.kernel} {
  %z = arith.constant 0.0 : f32
  %r = scf.forall (%p) in (2) shared_outs(%oo = %o) -> (tensor<64xf32>) {
    %e = tensor.empty() : tensor<f32>
    %f = linalg.fill ins(%z : f32) outs(%e : tensor<f32>) -> tensor<f32>
    %n = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> ()>], iterator_types = ["reduction"]}
        ins(%x : tensor<64xf32>) outs(%f : tensor<f32>) {
    ^bb0(%a: f32, %b: f32):
      %q = arith.addf %b, %a : f32
      linalg.yield %q : f32
    } -> tensor<f32>
    %sum = tensor.extract %n[] : tensor<f32>
    %at = affine.apply affine_map<(d0) -> (d0 * 32)>(%p)
    %xs = tensor.extract_slice %x[%at] [32] [1] : tensor<64xf32> to tensor<32xf32>
    %os = tensor.extract_slice %oo[%at] [32] [1] : tensor<64xf32> to tensor<32xf32>
    %g = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}
        ins(%xs : tensor<32xf32>) outs(%os : tensor<32xf32>) {
    ^bb0(%a: f32, %b: f32):
      %d = arith.divf %a, %sum : f32
      %ex = math.exp %d : f32
      linalg.yield %ex : f32
    } -> tensor<32xf32>
    scf.forall.in_parallel { tensor.parallel_insert_slice %g into %oo[%at] [32] [1] : tensor<32xf32> into tensor<64xf32> }
  }
  return %r : tensor<64xf32>
})";

/// `blocks` blocks walk over the two workgroups; `sharedBytes` 0 sends the sum to global scratch.
Outcome runTiles(bool hasBarriers, unsigned sharedBytes = 1 << 16, unsigned blocks = 1) {
  mlir::DialectRegistry registry;
  registerCudaDialects(registry);
  mlir::MLIRContext context(registry);
  auto module = mlir::parseSourceString<mlir::ModuleOp>(kTiles, &context);
  CudaOptions options;
  options.isSimulated = true;
  options.hasBarriers = hasBarriers;
  auto code = compileCudaKernels(*module, CudaArch{"sm_80", "+ptx70", sharedBytes}, options);
  if (!code) {
    ADD_FAILURE() << llvm::toString(code.takeError());
    return {};
  }
  const runtime::KernelLaunch &l = code->launches["k"];
  EXPECT_EQ(runtime::evaluateGrid(l.grid, {}), 2);
  EXPECT_EQ(l.scratchBytes > 0, sharedBytes == 0);
  Outcome outcome;
  outcome.x.assign(64, 1.0f);
  outcome.y.assign(64, 0.0f);
  std::vector<char> scratch(l.scratchBytes * blocks + 1);
  int64_t dims[5] = {}, workgroups = 2;
  std::vector<Argument> arguments{buffer(outcome.x), buffer(outcome.y)};
  for (int64_t &dim : dims)
    arguments.push_back(scalar(dim));
  arguments.push_back(buffer(scratch));
  arguments.push_back(scalar(workgroups));
  LaunchShape shape;
  shape.blocks = blocks;
  shape.threads = l.threads;
  shape.sharedBytes = l.sharedBytes;
  outcome.report = launchKernel(code->bytes, l.symbol, shape, arguments);
  return outcome;
}

TEST(Simulator, RunsTileProgramsWithoutReports) {
  for (unsigned sharedBytes : {1u << 16, 0u})
    for (unsigned blocks : {1u, 2u}) {
      Outcome o = runTiles(true, sharedBytes, blocks);
      EXPECT_EQ(o.report, "");
      for (float v : o.y)
        EXPECT_NEAR(v, 1.0157477f, 1e-6f);
    }
}

TEST(Simulator, FindsTheMissingBarriersOfATileProgram) {
  expectFound(runTiles(false).report, "without a barrier between: shared memory at offset 128");
  expectFound(runTiles(false, /*sharedBytes=*/0).report, "without a barrier between: scratch at offset 0");
}

TEST(Simulator, RefusesWhatItCannotSimulate) {
  mlir::DialectRegistry registry;
  registerCudaDialects(registry);
  mlir::MLIRContext context(registry);
  context.loadAllAvailableDialects();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(R"(
    llvm.func @k(%x: !llvm.ptr) attributes {nvvm.kernel} {
      %one = llvm.mlir.constant(1 : i32) : i32
      %v = nvvm.match.sync any %one, %one : i32 -> i32
      llvm.return
    })",
                                                        &context);
  mlir::ScopedDiagnosticHandler handler(&context, [](mlir::Diagnostic &d) {
    EXPECT_EQ(d.str(), "'nvvm.match.sync' op has no simulation");
    return mlir::success();
  });
  auto code = compileForSimulator(*module);
  EXPECT_FALSE(bool(code));
  llvm::consumeError(code.takeError());
}

} // namespace
} // namespace llmc::test
