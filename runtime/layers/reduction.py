"""Reduction and ArgMax, which reduce the last axes."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.ops import reduction as ops
from netspec.ops.base import count
from runtime.arrays import Array, ArraySpec
from runtime.layers._gradient import OneGradient
from runtime.layers._labels import by_class
from runtime.layers.base import Kernel, register


@register
class Reduction(OneGradient[ops.Reduction]):
    """Reduce all axes from `axis` on to one number.

        SUM:   y = coeff * sum of x;        dx = coeff dy
        MEAN:  y = coeff * sum of x / K;    dx = coeff dy / K
        ASUM:  y = coeff * sum of |x|;      dx = coeff dy sign(x), with sign(0) = 0
        SUMSQ: y = coeff * sum of x^2;      dx = 2 coeff dy x

    Shapes: x (M..., K...) -> y (M...), the axes K starting at `axis`.
    """

    types = ("Reduction",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Room for the terms of the sum, and for the factor of a row."""
        op = self.op
        specs = {"share": ArraySpec((count(op.tops[0]), 1))}
        if op.operation in ("ASUM", "SUMSQ"):
            specs["terms"] = ArraySpec(
                (count(op.tops[0]), count(op.bottoms[0], op.axis))
            )
        return specs

    def setup(self) -> None:
        """View x as rows to be reduced."""
        rows, size = count(self.op.tops[0]), count(self.op.bottoms[0], self.op.axis)
        self._x, self._y = self.x.reshape(rows, size), self.y.reshape(rows)
        mean = self.op.operation == "MEAN" and size > 0
        self._coeff = self.op.coeff / size if mean else self.op.coeff
        if self.dx is not None:
            self._dx, self._dy = self.dx.reshape(rows, size), self.dy.reshape(rows, 1)

    def forward(self) -> None:
        """Compute y."""
        xp, terms = self.xp, self._x
        if self.op.operation == "ASUM":
            terms = xp.absolute(self._x, out=self.work["terms"])
        elif self.op.operation == "SUMSQ":
            terms = xp.square(self._x, out=self.work["terms"])
        xp.sum(terms, axis=1, out=self._y)
        if self._coeff != 1:
            xp.multiply(self._y, self._coeff, out=self._y)

    def gradient(self, dx: Array) -> None:
        """Compute dx."""
        xp, operation = self.xp, self.op.operation
        factor = 2 * self._coeff if operation == "SUMSQ" else self._coeff
        share = xp.multiply(self._dy, factor, out=self.work["share"])
        if operation == "SUMSQ":
            xp.multiply(self._x, share, out=self._dx)
        elif operation == "ASUM":
            xp.sign(self._x, out=self._dx)
            xp.multiply(self._dx, share, out=self._dx)
        else:
            xp.copyto(self._dx, share)


@register
class ArgMax(Kernel[ops.ArgMax]):
    """The indices of the largest values, or these values.

    The largest comes first; of equal values the one with the larger index. With an
    `axis`, `out_max_val` gives the values instead of the indices; without one each item
    is a single row, and `out_max_val` gives indices and values.

    Shapes: with an axis, x (..., C, ...) -> y (..., top_k, ...). Without, x (N, ...) ->
    y (N, 1 or 2, top_k), padded with 1s to the number of axes of x.
    """

    types = ("ArgMax",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Room for what is left to choose from, and for a mask."""
        shape = self.op.bottoms[0]
        size = count(shape) // max(1, self._classes())
        return {
            "rest": ArraySpec(shape),
            "numbered": ArraySpec(shape, "int64"),
            "mask": ArraySpec(shape, "bool"),
            "largest": ArraySpec((size,)),
            "place": ArraySpec((size,), "int64"),
        }

    def setup(self) -> None:
        """View everything as (outer, values to compare, inner)."""
        op = self.op
        if op.axis is None:
            n = op.bottoms[0][0]
            size = count(op.bottoms[0], 1)
            views = [self.work[name].reshape(n, size) for name in self._FULL]
            self._x = self.x.reshape(n, size)
            tops = self.y.reshape(n, 2 if op.out_max_val else 1, op.top_k)
            self._places = tops[:, 0]
            self._values = tops[:, 1] if op.out_max_val else None
        else:
            views = [by_class(self.work[name], op.axis) for name in self._FULL]
            self._x = by_class(self.x, op.axis)
            top = by_class(self.y, op.axis)
            self._places = None if op.out_max_val else top
            self._values = top if op.out_max_val else None
        self._rest, self._numbered, self._mask = views
        narrow = (self._x.shape[0], 1, *self._x.shape[2:])
        self._largest = self.work["largest"].reshape(narrow)
        self._place = self.work["place"].reshape(narrow)
        numbers = self.xp.arange(self._classes(), dtype="int64")
        self._numbers = numbers.reshape((1, -1, 1)[: self._x.ndim])

    _FULL = ("rest", "numbered", "mask")

    def forward(self) -> None:
        """Choose the largest again and again, and take it out."""
        xp, rest, numbered = self.xp, self._rest, self._numbered
        largest, place, mask = self._largest, self._place, self._mask
        xp.copyto(rest, self._x)
        for rank in range(self.op.top_k):
            xp.max(rest, axis=1, keepdims=True, out=largest)
            xp.equal(rest, largest, out=mask)
            xp.multiply(self._numbers, mask, out=numbered)
            xp.max(numbered, axis=1, keepdims=True, out=place)
            if self._places is not None:
                xp.copyto(self._places[:, rank : rank + 1], place)
            if self._values is not None:
                xp.copyto(self._values[:, rank : rank + 1], largest)
            if rank + 1 < self.op.top_k:
                xp.equal(self._numbers, place, out=mask)
                xp.copyto(rest, float("-inf"), where=mask)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Never called: there is no gradient."""

    def _classes(self) -> int:
        shape, axis = self.op.bottoms[0], self.op.axis
        return count(shape, 1) if axis is None else shape[axis]
