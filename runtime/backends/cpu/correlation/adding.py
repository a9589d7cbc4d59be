"""Adding another blob to results that are still in the nearest cache."""

from __future__ import annotations

from typing import Any

from runtime.backends.cpu.machine.compiled import outlined
from runtime.backends.cpu.machine.llvm import LANES, ROWS, VECTOR_BYTES
from runtime.backends.cpu.machine.vectors import (
    at_least,
    spread,
    vadd,
    vload,
    vload_first,
    vstore,
    vstore_first,
    vstream,
)


@outlined
def add_rows(
    y: int, added: int, rows: int, row_step: int, length: int, floor: Any
) -> None:
    """Compute y = max(floor, y + added) for some rows.

    Args:
        y: address of the first row.
        added: that of the first row of what is added, whose rows lie as those of y.
        rows: how many rows.
        row_step: bytes from one row to the next.
        length: floats of a row.
        floor: -inf for none.
    """
    low = spread(floor)
    whole = length - length % LANES
    for row in range(rows):
        at, other = y + row * row_step, added + row * row_step
        for i in range(0, whole, LANES):
            value = vadd(vload(at + 4 * i), vload(other + 4 * i))
            vstore(at_least(value, low), at + 4 * i)
        if whole < length:
            left = length - whole
            value = vadd(
                vload_first(at + 4 * whole, left, low),
                vload_first(other + 4 * whole, left, low),
            )
            vstore_first(at_least(value, low), at + 4 * whole, left)


@outlined
def settle(
    y: int, added: int, row_step: int, tile: int, vectors: int, floor: Any, streams: int
) -> None:
    """Compute y = max(floor, tile + added) for a tile of ROWS rows of whole vectors.

    Args:
        y: address of the first row.
        added: that of the first row of what is added, whose rows lie as those of y; 0
            for none, and for a tile that is not below the floor.
        row_step: bytes from one row of y to the next.
        tile: address of the tile, row after row.
        vectors: of a row.
        floor: -inf for none.
        streams: 1 to write past the caches.
    """
    low = spread(floor)
    for row in range(ROWS):
        at = row * row_step
        for _ in range(vectors):
            value = vload(tile)
            if added != 0:
                value = at_least(vadd(value, vload(added + at)), low)
            if streams != 0:
                vstream(value, y + at)
            else:
                vstore(value, y + at)
            at += VECTOR_BYTES
            tile += VECTOR_BYTES
