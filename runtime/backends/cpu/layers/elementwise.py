"""ReLU, Eltwise, Split, Concat, Slice on compiled kernels; filling, adding, copying."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec.ops import Shape
from netspec.ops import concat as concat_ops
from netspec.ops.base import count
from netspec.ops.eltwise import Eltwise as EltwiseOp
from netspec.ops.relu import ReLU as ReLUOp
from netspec.ops.reshape import Split as SplitOp
from runtime.arrays import Array
from runtime.backends.cpu.machine.compiled import Call, carray, helper, kernel
from runtime.backends.cpu.machine.llvm import LANES
from runtime.backends.cpu.machine.mapping import map_kernel
from runtime.backends.cpu.machine.simd import copy, f32, i64
from runtime.backends.cpu.machine.sizes import few
from runtime.backends.cpu.machine.vector_math import Value, where
from runtime.backends.cpu.machine.within import between
from runtime.backends.cpu.machine.within import whole as memory_of
from runtime.backends.layer_kernel import LayerKernel

ZERO: Any = np.float32(0)
LOWEST = float("-inf")
BLOCK_FLOATS = 1 << 13  # of rows that are copied together: half a first-level cache


@helper
def start_of(part: int, parts: int, count: int) -> int:
    """Return where a thread's share of `count` elements starts, a vector's edge."""
    return min(count, (count * part // parts + LANES - 1) // LANES * LANES)


@kernel("y count", "value")
def fill(record: Any, part: int, parts: int) -> None:
    """Set every element to one value."""
    a = carray(record, 1)[0]
    y, value = f32(a.y), np.float32(a.value)
    for i in range(start_of(part, parts, a.count), start_of(part + 1, parts, a.count)):
        y[i] = value


def _relu(x: Value, slope: Value) -> Value:
    return where(x < 0.0, where(slope == 0.0, 0.0, x * slope), x)


def _relu_gradient(y: Value, dy: Value, slope: Value) -> Value:
    return where(y > 0.0, dy, dy * slope)


relu = map_kernel("relu", _relu, module=__name__)
relu_gradient = map_kernel(
    "relu_gradient", _relu_gradient, inputs=2, output="dx", module=__name__
)


@kernel("a b c d y count", "ca cb floor")
def add(record: Any, part: int, parts: int) -> None:
    """Compute y = max(floor, ca a + cb b (+ c (+ d))); c and d may be missing, 0.

    y may be any of the others.
    """
    r = carray(record, 1)[0]
    a, b, c, d, y = f32(r.a), f32(r.b), f32(r.c), f32(r.d), f32(r.y)
    ca, cb, floor = np.float32(r.ca), np.float32(r.cb), np.float32(r.floor)
    low, high = start_of(part, parts, r.count), start_of(part + 1, parts, r.count)
    if r.d != 0:
        for i in range(low, high):
            value = ca * a[i] + cb * b[i] + c[i] + d[i]
            y[i] = floor if value < floor else value
    elif r.c != 0:
        for i in range(low, high):
            value = ca * a[i] + cb * b[i] + c[i]
            y[i] = floor if value < floor else value
    else:
        for i in range(low, high):
            value = ca * a[i] + cb * b[i]
            y[i] = floor if value < floor else value


@kernel("x y count", "factor")
def multiply(record: Any, part: int, parts: int) -> None:
    """Compute y = factor x; x and y may be the same."""
    a = carray(record, 1)[0]
    x, y, factor = f32(a.x), f32(a.y), np.float32(a.factor)
    for i in range(start_of(part, parts, a.count), start_of(part + 1, parts, a.count)):
        y[i] = x[i] * factor


@kernel("whole step rows pieces count join")
def copy_pieces(record: Any, part: int, parts: int) -> None:
    """Copy pieces to their places in the rows of `whole`, or from there.

    The rows are taken in blocks that stay in the cache, so that narrow pieces do not
    read the whole once for each. With fewer rows than threads, every row is divided.

    Fields:
        whole: (rows, step).
        pieces: int64 (count, 3), of each the address, the offset in a row of `whole`,
            and the length; a piece is (rows, length).
        join: 1 to copy pieces to `whole`, 0 to copy them from there.
    """
    a = carray(record, 1)[0]
    pieces = i64(a.pieces)
    divided = a.rows < parts
    first = 0 if divided else a.rows * part // parts
    until = a.rows if divided else a.rows * (part + 1) // parts
    block = max(1, BLOCK_FLOATS // a.step)
    for start in range(first, until, block):
        for piece in range(a.count):
            address, offset = pieces[3 * piece], pieces[3 * piece + 1]
            length = pieces[3 * piece + 2]
            low = start_of(part, parts, length) if divided else 0
            high = start_of(part + 1, parts, length) if divided else length
            for row in range(start, min(start + block, until)):
                mine = address + 4 * (row * length + low)
                there = a.whole + 4 * (row * a.step + offset + low)
                if a.join != 0:
                    copy(there, mine, high - low)
                else:
                    copy(mine, there, high - low)


def copied(x: Array, y: Array) -> list[Call]:
    """Return the calls that copy x to y."""
    if x is y:
        return []
    return [multiply(x=x, y=y, count=x.size, factor=1, serial=few(x.size))]


def added(parts: Sequence[Array], y: Array, floor: float = LOWEST) -> list[Call]:
    """Return the calls that store the sum of arrays of one shape, or the floor."""
    serial = few(y.size)
    if not parts:
        return [fill(y=y, count=y.size, value=0, serial=serial)]
    if len(parts) == 1:
        return copied(parts[0], y)
    calls, (a, *rest) = [], parts
    while rest:
        b, c, d, *rest = (*rest, 0, 0, 0)[: max(3, len(rest))]
        one = add(
            a=a,
            b=b,
            c=c,
            d=d,
            y=y,
            count=y.size,
            ca=1,
            cb=1,
            floor=floor if not rest else LOWEST,
            serial=serial,
        )
        calls.append(one)
        a = y
    return calls


class ReLU(LayerKernel[ReLUOp]):
    """Keep what is positive, scale the rest; see the portable kernel."""

    options = ("negative_slope",)

    @classmethod
    def suits(cls, op: ReLUOp) -> bool:
        """Whether the output tells the sign of the input."""
        return op.keeps_sign

    def forward_calls(self) -> list[Call]:
        """Compute y."""
        return [
            relu(
                x=self.x,
                y=self.y,
                count=self.x.size,
                slope=self.op.negative_slope,
                serial=few(self.x.size),
            )
        ]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute dx."""
        if self.dx is None:
            return []
        return [
            relu_gradient(
                y=self.y,
                dy=self.dy,
                dx=self.dx,
                count=self.dx.size,
                slope=self.op.negative_slope,
                serial=few(self.dx.size),
            )
        ]


class Split(LayerKernel[SplitOp]):
    """One blob for several readers: their gradients add up."""

    def forward_calls(self) -> list[Call]:
        """Do nothing: every y is x."""
        return []

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Add the gradients up."""
        if self.dx is None:
            return []
        return added([dy for dy in self.dtops if dy is not None], self.dx)


class EltwiseSum(LayerKernel[EltwiseOp]):
    """The weighted sum of blobs."""

    options = ("operation", "coeff", "stable_prod_grad")  # the last is of products

    @classmethod
    def suits(cls, op: EltwiseOp) -> bool:
        """Whether the operation is SUM."""
        return op.operation == "SUM"

    def forward_calls(self) -> list[Call]:
        """Compute y."""
        return self.calls_above(LOWEST)

    def calls_above(self, floor: float) -> list[Call]:
        """Compute y = max(floor, the sum)."""
        if all(c == 1 for c in self.op.coeff):
            return added(self.bottoms, self.y, floor)
        calls, y = [], self.y
        a, ca = self.x, self.op.coeff[0]
        for b, cb in zip(self.bottoms[1:], self.op.coeff[1:], strict=True):
            one = add(
                a=a,
                b=b,
                c=0,
                d=0,
                y=y,
                count=y.size,
                ca=ca,
                cb=cb,
                floor=LOWEST,
                serial=few(y.size),
            )
            calls.append(one)
            a, ca = y, 1
        calls[-1].record["floor"] = floor
        return calls

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute every dx_i."""
        dy = self.dy
        return [
            multiply(x=dy, y=dx, count=dy.size, factor=c, serial=few(dy.size))
            for dx, c in zip(self.dbottoms, self.op.coeff, strict=True)
            if dx is not None and (c != 1 or dx is not dy)
        ]


def _pieces(
    whole: Array,
    parts: Sequence[Array | None],
    shapes: Sequence[Shape],
    axis: int,
    *,
    join: bool,
) -> list[Call]:
    """Return the calls that copy parts to (or from) their places along an axis."""
    table, offset = [], 0
    for part, shape in zip(parts, shapes, strict=True):
        length = count(shape, axis)
        if part is not None and part.size:
            table.append((part.ctypes.data, offset, length))
        offset += length
    if not table:
        return []
    return [
        copy_pieces(
            whole=memory_of(whole),
            step=count(whole.shape, axis) + between(whole),
            rows=count(whole.shape, 0, axis),
            pieces=np.array(table, np.int64),
            count=len(table),
            join=join,
            serial=few(whole.size),
        )
    ]


class Concat(LayerKernel[concat_ops.Concat]):
    """Join blobs along one axis."""

    options = ("axis",)

    def forward_calls(self) -> list[Call]:
        """Copy every bottom to its place."""
        return self.calls_beside(self.y, [False] * len(self.bottoms))

    def calls_beside(self, y: Array, there: Sequence[bool]) -> list[Call]:
        """Copy to y those bottoms that are not there already.

        y: like the top; with the axis 1, there may be other memory between images.
        """
        bottoms = [
            None if known else x for x, known in zip(self.bottoms, there, strict=True)
        ]
        return _pieces(y, bottoms, self.op.bottoms, self.op.axis, join=True)

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Copy every place to the gradient of its bottom."""
        return _pieces(
            self.dy, self.dbottoms, self.op.bottoms, self.op.axis, join=False
        )


class Slice(LayerKernel[concat_ops.Slice]):
    """Cut a blob along one axis."""

    options = ("axis", "slice_point")  # the shapes of the tops say where

    def forward_calls(self) -> list[Call]:
        """Copy every piece to its top."""
        return _pieces(self.x, self.tops, self.op.tops, self.op.axis, join=False)

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Copy the gradient of every top to its place; without one it is 0."""
        if self.dx is None:
            return []
        cleared = []
        if any(dy is None for dy in self.dtops):
            cleared.append(fill(y=self.dx, count=self.dx.size, value=0))
        return cleared + _pieces(
            self.dx, self.dtops, self.op.tops, self.op.axis, join=True
        )
