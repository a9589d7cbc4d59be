#!/bin/sh
# cuDNN's front end keeps Python's lock while it builds a plan, compiling included.
#
# Versions: nvidia-cudnn-frontend 1.32.0, nvidia-cudnn-cu13 9.19.0.56, nvidia-cublas
# 13.10.0.20, nvidia-cuda-nvrtc 13.5.37; an H100 described.
# Expected: build_plans, which may compile for seconds in C++, lets other threads run,
# so that plans can be made in a pool of threads.
# Happens: no other thread runs before it returns: no progress bar, no reading of data.
# Four plans took 25.5 s in two threads and 17.9 s in one. Processes help: planning needs
# a description of the device, as below, and not the device, and what was planned can be
# serialized.
# Seen (a thread that wants to run every millisecond; two cores, otherwise busy):
#   plan 1: 3.39 s, longest pause of the other thread 3.39 s
#   plan 2: 3.46 s, longest pause of the other thread 3.46 s
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  nvidia-cudnn-frontend==1.32.0 nvidia-cudnn-cu13==9.19.0.56 \
  nvidia-cublas==13.10.0.20 nvidia-cuda-nvrtc==13.5.37
# Stands in for driver and runtime, so that cuDNN plans for a device described to it.
cat > "$folder/driver.c" <<'C'
#include <stddef.h>
static long long room[64]; /* what every handle points to */
#define NOTHING(name) int name(void) { return 0; }
#define NUMBER(name, value) int name(int *out) { *out = value; return 0; }
#define HANDLE(name) int name(void **out) { *out = room; return 0; }
NOTHING(cuInit) NOTHING(cuCtxPushCurrent) NOTHING(cuCtxPopCurrent)
NOTHING(cuKernelSetAttribute) NOTHING(cuLibraryUnload) NOTHING(cuLinkAddData)
NOTHING(cuLinkDestroy) NOTHING(cuLaunchKernel) NOTHING(cuLaunchKernelEx)
NOTHING(cuLaunchCooperativeKernel)
NUMBER(cuDriverGetVersion, 13000) NUMBER(cuDeviceGetCount, 1) NUMBER(cuDeviceGet, 0)
NUMBER(cuKernelGetAttribute, 0) NUMBER(cuOccupancyMaxPotentialClusterSize, 8)
NUMBER(cudaGetDevice, 0)
HANDLE(cuCtxGetCurrent) HANDLE(cuLibraryGetKernel) HANDLE(cuLibraryLoadData)
HANDLE(cuLibraryLoadFromFile)
int cuCtxGetLimit(size_t *out) { *out = 1024; return 0; }
int cuGetErrorName(int code, const char **out) { (void)code; *out = ""; return 0; }
int cuGetErrorString(int code, const char **out) { (void)code; *out = ""; return 0; }
int cuGetExportTable(const void **out) { *out = NULL; return 1; }
int cuLinkComplete(void *link, void **out, size_t *size) {
  (void)link;
  *out = room;
  *size = sizeof room;
  return 0;
}
int cuLinkCreate(unsigned count, void *options, void *values, void **out) {
  (void)count, (void)options, (void)values;
  *out = room;
  return 0;
}
int cuStreamGetCtx(void *stream, void **out) { (void)stream; *out = room; return 0; }
int cudaDeviceGetAttribute(int *value, int attribute, int device) {
  (void)device;
  *value = attribute == 75 ? 9 : 0; /* the major compute capability */
  return 0;
}
C
for name in libcuda.so.1 libcudart.so.13; do
  "${CC:-cc}" -shared -fPIC -Wl,-soname,$name -o "$folder/$name" "$folder/driver.c"
done
LD_LIBRARY_PATH="$folder" "$folder/venv/bin/python" - <<'PYTHON'
import json
import sys
import threading
import time

import cudnn

FLOAT, BFLOAT16 = cudnn.data_type.FLOAT, cudnn.data_type.BFLOAT16
# An H100, as cuDNN describes it.
DEVICE = {
    "deviceName": "NVIDIA H100 80GB HBM3", "deviceVer": 900, "driverVer": 13000,
    "cudaDeviceId": 0, "pciDeviceId": 0, "isTccDriver": 0, "supportCoopLaunch": 1,
    "maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64],
    "maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048, "maxCtasPerSM": 32,
    "warpSize": 32, "regsPerBlock": 65536, "maxRegistersPerSM": 65536,
    "maxSharedMemoryPerBlock": 49152, "maxSharedMemoryPerBlockOptin": 232448,
    "reservedSharedMemoryPerBlock": 1024, "oversizedSharedMemoryPerBlock": 0,
    "multiProcessorCount": 132, "smCountOrigin": 0, "smClockRateKHz": 1980000,
    "memClockRateKHz": 2619000, "memoryBusWidth": 5120, "l2CacheSize": 52428800,
    "totalGlobalMem": 85000000000,
}
device = cudnn.create_device_properties(json.dumps(DEVICE))


def lay(tensor, shape):
    """Give a result its shape, with channels last in memory."""
    return tensor.set_dim(shape).set_stride(strides(shape))


def strides(shape):
    n, c, h, w = shape
    return [h * w * c, 1, w * c, c]


def masked_gradient(n, c, k, size):
    """Return the gradient of x masked by a ReLU; cuDNN compiles an engine for it."""
    x, w, y = [n, c, size, size], [k, c, 3, 3], [n, k, size, size]
    graph = cudnn.pygraph(
        io_data_type=BFLOAT16, intermediate_data_type=FLOAT, compute_data_type=FLOAT,
        device_property=device,
    )
    dy, weight, mask = (
        graph.tensor(name=name, dim=shape, stride=strides(shape), data_type=BFLOAT16)
        for name, shape in (("y", y), ("w", w), ("mask", x))
    )
    result = graph.conv_dgrad(
        loss=dy, filter=weight, pre_padding=[1, 1], post_padding=[1, 1], stride=[1, 1],
        dilation=[1, 1], compute_data_type=FLOAT,
    )
    result = graph.relu_backward(loss=lay(result, x), input=mask)
    lay(result.set_output(True).set_data_type(BFLOAT16), x)
    graph.validate()
    graph.build_operation_graph()
    graph.create_execution_plans([cudnn.heur_mode.A])
    graph.check_support()
    return graph


class Ticks(threading.Thread):
    """A thread that wants to run every millisecond, and its longest pause."""

    def __init__(self):
        super().__init__(daemon=True)
        self.pause = 0.0
        self.wanted = True

    def run(self):
        last = time.perf_counter()
        while self.wanted:
            time.sleep(0.001)
            now = time.perf_counter()
            self.pause = max(self.pause, now - last)
            last = now


changed = False
masked_gradient(4, 64, 32, 56).build_plans()  # loads libraries
for number, channels in enumerate((32, 64), 1):
    graph, ticks = masked_gradient(8, 64, channels, 56), Ticks()
    ticks.start()
    time.sleep(0.2)
    ticks.pause = 0.0
    start = time.perf_counter()
    graph.build_plans()
    took = time.perf_counter() - start
    ticks.wanted = False
    ticks.join()
    print(
        f"plan {number}: {took:.2f} s, longest pause of the other thread "
        f"{ticks.pause:.2f} s"
    )
    changed |= ticks.pause < took / 2
if changed:
    sys.exit("changed")
PYTHON
