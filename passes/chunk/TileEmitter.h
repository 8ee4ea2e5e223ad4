// How a dispatch becomes a tile program. A kernel asks for a tile of the value that it stores; the emitter
// makes it by asking the ops that define the value for tiles of their operands, and so on down to the
// dispatch's operands, which are loads:
//
//      store(tile of map)  ──►  map  ──►  linear (the root: a contraction over its panel of weights)
//                               │             └──►  rms_norm of the rows  ──►  load
//                               └──►  residual (an operand)  ──►  load
//
// Prologues, roots and epilogues are thus fused by one mechanism, at any tile size that the kernel's skeleton
// chooses.
#pragma once
#include "passes/chunk/TileBuilder.h"

namespace llmc {

/// Rows `row .. row + rows` and columns `column .. column + columns` of an activation [T, N].
struct Tile {
  mlir::Value row;
  int64_t rows;
  mlir::Value column;
  int64_t columns;
};

/// The sequence that a workgroup works on; values are index.
struct SequenceValues {
  mlir::Value slot, first, length, past;
};

/// One kernel in the making.
class TileEmitter {
public:
  TileEmitter(llm::DispatchOp dispatch, mlir::func::FuncOp kernel) : dispatch(dispatch), kernel(kernel) {}

  /// The tile [rows, columns] of a value of the dispatch body. On failure reports once and returns a zero
  /// tile, so that emission can go on; `failed()` tells.
  mlir::Value tile(TileBuilder &t, mlir::Value v, const Tile &at);
  /// The kernel's tensor for an operand of the dispatch.
  mlir::Value argument(mlir::Value bodyArgument) { return arguments.lookup(bodyArgument); }
  void setArgument(mlir::Value bodyArgument, mlir::Value v) { arguments[bodyArgument] = v; }
  /// The second packing of a weight that a kernel reads in two orders.
  mlir::Value transposedArgument(mlir::Value bodyArgument) { return transposed.lookup(bodyArgument); }
  void setTransposedArgument(mlir::Value bodyArgument, mlir::Value v) { transposed[bodyArgument] = v; }
  /// A table of sequences of the dispatch, for kernels that read several.
  struct Table {
    mlir::Value where, rows;
  };
  const Table &table(mlir::Value bodyArgument) { return tables[bodyArgument]; }
  void setTable(mlir::Value bodyArgument, Table table) { tables[bodyArgument] = table; }
  /// From now on `tile` answers requests for all columns of `v`, or for the bound columns, with this tile.
  void bind(mlir::Value v, mlir::Value tile) { bound[v] = tile; }
  void unbind(mlir::Value v) { bound.erase(v); }

  /// Loads the row of the sequence table.
  SequenceValues sequence(TileBuilder &t, mlir::Value s) { return sequence(t, rows, s); }
  SequenceValues sequence(TileBuilder &t, mlir::Value rows, mlir::Value s);
  /// Rows of the whole call, T as an index value.
  mlir::Value tokens(TileBuilder &t) { return t.dim(where, 0); }
  mlir::Value sequences(TileBuilder &t) { return t.dim(rows, 0); }

  bool failed() const { return hasFailed; }
  mlir::Value fail(TileBuilder &t, mlir::Operation *op, const Tile &at, const llvm::Twine &reason);

  llm::DispatchOp dispatch;
  mlir::func::FuncOp kernel;
  mlir::Value where, rows;                     ///< the (last) sequence table; null if the dispatch has none
  llvm::SmallVector<mlir::Value> destinations; ///< one per result of the kernel
  llvm::SmallVector<int64_t> tied;             ///< for each of them the operand of the dispatch that it updates, or -1
  SequenceValues current = {};                 ///< the workgroup's sequence, for convolutions
  mlir::Value expert;                          ///< the workgroup's expert, for expert linears
  mlir::Value gathered;                        ///< the rows of an expert linear's input in the order of `order`
  bool isStep = false;                         ///< every sequence brings one token (the program `advance`)
  /// Stored type of a linear's weights.
  template <typename Op> mlir::Type weightType(Op op) {
    return TileBuilder::elementOf(argument(op.getWeights().front()));
  }

private:
  mlir::Value normTile(TileBuilder &t, llm::RmsNormOp op, const Tile &at);
  mlir::Value layerNormTile(TileBuilder &t, llm::LayerNormOp op, const Tile &at);
  mlir::Value l2Tile(TileBuilder &t, llm::L2NormOp op, const Tile &at);
  mlir::Value rotaryTile(TileBuilder &t, llm::RotaryOp op, const Tile &at);
  mlir::Value gateTile(TileBuilder &t, llm::DecayGateOp op, const Tile &at);
  mlir::Value convTile(TileBuilder &t, llm::ShortConvOp op, const Tile &at);
  mlir::Value convRows(TileBuilder &t, llm::ShortConvOp op, const Tile &at);
  mlir::Value mapTile(TileBuilder &t, llm::MapOp op, const Tile &at);
  mlir::Value concatTile(TileBuilder &t, llm::ConcatOp op, const Tile &at);
  /// `column`: the first of the weights' columns that x meets.
  mlir::Value linearTile(TileBuilder &t, mlir::Operation *op, mlir::Value x, mlir::Value panels, const Tile &at,
                         int64_t column = 0);
  /// a times panel `panel` [k, p] of `panels`, from weight column `column` on: [rows, p] for the rows of `at`, which may be fewer than those of `a`.
  mlir::Value product(TileBuilder &t, mlir::Value a, mlir::Value panels, mlir::Value panel, const Tile &at, int64_t column);
  /// A request for several groups of `width` columns, group by group.
  mlir::Value byGroups(TileBuilder &t, mlir::Value v, const Tile &at, int64_t width);

  llvm::DenseMap<mlir::Value, mlir::Value> arguments, bound, transposed;
  llvm::DenseMap<mlir::Value, Table> tables;
  bool hasFailed = false;
};

/// A piece of a result that a workgroup writes.
struct Piece {
  mlir::Value tile;
  unsigned result;
  llvm::SmallVector<mlir::Value> offsets;
  llvm::SmallVector<int64_t> sizes; ///< -1: the next of `dynamic`
  llvm::SmallVector<mlir::Value> dynamic = {};
};

/// The kernel's one `scf.forall` over `bounds` workgroups; `body` gets the coordinates and the destinations
/// to write.
void forAll(TileEmitter &e, TileBuilder &t, llvm::ArrayRef<mlir::Value> bounds,
            llvm::function_ref<llvm::SmallVector<Piece>(TileBuilder &, mlir::ValueRange at,
                                                        mlir::ValueRange destinations)>
                body);

/// Rows `0 .. count` in blocks of 8, the rest one by one. `body` gets the first row and the block's size and
/// returns the carried values.
llvm::SmallVector<mlir::Value>
byRows(TileBuilder &t, mlir::Value count, mlir::ValueRange init,
       llvm::function_ref<llvm::SmallVector<mlir::Value>(TileBuilder &, mlir::Value row, int64_t rows,
                                                         mlir::ValueRange carried)>
           body);

/// Rows of a product that are in registers at a time.
constexpr int64_t kFewRows = 8;
/// So many are worth it to widen weights into scratch first.
constexpr int64_t kManyRows = 16;

/// As byRows, but where there are many rows in blocks of up to `size` of them: `rows` is then -1 (TileBuilder::withRows).
llvm::SmallVector<mlir::Value>
byRowBlocks(TileBuilder &t, mlir::Value count, int64_t size, mlir::ValueRange init,
            llvm::function_ref<llvm::SmallVector<mlir::Value>(TileBuilder &, mlir::Value row, int64_t rows,
                                                              mlir::ValueRange carried)>
                body);

// Kernel skeletons by root op; each emits the body of `e.kernel` up to its return.
void emitEmbed(TileEmitter &e, TileBuilder &t, llm::EmbedOp op);
void emitRows(TileEmitter &e, TileBuilder &t, mlir::Operation *op);
void emitLinear(TileEmitter &e, TileBuilder &t, llm::LinearOp op);
void emitExpertLinear(TileEmitter &e, TileBuilder &t, llm::ExpertLinearOp op);
/// The rows of `op`'s input in the order of its `order`.
void emitGatherRows(TileEmitter &e, TileBuilder &t, llm::ExpertLinearOp op);
void emitCombineExperts(TileEmitter &e, TileBuilder &t, llm::CombineExpertsOp op);
void emitRoute(TileEmitter &e, TileBuilder &t, llm::RouteOp op);
void emitDispatchExperts(TileEmitter &e, TileBuilder &t, llm::DispatchExpertsOp op);
void emitAppend(TileEmitter &e, TileBuilder &t, llm::AppendOp op);
void emitAttention(TileEmitter &e, TileBuilder &t, llm::AttentionOp op);
/// A step's attention in two kernels: results and weights of `segments` parts of the context, [T, segments, H (dv + 1)], and their sum.
mlir::RankedTensorType segmentsType(llm::AttentionOp op, int64_t segments);
void emitAttentionSegments(TileEmitter &e, TileBuilder &t, llm::AttentionOp op);
void emitJoinSegments(TileEmitter &e, TileBuilder &t, llm::AttentionOp op, mlir::Value parts);
/// A step's latent attention in three kernels: the queries of all heads on the latents, [T, H, r + rope]; segments, [T, segments, H, r + 1],
/// of which the last column is the logarithm of the weight; and their sum.
mlir::RankedTensorType latentQueriesType(llm::LatentAttentionOp op);
mlir::RankedTensorType segmentsType(llm::LatentAttentionOp op, int64_t segments);
void emitLatentQueries(TileEmitter &e, TileBuilder &t, llm::LatentAttentionOp op);
void emitLatentSegments(TileEmitter &e, TileBuilder &t, llm::LatentAttentionOp op, mlir::Value queries);
void emitJoinLatentSegments(TileEmitter &e, TileBuilder &t, llm::LatentAttentionOp op, mlir::Value parts);
void emitLatentAttention(TileEmitter &e, TileBuilder &t, llm::LatentAttentionOp op);
void emitDeltaRule(TileEmitter &e, TileBuilder &t, llm::DeltaRuleOp op);
/// The new tail of a convolution for columns `column` .. `column + n`: the last W-1 inputs of the sequence.
mlir::Value newTail(TileEmitter &e, TileBuilder &t, llm::ShortConvOp conv, const SequenceValues &s, mlir::Value column, int64_t n);
/// The rule of a prompt in three kernels (DeltaRuleTiles.cpp): factors of the chunks, the scan over them, and what the dispatch makes of its rows.
bool canTileDeltaRule(llm::DispatchOp dispatch, llm::DeltaRuleOp op, const Tiles &tiles);
llvm::SmallVector<mlir::Type> deltaFactorTypes(llm::DeltaRuleOp op, const Tiles &tiles);
mlir::Type deltaOutputType(llm::DeltaRuleOp op);
void emitDeltaFactors(TileEmitter &e, TileBuilder &t, llm::DeltaRuleOp op);
void emitDeltaScan(TileEmitter &e, TileBuilder &t, llm::DeltaRuleOp op, mlir::ValueRange factors);
void emitDeltaFinish(TileEmitter &e, TileBuilder &t, llm::DeltaRuleOp op, mlir::Value rows);
/// Where heads are few the scan is cut along sequences (DeltaRuleSegments.cpp): tokens of a segment, or 0. Then there are three kernels more: maps of
/// segments, what segments add, both before the scan, which makes the states at their starts as well, and after it the rows in segments.
int64_t deltaSegment(llm::DeltaRuleOp op, const Tiles &tiles);
llvm::SmallVector<mlir::Type> deltaMapTypes(llm::DeltaRuleOp op);
mlir::Type deltaAdditionType(llm::DeltaRuleOp op);
void emitDeltaMaps(TileEmitter &e, TileBuilder &t, llm::DeltaRuleOp op, mlir::ValueRange factors);
void emitDeltaAdditions(TileEmitter &e, TileBuilder &t, llm::DeltaRuleOp op, mlir::ValueRange factors);
void emitDeltaSegments(TileEmitter &e, TileBuilder &t, llm::DeltaRuleOp op, mlir::ValueRange factors, mlir::Value starts);
void emitRotaryTable(TileEmitter &e, TileBuilder &t, llm::RotaryTableOp op);
void emitSample(TileEmitter &e, TileBuilder &t, llm::SampleOp op);
void emitWriteCanvas(TileEmitter &e, TileBuilder &t, llm::WriteCanvasOp op);
void emitReadCanvas(TileEmitter &e, TileBuilder &t, llm::ReadCanvasOp op);
void emitOpenBlock(TileEmitter &e, TileBuilder &t, llm::OpenBlockOp op);
void emitSelectRows(TileEmitter &e, TileBuilder &t, llm::SelectRowsOp op);
void emitGuide(TileEmitter &e, TileBuilder &t, llm::GuideOp op);
void emitUnmask(TileEmitter &e, TileBuilder &t, llm::UnmaskOp op);
void emitNextRows(TileEmitter &e, TileBuilder &t, llm::NextRowsOp op);
void emitEmitBlock(TileEmitter &e, TileBuilder &t, llm::EmitBlockOp op);
void emitRegroupRows(TileEmitter &e, TileBuilder &t, llm::RegroupRowsOp op);
void emitNoise(TileEmitter &e, TileBuilder &t, llm::NoiseOp op);
void emitOpenDraws(TileEmitter &e, TileBuilder &t, llm::OpenDrawsOp op);
void emitAcceptPatch(TileEmitter &e, TileBuilder &t, llm::AcceptPatchOp op);

/// The value that the dispatch yields as result `i`.
inline mlir::Value yielded(llm::DispatchOp dispatch, unsigned i) {
  return dispatch.getBody().front().getTerminator()->getOperand(i);
}

} // namespace llmc
