// What a target wants of tile programs: sizes, never algorithms.
#pragma once
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <optional>

namespace llmc {

struct Tiles {
  /// Rows of a product's tile where a call brings a prompt, and where every sequence brings one token. 0: a workgroup takes all
  /// rows of the call, 8 by 8, which suits a few threads with large caches; else rows are shared out among workgroups too.
  int64_t promptRows = 0, stepRows = 0;
  /// Panels of 32 columns of such a tile.
  int64_t promptPanels = 1, stepPanels = 1;
  /// Panels of a prompt's tile where one product of stored rows makes `wideColumns` columns or more: a value read serves more products, in
  /// fewer workgroups. 0: as others.
  int64_t widePanels = 0, wideColumns = 0;
  /// Tiles of a prompt's rows that are to meet the columns together, all of them before the next rows: they share what the cache holds. 0: all.
  int64_t rowsTogether = 0;
  /// Query rows of attention's tile over a prompt, and positions (a multiple of 32) that it takes at once; 0: 8 by 8, and 32.
  int64_t attentionRows = 0, attentionKeys = 0;
  /// Tokens of a chunk of the delta rule over a prompt, where products of whole chunks pay; 0: row by row in chunks as the op says. And
  /// columns of a head's values that one workgroup takes through a sequence.
  int64_t deltaRows = 0, deltaColumns = 0;
  /// Up to so many workgroups of a sequence, of as many heads and columns, its scan goes in segments. 0: never.
  int64_t deltaScans = 0;
  /// Segments in which a step's attention cuts the positions that a row sees, each a workgroup of its own; 1: one workgroup sees all.
  int64_t segments = 1;
  /// Most rows in one call.
  int64_t callRows = 512;
  /// Products of a stored bf16 tile and a computed one take both as bf16.
  bool narrowProducts = false;

  bool areShared() const { return promptRows != 0; }
};

/// The sizes of a kind of target, "cpu" or "cuda"; none for other names.
std::optional<Tiles> tilesOf(llvm::StringRef target);

} // namespace llmc
