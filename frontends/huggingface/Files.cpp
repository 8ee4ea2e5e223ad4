// Mapping and reading files from outside (POSIX).
#include "frontends/huggingface/Files.h"

#include "absl/strings/str_cat.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace llmc {
namespace {

absl::Status systemError(const std::string &path, const char *action) {
  std::string message = absl::StrCat(path, ": cannot ", action, ": ", std::strerror(errno));
  return errno == ENOENT ? absl::NotFoundError(message) : absl::FailedPreconditionError(message);
}

/// An open regular file, closed at the end of the scope.
struct OpenFile {
  int descriptor = -1;
  size_t size = 0;
  OpenFile() = default;
  OpenFile(const OpenFile &) = delete;
  OpenFile &operator=(const OpenFile &) = delete;
  ~OpenFile() {
    if (descriptor >= 0)
      ::close(descriptor);
  }
};

absl::Status openRegular(const std::string &path, OpenFile &file) {
  // Non-blocking: opening a pipe must not wait for somebody to write.
  file.descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file.descriptor < 0)
    return systemError(path, "open");
  struct stat info;
  if (::fstat(file.descriptor, &info) != 0)
    return systemError(path, "examine");
  if (!S_ISREG(info.st_mode))
    return absl::InvalidArgumentError(absl::StrCat(path, ": expects a regular file"));
  file.size = static_cast<size_t>(info.st_size);
  return absl::OkStatus();
}

} // namespace

absl::StatusOr<MappedFile> MappedFile::open(const std::string &path) {
  OpenFile file;
  if (absl::Status status = openRegular(path, file); !status.ok())
    return status;
  if (file.size == 0) // which mmap refuses
    return MappedFile(nullptr, 0);
  void *data = ::mmap(nullptr, file.size, PROT_READ, MAP_PRIVATE, file.descriptor, 0);
  if (data == MAP_FAILED)
    return systemError(path, "map");
  ::madvise(data, file.size, MADV_SEQUENTIAL); // advice only: nothing depends on it
  return MappedFile(static_cast<const uint8_t *>(data), file.size);
}

MappedFile::MappedFile(MappedFile &&other) noexcept
    : data(std::exchange(other.data, nullptr)), size(std::exchange(other.size, 0)) {}

MappedFile &MappedFile::operator=(MappedFile &&other) noexcept {
  std::swap(data, other.data);
  std::swap(size, other.size);
  return *this;
}

MappedFile::~MappedFile() {
  if (data)
    ::munmap(const_cast<uint8_t *>(data), size);
}

void MappedFile::release(absl::Span<const uint8_t> part) const {
  const uintptr_t page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  uintptr_t begin = reinterpret_cast<uintptr_t>(part.data()), end = begin + part.size();
  begin = (begin + page - 1) / page * page;
  end = end / page * page;
  if (begin < end)
    ::madvise(reinterpret_cast<void *>(begin), end - begin, MADV_DONTNEED);
}

absl::StatusOr<std::string> readFile(const std::string &path, size_t maxBytes) {
  OpenFile file;
  if (absl::Status status = openRegular(path, file); !status.ok())
    return status;
  if (file.size > maxBytes)
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": expects at most ", maxBytes, " bytes, found ", file.size));
  std::string content(file.size, '\0');
  size_t filled = 0;
  while (filled < content.size()) {
    ssize_t got = ::read(file.descriptor, content.data() + filled, content.size() - filled);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return systemError(path, "read");
    if (got == 0)
      return absl::DataLossError(absl::StrCat(path, ": became shorter while it was read"));
    filled += static_cast<size_t>(got);
  }
  return content;
}

std::string pathIn(const std::string &directory, const std::string &file) {
  bool ends = !directory.empty() && directory.back() == '/';
  return absl::StrCat(directory, ends ? "" : "/", file);
}

bool fileExists(const std::string &path) {
  struct stat info;
  // A dangling link is a file that is wanted and missing; opening it says so.
  return ::lstat(path.c_str(), &info) == 0;
}

absl::Status checkDirectory(const std::string &directory) {
  struct stat info;
  if (::stat(directory.c_str(), &info) != 0)
    return systemError(directory, "open the directory");
  if (!S_ISDIR(info.st_mode))
    return absl::InvalidArgumentError(
        absl::StrCat(directory, ": expects a directory with a Hugging Face checkpoint"));
  // Else its files would seem to be absent.
  if (::faccessat(AT_FDCWD, directory.c_str(), R_OK | X_OK, AT_EACCESS) != 0)
    return systemError(directory, "open the directory");
  return absl::OkStatus();
}

} // namespace llmc
