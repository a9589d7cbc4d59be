"""Matrix products for inner products: few rows of data times a large matrix of weights.

The weights are read once and never copied; the rows of data are, as there are few.
Each product is divided among threads by the rows or columns of its result, and its sums
run in one order, so that results do not depend on the number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.backends.cpu.machine.compiled import carray, helper, kernel, outlined
from runtime.backends.cpu.machine.llvm import LANES, ROWS, VECTOR_BYTES, VECTORS
from runtime.backends.cpu.machine.simd import copy, f32, tile1, tile2, tile3, transpose

LOWEST: Any = np.float32(-np.inf)
ZERO: Any = np.float32(0)
TILE = VECTORS * LANES
COLUMN_TILES = 8  # tiles of columns that stay in the cache for many rows


@outlined
def multiply_tile(
    vectors: int,
    a: int,
    a_step: int,
    a_row: int,
    b: int,
    b_step: int,
    depth: int,
    c: int,
    c_row: int,
    bias: int,
    floor: np.float32,
) -> None:
    """Compute c = max(floor, bias + a b) for a tile of ROWS rows; see `simd.tile1`.

    Args:
        vectors: vectors of columns of the tile, 1 to 3.
        a: address of the left factor.
        a_step: bytes from one term of a row of a to the next.
        a_row: bytes from one row of a to the next.
        b: address of the right factor, whose rows are `vectors` vectors.
        b_step: bytes from one row of b to the next.
        depth: terms of every sum, at least 1.
        c: address of the result.
        c_row: bytes from one row of c to the next.
        bias: address of ROWS floats to start the sums with; 0 to start with c.
        floor: the least value of c; -inf for none.
    """
    if vectors == 3:
        tile3(a, a_step, a_row, b, b_step, depth, c, c_row, bias, floor)
    elif vectors == 2:
        tile2(a, a_step, a_row, b, b_step, depth, c, c_row, bias, floor)
    else:
        tile1(a, a_step, a_row, b, b_step, depth, c, c_row, bias, floor)


@helper
def next_vectors(left: int) -> int:
    """Return how many vectors to take of those left: 4 are better two by two."""
    return left if left <= 3 else (2 if left == 4 else 3)


@helper
def _share(part: int, parts: int, blocks: int) -> tuple[int, int]:
    return blocks * part // parts, blocks * (part + 1) // parts


@kernel("x rows columns target target_columns")
def transpose_rows(record: Any, part: int, parts: int) -> None:
    """Transpose x, with zeros at the end of every row.

    Fields:
        x: (rows, columns).
        target: (columns, target_columns), with room for a multiple of LANES rows.
        target_columns: `rows` rounded up to vectors.
    """
    a = carray(record, 1)[0]
    low, high = _share(part, parts, (a.columns + LANES - 1) // LANES)
    for block in range(low, high):
        column = block * LANES
        for row in range(0, a.rows, LANES):
            transpose(
                a.target + 4 * (column * a.target_columns + row),
                4 * a.target_columns,
                a.x + 4 * (row * a.columns + column),
                4 * a.columns,
                min(LANES, a.rows - row),
                min(LANES, a.columns - column),
            )


@kernel("x rows columns target target_columns")
def pad_rows(record: Any, part: int, parts: int) -> None:
    """Write x with more columns, and rows up to a multiple of ROWS, filled with 0.

    Fields:
        x: (rows, columns).
        target: (rows, target_columns), its rows rounded up.
    """
    a = carray(record, 1)[0]
    padded = (a.rows + ROWS - 1) // ROWS * ROWS
    for row in range(part, padded, parts):
        target = f32(a.target + 4 * row * a.target_columns)
        count = a.columns if row < a.rows else 0
        copy(a.target + 4 * row * a.target_columns, a.x + 4 * row * a.columns, count)
        for j in range(count, a.target_columns):
            target[j] = ZERO


@kernel("w bias xt y images rows depth terms workspace workspace_bytes", "floor")
def times_transposed(record: Any, part: int, parts: int, thread: int) -> None:
    """Compute y[b][r] = bias[r] + sum over k of x[b][k] w[r][k], or floor if greater.

    Fields:
        w: (rows, depth).
        bias: (rows,), or 0 for none.
        xt: (depth, images), what `transpose_rows` makes of x.
        y: (images, rows).
        terms: of a sum that are added at a time.
        workspace, workspace_bytes: that of all threads, and the bytes of each: ROWS
            rows of `terms` floats, LANES biases, and the result of its share,
            transposed.
        floor: -inf for none.
    """
    a = carray(record, 1)[0]
    width = (a.images + LANES - 1) // LANES * LANES
    low, high = _share(part, parts, (a.rows + ROWS - 1) // ROWS)
    spare = a.workspace + thread * a.workspace_bytes
    biases = spare + 4 * ROWS * a.terms
    sums = biases + 4 * LANES
    floor = np.float32(a.floor)
    for k in range(0, a.depth, a.terms):
        terms = min(a.terms, a.depth - k)
        for block in range(low, high):
            row = block * ROWS
            valid = min(ROWS, a.rows - row)
            weights, weights_row = a.w + 4 * (row * a.depth + k), 4 * a.depth
            if valid < ROWS:
                for i in range(ROWS):
                    copy(
                        spare + 4 * i * a.terms,
                        weights + min(i, valid - 1) * weights_row,
                        terms,
                    )
                weights, weights_row = spare, 4 * a.terms
            bias = 0
            if k == 0:
                bias = biases
                for i in range(ROWS):
                    has = a.bias != 0 and i < valid
                    f32(biases)[i] = f32(a.bias)[row + i] if has else ZERO
            left = width // LANES
            b = a.xt + 4 * k * width
            c = sums + 4 * (block - low) * ROWS * width
            while left > 0:
                vectors = next_vectors(left)
                multiply_tile(
                    vectors,
                    weights,
                    4,
                    weights_row,
                    b,
                    4 * width,
                    terms,
                    c,
                    4 * width,
                    bias,
                    LOWEST,
                )
                b += vectors * VECTOR_BYTES
                c += vectors * VECTOR_BYTES
                left -= vectors
    result = f32(sums)
    last = min(high * ROWS, a.rows)
    for image in range(a.images):
        y = f32(a.y + 4 * image * a.rows)
        for row in range(low * ROWS, last):
            value = result[(row - low * ROWS) * width + image]
            y[row] = floor if value < floor else value


@kernel("w bias x y images rows depth terms workspace workspace_bytes", "floor")
def times(record: Any, part: int, parts: int, thread: int) -> None:
    """Compute y[b][r] = bias[r] + sum over k of x[b][k] w[k][r], or floor if greater.

    Fields:
        w: (depth, rows).
        bias: (rows,), or 0 for none.
        x: (images, depth), what `pad_rows` makes of x.
        y: (images, rows).
        terms: of a sum that are added at a time.
        workspace, workspace_bytes: that of all threads, and the bytes of each: `terms`
            + ROWS rows of TILE floats, and ROWS zeros.
        floor: -inf for none.
    """
    a = carray(record, 1)[0]
    low, high = _share(part, parts, (a.rows + TILE - 1) // TILE)
    spare = a.workspace + thread * a.workspace_bytes
    sums = spare + 4 * TILE * a.terms
    zeros = sums + 4 * TILE * ROWS
    floor = np.float32(a.floor)
    for i in range(ROWS):
        f32(zeros)[i] = ZERO
    image_blocks = (a.images + ROWS - 1) // ROWS
    for block in range(low, high):
        column = block * TILE
        valid = min(TILE, a.rows - column)
        vectors = (valid + LANES - 1) // LANES
        for k in range(0, a.depth, a.terms):
            terms = min(a.terms, a.depth - k)
            b, b_step = a.w + 4 * (k * a.rows + column), 4 * a.rows
            if valid < vectors * LANES:
                for i in range(terms):
                    copy(spare + 4 * TILE * i, b + i * b_step, valid)
                b, b_step = spare, 4 * TILE
            for image_block in range(image_blocks):
                image = image_block * ROWS
                whole = valid == vectors * LANES and image + ROWS <= a.images
                c, c_row = a.y + 4 * (image * a.rows + column), 4 * a.rows
                rows = min(ROWS, a.images - image)
                if not whole:
                    if k > 0:
                        for i in range(rows):
                            copy(sums + 4 * TILE * i, c + i * c_row, valid)
                    target, target_row = sums, 4 * TILE
                else:
                    target, target_row = c, c_row
                multiply_tile(
                    vectors,
                    a.x + 4 * (image * a.depth + k),
                    4,
                    4 * a.depth,
                    b,
                    b_step,
                    terms,
                    target,
                    target_row,
                    zeros if k == 0 else 0,
                    LOWEST,
                )
                if not whole:
                    for i in range(rows):
                        copy(c + i * c_row, sums + 4 * TILE * i, valid)
        for image in range(a.images):
            y = f32(a.y + 4 * (image * a.rows + column))
            if a.bias != 0:
                bias = f32(a.bias + 4 * column)
                for j in range(valid):
                    y[j] += bias[j]
            if floor > LOWEST:
                for j in range(valid):
                    y[j] = floor if y[j] < floor else y[j]


@kernel(
    "left right out images rows columns left_columns right_columns accumulate "
    "workspace workspace_bytes"
)
def outer(record: Any, part: int, parts: int, thread: int) -> None:
    """Compute out[r][c] = sum over b of left[b][r] right[b][c], or add it to out.

    Fields:
        left: (images, left_columns), what `pad_rows` makes of (images, rows).
        right: (images, right_columns), what it makes of (images, columns).
        out: (rows, columns).
        left_columns, right_columns: rounded up to a multiple of ROWS and of LANES.
        accumulate: 1 where out is added to, not stored.
        workspace, workspace_bytes: that of all threads, and the bytes of each: ROWS + 1
            rows of TILE floats.
    """
    a = carray(record, 1)[0]
    low, high = _share(part, parts, (a.rows + ROWS - 1) // ROWS)
    sums = a.workspace + thread * a.workspace_bytes
    zeros = sums + 4 * TILE * ROWS
    for i in range(ROWS):
        f32(zeros)[i] = ZERO
    start = 0 if a.accumulate != 0 else zeros
    for first in range(0, a.columns, COLUMN_TILES * TILE):
        last = min(first + COLUMN_TILES * TILE, a.columns)
        for block in range(low, high):
            row = block * ROWS
            rows = min(ROWS, a.rows - row)
            for column in range(first, last, TILE):
                valid = min(TILE, last - column)
                vectors = (valid + LANES - 1) // LANES
                c, c_row = a.out + 4 * (row * a.columns + column), 4 * a.columns
                target, target_row = c, c_row
                whole = rows == ROWS and valid == vectors * LANES
                if not whole:
                    if a.accumulate != 0:
                        for i in range(rows):
                            copy(sums + 4 * TILE * i, c + i * c_row, valid)
                    target, target_row = sums, 4 * TILE
                multiply_tile(
                    vectors,
                    a.left + 4 * row,
                    4 * a.left_columns,
                    4,
                    a.right + 4 * column,
                    4 * a.right_columns,
                    a.images,
                    target,
                    target_row,
                    start,
                    LOWEST,
                )
                if not whole:
                    for i in range(rows):
                        copy(c + i * c_row, sums + 4 * TILE * i, valid)


@kernel("x out rows columns accumulate")
def sum_rows(record: Any, part: int, parts: int) -> None:
    """Compute out[j] = sum over the rows of x, or add it to out.

    Fields:
        x: (rows, columns).
        out: (columns,).
        accumulate: 1 where out is added to, not stored.
    """
    a = carray(record, 1)[0]
    out = f32(a.out)
    low, high = _share(part, parts, (a.columns + LANES - 1) // LANES)
    low, high = low * LANES, min(high * LANES, a.columns)
    if a.accumulate == 0:
        for j in range(low, high):
            out[j] = ZERO
    for row in range(a.rows):
        x = f32(a.x + 4 * row * a.columns)
        for j in range(low, high):
            out[j] += x[j]
