"""Concat and Slice, which join and cut blobs along one axis."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.ops import concat as ops
from runtime.arrays import Array
from runtime.layers._gradient import OneGradient
from runtime.layers.base import Kernel, register


def _pieces(whole: Array, parts: Sequence[tuple[int, ...]], axis: int) -> list[Array]:
    """Cut views of the shapes `parts`, one after the other along `axis`."""
    views, start = [], 0
    for shape in parts:
        end = start + shape[axis]
        views.append(whole[(slice(None),) * axis + (slice(start, end),)])
        start = end
    return views


@register
class Concat(Kernel[ops.Concat]):
    """Join blobs along one axis.

        y = x_0, x_1, ... one after the other;  dx_i = its piece of dy

    Shapes: x_i (..., C_i, ...) -> y (..., sum of C_i, ...), C on `axis`.
    """

    types = ("Concat",)

    def setup(self) -> None:
        """Cut the top into the places of the bottoms."""
        self._y = _pieces(self.y, self.op.bottoms, self.op.axis)
        if self.node.backward:
            self._dy = _pieces(self.dy, self.op.bottoms, self.op.axis)

    def forward(self) -> None:
        """Copy every bottom to its place."""
        for piece, x in zip(self._y, self.bottoms, strict=True):
            self.xp.copyto(piece, x)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Copy every place to the gradient of its bottom."""
        for piece, dx in zip(self._dy, self.dbottoms, strict=True):
            if dx is not None:
                self.xp.copyto(dx, piece)


@register
class Slice(OneGradient[ops.Slice]):
    """Cut a blob along one axis.

        y_i = the piece of x between two of `slice_point`;  dx = the dy_i joined

    Shapes: x (..., C, ...) -> y_i (..., C_i, ...), C on `axis`.
    """

    types = ("Slice",)

    def setup(self) -> None:
        """Cut the bottom into the sources of the tops."""
        self._x = _pieces(self.x, self.op.tops, self.op.axis)
        if self.dx is not None:
            self._dx = _pieces(self.dx, self.op.tops, self.op.axis)

    def forward(self) -> None:
        """Copy every piece to its top."""
        for piece, y in zip(self._x, self.tops, strict=True):
            self.xp.copyto(y, piece)

    def gradient(self, dx: Array) -> None:
        """Copy the gradient of every top to its place; without one it is 0."""
        for piece, dy in zip(self._dx, self.dtops, strict=True):
            if dy is None:
                piece.fill(0)
            else:
                self.xp.copyto(piece, dy)
