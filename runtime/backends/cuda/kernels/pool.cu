// Pooling of blobs with their channels last, and its gradient as a gather.
//
// Compiled for a window: KH x KW, steps SH and SW, padding PH and PW. A thread does VEC
// channels. A block is (channels, columns, rows) of what it writes; blocks stride through
// rows and images. WON is u8, u16 or u32: the place of a maximum in its window, row by
// row; all ones where there is none, as the window has a NaN or lies beyond the image.
#include "storage.cuh"
#include "vec.cuh"
#ifndef VEC
#define VEC 1
#endif
#ifndef WON
#define WON u8
#define KH 3
#define KW 3
#define SH 2
#define SW 2
#define PH 0
#define PW 0
#endif

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned u32;

#define NONE ((WON)~0u)
#define LOWEST (-3.402823466e38f)
#define INFINITE __uint_as_float(0x7f800000u)
#define NH ((KH + SH - 1) / SH)  // windows that may see a row
#define NW ((KW + SW - 1) / SW)
// The channel and the column of a thread; every thread of a block has the same tiles.
#define PLACES(columns)                                                \
  int packs = channels / VEC, tiles = (packs + blockDim.x - 1) / blockDim.x; \
  int c = (blockIdx.x % tiles * blockDim.x + threadIdx.x) * VEC;       \
  int column = blockIdx.x / tiles * blockDim.y + threadIdx.y;          \
  if (c >= channels || column >= columns) return;
#define ROWS(row, rows)                                                  \
  for (int n = blockIdx.z; n < images; n += gridDim.z)                   \
    for (int row = blockIdx.y * blockDim.z + threadIdx.z; row < (rows);  \
         row += gridDim.y * blockDim.z)

// What windows count: elements of the image with its padding, but nothing beyond.
__device__ inline float share(int p, int q, int height, int width) {
  int rows = min(KH, height + 2 * PH - p * SH), columns = min(KW, width + 2 * PW - q * SW);
  return 1.0f / (float)(max(1, rows) * max(1, columns));
}

__device__ inline void put_winner(int place, int p, int q, int width, WON* won,
                                  float* mask) {
  if (won) *won = place < 0 ? NONE : (WON)place;
  if (mask) {
    int row = p * SH - PH + place / KW, column = q * SW - PW + place % KW;
    *mask = place < 0 ? -1.0f : (float)(row * width + column);
  }
}

// y = the maximum of every window, the first one wins; won and mask may be null.
extern "C" __global__ void __launch_bounds__(256)
max_pool(const STORE* __restrict__ x, STORE* __restrict__ y, WON* __restrict__ won,
         float* __restrict__ mask, int images, int height, int width, int out_height,
         int out_width, int channels) {
  PLACES(out_width)
  int left = column * SW - PW;
  ROWS(p, out_height) {
    int top = p * SH - PH;
    float best[VEC];
    int place[VEC];
    int first = max(-top, 0) * KW + max(-left, 0);
    for (int k = 0; k < VEC; k++) best[k] = -INFINITE, place[k] = first;
#pragma unroll
    for (int a = 0; a < KH; a++) {
      if (top + a < 0 || top + a >= height) continue;
      const STORE* row = x + ((n * height + top + a) * width + left) * channels + c;
      Vec<STORE, VEC> seen[KW];
#pragma unroll
      for (int b = 0; b < KW; b++) {
        if (left + b >= 0 && left + b < width)
          seen[b] = load_vec<VEC>(row + b * channels);
        else
          for (int k = 0; k < VEC; k++) seen[b].at[k] = stored<STORE>(-INFINITE);
      }
#pragma unroll
      for (int b = 0; b < KW; b++)
#pragma unroll
        for (int k = 0; k < VEC; k++) {
          float value = to_float(seen[b].at[k]);
          if (value > best[k] || value != value) best[k] = value, place[k] = a * KW + b;
        }
    }
    bool empty = top >= height || left >= width;
    int at = ((n * out_height + p) * out_width + column) * channels + c;
    Vec<STORE, VEC> result;
    Vec<WON, VEC> winners;
    Vec<float, VEC> places;
#pragma unroll
    for (int k = 0; k < VEC; k++) {
      result.at[k] = stored<STORE>(empty ? LOWEST : best[k]);
      int found = empty || best[k] != best[k] ? -1 : place[k];
      put_winner(found, p, column, width, &winners.at[k], mask ? &places.at[k] : 0);
    }
    store_vec<VEC>(y + at, result);
    if (won) store_vec<VEC>(won + at, winners);
    if (mask) store_vec<VEC>(mask + at, places);
  }
}

// dx = the sum of dy of the windows that an element won.
extern "C" __global__ void __launch_bounds__(256)
max_pool_gradient(const WON* __restrict__ won, const STORE* __restrict__ dy,
                  STORE* __restrict__ dx, int images, int height, int width,
                  int out_height, int out_width, int channels) {
  PLACES(width)
  int last_q = (column + PW) / SW;
  ROWS(row, height) {
    int last_p = (row + PH) / SH;
    float sum[VEC];
    for (int k = 0; k < VEC; k++) sum[k] = 0.0f;
#if NH * NW <= 9
#pragma unroll
    for (int a = 0; a < NH; a++)
#pragma unroll
      for (int b = 0; b < NW; b++) {
#else
    for (int a = max(0, last_p - out_height + 1); a < NH && a <= last_p; a++)
      for (int b = max(0, last_q - out_width + 1); b < NW && b <= last_q; b++) {
#endif
        int p = last_p - a, q = last_q - b;
        int i = row + PH - p * SH, j = column + PW - q * SW;
        if (p < 0 || p >= out_height || i >= KH) continue;
        if (q < 0 || q >= out_width || j >= KW) continue;
        int at = ((n * out_height + p) * out_width + q) * channels + c;
        Vec<WON, VEC> winners = load_vec<VEC>(won + at);
        Vec<STORE, VEC> given = load_vec<VEC>(dy + at);
        WON mine = (WON)(i * KW + j);
#pragma unroll
        for (int k = 0; k < VEC; k++)
          sum[k] += winners.at[k] == mine ? to_float(given.at[k]) : 0.0f;
      }
    Vec<STORE, VEC> result;
    for (int k = 0; k < VEC; k++) result.at[k] = stored<STORE>(sum[k]);
    store_vec<VEC>(dx + ((n * height + row) * width + column) * channels + c, result);
  }
}

// y = the average of every window.
extern "C" __global__ void __launch_bounds__(256)
average_pool(const STORE* __restrict__ x, STORE* __restrict__ y, int images, int height,
             int width, int out_height, int out_width, int channels) {
  PLACES(out_width)
  int left = column * SW - PW;
  ROWS(p, out_height) {
    int top = p * SH - PH;
    float sum[VEC];
    for (int k = 0; k < VEC; k++) sum[k] = 0.0f;
#pragma unroll
    for (int a = 0; a < KH; a++) {
      if (top + a < 0 || top + a >= height) continue;
      const STORE* row = x + ((n * height + top + a) * width + left) * channels + c;
      Vec<STORE, VEC> seen[KW];
#pragma unroll
      for (int b = 0; b < KW; b++) {
        if (left + b >= 0 && left + b < width)
          seen[b] = load_vec<VEC>(row + b * channels);
        else
          for (int k = 0; k < VEC; k++) seen[b].at[k] = stored<STORE>(0.0f);
      }
#pragma unroll
      for (int b = 0; b < KW; b++)
#pragma unroll
        for (int k = 0; k < VEC; k++) sum[k] += to_float(seen[b].at[k]);
    }
    float part = share(p, column, height, width);
    Vec<STORE, VEC> result;
    for (int k = 0; k < VEC; k++) result.at[k] = stored<STORE>(sum[k] * part);
    int at = ((n * out_height + p) * out_width + column) * channels + c;
    store_vec<VEC>(y + at, result);
  }
}

// dx = the sum of dy / n of the windows that see an element.
extern "C" __global__ void __launch_bounds__(256)
average_pool_gradient(const STORE* __restrict__ dy, STORE* __restrict__ dx, int images,
                      int height, int width, int out_height, int out_width,
                      int channels) {
  PLACES(width)
  int last_q = (column + PW) / SW;
  ROWS(row, height) {
    int last_p = (row + PH) / SH;
    float sum[VEC];
    for (int k = 0; k < VEC; k++) sum[k] = 0.0f;
#if NH * NW <= 9
#pragma unroll
    for (int a = 0; a < NH; a++)
#pragma unroll
      for (int b = 0; b < NW; b++) {
#else
    for (int a = max(0, last_p - out_height + 1); a < NH && a <= last_p; a++)
      for (int b = max(0, last_q - out_width + 1); b < NW && b <= last_q; b++) {
#endif
        int p = last_p - a, q = last_q - b;
        if (p < 0 || p >= out_height || row + PH - p * SH >= KH) continue;
        if (q < 0 || q >= out_width || column + PW - q * SW >= KW) continue;
        int at = ((n * out_height + p) * out_width + q) * channels + c;
        Vec<STORE, VEC> given = load_vec<VEC>(dy + at);
        float part = share(p, q, height, width);
#pragma unroll
        for (int k = 0; k < VEC; k++) sum[k] += to_float(given.at[k]) * part;
      }
    Vec<STORE, VEC> result;
    for (int k = 0; k < VEC; k++) result.at[k] = stored<STORE>(sum[k]);
    store_vec<VEC>(dx + ((n * height + row) * width + column) * channels + c, result);
  }
}
