// Sums and maxima over the threads of a block of at most 1024, in a fixed order.
// Every thread calls them, and every thread gets the result.

__device__ inline float block_sum(float value) {
  __shared__ float parts[1024];
  int thread = threadIdx.x, count = blockDim.x;
  __syncthreads();  // whoever still reads the parts of the sum before
  parts[thread] = value;
  __syncthreads();
  for (int half = 512; half > 0; half >>= 1) {
    if (thread < half && thread + half < count) parts[thread] += parts[thread + half];
    __syncthreads();
  }
  return parts[0];
}

__device__ inline float block_max(float value) {
  __shared__ float parts[1024];
  int thread = threadIdx.x, count = blockDim.x;
  __syncthreads();
  parts[thread] = value;
  __syncthreads();
  for (int half = 512; half > 0; half >>= 1) {
    if (thread < half && thread + half < count) {
      float other = parts[thread + half];
      if (other > parts[thread] || other != other) parts[thread] = other;
    }
    __syncthreads();
  }
  return parts[0];
}
