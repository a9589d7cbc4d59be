#!/bin/sh
# h5py clips numbers that do not fit the type of a data set; NumPy wraps them.
#
# Versions: h5py 3.16.0 (HDF5 2.0.0), NumPy 2.4.6; x86-64.
# Expected: dataset[...] = array converts as array.astype(dataset.dtype) does.
# Happens: HDF5 converts, by other rules: what is too large becomes the largest value.
# So it does for create_dataset(data=..., dtype=...) too, where NumPy could be thought
# to convert before. Nothing warns.
# Remedy: convert by one's own rule before writing.
# Seen (300 and -300 as int8):
#   dataset[...] = array: 127, -128
#   create_dataset(data=array, dtype="i1"): 127, -128
#   array.astype("i1"): 44, -44
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  h5py==3.16.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import io
import sys

import h5py
import numpy as np

array = np.array([300, -300])
with h5py.File(io.BytesIO(), "w") as file:
    assigned = file.create_dataset("assigned", (2,), "i1")
    assigned[...] = array
    made = file.create_dataset("made", data=array, dtype="i1")
    found = [assigned[...].tolist(), made[...].tolist(), array.astype("i1").tolist()]
print(f"dataset[...] = array: {found[0]}")
print(f'create_dataset(data=array, dtype="i1"): {found[1]}')
print(f'array.astype("i1"): {found[2]}')
if found != [[127, -128], [127, -128], [44, -44]]:
    sys.exit("changed")
PYTHON
