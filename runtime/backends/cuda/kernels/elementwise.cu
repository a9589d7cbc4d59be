// Functions of one value, or a chain of them, over all elements of a blob.
//
// VALUE: statements that turn v, the value of x, into that of y. GRADIENT: those that
// turn g, the gradient of y, into that of the first function's value, FIRST_GRADIENT
// from there into that of x; they may read the values x and y, where READS_X and
// READS_Y are 1. Both may ask `kept(bound)`, whether the random bits of
// the element are below a bound, where RANDOM is 1.
//
// i is the number of an element in the order N C S. LAST: 1 where memory has N S C.
#ifndef VALUE
#define VALUE
#endif
#ifndef GRADIENT
#define GRADIENT
#endif
#ifndef FIRST_GRADIENT
#define FIRST_GRADIENT
#endif
#ifndef READS_X
#define READS_X 0
#endif
#ifndef READS_Y
#define READS_Y 0
#endif
#ifndef RANDOM
#define RANDOM 0
#endif
#ifndef LAST
#define LAST 0
#endif
#ifndef CHANNELS
#define CHANNELS 1
#endif
#ifndef SPATIAL
#define SPATIAL 1
#endif
#ifndef WHOLE
#define WHOLE unsigned  // counts all elements
#endif
#include "storage.cuh"
#ifndef PER
#define PER 1  // elements of a thread at a time: 1, or all of 16 bytes
#endif

struct Keys { unsigned first, second; };

// As in `runtime.counter_random`.
__device__ inline unsigned mixed(unsigned value) {
  value = (value ^ value >> 16) * 0x7feb352du;
  value = (value ^ value >> 15) * 0x846ca68bu;
  return value ^ value >> 16;
}

__device__ inline bool is_kept(Keys keys, unsigned i, unsigned bound) {
  return mixed(mixed(i ^ keys.first) ^ keys.second) < bound;
}

#define kept(bound) is_kept(keys, i, bound)

__device__ inline float value_of(float v, unsigned i, Keys keys) {
  VALUE
  return v;
}

__device__ inline float gradient_of(float g, float x, float y, unsigned i, Keys keys) {
  GRADIENT
  return g;
}

__device__ inline float first_gradient_of(float g, float x, float y, unsigned i,
                                          Keys keys) {
  FIRST_GRADIENT
  return g;
}

__device__ inline Keys keys_in(const unsigned* words) {
  Keys keys = {0, 0};
  if (RANDOM) keys = {words[0], words[1]};
  return keys;
}

// The number of the element e of memory.
__device__ inline unsigned number_of(WHOLE e) {
  if (!LAST) return (unsigned)e;
  WHOLE row = e / CHANNELS;
  return (unsigned)((row / SPATIAL * CHANNELS + e % CHANNELS) * SPATIAL + row % SPATIAL);
}

// That of a neighbour of element e, whose number is i.
__device__ inline unsigned number_near(WHOLE e, unsigned i, int j) {
  if (!LAST) return i + j;
  return CHANNELS % PER ? number_of(e + j) : i + j * SPATIAL;
}

#if PER > 1
typedef Pack<STORE> Few;
#define LOAD(from) load_pack(from)
#define STORE_FEW(to, few) store_pack(to, few)
#else
struct Few { STORE at[1]; };
#define LOAD(from) (Few{{*(from)}})
#define STORE_FEW(to, few) (*(to) = (few).at[0])
#endif

// y may be x. The elements behind the last whole pack are done one by one.
extern "C" __global__ void __launch_bounds__(256)
    values(const STORE* x, STORE* y, long long count, const unsigned* words) {
  Keys keys = keys_in(words);
  long long whole = count / PER * PER;
  for (long long at = FIRST * PER; at < whole; at += STRIDE * PER) {
    WHOLE e = (WHOLE)at;
    unsigned i = RANDOM ? number_of(e) : 0;
    Few few = LOAD(x + e);
#pragma unroll
    for (int j = 0; j < PER; j++)
      few.at[j] = stored<STORE>(value_of(to_float(few.at[j]), number_near(e, i, j), keys));
    STORE_FEW(y + e, few);
  }
  long long e = whole + FIRST;
  if (PER > 1 && e < count)
    y[e] = stored<STORE>(value_of(to_float(x[e]), number_of((WHOLE)e), keys));
}

// dx may be dy; so may `passed`, which gets the gradient of the first function's value,
// where there is one.
extern "C" __global__ void __launch_bounds__(256)
    gradients(const STORE* x, const STORE* y, const STORE* dy, STORE* passed, STORE* dx,
              long long count, const unsigned* words) {
  Keys keys = keys_in(words);
  long long whole = count / PER * PER;
  for (long long at = FIRST * PER; at < whole; at += STRIDE * PER) {
    WHOLE e = (WHOLE)at;
    unsigned i = RANDOM ? number_of(e) : 0;
    Few few = LOAD(dy + e), few_x = few, few_y = few, between;
    if (READS_X) few_x = LOAD(x + e);
    if (READS_Y) few_y = LOAD(y + e);
#pragma unroll
    for (int j = 0; j < PER; j++) {
      float vx = to_float(few_x.at[j]), vy = to_float(few_y.at[j]);
      unsigned number = number_near(e, i, j);
      float g = gradient_of(to_float(few.at[j]), vx, vy, number, keys);
      between.at[j] = stored<STORE>(g);
      few.at[j] = stored<STORE>(first_gradient_of(g, vx, vy, number, keys));
    }
    if (passed) STORE_FEW(passed + e, between);
    STORE_FEW(dx + e, few);
  }
  long long e = whole + FIRST;
  if (PER > 1 && e < count) {
    float vx = READS_X ? to_float(x[e]) : 0.0f, vy = READS_Y ? to_float(y[e]) : 0.0f;
    unsigned number = number_of((WHOLE)e);
    float g = gradient_of(to_float(dy[e]), vx, vy, number, keys);
    if (passed) passed[e] = stored<STORE>(g);
    dx[e] = stored<STORE>(first_gradient_of(g, vx, vy, number, keys));
  }
}
