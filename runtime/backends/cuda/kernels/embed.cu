// Rows of a table by number, and the sums of the gradients of every row, in order.
#include "storage.cuh"

// A number is cut to a whole one; one out of range takes the nearest row, NaN none: -1.
extern "C" __global__ void embed_index(const float* x, int* index, int count, int rows) {
  for (long long i = FIRST; i < count; i += STRIDE) {
    float value = x[i];
    int row = value >= (float)(rows - 1) ? rows - 1 : value > 0.0f ? (int)value : 0;
    index[i] = value != value ? -1 : row;
  }
}

extern "C" __global__ void embed(const int* __restrict__ index, const float* __restrict__ w,
                                 const float* __restrict__ bias, STORE* y, long long count,
                                 int columns) {
  for (long long i = FIRST; i < count; i += STRIDE) {
    int row = index[i / columns], column = i % columns;
    float value = row < 0 ? __uint_as_float(0x7fc00000u) : w[(long long)row * columns + column];
    y[i] = stored<STORE>(bias ? value + bias[column] : value);
  }
}

// dw (gridDim.x, columns) = (dw +) the sum of the rows of dy with that number. A block has
// one row of dw and as many columns as threads.
extern "C" __global__ void __launch_bounds__(256)
embed_gradient(const int* __restrict__ index, const STORE* __restrict__ dy, float* dw,
               int count, int columns, int add) {
  int row = blockIdx.x, column = blockIdx.y * blockDim.x + threadIdx.x;
  if (column >= columns) return;
  float sum = 0.0f;
#pragma unroll 8
  for (int i = 0; i < count; i++)
    if (index[i] == row) sum += to_float(dy[(long long)i * columns + column]);
  float* out = dw + (long long)row * columns + column;
  *out = add ? *out + sum : sum;
}
