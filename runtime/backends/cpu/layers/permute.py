"""Permute on compiled kernels: as far as two neighbouring groups of axes change places.

That is what heads of detectors ask for, (N, C, H, W) to (N, H, W, C), and back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from netspec.ops.base import Shape, count
from netspec.ops.detection import Permute as PermuteOp
from runtime.arrays import Array
from runtime.backends.cpu.machine.compiled import Call, carray, kernel
from runtime.backends.cpu.machine.llvm import (
    LANES,
    MASK,
    const,
    first_lanes,
    load,
    masked_load,
    masked_store,
    store,
    transposed,
)
from runtime.backends.cpu.machine.simd import copy
from runtime.backends.cpu.machine.sizes import SERIAL_ELEMENTS, few
from runtime.backends.cpu.machine.vector_math import instruction
from runtime.backends.layer_kernel import LayerKernel

LINE = 16  # floats of a line of the cache, which are read together


def _block(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Emit the transpose of a block of at most LANES x LANES floats."""
    target, target_row, source, source_row, rows, columns = args

    def at(address: Any, row: Any, step: Any) -> Any:
        return builder.add(address, builder.mul(row, step))

    whole = builder.and_(
        builder.icmp_signed(">=", rows, const(LANES)),
        builder.icmp_signed(">=", columns, const(LANES)),
    )
    with builder.if_else(whole) as (then, otherwise):
        with then:
            block = [
                load(builder, at(source, const(i), source_row)) for i in range(LANES)
            ]
            for i, value in enumerate(transposed(builder, block)):
                store(builder, value, at(target, const(i), target_row))
        with otherwise:
            none = ir.Constant(MASK, [0] * LANES)
            lanes = {
                "read": first_lanes(builder, columns),
                "written": first_lanes(builder, rows),
            }

            def mask(kind: str, number: int, limit: Any) -> Any:
                inside = builder.icmp_signed("<", const(number), limit)
                return builder.select(inside, lanes[kind], none)

            block = [
                masked_load(
                    builder, at(source, const(i), source_row), mask("read", i, rows)
                )
                for i in range(LANES)
            ]
            for i, value in enumerate(transposed(builder, block)):
                there = at(target, const(i), target_row)
                masked_store(builder, value, there, mask("written", i, columns))
    return context.get_dummy_value()


# block(target, target_row, source, source_row, rows, columns): target[j][i] =
# source[i][j] for the first LANES of i < rows and j < columns; steps of rows in bytes.
block = instruction("void", ["int64"] * 6, _block)


@kernel("x y outer rows columns")
def swap_axes(record: Any, part: int, parts: int) -> None:
    """Compute y[o, j, i] = x[o, i, j].

    Shapes: x (outer, rows, columns), y (outer, columns, rows).
    """
    a = carray(record, 1)[0]
    lines = (a.columns + LINE - 1) // LINE
    units = a.outer * lines
    for unit in range(units * part // parts, units * (part + 1) // parts):
        start = 4 * (unit // lines) * a.rows * a.columns
        first = unit % lines * LINE
        until = min(a.columns, first + LINE)
        for i in range(0, a.rows, LANES):
            for j in range(first, until, LANES):
                block(
                    a.y + start + 4 * (j * a.rows + i),
                    4 * a.rows,
                    a.x + start + 4 * (i * a.columns + j),
                    4 * a.columns,
                    a.rows - i,
                    until - j,
                )


@kernel("x y outer rows columns inner")
def swap_runs(record: Any, part: int, parts: int) -> None:
    """Compute y[o, j, i, :] = x[o, i, j, :].

    Shapes: x (outer, rows, columns, inner), y (outer, columns, rows, inner).
    """
    a = carray(record, 1)[0]
    units = a.outer * a.columns
    for unit in range(units * part // parts, units * (part + 1) // parts):
        item, column = unit // a.columns, unit % a.columns
        x = a.x + 4 * (item * a.rows * a.columns + column) * a.inner
        y = a.y + 4 * unit * a.rows * a.inner
        for i in range(a.rows):
            copy(y + 4 * i * a.inner, x + 4 * i * a.columns * a.inner, a.inner)


def swapped(shape: Shape, order: Sequence[int]) -> Shape | None:
    """Return (outer, rows, columns, inner) if an order has rows and columns swapped.

    None for another order. Axes of one element do not count, and those that stay
    neighbours are one.
    """
    axes = [axis for axis in order if shape[axis] != 1]
    groups: list[list[int]] = []
    numbers = {axis: place for place, axis in enumerate(sorted(axes))}
    for axis in axes:
        if groups and numbers[axis] == numbers[groups[-1][-1]] + 1:
            groups[-1].append(axis)
        else:
            groups.append([axis])
    sizes = [count([shape[axis] for axis in group]) for group in groups]
    places = sorted(range(len(groups)), key=lambda place: groups[place][0])
    if places == list(range(len(groups))):
        return (1, 1, count(shape), 1)
    outer = inner = 1
    if places[0] == 0:
        outer, places, sizes = sizes[0], places[1:], sizes[1:]
        places = [place - 1 for place in places]
    if places[-1] == len(places) - 1:
        inner, places, sizes = sizes[-1], places[:-1], sizes[:-1]
    if places != [1, 0]:
        return None
    columns, rows = sizes
    return (outer, rows, columns, inner)


def swap_call(x: Array, y: Array, sizes: Shape) -> Call:
    """Return the call that writes x (outer, rows, columns, inner) to y."""
    outer, rows, columns, inner = sizes
    how = {"serial": few(x.size), "units": x.size // SERIAL_ELEMENTS}
    given = {"x": x, "y": y, "outer": outer, "rows": rows, "columns": columns, **how}
    if inner == 1 and rows > 1:
        return swap_axes(**given)
    return swap_runs(inner=inner, **given)


class Permute(LayerKernel[PermuteOp]):
    """The axes in another order; see the portable kernel."""

    options = ("order",)

    @classmethod
    def suits(cls, op: PermuteOp) -> bool:
        """Whether two groups of axes change places, and there is anything."""
        shape = op.bottoms[0]
        return count(shape) > 0 and swapped(shape, op.order) is not None

    @property
    def _sizes(self) -> Shape:
        return swapped(self.op.bottoms[0], self.op.order) or ()

    def forward_calls(self) -> list[Call]:
        """Compute y."""
        return [swap_call(self.x, self.y, self._sizes)]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute dx: the axes go back."""
        if self.dx is None:
            return []
        outer, rows, columns, inner = self._sizes
        return [swap_call(self.dy, self.dx, (outer, columns, rows, inner))]
