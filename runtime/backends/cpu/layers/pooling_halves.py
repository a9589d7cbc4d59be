"""The gradient of maxima of 2 x 2 windows that do not overlap, in vectors."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from runtime.backends.cpu.machine.compiled import carray, kernel
from runtime.backends.cpu.machine.llvm import (
    I32,
    LANES,
    VECTOR,
    VECTOR_BYTES,
    const,
    first_lanes,
    intrinsic,
    load,
    masked_load,
    masked_store,
)
from runtime.backends.cpu.machine.matrix import ZERO
from runtime.backends.cpu.machine.parts import types
from runtime.backends.cpu.machine.simd import f32


@intrinsic
def _spread_row(
    context: Any, dx: Any, dx_row: Any, dy: Any, won: Any, count: Any, columns: Any
) -> Any:
    """Write the elements of some neighbouring windows: dy where they won, else 0.

    Args:
        dx: address of the first element of the upper row.
        dx_row: bytes to the lower row, 0 to write none.
        dy: address of `count` floats, at most LANES.
        won: address of the numbers of their winners; LANES bytes are read.
        columns: how many elements of a row are written.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        dx, dx_row, dy, won, count, columns = args
        values = masked_load(builder, dy, first_lanes(builder, count))
        winners = load(builder, won, ir.VectorType(ir.IntType(8), LANES))
        kind = ir.VectorType(I32, LANES)
        winners = builder.zext(winners, kind)
        zeros = ir.Constant(VECTOR, [0.0] * LANES)
        beyond = builder.sub(columns, const(LANES))
        masks = first_lanes(builder, columns), first_lanes(builder, beyond)
        below = builder.icmp_signed("!=", dx_row, const(0))
        for row in range(2):
            left, right = (
                builder.select(
                    builder.icmp_signed(
                        "==", winners, ir.Constant(kind, [tap] * LANES)
                    ),
                    values,
                    zeros,
                )
                for tap in (2 * row, 2 * row + 1)
            )
            for part, mask in enumerate(masks):
                half = range(part * LANES // 2, (part + 1) * LANES // 2)
                lanes = [x for i in half for x in (i, i + LANES)]
                both = builder.shuffle_vector(left, right, ir.Constant(kind, lanes))
                address = builder.add(dx, const(part * VECTOR_BYTES))
                if row == 1:
                    address = builder.add(address, dx_row)
                    none = ir.Constant(mask.type, [0] * LANES)
                    mask = builder.select(below, mask, none)
                masked_store(builder, both, address, mask)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), generate


@kernel("dx dy won planes height width out_height out_width")
def spread_maxima(record: Any, part: int, parts: int) -> None:
    """Write dx: every dy where its window had the maximum, and 0 elsewhere.

    Windows are 2 x 2 elements, neighbours of each other; the last may lie outside in
    part, and what lies behind them gets 0.

    Fields:
        dx: (planes, height, width).
        dy: (planes, out_height, out_width).
        won: uint8 like dy, the number of the element that won, row by row, and LANES
            bytes more.
    """
    a = carray(record, 1)[0]
    plane, out_plane = a.height * a.width, a.out_height * a.out_width
    covered = min(2 * a.out_width, a.width)
    for p in range(a.planes * part // parts, a.planes * (part + 1) // parts):
        for i in range(a.out_height):
            at = p * out_plane + i * a.out_width
            row = a.dx + 4 * (p * plane + 2 * i * a.width)
            below = 4 * a.width if 2 * i + 1 < a.height else 0
            for j in range(0, a.out_width, LANES):
                count = min(LANES, a.out_width - j)
                _spread_row(
                    row + 8 * j,
                    below,
                    a.dy + 4 * (at + j),
                    a.won + at + j,
                    count,
                    min(2 * count, covered - 2 * j),
                )
            for column in range(covered, a.width):
                f32(row)[column] = ZERO
                f32(row + below)[column] = ZERO
        dx = f32(a.dx + 4 * p * plane)
        for q in range(2 * a.out_height * a.width, plane):
            dx[q] = ZERO
