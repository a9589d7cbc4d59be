"""Rows times a packed panel of columns, in tiles whose sums stay in registers.

A *panel* is PANEL columns of the right factor, one row of them after the other. Every
sum runs over the terms in their order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from runtime.backends.cpu.machine.compiled import outlined
from runtime.backends.cpu.machine.llvm import (
    F32,
    I32,
    LANES,
    VECTOR_BYTES,
    const,
    declared,
    first_lanes,
    fma,
    intrinsic,
    load,
    loop,
    masked_load,
    masked_store,
    splat,
    store,
)
from runtime.backends.cpu.machine.parts import types

LOWEST: Any = np.float32(-np.inf)
ZERO: Any = np.float32(0)
WIDTH = 2  # vectors of a panel
PANEL = WIDTH * LANES  # columns
PANEL_ROW = 4 * PANEL  # bytes of a row of a panel
# Rows of the tile that fills the registers, and of the one for a few that are left,
# which pays up to so many: reading the panel takes as long as 2 rows of sums.
TILE_ROWS = 8 if LANES == 16 else 6
FEW_ROWS = 2
FEW_PAY = 6 if LANES == 16 else 2


def prefetch(builder: Any, address: Any) -> None:
    """Emit a hint that the line at an address will be read; it may be any address."""
    pointer = builder.inttoptr(address, ir.IntType(8).as_pointer())
    kinds = [pointer.type, I32, I32, I32]
    function = declared(builder, "llvm.prefetch.p0", ir.VoidType(), kinds)
    builder.call(function, [pointer, *(ir.Constant(I32, n) for n in (0, 3, 1))])


def _tile_intrinsic(tile_rows: int) -> Any:
    @intrinsic
    def tile(
        context: Any,
        a: Any,
        a_row: Any,
        a_step: Any,
        b: Any,
        depth: Any,
        c: Any,
        c_row: Any,
        rows: Any,
        columns: Any,
        start: Any,
        start_row: Any,
        ahead: Any,
        floor: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            a, a_row, a_step, b, depth, c, c_row, rows, columns, *rest = args
            start, start_row, ahead, floor = rest
            grid = [(i, j) for i in range(tile_rows) for j in range(WIDTH)]
            # Rows that are not there are the last one once more.
            last = builder.sub(rows, const(1))
            index = [
                builder.select(builder.icmp_signed("<", const(i), last), const(i), last)
                for i in range(tile_rows)
            ]
            steps = [builder.mul(a_row, i) for i in index]
            masks = [
                first_lanes(builder, builder.sub(columns, const(j * LANES)))
                for j in range(WIDTH)
            ]

            def places(base: Any, row: Any) -> list[Any]:
                firsts = [builder.add(base, builder.mul(row, i)) for i in index]
                return [
                    builder.add(firsts[i], const(j * VECTOR_BYTES)) for i, j in grid
                ]

            sums = [
                masked_load(builder, at, masks[j])
                for at, (_, j) in zip(places(start, start_row), grid, strict=True)
            ]

            # What the next tile starts with comes from afar meanwhile.
            for at in places(builder.add(start, ahead), start_row):
                prefetch(builder, at)

            def body(values: list[Any]) -> list[Any]:
                at_a, at_b, *sums = values
                row = [
                    load(builder, builder.add(at_b, const(j * VECTOR_BYTES)))
                    for j in range(WIDTH)
                ]
                for i in range(tile_rows):
                    value = load(builder, builder.add(at_a, steps[i]), F32)
                    factor = splat(builder, value)
                    for j in range(WIDTH):
                        at = i * WIDTH + j
                        sums[at] = fma(builder, factor, row[j], sums[at])
                following = builder.add(at_a, a_step)
                return [following, builder.add(at_b, const(PANEL_ROW)), *sums]

            _, _, *sums = loop(builder, depth, [a, b, *sums], body)
            low = splat(builder, floor)
            # Not a maximum: a NaN must stay.
            kept = [
                builder.select(builder.fcmp_ordered("<", one, low), low, one)
                for one in sums
            ]
            targets = places(c, c_row)
            full = builder.icmp_signed(">=", columns, const(PANEL))
            with builder.if_else(full) as (whole, part):
                with whole:
                    for value, at in zip(kept, targets, strict=True):
                        store(builder, value, at)
                with part:
                    for value, at, (_, j) in zip(kept, targets, grid, strict=True):
                        masked_store(builder, value, at, masks[j])
            return context.get_dummy_value()

        return types.void(*[types.int64] * 12, types.float32), generate

    return tile


_tile = _tile_intrinsic(TILE_ROWS)
_few = _tile_intrinsic(FEW_ROWS)


@outlined
def multiply_panel(
    a: int,
    a_row: int,
    a_step: int,
    b: int,
    depth: int,
    c: int,
    c_row: int,
    rows: int,
    columns: int,
    start: int,
    start_row: int,
    ahead: int,
    floor: np.float32,
) -> None:
    """Compute c = max(floor, start + a b) for some rows and the columns of a panel.

    Args:
        a: address of the left factor.
        a_row: bytes from one row of a to the next.
        a_step: bytes from one term of a row of a to the next.
        b: address of the panel.
        depth: terms of every sum, at least 1.
        c: address of the result.
        c_row: bytes from one row of c to the next.
        rows: how many, 0 or more.
        columns: how many of the panel are wanted, 1 to PANEL.
        start: address of what the sums of the first row start with; it may be c.
        start_row: bytes to that of the next row.
        ahead: bytes from `start` to that of the tile that is computed next.
        floor: the least value of c; -inf for none.
    """
    row = 0
    while row < rows:
        left = rows - row
        at_a, at_c, at_start = a + row * a_row, c + row * c_row, start + row * start_row
        if left <= FEW_PAY:
            _few(
                at_a,
                a_row,
                a_step,
                b,
                depth,
                at_c,
                c_row,
                min(left, FEW_ROWS),
                columns,
                at_start,
                start_row,
                ahead,
                floor,
            )
            row += FEW_ROWS
        else:
            _tile(
                at_a,
                a_row,
                a_step,
                b,
                depth,
                at_c,
                c_row,
                min(left, TILE_ROWS),
                columns,
                at_start,
                start_row,
                ahead,
                floor,
            )
            row += TILE_ROWS
