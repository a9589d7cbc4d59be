"""MVN on compiled kernels: planes, or items, to mean 0 and deviation 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec.ops.base import count
from netspec.ops.normalization import MVN as MvnOp  # noqa: N811
from runtime.arrays import ArraySpec
from runtime.backends.cpu.layers.channel_norm import statistics
from runtime.backends.cpu.machine.compiled import Call, carray, helper, kernel
from runtime.backends.cpu.machine.llvm import LANES
from runtime.backends.cpu.machine.simd import f32
from runtime.backends.cpu.machine.sizes import SERIAL_ELEMENTS, few
from runtime.backends.cpu.machine.vectors import (
    spread,
    vadd,
    vfma,
    vload,
    vload_first,
    vmul,
    vstore,
    vstore_first,
    vsub,
    vsum,
)
from runtime.backends.layer_kernel import LayerKernel

ZERO: Any = np.float32(0)
CHUNK = 4096  # floats whose sums are made in single precision, a lane each


@kernel("x y normal inverse rows size scaled", "eps")
def normalize_rows(record: Any, part: int, parts: int) -> None:
    """Compute y = (x - mean) / (sqrt(var) + eps) of every row; y may be x.

    Fields:
        x, y: (rows, size).
        normal: gets y too, 0 for nobody.
        inverse: (rows,), gets 1 / (sqrt(var) + eps).
        scaled: 0 to take the mean away only.
    """
    a = carray(record, 1)[0]
    for row in range(a.rows * part // parts, a.rows * (part + 1) // parts):
        at = 4 * row * a.size
        mean, variance = statistics(a.x + at, 1, 4 * a.size, a.size)
        inverse = 1.0
        if a.scaled != 0:
            inverse = 1.0 / (math.sqrt(variance) + a.eps)
        f32(a.inverse)[row] = np.float32(inverse)
        center, factor = spread(np.float32(mean)), spread(np.float32(inverse))
        whole = a.size - a.size % LANES
        for i in range(0, whole, LANES):
            value = vmul(vsub(vload(a.x + at + 4 * i), center), factor)
            vstore(value, a.y + at + 4 * i)
            if a.normal != 0:
                vstore(value, a.normal + at + 4 * i)
        if whole < a.size:
            left, end = a.size - whole, at + 4 * whole
            value = vload_first(a.x + end, left, center)
            value = vmul(vsub(value, center), factor)
            vstore_first(value, a.y + end, left)
            if a.normal != 0:
                vstore_first(value, a.normal + end, left)


@helper
def _means(dy: int, normal: int, size: int, both: int) -> Any:
    """Return the means of dy and of dy normal, the second only if `both` is not 0."""
    total, products = 0.0, 0.0
    none = spread(ZERO)
    for first in range(0, size, CHUNK):
        until = min(size, first + CHUNK)
        sums, dots = none, none
        whole = until - (until - first) % LANES
        for i in range(first, whole, LANES):
            one = vload(dy + 4 * i)
            sums = vadd(sums, one)
            if both != 0:
                dots = vfma(one, vload(normal + 4 * i), dots)
        if whole < until:
            one = vload_first(dy + 4 * whole, until - whole, none)
            sums = vadd(sums, one)
            if both != 0:
                last = vload_first(normal + 4 * whole, until - whole, none)
                dots = vfma(one, last, dots)
        total += vsum(sums)
        products += vsum(dots)
    return np.float32(total / size), np.float32(products / size)


@kernel("dy dx normal inverse rows size scaled")
def normalize_rows_gradient(record: Any, part: int, parts: int) -> None:
    """Compute dx = (dy - mean(dy) - y mean(dy y)) / (sqrt(var) + eps) of every row.

    Fields: as of `normalize_rows`; dx may be dy.
    """
    a = carray(record, 1)[0]
    for row in range(a.rows * part // parts, a.rows * (part + 1) // parts):
        at = 4 * row * a.size
        mean, along = _means(a.dy + at, a.normal + at, a.size, a.scaled)
        center, slope = spread(mean), spread(along)
        factor = spread(f32(a.inverse)[row])
        whole = a.size - a.size % LANES
        for i in range(at, at + 4 * whole, 4 * LANES):
            value = vload(a.dy + i)
            if a.scaled != 0:
                value = vsub(value, vmul(vload(a.normal + i), slope))
            vstore(vmul(vsub(value, center), factor), a.dx + i)
        if whole < a.size:
            left, end = a.size - whole, at + 4 * whole
            value = vload_first(a.dy + end, left, center)
            if a.scaled != 0:
                one = vload_first(a.normal + end, left, center)
                value = vsub(value, vmul(one, slope))
            vstore_first(vmul(vsub(value, center), factor), a.dx + end, left)


class MVN(LayerKernel[MvnOp]):
    """Rows to mean 0 and deviation 1; see the portable kernel."""

    options = ("across_channels", "normalize_variance", "eps")

    @classmethod
    def suits(cls, op: MvnOp) -> bool:
        """Whether there is anything."""
        return count(op.bottoms[0]) > 0

    @property
    def _rows(self) -> dict[str, int]:
        shape, axis = self.op.tops[0], 1 if self.op.across_channels else 2
        return {"rows": count(shape, 0, axis), "size": count(shape, axis)}

    def arrays(self) -> dict[str, ArraySpec]:
        """Room for what the gradient reads: y, and a divisor a row."""
        rows, size = self._rows.values()
        specs = {"inverse": ArraySpec((rows,), life="saved")}
        if self.node.backward and self.op.normalize_variance:
            specs["normal"] = ArraySpec((rows, size), life="saved")
        return specs

    @property
    def _how(self) -> dict[str, Any]:
        size = self.y.size
        return {
            "normal": self.work.get("normal", 0),
            "inverse": self.work["inverse"],
            "scaled": self.op.normalize_variance,
            "serial": few(size),
            "units": size // SERIAL_ELEMENTS,
            **self._rows,
        }

    def forward_calls(self) -> list[Call]:
        """Compute y."""
        return [normalize_rows(x=self.x, y=self.y, eps=self.op.eps, **self._how)]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute dx."""
        if self.dx is None:
            return []
        return [normalize_rows_gradient(dy=self.dy, dx=self.dx, **self._how)]
