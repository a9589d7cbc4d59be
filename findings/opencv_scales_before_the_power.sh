#!/bin/sh
# OpenCV computes a factor behind a power as if it stood inside it.
#
# Versions: opencv-python-headless 4.14.0.94 (its reader of Caffe files), NumPy 2.4.6.
# Expected: two Power layers, x^2 and then 3 times that, are 3 x^2.
# Happens: without a shift in the first, the two are joined, and the factor is taken for
# the one within the power: (3 x)^2. With both as outputs they aren't joined, and right;
# so a look at the values between, to find the fault, makes it go away.
# Remedy: the factor within the first layer, as scale^(1/power), or a Reshape between.
# Seen (x = 1, 2, 3):
#   x^2, then 3 times: 9, 36, 81
#   the same, with x^2 an output as well: 3, 12, 27
#   (x + 1)^2, then 3 times: 12, 27, 48
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


def values(shift, outputs):
    """Return three times (x + shift)^2 as OpenCV has it."""
    options = f"power_param {{ power: 2 shift: {shift} }}"
    text = source(1, 1, 1, 3) + layer("Power", "p", "x", options)
    text += layer("Power", "q", "p", "power_param { scale: 3 }")
    x = np.array([[[[1, 2, 3]]]])
    return ", ".join(f"{value:g}" for value in run(text, x, outputs)[-1].ravel())


alone, both, shifted = values(0, ["q"]), values(0, ["p", "q"]), values(1, ["q"])
print(f"x^2, then 3 times: {alone}")
print(f"the same, with x^2 an output as well: {both}")
print(f"(x + 1)^2, then 3 times: {shifted}")
if (alone, both, shifted) != ("9, 36, 81", "3, 12, 27", "12, 27, 48"):
    sys.exit("changed")
PYTHON
