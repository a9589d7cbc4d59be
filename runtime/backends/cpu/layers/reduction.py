"""Reduction on compiled kernels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from netspec.ops.base import count
from netspec.ops.reduction import Reduction as ReductionOp
from runtime.arrays import ArraySpec
from runtime.backends.cpu.machine.compiled import Call, carray, kernel
from runtime.backends.cpu.machine.mapping import mapped
from runtime.backends.cpu.machine.simd import f32
from runtime.backends.cpu.machine.sizes import few
from runtime.backends.cpu.machine.summing import (
    CHUNK,
    chunks_of,
    join_sums,
    sum_kernel,
)
from runtime.backends.cpu.machine.vector_math import Value, absolute, sign
from runtime.backends.layer_kernel import LayerKernel

summed = partial(sum_kernel, module=__name__)


def _same(x: Value) -> Value:
    return x


def _square(x: Value) -> Value:
    return x * x


def _signs(x: Value, share: Value) -> Value:
    return sign(x) * share


def _multiples(x: Value, share: Value) -> Value:
    return x * share


sums = summed("sums", _same)
sums_of_absolute = summed("sums_of_absolute", absolute)
sums_of_squares = summed("sums_of_squares", _square)
signs = mapped(_signs, inputs=1)
multiples = mapped(_multiples, inputs=1)
SUMS = {"ASUM": sums_of_absolute, "SUMSQ": sums_of_squares}
EVEN, BY_SIGN, BY_VALUE = 0, 1, 2
WAYS = {"ASUM": BY_SIGN, "SUMSQ": BY_VALUE}


@kernel("x dy dx rows size way", "factor")
def reduction_gradient(record: Any, part: int, parts: int) -> None:
    """Compute dx = factor dy of every row, times the sign of x or times x.

    Shapes: x, dx (rows, size), dy (rows,).
    """
    a = carray(record, 1)[0]
    chunks = (a.size + CHUNK - 1) // CHUNK
    units = a.rows * chunks
    for unit in range(units * part // parts, units * (part + 1) // parts):
        row, first = unit // chunks, unit % chunks * CHUNK
        length = min(CHUNK, a.size - first)
        share = np.float32(f32(a.dy)[row] * a.factor)
        at = 4 * (row * a.size + first)
        if a.way == BY_SIGN:
            signs(a.x + at, a.dx + at, length, np.float64(share))
        elif a.way == BY_VALUE:
            multiples(a.x + at, a.dx + at, length, np.float64(share))
        else:
            dx = f32(a.dx + at)
            for i in range(length):
                dx[i] = share


class Reduction(LayerKernel[ReductionOp]):
    """Reduce the last axes to a number; see the portable kernel."""

    options = ("operation", "axis", "coeff")

    @property
    def _sizes(self) -> dict[str, int]:
        op = self.op
        return {"rows": count(op.tops[0]), "size": count(op.bottoms[0], op.axis)}

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the sums of chunks."""
        rows, size = self._sizes.values()
        return {"totals": ArraySpec((rows, chunks_of(size)), "float64")}

    def forward_calls(self) -> list[Call]:
        """Compute y."""
        rows, size = self._sizes.values()
        totals = self.work["totals"]
        chosen = SUMS.get(self.op.operation, sums)
        joined = join_sums(
            totals=totals,
            counted=0,
            y=self.y,
            inverse=0,
            rows=rows,
            chunks=chunks_of(size),
            factor=self._factor,
            divisor=1,
            serial=few(totals.size),
        )
        serial = few(self.x.size)
        return [
            chosen(x=self.x, totals=totals, rows=rows, size=size, serial=serial),
            joined,
        ]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute dx."""
        if self.dx is None:
            return []
        way = WAYS.get(self.op.operation, EVEN)
        return [
            reduction_gradient(
                x=self.x,
                dy=self.dy,
                dx=self.dx,
                way=way,
                factor=self._factor * (2 if way == BY_VALUE else 1),
                serial=few(self.x.size),
                **self._sizes,
            )
        ]

    @property
    def _factor(self) -> float:
        size = self._sizes["size"]
        mean = self.op.operation == "MEAN" and size > 0
        return self.op.coeff / size if mean else self.op.coeff
