// What the kernels of the delta rule over a prompt share: DeltaRuleTiles.cpp has the formulas, DeltaRuleSegments.cpp the scan in segments.
#pragma once
#include "passes/chunk/TileEmitter.h"

namespace llmc {

/// Sizes and places of the rule in a kernel.
struct Rule {
  Rule(llm::DeltaRuleOp op, const Tiles &tiles);
  llm::DeltaRuleOp op;
  int64_t c, heads, k, v;
  int64_t columns; ///< of a workgroup of the scan
  int64_t segment; ///< tokens of a segment, a multiple of c; 0: not cut
};

/// What the factors are, in the order of deltaFactorTypes: rows are tokens, columns heads times these.
enum Factor { kWeights, kQueries, kKeys, kValues, kScores, kDecays, kNumFactors };

inline int64_t widthOf(const Rule &r, int factor) { return factor == kValues ? r.v : factor == kScores ? r.c : r.k; }

inline mlir::Value rounded(TileBuilder &t, mlir::Value tile) { return t.cast(tile, t.b.getBF16Type()); }
inline mlir::Value choose(TileBuilder &t, mlir::Value condition, mlir::Value yes, mlir::Value no) {
  return mlir::arith::SelectOp::create(t.b, t.loc, condition, yes, no);
}
inline mlir::Value isSame(TileBuilder &t, mlir::Value x, mlir::Value y) {
  return mlir::arith::CmpIOp::create(t.b, t.loc, mlir::arith::CmpIPredicate::eq, x, y);
}
/// Rows `first` .. (0 if null) of the identity, float32.
mlir::Value identity(TileBuilder &t, int64_t rows, int64_t columns, mlir::Value first = {});

/// The chunk of a head at row `start` of its sequence, as a scan sees it. States are transposed: [n, K] for n columns of the values.
class ScanChunk {
public:
  ScanChunk(TileBuilder &outer, const Rule &r, const SequenceValues &seq, mlir::Value head, mlir::ValueRange factors, mlir::Value start)
      : t(outer.withRows(outer.min(outer.sub(seq.length, start), outer.index(r.c)), r.c)), r(r), head(head), first(t.add(seq.first, start)),
        factors(factors) {}
  /// u^T, rounded, [n, C], of a rounded state; `unit` [n, n] brings in the values from `column` on, without it they are zero.
  mlir::Value updates(mlir::Value state, mlir::Value unit = {}, mlir::Value column = {});
  mlir::Value outputs(mlir::Value state, mlir::Value u);  ///< o^T, [n, rows]
  mlir::Value decay();                                    ///< over the whole chunk, [K]
  mlir::Value after(mlir::Value carried, mlir::Value u);  ///< the state that is `carried`, in float32, after the chunk
  TileBuilder t;                                          ///< rows are those that there are

private:
  mlir::Value rows(int factor, int64_t width, mlir::Value offset);
  const Rule &r;
  mlir::Value head, first;
  mlir::ValueRange factors;
};

/// Chunks from row `from` of the sequence up to `to`, of some columns of the values. `init`: rows of the output from row `begin` of the sequence
/// (0 if null) on, and the transposed state; returns both.
llvm::SmallVector<mlir::Value> scanRows(TileBuilder &t, const Rule &r, const SequenceValues &seq, mlir::Value head, mlir::Value column,
                                        mlir::ValueRange factors, mlir::Value begin, mlir::Value from, mlir::Value to, mlir::ValueRange init);

/// The transposed state of some columns from one segment that is whole to the next: (starts, with the sequence's rows; the state after them).
llvm::SmallVector<mlir::Value> foldSegments(TileBuilder &t, const Rule &r, const SequenceValues &seq, mlir::Value head, mlir::Value column,
                                            mlir::ValueRange factors, mlir::Value starts, mlir::Value state);

} // namespace llmc
