// The plan of an artifact as plain structs: what the compiler fills, the writer stores, the loader verifies
// and the engine runs. Mirrors Artifact.fbs; holds no bytes of code or weights, those are blobs named by
// index.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace llmc::runtime {

/// Element types of buffers. Values are those of Artifact.fbs. i1 takes a byte.
enum class ElementType : uint8_t { f32, bf16, f16, f64, i64, i32, i16, i8, u8, i1 };
inline constexpr unsigned kElementTypes = 10;

/// Bytes of one element.
uint64_t elementBytes(ElementType type);
const char *elementName(ElementType type);

/// Sizes known only when an engine is opened or a program is called; `one` makes a dimension static.
enum class Symbol : uint8_t { one, tokens, sequences, slots, context, contextBlocks };
inline constexpr unsigned kSymbols = 6;
/// "T", "S", "SLOTS", "CTX", "CTXB"; "" for `one`.
const char *symbolName(Symbol symbol);

/// The symbols' values, in the order in which kernels receive them: {T, S, SLOTS, CTX, CTXB}.
using Dims = std::array<int64_t, 5>;
/// Tokens of context in one unit of CTXB.
inline constexpr int64_t kContextBlock = 32;

/// One dimension: multiplier x symbol, e.g. {2304, one} or {8, tokens}.
struct Dim {
  uint64_t multiplier = 1;
  Symbol symbol = Symbol::one;
};
using Shape = std::vector<Dim>;

/// "[8*T, 2304]".
std::string printShape(const Shape &shape);
/// a * b or a + b, nothing when it leaves 64 bits.
std::optional<uint64_t> checkedMul(uint64_t a, uint64_t b);
std::optional<uint64_t> checkedAdd(uint64_t a, uint64_t b);
/// Bytes of a dense array of this shape at these dims; nothing when it leaves 62 bits.
std::optional<uint64_t> shapeBytes(const Shape &shape, ElementType type, const Dims &dims);
/// Whether both have the same number of elements at all dims (static factors and symbols agree in any order).
bool sameElements(const Shape &a, const Shape &b);

/// One argument of a kernel. `written`: the kernel writes it (it may read it too).
struct Parameter {
  ElementType type = ElementType::f32;
  Shape shape;
  bool written = false;
};

/// A kernel: code objects export `name` and `name.grid`.
struct Kernel {
  std::string name;
  std::vector<Parameter> parameters;
};

/// A number of workgroups as a postfix program: constants and symbols are pushed, operations take two values and push one. Values are those
/// of Artifact.fbs. The host evaluates it at every launch, so it is data and not code: a CUDA artifact runs on hosts of any architecture.
enum class GridOp : uint8_t { constant, symbol, add, sub, mul, div, ceilDiv, rem, min, max };
inline constexpr unsigned kGridOps = 10;
inline constexpr unsigned kMaxGridDepth = 16;
struct GridTerm {
  GridOp op = GridOp::constant;
  int64_t value = 0; ///< of a constant, or the symbol's place in Dims
};
/// Whether the program leaves one value, knows all its symbols (of which there are that many), never takes from an empty stack and never holds
/// more than kMaxGridDepth values.
bool isGridProgram(const std::vector<GridTerm> &grid, size_t symbols = std::tuple_size<Dims>::value);
/// The value of a program for which isGridProgram holds; nothing when it divides by zero, overflows or is negative.
std::optional<int64_t> evaluateGrid(const std::vector<GridTerm> &grid, const int64_t *symbols);
inline std::optional<int64_t> evaluateGrid(const std::vector<GridTerm> &grid, const Dims &dims) {
  return evaluateGrid(grid, dims.data());
}

/// A parameter of a kernel as a copy engine (TMA) sees it: an array of `shape` (dense, the outermost dimension first, the only one that may
/// be symbolic) at the parameter's address, fetched in boxes. The kernel gets a CUtensorMap made of this at every launch.
struct TensorMap {
  uint32_t parameter = 0;
  Shape shape;
  std::vector<uint32_t> box; ///< elements of a box, by dimension
  uint8_t swizzle = 0;       ///< rows of 16 << swizzle bytes change places; 0: none
};
inline constexpr unsigned kMaxTensorMaps = 16, kMaxTensorMapRank = 5, kMaxTensorMapBox = 256, kMaxTensorMapSwizzle = 3;
/// What a copy engine moves at least, and where its rows begin.
inline constexpr unsigned kTensorMapUnitBytes = 16;

/// How a kernel of a CUDA code object is launched.
struct KernelLaunch {
  std::string symbol;        ///< name in the code object; kernels of equal code share one
  uint32_t threads = 32;     ///< of a block, whole warps
  uint32_t sharedBytes = 0;  ///< dynamic shared memory of a block
  uint64_t scratchBytes = 0; ///< global scratch of a block
  std::vector<GridTerm> grid;
  uint32_t registers = 0;  ///< of a thread, as the assembler told; 0: not assembled
  uint32_t spillBytes = 0; ///< of a thread
  bool waits = false;      ///< for the kernel before it to end, so that it may start earlier
  std::vector<TensorMap> tensorMaps; ///< parameters after all others, in this order
  int32_t merged = -1;     ///< its number in the code object's merged kernel; -1: it is not in it
  std::vector<uint32_t> whole; ///< parameters that are weights of which every launch reads all
};

/// A step of a merged kernel, in device memory, 64-bit words. Steps follow each other by their numbers until one names the number of steps. A step
/// whose kernel is none of the merged ones is a test: it goes to `next` if one of the call's flags is not 0 and it has done so less than
/// `atMost` times in a row, else to `otherwise`.
struct StepRecord {
  int64_t kernel = 0;
  int64_t span = 0;       ///< whose number of rows T is
  uint64_t arguments = 0; ///< address of the buffers' addresses; of a test: of the flags, i32 [S]
  uint64_t ranges = 0;    ///< address of pairs (address, bytes): what the step after it will read, to be prefetched
  int64_t rangeCount = 0;
  int64_t next = 0, otherwise = 0;
  int64_t atMost = 0;
};

/// Target of a code object (PTX, or host code for the simulator) that holds one kernel, K(i64 handle, ptr flags, i64 S, ptr trips, i64 most, i64 isFirst), for graphs with loops: it
/// sets the conditional handle to whether one of the flags, i32 [S], is not 0 and there were less than `most` trips, which it counts (i64).
inline constexpr char kLoopTestTarget[] = "cuda-loop-test";

/// An object file that holds every kernel. `features` (LLVM's names, e.g. "avx512bf16") are needed beyond the level.
struct CodeObject {
  std::string target = "cpu";
  std::string level; ///< "x86-64-v3", "x86-64-v4"; "sm_80", "sm_90a"
  std::vector<std::string> features;
  uint32_t blob = 0;
  std::vector<KernelLaunch> launches; ///< one per kernel of the plan for target "cuda", else none
  /// A cooperative kernel that walks over StepRecords: K(ptr records, i64 count, i64 rows of every span, i64 S, SLOTS, CTX, CTXB, ptr scratch,
  /// ptr counter). The counter is a 64-bit word, zero at first, that only launches of one number of blocks change.
  std::optional<KernelLaunch> merged;
};

enum class BufferKind : uint8_t { input, output, weight, state, transient, constant };
inline constexpr unsigned kBufferKinds = 6;
const char *kindName(BufferKind kind);

/// A buffer, by kind:
///   input      filled by the engine, known by name: tokens, where, rows, sampling, draws
///   output     read by the engine: next, logits; first, second = two draws of the token one patch later, and latents = what the first was
///              decoded from, of models without logits; decoding = (temperature, top_p) that each token was drawn
///   with, of models that predict them
///   weight     `blob` + `blobOffset` (a multiple of 64), static shape, read only
///   constant   like weight, for small tables that the compiler made
///   state      persists between calls, shape[0] is SLOTS x 1, zero in a fresh slot; other dims are static but
///              for at most one of CTX or CTXB: its rows are by position (n x CTX: n rows a position), and only
///              those of positions that a session has are kept when it is forked or saved
///   transient  at `arenaOffset` (a multiple of 64) of the program's arena; static, T and S
///   dims
struct Buffer {
  std::string name;
  BufferKind kind = BufferKind::transient;
  ElementType type = ElementType::f32;
  Shape shape;
  uint64_t arenaOffset = 0;
  uint32_t blob = 0;
  uint64_t blobOffset = 0;
};

/// Runs all workgroups of kernel `kernel` on these buffers, one per parameter. T is the number of rows of span `span`.
struct Dispatch {
  uint32_t kernel = 0;
  std::vector<uint32_t> buffers;
  uint8_t span = 0;
};
using Step = std::variant<Dispatch>;

/// Steps `first` .. `first + count` run again while an element of the call's part of `condition` (a transient, i32 [S, 1]) is not 0, tested
/// before each of at most `atMost` trips. With `rows` above 0 the elements are how many rows each sequence has in the next trip in the span of
/// that number, whose table these steps make themselves; together no more than the call has there.
struct Loop {
  uint32_t first = 0, count = 0, condition = 0, atMost = 0, rows = 0;
};

/// What spans are computed from, for each sequence: tokens known when the call begins, where generation ends and where it began,
/// and the settings, fractions rounded up (so that what is above 0 is at least 1).
inline constexpr unsigned kSettingColumns = 8;
using SpanValues = std::array<int64_t, 4 + kSettingColumns>;

/// A table of sequences: for each sequence rows at the positions from .. to, postfix programs over SpanValues.
struct Span {
  std::vector<GridTerm> from, to;
  uint32_t maxRows = 0; ///< of all sequences of a call
};
inline constexpr unsigned kMaxSpans = 5;
/// Of `advance`: its rows are the positions of the tokens that a call makes.
inline constexpr unsigned kBlockSpan = 2;
/// From this one on a span may have no rows; its dispatches then do nothing.
inline constexpr unsigned kExtraSpan = 3;
/// What stands before `where` and `rows` in the names of a span's inputs: "", "later_", "block_", "extra_", "token_".
const char *spanPrefix(unsigned span);

/// Steps in order, each seeing what those before it wrote. `arenaBytes` bounds its transients at T =
/// max_tokens, S = max_sequences.
struct Program {
  std::string name; ///< "ingest", "advance", "score"
  std::vector<uint32_t> inputs, outputs;
  std::vector<Step> steps;
  uint64_t arenaBytes = 0;
  std::vector<Loop> loops; ///< in order, apart from each other
  std::vector<Span> spans; ///< none: one, whose rows are the call's tokens
};

enum class TokenizerKind : uint8_t { none, huggingFaceJson, tiktoken };
inline constexpr unsigned kTokenizerKinds = 3;

/// A token outside the merges. `special` ones are control tokens, left out of decoded text.
struct SpecialToken {
  uint32_t id = 0;
  std::string text;
  bool special = true;
};

/// `blob` holds tokenizer.json or tiktoken.model unchanged. `pattern` and `specialTokens` are for tiktoken
/// (tokenizer.json has its own).
struct TokenizerPlan {
  TokenizerKind kind = TokenizerKind::none;
  uint32_t blob = 0;
  std::string pattern;
  std::vector<SpecialToken> specialTokens;
  std::string chatTemplate;
};

struct KeyValue {
  std::string key, value;
};
/// Key of Metadata::entries whose value is the text of the checkpoint's generation_config.json.
inline constexpr const char *kGenerationConfigKey = "generation_config";
/// Key whose value is a JSON object of the special tokens that chat templates name: bos_token, eos_token, ...
inline constexpr const char *kSpecialTokensKey = "special_tokens";

/// A parameter of generation: a column of the input `settings`. A number from least to most (whole if isWhole), or one of `words` by
/// its place.
struct Setting {
  std::string name;
  uint8_t column = 0;
  double standard = 0, least = 0, most = 0;
  bool isWhole = true;
  std::vector<std::string> words;
};
/// Key of Metadata::entries that names what of the sampling parameters the model predicts itself ("temperature,
/// top_p"); what a caller gives multiplies it, and 1 leaves it as it is.
inline constexpr const char *kPredictsKey = "predicts";

struct Metadata {
  std::string name, family;
  std::string producer;      ///< which compiler wrote it, e.g. "llmc 0.1"
  uint32_t vocab = 0;        ///< columns of the logits
  uint64_t context = 0;      ///< tokens the model was made for
  uint32_t maxTokens = 0;    ///< most rows in one call (T)
  uint32_t maxSequences = 0; ///< most sequences in one call (S)
  std::vector<uint32_t> eos; ///< tokens that end generation
  int32_t bos = -1;          ///< -1: none
  std::vector<KeyValue> entries;
  std::vector<Setting> settings;
  /// A model that works on patches of so many tokens; 0: on tokens. `filler` completes the last patch of a prompt.
  uint32_t patch = 0, filler = 0;
  /// The temperature to draw with where nobody says (negative: none), and the highest possible (0: any).
  double temperature = -1, mostTemperature = 0;
  /// Pieces of a prompt that end at multiples of this, counted from where it began, give the bits of the whole.
  uint32_t pieceTokens = 64;
};

struct Plan {
  Metadata metadata;
  std::vector<Kernel> kernels;
  std::vector<CodeObject> codeObjects;
  std::vector<Buffer> buffers;
  std::vector<Program> programs;
  TokenizerPlan tokenizer;
  /// The blob of the model that this was compiled from, as text of the import stage: what `llmc verify`
  /// computes to compare with. Nothing else reads it.
  std::optional<uint32_t> modelBlob;

  const Program *program(const char *name) const {
    for (const Program &p : programs)
      if (p.name == name)
        return &p;
    return nullptr;
  }
};

} // namespace llmc::runtime
