#!/bin/sh
# OpenCV's Proposal keeps boxes below min_size, and has rows of zeros behind them.
#
# Versions: opencv-python-headless 4.14.0.94 (its reader of Caffe files), NumPy 2.4.6.
# Expected: as in Faster R-CNN: boxes with a side below min_size (times the scale of the
# image, the third of im_info) are left out, there are as many rows as boxes that
# remain, and boxes end at the edge of the image that im_info gives, height - 1.
# Happens: min_size is ignored. There are always post_nms_topn rows; those behind the
# boxes are 0, which is a box of one pixel of image 0 for a ROIPooling behind it.
# Height and width in im_info are cut to whole pixels first. Nothing warns.
# Remedy: leave the rows of zeros out afterwards, and the small boxes.
# Seen (2 x 2 anchors of 16 x 16 pixels, post_nms_topn: 6):
#   min_size: 16: 6 rows, 4 of them boxes
#   min_size: 99: 6 rows, 4 of them boxes; Faster R-CNN none
#   image of 30.75 x 30.75 pixels: boxes end at 29; Faster R-CNN 29.75
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


def source(*shape):
    dims = " ".join(f"dim: {size}" for size in shape)
    options = f"input_param {{ shape {{ {dims} }} }}"
    return f'layer {{ name: "x" type: "Input" top: "x" {options} }}\n'


def layer(kind, name, bottom, options="", top=None):
    blobs = f'bottom: "{bottom}" top: "{top or name}"'
    return f'layer {{ name: "{name}" type: "{kind}" {blobs} {options} }}\n'


def source_of(name, *shape):
    return source(*shape).replace('"x"', f'"{name}"')


def proposals(options, side=64.0):
    """Return the rows for a score of an anchor each, and no shift of boxes."""
    inputs = {
        "scores": np.float32([[[[0, 0], [0, 0]], [[0.9, 0.8], [0.7, 0.6]]]]),
        "shifts": np.zeros((1, 4, 2, 2), np.float32),
        "im_info": np.float32([[side, side, 1]]),
    }
    text = "".join(source_of(name, *x.shape) for name, x in inputs.items())
    options = (
        "proposal_param { feat_stride: 16 base_size: 16 ratio: 1 scale: 1 "
        f"pre_nms_topn: 100 post_nms_topn: 6 nms_thresh: 0.7 {options} }}"
    )
    text += layer("Proposal", "y", '" bottom: "'.join(inputs), options)
    net = cv2.dnn.readNetFromCaffe(np.frombuffer(text.encode(), np.uint8))
    for name, x in inputs.items():
        net.setInput(x, name)
    return np.array(net.forward("y"))


found = []
for size in (16, 99):
    rows = proposals(f"min_size: {size}")
    boxes = int(rows.any(1).sum())
    found.append((len(rows), boxes))
    none = "; Faster R-CNN none" * (size > 16)
    print(f"min_size: {size}: {len(rows)} rows, {boxes} of them boxes{none}")
side = 30.75
end = float(proposals("min_size: 0", side)[:, 1:].max())
print(f"image of {side} x {side} pixels: boxes end at {end:g}; ", end="")
print(f"Faster R-CNN {side - 1:g}")
if [*found, end] != [(6, 4), (6, 4), 29]:
    sys.exit("changed")
PYTHON
