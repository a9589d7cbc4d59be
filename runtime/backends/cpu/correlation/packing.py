"""Packing what output positions see of x, for `direct_code`."""

from __future__ import annotations

from typing import Any

from runtime.backends.cpu.machine.compiled import helper, outlined
from runtime.backends.cpu.machine.llvm import LANES
from runtime.backends.cpu.machine.matrix import ZERO
from runtime.backends.cpu.machine.simd import copy, f32, i64, take_even

# The fields that packing reads of a record. What ends in _at, _bytes or _offsets is in
# bytes, sizes are in elements.
#
#   x: (images, groups, channels, height, width)
#   channels: of a group
#   height, width: of a plane of x
#   out_height, out_width: output positions down and across
#   taps: elements of a channel that a position sees
#   tap_offsets: int64 (taps,), bytes from the first element that a position may see to
#       the one under the tap, in the kept rows
#   direct: 1 where positions are the elements of x, and no rows are kept
#   row_step, column_step: elements of x from one position to the next
#   pitch, span: rows of x that are kept for every row of positions, and for the last
#   first_row, first_column: the first of x that position (0, 0) sees; below 0 in the
#       padding
#   phases, phase_length: a kept row holds the columns of so many residues modulo
#       column_step one after the other, each so long, so that neighbouring positions
#       see neighbouring elements
#   panel_positions: the most positions of a panel
#   channel_block: channels that are packed at a time
#   workspace, workspace_bytes: that of all threads, and the bytes of each
#   panel_at, rows_at, other_at: where a thread's workspace has the packed panel, the
#       kept rows, and what else a kernel needs
PACKING = (
    "x channels height width out_height out_width images groups taps "
    "tap_offsets direct row_step pitch span first_row column_step phases phase_length "
    "first_column "
    "panel_positions channel_block workspace workspace_bytes panel_at rows_at other_at "
)


@helper
def _keep_row(target: int, source: int, a: Any) -> None:
    """Copy a row of x into the order described at `PACKING`, with its padding."""
    x, kept = f32(source), f32(target)
    for phase in range(a.phases):
        start = phase + a.first_column
        at = phase * a.phase_length
        low = 0
        if start < 0:
            low = min(a.phase_length, (a.column_step - 1 - start) // a.column_step)
        high = max(low, min(a.phase_length, (a.width - 1 - start) // a.column_step + 1))
        for j in range(low):
            kept[at + j] = ZERO
        if a.column_step == 1:
            copy(target + 4 * (at + low), source + 4 * (start + low), high - low)
        else:
            done = low
            # The last pair is left out, as it may lie behind the end of x.
            whole = (high - low - 1) // LANES if a.column_step == 2 else 0
            if whole > 0:
                put = target + 4 * (at + low)
                take_even(put, source + 4 * (start + 2 * low), whole)
                done += whole * LANES
            for j in range(done, high):
                kept[at + j] = x[start + j * a.column_step]
        for j in range(high, a.phase_length):
            kept[at + j] = ZERO


@helper
def _rows_before(a: Any, first: int, image: int) -> int:
    """Return the number of the kept row that is the first of output row 0 of an image.

    `first` is the first position of the panel. The number is negative for the first
    image where the panel starts further down.
    """
    plane = a.out_height * a.out_width
    first_image = first // plane
    start = (first - first_image * plane) // a.out_width
    if image == first_image:
        return -start * a.pitch
    before = (a.out_height - start - 1) * a.pitch + a.span
    full = (a.out_height - 1) * a.pitch + a.span
    return before + (image - first_image - 1) * full


@outlined
def keep_rows(
    a: Any, workspace: int, group: int, first: int, last: int, c0: int, c1: int
) -> int:
    """Copy the rows of x that a panel needs, of a block of channels; returns how many.

    They lie at `rows_at` of the workspace: (c1 - c0, rows, phases, phase_length).

    Args:
        a: the record; see `PACKING`.
        workspace: address of this thread's workspace.
        group: the number of the group.
        first: the number of the panel's first position, among those of all images.
        last: the number of its last position, plus 1.
        c0: the number of the first channel of the block, within the group.
        c1: the number of its last channel, plus 1.
    """
    plane = a.out_height * a.out_width
    row_bytes = 4 * a.phases * a.phase_length
    first_image, last_image = first // plane, (last - 1) // plane
    total = 0
    for image in range(first_image, last_image + 1):
        low = (max(first, image * plane) - image * plane) // a.out_width
        high = (min(last, (image + 1) * plane) - image * plane - 1) // a.out_width
        total += (high - low) * a.pitch + a.span
    kept = workspace + a.rows_at
    done = 0
    for image in range(first_image, last_image + 1):
        low = (max(first, image * plane) - image * plane) // a.out_width
        high = (min(last, (image + 1) * plane) - image * plane - 1) // a.out_width
        rows = (high - low) * a.pitch + a.span
        for c in range(c0, c1):
            channel = (image * a.groups + group) * a.channels + c
            source = a.x + 4 * channel * a.height * a.width
            target = kept + ((c - c0) * total + done) * row_bytes
            for row in range(rows):
                at = low * a.row_step + a.first_row
                at += row // a.pitch * a.row_step + row % a.pitch
                if 0 <= at < a.height:
                    _keep_row(target, source + 4 * at * a.width, a)
                else:
                    cleared = f32(target)
                    for j in range(a.phases * a.phase_length):
                        cleared[j] = ZERO
                target += row_bytes
        done += rows
    return total


@outlined
def pack_tile(
    a: Any,
    workspace: int,
    group: int,
    panel: int,
    first: int,
    last: int,
    c0: int,
    c1: int,
    rows: int,
    target: int,
    target_row: int,
) -> None:
    """Pack what some positions of a panel see of a block of channels.

    Row k = (c, t) of the target, `target_row` bytes after the one before it, has a
    float for every position: ((c1 - c0) * taps, last - first).

    Args:
        a: the record; see `PACKING`.
        workspace: address of this thread's workspace, with the kept rows.
        group: the number of the group.
        panel: the number of the panel's first position, among those of all images.
        first: the number of the first position that is packed.
        last: the number of the last one, plus 1.
        c0: the number of the first channel of the block, within the group.
        c1: the number of its last channel, plus 1.
        rows: what `keep_rows` returned for the panel; 0 where x is read itself.
        target: address of the packed rows.
        target_row: bytes from one packed row to the next.
    """
    plane = a.out_height * a.out_width
    row_length = a.phases * a.phase_length
    offsets, taps = i64(a.tap_offsets), a.taps
    if a.direct != 0:
        channel_bytes = 4 * a.height * a.width
    else:
        channel_bytes = 4 * rows * row_length
    position = first
    while position < last:
        image = position // plane
        q = position - image * plane  # within its image
        if a.direct != 0:
            length = min(last - position, plane - q)
            channel = (image * a.groups + group) * a.channels + c0
            source = a.x + 4 * (channel * plane + q)
        else:
            i = q // a.out_width
            j = q - i * a.out_width
            length = min(last - position, a.out_width - j)
            row = _rows_before(a, panel, image) + i * a.pitch
            source = workspace + a.rows_at + 4 * (row * row_length + j)
        put = target + 4 * (position - first)
        for _ in range(c0, c1):
            for t in range(taps):
                copy(put, source + offsets[t], length)
                put += target_row
            source += channel_bytes
        position += length
