#!/bin/sh
# OpenCV has other prior boxes than SSD for sizes in fractions, img_size and clip.
#
# Versions: opencv-python-headless 4.14.0.94 (its reader of Caffe files), NumPy 2.4.6.
# Expected: the boxes that a net of SSD was trained with. SSD takes min_size and
# max_size as whole pixels (it keeps them in an int), so that 35.84, as in the published
# SSD512, is 35; boxes are parts of img_size where that is given; and they are clipped
# to the image only if `clip: true` is written.
# Happens: fractions stay; img_size, img_h and img_w are ignored; clip is true unless
# `clip: false` is written. Nothing warns.
# Remedy: whole sizes, a second bottom of the size that is meant, clip written out.
# Seen (2 x 2 cells, image 512 x 512; widths of the boxes of a cell):
#   min_size: 35.84 max_size: 76.8: 35.84 and 52.46, not 35 and 51.58
#   min_size: 30 img_size: 256: 30, not 60
#   min_size: 400: 328, not 400
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


SIDE = 512


def source_of(name, *shape):
    return source(*shape).replace('"x"', f'"{name}"')


def widths(options):
    """Return the widths of the boxes of the first cell, in pixels of the image."""
    options = f"prior_box_param {{ variance: 0.1 {options} }}"
    text = source(1, 1, 2, 2) + source_of("image", 1, 3, SIDE, SIDE)
    text += layer("PriorBox", "boxes", 'x" bottom: "image', options)
    net = cv2.dnn.readNetFromCaffe(np.frombuffer(text.encode(), np.uint8))
    net.setInput(np.zeros((1, 1, 2, 2), np.float32), "x")
    net.setInput(np.zeros((1, 3, SIDE, SIDE), np.float32), "image")
    boxes = np.array(net.forward("boxes"))[0, 0].reshape(4, -1, 4)[0]
    return [round(float(width), 2) for width in (boxes[:, 2] - boxes[:, 0]) * SIDE]


def ssd(small, large=None, side=SIDE):
    """Return the widths that SSD has: of whole pixels, not clipped."""
    sizes = [int(small)] + ([(int(small) * int(large)) ** 0.5] if large else [])
    return [round(size / side * SIDE, 2) for size in sizes]


def told(sizes):
    return " and ".join(f"{size:g}" for size in sizes)


SEEN = {
    "min_size: 35.84 max_size: 76.8": ([35.84, 52.46], ssd(35.84, 76.8)),
    "min_size: 30 img_size: 256": ([30], ssd(30, side=256)),
    "min_size: 400": ([328], ssd(400)),
}
changed = False
for options, (seen, right) in SEEN.items():
    found = widths(options)
    changed |= found != seen
    print(f"{options}: {told(found)}, not {told(right)}")
if changed:
    sys.exit("changed")
PYTHON
