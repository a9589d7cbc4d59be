// Setting numbers: whole arrays, and what changes from run to run of a graph.
#include "storage.cuh"

extern "C" __global__ void fill(STORE* y, long long count, float value) {
  STORE set = stored<STORE>(value);
  for (long long i = FIRST; i < count; i += STRIDE) y[i] = set;
}

// The words travel as arguments, which a launch copies: the host may go on at once.
extern "C" __global__ void set_words(unsigned* to, int count, unsigned a, unsigned b,
                                     unsigned c, unsigned d, unsigned e, unsigned f,
                                     unsigned g, unsigned h) {
  unsigned words[8] = {a, b, c, d, e, f, g, h};
  for (int i = 0; i < count; i++) to[i] = words[i];
}

// y = value, or value times the number at `scale`.
extern "C" __global__ void fill_scaled(STORE* y, long long count, float value,
                                       const float* scale) {
  float set = scale ? value * *scale : value;
  for (long long i = FIRST; i < count; i += STRIDE) y[i] = stored<STORE>(set);
}
