// The artifact writer: plan to FlatBuffer, blobs streamed behind it, checksums filled in last, then fsync and
// rename.
#include "codegen/WriteArtifact.h"
#include "runtime/Artifact.h"
#include "runtime/Artifact_generated.h"
#include "runtime/TemporaryFile.h"
#include <cstring>
#include <memory>
#define XXH_INLINE_ALL
#include "xxhash.h"

namespace llmc {
namespace fb = llmc::artifact;
using namespace llmc::runtime;

BlobSource blobOf(std::string bytes) {
  auto shared = std::make_shared<std::string>(std::move(bytes));
  return {shared->size(), [shared](BlobSink &sink) { return sink.append(shared->data(), shared->size()); }};
}

namespace {

std::vector<fb::Dim> dims(const Shape &shape) {
  std::vector<fb::Dim> result;
  for (const Dim &dim : shape)
    result.emplace_back(dim.multiplier, static_cast<fb::Symbol>(dim.symbol));
  return result;
}

/// The plan as a FlatBuffer with an empty entry per blob; fixed-size entries, so filling them changes nothing
/// else.
class PlanBuilder {
public:
  flatbuffers::FlatBufferBuilder &build(const Plan &plan, const std::vector<BlobEntry> &blobs) {
    auto metadata = buildMetadata(plan.metadata);
    std::vector<flatbuffers::Offset<fb::Kernel>> kernels;
    for (const Kernel &kernel : plan.kernels)
      kernels.push_back(buildKernel(kernel));
    std::vector<flatbuffers::Offset<fb::CodeObject>> objects;
    for (const CodeObject &o : plan.codeObjects) {
      auto target = b_.CreateString(o.target), level = b_.CreateString(o.level);
      auto features = b_.CreateVectorOfStrings(o.features);
      std::vector<flatbuffers::Offset<fb::KernelLaunch>> launches;
      for (const KernelLaunch &launch : o.launches)
        launches.push_back(buildLaunch(launch));
      auto list = b_.CreateVector(launches);
      flatbuffers::Offset<fb::KernelLaunch> merged = 0;
      if (o.merged)
        merged = buildLaunch(*o.merged);
      objects.push_back(fb::CreateCodeObject(b_, target, level, features, o.blob, list, merged));
    }
    std::vector<flatbuffers::Offset<fb::Buffer>> buffers;
    for (const Buffer &buffer : plan.buffers) {
      auto name = b_.CreateString(buffer.name);
      auto shape = b_.CreateVectorOfStructs(dims(buffer.shape));
      buffers.push_back(fb::CreateBuffer(b_, name, static_cast<fb::BufferKind>(buffer.kind),
                                         static_cast<fb::ElementType>(buffer.type), shape, buffer.arenaOffset,
                                         buffer.blob, buffer.blobOffset));
    }
    std::vector<flatbuffers::Offset<fb::Program>> programs;
    for (const Program &program : plan.programs)
      programs.push_back(buildProgram(program));
    flatbuffers::Offset<fb::Tokenizer> tokenizer = 0;
    if (plan.tokenizer.kind != TokenizerKind::none)
      tokenizer = buildTokenizer(plan.tokenizer);
    std::vector<fb::Blob> entries;
    for (const BlobEntry &blob : blobs)
      entries.emplace_back(blob.offset, blob.bytes, blob.checksum);
    auto k = b_.CreateVector(kernels);
    auto o = b_.CreateVector(objects);
    auto e = b_.CreateVectorOfStructs(entries);
    auto u = b_.CreateVector(buffers);
    auto p = b_.CreateVector(programs);
    fb::FinishPlanBuffer(b_, fb::CreatePlan(b_, metadata, k, o, e, u, p, tokenizer,
                                            plan.modelBlob ? int64_t(*plan.modelBlob) : -1));
    return b_;
  }

private:
  flatbuffers::Offset<fb::Metadata> buildMetadata(const Metadata &m) {
    auto name = b_.CreateString(m.name), family = b_.CreateString(m.family),
         producer = b_.CreateString(m.producer);
    auto eos = b_.CreateVector(m.eos);
    std::vector<flatbuffers::Offset<fb::KeyValue>> entries;
    for (const KeyValue &entry : m.entries) {
      auto key = b_.CreateString(entry.key), value = b_.CreateString(entry.value);
      entries.push_back(fb::CreateKeyValue(b_, key, value));
    }
    auto list = b_.CreateVector(entries);
    std::vector<flatbuffers::Offset<fb::Setting>> settings;
    for (const Setting &s : m.settings) {
      auto name = b_.CreateString(s.name);
      auto words = b_.CreateVectorOfStrings(s.words);
      settings.push_back(fb::CreateSetting(b_, name, s.column, s.standard, s.least, s.most, s.isWhole, words));
    }
    auto settingList = b_.CreateVector(settings);
    return fb::CreateMetadata(b_, name, family, producer, m.vocab, m.context, m.maxTokens, m.maxSequences,
                              eos, m.bos, list, settingList, m.patch, m.filler, m.temperature, m.mostTemperature, m.pieceTokens);
  }

  flatbuffers::Offset<flatbuffers::Vector<const fb::GridTerm *>> buildTerms(const std::vector<GridTerm> &grid) {
    std::vector<fb::GridTerm> terms;
    for (const GridTerm &term : grid)
      terms.emplace_back(term.value, static_cast<fb::GridOp>(term.op));
    return b_.CreateVectorOfStructs(terms);
  }

  flatbuffers::Offset<fb::KernelLaunch> buildLaunch(const KernelLaunch &launch) {
    auto symbol = b_.CreateString(launch.symbol);
    auto grid = buildTerms(launch.grid);
    std::vector<flatbuffers::Offset<fb::TensorMap>> maps;
    for (const TensorMap &map : launch.tensorMaps) {
      auto shape = b_.CreateVectorOfStructs(dims(map.shape));
      maps.push_back(fb::CreateTensorMap(b_, map.parameter, shape, b_.CreateVector(map.box), map.swizzle));
    }
    auto list = b_.CreateVector(maps);
    auto whole = b_.CreateVector(launch.whole);
    return fb::CreateKernelLaunch(b_, symbol, launch.threads, launch.sharedBytes, launch.scratchBytes, grid, launch.registers,
                                  launch.spillBytes, launch.waits, list, launch.merged, whole);
  }

  flatbuffers::Offset<fb::Kernel> buildKernel(const Kernel &kernel) {
    std::vector<flatbuffers::Offset<fb::Parameter>> parameters;
    for (const Parameter &p : kernel.parameters) {
      auto shape = b_.CreateVectorOfStructs(dims(p.shape));
      parameters.push_back(fb::CreateParameter(b_, static_cast<fb::ElementType>(p.type), shape, p.written));
    }
    auto name = b_.CreateString(kernel.name);
    auto list = b_.CreateVector(parameters);
    return fb::CreateKernel(b_, name, list);
  }

  flatbuffers::Offset<fb::Program> buildProgram(const Program &program) {
    std::vector<fb::Step> kinds;
    std::vector<flatbuffers::Offset<void>> steps;
    for (const Step &step : program.steps) {
      const Dispatch &dispatch = std::get<Dispatch>(step);
      auto buffers = b_.CreateVector(dispatch.buffers);
      kinds.push_back(fb::Step::Dispatch);
      steps.push_back(fb::CreateDispatch(b_, dispatch.kernel, buffers, dispatch.span).Union());
    }
    auto name = b_.CreateString(program.name);
    auto inputs = b_.CreateVector(program.inputs), outputs = b_.CreateVector(program.outputs);
    auto kindList = b_.CreateVector(kinds);
    auto stepList = b_.CreateVector(steps);
    std::vector<fb::Loop> loops;
    for (const Loop &loop : program.loops)
      loops.emplace_back(loop.first, loop.count, loop.condition, loop.atMost, loop.rows);
    std::vector<flatbuffers::Offset<fb::Span>> spans;
    for (const Span &span : program.spans) {
      auto from = buildTerms(span.from), to = buildTerms(span.to);
      spans.push_back(fb::CreateSpan(b_, from, to, span.maxRows));
    }
    auto loopList = b_.CreateVectorOfStructs(loops);
    auto spanList = b_.CreateVector(spans);
    return fb::CreateProgram(b_, name, inputs, outputs, kindList, stepList, program.arenaBytes, loopList, spanList);
  }

  flatbuffers::Offset<fb::Tokenizer> buildTokenizer(const TokenizerPlan &t) {
    std::vector<flatbuffers::Offset<fb::SpecialToken>> tokens;
    for (const SpecialToken &token : t.specialTokens) {
      auto text = b_.CreateString(token.text);
      tokens.push_back(fb::CreateSpecialToken(b_, token.id, text, token.special));
    }
    auto pattern = b_.CreateString(t.pattern);
    auto list = b_.CreateVector(tokens);
    auto chatTemplate = b_.CreateString(t.chatTemplate);
    return fb::CreateTokenizer(b_, static_cast<fb::TokenizerKind>(t.kind), t.blob, pattern, list,
                               chatTemplate);
  }

  flatbuffers::FlatBufferBuilder b_;
};

/// Hashes and writes one blob through a buffer, counting.
class FileSink : public BlobSink {
public:
  FileSink(TemporaryFile &file, const BlobEntry &blob, uint64_t before, uint64_t total,
           const WriteProgress &progress)
      : file_(file), blob_(blob), before_(before), total_(total), progress_(progress) {
    XXH3_64bits_reset(&hash_);
    buffer_.reserve(kBufferBytes);
  }

  absl::Status append(const void *data, size_t bytes) override {
    if (bytes > blob_.bytes - seen_)
      return absl::InternalError("a blob of " + std::to_string(blob_.bytes) +
                                 " bytes was given more than that");
    seen_ += bytes;
    const char *from = static_cast<const char *>(data);
    while (bytes > 0) {
      size_t n = std::min(bytes, kBufferBytes - buffer_.size());
      buffer_.insert(buffer_.end(), from, from + n);
      from += n;
      bytes -= n;
      if (buffer_.size() == kBufferBytes)
        if (absl::Status s = flush(); !s.ok())
          return s;
    }
    return absl::OkStatus();
  }

  absl::StatusOr<uint64_t> finish() {
    if (absl::Status s = flush(); !s.ok())
      return s;
    if (seen_ != blob_.bytes)
      return absl::InternalError("a blob of " + std::to_string(blob_.bytes) + " bytes was given only " +
                                 std::to_string(seen_));
    return XXH3_64bits_digest(&hash_);
  }

private:
  static constexpr size_t kBufferBytes = 4 << 20;

  absl::Status flush() {
    XXH3_64bits_update(&hash_, buffer_.data(), buffer_.size());
    if (absl::Status s = file_.write(blob_.offset + written_, buffer_.data(), buffer_.size()); !s.ok())
      return s;
    written_ += buffer_.size();
    buffer_.clear();
    if (progress_)
      progress_(before_ + written_, total_);
    return absl::OkStatus();
  }

  TemporaryFile &file_;
  const BlobEntry &blob_;
  uint64_t before_, total_;
  const WriteProgress &progress_;
  XXH3_state_t hash_;
  std::vector<char> buffer_;
  uint64_t seen_ = 0, written_ = 0;
};

} // namespace

absl::Status writeArtifact(const std::string &path, const ArtifactContents &contents,
                           const WriteProgress &progress) {
  std::vector<BlobEntry> blobs(contents.blobs.size());
  std::vector<uint64_t> blobBytes;
  std::vector<bool> isAbsent;
  uint64_t total = 0;
  for (size_t i = 0; i < blobs.size(); ++i) {
    blobs[i].bytes = contents.blobs[i].bytes;
    blobBytes.push_back(blobs[i].bytes);
    isAbsent.push_back(contents.blobs[i].isAbsent());
    auto sum = checkedAdd(total, isAbsent[i] ? 0 : blobs[i].bytes);
    if (!sum || *sum >> 60)
      return absl::InternalError(path + ": blobs of more than 2^60 bytes");
    total = *sum;
  }
  if (absl::Status s = verifyPlan(contents.plan, blobBytes, path, isAbsent); !s.ok())
    return absl::InternalError("the compiler made a plan that does not hold: " + std::string(s.message()));

  PlanBuilder builder;
  flatbuffers::FlatBufferBuilder &plan = builder.build(contents.plan, blobs);
  uint64_t planBytes = plan.GetSize();
  uint64_t end = sizeof(ArtifactHeader) + planBytes;
  for (size_t i = 0; i < blobs.size(); ++i) {
    if (isAbsent[i])
      continue; // its offset stays 0
    BlobEntry &blob = blobs[i];
    blob.offset = (end + kPageBytes - 1) / kPageBytes * kPageBytes;
    end = blob.offset + blob.bytes;
  }

  TemporaryFile file(path);
  if (absl::Status s = file.open(end); !s.ok())
    return s;
  uint64_t done = 0;
  for (size_t i = 0; i < blobs.size(); ++i) {
    if (isAbsent[i])
      continue;
    FileSink sink(file, blobs[i], done, total, progress);
    if (absl::Status s = contents.blobs[i].write(sink); !s.ok())
      return s;
    auto checksum = sink.finish();
    if (!checksum.ok())
      return checksum.status();
    blobs[i].checksum = *checksum;
    done += blobs[i].bytes;
  }

  const auto *entries = fb::GetPlan(plan.GetBufferPointer())->blobs();
  for (size_t i = 0; i < blobs.size(); ++i)
    *const_cast<fb::Blob *>(entries->Get(static_cast<unsigned>(i))) =
        fb::Blob(blobs[i].offset, blobs[i].bytes, blobs[i].checksum);
  ArtifactHeader header = {};
  memcpy(header.magic, kMagic, sizeof kMagic);
  header.version = kFormatVersion;
  header.planOffset = sizeof header;
  header.planBytes = planBytes;
  header.planChecksum = checksumOf(plan.GetBufferPointer(), planBytes);
  header.fileBytes = end;
  header.headerChecksum = checksumOf(&header, offsetof(ArtifactHeader, headerChecksum));
  if (absl::Status s = file.write(0, &header, sizeof header); !s.ok())
    return s;
  if (absl::Status s = file.write(sizeof header, plan.GetBufferPointer(), planBytes); !s.ok())
    return s;
  // An empty last blob leaves the file short of its padding where space could not be reserved.
  if (absl::Status s = file.extendTo(end); !s.ok())
    return s;
  return file.commit();
}

} // namespace llmc
