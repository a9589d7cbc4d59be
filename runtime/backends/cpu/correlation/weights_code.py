"""The compiled kernels of the gradient of weights, on planes that are read in place.

Of a correlation whose taps all lie inside of x the gradient of the weights is a matrix
product with a term for every position p of all images,

    dw[r][k] = sum over p of dy[r][p] x[k][p]     k = (c, t), a channel and a tap

One factor, `left`, is read where it lies: in a tile of the product every row has an
address of its own, every term an offset, so that steps between positions, taps and
images cost nothing. The other, `right`, whose planes are the positions themselves, is
transposed, some positions at a time. A unit of the work is a block of rows of both and
a chunk of the positions; its sums stay in the workspace until they are whole.

The sizes of blocks and chunks depend on shapes alone, and so do the results.
`weights` beside this file makes the records.
"""

from __future__ import annotations

from typing import Any

from runtime.backends.cpu.correlation.rows_product import multiply_rows
from runtime.backends.cpu.correlation.strided import copy_every
from runtime.backends.cpu.correlation.weights_ahead import ask_for_left, ask_for_right
from runtime.backends.cpu.machine.compiled import carray, kernel, outlined
from runtime.backends.cpu.machine.llvm import LANES, ROWS, VECTOR_BYTES
from runtime.backends.cpu.machine.matrix import ZERO, next_vectors
from runtime.backends.cpu.machine.simd import copy, f32, i64, transpose

SMALL_PLANE = 64  # positions
RUN = 64 * LANES  # elements of a sum that a thread adds at a time


@kernel(
    "left right rows left_rows right_rows left_image left_group left_step "
    "left_column_step images groups out_height out_width left_blocks "
    "left_block right_blocks right_block chunks chunk_positions panel_positions out "
    "out_left out_right accumulate sums_of_left sums workspace workspace_bytes "
    "panel_at offsets_at block_at"
)
def multiply_positions(record: Any, part: int, parts: int, thread: int) -> None:
    """Compute products over positions, in chunks.

    out[left row][right row] = sum over a chunk of left[row][p] right[row][p]

    Fields:
        left: one factor; its element of row k, position (i, j) of image n, group g
            lies at n left_image + g left_group + rows[k] + i left_step + j
            left_column_step bytes.
        rows: int64 (left_rows,), the last one repeated up to a multiple of ROWS.
        right: (images, groups, right_rows, out_height, out_width).
        left_rows, right_rows: of a group.
        left_blocks, right_blocks, left_block, right_block: blocks of rows, and the most
            rows of one, multiples of ROWS and LANES.
        chunks, chunk_positions: runs of positions that are summed by themselves, and
            the most positions of one.
        panel_positions: that are transposed at a time.
        out: (groups, chunks, left_rows right_rows), or 0 where it is not wanted.
        out_left, out_right: elements of out from one row of a factor to the next; one
            of them is 1.
        accumulate: 1 where out is added to, not stored.
        sums: (groups, chunks, rows), the sums of one factor over the positions, or 0.
        sums_of_left: 1 where that factor is `left`.
        workspace, workspace_bytes: that of all threads, and the bytes of each: the sums
            (left_block, right_block) from its start.
        panel_at: where it has the transposed panel.
        offsets_at: where it has int64 (panel_positions,).
        block_at: where it has LANES x LANES floats, and a vector for every row of one
            factor.
    """
    a = carray(record, 1)[0]
    positions = a.images * a.out_height * a.out_width
    workspace = a.workspace + thread * a.workspace_bytes
    panel, offsets = workspace + a.panel_at, workspace + a.offsets_at
    units = a.groups * a.chunks * a.left_blocks * a.right_blocks
    for unit in range(units * part // parts, units * (part + 1) // parts):
        right_number, rest = unit % a.right_blocks, unit // a.right_blocks
        left_number, rest = rest % a.left_blocks, rest // a.left_blocks
        group, chunk = rest // a.chunks, rest % a.chunks
        low = left_number * a.left_block
        high = min(low + a.left_block, a.left_rows)
        first_column = right_number * a.right_block
        columns = min(a.right_block, a.right_rows - first_column)
        width = (columns + LANES - 1) // LANES * LANES
        begin = chunk * a.chunk_positions
        until = min(begin + a.chunk_positions, positions)
        summed = a.sums + 4 * rest * (a.left_rows if a.sums_of_left else a.right_rows)
        sums_left = a.sums != 0 and a.sums_of_left != 0 and right_number == 0
        sums_right = a.sums != 0 and a.sums_of_left == 0 and left_number == 0
        for first in range(begin, until, a.panel_positions):
            count = min(a.panel_positions, until - first)
            base = a.left + _offsets(a, first, count, offsets) + group * a.left_group
            _transpose_panel(a, group, first, count, first_column, columns, panel)
            coming = first + a.panel_positions
            ahead = min(a.panel_positions, until - coming)
            if a.out_height * a.out_width < SMALL_PLANE:
                ahead = 0  # its rows are in many pieces
            # Between tiles, as many lines are asked for as come while one is made.
            tiles = (high - low) * width
            for k in range(low, high, ROWS):
                c = workspace + 4 * (k - low) * width
                b, left = panel, width // LANES
                while left > 0:
                    vectors = next_vectors(left)
                    at = width - left * LANES
                    if k + ROWS < high:
                        begin_at = count * at // width
                        end_at = count * (at + vectors * LANES) // width
                        ask_for_left(
                            base, a.rows + 8 * (k + ROWS), offsets, begin_at, end_at
                        )
                    done = (k - low) * width + ROWS * at
                    row = columns * done // tiles
                    end = min(
                        columns, columns * (done + ROWS * vectors * LANES) // tiles
                    )
                    ask_for_right(
                        a, group, coming, ahead, first_column + row, end - row
                    )
                    multiply_rows(
                        vectors,
                        base,
                        a.rows + 8 * k,
                        offsets,
                        b,
                        vectors * VECTOR_BYTES,
                        count,
                        c,
                        4 * width,
                        1 if first == begin else 0,
                    )
                    b += vectors * VECTOR_BYTES * (a.panel_positions + LANES)
                    c += vectors * VECTOR_BYTES
                    left -= vectors
            if sums_left:
                _sum_left(a, base, low, high, offsets, count, summed, first == begin)
            if sums_right:
                block = workspace + a.block_at
                _sum_right(a, panel, columns, count, block, first == begin)
        if sums_right:
            copy(summed + 4 * first_column, workspace + a.block_at, columns)
        if a.out != 0:
            out = a.out + 4 * rest * a.left_rows * a.right_rows
            out += 4 * (low * a.out_left + first_column * a.out_right)
            _put_sums(a, workspace, high - low, columns, out)


@outlined
def _offsets(a: Any, first: int, count: int, target: int) -> int:
    """Write where `left` has some positions, from the address that is returned.

    Args:
        a: the record; see `multiply_positions`.
        first: the number of the first position, among those of all images.
        count: how many there are.
        target: address of (count,) int64.
    """
    offsets = i64(target)
    plane = a.out_height * a.out_width
    image = first // plane
    row = (first - image * plane) // a.out_width
    column = first - image * plane - row * a.out_width
    base = image * a.left_image
    at, done = 0, 0
    while done < count:
        length = min(count - done, a.out_width - column)
        start = at + row * a.left_step + column * a.left_column_step
        for j in range(length):
            offsets[done + j] = start + j * a.left_column_step
        done += length
        column = 0
        row += 1
        if row == a.out_height:
            row = 0
            at += a.left_image
    return base


@outlined
def _transpose_panel(
    a: Any,
    group: int,
    first: int,
    count: int,
    first_column: int,
    columns: int,
    target: int,
) -> None:
    """Write some rows of `right` as (position, row), in tiles of at most TILE rows.

    Args:
        a: the record; see `multiply_positions`.
        group: the number of the group.
        first: the number of the first position, among those of all images.
        count: how many positions there are.
        first_column: the number of the first row of `right`, within the group.
        columns: how many rows there are.
        target: address of the panel: a tile has panel_positions + LANES positions.
    """
    plane = a.out_height * a.out_width
    left = (columns + LANES - 1) // LANES
    done = 0
    while left > 0:
        vectors = next_vectors(left)
        position = 0
        while position < count:
            image = (first + position) // plane
            q = first + position - image * plane
            length = min(count - position, plane - q)
            source = (image * a.groups + group) * a.right_rows + first_column + done
            source = a.right + 4 * (source * plane + q)
            for j in range(0, length, LANES):
                for v in range(vectors):
                    transpose(
                        target + VECTOR_BYTES * ((position + j) * vectors + v),
                        vectors * VECTOR_BYTES,
                        source + 4 * (v * LANES * plane + j),
                        4 * plane,
                        min(LANES, columns - done - v * LANES),
                        min(LANES, length - j),
                    )
            position += length
        target += vectors * VECTOR_BYTES * (a.panel_positions + LANES)
        done += vectors * LANES
        left -= vectors


@outlined
def _sum_left(
    a: Any,
    base: int,
    low: int,
    high: int,
    offsets: int,
    count: int,
    target: int,
    fresh: bool,
) -> None:
    """Add some positions of rows of `left` up.

    Args:
        a: the record; see `multiply_positions`.
        base: address from which offsets count.
        low: the number of the first row.
        high: the number of the last one, plus 1.
        offsets: address of (count,) int64.
        count: how many positions there are.
        target: address of (left_rows,) sums.
        fresh: whether the sums begin here.
    """
    sums, rows, at = f32(target), i64(a.rows), i64(offsets)
    for k in range(low, high):
        values = f32(base + rows[k])
        total = ZERO
        for j in range(count):
            total += values[at[j] >> 2]
        sums[k] = total if fresh else sums[k] + total


@outlined
def _sum_right(
    a: Any, panel: int, columns: int, count: int, target: int, fresh: bool
) -> None:
    """Add the positions of a panel up, for every row.

    Args:
        a: the record; see `multiply_positions`.
        panel: address of the panel.
        columns: how many rows it has.
        count: how many positions.
        target: address of the sums: whole vectors.
        fresh: whether the sums begin here.
    """
    left = (columns + LANES - 1) // LANES
    while left > 0:
        vectors = next_vectors(left)
        width = vectors * LANES
        sums, values = f32(target), f32(panel)
        if fresh:
            for j in range(width):
                sums[j] = ZERO
        for position in range(count):
            for j in range(width):
                sums[j] += values[position * width + j]
        panel += vectors * VECTOR_BYTES * (a.panel_positions + LANES)
        target += vectors * VECTOR_BYTES
        left -= vectors


@outlined
def _put_sums(a: Any, sums: int, rows: int, columns: int, out: int) -> None:
    """Write the sums of a unit, or add them.

    Args:
        a: the record; see `multiply_positions`.
        sums: address of (rows, columns), the columns padded to vectors.
        rows: how many rows of `left` there are.
        columns: how many of `right`.
        out: address of the first element.
    """
    width = (columns + LANES - 1) // LANES * LANES
    if a.out_right == 1:
        for i in range(rows):
            source, target = f32(sums + 4 * i * width), f32(out + 4 * i * a.out_left)
            if a.accumulate != 0:
                for j in range(columns):
                    target[j] += source[j]
            else:
                for j in range(columns):
                    target[j] = source[j]
        return
    block = sums + a.block_at
    values = f32(block)
    for j in range(0, columns, LANES):
        for i in range(0, rows, LANES):
            count = min(LANES, rows - i)
            transpose(
                block, VECTOR_BYTES, sums + 4 * (i * width + j), 4 * width, count, LANES
            )
            for n in range(min(LANES, columns - j)):
                target = f32(out + 4 * ((j + n) * a.out_right + i))
                if a.accumulate != 0:
                    for m in range(count):
                        target[m] += values[n * LANES + m]
                else:
                    for m in range(count):
                        target[m] = values[n * LANES + m]


@kernel(
    "x y planes height width row_step column_step first_row first_column out_height "
    "out_width"
)
def gather_planes(record: Any, part: int, parts: int) -> None:
    """Copy every so many elements of planes; what lies outside of them is 0.

    Fields:
        x: (planes, height, width).
        y: (planes, out_height, out_width).
        row_step, column_step: elements of x from one of y to the next.
        first_row, first_column: the element of x that is the first of y.
    """
    a = carray(record, 1)[0]
    units = a.planes * a.out_height
    low = max(0, (a.column_step - 1 - a.first_column) // a.column_step)
    high = (a.width - 1 - a.first_column) // a.column_step + 1
    low, high = min(low, a.out_width), max(0, min(high, a.out_width))
    for unit in range(units * part // parts, units * (part + 1) // parts):
        plane, i = unit // a.out_height, unit % a.out_height
        row = i * a.row_step + a.first_row
        y = f32(a.y + 4 * unit * a.out_width)
        if row < 0 or row >= a.height:
            for j in range(a.out_width):
                y[j] = ZERO
            continue
        for j in range(low):
            y[j] = ZERO
        for j in range(high, a.out_width):
            y[j] = ZERO
        source = a.x + 4 * ((plane * a.height + row) * a.width + a.first_column)
        target = a.y + 4 * (unit * a.out_width + low)
        if low < high:
            copy_every(
                target, source + 4 * low * a.column_step, a.column_step, high - low
            )


@kernel("x y groups chunks size accumulate")
def add_chunks(record: Any, part: int, parts: int) -> None:
    """Compute y = sum over chunks of x, or add it to y.

    Fields:
        x: (groups, chunks, size).
        y: (groups, size).
        accumulate: 1 where y is added to, not stored.
    """
    a = carray(record, 1)[0]
    runs = (a.size + RUN - 1) // RUN
    units = a.groups * runs
    for unit in range(units * part // parts, units * (part + 1) // parts):
        group, first = unit // runs, unit % runs * RUN
        count = min(RUN, a.size - first)
        y = f32(a.y + 4 * (group * a.size + first))
        for chunk in range(a.chunks):
            x = f32(a.x + 4 * ((group * a.chunks + chunk) * a.size + first))
            if chunk == 0 and a.accumulate == 0:
                for i in range(count):
                    y[i] = x[i]
            else:
                for i in range(count):
                    y[i] += x[i]
