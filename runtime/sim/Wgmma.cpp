// wgmma: a warpgroup's products of matrices in shared memory. Sums stay in flight until their group is waited
// for: threads hold marks (NaNs with a sequence number and an element) that `accumulator` turns into values
// then. Operands are read by an engine, so that writing over them too early is a race. See Grid.h.
#include "runtime/sim/Grid.h"
#include "runtime/sim/Matrix.h"
#include "runtime/sim/TensorMap.h"
#include <algorithm>

namespace llmc::sim {

static constexpr uint32_t kGroup = 128, kRows = 64, kKept = 64;
// A mark: 0x7fe, 14 bits of the sequence number, 7 bits of the element.
static constexpr uint32_t kMark = 0x7fe00000, kMarkMask = 0xffe00000, kSequences = 1 << 14;

static uint32_t markOf(uint32_t sequence, uint32_t element) {
  return kMark | (sequence % kSequences) << 7 | element;
}

/// Row and column of a thread's accumulator number `element` (PTX ISA, fragment D of wgmma).
static uint32_t placeOf(uint32_t thread, uint32_t element, uint32_t n) {
  const uint32_t lane = thread % kWarp, warp = thread % kGroup / kWarp;
  uint32_t row = 16 * warp + lane / 4 + 8 * (element / 2 % 2);
  return row * n + 8 * (element / 4) + 2 * (lane % 4) + element % 2;
}

Warpgroup &Block::warpgroupOf(Fiber &fiber) {
  const uint32_t number = fiber.number / kGroup;
  Warpgroup &group = warpgroups_[number];
  if (!group.engine) {
    group.engine = grid.blockEngine(*this, Grid::kMbarriers + number);
    group.results.resize(kKept);
  }
  return group;
}

/// Warps meet at products only, so each thread counts its groups; the first to commit one gives it its time.
void Block::wgmmaGroup(Fiber &fiber, WgmmaStep step, uint32_t pending) {
  uint32_t nothing[2] = {};
  warp(fiber, WarpOp::aligned, 0xffffffff, nothing, nothing);
  Warpgroup &group = warpgroupOf(fiber);
  if (step == WgmmaStep::fence) {
    fiber.isFenced = true;
  } else if (step == WgmmaStep::commit) {
    if (++fiber.groups <= group.groups.size())
      return;
    group.groups.push_back(grid.now++);
    fiber.known.stamp = grid.now;
    for (Accumulators &result : group.results)
      if (!result.stamp)
        result.stamp = group.groups.back();
  } else {
    fiber.isFenced = false;
    if (fiber.groups <= pending)
      return;
    fiber.waited = group.groups[fiber.groups - pending - 1];
    group.done = std::max(group.done, fiber.waited);
    if (fiber.known.view && fiber.known.view->seen(group.engine) >= fiber.waited)
      return;
    ViewBuilder builder;
    builder.join(fiber.known.view);
    builder.see(first, group.engine, fiber.waited);
    fiber.known.view = builder.finish();
  }
}

void Block::wgmma(Fiber &fiber, const WgmmaShape &shape, uint64_t a, uint64_t b, uint32_t *sums) {
  if (fiber.number / kGroup * kGroup + kGroup > grid.threads)
    violation(fiber, "is not in a warpgroup of 128 threads");
  fiber.shape = &shape;
  fiber.descriptorA = a;
  fiber.descriptorB = b;
  fiber.sums = sums;
  fiber.state = State::atWarpgroup;
  Fiber *group = &fibers_[fiber.number / kGroup * kGroup];
  for (uint32_t i = kGroup; i-- > 0;)
    if (group[i].state != State::atWarpgroup || group[i].what != fiber.what)
      return suspend(fiber, State::atWarpgroup);
  multiplyWarpgroup(fiber);
  for (uint32_t i = 0; i < kGroup; ++i)
    wake(group[i]);
}

/// The elements of an operand, as rows of k.
void Block::gatherMatrix(Fiber &fiber, uint64_t bits, uint32_t rows, uint32_t k, MatrixType type,
                         bool isKMajor, const Accessor &who, std::vector<float> &values) {
  const MatrixDescriptor descriptor(bits);
  const uint32_t elementBytes = type == MatrixType::tf32 ? 4 : 2, perChunk = 16 / elementBytes;
  const uintptr_t window = reinterpret_cast<uintptr_t>(window_);
  if (descriptor.baseOffset)
    violation(fiber, "uses a matrix descriptor with a base offset, which is not simulated");
  const uint32_t outer = isKMajor ? rows : k, inner = isKMajor ? k : rows;
  values.resize(size_t(rows) * k);
  for (uint32_t o = 0; o < outer; ++o)
    for (uint32_t i = 0; i < inner; i += perChunk) {
      const uint32_t row = isKMajor ? o : i, column = isKMajor ? i : o;
      uintptr_t address = window + descriptor.start + descriptor.offset(row, column, isKMajor, elementBytes);
      address = swizzled(address, descriptor.swizzle);
      expectShared(fiber, address, 16);
      access(fiber, address, 16, /*isWrite=*/false, who);
      for (uint32_t e = 0; e < perChunk; ++e) {
        const auto *chunk = reinterpret_cast<const uint32_t *>(address);
        float value = elementOf(type, chunk[e * elementBytes / 4], e % 2);
        values[isKMajor ? size_t(row) * k + column + e : size_t(row + e) * k + column] = value;
      }
    }
}

/// The elements of an a in the threads' registers (PTX ISA, fragment A of wgmma with 16-bit elements), as rows of k.
static void gatherRegisters(const Fiber *threads, uint32_t k, std::vector<float> &values) {
  values.resize(size_t(kRows) * k);
  for (uint32_t t = 0; t < kGroup; ++t)
    for (uint32_t e = 0; e < 8; ++e) {
      const uint32_t lane = t % kWarp, row = 16 * (t / kWarp) + lane / 4 + 8 * (e / 2 % 2), column = 2 * (lane % 4) + 8 * (e / 4) + e % 2;
      values[size_t(row) * k + column] = elementOf(threads[t].shape->type, threads[t].shape->a[e / 2], e % 2);
    }
}

void Block::multiplyWarpgroup(Fiber &fiber) {
  Fiber *threads = &fibers_[fiber.number / kGroup * kGroup];
  const WgmmaShape &shape = *fiber.shape;
  const uint32_t n = shape.n, k = shape.type == MatrixType::tf32 ? 8 : 16, perThread = n / 2;
  for (uint32_t i = 0; i < kGroup; ++i)
    if (threads[i].descriptorA != fiber.descriptorA || threads[i].descriptorB != fiber.descriptorB)
      violation(threads[i], "has other matrix descriptors than the rest of its warpgroup");
  Warpgroup &group = warpgroupOf(fiber);
  Accessor who{fiber.known, group.engine, grid.now++};
  fiber.known.stamp = grid.now;
  who.isAsyncProxy = true;
  std::vector<float> a, rowsOfB;
  if (shape.isAInRegisters)
    gatherRegisters(threads, k, a);
  else
    gatherMatrix(fiber, fiber.descriptorA, kRows, k, shape.type, shape.isAKMajor, who, a);
  gatherMatrix(fiber, fiber.descriptorB, n, k, shape.type, shape.isBKMajor, who, rowsOfB);
  std::vector<float> b(rowsOfB.size());
  const float sign = shape.negatesA != shape.negatesB ? -1.0f : 1.0f;
  for (uint32_t j = 0; j < n; ++j)
    for (uint32_t l = 0; l < k; ++l)
      b[size_t(l) * n + j] = sign * rowsOfB[size_t(j) * k + l];

  std::vector<float> sums(size_t(kRows) * n);
  for (uint32_t t = 0; t < kGroup; ++t)
    for (uint32_t e = 0; e < perThread; ++e) {
      const uint32_t word = threads[t].sums[e];
      const bool isMark = (word & kMarkMask) == kMark;
      if (!isMark && !threads[t].isFenced)
        violation(threads[t],
                  "uses registers as accumulators without a wgmma.fence since the last wgmma.wait_group");
      if (!shape.accumulates)
        continue;
      if (isMark) {
        const Accumulators &from = group.results[(word >> 7) % kKept];
        const bool isKnown =
            (word >> 7) % kSequences == from.sequence % kSequences && from.sequence && from.n == n;
        if (!isKnown || (word & 127) != e)
          violation(threads[t],
                    "adds to an accumulator in another place, or that 64 further wgmma came after");
        sums[placeOf(t, e, n)] = from.values[placeOf(t, word & 127, n)];
      } else {
        sums[placeOf(t, e, n)] = floatOfBits(word);
      }
    }
  multiply(kRows, n, k, a.data(), b.data(), sums.data());
  Accumulators &result = group.results[++group.sequence % kKept];
  result = {group.sequence, n, 0, std::move(sums)};
  for (uint32_t t = 0; t < kGroup; ++t)
    for (uint32_t e = 0; e < perThread; ++e)
      threads[t].sums[e] = markOf(group.sequence, e);
}

uint32_t Block::accumulator(Fiber &fiber, uint32_t word) {
  if ((word & kMarkMask) != kMark)
    return word;
  Warpgroup &group = warpgroupOf(fiber);
  const Accumulators &from = group.results[(word >> 7) % kKept];
  if (!from.sequence || (word >> 7) % kSequences != from.sequence % kSequences)
    violation(fiber, "uses an accumulator of a wgmma that 64 further ones came after");
  if (!from.stamp || from.stamp > fiber.waited)
    violation(fiber, std::string("uses an accumulator of a wgmma in flight: its group is not ") +
                         (from.stamp ? "waited for" : "committed"));
  return bitsOfFloat(from.values[placeOf(fiber.number, word & 127, from.n)]);
}

} // namespace llmc::sim
