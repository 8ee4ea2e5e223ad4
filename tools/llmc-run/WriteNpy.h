// A float32 matrix in NumPy's format, written row by row under a temporary name.
#pragma once
#include <cstdint>
#include <cstdio>
#include <string>

class NpyWriter {
public:
  ~NpyWriter();
  /// Each returns an error's text, or "".
  std::string open(const std::string &path, int64_t rows, int64_t columns);
  std::string append(const float *values, int64_t count);
  std::string finish();

private:
  std::string failure(const char *what) const;
  std::string path_, temporary_;
  FILE *file_ = nullptr;
};
