// What simulated kernels and the simulator know of each other: a thread's record, and the functions that
// generated code calls through it. codegen/sim makes code for this layout; change both together, and
// kAbiVersion.
#pragma once
#include <cstdint>

namespace llmc::sim {

inline constexpr int64_t kAbiVersion = 7;

struct Thread;

enum class ShuffleKind : uint32_t { bfly, up, down, idx };
enum class VoteKind : uint32_t { any, all, ballot, uni };
enum class ReduxKind : uint32_t { add = 1, bitAnd, max, min, bitOr, umax, umin, bitXor };
/// Operand types of matrix products; the accumulator is float32.
enum class MatrixType : uint32_t { f16, bf16, tf32 };

/// What the threads of a warp do together. Operands and results are arrays of 32-bit words.
///
///   op       operands                                              results
///   sync     -                                                     -
///   shuffle  value, offset, mask and clamp, ShuffleKind            value, whether the source is in range
///   vote     predicate, VoteKind                                   predicate or ballot
///   redux    value, ReduxKind                                      value
///   elect    -                                                     predicate
///   mma      MatrixType, K, A's words, B's words, 4 of C           4 of D (m16n8kK)
///   ldmatrix number, whether transposed, address (2 words)         `number` words
///   stmatrix number, whether transposed, address (2 words), words  -
///   aligned  - (all lanes are at one instruction)                  -
enum class WarpOp : uint32_t { sync, shuffle, vote, redux, elect, mma, ldmatrix, stmatrix, aligned };

enum class BarrierKind : uint32_t { sync, arrive, popc, bitAnd, bitOr };
enum class FenceKind : uint32_t { memory, asyncProxy };
/// What is done at an mbarrier. The operand is a number of arrivals, of bytes, a state or a parity; what has
/// a result gives a state or whether the phase has completed.
enum class MbarrierOp : uint32_t {
  init,
  invalidate,
  arrive,
  arriveNoComplete,
  arriveDrop,
  expectBytes,
  arriveExpectBytes,
  completeBytes,
  testState,
  testParity,
  waitParity,
  arriveAfterCopies,     ///< cp.async.mbarrier.arrive
  arriveAfterCopiesNoInc ///< ... .noinc
};
enum class ClusterStep : uint32_t { arrive, wait };
enum class BulkStep : uint32_t { commit, wait, waitRead };
enum class WgmmaStep : uint32_t { fence, commit, wait };

/// Operands of wgmma.mma_async: m64n`n`k16 or k8.
struct WgmmaShape {
  uint32_t n;
  MatrixType type;
  uint8_t isAKMajor, isBKMajor, accumulates, negatesA, negatesB;
  uint8_t isAInRegisters; ///< the thread's are `a`, and the descriptor of a says nothing
  uint32_t a[4];
};

/// A bulk tensor copy.
struct TensorCopy {
  const void *map;
  void *shared;
  void *mbarrier; ///< of a load; null: a store
  int32_t coordinates[5];
  uint32_t rank;
  uint32_t blocks; ///< of the cluster, a bit for each, that the load goes to; 0: only to the block of `shared`
};

enum class CopyStep : uint32_t { commit, wait };

/// How an atomic access orders others: bits of `order`.
inline constexpr uint32_t kAcquires = 1, kReleases = 2, kAtomicReads = 4, kAtomicWrites = 8,
                          kAtomicSpins = 16; ///< may fail and be tried again: is no progress

/// What is declared of a buffer. Written: by this kernel. Scratch: only this block uses it, and finds nothing in it. Open: it goes on to an end
/// that the kernel does not know. Constant: nobody writes it while the kernel runs, in whichever step.
inline constexpr uint32_t kBufferWritten = 1, kBufferScratch = 2, kBufferOpen = 4, kBufferConstant = 8;

/// Called by generated code. `what` names the instruction; of barriers and warp operations no two have the
/// same address. The order of the members is that of `Function`.
struct Functions {
  void (*read)(Thread *, const char *what, const void *address, uint64_t bytes);
  void (*write)(Thread *, const char *what, const void *address, uint64_t bytes);
  /// Before an atomic access, which follows without another thread running in between.
  void (*atomic)(Thread *, const char *what, const void *address, uint64_t bytes, uint32_t order);
  void (*fence)(Thread *, const char *what, FenceKind kind);
  /// Accesses outside of shared memory must lie in a declared buffer, once one is declared. flags: kBuffer...
  void (*buffer)(Thread *, const void *address, uint64_t bytes, uint32_t flags);
  /// `threads` 0: all of the block. The result is that of the reduction, if it is one.
  uint32_t (*barrier)(Thread *, const char *what, uint32_t id, uint32_t threads, BarrierKind kind,
                      uint32_t predicate);
  void (*warp)(Thread *, const char *what, WarpOp op, uint32_t mask, const uint32_t *operands,
               uint32_t *results);
  /// cp.async of `bytes`, of which `fromBytes` come from `from` and the others are zero.
  void (*copyAsync)(Thread *, const char *what, void *to, const void *from, uint32_t bytes,
                    uint32_t fromBytes);
  /// `pending`: groups that a wait leaves in flight.
  void (*copyGroup)(Thread *, const char *what, CopyStep step, uint32_t pending);
  uint64_t (*mbarrier)(Thread *, const char *what, MbarrierOp op, void *address, uint64_t operand);
  /// cp.async.bulk; to shared memory with the mbarrier that counts its bytes, from it with null.
  void (*bulkCopy)(Thread *, const char *what, void *to, const void *from, uint32_t bytes, void *mbarrier);
  void (*tensorCopy)(Thread *, const char *what, const TensorCopy *copy);
  void (*bulkGroup)(Thread *, const char *what, BulkStep step, uint32_t pending);
  void (*wgmmaGroup)(Thread *, const char *what, WgmmaStep step, uint32_t pending);
  /// `sums`: n / 2 words of this thread, replaced by marks that stand for them until `accumulator` asks.
  void (*wgmma)(Thread *, const char *what, const WgmmaShape *shape, uint64_t a, uint64_t b, uint32_t *sums);
  /// The value of a word that may be such a mark.
  uint32_t (*accumulator)(Thread *, const char *what, uint32_t word);
  /// Into the L2 cache; `bytes` 0: the line at the address.
  void (*prefetch)(Thread *, const char *what, const void *address, uint32_t bytes);
  /// What is at the place of `address` in the shared memory of block `rank` of the cluster.
  void *(*mapShared)(Thread *, const char *what, void *address, uint32_t rank);
  void (*clusterBarrier)(Thread *, const char *what, ClusterStep step);
  /// cudaGraphSetConditional
  void (*setConditional)(Thread *, const char *what, uint64_t handle, uint32_t value);
};
enum class Function : uint32_t {
  read,
  write,
  atomic,
  fence,
  buffer,
  barrier,
  warp,
  copyAsync,
  copyGroup,
  mbarrier,
  bulkCopy,
  tensorCopy,
  bulkGroup,
  wgmmaGroup,
  wgmma,
  accumulator,
  prefetch,
  mapShared,
  clusterBarrier,
  setConditional
};

/// The record that a simulated thread gets. Generated code reads the members by their offsets: keep the
/// order.
struct Thread {
  const Functions *functions;
  void *shared; ///< static shared memory of the kernel, then the dynamic part
  uint32_t threadId[3], blockDim[3], blockId[3], gridDim[3];
  uint32_t lane, warp, numWarps;
};

/// A kernel in a simulated module: `parameters` as cuLaunchKernel takes them. `K.static_shared` gives its
/// bytes of static shared memory, `K.cluster` the blocks of a cluster (1: it has none), `K.abi` the kAbiVersion for which it was made, `K.parameters` the bytes of
/// each parameter and a zero after the last.
using Kernel = void (*)(Thread *, void *const *parameters);
using KernelFact = int64_t (*)();
using ParameterBytes = const int64_t *(*)();

} // namespace llmc::sim
