// Compiles a tile program from text, loads it with dlopen and runs all its workgroups. For tests only: the runtime loads
// code objects by its own means.
#pragma once
#include "codegen/cpu/CpuTarget.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

namespace llmc::test {

using Substitutions = std::map<std::string, std::string>;

/// The text of test/codegen/run/NAME.mlir.in with every @KEY@ replaced.
std::string tileProgram(const std::string &name, const Substitutions &values);

/// The text of the tile programs that the graph and chunk stages make of a module of `llm` ops, and the last one's name; empty texts on failure.
std::pair<std::string, std::string> kernelOfOp(const std::string &module);

/// The values of the symbols T, S, SLOTS, CTX, CTXB.
struct Dims {
  int64_t tokens = 0, sequences = 0, slots = 0, context = 0, contextBlocks = 0;
};

/// A loaded code object.
class Kernels {
public:
  /// Fails the current test and leaves an object without functions when compilation fails.
  Kernels(const std::string &text, const std::string &level);
  ~Kernels();
  Kernels(const Kernels &) = delete;
  void run(const std::string &kernel, std::vector<void *> buffers, Dims dims);
  const std::vector<char> &elf() const { return image; }
  double compileSeconds = 0; // of processor time, without the linker's

private:
  void *library = nullptr;
  std::vector<char> image;
};

/// Levels that this machine runs.
std::vector<std::string> levels();

/// 64-byte aligned array.
template <typename T> class Buffer {
public:
  explicit Buffer(size_t count) : count(count), items(static_cast<T *>(std::aligned_alloc(64, (count * sizeof(T) + 127) / 64 * 64))) {
    for (size_t i = 0; i < count; ++i)
      items[i] = T();
  }
  ~Buffer() { std::free(items); }
  Buffer(const Buffer &) = delete;
  T &operator[](size_t i) { return items[i]; }
  const T &operator[](size_t i) const { return items[i]; }
  T *data() { return items; }
  size_t size() const { return count; }

private:
  size_t count;
  T *items;
};

/// A small generator with the same sequence everywhere; uniform in [-1, 1).
class Random {
public:
  explicit Random(uint64_t seed) : state(seed * 0x9e3779b97f4a7c15ull + 1) {}
  double operator()() {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return double(int64_t(state) >> 11) / double(1ll << 52);
  }

private:
  uint64_t state;
};

/// bf16 with the bits of the upper half of a float.
inline uint16_t toBf16(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, 4);
  return uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
inline float fromBf16(uint16_t value) {
  uint32_t bits = uint32_t(value) << 16;
  float result;
  __builtin_memcpy(&result, &bits, 4);
  return result;
}

/// |a - b| / |b| over all elements.
template <typename A> double relativeError(const A &actual, const std::vector<double> &expected) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += (actual[i] - expected[i]) * (actual[i] - expected[i]);
    norm += expected[i] * expected[i];
  }
  return difference == 0 ? 0 : __builtin_sqrt(difference / (norm == 0 ? 1 : norm));
}

} // namespace llmc::test
