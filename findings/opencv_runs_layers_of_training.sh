#!/bin/sh
# OpenCV runs layers of a Caffe net that belong to the training phase.
#
# Versions: opencv-python-headless 4.14.0.94 (its reader of Caffe files), NumPy 2.4.6.
# Expected: it reads nets for use, so it leaves out what `include { phase: TRAIN }` or
# `exclude { phase: TEST }` keep from the test phase, as it does with data layers.
# Happens: rules are not looked at, neither phases nor stages: the layer runs. Where two
# layers for the two phases have tops of the same name, the file is refused; a layer in
# place for training only changes the numbers, and nothing warns.
# Remedy: filter the net by phase before, and write it without rules.
# Seen (x = 1, 2, 3; 10 x in place, by its rule, then a copy):
#   none: 10, 20, 30
#   include { phase: TRAIN }: 10, 20, 30
#   exclude { phase: TEST }: 10, 20, 30
#   include { stage: "x" }: 10, 20, 30
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


found = set()
for rule in (
    "",
    "include { phase: TRAIN }",
    "exclude { phase: TEST }",
    'include { stage: "x" }',
):
    options = f"power_param {{ scale: 10 }} {rule}"
    text = source(1, 1, 1, 3) + layer("Power", "first", "x", top="a")
    text += layer("Power", "times_ten", "a", options, top="a")
    text += layer("Power", "copy", "a", "power_param { shift: 0 }")
    values = run(text, [[[[1, 2, 3]]]], "copy").ravel()
    found.add(", ".join(f"{value:g}" for value in values))
    print(f"{rule or 'none'}: {', '.join(f'{value:g}' for value in values)}")
if found != {"10, 20, 30"}:
    sys.exit("changed")
PYTHON
