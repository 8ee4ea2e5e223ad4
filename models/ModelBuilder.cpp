// Implementation of the builders: see ModelBuilder.h.
#include "models/ModelBuilder.h"
#include "models/ProgramBuilder.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Verifier.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
namespace llmc {

RankedTensorType BlockBuilder::rows(int64_t columns) const {
  return RankedTensorType::get({ShapedType::kDynamic, columns}, b.getF32Type());
}

Value BlockBuilder::linear(Value x, Value weight, int64_t column) {
  int64_t n = cast<RankedTensorType>(weight.getType()).getDimSize(0);
  return llm::LinearOp::create(b, loc, rows(n), x, weight, b.getI64IntegerAttr(1), b.getI64IntegerAttr(column));
}

Value BlockBuilder::linear(Value x, Value weight, Value bias) {
  Value y = linear(x, weight);
  return bias ? add(y, bias) : y;
}

Value BlockBuilder::rmsNorm(Value x, Value weight, double eps, Value gate) {
  return llm::RmsNormOp::create(b, loc, x.getType(), x, weight, gate, b.getF64FloatAttr(eps));
}

Value BlockBuilder::layerNorm(Value x, Value weight, Value bias, double eps) {
  return llm::LayerNormOp::create(b, loc, x.getType(), x, weight, bias, b.getF64FloatAttr(eps));
}

Value BlockBuilder::l2Norm(Value x, int64_t heads, double eps, double scale) {
  return llm::L2NormOp::create(b, loc, x.getType(), x, b.getI64IntegerAttr(heads), b.getF64FloatAttr(eps),
                               b.getF64FloatAttr(scale));
}

Value BlockBuilder::slice(Value x, int64_t offset, int64_t columns) {
  return llm::SliceOp::create(b, loc, rows(columns), x, b.getI64IntegerAttr(offset));
}

Value BlockBuilder::map(ValueRange inputs, function_ref<Value(OpBuilder &, Location, ValueRange)> body) {
  auto op = llm::MapOp::create(b, loc, rows(llm::columns(inputs.front())), inputs);
  OpBuilder::InsertionGuard guard(b);
  Block *block = b.createBlock(&op.getBody());
  for (size_t i = 0; i < inputs.size(); ++i)
    block->addArgument(b.getF32Type(), loc);
  Value result = body(b, loc, block->getArguments());
  llm::YieldOp::create(b, loc, result);
  return op.getResult();
}

Value BlockBuilder::add(Value x, Value y) {
  return map({x, y}, [](OpBuilder &b, Location loc, ValueRange v) -> Value {
    return arith::AddFOp::create(b, loc, v[0], v[1]);
  });
}

/// 1 / (1 + exp(-x)): right for any x, since exp(-x) = inf gives 0.
static Value sigmoidOf(OpBuilder &b, Location loc, Value x) {
  Value one = arith::ConstantOp::create(b, loc, b.getF32FloatAttr(1.0f));
  Value e = math::ExpOp::create(b, loc, arith::NegFOp::create(b, loc, x));
  return arith::DivFOp::create(b, loc, one, arith::AddFOp::create(b, loc, one, e));
}

Value BlockBuilder::sigmoid(Value x) {
  return map({x}, [](OpBuilder &b, Location loc, ValueRange v) { return sigmoidOf(b, loc, v[0]); });
}

Value BlockBuilder::silu(Value x) {
  return map({x}, [](OpBuilder &b, Location loc, ValueRange v) -> Value {
    return arith::MulFOp::create(b, loc, v[0], sigmoidOf(b, loc, v[0]));
  });
}

Value BlockBuilder::siluMul(Value gate, Value up) {
  return map({gate, up}, [](OpBuilder &b, Location loc, ValueRange v) -> Value {
    Value silu = arith::MulFOp::create(b, loc, v[0], sigmoidOf(b, loc, v[0]));
    return arith::MulFOp::create(b, loc, silu, v[1]);
  });
}

Value BlockBuilder::weightRows(Value weight, int64_t groups, int64_t from, int64_t count) {
  auto type = cast<RankedTensorType>(weight.getType());
  auto part = RankedTensorType::get({groups, count, type.getShape().back()}, type.getElementType());
  return llm::PackOp::create(b, loc, part, weight, b.getI64IntegerAttr(groups), b.getI64IntegerAttr(0),
                             b.getI64IntegerAttr(from), b.getI64IntegerAttr(count));
}

Value BlockBuilder::experts(Value x, Value logits, const Routing &r, Value gate, Value up, Value down) {
  int64_t any = ShapedType::kDynamic, count = llm::columns(logits);
  auto ids = [&](ArrayRef<int64_t> shape) { return RankedTensorType::get(shape, b.getI32Type()); };
  auto route = llm::RouteOp::create(b, loc, ids({any, r.topK}), rows(r.topK), logits, r.bias,
                                    b.getStringAttr(r.scoring), b.getI64IntegerAttr(r.topK),
                                    b.getBoolAttr(r.renormalize), b.getF64FloatAttr(r.scale),
                                    b.getI64IntegerAttr(r.groups), b.getI64IntegerAttr(r.topGroups));
  auto grouped =
      llm::DispatchExpertsOp::create(b, loc, ids({any}), ids({any, r.topK}), ids({count, 3}), route.getIds());
  auto linear = [&](Value in, Value weight, int64_t gather) -> Value {
    int64_t columns = cast<RankedTensorType>(weight.getType()).getDimSize(1);
    return llm::ExpertLinearOp::create(b, loc, rows(columns), in, grouped.getOrder(), grouped.getGroups(),
                                       weight, b.getI64IntegerAttr(gather), b.getI64IntegerAttr(r.topK),
                                       b.getI64IntegerAttr(1));
  };
  Value gated = linear(x, gate, r.topK), raised = linear(x, up, r.topK);
  Value lowered = linear(siluMul(gated, raised), down, 0);
  return llm::CombineExpertsOp::create(b, loc, x.getType(), lowered, grouped.getPlace(), route.getWeights());
}

Value LayerBuilder::weight(StringRef name, ArrayRef<int64_t> shape,
                           std::vector<SmallVector<int64_t>> alternatives, Type usual) {
  weights.push_back({name.str(), SmallVector<int64_t>(shape), 0, std::move(alternatives), usual});
  Type type = RankedTensorType::get(shape, storedType(prefix + name.str(), usual));
  function.front().addArgument(type, loc);
  return function.front().getArguments().back();
}

/// The name of part e of stacked tensors.
static std::string partName(StringRef name, int64_t e) {
  auto [before, after] = name.split("{}");
  return (before + Twine(e) + after).str();
}

Value LayerBuilder::stackedWeight(StringRef name, int64_t stack, ArrayRef<int64_t> shape) {
  weights.push_back({name.str(), SmallVector<int64_t>(shape), stack});
  SmallVector<int64_t> full{stack};
  full.append(shape.begin(), shape.end());
  Type type = RankedTensorType::get(full, storedType(partName(prefix + name.str(), 0), {}));
  function.front().addArgument(type, loc);
  return function.front().getArguments().back();
}

Value LayerBuilder::state(StringRef name, ArrayRef<int64_t> shape, ArrayRef<StringRef> dims) {
  LayerState state{name.str(), SmallVector<int64_t>(shape), {}};
  for (StringRef dim : dims)
    state.dims.push_back(dim.str());
  states.push_back(std::move(state));
  function.front().addArgument(RankedTensorType::get(shape, b.getF32Type()), loc);
  updated.push_back(function.front().getArguments().back());
  return updated.back();
}

void LayerBuilder::setState(StringRef name, Value value) {
  for (auto [i, state] : llvm::enumerate(states))
    if (state.name == name)
      updated[i] = value;
}

ModelBuilder::ModelBuilder(MLIRContext *context, WeightType type)
    : builder(context), weightType(std::move(type)) {
  context->loadDialect<llm::LlmDialect, func::FuncDialect, arith::ArithDialect, math::MathDialect,
                       scf::SCFDialect>();
  module = ModuleOp::create(builder.getUnknownLoc());
  builder.setInsertionPointToEnd(module->getBody());
}

Type ModelBuilder::storedType(StringRef name, Type usual) {
  if (Type type = weightType(name))
    return type;
  if (usual)
    return usual;
  Type most = weightType("");
  return most ? most : builder.getBF16Type();
}

std::string ModelBuilder::signature(StringRef kind, StringRef prefix,
                                    const std::vector<LayerWeight> &weights) {
  std::string key = kind.str();
  llvm::raw_string_ostream out(key);
  for (const LayerWeight &w : weights)
    out << ";"
        << storedType(w.stack ? partName((prefix + w.name).str(), 0) : (prefix + w.name).str(), w.usual);
  return key;
}

void ModelBuilder::layer(StringRef kind, int64_t index, std::string prefix,
                         function_ref<void(LayerBuilder &)> body) {
  // An equal layer that is there already: same kind, same storage types of its weights.
  for (size_t known : kindsByName[kind.str()]) {
    auto found = kindBySignature.find(signature(kind, prefix, kinds[known].weights));
    if (found != kindBySignature.end() && found->second == known) {
      layers.push_back({known, index, std::move(prefix)});
      return;
    }
  }
  OpBuilder::InsertionGuard guard(builder);
  std::string name = kind.str();
  if (!kindsByName[kind.str()].empty())
    name += "_" + std::to_string(kindsByName[kind.str()].size());
  Location loc = NameLoc::get(builder.getStringAttr(name));
  auto function = func::FuncOp::create(builder, loc, name, builder.getFunctionType({}, {}));
  function.setPrivate();
  Block *block = function.addEntryBlock();
  builder.setInsertionPointToStart(block);

  LayerBuilder layerBuilder(builder, loc);
  layerBuilder.function = function;
  layerBuilder.prefix = prefix;
  auto typeOf = [&](StringRef weight, Type usual) { return storedType(weight, usual); };
  layerBuilder.storedType = typeOf;
  layerBuilder.x = block->addArgument(layerBuilder.rows(hidden), loc);
  layerBuilder.sequences = block->addArgument(llm::SequencesType::get(builder.getContext()), loc);
  if (sharedColumns)
    layerBuilder.shared = block->addArgument(layerBuilder.rows(sharedColumns), loc);
  if (seesBeyondRows)
    layerBuilder.seen = block->addArgument(layerBuilder.sequences.getType(), loc);
  unsigned fixed = block->getNumArguments();
  body(layerBuilder);

  SmallVector<Value> results{layerBuilder.x};
  results.append(layerBuilder.updated.begin(), layerBuilder.updated.end());
  func::ReturnOp::create(builder, loc, results);
  function.setType(builder.getFunctionType(block->getArgumentTypes(), ValueRange(results).getTypes()));

  // Weights and states arrive in the order of the calls; the call sites follow the same lists, so arguments
  // are put in the order: x, sequences, shared, seen, then weights and states as they were asked for.
  SmallVector<Attribute> order;
  for (BlockArgument arg : block->getArguments().drop_front(fixed))
    order.push_back(builder.getBoolAttr(
        llvm::is_contained(cast<RankedTensorType>(arg.getType()).getShape(), ShapedType::kDynamic)));
  function->setAttr("llm.state_args", builder.getArrayAttr(order));

  size_t id = kinds.size();
  kinds.push_back({function, layerBuilder.weights, layerBuilder.states});
  kindsByName[kind.str()].push_back(id);
  kindBySignature[signature(kind, prefix, layerBuilder.weights)] = id;
  layers.push_back({id, index, std::move(prefix)});
}

Value ModelBuilder::weightOp(BlockBuilder &b, const std::string &prefix, const LayerWeight &weight) {
  LayerWeight full = weight;
  full.name = prefix + weight.name;
  if (knownTensors.insert(full.name).second)
    tensorList.push_back(full);
  SmallVector<int64_t> shape(full.shape);
  if (full.stack)
    shape.insert(shape.begin(), full.stack);
  Type type =
      RankedTensorType::get(shape, storedType(full.stack ? partName(full.name, 0) : full.name, full.usual));
  return llm::WeightOp::create(b.b, b.loc, type, b.b.getStringAttr(full.name),
                               full.stack ? b.b.getI64IntegerAttr(full.stack) : IntegerAttr());
}

/// What the plan says about settings.
void ModelBuilder::describe(const std::vector<Setting> &list) {
  SmallVector<Attribute> settings;
  for (const Setting &s : list) {
    SmallVector<StringRef> words(s.words.begin(), s.words.end());
    settings.push_back(builder.getDictionaryAttr({
        builder.getNamedAttr("column", builder.getI64IntegerAttr(s.column)),
        builder.getNamedAttr("is_whole", builder.getBoolAttr(s.isWhole)),
        builder.getNamedAttr("least", builder.getF64FloatAttr(s.least)),
        builder.getNamedAttr("most", builder.getF64FloatAttr(s.most)),
        builder.getNamedAttr("name", builder.getStringAttr(s.name)),
        builder.getNamedAttr("standard", builder.getF64FloatAttr(s.standard)),
        builder.getNamedAttr("words", builder.getStrArrayAttr(words)),
    }));
  }
  (*module)->setAttr("llm.settings", builder.getArrayAttr(settings));
}

OwningOpRef<ModuleOp> ModelBuilder::finish(const Ends &ends, const ModelFacts &facts) {
  bool isAutoencoder = ends.patch && ends.patch->encodePatches;
  for (StringRef name : {"ingest", "advance", "score"})
    if (!isAutoencoder || name == "score")
      ProgramBuilder(*this, name, ends, facts).build();
  for (const Kind &kind : kinds)
    kind.function->removeAttr("llm.state_args");
  (*module)->setAttr("llm.family", builder.getStringAttr(facts.family));
  (*module)->setAttr("llm.vocab", builder.getI64IntegerAttr(facts.vocab));
  (*module)->setAttr("llm.context", builder.getI64IntegerAttr(facts.context));
  if (ends.canvas)
    describe(ends.canvas->settings);
  if (ends.canvas && !ends.canvas->block) // a sequence comes in one call
    (*module)->setAttr("llm.whole_sequences", builder.getUnitAttr());
  if (ends.patch) {
    describe(ends.patch->settings);
    if (!ends.patch->encodePatches) // what can only be drawn from can be sharpened, not flattened; 0.5 is the published default
      (*module)->setAttr("llm.temperature", builder.getDenseF64ArrayAttr({0.5, 1.0}));
    (*module)->setAttr("llm.patch", builder.getDenseI64ArrayAttr({ends.patch->patch, ends.patch->filler}));
  }
  int64_t parameters = 0;
  for (const LayerWeight &w : tensorList) {
    int64_t count = std::max<int64_t>(w.stack, 1);
    for (int64_t size : w.shape)
      count *= size;
    parameters += count;
  }
  (*module)->setAttr("llm.parameters", builder.getI64IntegerAttr(parameters));
  if (failed(verify(*module)))
    return nullptr;
  return std::move(module);
}

} // namespace llmc
