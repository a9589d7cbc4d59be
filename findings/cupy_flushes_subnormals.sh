#!/bin/sh
# CuPy compiles every kernel with -ftz=true, and -ftz=false does not keep it from that.
#
# Versions: cupy-cuda13x 14.2.0, nvidia-cuda-nvrtc 13.5.37, NumPy 2.4.6.
# Expected: RawModule(code=...) compiles with NVRTC's defaults, which keep float32
# numbers below 1.2e-38, as NumPy does; or at least options=("-ftz=false",) says so.
# Happens: CuPy adds its own -ftz=true behind the options given, and NVRTC takes the
# last. Such numbers are 0, as factors and as products: tiny gradients vanish that a CPU
# keeps.
# Seen (the multiplication in the PTX):
#   NVRTC alone               mul.f32
#   NVRTC alone, -ftz=true    mul.ftz.f32
#   CuPy                      mul.ftz.f32
#   CuPy, -ftz=false          mul.ftz.f32
# Without a GPU two things are put in the place of CuPy's: what asks the device for its
# architecture, and what loads code onto it.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  cupy-cuda13x==14.2.0 cuda-pathfinder==1.9.1 numpy==2.4.6 nvidia-cuda-nvrtc==13.5.37
CUPY_CACHE_DIR="$folder/cache" "$folder/venv/bin/python" - <<'PYTHON'
import re
import sys
from types import SimpleNamespace

from cupy.cuda import compiler, nvrtc

SOURCE = 'extern "C" __global__ void multiply(float *x) { x[0] *= x[1]; }'
loaded = []


class Module:
    def load(self, code):
        loaded.append(code.decode())

    def _set_mapping(self, mapping):
        pass


compiler.function = SimpleNamespace(Module=Module)
compiler._get_arch_for_options_for_nvrtc = lambda arch: ("-arch=compute_90", "ptx")


def multiplication(ptx):
    (found,) = re.findall(r"mul\.\S*f32", ptx)
    return found


def by_nvrtc(*options):
    program = nvrtc.createProgram(SOURCE, "multiply.cu", (), ())
    nvrtc.compileProgram(program, ("-arch=compute_90", *options))
    ptx = nvrtc.getPTX(program)
    nvrtc.destroyProgram(program)
    return multiplication(ptx.decode() if isinstance(ptx, bytes) else ptx)


def by_cupy(*options):
    compiler._compile_module_with_cache(SOURCE, options, arch="90")
    return multiplication(loaded[-1])


found = {
    "NVRTC alone": by_nvrtc(),
    "NVRTC alone, -ftz=true": by_nvrtc("-ftz=true"),
    "CuPy": by_cupy(),
    "CuPy, -ftz=false": by_cupy("-ftz=false"),
}
for name, instruction in found.items():
    print(f"{name:24}  {instruction}")
if list(found.values()) != ["mul.f32", "mul.ftz.f32", "mul.ftz.f32", "mul.ftz.f32"]:
    sys.exit("changed")
PYTHON
