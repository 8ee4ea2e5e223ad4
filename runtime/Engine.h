// An opened artifact: a device with its code, memory laid out, programs made ready. Knows programs and buffers, not models.
#pragma once
#include "absl/status/statusor.h"
#include "runtime/Artifact.h"
#include "runtime/Device.h"

namespace llmc::runtime {

struct EngineOptions {
  int threads = 0;      ///< 0: usableCpus()
  int64_t context = 0;  ///< tokens per session; 0: the model's, at most kDefaultContext
  int slots = 1;        ///< sessions at once
  bool isVerifyingWeights = false;
  std::string libcuda;  ///< the CUDA driver's library; empty: libcuda.so.1
};
inline constexpr int64_t kDefaultContext = 4096;
inline constexpr int kMaxSlots = 1 << 16;

/// The arrays of the contract's inputs. Filled by sessions before a program runs.
struct CallInputs {
  int32_t *tokens = nullptr;  ///< [T]
  int32_t *where = nullptr;   ///< [T, 2] sequence in this call, position in its sequence
  int32_t *rows = nullptr;    ///< [S, 4] slot, first row, length, tokens already in the state
  float *sampling = nullptr;  ///< [S, 4] temperature, top_p, min_p, 0
  int64_t *draws = nullptr;   ///< [S, 4] seed, top_k, position, 0
};

/// A program with every pointer resolved.
struct ReadyProgram {
  bool isPresent = false;
  std::unique_ptr<DeviceProgram> code;
  int32_t *next = nullptr;      ///< output [S, 1]
  float *logits = nullptr;      ///< output [S, V] or [T, V]
  float *decoding = nullptr;    ///< output [S, 2], temperature and top_p of each draw; null unless the model predicts them
};

class Engine {
public:
  static absl::StatusOr<std::unique_ptr<Engine>> open(const std::string &path, const EngineOptions &options);

  const Artifact &artifact() const { return *artifact_; }
  const Plan &plan() const { return artifact_->plan(); }
  int64_t context() const { return dims_[3]; }
  int slots() const { return static_cast<int>(dims_[2]); }
  int threads() const { return device_->threads(); }
  const std::string &codeLevel() const { return device_->codeLevel(); }
  uint64_t arenaBytes() const { return arenaBytes_; }
  uint64_t stateBytes() const { return stateBytes_; }
  int64_t maxTokens() const { return plan().metadata.maxTokens; }
  int64_t maxSequences() const { return plan().metadata.maxSequences; }

  const CallInputs &inputs() const { return inputs_; }
  const ReadyProgram &ingest() const { return ingest_; }
  const ReadyProgram &advance() const { return advance_; }
  const ReadyProgram &score() const { return score_; }

  /// Runs a program on the inputs for `tokens` rows of `sequences` sequences, both at most the maxima.
  absl::Status run(const ReadyProgram &program, int64_t tokens, int64_t sequences);
  /// From now on the time of every dispatch is recorded.
  Profile &startProfile();
  /// Null before startProfile.
  const Profile *profile() const { return profile_.get(); }
  /// Makes all states of a slot zero again.
  absl::Status clearSlot(int slot);

private:
  Engine() = default;
  absl::Status openDevice(const EngineOptions &options);
  absl::Status allocate();
  absl::Status resolve();
  absl::Status resolveProgram(const char *name, ReadyProgram &ready);

  struct State {
    void *memory = nullptr;
    uint64_t slotBytes = 0;
  };

  std::unique_ptr<Artifact> artifact_;
  std::unique_ptr<Device> device_; ///< ends before the artifact whose code and weights it uses
  Dims dims_ = {};
  std::vector<State> states_;
  std::vector<void *> bufferPointers_;   ///< device addresses by buffer id; transients are the same in every program
  std::vector<ExchangeMemory> outputs_;  ///< by buffer id
  uint64_t stateBytes_ = 0, arenaBytes_ = 0;
  CallInputs inputs_;
  ReadyProgram ingest_, advance_, score_;
  std::unique_ptr<Profile> profile_;
};

} // namespace llmc::runtime
