// y = x where x is positive, else slope x; dx = dy there, else slope dy.
#include "storage.cuh"

extern "C" __global__ void relu(const STORE* x, STORE* y, long long count, float slope) {
  for (long long i = FIRST; i < count; i += STRIDE) {
    float value = to_float(x[i]);
    y[i] = stored<STORE>(value < 0.0f ? value * slope : value);
  }
}

extern "C" __global__ void relu_gradient(const STORE* sign, const STORE* dy, STORE* dx,
                                         long long count, float slope) {
  for (long long i = FIRST; i < count; i += STRIDE) {
    float value = to_float(dy[i]);
    dx[i] = stored<STORE>(to_float(sign[i]) > 0.0f ? value : value * slope);
  }
}
