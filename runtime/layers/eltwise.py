"""Eltwise: the sum, product or maximum of several blobs."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.ops.eltwise import Eltwise as EltwiseOp
from runtime.arrays import Array, ArraySpec
from runtime.layers.base import Kernel, register


@register
class Eltwise(Kernel[EltwiseOp]):
    """Join blobs of one shape element by element.

        SUM:  y = sum of c_i x_i;  dx_i = c_i dy
        PROD: y = product of x_i;  dx_i = dy times the product of the others,
              or dy y / x_i with `stable_prod_grad: false`
        MAX:  y = maximum of x_i;  dx_i = dy where x_i is the chosen one, else 0

    On a tie of inputs 0 and 1 the gradient goes to 1; a later input must be strictly
    greater to be chosen, as in Caffe.

    Shapes: x_i (any) -> y (same).
    """

    types = ("Eltwise",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Room for a scaled input, or for the choice of the maximum."""
        shape = self.op.tops[0]
        if self.op.operation == "MAX":
            dtype = "uint8" if len(self.op.bottoms) < 256 else "int32"
            return {
                "chosen": ArraySpec(shape, dtype, life="saved"),
                "mask": ArraySpec(shape, "bool"),
            }
        scaled = self.op.operation == "SUM" and any(c != 1 for c in self.op.coeff[1:])
        return {"scaled": ArraySpec(shape)} if scaled else {}

    def setup(self) -> None:
        """Choose the arithmetic."""
        self._join, self._part = {
            "SUM": (self._sum, self._sum_gradient),
            "PROD": (self._product, self._product_gradient),
            "MAX": (self._maximum, self._maximum_gradient),
        }[self.op.operation]

    def forward(self) -> None:
        """Compute y."""
        self._join()

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute every dx_i."""
        self._part()

    def _sum(self) -> None:
        xp, coeff = self.xp, self.op.coeff
        if coeff[0] == coeff[1] == 1:
            xp.add(self.x, self.bottoms[1], out=self.y)
            rest = 2
        else:
            xp.multiply(self.x, coeff[0], out=self.y)
            rest = 1
        for x, c in zip(self.bottoms[rest:], coeff[rest:], strict=True):
            scaled = x if c == 1 else xp.multiply(x, c, out=self.work["scaled"])
            xp.add(self.y, scaled, out=self.y)

    def _sum_gradient(self) -> None:
        for dx, c in zip(self.dbottoms, self.op.coeff, strict=True):
            if dx is not None and c == 1:
                self.xp.copyto(dx, self.dy)
            elif dx is not None:
                self.xp.multiply(self.dy, c, out=dx)

    def _product(self) -> None:
        self.xp.multiply(self.x, self.bottoms[1], out=self.y)
        for x in self.bottoms[2:]:
            self.xp.multiply(self.y, x, out=self.y)

    def _product_gradient(self) -> None:
        for index, dx in enumerate(self.dbottoms):
            if dx is None:
                continue
            if self.op.stable_prod_grad:
                self._product_of_others(index, dx)
            else:
                self.xp.divide(self.y, self.bottoms[index], out=dx)
            self.xp.multiply(dx, self.dy, out=dx)

    def _product_of_others(self, index: int, out: Array) -> None:
        first, *rest = [x for i, x in enumerate(self.bottoms) if i != index]
        self.xp.copyto(out, first)
        for x in rest:
            self.xp.multiply(out, x, out=out)

    def _maximum(self) -> None:
        xp, chosen, mask = self.xp, self.work["chosen"], self.work["mask"]
        xp.less_equal(self.x, self.bottoms[1], out=chosen)
        xp.maximum(self.x, self.bottoms[1], out=self.y)
        for index, x in enumerate(self.bottoms[2:], start=2):
            xp.greater(x, self.y, out=mask)
            xp.copyto(chosen, index, where=mask)
            xp.maximum(self.y, x, out=self.y)

    def _maximum_gradient(self) -> None:
        xp, mask = self.xp, self.work["mask"]
        for index, dx in enumerate(self.dbottoms):
            if dx is not None:
                xp.equal(self.work["chosen"], index, out=mask)
                xp.multiply(self.dy, mask, out=dx)
