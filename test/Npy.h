// Reading goldens: float32 matrices in NumPy's format.
#pragma once
#include <cstdint>
#include <cstring>
#include <fstream>
#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace llmc::test {

inline std::string readFile(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The rows of a .npy file [rows, N].
inline std::vector<std::vector<float>> readNpy(const std::string &path, size_t rows) {
  std::string file = readFile(path);
  uint16_t headerBytes;
  std::memcpy(&headerBytes, &file.at(8), 2);
  EXPECT_NE(file.find("'<f4'"), std::string::npos) << path;
  size_t data = 10 + headerBytes, columns = (file.size() - data) / 4 / rows;
  std::vector<std::vector<float>> values(rows, std::vector<float>(columns));
  for (size_t t = 0; t < rows; ++t)
    std::memcpy(values[t].data(), &file[data + t * columns * 4], columns * 4);
  return values;
}

} // namespace llmc::test
