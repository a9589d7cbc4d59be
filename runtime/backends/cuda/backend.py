"""The backend of NVIDIA GPUs: arrays of CuPy in the memory of a device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from netspec.errors import MachineError
from runtime.arrays import Array
from runtime.backends.base import Backend


class CupyBackend(Backend):
    """Arrays in the memory of the current CUDA device.

    Raises `MachineError` where CuPy is not installed or no device answers.
    """

    name: ClassVar[str] = "cupy"
    block_elements: ClassVar[int] = 1 << 26  # few launches matter more than caches

    def __init__(self) -> None:
        try:
            import cupy
        except ImportError as error:
            raise MachineError(
                "backend 'cupy' needs CuPy, which is not installed; "
                "install the extra netspec[cuda]"
            ) from error
        try:
            devices = cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise MachineError(
                f"backend 'cupy': no CUDA device answers: {error}"
            ) from error
        if devices == 0:
            raise MachineError("backend 'cupy': this machine has no CUDA device")
        super().__init__(cupy)

    def cut(
        self, memory: Array, offset: int, shape: Sequence[int], dtype: str
    ) -> Array:
        """Return the array that begins at byte `offset` of `memory`, and shares it.

        A slice of an array of more than 2 GiB would count in 64 bits, in every kernel,
        however small it is; an array from a pointer counts as its own size needs.
        """
        return self.xp.ndarray(tuple(shape), dtype, memptr=memory.data + offset)

    def upload(self, host: np.ndarray, out: Array) -> None:
        """Copy a host array into a device array of the same shape."""
        # np.ascontiguousarray would make an array without axes one of one axis.
        out.set(np.asarray(host, dtype=out.dtype, order="C"))

    def download(self, array: Array, out: np.ndarray) -> None:
        """Copy a device array into a host array of the same shape."""
        out[...] = array.get()

    def synchronize(self) -> None:
        """Wait until everything asked of the device is done."""
        self.xp.cuda.get_current_stream().synchronize()
