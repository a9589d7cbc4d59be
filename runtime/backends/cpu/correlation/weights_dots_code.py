"""The compiled kernel of gradients of few weights: products of vectors of positions.

    dw[r][k] = sum over p of dy[r][p] x[k][p]     k = (c, t), a channel and a tap

`weights_code` beside this file has a lane for every r, and rows of k in blocks; where
both are few, as in a first layer for grey images or in groups of some channels, most of
that is padding. Here a lane is a position: RIGHTS x LEFTS sums of vectors stay in
registers, and the lanes are added once a chunk. `weights_dots` makes the records.
"""

from __future__ import annotations

from typing import Any

from runtime.backends.cpu.correlation.strided import copy_every
from runtime.backends.cpu.machine.compiled import carray, kernel, outlined
from runtime.backends.cpu.machine.llvm import (
    LANES,
    VECTOR_BYTES,
    const,
    fma,
    intrinsic,
    load,
    loop,
    store,
)
from runtime.backends.cpu.machine.matrix import ZERO
from runtime.backends.cpu.machine.parts import types
from runtime.backends.cpu.machine.simd import copy, f32, i64
from runtime.backends.cpu.machine.vectors import vadd, vload, vstore, vsum

RIGHTS = 4 if LANES == 16 else 2  # rows of dy whose sums are in registers
LEFTS = 5  # and rows of x: sums, both factors and a spare one fit


@intrinsic
def _dots(
    context: Any,
    right: Any,
    right_step: Any,
    rights: Any,
    left: Any,
    left_step: Any,
    count: Any,
    sums: Any,
    sums_step: Any,
) -> Any:
    """Add right[i] left[j] to sums[i][j], lane by lane, for RIGHTS x LEFTS rows.

    Args:
        right: address of rows of `count` vectors, at least 1, of which `rights` exist.
        right_step, left_step: bytes from a row to the next.
        left: address of LEFTS such rows.
        sums: address of vectors (RIGHTS, LEFTS), sums_step bytes from one i to the
            next.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        right, right_step, rights, left, left_step, count, sums, sums_step = args
        end = builder.sub(rights, const(1))
        from_right = []
        for i in range(RIGHTS):
            inside = builder.icmp_signed("<", const(i), rights)
            row = builder.select(inside, const(i), end)
            from_right.append(builder.add(right, builder.mul(row, right_step)))
        from_left = [
            builder.add(left, builder.mul(left_step, const(j))) for j in range(LEFTS)
        ]
        places = [
            builder.add(
                builder.add(sums, builder.mul(sums_step, const(i))),
                const(VECTOR_BYTES * j),
            )
            for i in range(RIGHTS)
            for j in range(LEFTS)
        ]

        def body(values: list[Any]) -> list[Any]:
            at, *so_far = values
            lefts = [load(builder, builder.add(row, at)) for row in from_left]
            new = []
            for i, row in enumerate(from_right):
                factor = load(builder, builder.add(row, at))
                for j, other in enumerate(lefts):
                    new.append(fma(builder, factor, other, so_far[i * LEFTS + j]))
            return [builder.add(at, const(VECTOR_BYTES)), *new]

        start = [load(builder, place) for place in places]
        _, *found = loop(builder, count, [const(0), *start], body)
        for place, value in zip(places, found, strict=True):
            store(builder, value, place)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 8), generate


@kernel(
    "left right rows left_rows right_rows left_image left_group left_step "
    "left_column_step images groups out_height out_width chunks chunk_positions "
    "panel_positions out accumulate sums workspace workspace_bytes panel_at right_at"
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
    """
    a = carray(record, 1)[0]
    plane = a.out_height * a.out_width
    positions = a.images * plane
    workspace = a.workspace + thread * a.workspace_bytes
    panel = workspace + a.panel_at
    lefts = (a.left_rows + LEFTS - 1) // LEFTS * LEFTS
    rights = (a.right_rows + RIGHTS - 1) // RIGHTS * RIGHTS
    of_bias = workspace + VECTOR_BYTES * rights * lefts
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
            vectors = (count + LANES - 1) // LANES
            right = a.right + 4 * (
                (image * a.groups + group) * a.right_rows * plane + q
            )
            right_step = 4 * plane
            if a.out != 0:
                base = a.left + image * a.left_image + group * a.left_group
                _pack_left(a, base, q, count, panel)
            if count % LANES != 0:
                _pack_right(a, right, count, workspace + a.right_at)
                right, right_step = workspace + a.right_at, 4 * a.panel_positions
            if a.out != 0:
                for r in range(0, a.right_rows, RIGHTS):
                    for k in range(0, a.left_rows, LEFTS):
                        _dots(
                            right + r * right_step,
                            right_step,
                            a.right_rows - r,
                            panel + 4 * k * a.panel_positions,
                            4 * a.panel_positions,
                            vectors,
                            workspace + VECTOR_BYTES * (r * lefts + k),
                            VECTOR_BYTES * lefts,
                        )
            if a.sums != 0:
                for r in range(a.right_rows):
                    sum_of_row = vload(of_bias + VECTOR_BYTES * r)
                    for at in range(vectors):
                        more = vload(right + r * right_step + VECTOR_BYTES * at)
                        sum_of_row = vadd(sum_of_row, more)
                    vstore(sum_of_row, of_bias + VECTOR_BYTES * r)
            first += count
        if a.sums != 0:
            sums = f32(a.sums + 4 * unit * a.right_rows)
            for r in range(a.right_rows):
                sums[r] = vsum(vload(of_bias + VECTOR_BYTES * r))
        if a.out != 0:
            out = f32(a.out + 4 * unit * a.right_rows * a.left_rows)
            for r in range(a.right_rows):
                for k in range(a.left_rows):
                    value = vsum(vload(workspace + VECTOR_BYTES * (r * lefts + k)))
                    if a.accumulate != 0:
                        value += out[r * a.left_rows + k]
                    out[r * a.left_rows + k] = value


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
