// Fibers and their scheduler, and the functions that generated code calls. See Grid.h.
#include "runtime/sim/Grid.h"
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>

// Saves the callee-saved registers of this stack, notes its top in *from and continues on the stack `to`, as
// its own call of this returns.
extern "C" void llmcSimSwitch(void **from, void *to);
asm(R"(
.text
.globl llmcSimSwitch
.hidden llmcSimSwitch
.type llmcSimSwitch,@function
llmcSimSwitch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  retq
.size llmcSimSwitch, .-llmcSimSwitch
)");

namespace llmc::sim {
namespace {

constexpr size_t kStackBytes = 256 << 10;
/// Shared memory starts at this offset of an aligned window, so that the low bits of an address are what they
/// are on a GPU: matrix descriptors hold 18 of them. The first KiB is the system's.
constexpr size_t kWindowBytes = 256 << 10, kReservedBytes = 1 << 10;
/// Rounds without progress in which only spinning fibers run, before that counts as a deadlock.
constexpr int kIdleRounds = 1000;

/// Stacks for `count` fibers, each above a page that no one may touch. Kept between launches, which hold a
/// lock.
uint8_t *stacksFor(size_t count) {
  static uint8_t *stacks = nullptr;
  static size_t size = 0;
  if (count <= size)
    return stacks;
  if (stacks)
    munmap(stacks, size * kStackBytes);
  void *data = mmap(nullptr, count * kStackBytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED)
    abort();
  stacks = static_cast<uint8_t *>(data);
  size = count;
  for (size_t i = 0; i < count; ++i)
    mprotect(stacks + i * kStackBytes, 4096, PROT_NONE);
  return stacks;
}

Fiber &fiberOf(Thread *thread, const char *what) {
  auto &fiber = *static_cast<Fiber *>(thread);
  fiber.what = what;
  return fiber;
}
uintptr_t asNumber(const void *address) { return reinterpret_cast<uintptr_t>(address); }

Functions makeFunctions() {
  Functions f;
  f.read = [](Thread *t, const char *what, const void *address, uint64_t bytes) {
    Fiber &fiber = fiberOf(t, what);
    fiber.block->access(fiber, asNumber(address), bytes, false, fiber.block->plain(fiber));
  };
  f.write = [](Thread *t, const char *what, const void *address, uint64_t bytes) {
    Fiber &fiber = fiberOf(t, what);
    fiber.block->access(fiber, asNumber(address), bytes, true, fiber.block->plain(fiber));
  };
  f.atomic = [](Thread *t, const char *what, const void *address, uint64_t bytes, uint32_t order) {
    Fiber &fiber = fiberOf(t, what);
    fiber.block->atomic(fiber, asNumber(address), bytes, order);
  };
  f.fence = [](Thread *t, const char *what, FenceKind kind) {
    Fiber &fiber = fiberOf(t, what);
    fiber.block->fence(fiber, kind);
  };
  f.buffer = [](Thread *t, const void *address, uint64_t bytes, uint32_t flags) {
    Fiber &fiber = fiberOf(t, "");
    fiber.block->grid.declare(fiber, asNumber(address), bytes, flags);
  };
  f.barrier = [](Thread *t, const char *what, uint32_t id, uint32_t threads, BarrierKind kind,
                 uint32_t predicate) {
    Fiber &fiber = fiberOf(t, what);
    return fiber.block->barrier(fiber, id, threads, kind, predicate);
  };
  f.warp = [](Thread *t, const char *what, WarpOp op, uint32_t mask, const uint32_t *operands,
              uint32_t *results) {
    Fiber &fiber = fiberOf(t, what);
    fiber.block->warp(fiber, op, mask, operands, results);
  };
  f.copyAsync = [](Thread *t, const char *what, void *to, const void *from, uint32_t bytes,
                   uint32_t fromBytes) {
    Fiber &fiber = fiberOf(t, what);
    fiber.block->copyAsync(fiber, to, from, bytes, fromBytes);
  };
  f.copyGroup = [](Thread *t, const char *what, CopyStep step, uint32_t pending) {
    Fiber &fiber = fiberOf(t, what);
    if (step == CopyStep::commit)
      fiber.block->commitCopies(fiber);
    else
      fiber.block->waitForCopies(fiber, pending);
  };
  f.mbarrier = [](Thread *t, const char *what, MbarrierOp op, void *address, uint64_t operand) {
    Fiber &fiber = fiberOf(t, what);
    return fiber.block->mbarrier(fiber, op, asNumber(address), operand);
  };
  f.bulkCopy = [](Thread *t, const char *what, void *to, const void *from, uint32_t bytes, void *mbarrier) {
    Fiber &fiber = fiberOf(t, what);
    fiber.block->bulkCopy(fiber, to, from, bytes, mbarrier);
  };
  f.tensorCopy = [](Thread *t, const char *what, const TensorCopy *copy) {
    Fiber &fiber = fiberOf(t, what);
    fiber.block->tensorCopy(fiber, *copy);
  };
  f.bulkGroup = [](Thread *t, const char *what, BulkStep step, uint32_t pending) {
    Fiber &fiber = fiberOf(t, what);
    fiber.block->bulkGroup(fiber, step, pending);
  };
  f.wgmmaGroup = [](Thread *t, const char *what, WgmmaStep step, uint32_t pending) {
    Fiber &fiber = fiberOf(t, what);
    fiber.block->wgmmaGroup(fiber, step, pending);
  };
  f.wgmma = [](Thread *t, const char *what, const WgmmaShape *shape, uint64_t a, uint64_t b, uint32_t *sums) {
    Fiber &fiber = fiberOf(t, what);
    fiber.block->wgmma(fiber, *shape, a, b, sums);
  };
  f.accumulator = [](Thread *t, const char *what, uint32_t word) {
    Fiber &fiber = fiberOf(t, what);
    return fiber.block->accumulator(fiber, word);
  };
  f.prefetch = [](Thread *t, const char *what, const void *address, uint32_t bytes) {
    Fiber &fiber = fiberOf(t, what);
    fiber.block->prefetch(fiber, asNumber(address), bytes);
  };
  f.mapShared = [](Thread *t, const char *what, void *address, uint32_t rank) {
    Fiber &fiber = fiberOf(t, what);
    return fiber.block->mapShared(fiber, asNumber(address), rank);
  };
  f.clusterBarrier = [](Thread *t, const char *what, ClusterStep step) {
    Fiber &fiber = fiberOf(t, what);
    fiber.block->clusterBarrier(fiber, step);
  };
  f.setConditional = [](Thread *t, const char *what, uint64_t handle, uint32_t value) {
    Fiber &fiber = fiberOf(t, what);
    fiber.block->setConditional(fiber, handle, value);
  };
  return f;
}

uint32_t threadsOf(const uint32_t size[3]) { return size[0] * size[1] * size[2]; }

} // namespace

Block::Block(Grid &owner, uint8_t *stacks) : grid(owner), stacks_(stacks), fibers_(owner.threads) {
  window_ = static_cast<uint8_t *>(aligned_alloc(kWindowBytes, kWindowBytes));
  if (!window_)
    abort();
  shared_ = window_ + kReservedBytes;
  shadow_ =
      std::make_unique<Shadow>(asNumber(shared_), grid.launch.sharedBytes, /*isPrivate=*/true, grid.readers);
}

Block::~Block() { free(window_); }

void Block::begin(uint32_t newNumber) {
  number = newNumber;
  first = 1 + number * grid.actorsPerBlock;
  alive_ = grid.threads;
  for (Barrier &barrier : barriers_)
    barrier = Barrier();
  mbarriers_.clear();
  cluster_ = ClusterBarrier();
  warpgroups_.clear();
  shadow_->clear(++grid.now);
  grid.readers.prune();
  memset(shared_, 0xff, grid.launch.sharedBytes);
  for (uint32_t i = 0; i < grid.threads; ++i)
    start(fibers_[i], i);
}

void Block::start(Fiber &fiber, uint32_t thread) {
  static const Functions functions = makeFunctions();
  fiber = Fiber();
  fiber.functions = &functions;
  fiber.shared = shared_;
  const uint32_t *size = grid.launch.block, *blocks = grid.launch.grid;
  const uint32_t id[3] = {thread % size[0], thread / size[0] % size[1], thread / size[0] / size[1]};
  const uint32_t blockId[3] = {number % blocks[0], number / blocks[0] % blocks[1],
                               number / blocks[0] / blocks[1]};
  for (int d = 0; d < 3; ++d) {
    fiber.threadId[d] = id[d];
    fiber.blockDim[d] = size[d];
    fiber.blockId[d] = blockId[d];
    fiber.gridDim[d] = blocks[d];
  }
  fiber.lane = thread % kWarp;
  fiber.warp = thread / kWarp;
  fiber.numWarps = (grid.threads + kWarp - 1) / kWarp;
  fiber.number = thread;
  fiber.block = this;
  fiber.state = State::ready;
  fiber.known.first = first;
  fiber.known.self = first + thread;
  fiber.known.stamp = grid.now;
  // What llmcSimSwitch pops: r15 r14 r13 r12 rbx rbp, then the return address; the stack is then 16-byte
  // aligned for the call.
  void **top = reinterpret_cast<void **>(stacks_ + kStackBytes * (thread + 1)) - 2;
  *--top = reinterpret_cast<void *>(&fiberStart);
  *--top = reinterpret_cast<void *>(&fiberMain); // rbp
  *--top = &fiber;                               // rbx
  top -= 4;
  fiber.stackPointer = top;
}

void Block::fiberMain(Fiber *fiber) {
  Grid &grid = fiber->block->grid;
  grid.launch.code(fiber, grid.launch.parameters);
  fiber->block->expectNothingInFlight(*fiber);
  fiber->state = State::done;
  --fiber->block->alive_;
  fiber->block->completeCluster();
  grid.hasProgressed = true;
  llmcSimSwitch(&fiber->stackPointer, grid.scheduler);
  __builtin_trap();
}

/// First frame of a fiber: the switch "returns" here with the fiber in rbx.
__attribute__((naked)) void Block::fiberStart() { asm("movq %rbx, %rdi\n\tcallq *%rbp\n\tud2"); }

void Block::suspend(Fiber &fiber, State state) {
  fiber.state = state;
  llmcSimSwitch(&fiber.stackPointer, grid.scheduler);
}

void Block::resume(Fiber &fiber) { llmcSimSwitch(&grid.scheduler, fiber.stackPointer); }

void Block::wake(Fiber &fiber) {
  fiber.state = State::ready;
  grid.hasProgressed = true;
}

void Block::publish(Fiber &fiber, ViewBuilder &builder) {
  fiber.known.publish(builder, grid.now++);
  fiber.known.stamp = grid.now;
}

void Block::fail(const Fiber &fiber, const std::string &text) {
  if (grid.report.empty())
    grid.report = "kernel '" + grid.launch.kernel + "', block " + std::to_string(number) + ": thread " +
                  std::to_string(fiber.number) + " " + text +
                  (fiber.what && *fiber.what ? " (" + std::string(fiber.what) + ")" : "");
}

void Block::violation(Fiber &fiber, const std::string &text) {
  fiber.block->fail(fiber, text); // this may be another block of its cluster, whose memory it uses
  abandon();
}

void Block::abandon() {
  llmcSimSwitch(&grid.abandoned, grid.scheduler);
  __builtin_trap();
}

void Block::runWarp(uint32_t begin) {
  const uint32_t end = std::min(begin + kWarp, grid.threads);
  for (bool isReady = true; isReady;) {
    isReady = false;
    for (uint32_t i = begin; i < end; ++i)
      if (fibers_[i].state == State::ready) {
        isReady = true;
        resume(fibers_[i]);
        if (!grid.report.empty())
          return;
      }
  }
  for (uint32_t i = begin; i < end; ++i)
    if (fibers_[i].state == State::atWarp)
      expectCompany(fibers_[i]);
}

void Block::step() {
  for (Fiber &fiber : fibers_)
    if (fiber.state == State::spinning)
      fiber.state = State::ready;
  for (uint32_t begin = 0; begin < grid.threads && grid.report.empty(); begin += kWarp)
    runWarp(begin);
  for (uint32_t id = 0; id < kBarriers && grid.report.empty(); ++id)
    if (isBarrierComplete(barriers_[id]))
      completeBarrier(id);
}

std::string Block::describeWaiting() const {
  for (const Fiber &fiber : fibers_)
    if (fiber.state != State::done)
      return "block " + std::to_string(number) + ": thread " + std::to_string(fiber.number) +
             " waits for ever" +
             (fiber.state == State::atBarrier ? " at barrier " + std::to_string(fiber.barrier)
              : fiber.state == State::atMbarrier
                  ? " for parity " + std::to_string(fiber.parity) + describeMbarrier(fiber.mbarrier)
              : fiber.state == State::atCluster ? " at the barrier of its cluster"
                  : "") +
             (fiber.what && *fiber.what ? " (" + std::string(fiber.what) + ")" : "");
  return "";
}

Grid::Grid(const Launch &l)
    : launch(l), threads(threadsOf(l.block)), actorsPerBlock(4 * threads + kBlockEngines) {}

Stamp Grid::doneBy(Actor engine) const {
  uint32_t local = (engine - 1) % actorsPerBlock;
  for (const auto &block : blocks_) {
    if (block->number != blockOf(engine))
      continue;
    if (local < 4 * threads)
      return block->fibers_[local % threads].known.engines[local / threads - 1].done;
    for (const auto &[number, warpgroup] : block->warpgroups_)
      if (warpgroup.engine == engine)
        return warpgroup.done;
    for (const auto &[address, barrier] : block->mbarriers_)
      if (barrier.engine == engine && barrier.completed)
        return barrier.completed->seen(engine);
  }
  return 0;
}

std::string Grid::run() {
  const uint64_t count = uint64_t(launch.grid[0]) * launch.grid[1] * launch.grid[2];
  const uint64_t resident = launch.isCooperative ? count : launch.cluster;
  if (count * actorsPerBlock >= 1u << 31)
    return "kernel '" + launch.kernel + "': a grid of " + std::to_string(count) +
           " blocks is too large to be simulated";
  uint8_t *stacks = stacksFor(resident * threads);
  for (uint64_t i = 0; i < resident; ++i)
    blocks_.push_back(std::make_unique<Block>(*this, stacks + i * threads * kStackBytes));
  for (uint64_t next = 0; next < count && report.empty(); next += resident) {
    for (uint64_t i = 0; i < resident; ++i)
      blocks_[i]->begin(static_cast<uint32_t>(next + i));
    schedule();
    for (auto &block : blocks_)
      dropScratch(*block);
  }
  return report;
}

void Grid::schedule() {
  for (int idle = 0; idle < kIdleRounds; ++idle) {
    hasProgressed = false;
    bool isDone = true;
    for (auto &block : blocks_) {
      block->step();
      isDone &= block->isDone();
      if (!report.empty())
        return;
    }
    if (isDone)
      return;
    for (auto &block : blocks_)
      hasProgressed = hasProgressed || block->completePending();
    if (hasProgressed)
      idle = -1;
  }
  for (auto &block : blocks_)
    if (report.empty() && !block->isDone())
      report = "kernel '" + launch.kernel + "', " + block->describeWaiting();
}

std::string run(const Launch &launch) { return Grid(launch).run(); }

} // namespace llmc::sim
