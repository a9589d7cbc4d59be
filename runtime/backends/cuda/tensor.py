"""`Tensor`: a blob in the memory of the device, in an order and a storage of its own.

A host sees every blob as Caffe has it: float32, axes N C spatial. On the device the
channels may come last, N spatial C, which is the order that fast convolutions want, and
the values may be of 16 bits. `Place` says which; a blob in Caffe's order and float32 is
a plain array. Half types are kept as their bits, in arrays of uint16.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np

from netspec.ops.base import Shape, count
from runtime.arrays import Array
from runtime.backends.cuda.machine.launch import CudaKernel, Launch, blocks_for

Order: TypeAlias = Literal["first", "last"]  # where the channels are
Storage: TypeAlias = Literal["float32", "bfloat16", "float16"]

# The type of arrays that hold a storage, and the name of it in the sources.
CARRIERS: dict[str, str] = {
    "float32": "float32",
    "bfloat16": "uint16",
    "float16": "uint16",
}
IN_SOURCES: dict[str, str] = {
    "float32": "float",
    "bfloat16": "bfloat16",
    "float16": "float16",
}


@dataclass(frozen=True)
class Place:
    """How a blob lies in memory."""

    order: Order = "first"
    storage: Storage = "float32"

    def equals(self, other: Place, shape: Shape) -> bool:
        """Whether a blob of `shape` has the same bytes in both places."""
        same_order = self.order == other.order or not orders_differ(shape)
        return same_order and self.storage == other.storage

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return np.dtype(CARRIERS[self.storage]).itemsize


PLAIN = Place()


def orders_differ(shape: Shape) -> bool:
    """Whether it matters for a blob of `shape` where the channels are."""
    return len(shape) > 2 and shape[1] > 1 and math.prod(shape[2:]) > 1


@dataclass(frozen=True, eq=False)
class Tensor:
    """A blob that is not a plain array.

    array: its memory, flat, of the carrier type. shape: as Caffe has it.
    """

    array: Array
    shape: Shape
    place: Place

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type that a host sees."""
        return np.dtype("float32")

    @property
    def size(self) -> int:
        """The number of elements."""
        return count(self.shape)

    @cached_property
    def plane(self) -> tuple[int, int, int]:
        """N, C and the product of the spatial axes."""
        return self.shape[0], self.shape[1], math.prod(self.shape[2:])


Blob: TypeAlias = Any  # a plain array of the device, or a `Tensor`


def place_of(blob: Blob) -> Place:
    """Return how a blob lies in memory."""
    return blob.place if isinstance(blob, Tensor) else PLAIN


def memory_of(blob: Blob) -> Array:
    """Return the array that holds a blob."""
    return blob.array if isinstance(blob, Tensor) else blob


def reshaped(blob: Blob, shape: Shape) -> Blob:
    """Return the same memory, whose order is Caffe's, in another shape."""
    if isinstance(blob, Tensor):
        return Tensor(blob.array, shape, blob.place)
    return blob.reshape(shape)


def made(
    cut: Callable[[Shape, str], Array], shape: Shape, place: Place, dtype: str
) -> Blob:
    """Return a blob in memory that `cut(shape, dtype)` gives."""
    if place == PLAIN:
        return cut(shape, dtype)
    if place.storage == "float32" and not orders_differ(shape):
        return cut(shape, dtype)
    return Tensor(cut((count(shape),), CARRIERS[place.storage]), shape, place)


def along(blob: Blob, axis: int) -> tuple[int, int, int]:
    """Return an axis of a blob as memory has it: (outer, its size, inner).

    The elements of (outer, inner) are those of the other axes, as one counts in memory.
    """
    shape, at = list(blob.shape), axis
    if place_of(blob).order == "last" and len(shape) > 2:
        shape.append(shape.pop(1))
        at = {0: 0, 1: len(shape) - 1}.get(axis, axis - 1)
    return math.prod(shape[:at]), shape[at], math.prod(shape[at + 1 :])


_COPY = CudaKernel("convert.cu", "copy")
_TRANSPOSE = CudaKernel("convert.cu", "transpose")
_GATHER_FEW = CudaKernel("convert.cu", "gather_few")
_SPREAD_FEW = CudaKernel("convert.cu", "spread_few")
TILES = (64, 32, 16)  # sides of a tile
MOST_FEW = 8  # of an axis that a thread takes whole
MOST_DEEP = 65535  # blocks along the second axis of a grid


def conversion(device: Any, source: Blob, target: Blob, *, add: bool = False) -> Launch:
    """Return the launch that brings a blob to another place, or adds it there.

    Each blob is read and written once. Where the order of axes differs, tiles go
    through shared memory, or, where one of the axes is short, through registers.

    Shapes: source and target are equal; float32 and half types only.
    """
    here, there = place_of(source), place_of(target)
    stores = {"FROM": IN_SOURCES[here.storage], "TO": IN_SOURCES[there.storage]}
    takes = 16 // min(here.itemsize, there.itemsize)
    x, y = memory_of(source), memory_of(target)
    shape = source.shape
    size = count(shape)
    if here.order == there.order or not orders_differ(shape):
        kernel = _COPY.with_defines(TAKES=takes, **stores)
        grid: tuple[int, ...] = blocks_for(-(-size // takes))
        return Launch(device, kernel, grid, (256,), (x, y, size, int(add)))
    outer, channels, inner = shape[0], shape[1], math.prod(shape[2:])
    rows, columns = (channels, inner) if here.order == "first" else (inner, channels)
    few, many = min(rows, columns), max(rows, columns)
    if few <= MOST_FEW:
        kernel = _GATHER_FEW if rows == few else _SPREAD_FEW
        whole = int(many % takes == 0)
        kernel = kernel.with_defines(FEW=few, TAKES=takes, WHOLE=whole, **stores)
        grid = blocks_for(-(-outer * many // takes))
        return Launch(device, kernel, grid, (256,), (x, y, outer, many, int(add)))
    down, right = _side(rows, TILES), _side(columns, TILES)
    if size < device.multiprocessors * down * right:
        down, right = _side(rows, TILES[1:]), _side(columns, TILES[1:])
    kernel = _TRANSPOSE.with_defines(
        DOWN=down,
        RIGHT=right,
        READS=math.gcd(columns, 16 // here.itemsize),
        WRITES=math.gcd(rows, 16 // there.itemsize),
        **stores,
    )
    tiles = -(-columns // right) * -(-rows // down)
    grid = (tiles, max(1, min(outer, MOST_DEEP)))
    return Launch(device, kernel, grid, (256,), (x, y, outer, rows, columns, int(add)))


def _side(size: int, sides: Sequence[int]) -> int:
    """Return the side of tiles of which the fewest elements lie beyond an axis."""
    return min(sides, key=lambda side: -(-size // side) * side)
