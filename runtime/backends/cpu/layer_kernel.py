"""A layer made of compiled calls: what all of `runtime.backends.cpu.layers` share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from netspec.graph import Node
from runtime.backends.cpu.machine.compiled import Call
from runtime.layers.base import Bound, Kernel, OpT


class CallRunner(Protocol):
    """What a compiled layer asks of its backend beside the primitives.

    threads: how many run a call; each needs a part of the scratch memory.
    """

    threads: int

    def runner(self, calls: Sequence[Call]) -> Callable[[], None]:
        """Return a function that runs compiled calls in order."""


class LayerKernel(Kernel[OpT]):
    """A kernel whose steps are lists of compiled calls."""

    backend: CallRunner  # type: ignore[assignment]  # it is both

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
