#!/bin/sh
# CuPy's cache of compiled kernels does not notice that an included file changed.
#
# Versions: cupy-cuda13x 14.2.0, nvidia-cuda-nvrtc 13.5.37, NumPy 2.4.6.
# Expected: after a change to a header that the source of a RawModule includes, from a
# folder given by -I, the next process compiles anew.
# Happens: the key is made of the source as given, the options and versions. What was
# compiled with the old header is loaded, and a kernel goes on computing the old thing.
# Remedy: put the text of included files into the source, or a hash of them into it.
# Seen (the factor of a kernel, before and after 3.0f in the header became 5.0f):
#   first: 3.0 compiled; after the change: 3.0 from the cache;
#   with an empty cache: 5.0 compiled
# Without a GPU two things are put in the place of CuPy's: what asks the device for its
# architecture, and what loads code onto it. Key, cache and compiler are CuPy's.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  cupy-cuda13x==14.2.0 cuda-pathfinder==1.9.1 numpy==2.4.6 nvidia-cuda-nvrtc==13.5.37
mkdir "$folder/include"
cat > "$folder/compile.py" <<'PYTHON'
"""Print the factor in the PTX that CuPy loads, and whether it compiled for that."""

import re
import struct
import sys
from types import SimpleNamespace

from cupy.cuda import compiler

loaded, compiled = [], []


class Module:
    def load(self, code):
        loaded.append(code.decode())

    def _set_mapping(self, mapping):
        compiled.append(mapping)


compiler.function = SimpleNamespace(Module=Module)
compiler._get_arch_for_options_for_nvrtc = lambda arch: ("-arch=compute_90", "ptx")
source = """#include "factor.cuh"
extern "C" __global__ void scale(float *x) { x[0] *= FACTOR; }
"""
compiler._compile_module_with_cache(source, (f"-I{sys.argv[1]}",), arch="90")
(bits,) = re.findall(r"mul\.\S*f32.*0f([0-9A-F]{8})", loaded[0])
(factor,) = struct.unpack(">f", bytes.fromhex(bits))
print(factor, "compiled" if compiled else "from the cache")
PYTHON
run() {
  CUPY_CACHE_DIR="$folder/$1" "$folder/venv/bin/python" "$folder/compile.py" \
    "$folder/include"
}
echo '#define FACTOR 3.0f' > "$folder/include/factor.cuh"
first=$(run cache)
echo '#define FACTOR 5.0f' > "$folder/include/factor.cuh"
second=$(run cache)
fresh=$(run empty)
echo "first: $first; after the change: $second; with an empty cache: $fresh"
expected="3.0 compiled, 3.0 from the cache, 5.0 compiled"
if [ "$first, $second, $fresh" != "$expected" ]; then
  echo "changed" >&2
  exit 1
fi
