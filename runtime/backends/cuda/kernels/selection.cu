// Crop, Tile and ArgMax.
//
// Copies are of units of UNIT bytes, in the order of memory.
#include "storage.cuh"
#include "vec.cuh"
#ifndef UNIT
#define UNIT 4
#endif
#ifndef VEC
#define VEC 1
#endif

#if UNIT == 2
typedef Vec<unsigned short, 1> Unit;
#else
typedef Vec<unsigned, UNIT / 4> Unit;
#endif

// y = the part of x that begins at (b, c, d) of its last three axes, and at unit `from`
// of the first. Shapes: x (..., B, C, D) -> y (A', B', C', D').
extern "C" __global__ void __launch_bounds__(256)
crop(const Unit* __restrict__ x, Unit* __restrict__ y, unsigned count, unsigned size_b,
     unsigned size_c, unsigned size_d, unsigned x_b, unsigned x_c, unsigned x_d,
     unsigned from_a, unsigned from_b, unsigned from_c, unsigned from_d) {
  for (unsigned t = FIRST; t < count; t += STRIDE) {
    unsigned d = t % size_d, row = t / size_d;
    unsigned c = row % size_c, plane = row / size_c;
    unsigned b = plane % size_b, a = plane / size_b;
    unsigned at = ((a + from_a) * x_b + b + from_b) * x_c + c + from_c;
    y[t] = x[at * x_d + d + from_d];
  }
}

// dx = dy in that part, else 0; count: of dx, size_a: of dy.
extern "C" __global__ void __launch_bounds__(256)
crop_gradient(const Unit* __restrict__ dy, Unit* __restrict__ dx, unsigned count,
              unsigned size_a, unsigned size_b, unsigned size_c, unsigned size_d,
              unsigned x_b, unsigned x_c, unsigned x_d, unsigned from_a,
              unsigned from_b, unsigned from_c, unsigned from_d) {
  for (unsigned t = FIRST; t < count; t += STRIDE) {
    unsigned row = t / x_d, plane = row / x_c;
    // What lies before the part wraps around to a large number.
    unsigned d = t % x_d - from_d, c = row % x_c - from_c;
    unsigned b = plane % x_b - from_b, a = plane / x_b - from_a;
    Unit value = {};
    if (a < size_a && b < size_b && c < size_c && d < size_d)
      value = dy[((a * size_b + b) * size_c + c) * size_d + d];
    dx[t] = value;
  }
}

// y (outer, tiles, inner) = x (outer, 1, inner)
extern "C" __global__ void __launch_bounds__(256)
tile(const Unit* __restrict__ x, Unit* __restrict__ y, unsigned count, unsigned tiles,
     unsigned inner) {
  for (unsigned t = FIRST; t < count; t += STRIDE) {
    unsigned row = t / inner;
    y[t] = x[row / tiles * inner + t % inner];
  }
}

// dx (outer, inner) = the sum of dy (outer, tiles, inner); count and inner in packs.
extern "C" __global__ void __launch_bounds__(256)
tile_gradient(const STORE* __restrict__ dy, STORE* __restrict__ dx, unsigned count,
              unsigned tiles, unsigned inner) {
  for (unsigned t = FIRST; t < count; t += STRIDE) {
    unsigned start = t / inner * tiles * inner + t % inner;
    float sum[VEC];
    for (int k = 0; k < VEC; k++) sum[k] = 0.0f;
#pragma unroll 4
    for (unsigned i = 0; i < tiles; i++) {
      Vec<STORE, VEC> given = load_vec<VEC>(dy + (start + i * inner) * VEC);
#pragma unroll
      for (int k = 0; k < VEC; k++) sum[k] += to_float(given.at[k]);
    }
    Vec<STORE, VEC> result;
    for (int k = 0; k < VEC; k++) result.at[k] = stored<STORE>(sum[k]);
    store_vec<VEC>(dx + t * VEC, result);
  }
}

// A value and its place. One is ahead of another that is less, or equal with a lower
// place; a NaN is ahead of all.
struct Best { float value; int place; };

__device__ inline bool ahead(Best a, Best b) {
  if (a.value != a.value) return b.value == b.value;
  return a.value > b.value || (a.value == b.value && a.place > b.place);
}

#define BEFORE_ALL {__uint_as_float(0x7f800000u), 0x7fffffff}
#define BEHIND_ALL {-__uint_as_float(0x7f800000u), -1}

__device__ inline void put_best(Best best, float* places, float* values, unsigned at) {
  bool strange = best.value != best.value;
  if (places) places[at] = strange ? 0.0f : (float)best.place;
  if (values) values[at] = best.value;
}

// The top_k of (outer, classes, inner), a thread for each (outer, inner): to place o, k, i
// of places or values, which may be null.
extern "C" __global__ void __launch_bounds__(256)
argmax_places(const STORE* __restrict__ x, float* places, float* values, unsigned count,
              unsigned classes, unsigned inner, unsigned top_k) {
  for (unsigned t = FIRST; t < count; t += STRIDE) {
    unsigned o = t / inner, i = t % inner;
    const STORE* from = x + o * classes * inner + i;
    Best last = BEFORE_ALL;
    for (unsigned k = 0; k < top_k; k++) {
      Best best = BEHIND_ALL;
#pragma unroll 4
      for (unsigned c = 0; c < classes; c++) {
        Best one = {to_float(from[c * inner]), (int)c};
        if (ahead(last, one) && ahead(one, best)) best = one;
        if (one.value != one.value) best = one;
      }
      put_best(best, places, values, (o * top_k + k) * inner + i);
      last = best;
    }
  }
}

// The same where inner is 1: a block does a row, which it leaves in row * pitch.
extern "C" __global__ void __launch_bounds__(256)
argmax_rows(const STORE* __restrict__ x, float* places, float* values, unsigned rows,
            unsigned classes, unsigned pitch, unsigned top_k) {
  __shared__ Best found[256];
  for (unsigned r = blockIdx.x; r < rows; r += gridDim.x) {
    const STORE* from = x + r * classes;
    Best last = BEFORE_ALL;
    for (unsigned k = 0; k < top_k; k++) {
      Best best = BEHIND_ALL;
#pragma unroll 4
      for (unsigned c = threadIdx.x; c < classes; c += blockDim.x) {
        Best one = {to_float(from[c]), (int)c};
        if (ahead(last, one) && ahead(one, best)) best = one;
        if (one.value != one.value) best = one;
      }
      found[threadIdx.x] = best;
      __syncthreads();
      for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half && ahead(found[threadIdx.x + half], found[threadIdx.x]))
          found[threadIdx.x] = found[threadIdx.x + half];
        __syncthreads();
      }
      last = found[0];
      if (threadIdx.x == 0) put_best(last, places, values, r * pitch + k);
      __syncthreads();
    }
  }
}
