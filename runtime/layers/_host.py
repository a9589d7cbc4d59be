"""Blobs as NumPy arrays, for the arithmetic that walks through them on the host."""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.arrays import Array
from runtime.layers.base import Kernel


class HostCopies:
    """The blobs of a kernel on the host: themselves there, copies of a device's.

    The copies are made once, when a blob is first asked for.
    """

    def __init__(self, kernel: Kernel[Any]) -> None:
        self._backend = kernel.backend
        self._copies: dict[int, np.ndarray] = {}

    def room(self, array: Array) -> np.ndarray:
        """Return where to write the values of a blob, for `write`."""
        if self._backend.on_host:
            host: np.ndarray = array
            return host
        if id(array) not in self._copies:
            self._copies[id(array)] = np.empty(array.shape, str(array.dtype))
        return self._copies[id(array)]

    def read(self, array: Array) -> np.ndarray:
        """Return the values of a blob; waits for the device."""
        host = self.room(array)
        if host is not array:
            self._backend.download(array, out=host)
        return host

    def write(self, array: Array) -> None:
        """Bring what was written in the `room` of a blob to it."""
        host = self.room(array)
        if host is not array:
            self._backend.upload(host, out=array)
