// Sessions that are forked, saved, restored and cancelled, on the toy model: what goes on, and what is
// refused.
#include "SessionFixture.h"
#include "runtime/Artifact.h"
#include "runtime/SessionFile.h"
#include "runtime/cpu/CpuLevel.h"
#include <cmath>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

namespace llmc::test {
using namespace llmc::runtime;
namespace {

class SavedSessions : public Sessions {
protected:
  /// A saved session of 70 tokens, 64 of them in the states (the prompt's whole piece), and its bytes.
  std::string saved(llmc_model *model) const {
    llmc_session *s = session(model);
    ingest(s, prompt(70, 4));
    EXPECT_EQ(llmc_session_save(s, folder_.file("s").c_str()), LLMC_OK) << llmc_last_error();
    llmc_session_free(s);
    return readFile(folder_.file("s"));
  }
  /// Why a file with these bytes is refused; "" and a working session when it is not.
  std::string refusal(llmc_model *model, const std::string &bytes, llmc_status expected) const {
    writeFile(folder_.file("bad"), bytes);
    llmc_session *s = nullptr;
    llmc_status status = llmc_session_restore(model, folder_.file("bad").c_str(), &s);
    EXPECT_EQ(status, expected);
    EXPECT_EQ(s == nullptr, status != LLMC_OK);
    llmc_session_free(s);
    std::string text = status == LLMC_OK ? "" : llmc_last_error(), prefix = folder_.file("bad") + ": ";
    EXPECT_TRUE(text.empty() || text.compare(0, prefix.size(), prefix) == 0) << text;
    return text.substr(std::min(prefix.size(), text.size()));
  }
  /// The bytes with a changed header and a checksum that fits.
  static std::string resigned(std::string bytes, void (*change)(SessionHeader &)) {
    SessionHeader header;
    memcpy(&header, bytes.data(), sizeof header);
    change(header);
    header.headChecksum = 0;
    memcpy(&bytes[0], &header, sizeof header);
    uint64_t head = std::min<uint64_t>(sizeof header + header.levelBytes + header.tokens * 4, bytes.size());
    header.headChecksum = checksumOf(bytes.data(), head);
    memcpy(&bytes[0], &header, sizeof header);
    return bytes;
  }
};

TEST_F(SavedSessions, forks_go_on_apart) {
  llmc_model *model = open(3, 2);
  for (int64_t length : {1, 64, 65, 200, 511}) {
    llmc_session *first = session(model);
    std::vector<int32_t> a = prompt(length, 2);
    ingest(first, a);
    if (length == 200)
      expectNext(first, a);
    llmc_session *second = forkOf(first), *third = forkOf(second);
    std::vector<int32_t> b = a, c = a;
    EXPECT_EQ(tokensOf(third), a);
    if (length < 500) {
      ingest(second, {7, 8});
      b.insert(b.end(), {7, 8});
      for (int i = 0; i < 3; ++i) {
        expectNext(first, a, "the first");
        expectNext(second, b, "its fork");
      }
    }
    llmc_session_free(first);
    llmc_session_free(second);
    expectNext(third, c, "the fork's fork");
    llmc_session_free(third);
  }
  llmc_session *s = session(model), *t = forkOf(s), *u = forkOf(s), *v = nullptr;
  EXPECT_EQ(llmc_session_tokens(u), 0);
  EXPECT_EQ(llmc_session_fork(s, &v), LLMC_OUT_OF_MEMORY);
  EXPECT_STREQ(llmc_last_error(),
               "all 3 session slots are in use; free a session or open the model with more slots");
  for (llmc_session *each : {s, t, u})
    llmc_session_free(each);
  llmc_model_close(model);
}

TEST_F(SavedSessions, restored_sessions_go_on_in_another_process_and_context) {
  llmc_model *model = open(2);
  for (int64_t length : {0, 1, 63, 64, 65, 300}) {
    llmc_session *s = session(model);
    std::vector<int32_t> tokens = length ? prompt(length, 6) : std::vector<int32_t>{};
    ingest(s, tokens);
    if (length > 1)
      expectNext(s, tokens);
    llmc_sampling sampling = {0.5f, 0.25f, 0.125f, 3, 99}, back = {};
    int32_t token;
    if (length == 300) {
      ASSERT_EQ(llmc_advance(s, &sampling, &token), LLMC_OK);
      tokens.push_back(token);
    }
    ASSERT_EQ(llmc_session_save(s, folder_.file("s").c_str()), LLMC_OK) << llmc_last_error();
    if (length)
      expectNext(s, tokens); // saving left it as it was
    llmc_model *other = open(1, 1, 320);
    llmc_session *restored = nullptr;
    ASSERT_EQ(llmc_session_restore(other, folder_.file("s").c_str(), &restored), LLMC_OK)
        << llmc_last_error();
    llmc_session_sampling(restored, &back);
    if (length == 300) {
      EXPECT_EQ(memcmp(&sampling, &back, sizeof back), 0);
    }
    if (length) {
      tokens.pop_back();
      EXPECT_EQ(tokensOf(restored), tokens);
      for (int i = 0; i < 3; ++i)
        expectNext(restored, tokens, std::to_string(length));
    }
    llmc_session_free(restored);
    llmc_model_close(other);
    llmc_session_free(s);
  }
  llmc_model_close(model);
}

TEST_F(SavedSessions, equal_sessions_are_equal_files) {
  llmc_model *model = open(2, 1), *wide = open(2, 2, 128);
  std::string bytes = saved(model);
  EXPECT_EQ(saved(wide), bytes) << "the context shows";
  // 144 header, the level, 70 tokens; history i32 and wide f32 x 513 for 64 positions, total f32.
  size_t level = strlen(llmc_model_text(model, "code_level"));
  EXPECT_EQ(bytes.size(), 144 + level + 70 * 4 + 64 * (4 + 513 * 4) + 4);
  llmc_model_close(model);
  llmc_model_close(wide);
}

TEST_F(SavedSessions, refuses_what_does_not_belong) {
  llmc_model *model = open(1);
  std::string bytes = saved(model), level = llmc_model_text(model, "code_level");
  EXPECT_EQ(refusal(model, std::string(200, 'x'), LLMC_INVALID_ARGUMENT),
            "is not a saved session (the first 8 bytes are not its magic number)");
  EXPECT_EQ(refusal(model, bytes.substr(0, 50), LLMC_BAD_ARTIFACT),
            "has 50 bytes, a saved session's header alone has 144; save the session again");
  EXPECT_EQ(refusal(model, resigned(bytes, [](SessionHeader &h) { h.version = 7; }), LLMC_UNSUPPORTED),
            "has session format version 7, this runtime reads version 2; use the runtime that saved it");
  std::string size = std::to_string(bytes.size());
  EXPECT_EQ(refusal(model, bytes.substr(0, bytes.size() - 1), LLMC_BAD_ARTIFACT),
            "is truncated: its header says " + size + " bytes, the file has " +
                std::to_string(bytes.size() - 1) + "; save the session again");
  EXPECT_EQ(refusal(model, bytes + "xy", LLMC_BAD_ARTIFACT),
            "has 2 bytes after its end at " + size + "; save the session again");
  EXPECT_EQ(refusal(model, resigned(bytes, [](SessionHeader &h) { h.tokens += 1; }), LLMC_BAD_ARTIFACT),
            "its parts do not add up to its " + size + " bytes; save the session again");
  std::string flipped = bytes;
  flipped[148] ^= 1;
  EXPECT_EQ(refusal(model, flipped, LLMC_BAD_ARTIFACT).substr(0, 26), "checksum of its head is 0x");
  flipped = bytes;
  flipped.back() ^= 1;
  EXPECT_EQ(refusal(model, flipped, LLMC_BAD_ARTIFACT).substr(0, 28), "checksum of its states is 0x");
  std::string otherLevel = bytes;
  otherLevel[144] = 'y';
  otherLevel = resigned(otherLevel, [](SessionHeader &) {});
  EXPECT_EQ(refusal(model, otherLevel, LLMC_UNSUPPORTED),
            "was saved where y" + level.substr(1) + " code runs, here it is " + level +
                ", which rounds differently; ingest its tokens anew");
  EXPECT_EQ(refusal(model, resigned(bytes, [](SessionHeader &h) { h.past = 71; }), LLMC_BAD_ARTIFACT),
            "says that 71 of its 70 tokens are in the states; save the session again");
  EXPECT_EQ(refusal(model, resigned(bytes, [](SessionHeader &h) { h.past = 63; }), LLMC_BAD_ARTIFACT),
            "has states of 131588 bytes, expected 129532; save the session again");
  EXPECT_EQ(refusal(model, resigned(bytes, [](SessionHeader &h) { h.past = ~0ull; }), LLMC_BAD_ARTIFACT),
            "says that 18446744073709551615 of its 70 tokens are in the states; save the session again");
  EXPECT_EQ(refusal(model, resigned(bytes, [](SessionHeader &h) { h.topP = 0; }), LLMC_BAD_ARTIFACT),
            "has sampling parameters out of range; save the session again");
  EXPECT_EQ(refusal(model, resigned(bytes, [](SessionHeader &h) { h.start = 71; }), LLMC_BAD_ARTIFACT),
            "says that its generation began at token 71 of 70; save the session again");
  EXPECT_EQ(refusal(model, resigned(bytes, [](SessionHeader &h) { h.end = ~0ull; }), LLMC_CONTEXT_FULL),
            "is to have 18446744073709551615 tokens, the context has room for 512; open the model with a larger one");
  EXPECT_EQ(refusal(model, resigned(bytes, [](SessionHeader &h) { h.settings[7] = 1; }), LLMC_BAD_ARTIFACT),
            "has a setting that the artifact does not know; save the session again");
  std::string token = bytes;
  token[144 + level.size()] = 97;
  EXPECT_EQ(refusal(model, resigned(token, [](SessionHeader &) {}), LLMC_BAD_ARTIFACT),
            "token 0 is 97, outside the vocabulary of 97; save the session again");
  // After all this the slot is free, clean and usable.
  EXPECT_EQ(refusal(model, bytes, LLMC_OK), "");
  llmc_session *s = session(model);
  std::vector<int32_t> tokens = prompt(3, 1);
  ingest(s, tokens);
  expectNext(s, tokens);
  llmc_session_free(s);
  llmc_model_close(model);
}

TEST_F(SavedSessions, settings_come_back_within_their_limits) {
  ArtifactContents contents = testModel();
  contents.plan.metadata.settings = {{"steps", 1, 8, 1, 9, true, {}}, {"eps", 4, 0.5, 0, 1, false, {}}, {"kind", 2, 0, 0, 1, true, {"a", "b"}}};
  std::string path = folder_.file("set.llmc");
  ASSERT_TRUE(writeArtifact(path, contents).ok());
  llmc_model *model = openFile(path);
  llmc_session *s = session(model);
  ASSERT_EQ(llmc_set(s, "steps", "3"), LLMC_OK);
  ASSERT_EQ(llmc_set(s, "kind", "b"), LLMC_OK);
  ASSERT_EQ(llmc_session_save(s, folder_.file("s").c_str()), LLMC_OK) << llmc_last_error();
  llmc_session_free(s);
  std::string bytes = readFile(folder_.file("s"));
  SessionHeader header;
  memcpy(&header, bytes.data(), sizeof header);
  const float expected[kSettingColumns] = {0, 3, 1, 0, 0.5, 0, 0, 0};
  EXPECT_EQ(memcmp(header.settings, expected, sizeof expected), 0);
  ASSERT_EQ(llmc_session_restore(model, folder_.file("s").c_str(), &s), LLMC_OK) << llmc_last_error();
  ASSERT_EQ(llmc_session_save(s, folder_.file("t").c_str()), LLMC_OK) << llmc_last_error();
  llmc_session_free(s);
  EXPECT_EQ(readFile(folder_.file("t")), bytes);
  for (auto change : {+[](SessionHeader &h) { h.settings[1] = 10; }, +[](SessionHeader &h) { h.settings[1] = 2.5f; },
                      +[](SessionHeader &h) { h.settings[1] = NAN; }})
    EXPECT_EQ(refusal(model, resigned(bytes, change), LLMC_BAD_ARTIFACT),
              "has the setting 'steps' out of its range; save the session again");
  EXPECT_EQ(refusal(model, resigned(bytes, [](SessionHeader &h) { h.settings[2] = 2; }), LLMC_BAD_ARTIFACT),
            "has the setting 'kind' out of its range; save the session again");
  EXPECT_EQ(refusal(model, bytes, LLMC_OK), "");
  llmc_model_close(model);
}

TEST_F(SavedSessions, refuses_other_artifacts_contexts_and_files) {
  llmc_model *model = open(1);
  std::string bytes = saved(model);
  ArtifactContents contents = testModel();
  contents.plan.metadata.name = "other";
  std::string otherPath = folder_.file("other.llmc");
  ASSERT_TRUE(writeArtifact(otherPath, contents).ok());
  llmc_model *other = openFile(otherPath), *small = open(1, 1, 32);
  auto checksum = [](const std::string &path) { return printChecksum((*Artifact::open(path))->checksum()); };
  EXPECT_EQ(refusal(other, bytes, LLMC_UNSUPPORTED),
            "is a session of another artifact than " + otherPath + " (plan checksum " + checksum(path_) +
                ", not " + checksum(otherPath) + "); restore it with the one that saved it");
  EXPECT_EQ(refusal(small, bytes, LLMC_CONTEXT_FULL),
            "holds 70 tokens, the context has room for 32; open the model with a larger one (up to 512)");
  llmc_session *s = nullptr;
  EXPECT_EQ(llmc_session_restore(model, folder_.file("none").c_str(), &s), LLMC_NOT_FOUND);
  EXPECT_EQ(llmc_last_error(), folder_.file("none") + ": cannot open: No such file or directory");
  EXPECT_EQ(llmc_session_restore(model, folder_.file("").c_str(), &s), LLMC_INVALID_ARGUMENT);
  EXPECT_EQ(llmc_last_error(), folder_.file("") + ": is not a regular file");
  for (llmc_model *each : {model, other, small})
    llmc_model_close(each);
}

TEST_F(SavedSessions, what_cannot_be_written_leaves_nothing) {
  llmc_model *model = open(1);
  llmc_session *s = session(model);
  ingest(s, {1, 2, 3});
  EXPECT_EQ(llmc_session_save(s, folder_.file("none/s").c_str()), LLMC_IO);
  EXPECT_EQ(llmc_last_error(), folder_.file("none/s") + ": cannot create a file in " + folder_.file("none") +
                                   ": No such file or directory");
  ASSERT_EQ(mkfifo(folder_.file("pipe").c_str(), 0600), 0);
  EXPECT_EQ(llmc_session_save(s, folder_.file("pipe").c_str()), LLMC_INVALID_ARGUMENT);
  EXPECT_EQ(llmc_last_error(), folder_.file("pipe") + ": is not a regular file; give the name of a file to write");
  EXPECT_EQ(llmc_session_save(s, folder_.file("s").c_str()), LLMC_OK);
  EXPECT_EQ(llmc_session_save(s, folder_.file("s").c_str()), LLMC_OK) << "over an old one";
  size_t files = 0;
  DIR *dir = opendir(folder_.file("").c_str());
  while (struct dirent *entry = readdir(dir))
    files += entry->d_name[0] != '.';
  closedir(dir);
  EXPECT_EQ(files, 3u); // the artifact, the pipe and the session
  llmc_session_free(s);
  llmc_model_close(model);
}

/// Worth its time under sanitizers: every length, and every bit of a small file.
TEST_F(SavedSessions, every_length_and_bit_counts) {
  llmc_model *model = open(1, 1, 32);
  llmc_session *s = session(model);
  ingest(s, {5, 6});
  int32_t token;
  ASSERT_EQ(llmc_advance(s, &kGreedy, &token), LLMC_OK);
  ASSERT_EQ(llmc_session_save(s, folder_.file("s").c_str()), LLMC_OK);
  llmc_session_free(s);
  // Changed in place, which is much faster than writing anew.
  std::string bytes = readFile(folder_.file("s"));
  int file = ::open(folder_.file("s").c_str(), O_RDWR);
  auto restore = [&] { return llmc_session_restore(model, folder_.file("s").c_str(), &s); };
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    char byte = bytes[bit / 8], bad = static_cast<char>(byte ^ (1 << bit % 8));
    ASSERT_EQ(pwrite(file, &bad, 1, static_cast<off_t>(bit / 8)), 1);
    ASSERT_NE(restore(), LLMC_OK) << "bit " << bit;
    ASSERT_EQ(pwrite(file, &byte, 1, static_cast<off_t>(bit / 8)), 1);
  }
  ASSERT_EQ(restore(), LLMC_OK) << llmc_last_error();
  llmc_session_free(s);
  for (size_t length = bytes.size(); length-- > 0;) {
    ASSERT_EQ(ftruncate(file, static_cast<off_t>(length)), 0);
    ASSERT_EQ(restore(), LLMC_BAD_ARTIFACT) << length;
  }
  close(file);
  llmc_model_close(model);
}

TEST_F(SavedSessions, cancelled_sessions_give_their_slot_back) {
  llmc_model *model = open(2);
  llmc_session *first = session(model), *second = session(model), *third = nullptr, *none = nullptr;
  std::vector<int32_t> a = prompt(300, 1), b = prompt(20, 2), c = prompt(9, 3);
  ingest(first, a);
  ingest(second, b);
  llmc_session_cancel(first);
  llmc_session_cancel(first);
  llmc_session_cancel(nullptr);
  third = session(model); // in the slot of the first, which must be clear
  ingest(third, c);
  llmc_session *sessions[3] = {second, first, third};
  llmc_sampling sampling[2] = {kGreedy, kGreedy};
  int32_t tokens[2], more = 1;
  ASSERT_EQ(llmc_advance_batch(sessions, sampling, 2, tokens), LLMC_CANCELLED);
  EXPECT_STREQ(llmc_last_error(), "session 1 was cancelled");
  EXPECT_EQ(tokens[0], testNext(b));
  EXPECT_EQ(tokens[1], -1);
  b.push_back(tokens[0]);
  ASSERT_EQ(llmc_advance_batch(sessions + 1, sampling, 2, tokens), LLMC_CANCELLED);
  EXPECT_STREQ(llmc_last_error(), "session 0 was cancelled");
  EXPECT_EQ(tokens[1], testNext(c));
  c.push_back(tokens[1]);
  EXPECT_EQ(llmc_ingest(first, &more, 1), LLMC_CANCELLED);
  EXPECT_EQ(llmc_flush(first), LLMC_CANCELLED);
  EXPECT_EQ(llmc_session_reset(first), LLMC_CANCELLED);
  EXPECT_EQ(llmc_session_save(first, folder_.file("s").c_str()), LLMC_CANCELLED);
  EXPECT_EQ(llmc_session_fork(first, &none), LLMC_CANCELLED);
  std::vector<float> logits(97);
  EXPECT_EQ(llmc_score(first, &more, 1, logits.data()), LLMC_CANCELLED);
  llmc_session_free(first); // not the third's slot
  EXPECT_EQ(llmc_session_create(model, &none), LLMC_OUT_OF_MEMORY);
  expectNext(second, b);
  expectNext(third, c);
  llmc_session_free(second);
  llmc_session_free(third);
  llmc_model_close(model);
}

TEST_F(SavedSessions, tokens_can_be_read_back) {
  llmc_model *model = open(1);
  llmc_session *s = session(model);
  std::vector<int32_t> tokens = prompt(130, 1);
  ingest(s, tokens);
  expectNext(s, tokens);
  EXPECT_EQ(tokensOf(s), tokens);
  int32_t two[2] = {-1, -1};
  EXPECT_EQ(llmc_session_read_tokens(s, 129, two, 2), 2);
  EXPECT_EQ(two[0], tokens[129]);
  EXPECT_EQ(two[1], tokens[130]);
  EXPECT_EQ(llmc_session_read_tokens(s, 130, two, 2), 1);
  EXPECT_EQ(llmc_session_read_tokens(s, 500, two, 2), 0);
  EXPECT_EQ(llmc_session_read_tokens(s, -1, two, 2), -1);
  EXPECT_EQ(llmc_session_read_tokens(s, 0, nullptr, 2), -1);
  EXPECT_EQ(llmc_session_read_tokens(nullptr, 0, two, 2), -1);
  llmc_session_free(s);
  llmc_model_close(model);
}

TEST_F(SavedSessions, an_artifact_for_another_cpu_says_so) {
  CpuAbility cpu = detectCpu();
  std::string mine = "x86-64-v" + std::to_string(cpu.level);
  for (const std::string &feature : cpu.features)
    mine += "+" + feature;
  struct {
    const char *level;
    std::vector<std::string> features;
    const char *present;
  } cases[] = {{"x86-64-v4", {"avx4096"}, "cpu x86-64-v4+avx4096"}, {"x86-64-v9", {}, "cpu x86-64-v9"}};
  for (const auto &c : cases) {
    ArtifactContents contents = testModel();
    contents.plan.codeObjects = {{"cpu", c.level, c.features, 0, {}}};
    ASSERT_TRUE(writeArtifact(path_, contents).ok());
    llmc_model *model = nullptr;
    EXPECT_EQ(llmc_model_open(path_.c_str(), nullptr, &model), LLMC_UNSUPPORTED);
    EXPECT_EQ(llmc_last_error(), path_ + ": has no code for this CPU: the artifact holds " + c.present +
                                     ", this CPU is " + mine +
                                     "; compile the model again with --cpu for this machine");
    EXPECT_EQ(model, nullptr);
  }
}

} // namespace
} // namespace llmc::test
