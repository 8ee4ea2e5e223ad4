// The plan's FlatBuffer to plain structs. Enumerations are range checked here since a struct could not hold
// others.
#include "runtime/Artifact.h"
#include "runtime/Artifact_generated.h"
#include <algorithm>
#include <cstring>
#include <memory>

namespace llmc::runtime {
namespace fb = llmc::artifact;

/// Reads tables into structs; the first value that no struct can hold ends reading and is kept in `failure`.
namespace {
struct PlanReader {
  const std::string &file;
  /// Bytes of the plan that were not read yet. The writer stores everything once, but offsets may lead to one
  /// place from many: without this a small plan could ask for any amount of memory.
  uint64_t unread;
  absl::Status failure = absl::OkStatus();

  /// Whether the list is there and was not read so often that the plan cannot hold it.
  template <typename T> bool isReadable(const flatbuffers::Vector<T> *list) {
    if (!list)
      return false;
    uint64_t bytes = uint64_t(list->size()) * flatbuffers::IndirectHelper<T>::element_stride;
    if (bytes > unread && failure.ok())
      failure = damagedArtifact(file, "plan holds the same data in several places");
    if (!failure.ok())
      return false;
    unread -= bytes;
    return true;
  }

  std::string text(const flatbuffers::String *s) { return isReadable(s) ? s->str() : std::string(); }

  std::vector<uint32_t> ids(const flatbuffers::Vector<uint32_t> *v) {
    return isReadable(v) ? std::vector<uint32_t>(v->begin(), v->end()) : std::vector<uint32_t>();
  }

  template <typename Enum, typename Raw> Enum enumeration(Raw raw, unsigned count, const char *what) {
    if (static_cast<unsigned>(raw) < count)
      return static_cast<Enum>(raw);
    if (failure.ok())
      failure = damagedArtifact(file, std::string(what) + " has value " +
                                          std::to_string(static_cast<unsigned>(raw)) +
                                          ", this runtime knows 0 to " + std::to_string(count - 1));
    return Enum{};
  }

  /// The FlatBuffers verifier checks where a vector of structs lies, but not that they are aligned.
  template <typename Struct> bool isAligned(const flatbuffers::Vector<const Struct *> *structs) {
    if (!isReadable(structs))
      return false;
    bool isGood = reinterpret_cast<uintptr_t>(structs->Data()) % alignof(Struct) == 0;
    if (!isGood)
      failure = damagedArtifact(file, "plan has misaligned structs");
    return isGood;
  }

  Shape shape(const flatbuffers::Vector<const fb::Dim *> *dims) {
    Shape result;
    if (isAligned(dims))
      for (const fb::Dim *dim : *dims)
        result.push_back(
            {dim->multiplier(), enumeration<Symbol>(dim->symbol(), kSymbols, "a dimension's symbol")});
    return result;
  }

  ElementType type(fb::ElementType t) {
    return enumeration<ElementType>(t, kElementTypes, "an element type");
  }

  Metadata metadata(const fb::Metadata *m) {
    Metadata r;
    r.name = text(m->name());
    r.family = text(m->family());
    r.producer = text(m->producer());
    r.vocab = m->vocab();
    r.context = m->context();
    r.maxTokens = m->max_tokens();
    r.maxSequences = m->max_sequences();
    r.eos = ids(m->eos());
    r.bos = m->bos();
    r.patch = m->patch();
    r.filler = m->filler();
    r.temperature = m->temperature();
    r.mostTemperature = m->most_temperature();
    r.pieceTokens = m->piece_tokens();
    if (isReadable(m->entries()))
      for (const fb::KeyValue *entry : *m->entries())
        r.entries.push_back({text(entry->key()), text(entry->value())});
    if (isReadable(m->settings()))
      for (const fb::Setting *setting : *m->settings()) {
        r.settings.push_back({text(setting->name()), setting->column(), setting->standard(), setting->least(), setting->most(),
                              setting->is_whole(), {}});
        if (isReadable(setting->words()))
          for (const flatbuffers::String *word : *setting->words())
            r.settings.back().words.push_back(text(word));
      }
    return r;
  }

  Kernel kernel(const fb::Kernel *k) {
    Kernel r;
    r.name = text(k->name());
    if (isReadable(k->parameters()))
      for (const fb::Parameter *p : *k->parameters())
        r.parameters.push_back({type(p->element_type()), shape(p->shape()), p->written()});
    return r;
  }

  KernelLaunch kernelLaunch(const fb::KernelLaunch *l) {
    KernelLaunch r;
    r.symbol = text(l->symbol());
    r.threads = l->threads();
    r.sharedBytes = l->shared_bytes();
    r.scratchBytes = l->scratch_bytes();
    r.registers = l->registers();
    r.spillBytes = l->spill_bytes();
    r.waits = l->waits();
    r.merged = l->merged();
    r.whole = ids(l->whole());
    r.grid = terms(l->grid());
    if (isReadable(l->tensor_maps()))
      for (const fb::TensorMap *m : *l->tensor_maps())
        r.tensorMaps.push_back({m->parameter(), shape(m->shape()), ids(m->box()), m->swizzle()});
    return r;
  }

  std::vector<GridTerm> terms(const flatbuffers::Vector<const fb::GridTerm *> *list) {
    std::vector<GridTerm> r;
    if (isAligned(list))
      for (const fb::GridTerm *term : *list)
        r.push_back({enumeration<GridOp>(term->op(), kGridOps, "a grid's operation"), term->value()});
    return r;
  }

  CodeObject codeObject(const fb::CodeObject *o) {
    CodeObject r;
    r.target = text(o->target());
    r.level = text(o->level());
    r.blob = o->blob();
    if (isReadable(o->launches()))
      for (const fb::KernelLaunch *launch : *o->launches())
        r.launches.push_back(kernelLaunch(launch));
    if (o->merged())
      r.merged = kernelLaunch(o->merged());
    if (isReadable(o->features()))
      for (const flatbuffers::String *feature : *o->features())
        r.features.push_back(text(feature));
    return r;
  }

  Buffer buffer(const fb::Buffer *b) {
    Buffer r;
    r.name = text(b->name());
    r.kind = enumeration<BufferKind>(b->kind(), kBufferKinds, "a buffer's kind");
    r.type = type(b->element_type());
    r.shape = shape(b->shape());
    r.arenaOffset = b->arena_offset();
    r.blob = b->blob();
    r.blobOffset = b->blob_offset();
    return r;
  }

  Program program(const fb::Program *p) {
    Program r;
    r.name = text(p->name());
    r.inputs = ids(p->inputs());
    r.outputs = ids(p->outputs());
    r.arenaBytes = p->arena_bytes();
    const unsigned steps = isReadable(p->steps()) ? p->steps()->size() : 0;
    for (unsigned i = 0; i < steps; ++i) {
      auto kind = static_cast<fb::Step>(p->steps_type()->Get(i));
      const fb::Dispatch *dispatch =
          kind == fb::Step::Dispatch ? p->steps()->GetAs<fb::Dispatch>(i) : nullptr;
      if (!dispatch) {
        if (failure.ok())
          failure = damagedArtifact(file, "program '" + r.name + "' step " + std::to_string(i) +
                                              " has kind " + std::to_string(static_cast<unsigned>(kind)) +
                                              ", this runtime knows 1 (dispatch)");
        return r;
      }
      r.steps.push_back(Dispatch{dispatch->kernel(), ids(dispatch->buffers()), dispatch->span()});
    }
    if (isAligned(p->loops()))
      for (const fb::Loop *loop : *p->loops())
        r.loops.push_back({loop->first(), loop->count(), loop->condition(), loop->at_most(), loop->rows()});
    if (isReadable(p->spans()))
      for (const fb::Span *span : *p->spans())
        r.spans.push_back({terms(span->from()), terms(span->to()), span->max_rows()});
    return r;
  }

  TokenizerPlan tokenizer(const fb::Tokenizer *t) {
    TokenizerPlan r;
    if (!t)
      return r;
    r.kind = enumeration<TokenizerKind>(t->kind(), kTokenizerKinds, "the tokenizer's kind");
    r.blob = t->blob();
    r.pattern = text(t->pattern());
    r.chatTemplate = text(t->chat_template());
    if (isReadable(t->special_tokens()))
      for (const fb::SpecialToken *token : *t->special_tokens())
        r.specialTokens.push_back({token->id(), text(token->text()), token->special()});
    return r;
  }
};
} // namespace

absl::StatusOr<ParsedArtifact> readPlan(const uint8_t *data, size_t size, const std::string &file) {
  // FlatBuffers reads in place and needs its alignment, which a span from anywhere lacks; plans are small.
  std::unique_ptr<uint64_t[]> aligned(new uint64_t[size / 8 + 1]);
  const uint8_t *bytes = reinterpret_cast<const uint8_t *>(aligned.get());
  memcpy(aligned.get(), data, size);
  flatbuffers::Verifier verifier(bytes, size, /*max_depth=*/16, /*max_tables=*/10000000);
  if (size < 16 || size >= FLATBUFFERS_MAX_BUFFER_SIZE || !fb::VerifyPlanBuffer(verifier))
    return damagedArtifact(file, "plan of " + std::to_string(size) +
                                     " bytes is not a well-formed FlatBuffer of artifact version " +
                                     std::to_string(kFormatVersion));
  const fb::Plan *plan = fb::GetPlan(bytes);

  PlanReader reader{file, size};
  ParsedArtifact parsed;
  parsed.plan.metadata = reader.metadata(plan->metadata());
  if (reader.isReadable(plan->kernels()))
    for (const fb::Kernel *kernel : *plan->kernels())
      parsed.plan.kernels.push_back(reader.kernel(kernel));
  if (reader.isReadable(plan->code_objects()))
    for (const fb::CodeObject *object : *plan->code_objects())
      parsed.plan.codeObjects.push_back(reader.codeObject(object));
  if (reader.isReadable(plan->buffers()))
    for (const fb::Buffer *buffer : *plan->buffers())
      parsed.plan.buffers.push_back(reader.buffer(buffer));
  if (reader.isReadable(plan->programs()))
    for (const fb::Program *program : *plan->programs())
      parsed.plan.programs.push_back(reader.program(program));
  parsed.plan.tokenizer = reader.tokenizer(plan->tokenizer());
  if (plan->model_blob() >= 0)
    parsed.plan.modelBlob = static_cast<uint32_t>(std::min<int64_t>(plan->model_blob(), UINT32_MAX));
  if (reader.isAligned(plan->blobs()))
    for (const fb::Blob *blob : *plan->blobs())
      parsed.blobs.push_back({blob->offset(), blob->bytes(), blob->checksum()});
  if (!reader.failure.ok())
    return reader.failure;
  return parsed;
}

} // namespace llmc::runtime
