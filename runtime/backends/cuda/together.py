"""Small pieces of work of many layers, which whole passes do in one launch.

A layer's own step does its pieces by themselves; `joined` takes those of all layers
together. The memory that they read must stay as it is until the end of the pass.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Protocol

import numpy as np

from runtime.arrays import Array
from runtime.backends.cuda.machine.device import Device
from runtime.backends.cuda.machine.launch import Call, CudaKernel, Launch

THREADS = 256


class Piece(Protocol):
    """A piece of work. target: what it writes. group: equal for those of one launch."""

    @property
    def target(self) -> Array:
        """What it writes or adds to."""

    @property
    def group(self) -> Hashable:
        """What is equal for pieces of one launch."""

    @property
    def blocks(self) -> int:
        """How many blocks of threads it takes."""

    def row(self, device: Device, first: int) -> tuple[int, ...]:
        """Return what the kernel is told of it; its first block is number `first`."""


class Together(Call):
    """Pieces of one group as one launch, told to the kernel by a table."""

    row_type: np.dtype[Any]

    def __init__(self, device: Device, pieces: Sequence[Any]) -> None:
        self.pieces = pieces
        self._device = device
        self._launch: Launch | None = None

    @property
    def kernel(self) -> CudaKernel:
        """The kernel; it takes the table and the number of its rows."""
        raise NotImplementedError

    def __call__(self) -> None:
        """Do them."""
        if self._launch is None:  # a program runs once before it is captured
            self._launch = self._made()
        self._launch()

    def _made(self) -> Launch:
        """Bring the table to the device."""
        device, rows, blocks = self._device, [], 0
        for piece in self.pieces:
            rows.append(piece.row(device, blocks))
            blocks += piece.blocks
        host = np.array(rows, self.row_type).view("uint8")
        table = device.zeros(host.shape, "uint8")
        device.upload(host, table)
        grid, arguments = (max(1, blocks),), (table, len(rows))
        return Launch(device, self.kernel, grid, (THREADS,), arguments)
