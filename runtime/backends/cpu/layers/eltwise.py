"""Products and maxima of blobs on compiled kernels; sums are in `elementwise.py`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from netspec.ops.eltwise import Eltwise as EltwiseOp
from runtime.arrays import Array, ArraySpec
from runtime.backends.cpu.machine.compiled import Call, carray, kernel
from runtime.backends.cpu.machine.mapping import map_kernel
from runtime.backends.cpu.machine.simd import f32, u8
from runtime.backends.cpu.machine.sizes import few
from runtime.backends.cpu.machine.vector_math import Value
from runtime.backends.layer_kernel import LayerKernel

ZERO: Any = np.float32(0)
MOST = 255  # inputs of a maximum, whose number is a byte

made = partial(map_kernel, module=__name__)


def _product(a: Value, b: Value) -> Value:
    return a * b


def _product_of_three(a: Value, b: Value, c: Value) -> Value:
    return a * b * c


def _share_of_product(whole: Value, x: Value, dy: Value) -> Value:
    return whole / x * dy


product = made("product", _product, inputs=2)
product_of_three = made("product_of_three", _product_of_three, inputs=3)
share_of_product = made("share_of_product", _share_of_product, inputs=3)


class EltwiseProduct(LayerKernel[EltwiseOp]):
    """The product of blobs; see the portable kernel."""

    options = ("operation", "coeff", "stable_prod_grad")

    @classmethod
    def suits(cls, op: EltwiseOp) -> bool:
        """Whether the operation is PROD."""
        return op.operation == "PROD"

    def forward_calls(self) -> list[Call]:
        """Compute y."""
        return self._multiplied(self.bottoms, self.y)

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute every dx_i."""
        calls: list[Call] = []
        sizes = {"count": self.y.size, "serial": few(self.y.size)}
        for index, dx in enumerate(self.dbottoms):
            if dx is None:
                continue
            if self.op.stable_prod_grad:
                others = [x for i, x in enumerate(self.bottoms) if i != index]
                calls += self._multiplied([*others, self.dy], dx)
            else:
                x = self.bottoms[index]
                one = share_of_product(whole=self.y, x=x, dy=self.dy, y=dx, **sizes)
                calls.append(one)
        return calls

    def _multiplied(self, factors: Sequence[Array], y: Array) -> list[Call]:
        """Return the calls that store the product of two blobs or more."""
        sizes = {"count": y.size, "serial": few(y.size)}
        a, b, *rest = factors
        calls = []
        if rest:
            c, *rest = rest
            calls.append(product_of_three(a=a, b=b, c=c, y=y, **sizes))
        else:
            calls.append(product(a=a, b=b, y=y, **sizes))
        return calls + [product(a=y, b=one, y=y, **sizes) for one in rest]


@kernel("a b y chosen count number")
def maximum(record: Any, part: int, parts: int) -> None:
    """Compute y = max(a, b), NaN where either is, and which it was.

    Fields:
        a, b, y: (count,); y may be a.
        chosen: uint8 (count,); with a `number` of 1 it gets 1 where b >= a, else 0;
            with another it gets this number where b > a.
    """
    r = carray(record, 1)[0]
    a, b, y, chosen = f32(r.a), f32(r.b), f32(r.y), u8(r.chosen)
    low, high = r.count * part // parts, r.count * (part + 1) // parts
    if r.number == 1:
        for i in range(low, high):
            one, other = a[i], b[i]
            chosen[i] = np.uint8(one <= other)
            y[i] = one if one >= other or one != one else other
    else:
        number = np.uint8(r.number)
        for i in range(low, high):
            one, other = a[i], b[i]
            chosen[i] = number if other > one else chosen[i]
            y[i] = one if one >= other or one != one else other


@kernel("dy chosen dx count number")
def maximum_gradient(record: Any, part: int, parts: int) -> None:
    """Compute dx = dy where the input of this number was chosen, else 0."""
    a = carray(record, 1)[0]
    dy, dx, chosen, number = f32(a.dy), f32(a.dx), u8(a.chosen), np.uint8(a.number)
    for i in range(a.count * part // parts, a.count * (part + 1) // parts):
        dx[i] = dy[i] if chosen[i] == number else dy[i] * ZERO


class EltwiseMaximum(LayerKernel[EltwiseOp]):
    """The maximum of blobs; see the portable kernel."""

    options = ("operation", "coeff", "stable_prod_grad")

    @classmethod
    def suits(cls, op: EltwiseOp) -> bool:
        """Whether the operation is MAX."""
        return op.operation == "MAX" and len(op.bottoms) <= MOST

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the number of the input that was chosen."""
        return {"chosen": ArraySpec(self.op.tops[0], "uint8", life="saved")}

    def forward_calls(self) -> list[Call]:
        """Compute y."""
        calls, a, y = [], self.x, self.y
        for number, b in enumerate(self.bottoms[1:], start=1):
            one = maximum(
                a=a,
                b=b,
                y=y,
                chosen=self.work["chosen"],
                count=y.size,
                number=number,
                serial=few(y.size),
            )
            calls.append(one)
            a = y
        return calls

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute every dx_i."""
        return [
            maximum_gradient(
                dy=self.dy,
                chosen=self.work["chosen"],
                dx=dx,
                count=dx.size,
                number=number,
                serial=few(dx.size),
            )
            for number, dx in enumerate(self.dbottoms)
            if dx is not None
        ]
