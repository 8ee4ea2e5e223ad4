// The one routine in which simulated tensor cores spend their time. Simulated kernels are code for
// x86-64-v3 anyway, so this is too.
#include "runtime/sim/Matrix.h"

namespace llmc::sim {

float floatOfHalf(uint16_t bits) {
  _Float16 value;
  __builtin_memcpy(&value, &bits, 2);
  return static_cast<float>(value);
}

using Lanes = float __attribute__((vector_size(32), aligned(4)));

__attribute__((target("avx2,fma"))) void multiply(uint32_t m, uint32_t n, uint32_t k, const float *a,
                                                  const float *b, float *c) {
  for (uint32_t i = 0; i < m; ++i)
    for (uint32_t j = 0; j < n; j += 8) {
      Lanes sum;
      __builtin_memcpy(&sum, c + i * n + j, sizeof sum);
      for (uint32_t l = 0; l < k; ++l) {
        Lanes row;
        __builtin_memcpy(&row, b + l * n + j, sizeof row);
        float x = a[i * k + l];
        sum = __builtin_elementwise_fma(row, Lanes{x, x, x, x, x, x, x, x}, sum);
      }
      __builtin_memcpy(c + i * n + j, &sum, sizeof sum);
    }
}

} // namespace llmc::sim
