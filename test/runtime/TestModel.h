// The toy model of TestKernels.c as artifact contents, and small file helpers.
#pragma once
#include "codegen/WriteArtifact.h"
#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>
#include <string>
#include <unistd.h>

namespace llmc::test {

inline constexpr int32_t kVocab = 97;

inline std::string readFile(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

inline void writeFile(const std::string &path, const std::string &bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

/// A folder that goes with the object.
class TemporaryFolder {
public:
  TemporaryFolder() {
    char name[] = "/tmp/llmc-test-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~TemporaryFolder() {
    std::string command = "rm -rf " + path_;
    EXPECT_EQ(system(command.c_str()), 0);
  }
  std::string file(const std::string &name) const { return path_ + "/" + name; }

private:
  std::string path_;
};

/// A tokenizer.json with the 97 printable ASCII characters and line feed as ids 0.., one merge, "he" (95),
/// and the end token (96).
inline std::string testTokenizerJson() {
  std::string vocab;
  for (int c = 0x20; c < 0x7f; ++c) {
    std::string text = c == ' '    ? "\u0120"
                       : c == '"'  ? "\\\""
                       : c == '\\' ? "\\\\"
                                   : std::string(1, static_cast<char>(c));
    vocab += "\"" + text + "\": " + std::to_string(c - 0x20) + ", ";
  }
  return R"({"version": "1.0", "added_tokens": [{"id": 96, "content": "<|end|>", "single_word": false, "lstrip": false,
    "rstrip": false, "normalized": false, "special": true}], "normalizer": null,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
    "post_processor": null, "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "vocab": {)" +
         vocab + R"("he": 95}, "merges": ["h e"]}})";
}

inline ArtifactContents testModel() {
  using namespace llmc::runtime;
  const Dim T{1, Symbol::tokens}, S{1, Symbol::sequences}, SLOTS{1, Symbol::slots}, CTX{1, Symbol::context};
  auto size = [](uint64_t n) { return Dim{n, Symbol::one}; };
  const auto f32 = ElementType::f32, i32 = ElementType::i32, i64 = ElementType::i64;
  ArtifactContents contents;
  Plan &plan = contents.plan;
  plan.metadata = {
      "toy",
      "test",
      "llmc test",
      kVocab,
      512,
      128,
      4,
      {96},
      -1,
      {{"license", "MIT"}, {kGenerationConfigKey, R"({"do_sample": false, "eos_token_id": [96, 95]})"}}};

  const Shape history = {SLOTS, CTX}, wide = {SLOTS, CTX, size(513)}, rows = {S, size(4)};
  plan.kernels = {
      {"remember", {{i32, {T}}, {i32, {T, size(2)}}, {i32, rows}, {i32, history, true}, {f32, wide, true}}},
      {"accumulate",
       {{i32, {T}},
        {i32, rows},
        {f32, {size(97)}},
        {i32, history},
        {f32, wide},
        {f32, {SLOTS, size(1)}, true},
        {f32, {T, size(1)}, true}}},
      {"logits", {{f32, {T, size(1)}}, {f32, {T, size(97)}, true}}},
      {"sample", {{f32, {T, size(97)}}, {f32, rows}, {i64, rows}, {i32, {S, size(1)}, true}}}};

  plan.buffers = {{"tokens", BufferKind::input, i32, {T}},
                  {"where", BufferKind::input, i32, {T, size(2)}},
                  {"rows", BufferKind::input, i32, rows},
                  {"sampling", BufferKind::input, f32, rows},
                  {"draws", BufferKind::input, i64, rows},
                  {"next", BufferKind::output, i32, {S, size(1)}},
                  {"logits", BufferKind::output, f32, {S, size(97)}},
                  {"logits", BufferKind::output, f32, {T, size(97)}},
                  {"history", BufferKind::state, i32, history},
                  {"wide", BufferKind::state, f32, wide},
                  {"total", BufferKind::state, f32, {SLOTS, size(1)}},
                  {"sums", BufferKind::transient, f32, {T, size(1)}, 64},
                  {"embedding", BufferKind::weight, f32, {size(97)}, 0, 2, 64}};
  const Step remember = Dispatch{0, {0, 1, 2, 8, 9}}, accumulate = Dispatch{1, {0, 2, 12, 8, 9, 10, 11}};
  const uint64_t arena = 64 + 128 * 4;
  plan.programs = {{"ingest", {0, 1, 2}, {}, {remember, accumulate}, arena},
                   {"advance",
                    {0, 1, 2, 3, 4},
                    {5, 6},
                    {remember, accumulate, Dispatch{2, {11, 6}}, Dispatch{3, {6, 3, 4, 5}}},
                    arena},
                   {"score", {0, 1, 2}, {7}, {remember, accumulate, Dispatch{2, {11, 7}}}, arena}};
  plan.codeObjects = {{"cpu", "x86-64-v3", {}, 0}, {"cpu", "x86-64-v4", {}, 1}};

  std::string weights(64 + 97 * 4, '\0');
  for (int v = 0; v < 97; ++v)
    reinterpret_cast<float *>(&weights[64])[v] = static_cast<float>(v);
  plan.tokenizer.kind = TokenizerKind::huggingFaceJson;
  plan.tokenizer.blob = 3;
  plan.tokenizer.chatTemplate = "{{ messages }}";
  contents.blobs = {blobOf(readFile(LLMC_TEST_KERNELS_V3)), blobOf(readFile(LLMC_TEST_KERNELS_V4)),
                    blobOf(weights), blobOf(testTokenizerJson())};
  return contents;
}

/// What the toy model says comes after these tokens.
inline int32_t testNext(const std::vector<int32_t> &tokens) {
  int64_t sum = 0;
  for (int32_t t : tokens)
    sum += t;
  return static_cast<int32_t>(3 * sum % kVocab);
}

} // namespace llmc::test
