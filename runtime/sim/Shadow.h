// What the simulator remembers of every byte that kernels share: who wrote and read it when (Clock.h). Finds
// reads of bytes never written, and races: two accesses, one of them a write, that nothing orders.
#pragma once
#include "runtime/sim/Clock.h"
#include <cstdint>
#include <unordered_map>

namespace llmc::sim {

/// Who accesses memory.
struct Accessor {
  const Knowledge &known; ///< of the thread that accesses, or has told an engine to
  Actor actor;
  Stamp stamp;
  bool isAtomic = false;
  bool isAsyncProxy = false; ///< ordinary writes must have been fenced for it
};

enum class Hazard { none, unwritten, readAfterWrite, writeAfterRead, writeAfterWrite, unfenced };

struct Finding {
  Hazard hazard = Hazard::none;
  Actor other = 0;
  Stamp otherStamp = 0;
  uint64_t offset = 0; ///< in the access
};

/// Sets of readers of which none happened before another, as paths in a tree whose nodes are lanes of one
/// warp that read at one time (or an engine). Equal sets have equal numbers. A set whose members all read at
/// one time, as between two barriers, is kept without that time, so that it serves every such interval.
class ReaderSets {
public:
  /// What the numbers of actors mean.
  struct Kinds {
    virtual Actor threadBlock(Actor actor) const = 0; ///< first actor of a thread's block; 0: no thread
    virtual bool isAsyncProxy(Actor actor) const = 0; ///< whether its writes need no fence
    virtual ~Kinds() = default;
  };
  explicit ReaderSets(const Kinds &kinds) : kinds(kinds) {}

  struct Set {
    Stamp stamp; ///< when all members read; 0: at different times
    uint32_t number;
  };
  Set pair(Actor first, Stamp firstStamp, const Accessor &who);
  /// `set` and `who`, without those that happened before it; number 0 when it alone remains.
  Set add(Set set, const Accessor &who);
  /// A reader of the set that did not happen before `who`'s access, or 0.
  Actor unordered(Set set, const Accessor &who) const;
  /// At a barrier of a block: forgets the sets when there are many. Their numbers mean no one then.
  void prune();

  const Kinds &kinds;

private:
  struct Member {
    Actor first; ///< of the warp, or the engine
    uint32_t lanes;
    Stamp stamp; ///< 0: the set's
    Actor block; ///< 0: an engine
    bool operator==(const Member &m) const {
      return first == m.first && lanes == m.lanes && stamp == m.stamp;
    }
  };
  struct Node {
    uint32_t parent;
    Member member;
  };
  struct Edge {
    uint32_t from;
    Member to;
    bool operator==(const Edge &e) const { return from == e.from && to == e.to; }
  };
  struct Hash {
    size_t operator()(const Edge &e) const {
      uint64_t h = (uint64_t(e.from) << 32 | e.to.first) * 0x9e3779b97f4a7c15u;
      h ^= (uint64_t(e.to.lanes) << 32 | e.to.stamp) * 0xc2b2ae3d27d4eb4fu;
      return h ^ h >> 29;
    }
  };
  Member memberOf(Actor actor, Stamp stamp) const;
  static Actor unorderedOf(const Member &member, Stamp stamp, const Accessor &who);
  Set addLater(Set set, const Accessor &who);
  uint32_t child(uint32_t parent, const Member &member);
  bool isKnown(uint32_t set) const { return set > base_; }
  const Node &node(uint32_t set) const { return nodes_[set - base_ - 1]; }

  uint32_t base_ = 0; ///< sets up to this number are forgotten
  std::vector<Node> nodes_;
  std::unordered_map<Edge, uint32_t, Hash> children_, added_;
};

/// The shadow of one buffer.
class Shadow {
public:
  /// `isPrivate`: only one block uses the buffer, and finds nothing in it.
  Shadow(uintptr_t base, uint64_t bytes, bool isPrivate, ReaderSets &readers);
  ~Shadow();
  Shadow(const Shadow &) = delete;
  Shadow &operator=(const Shadow &) = delete;

  bool holds(uintptr_t address, uint64_t bytes) const {
    return address - base_ < bytes_ && bytes <= bytes_ - (address - base_);
  }
  Finding read(uintptr_t address, uint64_t bytes, const Accessor &who);
  Finding write(uintptr_t address, uint64_t bytes, const Accessor &who);
  /// Forgets everything before `now`: nothing is written. For private buffers.
  void clear(Stamp now) { start_ = now; }
  /// Takes over what `other`, which lies within, remembers.
  void take(const Shadow &other);

private:
  struct Cell {
    Stamp writeStamp;
    uint32_t writer; ///< 0 none, else actor, and kAtomicBit
    Stamp readStamp; ///< of the reader or the set
    uint32_t reader; ///< 0 none, else actor, or kSetBit and a set
    bool operator==(const Cell &c) const {
      return writeStamp == c.writeStamp && writer == c.writer && readStamp == c.readStamp &&
             reader == c.reader;
    }
  };
  /// What is wrong with an access after the cell's write, as seen by a reader or a writer.
  Finding afterWrite(const Cell &cell, const Accessor &who, Hazard hazard) const;
  Finding readCell(Cell &cell, const Accessor &who);
  Finding writeCell(Cell &cell, const Accessor &who);

  uintptr_t base_;
  uint64_t bytes_;
  bool isPrivate_;
  Stamp start_ = 0;
  ReaderSets &readers_;
  Cell *cells_;
};

} // namespace llmc::sim
