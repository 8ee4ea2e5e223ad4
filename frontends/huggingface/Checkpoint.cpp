// Finds the files of a checkpoint, reads the index of a sharded one, and compares tensors with a model's
// needs.
#include "frontends/huggingface/Checkpoint.h"

#include "models/Json.h"

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include <algorithm>
#include <map>

namespace llmc {
namespace {

constexpr const char *kSingleFile = "model.safetensors";
constexpr const char *kIndexFile = "model.safetensors.index.json";
constexpr size_t kMaxIndexBytes = size_t{64} << 20; // the index of a model with 70,000 tensors is 7 MB
constexpr int kMaxIndexDepth = 16;
constexpr size_t kMaxShards = 10'000;
constexpr size_t kMaxLines = 20;

/// Tensor name to file name, in the order of names.
using WeightMap = std::map<std::string, std::string>;

/// Takes the `weight_map` out of the index and passes over everything else.
class IndexReader {
public:
  absl::Status take(JsonEvent &event) {
    if (event.kind == JsonKind::EndObject || event.kind == JsonKind::EndArray) {
      --depth;
      return absl::OkStatus();
    }
    bool opens = event.kind == JsonKind::BeginObject || event.kind == JsonKind::BeginArray;
    int at = depth;
    depth += opens;
    if (at == 0 && event.kind != JsonKind::BeginObject)
      return absl::InvalidArgumentError(absl::StrCat("expects an object, found ", describe(event)));
    if (at == 1 && event.kind == JsonKind::Key)
      inWeightMap = event.text == "weight_map";
    else if (at == 1 && inWeightMap && event.kind != JsonKind::BeginObject)
      return absl::InvalidArgumentError(
          absl::StrCat("\"weight_map\": expects an object of file names, found ", describe(event)));
    else if (at == 1 && inWeightMap)
      found = true;
    else if (at == 2 && inWeightMap && event.kind == JsonKind::Key)
      tensor = std::move(event.text);
    else if (at == 2 && inWeightMap)
      return addFile(event);
    return absl::OkStatus();
  }

  WeightMap files;
  bool found = false;

private:
  absl::Status addFile(JsonEvent &event) {
    if (event.kind != JsonKind::String)
      return absl::InvalidArgumentError(absl::StrCat("\"weight_map\": tensor ", inQuotes(tensor),
                                                     ": expects the name of a file, found ",
                                                     describe(event)));
    const std::string &file = event.text;
    // A name must not lead out of the directory.
    bool plain = !file.empty() && file.size() <= 255 && file[0] != '.' && !absl::StrContains(file, "..") &&
                 file.find_first_of("/\\") == std::string::npos &&
                 std::none_of(file.begin(), file.end(), [](unsigned char c) { return c < 0x20; });
    if (!plain)
      return absl::InvalidArgumentError(
          absl::StrCat("\"weight_map\": tensor ", inQuotes(tensor),
                       ": expects the name of a file in the same directory, found ", inQuotes(file)));
    files.emplace(std::move(tensor), std::move(event.text));
    return absl::OkStatus();
  }

  int depth = 0;
  bool inWeightMap = false;
  std::string tensor;
};

absl::StatusOr<WeightMap> readIndex(const std::string &path) {
  absl::StatusOr<std::string> text = readFile(path, kMaxIndexBytes);
  if (!text.ok())
    return text.status();
  IndexReader reader;
  absl::Status status =
      parseJson(*text, kMaxIndexDepth, [&](JsonEvent &event) { return reader.take(event); });
  if (status.ok() && !reader.found)
    status = absl::InvalidArgumentError("key \"weight_map\" is missing");
  if (!status.ok())
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": ", status.message(), ": download the file again"));
  return std::move(reader.files);
}

/// Lines of one kind of finding, cut after kMaxLines.
void appendSection(const std::vector<std::string> &lines, const std::string &title, std::string &out) {
  if (lines.empty())
    return;
  absl::StrAppend(&out, "\n  ", lines.size(), " ", title, ":");
  for (size_t i = 0; i < lines.size() && i < kMaxLines; ++i)
    absl::StrAppend(&out, "\n    ", lines[i]);
  if (lines.size() > kMaxLines)
    absl::StrAppend(&out, "\n    ... and ", lines.size() - kMaxLines, " more");
}

std::string withoutWeights(const std::string &directory) {
  const char *advice = "download the checkpoint completely";
  if (fileExists(pathIn(directory, "pytorch_model.bin")) ||
      fileExists(pathIn(directory, "pytorch_model.bin.index.json")))
    advice = "the weights are there as a pickle of PyTorch; convert them to safetensors";
  return absl::StrCat(directory, ": expects ", kSingleFile, " or ", kIndexFile, ", found neither: ", advice);
}

bool isWeightType(StoredType type) {
  return type == StoredType::F32 || type == StoredType::BF16 || type == StoredType::F16;
}

} // namespace

absl::StatusOr<Checkpoint> Checkpoint::open(const std::string &directory) {
  if (absl::Status status = checkDirectory(directory); !status.ok())
    return status;
  Checkpoint checkpoint;
  checkpoint.directory = directory;
  absl::Status status;
  if (std::string single = pathIn(directory, kSingleFile); fileExists(single))
    status = checkpoint.addFile(single);
  else if (fileExists(pathIn(directory, kIndexFile)))
    status = checkpoint.openShards(directory);
  else
    status = absl::NotFoundError(withoutWeights(directory));
  if (!status.ok())
    return status;
  checkpoint.sortByName();
  return checkpoint;
}

absl::Status Checkpoint::add(const std::string &other) {
  absl::StatusOr<Checkpoint> more = open(other);
  if (!more.ok())
    return more.status();
  for (CheckpointTensor &tensor : more->entries) {
    if (find(tensor.name))
      return absl::InvalidArgumentError(absl::StrCat(other, ": tensor ", inQuotes(tensor.name), " is in ",
                                                     directory, " too: one of the two does not belong here"));
    tensor.shard += paths.size();
  }
  entries.insert(entries.end(), more->entries.begin(), more->entries.end());
  sortByName();
  paths.insert(paths.end(), more->paths.begin(), more->paths.end());
  std::move(more->mappings.begin(), more->mappings.end(), std::back_inserter(mappings));
  absl::StrAppend(&directory, " with ", other);
  return absl::OkStatus();
}

void Checkpoint::sortByName() {
  std::sort(entries.begin(), entries.end(),
            [](const CheckpointTensor &a, const CheckpointTensor &b) { return a.name < b.name; });
}

/// Maps and parses one file and adds its tensors, unsorted.
absl::Status Checkpoint::addFile(const std::string &path) {
  absl::StatusOr<MappedFile> mapped = MappedFile::open(path);
  if (!mapped.ok())
    return mapped.status();
  absl::StatusOr<SafetensorsFile> file = SafetensorsFile::parse(mapped->bytes(), path);
  if (!file.ok())
    return file.status();
  for (const SafetensorsTensor &tensor : file->tensors())
    entries.push_back({tensor.name, tensor.type, tensor.shape, file->bytes(tensor), paths.size()});
  paths.push_back(path);
  mappings.push_back(std::move(*mapped));
  return absl::OkStatus();
}

absl::Status Checkpoint::openShards(const std::string &directory) {
  std::string indexPath = pathIn(directory, kIndexFile);
  absl::StatusOr<WeightMap> index = readIndex(indexPath);
  if (!index.ok())
    return index.status();
  std::map<std::string, size_t> shards; // file name to shard number, in the order of names
  for (const auto &[tensor, file] : *index)
    shards.emplace(file, 0);
  if (shards.size() > kMaxShards)
    return absl::InvalidArgumentError(
        absl::StrCat(indexPath, ": expects at most ", kMaxShards, " files, found ", shards.size()));

  std::vector<std::string> missing;
  for (const auto &[file, number] : shards)
    if (!fileExists(pathIn(directory, file)))
      missing.push_back(file);
  if (!missing.empty()) {
    std::string message = absl::StrCat(directory, ": the checkpoint is incomplete, ", kIndexFile,
                                       " names files that "
                                       "are not there: download them");
    appendSection(missing, absl::StrCat("of ", shards.size(), " missing"), message);
    return absl::NotFoundError(message);
  }

  for (auto &[file, number] : shards) {
    number = paths.size();
    if (absl::Status status = addFile(pathIn(directory, file)); !status.ok())
      return status;
  }

  absl::flat_hash_map<std::string, size_t> where;
  for (const CheckpointTensor &tensor : entries)
    if (auto [other, isNew] = where.emplace(tensor.name, tensor.shard); !isNew)
      return absl::InvalidArgumentError(absl::StrCat(
          directory, ": tensor ", inQuotes(tensor.name), " is in two files, ", paths[other->second], " and ",
          paths[tensor.shard], ": remove files that do not belong to this checkpoint"));
  for (const auto &[tensor, file] : *index) {
    auto found = where.find(tensor);
    if (found == where.end() || found->second != shards[file])
      return absl::InvalidArgumentError(
          absl::StrCat(indexPath, ": tensor ", inQuotes(tensor), ": expects it in ", file, ", found it in ",
                       found == where.end() ? "none of the files" : paths[found->second],
                       ": download the checkpoint again"));
  }
  return absl::OkStatus();
}

const CheckpointTensor *Checkpoint::find(const std::string &name) const {
  auto found = std::lower_bound(
      entries.begin(), entries.end(), name,
      [](const CheckpointTensor &tensor, const std::string &key) { return tensor.name < key; });
  return found != entries.end() && found->name == name ? &*found : nullptr;
}

absl::StatusOr<const CheckpointTensor *> Checkpoint::tensor(const std::string &name) const {
  if (const CheckpointTensor *found = find(name))
    return found;
  return absl::NotFoundError(absl::StrCat(directory, ": the checkpoint has no tensor ", inQuotes(name)));
}

absl::Status Checkpoint::check(const std::vector<TensorSpec> &expected,
                               const std::vector<std::function<bool(const std::string &)>> &ignored) const {
  std::vector<std::string> missing, misshaped, mistyped, unexpected;
  absl::flat_hash_set<std::string> known;
  for (const TensorSpec &spec : expected) {
    known.insert(spec.name);
    const CheckpointTensor *tensor = find(spec.name);
    if (!tensor) {
      if (!spec.optional)
        missing.push_back(absl::StrCat(spec.name, " ", shapeText(spec.shape)));
      continue;
    }
    if (tensor->shape != spec.shape && std::find(spec.alternatives.begin(), spec.alternatives.end(),
                                                 tensor->shape) == spec.alternatives.end())
      misshaped.push_back(
          absl::StrCat(spec.name, ": expects ", shapeText(spec.shape), ", found ", shapeText(tensor->shape)));
    if (!isWeightType(tensor->type))
      mistyped.push_back(
          absl::StrCat(spec.name, ": expects F32, BF16 or F16, found ", typeName(tensor->type)));
  }
  for (const CheckpointTensor &tensor : entries) {
    auto ignores = [&](const std::function<bool(const std::string &)> &predicate) {
      return predicate(tensor.name);
    };
    if (!known.contains(tensor.name) && std::none_of(ignored.begin(), ignored.end(), ignores))
      unexpected.push_back(
          absl::StrCat(inQuotes(tensor.name), " ", typeName(tensor.type), " ", shapeText(tensor.shape)));
  }
  if (missing.empty() && misshaped.empty() && mistyped.empty() && unexpected.empty())
    return absl::OkStatus();

  std::string message = absl::StrCat(directory, ": the tensors are not those of the model in config.json");
  appendSection(missing, "missing", message);
  appendSection(misshaped, "of another shape", message);
  appendSection(mistyped, "of a type that is not supported (quantized checkpoints are not)", message);
  appendSection(unexpected, "unexpected", message);
  absl::StrAppend(&message, "\n  check that config.json and the weights are of the same model and version");
  return absl::InvalidArgumentError(message);
}

absl::Status Checkpoint::read(const CheckpointTensor &tensor, uint64_t offset, uint8_t *to,
                              size_t bytes) const {
  return mappings[tensor.shard].read(tensor.bytes.subspan(offset, bytes), to);
}

} // namespace llmc
