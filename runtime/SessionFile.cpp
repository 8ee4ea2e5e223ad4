// See SessionFile.h. The head is small and checked before it is used; states are checked as they stream by.
#include "runtime/SessionFile.h"
#include "runtime/TemporaryFile.h"
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include "xxhash.h"

namespace llmc::runtime {
namespace {

constexpr uint32_t kMaxLevelBytes = 4096;

/// Checksum of the head; a header's own field counts as 0.
uint64_t headChecksum(std::string head) {
  memset(&head[offsetof(SessionHeader, headChecksum)], 0, sizeof(uint64_t));
  return checksumOf(head.data(), head.size());
}

/// XXH3-64 over pieces.
class Checksum {
public:
  Checksum() { XXH3_64bits_reset(&state_); }
  void add(const uint8_t *data, uint64_t bytes) { XXH3_64bits_update(&state_, data, bytes); }
  uint64_t value() const { return XXH3_64bits_digest(&state_); }

private:
  XXH3_state_t state_;
};

} // namespace

absl::Status writeSessionFile(const std::string &path, const Engine &engine, int slot,
                              const SavedSession &session) {
  const std::string &level = engine.codeLevel();
  SessionHeader header = {};
  memcpy(header.magic, kSessionMagic, sizeof kSessionMagic);
  header.version = kSessionVersion;
  header.levelBytes = static_cast<uint32_t>(level.size());
  header.artifactChecksum = engine.artifact().checksum();
  header.tokens = session.tokens.size();
  header.past = static_cast<uint64_t>(session.past);
  header.stateBytes = engine.usedBytes(session.past);
  header.temperature = session.sampling.temperature;
  header.topP = session.sampling.topP;
  header.minP = session.sampling.minP;
  header.topK = session.sampling.topK;
  header.seed = session.sampling.seed;
  header.start = static_cast<uint64_t>(session.start);
  header.end = static_cast<uint64_t>(session.end);
  std::copy(session.settings.begin(), session.settings.end(), header.settings);
  std::string head(sizeof header, '\0');
  head += level;
  head.append(reinterpret_cast<const char *>(session.tokens.data()), session.tokens.size() * sizeof(int32_t));
  header.fileBytes = head.size() + header.stateBytes;

  TemporaryFile file(path, "the session", "under another name");
  if (absl::Status s = file.open(header.fileBytes); !s.ok())
    return s;
  uint64_t at = head.size();
  Checksum checksum;
  absl::Status written = engine.readSlot(slot, session.past, [&](const uint8_t *data, uint64_t bytes) {
    checksum.add(data, bytes);
    absl::Status s = file.write(at, data, bytes);
    at += bytes;
    return s;
  });
  if (!written.ok())
    return written;
  header.stateChecksum = checksum.value();
  memcpy(&head[0], &header, sizeof header);
  header.headChecksum = headChecksum(head);
  memcpy(&head[0], &header, sizeof header);
  if (absl::Status s = file.write(0, head.data(), head.size()); !s.ok())
    return s;
  return file.commit();
}

SessionFile::~SessionFile() {
  if (fd_ >= 0)
    close(fd_);
}

absl::Status SessionFile::damaged(const std::string &what) const {
  return absl::DataLossError(path_ + ": " + what + "; save the session again");
}

absl::Status SessionFile::read(void *to, uint64_t bytes) {
  auto *at = static_cast<uint8_t *>(to);
  while (bytes > 0) {
    ssize_t n = ::read(fd_, at, bytes);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return absl::UnknownError(path_ + ": cannot read: " + strerror(errno));
    if (n == 0)
      return damaged("has become shorter while it was read");
    at += n;
    bytes -= static_cast<uint64_t>(n);
  }
  return absl::OkStatus();
}

absl::Status SessionFile::checkHeader(uint64_t fileBytes) {
  if (fileBytes < sizeof header_)
    return damaged("has " + std::to_string(fileBytes) + " bytes, a saved session's header alone has " +
                   std::to_string(sizeof header_));
  if (absl::Status s = read(&header_, sizeof header_); !s.ok())
    return s;
  if (memcmp(header_.magic, kSessionMagic, sizeof kSessionMagic) != 0)
    return absl::InvalidArgumentError(
        path_ + ": is not a saved session (the first 8 bytes are not its magic number)");
  if (header_.version != kSessionVersion)
    return absl::FailedPreconditionError(path_ + ": has session format version " +
                                         std::to_string(header_.version) + ", this runtime reads version " +
                                         std::to_string(kSessionVersion) + "; use the runtime that saved it");
  if (header_.fileBytes > fileBytes)
    return damaged("is truncated: its header says " + std::to_string(header_.fileBytes) +
                   " bytes, the file has " + std::to_string(fileBytes));
  if (header_.fileBytes < fileBytes)
    return damaged("has " + std::to_string(fileBytes - header_.fileBytes) + " bytes after its end at " +
                   std::to_string(header_.fileBytes));
  // Bounds what is read next by the file's own size.
  const uint64_t rest = fileBytes - sizeof header_;
  if (header_.levelBytes > kMaxLevelBytes || header_.levelBytes > rest ||
      header_.tokens > (rest - header_.levelBytes) / sizeof(int32_t) ||
      header_.stateBytes != rest - header_.levelBytes - header_.tokens * sizeof(int32_t))
    return damaged("its parts do not add up to its " + std::to_string(fileBytes) + " bytes");
  return absl::OkStatus();
}

absl::Status SessionFile::checkFit(const SavedSession &saved, const std::string &level,
                                   const Engine &engine) const {
  const Artifact &artifact = engine.artifact();
  if (header_.artifactChecksum != artifact.checksum())
    return absl::FailedPreconditionError(
        path_ + ": is a session of another artifact than " + artifact.path() + " (plan checksum " +
        printChecksum(header_.artifactChecksum) + ", not " + printChecksum(artifact.checksum()) +
        "); restore it with the one that saved it");
  if (level != engine.codeLevel())
    return absl::FailedPreconditionError(path_ + ": was saved where " + level + " code runs, here it is " +
                                         engine.codeLevel() +
                                         ", which rounds differently; ingest its tokens anew");
  const uint64_t context = static_cast<uint64_t>(engine.context());
  if (header_.tokens > context + 1)
    return absl::OutOfRangeError(path_ + ": holds " + std::to_string(header_.tokens) +
                                 " tokens, the context has room for " + std::to_string(context) +
                                 "; open the model with a larger one (up to " +
                                 std::to_string(engine.plan().metadata.context) + ")");
  if (header_.past > header_.tokens || header_.past > context)
    return damaged("says that " + std::to_string(header_.past) + " of its " + std::to_string(header_.tokens) +
                   " tokens are in the states");
  if (header_.stateBytes != engine.usedBytes(saved.past))
    return damaged("has states of " + std::to_string(header_.stateBytes) + " bytes, expected " +
                   std::to_string(engine.usedBytes(saved.past)));
  const uint32_t vocab = engine.plan().metadata.vocab;
  for (size_t i = 0; i < saved.tokens.size(); ++i)
    if (static_cast<uint32_t>(saved.tokens[i]) >= vocab)
      return damaged("token " + std::to_string(i) + " is " + std::to_string(saved.tokens[i]) +
                     ", outside the vocabulary of " + std::to_string(vocab));
  if (header_.start > header_.tokens)
    return damaged("says that its generation began at token " + std::to_string(header_.start) + " of " + std::to_string(header_.tokens));
  if (header_.end > context)
    return absl::OutOfRangeError(path_ + ": is to have " + std::to_string(header_.end) + " tokens, the context has room for " +
                                 std::to_string(context) + "; open the model with a larger one");
  if (!saved.sampling.isValid())
    return damaged("has sampling parameters out of range");
  return checkSettings(engine.plan().metadata.settings);
}

/// Declared settings are within their limits, other columns are 0.
absl::Status SessionFile::checkSettings(const std::vector<Setting> &settings) const {
  std::array<float, kSettingColumns> others;
  std::copy(std::begin(header_.settings), std::end(header_.settings), others.begin());
  for (const Setting &s : settings) {
    const float value = others[s.column];
    const bool isWhole = !s.isWhole || value == std::floor(value);
    if (!isWhole || !(value >= static_cast<float>(s.least) && value <= static_cast<float>(s.most)))
      return damaged("has the setting '" + s.name + "' out of its range");
    others[s.column] = 0;
  }
  for (float value : others)
    if (value != 0)
      return damaged("has a setting that the artifact does not know");
  return absl::OkStatus();
}

absl::StatusOr<SavedSession> SessionFile::open(const std::string &path, const Engine &engine) {
  path_ = path;
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) {
    int error = errno;
    std::string what = path + ": cannot open: " + strerror(error);
    return error == ENOENT ? absl::NotFoundError(what) : absl::UnknownError(what);
  }
  struct stat info;
  if (fstat(fd_, &info) != 0 || !S_ISREG(info.st_mode))
    return absl::InvalidArgumentError(path + ": is not a regular file");
  if (absl::Status s = checkHeader(static_cast<uint64_t>(info.st_size)); !s.ok())
    return s;
  std::string head(sizeof header_ + header_.levelBytes + header_.tokens * sizeof(int32_t), '\0');
  memcpy(&head[0], &header_, sizeof header_);
  if (absl::Status s = read(&head[sizeof header_], head.size() - sizeof header_); !s.ok())
    return s;
  if (uint64_t found = headChecksum(head); found != header_.headChecksum)
    return damaged("checksum of its head is " + printChecksum(header_.headChecksum) + ", its bytes give " +
                   printChecksum(found));
  SavedSession saved;
  saved.past = static_cast<int64_t>(header_.past);
  saved.sampling = {header_.temperature, header_.topP, header_.minP, header_.topK, header_.seed};
  saved.start = static_cast<int64_t>(header_.start);
  saved.end = static_cast<int64_t>(header_.end);
  std::copy(std::begin(header_.settings), std::end(header_.settings), saved.settings.begin());
  saved.tokens.resize(header_.tokens);
  if (header_.tokens)
    memcpy(saved.tokens.data(), &head[sizeof header_ + header_.levelBytes], header_.tokens * sizeof(int32_t));
  if (absl::Status s = checkFit(saved, head.substr(sizeof header_, header_.levelBytes), engine); !s.ok())
    return s;
  return saved;
}

absl::Status SessionFile::readStates(Engine &engine, int slot) {
  Checksum checksum;
  absl::Status status =
      engine.writeSlot(slot, static_cast<int64_t>(header_.past), [&](uint8_t *data, uint64_t bytes) {
        absl::Status s = read(data, bytes);
        if (s.ok())
          checksum.add(data, bytes);
        return s;
      });
  if (status.ok() && checksum.value() != header_.stateChecksum)
    return damaged("checksum of its states is " + printChecksum(header_.stateChecksum) + ", its bytes give " +
                   printChecksum(checksum.value()));
  return status;
}

} // namespace llmc::runtime
