// What kernels of attention over keys and values, and over latents, share: online softmax over blocks of 32 positions.
//
//   for each block j of 32 positions (a prompt's tile on a GPU takes 64) up to the last one visible:
//     s   = scale * q k_j^T            masked to -inf where the position is not visible
//     m'  = max(m, max s)              a = exp(m - m')        p = exp(s - m')
//     l   = a l + sum p                acc = a acc + p v_j
//   o = acc / l
//
// Blocks start at multiples of their width of the position in the sequence, and a block that a row does not see
// changes none of its values (a = 1, p = 0), so a row's result depends neither on the rows beside it nor on
// the pieces in which a prompt came.
//
// A step with few rows and a long context has too few workgroups for a GPU. It goes in two kernels: the blocks that a row sees are cut into
// segments of equal length, by the row's own position alone, and each gives o and the logarithm of its weight, max + log l; then
//   o = sum_s e^{w_s - max w} o_s / sum_s e^{w_s - max w}     in the order of the segments.
#pragma once
#include "passes/chunk/TileEmitter.h"

namespace llmc {

constexpr int64_t kBlock = 32;  ///< positions of a block of the cache
constexpr double kMinus = -1e30; ///< below any score; finite, so that exp(m - m') of nothing seen yet is exp(0)

/// What attention over one block needs: query rows [M, d]; rows' positions are `position` (+ row index if
/// `ascending`).
struct Queries {
  mlir::Value rows;
  int64_t count;
  mlir::Value position; ///< index
  bool ascending;
  bool keysAreRows = false; ///< keys of a block are [32, d], not [d, 32]
  /// Powers of two instead of e, of scores that are scaled there: an operation less for each, and a cheap one where targets have an instruction.
  bool hasRoughPowers = false;
};

/// Which positions a row sees besides causally: see llm.attention.
struct Mask {
  std::optional<int64_t> window = {}, block = {};
  mlir::Value end = {};  ///< index, one past the last position of the sequence; null for causal masks
  mlir::Value ends = {}; ///< of two-way masks, one past the last position that each row sees, [M] i32

  /// Whether a row sees more than the positions up to its own.
  bool isTwoWay() const { return bool(end); }
  /// One past the last position that a row at `position` sees; all index.
  mlir::Value endFor(TileBuilder &t, mlir::Value position) const {
    if (!isTwoWay())
      return t.add(position, 1);
    return block ? t.min(t.mul(t.add(t.floorDiv(position, *block), 1), *block), end) : end;
  }
};

using Blocks = llvm::function_ref<mlir::Value(TileBuilder &, mlir::Value block)>;

/// One block of the algorithm above: (max, sum, acc) of the rows after block `j` of `width` positions with keys [d, 32] and values [32, dv],
/// or keys [p, d, 32] and values [32 p, dv] of as many blocks of the cache as are left of it, up to the width.
llvm::SmallVector<mlir::Value> attendBlock(TileBuilder &t, const Queries &q, double scale, const Mask &mask, mlir::Value j, int64_t width,
                                           mlir::Value keys, mlir::Value values, mlir::ValueRange carried);
/// (max, sum, acc) of the rows after blocks `from` .. `to` of `width` positions. `keys(j)` and `values(j)` are as attendBlock takes them.
llvm::SmallVector<mlir::Value> attendBlocks(TileBuilder &t, const Queries &q, int64_t valueWidth, double scale, const Mask &mask, Blocks keys,
                                            Blocks values, mlir::Value from, mlir::Value to, int64_t width = kBlock);
/// Attends to all visible blocks. Returns [M, dv].
mlir::Value attend(TileBuilder &t, const Queries &q, int64_t valueWidth, double scale, Mask mask, Blocks keys, Blocks values);
/// acc / sum
mlir::Value normalised(TileBuilder &t, mlir::Value acc, mlir::Value sum);

/// M rows of a query head of a sequence, of which those that there are (TileBuilder::rows) begin at `first` of the call's rows and see
/// positions up to their own, from `position` on; the last one sees those before `end`.
struct RowTile {
  SequenceValues seq;
  mlir::Value head, first, position, end;
};

/// Rows of causal masks shared out among workgroups: one per sequence, query head and M rows of the call (as many as there could be; those without
/// rows have nothing to do). `attended` gives the results [M, dv] of a tile, of which those of rows that there are get stored.
void forRowTiles(TileEmitter &e, TileBuilder &t, int64_t heads, int64_t m, int64_t dv,
                 llvm::function_ref<mlir::Value(TileBuilder &, const RowTile &)> attended);

/// A tile of m rows, of which those that there are have the columns of `some` and the others are zeros, whose scores are zeros.
mlir::Value paddedQueries(TileBuilder &t, mlir::Value some, int64_t m);

/// Of (max, sum, acc) of a segment: what it gives, and the logarithm of its weight.
std::pair<mlir::Value, mlir::Value> resultAndWeight(TileBuilder &t, mlir::ValueRange sums);

/// The results [segments, n] of all segments joined by the logarithms of their weights [1, segments].
mlir::Value joined(TileBuilder &t, mlir::Value logs, mlir::Value rows);

} // namespace llmc
