// One cell per byte: its last write, and the reads since that are not ordered among themselves. A long access
// meets runs of equal cells, so each is worked out once.
#include "runtime/sim/Shadow.h"
#include <algorithm>
#include <cstdlib>

namespace llmc::sim {

static constexpr uint32_t kAtomicBit = 1u << 31, kSetBit = 1u << 31;

static constexpr uint32_t kLanes = 32;
static constexpr size_t kManySets = 1 << 16;

ReaderSets::Member ReaderSets::memberOf(Actor actor, Stamp stamp) const {
  Actor block = kinds.threadBlock(actor);
  uint32_t lane = block ? (actor - block) % kLanes : 0;
  return {actor - lane, 1u << lane, stamp, block};
}

/// A lane of `member` that did not happen before `who`'s access, or 0. `stamp` is that of its set.
Actor ReaderSets::unorderedOf(const Member &member, Stamp stamp, const Accessor &who) {
  stamp = member.stamp ? member.stamp : stamp;
  if (member.block && who.known.view && stamp <= who.known.view->barrierOf(member.block))
    return 0;
  for (uint32_t lanes = member.lanes; lanes; lanes &= lanes - 1) {
    Actor actor = member.first + static_cast<uint32_t>(__builtin_ctz(lanes));
    if (stamp > who.known.seen(actor))
      return actor;
  }
  return 0;
}

uint32_t ReaderSets::child(uint32_t parent, const Member &member) {
  auto [place, isNew] =
      children_.try_emplace({parent, member}, base_ + 1 + static_cast<uint32_t>(nodes_.size()));
  if (isNew)
    nodes_.push_back({parent, member});
  return place->second;
}

ReaderSets::Set ReaderSets::pair(Actor first, Stamp firstStamp, const Accessor &who) {
  const bool isOneTime = firstStamp == who.stamp;
  Member before = memberOf(first, isOneTime ? 0 : firstStamp),
         mine = memberOf(who.actor, isOneTime ? 0 : who.stamp);
  const Stamp stamp = isOneTime ? who.stamp : 0;
  if (before.first != mine.first || !isOneTime)
    return {stamp, child(child(0, before), mine)};
  before.lanes |= mine.lanes;
  return {stamp, child(0, before)};
}

ReaderSets::Set ReaderSets::add(Set set, const Accessor &who) {
  if (!isKnown(set.number))
    return {0, 0};
  if (set.stamp && set.stamp != who.stamp)
    return addLater(set, who);
  // All of one time are kept: that one of them happened before `who` is rare, and keeping it harmless.
  const Member mine = memberOf(who.actor, set.stamp ? 0 : who.stamp);
  auto [known, isNew] = added_.try_emplace({set.number, mine}, 0);
  if (!isNew)
    return {set.stamp, known->second};
  Member merged = mine;
  std::vector<Member> kept;
  for (uint32_t n = set.number; n; n = node(n).parent) {
    const Member &member = node(n).member;
    if (member.first == mine.first && member.stamp == mine.stamp)
      merged.lanes |= member.lanes;
    else if (set.stamp || unorderedOf(member, 0, who))
      kept.push_back(member);
  }
  uint32_t result = 0;
  for (size_t i = kept.size(); i-- > 0;)
    result = child(result, kept[i]);
  known->second = child(result, merged);
  return {set.stamp, known->second};
}

/// To a set of one time comes a reader of another.
ReaderSets::Set ReaderSets::addLater(Set set, const Accessor &who) {
  uint32_t result = 0;
  for (uint32_t n = set.number; n; n = node(n).parent)
    if (Member member = node(n).member; unorderedOf(member, set.stamp, who)) {
      member.stamp = set.stamp;
      result = child(result, member);
    }
  return {0, result ? child(result, memberOf(who.actor, who.stamp)) : 0};
}

Actor ReaderSets::unordered(Set set, const Accessor &who) const {
  if (isKnown(set.number))
    for (uint32_t n = set.number; n; n = node(n).parent)
      if (Actor actor = unorderedOf(node(n).member, set.stamp, who))
        return actor;
  return 0;
}

void ReaderSets::prune() {
  if (nodes_.size() < kManySets)
    return;
  base_ += static_cast<uint32_t>(nodes_.size());
  nodes_.clear();
  children_.clear();
  added_.clear();
}

Shadow::Shadow(uintptr_t base, uint64_t bytes, bool isPrivate, ReaderSets &readers)
    : base_(base), bytes_(bytes), isPrivate_(isPrivate), readers_(readers),
      cells_(static_cast<Cell *>(calloc(bytes ? bytes : 1, sizeof(Cell)))) {
  if (!cells_)
    abort(); // a simulation of models this large needs another machine
}

Shadow::~Shadow() { free(cells_); }

void Shadow::take(const Shadow &other) { std::copy_n(other.cells_, other.bytes_, cells_ + (other.base_ - base_)); }

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
    if (ReaderSets::Set set = readers_.add({cell.readStamp, cell.reader & ~kSetBit}, who); set.number) {
      cell.reader = set.number | kSetBit;
      cell.readStamp = set.stamp;
      return {};
    }
  } else if (cell.reader && cell.reader != who.actor && cell.readStamp > who.known.seen(cell.reader)) {
    ReaderSets::Set set = readers_.pair(cell.reader, cell.readStamp, who);
    cell.reader = set.number | kSetBit;
    cell.readStamp = set.stamp;
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
    reader = readers_.unordered({cell.readStamp, cell.reader & ~kSetBit}, who);
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
