// The programs of models that work on patches of K tokens. Positions of layers, caches and masks are patches; tokens lie on a canvas,
// from which a patch is read when it enters the layers.
//
//      tokens  [ 0 .. K-1 ][ K .. 2K-1 ] ... [ last patch ]  | known
//      patches      0           1        ...   known/K - 1   |  drawn from the hidden state of the last patch
//
// `ingest` and `advance` begin at the patch before the first new token: whatever was drawn last is not in the caches yet.
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "models/PatchPrograms.h"
#include "models/ProgramBuilder.h"

using namespace mlir;
namespace llmc {

static constexpr int64_t kAny = ShapedType::kDynamic;
/// Draws of a sequence in one trip of the loop.
static constexpr int64_t kCandidateDraws = 32, kExactDraws = 16;
/// Most draws that the candidates' rule can look at, and that any rule makes; see the settings of the family.
static constexpr int64_t kPool = 1024, kMostDraws = 1 << 16;

static RankedTensorType idsType(OpBuilder &b) { return RankedTensorType::get({kAny}, b.getI32Type()); }
static RankedTensorType canvasType(OpBuilder &b) { return RankedTensorType::get({kAny, kAny}, b.getI32Type()); }

std::vector<Setting> settingsOfDraws() {
  return {
      {"calm-sampling", 0, 0, 0, 1, true, {"candidates", "exact"}},
      {"candidates", 1, 200, 1, kPool},
      {"most-draws", 2, 4096, 1, kMostDraws},
  };
}

PatchDecoding::Weights ProgramBuilder::weights() {
  return [this](const std::string &name, ArrayRef<int64_t> shape) { return model.weightOp(b, "", {name, SmallVector<int64_t>(shape)}); };
}

Value ProgramBuilder::regroup(Value x, int64_t columns, Value from, Value into) {
  return llm::RegroupRowsOp::create(builder, loc, b.rows(columns), x, from, into);
}

Value ProgramBuilder::forwardPatches(Value tokens, Value tokenRows, Value patchRows) {
  Value rows = llm::EmbedOp::create(builder, loc, b.rows(ends.hidden), tokens, table());
  Value joined = regroup(rows, ends.patch->patch * ends.hidden, tokenRows, patchRows);
  return normalized(forwardLayers(ends.patch->compress(b, weights(), joined), patchRows));
}

Value ProgramBuilder::tokensOf(Value latents, Value latentRows, Value tokenRows) {
  const PatchDecoding &how = *ends.patch;
  Value expanded = how.expand(b, weights(), latents);
  Value rows = regroup(expanded, llm::columns(expanded) / how.patch, latentRows, tokenRows);
  return llm::ArgmaxOp::create(builder, loc, idsType(builder), how.decode(b, weights(), rows));
}

/// Token rows and patch rows from the patch before `known` to `end`; see plan.program.
static std::array<SmallVector<std::string, 2>, 2> rowsToEnd(int64_t k) {
  std::string n = std::to_string(k), before = "known " + n + " div 1 max 1 sub";
  return {{{before + " " + n + " mul", "end"}, {before, "end " + n + " div"}}};
}
static SmallVector<StringRef, 2> refs(ArrayRef<std::string> terms) { return {terms[0], terms[1]}; }

void ProgramBuilder::buildByPatch() {
  if (ends.patch->encodePatches)
    return reconstruct();
  if (name == "advance")
    return advanceByPatch();
  auto rows = rowsToEnd(ends.patch->patch);
  Value in = tokens("T"), tokenRows = sequences("sequences", refs(rows[0])), patchRows = sequences("later", refs(rows[1]));
  DictionaryAttr canvasAttrs = named("llm.state", "canvas", {"SLOTS", "CTX"});
  Value before = argument(canvasType(builder), canvasAttrs);
  Value written = llm::WriteCanvasOp::create(builder, loc, before.getType(), in, before, tokenRows);
  bool score = name == "score";
  Value drawn = score ? draws() : Value();
  declareStates();
  Value hidden = forwardPatches(in, tokenRows, patchRows);
  if (score) {
    // Two independent draws of what follows each patch, at temperature 1; row t of theirs is a token of the patch after t's.
    Value context = ends.patch->context(b, weights(), hidden);
    for (int64_t k : {0, 1}) {
      Value noise = llm::NoiseOp::create(builder, loc, b.rows(ends.patch->noise), patchRows, drawn, Value(), builder.getI64IntegerAttr(3 + k));
      Value latents = ends.patch->draw(b, weights(), noise, context);
      give(tokensOf(latents, patchRows, tokenRows), named("llm.output", k ? "second" : "first", {"T"}));
      if (k == 0)
        give(latents, named("llm.output", "latents", {"T"}));
    }
  }
  give(written, canvasAttrs);
  giveStates();
}

void ProgramBuilder::advanceByPatch() {
  //   the last patch ─► hidden ─► context ─► one draw ─► accept ─► while any(more): draws ─► accept ─► emit_block
  //                                   └───── shared by all draws ──────────┘
  const PatchDecoding &how = *ends.patch;
  std::string k = std::to_string(how.patch), n = std::to_string(kCandidateDraws), fewer = std::to_string(kCandidateDraws - kExactDraws);
  std::string count = n + " calm-sampling " + fewer + " mul sub", last = "known " + k + " sub", patches = "known " + k + " div";
  Value lastTokens = sequences("sequences", {last, "known"}), lastPatch = sequences("later", {patches + " 1 sub", patches});
  Value block = sequences("block", {"known", "known " + k + " add end min"});
  Value drawRows = sequences("extra", {"0", count}), tokenRows = sequences("token", {"0", count + " " + k + " mul"});
  Value bound = bounds(), setting = settings(), sampled = sampling(), drawn = draws();
  DictionaryAttr canvasAttrs = named("llm.state", "canvas", {"SLOTS", "CTX"});
  Value before = argument(canvasType(builder), canvasAttrs);
  declareStates();

  Value tokens = llm::ReadCanvasOp::create(builder, loc, idsType(builder), before, lastTokens, Value(), IntegerAttr());
  Value context = how.context(b, weights(), forwardPatches(tokens, lastTokens, lastPatch));
  auto poolType = RankedTensorType::get({kAny, (kPool + 1) * how.patch}, builder.getI32Type());
  auto moreType = RankedTensorType::get({kAny, 1}, builder.getI32Type());
  auto opened = llm::OpenDrawsOp::create(builder, loc, numbers(builder), poolType, bound);

  // A trip: draws, and what becomes of them.
  auto trip = [&](Value progress, Value pool, Value canvas, Value contexts, Value rows, Value decoded) {
    Value noise = llm::NoiseOp::create(builder, loc, b.rows(how.noise), rows, drawn, progress, builder.getI64IntegerAttr(0));
    Value ids = tokensOf(how.draw(b, weights(), noise, contexts), rows, decoded);
    return llm::AcceptPatchOp::create(builder, loc, numbers(builder), poolType, canvas.getType(), moreType, ids, decoded, bound, sampled,
                                      drawn, setting, progress, pool, canvas, builder.getI64IntegerAttr(how.patch));
  };
  auto first = trip(opened.getProgress(), opened.getPool(), before, context, lastPatch, lastTokens);
  Value shared = llm::SelectRowsOp::create(builder, loc, context.getType(), context, lastPatch, drawRows, builder.getI64IntegerAttr(0));
  SmallVector<Value> carried{first.getMore(), first.getUpdated(), first.getAdvanced(), first.getPooled()};
  auto loop = scf::WhileOp::create(
      builder, loc, ValueRange(carried).getTypes(), carried,
      [&](OpBuilder &, Location, ValueRange args) {
        scf::ConditionOp::create(builder, loc, llm::AnyOp::create(builder, loc, builder.getI1Type(), args[0]), args);
      },
      [&](OpBuilder &, Location, ValueRange args) {
        auto next = trip(args[2], args[3], args[1], shared, drawRows, tokenRows);
        scf::YieldOp::create(builder, loc, ValueRange{next.getMore(), next.getUpdated(), next.getAdvanced(), next.getPooled()});
      });
  loop->setAttr("llm.at_most", builder.getI64IntegerAttr(kMostDraws / kExactDraws + 1));
  give(llm::EmitBlockOp::create(builder, loc, canvasType(builder), loop.getResult(1), block, bound, loop.getResult(2)),
       named("llm.output", "next", {"S", "CTX"}));
  give(loop.getResult(1), canvasAttrs);
  giveStates();
}

void ProgramBuilder::reconstruct() {
  const PatchDecoding &how = *ends.patch;
  std::string k = std::to_string(how.patch);
  Value in = tokens("T"), tokenRows = sequences("sequences", {"known", "end"}),
        patchRows = sequences("later", {"known " + k + " div", "end " + k + " div"});
  Value rows = how.encodeTokens(b, weights(), llm::EmbedOp::create(builder, loc, b.rows(ends.hidden), in, table()));
  Value latents = how.encodePatches(b, weights(), regroup(rows, how.patch * ends.hidden, tokenRows, patchRows));
  Value expanded = how.expand(b, weights(), latents);
  Value decoded = how.decode(b, weights(), regroup(expanded, llm::columns(expanded) / how.patch, patchRows, tokenRows));
  give(decoded, named("llm.output", "logits", {}));
}

} // namespace llmc
