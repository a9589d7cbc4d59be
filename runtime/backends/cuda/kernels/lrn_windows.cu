// LRN with windows of pixels (WITHIN 1) or with long ones of channels, which come last.
//
// A block is (channels, columns, rows), a thread does VEC channels of a pixel; blocks
// stride through rows and images. The gradient has two kernels: the terms of its sums,
// then these. Both compute s anew from x, most of which is in the cache.
#include "lrn.cuh"
#ifndef WITHIN
#define WITHIN 1
#endif

#define PIXELS                                                               \
  int packs = channels / VEC, tiles = (packs + blockDim.x - 1) / blockDim.x; \
  int c = (blockIdx.x % tiles * blockDim.x + threadIdx.x) * VEC;             \
  int j = blockIdx.x / tiles * blockDim.y + threadIdx.y;                     \
  if (c >= channels || j >= width) return;                                   \
  for (int n = blockIdx.z; n < images; n += gridDim.z)                       \
    for (int i = blockIdx.y * blockDim.z + threadIdx.z; i < height;          \
         i += gridDim.y * blockDim.z)

template <class T>
__device__ inline float raised(T value, bool square) {
  float wide = to_float(value);
  return square ? wide * wide : wide;
}

// The sums of values, or of their squares, over the window of a thread.
template <class T>
__device__ inline void window_sum(const T* image, float* sum, int i, int j, int c,
                                  int height, int width, int channels, bool square) {
  for (int k = 0; k < VEC; k++) sum[k] = 0.0f;
#if WITHIN
#pragma unroll
  for (int a = -HALF; a <= HALF; a++) {
    if (i + a < 0 || i + a >= height) continue;
#pragma unroll
    for (int b = -HALF; b <= HALF; b++) {
      if (j + b < 0 || j + b >= width) continue;
      const T* from = image + ((i + a) * width + j + b) * channels + c;
      Vec<T, VEC> seen = load_vec<VEC>(from);
      for (int k = 0; k < VEC; k++) sum[k] += raised(seen.at[k], square);
    }
  }
#else
  const T* row = image + (i * width + j) * channels;
  int end = min(c + HALF, channels - 1);
  for (int other = max(c - HALF, 0); other <= end; other++)
    sum[0] += raised(row[other], square);
#endif
}

extern "C" __global__ void __launch_bounds__(256)
lrn_windows(const STORE* __restrict__ x, STORE* __restrict__ y, int images, int height, int width, int channels, float share,
            float k, float beta) {
  PIXELS {
    int image = n * height * width * channels, at = (i * width + j) * channels + c;
    float sum[VEC], next;
    window_sum(x + image, sum, i, j, c, height, width, channels, true);
    Vec<STORE, VEC> own = load_vec<VEC>(x + image + at);
    for (int v = 0; v < VEC; v++) {
      float power = power_of(k + share * sum[v], beta, &next);
      own.at[v] = stored<STORE>(to_float(own.at[v]) * power);
    }
    store_vec<VEC>(y + image + at, own);
  }
}

// terms = dy x / s^(beta + 1)
extern "C" __global__ void __launch_bounds__(256)
lrn_terms(const STORE* __restrict__ x, const STORE* __restrict__ dy,
          float* __restrict__ terms, int images, int height, int width, int channels, float share, float k, float beta) {
  PIXELS {
    int image = n * height * width * channels, at = (i * width + j) * channels + c;
    float sum[VEC], next;
    window_sum(x + image, sum, i, j, c, height, width, channels, true);
    Vec<STORE, VEC> own = load_vec<VEC>(x + image + at);
    Vec<STORE, VEC> given = load_vec<VEC>(dy + image + at);
    Vec<float, VEC> result;
    for (int v = 0; v < VEC; v++) {
      power_of(k + share * sum[v], beta, &next);
      result.at[v] = to_float(given.at[v]) * to_float(own.at[v]) * next;
    }
    store_vec<VEC>(terms + image + at, result);
  }
}

// dx = dy / s^beta - factor x * the sum of the terms over the window.
extern "C" __global__ void __launch_bounds__(256)
lrn_windows_gradient(const STORE* __restrict__ x, const STORE* __restrict__ dy,
                     const float* __restrict__ terms, STORE* __restrict__ dx, int images, int height, int width, int channels,
                     float share, float k, float beta, float factor) {
  PIXELS {
    int image = n * height * width * channels, at = (i * width + j) * channels + c;
    float sum[VEC], others[VEC], next;
    window_sum(x + image, sum, i, j, c, height, width, channels, true);
    window_sum(terms + image, others, i, j, c, height, width, channels, false);
    Vec<STORE, VEC> own = load_vec<VEC>(x + image + at);
    Vec<STORE, VEC> given = load_vec<VEC>(dy + image + at);
    for (int v = 0; v < VEC; v++) {
      float power = power_of(k + share * sum[v], beta, &next);
      float value = factor * to_float(own.at[v]) * others[v];
      own.at[v] = stored<STORE>(to_float(given.at[v]) * power - value);
    }
    store_vec<VEC>(dx + image + at, own);
  }
}
