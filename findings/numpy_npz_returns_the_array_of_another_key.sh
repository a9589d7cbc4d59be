#!/bin/sh
# np.load returns the array "a" for the key "a.npy" of an .npz that has both.
#
# Versions: NumPy 2.4.6.
# Expected: keys are any strings, as np.savez takes them; what is listed by `files` is
# found by that name. Or np.savez refuses a key that ends in ".npy".
# Happens: the member of a key is called KEY.npy, and a member may be asked for by
# either name. So "a.npy" is the member of "a", and its own, "a.npy.npy", is not found.
# `files` lists both, and dict(...) has the one array twice: the other is lost without a
# word.
# Remedy: no keys that end in ".npy"; to read such a file, ask for "a.npy.npy".
# Seen (a = 1, a.npy = 2):
#   files a, a.npy; a is 1, a.npy is 1, a.npy.npy is 2
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import io
import sys

import numpy as np

file = io.BytesIO()
np.savez(file, **{"a": np.array(1), "a.npy": np.array(2)})
file.seek(0)
arrays = np.load(file)
found = {key: int(arrays[key]) for key in (*arrays.files, "a.npy.npy")}
told = ", ".join(f"{key} is {value}" for key, value in found.items())
print(f"files {', '.join(arrays.files)}; {told}")
if found != {"a": 1, "a.npy": 1, "a.npy.npy": 2} or dict(arrays)["a.npy"] != 1:
    sys.exit("changed")
PYTHON
