// PReLU: y = x where it is positive, else a x, with a slope a for each channel.
//
// Blobs are matrices, channels last. SHARED: 1 for one slope for all channels.
#ifndef SHARED
#define SHARED 0
#endif
#include "columns.cuh"

__device__ inline Few slopes_of(const float* slopes, const Tile& tile) {
#if SHARED
  Few few;
#pragma unroll
  for (int v = 0; v < VECTOR; v++) few.at[v] = slopes[0];
  return few;
#else
  return column_values(slopes, tile, 0.0f);
#endif
}

// y may be x; `copy` gets x where there is one.
extern "C" __global__ void __launch_bounds__(TILE_THREADS)
    prelu(const STORE* x, STORE* y, STORE* copy, const float* slopes, int rows,
          int columns, int chunk) {
  Tile tile = tile_of(rows, columns, chunk);
  Few slope = slopes_of(slopes, tile);
  long long at = tile.at;
#pragma unroll 4
  for (int i = 0; i < tile.count; i++, at += tile.step) {
    Few value = load_few(x + at);
    if (copy) store_few(copy + at, value);
#pragma unroll
    for (int v = 0; v < VECTOR; v++)
      if (!(value.at[v] > 0.0f)) value.at[v] *= slope.at[v];
    store_few(y + at, value);
  }
}

// dx = dy, or a dy where x is not positive; da = the sums of dy x there, of which each
// row of blocks leaves a row in `partial`. Without one, or without dx, it is left out.
extern "C" __global__ void __launch_bounds__(TILE_THREADS)
    prelu_gradient(const STORE* x, const STORE* dy, STORE* dx, const float* slopes,
                   float* partial, int rows, int columns, int chunk) {
  Tile tile = tile_of(rows, columns, chunk);
  Few slope = slopes_of(slopes, tile);
  float sums[VECTOR] = {};
  long long at = tile.at;
#pragma unroll 4
  for (int i = 0; i < tile.count; i++, at += tile.step) {
    Few value = load_few(x + at), g = load_few(dy + at);
#pragma unroll
    for (int v = 0; v < VECTOR; v++) {
      if (!(value.at[v] > 0.0f)) sums[v] += g.at[v] * value.at[v];
      if (value.at[v] <= 0.0f) g.at[v] *= slope.at[v];
    }
    if (dx) store_few(dx + at, g);
  }
  if (!partial) return;
  block_add_depths(sums);
  if (threadIdx.x >= LANES || tile.column >= columns) return;
  float* to = partial + (long long)blockIdx.y * columns + tile.column;
#pragma unroll
  for (int v = 0; v < VECTOR; v++) to[v] = sums[v];
}
