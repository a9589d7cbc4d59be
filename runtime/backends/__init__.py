"""Backends by name. Nothing outside this folder imports a device library."""

from __future__ import annotations

from functools import cache

from netspec.errors import SpecError, did_you_mean
from runtime.backends.base import Backend as Backend

BACKENDS = ("numpy", "cupy")


@cache
def get_backend(name: str) -> Backend:
    """Return the backend called `name`: "numpy" (the CPU) or "cupy" (an NVIDIA GPU).

    Raises `MachineError` where the library or the device is missing.
    """
    if name == "numpy":
        from runtime.backends.cpu import NumpyBackend

        return NumpyBackend()
    if name == "cupy":
        from runtime.backends.cuda import CupyBackend

        return CupyBackend()
    raise SpecError(
        f"unknown backend {name!r}{did_you_mean(name, BACKENDS)}; "
        f"expected one of {', '.join(BACKENDS)}"
    )
