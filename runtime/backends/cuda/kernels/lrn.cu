// LRN across channels that come last, with windows of up to 9 of CHANNELS.
//
// A thread does VEC channels of a pixel. It reads those on both sides as well, which
// its neighbours have brought to the cache; the gradient computes s anew, also for the
// channels on both sides, which is faster than to write it once and to read it.
#include "lrn.cuh"
#ifndef CHANNELS
#define CHANNELS 8
#endif

#define PACKS ((unsigned)(CHANNELS / VEC))
#define SIDE ((HALF + VEC - 1) / VEC)           // packs on each side for a window
#define SIDES ((2 * HALF + VEC - 1) / VEC)      // for a window of windows

// y = x / s^beta, s = k + share * the sum of x^2 over the window.
extern "C" __global__ void __launch_bounds__(256)
lrn(const STORE* __restrict__ x, STORE* __restrict__ y, unsigned count, float share,
    float k, float beta) {
  for (unsigned t = FIRST; t < count; t += STRIDE) {
    int c = t % PACKS * VEC;
    const STORE* here = x + t * VEC;
    float sum[VEC], own[VEC];
    for (int j = 0; j < VEC; j++) sum[j] = 0.0f;
#pragma unroll
    for (int b = -SIDE; b <= SIDE; b++) {
      if (c + b * VEC < 0 || c + b * VEC >= CHANNELS) continue;
      Vec<STORE, VEC> seen = load_vec<VEC>(here + b * VEC);
#pragma unroll
      for (int i = 0; i < VEC; i++) {
        float value = to_float(seen.at[i]);
        if (b == 0) own[i] = value;
#pragma unroll
        for (int j = 0; j < VEC; j++) {
          int apart = b * VEC + i - j;
          if (apart >= -HALF && apart <= HALF) sum[j] += value * value;
        }
      }
    }
    Vec<STORE, VEC> result;
#pragma unroll
    for (int j = 0; j < VEC; j++) {
      float next;
      result.at[j] = stored<STORE>(own[j] * power_of(k + share * sum[j], beta, &next));
    }
    store_vec<VEC>(y + t * VEC, result);
  }
}

// dx = dy / s^beta - factor x * the sum of dy x / s^(beta + 1) over the window.
extern "C" __global__ void __launch_bounds__(256)
lrn_gradient(const STORE* __restrict__ x, const STORE* __restrict__ dy,
             STORE* __restrict__ dx, unsigned count, float share, float k, float beta,
             float factor) {
  for (unsigned t = FIRST; t < count; t += STRIDE) {
    int c = t % PACKS * VEC;
    float near[(2 * SIDES + 1) * VEC], given[(2 * SIDE + 1) * VEC];
#pragma unroll
    for (int b = -SIDES; b <= SIDES; b++) {
      bool inside = c + b * VEC >= 0 && c + b * VEC < CHANNELS;
      Vec<STORE, VEC> seen;
      if (inside) seen = load_vec<VEC>(x + t * VEC + b * VEC);
#pragma unroll
      for (int i = 0; i < VEC; i++)
        near[(b + SIDES) * VEC + i] = inside ? to_float(seen.at[i]) : 0.0f;
      if (b < -SIDE || b > SIDE) continue;
      if (inside) seen = load_vec<VEC>(dy + t * VEC + b * VEC);
#pragma unroll
      for (int i = 0; i < VEC; i++)
        given[(b + SIDE) * VEC + i] = inside ? to_float(seen.at[i]) : 0.0f;
    }
    float first[VEC], sum[VEC];
    for (int j = 0; j < VEC; j++) sum[j] = 0.0f;
#pragma unroll
    for (int m = -HALF; m < VEC + HALF; m++) {
      float squares = 0.0f, next;
#pragma unroll
      for (int d = -HALF; d <= HALF; d++) {
        float value = near[SIDES * VEC + m + d];
        squares += value * value;
      }
      float power = power_of(k + share * squares, beta, &next);
      float mine = given[SIDE * VEC + m];
      if (m >= 0 && m < VEC) first[m] = mine * power;
      bool inside = c + m >= 0 && c + m < CHANNELS;
      float term = inside ? mine * near[SIDES * VEC + m] * next : 0.0f;
#pragma unroll
      for (int j = 0; j < VEC; j++)
        if (m - j >= -HALF && m - j <= HALF) sum[j] += term;
    }
    Vec<STORE, VEC> result;
#pragma unroll
    for (int j = 0; j < VEC; j++)
      result.at[j] = stored<STORE>(first[j] - factor * near[SIDES * VEC + j] * sum[j]);
    store_vec<VEC>(dx + t * VEC, result);
  }
}
