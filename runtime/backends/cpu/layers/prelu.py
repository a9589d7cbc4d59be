"""PReLU on compiled kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec.ops.activation import PReLU as PReLUOp
from netspec.ops.base import count
from runtime.arrays import ArraySpec
from runtime.backends.cpu.layers.elementwise import copied
from runtime.backends.cpu.machine.compiled import Call, carray, kernel
from runtime.backends.cpu.machine.mapping import mapped
from runtime.backends.cpu.machine.simd import f32
from runtime.backends.cpu.machine.sizes import few
from runtime.backends.cpu.machine.vector_math import Value, where
from runtime.backends.layer_kernel import LayerKernel

ZERO: Any = np.float32(0)


def _bent(x: Value, slope: Value) -> Value:
    return where(x > 0.0, x, x * slope)


def _bent_gradient(x: Value, dy: Value, slope: Value) -> Value:
    return where(x <= 0.0, dy * slope, dy)


def _bent_sum(x: Value, dy: Value) -> Value:
    return dy * where(x > 0.0, 0.0, x)


bend = mapped(_bent, inputs=1)
bend_each = mapped(_bent, inputs=2)
bend_gradient = mapped(_bent_gradient, inputs=2)
bend_gradient_each = mapped(_bent_gradient, inputs=3)
bend_sum = mapped(_bent_sum, inputs=2)


@kernel("x y slope rows covered inner")
def prelu(record: Any, part: int, parts: int) -> None:
    """Compute y = x where x is positive, else slope x; y may be x.

    Shapes: x, y (rows, inner), slope (covered,): row r has slope[r % covered].
    """
    a = carray(record, 1)[0]
    if a.inner == 1:  # the slopes are as a row of channels
        items = a.rows // a.covered
        for item in range(items * part // parts, items * (part + 1) // parts):
            at = 4 * item * a.covered
            bend_each(a.x + at, a.slope, a.y + at, a.covered)
        return
    for row in range(a.rows * part // parts, a.rows * (part + 1) // parts):
        at = 4 * row * a.inner
        slope = np.float64(f32(a.slope)[row % a.covered])
        bend(a.x + at, a.y + at, a.inner, slope)


@kernel("x dy dx slope partial rows covered inner")
def prelu_gradient(record: Any, part: int, parts: int) -> None:
    """Compute dx = dy, or slope dy where x is not positive, and sums for the slope.

    Fields:
        x, dy: (rows, inner).
        dx: (rows, inner), or 0 where it is not wanted; it may be dy.
        slope: (covered,).
        partial: (rows,), the sums of dy min(x, 0), or 0 where they are not wanted.
    """
    a = carray(record, 1)[0]
    if a.inner == 1:  # the slopes are as a row of channels
        items = a.rows // a.covered
        for item in range(items * part // parts, items * (part + 1) // parts):
            at = 4 * item * a.covered
            x, dy = a.x + at, a.dy + at
            if a.partial != 0:
                bend_sum(x, dy, a.partial + at, a.covered)
            if a.dx != 0:
                bend_gradient_each(x, dy, a.slope, a.dx + at, a.covered)
        return
    for row in range(a.rows * part // parts, a.rows * (part + 1) // parts):
        at = 4 * row * a.inner
        if a.partial != 0:
            xs, dys, total = f32(a.x + at), f32(a.dy + at), ZERO
            for i in range(a.inner):
                total += dys[i] * (ZERO if xs[i] > 0 else xs[i])
            f32(a.partial)[row] = total
        if a.dx != 0:
            slope = np.float64(f32(a.slope)[row % a.covered])
            bend_gradient(a.x + at, a.dy + at, a.dx + at, a.inner, slope)


@kernel("partial dslope rows covered accumulate")
def prelu_slope(record: Any, part: int, parts: int) -> None:
    """Compute dslope[c] = sum of partial[r] where r % covered is c, or add it.

    Shapes: partial (rows,), dslope (covered,).
    """
    a = carray(record, 1)[0]
    partial, dslope = f32(a.partial), f32(a.dslope)
    for c in range(a.covered * part // parts, a.covered * (part + 1) // parts):
        total = 0.0
        for row in range(c, a.rows, a.covered):
            total += partial[row]
        before = dslope[c] if a.accumulate != 0 else ZERO
        dslope[c] = before + np.float32(total)


class PReLU(LayerKernel[PReLUOp]):
    """ReLU whose negative slope is learned; see the portable kernel."""

    options = ("channel_shared",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for sums of rows, and for a copy of x where y overwrites it."""
        specs = {}
        if self.node.backward:
            specs["partial"] = ArraySpec((self._sizes["rows"],))
            if self.op.layer.bottom[0] == self.op.layer.top[0]:
                specs["x"] = ArraySpec(self.op.tops[0], life="saved")
        return specs

    @property
    def _sizes(self) -> dict[str, int]:
        """Return x as rows, and how many slopes there are."""
        x = self.op.bottoms[0]
        rows, inner = count(x, 0, 2), count(x, 2)
        if not self.op.channel_shared:
            return {"rows": rows, "covered": x[1], "inner": inner}
        if inner == 1:
            rows, inner = x[0], x[1]
        return {"rows": rows, "covered": 1, "inner": inner}

    def forward_calls(self) -> list[Call]:
        """Compute y."""
        serial = few(self.x.size)
        kept = copied(self.x, self.work["x"]) if "x" in self.work else []
        slope = self.params[0]
        call = prelu(x=self.x, y=self.y, slope=slope, serial=serial, **self._sizes)
        return [*kept, call]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute da and dx, which may overwrite dy."""
        dslope, sizes = self.dparams[0], self._sizes
        if dslope is None and self.dx is None:
            return []
        partial = 0 if dslope is None else self.work["partial"]
        calls = [
            prelu_gradient(
                x=self.work.get("x", self.x),
                dy=self.dy,
                dx=0 if self.dx is None else self.dx,
                slope=self.params[0],
                partial=partial,
                serial=few(self.x.size),
                **sizes,
            )
        ]
        if dslope is not None:
            one = prelu_slope(
                partial=partial,
                dslope=dslope,
                rows=sizes["rows"],
                covered=sizes["covered"],
                accumulate=accumulate[0],
                serial=few(sizes["rows"]),
            )
            calls.append(one)
        return calls
