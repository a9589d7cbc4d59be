"""The compiled kernels of correlation by Winograd's transforms.

They compute what `direct_code` beside this file computes, for stride 1 and kernels of
3 x 3 and 5 x 5, with 4 and 6 times fewer multiplications. The output is cut into tiles
of 4 x 4 positions, strips are whole rows of tiles of one image, and a panel is some
strips that one thread transforms, multiplies and transforms back while they are in the
cache. Vectors run along channels: a block of LANES channels of a strip is transposed
first, from planes to (position, channel).

Each element e of a transformed tile, of 36 or 64, is a matrix product of its own:

    M[e] (tiles, rows) = V[e] (tiles, channels) U[e] (channels, rows)

`winograd_transforms` has the formulas, `winograd_strips` the strips, and `winograd`
makes the records.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.backends.cpu.correlation.adding import add_rows
from runtime.backends.cpu.correlation.winograd_strips import (
    STRIPS,
    TAPS,
    ask_to_write,
    clear,
    element_step,
    padded,
    strip_tiles,
    transform_data,
)
from runtime.backends.cpu.correlation.winograd_transforms import (
    results3,
    results5,
    weights3,
    weights5,
)
from runtime.backends.cpu.machine.compiled import carray, kernel, outlined
from runtime.backends.cpu.machine.llvm import LANES, ROWS, VECTOR_BYTES, VECTORS
from runtime.backends.cpu.machine.matrix import LOWEST, TILE, ZERO
from runtime.backends.cpu.machine.prefetching import (
    FIRST_BYTES,
    multiply_fetching,
    prefetch_run,
)
from runtime.backends.cpu.machine.simd import f32, i64, transpose, transpose_out

# A vector for each weight of LANES windows.
WINDOW_BYTES = VECTOR_BYTES * 25 * LANES

# Fields of a record that say where the weights are:
#
#   w: the weights; strides and taps are described at `Correlation`
#   scale: (groups, rows), what to multiply the weights of a row with, or 0
#   tap_offsets: int32 (kernel^2,), bytes from the vector of the first weight of a
#       window to that of each tap
#   group_stride, row_stride, channel_stride: elements of w
WEIGHTS = "w scale tap_offsets group_stride row_stride channel_stride "


@outlined
def _transform_rows(
    a: Any, group: int, row: int, c0: int, c1: int, spare: int, target: int, step: int
) -> None:
    """Compute U = G g G^T for a tile of rows and some channels.

    Args:
        a: the record; see `WEIGHTS`. It has rows, and kernel.
        group: the number of the group.
        row: the number of the first row of the tile, within the group.
        c0: the number of the first channel, within the group.
        c1: the number of the last one, plus 1.
        spare: address of WINDOW_BYTES.
        target: address of U (elements, c1 - c0, rows), the rows padded to vectors.
        step: bytes from one element to the next.
    """
    taps = a.kernel * a.kernel
    vectors = min(VECTORS, (a.rows - row + LANES - 1) // LANES)
    # Where the windows of neighbouring channels are neighbours, several are transposed
    # together.
    run = LANES if a.channel_stride == taps else 1
    window = f32(spare)
    for c in range(c0, c1, run):
        count = min(run, c1 - c)
        floats = count * taps
        for v in range(vectors):
            r = row + v * LANES
            valid = min(LANES, a.rows - r)
            source = a.w + 4 * (group * a.group_stride + r * a.row_stride)
            source += 4 * c * a.channel_stride
            ahead = source + 4 * run * a.channel_stride
            if run > 1:
                for i in range(valid):
                    prefetch_run(ahead + 4 * i * a.row_stride, 4 * floats)
            else:
                prefetch_run(ahead, 4 * valid * a.row_stride)
            for t in range(0, floats, LANES):
                transpose(
                    spare + VECTOR_BYTES * t,
                    VECTOR_BYTES,
                    source + 4 * t,
                    4 * a.row_stride,
                    valid,
                    min(LANES, floats - t),
                )
            if a.scale != 0:
                scale = f32(a.scale + 4 * (group * a.rows + r))
                for t in range(floats):
                    for i in range(valid):
                        window[t * LANES + i] *= scale[i]
            for n in range(count):
                put = target + VECTOR_BYTES * ((c - c0 + n) * vectors + v)
                begin = spare + VECTOR_BYTES * n * taps
                if a.kernel == 3:
                    weights3(begin, a.tap_offsets, put, step)
                else:
                    weights5(begin, a.tap_offsets, put, step)


@kernel(
    WEIGHTS
    + "transformed groups rows channels kernel elements workspace workspace_bytes"
)
def transform_weights(record: Any, part: int, parts: int, thread: int) -> None:
    """Compute U = G g G^T.

    Fields, beside those of `WEIGHTS`:
        transformed: U (groups, elements, rows / TILE, channels, rows % TILE); the rows
            of the last TILE are rounded up to vectors.
        rows, channels: of a group.
        kernel: 3 or 5.
        elements: of a transformed window, 36 or 64.
        workspace, workspace_bytes: that of all threads, and the bytes of each.
    """
    a = carray(record, 1)[0]
    width = padded(a.rows, LANES)
    step = element_step(a.channels, width)
    row_tiles = (a.rows + TILE - 1) // TILE
    channel_blocks = (a.channels + LANES - 1) // LANES
    units = a.groups * row_tiles * channel_blocks
    for unit in range(units * part // parts, units * (part + 1) // parts):
        c, rest = unit % channel_blocks * LANES, unit // channel_blocks
        group, row = rest // row_tiles, rest % row_tiles * TILE
        tile = min(TILE, width - row)
        target = a.transformed + group * a.elements * step
        target += 4 * (row * a.channels + c * tile)
        spare = a.workspace + thread * a.workspace_bytes
        last = min(c + LANES, a.channels)
        _transform_rows(a, group, row, c, last, spare, target, step)


@kernel(
    WEIGHTS
    + "x y y_between added bias transformed weights_block weights_at row_shares "
    + "products_at "
    + STRIPS,
    "floor",
)
def winograd(record: Any, part: int, parts: int, thread: int) -> None:
    """Compute y = max(floor, bias + the correlation of x with the weights + added).

    Fields, beside those of `WEIGHTS` and `STRIPS`:
        x: (images, groups, channels, height, width).
        y: (images, groups, rows, out_height, out_width).
        y_between: elements of y from the end of an image to the next one.
        added: like y, whose images must be neighbours then; or 0.
        bias: (groups, rows), or 0 for none.
        transformed: what `transform_weights` made, or 0: the weights of a tile of rows
            are transformed where they are needed, so many channels at a time that they
            stay in the cache, and every time anew.
        weights_block: so many channels.
        weights_at: where a thread's workspace has WINDOW_BYTES, and then those weights.
        row_shares: shares into which the rows are divided, beside the panels.
        products_at: where a thread's workspace has M (elements, panel_tiles, TILE).
        floor: -inf for none.
    """
    a = carray(record, 1)[0]
    strips = a.images * a.strips
    panels = (strips + a.panel_strips - 1) // a.panel_strips
    width, channels = padded(a.rows, LANES), padded(a.channels, LANES)
    row_tiles = (a.rows + TILE - 1) // TILE
    workspace = a.workspace + thread * a.workspace_bytes
    data, products = workspace + a.data_at, workspace + a.products_at
    spare = workspace + a.weights_at
    data_step = element_step(a.panel_tiles, channels)
    products_step = element_step(a.panel_tiles, TILE)
    clear(workspace)
    units = a.groups * panels * a.row_shares
    for unit in range(units * part // parts, units * (part + 1) // parts):
        rest, panel = unit // panels, unit % panels
        group, share = rest // a.row_shares, rest % a.row_shares
        first = panel * a.panel_strips
        last = min(first + a.panel_strips, strips)
        low = row_tiles * share // a.row_shares * TILE
        high = min(row_tiles * (share + 1) // a.row_shares * TILE, width)
        if a.transformed != 0:
            at = group * a.elements * element_step(a.channels, width)
            prefetch_run(a.transformed + at + 4 * low * a.channels, FIRST_BYTES)
        tiles = transform_data(a, workspace, group, first, last, 0, a.channels)
        for row in range(low, high, TILE):
            vectors = min(VECTORS, (width - row) // LANES)
            for c0 in range(0, a.channels, a.weights_block):
                c1 = min(c0 + a.weights_block, a.channels)
                if a.transformed != 0:
                    step = element_step(a.channels, width)
                    weights = a.transformed + group * a.elements * step
                    weights += 4 * row * a.channels
                else:
                    step = element_step(a.weights_block, TILE)
                    weights = spare + WINDOW_BYTES
                    _transform_rows(a, group, row, c0, c1, spare, weights, step)
                following = row + TILE if row + TILE < high else low
                for e in range(a.elements):  # M[e] (tiles, TILE) += V[e] U[e]
                    ahead = step
                    if e + 1 == a.elements:
                        ahead = 4 * (following - row) * a.channels - e * step
                    for t in range(0, tiles, ROWS):
                        left = data + e * data_step + 4 * (t * channels + c0)
                        coming = left + 4 * ROWS * channels
                        if t + ROWS >= tiles:
                            coming = data + (e + 1) * data_step + 4 * c0
                        multiply_fetching(
                            vectors,
                            left,
                            4,
                            4 * channels,
                            weights + e * step,
                            vectors * VECTOR_BYTES,
                            c1 - c0,
                            products + e * products_step + 4 * t * TILE,
                            4 * TILE,
                            workspace if c0 == 0 else 0,
                            LOWEST,
                            coming,
                            ahead if t == 0 else 0,
                        )
            for v in range(vectors):
                _transform_back(a, workspace, group, first, last, row, v)


@outlined
def _transform_back(
    a: Any, workspace: int, group: int, first: int, last: int, tile_row: int, v: int
) -> None:
    """Compute y = A^T m A of a vector of rows of a panel.

    Args:
        a: the record; see `winograd`.
        workspace: address of this thread's workspace, with the products.
        group: the number of the group.
        first: the number of the panel's first strip, among those of all images.
        last: the number of its last strip, plus 1.
        tile_row: the number of the first row of the products, within the group.
        v: the number of the vector of rows among them.
    """
    floor = np.float32(a.floor) if a.added == 0 else np.float32(LOWEST)
    row = tile_row + v * LANES
    valid = min(LANES, a.rows - row)
    step = element_step(a.panel_tiles, TILE)
    source = workspace + a.products_at + v * VECTOR_BYTES
    transposed = workspace + a.transposed_at
    bias = workspace + a.weights_at
    for i in range(LANES):
        has = a.bias != 0 and i < valid
        f32(bias)[i] = f32(a.bias)[group * a.rows + row + i] if has else ZERO
    out_rows, plane = i64(a.out_rows), a.out_height * a.out_width
    for strip in range(first, last):
        image, number = strip // a.strips, strip % a.strips
        count = strip_tiles(a, number)
        offsets = a.out_offsets + 4 * TAPS * number * a.strip_rows * a.tiles_across
        begin, end = out_rows[2 * number], out_rows[2 * number + 1]
        channel = (image * a.groups + group) * a.rows + row
        positions = (end - begin) * a.out_width
        start = channel * plane + begin * a.out_width + image * a.y_between
        for t in range(count):
            ask_to_write(a.y + 4 * start, plane, valid, positions, t, count)
            if a.kernel == 3:
                results3(source, step, workspace, offsets + 4 * TAPS * t, bias, floor)
            else:
                results5(source, step, workspace, offsets + 4 * TAPS * t, bias, floor)
            source += 4 * TILE
        for position in range(0, positions, LANES):
            transpose_out(
                a.y + 4 * (start + position),
                4 * plane,
                transposed + VECTOR_BYTES * position,
                VECTOR_BYTES,
                valid,
                min(LANES, positions - position),
            )
        if a.added != 0:
            at, lowest = 4 * start, np.float32(a.floor)
            add_rows(a.y + at, a.added + at, valid, 4 * plane, positions, lowest)
