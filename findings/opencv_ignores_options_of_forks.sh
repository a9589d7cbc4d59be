#!/bin/sh
# OpenCV ignores options of layers of forks, and returns another size or other values.
#
# Versions: opencv-python-headless 4.14.0.94 (its reader of Caffe files), NumPy 2.4.6.
# Expected: what the forks compute; or else an error, as OpenCV has for a PriorBox
# without variance and for an Interp without a size.
# Happens: as if the options were not there. Interp (DeepLab) cuts nothing off for
# `pad_beg` and `pad_end`, and does not shrink by `shrink_factor` beside `zoom_factor`.
# Reorg (YOLO) has a stride of 2 whatever `stride` says, and does not turn round for
# `reverse`. ReLU6 has no `negative_slope`. Nothing warns.
# Remedy: an Interp with height and width behind a Crop; a Convolution that picks
# pixels; ReLU and Power.
# Seen (input, options, output, and what the fork has):
#   1 x 5 x 7, Interp zoom_factor: 2 shrink_factor: 2: 1 x 9 x 13, not 1 x 5 x 7
#   1 x 5 x 7, Interp zoom_factor: 2 pad_end: -1: 1 x 9 x 13, not 1 x 7 x 11
#   16 x 4 x 4, Reorg stride: 4: 64 x 2 x 2, not 256 x 1 x 1
#   16 x 4 x 4, Reorg stride: 2 reverse: true: 64 x 2 x 2, not 4 x 8 x 8
#   1 x 5 x 7, Interp height: 9 width: 13 pad_beg: -1: begins with 0, not 8
#   -2, ReLU6 negative_slope: 0.5: 0, not -1
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


def output(kind, options, x):
    """Return what a layer of one bottom computes."""
    name = {"Interp": "interp", "Reorg": "reorg", "ReLU6": "relu6"}[kind]
    options = f"{name}_param {{ {options} }}"
    return run(source(*x.shape) + layer(kind, "y", "x", options), x, "y")


def ramp(*shape):
    return np.arange(np.prod(shape)).reshape(1, *shape)


def told(shape):
    return " x ".join(map(str, shape))


SIZES = {
    ("Interp", "zoom_factor: 2 shrink_factor: 2", (1, 5, 7)): ((1, 9, 13), (1, 5, 7)),
    ("Interp", "zoom_factor: 2 pad_end: -1", (1, 5, 7)): ((1, 9, 13), (1, 7, 11)),
    ("Reorg", "stride: 4", (16, 4, 4)): ((64, 2, 2), (256, 1, 1)),
    ("Reorg", "stride: 2 reverse: true", (16, 4, 4)): ((64, 2, 2), (4, 8, 8)),
}
changed = False
for (kind, options, shape), (seen, right) in SIZES.items():
    found = output(kind, options, ramp(*shape)).shape[1:]
    changed |= found != seen
    print(f"{told(shape)}, {kind} {options}: {told(found)}, not {told(right)}")

image, options = ramp(1, 5, 7), "height: 9 width: 13 pad_beg: -1"
first = output("Interp", options, image).ravel()[0]
changed |= first != 0
inside = image[0, 0, 1, 1]
print(f"1 x 5 x 7, Interp {options}: begins with {first:g}, not {inside:g}")

options = "negative_slope: 0.5"
value = output("ReLU6", options, np.float32([[[[-2]]]])).item()
changed |= value != 0
print(f"-2, ReLU6 {options}: {value:g}, not {-2 * 0.5:g}")
if changed:
    sys.exit("changed")
PYTHON
