"""The compiled kernels of convolution by Winograd's transforms.

They compute what `runtime.backends.cpu.correlate` computes, for stride 1 and kernels of
3 x 3 and 5 x 5, with 4 and 2.8 times fewer multiplications. The output is cut into
tiles of m x m places (m = 4 for a kernel of 3, 2 for one of 5); tiles of all images are
numbered through, and a panel of them is transformed, multiplied and transformed back by
one thread while it is in the cache. `runtime.backends.cpu.transforms` has the formulas.

Each of the 36 elements of a transformed tile is a matrix product of its own:

    M[e] (rows, tiles) = U[e] (rows, channels) V[e] (channels, tiles)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray

from runtime.backends.cpu.compiled import helper, kernel, outlined
from runtime.backends.cpu.matrix import LOWEST, TILE, ZERO, multiply_tile, next_vectors
from runtime.backends.cpu.simd import (
    LANES,
    ROWS,
    VECTOR_BYTES,
    copy,
    f32,
    i64,
    split2,
    split4,
    transpose,
)
from runtime.backends.cpu.transforms import (
    data3,
    data5,
    gradient3,
    gradient5,
    results3,
    results5,
    weight_gradient3,
    weight_gradient5,
    weights3,
    weights5,
)

ELEMENTS = 36  # of a transformed tile
PITCH = TILE + LANES  # floats from row to row of V: a tile may spill over its end
ROWS_AT_ONCE = 64  # rows of M that are computed before they are transformed back

# x (images, groups, channels, height, width) is seen through tiles of `results` places;
# the first place of tile 0 sees x at (top, left), which may be negative.
TILES = (
    "x images groups channels height width tiles_down tiles_across kernel results "
    "top left workspace workspace_bytes rows_at data_at "
)


@kernel(
    "w transformed groups rows channels kernel tap_index group_stride row_stride "
    "channel_stride workspace workspace_bytes"
)
def transform_weights(record: Any, part: int, parts: int) -> None:
    """Compute U = G g G^T: (group, element, rows / LANES, channel, LANES)."""
    a = carray(record, 1)[0]
    w, index, taps = f32(a.w), i64(a.tap_index), a.kernel * a.kernel
    blocks = (a.rows + LANES - 1) // LANES
    spare = a.workspace + part * a.workspace_bytes
    window = f32(spare)
    units = a.groups * blocks * a.channels
    for unit in range(units * part // parts, units * (part + 1) // parts):
        c, rest = unit % a.channels, unit // a.channels
        group, block = rest // blocks, rest % blocks
        valid = min(LANES, a.rows - block * LANES)
        at = group * a.group_stride + block * LANES * a.row_stride
        at += c * a.channel_stride
        for t in range(taps):
            for i in range(valid):
                window[t * LANES + i] = w[at + i * a.row_stride + index[t]]
            for i in range(valid, LANES):
                window[t * LANES + i] = ZERO
        step = blocks * a.channels * VECTOR_BYTES
        target = a.transformed + group * ELEMENTS * step
        target += (block * a.channels + c) * VECTOR_BYTES
        if a.kernel == 3:
            weights3(spare, 3 * VECTOR_BYTES, VECTOR_BYTES, target, step)
        else:
            weights5(spare, 5 * VECTOR_BYTES, VECTOR_BYTES, target, step)


@outlined
def _transform_rows(
    a: Any,
    plane: int,
    first_row: int,
    first_column: int,
    height: int,
    width: int,
    tiles: int,
    rows: int,
    spare: int,
    target: int,
    step: int,
) -> None:
    """Transform `tiles` tiles side by side, `rows` rows high, of one plane.

    The plane (height, width) is seen from (first_row, first_column); rows is 6 for data
    and `results` for a gradient.
    """
    results = a.results
    vectors = (tiles + LANES - 1) // LANES
    phase = (vectors + 1) * VECTOR_BYTES
    line = spare
    kept = spare + (results * (vectors + 1)) * VECTOR_BYTES
    columns = results * (vectors + 1) * LANES
    low = min(columns, max(0, -first_column))
    high = max(low, min(columns, width - first_column))
    padded = f32(line)
    for i in range(rows):
        row = first_row + i
        if 0 <= row < height:
            for j in range(low):
                padded[j] = ZERO
            source = plane + 4 * (row * width + first_column + low)
            copy(line + 4 * low, source, high - low)
            for j in range(high, columns):
                padded[j] = ZERO
        else:
            for j in range(columns):
                padded[j] = ZERO
        if results == 4:
            split4(kept + i * 4 * phase, phase, line, vectors + 1)
        else:
            split2(kept + i * 2 * phase, phase, line, vectors + 1)
    for v in range(vectors):
        source, put = kept + v * VECTOR_BYTES, target + v * VECTOR_BYTES
        if rows == 6:
            if results == 4:
                data3(source, 4 * phase, phase, put, step)
            else:
                data5(source, 2 * phase, phase, put, step)
        elif results == 4:
            gradient3(source, 4 * phase, phase, put, step)
        else:
            gradient5(source, 2 * phase, phase, put, step)


@helper
def _row_of(a: Any, tile: int, last: int) -> tuple[int, int, int, int]:
    """Return image, row and column of a tile, and the tiles from it to the row's end."""
    plane = a.tiles_down * a.tiles_across
    image = tile // plane
    down = (tile - image * plane) // a.tiles_across
    across = tile - image * plane - down * a.tiles_across
    return image, down, across, min(last - tile, a.tiles_across - across)


@outlined
def _transform_data(
    a: Any, workspace: int, group: int, first: int, last: int, c0: int, c1: int
) -> None:
    """Compute V = B^T d B of a panel: (element, channel - c0, tile), rows PITCH long."""
    step = 4 * PITCH * (c1 - c0)
    plane_bytes = 4 * a.height * a.width
    for c in range(c0, c1):
        tile = first
        while tile < last:
            image, down, across, count = _row_of(a, tile, last)
            channel = (image * a.groups + group) * a.channels + c
            _transform_rows(
                a,
                a.x + channel * plane_bytes,
                a.top + down * a.results,
                a.left + across * a.results,
                a.height,
                a.width,
                count,
                6,
                workspace + a.rows_at,
                workspace + a.data_at + 4 * ((c - c0) * PITCH + tile - first),
                step,
            )
            tile += count


@kernel(
    "y transformed bias rows out_height out_width row_shares products_at results_at "
    + TILES,
    "floor",
)
def winograd(record: Any, part: int, parts: int) -> None:
    """Compute y = max(floor, bias + the correlation of x with the weights)."""
    a = carray(record, 1)[0]
    tiles = a.images * a.tiles_down * a.tiles_across
    panels = (tiles + TILE - 1) // TILE
    blocks = (a.rows + LANES - 1) // LANES
    workspace = a.workspace + part * a.workspace_bytes
    products, out = workspace + a.products_at, workspace + a.results_at
    zeros = workspace
    for i in range(ROWS):
        f32(zeros)[i] = ZERO
    for unit in range(part, a.groups * panels * a.row_shares, parts):
        share, rest = unit % a.row_shares, unit // a.row_shares
        group, panel = rest // panels, rest % panels
        first, last = panel * TILE, min((panel + 1) * TILE, tiles)
        vectors = (last - first + LANES - 1) // LANES
        _transform_data(a, workspace, group, first, last, 0, a.channels)
        data = workspace + a.data_at
        low = blocks * share // a.row_shares * LANES
        high = min(blocks * (share + 1) // a.row_shares * LANES, a.rows)
        for start in range(low, high, ROWS_AT_ONCE):
            end = min(start + ROWS_AT_ONCE, high)
            for e in range(ELEMENTS):
                weights = (group * ELEMENTS + e) * blocks * a.channels
                for row in range(start, end, ROWS):
                    at = weights + row // LANES * a.channels
                    multiply_tile(
                        vectors,
                        a.transformed + VECTOR_BYTES * at + 4 * (row % LANES),
                        VECTOR_BYTES,
                        4,
                        data + 4 * e * a.channels * PITCH,
                        4 * PITCH,
                        a.channels,
                        products + 4 * (e * ROWS_AT_ONCE + row - start) * TILE,
                        4 * TILE,
                        zeros,
                        LOWEST,
                    )
            for row in range(start, end):
                source = products + 4 * (row - start) * TILE
                _transform_back(a, group, row, first, last, source, out)


@outlined
def _transform_back(
    a: Any, group: int, row: int, first: int, last: int, source: int, out: int
) -> None:
    """Compute y = A^T m A of one row of a panel."""
    results, floor = a.results, np.float32(a.floor)
    step = 4 * ROWS_AT_ONCE * TILE
    bias = ZERO
    if a.bias != 0:
        bias = f32(a.bias)[group * a.rows + row]
    tile = first
    while tile < last:
        image, down, across, count = _row_of(a, tile, last)
        channel = (image * a.groups + group) * a.rows + row
        plane = a.y + 4 * channel * a.out_height * a.out_width
        for v in range(0, count, LANES):
            at = source + 4 * (tile - first + v)
            if results == 4:
                results3(at, step, out, 4 * VECTOR_BYTES, bias, floor)
            else:
                results5(at, step, out, 2 * VECTOR_BYTES, bias, floor)
            column = (across + v) * results
            wide = min(min(LANES, count - v) * results, a.out_width - column)
            for i in range(min(results, a.out_height - down * results)):
                place = (down * results + i) * a.out_width + column
                copy(plane + 4 * place, out + i * results * VECTOR_BYTES, wide)
        tile += count


@kernel(
    "dy rows out_height out_width partial partial_bias chunks chunk_tiles "
    "channel_shares channel_block turned_at gradient_at " + TILES
)
def winograd_weights(record: Any, part: int, parts: int) -> None:
    """Compute the transformed gradient of the weights, in parts.

    partial (group, chunk, element, channel, rows rounded up to vectors) holds the sums
    over the tiles of a chunk, partial_bias (group, chunk, rows) those of dy.
    """
    a = carray(record, 1)[0]
    tiles = a.images * a.tiles_down * a.tiles_across
    width = (a.rows + LANES - 1) // LANES * LANES
    channels = (a.channels + ROWS - 1) // ROWS * ROWS
    workspace = a.workspace + part * a.workspace_bytes
    turned = workspace + a.turned_at
    zeros = workspace
    for i in range(ROWS):
        f32(zeros)[i] = ZERO
    for unit in range(part, a.groups * a.chunks * a.channel_shares, parts):
        share, rest = unit % a.channel_shares, unit // a.channel_shares
        group, chunk = rest // a.chunks, rest % a.chunks
        blocks = channels // ROWS
        low = blocks * share // a.channel_shares * ROWS
        high = min(blocks * (share + 1) // a.channel_shares * ROWS, a.channels)
        begin = chunk * a.chunk_tiles
        until = min(begin + a.chunk_tiles, tiles)
        partial = a.partial + 4 * rest * ELEMENTS * channels * width
        for first in range(begin, until, TILE):
            last = min(first + TILE, until)
            _transform_gradient(a, workspace, group, first, last, width)
            if share == 0:
                sums = f32(a.partial_bias + 4 * rest * width)
                if first == begin:
                    for r in range(width):
                        sums[r] = ZERO
                _add_tiles(a, group, first, last, sums)
            start = zeros if first == begin else 0
            for c0 in range(low, high, a.channel_block):
                c1 = min(c0 + a.channel_block, high)
                _transform_data(a, workspace, group, first, last, c0, c1)
                for e in range(ELEMENTS):
                    data = workspace + a.data_at + 4 * e * (c1 - c0) * PITCH
                    for c in range(c0, c1, ROWS):
                        target = partial + 4 * (e * channels + c) * width
                        b, left = turned + 4 * e * TILE * width, width // LANES
                        while left > 0:
                            vectors = next_vectors(left)
                            multiply_tile(
                                vectors,
                                data + 4 * (c - c0) * PITCH,
                                4,
                                4 * PITCH,
                                b,
                                4 * width,
                                last - first,
                                target,
                                4 * width,
                                start,
                                LOWEST,
                            )
                            b += vectors * VECTOR_BYTES
                            target += vectors * VECTOR_BYTES
                            left -= vectors


@outlined
def _transform_gradient(
    a: Any, workspace: int, group: int, first: int, last: int, width: int
) -> None:
    """Compute A dy A^T of a panel, turned: (element, tile, row)."""
    spare = workspace + a.gradient_at
    step = 4 * LANES * PITCH
    plane_bytes = 4 * a.out_height * a.out_width
    for block in range(0, a.rows, LANES):
        valid = min(LANES, a.rows - block)
        for r in range(valid):
            tile = first
            while tile < last:
                image, down, across, count = _row_of(a, tile, last)
                channel = (image * a.groups + group) * a.rows + block + r
                _transform_rows(
                    a,
                    a.dy + channel * plane_bytes,
                    down * a.results,
                    across * a.results,
                    a.out_height,
                    a.out_width,
                    count,
                    a.results,
                    workspace + a.rows_at,
                    spare + 4 * (r * PITCH + tile - first),
                    step,
                )
                tile += count
        for e in range(ELEMENTS):
            for t in range(0, last - first, LANES):
                transpose(
                    workspace + a.turned_at + 4 * ((e * TILE + t) * width + block),
                    4 * width,
                    spare + e * step + 4 * t,
                    4 * PITCH,
                    valid,
                    min(LANES, last - first - t),
                )


@outlined
def _add_tiles(a: Any, group: int, first: int, last: int, sums: Any) -> None:
    """Add dy of a panel of tiles up: sums[row]."""
    tile = first
    while tile < last:
        image, down, across, count = _row_of(a, tile, last)
        column = across * a.results
        wide = min(count * a.results, a.out_width - column)
        for r in range(a.rows):
            channel = (image * a.groups + group) * a.rows + r
            total = ZERO
            for i in range(min(a.results, a.out_height - down * a.results)):
                at = (channel * a.out_height + down * a.results + i) * a.out_width
                dy = f32(a.dy + 4 * (at + column))
                for j in range(wide):
                    total += dy[j]
            sums[r] += total
        tile += count


@kernel(
    "partial partial_bias dw dbias groups rows channels kernel chunks accumulate "
    "accumulate_bias workspace workspace_bytes"
)
def add_winograd_weights(record: Any, part: int, parts: int) -> None:
    """Add the parts of `winograd_weights` up and transform them back.

    Shapes: dw (group, row, channel, kernel, kernel), dbias (group, row); either may be
    0, not wanted.
    """
    a = carray(record, 1)[0]
    width = (a.rows + LANES - 1) // LANES * LANES
    channels = (a.channels + ROWS - 1) // ROWS * ROWS
    taps = a.kernel * a.kernel
    spare = a.workspace + part * a.workspace_bytes
    values = f32(spare)
    step = 4 * channels * width
    units = a.groups * a.channels if a.dw != 0 else 0
    for unit in range(units * part // parts, units * (part + 1) // parts):
        group, c = unit // a.channels, unit % a.channels
        start = a.partial + group * a.chunks * ELEMENTS * step + 4 * c * width
        for chunk in range(1, a.chunks):
            for e in range(ELEMENTS):
                total = f32(start + e * step)
                more = f32(start + (chunk * ELEMENTS + e) * step)
                for r in range(width):
                    total[r] += more[r]
        for block in range(0, a.rows, LANES):
            source, row = start + 4 * block, a.kernel * VECTOR_BYTES
            if a.kernel == 3:
                weight_gradient3(source, step, spare, row, ZERO, LOWEST)
            else:
                weight_gradient5(source, step, spare, row, ZERO, LOWEST)
            for r in range(min(LANES, a.rows - block)):
                place = (group * a.rows + block + r) * a.channels + c
                dw = f32(a.dw + 4 * place * taps)
                if a.accumulate != 0:
                    for t in range(taps):
                        dw[t] += values[t * LANES + r]
                else:
                    for t in range(taps):
                        dw[t] = values[t * LANES + r]
    if part == 0 and a.dbias != 0:
        dbias, sums = f32(a.dbias), f32(a.partial_bias)
        for group in range(a.groups):
            for r in range(a.rows):
                whole = ZERO
                for chunk in range(a.chunks):
                    whole += sums[(group * a.chunks + chunk) * width + r]
                if a.accumulate_bias != 0:
                    whole += dbias[group * a.rows + r]
                dbias[group * a.rows + r] = whole
