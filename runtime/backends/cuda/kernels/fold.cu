// Weights and bias of a convolution with what a BatchNorm by remembered statistics, and a
// Scale behind that, do to its outputs: w times a factor an output, and a shift.
//
// factor = gamma / sqrt(variance / weight + eps); bias = (bias - mean / weight) factor +
// beta. A weight of 0 makes mean and variance 0. Null pointers: gamma 1, bias and beta 0.
#include "storage.cuh"

__device__ inline float share_of(const float* weight) {
  return *weight == 0.0f ? 0.0f : 1.0f / *weight;
}

__device__ inline float factor_of(const float* variances, const float* weight,
                                  const float* gamma, int output, float eps) {
  float factor = 1.0f / sqrtf(variances[output] * share_of(weight) + eps);
  return gamma ? factor * gamma[output] : factor;
}

// w (outputs, channels, places) -> folded (outputs, places, channels)
extern "C" __global__ void __launch_bounds__(256)
fold_weights(const float* __restrict__ w, STORE* folded,
             const float* __restrict__ variances, const float* weight,
             const float* __restrict__ gamma, int count, int channels, int places,
             float eps) {
  for (long long i = FIRST; i < count; i += STRIDE) {
    int channel = (int)(i % channels), rest = (int)(i / channels);
    int place = rest % places, output = rest / places;
    float value = w[((long long)output * channels + channel) * places + place];
    folded[i] = stored<STORE>(value * factor_of(variances, weight, gamma, output, eps));
  }
}

extern "C" __global__ void __launch_bounds__(256)
fold_bias(const float* bias, STORE* folded, const float* means, const float* variances,
          const float* weight, const float* gamma, const float* beta, int outputs,
          float eps) {
  for (long long i = FIRST; i < outputs; i += STRIDE) {
    float factor = factor_of(variances, weight, gamma, (int)i, eps);
    float apart = (bias ? bias[i] : 0.0f) - means[i] * share_of(weight);
    folded[i] = stored<STORE>(apart * factor + (beta ? beta[i] : 0.0f));
  }
}
