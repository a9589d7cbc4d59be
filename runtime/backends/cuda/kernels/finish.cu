// The partial sums of many layers added up, each out (columns) of partial (groups,
// columns) in a fixed order. A block has eight columns.
#include "rows.cuh"

#define FINISHERS 8
#define DEEP 32

struct Sum {
  const float* partial;
  float* out;
  int groups, columns, add, first;  // first: the number of its first block
};

extern "C" __global__ void __launch_bounds__(256)
finish_sums(const Sum* __restrict__ sums, int count) {
  __shared__ float parts[FINISHERS * DEEP];
  const Sum one = *row_of(sums, count, blockIdx.x);
  int thread = threadIdx.x, lane = thread % FINISHERS;
  int column = (blockIdx.x - one.first) * FINISHERS + lane;
  float sum = 0.0f;
  if (column < one.columns)
    for (int g = thread / FINISHERS; g < one.groups; g += DEEP)
      sum += one.partial[(long long)g * one.columns + column];
  parts[thread] = sum;
  __syncthreads();
  for (int half = DEEP / 2; half > 0; half >>= 1) {
    if (thread < half * FINISHERS) parts[thread] += parts[thread + half * FINISHERS];
    __syncthreads();
  }
  if (thread < FINISHERS && column < one.columns)
    one.out[column] = one.add ? one.out[column] + parts[thread] : parts[thread];
}
