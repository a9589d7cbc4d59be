// Several blobs of one shape, element by element: up to eight in a launch, BLOBS of them.
//
// A thread takes what 16 bytes hold; those left over at the end go one by one.
#include "storage.cuh"
#include "vec.cuh"
#ifndef BLOBS
#define BLOBS 2
#endif
#ifndef GOES_ON
#define GOES_ON 0  // 1 where y has the maximum of blobs before these
#endif

#define EVERYWHERE(few, one)                                              \
  unsigned packs = count / PACK;                                          \
  for (unsigned t = FIRST; t < packs; t += STRIDE) few(t* PACK);          \
  for (unsigned t = packs * PACK + FIRST; t < count; t += STRIDE) one(t);

template <int W>
__device__ inline void sum_at(const STORE* const (&x)[8], const float (&c)[8], STORE* y,
                              unsigned i) {
  float sum[W];
#pragma unroll
  for (int n = 0; n < BLOBS; n++) {
    Vec<STORE, W> given = load_vec<W>(x[n] + i);
#pragma unroll
    for (int k = 0; k < W; k++) {
      float term = to_float(given.at[k]) * c[n];
      sum[k] = n ? sum[k] + term : term;
    }
  }
  Vec<STORE, W> result;
  for (int k = 0; k < W; k++) result.at[k] = stored<STORE>(sum[k]);
  store_vec<W>(y + i, result);
}

// y = the sum of c_i x_i; y may be one of them.
extern "C" __global__ void __launch_bounds__(256)
weighted_sum(const STORE* x0, const STORE* x1, const STORE* x2, const STORE* x3,
             const STORE* x4, const STORE* x5, const STORE* x6, const STORE* x7,
             float c0, float c1, float c2, float c3, float c4, float c5, float c6,
             float c7, STORE* y, unsigned count) {
  const STORE* const x[8] = {x0, x1, x2, x3, x4, x5, x6, x7};
  const float c[8] = {c0, c1, c2, c3, c4, c5, c6, c7};
#define FEW(i) sum_at<PACK>(x, c, y, i)
#define ONE(i) sum_at<1>(x, c, y, i)
  EVERYWHERE(FEW, ONE)
#undef FEW
#undef ONE
}

template <int W>
__device__ inline void scale_at(const STORE* dy, const float (&c)[8],
                                STORE* const (&dx)[8], unsigned i) {
  Vec<STORE, W> given = load_vec<W>(dy + i), result;
#pragma unroll
  for (int n = 0; n < BLOBS; n++) {
    if (!dx[n]) continue;
    for (int k = 0; k < W; k++) result.at[k] = stored<STORE>(to_float(given.at[k]) * c[n]);
    store_vec<W>(dx[n] + i, result);
  }
}

// dx_i = c_i dy, where it is not null; one of them may be dy.
extern "C" __global__ void __launch_bounds__(256)
scaled_copies(const STORE* dy, float c0, float c1, float c2, float c3, float c4, float c5,
              float c6, float c7, STORE* d0, STORE* d1, STORE* d2, STORE* d3, STORE* d4,
              STORE* d5, STORE* d6, STORE* d7, unsigned count) {
  STORE* const dx[8] = {d0, d1, d2, d3, d4, d5, d6, d7};
  const float c[8] = {c0, c1, c2, c3, c4, c5, c6, c7};
#define FEW(i) scale_at<PACK>(dy, c, dx, i)
#define ONE(i) scale_at<1>(dy, c, dx, i)
  EVERYWHERE(FEW, ONE)
#undef FEW
#undef ONE
}

template <int W>
__device__ inline void product_at(const STORE* const (&x)[8], STORE* y, unsigned i) {
  float product[W];
#pragma unroll
  for (int n = 0; n < BLOBS; n++) {
    Vec<STORE, W> given = load_vec<W>(x[n] + i);
#pragma unroll
    for (int k = 0; k < W; k++) {
      float factor = to_float(given.at[k]);
      product[k] = n ? product[k] * factor : factor;
    }
  }
  Vec<STORE, W> result;
  for (int k = 0; k < W; k++) result.at[k] = stored<STORE>(product[k]);
  store_vec<W>(y + i, result);
}

// y = the product of x_i; y may be one of them.
extern "C" __global__ void __launch_bounds__(256)
product(const STORE* x0, const STORE* x1, const STORE* x2, const STORE* x3,
        const STORE* x4, const STORE* x5, const STORE* x6, const STORE* x7, STORE* y,
        unsigned count) {
  const STORE* const x[8] = {x0, x1, x2, x3, x4, x5, x6, x7};
#define FEW(i) product_at<PACK>(x, y, i)
#define ONE(i) product_at<1>(x, y, i)
  EVERYWHERE(FEW, ONE)
#undef FEW
#undef ONE
}

template <int W>
__device__ inline void factors_at(const STORE* const (&x)[8], const STORE* y,
                                  const STORE* dy, STORE* const (&dx)[8], unsigned i) {
  Vec<STORE, W> factors[BLOBS], given = load_vec<W>(dy + i), whole, result;
#pragma unroll
  for (int n = 0; n < BLOBS; n++) factors[n] = load_vec<W>(x[n] + i);
  if (y) whole = load_vec<W>(y + i);
#pragma unroll
  for (int n = 0; n < BLOBS; n++) {
    if (!dx[n]) continue;
#pragma unroll
    for (int k = 0; k < W; k++) {
      float slope = 1.0f;
      if (y) {
        slope = to_float(whole.at[k]) / to_float(factors[n].at[k]);
      } else {
#pragma unroll
        for (int m = 0; m < BLOBS; m++)
          if (m != n) slope *= to_float(factors[m].at[k]);
      }
      result.at[k] = stored<STORE>(slope * to_float(given.at[k]));
    }
    store_vec<W>(dx[n] + i, result);
  }
}

// dx_i = dy times the product of the others, or dy y / x_i where there is y.
extern "C" __global__ void __launch_bounds__(256)
product_gradient(const STORE* x0, const STORE* x1, const STORE* x2, const STORE* x3,
                 const STORE* x4, const STORE* x5, const STORE* x6, const STORE* x7,
                 const STORE* y, const STORE* dy, STORE* d0, STORE* d1, STORE* d2,
                 STORE* d3, STORE* d4, STORE* d5, STORE* d6, STORE* d7,
                 unsigned count) {
  const STORE* const x[8] = {x0, x1, x2, x3, x4, x5, x6, x7};
  STORE* const dx[8] = {d0, d1, d2, d3, d4, d5, d6, d7};
#define FEW(i) factors_at<PACK>(x, y, dy, dx, i)
#define ONE(i) factors_at<1>(x, y, dy, dx, i)
  EVERYWHERE(FEW, ONE)
#undef FEW
#undef ONE
}

template <int W>
__device__ inline void maximum_at(const STORE* const (&x)[8], STORE* y,
                                  unsigned char* chosen, int first, unsigned i) {
  Vec<STORE, W> best;
  Vec<unsigned char, W> choice;
  if (GOES_ON) {
    best = load_vec<W>(y + i);
    if (chosen) choice = load_vec<W>(chosen + i);
  }
#pragma unroll
  for (int n = 0; n < BLOBS; n++) {
    Vec<STORE, W> given = load_vec<W>(x[n] + i);
#pragma unroll
    for (int k = 0; k < W; k++) {
      float value = to_float(given.at[k]), so_far = to_float(best.at[k]);
      bool begins = n == 0 && !GOES_ON, second = n == 1 && !GOES_ON;
      bool taken = begins || value > so_far || (second && value == so_far);
      if (taken) choice.at[k] = (unsigned char)(first + n);
      if (taken || value != value) best.at[k] = given.at[k];
    }
  }
  store_vec<W>(y + i, best);
  if (chosen) store_vec<W>(chosen + i, choice);
}

// y = the maximum of x_i, and the number of the one that had it. Of the first two the
// second one wins a tie, then the earlier. A NaN is the maximum but is not chosen.
extern "C" __global__ void __launch_bounds__(256)
maximum(const STORE* x0, const STORE* x1, const STORE* x2, const STORE* x3,
        const STORE* x4, const STORE* x5, const STORE* x6, const STORE* x7, STORE* y,
        unsigned char* chosen, int first, unsigned count) {
  const STORE* const x[8] = {x0, x1, x2, x3, x4, x5, x6, x7};
#define FEW(i) maximum_at<PACK>(x, y, chosen, first, i)
#define ONE(i) maximum_at<1>(x, y, chosen, first, i)
  EVERYWHERE(FEW, ONE)
#undef FEW
#undef ONE
}

template <int W>
__device__ inline void chosen_at(const STORE* dy, const unsigned char* chosen,
                                 STORE* const (&dx)[8], int first, unsigned i) {
  Vec<STORE, W> given = load_vec<W>(dy + i), result;
  Vec<unsigned char, W> choice = load_vec<W>(chosen + i);
#pragma unroll
  for (int n = 0; n < BLOBS; n++) {
    if (!dx[n]) continue;
    for (int k = 0; k < W; k++)
      result.at[k] = choice.at[k] == first + n ? given.at[k] : stored<STORE>(0.0f);
    store_vec<W>(dx[n] + i, result);
  }
}

// dx_i = dy where x_i was chosen, else 0.
extern "C" __global__ void __launch_bounds__(256)
chosen_copies(const STORE* dy, const unsigned char* chosen, STORE* d0, STORE* d1,
              STORE* d2, STORE* d3, STORE* d4, STORE* d5, STORE* d6, STORE* d7,
              int first, unsigned count) {
  STORE* const dx[8] = {d0, d1, d2, d3, d4, d5, d6, d7};
#define FEW(i) chosen_at<PACK>(dy, chosen, dx, first, i)
#define ONE(i) chosen_at<1>(dy, chosen, dx, first, i)
  EVERYWHERE(FEW, ONE)
#undef FEW
#undef ONE
}
