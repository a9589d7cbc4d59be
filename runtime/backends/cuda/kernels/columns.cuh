// A matrix of rows by columns, in tiles: a block of 256 threads takes LANES * VECTOR
// columns of `chunk` rows. blockIdx.x counts tiles along a row, blockIdx.y down.
//
// Sums down the columns have a fixed order: a thread adds every DEEP-th row of its tile,
// the threads of a block are added as a tree, and what the blocks leave, one row of
// `partial` for each blockIdx.y, is added by a kernel behind (`block_add_partial`).
#include "storage.cuh"
#ifndef VECTOR
#define VECTOR 1  // neighbours that a thread takes at once: 1, or all of 16 bytes
#endif
#ifndef LANES
#define LANES 32  // threads side by side along a row, a power of two
#endif
#define TILE_THREADS 256
#define DEEP (TILE_THREADS / LANES)

// What a thread has of its tile: `count` rows from the element `at` on, `step` apart.
struct Tile {
  int column, count;
  long long at, step;
};

__device__ inline Tile tile_of(int rows, int columns, int chunk) {
  Tile tile;
  int depth = threadIdx.x / LANES;
  long long start = (long long)blockIdx.y * chunk;
  long long left = rows - start;
  int whole = (int)(left < chunk ? left : chunk);
  tile.column = (blockIdx.x * LANES + threadIdx.x % LANES) * VECTOR;
  bool inside = tile.column < columns && depth < whole;
  tile.count = inside ? (whole - depth + DEEP - 1) / DEEP : 0;
  tile.at = (start + depth) * columns + tile.column;
  tile.step = (long long)DEEP * columns;
  return tile;
}

// Neighbours along a row, as numbers.
struct Few { float at[VECTOR]; };

__device__ inline Few load_few(const STORE* from) {
  Few few;
#if VECTOR > 1
  Pack<STORE> pack = load_pack(from);
#pragma unroll
  for (int v = 0; v < VECTOR; v++) few.at[v] = to_float(pack.at[v]);
#else
  few.at[0] = to_float(*from);
#endif
  return few;
}

__device__ inline void store_few(STORE* to, const Few& few) {
#if VECTOR > 1
  Pack<STORE> pack;
#pragma unroll
  for (int v = 0; v < VECTOR; v++) pack.at[v] = stored<STORE>(few.at[v]);
  store_pack(to, pack);
#else
  *to = stored<STORE>(few.at[0]);
#endif
}

// The numbers of a thread's columns, in float32; a null pointer holds `missing`.
__device__ inline Few column_values(const float* from, const Tile& tile, float missing) {
  Few few;
#pragma unroll
  for (int v = 0; v < VECTOR; v++)
    few.at[v] = from && tile.count ? from[tile.column + v] : missing;
  return few;
}

// Add the sums of the threads of a block that have the same columns; those of the first
// row of threads get the result.
template <int K>
__device__ inline void block_add_depths(float (&sums)[K]) {
  __shared__ float parts[K][TILE_THREADS];
  int thread = threadIdx.x;
  __syncthreads();  // whoever still reads the parts of the sum before
#pragma unroll
  for (int k = 0; k < K; k++) parts[k][thread] = sums[k];
  __syncthreads();
#pragma unroll
  for (int half = DEEP / 2; half > 0; half >>= 1) {
    if (thread < half * LANES) {
#pragma unroll
      for (int k = 0; k < K; k++) parts[k][thread] += parts[k][thread + half * LANES];
    }
    __syncthreads();
  }
#pragma unroll
  for (int k = 0; k < K; k++) sums[k] = parts[k][thread % LANES];
}

// Blocks of `FINISHERS` columns by a power of two of threads add the rows of `partial`.
#define FINISHERS 8

// The column of a thread of such a block, and how many rows of threads there are.
#define FINISHED_COLUMN ((int)(blockIdx.x * FINISHERS + threadIdx.x % FINISHERS))
#define FINISH_DEEP ((int)(blockDim.x / FINISHERS))

// Return, to every thread, the sum of its column of `partial` (groups, pitch).
__device__ inline float block_add_partial(const float* partial, int groups, int columns,
                                          long long pitch) {
  __shared__ float parts[1024];
  int thread = threadIdx.x, column = FINISHED_COLUMN;
  float sum = 0.0f;
  if (column < columns) {
#pragma unroll 8
    for (int g = thread / FINISHERS; g < groups; g += FINISH_DEEP)
      sum += partial[g * pitch + column];
  }
  __syncthreads();
  parts[thread] = sum;
  __syncthreads();
  for (int half = FINISH_DEEP / 2; half > 0; half >>= 1) {
    if (thread < half * FINISHERS) parts[thread] += parts[thread + half * FINISHERS];
    __syncthreads();
  }
  return parts[thread % FINISHERS];
}
