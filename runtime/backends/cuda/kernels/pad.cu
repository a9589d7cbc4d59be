// Rows of few channels, padded with zeros to the PACK of them that are read at once.
#include "storage.cuh"

extern "C" __global__ void __launch_bounds__(256)
pad_channels(const STORE* __restrict__ x, STORE* __restrict__ y, long long rows,
             int channels) {
  for (long long row = FIRST; row < rows; row += STRIDE) {
    Pack<STORE> pack;
#pragma unroll
    for (int j = 0; j < PACK; j++)
      pack.at[j] = j < channels ? x[row * channels + j] : stored<STORE>(0.0f);
    store_pack(y + row * PACK, pack);
  }
}
