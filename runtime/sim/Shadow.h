// What the simulator remembers of every byte that kernels share: who wrote and read it since when. Finds
// reads of bytes never written, and races: two threads, one of them writing, no barrier between.
#pragma once
#include <cstdint>
#include <memory>

namespace llmc::sim {

/// When an access happens: `epoch` counts the block's barriers from 1, `warpEpoch` those of the thread's
/// warp.
struct Moment {
  uint32_t block = 0, thread = 0, epoch = 1, warpEpoch = 0;
};

enum class Hazard { none, unwritten, readAfterWrite, writeAfterRead, writeAfterWrite, otherBlock };
const char *hazardText(Hazard hazard);

struct Finding {
  Hazard hazard = Hazard::none;
  uint32_t otherThread = 0, otherBlock = 0;
};

/// The shadow of one buffer.
class Shadow {
public:
  /// `isPrivate`: only one block uses the buffer, and finds nothing in it.
  Shadow(uintptr_t base, uint64_t bytes, bool isPrivate);
  ~Shadow();
  Shadow(const Shadow &) = delete;
  Shadow &operator=(const Shadow &) = delete;

  bool holds(uintptr_t address, uint64_t bytes) const {
    return address - base_ < bytes_ && bytes <= bytes_ - (address - base_);
  }
  Finding read(uintptr_t address, uint64_t bytes, const Moment &now);
  Finding write(uintptr_t address, uint64_t bytes, const Moment &now);
  /// Forgets everything: nothing is written.
  void clear();

private:
  struct Access {
    uint32_t epoch = 0; ///< 0: none
    uint16_t thread = 0, warpEpoch = 0;
  };
  struct Cell {
    Access write, reads[2];
    uint32_t block;
    uint32_t isWritten;
  };
  static bool isUnordered(const Access &before, const Moment &now);
  void enter(Cell &cell, const Moment &now);

  uintptr_t base_;
  uint64_t bytes_;
  bool isPrivate_;
  Cell *cells_;
};

} // namespace llmc::sim
