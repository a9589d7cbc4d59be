// What LSTM and RNN compute between their products: one launch a step, with all gates.
//
// A thread has one unit of one stream. Pointers are to the arrays of a step; what enters
// the units is float, what products read is stored as STORE. `fixed` (streams, width),
// `bias` (width) and what is of the step behind or ahead may be missing, null.
#include "storage.cuh"

#define UNIT                                     \
  int e = blockIdx.x * blockDim.x + threadIdx.x; \
  if (e >= streams * size) return;               \
  int stream = e / size;

__device__ inline float sigmoid(float v) { return 1.0f / (1.0f + expf(-v)); }

// held = cont h, h being the state that a forward begins with; where `initial` is given
// it gets that state, and so does initial_c.
extern "C" __global__ void __launch_bounds__(128)
    begin(const float* h, const float* c, float* initial, float* initial_c,
          const float* cont, STORE* held, int streams, int size) {
  UNIT
  float state = h[e];
  if (initial) initial[e] = state;
  if (initial_c) initial_c[e] = c[e];
  held[e] = stored<STORE>(cont[stream] * state);
}

// i, f, o, g = squashed sums + bias + fixed; c = cont f c_before + i g; h = o tanh(c).
// gates (streams, 4 size), which may be the sums, get the values of the gates, f with
// cont in it.
extern "C" __global__ void __launch_bounds__(128)
    lstm_step(const float* sums, const float* bias, const float* fixed,
              const float* cont, const float* c_before, float* gates, float* c,
              STORE* y, const float* cont_next, STORE* held_next, float* final_h,
              float* final_c, int streams, int size) {
  UNIT
  int unit = e % size;
  long long at = 4ll * stream * size + unit;
  float v[4];
#pragma unroll
  for (int k = 0; k < 4; k++) {
    v[k] = sums[at + k * size];
    if (bias) v[k] += bias[k * size + unit];
    if (fixed) v[k] += fixed[at + k * size];
    v[k] = k < 3 ? sigmoid(v[k]) : tanhf(v[k]);
  }
  v[1] *= cont[stream];
#pragma unroll
  for (int k = 0; k < 4; k++) gates[at + k * size] = v[k];
  float cell = v[0] * v[3] + v[1] * c_before[e];
  float h = v[2] * tanhf(cell);
  c[e] = cell;
  y[e] = stored<STORE>(h);
  if (held_next) held_next[e] = stored<STORE>(cont_next[stream] * h);
  if (final_h) final_h[e] = h;
  if (final_c) final_c[e] = cell;
}

// dh = dy + cont_next carry, carry being the product of the step behind. dc is what comes
// from there as well; dc_before may be the same. Any of them may be missing.
extern "C" __global__ void __launch_bounds__(128)
    lstm_step_gradient(const float* gates, const float* c_before, const float* c,
                       const STORE* dy, const float* carry, const float* cont_next,
                       const float* dc, float* dc_before, STORE* dgates, int streams,
                       int size) {
  UNIT
  int unit = e % size;
  long long at = 4ll * stream * size + unit;
  float i = gates[at], f = gates[at + size], o = gates[at + 2 * size];
  float g = gates[at + 3 * size], squashed = tanhf(c[e]);
  float dh = dy ? to_float(dy[e]) : 0.0f, dcell = dc ? dc[e] : 0.0f;
  if (carry) dh += cont_next[stream] * carry[e];
  dcell += dh * o * (1.0f - squashed * squashed);
  if (dc_before) dc_before[e] = dcell * f;
  if (!dgates) return;
  dgates[at] = stored<STORE>(dcell * g * i * (1.0f - i));
  dgates[at + size] = stored<STORE>(dcell * c_before[e] * f * (1.0f - f));
  dgates[at + 2 * size] = stored<STORE>(dh * squashed * o * (1.0f - o));
  dgates[at + 3 * size] = stored<STORE>(dcell * i * (1.0f - g * g));
}

// h = tanh(pre + bias + fixed).
extern "C" __global__ void __launch_bounds__(128)
    rnn_step(const float* pre, const float* bias, const float* fixed, STORE* h,
             const float* cont_next, STORE* held_next, float* final_h, int streams,
             int size) {
  UNIT
  int unit = e % size;
  float v = pre[e] + bias[unit];
  if (fixed) v += fixed[e];
  v = tanhf(v);
  h[e] = stored<STORE>(v);
  if (held_next) held_next[e] = stored<STORE>(cont_next[stream] * v);
  if (final_h) final_h[e] = v;
}

// dpre = (dh + cont_next carry) (1 - h^2).
extern "C" __global__ void __launch_bounds__(128)
    rnn_step_gradient(const STORE* h, const float* dh, const float* carry,
                      const float* cont_next, STORE* dpre, int streams, int size) {
  UNIT
  float v = to_float(h[e]), g = dh[e];
  if (carry) g += cont_next[stream] * carry[e];
  dpre[e] = stored<STORE>(g * (1.0f - v * v));
}

// y = tanh(sums + bias), for all steps; sums may be y.
extern "C" __global__ void __launch_bounds__(256)
    outputs(const float* sums, const float* bias, STORE* y, long long count, int size) {
  for (long long i = FIRST; i < count; i += STRIDE)
    y[i] = stored<STORE>(tanhf(sums[i] + bias[i % size]));
}

// dsums = dy (1 - y^2).
extern "C" __global__ void __launch_bounds__(256)
    outputs_gradient(const STORE* y, const STORE* dy, STORE* dsums, long long count) {
  for (long long i = FIRST; i < count; i += STRIDE) {
    float v = to_float(y[i]);
    dsums[i] = stored<STORE>(to_float(dy[i]) * (1.0f - v * v));
  }
}

// total (count) = the sum over all steps of dpre (steps, count).
extern "C" __global__ void __launch_bounds__(256)
    sum_steps(const STORE* dpre, STORE* total, int steps, long long count) {
  for (long long i = FIRST; i < count; i += STRIDE) {
    float sum = 0.0f;
    for (int t = 0; t < steps; t++) sum += to_float(dpre[t * count + i]);
    total[i] = stored<STORE>(sum);
  }
}
