"""Backends by name: a GPU's, and "host", on which all of this runs without one."""

from __future__ import annotations

import importlib

from runtime.backends import Backend, get_backend
from runtime.backends.by_name import MAKERS
from runtime.backends.cuda import CudaBackend


def backend(name: str) -> Backend:
    """Return a backend; nets may be given its name from now on."""
    if name == "host":
        module = importlib.import_module("tests.backends.cuda.host_device")
        module.named_backend(name)
    return get_backend(name)


def without_graphs(name: str) -> str:
    """Return the name of the same backend, whose calls are made one by one."""
    like = backend(name)
    if not isinstance(like, CudaBackend):
        raise TypeError(f"backend {name!r} records no graphs")
    eager = f"{name}, eager"
    MAKERS[eager] = lambda: CudaBackend(like.device, graphs=False)
    return eager
