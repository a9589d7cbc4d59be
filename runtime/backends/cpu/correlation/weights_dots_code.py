"""The compiled kernel of gradients of few weights: products of vectors of positions.

    dw[r][k] = sum over p of dy[r][p] x[k][p]     k = (c, t), a channel and a tap

`weights_code` beside this file has a lane for every r, and rows of k in blocks; where
both are few, as in a first layer for grey images or in groups of some channels, most of
that is padding. Here a lane is a position: RIGHTS x LEFTS sums of vectors stay in
registers, and the lanes are added once a chunk. Where neighbours see neighbours, x is
read as it lies; otherwise its rows are packed. `weights_dots` makes the records.
"""

from __future__ import annotations

from typing import Any

from runtime.backends.cpu.correlation.dots_tiles import (
    LEFTS,
    RIGHTS,
    add_lanes,
    dots,
    dots_in_place,
)
from runtime.backends.cpu.correlation.strided import copy_every
from runtime.backends.cpu.machine.compiled import carray, helper, kernel, outlined
from runtime.backends.cpu.machine.llvm import LANES, VECTOR_BYTES
from runtime.backends.cpu.machine.matrix import ZERO
from runtime.backends.cpu.machine.simd import copy, f32, i64
from runtime.backends.cpu.machine.vectors import vadd, vload, vstore


@kernel(
    "left right rows left_rows right_rows left_image left_group left_step "
    "left_column_step images groups out_height out_width chunks chunk_positions "
    "panel_positions out accumulate sums workspace workspace_bytes panel_at right_at "
    "places_at in_place together"
)
def dot_positions(record: Any, part: int, parts: int, thread: int) -> None:
    """Compute products over positions, in chunks.

    out[r][k] = sum over a chunk of right[r][p] left[k][p]

    Fields:
        left: one factor; its element of row k, position (i, j) of image n, group g
            lies at n left_image + g left_group + rows[k] + i left_step + j
            left_column_step bytes.
        rows: int64 (left_rows,).
        right: (images, groups, right_rows, out_height, out_width).
        left_rows, right_rows: of a group.
        chunks, chunk_positions: runs of positions that are summed by themselves, and
            the most positions of one.
        panel_positions: of one image that are packed at a time, whole vectors.
        out: (groups, chunks, right_rows, left_rows), or 0 where it is not wanted.
        accumulate: 1 where out is added to, not stored.
        sums: (groups, chunks, right_rows), the sums of `right` over the positions, or
            0.
        workspace, workspace_bytes: that of all threads, and the bytes of each: a vector
            for every element of out, rows rounded up, and one for every row of `right`.
        panel_at: where it has the packed rows of `left`.
        right_at: where it has those of `right`, if they are no whole vectors.
        places_at: where it has PLACE_BYTES for every vector of a panel.
        in_place: 1 where the rows of `left` are read as they lie; no panel is there.
        together: images, of whole vectors, of which a panel is then, where it can be.
    """
    a = carray(record, 1)[0]
    plane = a.out_height * a.out_width
    positions = a.images * plane
    workspace = a.workspace + thread * a.workspace_bytes
    panel = workspace + a.panel_at
    lefts = (a.left_rows + LEFTS - 1) // LEFTS * LEFTS
    rights = (a.right_rows + RIGHTS - 1) // RIGHTS * RIGHTS
    of_bias = workspace + VECTOR_BYTES * rights * lefts
    places = workspace + a.places_at
    image_bytes = 4 * a.groups * a.right_rows * plane
    whole = (plane + LANES - 1) // LANES
    placed, places_set, singles = -1, 0, 0
    units = a.groups * a.chunks
    for unit in range(units * part // parts, units * (part + 1) // parts):
        group, chunk = unit // a.chunks, unit % a.chunks
        total = f32(workspace)
        for i in range(LANES * (rights * lefts + a.right_rows)):
            total[i] = ZERO
        first = chunk * a.chunk_positions
        until = min(first + a.chunk_positions, positions)
        while first < until:
            image = first // plane
            q = first - image * plane
            count = min(min(a.panel_positions, until - first), plane - q)
            if a.together > 1 and q == 0:
                count = max(1, min(a.together, (until - first) // plane)) * count
            vectors = (count + LANES - 1) // LANES
            right = a.right + 4 * (
                (image * a.groups + group) * a.right_rows * plane + q
            )
            right_step = 4 * plane
            base = a.left + image * a.left_image + group * a.left_group
            if a.out != 0 and a.in_place == 0:
                _pack_left(a, base, q, count, panel)
            elif a.out != 0 and not (placed == q and vectors == places_set):
                singles = _set_places(a, q, count, places)
                placed, places_set = q, vectors
            if count % LANES != 0:
                _pack_right(a, right, count, workspace + a.right_at)
                right, right_step = workspace + a.right_at, 4 * a.panel_positions
            for r in range(0, a.right_rows, RIGHTS):
                if a.sums != 0:
                    for i in range(max(1, count // plane)):
                        _add_rows(
                            right + r * right_step + i * image_bytes,
                            right_step,
                            min(RIGHTS, a.right_rows - r),
                            min(vectors, whole),
                            of_bias + VECTOR_BYTES * r,
                        )
                if a.out != 0:
                    for k in range(0, a.left_rows, LEFTS):
                        if a.in_place == 0:
                            dots(
                                right + r * right_step,
                                right_step,
                                a.right_rows - r,
                                vectors,
                                workspace + VECTOR_BYTES * (r * lefts + k),
                                VECTOR_BYTES * lefts,
                                panel + 4 * k * a.panel_positions,
                                4 * a.panel_positions,
                            )
                        else:
                            dots_in_place(
                                right + r * right_step,
                                right_step,
                                a.right_rows - r,
                                vectors,
                                workspace + VECTOR_BYTES * (r * lefts + k),
                                VECTOR_BYTES * lefts,
                                base,
                                a.rows + 8 * k,
                                a.left_rows - k,
                                places,
                                singles,
                            )
            first += count
        if a.sums != 0:
            sums = a.sums + 4 * unit * a.right_rows
            for r in range(0, a.right_rows, LANES):
                some = min(LANES, a.right_rows - r)
                add_lanes(of_bias + VECTOR_BYTES * r, sums + 4 * r, some, 0)
        if a.out != 0:
            out = a.out + 4 * unit * a.right_rows * a.left_rows
            for r in range(a.right_rows):
                for k in range(0, a.left_rows, LANES):
                    add_lanes(
                        workspace + VECTOR_BYTES * (r * lefts + k),
                        out + 4 * (r * a.left_rows + k),
                        min(LANES, a.left_rows - k),
                        a.accumulate,
                    )


@helper
def _add_rows(right: int, right_step: int, rows: int, vectors: int, sums: int) -> None:
    """Add the vectors of every row to the vector of its sums, four rows at a time.

    Rows that are not there are the last one once more.
    """
    for r in range(0, rows, 4):
        r1, r2, r3 = min(r + 1, rows - 1), min(r + 2, rows - 1), min(r + 3, rows - 1)
        s0, s1 = vload(sums + VECTOR_BYTES * r), vload(sums + VECTOR_BYTES * r1)
        s2, s3 = vload(sums + VECTOR_BYTES * r2), vload(sums + VECTOR_BYTES * r3)
        for at in range(0, vectors * VECTOR_BYTES, VECTOR_BYTES):
            s0 = vadd(s0, vload(right + r * right_step + at))
            s1 = vadd(s1, vload(right + r1 * right_step + at))
            s2 = vadd(s2, vload(right + r2 * right_step + at))
            s3 = vadd(s3, vload(right + r3 * right_step + at))
        vstore(s0, sums + VECTOR_BYTES * r)
        vstore(s1, sums + VECTOR_BYTES * r1)
        vstore(s2, sums + VECTOR_BYTES * r2)
        vstore(s3, sums + VECTOR_BYTES * r3)


@helper
def _set_places(a: Any, first: int, count: int, places: int) -> int:
    """Set where the vectors of a panel lie; return how many lie in one row of x.

    Those come first.

    Args:
        a: the record; see `dot_positions`.
        first: the number of the panel's first position, within its image.
        count: of its positions, which may be those of several images.
        places: address of (bytes to it in `right`, bytes to the first lane in `left`,
            bytes to lane 0 of those that lie in the next row, lanes in the first row,
            lanes in both) of each vector.
    """
    found = i64(places)
    plane = a.out_height * a.out_width
    image_bytes = 4 * a.groups * a.right_rows * plane
    vectors = (count + LANES - 1) // LANES
    done, singles = 0, 0
    for several in range(2):
        line, column = first // a.out_width, first % a.out_width
        left_image, right = 0, 0
        for n in range(vectors):
            lanes = min(LANES, count - n * LANES)
            in_first = min(lanes, a.out_width - column)
            if (in_first < LANES) == (several == 1):
                at = left_image + line * a.left_step
                found[5 * done] = right
                found[5 * done + 1] = at + 4 * column
                found[5 * done + 2] = at + 4 * column
                if in_first < lanes:
                    found[5 * done + 2] = at + a.left_step - 4 * in_first
                found[5 * done + 3] = in_first
                found[5 * done + 4] = lanes
                done += 1
            right += VECTOR_BYTES
            column += LANES
            if column >= a.out_width:
                column -= a.out_width
                line += 1
            if line == a.out_height:  # the next image; all are of whole vectors
                left_image += a.left_image
                right += image_bytes - 4 * plane
                line = 0
        if several == 0:
            singles = done
    return singles


@outlined
def _pack_right(a: Any, source: int, count: int, target: int) -> None:
    """Copy positions of the rows of `right`, with zeros behind them.

    Args:
        a: the record; see `dot_positions`.
        source: address of the first position of the first row.
        count: how many positions there are.
        target: address of (right_rows, panel_positions).
    """
    plane = a.out_height * a.out_width
    until = (count + LANES - 1) // LANES * LANES
    for r in range(a.right_rows):
        row = target + 4 * r * a.panel_positions
        copy(row, source + 4 * r * plane, count)
        for i in range(count, until):
            f32(row)[i] = ZERO


@outlined
def _pack_left(a: Any, base: int, first: int, count: int, target: int) -> None:
    """Copy positions of the rows of `left`, with zeros behind them.

    A vector may reach beyond its line of positions, where the next one is written then,
    or beyond all rows, where those of `right` will be.

    Args:
        a: the record; see `dot_positions`.
        base: address of the image and group.
        first: the number of the first position, within the image.
        count: how many there are.
        target: address of (left_rows, panel_positions); rows are repeated up to a
            multiple of LEFTS.
    """
    rows = i64(a.rows)
    until = (count + LANES - 1) // LANES * LANES
    top, begin = first // a.out_width, first % a.out_width
    step = a.left_column_step // 4
    end = a.left + a.images * a.left_image
    for k in range((a.left_rows + LEFTS - 1) // LEFTS * LEFTS):
        put = target + 4 * k * a.panel_positions
        line = base + rows[min(k, a.left_rows - 1)] + top * a.left_step
        column, done = begin, 0
        while done < count:
            length = min(count - done, a.out_width - column)
            at = line + column * a.left_column_step
            whole = (length + LANES - 1) // LANES * VECTOR_BYTES
            if step == 1 and at + whole <= end:
                for j in range(0, whole, VECTOR_BYTES):
                    vstore(vload(at + j), put + 4 * done + j)
            else:
                copy_every(put + 4 * done, at, step, length)
            done += length
            line += a.left_step
            column = 0
        for i in range(count, until):
            f32(put)[i] = ZERO
