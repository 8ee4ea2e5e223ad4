// Files that appear whole or not at all: written under a temporary name beside their own, then renamed.
#pragma once
#include "absl/status/status.h"
#include <cstdint>
#include <string>

namespace llmc::runtime {

/// Whether `path` can become a file: it is absent or a regular file, and its folder can be written. To be
/// asked before long work whose result would go there; `TemporaryFile` meets later changes.
absl::Status checkWritable(const std::string &path);

/// Writes `path` under the name `path`.tmp-PID-N, which is removed unless it is committed. What a killed
/// process left is removed by the next that opens the same path. Errors name `path` and what to do.
class TemporaryFile {
public:
  /// `what` says in errors what is written ("the artifact"), `hint` how to write it elsewhere.
  explicit TemporaryFile(std::string path, std::string what = "the file", std::string hint = "with -o");
  ~TemporaryFile();
  TemporaryFile(const TemporaryFile &) = delete;
  TemporaryFile &operator=(const TemporaryFile &) = delete;

  /// Creates the file and reserves `bytes` where the file system can.
  absl::Status open(uint64_t bytes);
  absl::Status write(uint64_t offset, const void *data, size_t bytes);
  /// Makes the file's size `bytes` (space may have been reserved without one).
  absl::Status extendTo(uint64_t bytes);
  /// Syncs and renames: afterwards `path` is this file even if the machine fails.
  absl::Status commit();

private:
  absl::Status failure(const std::string &what) const;
  void removeLeftovers() const;

  std::string path_, temporary_, what_, hint_;
  int fd_ = -1;
  bool isThere_ = false;
  uint64_t bytes_ = 0;
};

} // namespace llmc::runtime
