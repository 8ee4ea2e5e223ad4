// See VerifyWeights.h.
#include "tools/llmc/VerifyWeights.h"
#include "codegen/PackWeights.h"
#include "dialect/llm/LlmDialect.h"
#include "dialect/reference/Storage.h"
#include "frontends/huggingface/Checkpoint.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;
namespace llmc {
namespace {

/// Bytes of every tensor that the model reads, members of stacks one by one.
llvm::StringMap<uint64_t> tensorBytes(ModuleOp model) {
  llvm::StringMap<uint64_t> bytes;
  model.walk([&](llm::WeightOp weight) {
    auto type = cast<RankedTensorType>(weight.getType());
    uint64_t size = uint64_t(type.getNumElements()) * type.getElementTypeBitWidth() / 8;
    if (!weight.getStack()) {
      bytes[weight.getName()] = size;
      return;
    }
    auto [before, after] = weight.getName().split("{}");
    for (uint64_t e = 0; e < *weight.getStack(); ++e)
      bytes[(before + Twine(e) + after).str()] = size / *weight.getStack();
  });
  return bytes;
}

/// Where a tensor's rows are: in one or several buffers.
struct Part {
  PackedPiece piece;
  const uint8_t *packed;
};

} // namespace

absl::StatusOr<reference::WeightProvider> weightsOfArtifact(const runtime::Artifact &artifact, ModuleOp model,
                                                            ModuleOp planned) {
  auto parts = std::make_shared<llvm::StringMap<std::vector<Part>>>();
  llvm::StringMap<uint64_t> bytes = tensorBytes(model);
  size_t id = 0;
  for (auto op : planned.getOps<plan::BufferOp>()) {
    const runtime::Buffer &buffer = artifact.plan().buffers[id++];
    if (buffer.kind != runtime::BufferKind::weight)
      continue;
    auto pieces = packedPieces(op, [&](const std::string &name) { return bytes.lookup(name); });
    if (!pieces.ok())
      return pieces.status();
    for (const PackedPiece &piece : *pieces)
      (*parts)[piece.name].push_back({piece, artifact.blobData(buffer.blob) + buffer.blobOffset});
  }
  return [parts](StringRef name, ArrayRef<int64_t> shape, Type type) -> FailureOr<reference::Tensor> {
    auto element = reference::elementOf(type);
    auto found = parts->find(name);
    if (!element || found == parts->end())
      return failure();
    std::vector<uint8_t> stored(reference::Tensor::count(shape) * reference::storedBytes(*element));
    uint64_t end = 0;
    std::vector<std::pair<uint64_t, uint64_t>> ranges;
    for (const Part &part : found->second) {
      uint64_t first = part.piece.firstRow * part.piece.rowBytes();
      ranges.push_back({first, first + part.piece.rows * part.piece.rowBytes()});
      if (ranges.back().second > stored.size())
        return failure();
      unpack(part.piece, part.packed, stored.data());
    }
    llvm::sort(ranges);
    for (auto [from, to] : ranges) {
      if (from > end)
        return failure(); // rows that no buffer holds
      end = std::max(end, to);
    }
    if (end != stored.size())
      return failure();
    return reference::tensorOfBytes(*element, shape, stored.data());
  };
}

absl::StatusOr<reference::WeightProvider> weightsOfCheckpoint(const std::string &directory,
                                                             const std::string &heads) {
  auto opened = Checkpoint::open(directory);
  if (!opened.ok())
    return opened.status();
  if (!heads.empty())
    if (absl::Status s = opened->add(heads); !s.ok())
      return s;
  auto checkpoint = std::make_shared<Checkpoint>(std::move(*opened));
  return [checkpoint](StringRef name, ArrayRef<int64_t> shape, Type type) -> FailureOr<reference::Tensor> {
    auto element = reference::elementOf(type);
    const CheckpointTensor *tensor = checkpoint->find(name.str());
    if (!element || !tensor ||
        tensor->bytes.size() != reference::Tensor::count(shape) * reference::storedBytes(*element))
      return failure();
    std::vector<uint8_t> stored(tensor->bytes.size());
    if (absl::Status s = checkpoint->read(*tensor, 0, stored.data(), stored.size()); !s.ok()) {
      llvm::errs() << "llmc: error: " << std::string(s.message()) << "\n";
      return failure();
    }
    return reference::tensorOfBytes(*element, shape, stored.data());
  };
}

} // namespace llmc
