// See BuildArtifact.h.
#include "codegen/BuildArtifact.h"
#include "codegen/Spans.h"
#include "dialect/plan/Extent.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
namespace llmc {
namespace {

absl::StatusOr<runtime::ElementType> elementType(Type type) {
  using E = runtime::ElementType;
  if (type.isF32())
    return E::f32;
  if (type.isBF16())
    return E::bf16;
  if (type.isF16())
    return E::f16;
  if (type.isF64())
    return E::f64;
  for (auto [bits, e] : {std::pair(64, E::i64), {32, E::i32}, {16, E::i16}, {8, E::i8}, {1, E::i1}})
    if (type.isInteger(bits))
      return e;
  std::string text;
  llvm::raw_string_ostream(text) << type;
  return absl::InternalError("element type " + text + " has no place in an artifact");
}

/// The shape of a tensor type whose dynamic dimensions are named by `dims` ("T", "8*T").
absl::StatusOr<runtime::Shape> shapeOf(RankedTensorType type, ArrayAttr dims) {
  runtime::Shape shape;
  size_t next = 0;
  for (int64_t size : type.getShape()) {
    runtime::Dim dim;
    if (size != ShapedType::kDynamic) {
      dim.multiplier = size;
    } else {
      if (!dims || next == dims.size())
        return absl::InternalError("a dynamic dimension has no name");
      llvm::StringRef text = cast<StringAttr>(dims[next++]).getValue();
      std::optional<plan::Extent> extent = plan::parseExtent(text);
      if (!extent)
        return absl::InternalError("dimension " + text.str() + " is not known");
      dim.multiplier = extent->factor;
      for (auto s : {runtime::Symbol::tokens, runtime::Symbol::sequences, runtime::Symbol::slots,
                     runtime::Symbol::context, runtime::Symbol::contextBlocks})
        if (extent->name() == runtime::symbolName(s))
          dim.symbol = s;
    }
    shape.push_back(dim);
  }
  return shape;
}

/// Bytes that one token of the program must move, for benchmarks: weights (of experts the active ones) once,
/// and states by how they grow.
void addTraffic(ModuleOp planned, plan::ProgramOp program, runtime::Metadata &metadata) {
  SymbolTable symbols(planned);
  double weights = 0, fixed = 0, perToken = 0;
  llvm::StringSet<> states;
  for (auto dispatch : program.getBody().front().getOps<plan::DispatchOp>()) { // a loop's trips come on top
    auto kernel = symbols.lookup<func::FuncOp>(dispatch.getKernel());
    for (auto [i, name] : llvm::enumerate(dispatch.getBuffers().getAsValueRange<FlatSymbolRefAttr>())) {
      auto buffer = symbols.lookup<plan::BufferOp>(name);
      auto type = cast<RankedTensorType>(buffer.getType());
      double bytes = type.getElementTypeBitWidth() / 8;
      for (int64_t size : type.getShape())
        bytes *= size == ShapedType::kDynamic ? 1 : size;
      if (buffer.getKind() == "weight") {
        auto share = kernel.getArgAttrOfType<FloatAttr>(i, "llm.read_share");
        weights += share ? bytes * share.getValueAsDouble() : bytes;
      } else if (buffer.getKind() == "state" && states.insert(name).second) {
        bool grows = false, blocks = false;
        for (auto dim : buffer.getDims()->getAsValueRange<StringAttr>()) {
          grows |= dim == "CTX" || dim == "CTXB";
          blocks |= dim == "CTXB";
        }
        (grows ? perToken : fixed) += blocks ? bytes / runtime::kContextBlock : bytes;
      }
    }
  }
  metadata.entries.push_back(
      {program.getSymName().str() + "_weight_bytes", std::to_string((uint64_t)weights)});
  if (program.getSymName() != "advance")
    return;
  metadata.entries.push_back({"state_bytes", std::to_string((uint64_t)fixed)});
  metadata.entries.push_back({"state_bytes_per_token", std::to_string((uint64_t)perToken)});
}

} // namespace

absl::StatusOr<ArtifactContents> buildArtifact(ModuleOp planned, std::vector<TargetCode> code,
                                               const TensorSource &source) {
  ArtifactContents contents;
  runtime::Plan &plan = contents.plan;
  auto number = [&](StringRef key) {
    auto attr = planned->getAttrOfType<IntegerAttr>(key);
    return attr ? attr.getInt() : 0;
  };
  if (auto family = planned->getAttrOfType<StringAttr>("llm.family"))
    plan.metadata.family = family.str();
  if (auto predicts = planned->getAttrOfType<ArrayAttr>("llm.predicts"))
    plan.metadata.entries.push_back(
        {runtime::kPredictsKey, llvm::join(predicts.getAsValueRange<StringAttr>(), ", ")});
  plan.metadata.producer = "llmc 0.1";
  plan.metadata.vocab = number("llm.vocab");
  plan.metadata.context = number("llm.context");
  if (int64_t parameters = number("llm.parameters"))
    plan.metadata.entries.push_back({"parameters", std::to_string(parameters)});
  plan.metadata.maxTokens = number("llm.max_tokens");
  plan.metadata.maxSequences = number("llm.max_sequences");
  // A call that has no room for such a piece does not need it: what wants it begins with whole pieces.
  if (int64_t piece = number("llm.piece_tokens"); piece && piece <= plan.metadata.maxTokens)
    plan.metadata.pieceTokens = piece;
  plan.metadata.settings = settingsOf(planned);
  if (auto patch = planned->getAttrOfType<DenseI64ArrayAttr>("llm.patch")) {
    plan.metadata.patch = patch[0];
    plan.metadata.filler = patch[1];
  }
  if (auto range = planned->getAttrOfType<DenseF64ArrayAttr>("llm.temperature")) {
    plan.metadata.temperature = range[0];
    plan.metadata.mostTemperature = range[1];
  }

  for (TargetCode &object : code) {
    runtime::CodeObject entry;
    entry.target = object.target;
    entry.level = object.level;
    entry.merged = std::move(object.merged);
    if (object.target == runtime::kLoopTestTarget)
      entry.launches.push_back(object.launches.begin()->second);
    for (auto function : planned.getOps<func::FuncOp>())
      if (function->hasAttr("llm.kernel") && object.target == "cuda") {
        auto launch = object.launches.find(function.getName().str());
        if (launch == object.launches.end())
          return absl::InternalError("kernel '" + function.getName().str() + "' has no launch for " +
                                     object.level);
        entry.launches.push_back(launch->second);
      }
    entry.blob = contents.blobs.size();
    contents.blobs.push_back(blobOf(std::string(object.bytes.begin(), object.bytes.end())));
    plan.codeObjects.push_back(std::move(entry));
  }

  llvm::StringMap<uint32_t> kernels, buffers;
  for (auto function : planned.getOps<func::FuncOp>()) {
    if (!function->hasAttr("llm.kernel"))
      continue;
    runtime::Kernel kernel;
    kernel.name = function.getName().str();
    for (BlockArgument arg : function.getArguments()) {
      auto type = cast<RankedTensorType>(arg.getType());
      auto element = elementType(type.getElementType());
      auto shape = shapeOf(type, function.getArgAttrOfType<ArrayAttr>(arg.getArgNumber(), "llm.dims"));
      if (!element.ok() || !shape.ok())
        return element.ok() ? shape.status() : element.status();
      kernel.parameters.push_back(
          {*element, *shape, function.getArgAttr(arg.getArgNumber(), "llm.written") != nullptr});
    }
    kernels[kernel.name] = plan.kernels.size();
    plan.kernels.push_back(std::move(kernel));
  }

  for (auto op : planned.getOps<plan::BufferOp>()) {
    auto type = cast<RankedTensorType>(op.getType());
    auto element = elementType(type.getElementType());
    auto shape = shapeOf(type, op.getDimsAttr());
    if (!element.ok() || !shape.ok())
      return element.ok() ? shape.status() : element.status();
    runtime::Buffer buffer;
    buffer.name = op.getSymName().str();
    buffer.type = *element;
    buffer.shape = *shape;
    StringRef kind = op.getKind();
    using K = runtime::BufferKind;
    buffer.kind = kind == "input"    ? K::input
                  : kind == "output" ? K::output
                  : kind == "weight" ? K::weight
                  : kind == "state"  ? K::state
                                     : K::transient;
    if (buffer.kind == K::input || buffer.kind == K::output) // "ingest.tokens" is the program's "tokens"
      buffer.name = op.getSymName().rsplit('.').second.str();
    if (buffer.kind == K::transient)
      buffer.arenaOffset = op.getOffset().value_or(0);
    if (buffer.kind == K::weight) {
      buffer.blob = contents.blobs.size();
      contents.blobs.push_back(packedWeight(op, source));
    }
    buffers[op.getSymName()] = plan.buffers.size();
    plan.buffers.push_back(std::move(buffer));
  }

  for (auto op : planned.getOps<plan::ProgramOp>()) {
    runtime::Program program;
    program.name = op.getSymName().str();
    auto ids = [&](ArrayAttr names) {
      std::vector<uint32_t> list;
      for (auto name : names.getAsValueRange<FlatSymbolRefAttr>())
        list.push_back(buffers.lookup(name));
      return list;
    };
    program.inputs = ids(op.getInputs());
    program.outputs = ids(op.getOutputs());
    auto add = [&](plan::DispatchOp dispatch) {
      program.steps.push_back(runtime::Dispatch{kernels.lookup(dispatch.getKernel()), ids(dispatch.getBuffers()),
                                                (uint8_t)dispatch.getSpan()});
    };
    for (Operation &step : op.getBody().front()) {
      auto loop = dyn_cast<plan::LoopOp>(step);
      if (!loop) {
        add(cast<plan::DispatchOp>(step));
        continue;
      }
      uint32_t first = program.steps.size();
      for (auto dispatch : loop.getBody().front().getOps<plan::DispatchOp>())
        add(dispatch);
      program.loops.push_back({first, (uint32_t)program.steps.size() - first, buffers.lookup(loop.getCondition()),
                               (uint32_t)loop.getAtMost(), (uint32_t)loop.getRows().value_or(0)});
    }
    if (op.getSpans())
      for (auto [i, ends] : llvm::enumerate(op.getSpans()->getAsRange<ArrayAttr>())) {
        auto from = parseSpanTerms(cast<StringAttr>(ends[0]), plan.metadata.settings),
             to = parseSpanTerms(cast<StringAttr>(ends[1]), plan.metadata.settings);
        if (!from.ok() || !to.ok())
          return from.ok() ? to.status() : from.status();
        program.spans.push_back({*from, *to, (uint32_t)(op.getMaxRows() ? (*op.getMaxRows())[i] : 0)});
      }
    program.arenaBytes = op.getArenaBytes().value_or(0);
    addTraffic(planned, op, plan.metadata);
    plan.programs.push_back(std::move(program));
  }
  return contents;
}

} // namespace llmc
