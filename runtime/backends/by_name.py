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


def _portable() -> Backend:
    from runtime.backends.portable import PortableBackend

    return PortableBackend()


# What makes a backend, by name; tests enter devices of their own.
MAKERS: dict[str, Callable[[], Backend]] = {
    "numpy": _numpy,
    "portable": _portable,
}


def full_name(name: str) -> str:
    """Return the name of a backend with the number of its device, if it has one.

    Raises `SpecError` for a name that no backend has, whatever this machine has.
    """
    kind, colon, number = name.partition(":")
    if kind in MAKERS and not colon:
        return kind
    if kind == "cupy" and not colon:
        return "cupy:0"
    if kind == "cupy" and number.isascii() and number.isdecimal() and len(number) < 6:
        return f"cupy:{int(number)}"
    if colon and kind in BACKENDS:
        raise SpecError(
            f"unknown backend {name!r}: after 'cupy', and only there, a colon and the "
            "number of a GPU may follow, from 0, as in 'cupy:1'"
        )
    raise SpecError(
        f"unknown backend {name!r}{did_you_mean(name, BACKENDS)}; "
        f"expected one of {', '.join(BACKENDS)}, or a GPU by its number, as cupy:1"
    )


def get_backend(name: str) -> Backend:
    """Return the backend called `name`, the same object every time.

    "numpy" is the CPU, with compiled kernels where Numba is installed; "cupy" is the
    first NVIDIA GPU that the process sees, "cupy:1" the second; "portable" is the CPU
    without compiled kernels, the oracle for both.

    Raises `SpecError` for a name that is none, and `MachineError` where the library or
    the device is missing.
    """
    return _made(full_name(name))


@cache
def _made(name: str) -> Backend:
    kind, _, number = name.partition(":")
    if kind == "cupy":
        from runtime.backends.cuda import cupy_backend

        return cupy_backend(int(number))
    return MAKERS[kind]()
