#!/bin/sh
# safetensors.numpy saves transposed arrays as they lie in memory, under the new shape.
#
# Versions: safetensors 0.8.0 and, for comparison, 0.7.0; NumPy 2.4.6.
# Expected: what is loaded equals what was saved, for views of arrays too; or, as from
# safetensors.torch, an error that says so of a tensor which is not contiguous.
# Happens: 0.7.0 saves the values of the view. 0.8.0 takes the memory from its first
# value on, with the shape of the view, and says nothing: a matrix of weights `w.T`, an
# array in Fortran's order, as BLAS and SciPy return it, every second value, the first
# columns. save and save_file alike; a file written by it loads without an error.
# Remedy: np.ascontiguousarray, for each array.
# Seen (of 0 1 2 / 3 4 5, by 0.7.0; by 0.8.0):
#   transposed: 0 3 1 4 2 5; 0 1 2 3 4 5
#   in Fortran's order: 0 1 2 3 4 5; 0 3 1 4 2 5
#   two columns of three: 0 1 3 4; 0 1 2 3
#   made contiguous: 0 3 1 4 2 5; 0 3 1 4 2 5
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
cat > "$folder/views.py" <<'PYTHON'
import numpy as np
from safetensors.numpy import load, load_file, save, save_file

rows = np.arange(6, dtype=np.float32).reshape(2, 3)
arrays = {
    "transposed": rows.T,
    "in Fortran's order": np.asfortranarray(rows),
    "two columns of three": rows[:, :2],
    "made contiguous": np.ascontiguousarray(rows.T),
}
for name, array in arrays.items():
    save_file({"w": array}, "net.safetensors")
    loaded = load_file("net.safetensors")["w"]
    assert loaded.shape == array.shape
    assert np.array_equal(loaded, load(save({"w": array}))["w"])
    print(f"{name}:", *(f"{value:g}" for value in loaded.ravel()))
PYTHON
cd "$folder"
for version in 0.7.0 0.8.0; do
  venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
    "safetensors==$version" numpy==2.4.6
  venv/bin/python views.py > "$version"
done
venv/bin/python - <<'PYTHON'
import sys
from pathlib import Path

lines = [Path(version).read_text().splitlines() for version in ("0.7.0", "0.8.0")]
found = [f"{old}; {new.split(': ')[1]}" for old, new in zip(*lines, strict=True)]
print(*found, sep="\n")
if found != [
    "transposed: 0 3 1 4 2 5; 0 1 2 3 4 5",
    "in Fortran's order: 0 1 2 3 4 5; 0 3 1 4 2 5",
    "two columns of three: 0 1 3 4; 0 1 2 3",
    "made contiguous: 0 3 1 4 2 5; 0 3 1 4 2 5",
]:
    sys.exit("changed")
PYTHON
