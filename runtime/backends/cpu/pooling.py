"""Pooling on compiled kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import carray

from netspec.graph import Node
from netspec.ops.base import count
from netspec.ops.pooling import Pooling as PoolingOp
from runtime.backends.cpu.compiled import Call, helper, kernel
from runtime.backends.cpu.kernel import CompiledKernel, few
from runtime.backends.cpu.simd import f32, i64, u8
from runtime.layers.base import ArraySpec

ZERO = np.float32(0)
LOWEST = np.float32(-np.inf)
MOST_TAPS = 256  # positions of a window that a byte can tell apart

WINDOWS = (
    "planes height width out_height out_width kernel_height kernel_width "
    "row_stride column_stride row_pad column_pad "
)


@helper
def _first_place(a: Any, column: int) -> int:
    """Return the first place in a row that sees the image with a kernel column."""
    before = a.column_pad - column
    return 0 if before <= 0 else (before + a.column_stride - 1) // a.column_stride


@helper
def _end_place(a: Any, column: int) -> int:
    """Return the place after the last one that sees the image."""
    last = a.width - 1 + a.column_pad - column
    return 0 if last < 0 else min(a.out_width, last // a.column_stride + 1)


@helper
def _better(x: Any, y: Any, won: Any, low: int, high: int, step: int, tap: int) -> None:
    """Take the elements x[0], x[step], ... where they are greater than y, or NaN."""
    for j in range(low, high):
        value = x[(j - low) * step]
        better = value > y[j] or value != value
        y[j] = value if better else y[j]
        won[j] = np.uint8(tap) if better else won[j]


@helper
def _higher(x: Any, y: Any, low: int, high: int, step: int) -> None:
    """Do what `_better` does without saying which element won."""
    for j in range(low, high):
        value = x[(j - low) * step]
        y[j] = value if value > y[j] or value != value else y[j]


@kernel("x y won " + WINDOWS)
def maximum(record: Any, part: int, parts: int) -> None:
    """Compute the maximum of every window; won: which position had it, or 0."""
    a = carray(record, 1)[0]
    plane, out_plane = a.height * a.width, a.out_height * a.out_width
    stride = a.column_stride
    for p in range(a.planes * part // parts, a.planes * (part + 1) // parts):
        for i in range(a.out_height):
            at = p * out_plane + i * a.out_width
            y = f32(a.y + 4 * at)
            won = u8(a.won + at)
            top = i * a.row_stride - a.row_pad
            rows = range(max(0, -top), min(a.kernel_height, a.height - top))
            first = max(0, -top) * a.kernel_width
            for j in range(a.out_width):
                y[j] = LOWEST
            if a.won != 0:
                for j in range(a.out_width):
                    left = j * stride - a.column_pad
                    won[j] = np.uint8(first + max(0, -left))
            for row in rows:
                for column in range(a.kernel_width):
                    low, high = _first_place(a, column), _end_place(a, column)
                    seen = (top + row) * a.width + low * stride
                    x = f32(a.x + 4 * (p * plane + seen + column - a.column_pad))
                    tap = row * a.kernel_width + column
                    if a.won == 0:
                        if stride == 1:
                            _higher(x, y, low, high, 1)
                        elif stride == 2:
                            _higher(x, y, low, high, 2)
                        else:
                            _higher(x, y, low, high, stride)
                    elif stride == 1:
                        _better(x, y, won, low, high, 1, tap)
                    elif stride == 2:
                        _better(x, y, won, low, high, 2, tap)
                    else:
                        _better(x, y, won, low, high, stride, tap)


@kernel("dx dy won offsets " + WINDOWS)
def maximum_gradient(record: Any, part: int, parts: int) -> None:
    """Add every dy to the dx of the element that won.

    offsets: where the positions of a window lie, from its first row and column.
    """
    a = carray(record, 1)[0]
    plane, out_plane = a.height * a.width, a.out_height * a.out_width
    offsets = i64(a.offsets)
    for p in range(a.planes * part // parts, a.planes * (part + 1) // parts):
        dx = f32(a.dx + 4 * p * plane)
        for i in range(plane):
            dx[i] = ZERO
        for i in range(a.out_height):
            at = p * out_plane + i * a.out_width
            dy, won = f32(a.dy + 4 * at), u8(a.won + at)
            place = (i * a.row_stride - a.row_pad) * a.width - a.column_pad
            for j in range(a.out_width):
                dx[place + offsets[won[j]]] += dy[j]
                place += a.column_stride


@helper
def _add_up(x: Any, y: Any, low: int, high: int, step: int) -> None:
    for j in range(low, high):
        y[j] += x[(j - low) * step]


@helper
def _hand_out(y: Any, x: Any, low: int, high: int, step: int) -> None:
    for j in range(low, high):
        x[(j - low) * step] += y[j]


@helper
def _width(a: Any, j: int) -> int:
    """Return how many columns a window counts: with padding, nothing beyond it."""
    left = j * a.column_stride - a.column_pad
    return max(1, min(left + a.kernel_width, a.width + a.column_pad) - left)


@helper
def _height(a: Any, i: int) -> int:
    """Return how many rows a window counts."""
    top = i * a.row_stride - a.row_pad
    return max(1, min(top + a.kernel_height, a.height + a.row_pad) - top)


@kernel("x y " + WINDOWS)
def average(record: Any, part: int, parts: int) -> None:
    """Compute the average of every window."""
    a = carray(record, 1)[0]
    plane, out_plane = a.height * a.width, a.out_height * a.out_width
    stride = a.column_stride
    whole = (
        out_plane == 1
        and a.row_pad == 0
        and a.column_pad == 0
        and a.kernel_height == a.height
        and a.kernel_width == a.width
    )
    for p in range(a.planes * part // parts, a.planes * (part + 1) // parts):
        if whole:
            x, total = f32(a.x + 4 * p * plane), ZERO
            for i in range(plane):
                total += x[i]
            f32(a.y)[p] = total / np.float32(plane)
            continue
        for i in range(a.out_height):
            y = f32(a.y + 4 * (p * out_plane + i * a.out_width))
            top = i * a.row_stride - a.row_pad
            for j in range(a.out_width):
                y[j] = ZERO
            for row in range(max(0, -top), min(a.kernel_height, a.height - top)):
                for column in range(a.kernel_width):
                    low, high = _first_place(a, column), _end_place(a, column)
                    seen = (top + row) * a.width + low * stride
                    x = f32(a.x + 4 * (p * plane + seen + column - a.column_pad))
                    if stride == 1:
                        _add_up(x, y, low, high, 1)
                    elif stride == 2:
                        _add_up(x, y, low, high, 2)
                    else:
                        _add_up(x, y, low, high, stride)
            for j in range(a.out_width):
                y[j] /= np.float32(_height(a, i) * _width(a, j))


@kernel("dx dy spare " + WINDOWS)
def average_gradient(record: Any, part: int, parts: int) -> None:
    """Add every dy, divided by the size of its window, to the window's elements.

    spare: room for a row of dy for every thread.
    """
    a = carray(record, 1)[0]
    plane, out_plane = a.height * a.width, a.out_height * a.out_width
    stride = a.column_stride
    share = f32(a.spare + 4 * part * a.out_width)
    for p in range(a.planes * part // parts, a.planes * (part + 1) // parts):
        cleared = f32(a.dx + 4 * p * plane)
        for i in range(plane):
            cleared[i] = ZERO
        for i in range(a.out_height):
            dy = f32(a.dy + 4 * (p * out_plane + i * a.out_width))
            for j in range(a.out_width):
                share[j] = dy[j] / np.float32(_height(a, i) * _width(a, j))
            top = i * a.row_stride - a.row_pad
            for row in range(max(0, -top), min(a.kernel_height, a.height - top)):
                if a.out_width == 1 and a.column_pad == 0:
                    dx = f32(a.dx + 4 * (p * plane + (top + row) * a.width))
                    for column in range(min(a.kernel_width, a.width)):
                        dx[column] += share[0]
                    continue
                for column in range(a.kernel_width):
                    low, high = _first_place(a, column), _end_place(a, column)
                    seen = (top + row) * a.width + low * stride
                    dx = f32(a.dx + 4 * (p * plane + seen + column - a.column_pad))
                    if stride == 1:
                        _hand_out(share, dx, low, high, 1)
                    else:
                        _hand_out(share, dx, low, high, stride)


class Pooling(CompiledKernel[PoolingOp]):
    """The maximum or the average of every window; see the portable kernel."""

    @classmethod
    def fits(cls, node: Node) -> bool:
        """Whether there is no mask wanted, and a byte can tell the winner."""
        op = node.op
        return (
            isinstance(op, PoolingOp)
            and op.pool in {"MAX", "AVE"}
            and len(op.tops) == 1
            and (op.pool == "AVE" or count(op.kernel) <= MOST_TAPS)
        )

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the winners where a gradient needs them."""
        op = self.op
        if op.pool == "AVE":
            return {"spare": ArraySpec((self.backend.threads, op.tops[0][3]))}
        if any(self.node.propagate):
            return {"won": ArraySpec(op.tops[0], "uint8", life="saved")}
        return {}

    def setup(self) -> None:
        """Write the geometry down."""
        op = self.op
        (n, c, h, w), (_, _, oh, ow) = op.bottoms[0], op.tops[0]
        self._windows = {
            "planes": n * c,
            "height": h,
            "width": w,
            "out_height": oh,
            "out_width": ow,
            "kernel_height": op.kernel[0],
            "kernel_width": op.kernel[1],
            "row_stride": op.stride[0],
            "column_stride": op.stride[1],
            "row_pad": op.pad[0],
            "column_pad": op.pad[1],
            "serial": few(n * c * h * w),
        }

    def forward_calls(self) -> list[Call]:
        """Compute y."""
        if self.op.pool == "AVE":
            return [average(x=self.x, y=self.y, **self._windows)]
        won = self.work.get("won", 0)
        return [maximum(x=self.x, y=self.y, won=won, **self._windows)]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute dx."""
        if self.dx is None:
            return []
        if self.op.pool == "AVE":
            spare = self.work["spare"]
            return [
                average_gradient(dx=self.dx, dy=self.dy, spare=spare, **self._windows)
            ]
        i, j = np.divmod(np.arange(count(self.op.kernel)), self.op.kernel[1])
        return [
            maximum_gradient(
                dx=self.dx,
                dy=self.dy,
                won=self.work["won"],
                offsets=np.ascontiguousarray(i * self.x.shape[3] + j, np.int64),
                **self._windows,
            )
        ]
