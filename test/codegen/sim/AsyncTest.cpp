// Copies and products of sm_90a: mbarriers, bulk copies, tensor maps, wgmma; grids whose blocks wait for each
// other. Compared with the host, and with mistakes planted that must be found.
#include "test/codegen/sim/Simulation.h"
#include <cstdint>

namespace llmc::test {
namespace {

struct Ran {
  std::string report;
  std::vector<float> x = std::vector<float>(256), y = std::vector<float>(256);
};
Ran runBulk(const std::string &variant, const char *kernel = "k", unsigned threads = 128) {
  Ran r;
  for (int i = 0; i < 256; ++i)
    r.x[i] = float(i);
  LaunchShape shape;
  shape.threads = threads;
  r.report =
      launchKernel(compileKernels(readKernel("bulk", variant)), kernel, shape, {buffer(r.x), buffer(r.y)});
  return r;
}

TEST(BulkCopies, GoThroughSharedMemory) {
  for (auto [kernel, threads] : {std::pair("k", 128u), {"copies", 64u}}) {
    Ran r = runBulk("", kernel, threads);
    EXPECT_EQ(r.report, "");
    for (int i = 0; i < 256; ++i)
      EXPECT_EQ(r.y[i], float((i + 1) % 256)) << kernel << " " << i;
  }
}

TEST(BulkCopies, MistakesAreFound) {
  const std::string inFlight = "thread 0 reads what a bulk copy that an mbarrier counts writes, before that "
                               "was waited for: shared memory";
  expectFound(runBulk("no-wait").report, inFlight);
  expectFound(runBulk("wrong-parity").report, inFlight);
  expectFound(runBulk("too-many-bytes").report, "which lacks 0 arrivals and 1024 bytes");
  expectFound(runBulk("no-init").report, "thread 0 reads memory that was never written: shared memory at "
                                         "offset 0 (nvvm.mbarrier.arrive.expect_tx 1");
  expectFound(runBulk("no-barrier-after-init").report,
              "what another thread writes, without a barrier between");
  expectFound(runBulk("no-fence").report, "without fence.proxy.async between: shared memory");
  expectFound(runBulk("overwrite").report,
              "writes what a bulk store of thread 0 reads, before that was waited for");
  expectFound(runBulk("no-store-wait").report, "ends while a bulk store of it reads shared memory");
  expectFound(runBulk("no-wait", "copies", 64).report,
              "reads what a cp.async of thread 0 writes, before that was waited for");
}

using EncodeTiled = int(void *, int, uint32_t, void *, const uint64_t *, const uint64_t *, const uint32_t *,
                        const uint32_t *, int, int, int, int);

/// The tensor map of a matrix [rows, k] of bf16, in boxes of `boxRows` by 64.
struct Map {
  std::vector<uint8_t> bytes = std::vector<uint8_t>(128);
  int encode(cuda::DevicePointer matrix, int rows, int k, unsigned boxRows, unsigned boxColumns = 64,
             int swizzle = 3) {
    const uint64_t extents[] = {uint64_t(k), uint64_t(rows)}, strides[] = {uint64_t(k) * 2};
    const uint32_t box[] = {boxColumns, boxRows}, steps[] = {1, 1};
    return simulatorFunction<EncodeTiled>("cuTensorMapEncodeTiled")(bytes.data(), /*BFLOAT16*/ 9, 2,
                                                                    reinterpret_cast<void *>(matrix), extents,
                                                                    strides, box, steps, 0, swizzle, 0, 0);
  }
};

struct Product {
  int m, n, k;
  std::vector<uint16_t> a, b;
  std::vector<float> c, expected;
  Map mapA, mapB;

  Product(int m, int n, int k) : m(m), n(n), k(k) {
    for (int i = 0; i < m * k; ++i)
      a.push_back(bf16Of(exactValue(size_t(i))));
    for (int i = 0; i < n * k; ++i)
      b.push_back(bf16Of(exactValue(size_t(i) + 7)));
    c.assign(size_t(m) * n, -1.0f);
    for (int i = 0; i < m; ++i)
      for (int j = 0; j < n; ++j) {
        float sum = 0;
        for (int l = 0; l < k; ++l)
          sum += exactValue(size_t(i * k + l)) * exactValue(size_t(j * k + l) + 7);
        expected.push_back(sum);
      }
  }
  std::string run(const std::string &variant = "",
                  const std::vector<std::pair<std::string, std::string>> &values = {}) {
    LaunchShape shape;
    shape.blocks = unsigned((m + 63) / 64 * ((n + 15) / 16));
    shape.threads = 128;
    // The maps are made from device addresses, so they are encoded into device memory before the launch.
    Argument first = buffer(mapA.bytes);
    first.prepare = [this](const cuda::DevicePointer *devices) {
      EXPECT_EQ(mapA.encode(devices[6], m, k, 64), 0);
      EXPECT_EQ(mapB.encode(devices[7], n, k, 16), 0);
      simulatedDriver().cuMemcpyHtoD(devices[0], mapA.bytes.data(), 128);
      simulatedDriver().cuMemcpyHtoD(devices[1], mapB.bytes.data(), 128);
    };
    return launchKernel(
        compileKernels(readKernel("matmul-sm90", variant, values)), "k", shape,
        {first, buffer(mapB.bytes), buffer(c), scalar(m), scalar(n), scalar(k), buffer(a), buffer(b)});
  }
};

TEST(MatmulSm90, IsTheHostsAtAwkwardSizes) {
  for (auto [m, n, k] : {std::array<int, 3>{1, 1, 8}, {70, 21, 200}, {64, 16, 64}}) {
    Product p(m, n, k);
    EXPECT_EQ(p.run(), "");
    EXPECT_EQ(p.c, p.expected) << m << " x " << n << " x " << k;
  }
}

TEST(MatmulSm90, MistakesAreFound) {
  const std::string inFlight =
      "reads what a bulk copy that an mbarrier counts writes, before that was waited for";
  expectFound(Product(70, 21, 200).run("no-wait"), inFlight);
  expectFound(Product(70, 21, 200).run("wrong-parity"), inFlight);
  expectFound(Product(70, 21, 200).run("misaligned"), "uses an address that is not a multiple of 1024");
  expectFound(Product(70, 21, 64).run("no-wgmma-wait"), "in flight: its group is not waited for");
  expectFound(Product(70, 21, 64).run("no-wgmma-commit"), "not committed");
  expectFound(Product(70, 21, 200).run("no-wgmma-wait"),
              "writes what a wgmma of the warpgroup of thread 0 reads");
  expectFound(Product(70, 21, 200).run("no-wgmma-fence"), "without a wgmma.fence");
  expectFound(Product(70, 21, 200).run("overwrite"),
              "writes what a wgmma of the warpgroup of thread 0 reads, before that was waited for: shared "
              "memory at offset ");
}

TEST(MatmulSm90, AWrongSwizzleGivesOtherNumbers) {
  Product p(70, 21, 200);
  EXPECT_EQ(p.run("", {{"SWIZZLE", "-9223372036854775808"}}), ""); // 64 bytes
  EXPECT_NE(p.c, p.expected);
}

TEST(TensorMaps, AreRefusedAsTheDriverDoes) {
  Map map;
  EXPECT_EQ(map.encode(256, 16, 64, 16), 0);
  EXPECT_EQ(map.encode(264, 16, 64, 16), cuda::kInvalidValue);       // address
  EXPECT_EQ(map.encode(256, 16, 60, 16), cuda::kInvalidValue);       // stride of 120 bytes
  EXPECT_EQ(map.encode(256, 16, 64, 257), cuda::kInvalidValue);      // box
  EXPECT_EQ(map.encode(256, 16, 128, 16, 128), cuda::kInvalidValue); // wider than the swizzle
}

/// Blocks write, meet at a barrier in global memory, and read what the next block wrote.
const char *const kGridBarrier = R"(
  llvm.func @k(%x: !llvm.ptr, %y: !llvm.ptr) attributes {nvvm.kernel} {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c32 = arith.constant 32 : i32
    %tid = nvvm.read.ptx.sreg.tid.x : i32
    %block = nvvm.read.ptx.sreg.ctaid.x : i32
    %blocks = nvvm.read.ptx.sreg.nctaid.x : i32
    %start = arith.muli %block, %c32 : i32
    %i = arith.addi %start, %tid : i32
    %bytes = llvm.mlir.constant(1024 : i64) : i64
    %counterBytes = llvm.mlir.constant(4 : i64) : i64
    llvm.call @llmc.buffer(%x, %counterBytes, %c1) : (!llvm.ptr, i64, i32) -> ()
    llvm.call @llmc.buffer(%y, %bytes, %c1) : (!llvm.ptr, i64, i32) -> ()
    %mine = llvm.getelementptr %y[%i] : (!llvm.ptr, i32) -> !llvm.ptr, i32
    llvm.store %i, %mine : i32, !llvm.ptr
    nvvm.barrier0
    %isFirst = arith.cmpi eq, %tid, %c0 : i32
    scf.if %isFirst {
      %n = llvm.atomicrmw add %x, %c1 syncscope("device") @ORDER@ : !llvm.ptr, i32
      scf.while : () -> () {
        %v = llvm.load %x atomic syncscope("device") acquire {alignment = 4 : i64} : !llvm.ptr -> i32
        %waits = arith.cmpi ult, %v, %blocks : i32
        scf.condition(%waits)
      } do { scf.yield }
    }
    nvvm.barrier0
    %next = arith.addi %block, %c1 : i32
    %other = arith.remui %next, %blocks : i32
    %otherStart = arith.muli %other, %c32 : i32
    %j = arith.addi %otherStart, %tid : i32
    %there = llvm.getelementptr %y[%j] : (!llvm.ptr, i32) -> !llvm.ptr, i32
    %value = llvm.load %there : !llvm.ptr -> i32
    %half = llvm.getelementptr %mine[128] : (!llvm.ptr) -> !llvm.ptr, i32
    llvm.store %value, %half : i32, !llvm.ptr
    llvm.return
  }
  llvm.func @llmc.buffer(!llvm.ptr, i64, i32)
)";

std::string runGrid(const char *order, bool isCooperative, std::vector<int32_t> &y) {
  std::string text = kGridBarrier;
  text.replace(text.find("@ORDER@"), 7, order);
  std::vector<int32_t> x(1);
  LaunchShape shape;
  shape.blocks = 4;
  shape.isCooperative = isCooperative;
  return launchKernel(compileKernels(text), "k", shape, {buffer(x), buffer(y)});
}

TEST(CooperativeGrids, BlocksMeetInGlobalMemory) {
  std::vector<int32_t> y(256);
  EXPECT_EQ(runGrid("release", true, y), "");
  for (int i = 0; i < 128; ++i)
    EXPECT_EQ(y[128 + i], (i + 32) % 128);
}

TEST(CooperativeGrids, MistakesAreFound) {
  std::vector<int32_t> y(256);
  expectFound(runGrid("monotonic", true, y), "shares memory that is written with another block: buffer 1");
  expectFound(runGrid("release", false, y), "block 0: thread 0 waits for ever (llvm.load 1");
}

} // namespace
} // namespace llmc::test
