// BatchNorm, Scale, and both as one with a sum and a ReLU behind them.
//
// y = (x - mean) inverse gamma + beta (+ added), all of x's shape with the channels last,
// the rest float32, one number a channel. Null pointers: mean, beta 0; inverse, gamma 1.
//
// With a `weight` mean and inverse are BatchNorm's sums of means and of variances, which
// it divides.
//
// RECTIFY: 1 where negative y become 0. NORMAL: 1 where what is saved is (x - mean)
// inverse, else x. MASK: which gradients pass: 0 all, 1 those with a
// positive `sign`, 2 those whose y, without `added`, would be positive. PASS: what is
// left in `passed`: 1 the gradient g behind the mask, 2 g gamma.
#ifndef RECTIFY
#define RECTIFY 0
#endif
#ifndef NORMAL
#define NORMAL 0
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

// The statistics of the rows of a block, to every thread those of its columns. A thread
// measures from the first value that it meets.
struct Measured { Few mean, squares; };

__device__ inline Measured block_measure(const STORE* __restrict__ x, const Tile& tile) {
  __shared__ float means[VECTOR][TILE_THREADS], squares[VECTOR][TILE_THREADS];
  __shared__ float counts[TILE_THREADS];
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
  Measured all;
#pragma unroll
  for (int v = 0; v < VECTOR; v++) {
    all.mean.at[v] = means[v][thread % LANES];
    all.squares.at[v] = squares[v][thread % LANES];
  }
  return all;
}

// partial (groups, 2, columns): the mean of a block's rows, and their sum of squared
// deviations.
extern "C" __global__ void __launch_bounds__(256)
statistics(const STORE* __restrict__ x, float* partial, int rows, int columns, int chunk) {
  Tile tile = tile_of(rows, columns, chunk);
  Measured all = block_measure(x, tile);
  if (threadIdx.x >= LANES || tile.column >= columns) return;
  float* to = partial + 2ll * blockIdx.y * columns + tile.column;
#pragma unroll
  for (int v = 0; v < VECTOR; v++) {
    to[v] = all.mean.at[v];
    to[columns + v] = all.squares.at[v];
  }
}

// What remains of a channel: its mean, 1 / deviation, and what fades.
struct Memory {
  float *mean, *inverse, *means, *variances;
  float eps, fraction, correction;
};

__device__ inline void remember(const Memory& memory, int column, int rows, float mean,
                                float squares) {
  // No rows have no mean: 0 / 0.
  float average = mean + 0.0f / (rows ? 1.0f : 0.0f);
  float variance = squares / (float)rows;
  memory.mean[column] = average;
  memory.inverse[column] = 1.0f / sqrtf(variance + memory.eps);
  memory.means[column] = memory.means[column] * memory.fraction + average;
  memory.variances[column] =
      memory.variances[column] * memory.fraction + variance * memory.correction;
}

// How many means the sums hold.
__device__ inline void count_one(float* weight, float fraction) {
  if (blockIdx.x == 0 && threadIdx.x == 0) weight[0] = weight[0] * fraction + 1.0f;
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
  Memory memory = {mean, inverse, means, variances, eps, fraction, correction};
  if (thread < FINISHERS && column < columns)
    remember(memory, column, rows, own.mean, own.squares);
  count_one(weight, fraction);
}

// The same where a block has all rows of its columns.
extern "C" __global__ void __launch_bounds__(256)
statistics_whole(const STORE* __restrict__ x, float* mean, float* inverse, float* means,
                 float* variances, float* weight, int rows, int columns, int chunk,
                 float eps, float fraction, float correction) {
  Tile tile = tile_of(rows, columns, chunk);
  Measured all = block_measure(x, tile);
  Memory memory = {mean, inverse, means, variances, eps, fraction, correction};
  count_one(weight, fraction);
  if (threadIdx.x >= LANES || tile.column >= columns) return;
#pragma unroll
  for (int v = 0; v < VECTOR; v++)
    remember(memory, tile.column + v, rows, all.mean.at[v], all.squares.at[v]);
}

// What a thread knows of its columns: y = (x - mean) factor + beta.
struct Line { Few mean, inverse, factor, beta; };

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
  line.inverse = line.factor;
  Few scale = column_values(gamma, tile, 1.0f);
#pragma unroll
  for (int v = 0; v < VECTOR; v++) line.factor.at[v] *= scale.at[v];
  return line;
}

// y may be x or `added`; `saved` gets x, or what was normalized.
__device__ inline void apply(const STORE* x, const STORE* added, STORE* y, STORE* saved,
                             const Tile& tile, const Line& line) {
  long long at = tile.at;
#pragma unroll 2
  for (int i = 0; i < tile.count; i++, at += tile.step) {
    Few value = load_few(x + at), more = {}, kept = value;
    if (added) more = load_few(added + at);
#pragma unroll
    for (int v = 0; v < VECTOR; v++) {
      float apart = value.at[v] - line.mean.at[v];
      if (NORMAL) kept.at[v] = apart * line.inverse.at[v];
      float result = fmaf(apart, line.factor.at[v], line.beta.at[v]);
      if (added) result += more.at[v];
#if RECTIFY
      result = result < 0.0f ? 0.0f : result;
#endif
      value.at[v] = result;
    }
    if (saved) store_few(saved + at, kept);
    store_few(y + at, value);
  }
}

extern "C" __global__ void __launch_bounds__(256)
normalize(const STORE* x, const STORE* added, STORE* y, STORE* saved, const float* mean,
          const float* inverse, const float* weight, const float* gamma,
          const float* beta, int rows, int columns, int chunk, float eps) {
  Tile tile = tile_of(rows, columns, chunk);
  Line line = line_of(tile, mean, inverse, weight, gamma, beta, eps);
  apply(x, added, y, saved, tile, line);
}

// `statistics_whole`, then `normalize` by what these are.
extern "C" __global__ void __launch_bounds__(256)
normalize_whole(const STORE* x, STORE* y, STORE* saved, float* mean, float* inverse,
                float* means, float* variances, float* weight, const float* gamma,
                const float* beta, int rows, int columns, int chunk, float eps,
                float fraction, float correction) {
  Tile tile = tile_of(rows, columns, chunk);
  Measured all = block_measure(x, tile);
  Memory memory = {mean, inverse, means, variances, eps, fraction, correction};
  count_one(weight, fraction);
  Line line = line_of(tile, 0, 0, 0, gamma, beta, eps);
  line.mean = all.mean;
#pragma unroll
  for (int v = 0; v < VECTOR; v++) {
    line.factor.at[v] *= 1.0f / sqrtf(all.squares.at[v] / (float)rows + eps);
    if (threadIdx.x < LANES && tile.column < columns)
      remember(memory, tile.column + v, rows, all.mean.at[v], all.squares.at[v]);
  }
  apply(x, 0, y, saved, tile, line);
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

// Sums of g, and of g (x - mean), over the rows of a block; to every thread those of its
// columns. Where there is `more`, it is added to dy first.
__device__ inline void block_sum_gradients(float (&sums)[2 * VECTOR], const STORE* dy,
                                           const STORE* more, const STORE* x,
                                           const STORE* sign, STORE* passed,
                                           const Tile& tile, const Line& line,
                                           const Few& gamma) {
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
    pass_on(passed, at, g, gamma);
#pragma unroll
    for (int v = 0; v < VECTOR; v++) {
      sums[v] += g.at[v];
      sums[VECTOR + v] += g.at[v] * apart.at[v];
    }
  }
  block_add_depths(sums);
}

// partial (groups, 2, columns): the sums of every block.
extern "C" __global__ void __launch_bounds__(256)
gradient_sums(const STORE* dy, const STORE* more, const STORE* x, const STORE* sign,
              STORE* passed, const float* mean, const float* inverse,
              const float* gamma, const float* beta, float* partial, int rows,
              int columns, int chunk) {
  Tile tile = tile_of(rows, columns, chunk);
  Line line = line_of(tile, mean, inverse, 0, gamma, beta, 0.0f);
  Few scale = column_values(gamma, tile, 1.0f);
  float sums[2 * VECTOR] = {};
  block_sum_gradients(sums, dy, more, x, sign, passed, tile, line, scale);
  if (threadIdx.x >= LANES || tile.column >= columns) return;
  float* to = partial + 2ll * blockIdx.y * columns + tile.column;
#pragma unroll
  for (int v = 0; v < VECTOR; v++) {
    to[v] = sums[v];
    to[columns + v] = sums[VECTOR + v];
  }
}

// What the sums are for: the gradients that are wanted, and what `gradient` needs.
struct Wanted {
  float *dgamma, *dbeta, *factors;
  int add_gamma, add_beta;
};

// The mean of g, and what x - mean is times in dx.
struct Factors { float average, slope; };

__device__ inline Factors factors_of(float sum, float product, float inverse, int rows) {
  return {sum / (float)rows, product * inverse * inverse / (float)rows};
}

__device__ inline void keep(const Wanted& wanted, int column, int columns, int rows,
                            float sum, float product, const float* inverse) {
  float deviation = inverse ? inverse[column] : 1.0f;
  Factors factors = factors_of(sum, product, deviation, rows);
  product *= deviation;
  float *dgamma = wanted.dgamma, *dbeta = wanted.dbeta;
  if (dbeta) dbeta[column] = wanted.add_beta ? dbeta[column] + sum : sum;
  if (dgamma) dgamma[column] = wanted.add_gamma ? dgamma[column] + product : product;
  if (!wanted.factors) return;
  wanted.factors[column] = factors.average;
  wanted.factors[columns + column] = factors.slope;
}

// dbeta, dgamma, where they are wanted, and factors (2, columns) for `gradient`.
extern "C" __global__ void __launch_bounds__(1024)
gradient_finish(const float* partial, const float* inverse, float* dgamma, float* dbeta,
                float* factors, int groups, int rows, int columns, int add_gamma,
                int add_beta) {
  float sum = block_add_partial(partial, groups, columns, 2ll * columns);
  float product = block_add_partial(partial + columns, groups, columns, 2ll * columns);
  int column = FINISHED_COLUMN;
  if (threadIdx.x >= FINISHERS || column >= columns) return;
  Wanted wanted = {dgamma, dbeta, factors, add_gamma, add_beta};
  keep(wanted, column, columns, rows, sum, product, inverse);
}

// Both where a block has all rows of its columns.
extern "C" __global__ void __launch_bounds__(256)
gradient_sums_whole(const STORE* dy, const STORE* more, const STORE* x,
                    const STORE* sign, STORE* passed, const float* mean,
                    const float* inverse, const float* gamma, const float* beta,
                    float* dgamma, float* dbeta, float* factors, int rows, int columns,
                    int chunk, int add_gamma, int add_beta) {
  Tile tile = tile_of(rows, columns, chunk);
  Line line = line_of(tile, mean, inverse, 0, gamma, beta, 0.0f);
  Few scale = column_values(gamma, tile, 1.0f);
  float sums[2 * VECTOR] = {};
  block_sum_gradients(sums, dy, more, x, sign, passed, tile, line, scale);
  if (threadIdx.x >= LANES || tile.column >= columns) return;
  Wanted wanted = {dgamma, dbeta, factors, add_gamma, add_beta};
#pragma unroll
  for (int v = 0; v < VECTOR; v++)
    keep(wanted, tile.column + v, columns, rows, sums[v], sums[VECTOR + v], inverse);
}

// dx = (g - average - (x - mean) slope) inverse gamma; dx and `passed` may be dy.
__device__ inline void derive(const STORE* dy, const STORE* x, STORE* dx, STORE* passed,
                              const Tile& tile, const Line& line, const Few& gamma,
                              const Few& average, const Few& slope) {
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
    pass_on(passed, at, g, gamma);
    store_few(dx + at, result);
  }
}

extern "C" __global__ void __launch_bounds__(256)
gradient(const STORE* dy, const STORE* x, STORE* dx, STORE* passed, const float* mean,
         const float* inverse, const float* gamma, const float* beta,
         const float* factors, int rows, int columns, int chunk) {
  Tile tile = tile_of(rows, columns, chunk);
  Line line = line_of(tile, mean, inverse, 0, gamma, beta, 0.0f);
  Few scale = column_values(gamma, tile, 1.0f);
  Few average = column_values(factors, tile, 0.0f);
  Few slope = column_values(factors + columns, tile, 0.0f);
  derive(dy, x, dx, passed, tile, line, scale, average, slope);
}

// `gradient_sums_whole`, then `gradient` by what these are.
extern "C" __global__ void __launch_bounds__(256)
gradient_whole(const STORE* dy, const STORE* x, STORE* dx, STORE* passed,
               const float* mean, const float* inverse, const float* gamma,
               const float* beta, float* dgamma, float* dbeta, int rows, int columns,
               int chunk, int add_gamma, int add_beta) {
  Tile tile = tile_of(rows, columns, chunk);
  Line line = line_of(tile, mean, inverse, 0, gamma, beta, 0.0f);
  Few scale = column_values(gamma, tile, 1.0f), average, slope;
  Few deviation = column_values(inverse, tile, 1.0f);
  float sums[2 * VECTOR] = {};
  block_sum_gradients(sums, dy, 0, x, 0, 0, tile, line, scale);
  Wanted wanted = {dgamma, dbeta, 0, add_gamma, add_beta};
#pragma unroll
  for (int v = 0; v < VECTOR; v++) {
    float sum = sums[v], product = sums[VECTOR + v];
    Factors factors = factors_of(sum, product, deviation.at[v], rows);
    average.at[v] = factors.average;
    slope.at[v] = factors.slope;
    if (threadIdx.x < LANES && tile.column < columns)
      keep(wanted, tile.column + v, columns, rows, sum, product, inverse);
  }
  derive(dy, x, dx, passed, tile, line, scale, average, slope);
}
