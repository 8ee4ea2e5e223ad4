// What a plan must satisfy for the engine to run it without looking again: indices, shapes, alignments,
// bounds, kernel signatures, and the inputs and outputs that programs have in common. Used by the loader and,
// before it writes, by the writer.
#include "runtime/Artifact.h"
#include <algorithm>
#include <set>

namespace llmc::runtime {
namespace {

constexpr size_t kMaxRank = 8;
constexpr size_t kMaxNameBytes = 512;
constexpr uint64_t kMaxRows = 1 << 16;
constexpr uint64_t kMaxVocab = 1 << 24;
constexpr uint64_t kMaxContext = 1u << 30;
constexpr uint64_t kMaxSharedBytes = 1 << 20;
constexpr uint64_t kMaxScratchBytes = 1 << 24;

class PlanVerifier {
public:
  PlanVerifier(const Plan &plan, const std::vector<uint64_t> &blobBytes, const std::string &file,
               const std::vector<bool> &isAbsent)
      : plan_(plan), blobBytes_(blobBytes), file_(file), isAbsent_(isAbsent) {}

  absl::Status verify() {
    if (absl::Status s = checkMetadata(); !s.ok())
      return s;
    if (absl::Status s = checkKernels(); !s.ok())
      return s;
    for (size_t i = 0; i < plan_.codeObjects.size(); ++i)
      if (absl::Status s = checkCodeObject(i); !s.ok())
        return s;
    for (size_t i = 0; i < plan_.buffers.size(); ++i)
      if (absl::Status s = checkBuffer(i); !s.ok())
        return s;
    std::set<std::string> names;
    for (const Program &program : plan_.programs) {
      if (!isName(program.name))
        return fail("program " + number(names.size()) + " has no usable name");
      if (!names.insert(program.name).second)
        return fail("program '" + program.name + "' occurs twice");
      if (absl::Status s = checkProgram(program); !s.ok())
        return s;
    }
    if (plan_.modelBlob)
      if (absl::Status s = checkBlobIndex("the model's text", *plan_.modelBlob); !s.ok())
        return s;
    return checkTokenizer();
  }

private:
  absl::Status fail(const std::string &what) const { return damagedArtifact(file_, what); }
  static std::string number(uint64_t n) { return std::to_string(n); }

  static bool isName(const std::string &name) {
    if (name.empty() || name.size() > kMaxNameBytes)
      return false;
    for (char c : name)
      if (static_cast<unsigned char>(c) < 0x21 || c == 0x7f)
        return false;
    return true;
  }

  absl::Status checkRange(const char *what, uint64_t value, uint64_t low, uint64_t high) const {
    if (value < low || value > high)
      return fail(std::string("metadata: ") + what + " is " + number(value) + ", expected " + number(low) +
                  " to " + number(high));
    return absl::OkStatus();
  }

  absl::Status checkMetadata() {
    const Metadata &m = plan_.metadata;
    if (absl::Status s = checkRange("vocab", m.vocab, 1, kMaxVocab); !s.ok())
      return s;
    if (absl::Status s = checkRange("context", m.context, 1, kMaxContext); !s.ok())
      return s;
    if (absl::Status s = checkRange("max_tokens", m.maxTokens, 1, kMaxRows); !s.ok())
      return s;
    // advance has one row per sequence, so the rows bound the sequences.
    if (absl::Status s = checkRange("max_sequences", m.maxSequences, 1, m.maxTokens); !s.ok())
      return s;
    if (m.pieceTokens == 0 || m.pieceTokens % 64 || m.pieceTokens > kMaxRows)
      return fail("metadata: piece_tokens is " + number(m.pieceTokens) + ", expected a multiple of 64 up to " + number(kMaxRows));
    for (uint32_t token : m.eos)
      if (token >= m.vocab)
        return fail("metadata: eos token " + number(token) + " is outside the vocabulary of " +
                    number(m.vocab));
    if (m.bos < -1 || m.bos >= static_cast<int64_t>(m.vocab))
      return fail("metadata: bos token " + std::to_string(m.bos) + " is outside the vocabulary of " +
                  number(m.vocab));
    if (m.patch && (m.patch > kContextBlock || kContextBlock % m.patch || m.filler >= m.vocab))
      return fail("metadata: patches of " + number(m.patch) + " tokens completed with token " + number(m.filler) + ", expected a divisor of " +
                  number(kContextBlock) + " and a token below " + number(m.vocab));
    if (!(m.temperature <= 1e6) || !(m.mostTemperature >= 0 && m.mostTemperature <= 1e6) ||
        (m.mostTemperature > 0 && m.temperature > m.mostTemperature))
      return fail("metadata: the temperature " + std::to_string(m.temperature) + " is not one of 0 to " + std::to_string(m.mostTemperature));
    std::set<std::string> names;
    std::set<unsigned> columns;
    for (const Setting &s : m.settings) {
      if (!isName(s.name) || !names.insert(s.name).second)
        return fail("metadata: setting '" + s.name + "' has no usable name of its own");
      if (s.column >= kSettingColumns || !columns.insert(s.column).second)
        return fail("metadata: setting '" + s.name + "' has column " + number(s.column) + ", expected one of its own below " +
                    number(kSettingColumns));
      bool isInside = s.least <= s.standard && s.standard <= s.most && s.least >= -1e9 && s.most <= 1e9;
      if (!isInside || (!s.words.empty() && (s.least != 0 || s.most != static_cast<double>(s.words.size() - 1))))
        return fail("metadata: setting '" + s.name + "' has limits that do not fit its standard value or its words");
    }
    return absl::OkStatus();
  }

  absl::Status checkShape(const std::string &what, const Shape &shape, ElementType type,
                          const std::set<Symbol> &allowed) const {
    if (shape.size() > kMaxRank)
      return fail(what + " has " + number(shape.size()) + " dimensions, at most " + number(kMaxRank) +
                  " are supported");
    for (const Dim &dim : shape)
      if (!allowed.count(dim.symbol))
        return fail(what + " has shape " + printShape(shape) + ", dimension " + symbolName(dim.symbol) +
                    " is not possible here");
    const Metadata &m = plan_.metadata;
    int64_t context = (static_cast<int64_t>(m.context) + kContextBlock - 1) / kContextBlock * kContextBlock;
    Dims dims = {m.maxTokens, m.maxSequences, m.maxSequences, context, context / kContextBlock};
    if (!shapeBytes(shape, type, dims))
      return fail(what + " has shape " + printShape(shape) + " of " + elementName(type) +
                  ", too large to address");
    return absl::OkStatus();
  }

  absl::Status checkKernels() const {
    std::set<std::string> names;
    for (size_t i = 0; i < plan_.kernels.size(); ++i) {
      const Kernel &kernel = plan_.kernels[i];
      if (!isName(kernel.name))
        return fail("kernel " + number(i) + " has no usable name");
      if (!names.insert(kernel.name).second)
        return fail("kernel '" + kernel.name + "' occurs twice");
      for (size_t p = 0; p < kernel.parameters.size(); ++p)
        if (absl::Status s = checkShape("kernel '" + kernel.name + "' parameter " + number(p),
                                        kernel.parameters[p].shape, kernel.parameters[p].type, kAnySymbol);
            !s.ok())
          return s;
    }
    return absl::OkStatus();
  }

  absl::Status checkBlobIndex(const std::string &what, uint32_t blob, bool mayBeAbsent = false) const {
    if (blob >= blobBytes_.size())
      return fail(what + " names blob " + number(blob) + " of " + number(blobBytes_.size()));
    if (!mayBeAbsent && blob < isAbsent_.size() && isAbsent_[blob])
      return fail(what + " names blob " + number(blob) + ", which is absent");
    return absl::OkStatus();
  }

  absl::Status checkCodeObject(size_t i) const {
    const CodeObject &object = plan_.codeObjects[i];
    if (!isName(object.target) || !isName(object.level))
      return fail("code object " + number(i) + " has no usable target or level name");
    if (object.target == "cuda" && object.launches.size() != plan_.kernels.size())
      return fail("code object " + number(i) + " has " + number(object.launches.size()) + " launches for " + number(plan_.kernels.size()) +
                  " kernels");
    if (object.target == kLoopTestTarget && object.launches.size() != 1)
      return fail("code object " + number(i) + " has " + number(object.launches.size()) + " launches for the test of a loop");
    for (size_t k = 0; k < object.launches.size(); ++k)
      if (absl::Status s = checkLaunch("code object " + number(i) + " launch " + number(k), k, object.launches[k]); !s.ok())
        return s;
    if (absl::Status s = checkMerged(i); !s.ok())
      return s;
    return checkBlobIndex("code object " + number(i), object.blob);
  }

  absl::Status checkMerged(size_t i) const {
    const CodeObject &object = plan_.codeObjects[i];
    const std::string what = "code object " + number(i);
    if (object.merged)
      if (absl::Status s = checkLaunch(what + " merged kernel", plan_.kernels.size(), *object.merged); !s.ok())
        return s;
    for (size_t k = 0; k < std::min(object.launches.size(), plan_.kernels.size()); ++k) { // of other targets' objects any number
      const KernelLaunch &launch = object.launches[k];
      const std::vector<Parameter> &parameters = plan_.kernels[k].parameters;
      if (launch.merged < -1 || launch.merged >= int64_t(object.launches.size()) || (launch.merged >= 0 && !object.merged))
        return fail(what + " launch " + number(k) + " has number " + std::to_string(launch.merged) + " in a merged kernel" +
                    (object.merged ? "" : ", of which there is none"));
      for (uint32_t w : launch.whole)
        if (w >= parameters.size() || parameters[w].written)
          return fail(what + " launch " + number(k) + " reads the weight of parameter " + number(w) + ", which is none");
    }
    return absl::OkStatus();
  }

  /// `kernel`: of the plan; past all of them for a merged one.
  absl::Status checkLaunch(const std::string &what, size_t kernel, const KernelLaunch &launch) const {
    if (!isName(launch.symbol))
      return fail(what + " has no usable symbol");
    if (launch.threads == 0 || launch.threads > 1024 || launch.threads % 32)
      return fail(what + " has blocks of " + number(launch.threads) + " threads, expected whole warps of 32 up to 1024");
    if (launch.sharedBytes > kMaxSharedBytes || launch.scratchBytes > kMaxScratchBytes)
      return fail(what + " asks for " + number(launch.sharedBytes) + " bytes of shared memory and " + number(launch.scratchBytes) +
                  " of scratch for a block");
    if (!isGridProgram(launch.grid))
      return fail(what + " has a grid that is no program for one number");
    if (launch.tensorMaps.size() > kMaxTensorMaps || (!launch.tensorMaps.empty() && kernel >= plan_.kernels.size()))
      return fail(what + " has " + number(launch.tensorMaps.size()) + " tensor maps, expected at most " + number(kMaxTensorMaps));
    for (size_t i = 0; i < launch.tensorMaps.size(); ++i)
      if (absl::Status s = checkTensorMap(what + " tensor map " + number(i), plan_.kernels[kernel], launch.tensorMaps[i]); !s.ok())
        return s;
    return absl::OkStatus();
  }

  /// What the driver would refuse at a launch, and more than the parameter holds.
  absl::Status checkTensorMap(const std::string &what, const Kernel &kernel, const TensorMap &map) const {
    if (map.parameter >= kernel.parameters.size())
      return fail(what + " is of parameter " + number(map.parameter) + " of " + number(kernel.parameters.size()));
    const Parameter &parameter = kernel.parameters[map.parameter];
    const size_t rank = map.shape.size();
    if (rank == 0 || rank > kMaxTensorMapRank || map.box.size() != rank || map.swizzle > kMaxTensorMapSwizzle)
      return fail(what + " has " + number(rank) + " dimensions, a box of " + number(map.box.size()) + " and swizzle " + number(map.swizzle) +
                  ", expected as many of both, at most 5, and a swizzle of at most 3");
    if (!sameElements(map.shape, parameter.shape))
      return fail(what + " has shape " + printShape(map.shape) + ", its parameter " + printShape(parameter.shape));
    if (parameter.type != ElementType::bf16 && parameter.type != ElementType::f16 && parameter.type != ElementType::f32)
      return fail(what + " is of elements of type " + elementName(parameter.type) + ", expected bf16, f16 or f32");
    const uint64_t bytes = elementBytes(parameter.type);
    // A dimension that is not the first may be a cache's, which never has an extent of 0; rows are static.
    auto isPossible = [&](size_t d) {
      const Symbol symbol = map.shape[d].symbol;
      return d == 0 || symbol == Symbol::one || (d + 1 < rank && (symbol == Symbol::context || symbol == Symbol::contextBlocks));
    };
    for (size_t d = 0; d < rank; ++d)
      if (!isPossible(d) || map.box[d] == 0 || map.box[d] > kMaxTensorMapBox)
        return fail(what + " has shape " + printShape(map.shape) + " and a box of " + number(map.box[d]) + " in dimension " + number(d) +
                    ", expected static sizes after the first (or CTX and CTXB between the first and the last) and 1 to 256");
    const uint64_t row = map.shape.back().multiplier * bytes, boxRow = map.box.back() * bytes;
    if ((rank > 1 && row % kTensorMapUnitBytes) || boxRow % kTensorMapUnitBytes ||
        (map.swizzle && boxRow > uint64_t(kTensorMapUnitBytes) << map.swizzle))
      return fail(what + " has rows of " + number(row) + " bytes and boxes of " + number(boxRow) +
                  ", expected multiples of 16, and boxes not wider than their swizzle");
    return absl::OkStatus();
  }

  absl::Status checkBuffer(size_t i) const {
    const Buffer &b = plan_.buffers[i];
    std::string what = "buffer " + number(i) + " '" + b.name + "'";
    if (!isName(b.name))
      return fail("buffer " + number(i) + " has no usable name");
    switch (b.kind) {
    case BufferKind::input:
      return checkShape(what, b.shape, b.type, kCallSymbols);
    case BufferKind::output:
      return checkShape(what, b.shape, b.type, kOutputSymbols);
    case BufferKind::transient:
      if (b.arenaOffset % kBufferAlignment)
        return fail(what + " is at arena offset " + number(b.arenaOffset) + ", not a multiple of 64");
      return checkShape(what, b.shape, b.type, kCallSymbols);
    case BufferKind::state:
      if (b.shape.empty() || b.shape[0].symbol != Symbol::slots || b.shape[0].multiplier != 1)
        return fail(what + " has shape " + printShape(b.shape) +
                    ", the first dimension of a state must be SLOTS");
      for (size_t d = 1, growing = 0; d < b.shape.size(); ++d) {
        if (b.shape[d].symbol == Symbol::slots)
          return fail(what + " has shape " + printShape(b.shape) + " with more than one dimension SLOTS");
        growing += b.shape[d].symbol == Symbol::context || b.shape[d].symbol == Symbol::contextBlocks;
        if (growing > 1)
          return fail(what + " has shape " + printShape(b.shape) +
                      " with more than one dimension that grows (CTX, CTXB)");
      }
      return checkShape(what, b.shape, b.type, kStateSymbols);
    case BufferKind::weight:
    case BufferKind::constant:
      break;
    }
    if (absl::Status s = checkShape(what, b.shape, b.type, {Symbol::one}); !s.ok())
      return s;
    if (absl::Status s = checkBlobIndex(what, b.blob, b.kind == BufferKind::weight); !s.ok())
      return s;
    if (b.blobOffset % kBufferAlignment)
      return fail(what + " is at offset " + number(b.blobOffset) + " of blob " + number(b.blob) +
                  ", not a multiple of 64");
    uint64_t bytes = *shapeBytes(b.shape, b.type, {});
    auto end = checkedAdd(b.blobOffset, bytes);
    if (!end || *end > blobBytes_[b.blob])
      return fail(what + " of " + number(bytes) + " bytes at offset " + number(b.blobOffset) +
                  " leaves blob " + number(b.blob) + " of " + number(blobBytes_[b.blob]) + " bytes");
    return absl::OkStatus();
  }

  /// In advance a call has one row per sequence: T and S are the same number.
  static Shape inProgram(const Program &program, Shape shape) {
    if (program.name == "advance" && program.spans.empty())
      for (Dim &dim : shape)
        if (dim.symbol == Symbol::tokens)
          dim.symbol = Symbol::sequences;
    return shape;
  }

  struct Signature {
    const char *name;
    ElementType type;
    Shape shape;
    bool isOptional = false;
  };

  absl::Status checkEnds(const Program &program, const std::vector<uint32_t> &ids, BufferKind kind,
                         const std::vector<Signature> &known) const {
    std::set<std::string> seen;
    for (uint32_t id : ids) {
      std::string what = "program '" + program.name + "' " + kindName(kind);
      if (id >= plan_.buffers.size())
        return fail(what + " names buffer " + number(id) + " of " + number(plan_.buffers.size()));
      const Buffer &b = plan_.buffers[id];
      what += " '" + b.name + "'";
      if (b.kind != kind)
        return fail(what + " is a buffer of kind " + kindName(b.kind));
      if (!seen.insert(b.name).second)
        return fail(what + " occurs twice");
      const Signature *found = nullptr;
      for (const Signature &s : known)
        if (b.name == s.name)
          found = &s;
      if (!found)
        return fail(what + " is not one that this program can have");
      Shape expected = inProgram(program, found->shape), shape = inProgram(program, b.shape);
      bool isSame = b.type == found->type && shape.size() == expected.size();
      for (size_t d = 0; isSame && d < shape.size(); ++d)
        isSame = shape[d].multiplier == expected[d].multiplier && shape[d].symbol == expected[d].symbol;
      if (!isSame)
        return fail(what + " is " + elementName(b.type) + " " + printShape(b.shape) + ", expected " +
                    elementName(found->type) + " " + printShape(found->shape));
    }
    for (const Signature &s : known)
      if (!s.isOptional && !seen.count(s.name))
        return fail("program '" + program.name + "' lacks " + kindName(kind) + " '" + s.name + "'");
    return absl::OkStatus();
  }

  absl::Status checkProgram(const Program &program) const {
    const uint64_t vocab = plan_.metadata.vocab;
    const Dim T{1, Symbol::tokens}, S{1, Symbol::sequences};
    std::vector<Signature> inputs = {{"tokens", ElementType::i32, {T}},
                                     {"where", ElementType::i32, {T, {2, Symbol::one}}},
                                     {"rows", ElementType::i32, {S, {4, Symbol::one}}}};
    std::vector<Signature> outputs;
    if (absl::Status s = checkSpans(program); !s.ok())
      return s;
    std::array<std::array<std::string, 2>, kMaxSpans> names;
    for (unsigned k = 1; k < program.spans.size(); ++k) {
      const std::string prefix = spanPrefix(k);
      names[k] = {prefix + "where", prefix + "rows"};
      inputs.push_back({names[k][0].c_str(), ElementType::i32, {T, {2, Symbol::one}}});
      inputs.push_back({names[k][1].c_str(), ElementType::i32, {S, {4, Symbol::one}}});
    }
    if (program.name != "ingest")
      inputs.push_back({"bounds", ElementType::i32, {S, {4, Symbol::one}}});
    if (program.name == "advance" && !program.spans.empty()) {
      inputs.push_back({"settings", ElementType::f32, {S, {kSettingColumns, Symbol::one}}});
      inputs.push_back({"sampling", ElementType::f32, {S, {4, Symbol::one}}});
      inputs.push_back({"draws", ElementType::i64, {S, {4, Symbol::one}}});
      outputs = {{"next", ElementType::i32, {S, {1, Symbol::context}}}};
    } else if (program.name == "advance") {
      inputs.push_back({"sampling", ElementType::f32, {S, {4, Symbol::one}}});
      inputs.push_back({"draws", ElementType::i64, {S, {4, Symbol::one}}});
      outputs = {{"next", ElementType::i32, {S, {1, Symbol::one}}},
                 {"logits", ElementType::f32, {S, {vocab, Symbol::one}}},
                 {"decoding", ElementType::f32, {S, {2, Symbol::one}}, true}};
    } else if (program.name == "score") {
      inputs.push_back({"draws", ElementType::i64, {S, {4, Symbol::one}}});
      outputs = scoreOutputs(program, vocab);
    } else if (program.name != "ingest") {
      return fail("program '" + program.name + "' is not known; programs are ingest, advance and score");
    }
    for (Signature &input : inputs) // a program need not read all that the engine offers
      input.isOptional = true;
    if (absl::Status s = checkEnds(program, program.inputs, BufferKind::input, inputs); !s.ok())
      return s;
    if (absl::Status s = checkEnds(program, program.outputs, BufferKind::output, outputs); !s.ok())
      return s;
    if (program.arenaBytes >> 46)
      return fail("program '" + program.name + "' asks for an arena of " + number(program.arenaBytes) +
                  " bytes");
    std::set<uint32_t> ends(program.inputs.begin(), program.inputs.end());
    ends.insert(program.outputs.begin(), program.outputs.end());
    for (size_t i = 0; i < program.steps.size(); ++i)
      if (absl::Status s = checkDispatch(program, i, std::get<Dispatch>(program.steps[i]), ends); !s.ok())
        return s;
    return checkLoops(program);
  }

  /// Logits, or draws of a model that has none. How wide its latents are only it knows.
  std::vector<Signature> scoreOutputs(const Program &program, uint64_t vocab) const {
    const Dim T{1, Symbol::tokens};
    for (uint32_t id : program.outputs)
      if (id < plan_.buffers.size() && plan_.buffers[id].name == "latents" && plan_.buffers[id].shape.size() == 2)
        return {{"first", ElementType::i32, {T}},
                {"second", ElementType::i32, {T}},
                {"latents", ElementType::f32, {T, {plan_.buffers[id].shape[1].multiplier, Symbol::one}}}};
    return {{"logits", ElementType::f32, {T, {vocab, Symbol::one}}}};
  }

  absl::Status checkSpans(const Program &program) const {
    const std::string what = "program '" + program.name + "'";
    const bool isAdvance = program.name == "advance";
    if (!program.spans.empty() && (isAdvance ? program.spans.size() <= kBlockSpan : plan_.metadata.patch == 0))
      return fail(what + " has " + number(program.spans.size()) + " spans of rows, expected " +
                  (isAdvance ? "at least " + number(kBlockSpan + 1) : "none: this model does not work on patches of tokens"));
    if (program.spans.size() > kMaxSpans)
      return fail(what + " has " + number(program.spans.size()) + " spans of rows, at most " + number(kMaxSpans) + " are supported");
    for (const Span &span : program.spans) {
      size_t symbols = std::tuple_size<SpanValues>::value;
      if (!isGridProgram(span.from, symbols) || !isGridProgram(span.to, symbols))
        return fail(what + " has a span of rows whose ends are no programs for one number");
      if (span.maxRows == 0 || span.maxRows > plan_.metadata.maxTokens)
        return fail(what + " has a span of at most " + number(span.maxRows) + " rows, expected 1 to " + number(plan_.metadata.maxTokens));
    }
    return absl::OkStatus();
  }

  absl::Status checkLoops(const Program &program) const {
    uint64_t end = 0;
    for (size_t i = 0; i < program.loops.size(); ++i) {
      const Loop &loop = program.loops[i];
      const std::string what = "program '" + program.name + "' loop " + number(i);
      if (loop.first < end || loop.count == 0 || uint64_t(loop.first) + loop.count > program.steps.size())
        return fail(what + " has steps " + number(loop.first) + " to " + number(uint64_t(loop.first) + loop.count) +
                    ", expected some of the program's " + number(program.steps.size()) + " that no loop has before it");
      end = uint64_t(loop.first) + loop.count;
      if (loop.atMost == 0)
        return fail(what + " has no trips");
      if (loop.rows && loop.rows >= program.spans.size())
        return fail(what + " counts the rows of span " + number(loop.rows) + " of " + number(program.spans.size()));
      if (loop.condition >= plan_.buffers.size())
        return fail(what + " names buffer " + number(loop.condition) + " of " + number(plan_.buffers.size()));
      const Buffer &b = plan_.buffers[loop.condition];
      bool isFlags = b.kind == BufferKind::transient && b.type == ElementType::i32 && b.shape.size() == 2 &&
                     b.shape[0].symbol == Symbol::sequences && b.shape[0].multiplier == 1 && b.shape[1].symbol == Symbol::one &&
                     b.shape[1].multiplier == 1;
      if (!isFlags)
        return fail(what + " has as condition buffer '" + b.name + "', expected a transient of i32 [S, 1]");
      if (absl::Status s = checkInArena(program, what + " condition", b, plan_.metadata.maxTokens); !s.ok())
        return s;
    }
    return absl::OkStatus();
  }

  absl::Status checkDispatch(const Program &program, size_t step, const Dispatch &dispatch,
                             const std::set<uint32_t> &ends) const {
    std::string what = "program '" + program.name + "' step " + number(step);
    if (dispatch.kernel >= plan_.kernels.size())
      return fail(what + " names kernel " + number(dispatch.kernel) + " of " + number(plan_.kernels.size()));
    if (dispatch.span >= std::max<size_t>(1, program.spans.size()))
      return fail(what + " has span " + number(dispatch.span) + " of " + number(program.spans.size()));
    const uint64_t rows = program.spans.empty() ? plan_.metadata.maxTokens : program.spans[dispatch.span].maxRows;
    const Kernel &kernel = plan_.kernels[dispatch.kernel];
    what += " (kernel '" + kernel.name + "')";
    if (dispatch.buffers.size() != kernel.parameters.size())
      return fail(what + " passes " + number(dispatch.buffers.size()) + " buffers, the kernel has " +
                  number(kernel.parameters.size()) + " parameters");
    for (size_t p = 0; p < dispatch.buffers.size(); ++p) {
      uint32_t id = dispatch.buffers[p];
      if (id >= plan_.buffers.size())
        return fail(what + " names buffer " + number(id) + " of " + number(plan_.buffers.size()));
      const Buffer &b = plan_.buffers[id];
      const Parameter &parameter = kernel.parameters[p];
      std::string where = what + " parameter " + number(p) + " gets buffer '" + b.name + "'";
      if (b.type != parameter.type ||
          !sameElements(inProgram(program, b.shape), inProgram(program, parameter.shape)))
        return fail(where + " of " + elementName(b.type) + " " + printShape(b.shape) + ", expected " +
                    elementName(parameter.type) + " " + printShape(parameter.shape));
      bool isReadOnly =
          b.kind == BufferKind::weight || b.kind == BufferKind::constant || b.kind == BufferKind::input;
      if (parameter.written && isReadOnly)
        return fail(where + ", which it writes, but a buffer of kind " + kindName(b.kind) +
                    " cannot be written");
      if ((b.kind == BufferKind::input || b.kind == BufferKind::output) && !ends.count(id))
        return fail(where + ", which is not among the program's inputs and outputs");
      if (b.kind == BufferKind::transient)
        if (absl::Status s = checkInArena(program, where, b, rows); !s.ok())
          return s;
    }
    return absl::OkStatus();
  }

  absl::Status checkInArena(const Program &program, const std::string &where, const Buffer &b, uint64_t rows) const {
    Dims dims = {static_cast<int64_t>(rows), plan_.metadata.maxSequences, 0, 0, 0};
    uint64_t bytes = *shapeBytes(inProgram(program, b.shape), b.type, dims);
    auto end = checkedAdd(b.arenaOffset, bytes);
    if (!end || *end > program.arenaBytes)
      return fail(where + " of " + number(bytes) + " bytes at arena offset " + number(b.arenaOffset) +
                  ", outside the program's arena of " + number(program.arenaBytes) + " bytes");
    return absl::OkStatus();
  }

  absl::Status checkTokenizer() const {
    const TokenizerPlan &t = plan_.tokenizer;
    if (t.kind == TokenizerKind::none)
      return absl::OkStatus();
    for (const SpecialToken &token : t.specialTokens)
      if (token.text.empty() || token.id >= kMaxVocab)
        return fail("tokenizer: special token " + number(token.id) + " has no text or too large an id");
    return checkBlobIndex("tokenizer", t.blob);
  }

  const std::set<Symbol> kCallSymbols = {Symbol::one, Symbol::tokens, Symbol::sequences};
  const std::set<Symbol> kOutputSymbols = {Symbol::one, Symbol::tokens, Symbol::sequences, Symbol::context};
  const std::set<Symbol> kStateSymbols = {Symbol::one, Symbol::slots, Symbol::context, Symbol::contextBlocks};
  const std::set<Symbol> kAnySymbol = {Symbol::one,   Symbol::tokens,  Symbol::sequences,
                                       Symbol::slots, Symbol::context, Symbol::contextBlocks};
  const Plan &plan_;
  const std::vector<uint64_t> &blobBytes_;
  const std::string &file_;
  const std::vector<bool> &isAbsent_;
};
} // namespace

absl::Status verifyPlan(const Plan &plan, const std::vector<uint64_t> &blobBytes, const std::string &file,
                        const std::vector<bool> &isAbsent) {
  return PlanVerifier(plan, blobBytes, file, isAbsent).verify();
}

} // namespace llmc::runtime
