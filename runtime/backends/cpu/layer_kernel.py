"""What kernels made of compiled calls have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from netspec.graph import Node
from runtime.backends.cpu.machine.compiled import Call
from runtime.layers.base import Bound, Kernel, OpT

if TYPE_CHECKING:
    from runtime.backends.cpu import CpuBackend

# Work below which waking other threads costs more than they save: elements touched.
SERIAL_ELEMENTS = 1 << 14


class CompiledKernel(Kernel[OpT]):
    """A kernel whose steps are lists of compiled calls."""

    backend: CpuBackend

    @classmethod
    def fits(cls, node: Node) -> bool:
        """Whether this kernel can do what a node wants."""
        return True

    def forward_calls(self) -> list[Call]:
        """Return the calls of `forward`."""
        raise NotImplementedError

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Return the calls of `backward`."""
        raise NotImplementedError

    def bind(self, bound: Bound) -> None:
        """Take the arrays and prepare every view that the steps need."""
        super().bind(bound)
        self._runners: dict[tuple[bool, ...] | None, Callable[[], None]] = {}

    def forward(self) -> None:
        """Compute the tops from the bottoms and the parameters."""
        if None not in self._runners:
            self._runners[None] = self.backend.runner(self.forward_calls())
        self._runners[None]()

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute the wanted gradients from `dtops`."""
        flags = tuple(accumulate)
        if flags not in self._runners:
            self._runners[flags] = self.backend.runner(self.backward_calls(flags))
        self._runners[flags]()


def few(elements: int) -> bool:
    """Whether there are too few elements for more than one thread."""
    return elements < SERIAL_ELEMENTS


def round_up(number: int, step: int) -> int:
    """Return the next multiple of `step`."""
    return -(-number // step) * step
