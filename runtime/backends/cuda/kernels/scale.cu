// Multiplying by, and adding, a smaller array that is broadcast, and its gradients.
//
// Where the array lies along the last axis of memory, a blob is a matrix of rows by
// columns (see columns.cuh); else it is (outer, covered, inner). `scale` and `shift` are
// float32 (covered), null for ones and zeros.
#include "columns.cuh"
#include "reduce.cuh"
#include "vec.cuh"
#ifndef VEC
#define VEC 1  // neighbours along `inner` that a thread takes at once
#endif

// y = x scale + shift, y may be x; kept, where it is not null, gets x.
extern "C" __global__ void __launch_bounds__(256)
scale_columns(const STORE* x, const float* scale, const float* shift, STORE* y,
              STORE* kept, int rows, int columns, int chunk) {
  Tile tile = tile_of(rows, columns, chunk);
  Few factor = column_values(scale, tile, 1.0f), term = column_values(shift, tile, 0.0f);
  long long at = tile.at;
#pragma unroll 4
  for (int i = 0; i < tile.count; i++, at += tile.step) {
    Few value = load_few(x + at);
    if (kept) store_few(kept + at, value);
#pragma unroll
    for (int v = 0; v < VECTOR; v++) value.at[v] = value.at[v] * factor.at[v] + term.at[v];
    store_few(y + at, value);
  }
}

// dx = dy scale, which may be dy or null; and the sums down the columns of dy x, where x
// is not null, and of dy: partial (groups, 2, columns).
extern "C" __global__ void __launch_bounds__(256)
scale_columns_gradient(const STORE* dy, const STORE* x, const float* scale, STORE* dx,
                       float* partial, int rows, int columns, int chunk) {
  Tile tile = tile_of(rows, columns, chunk);
  Few factor = column_values(scale, tile, 1.0f);
  float sums[2 * VECTOR] = {};
  long long at = tile.at;
#pragma unroll 4
  for (int i = 0; i < tile.count; i++, at += tile.step) {
    Few given = load_few(dy + at);
    if (x) {
      Few value = load_few(x + at);
#pragma unroll
      for (int v = 0; v < VECTOR; v++) sums[v] += given.at[v] * value.at[v];
    }
#pragma unroll
    for (int v = 0; v < VECTOR; v++) {
      sums[VECTOR + v] += given.at[v];
      given.at[v] *= factor.at[v];
    }
    if (dx) store_few(dx + at, given);
  }
  block_add_depths(sums);
  if (threadIdx.x >= LANES || tile.column >= columns) return;
  float* to = partial + (long long)blockIdx.y * 2 * columns + tile.column;
#pragma unroll
  for (int v = 0; v < VECTOR; v++) to[v] = sums[v], to[columns + v] = sums[VECTOR + v];
}

// As scale_columns, of (outer, covered, inner); packs: of inner.
extern "C" __global__ void __launch_bounds__(256)
scale_planes(const STORE* x, const float* scale, const float* shift, STORE* y,
             STORE* kept, unsigned count, unsigned covered, unsigned packs) {
  for (unsigned t = FIRST; t < count; t += STRIDE) {
    unsigned c = t / packs % covered;
    float factor = scale ? scale[c] : 1.0f, term = shift ? shift[c] : 0.0f;
    Vec<STORE, VEC> value = load_vec<VEC>(x + t * VEC);
    if (kept) store_vec<VEC>(kept + t * VEC, value);
#pragma unroll
    for (int v = 0; v < VEC; v++)
      value.at[v] = stored<STORE>(to_float(value.at[v]) * factor + term);
    store_vec<VEC>(y + t * VEC, value);
  }
}

// As scale_columns_gradient: block (c, g) does places g * chunk to (g + 1) * chunk of
// the `places` = outer inner elements of c.
extern "C" __global__ void __launch_bounds__(256)
scale_planes_gradient(const STORE* dy, const STORE* x, const float* scale, STORE* dx,
                      float* partial, unsigned places, unsigned covered, unsigned inner,
                      unsigned chunk) {
  unsigned c = blockIdx.x, start = blockIdx.y * chunk, end = start + chunk;
  float factor = scale ? scale[c] : 1.0f, product = 0.0f, sum = 0.0f;
  if (end > places) end = places;
#pragma unroll 4
  for (unsigned e = start + threadIdx.x; e < end; e += blockDim.x) {
    unsigned at = (e / inner * covered + c) * inner + e % inner;
    float given = to_float(dy[at]);
    if (x) product += given * to_float(x[at]);
    sum += given;
    if (dx) dx[at] = stored<STORE>(given * factor);
  }
  product = block_sum(product);
  sum = block_sum(sum);
  if (threadIdx.x) return;
  float* to = partial + (long long)blockIdx.y * 2 * covered + c;
  to[0] = product, to[covered] = sum;
}

// dscale, dshift = the sums of partial (groups, 2, covered), or added to what is there.
extern "C" __global__ void __launch_bounds__(1024)
scale_finish(const float* partial, float* dscale, float* dshift, int groups, int covered,
             int add_scale, int add_shift) {
  float sum = block_add_partial(partial, groups, 2 * covered, 2 * covered);
  int column = FINISHED_COLUMN;
  if (threadIdx.x >= FINISHERS || column >= 2 * covered) return;
  bool first = column < covered;
  float* out = first ? dscale : dshift;
  if (!out) return;
  out += first ? column : column - covered;
  *out = (first ? add_scale : add_shift) ? *out + sum : sum;
}
