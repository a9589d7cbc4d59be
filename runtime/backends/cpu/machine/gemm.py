"""Matrix products of many rows: one factor packed into panels of columns.

Panels are filled up with zeros. Every sum runs over the terms in their order, so that a
result does not depend on how rows and columns are divided among threads.

`matrix` beside this file has the products of some rows with weights that are read once,
`gemv` those of very few.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.backends.cpu.machine.compiled import carray, helper, kernel
from runtime.backends.cpu.machine.llvm import LANES
from runtime.backends.cpu.machine.panel import (
    LOWEST,
    PANEL,
    PANEL_ROW,
    TILE_ROWS,
    ZERO,
    multiply_panel,
)
from runtime.backends.cpu.machine.simd import copy, f32, transpose

BLOCK_ROWS = 96  # of the left factor that are taken at a time: whole tiles
LINE = 64  # bytes of a line of the cache
BLOCK_ROW = BLOCK_ROWS + LINE // 4  # floats from one term to the next: odd lines


@helper
def share(part: int, parts: int, count: int, step: int) -> tuple[int, int]:
    """Return the first and the last, plus 1, of a thread's share of `count` things.

    They are divided at multiples of `step`.
    """
    blocks = (count + step - 1) // step
    low = min(count, blocks * part // parts * step)
    return low, min(count, blocks * (part + 1) // parts * step)


@kernel("b b_row b_group groups columns depth transposed packed panel_bytes")
def pack_panels(record: Any, part: int, parts: int) -> None:
    """Pack the right factors of products; every group starts a panel.

    Fields:
        b: (groups, depth, columns), or (groups, columns, depth) where `transposed`.
        b_row, b_group: bytes from one row of b, and from one group, to the next.
        packed: (groups, panels, depth, PANEL), the depth rounded up to LANES.
        panel_bytes: of one panel.
    """
    a = carray(record, 1)[0]
    panels = (a.columns + PANEL - 1) // PANEL
    low, high = share(part, parts, a.groups * panels, 1)
    for number in range(low, high):
        group, first = number // panels, number % panels * PANEL
        target = a.packed + number * a.panel_bytes
        columns = min(PANEL, a.columns - first)
        if a.transposed == 0:
            source = a.b + group * a.b_group + 4 * first
            for k in range(a.depth):
                _copy_row(target + k * PANEL_ROW, source + k * a.b_row, columns)
            continue
        source = a.b + group * a.b_group + first * a.b_row
        for j in range(0, PANEL, LANES):
            # A vector of columns that are not there repeats the last one.
            column = min(j, columns - 1)
            for k in range(0, a.depth, LANES):
                transpose(
                    target + k * PANEL_ROW + 4 * j,
                    PANEL_ROW,
                    source + column * a.b_row + 4 * k,
                    a.b_row,
                    min(LANES, columns - column),
                    min(LANES, a.depth - k),
                )


@helper
def _copy_row(target: int, source: int, columns: int) -> None:
    """Copy the row of a panel, with zeros for columns that are not there."""
    copy(target, source, columns)
    row = f32(target)
    for j in range(columns, PANEL):
        row[j] = ZERO


@kernel(
    "a a_row packed panel_bytes bias c c_row rows columns depth terms by_columns "
    "workspace workspace_bytes",
    "floor",
)
def multiply(record: Any, part: int, parts: int, thread: int) -> None:
    """Compute c = max(floor, bias + a b), where b is packed.

    Fields:
        a: (rows, depth).
        a_row: bytes from one row of a to the next.
        packed, panel_bytes: what `pack_panels` makes of b, (depth, columns).
        bias: (columns,), or 0 for none.
        c: (rows, columns).
        c_row: bytes from one row of c to the next.
        terms: of a sum that are added at a time.
        by_columns: 1 to divide columns among threads, else rows.
        workspace, workspace_bytes: that of all threads, and the bytes of each: the row
            of a panel, and BLOCK_ROWS rows of terms, each with a line to spare.
        floor: -inf for none.
    """
    a = carray(record, 1)[0]
    first, last = 0, a.rows
    low, high = 0, a.columns
    if a.by_columns != 0:
        low, high = share(part, parts, a.columns, PANEL)
    else:
        first, last = share(part, parts, a.rows, TILE_ROWS)
    zeros = a.workspace + thread * a.workspace_bytes
    for j in range(PANEL):
        f32(zeros)[j] = ZERO
    block = zeros + PANEL_ROW
    block_row = 4 * a.terms + LINE  # so that rows are not one below the other
    floor = np.float32(a.floor)
    for row in range(first, last, BLOCK_ROWS):
        rows = min(BLOCK_ROWS, last - row)
        for k in range(0, a.depth, a.terms):
            terms = min(a.terms, a.depth - k)
            for i in range(rows):
                source = a.a + (row + i) * a.a_row + 4 * k
                copy(block + i * block_row, source, terms)
            lowest = floor if k + terms == a.depth else LOWEST
            for column in range(low, high, PANEL):
                c = a.c + row * a.c_row + 4 * column
                start, start_row = c, a.c_row
                if k == 0:
                    start_row = 0
                    start = zeros if a.bias == 0 else a.bias + 4 * column
                multiply_panel(
                    block,
                    block_row,
                    4,
                    a.packed + column // PANEL * a.panel_bytes + k * PANEL_ROW,
                    terms,
                    c,
                    a.c_row,
                    rows,
                    min(PANEL, a.columns - column),
                    start,
                    start_row,
                    TILE_ROWS * start_row,
                    lowest,
                )


@kernel(
    "left left_row right right_row first first_row first_rows scale out rows columns "
    "depth terms width accumulate by_columns workspace workspace_bytes"
)
def multiply_columns(record: Any, part: int, parts: int, thread: int) -> None:
    """Compute out[r][c] = sum over k of left[k][r] right[k][c], or add it to out.

    Fields:
        left: (depth, rows).
        right: (depth, columns), behind the rows of `first`, of which there are
            `first_rows`: 0 for none.
        left_row, right_row, first_row: bytes from one row to the next.
        scale: (depth,), by which the rows of the right factor are multiplied, or 0.
        out: (rows, columns).
        terms, width: of a sum, and columns, that are taken at a time.
        accumulate: 1 where out is added to, not stored.
        by_columns: 1 to divide columns among threads, else rows.
        workspace, workspace_bytes: that of all threads, and the bytes of each: the row
            of a panel, `terms` rows of BLOCK_ROW floats, and as many of `width`.
    """
    a = carray(record, 1)[0]
    first, last = 0, a.rows
    low, high = 0, a.columns
    if a.by_columns != 0:
        low, high = share(part, parts, a.columns, PANEL)
    else:
        first, last = share(part, parts, a.rows, TILE_ROWS)
    zeros = a.workspace + thread * a.workspace_bytes
    for j in range(PANEL):
        f32(zeros)[j] = ZERO
    block = zeros + PANEL_ROW
    panels = block + 4 * a.terms * BLOCK_ROW
    for column in range(low, high, a.width):
        until = min(column + a.width, high)
        for k in range(0, a.depth, a.terms):
            terms = min(a.terms, a.depth - k)
            if first < last:
                _pack_terms(a, k, terms, column, until, panels)
            for row in range(first, last, BLOCK_ROWS):
                rows = min(BLOCK_ROWS, last - row)
                for i in range(terms):
                    source = a.left + (k + i) * a.left_row + 4 * row
                    copy(block + 4 * BLOCK_ROW * i, source, rows)
                # A tile of the left factor stays in the first-level cache.
                for r in range(0, rows, TILE_ROWS):
                    for at in range(column, until, PANEL):
                        c = a.out + 4 * ((row + r) * a.columns + at)
                        begins = k == 0 and a.accumulate == 0
                        multiply_panel(
                            block + 4 * r,
                            4,
                            4 * BLOCK_ROW,
                            panels + 4 * (at - column) * a.terms,
                            terms,
                            c,
                            4 * a.columns,
                            min(TILE_ROWS, rows - r),
                            min(PANEL, a.columns - at),
                            zeros if begins else c,
                            0 if begins else 4 * a.columns,
                            PANEL_ROW,
                            LOWEST,
                        )


@helper
def _pack_terms(
    a: Any, k: int, terms: int, column: int, until: int, panels: int
) -> None:
    """Pack some terms of some columns of the right factor of `multiply_columns`."""
    for i in range(k, k + terms):
        if i < a.first_rows:
            source = a.first + i * a.first_row
        else:
            source = a.right + (i - a.first_rows) * a.right_row
        for at in range(column, until, PANEL):
            target = panels + 4 * (at - column) * a.terms + (i - k) * PANEL_ROW
            _copy_row(target, source + 4 * at, min(PANEL, until - at))
            if a.scale != 0:
                row, factor = f32(target), f32(a.scale)[i]
                for j in range(PANEL):
                    row[j] *= factor


@kernel("x x_row out rows columns accumulate")
def sum_columns(record: Any, part: int, parts: int) -> None:
    """Compute out[j] = sum over the rows of x, or add it to out.

    Fields:
        x: (rows, columns).
        x_row: bytes from one row of x to the next.
        out: (columns,).
        accumulate: 1 where out is added to, not stored.
    """
    a = carray(record, 1)[0]
    out = f32(a.out)
    low, high = share(part, parts, a.columns, LANES)
    if a.accumulate == 0:
        for j in range(low, high):
            out[j] = ZERO
    for row in range(a.rows):
        x = f32(a.x + row * a.x_row)
        for j in range(low, high):
            out[j] += x[j]
