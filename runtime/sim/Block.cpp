// Fibers and their scheduler, and the functions that generated code calls. See Block.h.
#include "runtime/sim/Block.h"
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
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

constexpr uint32_t kWarp = 32;
constexpr size_t kStackBytes = 256 << 10;

enum class State : uint8_t { ready, atBarrier, atWarp, done };
enum class WarpOp : uint8_t { sync, shuffle, vote };

class GridRun;

struct Fiber : Thread {
  GridRun *run;
  void *stackPointer;
  State state;
  uint32_t number; ///< in the block
  uint32_t site;   ///< the barrier at which it waits
  // The warp operation that it waits for, and its result.
  WarpOp op;
  uint32_t mask, value, offset, clamp, kind, result;
};

class GridRun {
public:
  explicit GridRun(const Launch &launch) : launch_(launch) {
    threads_ = launch.block[0] * launch.block[1] * launch.block[2];
    size_t bytes = kStackBytes * threads_;
    stacks_ = static_cast<uint8_t *>(
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (stacks_ == MAP_FAILED)
      abort();
    fibers_.resize(threads_);
    warpEpochs_.resize((threads_ + kWarp - 1) / kWarp);
    shared_ = static_cast<uint8_t *>(aligned_alloc(256, (launch.sharedBytes + 511) / 256 * 256));
    sharedShadow_ = std::make_unique<Shadow>(reinterpret_cast<uintptr_t>(shared_), launch.sharedBytes,
                                             /*isPrivate=*/true);
  }
  ~GridRun() {
    munmap(stacks_, kStackBytes * threads_);
    free(shared_);
  }

  std::string run() {
    const uint32_t *grid = launch_.grid;
    for (uint32_t z = 0; z < grid[2]; ++z)
      for (uint32_t y = 0; y < grid[1]; ++y)
        for (uint32_t x = 0; x < grid[0]; ++x) {
          runBlock(x, y, z);
          if (!report_.empty())
            return report_;
        }
    return "";
  }

  // Called by generated code, on a fiber's stack.

  void access(Fiber &fiber, uintptr_t address, uint64_t bytes, bool isWrite) {
    Moment now{block_, fiber.number, epoch_, warpEpochs_[fiber.number / kWarp]};
    Shadow *shadow = sharedShadow_.get();
    if (!shadow->holds(address, bytes)) {
      shadow = nullptr;
      const Declared *buffer = find(address, bytes);
      if (!buffer)
        return outside(fiber, address, bytes, isWrite);
      if (isWrite && !(buffer->flags & 1))
        return violation(fiber, "writes " + std::to_string(bytes) + " bytes of " + describe(address) +
                                    ", which the kernel only reads");
      shadow = buffer->shadow.get();
    }
    if (!shadow)
      return;
    Finding finding = isWrite ? shadow->write(address, bytes, now) : shadow->read(address, bytes, now);
    if (finding.hazard != Hazard::none)
      hazard(fiber, finding, address);
  }

  void barrier(Fiber &fiber, uint32_t site) {
    fiber.site = site;
    wait(fiber, State::atBarrier);
  }

  uint32_t warpOp(Fiber &fiber, WarpOp op, uint32_t mask, uint32_t value, uint32_t offset, uint32_t clamp,
                  uint32_t kind) {
    fiber.op = op;
    fiber.mask = mask;
    fiber.value = value;
    fiber.offset = offset;
    fiber.clamp = clamp;
    fiber.kind = kind;
    wait(fiber, State::atWarp);
    return fiber.result;
  }

  void declare(Fiber &fiber, uintptr_t address, uint64_t bytes, uint32_t flags) {
    for (const Declared &known : declared_)
      if (known.address == address && known.bytes == bytes && (known.flags | 1) == (flags | 1) &&
          known.block == blockOf(flags))
        return; // by another thread of the block
    if (bytes && !launch_.isAllocated(address, bytes))
      return violation(fiber, "is given a buffer of " + std::to_string(bytes) +
                                  " bytes that is not all in device memory");
    bool isScratch = flags & 2;
    Declared buffer{address, bytes, flags, blockOf(flags), nullptr};
    if (flags & 1)
      buffer.shadow = std::make_unique<Shadow>(address, bytes, isScratch);
    declared_.push_back(std::move(buffer));
  }

private:
  struct Declared {
    uintptr_t address;
    uint64_t bytes;
    uint32_t flags;
    uint32_t block; ///< of scratch: whose it is
    std::unique_ptr<Shadow> shadow;
  };

  uint32_t blockOf(uint32_t flags) const { return flags & 2 ? block_ : 0; }

  const Declared *find(uintptr_t address, uint64_t bytes) {
    for (const Declared &b : declared_)
      if (address - b.address < b.bytes && bytes <= b.bytes - (address - b.address) &&
          (!(b.flags & 2) || b.block == block_))
        return &b;
    // Kernels that declare nothing may use whatever is allocated.
    static const Declared anything{0, 0, 1, 0, nullptr};
    return declared_.empty() && launch_.isAllocated(address, bytes) ? &anything : nullptr;
  }

  std::string describe(uintptr_t address) const {
    uintptr_t shared = reinterpret_cast<uintptr_t>(shared_);
    if (address - shared < launch_.sharedBytes)
      return "shared memory at offset " + std::to_string(address - shared);
    for (size_t i = 0; i < declared_.size(); ++i)
      if (address - declared_[i].address < declared_[i].bytes)
        return (declared_[i].flags & 2 ? "scratch" : "buffer " + std::to_string(i)) + " at offset " +
               std::to_string(address - declared_[i].address) + " of " + std::to_string(declared_[i].bytes);
    char text[32];
    snprintf(text, sizeof text, "address 0x%llx", static_cast<unsigned long long>(address));
    return text;
  }

  void outside(Fiber &fiber, uintptr_t address, uint64_t bytes, bool isWrite) {
    std::string text = std::string(isWrite ? "writes " : "reads ") + std::to_string(bytes) +
                       " bytes out of bounds at " + describe(address);
    // The nearest buffer that ends before the address says most about what went wrong.
    uintptr_t best = UINTPTR_MAX, shared = reinterpret_cast<uintptr_t>(shared_);
    std::string nearest;
    auto consider = [&](uintptr_t base, uint64_t size, const std::string &name) {
      if (address >= base + size && address - (base + size) < best) {
        best = address - (base + size);
        nearest = name;
      }
    };
    consider(shared, launch_.sharedBytes, "shared memory");
    for (size_t i = 0; i < declared_.size(); ++i)
      consider(declared_[i].address, declared_[i].bytes,
               declared_[i].flags & 2 ? "scratch" : "buffer " + std::to_string(i));
    if (best < 1 << 20)
      text += ", " + std::to_string(best) + " bytes past the end of " + nearest;
    violation(fiber, text);
  }

  void hazard(Fiber &fiber, const Finding &finding, uintptr_t address) {
    std::string text = std::string(hazardText(finding.hazard)) + ": " + describe(address);
    if (finding.hazard == Hazard::otherBlock)
      text += ", block " + std::to_string(finding.otherBlock - 1);
    else if (finding.hazard != Hazard::unwritten)
      text += ", thread " + std::to_string(finding.otherThread);
    violation(fiber, text);
  }

  /// Ends the launch: this fiber is not resumed.
  void violation(Fiber &fiber, const std::string &text) {
    fail("thread " + std::to_string(fiber.number) + " " + text);
    llmcSimSwitch(&fiber.stackPointer, scheduler_);
  }

  void fail(const std::string &text) {
    if (report_.empty())
      report_ = "kernel '" + launch_.kernel + "', block " + std::to_string(block_ - 1) + ": " + text;
  }

  void wait(Fiber &fiber, State state) {
    fiber.state = state;
    llmcSimSwitch(&fiber.stackPointer, scheduler_);
  }

  static void fiberMain(Fiber *fiber) {
    fiber->run->launch_.code(fiber, fiber->run->launch_.parameters);
    fiber->state = State::done;
    llmcSimSwitch(&fiber->stackPointer, fiber->run->scheduler_);
    __builtin_trap();
  }
  /// First frame of a fiber: the switch "returns" here with the fiber in rbx.
  __attribute__((naked)) static void fiberStart() { asm("movq %rbx, %rdi\n\tcallq *%rbp\n\tud2"); }

  void start(Fiber &fiber, uint32_t number, const uint32_t blockId[3]) {
    static const Functions functions = makeFunctions();
    fiber.functions = &functions;
    fiber.shared = shared_;
    const uint32_t *size = launch_.block;
    const uint32_t id[3] = {number % size[0], number / size[0] % size[1], number / size[0] / size[1]};
    for (int d = 0; d < 3; ++d) {
      fiber.threadId[d] = id[d];
      fiber.blockDim[d] = size[d];
      fiber.blockId[d] = blockId[d];
      fiber.gridDim[d] = launch_.grid[d];
    }
    fiber.lane = number % kWarp;
    fiber.number = number;
    fiber.run = this;
    fiber.state = State::ready;
    // What llmcSimSwitch pops: r15 r14 r13 r12 rbx rbp, then the return address; the stack is then 16-byte
    // aligned for the call.
    void **top = reinterpret_cast<void **>(stacks_ + kStackBytes * (number + 1)) - 2;
    *--top = reinterpret_cast<void *>(&fiberStart);
    *--top = reinterpret_cast<void *>(&fiberMain); // rbp
    *--top = &fiber;                               // rbx
    top -= 4;
    fiber.stackPointer = top;
  }

  void runBlock(uint32_t x, uint32_t y, uint32_t z) {
    const uint32_t id[3] = {x, y, z};
    block_ = 1 + x + launch_.grid[0] * (y + launch_.grid[1] * z);
    epoch_ = 1;
    sharedShadow_->clear();
    memset(shared_, 0xff, launch_.sharedBytes);
    for (uint32_t i = 0; i < threads_; ++i)
      start(fibers_[i], i, id);
    for (;;) {
      for (uint32_t first = 0; first < threads_; first += kWarp)
        if (!runWarp(first))
          return;
      uint32_t waiting = 0;
      uint32_t site = 0;
      for (Fiber &fiber : fibers_)
        if (fiber.state == State::atBarrier) {
          if (waiting++ && fiber.site != site)
            return fail("thread " + std::to_string(fiber.number) +
                        " waits at another barrier than the threads before it");
          site = fiber.site;
        }
      if (!waiting)
        break;
      for (Fiber &fiber : fibers_)
        if (fiber.state == State::atBarrier)
          fiber.state = State::ready;
      ++epoch_;
    }
    dropScratch();
  }

  /// Scratch of a finished block is no one's.
  void dropScratch() {
    for (size_t i = declared_.size(); i-- > 0;)
      if (declared_[i].flags & 2)
        declared_.erase(declared_.begin() + static_cast<ptrdiff_t>(i));
  }

  /// Runs the warp until all of its threads wait for the block or are done; false when the launch has failed.
  bool runWarp(uint32_t first) {
    uint32_t last = std::min(first + kWarp, threads_);
    for (;;) {
      for (uint32_t i = first; i < last; ++i)
        if (fibers_[i].state == State::ready) {
          llmcSimSwitch(&scheduler_, fibers_[i].stackPointer);
          if (!report_.empty())
            return false;
        }
      bool isWaiting = false;
      for (uint32_t i = first; i < last; ++i)
        if (fibers_[i].state == State::atWarp) {
          isWaiting = true;
          if (!meet(fibers_[i], first, last))
            return false;
        }
      if (!isWaiting)
        return true;
    }
  }

  /// Performs the warp operation at which `fiber` waits, for all threads of its mask. All others are at one
  /// too, at a barrier, or done.
  bool meet(Fiber &fiber, uint32_t first, uint32_t last) {
    const uint32_t mask = fiber.mask;
    if (!(mask >> (fiber.number - first) & 1)) {
      fail("thread " + std::to_string(fiber.number) +
           " is not in the mask of the warp operation that it executes");
      return false;
    }
    uint32_t ballot = 0;
    for (uint32_t i = first; i < first + kWarp; ++i) {
      if (!(mask >> (i - first) & 1))
        continue;
      if (i >= last || fibers_[i].state != State::atWarp || fibers_[i].op != fiber.op ||
          fibers_[i].mask != mask) {
        fail("thread " + std::to_string(i) + " does not take part in a warp operation whose mask names it");
        return false;
      }
      ballot |= (fibers_[i].value != 0) << (i - first);
    }
    for (uint32_t i = first; i < last; ++i)
      if (mask >> (i - first) & 1) {
        Fiber &other = fibers_[i];
        other.result =
            other.op == WarpOp::shuffle ? shuffled(other, first) : voted(other, ballot & mask, mask);
        if (!report_.empty())
          return false;
      }
    if (fiber.op == WarpOp::sync)
      ++warpEpochs_[first / kWarp];
    for (uint32_t i = first; i < last; ++i)
      if (mask >> (i - first) & 1)
        fibers_[i].state = State::ready;
    return true;
  }

  /// The value that a lane gets (PTX ISA, shfl.sync).
  uint32_t shuffled(const Fiber &fiber, uint32_t first) {
    int32_t lane = static_cast<int32_t>(fiber.lane), b = static_cast<int32_t>(fiber.offset & 31);
    int32_t clamp = fiber.clamp & 31, segment = fiber.clamp >> 8 & 31;
    int32_t most = (lane & segment) | (clamp & ~segment), source = lane;
    bool isInside = true;
    switch (static_cast<ShuffleKind>(fiber.kind)) {
    case ShuffleKind::up:
      source = lane - b;
      isInside = source >= most;
      break;
    case ShuffleKind::down:
      source = lane + b;
      isInside = source <= most;
      break;
    case ShuffleKind::bfly:
      source = lane ^ b;
      isInside = source <= most;
      break;
    case ShuffleKind::idx:
      source = (lane & segment) | (b & ~segment);
      isInside = source <= most;
      break;
    }
    if (!isInside)
      source = lane;
    if (!(fiber.mask >> source & 1)) {
      fail("thread " + std::to_string(fiber.number) + " shuffles from lane " + std::to_string(source) +
           ", which is not in the mask");
      return 0;
    }
    return fibers_[first + static_cast<uint32_t>(source)].value;
  }

  static uint32_t voted(const Fiber &fiber, uint32_t ballot, uint32_t mask) {
    switch (static_cast<VoteKind>(fiber.kind)) {
    case VoteKind::any:
      return ballot != 0;
    case VoteKind::all:
      return ballot == mask;
    case VoteKind::ballot:
      return ballot;
    case VoteKind::uni:
      return ballot == 0 || ballot == mask;
    }
    return 0;
  }

  static Fiber &fiberOf(Thread *thread) { return *static_cast<Fiber *>(thread); }

  static Functions makeFunctions() {
    Functions f;
    f.read = [](Thread *t, const void *address, uint64_t bytes) {
      fiberOf(t).run->access(fiberOf(t), reinterpret_cast<uintptr_t>(address), bytes, false);
    };
    f.write = [](Thread *t, const void *address, uint64_t bytes) {
      fiberOf(t).run->access(fiberOf(t), reinterpret_cast<uintptr_t>(address), bytes, true);
    };
    f.barrier = [](Thread *t, uint32_t site) { fiberOf(t).run->barrier(fiberOf(t), site); };
    f.syncWarp = [](Thread *t, uint32_t mask) {
      fiberOf(t).run->warpOp(fiberOf(t), WarpOp::sync, mask, 0, 0, 0, 0);
    };
    f.shuffle = [](Thread *t, uint32_t mask, uint32_t value, uint32_t offset, uint32_t clamp, uint32_t kind) {
      return fiberOf(t).run->warpOp(fiberOf(t), WarpOp::shuffle, mask, value, offset, clamp, kind);
    };
    f.vote = [](Thread *t, uint32_t mask, uint32_t predicate, uint32_t kind) {
      return fiberOf(t).run->warpOp(fiberOf(t), WarpOp::vote, mask, predicate, 0, 0, kind);
    };
    f.buffer = [](Thread *t, const void *address, uint64_t bytes, uint32_t flags) {
      fiberOf(t).run->declare(fiberOf(t), reinterpret_cast<uintptr_t>(address), bytes, flags);
    };
    return f;
  }

  const Launch &launch_;
  uint32_t threads_ = 0;
  uint8_t *stacks_ = nullptr, *shared_ = nullptr;
  std::vector<Fiber> fibers_;
  std::vector<uint32_t> warpEpochs_;
  std::vector<Declared> declared_;
  std::unique_ptr<Shadow> sharedShadow_;
  void *scheduler_ = nullptr; ///< top of the scheduler's stack while a fiber runs
  uint32_t block_ = 0;        ///< number of the block + 1
  uint32_t epoch_ = 1;
  std::string report_;
};

} // namespace

std::string run(const Launch &launch) { return GridRun(launch).run(); }

} // namespace llmc::sim
