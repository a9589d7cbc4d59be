"""Backends by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from netspec.errors import SpecError, did_you_mean
from runtime.backends.base import Backend

BACKENDS = ("numpy", "cupy", "portable")


def _numpy() -> Backend:
    from runtime.backends.cpu import CpuBackend

    return CpuBackend()


def _cupy() -> Backend:
    from runtime.backends.cuda import cupy_backend

    return cupy_backend()


def _portable() -> Backend:
    from runtime.backends.portable import PortableBackend

    return PortableBackend()


# What makes a backend, by name; tests enter devices of their own.
MAKERS: dict[str, Callable[[], Backend]] = {
    "numpy": _numpy,
    "cupy": _cupy,
    "portable": _portable,
}


@cache
def get_backend(name: str) -> Backend:
    """Return the backend called `name`.

    "numpy" is the CPU, with compiled kernels where Numba is installed; "cupy" is an
    NVIDIA GPU; "portable" is the CPU without compiled kernels, the oracle for both.

    Raises `MachineError` where the library or the device is missing.
    """
    if name in MAKERS:
        return MAKERS[name]()
    raise SpecError(
        f"unknown backend {name!r}{did_you_mean(name, BACKENDS)}; "
        f"expected one of {', '.join(BACKENDS)}"
    )
