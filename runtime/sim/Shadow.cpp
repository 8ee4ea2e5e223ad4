// One cell per byte. Of the readers of an epoch two are kept, of different warps where there are such:
// whoever writes is not both of them.
#include "runtime/sim/Shadow.h"
#include <cstdlib>
#include <cstring>

namespace llmc::sim {

static constexpr uint32_t kWarp = 32;

const char *hazardText(Hazard hazard) {
  switch (hazard) {
  case Hazard::none:
    return "nothing";
  case Hazard::unwritten:
    return "reads memory that was never written";
  case Hazard::readAfterWrite:
    return "reads what another thread writes, without a barrier between";
  case Hazard::writeAfterRead:
    return "writes what another thread reads, without a barrier between";
  case Hazard::writeAfterWrite:
    return "writes what another thread writes, without a barrier between";
  case Hazard::otherBlock:
    return "shares memory that is written with another block";
  }
  return "?";
}

Shadow::Shadow(uintptr_t base, uint64_t bytes, bool isPrivate)
    : base_(base), bytes_(bytes), isPrivate_(isPrivate),
      cells_(static_cast<Cell *>(calloc(bytes ? bytes : 1, sizeof(Cell)))) {
  if (!cells_)
    abort(); // a simulation of models this large needs another machine
}

Shadow::~Shadow() { free(cells_); }

void Shadow::clear() { memset(static_cast<void *>(cells_), 0, bytes_ * sizeof(Cell)); }

bool Shadow::isUnordered(const Access &before, const Moment &now) {
  if (before.epoch != now.epoch || before.thread == now.thread)
    return false;
  bool isSameWarp = before.thread / kWarp == now.thread / kWarp;
  return !isSameWarp || before.warpEpoch == static_cast<uint16_t>(now.warpEpoch);
}

/// Another block's accesses are of no epoch of this one; whether it wrote stays known in isWritten.
void Shadow::enter(Cell &cell, const Moment &now) {
  cell.write = cell.reads[0] = cell.reads[1] = Access();
  cell.block = now.block;
}

Finding Shadow::read(uintptr_t address, uint64_t bytes, const Moment &now) {
  Finding finding;
  for (uint64_t i = 0; i < bytes; ++i) {
    Cell &cell = cells_[address - base_ + i];
    if (!isPrivate_ && cell.block != now.block) {
      if (cell.isWritten)
        finding = {Hazard::otherBlock, cell.write.thread, cell.block};
      enter(cell, now);
    }
    if (isPrivate_ && !cell.isWritten)
      finding = {Hazard::unwritten, now.thread, now.block};
    else if (isUnordered(cell.write, now))
      finding = {Hazard::readAfterWrite, cell.write.thread, now.block};
    Access mine{now.epoch, static_cast<uint16_t>(now.thread), static_cast<uint16_t>(now.warpEpoch)};
    Access &first = cell.reads[0], &second = cell.reads[1];
    if (first.epoch != now.epoch || first.thread == mine.thread)
      first = mine;
    else if (second.epoch != now.epoch || second.thread == mine.thread ||
             second.thread / kWarp == first.thread / kWarp)
      second = mine;
  }
  return finding;
}

Finding Shadow::write(uintptr_t address, uint64_t bytes, const Moment &now) {
  Finding finding;
  for (uint64_t i = 0; i < bytes; ++i) {
    Cell &cell = cells_[address - base_ + i];
    if (!isPrivate_ && cell.block != now.block) {
      if (cell.isWritten || cell.reads[0].epoch)
        finding = {Hazard::otherBlock, cell.write.thread, cell.block};
      enter(cell, now);
    }
    if (isUnordered(cell.write, now))
      finding = {Hazard::writeAfterWrite, cell.write.thread, now.block};
    for (const Access &read : cell.reads)
      if (isUnordered(read, now))
        finding = {Hazard::writeAfterRead, read.thread, now.block};
    cell.write = {now.epoch, static_cast<uint16_t>(now.thread), static_cast<uint16_t>(now.warpEpoch)};
    cell.isWritten = 1;
  }
  return finding;
}

} // namespace llmc::sim
