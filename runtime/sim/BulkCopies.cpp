// cp.async.bulk and cp.async.bulk.tensor. A load is done when its mbarrier says so, a store when its group is
// waited for; data moves then. Both go through the asynchronous proxy. See Grid.h.
#include "runtime/sim/Grid.h"
#include "runtime/sim/TensorMap.h"
#include <cstring>

namespace llmc::sim {

static uintptr_t asNumber(const void *address) { return reinterpret_cast<uintptr_t>(address); }
static uint8_t *asBytes(uintptr_t address) { return reinterpret_cast<uint8_t *>(address); }

/// `work` fills `bytes` bytes of shared memory at `to`.
void Block::loadBulk(Fiber &fiber, uintptr_t to, uint64_t bytes, uintptr_t mbarrier,
                     std::function<void()> work) {
  Mbarrier &barrier = mbarrierAt(fiber, mbarrier);
  const Stamp stamp = grid.now++;
  fiber.known.stamp = grid.now;
  Accessor who{fiber.known, barrier.engine, stamp};
  who.isAsyncProxy = true;
  expectShared(fiber, to, bytes);
  access(fiber, to, bytes, /*isWrite=*/true, who);
  pending_.push_back({mbarrier, static_cast<uint32_t>(bytes), false, barrier.engine, stamp, std::move(work)});
}

/// `work` writes to global memory what lies in `bytes` bytes of shared memory at `from`.
void Block::storeBulk(Fiber &fiber, uintptr_t from, uint64_t bytes, std::function<void()> work) {
  expectShared(fiber, from, bytes);
  if (fiber.bulkGroups.empty() || fiber.bulkGroups.back().stamp)
    fiber.bulkGroups.emplace_back();
  for (Engine engine : {Engine::bulkReads, Engine::bulkWrites})
    fiber.known.engines[static_cast<int>(engine)].actor = grid.engine(fiber, engine);
  Accessor who{fiber.known, grid.engine(fiber, Engine::bulkReads), fiber.known.stamp};
  who.isAsyncProxy = true;
  access(fiber, from, bytes, /*isWrite=*/false, who);
  fiber.bulkGroups.back().copies.push_back(std::move(work));
}

void Block::bulkCopy(Fiber &fiber, void *to, const void *from, uint32_t bytes, void *mbarrier) {
  const uintptr_t target = asNumber(to), source = asNumber(from);
  expectAligned(fiber, target, 16);
  expectAligned(fiber, source, 16);
  if (bytes % 16 || bytes == 0)
    violation(fiber, "copies " + std::to_string(bytes) + " bytes, not a multiple of 16");
  auto move = [=] { memcpy(to, from, bytes); };
  if (mbarrier) {
    Mbarrier &barrier = mbarrierAt(fiber, asNumber(mbarrier));
    Accessor who{fiber.known, barrier.engine, fiber.known.stamp};
    who.isAsyncProxy = true;
    access(fiber, source, bytes, /*isWrite=*/false, who);
    return loadBulk(fiber, target, bytes, asNumber(mbarrier), move);
  }
  storeBulk(fiber, source, bytes, move);
  Accessor who{fiber.known, grid.engine(fiber, Engine::bulkWrites), fiber.known.stamp};
  who.isAsyncProxy = true;
  access(fiber, target, bytes, /*isWrite=*/true, who);
}

namespace {

/// A row of a box: contiguous in global memory.
struct BoxRow {
  uintptr_t global;       ///< of the first element that lies inside
  uint32_t before, bytes; ///< bytes of the row that lie below the tensor; that are inside
};

/// Row number `row` of the box at `coordinates`.
BoxRow rowOf(const TensorMap &map, const int32_t *coordinates, uint64_t row) {
  const int64_t element = map.elementBytes();
  const int64_t begin = std::max<int64_t>(coordinates[0], 0);
  const int64_t end = std::min<int64_t>(int64_t(coordinates[0]) + map.box[0], int64_t(map.extents[0]) + 1);
  BoxRow result{map.address + static_cast<uint64_t>(begin * element),
                static_cast<uint32_t>((begin - coordinates[0]) * element),
                begin < end ? static_cast<uint32_t>((end - begin) * element) : 0};
  for (uint32_t d = 1; d < map.rank; ++d) {
    int64_t at = int64_t(coordinates[d]) + static_cast<int64_t>(row % map.box[d]);
    row /= map.box[d];
    if (at < 0 || at > int64_t(map.extents[d]))
      result.bytes = 0;
    else
      result.global += static_cast<uint64_t>(at) * map.strides[d];
  }
  return result;
}

/// Moves `bytes` bytes at `offset` of the box between global memory and shared memory at `shared`, 16-byte
/// chunk by chunk, as the swizzle places them.
void moveRow(const TensorMap &map, uintptr_t shared, uint64_t offset, uint8_t *global, uint32_t bytes,
             bool isLoad) {
  while (bytes) {
    uint32_t part = std::min<uint32_t>(bytes, 16 - offset % 16);
    uint8_t *place = asBytes(swizzled(shared + offset, map.swizzle));
    if (isLoad)
      memcpy(place, global, part);
    else
      memcpy(global, place, part);
    offset += part;
    global += part;
    bytes -= part;
  }
}

void moveBox(const TensorMap &map, const TensorCopy &copy) {
  const bool isLoad = copy.mbarrier;
  const uint64_t rowBytes = map.box[0] * map.elementBytes(), rows = map.boxBytes() / rowBytes;
  const uintptr_t shared = asNumber(copy.shared);
  if (isLoad)
    memset(copy.shared, map.fillsNan ? 0xff : 0, map.boxBytes());
  for (uint64_t r = 0; r < rows; ++r) {
    BoxRow row = rowOf(map, copy.coordinates, r);
    moveRow(map, shared, r * rowBytes + row.before, asBytes(row.global), row.bytes, isLoad);
  }
}

} // namespace

void Block::tensorCopy(Fiber &fiber, const TensorCopy &copy) {
  TensorMap map;
  memcpy(&map, copy.map, sizeof map);
  if (map.magic != TensorMap::kMagic || asNumber(copy.map) % 64)
    violation(fiber,
              "uses a tensor map that cuTensorMapEncodeTiled has not made, or not at a multiple of 64");
  if (map.rank != copy.rank)
    violation(fiber, "gives " + std::to_string(copy.rank) + " coordinates for a tensor map of " +
                         std::to_string(map.rank) + " dimensions");
  const uintptr_t shared = asNumber(copy.shared);
  // The pattern of a swizzle repeats every 8 rows of its span.
  expectAligned(fiber, shared, map.swizzle == Swizzle::none ? 128 : 8 * spanOf(map.swizzle));
  const bool isLoad = copy.mbarrier;
  if (!isLoad)
    storeBulk(fiber, shared, map.boxBytes(), [map, copy] { moveBox(map, copy); });
  Accessor who{fiber.known,
               isLoad ? mbarrierAt(fiber, asNumber(copy.mbarrier)).engine
                      : grid.engine(fiber, Engine::bulkWrites),
               fiber.known.stamp};
  who.isAsyncProxy = true;
  const uint64_t rows = map.boxBytes() / (map.box[0] * map.elementBytes());
  for (uint64_t r = 0; r < rows; ++r)
    if (BoxRow row = rowOf(map, copy.coordinates, r); row.bytes)
      access(fiber, row.global, row.bytes, /*isWrite=*/!isLoad, who);
  if (!isLoad)
    return;
  auto loadInto = [&](Block &block, const TensorCopy &here) {
    block.loadBulk(fiber, asNumber(here.shared), map.boxBytes(), asNumber(here.mbarrier), [map, here] { moveBox(map, here); });
  };
  if (!copy.blocks)
    return loadInto(*this, copy);
  for (uint32_t rank = 0; copy.blocks >> rank; ++rank)
    if (copy.blocks >> rank & 1) {
      TensorCopy there = copy;
      there.shared = mapShared(fiber, shared, rank);
      there.mbarrier = mapShared(fiber, asNumber(copy.mbarrier), rank);
      loadInto(holderOf(fiber, asNumber(there.shared)), there);
    }
}

void Block::bulkGroup(Fiber &fiber, BulkStep step, uint32_t pending) {
  if (step == BulkStep::commit) {
    if (fiber.bulkGroups.empty() || fiber.bulkGroups.back().stamp)
      fiber.bulkGroups.emplace_back();
    fiber.bulkGroups.back().stamp = grid.now++;
    fiber.known.stamp = grid.now;
    return;
  }
  size_t committed = fiber.bulkGroups.size();
  if (committed && !fiber.bulkGroups.back().stamp)
    --committed;
  const size_t finished = committed > pending ? committed - pending : 0;
  for (size_t i = 0; i < finished; ++i) {
    BulkGroup &group = fiber.bulkGroups[i];
    if (!group.isRead)
      for (auto &copy : group.copies)
        copy();
    group.isRead = true;
    fiber.known.engines[static_cast<int>(Engine::bulkReads)].done = group.stamp;
    if (step == BulkStep::wait)
      fiber.known.engines[static_cast<int>(Engine::bulkWrites)].done = group.stamp;
  }
  if (step == BulkStep::wait)
    fiber.bulkGroups.erase(fiber.bulkGroups.begin(),
                           fiber.bulkGroups.begin() + static_cast<ptrdiff_t>(finished));
}

} // namespace llmc::sim
