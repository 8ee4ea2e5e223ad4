// Kernels of a toy model by hand, in the ABI of generated code, so that the runtime is tested without the compiler.
// The next token is three times the sum of all tokens so far, modulo the vocabulary: wrong states give wrong tokens.
#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))
#define GRID(kernel, value)                                                                                                           \
  EXPORT int64_t kernel##_grid(const int64_t *dims) __asm__(#kernel ".grid");                                                          \
  EXPORT int64_t kernel##_grid(const int64_t *dims) { return value; }

enum { V = 97, WIDE = 513 };

// (tokens [T], where [T,2], rows [S,4], history i32 [SLOTS,CTX] written, wide f32 [SLOTS,CTX,WIDE] written), one workgroup a token
EXPORT void remember(void *const *buffers, const int64_t *dims, int64_t t) {
  const int32_t *tokens = buffers[0], *where = buffers[1], *rows = buffers[2];
  int64_t slot = rows[4 * where[2 * t]], at = slot * dims[3] + where[2 * t + 1];
  ((int32_t *)buffers[3])[at] = tokens[t];
  ((float *)buffers[4])[at * WIDE] = 1;
  ((float *)buffers[4])[at * WIDE + WIDE - 1] = 1;
}
GRID(remember, dims[0])

// (tokens, rows, embedding f32 [V], history, wide, total f32 [SLOTS,1] written, sums f32 [T,1] written), one workgroup a sequence
EXPORT void accumulate(void *const *buffers, const int64_t *dims, int64_t s) {
  const int32_t *tokens = buffers[0], *row = (const int32_t *)buffers[1] + 4 * s;
  const float *embedding = buffers[2], *wide = buffers[4];
  const int32_t *history = (const int32_t *)buffers[3] + row[0] * dims[3];
  float *total = (float *)buffers[5] + row[0], *sums = buffers[6];
  if (row[3] == 0) // what an earlier session left in the slot
    for (int64_t at = row[2]; at < dims[3]; ++at)
      *total += wide[(row[0] * dims[3] + at) * WIDE] + wide[(row[0] * dims[3] + at) * WIDE + WIDE - 1];
  for (int64_t i = 0; i < row[2]; ++i) {
    *total += embedding[tokens[row[1] + i]];
    int64_t past = 0;
    for (int64_t at = 0; at <= row[3] + i; ++at)
      past += history[at];
    sums[row[1] + i] = *total + 2 * (float)past;
  }
}
GRID(accumulate, dims[1])

// (sums f32 [T,1], logits f32 [T,V] written), a workgroup for each token and 8 columns
EXPORT void logits(void *const *buffers, const int64_t *dims, int64_t w) {
  int64_t t = w / 13, begin = w % 13 * 8;
  int64_t next = (int64_t)((const float *)buffers[0])[t] % V;
  for (int64_t v = begin; v < begin + 8 && v < V; ++v) {
    float distance = (float)(v - next);
    ((float *)buffers[1])[t * V + v] = next == V - 1 ? __builtin_nanf("") : -distance * distance;
  }
}
GRID(logits, dims[0] * 13)

// (logits f32 [T,V], sampling f32 [S,4], draws i64 [S,4], next i32 [S,1] written)
EXPORT void sample(void *const *buffers, const int64_t *dims, int64_t s) {
  const float *row = (const float *)buffers[0] + s * V, *sampling = (const float *)buffers[1] + 4 * s;
  const int64_t *draws = (const int64_t *)buffers[2] + 4 * s;
  int32_t best = -1;
  for (int32_t v = 0; v < V; ++v)
    if (row[v] == row[v] && (best < 0 || row[v] > row[best]))
      best = v;
  if (best >= 0 && sampling[0] > 0)
    best = (int32_t)((best + draws[0] + draws[1] + draws[2]) % V);
  ((int32_t *)buffers[3])[s] = best;
}
GRID(sample, dims[1])

#ifdef WITH_UNDEFINED
extern int elsewhere(void);
EXPORT int calls_elsewhere(void) { return elsewhere(); }
#endif
#ifdef WITH_CONSTRUCTOR
static volatile int ran;
__attribute__((constructor)) static void construct(void) { ran = 1; }
#endif
#ifdef WITH_RELATIVE
static int table[3] = {3, 5, 7};
static int *volatile pointers[2] = {&table[1], &table[2]};
EXPORT int through_pointers(void) { return *pointers[0] + *pointers[1]; }
#endif
