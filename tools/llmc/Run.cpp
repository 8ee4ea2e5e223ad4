// See Run.h. The cache key is the content of every file that compilation reads, and of the compiler itself.
#include "tools/llmc/Run.h"
#include "tools/llmc/Compile.h"
#include "tools/llmc-opt/Register.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#define XXH_INLINE_ALL
#include <unistd.h>
#include <xxhash.h>

namespace llmc {
namespace {

/// Hash of name and content of the directory's files that compilation can read, and of this program.
llvm::Expected<std::string> contentKey(const std::string &directory, const std::string &self) {
  std::vector<std::string> files{self};
  std::error_code error;
  for (llvm::sys::fs::directory_iterator it(directory, error), end; it != end && !error;
       it.increment(error)) {
    llvm::StringRef extension = llvm::sys::path::extension(it->path());
    if (extension == ".json" || extension == ".safetensors" || extension == ".model" || extension == ".jinja")
      files.push_back(it->path());
  }
  if (error)
    return llvm::createStringError(error, "%s: cannot list: %s", directory.c_str(), error.message().c_str());
  std::sort(files.begin() + 1, files.end());
  XXH3_state_t *state = XXH3_createState();
  XXH3_128bits_reset(state);
  for (const std::string &file : files) {
    auto content = llvm::MemoryBuffer::getFile(file, /*IsText=*/false, /*RequiresNullTerminator=*/false);
    if (!content) {
      XXH3_freeState(state);
      return llvm::createStringError(content.getError(), "%s: cannot read: %s", file.c_str(),
                                     content.getError().message().c_str());
    }
    std::string head =
        llvm::sys::path::filename(file).str() + ":" + std::to_string((*content)->getBufferSize()) + ";";
    XXH3_128bits_update(state, head.data(), head.size());
    XXH3_128bits_update(state, (*content)->getBufferStart(), (*content)->getBufferSize());
  }
  XXH128_hash_t hash = XXH3_128bits_digest(state);
  XXH3_freeState(state);
  return llvm::utohexstr(hash.high64, true, 16) + llvm::utohexstr(hash.low64, true, 16);
}

} // namespace

int runCommand(llvm::ArrayRef<char *> args) {
  auto fail = [](const std::string &message) {
    llvm::errs() << "llmc: error: " << message << "\n";
    return 1;
  };
  if (args.empty() || args[0][0] == '-') {
    llvm::errs() << "llmc: run needs a directory: llmc run DIR -p TEXT\n";
    return 2;
  }
  std::string directory = args[0];
  if (!llvm::sys::fs::is_directory(directory))
    return fail(
        directory +
        ": is not a directory; llmc run takes a Hugging Face directory (an artifact is run by llmc-run)");
  std::string self = llvm::sys::fs::getMainExecutable(nullptr, reinterpret_cast<void *>(&runCommand));
  auto key = contentKey(directory, self);
  if (!key)
    return fail(llvm::toString(key.takeError()));
  llvm::SmallString<128> artifact;
  if (!llvm::sys::path::cache_directory(artifact))
    return fail("no cache folder: set HOME or XDG_CACHE_HOME");
  llvm::sys::path::append(artifact, "llmc");
  if (auto error = llvm::sys::fs::create_directories(artifact))
    return fail(artifact.str().str() + ": cannot make: " + error.message());
  llvm::sys::path::append(artifact, *key + ".llmc");
  if (!llvm::sys::fs::exists(artifact)) {
    registerAllPasses();
    CompileCommand command;
    command.input = directory;
    command.output = artifact.str().str();
    llvm::errs() << "compiling " << directory << " (kept as " << artifact << ")\n";
    if (absl::Status status = compile(command); !status.ok())
      return fail(std::string(status.message()));
  }
  llvm::SmallString<128> runner(llvm::sys::path::parent_path(self));
  llvm::sys::path::append(runner, "llmc-run");
  std::string runnerPath = runner.str().str(), artifactPath = artifact.str().str();
  std::vector<char *> argv{runnerPath.data(), artifactPath.data()};
  argv.insert(argv.end(), args.begin() + 1, args.end());
  argv.push_back(nullptr);
  execv(runnerPath.c_str(), argv.data());
  return fail(runnerPath + ": cannot run: " + strerror(errno));
}

} // namespace llmc
