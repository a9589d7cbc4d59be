// Softmax and its gradient along the middle axis of (outer, classes, inner).
//
// FROM is what x and dx are stored as, TO what y and dy are. Blobs may be each other:
// every value is read before it is written, by the thread that writes it.
#ifndef FROM
#define FROM float
#endif
#ifndef TO
#define TO float
#endif
#ifndef CLASSES
#define CLASSES 10  // of the short rows
#endif
#include "storage.cuh"
#include "reduce.cuh"

#define ROWS 128  // of short rows that a block takes at once, a thread each
#define WIDTH (CLASSES | 1)  // of a row in shared memory: no two of a bank
#define LEAST (-__uint_as_float(0x7f800000u))

__device__ inline float larger(float a, float b) { return b > a || b != b ? b : a; }

// Rows of few classes, inner 1: they go through shared memory, as neighbours do.
extern "C" __global__ void __launch_bounds__(128)
softmax_short(const FROM* x, TO* y, unsigned rows) {
  __shared__ float held[ROWS * WIDTH];
  for (unsigned from = blockIdx.x * ROWS; from < rows; from += gridDim.x * ROWS) {
    unsigned taken = min(ROWS, (int)(rows - from)) * CLASSES;
    for (unsigned e = threadIdx.x; e < taken; e += ROWS)
      held[e / CLASSES * WIDTH + e % CLASSES] = to_float(x[from * CLASSES + e]);
    __syncthreads();
    float* row = held + threadIdx.x * WIDTH;
    if (from + threadIdx.x < rows) {
      float most = LEAST, sum = 0.0f;
      for (int c = 0; c < CLASSES; c++) most = larger(most, row[c]);
      for (int c = 0; c < CLASSES; c++) sum += row[c] = expf(row[c] - most);
      for (int c = 0; c < CLASSES; c++) row[c] /= sum;
    }
    __syncthreads();
    for (unsigned e = threadIdx.x; e < taken; e += ROWS)
      y[from * CLASSES + e] = stored<TO>(held[e / CLASSES * WIDTH + e % CLASSES]);
    __syncthreads();
  }
}

extern "C" __global__ void __launch_bounds__(128)
softmax_short_gradient(const TO* y, const TO* dy, FROM* dx, unsigned rows) {
  __shared__ float held[ROWS * WIDTH], given[ROWS * WIDTH];
  for (unsigned from = blockIdx.x * ROWS; from < rows; from += gridDim.x * ROWS) {
    unsigned taken = min(ROWS, (int)(rows - from)) * CLASSES;
    for (unsigned e = threadIdx.x; e < taken; e += ROWS) {
      unsigned at = e / CLASSES * WIDTH + e % CLASSES;
      held[at] = to_float(y[from * CLASSES + e]);
      given[at] = to_float(dy[from * CLASSES + e]);
    }
    __syncthreads();
    if (from + threadIdx.x < rows) {
      float *row = held + threadIdx.x * WIDTH, *gradient = given + threadIdx.x * WIDTH;
      float sum = 0.0f;
      for (int c = 0; c < CLASSES; c++) sum += row[c] * gradient[c];
      for (int c = 0; c < CLASSES; c++) row[c] *= gradient[c] - sum;
    }
    __syncthreads();
    for (unsigned e = threadIdx.x; e < taken; e += ROWS)
      dx[from * CLASSES + e] = stored<FROM>(held[e / CLASSES * WIDTH + e % CLASSES]);
    __syncthreads();
  }
}

// Longer rows, inner 1: a block does a row.
extern "C" __global__ void __launch_bounds__(1024)
softmax_rows(const FROM* x, TO* y, unsigned rows, unsigned classes) {
  for (unsigned r = blockIdx.x; r < rows; r += gridDim.x) {
    const FROM* from = x + r * classes;
    TO* to = y + r * classes;
    float most = LEAST, sum = 0.0f;
#pragma unroll 4
    for (unsigned c = threadIdx.x; c < classes; c += blockDim.x)
      most = larger(most, to_float(from[c]));
    most = block_max(most);
#pragma unroll 4
    for (unsigned c = threadIdx.x; c < classes; c += blockDim.x)
      sum += expf(to_float(from[c]) - most);
    sum = block_sum(sum);
#pragma unroll 4
    for (unsigned c = threadIdx.x; c < classes; c += blockDim.x)
      to[c] = stored<TO>(expf(to_float(from[c]) - most) / sum);
  }
}

extern "C" __global__ void __launch_bounds__(1024)
softmax_rows_gradient(const TO* y, const TO* dy, FROM* dx, unsigned rows,
                      unsigned classes) {
  for (unsigned r = blockIdx.x; r < rows; r += gridDim.x) {
    unsigned at = r * classes;
    float sum = 0.0f;
#pragma unroll 4
    for (unsigned c = threadIdx.x; c < classes; c += blockDim.x)
      sum += to_float(y[at + c]) * to_float(dy[at + c]);
    sum = block_sum(sum);
#pragma unroll 4
    for (unsigned c = threadIdx.x; c < classes; c += blockDim.x)
      dx[at + c] = stored<FROM>(to_float(y[at + c]) * (to_float(dy[at + c]) - sum));
  }
}

// Columns: a thread does all classes of a place; neighbours do neighbouring places.
extern "C" __global__ void __launch_bounds__(256)
softmax_columns(const FROM* x, TO* y, unsigned places, unsigned classes,
                unsigned inner) {
  for (unsigned p = FIRST; p < places; p += STRIDE) {
    unsigned start = p / inner * classes * inner + p % inner;
    float most = LEAST, sum = 0.0f;
#pragma unroll 4
    for (unsigned c = 0; c < classes; c++)
      most = larger(most, to_float(x[start + c * inner]));
#pragma unroll 4
    for (unsigned c = 0; c < classes; c++)
      sum += expf(to_float(x[start + c * inner]) - most);
#pragma unroll 4
    for (unsigned c = 0; c < classes; c++) {
      unsigned at = start + c * inner;
      y[at] = stored<TO>(expf(to_float(x[at]) - most) / sum);
    }
  }
}

extern "C" __global__ void __launch_bounds__(256)
softmax_columns_gradient(const TO* y, const TO* dy, FROM* dx, unsigned places,
                         unsigned classes, unsigned inner) {
  for (unsigned p = FIRST; p < places; p += STRIDE) {
    unsigned start = p / inner * classes * inner + p % inner;
    float sum = 0.0f;
#pragma unroll 4
    for (unsigned c = 0; c < classes; c++)
      sum += to_float(y[start + c * inner]) * to_float(dy[start + c * inner]);
#pragma unroll 4
    for (unsigned c = 0; c < classes; c++) {
      unsigned at = start + c * inner;
      dx[at] = stored<FROM>(to_float(y[at]) * (to_float(dy[at]) - sum));
    }
  }
}
