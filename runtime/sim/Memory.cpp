// Accesses to memory: bounds, alignment, races; atomics and fences. See Grid.h.
#include "runtime/sim/Grid.h"
#include <algorithm>
#include <cstdio>

namespace llmc::sim {

void Block::access(Fiber &fiber, uintptr_t address, uint64_t bytes, bool isWrite, const Accessor &who) {
  Shadow *shadow = shadow_.get();
  if (!shadow->holds(address, bytes)) {
    const Grid::Buffer *buffer = grid.find(*this, address, bytes);
    if (!buffer)
      violation(fiber, std::string(isWrite ? "writes " : "reads ") + std::to_string(bytes) +
                           " bytes out of bounds at " + grid.describe(*this, address) +
                           grid.describeNearest(*this, address));
    if (isWrite && !(buffer->flags & kBufferWritten))
      violation(fiber, "writes " + std::to_string(bytes) + " bytes of " + grid.describe(*this, address) +
                           ", which the kernel only reads");
    shadow = buffer->shadow.get();
  }
  if (!shadow)
    return;
  Finding finding = isWrite ? shadow->write(address, bytes, who) : shadow->read(address, bytes, who);
  if (finding.hazard != Hazard::none)
    hazard(fiber, finding, address + finding.offset, isWrite, who);
}

void Block::hazard(Fiber &fiber, const Finding &finding, uintptr_t address, bool isWrite,
                   const Accessor &who) {
  const std::string place = ": " + grid.describe(*this, address);
  if (finding.hazard == Hazard::unwritten)
    violation(fiber, "reads memory that was never written" + place);
  Actor other = finding.other;
  if (grid.blockOf(other) != number)
    violation(fiber, "shares memory that is written with another block" + place + ", block " +
                         std::to_string(grid.blockOf(other)));
  bool otherReads = finding.hazard == Hazard::writeAfterRead;
  std::string text = isWrite ? "writes what " : "reads what ";
  const std::string verb = otherReads ? " reads" : " writes";
  if (grid.isThread(other)) {
    const char *reason = finding.hazard == Hazard::unfenced ? ", without fence.proxy.async between"
                                                            : ", without a barrier between";
    violation(fiber, text + "another thread" + verb + reason + place + ", " + grid.nameOf(other));
  }
  bool isDone = finding.otherStamp && finding.otherStamp <= grid.doneBy(other);
  violation(fiber,
            text + grid.nameOf(other) + verb +
                (isDone ? ", without a barrier since that was waited for" : ", before that was waited for") +
                place + (who.actor == fiber.known.self ? "" : ", by " + grid.nameOf(who.actor)));
}

void Block::expectAligned(Fiber &fiber, uintptr_t address, uint32_t alignment) {
  if (address % alignment)
    violation(fiber, "uses an address that is not a multiple of " + std::to_string(alignment) + ": " +
                         grid.describe(*this, address));
}

void Block::expectShared(Fiber &fiber, uintptr_t address, uint64_t bytes) {
  if (!isShared(address, bytes))
    violation(fiber, "uses " + std::to_string(bytes) + " bytes that are out of bounds of shared memory, at " +
                         grid.describe(*this, address) + grid.describeNearest(*this, address));
}

/// Orders as the C++ memory model does: what a release, or a relaxed access after a fence, publishes at an
/// address is known to who acquires there, or fences after having read it.
void Block::atomic(Fiber &fiber, uintptr_t address, uint64_t bytes, uint32_t order) {
  const char *what = fiber.what;
  suspend(fiber, State::spinning);
  fiber.what = what;
  expectAligned(fiber, address, static_cast<uint32_t>(bytes));
  Accessor who = plain(fiber);
  who.isAtomic = true;
  if (order & kAtomicReads)
    access(fiber, address, bytes, /*isWrite=*/false, who);
  if (order & kAtomicWrites)
    access(fiber, address, bytes, /*isWrite=*/true, who);
  ViewPointer &there = grid.published(address);
  if (order & kAtomicReads) {
    ViewPointer &into = order & kAcquires ? fiber.known.view : fiber.acquired;
    into = joinViews(into, there);
  }
  if (!(order & kAtomicWrites))
    return;
  grid.hasProgressed |= !(order & kAtomicSpins);
  ViewBuilder builder;
  if (order & kAtomicReads)
    builder.join(there); // goes on what others have released there
  if (order & kReleases)
    publish(fiber, builder);
  else
    builder.join(fiber.released);
  there = builder.finish();
}

void Block::fence(Fiber &fiber, FenceKind kind) {
  if (kind == FenceKind::asyncProxy) {
    fiber.known.fencedFrom = fiber.known.view;
    fiber.known.fencedStamp = grid.now++;
    fiber.known.stamp = grid.now;
    return;
  }
  fiber.known.view = joinViews(fiber.known.view, fiber.acquired);
  fiber.acquired = nullptr;
  ViewBuilder builder;
  publish(fiber, builder);
  fiber.released = builder.finish();
}

/// What is fetched belongs to a step to come: it is not among the buffers that this one declares.
void Block::prefetch(Fiber &fiber, uintptr_t address, uint32_t bytes) {
  constexpr uint32_t kLine = 128, kGranule = 16; // of cp.async.bulk.prefetch: address and size
  if (bytes)
    expectAligned(fiber, address, kGranule);
  if (bytes % kGranule)
    violation(fiber, "prefetches " + std::to_string(bytes) + " bytes, not a multiple of 16");
  if (!grid.launch.isAllocated(address, std::max(bytes, 1u)))
    violation(fiber, "prefetches " + std::to_string(bytes ? bytes : kLine) + " bytes that are not all in device memory");
  if (grid.launch.prefetchedBytes)
    *grid.launch.prefetchedBytes += bytes ? bytes : kLine;
}

void Block::setConditional(Fiber &fiber, uint64_t handle, uint32_t value) {
  if (!grid.launch.setConditional || !grid.launch.setConditional(handle, value))
    violation(fiber, "sets the condition of handle " + std::to_string(handle) + ", of which there is none");
}

void Grid::declare(Fiber &fiber, uintptr_t address, uint64_t bytes, uint32_t flags) {
  uint32_t block = flags & kBufferScratch ? fiber.block->number : 0;
  // Kernels that blocks run together may be steps of one launch: memory has been something else before. What goes on to an unknown end
  // was declared whole by the step that wrote it.
  const bool isCommon = launch.isCooperative && bytes && !(flags & (kBufferScratch | kBufferConstant));
  for (const Buffer &known : buffers_)
    if (!isCommon && known.address == address && known.bytes == bytes && (known.flags | 1) == (flags | 1) &&
        known.block == block)
      return; // by another thread of the block
  if (bytes && !launch.isAllocated(address, bytes))
    fiber.block->violation(fiber, "is given a buffer of " + std::to_string(bytes) +
                                      " bytes that is not all in device memory");
  if (isCommon)
    return declareCommon(address, bytes, flags & ~kBufferOpen);
  Buffer buffer{address, bytes, flags, block, nullptr};
  if (flags & kBufferWritten)
    buffer.shadow = std::make_unique<Shadow>(address, bytes, flags & kBufferScratch, readers);
  buffers_.push_back(std::move(buffer));
}

/// Buffers that overlap become one, with what is known of their bytes.
void Grid::declareCommon(uintptr_t address, uint64_t bytes, uint32_t flags) {
  uintptr_t begin = address, end = address + bytes;
  auto isMet = [&](const Buffer &b) {
    return b.shadow && !(b.flags & kBufferScratch) && b.address < end && begin < b.address + b.bytes;
  };
  for (Buffer &b : buffers_)
    if (isMet(b) && b.address <= address && end <= b.address + b.bytes) {
      b.flags |= flags;
      return;
    }
  for (const Buffer &b : buffers_)
    if (isMet(b)) {
      begin = std::min(begin, b.address);
      end = std::max<uintptr_t>(end, b.address + b.bytes);
      flags |= b.flags;
    }
  Buffer common{begin, end - begin, flags, 0, std::make_unique<Shadow>(begin, end - begin, /*isPrivate=*/false, readers)};
  for (size_t i = buffers_.size(); i-- > 0;)
    if (isMet(buffers_[i])) {
      common.shadow->take(*buffers_[i].shadow);
      buffers_.erase(buffers_.begin() + static_cast<ptrdiff_t>(i));
    }
  buffers_.push_back(std::move(common));
}

const Grid::Buffer *Grid::find(const Block &block, uintptr_t address, uint64_t bytes) {
  for (const Buffer &b : buffers_)
    if (address - b.address < b.bytes && bytes <= b.bytes - (address - b.address) &&
        (!(b.flags & kBufferScratch) || b.block == block.number))
      return &b;
  for (const Buffer &b : buffers_)
    if ((b.flags & kBufferOpen) && address >= b.address && launch.isAllocated(b.address, address - b.address + bytes))
      return &b;
  // Kernels that declare nothing may use whatever is allocated.
  static const Buffer anything{0, 0, kBufferWritten, 0, nullptr};
  return buffers_.empty() && launch.isAllocated(address, bytes) ? &anything : nullptr;
}

void Grid::dropScratch(const Block &block) {
  for (size_t i = buffers_.size(); i-- > 0;)
    if ((buffers_[i].flags & kBufferScratch) && buffers_[i].block == block.number)
      buffers_.erase(buffers_.begin() + static_cast<ptrdiff_t>(i));
}

std::string Grid::describe(const Block &block, uintptr_t address) const {
  uintptr_t shared = reinterpret_cast<uintptr_t>(block.shared());
  if (address - shared < launch.sharedBytes)
    return "shared memory at offset " + std::to_string(address - shared);
  for (size_t i = 0; i < buffers_.size(); ++i)
    if (address - buffers_[i].address < buffers_[i].bytes)
      return (buffers_[i].flags & kBufferScratch ? "scratch" : "buffer " + std::to_string(i)) + " at offset " +
             std::to_string(address - buffers_[i].address) + " of " + std::to_string(buffers_[i].bytes);
  char text[32];
  snprintf(text, sizeof text, "address 0x%llx", static_cast<unsigned long long>(address));
  return text;
}

/// The nearest buffer that ends before the address says most about what went wrong.
std::string Grid::describeNearest(const Block &block, uintptr_t address) const {
  uintptr_t best = UINTPTR_MAX;
  std::string nearest;
  auto consider = [&](uintptr_t base, uint64_t size, const std::string &name) {
    if (address >= base + size && address - (base + size) < best) {
      best = address - (base + size);
      nearest = name;
    }
  };
  consider(reinterpret_cast<uintptr_t>(block.shared()), launch.sharedBytes, "shared memory");
  for (size_t i = 0; i < buffers_.size(); ++i)
    consider(buffers_[i].address, buffers_[i].bytes,
             buffers_[i].flags & kBufferScratch ? "scratch" : "buffer " + std::to_string(i));
  return best < 1 << 16 ? ", " + std::to_string(best) + " bytes past the end of " + nearest : "";
}

std::string Grid::nameOf(Actor actor) const {
  uint32_t local = (actor - 1) % actorsPerBlock;
  const std::string thread = "thread " + std::to_string(local % threads);
  if (local < threads)
    return thread;
  if (local >= 4 * threads + kMbarriers)
    return "a wgmma of the warpgroup of thread " + std::to_string((local - 4 * threads - kMbarriers) * 128);
  if (local >= 4 * threads)
    return "a bulk copy that an mbarrier counts";
  static const char *const kNames[] = {"a cp.async of ", "a bulk store of ", "a bulk store of "};
  return kNames[local / threads - 1] + thread;
}

} // namespace llmc::sim
