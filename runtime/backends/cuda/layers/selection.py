"""Crop, Tile and ArgMax: parts of a blob, copies of it, its largest values."""

from __future__ import annotations

import math
from collections.abc import Sequence

from netspec.graph import Node
from netspec.ops.base import count
from netspec.ops.reduction import ArgMax as ArgMaxOp
from netspec.ops.selection import Crop as CropOp
from netspec.ops.selection import Tile as TileOp
from runtime.backends.cuda.layer import CudaLayer, Wanted, stored_as
from runtime.backends.cuda.machine.launch import Call, CudaKernel, blocks_for
from runtime.backends.cuda.tensor import Blob, Order, along, memory_of, place_of
from runtime.backends.cuda.tiles import THREADS, together

_CROP = CudaKernel("selection.cu", "crop")
_CROP_GRADIENT = CudaKernel("selection.cu", "crop_gradient")
_TILE = CudaKernel("selection.cu", "tile")
_TILE_GRADIENT = CudaKernel("selection.cu", "tile_gradient")
_PLACES = CudaKernel("selection.cu", "argmax_places")
_ROWS = CudaKernel("selection.cu", "argmax_rows")
MOST_AXES = 4  # of a blob that is cropped
FEW = 64  # values that one thread compares


class Crop(CudaLayer[CropOp]):
    """A part of x, copied once; see the portable kernel.

    The gradient writes every element of dx, 0 where it is not of the part.
    """

    options = ("axis", "offset")

    @classmethod
    def suits(cls, op: CropOp) -> bool:
        """Whether the axes are not too many."""
        return len(op.tops[0]) <= MOST_AXES

    def _four(self, blob: Blob, values: Sequence[int], missing: int) -> list[int]:
        """Return values of four axes as memory has them; the first may be missing."""
        axes = list(values)
        if place_of(blob).order == "last" and len(axes) > 2:
            axes.append(axes.pop(1))
        return [*(missing,) * (MOST_AXES - len(axes)), *axes]

    def _sizes(self, whole: Blob) -> tuple[int, list[int], list[int], list[int]]:
        """Return the bytes of a unit; sizes of y, of x, and offsets, in units."""
        part = self._four(whole, self.op.tops[0], 1)
        sizes = self._four(whole, self.op.bottoms[0], 1)
        offset = self._four(whole, self.op.offset, 0)
        item = place_of(whole).itemsize
        unit = math.gcd(16, *(one[-1] * item for one in (part, sizes, offset)))
        for one in (part, sizes, offset):
            one[-1] = one[-1] * item // unit
        return unit, part, sizes, offset

    def forward_calls(self) -> list[Call]:
        """Return the call that copies the part."""
        if not count(self.op.tops[0]):
            return []
        unit, part, sizes, offset = self._sizes(self.x)
        units = math.prod(part)
        kernel = _CROP.with_defines(UNIT=unit)
        blobs = (self.x, self.y)
        numbers = (*part[1:], *sizes[1:], *offset)
        return [self.strided(kernel, units, *blobs, units, *numbers)]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Return the call that puts the gradient in its place."""
        if self.dx is None or not count(self.op.bottoms[0]):
            return []
        unit, part, sizes, offset = self._sizes(self.dx)
        units = math.prod(sizes)
        kernel = _CROP_GRADIENT.with_defines(UNIT=unit)
        blobs = (self.dy, self.dx)
        numbers = (*part, *sizes[1:], *offset)
        return [self.strided(kernel, units, *blobs, units, *numbers)]


class Tile(CudaLayer[TileOp]):
    """The input several times along an axis; see the portable kernel."""

    options = ("axis", "tiles")

    def forward_calls(self) -> list[Call]:
        """Return the call that copies x to every place."""
        _, size, inner = along(self.x, self.op.axis)
        if not count(self.op.tops[0]):
            return []
        item = place_of(self.x).itemsize
        unit = math.gcd(16, size * inner * item)
        units = count(self.op.tops[0]) * item // unit
        row = size * inner * item // unit
        kernel = _TILE.with_defines(UNIT=unit)
        blobs = (self.x, self.y)
        return [self.strided(kernel, units, *blobs, units, self.op.tiles, row)]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Return the call that adds the gradients of the copies up."""
        if self.dx is None or not count(self.op.bottoms[0]):
            return []
        _, size, inner = along(self.dx, self.op.axis)
        vec = together(size * inner, itemsize=place_of(self.dx).itemsize)
        packs = count(self.op.bottoms[0]) // vec
        kernel = stored_as(_TILE_GRADIENT, self.dx, VEC=vec)
        sizes = (packs, self.op.tiles, size * inner // vec)
        return [self.strided(kernel, packs, self.dy, self.dx, *sizes)]


class ArgMax(CudaLayer[ArgMaxOp]):
    """The places of the largest values, or these; see the portable kernel.

    Reads x once for each of the `top_k`. A NaN is the largest, at place 0.
    """

    options = ("axis", "top_k", "out_max_val")

    @classmethod
    def wanted(cls, node: Node) -> tuple[Wanted, Wanted]:
        """Want Caffe's order where all of an item is one row; results in float32."""
        op: ArgMaxOp = node.op  # type: ignore[assignment]
        order: Order | None = "first" if op.axis is None else None
        return Wanted((order,), (True,)), Wanted((order,), (False,))

    def forward_calls(self) -> list[Call]:
        """Return the call that finds them."""
        op, x, y = self.op, self.x, memory_of(self.y)
        if not count(op.tops[0]):
            return []
        if op.axis is None:
            rows, classes, inner = x.shape[0], count(x.shape, 1), 1
            flat = y.reshape(-1)
            places, values = flat, flat[op.top_k :] if op.out_max_val else None
            pitch = op.top_k * (2 if op.out_max_val else 1)
        else:
            outer, classes, inner = along(x, op.axis)
            rows, pitch = outer * inner, op.top_k
            places, values = (None, y) if op.out_max_val else (y, None)
        found = (x, places, values, rows, classes)
        if op.axis is not None and (inner > 1 or classes <= FEW):
            kernel = stored_as(_PLACES, x)
            return [self.strided(kernel, rows, *found, inner, op.top_k)]
        kernel, grid = stored_as(_ROWS, x), blocks_for(rows, 1)
        return [self.launch(kernel, grid, (THREADS,), *found, pitch, op.top_k)]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Return nothing: there is no gradient."""
        return []
