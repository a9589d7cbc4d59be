#!/bin/sh
# np.load with mmap_mode maps an .npy file, and copies from an .npz at every access.
#
# Versions: NumPy 2.4.6.
# Expected: np.savez does not compress, so its members could be mapped as an .npy is,
# and mmap_mode does so; or it is refused; and what was read once is kept.
# Happens: mmap_mode is ignored for .npz, without a warning. Each access by key reads
# and copies the whole array anew: memory is not saved, a loop that has arrays[key]
# inside reads it every time, and what is written into it, in mode "r+" too, is gone.
# Remedy: an .npy for each array, or one `a = arrays["a"]` outside of the loop.
# Seen (mode r+, one million float64, 1 written to the first place):
#   .npy: memmap, mapped; then read again: 1.0
#   .npz: ndarray, a copy; then read again: 0.0
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys
import tempfile
from pathlib import Path

import numpy as np

found = {}
with tempfile.TemporaryDirectory() as folder:
    zeros = np.zeros(1_000_000)
    np.save(Path(folder, "a.npy"), zeros)
    np.savez(Path(folder, "a.npz"), a=zeros)
    for end in (".npy", ".npz"):
        opened = np.load(Path(folder, "a" + end), mmap_mode="r+")

        def array():
            return opened if end == ".npy" else opened["a"]

        array()[0] = 1
        kind, value = type(array()).__name__, float(array()[0])
        how = "mapped" if array() is array() else "a copy"
        print(f"{end}: {kind}, {how}; then read again: {value}")
        found[end] = kind, how, value
        del opened
if found != {".npy": ("memmap", "mapped", 1), ".npz": ("ndarray", "a copy", 0)}:
    sys.exit("changed")
PYTHON
