// A loader for the code objects of artifacts: position-independent ELF without dependencies. Does not use the
// dynamic linker, which would run constructors, search for libraries and trust every offset.
#pragma once
#include "absl/status/statusor.h"
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

namespace llmc::runtime {

class ElfImage {
public:
  /// Maps a copy of the loadable segments, never writable and executable at once. Accepts x86-64 ET_DYN files
  /// with no needed libraries, constructors, thread-local storage, undefined symbols, or relocations other
  /// than R_X86_64_RELATIVE. `where` names the object in errors.
  static absl::StatusOr<std::unique_ptr<ElfImage>> load(const uint8_t *data, size_t size,
                                                        const std::string &where);
  ~ElfImage();
  ElfImage(const ElfImage &) = delete;
  ElfImage &operator=(const ElfImage &) = delete;

  /// Address of an exported function, null when there is none.
  void *function(const std::string &name) const;
  size_t functions() const { return functions_.size(); }
  size_t mappedBytes() const { return size_; }

private:
  friend class ElfReader;
  ElfImage() = default;
  uint8_t *base_ = nullptr;
  size_t size_ = 0;
  std::unordered_map<std::string, void *> functions_;
};

} // namespace llmc::runtime
