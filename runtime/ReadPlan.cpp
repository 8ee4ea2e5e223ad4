// The plan's FlatBuffer to plain structs. Enumerations are range checked here since a struct could not hold
// others.
#include "runtime/Artifact.h"
#include "runtime/Artifact_generated.h"
#include <cstring>
#include <memory>

namespace llmc::runtime {
namespace fb = llmc::artifact;

static std::string text(const flatbuffers::String *s) { return s ? s->str() : std::string(); }

static std::vector<uint32_t> ids(const flatbuffers::Vector<uint32_t> *v) {
  return v ? std::vector<uint32_t>(v->begin(), v->end()) : std::vector<uint32_t>();
}

/// Reads tables into structs; the first value that no struct can hold ends reading and is kept in `failure`.
namespace {
struct PlanReader {
  const std::string &file;
  absl::Status failure;

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
  template <typename Struct> bool isReadable(const flatbuffers::Vector<const Struct *> *structs) {
    if (!structs)
      return false;
    bool isAligned = reinterpret_cast<uintptr_t>(structs->Data()) % alignof(Struct) == 0;
    if (!isAligned && failure.ok())
      failure = damagedArtifact(file, "plan has misaligned structs");
    return isAligned;
  }

  Shape shape(const flatbuffers::Vector<const fb::Dim *> *dims) {
    Shape result;
    if (isReadable(dims))
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
    if (m->entries())
      for (const fb::KeyValue *entry : *m->entries())
        r.entries.push_back({text(entry->key()), text(entry->value())});
    return r;
  }

  Kernel kernel(const fb::Kernel *k) {
    Kernel r;
    r.name = text(k->name());
    if (k->parameters())
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
    if (isReadable(l->grid()))
      for (const fb::GridTerm *term : *l->grid())
        r.grid.push_back({enumeration<GridOp>(term->op(), kGridOps, "a grid's operation"), term->value()});
    return r;
  }

  CodeObject codeObject(const fb::CodeObject *o) {
    CodeObject r;
    r.target = text(o->target());
    r.level = text(o->level());
    r.blob = o->blob();
    if (o->launches())
      for (const fb::KernelLaunch *launch : *o->launches())
        r.launches.push_back(kernelLaunch(launch));
    if (o->features())
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
    for (unsigned i = 0; p->steps() && i < p->steps()->size(); ++i) {
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
      r.steps.push_back(Dispatch{dispatch->kernel(), ids(dispatch->buffers())});
    }
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
    if (t->special_tokens())
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

  PlanReader reader{file, absl::OkStatus()};
  ParsedArtifact parsed;
  parsed.plan.metadata = reader.metadata(plan->metadata());
  for (const fb::Kernel *kernel : *plan->kernels())
    parsed.plan.kernels.push_back(reader.kernel(kernel));
  for (const fb::CodeObject *object : *plan->code_objects())
    parsed.plan.codeObjects.push_back(reader.codeObject(object));
  for (const fb::Buffer *buffer : *plan->buffers())
    parsed.plan.buffers.push_back(reader.buffer(buffer));
  for (const fb::Program *program : *plan->programs())
    parsed.plan.programs.push_back(reader.program(program));
  parsed.plan.tokenizer = reader.tokenizer(plan->tokenizer());
  if (reader.isReadable(plan->blobs()))
    for (const fb::Blob *blob : *plan->blobs())
      parsed.blobs.push_back({blob->offset(), blob->bytes(), blob->checksum()});
  if (!reader.failure.ok())
    return reader.failure;
  return parsed;
}

} // namespace llmc::runtime
