// An opened artifact: a device with its code, memory laid out, programs made ready. Knows programs and buffers, not models.
#pragma once
#include "absl/status/statusor.h"
#include "runtime/Artifact.h"
#include "runtime/Device.h"
#include <functional>
#include <map>

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

/// A table of sequences.
struct SpanInputs {
  int32_t *where = nullptr; ///< [T, 2] sequence in this call, position in its sequence
  int32_t *rows = nullptr;  ///< [S, 4] slot, first row, length, position of the first row
};

/// The arrays of the contract's inputs. Filled by sessions before a program runs.
struct CallInputs {
  int32_t *tokens = nullptr;  ///< [T]
  SpanInputs spans[kMaxSpans]; ///< those that a program has; the first is that of the tokens
  int32_t *bounds = nullptr;  ///< [S, 4] known, end, start, 0
  float *settings = nullptr;  ///< [S, 8]
  float *sampling = nullptr;  ///< [S, 4] temperature, top_p, min_p, 0
  int64_t *draws = nullptr;   ///< [S, 4] seed, top_k, position, 0
};

/// A program with every pointer resolved. Dispatches that follow each other and work on the rows of one span are a segment, which
/// the device runs at once.
struct ReadyProgram {
  struct Segment {
    std::unique_ptr<DeviceProgram> code;
    unsigned span = 0;
  };
  /// Segments first .. first + count run again while the condition holds.
  struct Loop {
    size_t first = 0, count = 0;
    const int32_t *condition = nullptr; ///< [S], as the host sees it
    uint32_t atMost = 0;
    unsigned rows = 0; ///< span whose rows the condition counts, or 0
  };
  bool isPresent = false;
  bool isWhole = false; ///< one segment, whatever the spans and loops: the device knows them
  const Program *program = nullptr;
  std::vector<Segment> segments;
  std::vector<Loop> loops;
  int32_t *next = nullptr;      ///< output [S, 1]
  float *logits = nullptr;      ///< output [S, V] or [T, V]
  int32_t *first = nullptr, *second = nullptr; ///< outputs [T], see Buffer
  float *latents = nullptr;     ///< output [T, latentColumns]
  int64_t latentColumns = 0;
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
  /// Where prompts are cut: at multiples of this, so that it cannot be seen.
  int64_t pieceTokens() const { return plan().metadata.pieceTokens; }
  int64_t maxSequences() const { return plan().metadata.maxSequences; }

  const CallInputs &inputs() const { return inputs_; }
  const ReadyProgram &ingest() const { return ingest_; }
  const ReadyProgram &advance() const { return advance_; }
  const ReadyProgram &score() const { return score_; }

  /// Runs a program on the inputs for `tokens` rows of `sequences` sequences, both at most the maxima.
  absl::Status run(const ReadyProgram &program, int64_t tokens, int64_t sequences) {
    const int64_t rows[kMaxSpans] = {tokens};
    return run(program, rows, sequences);
  }
  /// The same with a number of rows for each span of the program.
  absl::Status run(const ReadyProgram &program, const int64_t *rows, int64_t sequences);
  /// Runs a program of the plan, with rows for each of its spans, dispatch by dispatch and tells `after` the number of each when it is done.
  /// For looking at what a dispatch wrote (`memory`): transients share memory, so at the end it may be gone.
  absl::Status runInSteps(const Program &program, const int64_t *rows, int64_t sequences,
                          const std::function<absl::Status(size_t step)> &after);
  /// Where a buffer of the plan lies; only a CPU's memory may be followed.
  const void *memory(uint32_t buffer) const { return bufferPointers_[buffer]; }
  /// From now on the time of every dispatch is recorded.
  Profile &startProfile();
  /// Null before startProfile.
  const Profile *profile() const { return profile_.get(); }
  /// Makes all states of a slot zero again.
  absl::Status clearSlot(int slot);

  /// Bytes of a slot's states once `positions` positions are in them: growing states (those with a dimension
  /// CTX or CTXB) only up to there, the others whole. They do not depend on the context or the slots.
  uint64_t usedBytes(int64_t positions) const;
  /// Copies that part from one slot to another.
  absl::Status copySlot(int from, int to, int64_t positions);
  /// That part through a buffer in an order of the artifact's: `take` gets its bytes, `give` fills in the
  /// next ones.
  using Take = std::function<absl::Status(const uint8_t *data, uint64_t bytes)>;
  using Give = std::function<absl::Status(uint8_t *data, uint64_t bytes)>;
  absl::Status readSlot(int slot, int64_t positions, const Take &take) const;
  absl::Status writeSlot(int slot, int64_t positions, const Give &give);

private:
  Engine() = default;
  absl::Status openDevice(const EngineOptions &options);
  absl::Status allocate();
  absl::Status resolve();
  struct InputLayout {
    std::map<std::string, uint64_t> offsets; ///< by the name of the input
    uint64_t bytes = 0;
    size_t spans = 1;
  };
  InputLayout layOutInputs() const;
  void setInputs(const InputLayout &layout, uint8_t *host);
  absl::Status resolveProgram(const char *name, ReadyProgram &ready);
  absl::Status runSegments(const ReadyProgram &program, size_t first, size_t end, const int64_t *rows);
  absl::Status runLoop(const ReadyProgram &program, const ReadyProgram::Loop &loop, const int64_t *rows, int64_t sequences);
  absl::Status full(const absl::Status &status, const std::string &what, uint64_t bytes) const;
  DeviceDispatch withAddresses(const Dispatch &dispatch) const;

  /// A slot of a growing state is `runs` times a run of rows by position; of another, one run.
  struct State {
    void *memory = nullptr;
    uint64_t slotBytes = 0, runs = 1;
    uint64_t rowBytes = 0; ///< 0: does not grow
    int64_t rowPositions = 1;
    uint64_t usedOfRun(int64_t positions) const;
  };
  static State stateOf(const Buffer &buffer, void *memory, uint64_t slotBytes, const Dims &dims);
  template <typename Body> absl::Status forEachRun(int slot, int64_t positions, const Body &body) const;

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
