// Losses that are sums over elements, and their gradients.
//
// KIND says which; a and b are scores and targets, c and d weights or null.
// CLASSES: elements of a row that has one label.
#define EUCLIDEAN 0    // (a - b)^2
#define CROSS_ENTROPY 1  // of sigmoid(a) and the target b
#define SMOOTH_L1 2    // of c (a - b), times d; `number` is sigma^2
#define HINGE 3        // max(0, 1 - t a), t = 1 at the label, else -1
#define SQUARED_HINGE 4
#define LIKELIHOOD 5   // -log of a, a probability, at the label
#ifndef KIND
#define KIND EUCLIDEAN
#endif
#ifndef CLASSES
#define CLASSES 1
#endif
#define LABELLED (KIND >= HINGE)
#define LEAST 1e-20f  // the least probability that is divided by or whose log is taken
#include "storage.cuh"
#include "losses.cuh"

// The margin of a score; the one at a label that is no class is NaN.
__device__ inline float margin(float score, bool at_label, float weight) {
  float m = at_label ? (1.0f - score) * weight : 1.0f + score;
  return m < 0.0f ? 0.0f : m;
}

__device__ inline float sigmoid(float x) { return tanhf(x * 0.5f) * 0.5f + 0.5f; }

__device__ inline float weight_of(float target, int ignores, int ignored) {
  return ignores && truncf(target) == (float)ignored ? 0.0f : 1.0f;
}

extern "C" __global__ void __launch_bounds__(256)
loss_terms(const STORE* __restrict__ a, const float* __restrict__ b,
           const float* __restrict__ c, const float* __restrict__ d, float* partial,
           long long count, float number, int ignores, int ignored) {
  float sum = 0.0f, counted = 0.0f;
#pragma unroll 2
  for (long long i = FIRST; i < count; i += STRIDE) {
#if KIND == LIKELIHOOD
    Label label = label_of(b[i], CLASSES, 0, 0);
    float likely = to_float(a[i * CLASSES + label.value]);
    sum -= logf(likely < LEAST ? LEAST : likely) * label.weight;
#elif LABELLED
    Label label = label_of(b[(unsigned)i / CLASSES], CLASSES, 0, 0);
    float m = margin(to_float(a[i]), (unsigned)i % CLASSES == label.value, label.weight);
    sum += KIND == SQUARED_HINGE ? m * m : m;
#elif KIND == CROSS_ENTROPY
    float x = to_float(a[i]), target = b[i];
    float weight = weight_of(target, ignores, ignored);
    float above = x < 0.0f ? 0.0f : x;
    sum += weight * (above + log1pf(expf(-fabsf(x))) - x * target);
    counted += weight;
#elif KIND == SMOOTH_L1
    float apart = to_float(a[i]) - b[i];
    if (c) apart *= c[i];
    float size = fabsf(apart), bent = size * number;
    bent = bent > 1.0f ? 1.0f : bent;
    float term = bent * size - bent * bent * (0.5f / number);
    sum += d ? term * d[i] : term;
#else
    float apart = to_float(a[i]) - b[i];
    sum += apart * apart;
#endif
  }
  block_leave(sum, counted, partial);
}

// da, and db = -da where there is one.
extern "C" __global__ void __launch_bounds__(256)
loss_gradient(const STORE* __restrict__ a, const float* __restrict__ b,
              const float* __restrict__ c, const float* __restrict__ d,
              const float* dloss, const float* divisor, STORE* da, float* db,
              long long count, float number, int ignores, int ignored) {
  float share = *dloss / *divisor;
  for (long long i = FIRST; i < count; i += STRIDE) {
    float value = to_float(a[i]);
#if LABELLED
    Label label = label_of(b[(unsigned)i / CLASSES], CLASSES, 0, 0);
    bool at_label = (unsigned)i % CLASSES == label.value;
#if KIND == LIKELIHOOD
    float likely = value < LEAST ? LEAST : value;
    value = at_label ? -share * (label.weight / likely) : 0.0f;
#else
    float m = margin(value, at_label, label.weight);
    float slope = KIND == HINGE ? (m > 0.0f ? 1.0f : m) : 2.0f * m;
    value = (at_label ? -slope : slope) * share;
#endif
#elif KIND == CROSS_ENTROPY
    value = (sigmoid(value) - b[i]) * share * weight_of(b[i], ignores, ignored);
#elif KIND == SMOOTH_L1
    float slope = value - b[i];
    if (c) slope *= c[i];
    slope *= number;
    slope = slope > 1.0f ? 1.0f : slope < -1.0f ? -1.0f : slope;
    if (c) slope *= c[i];
    if (d) slope *= d[i];
    value = slope * share;
#else
    value = (value - b[i]) * share;
#endif
    if (da) da[i] = stored<STORE>(value);
    if (db) db[i] = -value;
  }
}
