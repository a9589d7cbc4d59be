// BatchNorm, Scale, and both as one with a sum and a ReLU behind them.
//
// y = (x - mean) inverse gamma + beta (+ added), all of x's shape with the channels last,
// the rest float32, one number a channel. Null pointers: mean, beta 0; inverse, gamma 1.
//
// With a `weight` mean and inverse are BatchNorm's sums of means and of variances, which
// it divides.
//
// RECTIFY: 1 where negative y become 0. MASK: which gradients pass: 0 all, 1 those with a
// positive `sign`, 2 those whose y, without `added`, would be positive. PASS: what is
// left in `passed`: 1 the gradient g behind the mask, 2 g gamma.
#ifndef RECTIFY
#define RECTIFY 0
#endif
#ifndef MASK
#define MASK 0
#endif
#ifndef PASS
#define PASS 0
#endif
#include "columns.cuh"

// Means and sums of squared deviations of parts of a column become those of both.
struct Spread { float count, mean, squares; };

__device__ inline void join(Spread& a, const Spread& b) {
  if (b.count == 0.0f) return;
  float count = a.count + b.count, share = b.count / count, apart = b.mean - a.mean;
  a.squares += b.squares + apart * apart * a.count * share;
  a.mean += apart * share;
  a.count = count;
}

// partial (groups, 2, columns): the mean of a block's rows, and their sum of squared
// deviations. A thread measures from the first value that it meets.
extern "C" __global__ void __launch_bounds__(256)
statistics(const STORE* __restrict__ x, float* partial, int rows, int columns, int chunk) {
  __shared__ float means[VECTOR][TILE_THREADS], squares[VECTOR][TILE_THREADS];
  __shared__ float counts[TILE_THREADS];
  Tile tile = tile_of(rows, columns, chunk);
  Few start = {}, sum = {}, square = {};
  long long at = tile.at;
  if (tile.count) start = load_few(x + at);
#pragma unroll 4
  for (int i = 0; i < tile.count; i++, at += tile.step) {
    Few value = load_few(x + at);
#pragma unroll
    for (int v = 0; v < VECTOR; v++) {
      float apart = value.at[v] - start.at[v];
      sum.at[v] += apart;
      square.at[v] += apart * apart;
    }
  }
  int thread = threadIdx.x;
  counts[thread] = (float)tile.count;
#pragma unroll
  for (int v = 0; v < VECTOR; v++) {
    float mean = tile.count ? sum.at[v] / tile.count : 0.0f;
    means[v][thread] = start.at[v] + mean;
    float rest = square.at[v] - sum.at[v] * mean;
    squares[v][thread] = rest < 0.0f ? 0.0f : rest;
  }
  __syncthreads();
  for (int half = DEEP / 2; half > 0; half >>= 1) {
    int other = thread + half * LANES;
    if (thread < half * LANES) {
      float count = counts[thread];
#pragma unroll
      for (int v = 0; v < VECTOR; v++) {
        Spread mine = {count, means[v][thread], squares[v][thread]};
        join(mine, {counts[other], means[v][other], squares[v][other]});
        means[v][thread] = mine.mean;
        squares[v][thread] = mine.squares;
      }
      counts[thread] = count + counts[other];
    }
    __syncthreads();
  }
  if (thread >= LANES || tile.column >= columns) return;
  float* to = partial + 2ll * blockIdx.y * columns + tile.column;
#pragma unroll
  for (int v = 0; v < VECTOR; v++) {
    to[v] = means[v][thread];
    to[columns + v] = squares[v][thread];
  }
}

// Statistics of whole columns, kept and added to the remembered sums, which fade.
extern "C" __global__ void __launch_bounds__(1024)
statistics_finish(const float* partial, float* mean, float* inverse, float* means,
                  float* variances, float* weight, int groups, int rows, int columns,
                  int chunk, float eps, float fraction, float correction) {
  __shared__ float all_means[1024], all_squares[1024], all_counts[1024];
  int thread = threadIdx.x, column = FINISHED_COLUMN;
  Spread own = {};
  if (column < columns) {
#pragma unroll 4
    for (int g = thread / FINISHERS; g < groups; g += FINISH_DEEP) {
      long long left = rows - (long long)g * chunk;
      const float* from = partial + 2ll * g * columns + column;
      join(own, {(float)(left < chunk ? left : chunk), from[0], from[columns]});
    }
  }
  for (int half = FINISH_DEEP / 2; half > 0; half >>= 1) {
    all_means[thread] = own.mean;
    all_squares[thread] = own.squares;
    all_counts[thread] = own.count;
    __syncthreads();
    int other = thread + half * FINISHERS;
    if (thread < half * FINISHERS)
      join(own, {all_counts[other], all_means[other], all_squares[other]});
    __syncthreads();
  }
  if (thread < FINISHERS && column < columns) {
    // No rows have no mean: 0 / 0.
    float average = own.mean + 0.0f / (rows ? 1.0f : 0.0f);
    float variance = own.squares / (float)rows;
    mean[column] = average;
    inverse[column] = 1.0f / sqrtf(variance + eps);
    means[column] = means[column] * fraction + average;
    variances[column] = variances[column] * fraction + variance * correction;
  }
  if (blockIdx.x == 0 && thread == 0) weight[0] = weight[0] * fraction + 1.0f;
}

// What a thread knows of its columns: y = (x - mean) factor + beta.
struct Line { Few mean, factor, beta; };

__device__ inline Line line_of(const Tile& tile, const float* mean, const float* inverse,
                               const float* weight, const float* gamma,
                               const float* beta, float eps) {
  Line line;
  line.mean = column_values(mean, tile, 0.0f);
  line.factor = column_values(inverse, tile, 1.0f);
  line.beta = column_values(beta, tile, 0.0f);
  if (weight) {
    float share = *weight == 0.0f ? 0.0f : 1.0f / *weight;
#pragma unroll
    for (int v = 0; v < VECTOR; v++) {
      line.mean.at[v] *= share;
      line.factor.at[v] = 1.0f / sqrtf(line.factor.at[v] * share + eps);
    }
  }
  Few scale = column_values(gamma, tile, 1.0f);
#pragma unroll
  for (int v = 0; v < VECTOR; v++) line.factor.at[v] *= scale.at[v];
  return line;
}

// y may be x or `added`; `saved` gets x as it is.
extern "C" __global__ void __launch_bounds__(256)
normalize(const STORE* x, const STORE* added, STORE* y, STORE* saved, const float* mean,
          const float* inverse, const float* weight, const float* gamma,
          const float* beta, int rows, int columns, int chunk, float eps) {
  Tile tile = tile_of(rows, columns, chunk);
  Line line = line_of(tile, mean, inverse, weight, gamma, beta, eps);
  long long at = tile.at;
#pragma unroll 2
  for (int i = 0; i < tile.count; i++, at += tile.step) {
    Few value = load_few(x + at), more = {};
    if (added) more = load_few(added + at);
    if (saved) store_few(saved + at, value);
#pragma unroll
    for (int v = 0; v < VECTOR; v++) {
      float apart = value.at[v] - line.mean.at[v];
      float result = fmaf(apart, line.factor.at[v], line.beta.at[v]);
      if (added) result += more.at[v];
#if RECTIFY
      result = result < 0.0f ? 0.0f : result;
#endif
      value.at[v] = result;
    }
    store_few(y + at, value);
  }
}

// The gradient that passes the mask.
__device__ inline Few masked(const Few& dy, const Few& apart, const Line& line,
                             const STORE* sign, long long at) {
  Few g = dy;
#if MASK == 1
  Few y = load_few(sign + at);
#pragma unroll
  for (int v = 0; v < VECTOR; v++) g.at[v] = y.at[v] > 0.0f ? g.at[v] : 0.0f;
#elif MASK == 2
#pragma unroll
  for (int v = 0; v < VECTOR; v++) {
    float y = fmaf(apart.at[v], line.factor.at[v], line.beta.at[v]);
    g.at[v] = to_float(stored<STORE>(y)) > 0.0f ? g.at[v] : 0.0f;
  }
#endif
  return g;
}

__device__ inline void pass_on(STORE* passed, long long at, const Few& g,
                               const Few& gamma) {
#if PASS
  if (!passed) return;
  Few value = g;
#if PASS == 2
#pragma unroll
  for (int v = 0; v < VECTOR; v++) value.at[v] *= gamma.at[v];
#endif
  store_few(passed + at, value);
#endif
}

// partial (groups, 2, columns): sums of g, and of g (x - mean). Where there is `more`, it
// is added to dy first.
extern "C" __global__ void __launch_bounds__(256)
gradient_sums(const STORE* dy, const STORE* more, const STORE* x, const STORE* sign,
              STORE* passed, const float* mean, const float* inverse,
              const float* gamma, const float* beta, float* partial, int rows,
              int columns, int chunk) {
  Tile tile = tile_of(rows, columns, chunk);
  Line line = line_of(tile, mean, inverse, 0, gamma, beta, 0.0f);
  Few scale = column_values(gamma, tile, 1.0f);
  float sums[2 * VECTOR] = {};
  long long at = tile.at;
#pragma unroll 2
  for (int i = 0; i < tile.count; i++, at += tile.step) {
    Few g = load_few(dy + at), apart = load_few(x + at);
    if (more) {
      Few other = load_few(more + at);
#pragma unroll
      for (int v = 0; v < VECTOR; v++) g.at[v] += other.at[v];
    }
#pragma unroll
    for (int v = 0; v < VECTOR; v++) apart.at[v] -= line.mean.at[v];
    g = masked(g, apart, line, sign, at);
    pass_on(passed, at, g, scale);
#pragma unroll
    for (int v = 0; v < VECTOR; v++) {
      sums[v] += g.at[v];
      sums[VECTOR + v] += g.at[v] * apart.at[v];
    }
  }
  block_add_depths(sums);
  if (threadIdx.x >= LANES || tile.column >= columns) return;
  float* to = partial + 2ll * blockIdx.y * columns + tile.column;
#pragma unroll
  for (int v = 0; v < VECTOR; v++) {
    to[v] = sums[v];
    to[columns + v] = sums[VECTOR + v];
  }
}

// dbeta, dgamma, where they are wanted, and factors (2, columns) for `gradient`: the mean
// of g, and what x - mean is times.
extern "C" __global__ void __launch_bounds__(1024)
gradient_finish(const float* partial, const float* inverse, float* dgamma, float* dbeta,
                float* factors, int groups, int rows, int columns, int add_gamma,
                int add_beta) {
  float sum = block_add_partial(partial, groups, columns, 2ll * columns);
  float product = block_add_partial(partial + columns, groups, columns, 2ll * columns);
  int column = FINISHED_COLUMN;
  if (threadIdx.x >= FINISHERS || column >= columns) return;
  float deviation = inverse ? inverse[column] : 1.0f;
  product *= deviation;
  if (dbeta) dbeta[column] = add_beta ? dbeta[column] + sum : sum;
  if (dgamma) dgamma[column] = add_gamma ? dgamma[column] + product : product;
  if (factors) {
    factors[column] = sum / (float)rows;
    factors[columns + column] = product * deviation / (float)rows;
  }
}

// dx = (g - factors[0] - (x - mean) factors[1]) inverse gamma; dx and `passed` may be dy.
extern "C" __global__ void __launch_bounds__(256)
gradient(const STORE* dy, const STORE* x, STORE* dx, STORE* passed, const float* mean,
         const float* inverse, const float* gamma, const float* beta,
         const float* factors, int rows, int columns, int chunk) {
  Tile tile = tile_of(rows, columns, chunk);
  Line line = line_of(tile, mean, inverse, 0, gamma, beta, 0.0f);
  Few scale = column_values(gamma, tile, 1.0f);
  Few average = column_values(factors, tile, 0.0f);
  Few slope = column_values(factors + columns, tile, 0.0f);
  long long at = tile.at;
#pragma unroll 2
  for (int i = 0; i < tile.count; i++, at += tile.step) {
    Few g = load_few(dy + at), apart = load_few(x + at), result;
#pragma unroll
    for (int v = 0; v < VECTOR; v++) apart.at[v] -= line.mean.at[v];
    g = masked(g, apart, line, 0, at);
#pragma unroll
    for (int v = 0; v < VECTOR; v++) {
      float rest = g.at[v] - average.at[v] - apart.at[v] * slope.at[v];
      result.at[v] = rest * line.factor.at[v];
    }
    pass_on(passed, at, g, scale);
    store_few(dx + at, result);
  }
}
