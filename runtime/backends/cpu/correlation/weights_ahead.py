"""What kernels of the gradient of weights ask for ahead of its use."""

from __future__ import annotations

from typing import Any

from runtime.backends.cpu.machine.compiled import helper
from runtime.backends.cpu.machine.llvm import ROWS
from runtime.backends.cpu.machine.prefetching import (
    LINE_BYTES,
    prefetch_run,
    prefetch_second,
)
from runtime.backends.cpu.machine.simd import i64


@helper
def ask_for_left(base: int, rows: int, offsets: int, first: int, last: int) -> None:
    """Ask for some positions of ROWS rows of `left`.

    Args:
        base: address from which offsets count.
        rows: address of (ROWS,) int64, offsets of the rows.
        offsets: address of int64, those of the positions.
        first: the number of the first position.
        last: the number of the last one, plus 1.
    """
    for j in range(first, last, LINE_BYTES // 4):
        at = base + i64(offsets)[j]
        for i in range(ROWS):
            prefetch_second(at + i64(rows)[i])


@helper
def ask_for_right(
    a: Any, group: int, first: int, count: int, row: int, rows: int
) -> None:
    """Ask for some positions of rows of `right`, as `_transpose_panel` reads them.

    Args:
        a: the record; see `multiply_positions`.
        group: the number of the group.
        first: the number of the first position, among those of all images.
        count: how many positions there are, below 1 for none.
        row: the number of the first row, within the group.
        rows: how many rows there are.
    """
    plane = a.out_height * a.out_width
    position, last = first, first + count
    while position < last:
        image = position // plane
        length = min(last, (image + 1) * plane) - position
        at = ((image * a.groups + group) * a.right_rows + row) * plane
        at = a.right + 4 * (at + position - image * plane)
        for i in range(rows):
            prefetch_run(at + 4 * i * plane, 4 * length)
        position += length
