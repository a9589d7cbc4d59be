"""Parameters as the libraries want them: of 16 bits, or with their channels last.

A parameter is float32 in Caffe's order, in the flat buffer that updates work on. Where
a library wants it otherwise a layer keeps a copy, made anew in every forward pass
(unless the parameters are known not to have changed), and its gradient is computed in
that form and brought back. In whole passes all copies of a net are one launch.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netspec.ops import Shape
from netspec.ops.base import count
from runtime.arrays import Array, ArraySpec
from runtime.backends.cuda.layer import CudaLayer
from runtime.backends.cuda.machine.device import Device
from runtime.backends.cuda.machine.launch import Call, CudaKernel
from runtime.backends.cuda.tensor import (
    CARRIERS,
    IN_SOURCES,
    PLAIN,
    Order,
    Place,
    conversion,
    orders_differ,
)
from runtime.backends.cuda.together import Together

_TO = CudaKernel("parameters.cu", "to_working")
_FROM = CudaKernel("parameters.cu", "from_working")
EACH = 1024  # elements of a block, as in the source


class Working:
    """The working copy of a parameter of a layer, where one is needed.

    padded: the channels that it has there, with zeros behind its own; 0 for as many.
    """

    def __init__(
        self, layer: CudaLayer[Any], slot: int, order: Order, padded: int = 0
    ) -> None:
        self._layer, self._slot = layer, slot
        self.shape = layer.op.params[slot].shape
        self.place = Place(order, layer.storage)  # type: ignore[arg-type]
        self._padded = padded
        self.copied = padded > 0 or not self.place.equals(PLAIN, self.shape)
        self._name = f"parameter {slot}"

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the copy."""
        if not self.copied:
            return {}
        content = (self.place.order, self.place.storage, self._padded)
        return {self._name: self._spec("state", content)}

    def gradient_arrays(self) -> dict[str, ArraySpec]:
        """Ask for the gradient in its working form, also to add it from there."""
        # What all gradients of a net are brought back from at once has to be there.
        life = "state" if self.copied else "scratch"
        return {f"gradient of {self._name}": self._spec(life, "of a pass")}

    def _spec(self, life: Any, content: Hashable) -> ArraySpec:
        size = padded_count(self.shape, self._padded)
        return ArraySpec((size,), CARRIERS[self.place.storage], life, content)

    @property
    def memory(self) -> Array:
        """The memory of the parameter in its working form."""
        layer = self._layer
        return layer.work[self._name] if self.copied else layer.params[self._slot]

    def before(self) -> list[Call]:
        """Return the call that makes the copy."""
        if not self.copied:
            return []
        own = self._layer.params[self._slot]
        copy = Copy(own, self.memory, self.shape, self.place, self._padded)
        return [Copies(self._layer.device, [copy])]

    def gradient(self, *, accumulate: bool) -> tuple[Array, list[Call]]:
        """Return the memory to compute the gradient in, and what brings it back."""
        layer, target = self._layer, self._layer.dparams[self._slot]
        if not self.copied and not accumulate:
            return target, []
        memory = layer.work[f"gradient of {self._name}"]
        if not self.copied:
            return memory, [conversion(layer.device, memory, target, add=True)]
        what = (target, memory, self.shape, self.place, self._padded)
        copy = Copy(*what, back=True, add=accumulate)
        return memory, [Copies(layer.device, [copy])]


def padded_count(shape: Shape, padded: int) -> int:
    """Return the elements of a parameter with `padded` channels, 0 for its own."""
    return count(shape) // shape[1] * padded if padded else count(shape)


@dataclass(frozen=True)
class Copy:
    """A parameter, or its gradient, and its working form.

    back: whether it goes from the working form to the own one. add: whether it is added
    there.
    """

    own: Array
    working: Array
    shape: Shape
    place: Place
    padded: int = 0
    back: bool = False
    add: bool = False

    @property
    def target(self) -> Array:
        """What is written."""
        return self.own if self.back else self.working

    @property
    def group(self) -> tuple[bool, str]:
        """The way and the storage."""
        return self.back, self.place.storage

    @property
    def _size(self) -> int:
        shape = self.shape
        return count(shape) if self.back else padded_count(shape, self.padded)

    @property
    def blocks(self) -> int:
        """How many blocks of threads it takes."""
        return -(-self._size // EACH)

    def row(self, device: Device, first: int) -> tuple[int, ...]:
        """Return what the kernel is told of it; its first block is number `first`."""
        turned = self.place.order == "last" and orders_differ(self.shape)
        turned = turned or self.padded > 0
        channels = self.shape[1] if turned else 1
        places = math.prod(self.shape[2:]) if turned else 1
        own, working = device.address(self.own), device.address(self.working)
        padded = self.padded or channels
        numbers = (channels, places, self._size, first, int(self.add), padded)
        return own, working, *numbers


class Copies(Together):
    """Copies of parameters, all one way and of one storage, as one launch."""

    row_type = np.dtype("u8, u8, i4, i4, i4, i4, i4, i4")

    def __init__(self, device: Device, pieces: Sequence[Copy]) -> None:
        super().__init__(device, pieces)
        self.constant = not pieces[0].back

    @property
    def kernel(self) -> CudaKernel:
        """The kernel of the way and the storage of these copies."""
        first = self.pieces[0]
        kernel = _FROM if first.back else _TO
        return kernel.with_defines(STORE=IN_SOURCES[first.place.storage])
