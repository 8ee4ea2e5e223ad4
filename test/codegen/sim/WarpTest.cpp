// Warp operations: which lane's word holds which element, reductions, named barriers, atomics.
#include "test/codegen/sim/Simulation.h"
#include <cstring>

namespace llmc::test {
namespace {

enum class Type { bf16, f16, tf32 };

uint32_t bitsOf(Type type, float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  return type == Type::bf16 ? bf16Of(value) : type == Type::f16 ? f16Of(value) : bits;
}

/// Puts element `place` (0 low, 1 high half) into a word.
void put(uint32_t &word, Type type, int place, float value) {
  word = type == Type::tf32 ? bitsOf(type, value) : word | bitsOf(type, value) << 16 * place;
}

/// The tables of the PTX manual, written as they are there: element (row, column) of A is in register
/// a<i>, ... They are given for 16-bit types by a register's halves.
void expectProduct(Type type, int k) {
  std::vector<float> a(16 * k), b(k * 8), c(16 * 8);
  for (size_t i = 0; i < a.size(); ++i)
    a[i] = exactValue(i);
  for (size_t i = 0; i < b.size(); ++i)
    b[i] = exactValue(i + 5);
  for (size_t i = 0; i < c.size(); ++i)
    c[i] = exactValue(i + 11);
  std::vector<uint32_t> wordsA(32 * 4), wordsB(32 * 2);
  std::vector<float> wordsC(32 * 4), wordsD(32 * 4);
  const bool isTf32 = type == Type::tf32;
  const int numA = isTf32 ? k : k / 2; // elements of A that a lane has
  for (int lane = 0; lane < 32; ++lane) {
    int group = lane >> 2, member = lane % 4;
    for (int i = 0; i < numA; ++i) {
      int row, column;
      if (isTf32) {
        row = i == 0 || i == 2 ? group : group + 8;
        column = i < 2 ? member : member + 4;
      } else {
        row = (i < 2 || (i >= 4 && i < 6)) ? group : group + 8;
        column = member * 2 + (i & 1) + (i < 4 ? 0 : 8);
      }
      if (isTf32 && i >= k / 2)
        continue; // a tf32 lane has k / 2 elements
      put(wordsA[lane * 4 + (isTf32 ? i : i / 2)], type, i & 1, a[row * k + column]);
    }
    for (int i = 0; i < (isTf32 ? k / 4 : k / 4); ++i) {
      int row = isTf32 ? member + 4 * i : member * 2 + (i & 1) + (i < 2 ? 0 : 8);
      put(wordsB[lane * 2 + (isTf32 ? i : i / 2)], type, i & 1, b[row * 8 + group]);
    }
    for (int i = 0; i < 4; ++i)
      wordsC[lane * 4 + i] = c[(i < 2 ? group : group + 8) * 8 + member * 2 + (i & 1)];
  }
  const char *names[] = {"bf16", "f16", "tf32"};
  bool isFull = isTf32 ? k == 8 : k == 16;
  auto text = readKernel("fragments", "",
                         {{"TYPE", names[int(type)]},
                          {"K", std::to_string(k)},
                          {"WORD", type == Type::f16 ? "vector<2xf16>" : "i32"},
                          {"A", isFull ? "%a0, %a1, %a2, %a3" : "%a0, %a1"},
                          {"B", isFull ? "%b0, %b1" : "%b0"},
                          {"LAYOUT", "row"}});
  EXPECT_EQ(launchKernel(compileKernels(text), "mma", {},
                         {buffer(wordsA), buffer(wordsB), buffer(wordsC), buffer(wordsD)}),
            "");
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i) {
      int row = i < 2 ? lane >> 2 : (lane >> 2) + 8, column = lane % 4 * 2 + (i & 1);
      float expected = c[row * 8 + column];
      for (int l = 0; l < k; ++l)
        expected += a[row * k + l] * b[l * 8 + column];
      EXPECT_EQ(wordsD[lane * 4 + i], expected) << names[int(type)] << " k " << k << " lane " << lane;
    }
}

TEST(WarpOperations, FragmentsAreThoseOfThePtxManual) {
  expectProduct(Type::bf16, 16);
  expectProduct(Type::bf16, 8);
  expectProduct(Type::f16, 16);
  expectProduct(Type::f16, 8);
  expectProduct(Type::tf32, 8);
  expectProduct(Type::tf32, 4);
}

TEST(WarpOperations, Ldmatrix) {
  for (bool isTransposed : {false, true}) {
    std::vector<uint16_t> x(64), y(64);
    for (size_t i = 0; i < 64; ++i)
      x[i] = uint16_t(100 + i);
    auto text = readKernel("fragments", "",
                           {{"TYPE", "bf16"},
                            {"K", "8"},
                            {"WORD", "i32"},
                            {"A", "%a0, %a1"},
                            {"B", "%b0"},
                            {"LAYOUT", isTransposed ? "col" : "row"}});
    EXPECT_EQ(launchKernel(compileKernels(text), "load", {}, {buffer(x), buffer(y)}), "");
    for (int lane = 0; lane < 32; ++lane)
      for (int half = 0; half < 2; ++half) {
        int row = lane / 4, column = lane % 4 * 2 + half;
        EXPECT_EQ(y[lane * 2 + half], isTransposed ? x[column * 8 + row] : x[row * 8 + column]) << lane;
      }
  }
}

/// A kernel of which `body` may use %x, %y (pointers to i32), %tid and %lane (i32), %xi and %yi (the thread's
/// elements) and the shared array @s of 256 i32.
std::string kernelOf(const std::string &body) {
  return R"(
    llvm.mlir.global external @s() {addr_space = 3 : i32, alignment = 16 : i64} : !llvm.array<256 x i32>
    llvm.func @k(%x: !llvm.ptr, %y: !llvm.ptr) attributes {nvvm.kernel} {
      %tid = nvvm.read.ptx.sreg.tid.x : i32
      %lane = nvvm.read.ptx.sreg.laneid : i32
      %all = arith.constant -1 : i32
      %c0 = arith.constant 0 : i32
      %c1 = arith.constant 1 : i32
      %c2 = arith.constant 2 : i32
      %c32 = arith.constant 32 : i32
      %c64 = arith.constant 64 : i32
      %c96 = arith.constant 96 : i32
      %xi = llvm.getelementptr %x[%tid] : (!llvm.ptr, i32) -> !llvm.ptr, i32
      %yi = llvm.getelementptr %y[%tid] : (!llvm.ptr, i32) -> !llvm.ptr, i32
      %s = llvm.mlir.addressof @s : !llvm.ptr<3>
      %mine = llvm.getelementptr %s[%tid] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i32
      )" +
         body + R"(
      llvm.return
    })";
}

struct Ran {
  std::string report;
  std::vector<int32_t> x, y;
};
/// x counts from 0, y is zero.
Ran run(const std::string &body, unsigned threads, unsigned blocks = 1) {
  Ran r;
  for (int i = 0; i < 256; ++i)
    r.x.push_back(i);
  r.y.assign(256, 0);
  LaunchShape shape;
  shape.blocks = blocks;
  shape.threads = threads;
  r.report = launchKernel(compileKernels(kernelOf(body)), "k", shape, {buffer(r.x), buffer(r.y)});
  return r;
}

TEST(WarpOperations, ReduxAndElect) {
  for (auto [kind, expected] : {std::pair("add", 496 + 32 * 32),
                                {"max", 63},
                                {"min", 32},
                                {"umax", 63},
                                {"umin", 32},
                                {"or", 63},
                                {"and", 32},
                                {"xor", 0}}) {
    Ran r = run("%v = llvm.load %xi : !llvm.ptr -> i32\n %r = nvvm.redux.sync " + std::string(kind) +
                    " %v, %all : i32 -> i32\n llvm.store %r, %yi : i32, !llvm.ptr",
                64);
    EXPECT_EQ(r.report, "");
    EXPECT_EQ(r.y[40], expected) << kind;
  }
  Ran r = run(
      "%e = nvvm.elect.sync -> i1\n %w = arith.extui %e : i1 to i32\n llvm.store %w, %yi : i32, !llvm.ptr",
      64);
  EXPECT_EQ(r.report, "");
  for (int i = 0; i < 64; ++i)
    EXPECT_EQ(r.y[i], i % 32 == 0);
}

TEST(WarpOperations, ShuffleTellsWhetherTheSourceIsInRange) {
  Ran r = run(R"(%v = llvm.load %xi : !llvm.ptr -> i32
    %c31 = arith.constant 31 : i32
    %p = nvvm.shfl.sync down %all, %v, %c2, %c31 {return_value_and_is_valid} : i32 -> !llvm.struct<(i32, i1)>
    %a = llvm.extractvalue %p[0] : !llvm.struct<(i32, i1)>
    %i = llvm.extractvalue %p[1] : !llvm.struct<(i32, i1)>
    %z = arith.select %i, %a, %all : i32
    llvm.store %z, %yi : i32, !llvm.ptr)",
              32);
  EXPECT_EQ(r.report, "");
  for (int i = 0; i < 32; ++i)
    EXPECT_EQ(r.y[i], i + 2 < 32 ? i + 2 : -1);
}

/// Warp 0 writes and arrives, warp 1 waits and reads; warp 2 goes on without them.
const char *const kProducer = R"(
  %isProducer = arith.cmpi ult, %tid, %c32 : i32
  %isThird = arith.cmpi uge, %tid, %c64 : i32
  scf.if %isThird {
    llvm.store %c2, %yi : i32, !llvm.ptr
  } else {
    scf.if %isProducer {
      llvm.store %tid, %mine : i32, !llvm.ptr<3>
      nvvm.barrier.arrive id = %c1 number_of_threads = @COUNT@
    } else {
      nvvm.barrier id = %c1 number_of_threads = @COUNT@
      %other = arith.subi %tid, %c32 : i32
      %there = llvm.getelementptr %s[%other] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i32
      %v = llvm.load %there : !llvm.ptr<3> -> i32
      llvm.store %v, %yi : i32, !llvm.ptr
    }
  })";

std::string withCount(const char *count) {
  std::string text = kProducer;
  for (size_t at; (at = text.find("@COUNT@")) != std::string::npos;)
    text.replace(at, 7, count);
  return text;
}

TEST(Barriers, NamedOnesAreForSomeWarps) {
  Ran r = run(withCount("%c64"), 96);
  EXPECT_EQ(r.report, "");
  for (int i = 32; i < 64; ++i)
    EXPECT_EQ(r.y[i], i - 32);
}

TEST(Barriers, TooFewThreadsIsADeadlock) {
  expectFound(run(withCount("%c96"), 96).report, "thread 32 waits for ever at barrier 1 (nvvm.barrier 1");
}

TEST(Barriers, ABarrierOfOtherWarpsOrdersNothing) {
  expectFound(run(withCount("%c32"), 96).report,
              "reads what another thread writes, without a barrier between");
}

TEST(Barriers, Reductions) {
  Ran r = run(R"(%low = arith.cmpi ult, %tid, %c2 : i32
    %p = arith.extui %low : i1 to i32
    %n = nvvm.barrier #nvvm.reduction<popc> %p -> i32
    llvm.store %n, %yi : i32, !llvm.ptr)",
              64);
  EXPECT_EQ(r.report, "");
  EXPECT_EQ(r.y[63], 2);
}

TEST(Atomics, CountAcrossBlocks) {
  Ran r = run("%o = llvm.atomicrmw add %y, %c1 syncscope(\"device\") monotonic : !llvm.ptr, i32", 64, 3);
  EXPECT_EQ(r.report, "");
  EXPECT_EQ(r.y[0], 192);
}

TEST(Atomics, AnAtomicAndAnOrdinaryAccessAreARace) {
  expectFound(run("%o = llvm.atomicrmw add %s, %c1 monotonic : !llvm.ptr<3>, i32\n"
                  "%v = llvm.load %s : !llvm.ptr<3> -> i32\n llvm.store %v, %yi : i32, !llvm.ptr",
                  64)
                  .report,
              "reads memory that was never written");
  expectFound(run(R"(%isFirst = arith.cmpi eq, %tid, %c0 : i32
    scf.if %isFirst { llvm.store %c0, %s : i32, !llvm.ptr<3> }
    %o = llvm.atomicrmw add %s, %c1 monotonic : !llvm.ptr<3>, i32)",
                  64)
                  .report,
              "what another thread writes, without a barrier between: shared memory at offset 0");
}

/// Thread 0 publishes through a flag that warp 1 polls.
std::string flag(const char *store, const char *load) {
  return std::string(R"(%isProducer = arith.cmpi ult, %tid, %c32 : i32
    %isFirst = arith.cmpi eq, %tid, %c0 : i32
    scf.if %isFirst { llvm.store %c0, %mine atomic syncscope("block") monotonic {alignment = 4 : i64} : i32, !llvm.ptr<3> }
    nvvm.barrier0
    %data = llvm.getelementptr %s[1] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i32
    scf.if %isFirst {
      llvm.store %c2, %data : i32, !llvm.ptr<3>
      )") +
         store + R"(
    }
    scf.if %isProducer {} else {
      scf.while : () -> () {
        )" +
         load + R"(
        %wait = arith.cmpi eq, %f, %c0 : i32
        scf.condition(%wait)
      } do { scf.yield }
      %v = llvm.load %data : !llvm.ptr<3> -> i32
      llvm.store %v, %yi : i32, !llvm.ptr
    })";
}

TEST(Atomics, AReleaseOrdersForWhoAcquires) {
  const char *
      release =
         "llvm.store %c1, %s atomic syncscope(\"block\") release {alignment = 4 : i64} : i32, !llvm.ptr<3>",
     *relaxed =
         "llvm.store %c1, %s atomic syncscope(\"block\") monotonic {alignment = 4 : i64} : i32, !llvm.ptr<3>",
     *fenced = "nvvm.memory.barrier #nvvm.mem_scope<cta>\n llvm.store volatile %c1, %s : i32, !llvm.ptr<3>",
     *acquire =
         "%f = llvm.load %s atomic syncscope(\"block\") acquire {alignment = 4 : i64} : !llvm.ptr<3> -> i32",
     *poll = "%f = llvm.load volatile %s : !llvm.ptr<3> -> i32";
  Ran r = run(flag(release, acquire), 64);
  EXPECT_EQ(r.report, "");
  EXPECT_EQ(r.y[40], 2);
  EXPECT_EQ(run(flag(fenced, (std::string(poll) + "\n nvvm.memory.barrier #nvvm.mem_scope<cta>").c_str()), 64)
                .report,
            "");
  expectFound(run(flag(relaxed, acquire), 64).report, "reads what another thread writes, without");
  expectFound(run(flag(release, poll), 64).report, "reads what another thread writes, without");
}

TEST(Atomics, WaitingForWhatNeverComesIsFound) {
  expectFound(run(flag("", "%f = llvm.load volatile %s : !llvm.ptr<3> -> i32"), 64).report,
              "thread 32 waits for ever (llvm.load ");
}

} // namespace
} // namespace llmc::test
