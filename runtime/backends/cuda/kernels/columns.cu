// Sums over the rows of x (rows, columns), in a fixed order; and rows added to all rows.
#include "storage.cuh"

#define LANES 32
#define ROWS 8

// parts (gridDim.y, columns): block y sums rows y * share to (y + 1) * share.
extern "C" __global__ void __launch_bounds__(256)
column_parts(const STORE* __restrict__ x, float* __restrict__ parts, int rows,
             int columns, int share) {
  __shared__ float sums[ROWS][LANES];
  int column = blockIdx.x * LANES + threadIdx.x;
  int end = min(rows, (int)(blockIdx.y + 1) * share);
  float sum = 0.0f;
  if (column < columns)
    for (int row = blockIdx.y * share + threadIdx.y; row < end; row += ROWS)
      sum += to_float(x[(long long)row * columns + column]);
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y == 0 && column < columns) {
    float total = 0.0f;
    for (int j = 0; j < ROWS; j++) total += sums[j][threadIdx.x];
    parts[(long long)blockIdx.y * columns + column] = total;
  }
}

extern "C" __global__ void column_total(const float* parts, float* out, int count,
                                        int columns, int add) {
  int column = FIRST;
  if (column >= columns) return;
  float sum = 0.0f;
  for (int part = 0; part < count; part++) sum += parts[(long long)part * columns + column];
  out[column] = add ? out[column] + sum : sum;
}

extern "C" __global__ void add_row(STORE* y, const float* row, long long count,
                                   int columns) {
  for (long long i = FIRST; i < count; i += STRIDE)
    y[i] = stored<STORE>(to_float(y[i]) + row[i % columns]);
}
