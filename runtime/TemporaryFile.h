// A file that appears under its name only when it is whole: written under a temporary name, synced, renamed.
#pragma once
#include "absl/status/status.h"
#include <cstdint>
#include <string>

namespace llmc::runtime {

/// A file under the name PATH.tmp-PROCESS-NUMBER, removed unless it was committed.
class TemporaryFile {
public:
  /// `what` says in errors what is written ("the artifact"), `hint` how to write it elsewhere ("with -o").
  TemporaryFile(std::string path, std::string what, std::string hint);
  ~TemporaryFile();
  TemporaryFile(const TemporaryFile &) = delete;
  TemporaryFile &operator=(const TemporaryFile &) = delete;

  /// Creates it with space for `bytes` and removes what writers that are no more have left of this path.
  absl::Status open(uint64_t bytes);
  absl::Status write(uint64_t offset, const void *data, size_t bytes);
  /// Makes the file's size `bytes` (space may have been reserved without one).
  absl::Status extendTo(uint64_t bytes);
  /// Syncs, closes, renames to the path.
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
