"""Maxima and averages of the usual windows, straight from the image."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from netspec.ops.pooling import Pooling as PoolingOp
from runtime.arrays import Array
from runtime.backends.cpu.machine.compiled import Call, carray, helper, kernel
from runtime.backends.cpu.machine.llvm import (
    LANES,
    VECTOR,
    const,
    intrinsic,
    load,
)
from runtime.backends.cpu.machine.parts import types
from runtime.backends.cpu.machine.sliding import NO_WINNER
from runtime.backends.cpu.machine.windows import BYTES, WIDE, Block, Image, Windows, put
from runtime.backends.cpu.machine.within import between, whole

LOWEST = float("-inf")

# The fields of the kernels, in elements.
#
#   x: (planes, height, width)
#   y: (planes, out_height, out_width), with elements between images
#   channels: planes of an image
#   y_between: elements of y from the end of an image to the next one
#   beyond: (width,), a row beyond the image
#   top, left: row and column of x that the first tap of the first window sees
FIELDS = (
    "x y beyond planes height width out_height out_width top left channels y_between "
)
# won: uint8 like y, gets the number of the tap that had the maximum, or NO_WINNER
# start: uint8 like a plane of y, and longer; the first tap that is no padding
WINNER_FIELDS = "won start"
# shares: like a plane of y, and longer; 1 / (elements that a window counts)
SHARE_FIELDS = "shares"


def rows_at_once(step: int) -> int:
    """Return how many rows of windows are treated at once."""
    return 4 if step == 1 else 2


def _greater(builder: Any, high: Any, value: Any) -> Any:
    """Emit the maximum; the first of equal ones, and the last NaN."""
    more = builder.fcmp_ordered(">", value, high)
    odd = builder.fcmp_unordered("uno", value, value)
    return builder.select(odd, value, builder.select(more, value, high))


def _better(builder: Any, best: Any, other: Any) -> Any:
    """Emit the same of pairs of a value and the number of its tap."""
    (high, winner), (value, number) = best, other
    more = builder.fcmp_ordered(">", value, high)
    odd = builder.fcmp_unordered("uno", value, value)
    better = builder.or_(more, odd)
    return (
        builder.select(better, value, high),
        builder.select(better, number, winner),
    )


def _constant(number: int) -> Any:
    return ir.Constant(WIDE, [number] * LANES)


def _over_rows(
    builder: Any, windows: Windows, block: Block, row_of: Any, joined: Any
) -> list[Any]:
    """Return for every row of windows what `joined` makes of the rows that it sees.

    row_of: what a row of the image comes to, of the values of a row of taps.
    joined(u, so_far, row): adds row u of a window; so_far is None at first.
    """
    results: list[Any] = [None] * windows.rows
    for seen in range(windows.seen):
        row = row_of(block.taken(seen))
        for i in range(windows.rows):
            u = seen - windows.step * i
            if 0 <= u < windows.height:
                results[i] = joined(u, results[i], row)
    return results


def _maximum_intrinsic(size: int, step: int) -> Any:
    windows = Windows(size, size, step, rows_at_once(step), LOWEST)

    @intrinsic
    def maxima(
        context: Any,
        x: Any,
        height: Any,
        width: Any,
        top: Any,
        left: Any,
        beyond: Any,
        y: Any,
        out_height: Any,
        out_width: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            y, out_height, out_width = args[6:]

            def row_of(values: list[Any]) -> Any:
                high = values[0]
                for value in values[1:]:
                    high = _greater(builder, high, value)
                return high

            def joined(u: int, so_far: Any, row: Any) -> Any:
                return row if so_far is None else _greater(builder, so_far, row)

            def body(block: Block) -> None:
                found = _over_rows(builder, windows, block, row_of, joined)
                put(builder, block, y, out_width, found)

            windows.each_block(builder, Image(*args[:6]), (out_height, out_width), body)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 9), generate

    return maxima


def _winner_intrinsic(size: int, step: int) -> Any:
    windows = Windows(size, size, step, rows_at_once(step), LOWEST)

    @intrinsic
    def winners(
        context: Any,
        x: Any,
        height: Any,
        width: Any,
        top: Any,
        left: Any,
        beyond: Any,
        y: Any,
        out_height: Any,
        out_width: Any,
        won: Any,
        start: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            y, out_height, out_width, won, start = args[6:]

            def row_of(values: list[Any]) -> Any:
                best = values[0], _constant(0)
                for v, value in enumerate(values[1:], 1):
                    best = _better(builder, best, (value, _constant(v)))
                return best

            def joined(u: int, so_far: Any, row: Any) -> Any:
                if so_far is None:
                    return row
                value, v = row
                number = builder.add(v, _constant(u * size))
                return _better(builder, so_far, (value, number))

            def body(block: Block) -> None:
                found = _over_rows(builder, windows, block, row_of, joined)
                numbers = []
                for i, (value, number) in enumerate(found):
                    row = builder.add(block.row, const(i))
                    at = builder.add(builder.mul(row, out_width), block.column)
                    first = load(builder, builder.add(start, at), BYTES)
                    first.align = 1
                    lowest = ir.Constant(VECTOR, [LOWEST] * LANES)
                    none = builder.fcmp_ordered("==", value, lowest)
                    number = builder.trunc(number, BYTES)
                    number = builder.select(none, first, number)
                    odd = builder.fcmp_unordered("uno", value, value)
                    nobody = ir.Constant(BYTES, [NO_WINNER] * LANES)
                    numbers.append(builder.select(odd, nobody, number))
                put(builder, block, y, out_width, [value for value, _ in found])
                put(builder, block, won, out_width, numbers)

            windows.each_block(builder, Image(*args[:6]), (out_height, out_width), body)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 11), generate

    return winners


def _average_intrinsic(size: int, step: int) -> Any:
    windows = Windows(size, size, step, rows_at_once(step))

    @intrinsic
    def averages(
        context: Any,
        x: Any,
        height: Any,
        width: Any,
        top: Any,
        left: Any,
        beyond: Any,
        y: Any,
        out_height: Any,
        out_width: Any,
        shares: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            y, out_height, out_width, shares = args[6:]

            def row_of(values: list[Any]) -> Any:
                total = values[0]
                for value in values[1:]:
                    total = builder.fadd(total, value)
                return total

            def joined(u: int, so_far: Any, row: Any) -> Any:
                return row if so_far is None else builder.fadd(so_far, row)

            def body(block: Block) -> None:
                found = _over_rows(builder, windows, block, row_of, joined)
                for i, total in enumerate(found):
                    row = builder.add(block.row, const(i))
                    at = builder.add(builder.mul(row, out_width), block.column)
                    address = builder.add(shares, builder.mul(at, const(4)))
                    share = load(builder, address)
                    found[i] = builder.fmul(total, share)
                put(builder, block, y, out_width, found)

            windows.each_block(builder, Image(*args[:6]), (out_height, out_width), body)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 10), generate

    return averages


# maximaK_S(x, height, width, top, left, beyond, y, out_height, out_width): the maxima
# of windows of K x K taps, S apart, for a plane. winnersK_S(..., won, start) also finds
# which tap it was, averagesK_S(..., shares) multiplies the sums with `shares`.
maxima2_2 = _maximum_intrinsic(2, 2)
maxima3_1 = _maximum_intrinsic(3, 1)
maxima3_2 = _maximum_intrinsic(3, 2)
winners2_2 = _winner_intrinsic(2, 2)
winners3_1 = _winner_intrinsic(3, 1)
winners3_2 = _winner_intrinsic(3, 2)
averages3_1 = _average_intrinsic(3, 1)
averages3_2 = _average_intrinsic(3, 2)


@helper
def _result(a: Any, p: int) -> int:
    """Return the address of a plane of y."""
    at = p * a.out_height * a.out_width + p // a.channels * a.y_between
    return int(a.y + 4 * at)


@helper
def _maxima(plane_maxima: Any, a: Any, part: int, parts: int) -> None:
    """Compute the maximum of every window."""
    plane = a.height * a.width
    for p in range(a.planes * part // parts, a.planes * (part + 1) // parts):
        image = (a.x + 4 * p * plane, a.height, a.width, a.top, a.left, a.beyond)
        plane_maxima(*image, _result(a, p), a.out_height, a.out_width)


@helper
def _winners(plane_winners: Any, a: Any, part: int, parts: int) -> None:
    """Compute the maximum of every window, and which tap it was."""
    plane, out_plane = a.height * a.width, a.out_height * a.out_width
    for p in range(a.planes * part // parts, a.planes * (part + 1) // parts):
        image = (a.x + 4 * p * plane, a.height, a.width, a.top, a.left, a.beyond)
        y = (_result(a, p), a.out_height, a.out_width)
        plane_winners(*image, *y, a.won + p * out_plane, a.start)


@helper
def _averages(plane_averages: Any, a: Any, part: int, parts: int) -> None:
    """Compute the average of every window."""
    plane = a.height * a.width
    for p in range(a.planes * part // parts, a.planes * (part + 1) // parts):
        image = (a.x + 4 * p * plane, a.height, a.width, a.top, a.left, a.beyond)
        y = (_result(a, p), a.out_height, a.out_width)
        plane_averages(*image, *y, a.shares)


# A kernel for each, so that only those that a net needs are compiled.


@kernel(FIELDS)
def maximum_2_2(record: Any, part: int, parts: int) -> None:
    """Compute the maximum of every window of 2 x 2, 2 apart."""
    _maxima(maxima2_2, carray(record, 1)[0], part, parts)


@kernel(FIELDS + WINNER_FIELDS)
def winner_2_2(record: Any, part: int, parts: int) -> None:
    """Find the winner of every window of 2 x 2, 2 apart."""
    _winners(winners2_2, carray(record, 1)[0], part, parts)


@kernel(FIELDS)
def maximum_3_1(record: Any, part: int, parts: int) -> None:
    """Compute the maximum of every window of 3 x 3, 1 apart."""
    _maxima(maxima3_1, carray(record, 1)[0], part, parts)


@kernel(FIELDS + WINNER_FIELDS)
def winner_3_1(record: Any, part: int, parts: int) -> None:
    """Find the winner of every window of 3 x 3, 1 apart."""
    _winners(winners3_1, carray(record, 1)[0], part, parts)


@kernel(FIELDS)
def maximum_3_2(record: Any, part: int, parts: int) -> None:
    """Compute the maximum of every window of 3 x 3, 2 apart."""
    _maxima(maxima3_2, carray(record, 1)[0], part, parts)


@kernel(FIELDS + WINNER_FIELDS)
def winner_3_2(record: Any, part: int, parts: int) -> None:
    """Find the winner of every window of 3 x 3, 2 apart."""
    _winners(winners3_2, carray(record, 1)[0], part, parts)


@kernel(FIELDS + SHARE_FIELDS)
def average_3_1(record: Any, part: int, parts: int) -> None:
    """Compute the average of every window of 3 x 3, 1 apart."""
    _averages(averages3_1, carray(record, 1)[0], part, parts)


@kernel(FIELDS + SHARE_FIELDS)
def average_3_2(record: Any, part: int, parts: int) -> None:
    """Compute the average of every window of 3 x 3, 2 apart."""
    _averages(averages3_2, carray(record, 1)[0], part, parts)


# By the size and the step of windows.
MAXIMA = {(2, 2): maximum_2_2, (3, 1): maximum_3_1, (3, 2): maximum_3_2}
WINNERS = {(2, 2): winner_2_2, (3, 1): winner_3_1, (3, 2): winner_3_2}
AVERAGES = {(3, 1): average_3_1, (3, 2): average_3_2}


def has_kernel(op: PoolingOp) -> bool:
    """Whether there are kernels for the windows of a layer.

    Vectors of 4 have no loads by masks that are worth it.
    """
    found = MAXIMA if op.pool == "MAX" else AVERAGES
    square = op.kernel[0] == op.kernel[1] and op.stride[0] == op.stride[1]
    return square and LANES >= 8 and (op.kernel[0], op.stride[0]) in found


def pool(
    op: PoolingOp, kept: np.ndarray, won: Array | None, y: Array, **fields: Any
) -> Call:
    """Return the call of the kernel for the windows of a layer.

    Args:
        op: the layer.
        kept: (out_height, out_width), the first tap of every window that is no padding,
            or the share of every window that an average counts.
        won: as in `WINNER_FIELDS`, or None where nobody asks.
        y: gets the results.
        fields: what else `FIELDS` has.
    """
    height, width = kept.shape
    longer = np.zeros(height * width + rows_at_once(1) * width + LANES, kept.dtype)
    longer[: kept.size] = kept.ravel()
    windows = op.kernel[0], op.stride[0]
    highest = op.pool == "MAX"
    fields |= {
        "beyond": np.full(op.bottoms[0][3], LOWEST if highest else 0, np.float32),
        "top": -op.pad[0],
        "left": -op.pad[1],
        "channels": op.tops[0][1],
        "y": whole(y),
        "y_between": between(y),
    }
    call: Call
    if not highest:
        call = AVERAGES[windows](shares=longer, **fields)
    elif won is None:
        call = MAXIMA[windows](**fields)
    else:
        call = WINNERS[windows](won=won, start=longer, **fields)
    return call
