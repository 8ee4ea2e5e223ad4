// See KernelParts.h.
#include "passes/chunk/KernelParts.h"
#include "passes/chunk/ColumnParts.h"

using namespace mlir;
namespace llmc {

/// What the first of two kernels over parts of columns writes: numbers, and the columns if it makes them and they are read again, by others
/// (then they are a result) or by the second kernel.
static SmallVector<KernelOut> outsOf(const ColumnParts &parts, bool areRead) {
  SmallVector<KernelOut> outs{{parts.type()}};
  if (!parts.linear() || !areRead)
    return outs;
  Operation *end = parts.linear()->getBlock()->getTerminator();
  auto found = llvm::find(end->getOperands(), parts.columns);
  int64_t result = found == end->getOperands().end() ? -1 : found - end->getOperands().begin();
  outs.push_back({parts.columns.getType(), result, parts.columns});
  return outs;
}

static SmallVector<KernelPart> deltaRuleParts(llm::DispatchOp dispatch, llm::DeltaRuleOp op, const Tiles &sizes) {
  const bool isCut = deltaSegment(op, sizes) != 0;
  SmallVector<KernelOut> factors, maps, states{{deltaOutputType(op)}}, last;
  for (Type type : deltaFactorTypes(op, sizes))
    factors.push_back({type});
  for (Type type : deltaMapTypes(op))
    maps.push_back({type});
  if (isCut)
    states.push_back({deltaOutputType(op)}); // at the starts of segments
  for (unsigned i = 0; i < dispatch.getNumResults(); ++i)
    (dispatch.getTied()[i] >= 0 ? states : last).push_back({dispatch.getResult(i).getType(), i});
  size_t rows = factors.size() + (isCut ? maps.size() + 1 : 0); // number of the scan's output
  SmallVector<KernelPart> parts{{"_factors", factors, [=](TileEmitter &e, TileBuilder &t, ValueRange) { emitDeltaFactors(e, t, op); }}};
  if (isCut) {
    parts.push_back({"_maps", maps, [=](TileEmitter &e, TileBuilder &t, ValueRange before) { emitDeltaMaps(e, t, op, before); }});
    parts.push_back({"_additions", {{deltaAdditionType(op)}}, [=](TileEmitter &e, TileBuilder &t, ValueRange before) { emitDeltaAdditions(e, t, op, before); }});
  }
  parts.push_back({"", states, [=](TileEmitter &e, TileBuilder &t, ValueRange before) { emitDeltaScan(e, t, op, before); }});
  if (isCut)
    parts.push_back({"_segments", {{deltaOutputType(op), -1, {}, int64_t(rows)}},
                     [=](TileEmitter &e, TileBuilder &t, ValueRange before) { emitDeltaSegments(e, t, op, before, before[rows + 1]); }});
  parts.push_back({"_finish", last, [=](TileEmitter &e, TileBuilder &t, ValueRange before) { emitDeltaFinish(e, t, op, before[rows]); }});
  return parts;
}

SmallVector<KernelPart> partsOf(llm::DispatchOp dispatch, Operation *root, const Tiles &sizes, bool isStep) {
  auto result = [&](int64_t i) { return KernelOut{dispatch.getResult(i).getType(), i}; };
  if (auto op = dyn_cast<llm::ArgmaxOp>(root))
    return {{"", outsOf(argmaxParts(op, sizes, isStep), false), [=](TileEmitter &e, TileBuilder &t, ValueRange) { emitArgmaxParts(e, t, op); }},
            {"_join", {result(0)}, [=](TileEmitter &e, TileBuilder &t, ValueRange before) { emitJoinArgmax(e, t, op, before[0]); }}};
  if (auto op = dyn_cast<llm::PredictOp>(root))
    return {{"", outsOf(predictParts(op, sizes, isStep), true), [=](TileEmitter &e, TileBuilder &t, ValueRange) { emitPredictParts(e, t, op); }},
            {"_join", {result(0), result(1)}, [=](TileEmitter &e, TileBuilder &t, ValueRange before) { emitJoinPredict(e, t, op, before[0]); }}};
  if (auto op = dyn_cast<llm::LogitStatisticsOp>(root)) {
    int64_t last = op->getBlock()->getTerminator()->getNumOperands() - 1;
    return {{"", outsOf(statisticsParts(op, sizes, isStep), true), [=](TileEmitter &e, TileBuilder &t, ValueRange) { emitStatisticsParts(e, t, op); }},
            {"_join", {result(last)}, [=](TileEmitter &e, TileBuilder &t, ValueRange before) { emitJoinStatistics(e, t, op, before[0]); }}};
  }
  int64_t segments = sizes.segments;
  if (auto op = dyn_cast<llm::DeltaRuleOp>(root); op && op.getForm() == "chunk" && sizes.deltaRows && !isStep && canTileDeltaRule(dispatch, op, sizes))
    return deltaRuleParts(dispatch, op, sizes);
  if (!isStep || segments <= 1)
    return {};
  if (auto op = dyn_cast<llm::AttentionOp>(root); op && !op.getBlock() && !op.getSeen())
    return {{"", {{segmentsType(op, segments)}}, [=](TileEmitter &e, TileBuilder &t, ValueRange) { emitAttentionSegments(e, t, op); }},
            {"_join", {result(0)}, [=](TileEmitter &e, TileBuilder &t, ValueRange before) { emitJoinSegments(e, t, op, before.back()); }}};
  if (auto op = dyn_cast<llm::LatentAttentionOp>(root); op && op.getForm() != "expanded")
    return {{"_query", {{latentQueriesType(op)}}, [=](TileEmitter &e, TileBuilder &t, ValueRange) { emitLatentQueries(e, t, op); }},
            {"", {{segmentsType(op, segments)}},
             [=](TileEmitter &e, TileBuilder &t, ValueRange before) { emitLatentSegments(e, t, op, before.back()); }},
            {"_join", {result(0)},
             [=](TileEmitter &e, TileBuilder &t, ValueRange before) { emitJoinLatentSegments(e, t, op, before.back()); }}};
  return {};
}

} // namespace llmc
