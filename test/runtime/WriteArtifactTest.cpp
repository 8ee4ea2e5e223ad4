// What stays behind when writing an artifact fails or is killed: always the file that was there before, or a
// whole new one, and never anything else under that name.
#include "TestModel.h"
#include "runtime/TemporaryFile.h"
#include "runtime/Artifact.h"
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <random>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

namespace llmc::test {
using runtime::checkWritable;
namespace {

std::vector<std::string> filesIn(const TemporaryFolder &folder) {
  std::vector<std::string> names;
  for (const auto &entry : std::filesystem::directory_iterator(folder.file("")))
    names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

/// The toy model with a blob of 4 MiB that comes in pieces, so that writing takes a while.
ArtifactContents slowModel() {
  ArtifactContents contents = testModel();
  contents.blobs.push_back({4u << 20, [](BlobSink &sink) {
                              std::string piece(64 << 10, 'x');
                              for (int i = 0; i < 64; ++i) {
                                usleep(100);
                                if (absl::Status s = sink.append(piece.data(), piece.size()); !s.ok())
                                  return s;
                              }
                              return absl::OkStatus();
                            }});
  return contents;
}

/// Lowers the size that files of this process may have while it lives.
class FileLimit {
public:
  explicit FileLimit(uint64_t bytes) : handler(signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before);
    struct rlimit limit = before;
    limit.rlim_cur = bytes;
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  }
  ~FileLimit() {
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, handler);
  }

private:
  struct rlimit before;
  sighandler_t handler;
};

TEST(WriteArtifact, keeps_the_old_file_when_there_is_no_room_for_the_new) {
  TemporaryFolder folder;
  std::string path = folder.file("m.llmc");
  ASSERT_TRUE(writeArtifact(path, testModel()).ok());
  const std::string old = readFile(path);
  ArtifactContents changed = testModel();
  changed.plan.metadata.name = "changed";
  for (uint64_t limit = 0; limit < old.size(); limit += 1 + old.size() / 50) {
    absl::Status status;
    {
      FileLimit small(limit);
      status = writeArtifact(path, changed);
    }
    EXPECT_EQ(
        std::string(status.message()),
        path + ": file too large: the file needs " + std::to_string(old.size()) +
            " bytes, more than the file system or this process (ulimit -f) may have; raise the limit or "
            "write elsewhere with -o")
        << limit;
    EXPECT_EQ(readFile(path), old);
    EXPECT_EQ(filesIn(folder), std::vector<std::string>{"m.llmc"});
  }
}

TEST(WriteArtifact, is_all_or_nothing_when_killed) {
  TemporaryFolder folder;
  std::string path = folder.file("m.llmc"), whole = folder.file("whole.llmc");
  ASSERT_TRUE(writeArtifact(path, testModel()).ok());
  const std::string old = readFile(path);
  struct timespec begin, end;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  ASSERT_TRUE(writeArtifact(whole, slowModel()).ok());
  clock_gettime(CLOCK_MONOTONIC, &end);
  const std::string made = readFile(whole);
  const uint64_t microseconds = (end.tv_sec - begin.tv_sec) * 1000000 + (end.tv_nsec - begin.tv_nsec) / 1000;
  std::filesystem::remove(whole);

  std::mt19937 random(4);
  int kept = 0, leftovers = 0;
  for (int round = 0; round < 60; ++round) {
    pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0)
      _exit(writeArtifact(path, slowModel()).ok() ? 0 : 1);
    usleep(static_cast<useconds_t>(random() % (microseconds * 5 / 4)));
    kill(child, SIGKILL);
    int status;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    std::string now = readFile(path);
    EXPECT_TRUE(now == old || now == made) << "round " << round << ": " << now.size() << " bytes";
    kept += now == old;
    for (const std::string &name : filesIn(folder)) {
      EXPECT_TRUE(name == "m.llmc" || name.rfind("m.llmc.tmp-", 0) == 0) << name;
      leftovers += name != "m.llmc";
    }
    if (now != old)
      writeFile(path, old);
  }
  EXPECT_GT(kept, 0) << "no round was killed in time";
  EXPECT_GT(leftovers, 0) << "no round was killed while it wrote";
  ASSERT_TRUE(writeArtifact(path, slowModel()).ok());
  EXPECT_EQ(readFile(path), made);
  EXPECT_EQ(filesIn(folder), std::vector<std::string>{"m.llmc"}) << "the next writer removes what was left";
}

TEST(WriteArtifact, leaves_the_temporary_of_a_running_writer) {
  TemporaryFolder folder;
  std::string other = folder.file("m.llmc.tmp-" + std::to_string(getpid()) + "-999");
  writeFile(other, "of a writer that runs");
  writeFile(folder.file("m.llmc.tmp-notes"), "of somebody else");
  ASSERT_TRUE(writeArtifact(folder.file("m.llmc"), testModel()).ok());
  EXPECT_EQ(filesIn(folder).size(), 3u);
}

TEST(WriteArtifact, refuses_names_that_cannot_become_a_file) {
  TemporaryFolder folder;
  auto expect = [](const std::string &path, const std::string &message) {
    EXPECT_EQ(std::string(checkWritable(path).message()), path + ": " + message);
    EXPECT_EQ(std::string(writeArtifact(path, testModel()).message()), path + ": " + message);
  };
  mkdir(folder.file("d").c_str(), 0755);
  expect(folder.file("d"), "is a directory; give the name of a file to write");
  expect(folder.file("none/"), "is the name of a directory; give the name of a file to write");
  expect("/dev/null", "is not a regular file; give the name of a file to write");
  expect(folder.file("none/m"),
         "cannot create a file in " + folder.file("none") + ": No such file or directory");
  writeFile(folder.file("f"), "");
  expect(folder.file("f/m"), "cannot create a file in " + folder.file("f") + ": Not a directory");
  mkdir(folder.file("closed").c_str(), 0555);
  if (geteuid() != 0)
    expect(folder.file("closed/m"),
           "cannot create a file in " + folder.file("closed") + ": Permission denied");
  EXPECT_TRUE(checkWritable(folder.file("f")).ok());
  EXPECT_EQ(filesIn(folder), (std::vector<std::string>{"closed", "d", "f"}));
}

} // namespace
} // namespace llmc::test
