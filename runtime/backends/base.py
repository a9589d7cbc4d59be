"""The portable backend: an array module and the few primitives that kernels share.

Everything here is plain array code over `xp`, the array module (NumPy, or one with its
interface), writes into arrays that it is given, and is the oracle for faster versions.
A backend overrides primitives, or whole kernels through `kernels`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from netspec.errors import UnsupportedError
from runtime.layers import portable_kernels
from runtime.layers.base import Array, Kernel


class Backend:
    """Arrays and primitives over the module `xp`."""

    name: ClassVar[str]
    kernels: ClassVar[Mapping[str, type[Kernel[Any]]]] = {}

    def __init__(self, xp: ModuleType) -> None:
        self.xp = xp

    def kernel(self, layer_name: str, layer_type: str) -> type[Kernel[Any]]:
        """Return the kernel class for a layer: this backend's own, or the portable one."""
        found = self.kernels.get(layer_type) or portable_kernels().get(layer_type)
        if found is None:
            raise UnsupportedError(
                f"layer {layer_name!r} ({layer_type}): this layer type has no arithmetic "
                f"in the runtime yet; it can be written, checked and exported only"
            )
        return found

    def zeros(self, shape: Sequence[int], dtype: str) -> Array:
        """Return a new array of zeros on the device."""
        return self.xp.zeros(tuple(shape), dtype)

    def upload(self, host: np.ndarray, out: Array) -> None:
        """Copy a host array into a device array of the same shape."""
        out[...] = host

    def download(self, array: Array, out: np.ndarray) -> None:
        """Copy a device array into a host array of the same shape."""
        out[...] = array

    def synchronize(self) -> None:
        """Wait until everything asked of the device is done."""

    def gemm(
        self,
        a: Array,
        b: Array,
        out: Array,
        *,
        accumulate: bool = False,
        scratch: Array | None = None,
    ) -> None:
        """Matrix product: out = a @ b, or out += a @ b through `scratch` (out's shape).

        Shapes: a (..., m, k), b (..., k, n) -> out (..., m, n).
        """
        if not accumulate:
            self.xp.matmul(a, b, out=out)
            return
        self.xp.matmul(a, b, out=scratch)
        self.xp.add(out, scratch, out=out)
