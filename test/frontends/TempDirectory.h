// A directory for one test, removed at its end, and makers of safetensors bytes, good and bad.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace llmc {

class TempDirectory {
public:
  TempDirectory() {
    std::string pattern = ::testing::TempDir() + "llmc-test-XXXXXX";
    path = ::mkdtemp(pattern.data()) ? pattern : "";
    EXPECT_FALSE(path.empty());
  }
  ~TempDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  TempDirectory(const TempDirectory &) = delete;
  TempDirectory &operator=(const TempDirectory &) = delete;

  std::string operator/(const std::string &name) const { return path + "/" + name; }
  void write(const std::string &name, const std::string &content) const {
    std::ofstream(*this / name, std::ios::binary) << content;
  }

  std::string path;
};

/// The eight bytes that hold the header's length.
inline std::string lengthBytes(uint64_t length) {
  std::string bytes;
  for (int i = 0; i < 8; ++i)
    bytes += static_cast<char>(length >> (8 * i));
  return bytes;
}

inline std::string safetensors(const std::string &header, const std::string &data = "") {
  return lengthBytes(header.size()) + header + data;
}

/// One entry of a header.
inline std::string entry(const std::string &name, const std::string &type, const std::string &shape,
                         uint64_t begin, uint64_t end) {
  return "\"" + name + "\":{\"dtype\":\"" + type + "\",\"shape\":" + shape + ",\"data_offsets\":[" +
         std::to_string(begin) + "," + std::to_string(end) + "]}";
}

} // namespace llmc
