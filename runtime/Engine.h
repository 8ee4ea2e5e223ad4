// An opened artifact: code loaded, memory laid out, programs resolved to lists of calls. Knows programs and
// buffers, not models.
#pragma once
#include "absl/status/statusor.h"
#include "runtime/Artifact.h"
#include "runtime/Profile.h"
#include "runtime/ThreadPool.h"
#include "runtime/cpu/ElfImage.h"

namespace llmc::runtime {

struct EngineOptions {
  int threads = 0;     ///< 0: usableCpus()
  int64_t context = 0; ///< tokens per session; 0: the model's, at most kDefaultContext
  int slots = 1;       ///< sessions at once
  bool isVerifyingWeights = false;
};
inline constexpr int64_t kDefaultContext = 4096;
inline constexpr int kMaxSlots = 1 << 16;

/// Pages from the system, zero until written, never counted before touched.
class Pages {
public:
  Pages() = default;
  Pages(Pages &&other) noexcept : data_(other.data_), bytes_(other.bytes_) {
    other.data_ = nullptr;
    other.bytes_ = 0;
  }
  Pages &operator=(Pages &&other) noexcept;
  ~Pages();
  /// Nothing when the system has no such amount.
  static std::optional<Pages> map(uint64_t bytes);
  uint8_t *data() const { return data_; }
  uint64_t bytes() const { return bytes_; }

private:
  uint8_t *data_ = nullptr;
  uint64_t bytes_ = 0;
};

/// The arrays of the contract's inputs. Filled by sessions before a program runs.
struct CallInputs {
  int32_t *tokens = nullptr; ///< [T]
  int32_t *where = nullptr;  ///< [T, 2] sequence in this call, position in its sequence
  int32_t *rows = nullptr;   ///< [S, 4] slot, first row, length, tokens already in the state
  float *sampling = nullptr; ///< [S, 4] temperature, top_p, min_p, 0
  int64_t *draws = nullptr;  ///< [S, 4] seed, top_k, position, 0
};

/// A program with every pointer resolved.
struct ReadyProgram {
  bool isPresent = false;
  const char *name = "";
  std::vector<Task> tasks;
  std::vector<uint32_t> kernels; ///< of the tasks, for profiles
  std::vector<void *> pointers; ///< of all tasks, one after the other
  int32_t *next = nullptr;      ///< output [S, 1]
  float *logits = nullptr;      ///< output [S, V] or [T, V]
};

class Engine {
public:
  static absl::StatusOr<std::unique_ptr<Engine>> open(const std::string &path, const EngineOptions &options);

  const Artifact &artifact() const { return *artifact_; }
  const Plan &plan() const { return artifact_->plan(); }
  int64_t context() const { return dims_[3]; }
  int slots() const { return static_cast<int>(dims_[2]); }
  int threads() const { return pool_->threads(); }
  const std::string &codeLevel() const { return codeLevel_; }
  uint64_t arenaBytes() const { return arena_.bytes(); }
  uint64_t stateBytes() const { return stateBytes_; }
  int64_t maxTokens() const { return plan().metadata.maxTokens; }
  int64_t maxSequences() const { return plan().metadata.maxSequences; }

  const CallInputs &inputs() const { return inputs_; }
  const ReadyProgram &ingest() const { return ingest_; }
  const ReadyProgram &advance() const { return advance_; }
  const ReadyProgram &score() const { return score_; }

  /// Runs a program on the inputs for `tokens` rows of `sequences` sequences, both at most the maxima.
  void run(const ReadyProgram &program, int64_t tokens, int64_t sequences);
  /// From now on the time of every dispatch is recorded.
  Profile &startProfile();
  /// Null before startProfile.
  const Profile *profile() const { return profile_.get(); }
  /// Makes all states of a slot zero again.
  void clearSlot(int slot);

private:
  Engine() = default;
  absl::Status loadCode();
  absl::Status allocate();
  absl::Status resolve();
  absl::Status resolveProgram(const char *name, ReadyProgram &ready);
  absl::StatusOr<void *> kernelFunction(const std::string &name);

  struct State {
    Pages pages;
    uint64_t slotBytes = 0;
  };

  std::unique_ptr<Artifact> artifact_;
  std::unique_ptr<ElfImage> code_;
  std::unique_ptr<ThreadPool> pool_;
  std::string codeLevel_;
  Dims dims_ = {};
  Pages arena_, inputPages_;
  std::vector<State> states_;
  std::vector<Pages> outputs_;
  std::vector<void *> bufferPointers_; ///< by buffer id; transients are the same in every program
  uint64_t stateBytes_ = 0;
  CallInputs inputs_;
  ReadyProgram ingest_, advance_, score_;
  std::unique_ptr<Profile> profile_;
};

} // namespace llmc::runtime
