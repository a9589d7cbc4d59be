// All parameters of a net between their own form, float in Caffe's order (outputs,
// channels, places), and the form that libraries want, STORE in the order (outputs,
// places, channels), there with zeros behind the channels where it is padded.
#include "rows.cuh"
#include "storage.cuh"

#define EACH 1024  // elements of a block

struct Row {
  float* own;
  STORE* working;
  int channels, places, size, first;  // first: the number of its first block
  int add, padded;  // channels of the working form
};

extern "C" __global__ void __launch_bounds__(256)
to_working(const Row* __restrict__ rows, int count) {
  const Row row = *row_of(rows, count, blockIdx.x);
  int start = (blockIdx.x - row.first) * EACH;
  for (int j = threadIdx.x; j < EACH; j += blockDim.x) {
    int i = start + j;
    if (i >= row.size) return;
    int from = i;
    if (row.places > 1 || row.padded != row.channels) {
      int channel = i % row.padded, rest = i / row.padded;
      int place = rest % row.places, output = rest / row.places;
      from = (output * row.channels + channel) * row.places + place;
      if (channel >= row.channels) from = -1;
    }
    row.working[i] = stored<STORE>(from < 0 ? 0.0f : row.own[from]);
  }
}

extern "C" __global__ void __launch_bounds__(256)
from_working(const Row* __restrict__ rows, int count) {
  const Row row = *row_of(rows, count, blockIdx.x);
  int start = (blockIdx.x - row.first) * EACH;
  for (int j = threadIdx.x; j < EACH; j += blockDim.x) {
    int i = start + j;
    if (i >= row.size) return;
    int from = i;
    if (row.places > 1 || row.padded != row.channels) {
      int place = i % row.places, rest = i / row.places;
      int channel = rest % row.channels, output = rest / row.channels;
      from = (output * row.places + place) * row.padded + channel;
    }
    float value = to_float(row.working[from]);
    row.own[i] = row.add ? row.own[i] + value : value;
  }
}
