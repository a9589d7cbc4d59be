"""Tell what is on this machine; `--description FILE` keeps what cuDNN says of the GPU.

With the description, convolutions are planned where there is no such GPU.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import platform
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

PACKAGES = (
    *("numpy", "cupy-cuda13x", "nvidia-cudnn-cu13", "nvidia-cudnn-frontend"),
    *("nvidia-cublas", "nvidia-cuda-nvrtc", "nvidia-cuda-runtime", "torch", "triton"),
    *("protobuf", "lmdb", "h5py", "pytest"),
)


def say(name: str, tell: Callable[[], Any]) -> None:
    """Print one fact, or why it is not known."""
    try:
        print(f"{name}: {tell()}", flush=True)
    except Exception as error:
        print(f"{name}: {type(error).__name__}: {str(error).splitlines()[:1]}")


def device() -> str:
    """Return the name of the GPU and its memory."""
    import cupy

    found = cupy.cuda.runtime.getDeviceProperties(0)
    name, size = found["name"].decode(), found["totalGlobalMem"] / 2**30
    return f"{name}, {size:.0f} GiB, sm_{found['major']}{found['minor']}"


def driver() -> str:
    """Return the version of CUDA that the driver is for, and CuPy's runtime."""
    import cupy

    runtime = cupy.cuda.runtime
    return f"{runtime.driverGetVersion()}, runtime {runtime.runtimeGetVersion()}"


def libraries() -> str:
    """Return what the libraries that CuPy loads say of themselves."""
    import cupy

    nvrtc = importlib.import_module("cupy_backends.cuda.libs.nvrtc")
    cublas = importlib.import_module("cupy_backends.cuda.libs.cublas")
    handle = cupy.cuda.device.get_cublas_handle()
    return f"NVRTC {nvrtc.getVersion()}, cuBLAS {cublas.getVersion(handle)}"


def cudnn() -> str:
    """Return cuDNN's version."""
    return importlib.import_module("cudnn").backend_version_string()


def keep_description(path: Path) -> str:
    """Write what cuDNN says of the GPU into a file; return the name of the file."""
    found = importlib.import_module("cudnn").create_device_properties(0)
    path.write_text(json.dumps(json.loads(found.serialize()), indent=1) + "\n")
    return path.name


def main() -> None:
    """Run the command."""
    say("Python", platform.python_version)
    say("device", device)
    say("driver", driver)
    say("libraries", libraries)
    say("cuDNN", cudnn)
    if "--description" in sys.argv:
        path = Path(sys.argv[sys.argv.index("--description") + 1])
        say("description of the device", lambda: keep_description(path))
    for package in PACKAGES:
        say(package, partial(importlib.metadata.version, package))


if __name__ == "__main__":
    main()
