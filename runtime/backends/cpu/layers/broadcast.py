"""Bias, and multiplying by and adding a smaller array that is broadcast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec.ops.base import count
from netspec.ops.scale import Bias as BiasOp
from runtime.arrays import Array
from runtime.backends.cpu.layers.elementwise import LOWEST, copied
from runtime.backends.cpu.machine.compiled import Call, carray, helper, kernel
from runtime.backends.cpu.machine.llvm import LANES
from runtime.backends.cpu.machine.simd import f32
from runtime.backends.cpu.machine.sizes import few
from runtime.backends.cpu.machine.vectors import (
    at_least,
    spread,
    vadd,
    vfma,
    vload,
    vload_first,
    vmul,
    vstore,
    vstore_first,
    vsum,
)
from runtime.backends.layer_kernel import LayerKernel

ZERO: Any = np.float32(0)
ONE: Any = np.float32(1)
CHUNK = 1 << 14  # floats that are summed in single precision


@helper
def _row_gradient(dy: int, x: int, dx: int, length: int, scale: Any) -> Any:
    """Return the sums of dy and of dy x; dx = scale dy, unless dx is 0."""
    factor, none = spread(scale), spread(ZERO)
    sums, products = none, none
    whole = length - length % LANES
    for i in range(0, whole, LANES):
        value = vload(dy + 4 * i)
        sums, products = vadd(sums, value), vfma(value, vload(x + 4 * i), products)
        if dx != 0:
            vstore(vmul(value, factor), dx + 4 * i)
    if whole < length:
        left = length - whole
        value = vload_first(dy + 4 * whole, left, none)
        other = vload_first(x + 4 * whole, left, none)
        sums, products = vadd(sums, value), vfma(value, other, products)
        if dx != 0:
            vstore_first(vmul(value, factor), dx + 4 * whole, left)
    return vsum(sums), vsum(products)


@kernel("x y scale shift outer covered inner", "floor")
def broadcast(record: Any, part: int, parts: int) -> None:
    """Compute y = max(floor, x scale + shift), both broadcast over other axes.

    Fields:
        x, y: (outer, covered, inner).
        scale, shift: (covered,), or 0 for ones and zeros.
        floor: -inf for none.
    """
    a = carray(record, 1)[0]
    floor = np.float32(a.floor)
    if a.inner == 1:
        for o in range(a.outer * part // parts, a.outer * (part + 1) // parts):
            x, y = f32(a.x + 4 * o * a.covered), f32(a.y + 4 * o * a.covered)
            for c in range(a.covered):
                value = x[c] * f32(a.scale)[c] if a.scale != 0 else x[c]
                value = value + f32(a.shift)[c] if a.shift != 0 else value
                y[c] = floor if value < floor else value
        return
    rows = a.outer * a.covered
    low = spread(floor)
    whole = a.inner - a.inner % LANES
    for row in range(rows * part // parts, rows * (part + 1) // parts):
        c = row % a.covered
        at, to = a.x + 4 * row * a.inner, a.y + 4 * row * a.inner
        scale = spread(f32(a.scale)[c] if a.scale != 0 else ONE)
        shift = spread(f32(a.shift)[c] if a.shift != 0 else ZERO)
        for i in range(0, whole, LANES):
            values = vfma(vload(at + 4 * i), scale, shift)
            vstore(at_least(values, low), to + 4 * i)
        if whole < a.inner:
            left = a.inner - whole
            values = vfma(vload_first(at + 4 * whole, left, low), scale, shift)
            vstore_first(at_least(values, low), to + 4 * whole, left)


@kernel(
    "x dy dx scale dscale dshift outer covered inner accumulate_scale accumulate_shift"
)
def broadcast_gradient(record: Any, part: int, parts: int) -> None:
    """Compute dx = dy scale, and the sums of dy x and of dy where they are wanted.

    Fields:
        x, dy: (outer, covered, inner); x may be 0 where dscale is.
        dx: (outer, covered, inner), or 0 where it is not wanted; it may be dy.
        scale: (covered,), or 0 for ones.
        dscale, dshift: (covered,), or 0 where they are not wanted.
        accumulate_scale, accumulate_shift: 1 where these are added to, not stored.
    """
    a = carray(record, 1)[0]
    for c in range(a.covered * part // parts, a.covered * (part + 1) // parts):
        total, product = 0.0, 0.0
        scale = f32(a.scale)[c] if a.scale != 0 else ONE
        for o in range(a.outer):
            at = 4 * (o * a.covered + c) * a.inner
            dx = a.dx + at if a.dx != 0 else 0
            for i in range(0, a.inner, CHUNK):
                x = a.x + at + 4 * i if a.dscale != 0 else a.dy + at + 4 * i
                there = dx + 4 * i if dx != 0 else 0
                length = min(CHUNK, a.inner - i)
                one, two = _row_gradient(a.dy + at + 4 * i, x, there, length, scale)
                total += one
                product += two
        if a.dscale != 0:
            before = f32(a.dscale)[c] if a.accumulate_scale != 0 else ZERO
            f32(a.dscale)[c] = before + np.float32(product)
        if a.dshift != 0:
            before = f32(a.dshift)[c] if a.accumulate_shift != 0 else ZERO
            f32(a.dshift)[c] = before + np.float32(total)


class Bias(LayerKernel[BiasOp]):
    """Add a parameter that is broadcast; see the portable kernel."""

    options = ("axis", "bias_shape")

    @classmethod
    def suits(cls, op: BiasOp) -> bool:
        """Whether the bias is a parameter."""
        return len(op.bottoms) == 1

    @property
    def _sizes(self) -> dict[str, int]:
        return broadcast_sizes(self.op.bottoms[0], self.op.axis, self.op.bias_shape)

    def forward_calls(self) -> list[Call]:
        """Compute y."""
        serial = few(self.x.size)
        bias = self.params[0]
        return [
            broadcast(
                x=self.x,
                y=self.y,
                scale=0,
                shift=bias,
                floor=LOWEST,
                serial=serial,
                **self._sizes,
            )
        ]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute the wanted gradients."""
        calls = []
        if self.dparams[0] is not None:
            axis = self.op.axis
            calls.append(summed(self.dy, self.dparams[0], axis, accumulate[0]))
        if self.dx is not None:
            calls += copied(self.dy, self.dx)
        return calls


def summed(dy: Array, dshift: Array, axis: int, accumulate: bool) -> Call:
    """Return the call that sums dy over the axes beside those of dshift."""
    return broadcast_gradient(
        x=0,
        dy=dy,
        dx=0,
        scale=0,
        dscale=0,
        dshift=dshift,
        accumulate_scale=False,
        accumulate_shift=accumulate,
        serial=few(dy.size),
        **broadcast_sizes(dy.shape, axis, dshift.shape),
    )


def broadcast_sizes(
    x: tuple[int, ...], axis: int, small: tuple[int, ...]
) -> dict[str, int]:
    """Return x as (outer, covered, inner) where a smaller array covers the middle."""
    return {
        "outer": count(x, 0, axis),
        "covered": count(small),
        "inner": count(x, axis + len(small)),
    }
