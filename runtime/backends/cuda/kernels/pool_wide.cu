// Pooling with large windows: the threads of a block share one window.
//
// A block of (channels, threads of a window) does VEC channels a thread; the number of
// threads of a window is a power of two. Blocks stride through rows and images.
#include "pool.cu"

#define WINDOW(p, q)                                                   \
  int top = (p) * SH - PH, left = (q) * SW - PW;                       \
  int up = max(top, 0), low = min(top + KH, height);                   \
  int start = max(left, 0), columns = min(left + KW, width) - start;   \
  int elements = max(0, low - up) * max(0, columns);                   \
  const STORE* from = x + ((n * height + up) * width + start) * channels + c;

extern "C" __global__ void __launch_bounds__(256)
max_pool_wide(const STORE* __restrict__ x, STORE* __restrict__ y, WON* __restrict__ won,
              float* __restrict__ mask, int images, int height, int width,
              int out_height, int out_width, int channels) {
  __shared__ float values[256 * VEC];
  __shared__ int places[256 * VEC];
  int packs = channels / VEC, tiles = (packs + blockDim.x - 1) / blockDim.x;
  int c = (blockIdx.x % tiles * blockDim.x + threadIdx.x) * VEC;
  int q = blockIdx.x / tiles, mine = (threadIdx.y * blockDim.x + threadIdx.x) * VEC;
  for (int n = blockIdx.z; n < images; n += gridDim.z)
    for (int p = blockIdx.y; p < out_height; p += gridDim.y) {
      WINDOW(p, q)
      float best[VEC];
      int place[VEC];
      for (int k = 0; k < VEC; k++) best[k] = -INFINITE, place[k] = KH * KW;
      if (c < channels)
        for (int e = threadIdx.y; e < elements; e += blockDim.y) {
          int i = e / columns, j = e % columns;
          Vec<STORE, VEC> seen = load_vec<VEC>(from + (i * width + j) * channels);
          int here = (up - top + i) * KW + start - left + j;
#pragma unroll
          for (int k = 0; k < VEC; k++) {
            float value = to_float(seen.at[k]);
            bool new_one = place[k] == KH * KW;
            if (value > best[k] || value != value || new_one)
              best[k] = value, place[k] = here;
          }
        }
      for (int k = 0; k < VEC; k++) values[mine + k] = best[k], places[mine + k] = place[k];
      __syncthreads();
      for (int half = blockDim.y / 2; half > 0; half /= 2) {
        if (threadIdx.y < half)
          for (int k = mine; k < mine + VEC; k++) {
            int other = k + half * blockDim.x * VEC;
            float value = values[other];
            bool first = value == values[k] && places[other] < places[k];
            if (value > values[k] || value != value || first)
              values[k] = value, places[k] = places[other];
          }
        __syncthreads();
      }
      if (threadIdx.y == 0 && c < channels) {
        int at = ((n * out_height + p) * out_width + q) * channels + c;
        for (int k = 0; k < VEC; k++) {
          float value = values[mine + k];
          int found = elements == 0 || value != value ? -1 : places[mine + k];
          y[at + k] = stored<STORE>(elements == 0 ? LOWEST : value);
          put_winner(found, p, q, width, won ? won + at + k : 0, mask ? mask + at + k : 0);
        }
      }
      __syncthreads();
    }
}

extern "C" __global__ void __launch_bounds__(256)
average_pool_wide(const STORE* __restrict__ x, STORE* __restrict__ y, int images,
                  int height, int width, int out_height, int out_width, int channels) {
  __shared__ float values[256 * VEC];
  int packs = channels / VEC, tiles = (packs + blockDim.x - 1) / blockDim.x;
  int c = (blockIdx.x % tiles * blockDim.x + threadIdx.x) * VEC;
  int q = blockIdx.x / tiles, mine = (threadIdx.y * blockDim.x + threadIdx.x) * VEC;
  for (int n = blockIdx.z; n < images; n += gridDim.z)
    for (int p = blockIdx.y; p < out_height; p += gridDim.y) {
      WINDOW(p, q)
      float sum[VEC];
      for (int k = 0; k < VEC; k++) sum[k] = 0.0f;
      if (c < channels) {
#pragma unroll 4
        for (int e = threadIdx.y; e < elements; e += blockDim.y) {
          int i = e / columns, j = e % columns;
          Vec<STORE, VEC> seen = load_vec<VEC>(from + (i * width + j) * channels);
          for (int k = 0; k < VEC; k++) sum[k] += to_float(seen.at[k]);
        }
      }
      for (int k = 0; k < VEC; k++) values[mine + k] = sum[k];
      __syncthreads();
      for (int half = blockDim.y / 2; half > 0; half /= 2) {
        if (threadIdx.y < half)
          for (int k = mine; k < mine + VEC; k++)
            values[k] += values[k + half * blockDim.x * VEC];
        __syncthreads();
      }
      if (threadIdx.y == 0 && c < channels) {
        float part = share(p, q, height, width);
        int at = ((n * out_height + p) * out_width + q) * channels + c;
        Vec<STORE, VEC> result;
        for (int k = 0; k < VEC; k++) result.at[k] = stored<STORE>(values[mine + k] * part);
        store_vec<VEC>(y + at, result);
      }
      __syncthreads();
    }
}
