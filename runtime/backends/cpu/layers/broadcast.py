"""Bias, and multiplying by and adding a smaller array that is broadcast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec.ops.base import count
from netspec.ops.scale import Bias as BiasOp
from runtime.arrays import Array
from runtime.backends.cpu.layers.elementwise import copied
from runtime.backends.cpu.machine.compiled import Call, carray, kernel
from runtime.backends.cpu.machine.simd import f32
from runtime.backends.cpu.machine.sizes import few
from runtime.backends.layer_kernel import LayerKernel

ZERO: Any = np.float32(0)
ONE: Any = np.float32(1)


@kernel("x y scale shift outer covered inner")
def broadcast(record: Any, part: int, parts: int) -> None:
    """Compute y = x scale + shift, both broadcast over outer and inner axes.

    Fields:
        x, y: (outer, covered, inner).
        scale, shift: (covered,), or 0 for ones and zeros.
    """
    a = carray(record, 1)[0]
    if a.inner == 1:
        for o in range(a.outer * part // parts, a.outer * (part + 1) // parts):
            x, y = f32(a.x + 4 * o * a.covered), f32(a.y + 4 * o * a.covered)
            for c in range(a.covered):
                value = x[c] * f32(a.scale)[c] if a.scale != 0 else x[c]
                y[c] = value + f32(a.shift)[c] if a.shift != 0 else value
        return
    rows = a.outer * a.covered
    for row in range(rows * part // parts, rows * (part + 1) // parts):
        c = row % a.covered
        x, y = f32(a.x + 4 * row * a.inner), f32(a.y + 4 * row * a.inner)
        scale = f32(a.scale)[c] if a.scale != 0 else ONE
        shift = f32(a.shift)[c] if a.shift != 0 else ZERO
        for i in range(a.inner):
            y[i] = x[i] * scale + shift


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
            dy = f32(a.dy + at)
            if a.dscale != 0:
                x, part_product = f32(a.x + at), ZERO
                for i in range(a.inner):
                    part_product += dy[i] * x[i]
                product += part_product
            if a.dshift != 0:
                part_total = ZERO
                for i in range(a.inner):
                    part_total += dy[i]
                total += part_total
            if a.dx != 0:
                dx = f32(a.dx + at)
                for i in range(a.inner):
                    dx[i] = dy[i] * scale
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
                x=self.x, y=self.y, scale=0, shift=bias, serial=serial, **self._sizes
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
