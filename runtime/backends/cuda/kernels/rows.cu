// Rows added to all rows of a matrix.
#include "storage.cuh"

extern "C" __global__ void add_row(STORE* y, const float* row, long long count,
                                   int columns) {
  for (long long i = FIRST; i < count; i += STRIDE)
    y[i] = stored<STORE>(to_float(y[i]) + row[i % columns]);
}
