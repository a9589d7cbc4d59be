"""Functions of one value, each in place on the one before, as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runtime.backends.cuda.layers.elementwise import (
    Elementwise,
    chained,
    chained_gradient,
)
from runtime.backends.cuda.machine.launch import Call


class Chained:
    """Neighbours for which `may_join` holds: each way one launch at the first of them.

    The memory of their top is there from the first one's step on, and that of its
    gradient until then.

    keeps_top: whether somebody keeps that gradient.
    """

    def __init__(self, layers: Sequence[Elementwise[Any]], *, keeps_top: bool) -> None:
        self._layers, self._keeps_top = layers, keeps_top
        self._nodes = [layer.node.index for layer in layers]

    @property
    def last(self) -> int:
        """The number of the last node."""
        return self._nodes[-1]

    def forward(self) -> Mapping[int, Sequence[Call]]:
        """Return other calls for all nodes."""
        return self._at_the_first(chained(self._layers))

    def backward(
        self, flags: Mapping[int, Sequence[bool]]
    ) -> Mapping[int, Sequence[Call]]:
        """Return other calls for all nodes, if all have a gradient."""
        known = all(index in flags for index in self._nodes)
        if not known or any(layer.dx is None for layer in self._layers):
            return {}
        calls = chained_gradient(self._layers, keeps_top=self._keeps_top)
        return self._at_the_first(calls)

    def _at_the_first(self, calls: Sequence[Call]) -> dict[int, Sequence[Call]]:
        found: dict[int, Sequence[Call]] = {index: [] for index in self._nodes}
        found[self._nodes[0]] = calls
        return found
