#!/bin/sh
# OpenVINO's converter of Caffe files leaves options out, and the net answers otherwise.
#
# Versions: openvino-dev 2024.6.0, the last with that converter, with OpenVINO 2024.6.0
# (a CPU), protobuf 3.20.3, NumPy 1.26.4. 2023.3.0 does the same.
# Expected: what Caffe computes; or else an error, as for layers that it does not know.
# Happens, and nothing warns:
#   Scale of two bottoms with bias_term: the second bottom is left out of the net, and
#   the stored bias is taken for the factors.
#   Convolution with a dilation for each axis: the first is taken for both.
#   Concat with concat_dim: joined along axis 1.
#   Eltwise SUM with three coefficients: all are taken for 1. With two they are right.
#   ArgMax with top_k: in the order of the indices, not from the largest value down.
#   Pooling AVE with a pad: a last window beyond the pad divides by its whole size;
#   Caffe cuts windows at the end of the pad.
#   Pooling MAX with a pad: windows that begin behind the image, which Caffe leaves out,
#   stay, and their maximum is the lowest float.
#   MVN with across_channels: each channel by itself.
# Remedy: Scale without bias and another one behind it; zeros between the weights; axis;
# a Power in front of the sum; a Concat with zeros in place of the pad.
# Seen:
#   Scale of 2 by 3, bias 10 20 30: 20 40 60, not 16 26 36
#   Convolution of 7 x 7, kernel 2, dilation 1 and 3: 6 x 6, not 6 x 4
#   Concat of 2 x 3 x 4 twice, concat_dim 2: 4 x 3 x 4, not 2 x 6 x 4
#   1 + 2 * 1 + 3 * 1: 3, not 6
#   ArgMax of 5 9 3 7 1, top_k 3: 0 1 3, not 1 3 0
#   AVE of ones, 6 x 6, kernel 3, stride 2, pad 1, last: 0.1111, not 0.25
#   MAX of ones, 5 x 5, kernel 2, stride 3, pad 1: 3 x 3 from -3.4e+38, not 2 x 2 from 1
#   MVN of channels 1 3 and 5 7: -1 1 -1 1, not -1.342 -0.4472 0.4472 1.342
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  openvino-dev==2024.6.0 openvino==2024.6.0 openvino-telemetry==2025.2.0 \
  numpy==1.26.4 protobuf==3.20.3 networkx==3.1 defusedxml==0.7.1
cd "$folder"
"$folder/venv/bin/python" - 3>&1 > log 2>&1 <<'PYTHON' || { tail -n 3 log; exit 1; }
import sys
from pathlib import Path

import numpy as np
from openvino.runtime import Core
from openvino.tools.mo import convert_model

report = open(3, "w")


def number(n):
    """Return a number as protobuf writes it."""
    return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + number(n >> 7)


def field(key, data):
    return number(key << 3 | 2) + number(len(data)) + data


def blobs(kind, *arrays):
    """Return a NetParameter of the values of the layer y."""
    layer = field(1, b"y") + field(2, kind.encode())
    for array in arrays:
        shape = field(1, b"".join(map(number, array.shape)))
        layer += field(7, field(7, shape) + field(5, array.astype("<f4").tobytes()))
    return field(100, layer)


def run(kind, options, *inputs, arrays=(), times=1):
    """Return what a layer computes of the inputs, or of the first several times."""
    inputs = dict(zip("xs", map(np.float32, inputs)))
    text = ""
    for name, x in inputs.items():
        shape = "shape { " + " ".join(f"dim: {size}" for size in x.shape) + " }"
        text += f'layer {{ name: "{name}" type: "Input" top: "{name}" '
        text += f"input_param {{ {shape} }} }}\n"
    bottoms = " ".join(f'bottom: "{name}"' for name in [*inputs] * times)
    text += f'layer {{ name: "y" type: "{kind}" {bottoms} top: "y" {options} }}\n'
    Path("net.prototxt").write_text(text)
    Path("net.caffemodel").write_bytes(blobs(kind, *map(np.float32, arrays)))
    model = convert_model(
        input_model="net.caffemodel",
        input_proto="net.prototxt",
        silent=True,
        compress_to_fp16=False,
    )
    net = Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    known = {name for source in net.inputs for name in source.names}
    values = net({name: x for name, x in inputs.items() if name in known})
    return np.array(values[net.output(0)])[0]


def told(values):
    return " ".join(f"{value:.4g}" for value in np.ravel(values))


def size(y):
    return " x ".join(map(str, y.shape))


def ones(*shape):
    return np.ones((1, *shape))


found = []


def tell(what, seen, right):
    found.append(f"{what}: {seen}, not {right}")
    print(found[-1], file=report)


bias = np.array([10, 20, 30])
options = "scale_param { bias_term: true }"
y = run("Scale", options, 2 * ones(3, 1, 1), 3 * ones(3), arrays=[bias])
tell("Scale of 2 by 3, bias 10 20 30", told(y), told(2 * 3 + bias))

options = "num_output: 1 kernel_size: 2 bias_term: false dilation: 1 dilation: 3"
options = f"convolution_param {{ {options} }}"
y = run("Convolution", options, ones(1, 7, 7), arrays=[ones(1, 2, 2)])
tell("Convolution of 7 x 7, kernel 2, dilation 1 and 3", size(y[0]), "6 x 4")

y = run("Concat", "concat_param { concat_dim: 2 }", ones(2, 3, 4), times=2)
tell("Concat of 2 x 3 x 4 twice, concat_dim 2", size(y), "2 x 6 x 4")

options = "eltwise_param { coeff: 1 coeff: 2 coeff: 3 }"
y = run("Eltwise", options, ones(1, 1, 1), times=3)
tell("1 + 2 * 1 + 3 * 1", told(y), 6)

x = np.array([5, 9, 3, 7, 1])
options = "argmax_param { top_k: 3 axis: 1 }"
y = run("ArgMax", options, x.reshape(1, 5, 1, 1))
tell(f"ArgMax of {told(x)}, top_k 3", told(y), told(np.argsort(-x)[:3]))

options = "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }"
y = run("Pooling", options, ones(1, 6, 6))
tell("AVE of ones, 6 x 6, kernel 3, stride 2, pad 1, last", told(y[0, -1, -1]), 0.25)

options = "pooling_param { pool: MAX kernel_size: 2 stride: 3 pad: 1 }"
y = run("Pooling", options, ones(1, 5, 5))[0]
seen = f"{size(y)} from {y.min():.2g}"
tell("MAX of ones, 5 x 5, kernel 2, stride 3, pad 1", seen, "2 x 2 from 1")

x = np.array([1, 3, 5, 7])
y = run("MVN", "mvn_param { across_channels: true }", x.reshape(1, 2, 1, 2))
tell("MVN of channels 1 3 and 5 7", told(y), told((x - x.mean()) / x.std()))

SEEN = ["20 40 60", "6 x 6", "4 x 3 x 4", "3", "0 1 3", "0.1111", "3 x 3 from -3.4e+38"]
SEEN.append("-1 1 -1 1")
pairs = zip(SEEN, found, strict=True)
if not all(f": {seen}, not " in line for seen, line in pairs):
    sys.exit("changed")
PYTHON
