// Sums down the columns of a matrix: the gradients of biases and of what is like them.
//
// MASK: 1 where the sum is of g = dy where `sign` is positive, else slope dy, and g is
// kept in `masked` (which may be dy) where there is one. TIMES: 1 where it is of g x.
#ifndef MASK
#define MASK 0
#endif
#ifndef TIMES
#define TIMES 0
#endif
#include "columns.cuh"

extern "C" __global__ void __launch_bounds__(256)
column_sums(const STORE* dy, const STORE* sign, const STORE* x, STORE* masked,
            float* partial, int rows, int columns, int chunk, float slope) {
  Tile tile = tile_of(rows, columns, chunk);
  float sums[VECTOR] = {};
  long long at = tile.at;
#pragma unroll 4
  for (int i = 0; i < tile.count; i++, at += tile.step) {
    Few g = load_few(dy + at);
#if MASK
    Few mask = load_few(sign + at);
#pragma unroll
    for (int v = 0; v < VECTOR; v++) {
      float below = slope == 0.0f ? 0.0f : g.at[v] * slope;
      g.at[v] = mask.at[v] > 0.0f ? g.at[v] : below;
    }
    if (masked) store_few(masked + at, g);
#endif
#if TIMES
    Few factor = load_few(x + at);
#pragma unroll
    for (int v = 0; v < VECTOR; v++) sums[v] += g.at[v] * factor.at[v];
#else
#pragma unroll
    for (int v = 0; v < VECTOR; v++) sums[v] += g.at[v];
#endif
  }
  block_add_depths(sums);
  if (threadIdx.x >= LANES || tile.column >= columns) return;
  float* to = partial + (long long)blockIdx.y * columns + tile.column;
#pragma unroll
  for (int v = 0; v < VECTOR; v++) to[v] = sums[v];
}

// out (columns) = the sums of the columns of partial (groups, columns), or added to it.
extern "C" __global__ void __launch_bounds__(1024)
column_finish(const float* partial, float* out, int groups, int columns, int add) {
  float sum = block_add_partial(partial, groups, columns, columns);
  int column = FINISHED_COLUMN;
  if (threadIdx.x < FINISHERS && column < columns)
    out[column] = add ? out[column] + sum : sum;
}
