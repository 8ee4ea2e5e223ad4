// See ProgramBuilder.h.
#include "models/ProgramBuilder.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
namespace llmc {

static constexpr int64_t kAny = ShapedType::kDynamic;

ProgramBuilder::ProgramBuilder(ModelBuilder &model, StringRef name, const ModelBuilder::Ends &ends,
                               const ModelFacts &facts)
    : model(model), ends(ends), facts(facts), name(name.str()), builder(model.builder),
      loc(NameLoc::get(builder.getStringAttr(name))), b(builder, loc) {}

RankedTensorType ProgramBuilder::numbers(OpBuilder &b) { return RankedTensorType::get({kAny, 4}, b.getI32Type()); }

void ProgramBuilder::build() {
  OpBuilder::InsertionGuard guard(builder);
  function = func::FuncOp::create(builder, loc, name, builder.getFunctionType({}, {}));
  block = function.addEntryBlock();
  builder.setInsertionPointToStart(block);
  ends.patch ? buildByPatch() : ends.canvas ? buildOnCanvas() : buildTokenByToken();
  func::ReturnOp::create(builder, loc, results);
  function.setType(builder.getFunctionType(block->getArgumentTypes(), ValueRange(results).getTypes()));
  function.setAllArgAttrs(argAttrs);
  function.setAllResultAttrs(resultAttrs);
}

DictionaryAttr ProgramBuilder::named(StringRef key, StringRef value, ArrayRef<StringRef> dims, int64_t limit) {
  SmallVector<NamedAttribute> attrs{builder.getNamedAttr(key, builder.getStringAttr(value))};
  if (!dims.empty())
    attrs.push_back(builder.getNamedAttr("llm.dims", builder.getStrArrayAttr(dims)));
  if (limit)
    attrs.push_back(builder.getNamedAttr("llm.limit", builder.getI64IntegerAttr(limit)));
  return builder.getDictionaryAttr(attrs);
}

Value ProgramBuilder::argument(Type type, DictionaryAttr attrs) {
  argAttrs.push_back(attrs);
  return block->addArgument(type, loc);
}

Value ProgramBuilder::tokens(StringRef dim) {
  return argument(RankedTensorType::get({kAny}, builder.getI32Type()),
                  named("llm.input", "tokens", {dim}, facts.vocab));
}

Value ProgramBuilder::sequences(StringRef input, ArrayRef<StringRef> rows) {
  NamedAttrList attrs(named("llm.input", input, {}));
  if (!rows.empty())
    attrs.set("llm.span", builder.getStrArrayAttr(rows));
  return argument(llm::SequencesType::get(builder.getContext()), attrs.getDictionary(builder.getContext()));
}

Value ProgramBuilder::sampling() { return argument(b.rows(4), named("llm.input", "sampling", {"S"})); }
Value ProgramBuilder::draws() {
  return argument(RankedTensorType::get({kAny, 4}, builder.getI64Type()), named("llm.input", "draws", {"S"}));
}
Value ProgramBuilder::settings() { return argument(b.rows(8), named("llm.input", "settings", {"S"})); }
Value ProgramBuilder::bounds() { return argument(numbers(builder), named("llm.input", "bounds", {"S"})); }

void ProgramBuilder::give(Value v, DictionaryAttr attrs) {
  results.push_back(v);
  resultAttrs.push_back(attrs);
}

void ProgramBuilder::declareStates() {
  for (const ModelBuilder::Layer &layer : model.layers)
    for (const LayerState &state : model.kinds[layer.kind].states) {
      SmallVector<StringRef> dims(state.dims.begin(), state.dims.end());
      stateAttrs.push_back(named("llm.state", "layers." + std::to_string(layer.index) + "." + state.name, dims));
      states.push_back(argument(RankedTensorType::get(state.shape, builder.getF32Type()), stateAttrs.back()));
    }
}

void ProgramBuilder::giveStates() {
  for (auto [value, attrs] : llvm::zip_equal(states, stateAttrs))
    give(value, attrs);
}

Value ProgramBuilder::table() { return model.weightOp(b, "", {ends.embedding, {facts.vocab, ends.hidden}}); }

Value ProgramBuilder::forward(Value tokens, Value sequences, Value seen) {
  return forwardLayers(llm::EmbedOp::create(builder, loc, b.rows(ends.hidden), tokens, table()), sequences, seen);
}

Value ProgramBuilder::forwardLayers(Value x, Value sequences, Value seen) {
  Value shared = ends.shared ? ends.shared(b, sequences) : Value();
  MutableArrayRef<Value> next(states);
  for (const ModelBuilder::Layer &layer : model.layers) {
    const ModelBuilder::Kind &kind = model.kinds[layer.kind];
    SmallVector<Value> operands{x, sequences};
    if (shared)
      operands.push_back(shared);
    if (model.seesBeyondRows)
      operands.push_back(seen ? seen : sequences);
    size_t nextWeight = 0, nextState = 0;
    for (Attribute isState : cast<ArrayAttr>(kind.function->getAttr("llm.state_args")))
      operands.push_back(cast<BoolAttr>(isState).getValue()
                             ? next[nextState++]
                             : model.weightOp(b, layer.prefix, kind.weights[nextWeight++]));
    auto call = func::CallOp::create(builder, loc, kind.function, operands);
    x = call.getResult(0);
    for (Value updated : call.getResults().drop_front()) {
      next.front() = updated;
      next = next.drop_front();
    }
  }
  return x;
}

Value ProgramBuilder::normalized(Value hidden) {
  return b.rmsNorm(hidden, model.weightOp(b, "", {ends.norm, {ends.hidden}}), ends.eps);
}

Value ProgramBuilder::logits(Value normalized) {
  Value head = ends.head == ends.embedding ? table() : model.weightOp(b, "", {ends.head, {facts.vocab, ends.hidden}});
  return b.linear(normalized, head);
}

void ProgramBuilder::buildTokenByToken() {
  bool advance = name == "advance";
  Value in = tokens(advance ? "S" : "T"), seqs = sequences("sequences");
  Value sampled = advance ? sampling() : Value(), drawn = advance ? draws() : Value();
  declareStates();
  Value hidden = forward(in, seqs);
  if (name != "ingest") {
    Value row = logits(normalized(hidden));
    if (advance)
      give(llm::SampleOp::create(builder, loc, RankedTensorType::get({kAny, 1}, builder.getI32Type()), row, sampled,
                                 drawn),
           named("llm.output", "next", {}));
    give(row, named("llm.output", "logits", {}));
  }
  giveStates();
}

//===-- canvas --------------------------------------------------------------------------------------------===//

static RankedTensorType canvasType(OpBuilder &b) { return RankedTensorType::get({kAny, kAny}, b.getI32Type()); }

void ProgramBuilder::buildOnCanvas() {
  if (name == "advance")
    return advanceOnCanvas();
  // A prompt is put on the canvas; where whole blocks are kept, their keys and values are as well. `score` sees the tokens that it
  // is given, masks included.
  bool keeps = ends.canvas->block.has_value(), score = name == "score";
  Value in = tokens("T"), seqs = sequences("sequences");
  if (!score) {
    DictionaryAttr attrs = named("llm.state", "canvas", {"SLOTS", "CTX"});
    Value canvas = argument(canvasType(builder), attrs);
    give(llm::WriteCanvasOp::create(builder, loc, canvas.getType(), in, canvas, seqs), attrs);
  }
  if (!score && !keeps)
    return;
  declareStates();
  Value hidden = forward(in, seqs);
  if (score)
    give(logits(normalized(hidden)), named("llm.output", "logits", {}));
  giveStates();
}

/// The last normalised states of the block's rows, after a forward of the rows of `seqs`.
Value ProgramBuilder::blockStates(const Canvas &canvas, Value seqs, const CanvasInputs &in, bool seesPrompt) {
  const CanvasDecoding &how = *ends.canvas;
  auto ids = RankedTensorType::get({kAny}, builder.getI32Type());
  Value tokens = llm::ReadCanvasOp::create(builder, loc, ids, canvas.tokens, seqs, seesPrompt ? Value() : in.bounds,
                                           seesPrompt ? IntegerAttr() : builder.getI64IntegerAttr(how.mask));
  Value hidden = forward(tokens, seqs, in.seen);
  return normalized(llm::SelectRowsOp::create(builder, loc, hidden.getType(), hidden, seqs, in.block,
                                              builder.getI64IntegerAttr(how.shift)));
}

ProgramBuilder::Canvas ProgramBuilder::denoise(const Canvas &canvas, Value seqs, const CanvasInputs &in) {
  const CanvasDecoding &how = *ends.canvas;
  auto ids = RankedTensorType::get({kAny}, builder.getI32Type());
  IntegerAttr mask = builder.getI64IntegerAttr(how.mask);
  // Both forwards have the sequence's keys and values for themselves, one after the other: the second writes all that it reads.
  Value unprompted = in.unprompted ? blockStates(canvas, in.unprompted, in, /*seesPrompt=*/false) : Value();
  Value states = blockStates(canvas, seqs, in, /*seesPrompt=*/true);
  if (unprompted)
    states = llm::GuideOp::create(builder, loc, states.getType(), states, unprompted, in.block, in.settings);
  auto predicted = llm::PredictOp::create(builder, loc, ids, b.rows(1), logits(states), in.block, in.sampling, in.draws,
                                          in.settings, canvas.progress, mask,
                                          how.isTempered ? builder.getUnitAttr() : UnitAttr());
  auto unmasked = llm::UnmaskOp::create(builder, loc, canvas.tokens.getType(), numbers(builder),
                                        RankedTensorType::get({kAny, 1}, builder.getI32Type()), canvas.tokens,
                                        predicted.getTokens(), predicted.getConfidence(), in.block, in.bounds,
                                        in.settings, canvas.progress, builder.getStringAttr(how.rule), mask);
  return {unmasked.getUpdated(), unmasked.getAdvanced(), unmasked.getMore()};
}

/// Rows of the first forward, of later ones, of the block, and of the forward without the prompt, as postfix terms: see plan.span.
struct Spans {
  using Rows = std::array<std::string, 2>;
  Rows first, later, block, unprompted;
};

static Spans spansOf(const CanvasDecoding &how) {
  if (how.block) {
    std::string k = std::to_string(*how.block), from = "known " + k + " div " + k + " mul";
    Spans::Rows rows{from, from + " " + k + " add"};
    if (!how.isAnchored)
      return {rows, rows, rows, {}};
    // 1 where a block begins at `known` and something is before it: then the row before it comes first, alone.
    std::string anchored = " known 1 min 1 known " + from + " sub 1 min sub mul";
    return {{from + anchored + " sub", from + " " + k + " 1" + anchored + " sub mul add"}, rows, rows, {}};
  }
  Spans::Rows all{"0", "end"};
  if (!how.isSemiAutoregressive)
    return {all, all, {"known", "end"}, {}};
  // cache: 0 none, 1 prefix (later forwards begin at the block), 2 dual (they are the block). With guidance no keys and values outlast a
  // forward, and all rows are computed whatever `cache` says.
  std::string plain = " 1 guidance 1 min sub mul";
  return {all,
          {"known cache 1 min mul" + plain, "end end known block add end min sub cache 1 max 1 sub mul" + plain + " sub"},
          {"known", "known block add end min"},
          {"0", "end guidance 1 min mul"}};
}

llm::NextRowsOp ProgramBuilder::nextRows(const Canvas &canvas, Value later, const CanvasInputs &in) {
  return llm::NextRowsOp::create(builder, loc, later.getType(), RankedTensorType::get({kAny, 1}, builder.getI32Type()), canvas.tokens, later,
                                 in.block, in.bounds, in.settings, canvas.progress, builder.getI64IntegerAttr(ends.canvas->mask));
}

/// Steps after the first one, as long as a sequence has masks. Where steps are narrowed, the loop carries the rows of the next one.
ProgramBuilder::Canvas ProgramBuilder::denoiseInSteps(Canvas canvas, Value later, const CanvasInputs &in) {
  bool narrows = ends.canvas->narrowsSteps;
  auto carry = [&](const Canvas &canvas) {
    SmallVector<Value> carried{canvas.more, canvas.tokens, canvas.progress};
    if (narrows) {
      llm::NextRowsOp next = nextRows(canvas, later, in);
      carried = {next.getCounts(), canvas.tokens, canvas.progress, next.getRows()};
    }
    carried.append(states.begin(), states.end());
    return carried;
  };
  SmallVector<Value> begin = carry(canvas);
  size_t fixed = begin.size() - states.size();
  auto loop = scf::WhileOp::create(
      builder, loc, ValueRange(begin).getTypes(), begin,
      [&](OpBuilder &, Location, ValueRange args) {
        Value goesOn = llm::AnyOp::create(builder, loc, builder.getI1Type(), args[0]);
        scf::ConditionOp::create(builder, loc, goesOn, args);
      },
      [&](OpBuilder &, Location, ValueRange args) {
        states.assign(args.begin() + fixed, args.end());
        CanvasInputs step = in;
        if (narrows)
          step.block = args[3];
        scf::YieldOp::create(builder, loc, carry(denoise({args[1], args[2], {}}, narrows ? args[3] : later, step)));
      });
  // Every step of a block with masks commits one, or is one of `steps` that commit none yet; a few more may edit what was committed.
  loop->setAttr("llm.at_most", builder.getI64IntegerAttr(2 * facts.context + kMostPolishing));
  states.assign(loop.getResults().begin() + fixed, loop.getResults().end());
  return {loop.getResult(1), loop.getResult(2), {}};
}

void ProgramBuilder::advanceOnCanvas() {
  //   open_block ─► denoise (first rows) ─► while any(more): denoise (later rows) ─► [the finished block once more, whose keys
  //   and values are kept] ─► emit_block
  const CanvasDecoding &how = *ends.canvas;
  Spans spans = spansOf(how);
  auto rows = [&](StringRef name, const Spans::Rows &ends) { return sequences(name, {ends[0], ends[1]}); };
  Value first = rows("sequences", spans.first), later = rows("later", spans.later);
  CanvasInputs in;
  in.block = rows("block", spans.block);
  in.seen = how.block ? in.block : first; // a first forward's rows reach to the end of what is seen, later ones' need not
  if (how.isGuided)
    in.unprompted = rows("extra", spans.unprompted);
  in.bounds = bounds();
  in.settings = settings();
  in.sampling = sampling();
  in.draws = draws();
  DictionaryAttr canvasAttrs = named("llm.state", "canvas", {"SLOTS", "CTX"});
  Value before = argument(canvasType(builder), canvasAttrs);
  declareStates();

  auto opened = llm::OpenBlockOp::create(builder, loc, before.getType(), numbers(builder), before,
                                         how.block ? in.block : first, in.block, in.bounds, builder.getI64IntegerAttr(how.mask));
  Canvas canvas = denoise({opened.getUpdated(), opened.getProgress(), {}}, first, in);
  canvas = denoiseInSteps(canvas, later, in);
  if (how.block) {
    auto ids = RankedTensorType::get({kAny}, builder.getI32Type());
    Value final = llm::ReadCanvasOp::create(builder, loc, ids, canvas.tokens, later, Value(), IntegerAttr());
    forward(final, later);
  }
  give(llm::EmitBlockOp::create(builder, loc, canvasType(builder), canvas.tokens, in.block, in.bounds, canvas.progress),
       named("llm.output", "next", {"S", "CTX"}));
  give(canvas.tokens, canvasAttrs);
  giveStates();
}

} // namespace llmc
