#!/bin/sh
# CuPy without NVRTC raises an error that is neither an ImportError nor one of CuPy's.
#
# Versions: cupy-cuda13x 14.2.0, cuda-pathfinder 1.9.1, NumPy 2.4.6.
# Expected: a missing library is an ImportError, as CuPy has it for cuRAND and cuSOLVER,
# or an error of CuPy's own. (The package requires neither NVRTC nor cuBLAS.)
# Happens: importing succeeds; the first use of NVRTC, which on a device is the first
# kernel, raises DynamicLibNotFoundError of cuda.pathfinder, a RuntimeError. Who tells
# missing libraries from broken ones by `except ImportError` takes it for the latter.
# Seen:
#   nvrtc: cuda.pathfinder..., DynamicLibNotFoundError, a RuntimeError
#   curand: ImportError
# Needs a machine on which the loader finds neither library.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  cupy-cuda13x==14.2.0 cuda-pathfinder==1.9.1 numpy==2.4.6
env -u CUDA_PATH -u CUDA_HOME "$folder/venv/bin/python" - <<'PYTHON'
import sys

from cupy.cuda import nvrtc


def error_of(call):
    try:
        call()
    except Exception as error:
        return error
    sys.exit("cannot be seen here: the library is installed on this machine")


def import_curand():
    import cupy_backends.cuda.libs.curand


error = error_of(nvrtc.getVersion)
other = error_of(import_curand)
package = ".".join(type(error).__module__.split(".")[:2])
base = type(error).__bases__[0]
print(f"nvrtc: {package}..., {type(error).__name__}, a {base.__name__}")
print(f"  {str(error).splitlines()[0]}")
print(f"curand: {type(other).__name__}")
if (
    type(error).__name__ != "DynamicLibNotFoundError"
    or package != "cuda.pathfinder"
    or not isinstance(error, RuntimeError)
    or isinstance(error, ImportError)
    or not isinstance(other, ImportError)
):
    sys.exit("changed")
PYTHON
