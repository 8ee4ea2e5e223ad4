// A session as a file:
//
//   0    144-byte SessionHeader
//   144  name of the code level, then the tokens, 32 bits each; with the header they are the head
//   ..   the states' used part (Engine::readSlot), to the end
//
// A file is restored only where it goes on bit for bit: with the artifact that saved it, on the same code
// level. The context and the number of slots may differ.
#pragma once
#include "runtime/Session.h"

namespace llmc::runtime {

inline constexpr char kSessionMagic[8] = {'L', 'L', 'M', 'S', '\0', '\r', '\n', '\x1a'};
inline constexpr uint32_t kSessionVersion = 2;

/// First bytes of a file, little endian. `headChecksum` is the XXH3-64 of the head with 0 in its place.
struct SessionHeader {
  char magic[8];
  uint32_t version;
  uint32_t levelBytes;
  uint64_t artifactChecksum; ///< Artifact::checksum
  uint64_t fileBytes, tokens, past, stateBytes, stateChecksum;
  float temperature, topP, minP;
  int32_t topK;
  uint64_t seed;
  uint64_t start, end; ///< SavedSession::start, end
  float settings[kSettingColumns];
  uint64_t headChecksum;
};
static_assert(sizeof(SessionHeader) == 144);

/// A session without its states.
struct SavedSession {
  int64_t past = 0;
  Sampling sampling;
  std::vector<int32_t> tokens;
  int64_t start = 0, end = 0; ///< positions of the generation that it is in, see SessionPool::begin
  std::array<float, kSettingColumns> settings = {};
};

/// Writes a session under a temporary name and renames it.
absl::Status writeSessionFile(const std::string &path, const Engine &engine, int slot,
                              const SavedSession &session);

/// A file being read. Errors name the file and what is wrong with it.
class SessionFile {
public:
  SessionFile() = default;
  ~SessionFile();
  SessionFile(const SessionFile &) = delete;
  SessionFile &operator=(const SessionFile &) = delete;

  /// Verifies all but the states: that it is whole, of this engine's artifact and code level, that it fits.
  absl::StatusOr<SavedSession> open(const std::string &path, const Engine &engine);
  /// Reads the states into a slot. When it fails the slot holds anything.
  absl::Status readStates(Engine &engine, int slot);

private:
  absl::Status damaged(const std::string &what) const;
  absl::Status read(void *to, uint64_t bytes);
  absl::Status checkHeader(uint64_t fileBytes);
  absl::Status checkFit(const SavedSession &saved, const std::string &level, const Engine &engine) const;
  absl::Status checkSettings(const std::vector<Setting> &settings) const;

  std::string path_;
  int fd_ = -1;
  SessionHeader header_ = {};
};

} // namespace llmc::runtime
