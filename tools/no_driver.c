/* Stands in for NVIDIA's driver and CUDA's runtime on a machine without a GPU, so far
 * as cuDNN needs them to plan for a device that is described to it and not here.
 *
 * Everything succeeds and does nothing; what loads code hands out a handle. Kept out on
 * purpose: cuGetProcAddress. Without it the runtime that is built into cuDNN takes this
 * for a driver that is too old, and asks no more; with it, it would call dozens of
 * functions and use what they return.
 */
#include <stddef.h>

static long long anything[64]; /* what every handle points to */

#define SUCCEEDS(name)                                                                 \
  int name(void) { return 0; }
#define GIVES_NUMBER(name, value)                                                      \
  int name(int *out) {                                                                 \
    *out = value;                                                                      \
    return 0;                                                                          \
  }
#define GIVES_HANDLE(name)                                                             \
  int name(void **out) {                                                               \
    *out = anything;                                                                   \
    return 0;                                                                          \
  }

/* the driver, libcuda.so.1 */
SUCCEEDS(cuInit)
SUCCEEDS(cuCtxPushCurrent)
SUCCEEDS(cuCtxPopCurrent)
SUCCEEDS(cuKernelSetAttribute)
SUCCEEDS(cuLaunchCooperativeKernel)
SUCCEEDS(cuLaunchKernel)
SUCCEEDS(cuLaunchKernelEx)
SUCCEEDS(cuLibraryUnload)
SUCCEEDS(cuLinkAddData)
SUCCEEDS(cuLinkDestroy)
GIVES_NUMBER(cuDriverGetVersion, 13000)
GIVES_NUMBER(cuDeviceGetCount, 1)
GIVES_NUMBER(cuDeviceGet, 0)
GIVES_NUMBER(cuKernelGetAttribute, 0)
GIVES_NUMBER(cuOccupancyMaxPotentialClusterSize, 8)
GIVES_HANDLE(cuCtxGetCurrent)
GIVES_HANDLE(cuLibraryGetKernel)
GIVES_HANDLE(cuLibraryLoadData)
GIVES_HANDLE(cuLibraryLoadFromFile)

int cuCtxGetLimit(size_t *out) {
  *out = 1024;
  return 0;
}

int cuGetErrorName(int code, const char **out) {
  (void)code;
  *out = "an error";
  return 0;
}

int cuGetErrorString(int code, const char **out) { return cuGetErrorName(code, out); }

/* NVRTC asks for a table of functions where cuInit succeeds, and goes without. */
int cuGetExportTable(const void **out) {
  *out = NULL;
  return 1;
}

int cuLinkComplete(void *link, void **out, size_t *size) {
  (void)link;
  *out = anything;
  *size = sizeof anything;
  return 0;
}

int cuLinkCreate(unsigned count, void *options, void *values, void **out) {
  (void)count, (void)options, (void)values;
  *out = anything;
  return 0;
}

int cuStreamGetCtx(void *stream, void **out) {
  (void)stream;
  *out = anything;
  return 0;
}

/* the runtime, libcudart.so.13 */
GIVES_NUMBER(cudaGetDevice, 0)

int cudaDeviceGetAttribute(int *out, int attribute, int device) {
  const int major = 75;
  (void)device;
  *out = attribute == major ? 9 : 0;
  return 0;
}
