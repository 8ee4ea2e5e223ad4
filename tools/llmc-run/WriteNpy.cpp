// NumPy's format version 1.0: magic, header length, a Python dictionary padded to 64 bytes, the values.
#include "tools/llmc-run/WriteNpy.h"
#include <cerrno>
#include <cstring>
#include <sys/stat.h>
#include <unistd.h>

NpyWriter::~NpyWriter() {
  if (file_)
    fclose(file_);
  if (!temporary_.empty() && temporary_ != path_)
    unlink(temporary_.c_str());
}

std::string NpyWriter::failure(const char *what) const {
  return path_ + ": " + what + ": " + strerror(errno);
}

std::string NpyWriter::open(const std::string &path, int64_t rows, int64_t columns) {
  path_ = path;
  // Devices and pipes are written directly: renaming over /dev/null would replace it.
  struct stat info;
  bool isSpecial = stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode);
  std::string name = isSpecial ? path : path + ".tmp-" + std::to_string(getpid());
  file_ = fopen(name.c_str(), "wbe");
  if (!file_)
    return failure("cannot create");
  temporary_ = name;
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(rows) + ", " +
                       std::to_string(columns) + "), }";
  header.append(63 - (10 + header.size()) % 64, ' ');
  header += '\n';
  unsigned char prefix[10] = {0x93,
                              'N',
                              'U',
                              'M',
                              'P',
                              'Y',
                              1,
                              0,
                              static_cast<unsigned char>(header.size() & 0xff),
                              static_cast<unsigned char>(header.size() >> 8)};
  if (fwrite(prefix, 1, sizeof prefix, file_) != sizeof prefix ||
      fwrite(header.data(), 1, header.size(), file_) != header.size())
    return failure("cannot write");
  return "";
}

std::string NpyWriter::append(const float *values, int64_t count) {
  size_t n = static_cast<size_t>(count);
  return fwrite(values, sizeof(float), n, file_) == n ? "" : failure("cannot write");
}

std::string NpyWriter::finish() {
  FILE *file = file_;
  file_ = nullptr;
  if (fclose(file) != 0)
    return failure("cannot write");
  if (temporary_ != path_ && rename(temporary_.c_str(), path_.c_str()) != 0)
    return failure("cannot rename to it");
  temporary_.clear();
  return "";
}
