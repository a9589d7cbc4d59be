#!/bin/sh
# cuDNN's heuristic mode B proposes what A does for fused graphs, and more for others.
#
# Versions: nvidia-cudnn-frontend 1.32.0, nvidia-cudnn-cu13 9.19.0.56; H100 described.
# Expected, from the documentation (B is said to be the better and slower one): another
# list of plans for every graph. Or, after a look at one or two shapes: the same list.
# Happens: for convolution + bias + ReLU, and with an add before the bias, the two lists
# are equal to the last plan. For convolutions alone it depends on the shape: 64 to 64
# channels at 56 x 56 equal, 256 to 512 at 14 x 14 half as many again and more, plans
# that A does not name; so for gradients. So there B has more plans to measure among.
# Seen (bfloat16; result, (N, C, K, size, kernel), ends: plans of A, B, FALLBACK):
#   y (32, 64, 64, 56, 3): 32, 32, 3; equal
#   y (32, 256, 512, 14, 3): 31, 58, 3; B names 36 that A does not
#   x (32, 256, 512, 14, 3): 40, 67, 2; B names 37 that A does not
#   w (32, 256, 512, 14, 3): 40, 56, 3; B names 22 that A does not
#   y (32, 256, 512, 14, 3) bias ReLU: 28, 28; equal
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


def graph_of(kind, n, c, k, size, kernel, *, io, ends=()):
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
    for end in ends:
        if end == "bias":
            given = tensor("bias", [1, k, 1, 1], io)
            result = graph.bias(input=result, bias=given)
        elif end == "add":
            result = graph.add(a=result, b=tensor("add", shape))
        elif end == "ReLU":
            result = graph.relu(input=result)
    lay(result.set_output(True).set_data_type(io), shape)
    graph.validate()
    graph.build_operation_graph()
    return graph


def plans(mode, result, sizes, ends):
    graph = graph_of(result, *sizes, io=BFLOAT16, ends=ends)
    graph.create_execution_plans([getattr(cudnn.heur_mode, mode)])
    count = graph.get_execution_plan_count()
    return [graph.get_plan_name_at_index(place) for place in range(count)]


PLAIN, FUSED, ADDED = (), ("bias", "ReLU"), ("add", "bias", "ReLU")
SMALL, LARGE, NARROW = (32, 64, 64, 56, 3), (32, 256, 512, 14, 3), (32, 64, 96, 28, 1)
CASES = [  # result, sizes, ends, and whether the lists of A and B are equal
    ("y", SMALL, PLAIN, True),
    ("y", LARGE, PLAIN, False),
    ("y", NARROW, PLAIN, False),
    ("x", SMALL, PLAIN, True),
    ("x", LARGE, PLAIN, False),
    ("w", SMALL, PLAIN, True),
    ("w", LARGE, PLAIN, False),
    *[("y", sizes, FUSED, True) for sizes in (SMALL, LARGE, NARROW)],
    *[("y", sizes, ADDED, True) for sizes in (SMALL, LARGE, NARROW)],
]
changed = False
for result, sizes, ends, equal in CASES:
    a, b = (plans(mode, result, sizes, ends) for mode in "AB")
    others = "" if ends else f", {len(plans('FALLBACK', result, sizes, ends))}"
    more = len(set(b) - set(a))
    print(
        f"{' '.join([result, str(sizes), *ends])}: {len(a)}, {len(b)}{others}; "
        f"{'equal' if a == b else f'B names {more} that A does not'}"
    )
    changed |= (a == b) != equal or (not equal and not more)
if changed:
    sys.exit("changed")
PYTHON
