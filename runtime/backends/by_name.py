"""Backends by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from netspec.errors import SpecError, did_you_mean, shown
from runtime.backends.base import Backend

BACKENDS = ("numpy", "cupy", "portable")
KERNELS = ("own", "portable")


def _numpy() -> Backend:
    from runtime.backends.cpu import CpuBackend

    return CpuBackend()


def _portable() -> Backend:
    from runtime.backends.portable import PortableBackend

    return PortableBackend()


# What makes a backend, by name; tests enter devices of their own.
MAKERS: dict[str, Callable[..., Backend]] = {
    "numpy": _numpy,
    "portable": _portable,
}


# What others call a backend.
_ELSEWHERE = {"cuda": "cupy", "gpu": "cupy", "nvidia": "cupy", "cpu": "numpy"}


def full_name(name: str) -> str:
    """Return the name of a backend with the number of its device, if it has one.

    Raises `SpecError` for a name that no backend has, whatever this machine has.
    """
    if not isinstance(name, str):
        raise SpecError(
            f"backend is {shown(name)}; expected one of {', '.join(BACKENDS)}, as text"
        )
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
    here = _ELSEWHERE.get(kind.lower())
    if here is not None:
        here += f":{number}" if here == "cupy" and number.isdecimal() else ""
        raise SpecError(f"unknown backend {name!r}; write {here!r} for it")
    raise SpecError(
        f"unknown backend {name!r}{did_you_mean(name, BACKENDS)}; "
        f"expected one of {', '.join(BACKENDS)}, or a GPU by its number, as cupy:1"
    )


def name_for_rank(name: str, rank: int) -> str:
    """Return the name of the backend of a process, by its rank on its machine.

    "cupy" alone is the GPU of that number, one rank a GPU, starting anew where there
    are more ranks; where a process sees only one GPU, it is that. A name with a number
    stays as it is.
    """
    if name != "cupy":
        return name
    from runtime.backends.cuda.found import count_gpus

    return f"cupy:{rank % max(1, count_gpus())}"


def get_backend(name: str, *, kernels: str = "own", graphs: bool = True) -> Backend:
    """Return the backend called `name`, the same object every time.

    "numpy" is the CPU, with compiled kernels where llvmlite is installed; "cupy" is the
    first NVIDIA GPU that the process sees, "cupy:1" the second; "portable" is the CPU
    without compiled kernels, the oracle for both.

    Args:
        name: of the backend.
        kernels: "portable" computes on a GPU with the portable kernels alone, the
            oracle on the device; "own" with those that are made for it.
        graphs: False makes every call of a GPU by itself, to find faults and to see
            the kernels one by one; else what is called again is one graph.

    Raises `SpecError` for a name that is none, and for options that are not those of a
    GPU; `MachineError` where the library or the device is missing.
    """
    full = full_name(name)
    if kernels not in KERNELS:
        raise SpecError(
            f"unknown kernels {kernels!r}{did_you_mean(kernels, KERNELS)}; "
            f"expected one of {', '.join(KERNELS)}"
        )
    if kernels == "own" and graphs:
        return _made(full)
    if full in BACKENDS:
        what = f"kernels={kernels!r}" if kernels != "own" else "graphs=False"
        raise SpecError(
            f"{what} is for a GPU, but the backend is {name!r}; leave it out, or use "
            f"backend 'cupy'. On the processor backend 'portable' has portable kernels"
        )
    return _made(full, own_kernels=kernels == "own", graphs=bool(graphs))


@cache
def _made(name: str, **options: Any) -> Backend:
    kind, _, number = name.partition(":")
    if kind == "cupy":
        from runtime.backends.cuda import cupy_backend

        return cupy_backend(int(number), **options)
    return MAKERS[kind](**options)
