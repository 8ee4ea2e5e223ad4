// Attention as the compiler makes it for GPUs from `llm` ops, at sizes whose products run on tensor cores, against sums in double: a prompt
// in tiles of rows, and a step in segments of the context, over keys and values or over latents.
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "test/codegen/sim/OpKernels.h"

namespace llmc::test {
namespace {

/// softmax(scores) weighted sums of `count` rows of values, in double.
template <typename Score, typename Row> std::vector<double> attended(int count, int width, Score score, Row row) {
  std::vector<double> weights(count), sums(width);
  double most = -1e30, total = 0;
  for (int i = 0; i < count; ++i)
    most = std::max(most, weights[i] = score(i));
  for (double &w : weights)
    total += w = std::exp(w - most);
  for (int i = 0; i < count; ++i)
    for (int j = 0; j < width; ++j)
      sums[j] += weights[i] / total * row(i, j);
  return sums;
}

// Two sequences in slots 1 and 0, of which one has less than a block of positions and one several segments.
constexpr int kContext = 128, kPast[] = {100, 3}, kSlot[] = {1, 0};

class Attention : public testing::TestWithParam<const char *> {};

/// Heads on one cache of latents, and two sequences of tokens that are the last of `kContext` or fewer positions.
class OnLatents {
public:
  struct Shape {
    int heads, nope, rope, latent, value;
    int width() const { return latent + rope; }
  };
  OnLatents(Shape shape, const char *arch, const char *function)
      : shape(shape), isStep(function == std::string("advance")), kernels(textOf(shape, function), arch),
        cache(values(size_t(2) * kContext * shape.width(), 2)), uk(values(size_t(shape.heads) * shape.nope * shape.latent, 3)),
        uv(values(size_t(shape.heads) * shape.latent * shape.value, 4)) {}

  /// What `counts` tokens of the sequences with queries `q` give after `past` others.
  std::vector<uint16_t> run(const std::vector<uint16_t> &queries, std::array<int, 2> counts, std::array<int, 2> past) {
    const int tokens = counts[0] + counts[1];
    std::vector<uint16_t> q = queries, o(size_t(tokens) * shape.heads * shape.value);
    std::vector<int32_t> where, rows = {kSlot[0], 0, counts[0], past[0], kSlot[1], counts[0], counts[1], past[1]};
    for (int s = 0; s < 2; ++s)
      for (int i = 0; i < counts[s]; ++i)
        where.insert(where.end(), {s, past[s] + i});
    const runtime::Dims sizes = {tokens, 2, 2, kContext, kContext / 32};
    if (!isStep) {
      kernels.run("latent", sizes, {buffer(q), buffer(cache), buffer(uk), buffer(uv), buffer(where), buffer(rows), buffer(o)});
      return o;
    }
    std::vector<uint16_t> onLatents(size_t(tokens) * shape.heads * shape.width());
    std::vector<float> parts(size_t(tokens) * 32 * shape.heads * (shape.latent + 1));
    kernels.run("latent_query", sizes, {buffer(q), buffer(uk), buffer(onLatents)});
    kernels.run("latent", sizes, {buffer(cache), buffer(where), buffer(rows), buffer(onLatents), buffer(parts)});
    kernels.run("latent_join", sizes, {buffer(uv), buffer(parts), buffer(o)});
    return o;
  }

  /// The same by sums in double.
  std::vector<double> expected(const std::vector<uint16_t> &q, std::array<int, 2> counts, std::array<int, 2> past) const {
    std::vector<double> all;
    for (int t = 0; t < counts[0] + counts[1]; ++t) {
      const int s = t >= counts[0], position = past[s] + t - (s ? counts[0] : 0);
      for (int h = 0; h < shape.heads; ++h)
        addRow(all, &q[(size_t(t) * shape.heads + h) * (shape.nope + shape.rope)], s, position, h);
    }
    return all;
  }

  std::vector<uint16_t> queries(int tokens) const { return values(size_t(tokens) * shape.heads * (shape.nope + shape.rope), 1); }

private:
  static std::string textOf(Shape d, const char *function) {
    auto matrix = [](const std::string &rows, int columns) { return "tensor<" + rows + "x" + std::to_string(columns) + "xbf16>"; };
    auto entry = [](const char *name, int value) { return name + (" = " + std::to_string(value)) + " : i64, "; };
    const std::string q = matrix("?", d.heads * (d.nope + d.rope)), cache = matrix("?x?", d.width()), o = matrix("?", d.heads * d.value),
                      up = matrix(std::to_string(d.heads * (d.nope + d.value)), d.latent),
                      operands = q + ", " + cache + ", " + up + ", !llm.sequences";
    return std::string("func.func @") + function + "(%q: " + q + ", %c: " + cache + ", %up: " + up + ", %s: !llm.sequences) -> " + o +
           " {\n  %y = llm.dispatch(%q, %c, %up, %s) {kernel = \"latent\", tied = array<i64: -1>} : (" + operands + ") -> " + o +
           " {\n  ^bb0(%a: " + q + ", %b: " + cache + ", %d: " + up + ", %e: !llm.sequences):\n" +
           "    %o = llm.latent_attention %a, %b, %d, %e {" + entry("heads", d.heads) + entry("nope", d.nope) + entry("rope", d.rope) +
           "scale = 0.125 : f64} : (" + operands + ") -> " + o + "\n    llm.yield %o : " + o + "\n  }\n  return %y : " + o + "\n}\n";
  }

  void addRow(std::vector<double> &all, const uint16_t *own, int sequence, int position, int h) const {
    auto latent = [&](int i, int j) { return double(wide(cache[(size_t(kSlot[sequence]) * kContext + i) * shape.width() + j])); };
    std::vector<double> absorbed(shape.width());
    for (int j = 0; j < shape.latent; ++j)
      for (int n = 0; n < shape.nope; ++n)
        absorbed[j] += double(wide(own[n])) * wide(uk[(size_t(h) * shape.nope + n) * shape.latent + j]);
    for (int j = 0; j < shape.rope; ++j)
      absorbed[shape.latent + j] = wide(own[shape.nope + j]);
    auto sums = attended(
        position + 1, shape.latent,
        [&](int i) {
          double score = 0;
          for (int j = 0; j < shape.width(); ++j)
            score += absorbed[j] * latent(i, j);
          return score * 0.125;
        },
        latent);
    for (int v = 0; v < shape.value; ++v) {
      double value = 0;
      for (int j = 0; j < shape.latent; ++j)
        value += sums[j] * wide(uv[(size_t(h) * shape.latent + j) * shape.value + v]);
      all.push_back(value);
    }
  }

  Shape shape;
  bool isStep;
  OpKernels kernels;
  std::vector<uint16_t> cache, uk, uv;
};

TEST_P(Attention, OfAStepOverLatentsIsThatOfTheSums) {
  // 512 columns for 32 heads: more accumulators than the warps that have their rows can hold.
  OnLatents latents({32, 16, 32, 512, 32}, GetParam(), "advance");
  auto q = latents.queries(2);
  EXPECT_LE(relativeError(latents.run(q, {1, 1}, {kPast[0], kPast[1]}), latents.expected(q, {1, 1}, {kPast[0], kPast[1]})), kTolerance);
}

/// A prompt over latents: against the sums, and, bit for bit, against the same tokens in two calls.
void checkPrompt(OnLatents::Shape shape, const char *arch) {
  OnLatents latents(shape, arch, "score");
  const std::array<int, 2> all = {17, 70}, past = {kPast[0], kPast[1]}, some = {1, 63}, rest = {16, 7};
  auto q = latents.queries(87);
  auto o = latents.run(q, all, past);
  EXPECT_LE(relativeError(o, latents.expected(q, all, past)), kTolerance);
  // Rows of the first sequence, then of the second: those of a part of both lie apart.
  auto partOf = [&](const std::vector<uint16_t> &rows, int width, std::array<int, 2> from, std::array<int, 2> counts) {
    std::vector<uint16_t> part;
    for (int s = 0; s < 2; ++s) {
      auto first = rows.begin() + ptrdiff_t(s * all[0] + from[s]) * width;
      part.insert(part.end(), first, first + ptrdiff_t(counts[s]) * width);
    }
    return part;
  };
  const int qWidth = shape.heads * (shape.nope + shape.rope), oWidth = shape.heads * shape.value;
  EXPECT_EQ(latents.run(partOf(q, qWidth, {0, 0}, some), some, past), partOf(o, oWidth, {0, 0}, some));
  EXPECT_EQ(latents.run(partOf(q, qWidth, some, rest), rest, {past[0] + some[0], past[1] + some[1]}), partOf(o, oWidth, some, rest));
}

// 512 columns for 64 rows, then widths that are no multiple of a fragment, then queries made in several parts of their columns.
TEST_P(Attention, OfAPromptOverLatentsIsThatOfTheSums) { checkPrompt({1, 16, 32, 512, 32}, GetParam()); }
TEST_P(Attention, OfAPromptOverNarrowLatentsIsThatOfTheSums) { checkPrompt({3, 20, 12, 28, 25}, GetParam()); }
TEST_P(Attention, OfAPromptOverManyColumnsIsThatOfTheSums) { checkPrompt({1, 16, 8, 160, 40}, GetParam()); }

/// Heads on caches of keys and values; the last tokens of two sequences are those of a call.
struct Heads {
  int heads, keyHeads, width, valueWidth;
  std::array<int, 2> counts, past = {kPast[0], kPast[1]};
  int context = kContext, window = 0;

  std::string text(const char *function) const {
    auto number = [](int64_t v) { return std::to_string(v); };
    const std::string q = "tensor<?x" + number(heads * width) + "xbf16>", o = "tensor<?x" + number(heads * valueWidth) + "xbf16>",
                      k = "tensor<?x?x" + number(keyHeads * width) + "x32xbf16>", v = "tensor<?x?x" + number(keyHeads * valueWidth) + "xbf16>",
                      operands = q + ", " + k + ", " + v + ", !llm.sequences";
    return std::string("func.func @") + function + "(%q: " + q + ", %keys: " + k + ", %values: " + v + ", %s: !llm.sequences) -> " + o +
           " {\n  %y = llm.dispatch(%q, %keys, %values, %s) {kernel = \"attend\", tied = array<i64: -1>} : (" + operands + ") -> " + o +
           " {\n  ^bb0(%a: " + q + ", %b: " + k + ", %c: " + v + ", %t: !llm.sequences):\n    %z = llm.attention %a, %b, %c, %t {heads = " +
           number(heads) + " : i64, kv_heads = " + number(keyHeads) + " : i64, scale = 0.125 : f64" +
           (window ? ", window = " + number(window) + " : i64" : "") + "} : (" + operands + ") -> " + o + "\n    llm.yield %z : " + o +
           "\n  }\n  return %y : " + o + "\n}\n";
  }
};

class OnHeads {
public:
  OnHeads(const Heads &h, const char *function)
      : h(h), isStep(function == std::string("advance")), tokens(h.counts[0] + h.counts[1]), q(values(size_t(tokens) * h.heads * h.width, 1)),
        keys(values(size_t(2) * h.context * h.keyHeads * h.width, 2)), stored(values(size_t(2) * h.context * h.keyHeads * h.valueWidth, 3)),
        o(size_t(tokens) * h.heads * h.valueWidth) {
    rows = {kSlot[0], 0, h.counts[0], h.past[0], kSlot[1], h.counts[0], h.counts[1], h.past[1]};
    for (int s = 0; s < 2; ++s)
      for (int i = 0; i < h.counts[s]; ++i)
        where.insert(where.end(), {s, h.past[s] + i});
  }

  /// What the simulator has to say; with a mistake where `change` makes one in the launch's data.
  std::string run(OpKernels &kernels, const std::function<void(runtime::KernelLaunch &)> &change = {}) {
    const runtime::Dims sizes = {tokens, 2, 2, h.context, h.context / 32};
    if (!isStep)
      return kernels.reportOf("attend", sizes, {buffer(q), buffer(keys), buffer(stored), buffer(where), buffer(rows), buffer(o)}, change);
    std::vector<float> parts(size_t(tokens) * 32 * h.heads * (h.valueWidth + 1));
    kernels.run("attend", sizes, {buffer(q), buffer(keys), buffer(stored), buffer(where), buffer(rows), buffer(parts)});
    kernels.run("attend_join", sizes, {buffer(parts), buffer(o)});
    return "";
  }

  double error() const {
    std::vector<double> expected;
    for (int t = 0; t < tokens; ++t)
      for (int head = 0; head < h.heads; ++head)
        addRow(expected, t, head);
    return relativeError(o, expected);
  }
  const std::vector<uint16_t> &result() const { return o; }

private:
  void addRow(std::vector<double> &all, int t, int head) const {
    const int slot = kSlot[where[2 * t]], g = head / (h.heads / h.keyHeads), end = where[2 * t + 1] + 1;
    const int first = h.window ? std::max(0, end - h.window) : 0;
    auto sums = attended(
        end - first, h.valueWidth,
        [&](int i) {
          double score = 0;
          for (int j = 0, at = first + i; j < h.width; ++j) // keys: blocks of 32 positions, position innermost
            score += double(wide(q[(size_t(t) * h.heads + head) * h.width + j])) *
                     wide(keys[((size_t(slot) * (h.context / 32) + at / 32) * h.keyHeads * h.width + g * h.width + j) * 32 + at % 32]);
          return score * 0.125;
        },
        [&](int i, int j) {
          return double(wide(stored[(size_t(slot) * h.context + first + i) * h.keyHeads * h.valueWidth + g * h.valueWidth + j]));
        });
    all.insert(all.end(), sums.begin(), sums.end());
  }

  Heads h;
  bool isStep;
  int64_t tokens;
  std::vector<uint16_t> q, keys, stored, o;
  std::vector<int32_t> where, rows;
};

/// `isOnWarpgroups`: whether the kernel has tensor maps on sm_90a.
void checkHeads(const Heads &h, const char *arch, const char *function, bool isOnWarpgroups) {
  OpKernels kernels(h.text(function), arch);
  EXPECT_EQ(kernels.launch("attend").tensorMaps.size(), isOnWarpgroups && arch == std::string("sm_90a") ? 2u : 0u) << h.width;
  OnHeads heads(h, function);
  EXPECT_EQ(heads.run(kernels), "") << h.width << " columns, window " << h.window;
  EXPECT_LE(heads.error(), kTolerance) << h.width << " columns, window " << h.window;
}

TEST_P(Attention, OfAStepIsThatOfTheSums) { checkHeads({8, 2, 64, 64, {1, 1}}, GetParam(), "advance", false); }
TEST_P(Attention, OfAPromptIsThatOfTheSums) { checkHeads({8, 2, 64, 64, {17, 70}}, GetParam(), "score", true); }

TEST_P(Attention, OfAPromptInHeadsOfOtherWidthsIsThatOfTheSums) {
  // Tiles of 128 rows and 64 positions, of which one ends in the next tile of rows; sums of 256 columns, in tiles of 64 rows and 32 positions.
  checkHeads({2, 1, 128, 128, {3, 131}, {61, 0}, 160}, GetParam(), "score", true);
  checkHeads({1, 1, 256, 256, {17, 70}}, GetParam(), "score", true);
  // Not whole panels of columns, more columns than a tile of keys has elsewhere, and more keys' columns than values'.
  checkHeads({2, 2, 80, 80, {17, 40}}, GetParam(), "score", true);
  checkHeads({2, 1, 96, 24, {17, 40}}, GetParam(), "score", true);
  checkHeads({2, 2, 16, 48, {20, 1}}, GetParam(), "score", true);
  // What the copy engine or wgmma cannot take: columns that are no multiple of 16, rows of values that are none of 16 bytes.
  checkHeads({2, 2, 40, 40, {17, 40}}, GetParam(), "score", false);
  checkHeads({3, 1, 32, 12, {17, 40}}, GetParam(), "score", false);
}

TEST_P(Attention, OfAPromptThatEndsWithTheCacheIsThatOfTheSums) {
  // Three blocks of positions, of which a tile takes two: the last tile has one more than there is.
  checkHeads({2, 1, 64, 64, {26, 96}, {70, 0}, 96}, GetParam(), "score", true);
  checkHeads({1, 1, 32, 32, {7, 1}, {25, 31}, 32}, GetParam(), "score", true);
}

TEST_P(Attention, OfAPromptWithAWindowIsThatOfTheSums) {
  // Windows that end within a tile, with a tile, and that hold tiles which all rows see as a whole.
  for (int window : {5, 64, 150})
    checkHeads({1, 1, 32, 32, {20, 150}, {200, 70}, 224, window}, GetParam(), "score", true);
}

TEST_P(Attention, OfAPromptDoesNotDependOnThePieces) {
  const Heads whole{1, 1, 32, 32, {1, 150}, {0, 40}, 192};
  OpKernels kernels(whole.text("score"), GetParam());
  OnHeads all(whole, "score");
  EXPECT_EQ(all.run(kernels), "");
  // Row r of the second sequence is the first of its queries in a call of its own: with the same queries and positions it is the same.
  Heads part = whole;
  part.counts = {1, 90};
  OnHeads some(part, "score");
  EXPECT_EQ(some.run(kernels), "");
  EXPECT_TRUE(std::equal(some.result().begin(), some.result().end(), all.result().begin()));
}

/// A kernel of two tiles of rows, of which the second goes through more tiles of keys and values than the ring has slots.
constexpr Heads kLong = {1, 1, 32, 32, {1, 180}, {0, 140}, 320};

using Mutation = std::function<void(mlir::ModuleOp)>;

template <typename Op> Mutation without(bool (*isIt)(Op)) {
  return [=](mlir::ModuleOp module) {
    std::vector<mlir::Operation *> found;
    module.walk([&](Op op) {
      if (isIt(op))
        found.push_back(op);
    });
    EXPECT_FALSE(found.empty());
    for (mlir::Operation *op : found)
      op->erase();
  };
}

template <typename Beside> bool hasBeside(mlir::Operation *op) { return !op->getBlock()->template getOps<Beside>().empty(); }

std::string reportWith(const Mutation &mutate) {
  OpKernels kernels(kLong.text("score"), "sm_90a", 512, mutate);
  return OnHeads(kLong, "score").run(kernels);
}

TEST(WarpgroupAttention, MistakesAreFound) {
  using namespace mlir::NVVM;
  EXPECT_EQ(reportWith([](mlir::ModuleOp) {}), "");
  // Consumers do not wait for a full slot, the producer not for an empty one.
  expectFound(reportWith(without<MBarrierTryWaitParityOp>([](MBarrierTryWaitParityOp op) { return !hasBeside<MBarrierArriveExpectTxOp>(op); })),
              "shared memory at offset");
  expectFound(reportWith(without<MBarrierTryWaitParityOp>([](MBarrierTryWaitParityOp op) { return hasBeside<MBarrierArriveExpectTxOp>(op); })),
              "shared memory at offset");
  // Scores, or sums, are used while they are made.
  expectFound(reportWith(without<WgmmaWaitGroupSyncOp>([](WgmmaWaitGroupSyncOp) { return true; })), "accumulator");
  expectFound(reportWith(without<WgmmaFenceAlignedOp>([](WgmmaFenceAlignedOp) { return true; })), "without a wgmma.fence");
  // Queries that threads have written are read by another way without a fence.
  expectFound(reportWith(without<FenceProxyOp>([](FenceProxyOp) { return true; })), "shared memory at offset");
  // Nobody tells that a slot is read.
  expectFound(reportWith(without<MBarrierArriveOp>([](MBarrierArriveOp) { return true; })), "waits for ever");
}

TEST(WarpgroupAttention, WrongSwizzlesGiveWrongNumbers) {
  OpKernels kernels(kLong.text("score"), "sm_90a");
  for (size_t map : {0, 1})
    for (uint8_t swizzle : {0, 2, 3}) {
      OnHeads heads(kLong, "score");
      EXPECT_EQ(heads.run(kernels, [&](runtime::KernelLaunch &l) { l.tensorMaps[map].swizzle = swizzle; }), "");
      const bool isRight = swizzle == 2; // 64 bytes
      EXPECT_EQ(heads.error() <= kTolerance, isRight) << "map " << map << " swizzle " << int(swizzle) << ": " << heads.error();
    }
  // The queries' chunks, which threads put in their places, left where they are.
  OpKernels plain(kLong.text("score"), "sm_90a", 512, [](mlir::ModuleOp module) {
    bool isThere = false;
    module.walk([&](mlir::LLVM::XOrOp op) {
      if (!op.getType().isInteger(64))
        return;
      isThere = true;
      op.replaceAllUsesWith(op.getLhs());
    });
    EXPECT_TRUE(isThere);
  });
  expectFound(OnHeads(kLong, "score").run(plain), "reads memory that was never written: shared memory at offset"); // half of a row has nothing
}

INSTANTIATE_TEST_SUITE_P(Archs, Attention, testing::Values("sm_80", "sm_90a"));

} // namespace
} // namespace llmc::test
