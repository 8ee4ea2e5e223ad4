// Checkpoint directories: single files, shards, everything that can be wrong with them, and reading in
// bounded memory.
#include "frontends/huggingface/Checkpoint.h"
#include "test/frontends/TempDirectory.h"

#include "absl/strings/match.h"

#include <gtest/gtest.h>

#include <sys/stat.h>

namespace llmc {
namespace {

/// A file with the tensors named by single letters, each two bytes of BF16 or another type.
std::string fileWith(const std::string &names, const std::string &type = "BF16") {
  std::string header = "{", data;
  for (char name : names) {
    header +=
        (data.empty() ? "" : ",") + entry(std::string(1, name), type, "[1]", data.size(), data.size() + 2);
    data += std::string(2, name);
  }
  return safetensors(header + "}", data);
}

std::string openError(const TempDirectory &directory) {
  absl::StatusOr<Checkpoint> checkpoint = Checkpoint::open(directory.path);
  EXPECT_FALSE(checkpoint.ok());
  return std::string(checkpoint.status().message());
}

TEST(Checkpoint, opens_a_single_file) {
  TempDirectory directory;
  directory.write("model.safetensors", fileWith("ba"));
  absl::StatusOr<Checkpoint> checkpoint = Checkpoint::open(directory.path);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  ASSERT_EQ(checkpoint->tensors().size(), 2u);
  EXPECT_EQ(checkpoint->tensors()[0].name, "a");
  EXPECT_EQ(checkpoint->files(), std::vector<std::string>{directory / "model.safetensors"});
  absl::StatusOr<const CheckpointTensor *> tensor = checkpoint->tensor("b");
  ASSERT_TRUE(tensor.ok());
  EXPECT_EQ((*tensor)->bytes[1], 'b');
  EXPECT_EQ(checkpoint->find("c"), nullptr);
  EXPECT_EQ(std::string(checkpoint->tensor("c").status().message()),
            directory.path + ": the checkpoint has no tensor \"c\"");
}

TEST(Checkpoint, opens_shards_and_survives_a_move) {
  TempDirectory directory;
  directory.write("model-1.safetensors", fileWith("ac"));
  directory.write("model-2.safetensors", fileWith("b"));
  directory.write("model.safetensors.index.json",
                  R"({"metadata":{"total_size":6,"more":[{"x":[]}]},"weight_map":{"a":"model-1.safetensors",)"
                  R"("b":"model-2.safetensors","c":"model-1.safetensors"}})");
  absl::StatusOr<Checkpoint> opened = Checkpoint::open(directory.path);
  ASSERT_TRUE(opened.ok()) << opened.status();
  Checkpoint checkpoint = std::move(*opened);
  ASSERT_EQ(checkpoint.tensors().size(), 3u);
  EXPECT_EQ(checkpoint.find("b")->shard, 1u);
  EXPECT_EQ(checkpoint.find("b")->bytes[0], 'b');
  EXPECT_EQ(checkpoint.find("c")->bytes[0], 'c');
}

TEST(Checkpoint, adds_the_tensors_of_another_directory) {
  TempDirectory base, heads;
  base.write("model.safetensors", fileWith("ca"));
  heads.write("model.safetensors", fileWith("b"));
  absl::StatusOr<Checkpoint> checkpoint = Checkpoint::open(base.path);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  ASSERT_TRUE(checkpoint->add(heads.path).ok());
  ASSERT_EQ(checkpoint->tensors().size(), 3u);
  EXPECT_EQ(checkpoint->find("a")->bytes[0], 'a');
  EXPECT_EQ(checkpoint->find("b")->bytes[0], 'b');
  EXPECT_EQ(checkpoint->files()[checkpoint->find("b")->shard], heads / "model.safetensors");
  EXPECT_EQ(std::string(checkpoint->tensor("d").status().message()),
            base.path + " with " + heads.path + ": the checkpoint has no tensor \"d\"");
}

TEST(Checkpoint, adds_no_tensor_twice) {
  TempDirectory base, heads;
  base.write("model.safetensors", fileWith("ab"));
  heads.write("model.safetensors", fileWith("cb"));
  absl::StatusOr<Checkpoint> checkpoint = Checkpoint::open(base.path);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(std::string(checkpoint->add(heads.path).message()),
            heads.path + ": tensor \"b\" is in " + base.path + " too: one of the two does not belong here");
}

TEST(Checkpoint, takes_tensors_that_the_index_does_not_name) {
  TempDirectory directory;
  directory.write("m.safetensors", fileWith("ab"));
  directory.write("model.safetensors.index.json", R"({"weight_map":{"a":"m.safetensors"}})");
  absl::StatusOr<Checkpoint> checkpoint = Checkpoint::open(directory.path);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_NE(checkpoint->find("b"), nullptr);
}

TEST(Checkpoint, names_what_is_missing) {
  TempDirectory directory;
  EXPECT_EQ(openError(directory), directory.path +
                                      ": expects model.safetensors or model.safetensors.index.json, found "
                                      "neither: download the checkpoint completely");
  directory.write("pytorch_model.bin", "");
  EXPECT_EQ(openError(directory),
            directory.path +
                ": expects model.safetensors or model.safetensors.index.json, found neither: the weights "
                "are there as a pickle of PyTorch; convert them to safetensors");
  EXPECT_EQ(std::string(Checkpoint::open(directory / "none").status().message()),
            directory / "none: cannot open the directory: No such file or directory");
  EXPECT_EQ(std::string(Checkpoint::open(directory / "pytorch_model.bin").status().message()),
            directory / "pytorch_model.bin: expects a directory with a Hugging Face checkpoint");
}

TEST(Checkpoint, rejects_what_is_not_a_regular_file) {
  TempDirectory directory;
  std::string path = directory / "model.safetensors";
  ASSERT_EQ(::mkdir(path.c_str(), 0700), 0);
  EXPECT_EQ(openError(directory), path + ": expects a regular file");
  std::filesystem::remove(path);
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(openError(directory), path + ": expects a regular file");
  std::filesystem::remove(path);
  std::filesystem::create_symlink("blob", path);
  EXPECT_EQ(openError(directory), path + ": cannot open: No such file or directory");
  directory.write("blob", "");
  EXPECT_EQ(openError(directory),
            path + ": truncated: the file is 0 bytes, expects at least 8: download it again");
  directory.write("blob", fileWith("a"));
  EXPECT_TRUE(Checkpoint::open(directory.path).ok());
}

TEST(Checkpoint, rejects_broken_indices) {
  struct {
    const char *index, *message;
  } const kCases[] = {
      {"{", "JSON syntax error at byte 1, where the text ends, after \"{\""},
      {"[]", "expects an object, found a list"},
      {"{}", "key \"weight_map\" is missing"},
      {R"({"metadata":{"weight_map":{}}})", "key \"weight_map\" is missing"},
      {R"({"weight_map":["a"]})", "\"weight_map\": expects an object of file names, found a list"},
      {R"({"weight_map":{"a":1}})", "\"weight_map\": tensor \"a\": expects the name of a file, found 1"},
      {R"({"weight_map":{"a":{"b":"c"}}})",
       "\"weight_map\": tensor \"a\": expects the name of a file, found an object"},
      {R"({"weight_map":{"a":"x","a":"y"}})", "the key \"a\" occurs twice in one object"},
      {R"({"weight_map":{"a":"/etc/passwd"}})", "\"weight_map\": tensor \"a\": expects the name of a file in "
                                                "the same directory, found \"/etc/passwd\""},
      {R"({"weight_map":{"a":"../m.safetensors"}})",
       "\"weight_map\": tensor \"a\": expects the name of a file in the same directory, found "
       "\"../m.safetensors\""},
      {R"({"weight_map":{"a":"sub/m.safetensors"}})",
       "\"weight_map\": tensor \"a\": expects the name of a file in the same directory, found "
       "\"sub/m.safetensors\""},
      {R"({"weight_map":{"a":".."}})",
       "\"weight_map\": tensor \"a\": expects the name of a file in the same directory, found \"..\""},
      {R"({"weight_map":{"a":""}})",
       "\"weight_map\": tensor \"a\": expects the name of a file in the same directory, found \"\""},
      {R"({"weight_map":{"a":"m\u0000x"}})",
       "\"weight_map\": tensor \"a\": expects the name of a file in the same directory, found \"m\\x00x\""},
      {R"({"x":[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]})", "lists and objects are nested more than 16 deep"},
  };
  TempDirectory directory;
  for (const auto &broken : kCases) {
    directory.write("model.safetensors.index.json", broken.index);
    EXPECT_EQ(openError(directory),
              directory / "model.safetensors.index.json: " + broken.message + ": download the file again");
  }
}

TEST(Checkpoint, names_missing_shards) {
  TempDirectory directory;
  directory.write("m1", fileWith("a"));
  directory.write("model.safetensors.index.json", R"({"weight_map":{"a":"m1","b":"m2","c":"m3"}})");
  EXPECT_EQ(openError(directory), directory.path +
                                      ": the checkpoint is incomplete, model.safetensors.index.json names "
                                      "files that are not there: download them\n"
                                      "  2 of 3 missing:\n    m2\n    m3");
}

TEST(Checkpoint, rejects_shards_that_disagree_with_the_index) {
  TempDirectory directory;
  std::string index = directory / "model.safetensors.index.json";
  directory.write("m1", fileWith("ab"));
  directory.write("m2", fileWith("c"));
  directory.write("model.safetensors.index.json", R"({"weight_map":{"a":"m1","b":"m2"}})");
  EXPECT_EQ(openError(directory), index + ": tensor \"b\": expects it in m2, found it in " +
                                      (directory / "m1") + ": download the checkpoint again");
  directory.write("model.safetensors.index.json", R"({"weight_map":{"a":"m1","d":"m2"}})");
  EXPECT_EQ(
      openError(directory),
      index +
          ": tensor \"d\": expects it in m2, found it in none of the files: download the checkpoint again");
  directory.write("m2", fileWith("bc"));
  EXPECT_EQ(openError(directory), directory.path + ": tensor \"b\" is in two files, " + (directory / "m1") +
                                      " and " + (directory / "m2") +
                                      ": remove files that do not belong to this checkpoint");
  directory.write("m2", fileWith("c").substr(0, 30));
  EXPECT_EQ(openError(directory),
            directory / "m2: truncated: the file is 30 bytes, its header ends at byte 63: download it again");
}

TEST(Checkpoint, check_accepts_what_fits) {
  TempDirectory directory;
  directory.write("model.safetensors", fileWith("abc"));
  absl::StatusOr<Checkpoint> checkpoint = Checkpoint::open(directory.path);
  ASSERT_TRUE(checkpoint.ok());
  std::vector<TensorSpec> expected = {
      {"a", {1}, false, {}}, {"b", {1, 1}, false, {{2}, {1}}}, {"lm_head", {1}, true, {}}};
  absl::Status status = checkpoint->check(expected, {[](const std::string &name) { return name == "c"; }});
  EXPECT_TRUE(status.ok()) << status;
}

TEST(Checkpoint, check_lists_everything_that_does_not_fit) {
  TempDirectory directory;
  directory.write("model.safetensors", safetensors("{" + entry("a", "BF16", "[2,3]", 0, 12) + "," +
                                                       entry("extra", "F32", "[]", 12, 16) + "," +
                                                       entry("q", "I8", "[4]", 16, 20) + "}",
                                                   std::string(20, 'x')));
  absl::StatusOr<Checkpoint> checkpoint = Checkpoint::open(directory.path);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  absl::Status status =
      checkpoint->check({{"a", {3, 2}, false, {}}, {"b", {7}, false, {}}, {"q", {4}, false, {}}});
  EXPECT_EQ(std::string(status.message()),
            directory.path + ": the tensors are not those of the model in config.json\n"
                             "  1 missing:\n    b [7]\n"
                             "  1 of another shape:\n    a: expects [3, 2], found [2, 3]\n"
                             "  1 of a type that is not supported (quantized checkpoints are not):\n"
                             "    q: expects F32, BF16 or F16, found I8\n"
                             "  1 unexpected:\n    \"extra\" F32 []\n"
                             "  check that config.json and the weights are of the same model and version");
}

TEST(Checkpoint, check_cuts_long_lists) {
  TempDirectory directory;
  directory.write("model.safetensors", fileWith("a"));
  absl::StatusOr<Checkpoint> checkpoint = Checkpoint::open(directory.path);
  ASSERT_TRUE(checkpoint.ok());
  std::vector<TensorSpec> expected = {{"a", {1}, false, {}}};
  for (int i = 0; i < 1000; ++i)
    expected.push_back({"t" + std::to_string(i), {1}, false, {}});
  std::string message(checkpoint->check(expected).message());
  EXPECT_TRUE(absl::StrContains(message, "  1000 missing:\n    t0 [1]\n")) << message;
  EXPECT_TRUE(absl::StrContains(message, "    t19 [1]\n    ... and 980 more\n")) << message;
  EXPECT_FALSE(absl::StrContains(message, "t20 [1]"));
}

/// Bytes of files that this process holds in memory, from the kernel.
size_t residentFileBytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind("RssFile:", 0) == 0)
      return std::stoul(line.substr(8)) * 1024;
  return 0;
}

TEST(Checkpoint, reads_in_bounded_memory) {
  constexpr size_t kBytes = size_t{256} << 20, kPiece = size_t{4} << 20;
  TempDirectory directory;
  directory.write("model.safetensors", safetensors("{" + entry("a", "U8", "[268435456]", 0, kBytes) + "}"));
  std::filesystem::path path = directory / "model.safetensors";
  std::filesystem::resize_file(path, std::filesystem::file_size(path) + kBytes); // sparse: zeros
  absl::StatusOr<Checkpoint> checkpoint = Checkpoint::open(directory.path);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  size_t before = residentFileBytes(), sum = 0;
  std::vector<uint8_t> piece(kPiece);
  const CheckpointTensor &tensor = checkpoint->tensors()[0];
  for (size_t at = 0; at < kBytes; at += kPiece) {
    absl::Status status = checkpoint->read(tensor, at, piece.data(), kPiece);
    ASSERT_TRUE(status.ok()) << status;
    for (uint8_t byte : piece)
      sum += byte;
  }
  EXPECT_EQ(sum, 0u);
  EXPECT_LT(residentFileBytes(), before + kPiece);

  // A file that shrinks under the reader is an error, not a signal.
  std::filesystem::resize_file(path, kBytes / 2);
  EXPECT_EQ(std::string(checkpoint->read(tensor, kBytes - kPiece, piece.data(), kPiece).message()),
            path.string() + ": became shorter while it was read");
}

} // namespace
} // namespace llmc
