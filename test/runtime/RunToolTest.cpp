// llmc-run as users see it: output, errors, exit codes.
#include "TestModel.h"
#include <cstring>
#include <sys/wait.h>

namespace llmc::test {
namespace {

struct Outcome {
  int code;
  std::string out, err;
};

class RunTool : public testing::Test {
protected:
  void SetUp() override { ASSERT_TRUE(writeArtifact(folder_.file("toy.llmc"), testModel()).ok()); }
  Outcome run(const std::string &arguments) const {
    std::string command = "cd " + folder_.file("") + " && " LLMC_RUN " " + arguments + " >out 2>err";
    int status = system(command.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, readFile(folder_.file("out")),
            readFile(folder_.file("err"))};
  }
  TemporaryFolder folder_;
};

TEST_F(RunTool, prints_tokens_only) {
  std::vector<int32_t> tokens = {1, 2, 3};
  std::string expected;
  for (int i = 0; i < 6; ++i) {
    tokens.push_back(testNext(tokens));
    expected += (i ? "," : "") + std::to_string(tokens.back());
  }
  for (const char *threads : {"1", "2"}) {
    Outcome o = run(std::string("toy.llmc --tokens 1,2,3 -n 6 --temp 0 --print-tokens -t ") + threads);
    EXPECT_EQ(o.code, 0) << o.err;
    EXPECT_EQ(o.out, expected + "\n");
    EXPECT_EQ(o.err, "");
  }
}

TEST_F(RunTool, continues_text_after_the_prompt) {
  std::string prompt = "hey";
  Outcome o = run("toy.llmc -p 'hey' -n 3 --stats");
  EXPECT_EQ(o.code, 0) << o.err;
  std::vector<int32_t> tokens = {95, 'y' - 32};
  for (int i = 0; i < 3; ++i) {
    tokens.push_back(testNext(tokens));
    prompt += tokens.back() == 95 ? "he" : std::string(1, static_cast<char>(tokens.back() + 32));
  }
  EXPECT_EQ(o.out, prompt + "\n");
  EXPECT_NE(o.err.find("model: toy, code x86-64-v"), std::string::npos);
}

TEST_F(RunTool, ends_when_the_context_is_full) {
  Outcome o = run("toy.llmc --tokens 5,5 -c 32 --print-tokens");
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(std::count(o.out.begin(), o.out.end(), ','), 30);
}

TEST_F(RunTool, writes_logits_for_numpy) {
  std::string tokens = "5";
  for (int i = 0; i < 199; ++i)
    tokens += ",1";
  Outcome o = run("toy.llmc --tokens " + tokens + " --logits l.npy");
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(o.out, "");
  std::string file = readFile(folder_.file("l.npy"));
  ASSERT_EQ(file.size(), 128 + 200 * 97 * 4u);
  EXPECT_EQ(file.substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
  EXPECT_NE(file.find("{'descr': '<f4', 'fortran_order': False, 'shape': (200, 97), }"), std::string::npos);
  for (int row = 0; row < 200; ++row) {
    float value;
    int next = 3 * (5 + row) % 97;
    memcpy(&value, &file[128 + 4 * static_cast<size_t>(row * 97 + next)], 4);
    if (next != 96) {
      EXPECT_EQ(value, 0) << row;
    }
  }
  EXPECT_EQ(run("toy.llmc --tokens 1 --logits none/l.npy").err,
            "llmc-run: error: none/l.npy: cannot create: No such file or directory\n");
  EXPECT_EQ(run("toy.llmc --tokens 1 --logits /dev/null").code, 0);
}

TEST_F(RunTool, failures_exit_1_and_wrong_usage_2) {
  struct {
    const char *arguments, *message;
    int code;
  } cases[] = {
      {"", "no artifact given (llmc-run --help lists the flags)", 2},
      {"toy.llmc", "give a prompt with -p TEXT or --tokens IDS (llmc-run --help lists the flags)", 2},
      {"toy.llmc -p a --tokens 1", "-p and --tokens exclude each other (llmc-run --help lists the flags)", 2},
      {"toy.llmc -p a -n x",
       "-n expects a whole number from 0 to 2147483647, got 'x' (llmc-run --help lists the flags)", 2},
      {"toy.llmc -p a --temp nan",
       "--temp expects a number from 0 to 100, got 'nan' (llmc-run --help lists the flags)", 2},
      {"toy.llmc -p a --top-p 0",
       "--top-p expects a number from 1e-06 to 1, got '0' (llmc-run --help lists the flags)", 2},
      {"toy.llmc --tokens 1,,2",
       "--tokens expects numbers separated by commas, got '1,,2' (llmc-run --help lists the flags)", 2},
      {"toy.llmc --frobnicate", "unknown flag --frobnicate (llmc-run --help lists the flags)", 2},
      {"toy.llmc -p", "-p needs a value (llmc-run --help lists the flags)", 2},
      {"a.llmc b.llmc -p x",
       "more than one artifact given: a.llmc and b.llmc (llmc-run --help lists the flags)", 2},
      {"toy.llmc --tokens 1 --logits l.npy -n 3",
       "--logits excludes -n and --print-tokens (llmc-run --help lists the flags)", 2},
      {"toy.llmc --tokens 1 --print-tokens --print-decoding",
       "--print-decoding excludes --logits and --print-tokens (llmc-run --help lists the flags)", 2},
      {"toy.llmc --tokens 1 --temp automatic",
       "--temp expects a number from 0 to 100, got 'automatic' (llmc-run --help lists the flags)", 2},
      {"toy.llmc --tokens 1 --temp auto",
       "--temp auto: this model does not predict how to draw its tokens; give a number", 1},
      {"toy.llmc --tokens 1 --print-decoding",
       "--print-decoding: this model does not predict how to draw its tokens", 1},
      {"none.llmc -p a", "none.llmc: cannot open: No such file or directory", 1},
      {"toy.llmc --tokens 97", "token 97 is outside the vocabulary of 97", 1},
      {"toy.llmc -p ''", "the prompt is empty and this model has no start token to begin with", 1},
      {"toy.llmc --tokens 1 -c 1000", "context is 1000, expected 1 to 512", 1},
      {"toy.llmc -p 0123456789012345678901234567890123456789 -c 32",
       "the prompt has 40 tokens, the context 32; choose a larger one with -c (this model allows up to 512)",
       1},
      {"toy.llmc --tokens 32 --temp 0 -n 3",
       "session 0: the model's logits are not finite, so there is no next token; check the weights (NaN or "
       "infinity)",
       1},
  };
  for (const auto &c : cases) {
    Outcome o = run(c.arguments);
    EXPECT_EQ(o.code, c.code) << c.arguments;
    EXPECT_EQ(o.err, std::string("llmc-run: error: ") + c.message + "\n");
  }
  EXPECT_EQ(run("--help").code, 0);
  EXPECT_EQ(run("--version").out, "llmc-run 0.1.0\n");
}

TEST_F(RunTool, is_small_and_links_no_compiler) {
  std::string file = readFile(LLMC_RUN);
  EXPECT_LT(file.size(), 5u << 20);
  for (const char *library : {"libLLVM", "libMLIR", "libstdc++.so", "libicu"})
    EXPECT_EQ(file.find(library), std::string::npos) << library;
}

} // namespace
} // namespace llmc::test
