// What the kernels of local response normalization share.
//
// POWER: 75 and 50 for exponents of 0.75 and 0.5, made of reciprocal roots; else `beta`.
#include "storage.cuh"
#include "vec.cuh"
#ifndef VEC
#define VEC 1
#endif
#ifndef HALF
#define HALF 2  // of a window, without its middle
#endif
#ifndef POWER
#define POWER 75
#endif

// s^-beta, and with it s^-(beta + 1). An infinite s gives 0.
__device__ inline float power_of(float s, float beta, float* next) {
#if POWER == 75 || POWER == 50
  float root = rsqrtf(s);
  float power = root;
#if POWER == 75
  power = root == 0.0f ? 0.0f : root * root * rsqrtf(root);
#endif
  *next = power * root * root;
#else
  float power = powf(s, -beta);
  *next = power / s;
#endif
  return power;
}
