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
)


class Working:
    """The working copy of a parameter of a layer, where one is needed."""

    def __init__(self, layer: CudaLayer[Any], slot: int, order: Order) -> None:
        self._layer, self._slot = layer, slot
        self.shape = layer.op.params[slot].shape
        self.place = Place(order, layer.storage)  # type: ignore[arg-type]
        self.copied = not self.place.equals(PLAIN, self.shape)
        self._name = f"parameter {slot}"

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the copy."""
        return {self._name: self._spec("state")} if self.copied else {}

    def gradient_arrays(self) -> dict[str, ArraySpec]:
        """Ask for the gradient in its working form, also to add it from there."""
        return {f"gradient of {self._name}": self._spec("scratch")}

    def _spec(self, life: Any) -> ArraySpec:
        return ArraySpec((count(self.shape),), CARRIERS[self.place.storage], life)

    @property
    def memory(self) -> Array:
        """The memory of the parameter in its working form."""
        layer = self._layer
        return layer.work[self._name] if self.copied else layer.params[self._slot]

    def before(self) -> list[Call]:
        """Return the call that makes the copy."""
        if not self.copied:
            return []
        layer = self._layer
        there = Tensor(self.memory, self.shape, self.place)
        call = conversion(layer.device, layer.params[self._slot], there)
        return [replace(call, constant=True)]

    def gradient(self, *, accumulate: bool) -> tuple[Array, list[Call]]:
        """Return the memory to compute the gradient in, and what brings it back."""
        layer, target = self._layer, self._layer.dparams[self._slot]
        if not self.copied and not accumulate:
            return target, []
        memory = layer.work[f"gradient of {self._name}"]
        here = Tensor(memory, self.shape, self.place)
        return memory, [conversion(layer.device, here, target, add=accumulate)]
