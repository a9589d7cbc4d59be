// The logistic loss of scores against labels: p = softmax(x), loss = -log(p[label]).
//
// LANES threads of a block of 256 share a row of `classes` scores, which are `inner`
// elements apart. Row o * inner + i starts at element o * classes * inner + i.
#ifndef LANES
#define LANES 1
#endif
#include "storage.cuh"
#include "losses.cuh"
#define ROWS (256 / LANES)
#define LEAST 1.17549435e-38f  // the least probability whose log is taken

__device__ inline long long start_of(long long row, int classes, int inner) {
  return inner == 1 ? row * classes : row / inner * classes * inner + row % inner;
}

// The sum, or the maximum, over the threads that share a row.
__device__ inline float block_row(float value, bool highest) {
#if LANES > 1
  __shared__ float parts[256];
  int thread = threadIdx.x, lane = thread % LANES;
  __syncthreads();
  parts[thread] = value;
  __syncthreads();
#pragma unroll
  for (int half = LANES / 2; half > 0; half >>= 1) {
    if (lane < half) {
      float mine = parts[thread], other = parts[thread + half];
      bool takes = other > mine || other != other;
      parts[thread] = highest ? (takes ? other : mine) : mine + other;
    }
    __syncthreads();
  }
  return parts[thread - lane];
#else
  return value;
#endif
}

extern "C" __global__ void __launch_bounds__(256)
softmax_loss(const STORE* __restrict__ x, const float* __restrict__ labels, float* p,
             float* partial, int rows, int classes, int inner, int ignores,
             int ignored) {
  int lane = threadIdx.x % LANES;
  float loss = 0.0f, counted = 0.0f;
  for (long long first = (long long)blockIdx.x * ROWS; first < rows;
       first += (long long)gridDim.x * ROWS) {
    long long row = first + threadIdx.x / LANES;
    int own = row < rows ? classes : 0;
    long long start = own ? start_of(row, classes, inner) : 0;
    float highest = __uint_as_float(0xff800000u), total = 0.0f;
#pragma unroll 4
    for (int c = lane; c < own; c += LANES) {
      float value = to_float(x[start + (long long)c * inner]);
      highest = value > highest || value != value ? value : highest;
    }
    highest = block_row(highest, true);
#pragma unroll 4
    for (int c = lane; c < own; c += LANES)
      total += expf(to_float(x[start + (long long)c * inner]) - highest);
    total = block_row(total, false);
#pragma unroll 4
    for (int c = lane; c < own; c += LANES) {
      long long at = start + (long long)c * inner;
      p[at] = expf(to_float(x[at]) - highest) / total;
    }
    if (own && lane == 0) {
      Label label = label_of(labels[row], classes, ignores, ignored);
      float score = to_float(x[start + label.value * inner]);
      float likely = expf(score - highest) / total;
      loss -= logf(likely < LEAST ? LEAST : likely) * label.weight;
      counted += label.weight;
    }
  }
  block_leave(loss, counted, partial);
}

// dx = dloss / divisor * weight * (p - [class is the label])
extern "C" __global__ void __launch_bounds__(256)
softmax_loss_gradient(const float* __restrict__ p, const float* __restrict__ labels,
                      const float* dloss, const float* divisor, STORE* dx, int rows,
                      int classes, int inner, int ignores, int ignored) {
  int lane = threadIdx.x % LANES;
  float share = *dloss / *divisor;
  for (long long row = (long long)blockIdx.x * ROWS + threadIdx.x / LANES; row < rows;
       row += (long long)gridDim.x * ROWS) {
    Label label = label_of(labels[row], classes, ignores, ignored);
    long long start = start_of(row, classes, inner);
    float factor = label.weight * share;
#pragma unroll 4
    for (int c = lane; c < classes; c += LANES) {
      long long at = start + (long long)c * inner;
      float value = c == label.value ? p[at] - 1.0f : p[at];
      dx[at] = stored<STORE>(value * factor);
    }
  }
}
