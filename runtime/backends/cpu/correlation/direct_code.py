"""The compiled kernels of direct correlation: matrix products on packed panels.

A *correlation* is what a convolution does forward, and what it does backward to its
input: at every position (i, j) of the output, the sum over channels c and taps t of

    y[n, r, i, j] = bias[r] + sum over c, t of w[r, c, t] x[n, c, at(i, j, t)]
    at(i, j, t) = (row_step i + tap_row[t], column_step j + tap_column[t])

with zeros outside of x. The output positions of all images are numbered through; a
*panel* is a run of them that one thread works on. For a block of channels the elements
that its positions see are packed into rows, one for every k = (c, t), and multiplied by
the packed weights, ROWS rows of weights at a time, in tiles that stay in registers.

Every sum runs over k, or over the positions for the gradient of the weights, in one
order whatever the sizes of panels and blocks and the number of threads: results do not
depend on them.

`direct` beside this file makes the records of these kernels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.backends.cpu.correlation.adding import add_rows
from runtime.backends.cpu.correlation.packing import PACKING, keep_rows, pack_tile
from runtime.backends.cpu.machine.compiled import carray, helper, kernel, outlined
from runtime.backends.cpu.machine.llvm import LANES, ROWS, VECTOR_BYTES
from runtime.backends.cpu.machine.matrix import (
    LOWEST,
    ZERO,
    multiply_tile,
    next_vectors,
)
from runtime.backends.cpu.machine.simd import copy, f32, transpose

RUN = 8 * LANES  # terms k whose gradients are written one after the other


@kernel(
    PACKING + "y packed packed_bias rows y_plane y_row_step y_column_step y_first "
    "units_by_rows added",
    "floor",
)
def correlate(record: Any, part: int, parts: int) -> None:
    """Compute y = max(floor, bias + correlation + added).

    Tiles that are not whole vectors in one plane of y are computed in the workspace and
    copied: other_at has (blocks, ROWS, positions) for one tile after the other.

    Fields, beside those of `PACKING`:
        y: (images, groups, rows, y_plane).
        packed, packed_bias: what `pack_weights` made.
        rows: of a group.
        y_plane: elements of a plane of y.
        y_first: the element of a plane of y where position (0, 0) lies.
        y_row_step, y_column_step: elements of y from one position to the next.
        units_by_rows: shares into which the rows are divided, beside the panels.
        added: like y, whose positions must be neighbours then; or 0.
        floor: -inf for none.
    """
    a = carray(record, 1)[0]
    plane = a.out_height * a.out_width
    positions = a.images * plane
    panels = (positions + a.panel_positions - 1) // a.panel_positions
    blocks = (a.rows + ROWS - 1) // ROWS
    contiguous = a.y_column_step == 1 and a.y_row_step == a.out_width
    floor = np.float32(a.floor)
    workspace = a.workspace + part * a.workspace_bytes
    panel_at, other = workspace + a.panel_at, workspace + a.other_at
    units = a.groups * panels * a.units_by_rows
    for unit in range(units * part // parts, units * (part + 1) // parts):
        share, rest = unit % a.units_by_rows, unit // a.units_by_rows
        group, panel = rest // panels, rest % panels
        first = panel * a.panel_positions
        last = min(first + a.panel_positions, positions)
        low = blocks * share // a.units_by_rows
        high = blocks * (share + 1) // a.units_by_rows
        for c0 in range(0, a.channels, a.channel_block):
            c1 = min(c0 + a.channel_block, a.channels)
            depth = (c1 - c0) * a.taps
            rows = 0
            if a.direct == 0:
                rows = keep_rows(a, workspace, group, first, last, c0, c1)
            position = first
            while position < last:  # the panel: (depth, positions) for every tile
                end = _tile_end(position, last)
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
                at = (group * blocks + block) * ROWS
                weights = a.packed + 4 * (at * a.channels + c0 * ROWS) * a.taps
                bias = a.packed_bias + 4 * at if c0 == 0 else 0
                last_terms = c1 == a.channels
                lowest = floor if last_terms and a.added == 0 else LOWEST
                full_rows = contiguous and (block + 1) * ROWS <= a.rows
                position = first
                while position < last:
                    end = _tile_end(position, last)
                    image = position // plane
                    vectors = (end - position + LANES - 1) // LANES
                    step = vectors * VECTOR_BYTES
                    b = panel_at + 4 * (position - first) * depth
                    if (
                        full_rows
                        and end - position == vectors * LANES
                        and end <= (image + 1) * plane
                    ):
                        row = (image * a.groups + group) * a.rows + block * ROWS
                        at = row * a.y_plane + a.y_first + position - image * plane
                        c, c_row = a.y + 4 * at, 4 * a.y_plane
                    else:
                        at = (position - first) * blocks + block * vectors * LANES
                        c, c_row = other + 4 * at * ROWS, step
                    multiply_tile(
                        vectors,
                        weights,
                        4 * ROWS,
                        4,
                        b,
                        step,
                        depth,
                        c,
                        c_row,
                        bias,
                        lowest,
                    )
                    position = end
                if last_terms and a.added != 0:
                    _put_panel(a, other, group, first, last, block, block + 1, True)
                    _add(a, group, first, last, block)
        if a.added == 0:
            _put_panel(a, other, group, first, last, low, high, contiguous)


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
                at = row * a.y_plane + a.y_first
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


@kernel(
    PACKING + "dy rows partial partial_bias chunks chunk_positions channel_shares",
)
def correlate_weights(record: Any, part: int, parts: int) -> None:
    """Compute the gradient of the weights of a correlation, in parts.

    Fields, beside those of `PACKING`:
        dy: (images, groups, rows, out_height, out_width).
        rows: of a group.
        partial: (groups, chunks, channels * taps, rows), the sums over the positions of
            a chunk. The last axis is rounded up to vectors, the one before it to ROWS.
        partial_bias: (groups, chunks, rows), the sums of dy alone, rounded up likewise.
        chunks, chunk_positions: runs of positions that are summed by themselves, and
            the most positions of one.
        channel_shares: shares into which the channels are divided, beside the chunks.
    """
    a = carray(record, 1)[0]
    plane = a.out_height * a.out_width
    positions = a.images * plane
    width = (a.rows + LANES - 1) // LANES * LANES
    depth = (a.channels * a.taps + ROWS - 1) // ROWS * ROWS
    panel_row = VECTOR_BYTES * ((a.panel_positions + LANES - 1) // LANES)
    workspace = a.workspace + part * a.workspace_bytes
    panel_at, other = workspace + a.panel_at, workspace + a.other_at
    zeros = workspace  # ROWS zeros
    for i in range(ROWS):
        f32(zeros)[i] = ZERO
    units = a.groups * a.chunks * a.channel_shares
    for unit in range(units * part // parts, units * (part + 1) // parts):
        share, rest = unit % a.channel_shares, unit // a.channel_shares
        group, chunk = rest // a.chunks, rest % a.chunks
        blocks = (a.channels + a.channel_block - 1) // a.channel_block
        low = blocks * share // a.channel_shares * a.channel_block
        high = blocks * (share + 1) // a.channel_shares * a.channel_block
        high = min(high, a.channels)
        begin = chunk * a.chunk_positions
        until = min(begin + a.chunk_positions, positions)
        partial = a.partial + 4 * rest * depth * width
        for first in range(begin, until, a.panel_positions):
            last = min(first + a.panel_positions, until)
            _transpose_panel(a, group, first, last, other, width)
            if share == 0:
                sums = f32(a.partial_bias + 4 * rest * width)
                if first == begin:
                    for r in range(width):
                        sums[r] = ZERO
                for q in range(last - first):
                    values = f32(other + 4 * q * width)
                    for r in range(width):
                        sums[r] += values[r]
            for c0 in range(low, high, a.channel_block):
                c1 = min(c0 + a.channel_block, high)
                rows = 0
                if a.direct == 0:
                    rows = keep_rows(a, workspace, group, first, last, c0, c1)
                pack_tile(
                    a,
                    workspace,
                    group,
                    first,
                    first,
                    last,
                    c0,
                    c1,
                    rows,
                    panel_at,
                    panel_row,
                )
                bias = zeros if first == begin else 0
                for k in range(0, (c1 - c0) * a.taps, ROWS):
                    c = partial + 4 * (c0 * a.taps + k) * width
                    b, left = other, width // LANES
                    while left > 0:
                        vectors = next_vectors(left)
                        multiply_tile(
                            vectors,
                            panel_at + k * panel_row,
                            4,
                            panel_row,
                            b,
                            4 * width,
                            last - first,
                            c,
                            4 * width,
                            bias,
                            LOWEST,
                        )
                        b += vectors * VECTOR_BYTES
                        c += vectors * VECTOR_BYTES
                        left -= vectors


@outlined
def _transpose_panel(
    a: Any, group: int, first: int, last: int, target: int, width: int
) -> None:
    """Write dy of a run of positions as (position, row).

    Args:
        a: the record; see `correlate_weights`.
        group: the number of the group.
        first: the number of the first position, among those of all images.
        last: the number of the last one, plus 1.
        target: address of (last - first, width) floats.
        width: rows of dy, rounded up to vectors.
    """
    plane = a.out_height * a.out_width
    position = first
    while position < last:
        image = position // plane
        q = position - image * plane
        length = min(last - position, plane - q)
        source = a.dy + 4 * ((image * a.groups + group) * a.rows * plane + q)
        for j in range(0, length, LANES):
            for r in range(0, a.rows, LANES):
                transpose(
                    target + 4 * ((position - first + j) * width + r),
                    4 * width,
                    source + 4 * (r * plane + j),
                    4 * plane,
                    min(LANES, a.rows - r),
                    min(LANES, length - j),
                )
        position += length


@kernel(
    "partial partial_bias dw dbias groups rows depth chunks accumulate "
    "accumulate_bias workspace workspace_bytes"
)
def add_partial_weights(record: Any, part: int, parts: int) -> None:
    """Add the parts of `correlate_weights` up.

    Fields:
        partial, partial_bias: what `correlate_weights` made.
        dw: (groups, rows, depth), or 0 where it is not wanted.
        dbias: (groups, rows), or 0 where it is not wanted.
        rows: of a group.
        depth: channels * taps.
        chunks: parts of every sum.
        accumulate, accumulate_bias: 1 where dw, dbias are added to, not stored.
        workspace, workspace_bytes: that of all threads, and the bytes of each.
    """
    a = carray(record, 1)[0]
    width = (a.rows + LANES - 1) // LANES * LANES
    depth = (a.depth + ROWS - 1) // ROWS * ROWS
    block = a.workspace + part * a.workspace_bytes
    values = f32(block)
    runs = (a.depth + RUN - 1) // RUN
    row_blocks = width // LANES
    units = a.groups * runs * row_blocks if a.dw != 0 else 0
    for unit in range(units * part // parts, units * (part + 1) // parts):
        r, rest = unit % row_blocks * LANES, unit // row_blocks
        group, first = rest // runs, rest % runs * RUN
        rows = min(LANES, a.rows - r)
        for k in range(first, min(first + RUN, a.depth), LANES):
            count = min(LANES, a.depth - k)
            start = a.partial + 4 * ((group * a.chunks * depth + k) * width + r)
            for chunk in range(1, a.chunks):
                for i in range(count):
                    total = f32(start + 4 * i * width)
                    more = f32(start + 4 * (chunk * depth + i) * width)
                    for j in range(LANES):
                        total[j] += more[j]
            transpose(block, VECTOR_BYTES, start, 4 * width, count, LANES)
            for i in range(rows):
                dw = f32(a.dw + 4 * ((group * a.rows + r + i) * a.depth + k))
                if a.accumulate != 0:
                    for j in range(count):
                        dw[j] += values[i * LANES + j]
                else:
                    for j in range(count):
                        dw[j] = values[i * LANES + j]
    if part == 0 and a.dbias != 0:
        dbias = f32(a.dbias)
        for group in range(a.groups):
            for r in range(a.rows):
                total_bias = ZERO
                for chunk in range(a.chunks):
                    sums = f32(a.partial_bias)
                    total_bias += sums[(group * a.chunks + chunk) * width + r]
                if a.accumulate_bias != 0:
                    total_bias += dbias[group * a.rows + r]
                dbias[group * a.rows + r] = total_bias
