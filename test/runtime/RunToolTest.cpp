// llmc-run as users see it: output, errors, exit codes.
#include "TestModel.h"
#include <algorithm>
#include <cstring>
#include <functional>
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

TEST_F(RunTool, goes_on_from_a_saved_session) {
  const std::string flags = " --print-tokens --temp 0.8 --top-k 7 --seed 5";
  std::string whole = run("toy.llmc --tokens 1,2,3 -n 8" + flags).out;
  std::string begin = run("toy.llmc --tokens 1,2,3 -n 3 --save s" + flags).out;
  Outcome rest = run("toy.llmc --restore s -n 5 --print-tokens"); // the sampling comes with the session
  EXPECT_EQ(rest.code, 0) << rest.err;
  begin.back() = ',';
  EXPECT_EQ(begin + rest.out, whole);

  // A prompt saved once and gone on from in two ways, as tokens and as text.
  ASSERT_EQ(run("toy.llmc -p hey -n 0 --save s").code, 0);
  EXPECT_EQ(run("toy.llmc --restore s -p you -n 3").out, run("toy.llmc -p heyyou -n 3").out.substr(3));
  EXPECT_EQ(run("toy.llmc --restore s --tokens 1,2 -n 4 --print-tokens").out,
            run("toy.llmc --tokens 95,89,1,2 -n 4 --print-tokens").out);
  Outcome full = run("toy.llmc --restore s -c 32 --print-tokens --tokens "
                     "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31");
  EXPECT_EQ(full.err, "llmc-run: error: the prompt has 31 tokens after the 2 of the session, the context 32; "
                      "choose a larger one with "
                      "-c (this model allows up to 512)\n");
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
      {"toy.llmc --tokens 1 --logits l.npy --save s",
       "--logits excludes --save and --restore (llmc-run --help lists the flags)", 2},
      {"toy.llmc --restore none", "none: cannot open: No such file or directory", 1},
      {"toy.llmc --restore toy.llmc",
       "toy.llmc: is not a saved session (the first 8 bytes are not its magic number)", 1},
      {"toy.llmc --tokens 1 -n 1 --temp 0 --save none/s",
       "none/s: cannot create a file in none: No such file or directory", 1},
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

/// The toy model with a chat template (it has no line feeds) and whatever else is changed.
class ChatTool : public RunTool {
protected:
  static constexpr const char *kTemplate = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% if m.role "
                                           "== 'assistant' %}<|end|>{% endif %}{% endfor %}"
                                           "{% if add_generation_prompt %}[assistant]{% endif %}";
  void write(const std::string &name, const std::function<void(ArtifactContents &)> &change) {
    ArtifactContents contents = testModel();
    contents.plan.tokenizer.chatTemplate = kTemplate;
    change(contents);
    ASSERT_TRUE(writeArtifact(folder_.file(name), contents).ok());
  }
  void SetUp() override {
    RunTool::SetUp();
    write("chat.llmc", [](ArtifactContents &) {});
  }
  /// What the model writes after a text, without the line feed.
  std::string continued(const std::string &text, const std::string &flags) {
    Outcome o = run("toy.llmc --temp 0 " + flags + " -p '" + text + "'");
    EXPECT_EQ(o.code, 0) << o.err;
    return o.out.substr(text.size(), o.out.size() - text.size() - 1);
  }
};

TEST_F(ChatTool, answers_one_message) {
  Outcome o = run("chat.llmc --chat -p hey --temp 0 -n 5");
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(o.out, continued("[user]hey[assistant]", "-n 5") + "\n");
  EXPECT_EQ(o.err, "");
  o = run("chat.llmc --chat --system 'Be it.' -p hey --temp 0 -n 5");
  EXPECT_EQ(o.out, continued("[system]Be it.[user]hey[assistant]", "-n 5") + "\n");
}

TEST_F(ChatTool, goes_on_with_only_what_is_new) {
  writeFile(folder_.file("lines"), "one\n\ntwo\r\n/stats\n/reset\ntwo\n/exit\nnever\n");
  Outcome o = run("chat.llmc --chat --temp 0 -n 4 --stats < lines");
  EXPECT_EQ(o.code, 0) << o.err;
  std::string first = continued("[user]one[assistant]", "-n 4");
  std::string second = continued("[user]one[assistant]" + first + "<|end|>[user]two[assistant]", "-n 4");
  EXPECT_EQ(o.out, first + "\n" + second + "\n" + continued("[user]two[assistant]", "-n 4") + "\n");
  // The prompt of the first turn; the end token, which was not drawn, and the second message; after /reset
  // all of it.
  std::vector<std::string> ingested;
  for (size_t at = 0; (at = o.err.find("ingest: ", at)) != std::string::npos; at += 8)
    ingested.push_back(o.err.substr(at + 8, o.err.find(' ', at + 8) - at - 8));
  EXPECT_EQ(ingested, (std::vector<std::string>{"20", "21", "21", "20"}));
  EXPECT_NE(o.err.find("context: 49 of 512 tokens, 4 messages\n"), std::string::npos) << o.err;
}

TEST_F(ChatTool, begins_anew_when_the_template_changes_the_past) {
  write("forgets.llmc", [](ArtifactContents &c) {
    c.plan.tokenizer.chatTemplate = "[{{ messages|length }}]{{ messages[-1].content }}:";
  });
  writeFile(folder_.file("lines"), "one\ntwo\n");
  Outcome o = run("forgets.llmc --chat --temp 0 -n 4 < lines");
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(o.out, continued("[1]one:", "-n 4") + "\n" + continued("[3]two:", "-n 4") + "\n");
}

TEST_F(ChatTool, ends_at_the_models_end_tokens_and_at_the_templates) {
  // A message that the toy answers with a Q among other things; Q (49) is made an end token in different
  // ways.
  std::string message, shown;
  for (int i = 0; message.empty() && i < 200; ++i) {
    std::string tried = "m" + std::to_string(i), text = "[user]" + tried + "[assistant]";
    Outcome o = run("toy.llmc --temp 0 -n 12 -p '" + text + "'");
    size_t at = o.out.find('Q', text.size());
    if (o.code == 0 && at != std::string::npos && at > text.size() + 2)
      message = tried, shown = o.out.substr(text.size(), 12);
  }
  ASSERT_FALSE(message.empty());
  const std::string expected = shown.substr(0, shown.find('Q')) + "\n";
  auto makeSpecial = [](ArtifactContents &c) {
    std::string json = testTokenizerJson();
    const std::string end = R"("id": 96, "content": "<|end|>")";
    json.replace(json.find(end), end.size(), R"("id": 49, "content": "Q")");
    c.blobs[c.plan.tokenizer.blob] = blobOf(json);
    c.plan.metadata.eos.clear();
  };
  write("own.llmc", [](ArtifactContents &c) { c.plan.metadata.eos = {49}; });
  write("template.llmc", [&](ArtifactContents &c) {
    makeSpecial(c);
    std::string &text = c.plan.tokenizer.chatTemplate;
    text.replace(text.find("<|end|>"), 7, "Q");
  });
  write("endless.llmc", [&](ArtifactContents &c) {
    makeSpecial(c);
    c.plan.tokenizer.chatTemplate =
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[assistant]";
  });
  for (const char *name : {"own.llmc", "template.llmc"})
    EXPECT_EQ(run(std::string(name) + " --chat --temp 0 -n 12 -p " + message).out, expected) << name;
  // Nothing ends this one, and special tokens are not shown.
  shown.erase(std::remove(shown.begin(), shown.end(), 'Q'), shown.end());
  EXPECT_EQ(run("endless.llmc --chat --temp 0 -n 12 -p " + message).out, shown + "\n");
}

TEST_F(ChatTool, says_when_the_context_is_full) {
  Outcome o = run("chat.llmc --chat --temp 0 --ignore-eos -c 32 -p hey");
  EXPECT_EQ(o.code, 1);
  EXPECT_EQ(o.err, "llmc-run: error: the context of 32 tokens is full, the answer ends here; /reset forgets "
                   "the conversation, -c "
                   "makes the context larger (this model allows up to 512)\n");
  writeFile(folder_.file("lines"), "one\nabcdefghijklmnopqrstuvwxyz\n/reset\none\n");
  o = run("chat.llmc --chat --temp 0 -c 32 -n 2 < lines");
  EXPECT_EQ(o.code, 1);
  std::string answer = continued("[user]one[assistant]", "-n 2");
  EXPECT_EQ(o.out, answer + "\n" + answer + "\n");
  EXPECT_EQ(o.err, "llmc-run: error: the conversation has 66 tokens, the context 32; /reset forgets it, -c "
                   "makes the context "
                   "larger (this model allows up to 512)\n");
}

TEST_F(ChatTool, refuses_clearly) {
  write("none.llmc", [](ArtifactContents &c) { c.plan.tokenizer.chatTemplate.clear(); });
  write("include.llmc", [](ArtifactContents &c) { c.plan.tokenizer.chatTemplate = "a\n {% include 'b' %}"; });
  write("strict.llmc", [](ArtifactContents &c) {
    c.plan.tokenizer.chatTemplate =
        "{% if messages|length > 1 %}{{ raise_exception('too much') }}{% endif %}{{ messages[0].content }}";
  });
  write("words.llmc", [](ArtifactContents &c) {
    c.plan.tokenizer = {};
    c.plan.tokenizer.chatTemplate = kTemplate;
  });
  const std::string usage = " (llmc-run --help lists the flags)";
  struct {
    std::string arguments, message;
    int code;
  } cases[] = {
      {"none.llmc --chat -p a",
       "none.llmc: has no chat template (the checkpoint's tokenizer_config.json and chat_template.jinja hold "
       "none); give the "
       "whole text with -p instead",
       1},
      {"include.llmc --chat -p a",
       "include.llmc: chat template: line 2, column 5: tag 'include' is not supported", 1},
      {"strict.llmc --chat --system s -p a",
       "strict.llmc: chat template: line 1, column 32: the template refuses this conversation: too much", 1},
      {"words.llmc --chat -p a", "words.llmc: there is no tokenizer; give tokens instead of text", 1},
      {"words.llmc -p a", "words.llmc: there is no tokenizer; give tokens instead of text", 1},
      {"chat.llmc --chat --chat-vars '[1]' -p a", "template variables: expects a JSON object", 1},
      {"chat.llmc --chat --chat-vars '{' -p a", "template variables: is not valid JSON at byte 2", 1},
      {"chat.llmc --chat -p \"$(printf '\\377')\"", "a message is not UTF-8 at byte 0", 1},
      {"chat.llmc --chat --tokens 1", "--chat excludes --tokens, --logits, --print-tokens and --print-decoding" + usage, 2},
      {"chat.llmc --system a -p b", "--system and --chat-vars need --chat" + usage, 2},
  };
  for (const auto &c : cases) {
    Outcome o = run(c.arguments);
    EXPECT_EQ(o.code, c.code) << c.arguments;
    EXPECT_EQ(o.err, "llmc-run: error: " + c.message + "\n");
    EXPECT_EQ(o.out, "");
  }
  EXPECT_EQ(run("words.llmc --tokens 1,2 -n 2 --temp 0").code, 0) << "tokens need no tokenizer";
}

TEST_F(ChatTool, gives_templates_their_variables) {
  write("names.llmc", [](ArtifactContents &c) {
    c.plan.metadata.entries.push_back({"special_tokens", R"({"bos_token": "B", "eos_token": "<|end|>"})"});
    c.plan.tokenizer.chatTemplate =
        "{{ bos_token }}{{ tools is none }}{{ mode|default('x') }}{{ messages[0].content }}";
  });
  EXPECT_EQ(run("names.llmc --chat --temp 0 -n 5 -p a").out, continued("BTruexa", "-n 5") + "\n");
  EXPECT_EQ(
      run("names.llmc --chat --temp 0 -n 5 -p a --chat-vars '{\"mode\": \"fast\", \"bos_token\": \"C\"}'")
          .out,
      continued("CTruefasta", "-n 5") + "\n");
}

TEST_F(ChatTool, samples_as_generation_config_says_unless_told_otherwise) {
  write("sampling.llmc", [](ArtifactContents &c) {
    c.plan.metadata.entries.push_back(
        {runtime::kGenerationConfigKey,
         R"({"do_sample": true, "temperature": 0.5, "top_k": 7, "top_p": 0.75, "min_p": 0.25, "eos_token_id": [96]})"});
  });
  write("greedy.llmc", [](ArtifactContents &c) {
    c.plan.metadata.entries.push_back(
        {runtime::kGenerationConfigKey, R"({"do_sample": false, "temperature": 0.5})"});
  });
  auto sampling = [&](const std::string &arguments) {
    std::string err = run(arguments + " --tokens 1 -n 1 --stats --seed 3").err;
    size_t at = err.find("sampling: ");
    return at == std::string::npos ? err : err.substr(at);
  };
  EXPECT_EQ(sampling("sampling.llmc"),
            "sampling: temperature 0.5, top_k 7, top_p 0.75, min_p 0.25, seed 3\n");
  EXPECT_EQ(sampling("sampling.llmc --temp 0 --top-k 2 --top-p 1 --min-p 0"),
            "sampling: temperature 0, top_k 2, top_p 1, min_p 0, seed 3\n");
  EXPECT_EQ(sampling("greedy.llmc"), "sampling: temperature 0, top_k 0, top_p 1, min_p 0, seed 3\n");
  EXPECT_EQ(sampling("toy.llmc"), "sampling: temperature 0, top_k 0, top_p 1, min_p 0, seed 3\n");
}

TEST_F(RunTool, is_small_and_links_no_compiler) {
  std::string file = readFile(LLMC_RUN);
  EXPECT_LT(file.size(), 5u << 20);
  for (const char *library : {"libLLVM", "libMLIR", "libstdc++.so", "libicu"})
    EXPECT_EQ(file.find(library), std::string::npos) << library;
}

} // namespace
} // namespace llmc::test
