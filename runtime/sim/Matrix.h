// Matrix products as the tensor cores compute them, on gathered operands. Products of two 16-bit (or tf32)
// values are exact in float32; they are added to the accumulator one after the other in the order of k, each
// addition rounded to nearest. The hardware adds several products at once in an order that NVIDIA leaves
// open, partly truncating, so results agree to about K * 2^-23 of the sum of the products' magnitudes, and
// exactly where sums are exact.
#pragma once
#include "runtime/sim/SimThread.h"

namespace llmc::sim {

float floatOfHalf(uint16_t bits);
inline float floatOfBits(uint32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, 4);
  return value;
}
inline uint32_t bitsOfFloat(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, 4);
  return bits;
}
/// The value of the low (0) or high (1) half of a word, or of all of a tf32 word.
inline float elementOf(MatrixType type, uint32_t word, uint32_t half) {
  if (type == MatrixType::tf32)
    return floatOfBits(word & 0xffffe000u); // the low 13 bits take no part
  uint16_t bits = static_cast<uint16_t>(word >> 16 * half);
  return type == MatrixType::bf16 ? floatOfBits(uint32_t(bits) << 16) : floatOfHalf(bits);
}

/// c[m][n] += a[m][k] * b[k][n]; all dense and row-major, n a multiple of 8.
void multiply(uint32_t m, uint32_t n, uint32_t k, const float *a, const float *b, float *c);

} // namespace llmc::sim
