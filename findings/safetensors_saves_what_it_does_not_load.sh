#!/bin/sh
# safetensors.numpy saves a bfloat16 array, and then can't load any array of that file.
#
# Versions: safetensors 0.8.0, ml_dtypes 0.6.0, NumPy 2.4.6.
# Expected: what `save` takes `load` returns; or, NumPy having no bfloat16, `save`
# refuses it. At least the other arrays of the file are returned.
# Happens: `save` writes BF16, right to the bit. `load` of the same bytes ends with
# KeyError: 'BF16', whatever else is in the file, though ml_dtypes is loaded. safe_open,
# for the same file and framework "np", returns the array, as bfloat16.
# Remedy: safe_open and get_tensor, array by array.
# Seen (a: bfloat16, b: float32):
#   load: KeyError('BF16')
#   safe_open: a bfloat16 1.5, b float32 2.5
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  safetensors==0.8.0 numpy==2.4.6 ml-dtypes==0.6.0
"$folder/venv/bin/python" - <<'PYTHON'
import sys
import tempfile
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors import safe_open
from safetensors.numpy import load, save

arrays = {"a": np.full(1, 1.5, ml_dtypes.bfloat16), "b": np.full(1, 2.5, np.float32)}
data = save(arrays)
try:
    loaded = str(load(data))
except KeyError as error:
    loaded = repr(error)
print(f"load: {loaded}")
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "net.safetensors")
    path.write_bytes(data)
    with safe_open(path, "np") as file:
        back = {key: file.get_tensor(key) for key in arrays}
found = ", ".join(f"{key} {v.dtype} {float(v[0])}" for key, v in back.items())
print(f"safe_open: {found}")
if (loaded, found) != ("KeyError('BF16')", "a bfloat16 1.5, b float32 2.5"):
    sys.exit("changed")
PYTHON
