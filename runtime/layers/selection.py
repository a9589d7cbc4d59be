"""Tile, Crop, BatchReindex and Filter: parts of a blob, repeated or chosen."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from netspec.errors import SpecError
from netspec.ops import selection as ops
from netspec.ops.base import bottom_name, count, label
from runtime.arrays import Array, ArraySpec
from runtime.layers._gradient import OneGradient
from runtime.layers.base import Kernel, TopsChanged, register


@register
class Tile(OneGradient[ops.Tile]):
    """The input several times, one copy after the other along `axis`.

        dx = sum of the gradients of the copies

    Shapes: x (..., C, ...) -> y (..., tiles * C, ...), C on `axis`.
    """

    types = ("Tile",)

    def setup(self) -> None:
        """View the copies as an axis of their own: (outer, tiles, inner)."""
        shape, axis, tiles = self.op.bottoms[0], self.op.axis, self.op.tiles
        outer, inner = count(shape, 0, axis), count(shape, axis)
        self._x = self.x.reshape(outer, 1, inner)
        self._y = self.y.reshape(outer, tiles, inner)
        if self.dx is not None:
            self._dx = self.dx.reshape(outer, inner)
            self._dy = self.dy.reshape(outer, tiles, inner)

    def forward(self) -> None:
        """Copy x to every place."""
        self.xp.copyto(self._y, self._x)

    def gradient(self, dx: Array) -> None:
        """Add the gradients of the copies up."""
        self.xp.sum(self._dy, axis=1, out=self._dx)


@register
class Crop(OneGradient[ops.Crop]):
    """A part of x, as large as a second blob from `axis` on.

        y = x[offset : offset + size] on every axis;  dx = dy there, else 0

    The second blob gives only its shape and gets no gradient.

    Shapes: x (..., H, W), reference (..., h, w) -> y (..., h, w).
    """

    types = ("Crop",)

    def setup(self) -> None:
        """Cut the part out as a view."""
        part = tuple(
            slice(start, start + size)
            for start, size in zip(self.op.offset, self.op.tops[0], strict=True)
        )
        self._part = self.x[part]
        if self.dx is not None:
            self._gradient = self.dx[part]

    def forward(self) -> None:
        """Copy the part."""
        self.xp.copyto(self.y, self._part)

    def gradient(self, dx: Array) -> None:
        """Put the gradient in its place."""
        self.xp.copyto(dx, 0)
        self.xp.copyto(self._gradient, self.dy)


@register
class BatchReindex(OneGradient[ops.BatchReindex]):
    """Items of a batch by number: chosen, repeated or left out.

        y[i] = x[index[i]];  dx[n] = sum of dy[i] where index[i] is n

    The sum is a product with the matrix [index[i] is n], so that it adds up in the same
    order on every backend. On a device that is not waited for, a number out of range
    makes its item NaN instead of raising an error.

    Shapes: x (N, ...), index (M) -> y (M, ...).
    """

    types = ("BatchReindex",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the numbers as integers and for the matrix."""
        items, chosen = self.op.bottoms[0][0], self.op.bottoms[1][0]
        specs = {
            "index": ArraySpec((chosen,), "int64"),
            "bad": ArraySpec((chosen,), "bool"),
            "high": ArraySpec((chosen,), "bool"),
        }
        if self.node.backward:
            specs["matrix"] = ArraySpec((items, chosen))
        return specs

    def setup(self) -> None:
        """View items as rows, and number them."""
        items, chosen = self.op.bottoms[0][0], self.op.bottoms[1][0]
        self._items = items
        size = count(self.op.bottoms[0], 1)
        self._rows = self.y.reshape(chosen, size)
        if self.dx is not None:
            self._numbers = self.xp.arange(items, dtype="int64").reshape(items, 1)
            self._dx = self.dx.reshape(items, size)
            self._dy = self.dy.reshape(chosen, size)

    def forward(self) -> None:
        """Pick the items."""
        xp, index = self.xp, self.work["index"]
        bad, high = self.work["bad"], self.work["high"]
        xp.isnan(self.bottoms[1], out=high)
        if self.backend.anywhere(high):
            xp.copyto(bad, high)
            raise self._error()
        xp.copyto(index, self.bottoms[1], casting="unsafe")
        xp.less(index, 0, out=bad)
        xp.greater_equal(index, self._items, out=high)
        xp.logical_or(bad, high, out=bad)
        xp.isnan(self.bottoms[1], out=high)
        xp.logical_or(bad, high, out=bad)
        if self.backend.anywhere(bad):
            raise self._error()
        self.backend.gather(self.x, index, self.y)
        xp.copyto(self._rows, float("nan"), where=bad[:, None])

    def gradient(self, dx: Array) -> None:
        """Add the gradients of every item up."""
        xp, index, matrix = self.xp, self.work["index"], self.work["matrix"]
        xp.copyto(index, self.bottoms[1], casting="unsafe")
        xp.equal(self._numbers, index, out=matrix)
        self.backend.gemm(matrix, self._dy, self._dx)

    def _error(self) -> SpecError:
        layer, place = self.op.layer, int(self.work["bad"].argmax())
        value = float(self.bottoms[1][place])
        shown = f"{int(value)}" if math.isfinite(value) else f"{value}"
        return SpecError(
            f"{bottom_name(layer, 1)} holds {shown} at place {place}; expected 0 to "
            f"{self._items - 1}, the items of {bottom_name(layer, 0)}",
            layer=label(layer),
        )


@register
class Filter(Kernel[ops.Filter]):
    """The items for which the last bottom, the selector, is not 0.

        y_i = x_i[selected];  dx_i = dy_i at these items, else 0

    How many items that are is known only now, so the tops may have to change their
    shape in every pass. A number not seen of late costs a new plan, and the selector is
    read on the host.

    Shapes: x_i (N, ...), selector (N) -> y_i (M, ...), M <= N.
    """

    types = ("Filter",)

    def setup(self) -> None:
        """Make room to read the selector."""
        selector = self.bottoms[-1]
        self._selector = np.empty(selector.shape, self.context.dtype)
        self._chosen: Array = self.xp.arange(0)

    def take_over(self, other: Kernel[ops.Filter]) -> None:
        """Take the numbers of the selected items."""
        super().take_over(other)
        if isinstance(other, Filter):
            self._chosen = other._chosen  # noqa: SLF001

    def forward(self) -> None:
        """Copy the selected items."""
        chosen, self.found = self.found, None
        if chosen is None:
            self.backend.download(self.bottoms[-1], out=self._selector)
            chosen = np.flatnonzero(self._selector)
        shapes = tuple((len(chosen), *y.shape[1:]) for y in self.tops)
        if shapes != self.op.tops:
            raise TopsChanged(self.node.index, shapes, found=chosen)
        self._chosen = self.xp.asarray(chosen)
        for x, y in zip(self.bottoms, self.tops, strict=False):
            self.backend.gather(x, self._chosen, out=y)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Give the selected items their gradients and all others 0."""
        for dx, dy in zip(self.dbottoms, self.dtops, strict=False):
            if dx is not None:
                dx.fill(0)
                self.backend.scatter(dy, self._chosen, out=dx)
