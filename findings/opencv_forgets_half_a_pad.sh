#!/bin/sh
# OpenCV takes `pad_h` and `stride_h` only if the other half is written too.
#
# Versions: opencv-python-headless 4.14.0.94 (its reader of Caffe files), NumPy 2.4.6.
# Expected: the schema has defaults for each field, so `pad_h: 1` alone pads rows and
# not columns; or else an error.
# Happens: one of a pair alone is as if it were not there: no padding, a stride of 1.
# The output has another shape, and what follows computes with that. Nothing warns.
# Remedy: write both, also where one is the default.
# Seen (5 x 5, kernel 3; rows x columns of the output):
#   pad_h: 1: 3 x 3
#   pad_h: 1 pad_w: 0: 5 x 3
#   stride_h: 2: 3 x 3
#   stride_h: 2 stride_w: 1: 2 x 3
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


def size(options):
    """Return rows and columns of the output of a convolution."""
    options = f"num_output: 1 kernel_size: 3 bias_term: false {options}"
    text = source(1, 1, 5, 5)
    text += layer("Convolution", "c", "x", f"convolution_param {{ {options} }}")
    values = blobs(c=("Convolution", np.ones((1, 1, 3, 3))))
    return run(text, np.ones((1, 1, 5, 5)), "c", values).shape[2:]


found = {}
for pair in (("pad_h: 1", "pad_w: 0"), ("stride_h: 2", "stride_w: 1")):
    for options in (pair[0], " ".join(pair)):
        found[options] = size(options)
for options, (rows, columns) in found.items():
    print(f"{options}: {rows} x {columns}")
if list(found.values()) != [(3, 3), (5, 3), (3, 3), (2, 3)]:
    sys.exit("changed")
PYTHON
