#!/bin/sh
# OpenCV takes the slopes of a PReLU for those of columns, behind an InnerProduct.
#
# Versions: opencv-python-headless 4.14.0.94 (its reader of Caffe files), NumPy 2.4.6.
# Expected: PReLU has a slope for each channel, axis 1, whatever layer stands before it.
# Happens: behind an InnerProduct with `axis: 2` it is joined with that layer, which has
# its outputs along the last axis; the slopes are then those of the outputs. Where there
# are as many rows as outputs no size tells. Without the InnerProduct axis 1 is taken.
# Remedy: a Reshape to the same shape between the two.
# Seen (2 x 3 x 3; slopes 0.1, 0.2, 0.3; largest difference to slopes along either
# axis):
#   behind InnerProduct: axis 1 0.2292, axis 2 0.0000
#   of an input: axis 1 0.0000, axis 2 0.2292
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
x, weights = random.normal(size=(2, 3, 4)), random.normal(size=(3, 4))
slopes = np.array([0.1, 0.2, 0.3])


def differences(values, sloped):
    """Return the largest difference to slopes along axis 1, and along axis 2."""
    along = (slopes[:, None], slopes)
    wanted = [np.where(values > 0, values, values * each) for each in along]
    return [round(float(np.abs(sloped - each).max()), 4) for each in wanted]


options = "inner_product_param { num_output: 3 axis: 2 bias_term: false }"
product = source(*x.shape) + layer("InnerProduct", "i", "x", options)
values = {"i": ("InnerProduct", weights), "p": ("PReLU", slopes)}
rows = run(product, x, "i", blobs(**values))
joined = run(product + layer("PReLU", "p", "i"), x, "p", blobs(**values))
alone = run(source(*rows.shape) + layer("PReLU", "p", "x"), rows, "p", blobs(**values))
behind, of_input = differences(rows, joined), differences(rows, alone)
print(f"behind InnerProduct: axis 1 {behind[0]:.4f}, axis 2 {behind[1]:.4f}")
print(f"of an input: axis 1 {of_input[0]:.4f}, axis 2 {of_input[1]:.4f}")
if behind[0] < 0.1 or behind[1] or of_input[0] or of_input[1] < 0.1:
    sys.exit("changed")
PYTHON
