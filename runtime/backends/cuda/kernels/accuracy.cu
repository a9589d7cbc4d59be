// The share of labels among the best scores, of scores (outer, classes, inner).
//
// Each block leaves the numbers of its right labels and of those that count; one block
// adds these up. `verdicts`, where it is not null, gets for every place 1 or 0, -1 where
// its label is ignored, NaN where it is no class; so are the sums then.
#include "storage.cuh"
#include "reduce.cuh"

#define IGNORED (-1)
#define BAD (-2)
#define NOT_A_NUMBER __uint_as_float(0x7fc00000u)

// Return the class that a label names, cut to an integer.
__device__ inline int class_of(float label, int classes, int ignores, int ignored) {
  if (!(fabsf(label) < 4.611686e18f)) return BAD;
  long long number = (long long)label;
  if (ignores && number == ignored) return IGNORED;
  return number < 0 || number >= classes ? BAD : (int)number;
}

__device__ inline float verdict_of(int label, float rivals, int top_k) {
  if (label == IGNORED) return -1.0f;
  if (label == BAD) return NOT_A_NUMBER;
  return rivals <= (float)top_k ? 1.0f : 0.0f;
}

__device__ inline void count_in(float verdict, float* right, float* counted) {
  if (verdict == -1.0f) return;
  *right += verdict;
  *counted += verdict == verdict ? 1.0f : verdict;
}

// A thread does all classes of a place.
extern "C" __global__ void __launch_bounds__(256)
accuracy_places(const STORE* x, const float* labels, float* partial, float* verdicts,
                unsigned places, unsigned classes, unsigned inner, int top_k,
                int ignores, int ignored) {
  float right = 0.0f, counted = 0.0f;
  for (unsigned p = FIRST; p < places; p += STRIDE) {
    int label = class_of(labels[p], classes, ignores, ignored);
    const STORE* from = x + p / inner * classes * inner + p % inner;
    float rivals = 0.0f;
    if (label >= 0) {
      float picked = to_float(from[label * inner]);
#pragma unroll 4
      for (unsigned c = 0; c < classes; c++)
        rivals += to_float(from[c * inner]) >= picked ? 1.0f : 0.0f;
    }
    float verdict = verdict_of(label, rivals, top_k);
    if (verdicts) verdicts[p] = verdict;
    count_in(verdict, &right, &counted);
  }
  right = block_sum(right);
  counted = block_sum(counted);
  if (threadIdx.x == 0) {
    partial[2 * blockIdx.x] = right;
    partial[2 * blockIdx.x + 1] = counted;
  }
}

// A block does all classes of a place; inner is 1.
extern "C" __global__ void __launch_bounds__(256)
accuracy_rows(const STORE* x, const float* labels, float* partial, float* verdicts,
              unsigned places, unsigned classes, int top_k, int ignores, int ignored) {
  float right = 0.0f, counted = 0.0f;
  for (unsigned p = blockIdx.x; p < places; p += gridDim.x) {
    int label = class_of(labels[p], classes, ignores, ignored);
    const STORE* from = x + p * classes;
    float rivals = 0.0f;
    if (label >= 0) {
      float picked = to_float(from[label]);
#pragma unroll 4
      for (unsigned c = threadIdx.x; c < classes; c += blockDim.x)
        rivals += to_float(from[c]) >= picked ? 1.0f : 0.0f;
    }
    rivals = block_sum(rivals);
    float verdict = verdict_of(label, rivals, top_k);
    if (verdicts && threadIdx.x == 0) verdicts[p] = verdict;
    count_in(verdict, &right, &counted);
  }
  if (threadIdx.x == 0) {
    partial[2 * blockIdx.x] = right;
    partial[2 * blockIdx.x + 1] = counted;
  }
}

extern "C" __global__ void __launch_bounds__(256)
accuracy_share(const float* partial, unsigned blocks, float* y) {
  float right = 0.0f, counted = 0.0f;
  for (unsigned b = threadIdx.x; b < blocks; b += blockDim.x) {
    right += partial[2 * b];
    counted += partial[2 * b + 1];
  }
  right = block_sum(right);
  counted = block_sum(counted);
  if (threadIdx.x == 0) y[0] = right / (counted < 1.0f ? 1.0f : counted);
}

// A block does a class.
extern "C" __global__ void __launch_bounds__(256)
accuracy_classes(const float* labels, const float* verdicts, float* y, unsigned places) {
  float right = 0.0f, counted = 0.0f;
#pragma unroll 4
  for (unsigned p = threadIdx.x; p < places; p += blockDim.x) {
    float verdict = verdicts[p];
    bool here = verdict != verdict || (long long)labels[p] == (long long)blockIdx.x;
    if (here) count_in(verdict, &right, &counted);
  }
  right = block_sum(right);
  counted = block_sum(counted);
  if (threadIdx.x == 0) y[blockIdx.x] = right / (counted < 1.0f ? 1.0f : counted);
}
