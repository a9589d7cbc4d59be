"""Adding another blob to results that are still in the nearest cache."""

from __future__ import annotations

from typing import Any

from runtime.backends.cpu.machine.compiled import outlined
from runtime.backends.cpu.machine.llvm import LANES
from runtime.backends.cpu.machine.vectors import (
    at_least,
    spread,
    vadd,
    vload,
    vload_first,
    vstore,
    vstore_first,
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
