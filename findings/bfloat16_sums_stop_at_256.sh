#!/bin/sh
# NumPy sums bfloat16 arrays in bfloat16: sums of ones stop at 256.
#
# Versions: NumPy 2.4.6, ml_dtypes 0.6.0 (whose bfloat16 others make arrays of as well).
# Expected: as with float16, whose sums NumPy makes in float32 and rounds at the end.
# Happens: the running sum is rounded to 8 bits after every addition, so that it stays
# where one more is less than half a unit. The mean of a thousand ones is 0.256.
# `@` sums in float32. np.save writes such an array and np.load gives one of two raw
# bytes a place. Nothing warns. Remedy: .astype("float32") before either.
# Seen (1000 ones):
#   float16: sum 1000.0, mean 1.0, a @ a 1000.0, saved and loaded as float16
#   bfloat16: sum 256.0, mean 0.255859375, a @ a 1000.0, saved and loaded as |V2
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  numpy==2.4.6 ml-dtypes==0.6.0
"$folder/venv/bin/python" - <<'PYTHON'
import io
import sys

import ml_dtypes
import numpy as np

found = {}
for storage in (np.float16, ml_dtypes.bfloat16):
    ones = np.ones(1000, storage)
    file = io.BytesIO()
    np.save(file, ones)
    file.seek(0)
    kept = str(np.load(file).dtype)
    numbers = float(ones.sum()), float(ones.mean()), float(ones @ ones)
    found[storage.__name__] = (*numbers, kept)
    print(
        f"{storage.__name__}: sum {numbers[0]}, mean {numbers[1]}, a @ a {numbers[2]}, "
        f"saved and loaded as {kept}"
    )
if found != {
    "float16": (1000, 1, 1000, "float16"),
    "bfloat16": (256, 0.255859375, 1000, "|V2"),
}:
    sys.exit("changed")
PYTHON
