#!/bin/sh
# Without NVRTC cuDNN says of graphs that it would compile that nobody supports them.
#
# Versions: nvidia-cudnn-frontend 1.32.0, nvidia-cudnn-cu13 9.19.0.56, nvidia-cublas
# 13.10.0.20; an H100 described. cuDNN requires cuBLAS, but not NVRTC.
# Expected: an error of its own kind, whose first line names the library.
# Happens: such engines vanish, and the graph is refused with the exception of a graph
# that no device supports; its first line says that no engine proposed a plan, the 9th
# of 153 that libnvrtc could not be opened. Who catches it runs something slower for
# ever: precompiled engines work, so that nothing else shows it. (Without cuBLASLt it is
# worse: planning ends the process.)
# Seen:
#   without NVRTC: convolution: 32 plans
#   without NVRTC: convolution + ReLU: cudnnGraphNotSupportedError, NVRTC named below
#   with NVRTC: convolution: 32 plans
#   with NVRTC: convolution + ReLU: 4 plans
# Needs a machine on which the loader finds no NVRTC of its own.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  nvidia-cudnn-frontend==1.32.0 nvidia-cudnn-cu13==9.19.0.56 \
  nvidia-cublas==13.10.0.20
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
cat > "$folder/plan.py" <<'PYTHON'
"""Print how a convolution alone, and with a ReLU, is planned."""

import json
import sys

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


def graph_of(n, c, k, size, kernel, *, io, relu):
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
    shape = shapes["y"]
    result = graph.conv_fprop(
        image=tensor("x", shapes["x"]), weight=tensor("w", shapes["w"]), **options
    )
    if relu:
        result = graph.relu(input=lay(result, shape))
    lay(result.set_output(True).set_data_type(io), shape)
    graph.validate()
    graph.build_operation_graph()
    return graph


for relu in (False, True):
    graph = graph_of(32, 64, 64, 28, 3, io=BFLOAT16, relu=relu)
    try:
        graph.create_execution_plans([cudnn.heur_mode.A])
        graph.check_support()
        answer = f"{graph.get_execution_plan_count()} plans"
    except Exception as error:
        named = [place for place, line in enumerate(str(error).splitlines(), 1)
                 if "nvrtc" in line.lower()]
        where = "below" if named and named[0] > 1 else "at once" if named else "nowhere"
        answer = f"{type(error).__name__}, NVRTC named {where}"
    print(f"{sys.argv[1]}: convolution{' + ReLU' * relu}: {answer}")
PYTHON
run() {
  LD_LIBRARY_PATH="$folder" "$folder/venv/bin/python" "$folder/plan.py" "$1"
}
seen=$(
  run "without NVRTC"
  "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --no-deps nvidia-cuda-nvrtc==13.5.37 >&2
  run "with NVRTC"
)
echo "$seen"
expected="without NVRTC: convolution: 32 plans
without NVRTC: convolution + ReLU: cudnnGraphNotSupportedError, NVRTC named below
with NVRTC: convolution: 32 plans
with NVRTC: convolution + ReLU: 4 plans"
if [ "$seen" != "$expected" ]; then
  echo "changed" >&2
  exit 1
fi
