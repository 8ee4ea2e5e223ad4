// A launch in progress: fibers, blocks and the grid. Fibers and the scheduler are in Grid.cpp; what generated
// code calls is in Memory.cpp (accesses), Barriers.cpp, Warp.cpp (warp operations) and Copies.cpp
// (asynchronous copies).
#pragma once
#include "runtime/sim/Launch.h"
#include "runtime/sim/Shadow.h"
#include <deque>
#include <map>
#include <string>
#include <vector>

namespace llmc::sim {

inline constexpr uint32_t kWarp = 32;

class Block;
class Grid;

/// `spinning`: gave way to the others at an atomic access.
enum class State : uint8_t { ready, spinning, atBarrier, atWarp, done };

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
  std::deque<CopyGroup> copies;
};

/// One of a block's 16 barriers.
struct Barrier {
  BarrierKind kind = BarrierKind::sync;
  uint32_t threads = 0; ///< expected; 0: all
  std::vector<Fiber *> arrived;
  std::vector<const char *> sites; ///< of the arrivals
  ViewBuilder published;           ///< by those that did not wait
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

  // Memory.cpp
  void access(Fiber &fiber, uintptr_t address, uint64_t bytes, bool isWrite, const Accessor &who);
  void atomic(Fiber &fiber, uintptr_t address, uint64_t bytes, uint32_t order);
  void fence(Fiber &fiber, FenceKind kind);
  /// Reports unless the address is a multiple of `alignment`.
  void expectAligned(Fiber &fiber, uintptr_t address, uint32_t alignment);
  void expectShared(Fiber &fiber, uintptr_t address, uint64_t bytes);
  bool isShared(uintptr_t address, uint64_t bytes) const { return shadow_->holds(address, bytes); }
  uint8_t *shared() const { return shared_; }
  // Barriers.cpp
  uint32_t barrier(Fiber &fiber, uint32_t id, uint32_t threads, BarrierKind kind, uint32_t predicate);
  // Warp.cpp
  void warp(Fiber &fiber, WarpOp op, uint32_t mask, const uint32_t *operands, uint32_t *results);
  // Copies.cpp
  void copyAsync(Fiber &fiber, void *to, const void *from, uint32_t bytes, uint32_t fromBytes);
  void commitCopies(Fiber &fiber);
  void waitForCopies(Fiber &fiber, uint32_t pending);

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
  /// Performs the operation of the warp that begins with thread `start`; all of its mask are there.
  void perform(Fiber &fiber, uint32_t start);
  bool isBarrierComplete(const Barrier &barrier) const;
  void completeBarrier(uint32_t id);
  void fail(const Fiber &fiber, const std::string &text);
  void hazard(Fiber &fiber, const Finding &finding, uintptr_t address, bool isWrite, const Accessor &who);

  uint8_t *stacks_, *shared_, *window_;
  std::vector<Fiber> fibers_;
  std::unique_ptr<Shadow> shadow_;
  std::map<uint32_t, Barrier> barriers_;
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

  // Memory outside of shared memory (Memory.cpp).
  struct Buffer {
    uintptr_t address;
    uint64_t bytes;
    uint32_t flags;
    uint32_t block; ///< of scratch: whose it is
    std::unique_ptr<Shadow> shadow;
  };
  void declare(Fiber &fiber, uintptr_t address, uint64_t bytes, uint32_t flags);
  const Buffer *find(const Block &block, uintptr_t address, uint64_t bytes);
  std::string describe(const Block &block, uintptr_t address) const;
  /// ", 8 bytes past the end of buffer 2", or "".
  std::string describeNearest(const Block &block, uintptr_t address) const;
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
