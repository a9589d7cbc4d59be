"""Arrays for a plan: the arena of a net and the flat buffers of its parameters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from netspec.graph import Parameter
from netspec.graph.memory import ALIGNMENT_BYTES, aligned
from netspec.ops.base import Shape, count
from runtime.arrays import Array
from runtime.primitives import Primitives


class Arena:
    """One allocation from which arrays are cut at planned offsets."""

    def __init__(self, backend: Primitives, nbytes: int) -> None:
        self.nbytes, self._backend = nbytes, backend
        self._bytes = backend.zeros((nbytes + ALIGNMENT_BYTES,), "uint8")
        address = getattr(self._bytes, "ctypes", None)
        self._base = -address.data % ALIGNMENT_BYTES if address is not None else 0

    def cut(self, offset: int, shape: Shape, dtype: str) -> Array:
        """Return the array of `shape` and `dtype` that starts at byte `offset`."""
        return self._backend.cut(self._bytes, self._base + offset, shape, dtype)


@dataclass(frozen=True)
class Flat:
    """All parameters of a net in one buffer, and their gradients in another.

    `slices[i]` is the place of parameter `i` of the graph in both; a parameter that
    belongs to another net has no slice here. The gaps between slices, left by the
    alignment, are zeros and stay zeros. From element `unlearned` on lie those whose
    gradient no layer computes, so that they can be cleared at once.
    """

    data: Array
    diff: Array
    slices: dict[int, slice]
    unlearned: int


def flat_buffers(
    backend: Primitives, parameters: Iterable[Parameter], dtype: str
) -> Flat:
    """Allocate zeroed buffers for `parameters`, in their order but unlearned ones last.

    Runs of learned ones are longer without the running values of BatchNorm between.
    """
    step = ALIGNMENT_BYTES // np.dtype(dtype).itemsize
    slices = {}
    size = unlearned = 0
    for parameter in sorted(parameters, key=lambda one: not one.learn):
        elements = count(parameter.shape)
        slices[parameter.index] = slice(size, size + elements)
        size += -(-elements // step) * step
        unlearned = size if parameter.learn else unlearned
    data, diff = (backend.zeros((size,), dtype) for _ in range(2))
    return Flat(data, diff, slices, unlearned)


def total_bytes(sizes: Sequence[int]) -> int:
    """Return the bytes of arrays laid one after the other, each aligned."""
    return sum(aligned(nbytes) for nbytes in sizes)
