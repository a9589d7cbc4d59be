#!/bin/sh
# cuDNN fuses a convolution into precompiled engines only as relu(x * w + add + bias).
#
# Versions: nvidia-cudnn-frontend 1.32.0, nvidia-cudnn-cu13 9.19.0.56, nvidia-cublas
# 13.10.0.20, nvidia-cuda-nvrtc 13.5.37; an H100 described.
# Expected: bias and add commute, so their order in a graph does not matter; what has an
# engine with a bias has one without; a float32 bias beside bfloat16, which costs
# nothing, is as good as one in bfloat16.
# Happens: each of the three is wrong. With the bias before the add, without a bias, or
# with a bias in float32, only engines are left that cuDNN compiles while it plans (note
# RUNTIME_COMPILATION): seconds for each plan, and slower. On an H200, bfloat16, one
# convolution took 0.097 ms with a float32 bias and 0.040 ms with a bfloat16 one. A bias
# of zeros makes ReLU alone precompiled.
# Seen (precompiled + compiled plans): bias ReLU 34 + 0; add bias ReLU 34 + 0;
# bias add ReLU 0 + 3; ReLU 0 + 4; add ReLU 0 + 3; float32 bias, ReLU 0 + 3.
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

FLOAT, BFLOAT16 = cudnn.data_type.FLOAT, cudnn.data_type.BFLOAT16
COMPILES = cudnn.behavior_note.RUNTIME_COMPILATION
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


def graph_of(n, c, k, size, kernel, *, io, ends, bias):
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
    lay(result, shape)
    for end in ends:
        if end == "bias":
            given = tensor("bias", [1, k, 1, 1], bias)
            result = graph.bias(input=result, bias=given)
        elif end == "add":
            result = graph.add(a=result, b=tensor("add", shape))
        elif end == "ReLU":
            result = graph.relu(input=result)
    lay(result.set_output(True).set_data_type(io), shape)
    graph.validate()
    graph.build_operation_graph()
    return graph


CASES = [  # ends, storage of the bias, and whether there are precompiled engines
    (["bias", "ReLU"], BFLOAT16, True),
    (["add", "bias", "ReLU"], BFLOAT16, True),
    (["bias", "add", "ReLU"], BFLOAT16, False),
    (["ReLU"], BFLOAT16, False),
    (["add", "ReLU"], BFLOAT16, False),
    (["bias", "ReLU"], FLOAT, False),
]
changed = False
for ends, bias, expected in CASES:
    graph = graph_of(32, 64, 96, 28, 3, io=BFLOAT16, ends=ends, bias=bias)
    graph.create_execution_plans([cudnn.heur_mode.A])
    graph.check_support()
    notes = [
        graph.get_behavior_notes_for_plan_at_index(place)
        for place in range(graph.get_execution_plan_count())
    ]
    compiled = sum(COMPILES in one for one in notes)
    precompiled = len(notes) - compiled
    words = " ".join(ends) + (", bias in float32" if bias == FLOAT else "")
    print(f"{words}: {precompiled} precompiled, {compiled} compiled")
    changed |= bool(precompiled) != expected or bool(compiled) == expected
if changed:
    sys.exit("changed")
PYTHON
