"""Backends by name."""

from __future__ import annotations

from functools import cache

from netspec.errors import SpecError, did_you_mean
from runtime.backends.base import Backend

BACKENDS = ("numpy", "cupy", "portable")


@cache
def get_backend(name: str) -> Backend:
    """Return the backend called `name`.

    "numpy" is the CPU, with compiled kernels where Numba is installed; "cupy" is an
    NVIDIA GPU; "portable" is the CPU without compiled kernels, the oracle for both.

    Raises `MachineError` where the library or the device is missing.
    """
    if name == "numpy":
        from runtime.backends.cpu import CpuBackend

        return CpuBackend()
    if name == "cupy":
        from runtime.backends.cuda import CupyBackend

        return CupyBackend()
    if name == "portable":
        from runtime.backends.portable import PortableBackend

        return PortableBackend()
    raise SpecError(
        f"unknown backend {name!r}{did_you_mean(name, BACKENDS)}; "
        f"expected one of {', '.join(BACKENDS)}"
    )
