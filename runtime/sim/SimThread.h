// What simulated kernels and the simulator know of each other: a thread's record, and the functions that
// generated code calls through it. codegen/sim makes code for this layout; change both together, and
// kAbiVersion.
#pragma once
#include <cstdint>

namespace llmc::sim {

struct Thread;

enum class ShuffleKind : uint32_t { bfly, up, down, idx };
enum class VoteKind : uint32_t { any, all, ballot, uni };

/// Called by generated code. The order of the members is that of `Function`.
struct Functions {
  void (*read)(Thread *, const void *address, uint64_t bytes);
  void (*write)(Thread *, const void *address, uint64_t bytes);
  /// `site` numbers the barriers of a module from 0.
  void (*barrier)(Thread *, uint32_t site);
  void (*syncWarp)(Thread *, uint32_t mask);
  uint32_t (*shuffle)(Thread *, uint32_t mask, uint32_t value, uint32_t offset, uint32_t maskAndClamp,
                      uint32_t kind);
  uint32_t (*vote)(Thread *, uint32_t mask, uint32_t predicate, uint32_t kind);
  /// Accesses outside of shared memory must lie in a declared buffer, once one is declared. flags: 1 written,
  /// 2 scratch of this block.
  void (*buffer)(Thread *, const void *address, uint64_t bytes, uint32_t flags);
};
enum class Function : uint32_t { read, write, barrier, syncWarp, shuffle, vote, buffer };

/// The record that a simulated thread gets. Generated code reads the members by their offsets: keep the
/// order.
struct Thread {
  const Functions *functions;
  void *shared; ///< static shared memory of the kernel, then the dynamic part
  uint32_t threadId[3], blockDim[3], blockId[3], gridDim[3];
  uint32_t lane;
};

/// A kernel in a simulated module: `parameters` as cuLaunchKernel takes them. `K.static_shared` gives its
/// bytes of static shared memory, `K.parameters` the bytes of each parameter and a zero after the last.
using Kernel = void (*)(Thread *, void *const *parameters);
using StaticShared = int64_t (*)();
using ParameterBytes = const int64_t *(*)();

} // namespace llmc::sim
