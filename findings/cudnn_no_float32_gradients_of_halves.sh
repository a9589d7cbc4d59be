#!/bin/sh
# cuDNN computes no float32 gradients of convolutions from 16-bit tensors.
#
# Versions: nvidia-cudnn-frontend 1.32.0, nvidia-cudnn-cu13 9.19.0.56, nvidia-cublas
# 13.10.0.20, nvidia-cuda-nvrtc 13.5.37; an H100 described.
# Expected: sums are float32, so a float32 result is the same engine without its last
# rounding; mixed precision wants just that for gradients of weights, and cuBLAS has it.
# Happens: for the gradients of x and of w there is no engine, precompiled or not, not
# even in mode FALLBACK: planning raises cudnnGraphNotSupportedError. They come out
# rounded to 16 bits, and are widened by somebody else. Forward, one plan is left, and
# that not in mode A.
# Seen (plans of modes A and FALLBACK):
#   bfloat16: y 36, with a float32 result 1
#   bfloat16: x 40, with a float32 result none
#   bfloat16: w 43, with a float32 result none
#   float16: the same, of 44, 43 and 43
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

import cudnn

FLOAT = cudnn.data_type.FLOAT
STORAGES = {"bfloat16": cudnn.data_type.BFLOAT16, "float16": cudnn.data_type.HALF}
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


def graph_of(kind, n, c, k, size, kernel, *, io, out):
    """Return the graph of a convolution of (n, c, size, size) with k kernels."""
    pad = kernel // 2
    shapes = {
        "x": [n, c, size, size], "w": [k, c, kernel, kernel], "y": [n, k, size, size]
    }
    graph = cudnn.pygraph(
        io_data_type=io, intermediate_data_type=FLOAT, compute_data_type=FLOAT,
        device_property=device,
    )

    def tensor(name, shape, data_type=io):
        return graph.tensor(
            name=name, dim=shape, stride=strides(shape), data_type=data_type
        )

    options = {
        "pre_padding": [pad, pad], "post_padding": [pad, pad], "stride": [1, 1],
        "dilation": [1, 1], "compute_data_type": FLOAT,
    }
    given = {name: tensor(name, shapes[name]) for name in shapes if name != kind}
    shape = shapes[kind]  # what is computed: y, or the gradient of x or of w
    if kind == "y":
        result = graph.conv_fprop(image=given["x"], weight=given["w"], **options)
    elif kind == "x":
        result = graph.conv_dgrad(loss=given["y"], filter=given["w"], **options)
    else:
        result = graph.conv_wgrad(image=given["x"], loss=given["y"], **options)
    lay(result, shape)
    lay(result.set_output(True).set_data_type(out), shape)
    graph.validate()
    graph.build_operation_graph()
    return graph


def plans(result, io, out):
    graph = graph_of(result, 32, 64, 64, 28, 3, io=io, out=out)
    try:
        graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
        graph.check_support()
    except cudnn.cudnnGraphNotSupportedError:
        return 0
    return graph.get_execution_plan_count()


changed = False
for name, io in STORAGES.items():
    for result in "yxw":
        narrow, wide = plans(result, io, io), plans(result, io, FLOAT)
        print(f"{name}: {result} {narrow}, with a float32 result {wide or 'none'}")
        changed |= not narrow or (result != "y" and wide > 0)
if changed:
    sys.exit("changed")
PYTHON
