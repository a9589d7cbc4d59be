"""The compiled kernels of direct correlation: matrix products on packed panels.

A *correlation* is what a convolution does forward, and what it does backward to its
input: at every position (i, j) of the output, the sum over channels c and taps t of

    y[n, r, i, j] = bias[r] + sum over c, t of w[r, c, t] x[n, c, at(i, j, t)]
    at(i, j, t) = (row_step i + tap_row[t], column_step j + tap_column[t])

with zeros outside of x. The output positions of all images are numbered through; a
*panel* is a run of them that one thread works on. For a block of channels the elements
that its positions see are packed into rows, one for every k = (c, t), and multiplied by
the packed weights, ROWS rows of weights at a time, in tiles that stay in registers.
Under one tap, they are rows where they lie, and most need no packing.

Every sum runs over k in one order whatever the sizes of panels and blocks and the
number of threads: results do not depend on them.

`direct` beside this file makes the records of these kernels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.backends.cpu.correlation.adding import add_rows, settle
from runtime.backends.cpu.correlation.packing import PACKING, keep_rows, pack_tile
from runtime.backends.cpu.machine.compiled import carray, helper, kernel, outlined
from runtime.backends.cpu.machine.llvm import LANES, ROWS, VECTOR_BYTES
from runtime.backends.cpu.machine.matrix import LOWEST, next_vectors
from runtime.backends.cpu.machine.prefetching import (
    FIRST_BYTES,
    multiply_fetching_left,
    prefetch_rows,
    prefetch_run,
)
from runtime.backends.cpu.machine.simd import copy, f32

FEW_ASKED = 64  # channels of the next tile of x that are asked for at once


@kernel(
    PACKING + "y packed packed_bias rows y_plane y_row_step y_column_step y_first "
    "y_between units_by_rows reads_x added streams",
    "floor",
)
def correlate(record: Any, part: int, parts: int, thread: int) -> None:
    """Compute y = max(floor, bias + correlation + added).

    Tiles that are not whole vectors in one plane of y are computed in the workspace and
    copied: other_at has (blocks, ROWS, positions) for one tile after the other, and
    then room for a tile.

    Fields, beside those of `PACKING`:
        y: (images, groups, rows, y_plane).
        y_between: elements of y from the end of an image to the next one.
        packed, packed_bias: what `pack_weights` made.
        rows: of a group.
        y_plane: elements of a plane of y.
        y_first: the element of a plane of y where position (0, 0) lies.
        y_row_step, y_column_step: elements of y from one position to the next.
        units_by_rows: shares into which the rows are divided, beside the panels.
        reads_x: 1 where tiles of whole vectors in one image need no packing: there is
            one tap, and positions are the elements of x.
        added: like y, whose positions and images must be neighbours then; or 0.
        streams: 1 where y, of vectors at multiples of their size, is written past the
            caches.
        floor: -inf for none.
    """
    a = carray(record, 1)[0]
    plane = a.out_height * a.out_width
    positions = a.images * plane
    panels = (positions + a.panel_positions - 1) // a.panel_positions
    blocks = (a.rows + ROWS - 1) // ROWS
    contiguous = a.y_column_step == 1 and a.y_row_step == a.out_width
    floor = np.float32(a.floor)
    workspace = a.workspace + thread * a.workspace_bytes
    panel_at, other = workspace + a.panel_at, workspace + a.other_at
    spare = other + 4 * blocks * ROWS * a.panel_positions
    settles = a.channels <= a.channel_block and (a.added != 0 or a.streams != 0)
    units = a.groups * panels * a.units_by_rows
    for unit in range(units * part // parts, units * (part + 1) // parts):
        share, rest = unit % a.units_by_rows, unit // a.units_by_rows
        group, panel = rest // panels, rest % panels
        first = panel * a.panel_positions
        last = min(first + a.panel_positions, positions)
        low = blocks * share // a.units_by_rows
        high = blocks * (share + 1) // a.units_by_rows
        prefetch_run(_weights_at(a, group * blocks + low, 0), FIRST_BYTES)
        for c0 in range(0, a.channels, a.channel_block):
            c1 = min(c0 + a.channel_block, a.channels)
            depth = (c1 - c0) * a.taps
            rows = 0
            if a.direct == 0:
                rows = keep_rows(a, workspace, group, first, last, c0, c1)
            position = first
            while position < last:  # the panel: (depth, positions) for every tile
                end = _tile_end(position, last)
                if not (a.reads_x != 0 and _is_whole(position, end, plane)):
                    width = VECTOR_BYTES * ((end - position + LANES - 1) // LANES)
                    target = panel_at + 4 * (position - first) * depth
                    pack_tile(
                        a,
                        workspace,
                        group,
                        first,
                        position,
                        end,
                        c0,
                        c1,
                        rows,
                        target,
                        width,
                    )
                position = end
            # Weights of a block (depth, ROWS) times every tile (depth, positions); what
            # an earlier block of channels left in c is where the sums go on.
            for block in range(low, high):
                weights = _weights_at(a, group * blocks + block, c0)
                if block + 1 < high:
                    following = _weights_at(a, group * blocks + block + 1, c0)
                else:
                    following = _weights_at(a, group * blocks + low, c1 % a.channels)
                ahead = following - weights
                bias = a.packed_bias + 4 * (group * blocks + block) * ROWS
                bias = bias if c0 == 0 else 0
                last_terms = c1 == a.channels
                lowest = floor if last_terms and a.added == 0 else LOWEST
                full_rows = contiguous and (block + 1) * ROWS <= a.rows
                position = first
                while position < last:
                    end = _tile_end(position, last)
                    image = position // plane
                    vectors = (end - position + LANES - 1) // LANES
                    step = vectors * VECTOR_BYTES
                    b, b_step = panel_at + 4 * (position - first) * depth, step
                    whole = _is_whole(position, end, plane)
                    in_place = full_rows and whole
                    if a.reads_x != 0 and whole:
                        channel = (image * a.groups + group) * a.channels + c0
                        b = a.x + 4 * ((channel - image) * plane + position)
                        b_step = 4 * plane
                        if block == low and depth <= FEW_ASKED:
                            _ask_for_next(b + step, b_step, depth, vectors)
                    # In one step, a tile in the nearest cache is finished from there.
                    settled = in_place and settles
                    row = (image * a.groups + group) * a.rows + block * ROWS
                    at = row * a.y_plane + a.y_first + position - image * plane
                    at = 4 * (at + image * a.y_between)
                    if in_place and c0 == 0 and not (settled and a.streams != 0):
                        prefetch_rows(a.y + at, 4 * a.y_plane, vectors, True)
                    if settled:
                        if a.added != 0:
                            prefetch_rows(a.added + at, 4 * a.y_plane, vectors, False)
                        c, c_row = spare, step
                    elif in_place:
                        c, c_row = a.y + at, 4 * a.y_plane
                    else:
                        slot = (position - first) * blocks + block * vectors * LANES
                        c, c_row = other + 4 * slot * ROWS, step
                    multiply_fetching_left(
                        vectors,
                        weights,
                        4 * ROWS,
                        4,
                        b,
                        b_step,
                        depth,
                        c,
                        c_row,
                        bias,
                        lowest,
                        ahead if position == first else 0,
                    )
                    if settled:
                        added = a.added + at if a.added != 0 else 0
                        settle(
                            a.y + at, added, 4 * a.y_plane, c, vectors, floor, a.streams
                        )
                    elif last_terms and a.added != 0:
                        _put_away(
                            a,
                            other,
                            group,
                            first,
                            position,
                            end,
                            block,
                            block + 1,
                            contiguous,
                        )
                        _add(a, group, position, end, block)
                    position = end
        if a.added == 0:
            _put_panel(a, other, group, first, last, low, high, contiguous)


@helper
def _ask_for_next(x: int, x_step: int, depth: int, vectors: int) -> None:
    """Ask for the tile of x that is read next, so many vectors of every channel."""
    for k in range(depth):
        prefetch_run(x + k * x_step, vectors * VECTOR_BYTES)


@helper
def _is_whole(position: int, end: int, plane: int) -> bool:
    """Whether a tile is whole vectors in one image."""
    return (end - position) % LANES == 0 and end <= (position // plane + 1) * plane


@helper
def _weights_at(a: Any, block: int, channel: int) -> int:
    """Return the address of the weights of a block of rows, from a channel on."""
    return int(a.packed + 4 * ROWS * (block * a.channels + channel) * a.taps)


@helper
def _put_panel(
    a: Any,
    other: int,
    group: int,
    first: int,
    last: int,
    low: int,
    high: int,
    contiguous: bool,
) -> None:
    """Copy the tiles of a panel into y that could not be computed in place."""
    position = first
    while position < last:
        end = _tile_end(position, last)
        _put_away(a, other, group, first, position, end, low, high, contiguous)
        position = end


@helper
def _add(a: Any, group: int, first: int, last: int, block: int) -> None:
    """Add `added` to a block of rows of a panel, which are in y already."""
    plane = a.out_height * a.out_width
    valid = min(ROWS, a.rows - block * ROWS)
    position = first
    while position < last:
        image = position // plane
        q = position - image * plane
        length = min(last - position, plane - q)
        row = (image * a.groups + group) * a.rows + block * ROWS
        at = 4 * (row * a.y_plane + a.y_first + q)
        floor = np.float32(a.floor)
        add_rows(a.y + at, a.added + at, valid, 4 * a.y_plane, length, floor)
        position += length


@helper
def _tile_end(position: int, last: int) -> int:
    """Return where the tile ends that starts at `position`."""
    vectors = next_vectors((last - position + LANES - 1) // LANES)
    return min(position + vectors * LANES, last)


@outlined
def _put_away(
    a: Any,
    other: int,
    group: int,
    panel: int,
    first: int,
    last: int,
    low: int,
    high: int,
    contiguous: bool,
) -> None:
    """Copy the parts of a tile into y that could not be computed in place.

    Args:
        a: the record; see `correlate`.
        other: address of the results: (blocks, ROWS, positions) for each of the tiles.
        group: the number of the group.
        panel: the number of the panel's first position, among those of all images.
        first: the number of the tile's first position.
        last: the number of its last position, plus 1.
        low: the number of the first block of rows that was computed.
        high: the number of the last one, plus 1.
        contiguous: whether neighbouring positions are neighbours in y.
    """
    plane = a.out_height * a.out_width
    blocks = (a.rows + ROWS - 1) // ROWS
    vectors = (last - first + LANES - 1) // LANES
    width = vectors * LANES
    one_image = last <= (first // plane + 1) * plane
    in_place = contiguous and one_image and last - first == width
    y = f32(a.y)
    for block in range(low, high):
        valid = min(ROWS, a.rows - block * ROWS)
        if in_place and valid == ROWS:
            continue
        source = other + 4 * ((first - panel) * blocks + block * width) * ROWS
        for i in range(valid):
            sums = f32(source + 4 * i * width)
            position = first
            while position < last:
                image = position // plane
                q = position - image * plane  # within its image
                row = (image * a.groups + group) * a.rows + block * ROWS + i
                at = row * a.y_plane + a.y_first + image * a.y_between
                if contiguous:
                    length = min(last - position, plane - q)
                    copy(
                        a.y + 4 * (at + q),
                        source + 4 * (i * width + position - first),
                        length,
                    )
                else:
                    line = q // a.out_width
                    j = q - line * a.out_width
                    length = min(last - position, a.out_width - j)
                    at += line * a.y_row_step + j * a.y_column_step
                    for n in range(length):
                        y[at + n * a.y_column_step] = sums[position - first + n]
                position += length
