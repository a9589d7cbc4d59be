#!/bin/sh
# A float32 convolution of cuDNN runs on tensor cores in TF32 unless that is refused.
#
# Versions: nvidia-cudnn-frontend 1.32.0, nvidia-cudnn-cu13 9.19.0.56; H100 described.
# Expected: tensors and compute type FLOAT are float32 arithmetic; where anything is
# rounded before, engines have the note DOWN_CONVERT_INPUTS.
# Happens: the first plan, which is the one that build_plans takes, has the note
# TENSOR_CORE, and so have most of the others. Tensor cores round float32 factors to 10
# bits of fraction. To deselect DOWN_CONVERT_INPUTS excludes nothing; to deselect
# TENSOR_CORE leaves the plans in float32. The count of plans stays as it was, excluded
# ones refuse to be built. (What the notes say; nothing was computed here.)
# Seen (result, (N, C, K, size, kernel): plans, left without DOWN_CONVERT_INPUTS, left
# without TENSOR_CORE, place of the first of these):
#   y (8, 64, 96, 28, 3): 37, 37, 6, 30
#   x (8, 64, 96, 28, 3): 32, 32, 5, 27
#   w (8, 64, 96, 28, 3): 20, 20, 4, 12
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  nvidia-cudnn-frontend==1.32.0 nvidia-cudnn-cu13==9.19.0.56 \
  nvidia-cublas==13.10.0.20
# cuDNN plans for a device that is described; it asks the runtime only which is current.
cat > "$folder/cudart.c" <<'C'
int cudaGetDevice(int *device) { *device = 0; return 0; }
int cudaDeviceGetAttribute(int *value, int attribute, int device) {
  (void)device;
  *value = attribute == 75 ? 9 : 0; /* the major compute capability */
  return 0;
}
C
"${CC:-cc}" -shared -fPIC -o "$folder/libcudart.so.13" "$folder/cudart.c"
LD_LIBRARY_PATH="$folder" "$folder/venv/bin/python" - <<'PYTHON'
import json
import sys

import cudnn

FLOAT = cudnn.data_type.FLOAT
NOTES = cudnn.numerical_note
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


def graph_of(kind, n, c, k, size, kernel, *, io):
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
    lay(result.set_output(True).set_data_type(io), shape)
    graph.validate()
    graph.build_operation_graph()
    return graph


def left(result, sizes, *refused):
    """Return how many plans there are, and the places of those that can be built."""
    graph = graph_of(result, *sizes, io=FLOAT)
    graph.create_execution_plans([cudnn.heur_mode.A])
    graph.deselect_numeric_notes([getattr(NOTES, note) for note in refused])
    graph.check_support()
    count, places = graph.get_execution_plan_count(), []
    for place in range(count):
        try:
            graph.build_plan_at_index(place)
        except cudnn.cudnnGraphNotSupportedError:
            continue
        places.append(place)
    return count, places


changed = False
for result, sizes in [(name, (8, 64, 96, 28, 3)) for name in "yxw"]:
    count, every = left(result, sizes)
    _, unrounded = left(result, sizes, "DOWN_CONVERT_INPUTS")
    after, real = left(result, sizes, "TENSOR_CORE")
    first = real[0] if real else "none"
    print(f"{result} {sizes}: {count}, {len(unrounded)}, {len(real)}, {first}")
    changed |= every != unrounded or every[0] != 0 or after != count
    changed |= first in (0, "none") or 2 * len(real) > count
if changed:
    sys.exit("changed")
PYTHON
