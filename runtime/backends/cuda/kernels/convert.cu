// Blobs from one order of axes and one storage to another.
//
// Channels-first is N C S, channels-last N S C, S being all spatial axes as one. The
// storage of both sides is chosen apart: FROM and TO.
#ifndef FROM
#define FROM float
#endif
#ifndef TO
#define TO float
#endif
#include "storage.cuh"

#define TILE 32

// Transpose the last two axes: x (outer, rows, columns) -> y (outer, columns, rows).
// A block of 32 x 8 threads does a tile of 32 x 32; blocks stride through the outer axis.
// With `add` the result is added to y.
extern "C" __global__ void transpose(const FROM* x, TO* y, int outer, int rows,
                                     int columns, int add) {
  __shared__ float tile[TILE][TILE + 1];
  long long plane = (long long)rows * columns;
  for (int o = blockIdx.z; o < outer; o += gridDim.z) {
    const FROM* from = x + o * plane;
    TO* to = y + o * plane;
    int column = blockIdx.x * TILE + threadIdx.x;
    for (int j = threadIdx.y; j < TILE; j += blockDim.y) {
      int row = blockIdx.y * TILE + j;
      if (row < rows && column < columns)
        tile[j][threadIdx.x] = to_float(from[(long long)row * columns + column]);
    }
    __syncthreads();
    int row = blockIdx.y * TILE + threadIdx.x;
    for (int j = threadIdx.y; j < TILE; j += blockDim.y) {
      int out = blockIdx.x * TILE + j;
      if (row < rows && out < columns) {
        TO* place = to + (long long)out * rows + row;
        float value = tile[threadIdx.x][j];
        *place = stored<TO>(add ? to_float(*place) + value : value);
      }
    }
    __syncthreads();
  }
}

// The same order on both sides.
extern "C" __global__ void copy(const FROM* x, TO* y, long long count, int add) {
  for (long long i = FIRST; i < count; i += STRIDE) {
    float value = to_float(x[i]);
    y[i] = stored<TO>(add ? to_float(y[i]) + value : value);
  }
}
