// See TemporaryFile.h (POSIX).
#include "runtime/TemporaryFile.h"
#include <atomic>
#include <cerrno>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <signal.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace llmc::runtime {

static std::string folderOf(const std::string &path) {
  size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

static absl::Status cannotCreate(const std::string &path) {
  return absl::UnknownError(path + ": cannot create a file in " + folderOf(path) + ": " +
                                strerror(errno));
}

absl::Status checkWritable(const std::string &path) {
  struct stat info;
  if (!path.empty() && path.back() == '/')
    return absl::InvalidArgumentError(path +
                                      ": is the name of a directory; give the name of a file to write");
  if (stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode))
    return absl::InvalidArgumentError(path + ": is " +
                                      (S_ISDIR(info.st_mode) ? "a directory" : "not a regular file") +
                                      "; give the name of a file to write");
  if (faccessat(AT_FDCWD, (folderOf(path) + "/.").c_str(), W_OK | X_OK, AT_EACCESS) != 0)
    return cannotCreate(path);
  return absl::OkStatus();
}

TemporaryFile::TemporaryFile(std::string path, std::string what, std::string hint)
    : path_(std::move(path)), what_(std::move(what)), hint_(std::move(hint)) {
  static std::atomic<unsigned> counter{0};
  temporary_ = path_ + ".tmp-" + std::to_string(getpid()) + "-" + std::to_string(counter++);
}

TemporaryFile::~TemporaryFile() {
  if (fd_ >= 0)
    close(fd_);
  if (isThere_)
    unlink(temporary_.c_str());
}

absl::Status TemporaryFile::open(uint64_t bytes) {
  bytes_ = bytes;
  if (absl::Status s = checkWritable(path_); !s.ok())
    return s;
  removeLeftovers();
  fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd_ < 0)
    return cannotCreate(path_);
  isThere_ = true;
  // Asking for the space first turns a full disk into an error before hours of packing; not all file
  // systems can.
  if (bytes > 0 && fallocate(fd_, 0, 0, static_cast<off_t>(bytes)) != 0 &&
      (errno == ENOSPC || errno == EDQUOT || errno == EFBIG))
    return failure("cannot reserve space");
  return absl::OkStatus();
}

absl::Status TemporaryFile::write(uint64_t offset, const void *data, size_t bytes) {
  const char *from = static_cast<const char *>(data);
  while (bytes > 0) {
    ssize_t n = pwrite(fd_, from, bytes, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return failure("cannot write");
    from += n;
    offset += static_cast<uint64_t>(n);
    bytes -= static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

absl::Status TemporaryFile::extendTo(uint64_t bytes) {
  return ftruncate(fd_, static_cast<off_t>(bytes)) == 0 ? absl::OkStatus() : failure("cannot extend");
}

absl::Status TemporaryFile::commit() {
  if (fsync(fd_) != 0)
    return failure("cannot sync");
  int fd = fd_;
  fd_ = -1;
  if (close(fd) != 0)
    return failure("cannot close");
  if (rename(temporary_.c_str(), path_.c_str()) != 0)
    return failure("cannot rename " + temporary_);
  isThere_ = false;
  // The rename itself must survive a power failure too; a folder that cannot be opened is no reason to
  // fail.
  int folder = ::open(folderOf(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder >= 0) {
    fsync(folder);
    close(folder);
  }
  return absl::OkStatus();
}

/// An error from `errno`.
absl::Status TemporaryFile::failure(const std::string &what) const {
  int error = errno;
  const std::string need = what_ + " needs " + std::to_string(bytes_) + " bytes";
  if (error == ENOSPC || error == EDQUOT) {
    struct statvfs info;
    std::string space;
    if (statvfs(folderOf(path_).c_str(), &info) == 0)
      space = ", " + std::to_string(static_cast<uint64_t>(info.f_bavail) * info.f_frsize) + " are free in " +
              folderOf(path_);
    return absl::UnknownError(path_ + ": disk full: " + need + space +
                                        "; free some or write elsewhere " + hint_);
  }
  if (error == EFBIG)
    return absl::UnknownError(path_ + ": file too large: " + need +
                                        ", more than the file system or this process (ulimit -f) may have; "
                                        "raise the limit or write elsewhere " + hint_);
  return absl::UnknownError(path_ + ": " + what + ": " + strerror(error));
}

/// Removes temporaries of this path whose writer no longer runs.
void TemporaryFile::removeLeftovers() const {
  std::string folder = folderOf(path_);
  size_t slash = path_.rfind('/');
  std::string prefix = (slash == std::string::npos ? path_ : path_.substr(slash + 1)) + ".tmp-";
  std::unique_ptr<DIR, int (*)(DIR *)> dir(opendir(folder.c_str()), closedir);
  if (!dir)
    return;
  while (struct dirent *entry = readdir(dir.get())) {
    if (strncmp(entry->d_name, prefix.c_str(), prefix.size()) != 0)
      continue;
    char *end = nullptr;
    long pid = strtol(entry->d_name + prefix.size(), &end, 10);
    if (pid > 0 && *end == '-' && kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH)
      unlink((folder + "/" + entry->d_name).c_str());
  }
}

} // namespace llmc::runtime
