// One step of an update rule over all parameters, and what must be known ahead of it:
// the norm of their gradients, and whether these and the losses are finite.
//
// The flat arrays are cut into pieces of at most MOST elements, a block's work each, in
// which the multipliers are the same; a table in memory lists them.
#include "storage.cuh"
#include "reduce.cuh"

#ifndef RULE
#define RULE sgd
#endif
#ifndef MOMENTS
#define MOMENTS 1
#endif
#ifndef L1
#define L1 0
#endif
#define THREADS 256
#define PACKS 2
#define MOST (THREADS * PACKS * 4)

// `start` counts packs of four elements. KEPT is all of `kind` for most pieces.
struct Piece { unsigned start; unsigned short count, kind; float lr_mult, decay; };
enum { KEPT = 0, ZERO_GRADIENT = 1, ONLY_CLEARED = 2 };

// What the host says ahead of a step.
struct Asked { float rate, scale; unsigned careful, iteration; };

// What is known of the steps so far; see `updates.py`.
struct State {
  float factor;
  unsigned skip, flags, bad, bad_flags, halted;
  float loss_scale;
  unsigned good, skipped;
};
enum { GRADIENT = 1, LOSS = 2 };

__device__ inline bool is_finite(float value) {
  return (__float_as_uint(value) & 0x7f800000u) != 0x7f800000u;
}

// The sums of squares that blocks find, and how many of their threads found a value that
// is not finite. Which elements a block sums up in which order depends on nothing else.
extern "C" __global__ void __launch_bounds__(THREADS)
    examine(const Piece* __restrict__ pieces, int count, const float* __restrict__ g,
            float* __restrict__ sums, float* __restrict__ bad) {
  float sum = 0.0f;
  bool found = false;
  for (int p = blockIdx.x; p < count; p += gridDim.x) {
    Piece piece = pieces[p];
    const float* from = g + 4ull * piece.start;
#pragma unroll
    for (int k = 0; k < PACKS; k++) {
      int i = 4 * (k * THREADS + threadIdx.x);
      if (i + 4 <= piece.count) {
        Pack<float> pack = load_pack(from + i);
        for (int j = 0; j < 4; j++) {
          sum += pack.at[j] * pack.at[j];
          found |= !is_finite(pack.at[j]);
        }
      } else {
        for (; i < piece.count && i < 4 * (k * THREADS + (int)threadIdx.x) + 4; i++) {
          sum += from[i] * from[i];
          found |= !is_finite(from[i]);
        }
      }
    }
  }
  float all = block_sum(sum), many = block_sum(found ? 1.0f : 0.0f);
  if (threadIdx.x == 0) {
    sums[blockIdx.x] = all;
    bad[blockIdx.x] = many;
  }
}

// One block decides what becomes of the step.
//
// limit: what the norm may be, below 0 any. growth: after how many good steps the scale
// of the losses doubles, 0 where they are not scaled.
extern "C" __global__ void __launch_bounds__(THREADS)
    judge(const float* __restrict__ sums, const float* __restrict__ bad, int count,
          const float* __restrict__ losses, int losses_count, const Asked* asked,
          State* state, float limit, int growth, float lowest, float highest) {
  float sum = 0.0f, found = 0.0f, lost = 0.0f;
  for (int i = threadIdx.x; i < count; i += THREADS) {
    sum += sums[i];
    found += bad[i];
  }
  for (int i = threadIdx.x; i < losses_count; i += THREADS)
    if (!is_finite(losses[i])) lost += 1.0f;
  sum = block_sum(sum);
  found = block_sum(found);
  lost = block_sum(lost);
  if (threadIdx.x != 0) return;
  state->skip = state->halted;
  if (state->halted) return;

  float scale = growth > 0 ? state->loss_scale : 1.0f;
  float factor = asked->scale / scale;
  if (limit >= 0.0f) {
    float norm = sqrtf(sum) / scale;
    if (limit == 0.0f) factor = 0.0f;
    else if (!(norm <= limit)) factor *= limit / norm;
  }
  unsigned flags = (found > 0.0f ? GRADIENT : 0) | (lost > 0.0f ? LOSS : 0);
  state->factor = factor;
  state->flags = flags;
  if (growth > 0 && flags) {
    state->skip = 1;
    state->skipped++;
  }
  // With a smaller scale the gradients may be finite; the losses will not.
  bool hopeless = flags && (growth == 0 || lost > 0.0f || scale <= lowest);
  if (hopeless && !state->bad) {
    state->bad = asked->iteration + 1;
    state->bad_flags = flags;
  }
  if (hopeless && asked->careful) state->halted = state->skip = 1;
  if (growth == 0 || state->halted) return;
  if (flags) {
    state->loss_scale = scale * 0.5f > lowest ? scale * 0.5f : lowest;
    state->good = 0;
  } else if (++state->good >= (unsigned)growth) {
    state->loss_scale = scale * 2.0f < highest ? scale * 2.0f : highest;
    state->good = 0;
  }
}

struct Numbers { float rate, momentum, momentum2, delta; };

// From a gradient to what is subtracted; h and h2 are the running values.
__device__ inline float sgd(float g, float& h, float&, Numbers n) {
  return h = n.momentum * h + n.rate * g;
}

__device__ inline float nesterov(float g, float& h, float&, Numbers n) {
  float before = n.momentum * h;
  h = before + n.rate * g;
  return (1.0f + n.momentum) * h - before;
}

__device__ inline float adagrad(float g, float& h, float&, Numbers n) {
  h += g * g;
  return n.rate * g / (sqrtf(h) + n.delta);
}

__device__ inline float rmsprop(float g, float& h, float&, Numbers n) {
  h = n.momentum * h + (1.0f - n.momentum) * (g * g);
  return n.rate * g / (sqrtf(h) + n.delta);
}

__device__ inline float adadelta(float g, float& h, float& h2, Numbers n) {
  h = n.momentum * h + (1.0f - n.momentum) * (g * g);
  float step = g * sqrtf(h2 + n.delta) / sqrtf(h + n.delta);
  h2 = n.momentum * h2 + (1.0f - n.momentum) * (step * step);
  return n.rate * step;
}

__device__ inline float adam(float g, float& h, float& h2, Numbers n) {
  h = n.momentum * h + (1.0f - n.momentum) * g;
  h2 = n.momentum2 * h2 + (1.0f - n.momentum2) * (g * g);
  return n.rate * h / (sqrtf(h2) + n.delta);
}

__device__ inline void step_one(float& w, float& g, float& h, float& h2, float factor,
                                float decay, Numbers numbers) {
  g *= factor;
  if (decay != 0.0f) {
    float penalty = L1 ? (w > 0.0f ? 1.0f : w < 0.0f ? -1.0f : w) : w;
    g += decay * penalty;
  }
  g = RULE(g, h, h2, numbers);
  w -= g;
}

// Block b does piece b. g holds the update afterwards. Without a state the gradients are
// just multiplied by the scale.
extern "C" __global__ void __launch_bounds__(THREADS)
    update(const Piece* __restrict__ pieces, float* __restrict__ w,
           float* __restrict__ g, float* __restrict__ h, float* __restrict__ h2,
           const Asked* __restrict__ asked, const State* __restrict__ state,
           float momentum, float momentum2, float delta) {
  if (state && state->skip) return;
  Piece piece = pieces[blockIdx.x];
  float factor = state ? state->factor : asked->scale;
  Numbers numbers = {asked->rate * piece.lr_mult, momentum, momentum2, delta};
  unsigned long long start = 4ull * piece.start;
  w += start;
  g += start;
  h += start;
  h2 += start;
  if (piece.count == MOST && piece.kind == KEPT) {
    Pack<float> pw[PACKS], pg[PACKS], ph[PACKS], ph2[PACKS];
#pragma unroll
    for (int k = 0; k < PACKS; k++) {
      int i = 4 * (k * THREADS + threadIdx.x);
      pw[k] = load_pack(w + i);
      pg[k] = load_pack(g + i);
      ph[k] = load_pack(h + i);
      if (MOMENTS == 2) ph2[k] = load_pack(h2 + i);
    }
#pragma unroll
    for (int k = 0; k < PACKS; k++) {
      int i = 4 * (k * THREADS + threadIdx.x);
#pragma unroll
      for (int j = 0; j < 4; j++)
        step_one(pw[k].at[j], pg[k].at[j], ph[k].at[j], ph2[k].at[j], factor,
                 piece.decay, numbers);
      store_pack(w + i, pw[k]);
      store_pack(g + i, pg[k]);
      store_pack(h + i, ph[k]);
      if (MOMENTS == 2) store_pack(h2 + i, ph2[k]);
    }
    return;
  }
  for (int i = threadIdx.x; i < piece.count; i += THREADS) {
    float gradient = piece.kind == KEPT ? g[i] : 0.0f;
    if (piece.kind != ONLY_CLEARED) {
      float weight = w[i], one = h[i], two = MOMENTS == 2 ? h2[i] : 0.0f;
      step_one(weight, gradient, one, two, factor, piece.decay, numbers);
      w[i] = weight;
      h[i] = one;
      if (MOMENTS == 2) h2[i] = two;
    }
    g[i] = gradient;
  }
}

// out = weight sum(x), or out += that: one block, in a fixed order.
extern "C" __global__ void __launch_bounds__(THREADS)
    total(const STORE* __restrict__ x, long long count, float weight, float* out,
          int add) {
  float sum = 0.0f;
  for (long long i = threadIdx.x; i < count; i += THREADS) sum += to_float(x[i]);
  sum = weight * block_sum(sum);
  if (threadIdx.x == 0) *out = add ? *out + sum : sum;
}
