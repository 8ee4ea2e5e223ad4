// What the threads of a warp do together: barriers, shuffles, votes, and matrix products and loads with the
// fragment layouts of the PTX manual. In those a lane is (group, member) = (lane / 4, lane % 4). See Grid.h.
#include "runtime/sim/Grid.h"
#include "runtime/sim/Matrix.h"
#include <algorithm>
#include <cstring>

namespace llmc::sim {

static constexpr uint32_t kAllLanes = 0xffffffff;

static bool isAligned(WarpOp op) { return op >= WarpOp::mma; }

/// Whether `other` is where `fiber` is.
static bool isWith(const Fiber &other, const Fiber &fiber) {
  return other.state == State::atWarp && other.op == fiber.op && other.mask == fiber.mask &&
         (!isAligned(fiber.op) || other.what == fiber.what);
}

/// The last of the mask to come does the work for all.
void Block::warp(Fiber &fiber, WarpOp op, uint32_t mask, const uint32_t *operands, uint32_t *results) {
  if (!(mask >> fiber.lane & 1))
    violation(fiber, "is not in the mask of the warp operation that it executes");
  fiber.op = op;
  fiber.mask = mask;
  fiber.operands = operands;
  fiber.results = results;
  fiber.state = State::atWarp;
  const uint32_t start = fiber.number - fiber.lane;
  for (uint32_t lane = kWarp; lane-- > 0;)
    if (mask >> lane & 1)
      if (start + lane >= grid.threads || !isWith(fibers_[start + lane], fiber))
        return suspend(fiber, State::atWarp);
  perform(fiber, start);
  for (uint32_t lane = 0; lane < kWarp; ++lane)
    if (mask >> lane & 1)
      wake(fibers_[start + lane]);
}

/// Reports a thread of the mask that cannot come any more: `fiber` would wait for ever.
void Block::expectCompany(Fiber &fiber) {
  const uint32_t start = fiber.number - fiber.lane;
  for (uint32_t lane = 0; lane < kWarp; ++lane) {
    if (!(fiber.mask >> lane & 1))
      continue;
    const Fiber *other = start + lane < grid.threads ? &fibers_[start + lane] : nullptr;
    bool mayCome = other && (isWith(*other, fiber) || other->state == State::ready ||
                             other->state == State::spinning || other->state == State::atMbarrier ||
                             (other->state == State::atWarp && !(other->mask >> fiber.lane & 1)));
    if (!mayCome)
      return fail(fiber, "waits for thread " + std::to_string(start + lane) +
                             ", which does not take part in a warp operation whose mask names it");
  }
}

namespace {

/// The value that a lane gets and whether its source is in range (PTX ISA, shfl.sync).
struct Source {
  int32_t lane;
  bool isInside;
};
Source shuffleSource(const Fiber &fiber) {
  const uint32_t offset = fiber.operands[1], maskAndClamp = fiber.operands[2];
  int32_t lane = static_cast<int32_t>(fiber.lane), b = static_cast<int32_t>(offset & 31);
  int32_t clamp = maskAndClamp & 31, segment = maskAndClamp >> 8 & 31;
  int32_t most = (lane & segment) | (clamp & ~segment), source = lane;
  bool isInside = true;
  switch (static_cast<ShuffleKind>(fiber.operands[3])) {
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
  return {isInside ? source : lane, isInside};
}

uint32_t voted(VoteKind kind, uint32_t ballot, uint32_t mask) {
  switch (kind) {
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

uint32_t reduced(ReduxKind kind, uint32_t x, uint32_t y) {
  auto a = static_cast<int32_t>(x), b = static_cast<int32_t>(y);
  switch (kind) {
  case ReduxKind::add:
    return x + y;
  case ReduxKind::bitAnd:
    return x & y;
  case ReduxKind::bitOr:
    return x | y;
  case ReduxKind::bitXor:
    return x ^ y;
  case ReduxKind::max:
    return static_cast<uint32_t>(std::max(a, b));
  case ReduxKind::min:
    return static_cast<uint32_t>(std::min(a, b));
  case ReduxKind::umax:
    return std::max(x, y);
  case ReduxKind::umin:
    return std::min(x, y);
  }
  return 0;
}

/// D = A * B + C of m16n8kK for the 32 fibers at `warp`. With r the number of a register:
///
///   C, D   row group + 8 * (r / 2)     column 2 * member + r % 2
///   A      row group + 8 * (r % 2)     columns 2 * member, + 1 (low half first), + 8 * (r / 2)
///   B      column group                rows    2 * member, + 1 (low half first), + 8 * r
///
/// tf32 has one element a register: A's column is member + 4 * (r / 2), B's row member + 4 * r.
void multiplyFragments(Fiber *warp) {
  constexpr uint32_t kM = 16, kN = 8;
  const auto type = static_cast<MatrixType>(warp->operands[0]);
  const uint32_t k = warp->operands[1], perWord = type == MatrixType::tf32 ? 1 : 2;
  const uint32_t wordsA = kM * k / kWarp / perWord, wordsB = kN * k / kWarp / perWord;
  float a[16 * 16], b[16 * 8], c[16 * 8];
  for (uint32_t lane = 0; lane < kWarp; ++lane) {
    const uint32_t group = lane / 4, member = lane % 4;
    const uint32_t *words = warp[lane].operands + 2;
    for (uint32_t r = 0; r < wordsA; ++r)
      for (uint32_t half = 0; half < perWord; ++half) {
        uint32_t column = perWord * member + half + 4 * perWord * (r / 2);
        a[(group + 8 * (r % 2)) * k + column] = elementOf(type, words[r], half);
      }
    for (uint32_t r = 0; r < wordsB; ++r)
      for (uint32_t half = 0; half < perWord; ++half)
        b[(perWord * member + half + 4 * perWord * r) * kN + group] =
            elementOf(type, words[wordsA + r], half);
    for (uint32_t r = 0; r < 4; ++r)
      c[(group + 8 * (r / 2)) * kN + 2 * member + r % 2] = floatOfBits(words[wordsA + wordsB + r]);
  }
  multiply(kM, kN, k, a, b, c);
  for (uint32_t lane = 0; lane < kWarp; ++lane)
    for (uint32_t r = 0; r < 4; ++r)
      warp[lane].results[r] = bitsOfFloat(c[(lane / 4 + 8 * (r / 2)) * kN + 2 * (lane % 4) + r % 2]);
}

uintptr_t addressOf(const Fiber &fiber) { return fiber.operands[2] | uint64_t(fiber.operands[3]) << 32; }

} // namespace

/// ldmatrix and stmatrix: lanes 8i to 8i+7 give the addresses of the rows of matrix i, 8 x 8 of 16 bits; a
/// lane's word i holds row `group`, columns 2 * member and + 1 of matrix i, or of its transpose.
static void moveMatrices(Block &block, Fiber *warp, bool isLoad) {
  const uint32_t number = warp->operands[0];
  const bool isTransposed = warp->operands[1];
  for (uint32_t i = 0; i < number; ++i) {
    uint16_t rows[8][8];
    if (!isLoad)
      for (uint32_t lane = 0; lane < kWarp; ++lane)
        for (uint32_t half = 0; half < 2; ++half) {
          uint32_t row = lane / 4, column = 2 * (lane % 4) + half;
          auto value = static_cast<uint16_t>(warp[lane].operands[4 + i] >> 16 * half);
          (isTransposed ? rows[column][row] : rows[row][column]) = value;
        }
    for (uint32_t row = 0; row < 8; ++row) {
      Fiber &fiber = warp[8 * i + row];
      uintptr_t address = addressOf(fiber);
      block.expectAligned(fiber, address, 16);
      block.expectShared(fiber, address, 16);
      block.access(fiber, address, 16, !isLoad, block.plain(fiber));
      void *place = reinterpret_cast<void *>(address);
      if (isLoad)
        memcpy(rows[row], place, 16);
      else
        memcpy(place, rows[row], 16);
    }
    if (isLoad)
      for (uint32_t lane = 0; lane < kWarp; ++lane) {
        uint32_t row = lane / 4, column = 2 * (lane % 4);
        uint32_t low = isTransposed ? rows[column][row] : rows[row][column];
        uint32_t high = isTransposed ? rows[column + 1][row] : rows[row][column + 1];
        warp[lane].results[i] = low | high << 16;
      }
  }
}

void Block::perform(Fiber &fiber, uint32_t firstThread) {
  Fiber *warp = &fibers_[firstThread];
  const uint32_t mask = fiber.mask;
  auto forEach = [&](auto &&action) {
    for (uint32_t lane = 0; lane < kWarp; ++lane)
      if (mask >> lane & 1)
        action(warp[lane]);
  };
  if (isAligned(fiber.op) && mask != kAllLanes)
    violation(fiber, "executes an operation of a whole warp without all lanes");
  switch (fiber.op) {
  case WarpOp::sync: {
    ViewBuilder builder;
    forEach([&](Fiber &lane) { lane.known.publish(builder, grid.now); });
    ++grid.now;
    ViewPointer view = builder.finish();
    forEach([&](Fiber &lane) {
      lane.known.view = view;
      lane.known.stamp = grid.now;
    });
    break;
  }
  case WarpOp::shuffle:
    forEach([&](Fiber &lane) {
      Source source = shuffleSource(lane);
      if (!(mask >> source.lane & 1))
        violation(lane, "shuffles from lane " + std::to_string(source.lane) + ", which is not in the mask");
      lane.results[0] = warp[source.lane].operands[0];
      lane.results[1] = source.isInside;
    });
    break;
  case WarpOp::vote: {
    uint32_t ballot = 0;
    forEach([&](Fiber &lane) { ballot |= uint32_t(lane.operands[0] != 0) << lane.lane; });
    forEach([&](Fiber &lane) { *lane.results = voted(VoteKind(lane.operands[1]), ballot, mask); });
    break;
  }
  case WarpOp::redux: {
    uint32_t value = warp[__builtin_ctz(mask)].operands[0];
    forEach([&](Fiber &lane) {
      if (lane.lane != uint32_t(__builtin_ctz(mask)))
        value = reduced(ReduxKind(lane.operands[1]), value, lane.operands[0]);
    });
    forEach([&](Fiber &lane) { *lane.results = value; });
    break;
  }
  case WarpOp::elect:
    forEach([&](Fiber &lane) { *lane.results = lane.lane == uint32_t(__builtin_ctz(mask)); });
    break;
  case WarpOp::mma:
    multiplyFragments(warp);
    break;
  case WarpOp::ldmatrix:
  case WarpOp::stmatrix:
    moveMatrices(*this, warp, fiber.op == WarpOp::ldmatrix);
    break;
  case WarpOp::aligned:
    break;
  }
}

} // namespace llmc::sim
