// One cell per byte: its last write, and the reads since that are not ordered among themselves. A long access
// meets runs of equal cells, so each is worked out once.
#include "runtime/sim/Shadow.h"
#include <algorithm>
#include <cstdlib>

namespace llmc::sim {

static constexpr uint32_t kAtomicBit = 1u << 31, kSetBit = 1u << 31;

uint32_t ReaderSets::child(uint32_t parent, Actor actor, Stamp stamp) {
  auto [place, isNew] = children_.try_emplace({parent, actor, stamp}, static_cast<uint32_t>(nodes_.size()));
  if (isNew) {
    const Node above = nodes_[parent];
    Actor block = kinds.threadBlock(actor);
    nodes_.push_back(
        {parent, actor, stamp, std::max(above.latest, stamp), parent && above.block != block ? 0 : block});
  }
  return place->second;
}

uint32_t ReaderSets::pair(Actor first, Stamp firstStamp, const Accessor &who) {
  return child(child(0, first, firstStamp), who.actor, who.stamp);
}

uint32_t ReaderSets::add(uint32_t set, const Accessor &who) {
  Edge edge{set, who.actor, who.stamp};
  if (auto known = added_.find(edge); known != added_.end())
    return known->second;
  std::vector<std::pair<Actor, Stamp>> kept;
  bool isMember = false;
  for (uint32_t n = set; n; n = nodes_[n].parent) {
    isMember |= nodes_[n].actor == who.actor && nodes_[n].stamp == who.stamp;
    if (nodes_[n].stamp > who.known.seen(nodes_[n].actor))
      kept.push_back({nodes_[n].actor, nodes_[n].stamp});
  }
  uint32_t result = set;
  if (!isMember) {
    result = 0;
    for (size_t i = kept.size(); i-- > 0;)
      result = child(result, kept[i].first, kept[i].second);
    if (result)
      result = child(result, who.actor, who.stamp);
  }
  added_[edge] = result;
  return result;
}

Actor ReaderSets::unordered(uint32_t set, const Accessor &who) const {
  const Node &last = nodes_[set];
  if (last.block && who.known.view && last.latest <= who.known.view->barrierOf(last.block))
    return 0;
  for (uint32_t n = set; n; n = nodes_[n].parent)
    if (nodes_[n].stamp > who.known.seen(nodes_[n].actor))
      return nodes_[n].actor;
  return 0;
}

Shadow::Shadow(uintptr_t base, uint64_t bytes, bool isPrivate, ReaderSets &readers)
    : base_(base), bytes_(bytes), isPrivate_(isPrivate), readers_(readers),
      cells_(static_cast<Cell *>(calloc(bytes ? bytes : 1, sizeof(Cell)))) {
  if (!cells_)
    abort(); // a simulation of models this large needs another machine
}

Shadow::~Shadow() { free(cells_); }

Finding Shadow::afterWrite(const Cell &cell, const Accessor &who, Hazard hazard) const {
  Actor writer = cell.writer & ~kAtomicBit;
  if (!writer)
    return {};
  if (cell.writeStamp > who.known.seen(writer)) {
    if (who.isAtomic && (cell.writer & kAtomicBit))
      return {};
    return {hazard, writer, cell.writeStamp};
  }
  if (who.isAsyncProxy && !readers_.kinds.isAsyncProxy(writer) && cell.writeStamp > who.known.fenced(writer))
    return {Hazard::unfenced, writer, cell.writeStamp};
  return {};
}

Finding Shadow::readCell(Cell &cell, const Accessor &who) {
  if (cell.writeStamp < start_)
    cell = Cell();
  if (isPrivate_ && !cell.writer)
    return {Hazard::unwritten};
  if (Finding f = afterWrite(cell, who, Hazard::readAfterWrite); f.hazard != Hazard::none)
    return f;
  if (who.isAtomic)
    return {}; // ordered or not, it is no race with atomic writes
  if (cell.reader & kSetBit) {
    uint32_t set = readers_.add(cell.reader & ~kSetBit, who);
    if (set) {
      cell.reader = set | kSetBit;
      return {};
    }
  } else if (cell.reader && cell.reader != who.actor && cell.readStamp > who.known.seen(cell.reader)) {
    cell.reader = readers_.pair(cell.reader, cell.readStamp, who) | kSetBit;
    cell.readStamp = 0;
    return {};
  }
  cell.reader = who.actor;
  cell.readStamp = who.stamp;
  return {};
}

Finding Shadow::writeCell(Cell &cell, const Accessor &who) {
  if (cell.writeStamp < start_)
    cell = Cell();
  Finding finding = afterWrite(cell, who, Hazard::writeAfterWrite);
  if (finding.hazard != Hazard::none)
    return finding;
  Actor reader = 0;
  if (cell.reader & kSetBit)
    reader = readers_.unordered(cell.reader & ~kSetBit, who);
  else if (cell.reader && cell.readStamp > who.known.seen(cell.reader))
    reader = cell.reader;
  if (reader)
    return {Hazard::writeAfterRead, reader, cell.readStamp};
  // An ordinary write stays one for others as long as its thread has published nothing since.
  bool isAfterOwn = cell.writer == who.actor && cell.writeStamp == who.stamp;
  cell = {who.stamp, who.actor | (who.isAtomic && !isAfterOwn ? kAtomicBit : 0), 0, 0};
  return {};
}

Finding Shadow::read(uintptr_t address, uint64_t bytes, const Accessor &who) {
  Cell *cells = cells_ + (address - base_);
  for (uint64_t i = 0; i < bytes;) {
    const Cell before = cells[i];
    if (Finding f = readCell(cells[i], who); f.hazard != Hazard::none) {
      f.offset = i;
      return f;
    }
    const Cell after = cells[i];
    for (++i; i < bytes && cells[i] == before; ++i)
      cells[i] = after;
  }
  return {};
}

Finding Shadow::write(uintptr_t address, uint64_t bytes, const Accessor &who) {
  Cell *cells = cells_ + (address - base_);
  for (uint64_t i = 0; i < bytes;) {
    const Cell before = cells[i];
    if (Finding f = writeCell(cells[i], who); f.hazard != Hazard::none) {
      f.offset = i;
      return f;
    }
    const Cell after = cells[i];
    for (++i; i < bytes && cells[i] == before; ++i)
      cells[i] = after;
  }
  return {};
}

} // namespace llmc::sim
