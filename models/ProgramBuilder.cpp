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

Value ProgramBuilder::forward(Value tokens, Value sequences, Value bounds) {
  return forwardLayers(llm::EmbedOp::create(builder, loc, b.rows(ends.hidden), tokens, table()), sequences, bounds);
}

Value ProgramBuilder::forwardLayers(Value x, Value sequences, Value bounds) {
  Value shared = ends.shared ? ends.shared(b, sequences) : Value();
  MutableArrayRef<Value> next(states);
  for (const ModelBuilder::Layer &layer : model.layers) {
    const ModelBuilder::Kind &kind = model.kinds[layer.kind];
    SmallVector<Value> operands{x, sequences};
    if (shared)
      operands.push_back(shared);
    if (bounds)
      operands.push_back(bounds);
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

Value ProgramBuilder::logits(Value hidden) {
  Value head = ends.head == ends.embedding ? table() : model.weightOp(b, "", {ends.head, {facts.vocab, ends.hidden}});
  return b.linear(normed(hidden), head);
}

Value ProgramBuilder::normed(Value hidden) {
  return b.rmsNorm(hidden, model.weightOp(b, "", {ends.norm, {ends.hidden}}), ends.eps);
}

void ProgramBuilder::buildTokenByToken() {
  bool advance = name == "advance";
  Value in = tokens(advance ? "S" : "T"), seqs = sequences("sequences");
  Value sampled = advance ? sampling() : Value(), drawn = advance ? draws() : Value();
  declareStates();
  Value hidden = forward(in, seqs, {});
  if (name != "ingest") {
    Value row = logits(hidden);
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
  Value end = score && !keeps ? bounds() : Value();
  if (!score) {
    DictionaryAttr attrs = named("llm.state", "canvas", {"SLOTS", "CTX"});
    Value canvas = argument(canvasType(builder), attrs);
    give(llm::WriteCanvasOp::create(builder, loc, canvas.getType(), in, canvas, seqs), attrs);
  }
  if (!score && !keeps)
    return;
  declareStates();
  Value hidden = forward(in, seqs, end);
  if (score)
    give(logits(hidden), named("llm.output", "logits", {}));
  giveStates();
}

ProgramBuilder::Canvas ProgramBuilder::denoise(const Canvas &canvas, Value seqs, const CanvasInputs &in) {
  const CanvasDecoding &how = *ends.canvas;
  auto ids = RankedTensorType::get({kAny}, builder.getI32Type());
  IntegerAttr mask = builder.getI64IntegerAttr(how.mask);
  Value tokens = llm::ReadCanvasOp::create(builder, loc, ids, canvas.tokens, seqs, Value(), IntegerAttr());
  Value hidden = forward(tokens, seqs, how.block ? Value() : in.bounds);
  Value wanted = llm::SelectRowsOp::create(builder, loc, hidden.getType(), hidden, seqs, in.block,
                                           builder.getI64IntegerAttr(how.shift));
  auto predicted = llm::PredictOp::create(builder, loc, ids, b.rows(1), logits(wanted), in.block, in.sampling, in.draws,
                                          in.settings, canvas.progress, mask,
                                          how.isTempered ? builder.getUnitAttr() : UnitAttr());
  auto unmasked = llm::UnmaskOp::create(builder, loc, canvas.tokens.getType(), numbers(builder),
                                        RankedTensorType::get({kAny, 1}, builder.getI32Type()), canvas.tokens,
                                        predicted.getTokens(), predicted.getConfidence(), in.block, in.bounds,
                                        in.settings, canvas.progress, builder.getStringAttr(how.rule), mask);
  return {unmasked.getUpdated(), unmasked.getAdvanced(), unmasked.getMore()};
}

/// Rows of the first forward, of later ones, and of the block, as postfix terms: see plan.span.
static std::array<SmallVector<StringRef, 2>, 3> spansOf(const CanvasDecoding &how, std::string &blockFrom, std::string &blockTo) {
  if (how.block) {
    std::string k = std::to_string(*how.block);
    blockFrom = "known " + k + " div " + k + " mul";
    blockTo = blockFrom + " " + k + " add";
    SmallVector<StringRef, 2> rows{blockFrom, blockTo};
    return {rows, rows, rows};
  }
  if (!how.isSemiAutoregressive)
    return {{{"0", "end"}, {"0", "end"}, {"known", "end"}}};
  // cache: 0 none, 1 prefix (later forwards begin at the block), 2 dual (they are the block).
  return {{{"0", "end"},
           {"known cache 1 min mul", "end end known block add end min sub cache 1 max 1 sub mul sub"},
           {"known", "known block add end min"}}};
}

void ProgramBuilder::advanceOnCanvas() {
  //   open_block ─► denoise (first rows) ─► while any(more): denoise (later rows) ─► [the finished block once more, whose keys
  //   and values are kept] ─► emit_block
  const CanvasDecoding &how = *ends.canvas;
  std::string from, to;
  auto spans = spansOf(how, from, to);
  Value first = sequences("sequences", spans[0]), later = sequences("later", spans[1]);
  CanvasInputs in;
  in.block = sequences("block", spans[2]);
  in.bounds = bounds();
  in.settings = settings();
  in.sampling = sampling();
  in.draws = draws();
  DictionaryAttr canvasAttrs = named("llm.state", "canvas", {"SLOTS", "CTX"});
  Value before = argument(canvasType(builder), canvasAttrs);
  declareStates();

  auto opened = llm::OpenBlockOp::create(builder, loc, before.getType(), numbers(builder), before, first, in.block,
                                         in.bounds, builder.getI64IntegerAttr(how.mask));
  Canvas canvas = denoise({opened.getUpdated(), opened.getProgress(), {}}, first, in);

  SmallVector<Value> carried{canvas.more, canvas.tokens, canvas.progress};
  carried.append(states.begin(), states.end());
  auto loop = scf::WhileOp::create(
      builder, loc, ValueRange(carried).getTypes(), carried,
      [&](OpBuilder &, Location, ValueRange args) {
        Value goesOn = llm::AnyOp::create(builder, loc, builder.getI1Type(), args[0]);
        scf::ConditionOp::create(builder, loc, goesOn, args);
      },
      [&](OpBuilder &, Location, ValueRange args) {
        states.assign(args.begin() + 3, args.end());
        Canvas next = denoise({args[1], args[2], {}}, later, in);
        SmallVector<Value> passed{next.more, next.tokens, next.progress};
        passed.append(states.begin(), states.end());
        scf::YieldOp::create(builder, loc, passed);
      });
  // Every step of a block with masks commits one, or is one of `steps` that commit none yet; 16 more may edit what was committed.
  loop->setAttr("llm.at_most", builder.getI64IntegerAttr(2 * facts.context + 16));
  canvas = {loop.getResult(1), loop.getResult(2), {}};
  states.assign(loop.getResults().begin() + 3, loop.getResults().end());
  if (how.block) {
    auto ids = RankedTensorType::get({kAny}, builder.getI32Type());
    Value final = llm::ReadCanvasOp::create(builder, loc, ids, canvas.tokens, later, Value(), IntegerAttr());
    forward(final, later, {});
  }
  give(llm::EmitBlockOp::create(builder, loc, canvasType(builder), canvas.tokens, in.block, in.bounds, canvas.progress),
       named("llm.output", "next", {"S", "CTX"}));
  give(canvas.tokens, canvasAttrs);
  giveStates();
}

} // namespace llmc
