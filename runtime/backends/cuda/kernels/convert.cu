// Blobs from one order of axes and one storage to another.
//
// Channels-first is N C S, channels-last N S C, S being all spatial axes as one. The
// storage of both sides is chosen apart: FROM and TO. With `add` the result is added to
// y. Accesses are of 16 bytes where the sizes allow it.
#ifndef FROM
#define FROM float
#endif
#ifndef TO
#define TO float
#endif
#ifndef DOWN
#define DOWN 64  // rows of a tile
#define RIGHT 64  // columns of a tile
#endif
#ifndef READS
#define READS 1  // neighbours that a thread reads at once: 1, or all of 16 bytes
#endif
#ifndef WRITES
#define WRITES 1
#endif
#ifndef FEW
#define FEW 3  // size of the short one of two axes
#endif
#ifndef TAKES
#define TAKES 8  // places of the long axis of a thread
#endif
#ifndef WHOLE
#define WHOLE 0  // 1 where the long axis is a multiple of TAKES
#endif
#include "storage.cuh"
#include "vec.cuh"

#define THREADS 256
#define PACKED ((int)(16 / sizeof(TO)))

// Write W neighbours at once.
template <int W>
__device__ inline void put(TO* to, const float* values, int add) {
  Vec<TO, W> result;
  if (add) {
    result = load_vec<W>(to);
#pragma unroll
    for (int k = 0; k < W; k++)
      result.at[k] = stored<TO>(to_float(result.at[k]) + values[k]);
  } else {
#pragma unroll
    for (int k = 0; k < W; k++) result.at[k] = stored<TO>(values[k]);
  }
  store_vec<W>(to, result);
}

// Transpose the last two axes: x (outer, rows, columns) -> y (outer, columns, rows). A
// block does a tile of DOWN x RIGHT; blocks stride through the outer axis.
extern "C" __global__ void __launch_bounds__(256)
transpose(const FROM* __restrict__ x, TO* __restrict__ y, unsigned outer, unsigned rows,
          unsigned columns, int add) {
  __shared__ float tile[RIGHT][DOWN + 1];
  unsigned wide = (columns + RIGHT - 1) / RIGHT;
  unsigned left = blockIdx.x % wide * RIGHT, top = blockIdx.x / wide * DOWN;
  for (unsigned o = blockIdx.y; o < outer; o += gridDim.y) {
    const FROM* from = x + o * rows * columns;
    TO* to = y + o * rows * columns;
#pragma unroll
    for (int p = threadIdx.x; p < DOWN * RIGHT / READS; p += THREADS) {
      int r = p / (RIGHT / READS), c = p % (RIGHT / READS) * READS;
      if (top + r >= rows || left + c >= columns) continue;
      Vec<FROM, READS> seen = load_vec<READS>(from + (top + r) * columns + left + c);
#pragma unroll
      for (int k = 0; k < READS; k++) tile[c + k][r] = to_float(seen.at[k]);
    }
    __syncthreads();
#pragma unroll
    for (int p = threadIdx.x; p < DOWN * RIGHT / WRITES; p += THREADS) {
      int c = p / (DOWN / WRITES), r = p % (DOWN / WRITES) * WRITES;
      if (top + r >= rows || left + c >= columns) continue;
      put<WRITES>(to + (left + c) * rows + top + r, &tile[c][r], add);
    }
    __syncthreads();
  }
}

// The same where there are few rows: x (outer, FEW, many) -> y (outer, many, FEW). A
// thread takes some places of the long axis, and all of the short one.
extern "C" __global__ void __launch_bounds__(256)
gather_few(const FROM* __restrict__ x, TO* __restrict__ y, unsigned outer, unsigned many,
           int add) {
  unsigned total = outer * many;
  for (unsigned t = FIRST; t < (total + TAKES - 1) / TAKES; t += STRIDE) {
    unsigned at = t * TAKES, o = at / many, s = at - o * many;
    float values[TAKES * FEW];
#if WHOLE
#pragma unroll
    for (int c = 0; c < FEW; c++) {
      Vec<FROM, TAKES> seen = load_vec<TAKES>(x + (o * FEW + c) * many + s);
#pragma unroll
      for (int k = 0; k < TAKES; k++) values[k * FEW + c] = to_float(seen.at[k]);
    }
#else
#pragma unroll
    for (int k = 0; k < TAKES; k++) {
      if (at + k >= total) break;
#pragma unroll
      for (int c = 0; c < FEW; c++)
        values[k * FEW + c] = to_float(x[(o * FEW + c) * many + s]);
      if (++s == many) s = 0, o++;
    }
#endif
    TO* to = y + at * FEW;
    if (at + TAKES <= total) {
#pragma unroll
      for (int e = 0; e < TAKES * FEW; e += PACKED) put<PACKED>(to + e, values + e, add);
    } else {
#pragma unroll
      for (int e = 0; e < TAKES * FEW; e++)
        if (at * FEW + e < total * FEW) put<1>(to + e, values + e, add);
    }
  }
}

// The way back: x (outer, many, FEW) -> y (outer, FEW, many).
extern "C" __global__ void __launch_bounds__(256)
spread_few(const FROM* __restrict__ x, TO* __restrict__ y, unsigned outer, unsigned many,
           int add) {
  const int pack = 16 / sizeof(FROM);
  unsigned total = outer * many;
  for (unsigned t = FIRST; t < (total + TAKES - 1) / TAKES; t += STRIDE) {
    unsigned at = t * TAKES, o = at / many, s = at - o * many;
    const FROM* from = x + at * FEW;
    float values[TAKES * FEW];
    if (at + TAKES <= total) {
#pragma unroll
      for (int e = 0; e < TAKES * FEW; e += pack) {
        Vec<FROM, pack> seen = load_vec<pack>(from + e);
#pragma unroll
        for (int k = 0; k < pack; k++) values[e + k] = to_float(seen.at[k]);
      }
    } else {
#pragma unroll
      for (int e = 0; e < TAKES * FEW; e++)
        if (at * FEW + e < total * FEW) values[e] = to_float(from[e]);
    }
#if WHOLE
#pragma unroll
    for (int c = 0; c < FEW; c++) {
      float line[TAKES];
#pragma unroll
      for (int k = 0; k < TAKES; k++) line[k] = values[k * FEW + c];
      put<TAKES>(y + (o * FEW + c) * many + s, line, add);
    }
#else
#pragma unroll
    for (int k = 0; k < TAKES; k++) {
      if (at + k >= total) break;
#pragma unroll
      for (int c = 0; c < FEW; c++)
        put<1>(y + (o * FEW + c) * many + s, &values[k * FEW + c], add);
      if (++s == many) s = 0, o++;
    }
#endif
  }
}

// The same order on both sides: a thread takes TAKES neighbours, those left over at the
// end go one by one.
extern "C" __global__ void __launch_bounds__(256)
copy(const FROM* x, TO* y, unsigned count, int add) {
  unsigned packs = count / TAKES;
  float values[TAKES];
  for (unsigned t = FIRST; t < packs; t += STRIDE) {
    Vec<FROM, TAKES> seen = load_vec<TAKES>(x + t * TAKES);
#pragma unroll
    for (int k = 0; k < TAKES; k++) values[k] = to_float(seen.at[k]);
    put<TAKES>(y + t * TAKES, values, add);
  }
  for (unsigned i = packs * TAKES + FIRST; i < count; i += STRIDE) {
    values[0] = to_float(x[i]);
    put<1>(y + i, values, add);
  }
}
