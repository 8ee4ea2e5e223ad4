// A launch in progress: fibers, blocks and the grid. Fibers and the scheduler are in Grid.cpp; what generated
// code calls is in Memory.cpp (accesses), Barriers.cpp, Clusters.cpp, Warp.cpp (warp operations) and Copies.cpp
// (asynchronous copies).
#pragma once
#include "runtime/sim/Launch.h"
#include "runtime/sim/Shadow.h"
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace llmc::sim {

inline constexpr uint32_t kWarp = 32, kBarriers = 16;

class Block;
class Grid;

/// `spinning`: gave way to the others at an atomic access.
enum class State : uint8_t { ready, spinning, atBarrier, atWarp, atMbarrier, atWarpgroup, atCluster, done };

/// Engines that belong to one thread (Knowledge::engines).
enum class Engine : uint8_t { copies, bulkReads, bulkWrites };

/// Copies of one cp.async group; the last of a thread's is not committed yet.
struct CopyGroup {
  struct Copy {
    void *to;
    const void *from;
    uint32_t bytes, fromBytes;
  };
  Stamp stamp = 0;
  std::vector<Copy> copies;
  std::shared_ptr<std::vector<Copy>>
      deferred; ///< those that an mbarrier counts too: whoever is first moves them
};

/// Copies from shared to global memory of one bulk group.
struct BulkGroup {
  Stamp stamp = 0;
  bool isRead = false;
  std::vector<std::function<void()>> copies;
};

struct Fiber : Thread {
  Block *block;
  void *stackPointer;
  State state;
  uint32_t number; ///< in the block
  Knowledge known;
  ViewPointer released; ///< what was known at the last memory fence
  ViewPointer acquired; ///< what the next memory fence makes known
  const char *what;     ///< the instruction at which it waits, or in a report
  // The warp operation at which it waits.
  WarpOp op;
  uint32_t mask;
  const uint32_t *operands;
  uint32_t *results;
  // The barrier at which it waits.
  uint32_t barrier, predicate, reduced;
  uint32_t arrivedAt; ///< one bit per barrier that is not complete
  std::deque<CopyGroup> copies;
  std::deque<BulkGroup> bulkGroups;
  // The mbarrier at which it waits.
  uintptr_t mbarrier;
  uint64_t parity;
  // The phase of the cluster's barrier at which it has arrived and for which it has not waited yet.
  bool isAtCluster;
  uint64_t clusterPhase;
  // The wgmma at which it waits.
  const WgmmaShape *shape;
  uint64_t descriptorA, descriptorB;
  uint32_t *sums;
  bool isFenced;   ///< since its last wait
  uint32_t groups; ///< committed
  Stamp waited;    ///< up to which its warpgroup's work was waited for
};

/// One of a block's 16 barriers.
struct Barrier {
  BarrierKind kind = BarrierKind::sync;
  uint32_t threads = 0; ///< expected; 0: all
  std::vector<Fiber *> arrived;
  std::vector<const char *> sites; ///< of the arrivals
  ViewBuilder published;           ///< by those that did not wait
};

/// The barrier of a cluster; its first block has it.
struct ClusterBarrier {
  uint32_t arrived = 0;
  uint64_t phase = 0; ///< phases completed
  ViewBuilder arriving;
  ViewPointer completed;
};

/// An mbarrier; in memory there is only a mark.
struct Mbarrier {
  uint32_t expected = 0;
  int64_t pending = 0, bytes = 0;
  uint64_t phase = 0; ///< phases completed
  Actor engine = 0;   ///< of the copies that it counts
  ViewBuilder arriving;
  ViewPointer completed; ///< what was published in the last phase
};

/// Work that completes at a time of its own: last of all.
struct Pending {
  uintptr_t mbarrier;
  uint32_t bytes; ///< that the mbarrier counts
  bool isArrival; ///< counts as an arrival instead
  Actor engine;
  Stamp stamp;
  std::function<void()> work;
};

/// The accumulators of a wgmma, as a matrix of 64 rows.
struct Accumulators {
  uint32_t sequence = 0, n = 0;
  Stamp stamp = 0; ///< of its group; 0: not committed
  std::vector<float> values;
};
struct Warpgroup {
  Actor engine = 0;
  uint32_t sequence = 0;
  Stamp done = 0;
  std::vector<Accumulators> results; ///< the latest, by sequence modulo the size
  std::vector<Stamp> groups;         ///< when each was committed
};

/// A resident thread block.
class Block {
public:
  Block(Grid &grid, uint8_t *stacks);
  ~Block();
  void begin(uint32_t number);
  /// Lets every fiber that can run go on to where it waits.
  void step();
  bool isDone() const { return alive_ == 0; }
  std::string describeWaiting() const;
  std::string describeMbarrier(uintptr_t address) const;

  // Memory.cpp
  void access(Fiber &fiber, uintptr_t address, uint64_t bytes, bool isWrite, const Accessor &who);
  void atomic(Fiber &fiber, uintptr_t address, uint64_t bytes, uint32_t order);
  void fence(Fiber &fiber, FenceKind kind);
  void prefetch(Fiber &fiber, uintptr_t address, uint32_t bytes);
  void setConditional(Fiber &fiber, uint64_t handle, uint32_t value);
  /// Reports unless the address is a multiple of `alignment`.
  void expectAligned(Fiber &fiber, uintptr_t address, uint32_t alignment);
  void expectShared(Fiber &fiber, uintptr_t address, uint64_t bytes);
  bool isShared(uintptr_t address, uint64_t bytes) const { return shadow_->holds(address, bytes); }
  uint8_t *shared() const { return shared_; }
  // Barriers.cpp
  uint32_t barrier(Fiber &fiber, uint32_t id, uint32_t threads, BarrierKind kind, uint32_t predicate);
  // Clusters.cpp
  void clusterBarrier(Fiber &fiber, ClusterStep step);
  void *mapShared(Fiber &fiber, uintptr_t address, uint32_t rank);
  // Warp.cpp
  void warp(Fiber &fiber, WarpOp op, uint32_t mask, const uint32_t *operands, uint32_t *results);
  // Copies.cpp
  void copyAsync(Fiber &fiber, void *to, const void *from, uint32_t bytes, uint32_t fromBytes);
  void commitCopies(Fiber &fiber);
  void waitForCopies(Fiber &fiber, uint32_t pending);
  // Mbarriers.cpp
  uint64_t mbarrier(Fiber &fiber, MbarrierOp op, uintptr_t address, uint64_t operand);
  // BulkCopies.cpp
  void bulkCopy(Fiber &fiber, void *to, const void *from, uint32_t bytes, void *mbarrier);
  void tensorCopy(Fiber &fiber, const TensorCopy &copy);
  void bulkGroup(Fiber &fiber, BulkStep step, uint32_t pending);
  // Wgmma.cpp
  void wgmmaGroup(Fiber &fiber, WgmmaStep step, uint32_t pending);
  void wgmma(Fiber &fiber, const WgmmaShape &shape, uint64_t a, uint64_t b, uint32_t *sums);
  uint32_t accumulator(Fiber &fiber, uint32_t word);

  Accessor plain(const Fiber &fiber) const { return {fiber.known, fiber.known.self, fiber.known.stamp}; }
  /// Called on a fiber's stack: ends the launch with a report about `fiber`; the running one is not resumed.
  [[noreturn]] void violation(Fiber &fiber, const std::string &text);
  /// Adds all that the fiber knows to `builder`; its accesses are later from now on.
  void publish(Fiber &fiber, ViewBuilder &builder);

  Grid &grid;
  uint32_t number = 0; ///< in the grid
  Actor first = 0;     ///< of the block's actors

private:
  friend class Grid;
  void suspend(Fiber &fiber, State state);
  /// Leaves the running fiber for good.
  [[noreturn]] void abandon();
  void start(Fiber &fiber, uint32_t number);
  static void fiberMain(Fiber *fiber);
  static void fiberStart();
  /// Runs the fibers of a warp until all of them wait for others.
  void runWarp(uint32_t first);
  void resume(Fiber &fiber);
  void wake(Fiber &fiber);
  void expectCompany(Fiber &fiber);
  /// Block `rank` of this one's cluster; that whose shared memory holds `address`, this one if none does.
  Block &inCluster(uint32_t rank);
  Block &holderOf(Fiber &fiber, uintptr_t address);
  /// Completes the cluster's barrier if all threads that have not ended have arrived.
  void completeCluster();
  /// Performs the operation of the warp that begins with thread `start`; all of its mask are there.
  void perform(Fiber &fiber, uint32_t start);
  static void moveCopies(std::vector<CopyGroup::Copy> &copies);
  Mbarrier &mbarrierAt(Fiber &fiber, uintptr_t address);
  void arrive(Fiber &fiber, Mbarrier &barrier, uintptr_t address, uint64_t count);
  void arriveAfterCopies(Fiber &fiber, Mbarrier &barrier, uintptr_t address, bool counts);
  void completePhase(Mbarrier &barrier, uintptr_t address);
  /// Lets the oldest pending work happen; false when there is none.
  bool completePending();
  /// Reports what a thread that ends has left in flight.
  void expectNothingInFlight(Fiber &fiber);
  void loadBulk(Fiber &fiber, uintptr_t to, uint64_t bytes, uintptr_t mbarrier, std::function<void()> work);
  void storeBulk(Fiber &fiber, uintptr_t from, uint64_t bytes, std::function<void()> work);
  Warpgroup &warpgroupOf(Fiber &fiber);
  void multiplyWarpgroup(Fiber &fiber);
  void gatherMatrix(Fiber &fiber, uint64_t descriptor, uint32_t rows, uint32_t k, MatrixType type,
                    bool isKMajor, const Accessor &who, std::vector<float> &values);
  bool isBarrierComplete(const Barrier &barrier) const;
  void completeBarrier(uint32_t id);
  void fail(const Fiber &fiber, const std::string &text);
  void hazard(Fiber &fiber, const Finding &finding, uintptr_t address, bool isWrite, const Accessor &who);

  uint8_t *stacks_, *shared_, *window_;
  std::vector<Fiber> fibers_;
  std::unique_ptr<Shadow> shadow_;
  Barrier barriers_[kBarriers];
  std::map<uintptr_t, Mbarrier> mbarriers_;
  ClusterBarrier cluster_;
  std::deque<Pending> pending_;
  std::map<uint32_t, Warpgroup> warpgroups_;
  uint32_t alive_ = 0;
};

class Grid : private ReaderSets::Kinds {
public:
  explicit Grid(const Launch &launch);
  std::string run();

  const Launch &launch;
  const uint32_t threads; ///< of a block
  /// Actors of a block: its threads, every thread's engines, then engines of the block.
  const uint32_t actorsPerBlock;
  ReaderSets readers{*this};

  Actor engine(const Fiber &fiber, Engine engine) const {
    return fiber.block->first + threads * (1 + static_cast<uint32_t>(engine)) + fiber.number;
  }
  /// "thread 3", "a cp.async of thread 3".
  std::string nameOf(Actor actor) const;
  uint32_t blockOf(Actor actor) const { return (actor - 1) / actorsPerBlock; }
  bool isThread(Actor actor) const { return (actor - 1) % actorsPerBlock < threads; }
  /// Up to when an engine's work has been waited for by the thread that it belongs to.
  Stamp doneBy(Actor engine) const;
  /// An engine of the block, from 0: mbarriers by their place, then warpgroups.
  Actor blockEngine(const Block &block, uint32_t index) const { return block.first + 4 * threads + index; }
  static constexpr uint32_t kMbarriers = 480, kBlockEngines = 512;

  // Memory outside of shared memory (Memory.cpp).
  struct Buffer {
    uintptr_t address;
    uint64_t bytes;
    uint32_t flags;
    uint32_t block; ///< of scratch: whose it is
    std::unique_ptr<Shadow> shadow;
  };
  void declare(Fiber &fiber, uintptr_t address, uint64_t bytes, uint32_t flags);
  void declareCommon(uintptr_t address, uint64_t bytes, uint32_t flags);
  const Buffer *find(const Block &block, uintptr_t address, uint64_t bytes);
  std::string describe(const Block &block, uintptr_t address) const;
  /// ", 8 bytes past the end of buffer 2", or "".
  std::string describeNearest(const Block &block, uintptr_t address) const;
  Block &resident(uint32_t number) { return *blocks_[number - blocks_.front()->number]; }
  /// Scratch of a finished block is no one's.
  void dropScratch(const Block &block);
  ViewPointer &published(uintptr_t address) { return published_[address]; }

  Stamp now = 1;
  bool hasProgressed = false;
  void *scheduler = nullptr; ///< top of the scheduler's stack while a fiber runs
  void *abandoned = nullptr; ///< that of a fiber that reported a violation
  std::string report;

private:
  Actor threadBlock(Actor actor) const override {
    return isThread(actor) ? actor - (actor - 1) % actorsPerBlock : 0;
  }
  bool isAsyncProxy(Actor actor) const override { return (actor - 1) % actorsPerBlock >= 2 * threads; }
  void schedule();

  std::vector<std::unique_ptr<Block>> blocks_; ///< resident
  std::vector<Buffer> buffers_;
  std::map<uintptr_t, ViewPointer> published_; ///< by atomic accesses, per address
};

} // namespace llmc::sim
