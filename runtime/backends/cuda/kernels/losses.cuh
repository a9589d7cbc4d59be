// What losses share: labels, and the sum of what the blocks of a kernel leave.
#include "reduce.cuh"

// A label as a class. Its weight is 1, or 0 where it is ignored; NaN where it is no class
// or no number, which makes the loss and its gradients NaN.
struct Label { long long value; float weight; };

__device__ inline Label label_of(float given, long long classes, int ignores,
                                 int ignored) {
  float bad = __uint_as_float(0x7fc00000u);
  if (!(fabsf(given) < 4611686018427387904.0f)) return {0, bad};  // 2^62
  long long value = (long long)given;
  if (ignores && value == ignored) return {0, 0.0f};
  if (value < 0 || value >= classes) return {0, bad};
  return {value, 1.0f};
}

// partial (2, blocks): the sums of the terms and of the weights of a block.
__device__ inline void block_leave(float term, float weight, float* partial) {
  term = block_sum(term);
  weight = block_sum(weight);
  if (threadIdx.x == 0) {
    partial[blockIdx.x] = term;
    partial[gridDim.x + blockIdx.x] = weight;
  }
}

// loss = scale (sum of the terms) / divisor; the divisor is the sum of the weights where
// it `counts`, else `fixed`, but at least 1. One block.
extern "C" __global__ void __launch_bounds__(256)
loss_finish(const float* partial, float* loss, float* divisor, int blocks, float scale,
            float fixed, int counts) {
  float term = 0.0f, weight = 0.0f;
  for (int i = threadIdx.x; i < blocks; i += blockDim.x) {
    term += partial[i];
    weight += partial[blocks + i];
  }
  term = block_sum(term);
  weight = block_sum(weight);
  if (threadIdx.x) return;
  float by = counts ? weight : fixed;
  by = by < 1.0f ? 1.0f : by;  // NaN stays
  *divisor = by;
  *loss = term * scale / by;
}
