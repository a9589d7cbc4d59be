"""Embed on compiled kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from netspec.ops.base import count
from netspec.ops.inner_product import Embed as EmbedOp
from runtime.arrays import ArraySpec
from runtime.backends.cpu.layers.broadcast import summed
from runtime.backends.cpu.machine.compiled import Call, carray, kernel
from runtime.backends.cpu.machine.simd import copy, f32, i64
from runtime.backends.cpu.machine.sizes import few
from runtime.backends.layer_kernel import LayerKernel
from runtime.layers.inner_product import no_index

ZERO: Any = np.float32(0)


@kernel("x index strange rows limit")
def read_indices(record: Any, part: int, parts: int) -> None:
    """Cut indices to integers from 0 to limit - 1.

    Fields: x float32 (rows,), index int64 (rows,), strange int64 (1,), gets the place
    of the first NaN or -1.
    """
    a = carray(record, 1)[0]
    x, index, strange = f32(a.x), i64(a.index), i64(a.strange)
    strange[0] = -1
    highest = np.float32(a.limit)
    for row in range(a.rows):
        value = x[row]
        if value != value:
            strange[0] = row if strange[0] < 0 else strange[0]
            value = ZERO
        # Bounds ahead of the cast, as infinity is no integer.
        value = ZERO if value < 0 else value
        index[row] = a.limit - 1 if value >= highest else np.int64(value)


@kernel("w bias index y rows width")
def pick_rows(record: Any, part: int, parts: int) -> None:
    """Compute y[r] = w[index[r]] + bias.

    Shapes: w (..., width), bias (width,) or 0, index int64 (rows,), y (rows, width).
    """
    a = carray(record, 1)[0]
    index = i64(a.index)
    for row in range(a.rows * part // parts, a.rows * (part + 1) // parts):
        y, w = a.y + 4 * row * a.width, a.w + 4 * index[row] * a.width
        if a.bias == 0:
            copy(y, w, a.width)
        else:
            to, source, bias = f32(y), f32(w), f32(a.bias)
            for i in range(a.width):
                to[i] = source[i] + bias[i]


@kernel("dy index dw rows width all_rows accumulate")
def add_rows(record: Any, part: int, parts: int) -> None:
    """Add dy[r] to dw[index[r]], in the order of the rows; a share has some columns.

    Shapes: dy (rows, width), index int64 (rows,), dw (all_rows, width).
    """
    a = carray(record, 1)[0]
    index = i64(a.index)
    low, high = a.width * part // parts, a.width * (part + 1) // parts
    for row in range(a.all_rows if a.accumulate == 0 else 0):
        dw = f32(a.dw + 4 * row * a.width)
        for i in range(low, high):
            dw[i] = ZERO
    for row in range(a.rows):
        dw, dy = f32(a.dw + 4 * index[row] * a.width), f32(a.dy + 4 * row * a.width)
        for i in range(low, high):
            dw[i] += dy[i]


class Embed(LayerKernel[EmbedOp]):
    """Look up a learned row for every index; see the portable kernel."""

    options = ("num_output", "input_dim", "bias_term")

    @property
    def _rows(self) -> int:
        return count(self.op.bottoms[0])

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the indices as integers."""
        return {
            "index": ArraySpec((self._rows,), "int64", life="saved"),
            "strange": ArraySpec((1,), "int64", life="state"),  # looked at later
        }

    def forward_calls(self) -> list[Call]:
        """Compute y."""
        op, index, rows = self.op, self.work["index"], self._rows
        read = read_indices(
            x=self.x,
            index=index,
            strange=self.work["strange"],
            rows=rows,
            limit=op.input_dim,
            serial=True,
        )
        pick = pick_rows(
            w=self.params[0],
            bias=self.params[1] if op.bias_term else 0,
            index=index,
            y=self.y,
            rows=rows,
            width=op.num_output,
            serial=few(self.y.size),
        )
        return [read, replace(pick, check=self._check)]

    def _check(self) -> None:
        place = int(self.work["strange"][0])
        if place >= 0:
            raise no_index(self.op, place)

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute the wanted parameter gradients."""
        op, dw = self.op, self.dparams[0]
        calls = []
        if dw is not None:
            one = add_rows(
                dy=self.dy,
                index=self.work["index"],
                dw=dw,
                rows=self._rows,
                width=op.num_output,
                all_rows=op.input_dim,
                accumulate=accumulate[0],
                serial=few(dw.size),
            )
            calls.append(one)
        if op.bias_term and self.dparams[1] is not None:
            axis = len(op.bottoms[0])
            calls.append(summed(self.dy, self.dparams[1], axis, accumulate[1]))
        return calls
