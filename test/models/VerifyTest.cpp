// llmc verify on artifacts whose text of the model was changed: it comes from outside like everything else in
// the file.
#include "codegen/WriteArtifact.h"
#include "runtime/Artifact.h"
#include <gtest/gtest.h>
#include <random>
#include <sys/wait.h>

namespace llmc::test {
namespace {

struct Ran {
  int status;
  std::string text;
};

Ran run(const std::string &command) {
  FILE *pipe = popen((command + " 2>&1").c_str(), "r");
  std::string text;
  char piece[4096];
  while (size_t n = fread(piece, 1, sizeof piece, pipe))
    text.append(piece, n);
  return {pclose(pipe), text};
}

const std::string kProgram = LLMC_PROGRAM, kFolder = LLMC_WORK;

/// A compiled model whose text can be exchanged.
class VerifyText : public testing::Test {
protected:
  static void SetUpTestSuite() {
    std::string path = kFolder + "/verify-text.llmc";
    Ran compiled = run(kProgram + " compile " LLMC_SOURCE "/test/golden/llama-c -o " + path);
    ASSERT_EQ(compiled.status, 0) << compiled.text;
    auto opened = runtime::Artifact::open(path);
    ASSERT_TRUE(opened.ok()) << opened.status();
    original = std::move(*opened);
  }
  static void TearDownTestSuite() { original.reset(); }

  static std::string text() {
    uint32_t blob = *original->plan().modelBlob;
    return {reinterpret_cast<const char *>(original->blobData(blob)), original->blobs()[blob].bytes};
  }

  /// What verify says of the artifact with this text in the place of its own.
  static Ran verifyWith(const std::string &changed) {
    ArtifactContents contents;
    contents.plan = original->plan();
    for (uint32_t i = 0; i < original->blobs().size(); ++i)
      contents.blobs.push_back(blobOf(i == *original->plan().modelBlob
                                          ? changed
                                          : std::string(reinterpret_cast<const char *>(original->blobData(i)),
                                                        original->blobs()[i].bytes)));
    std::string path = kFolder + "/verify-changed.llmc";
    absl::Status written = writeArtifact(path, contents);
    EXPECT_TRUE(written.ok()) << written;
    Ran ran = run(kProgram + " verify --random=3 " + path);
    EXPECT_TRUE(WIFEXITED(ran.status)) << ran.text << "\n" << changed;
    return ran;
  }

  static std::unique_ptr<runtime::Artifact> original;
};
std::unique_ptr<runtime::Artifact> VerifyText::original;

TEST_F(VerifyText, its_own_is_right) {
  Ran ran = verifyWith(text());
  EXPECT_EQ(ran.status, 0) << ran.text;
}

TEST_F(VerifyText, errors_say_what_is_wrong) {
  const std::pair<const char *, const char *> cases[] = {
      {"no module", "the model's text is not valid"},
      {"", "its plan is not the one that this llmc makes of the model"},
      {"func.func @score() { func.call @none() : () -> () return }", "the model's text is not valid"},
      {"func.func private @f() func.func @score() { func.call @f() : () -> () return }",
       "the model's function 'f' has no body of one block"},
      {"func.func private @f() { func.call @g() : () -> () return }\n"
       "func.func private @g() { func.call @f() : () -> () return }\n"
       "func.func @score() { func.call @f() : () -> () return }",
       "the model's function 'f' calls itself"},
      {"func.func @score(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {\n"
       "  %y = llm.dispatch(%x) {tied = array<i64: -1>} : (tensor<?x4xf32>) -> tensor<?x4xf32> {\n"
       "  ^bb0(%a: tensor<?x4xf32>):\n    llm.yield %a : tensor<?x4xf32>\n  }\n  return %y : "
       "tensor<?x4xf32>\n}",
       "the model's function 'score' is of a later stage than import"},
  };
  for (auto [changed, expected] : cases) {
    Ran ran = verifyWith(changed);
    EXPECT_EQ(WEXITSTATUS(ran.status), 1);
    EXPECT_NE(ran.text.find(expected), std::string::npos) << changed << "\n" << ran.text;
  }
}

TEST_F(VerifyText, another_model_is_found_out) {
  std::string changed = text();
  size_t at = changed.find("llm.rms_norm"), eps = changed.find("eps = ", at);
  ASSERT_NE(eps, std::string::npos);
  changed.insert(eps + 6, "1"); // 1e-05 becomes 11e-05 or the like: the same plan, other values
  Ran ran = verifyWith(changed);
  EXPECT_EQ(WEXITSTATUS(ran.status), 1);
  EXPECT_NE(ran.text.find("first beyond tolerance: model.layers.0.self_attn.q_proj"), std::string::npos)
      << ran.text;
}

TEST_F(VerifyText, mutations_never_crash) {
  std::mt19937 random(1);
  std::string whole = text();
  for (int i = 0; i < 24; ++i) {
    std::string changed = whole;
    if (i % 3 == 0)
      changed.resize(random() % changed.size());
    else if (i % 3 == 1)
      changed[random() % changed.size()] ^= 1 << random() % 7;
    else { // a number becomes another
      size_t at = changed.find_first_of("0123456789", random() % changed.size());
      if (at != std::string::npos)
        changed[at] = '0' + random() % 10;
    }
    verifyWith(changed);
  }
}

} // namespace
} // namespace llmc::test
