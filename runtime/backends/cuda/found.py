"""Which GPUs and which libraries of the NVIDIA backend this machine has."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from netspec.errors import MachineError
from runtime.backends.cuda.machine.cublas import open_library, version_of
from runtime.backends.cuda.machine.library import MissingLibrary, load


@dataclass(frozen=True)
class Library:
    """A library that was looked for.

    version: "" where it cannot be used. problem: why not, in a line; "not found" where
    it is not there at all. lost: what does not work without it.
    """

    name: str
    version: str
    problem: str
    lost: str


NOT_FOUND = "not found"
NO_GPU = "nothing runs on a GPU"
SLOW = "convolutions run as products of unfolded images, slower and with more memory"


def found_libraries() -> list[Library]:
    """Look for everything that the backend uses; what is wrong is told, not raised."""
    return [
        _found("CuPy", _cupy, NO_GPU),
        _found("NVRTC", _nvrtc, NO_GPU),
        _found("cuBLASLt", _cublas, "layers with matrix products do not run on a GPU"),
        _found("cuDNN", _cudnn, SLOW),
        _found("cuDNN front end", _front_end, SLOW),
    ]


@dataclass(frozen=True)
class Gpu:
    """A GPU that this process sees; problem: why it does not answer, "" if it does."""

    name: str = ""
    capability: str = ""
    memory_bytes: int = 0
    free_bytes: int = 0
    problem: str = ""


def found_gpus() -> list[Gpu]:
    """Ask every GPU that this process sees.

    Raises `MachineError` where there is none, or CuPy does not load.
    """
    try:
        cupy: Any = import_module("cupy")
    except Exception as error:
        if _missing(error):
            raise MachineError("CuPy is not installed") from error
        raise MachineError(f"CuPy does not load: {_line(error)}") from error
    runtime = cupy.cuda.runtime
    try:
        count = int(runtime.getDeviceCount())
    except Exception as error:
        raise MachineError(f"no CUDA device answers: {_line(error)}") from error
    if not count:
        raise MachineError("this machine has no CUDA device")
    return [_gpu(cupy, number) for number in range(count)]


def count_gpus() -> int:
    """Return how many GPUs this process sees; 0 where none answers."""
    try:
        cupy: Any = import_module("cupy")
        return int(cupy.cuda.runtime.getDeviceCount())
    except Exception:  # libraries that are half there fail in any way
        return 0


def _gpu(cupy: Any, number: int) -> Gpu:
    try:
        properties = cupy.cuda.runtime.getDeviceProperties(number)
        with cupy.cuda.Device(number):
            free, total = cupy.cuda.runtime.memGetInfo()
    except Exception as error:  # another process may have it to itself
        return Gpu(problem=_line(error))
    capability = f"{properties['major']}.{properties['minor']}"
    return Gpu(properties["name"].decode(), capability, int(total), int(free))


def _line(error: Exception) -> str:
    first, *_ = [*str(error).splitlines(), ""]
    return first.strip() or type(error).__name__


def _found(name: str, look: Callable[[], str], lost: str) -> Library:
    try:
        version, problem = look(), ""
    except Exception as error:  # libraries that are half there fail in any way
        version, problem = "", f"does not work: {_line(error)}"
        if _missing(error):
            problem = NOT_FOUND
    return Library(name, version, problem, lost)


def _missing(error: Exception) -> bool:
    if isinstance(error, ModuleNotFoundError):
        return error.name in ("cupy", "cudnn")
    return isinstance(error, MissingLibrary) or (
        type(error).__name__ == "DynamicLibNotFoundError"  # CuPy's way to say so
    )


def _cupy() -> str:
    cupy: Any = import_module("cupy")
    needs = _cuda(cupy.cuda.runtime.runtimeGetVersion())
    driver = cupy.cuda.runtime.driverGetVersion()
    has = f"driver for CUDA {_cuda(driver)}" if driver else "no driver"
    return f"{cupy.__version__} with CUDA {needs}, {has}"


def _cuda(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def _nvrtc() -> str:
    """Return the version of what CuPy finds; without CuPy, of what we do."""
    try:
        cupy: Any = import_module("cupy")
    except ImportError:
        library, _ = load("NVRTC", "nvrtc", (13, 12), ("nvidia-cuda-nvrtc",))
        major, minor = ctypes.c_int(), ctypes.c_int()
        library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
        return f"{major.value}.{minor.value}"
    return ".".join(map(str, cupy.cuda.nvrtc.getVersion()))


def _cublas() -> str:
    return version_of(open_library()[0])


def _cudnn() -> str:
    library, _ = load(
        "cuDNN", "cudnn", (9,), ("nvidia-cudnn-cu13", "nvidia-cudnn-cu12")
    )
    library.cudnnGetVersion.restype = ctypes.c_size_t
    major, rest = divmod(library.cudnnGetVersion(), 10000)
    return f"{major}.{rest // 100}.{rest % 100}"


def _front_end() -> str:
    module: Any = import_module("cudnn")
    module.backend_version()  # which finds cuDNN
    return str(module.__version__)
