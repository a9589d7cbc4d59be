"""What kernels made of compiled calls have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from runtime.backends.cpu.compiled import Call
from runtime.layers.base import Kernel, OpT

if TYPE_CHECKING:
    from runtime.backends.cpu import CompiledBackend

# Work below which waking other threads costs more than they save: elements touched.
SERIAL_ELEMENTS = 1 << 14


class CompiledKernel(Kernel[OpT]):
    """A kernel whose steps are lists of compiled calls."""

    backend: CompiledBackend

    def forward_calls(self) -> list[Call]:
        """Return the calls of `forward`."""
        raise NotImplementedError

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Return the calls of `backward`."""
        raise NotImplementedError

    def forward(self) -> None:
        """Compute the tops from the bottoms and the parameters."""
        self.backend.run(self.forward_calls())

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute the wanted gradients from `dtops`."""
        self.backend.run(self.backward_calls(accumulate))


def address(array: np.ndarray | None) -> int:
    """Return the address of an array, 0 for none."""
    return 0 if array is None else int(array.ctypes.data)
