// Writing and reading artifacts, and hostile files: every way to break one is a clear error.
#include "runtime/Artifact.h"
#include "TestModel.h"
#include "runtime/Engine.h"
#include "runtime/Inspect.h"
#include <cstring>
#include <dirent.h>
#include <random>
#include <sys/mount.h>

namespace llmc::test {
using namespace llmc::runtime;
namespace {

std::string artifactBytes() {
  static const std::string bytes = [] {
    TemporaryFolder folder;
    absl::Status status = writeArtifact(folder.file("toy.llmc"), testModel());
    EXPECT_TRUE(status.ok()) << status;
    return readFile(folder.file("toy.llmc"));
  }();
  return bytes;
}

absl::Status parse(const std::string &bytes) {
  return parseArtifact(reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size(), "m.llmc").status();
}

std::string message(const std::string &bytes) { return std::string(parse(bytes).message()); }

/// Makes checksums right again after a change of header or plan, so that the checks behind them are reached.
void resign(std::string &bytes) {
  ArtifactHeader header;
  memcpy(&header, bytes.data(), sizeof header);
  if (header.planOffset <= bytes.size() && header.planBytes <= bytes.size() - header.planOffset)
    header.planChecksum = checksumOf(bytes.data() + header.planOffset, header.planBytes);
  header.headerChecksum = checksumOf(&header, offsetof(ArtifactHeader, headerChecksum));
  memcpy(&bytes[0], &header, sizeof header);
}

size_t filesIn(const std::string &folder) {
  size_t count = 0;
  DIR *dir = opendir(folder.c_str());
  while (struct dirent *entry = readdir(dir))
    count += entry->d_name[0] != '.';
  closedir(dir);
  return count;
}

TEST(Artifact, comes_back_as_it_was_written) {
  TemporaryFolder folder;
  ArtifactContents contents = testModel();
  ASSERT_TRUE(writeArtifact(folder.file("toy.llmc"), contents).ok());
  auto artifact = Artifact::open(folder.file("toy.llmc"));
  ASSERT_TRUE(artifact.ok()) << artifact.status();
  const Plan &plan = (*artifact)->plan();
  EXPECT_EQ(plan.metadata.name, "toy");
  EXPECT_EQ(plan.metadata.vocab, 97u);
  EXPECT_EQ(plan.metadata.eos, std::vector<uint32_t>{96});
  EXPECT_EQ(plan.metadata.entries.at(0).value, "MIT");
  ASSERT_EQ(plan.kernels.size(), 4u);
  EXPECT_EQ(plan.kernels[1].parameters.size(), 7u);
  EXPECT_TRUE(plan.kernels[1].parameters[6].written);
  ASSERT_EQ(plan.programs.size(), 3u);
  EXPECT_EQ(std::get<Dispatch>(plan.programs[1].steps[3]).buffers, (std::vector<uint32_t>{6, 3, 4, 5}));
  EXPECT_EQ(printShape(plan.buffers[9].shape), "[SLOTS, CTX, 513]");
  EXPECT_EQ(plan.tokenizer.chatTemplate, "{{ messages }}");
  for (const BlobEntry &blob : (*artifact)->blobs())
    EXPECT_EQ(blob.offset % 4096, 0u);
  EXPECT_TRUE((*artifact)->verifyWeights().ok());
}

TEST(Artifact, is_deterministic_and_leaves_no_other_file) {
  TemporaryFolder folder;
  writeFile(folder.file("toy.llmc.tmp-999999999-0"), "of a process that is no more");
  ASSERT_TRUE(writeArtifact(folder.file("toy.llmc"), testModel()).ok());
  EXPECT_EQ(readFile(folder.file("toy.llmc")), artifactBytes());
  EXPECT_EQ(filesIn(folder.file("")), 1u);
}

TEST(Artifact, streams_large_blobs_in_pieces_with_progress) {
  TemporaryFolder folder;
  ArtifactContents contents = testModel();
  uint64_t pieces = 0;
  contents.blobs.push_back({9u << 20, [&](BlobSink &sink) {
                              std::string piece(3 << 20, 'x');
                              for (int i = 0; i < 3; ++i, ++pieces)
                                if (absl::Status s = sink.append(piece.data(), piece.size()); !s.ok())
                                  return s;
                              return absl::OkStatus();
                            }});
  uint64_t last = 0, all = 0;
  ASSERT_TRUE(writeArtifact(folder.file("big.llmc"), contents, [&](uint64_t done, uint64_t total) {
                EXPECT_GE(done, last);
                last = done;
                all = total;
              }).ok());
  EXPECT_EQ(pieces, 3u);
  EXPECT_EQ(last, all);
  auto artifact = Artifact::open(folder.file("big.llmc"));
  ASSERT_TRUE(artifact.ok()) << artifact.status();
  EXPECT_TRUE((*artifact)->verifyWeights().ok());
}

TEST(Artifact, write_fails_without_leaving_files) {
  TemporaryFolder folder;
  ArtifactContents tooLittle = testModel();
  tooLittle.blobs[2] = {64 + 97 * 4, [](BlobSink &sink) { return sink.append("abc", 3); }};
  EXPECT_EQ(writeArtifact(folder.file("m.llmc"), tooLittle).message(),
            "a blob of 452 bytes was given only 3");
  ArtifactContents failing = testModel();
  failing.blobs[2].write = [](BlobSink &) { return absl::DataLossError("weights.safetensors: gone"); };
  EXPECT_EQ(writeArtifact(folder.file("m.llmc"), failing).message(), "weights.safetensors: gone");
  EXPECT_EQ(filesIn(folder.file("")), 0u);
  EXPECT_EQ(writeArtifact(folder.file("none/m.llmc"), testModel()).message(),
            folder.file("none/m.llmc") + ": cannot create a file in " + folder.file("none") +
                ": No such file or directory");
  ArtifactContents wrong = testModel();
  std::get<Dispatch>(wrong.plan.programs[0].steps[0]).buffers[0] = 77;
  EXPECT_EQ(
      writeArtifact(folder.file("m.llmc"), wrong).message(),
      "the compiler made a plan that does not hold: " + folder.file("m.llmc") +
          ": program 'ingest' step 0 (kernel 'remember') names buffer 77 of 13; compile the model again");
}

TEST(Artifact, full_disk_says_how_much_is_needed) {
  TemporaryFolder folder;
  if (mount("none", folder.file("").c_str(), "tmpfs", 0, "size=16k") != 0)
    GTEST_SKIP() << "mounting a small file system needs privileges: " << strerror(errno);
  absl::Status status = writeArtifact(folder.file("m.llmc"), testModel());
  EXPECT_EQ(filesIn(folder.file("")), 0u);
  umount(folder.file("").c_str());
  EXPECT_EQ(status.message(), folder.file("m.llmc") + ": disk full: the file needs " +
                                  std::to_string(artifactBytes().size()) + " bytes, 16384 are free in " +
                                  folder.file("").substr(0, folder.file("").size() - 1) +
                                  "; free some or write elsewhere with -o");
}

TEST(HostileArtifact, other_files_versions_and_tails) {
  std::string bytes = artifactBytes();
  EXPECT_EQ(message("PK\x03\x04" + std::string(100, ' ')),
            "m.llmc: is not an llmc artifact (the first 8 bytes are not its magic number); make one with "
            "`llmc compile DIR -o m.llmc`");
  std::string version = bytes;
  version[8] = 7;
  EXPECT_EQ(
      message(version),
      "m.llmc: has artifact format version 7, this runtime reads version 2; compile the model again or use "
      "the runtime of its compiler");
  EXPECT_EQ(message(bytes + "xyz"), "m.llmc: has 3 bytes after its end at " + std::to_string(bytes.size()) +
                                        "; compile the model again");
  EXPECT_EQ(message(bytes.substr(0, bytes.size() - 1)),
            "m.llmc: is truncated: the header says " + std::to_string(bytes.size()) +
                " bytes, the file has " + std::to_string(bytes.size() - 1) + "; compile the model again");
}

TEST(HostileArtifact, every_truncation_is_an_error) {
  std::string bytes = artifactBytes();
  for (size_t size = 0; size < bytes.size(); size += size < 200 ? 1 : 97) {
    std::string text = message(bytes.substr(0, size));
    EXPECT_NE(text.find(size < 64 ? "an artifact's header alone has 64" : "is truncated: the header says"),
              std::string::npos)
        << text;
  }
}

TEST(HostileArtifact, every_bit_of_the_header_and_bits_of_plan_and_code_count) {
  std::string bytes = artifactBytes();
  for (size_t bit = 0; bit < 64 * 8; ++bit) {
    std::string bad = bytes;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
    EXPECT_FALSE(parse(bad).ok()) << "header bit " << bit;
  }
  auto parsed = parseArtifact(reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size(), "m.llmc");
  for (size_t at = 64; at < 64 + parsed->planBytes; at += 3) {
    std::string bad = bytes;
    bad[at] = static_cast<char>(bad[at] ^ (1 << at % 8));
    EXPECT_NE(message(bad).find("m.llmc: plan checksum is 0x"), std::string::npos);
  }
  for (size_t at = 0; at < parsed->blobs[0].bytes; at += 101) {
    std::string bad = bytes;
    bad[parsed->blobs[0].offset + at] ^= 4;
    EXPECT_NE(message(bad).find("m.llmc: blob 0 at offset"), std::string::npos);
  }
}

TEST(HostileArtifact, damaged_weights_are_found_on_request) {
  TemporaryFolder folder;
  std::string bytes = artifactBytes();
  auto parsed = parseArtifact(reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size(), "m.llmc");
  bytes[parsed->blobs[2].offset + 100] ^= 1;
  writeFile(folder.file("m.llmc"), bytes);
  auto artifact = Artifact::open(folder.file("m.llmc"));
  ASSERT_TRUE(artifact.ok());
  EXPECT_NE((*artifact)->verifyWeights().message().find("blob 2 at offset"), absl::string_view::npos);
}

TEST(HostileArtifact, mutations_with_right_checksums_never_crash) {
  std::string bytes = artifactBytes();
  ArtifactHeader header;
  memcpy(&header, bytes.data(), sizeof header);
  std::mt19937 random(1);
  int accepted = 0;
  const int rounds = 20000;
  static const uint32_t values[] = {0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 64, 4096, 0xffff};
  for (int round = 0; round < rounds; ++round) {
    std::string bad = bytes;
    for (unsigned i = 0; i <= random() % 3; ++i) {
      size_t at = random() % 8 ? 64 + random() % header.planBytes : random() % 64;
      if (random() % 2)
        bad[at] = static_cast<char>(bad[at] ^ (1 << random() % 8));
      else if (at + 4 <= 64 + header.planBytes)
        memcpy(&bad[at], &values[random() % 8], 4);
    }
    resign(bad);
    accepted += parse(bad).ok();
  }
  // Names and numbers without meaning to the loader may change; most of a plan may not.
  EXPECT_LT(accepted, rounds / 2);
  for (size_t field = 16; field < 56; field += 8)
    for (uint64_t value :
         {0ull, 1ull, 63ull, ~0ull, ~0ull - 63, 1ull << 63, static_cast<unsigned long long>(bytes.size())}) {
      std::string bad = bytes;
      memcpy(&bad[field], &value, 8);
      ArtifactHeader changed;
      memcpy(&changed, bad.data(), sizeof changed);
      changed.headerChecksum = checksumOf(&changed, offsetof(ArtifactHeader, headerChecksum));
      memcpy(&bad[0], &changed, sizeof changed);
      if (bad != bytes) {
        EXPECT_FALSE(parse(bad).ok()) << field << " " << value;
      }
    }
}

/// One change to a good plan, and what the verifier says to it.
struct BadPlan {
  const char *message;
  void (*change)(Plan &);
};

Dispatch &dispatch(Plan &plan, size_t program, size_t step) {
  return std::get<Dispatch>(plan.programs[program].steps[step]);
}

/// Turns the first code object into one for a GPU, with a launch for each kernel.
CodeObject &makeCuda(Plan &plan) {
  CodeObject &object = plan.codeObjects[0];
  object.target = "cuda";
  object.launches.assign(plan.kernels.size(), {"k", 64, 0, 0, {{GridOp::symbol, 0}}});
  return object;
}

/// The tensor map that it gives to kernel 0: boxes of 16 x 16 of its first parameter, [T, 16] of bf16.
TensorMap &mapOf(Plan &plan) {
  const Shape shape = {{1, Symbol::tokens}, {16, Symbol::one}};
  plan.kernels[0].parameters[0] = {ElementType::bf16, shape, false};
  makeCuda(plan).launches[0].tensorMaps = {{0, shape, {16, 16}, 0}};
  return plan.codeObjects[0].launches[0].tensorMaps[0];
}

const BadPlan kBadPlans[] = {
    {"metadata: vocab is 0, expected 1 to 16777216", [](Plan &p) { p.metadata.vocab = 0; }},
    {"metadata: max_sequences is 129, expected 1 to 128", [](Plan &p) { p.metadata.maxSequences = 129; }},
    {"metadata: max_tokens is 70000, expected 1 to 65536", [](Plan &p) { p.metadata.maxTokens = 70000; }},
    {"metadata: piece_tokens is 0, expected a multiple of 64 up to 65536", [](Plan &p) { p.metadata.pieceTokens = 0; }},
    {"metadata: piece_tokens is 100, expected a multiple of 64 up to 65536", [](Plan &p) { p.metadata.pieceTokens = 100; }},
    {"metadata: eos token 97 is outside the vocabulary of 97", [](Plan &p) { p.metadata.eos = {97}; }},
    {"metadata: bos token 97 is outside the vocabulary of 97", [](Plan &p) { p.metadata.bos = 97; }},
    {"kernel 'remember' occurs twice", [](Plan &p) { p.kernels[1].name = "remember"; }},
    {"kernel 0 has no usable name", [](Plan &p) { p.kernels[0].name = "two words"; }},
    {"code object 0 names blob 4 of 4", [](Plan &p) { p.codeObjects[0].blob = 4; }},
    {"buffer 11 'sums' is at arena offset 8, not a multiple of 64",
     [](Plan &p) { p.buffers[11].arenaOffset = 8; }},
    {"buffer 12 'embedding' is at offset 4 of blob 2, not a multiple of 64",
     [](Plan &p) { p.buffers[12].blobOffset = 4; }},
    {"buffer 12 'embedding' of 388 bytes at offset 128 leaves blob 2 of 452 bytes",
     [](Plan &p) { p.buffers[12].blobOffset = 128; }},
    {"buffer 12 'embedding' of 388 bytes at offset 18446744073709551552 leaves blob 2 of 452 bytes",
     [](Plan &p) { p.buffers[12].blobOffset = ~0ull - 63; }},
    {"buffer 12 'embedding' names blob 9 of 4", [](Plan &p) { p.buffers[12].blob = 9; }},
    {"buffer 12 'embedding' has shape [9223372036854775808, 4] of f32, too large to address",
     [](Plan &p) { p.buffers[12].shape = {{1ull << 63, Symbol::one}, {4, Symbol::one}}; }},
    {"buffer 12 'embedding' has shape [T], dimension T is not possible here",
     [](Plan &p) { p.buffers[12].shape = {{1, Symbol::tokens}}; }},
    {"buffer 8 'history' has shape [97, CTX], the first dimension of a state must be SLOTS",
     [](Plan &p) { p.buffers[8].shape[0] = {97, Symbol::one}; }},
    {"buffer 9 'wide' has shape [SLOTS, CTX, CTXB] with more than one dimension that grows (CTX, CTXB)",
     [](Plan &p) { p.buffers[9].shape[2] = {1, Symbol::contextBlocks}; }},
    {"buffer 11 'sums' has shape [CTX, 1], dimension CTX is not possible here",
     [](Plan &p) { p.buffers[11].shape[0].symbol = Symbol::context; }},
    {"buffer 11 'sums' has 9 dimensions, at most 8 are supported",
     [](Plan &p) { p.buffers[11].shape.resize(9); }},
    {"program 'ingest' occurs twice",
     [](Plan &p) {
       p.programs[2].name = "ingest";
       p.programs[2].outputs = {};
     }},
    {"program 1 has no usable name", [](Plan &p) { p.programs[1].name = "\033[31m"; }},
    {"program 'unmask' is not known; programs are ingest, advance and score",
     [](Plan &p) { p.programs[0].name = "unmask"; }},
    {"program 'ingest' input names buffer 13 of 13", [](Plan &p) { p.programs[0].inputs[0] = 13; }},
    {"program 'ingest' input 'history' is a buffer of kind state",
     [](Plan &p) { p.programs[0].inputs[0] = 8; }},
    {"program 'ingest' input 'sampling' is not one that this program can have",
     [](Plan &p) { p.programs[0].inputs[0] = 3; }},
    {"program 'ingest' input 'where' is i32 [T, 3], expected i32 [T, 2]",
     [](Plan &p) { p.buffers[1].shape[1].multiplier = 3; }},
    {"program 'advance' lacks output 'logits'", [](Plan &p) { p.programs[1].outputs.pop_back(); }},
    {"program 'advance' output 'decoding' is f32 [S, 97], expected f32 [S, 2]",
     [](Plan &p) {
       p.buffers.push_back(p.buffers[6]);
       p.buffers.back().name = "decoding";
       p.programs[1].outputs.push_back(13);
     }},
    {"program 'score' output 'decoding' is not one that this program can have",
     [](Plan &p) {
       p.buffers.push_back(p.buffers[7]);
       p.buffers.back().name = "decoding";
       p.programs[2].outputs.push_back(13);
     }},
    {"program 'score' output 'logits' is f32 [S, 97], expected f32 [T, 97]",
     [](Plan &p) { p.programs[2].outputs = {6}; }},
    {"program 'ingest' step 0 names kernel 4 of 4", [](Plan &p) { dispatch(p, 0, 0).kernel = 4; }},
    {"program 'ingest' step 0 (kernel 'remember') passes 4 buffers, the kernel has 5 parameters",
     [](Plan &p) { dispatch(p, 0, 0).buffers.pop_back(); }},
    {"program 'ingest' step 1 (kernel 'accumulate') parameter 5 gets buffer 'sums' of f32 [T, 1], expected "
     "f32 [SLOTS, 1]",
     [](Plan &p) { dispatch(p, 0, 1).buffers[5] = 11; }},
    {"program 'advance' step 3 (kernel 'sample') parameter 3 gets buffer 'embedding', which it writes, but a "
     "buffer of kind weight "
     "cannot be written",
     [](Plan &p) {
       p.kernels[3].parameters[3] = {ElementType::f32, {{97, Symbol::one}}, true};
       dispatch(p, 1, 3).buffers[3] = 12;
     }},
    {"program 'ingest' step 1 (kernel 'accumulate') parameter 6 gets buffer 'sums' of 512 bytes at arena "
     "offset 128, outside the "
     "program's arena of 576 bytes",
     [](Plan &p) { p.buffers[11].arenaOffset = 128; }},
    {"program 'ingest' step 0 (kernel 'remember') parameter 1 gets buffer 'where', which is not among the "
     "program's inputs and outputs",
     [](Plan &p) { p.programs[0].inputs = {0, 2}; }},
    {"the model's text names blob 9 of 4", [](Plan &p) { p.modelBlob = 9; }},
    {"tokenizer names blob 9 of 4", [](Plan &p) { p.tokenizer.blob = 9; }},
    {"code object 0 has 1 launches for 4 kernels", [](Plan &p) { makeCuda(p).launches.resize(1); }},
    {"code object 0 launch 1 has no usable symbol", [](Plan &p) { makeCuda(p).launches[1].symbol = ""; }},
    {"code object 0 launch 0 has blocks of 48 threads, expected whole warps of 32 up to 1024",
     [](Plan &p) { makeCuda(p).launches[0].threads = 48; }},
    {"code object 0 launch 0 has blocks of 2048 threads, expected whole warps of 32 up to 1024",
     [](Plan &p) { makeCuda(p).launches[0].threads = 2048; }},
    {"code object 0 launch 2 asks for 2097152 bytes of shared memory and 0 of scratch for a block",
     [](Plan &p) { makeCuda(p).launches[2].sharedBytes = 2 << 20; }},
    {"code object 0 launch 0 has a grid that is no program for one number",
     [](Plan &p) { makeCuda(p).launches[0].grid.clear(); }},
    {"code object 0 launch 0 has 17 tensor maps, expected at most 16", [](Plan &p) { makeCuda(p).launches[0].tensorMaps.resize(17); }},
    {"code object 0 launch 0 tensor map 0 is of parameter 9 of 5", [](Plan &p) { mapOf(p).parameter = 9; }},
    {"code object 0 launch 0 tensor map 0 has 0 dimensions, a box of 0 and swizzle 0, expected as many of both, at most 5, and a swizzle of at most 3", [](Plan &p) { mapOf(p) = TensorMap(); }},
    {"code object 0 launch 0 tensor map 0 has 2 dimensions, a box of 3 and swizzle 0, expected as many of both, at most 5, and a swizzle of at most 3", [](Plan &p) { mapOf(p).box.push_back(1); }},
    {"code object 0 launch 0 tensor map 0 has 2 dimensions, a box of 2 and swizzle 4, expected as many of both, at most 5, and a swizzle of at most 3", [](Plan &p) { mapOf(p).swizzle = 4; }},
    {"code object 0 launch 0 tensor map 0 has shape [2*T, 16], its parameter [T, 16]", [](Plan &p) { mapOf(p).shape[0].multiplier = 2; }},
    {"code object 0 launch 0 tensor map 0 is of elements of type i64, expected bf16, f16 or f32",
     [](Plan &p) {
       mapOf(p);
       p.kernels[0].parameters[0].type = ElementType::i64;
     }},
    {"code object 0 launch 0 tensor map 0 has shape [16, T] and a box of 16 in dimension 1, expected static sizes after the first (or CTX and CTXB between the first and the last) and 1 to 256",
     [](Plan &p) {
       Shape &shape = mapOf(p).shape;
       std::swap(shape[0], shape[1]);
     }},
    {"code object 0 launch 0 tensor map 0 has shape [T, 16] and a box of 257 in dimension 0, expected static sizes after the first (or CTX and CTXB between the first and the last) and 1 to 256",
     [](Plan &p) { mapOf(p).box[0] = 257; }},
    {"code object 0 launch 0 tensor map 0 has rows of 32 bytes and boxes of 6, expected multiples of 16, and boxes not wider than their swizzle", [](Plan &p) { mapOf(p).box[1] = 3; }},
    {"code object 0 launch 0 tensor map 0 has rows of 32 bytes and boxes of 64, expected multiples of 16, and boxes not wider than their swizzle",
     [](Plan &p) {
       TensorMap &map = mapOf(p);
       map.box[1] = 32;
       map.swizzle = 1;
     }},
    {"code object 0 launch 0 has a grid that is no program for one number",
     [](Plan &p) { makeCuda(p).launches[0].grid.push_back({GridOp::add, 0}); }},
    {"code object 0 launch 0 has a grid that is no program for one number",
     [](Plan &p) { makeCuda(p).launches[0].grid[0] = {GridOp::symbol, 5}; }},
    {"code object 0 launch 0 has a grid that is no program for one number",
     [](Plan &p) { makeCuda(p).launches[0].grid.assign(kMaxGridDepth + 1, {GridOp::constant, 1}); }},
    {"metadata: context is 0, expected 1 to 1073741824", [](Plan &p) { p.metadata.context = 0; }},
    {"metadata: context is 2147483648, expected 1 to 1073741824",
     [](Plan &p) { p.metadata.context = 1ull << 31; }},
    {"metadata: max_tokens is 0, expected 1 to 65536", [](Plan &p) { p.metadata.maxTokens = 0; }},
    {"metadata: bos token -2 is outside the vocabulary of 97", [](Plan &p) { p.metadata.bos = -2; }},
    {"kernel 2 has no usable name", [](Plan &p) { p.kernels[2].name = std::string(513, 'k'); }},
    {"kernel 'logits' parameter 1 has shape [4611686018427387904*T, 97] of f32, too large to address",
     [](Plan &p) { p.kernels[2].parameters[1].shape[0].multiplier = 1ull << 62; }},
    {"code object 1 has no usable target or level name", [](Plan &p) { p.codeObjects[1].level = ""; }},
    {"code object 1 has 0 launches for the test of a loop", [](Plan &p) { p.codeObjects[1].target = kLoopTestTarget; }},
    {"buffer 4 has no usable name", [](Plan &p) { p.buffers[4].name = "\n"; }},
    {"buffer 0 'tokens' has shape [SLOTS], dimension SLOTS is not possible here",
     [](Plan &p) { p.buffers[0].shape[0].symbol = Symbol::slots; }},
    {"buffer 8 'history' has shape [], the first dimension of a state must be SLOTS",
     [](Plan &p) { p.buffers[8].shape.clear(); }},
    {"buffer 8 'history' has shape [2*SLOTS, CTX], the first dimension of a state must be SLOTS",
     [](Plan &p) { p.buffers[8].shape[0].multiplier = 2; }},
    {"buffer 8 'history' has shape [SLOTS, SLOTS] with more than one dimension SLOTS",
     [](Plan &p) { p.buffers[8].shape[1].symbol = Symbol::slots; }},
    {"buffer 8 'history' has shape [SLOTS, T], dimension T is not possible here",
     [](Plan &p) { p.buffers[8].shape[1].symbol = Symbol::tokens; }},
    {"program 'ingest' input 'tokens' occurs twice", [](Plan &p) { p.programs[0].inputs = {0, 0}; }},
    {"program 'ingest' output 'next' is not one that this program can have",
     [](Plan &p) { p.programs[0].outputs = {5}; }},
    {"program 'score' lacks output 'logits'", [](Plan &p) { p.programs[2].outputs.clear(); }},
    {"program 'advance' output 'logits' is f32 [S, 97], expected f32 [S, 96]",
     [](Plan &p) {
       p.metadata.vocab = 96;
       p.metadata.eos.clear();
     }},
    {"program 'ingest' input 'tokens' is f32 [T], expected i32 [T]",
     [](Plan &p) { p.buffers[0].type = ElementType::f32; }},
    {"program 'score' asks for an arena of 70368744177664 bytes",
     [](Plan &p) { p.programs[2].arenaBytes = 1ull << 46; }},
    {"program 'ingest' loop 0 has steps 1 to 3, expected some of the program's 2 that no loop has before it",
     [](Plan &p) { p.programs[0].loops = {{1, 2, 0, 3}}; }},
    {"program 'ingest' loop 0 has no trips", [](Plan &p) { p.programs[0].loops = {{0, 1, 0, 0}}; }},
    {"program 'ingest' loop 0 counts the rows of span 1 of 0", [](Plan &p) { p.programs[0].loops = {{0, 1, 0, 3, 1}}; }},
    {"program 'ingest' loop 0 has as condition buffer 'tokens', expected a transient of i32 [S, 1]",
     [](Plan &p) { p.programs[0].loops = {{0, 1, 0, 3}}; }},
    {"program 'ingest' step 0 (kernel 'remember') names buffer 4294967295 of 13",
     [](Plan &p) { dispatch(p, 0, 0).buffers[4] = ~0u; }},
    {"program 'ingest' step 0 (kernel 'remember') parameter 1 gets buffer 'tokens' of i32 [T], expected i32 "
     "[T, 2]",
     [](Plan &p) { dispatch(p, 0, 0).buffers[1] = 0; }},
    {"program 'ingest' step 0 (kernel 'remember') passes 6 buffers, the kernel has 5 parameters",
     [](Plan &p) { dispatch(p, 0, 0).buffers.push_back(0); }},
    {"program 'ingest' step 1 (kernel 'accumulate') parameter 6 gets buffer 'sums' of 512 bytes at arena "
     "offset "
     "18446744073709551552, outside the program's arena of 576 bytes",
     [](Plan &p) { p.buffers[11].arenaOffset = ~0ull - 63; }},
    {"tokenizer: special token 16777216 has no text or too large an id",
     [](Plan &p) { p.tokenizer.specialTokens = {{1 << 24, "<x>", true}}; }},
    {"tokenizer: special token 5 has no text or too large an id",
     [](Plan &p) { p.tokenizer.specialTokens = {{5, "", true}}; }},
    {"code object 0 launch 3 asks for 0 bytes of shared memory and 16777217 of scratch for a block",
     [](Plan &p) { makeCuda(p).launches[3].scratchBytes = (1 << 24) + 1; }},
    {"code object 0 launch 0 has blocks of 0 threads, expected whole warps of 32 up to 1024",
     [](Plan &p) { makeCuda(p).launches[0].threads = 0; }},
    {"code object 0 launch 0 has a grid that is no program for one number",
     [](Plan &p) { makeCuda(p).launches[0].grid.push_back({GridOp::constant, 1}); }},
};

TEST(VerifyPlan, names_what_is_wrong) {
  std::vector<uint64_t> blobs;
  for (const BlobSource &blob : testModel().blobs)
    blobs.push_back(blob.bytes);
  ASSERT_TRUE(verifyPlan(testModel().plan, blobs, "m").ok()) << verifyPlan(testModel().plan, blobs, "m");
  for (const BadPlan &bad : kBadPlans) {
    Plan plan = testModel().plan;
    bad.change(plan);
    EXPECT_EQ(verifyPlan(plan, blobs, "m").message(),
              std::string("m: ") + bad.message + "; compile the model again");
  }
}

TEST(VerifyPlan, only_weights_may_be_absent) {
  const Plan &plan = testModel().plan;
  std::vector<uint64_t> blobs;
  for (const BlobSource &blob : testModel().blobs)
    blobs.push_back(blob.bytes);
  auto absent = [&](size_t blob) {
    std::vector<bool> isAbsent(blobs.size());
    isAbsent[blob] = true;
    return std::string(verifyPlan(plan, blobs, "m", isAbsent).message());
  };
  EXPECT_EQ(absent(1), "m: code object 1 names blob 1, which is absent; compile the model again");
  EXPECT_EQ(absent(2), "");
  EXPECT_EQ(absent(3), "m: tokenizer names blob 3, which is absent; compile the model again");
}

TEST(Artifact, without_weights_opens_and_does_not_run) {
  TemporaryFolder folder;
  ArtifactContents contents = testModel();
  uint64_t weightBytes = contents.blobs[2].bytes;
  contents.blobs[2].write = nullptr;
  contents.plan.modelBlob = contents.blobs.size();
  contents.blobs.push_back(blobOf("the model"));
  std::string path = folder.file("plan.llmc");
  ASSERT_TRUE(writeArtifact(path, contents).ok());
  auto artifact = Artifact::open(path);
  ASSERT_TRUE(artifact.ok()) << artifact.status();
  EXPECT_FALSE((*artifact)->hasWeights());
  EXPECT_TRUE((*artifact)->verifyWeights().ok());
  EXPECT_EQ((*artifact)->blobs()[2].bytes, weightBytes);
  EXPECT_EQ(memcmp((*artifact)->blobData(*(*artifact)->plan().modelBlob), "the model", 9), 0);
  EXPECT_EQ(
      std::string(Engine::open(path, {}).status().message()),
      path +
          ": has no weights, so it can be inspected and not run: it was compiled with --no-weights; make one "
          "that runs with `llmc compile DIR -o m.llmc`, DIR being a directory with the weights");

  // The blob's entry with a checksum, and with a place in the file that it does not have.
  std::string bytes = readFile(path);
  BlobEntry entry = (*artifact)->blobs()[2], stored = (*artifact)->blobs()[3];
  size_t at = bytes.find(std::string(reinterpret_cast<const char *>(&entry), sizeof entry) +
                         std::string(reinterpret_cast<const char *>(&stored), sizeof stored));
  ASSERT_NE(at, std::string::npos);
  auto change = [&](size_t field, uint64_t value) {
    std::string changed = bytes;
    memcpy(&changed[at + field], &value, sizeof value);
    resign(changed);
    return message(changed);
  };
  EXPECT_EQ(change(offsetof(BlobEntry, checksum), 7),
            "m.llmc: blob 2 is absent and has checksum 0x0000000000000007; compile the model again");
  EXPECT_NE(change(offsetof(BlobEntry, offset), 4096).find("m.llmc: blob 2 is at offset 4096, expected"),
            std::string::npos);
}

TEST(Grid, has_the_value_of_its_program) {
  auto value = [](std::vector<GridTerm> grid, Dims dims = {17, 3, 0, 0, 0}) {
    EXPECT_TRUE(isGridProgram(grid));
    return evaluateGrid(grid, dims);
  };
  const GridTerm T{GridOp::symbol, 0}, S{GridOp::symbol, 1};
  auto c = [](int64_t v) { return GridTerm{GridOp::constant, v}; };
  auto op = [](GridOp o) { return GridTerm{o, 0}; };
  EXPECT_EQ(value({T, c(8), op(GridOp::ceilDiv), S, op(GridOp::mul)}), 9);
  EXPECT_EQ(value({T, c(8), op(GridOp::div)}), 2);
  EXPECT_EQ(value({T, c(8), op(GridOp::rem)}), 1);
  EXPECT_EQ(value({T, S, op(GridOp::min)}), 3);
  EXPECT_EQ(value({T, S, op(GridOp::max)}), 17);
  EXPECT_EQ(value({T, S, op(GridOp::sub), c(1), op(GridOp::add)}), 15);
  EXPECT_EQ(value({S, T, op(GridOp::sub)}), std::nullopt) << "negative";
  EXPECT_EQ(value({T, c(0), op(GridOp::div)}), std::nullopt);
  EXPECT_EQ(value({T, c(INT64_MAX), op(GridOp::mul)}), std::nullopt);
}

TEST(Inspect, prints_what_gpu_kernels_need) {
  TemporaryFolder folder;
  ArtifactContents contents = testModel();
  KernelLaunch &launch = makeCuda(contents.plan).launches[1];
  launch.sharedBytes = 4096;
  launch.registers = 40;
  launch.spillBytes = 8;
  ASSERT_TRUE(writeArtifact(folder.file("m.llmc"), contents).ok());
  FILE *out = fopen(folder.file("text").c_str(), "w");
  ASSERT_TRUE(inspectResources(folder.file("m.llmc"), out).ok());
  fclose(out);
  std::string text = readFile(folder.file("text"));
  for (const char *expected : {"cuda x86-64-v3 (simulator)",
                               "accumulate                                   64         40        8      4.0 KiB          0 B",
                               "sample                                       64          -        -          0 B          0 B"})
    EXPECT_NE(text.find(expected), std::string::npos) << expected << " in\n" << text;
  ASSERT_TRUE(writeArtifact(folder.file("m.llmc"), testModel()).ok());
  EXPECT_EQ(inspectResources(folder.file("m.llmc"), stdout).message(),
            folder.file("m.llmc") + ": has no code for a GPU; compile the model with --target=cuda");
}

TEST(Inspect, prints_where_bytes_go) {
  TemporaryFolder folder;
  writeFile(folder.file("m.llmc"), artifactBytes());
  FILE *out = fopen(folder.file("text").c_str(), "w");
  ASSERT_TRUE(inspect(folder.file("m.llmc"), out).ok());
  fclose(out);
  std::string text = readFile(folder.file("text"));
  for (const char *expected :
       {"toy (test), made by llmc test",
        "ingest                2        2       576 B   tokens where rows ->",
        "weights: 1 buffers, 388 B: f32 388 B", "states: 3 buffers", "1 x f32 [SLOTS, CTX, 513]",
        "per session: 4 B + 2.0 KiB per token of context", "cpu x86-64-v3", "tokenizer: tokenizer.json"})
    EXPECT_NE(text.find(expected), std::string::npos) << expected << "\n" << text;
  EXPECT_FALSE(inspect(folder.file("none.llmc"), stdout).ok());
}

} // namespace
} // namespace llmc::test
