"""Parameters as the libraries want them: of 16 bits, or with their channels last.

A parameter is float32 in Caffe's order, in the flat buffer that updates work on. Where
a library wants it otherwise a layer keeps a copy, made anew in every forward pass
(unless the parameters are known not to have changed), and its gradient is computed in
that form and brought back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from netspec.ops.base import count
from runtime.arrays import Array, ArraySpec
from runtime.backends.cuda.layer import CudaLayer
from runtime.backends.cuda.machine.launch import Call
from runtime.backends.cuda.tensor import (
    CARRIERS,
    PLAIN,
    Order,
    Place,
    Tensor,
    conversion,
    memory_of,
)


class Working:
    """The working copy of a layer's weights, and its gradient."""

    def __init__(self, layer: CudaLayer[Any], order: Order) -> None:
        self._layer = layer
        self.shape = layer.op.params[0].shape
        self.place = Place(order, layer.storage)  # type: ignore[arg-type]
        self.copied = not self.place.equals(PLAIN, self.shape)

    def arrays(self, *, learns: bool) -> dict[str, ArraySpec]:
        """Ask for the copy, and for its gradient where there is one."""
        if not self.copied:
            return {}
        spec = ArraySpec((count(self.shape),), CARRIERS[self.place.storage])
        wanted = {"weights": replace(spec, life="state")}
        if learns:
            wanted["weights' gradient"] = spec
        return wanted

    @property
    def weights(self) -> Array:
        """The memory of the weights in their working form."""
        layer = self._layer
        return layer.work["weights"] if self.copied else layer.params[0]

    def before(self) -> list[Call]:
        """Return the call that makes the copy."""
        if not self.copied:
            return []
        layer = self._layer
        there = Tensor(layer.work["weights"], self.shape, self.place)
        return [
            replace(conversion(layer.device, layer.params[0], there), constant=True)
        ]

    def gradient(self, *, accumulate: bool) -> tuple[Array, list[Call]]:
        """Return the memory to compute the gradient in, and what brings it back."""
        layer = self._layer
        here = Tensor(layer.work["weights' gradient"], self.shape, self.place)
        back = conversion(layer.device, here, layer.dparams[0], add=accumulate)
        return memory_of(here), [back]
