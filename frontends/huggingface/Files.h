// Files from outside: mapped when large, read whole with a limit when small. Errors name the file.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

#include <cstdint>
#include <string>

namespace llmc {

/// A read-only mapping of a whole regular file. The file must not shrink while it is mapped: the kernel
/// answers a read behind its new end with SIGBUS, which no check made earlier can prevent.
class MappedFile {
public:
  static absl::StatusOr<MappedFile> open(const std::string &path);
  MappedFile(MappedFile &&other) noexcept;
  MappedFile &operator=(MappedFile &&other) noexcept;
  ~MappedFile();

  absl::Span<const uint8_t> bytes() const { return {data, size}; }
  /// Reads the bytes of `part`, a part of `bytes()`, without touching the mapping: mapped pages count as
  /// memory of this process and come in by many at a time, so a file larger than memory is read like this.
  absl::Status read(absl::Span<const uint8_t> part, uint8_t *to) const;

private:
  MappedFile(int descriptor, std::string path, const uint8_t *data, size_t size)
      : descriptor(descriptor), path(std::move(path)), data(data), size(size) {}

  int descriptor;
  std::string path;
  const uint8_t *data;
  size_t size;
};

/// The content of a regular file of at most `maxBytes`.
absl::StatusOr<std::string> readFile(const std::string &path, size_t maxBytes);

/// "directory/file", with one slash also when the directory was given with one.
std::string pathIn(const std::string &directory, const std::string &file);

bool fileExists(const std::string &path);

/// An error when `directory` is absent or something else.
absl::Status checkDirectory(const std::string &directory);

} // namespace llmc
