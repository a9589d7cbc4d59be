#!/bin/sh
# ncnn.Mat of a transposed array has the new sizes and the values in the old order.
#
# Versions: ncnn 1.0.20261020, NumPy 2.4.6; x86-64.
# Expected: Mat(array) does not copy, so an array that does not lie in one piece is
# copied all the same, or refused; as np.array(Mat), the other way, knows of the gaps
# that ncnn leaves between channels.
# Happens: strides are not looked at. An image of H x W x 3 given as
# image.transpose(2, 0, 1), which is how images go into Caffe's nets, has the size that
# the net wants, and pixels where channels should be. Columns of a matrix and every
# second value are wrong in the same way. clone() copies what is there already.
# Remedy: Mat(np.ascontiguousarray(array)), and that array kept as long as the Mat, or
# .clone() at once.
# Seen (an image of 2 x 2 whose pixels are 10 20 30, 11 21 31, 12 22 32, 13 23 33):
#   transposed: 3 x 2 x 2, 10 20 30 11, 21 31 12 22, 32 13 23 33
#   made contiguous: 3 x 2 x 2, 10 11 12 13, 20 21 22 23, 30 31 32 33
#   every second of 0 1 2 3 4 5: 0 1 2
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  ncnn==1.0.20261020 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import ncnn
import numpy as np


def told(array):
    """Return the sizes and values of the Mat of an array."""
    mat = ncnn.Mat(array).clone()
    values = np.array(mat)
    rows = values.reshape(len(values), -1) if values.ndim > 1 else values[None]
    text = ", ".join(" ".join(f"{value:g}" for value in row) for row in rows)
    return f"{mat.c} x {mat.h} x {mat.w}, {text}" if values.ndim > 1 else text


image = np.float32([10, 20, 30]) + np.arange(4, dtype=np.float32)[:, None]
planes = image.reshape(2, 2, 3).transpose(2, 0, 1)
found = [
    f"transposed: {told(planes)}",
    f"made contiguous: {told(np.ascontiguousarray(planes))}",
    f"every second of 0 1 2 3 4 5: {told(np.arange(6, dtype=np.float32)[::2])}",
]
print(*found, sep="\n")
if found != [
    "transposed: 3 x 2 x 2, 10 20 30 11, 21 31 12 22, 32 13 23 33",
    "made contiguous: 3 x 2 x 2, 10 11 12 13, 20 21 22 23, 30 31 32 33",
    "every second of 0 1 2 3 4 5: 0 1 2",
]:
    sys.exit("changed")
PYTHON
