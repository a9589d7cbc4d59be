#!/bin/sh
# OpenCV takes the factors of other channels behind a Deconvolution of two groups.
#
# Versions: opencv-python-headless 4.14.0.94 (its reader of Caffe files), NumPy 2.4.6.
# Expected: a factor for each channel is folded into the weights before it, channel by
# channel, with groups as without, since that is right for Convolution.
# Happens: for Deconvolution with groups the factors are folded into weights that lie in
# another order: channels 1 and 2 of four change places. Nothing warns. BatchNorm behind
# it is folded in the same way.
# Remedy: a Reshape to the same shape between the two keeps OpenCV from joining them.
# Seen (the output with Scale by 1, 10, 100, 1000, divided by the one without):
#   Convolution: 1 group 1, 10, 100, 1000; 2 groups 1, 10, 100, 1000
#   Deconvolution: 1 group 1, 10, 100, 1000; 2 groups 1, 100, 10, 1000
#   Deconvolution: 2 groups, Reshape between 1, 10, 100, 1000
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  numpy==2.4.6 opencv-python-headless==4.14.0.94
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import cv2
import numpy as np


def number(n):
    """Return a number as protobuf writes it."""
    return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + number(n >> 7)


def field(key, data):
    return number(key << 3 | 2) + number(len(data)) + data


def blobs(**layers):
    """Return a NetParameter of the values of layers: type, arrays."""
    net = b""
    for name, (kind, *arrays) in layers.items():
        layer = field(1, name.encode()) + field(2, kind.encode())
        for array in arrays:
            shape = field(1, b"".join(map(number, array.shape)))
            layer += field(7, field(7, shape) + field(5, array.astype("<f4").tobytes()))
        net += field(100, layer)
    return net


def run(text, x, output, model=b""):
    """Return what OpenCV computes for the input x."""
    files = [np.frombuffer(each, np.uint8) for each in (text.encode(), model) if each]
    net = cv2.dnn.readNetFromCaffe(*files)
    net.setInput(np.float32(x), "x")
    return np.array(net.forward(output))


def source(*shape):
    dims = " ".join(f"dim: {size}" for size in shape)
    options = f"input_param {{ shape {{ {dims} }} }}"
    return f'layer {{ name: "x" type: "Input" top: "x" {options} }}\n'


def layer(kind, name, bottom, options="", top=None):
    blobs = f'bottom: "{bottom}" top: "{top or name}"'
    return f'layer {{ name: "{name}" type: "{kind}" {blobs} {options} }}\n'


random = np.random.default_rng(0)
x, factors = random.normal(size=(1, 4, 2, 2)), np.array([1.0, 10, 100, 1000])


def factors_of(kind, groups, between=""):
    """Return by what a Scale changes each channel."""
    weights = random.normal(size=(4, 4 // groups, 1, 1))
    options = f"num_output: 4 kernel_size: 1 bias_term: false group: {groups}"
    text = source(*x.shape)
    text += layer(kind, "c", "x", f"convolution_param {{ {options} }}")
    values = {"c": (kind, weights)}
    plain = run(text, x, "c", blobs(**values))
    text += between + layer("Scale", "s", "r" if between else "c")
    scaled = run(text, x, "s", blobs(**values, s=("Scale", factors)))
    return ", ".join(f"{factor:.0f}" for factor in (scaled / plain)[0, :, 0, 0])


reshape = "reshape_param { shape { dim: 0 dim: 4 dim: 2 dim: 2 } }"
found = [
    factors_of(kind, groups)
    for kind in ("Convolution", "Deconvolution")
    for groups in (1, 2)
]
found.append(factors_of("Deconvolution", 2, layer("Reshape", "r", "c", reshape)))
for index, kind in enumerate(("Convolution", "Deconvolution")):
    print(f"{kind}: 1 group {found[2 * index]}; 2 groups {found[2 * index + 1]}")
print(f"Deconvolution: 2 groups, Reshape between {found[4]}")
right = "1, 10, 100, 1000"
if found != [right, right, right, "1, 100, 10, 1000", right]:
    sys.exit("changed")
PYTHON
