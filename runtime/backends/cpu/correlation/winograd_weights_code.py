"""The compiled kernels of the gradient of weights by Winograd's transforms.

The products are those of `winograd_code`, with the roles changed: for each element e of
a transformed tile,

    dU[e] (channels, rows) = sum over tiles of V[e] (tiles, channels) and the
        transformed dy[e] (tiles, rows)

`winograd_weights` beside this file makes the records.
"""

from __future__ import annotations

from typing import Any

from runtime.backends.cpu.correlation.winograd_strips import (
    STRIPS,
    TAPS,
    ask_for_rows,
    clear,
    element_step,
    padded,
    strip_tiles,
    transform_data,
    transpose_planes,
)
from runtime.backends.cpu.correlation.winograd_transforms import (
    gradient3,
    gradient5,
    weight_gradient3,
    weight_gradient5,
)
from runtime.backends.cpu.machine.compiled import carray, kernel, outlined
from runtime.backends.cpu.machine.llvm import LANES, ROWS, VECTOR_BYTES, VECTORS
from runtime.backends.cpu.machine.matrix import (
    LOWEST,
    TILE,
    ZERO,
)
from runtime.backends.cpu.machine.prefetching import (
    multiply_fetching,
    prefetch_rows,
)
from runtime.backends.cpu.machine.simd import f32, i64, transpose_out

# Fields of a record that say where the gradient goes:
#
#   dw: (groups, rows, channels, kernel, kernel), or 0 where it is not wanted
#   accumulate: 1 where dw is added to, not stored
#   window_offsets: int32 (kernel^2,), bytes of vectors one after the other
#   zeros: a vector of zeros, as there is no bias
WINDOWS = "dw accumulate window_offsets zeros "


@kernel(
    WINDOWS + "x dy partial partial_bias chunks chunk_strips channel_shares "
    "channel_block gradient_at whole sums_at window_at " + STRIPS
)
def winograd_weights(record: Any, part: int, parts: int, thread: int) -> None:
    """Compute the transformed gradient of the weights, in parts.

    Fields, beside those of `WINDOWS` and `STRIPS`:
        x: (images, groups, channels, height, width).
        dy: (images, groups, rows, out_height, out_width).
        partial: (groups, chunks, elements, channels, rows), the sums over the strips of
            a chunk; channels and rows are padded to vectors.
        partial_bias: (groups, chunks, rows), the sums of dy alone, padded likewise.
        chunks, chunk_strips: runs of strips that are summed by themselves, and the most
            strips of one.
        channel_shares: shares into which the channels are divided, beside the chunks.
        channel_block: channels whose data is transformed at a time.
        gradient_at: where a thread's workspace has the transformed dy of a panel.
        whole: 1 where there is one chunk and one panel: then partial is not there, and
            dw is computed.
        sums_at: where the workspace then has the sums of channel_block channels and a
            TILE of rows.
        window_at: where it then has WINDOW_BYTES.
    """
    a = carray(record, 1)[0]
    strips = a.images * a.strips
    width, channels = padded(a.rows, LANES), padded(a.channels, LANES)
    workspace = a.workspace + thread * a.workspace_bytes
    clear(workspace)
    units = a.groups * a.chunks * a.channel_shares
    for unit in range(units * part // parts, units * (part + 1) // parts):
        share, rest = unit % a.channel_shares, unit // a.channel_shares
        group, chunk = rest // a.chunks, rest % a.chunks
        blocks = channels // LANES
        low = blocks * share // a.channel_shares * LANES
        high = min(blocks * (share + 1) // a.channel_shares * LANES, a.channels)
        begin = chunk * a.chunk_strips
        until = min(begin + a.chunk_strips, strips)
        partial = a.partial + rest * a.elements * element_step(channels, width)
        sums = a.partial_bias + 4 * rest * width
        for first in range(begin, until, a.panel_strips):
            last = min(first + a.panel_strips, until)
            start = workspace if first == begin else 0
            if first == begin and share == 0:
                for r in range(width):
                    f32(sums)[r] = ZERO
            tiles = _transform_gradient(a, workspace, group, first, last, share, sums)
            for c0 in range(low, high, a.channel_block):
                c1 = min(c0 + a.channel_block, high)
                transform_data(a, workspace, group, first, last, c0, c1)
                if a.whole == 0:
                    to = partial + 4 * c0 * width
                    step = element_step(channels, width)
                    _multiply(a, workspace, c1 - c0, 0, width, tiles, to, step, start)
                    continue
                for row in range(0, width if a.dw != 0 else 0, TILE):
                    columns = min(TILE, width - row)
                    to = workspace + a.sums_at
                    step = element_step(a.channel_block, TILE)
                    _multiply(
                        a, workspace, c1 - c0, row, columns, tiles, to, step, start
                    )
                    window = workspace + a.window_at
                    for c in range(c1 - c0):
                        source = to + 4 * c * columns
                        for v in range(0, columns, LANES):
                            _put_windows(
                                a, source + 4 * v, step, window, group, row + v, c0 + c
                            )


@outlined
def _multiply(
    a: Any,
    workspace: int,
    channels: int,
    row: int,
    columns: int,
    tiles: int,
    target: int,
    step: int,
    start: int,
) -> None:
    """Sum products of the transformed x and dy over the tiles of a panel.

    Args:
        a: the record; see `winograd_weights`.
        workspace: address of this thread's workspace.
        channels: how many channels are transformed.
        row: the number of the first row.
        columns: how many rows there are, whole vectors.
        tiles: how many tiles.
        target: address of the sums (elements, channels, columns).
        step: bytes from one element to the next.
        start: address of zeros; 0 to add to what is there.
    """
    width, block = padded(a.rows, LANES), padded(channels, LANES)
    target_row = 4 * (width if a.whole == 0 else columns)
    data_step = element_step(a.panel_tiles, block)
    step_right = element_step(a.panel_tiles, width)
    for e in range(a.elements):
        left = workspace + a.data_at + e * data_step
        right = workspace + a.gradient_at + e * step_right
        for c in range(0, channels, ROWS):
            put = target + e * step + c * target_row
            following = left + data_step + 4 * c * tiles
            for r in range(row, row + columns, TILE):
                vectors = min(VECTORS, (width - r) // LANES)
                if start == 0:
                    coming = put + 4 * (r - row + TILE)
                    if r + TILE >= row + columns:
                        coming = put + ROWS * target_row
                    prefetch_rows(coming, target_row, VECTORS, True)
                multiply_fetching(
                    vectors,
                    left + 4 * c,
                    4 * block,
                    4,
                    right + 4 * r * a.panel_tiles,
                    vectors * VECTOR_BYTES,
                    tiles,
                    put + 4 * (r - row),
                    target_row,
                    start,
                    LOWEST,
                    following,
                    step_right if c == 0 else 0,
                )


@outlined
def _put_windows(
    a: Any, source: int, step: int, window: int, group: int, row: int, c: int
) -> None:
    """Transform sums of a vector of rows back into windows of dw.

    Args:
        a: the record; see `WINDOWS`. It has rows, channels and kernel.
        source: address of the vector of the first element.
        step: bytes from one element to the next.
        window: address of WINDOW_BYTES.
        group: the number of the group.
        row: the number of the first row, within the group.
        c: the number of the channel, within the group.
    """
    taps, values = a.kernel * a.kernel, f32(window)
    if a.kernel == 3:
        weight_gradient3(source, step, window, a.window_offsets, a.zeros, LOWEST)
    else:
        weight_gradient5(source, step, window, a.window_offsets, a.zeros, LOWEST)
    rows = min(LANES, a.rows - row)
    target = a.dw + 4 * ((group * a.rows + row) * a.channels + c) * taps
    between = 4 * a.channels * taps
    if a.accumulate != 0:
        for r in range(rows):
            dw = f32(target + r * between)
            for t in range(taps):
                dw[t] += values[t * LANES + r]
        return
    for t in range(0, taps, LANES):
        transpose_out(
            target + 4 * t,
            between,
            window + VECTOR_BYTES * t,
            VECTOR_BYTES,
            rows,
            min(LANES, taps - t),
        )


@outlined
def _transform_gradient(
    a: Any, workspace: int, group: int, first: int, last: int, share: int, sums: int
) -> int:
    """Compute A dy A^T of a panel; returns the number of its tiles.

    It lies at `gradient_at` of the workspace: (elements, rows / TILE, panel_tiles, rows
    % TILE), the rows padded to vectors.

    Args:
        a: the record; see `winograd_weights`.
        workspace: address of this thread's workspace.
        group: the number of the group.
        first: the number of the panel's first strip, among those of all images.
        last: the number of its last strip, plus 1.
        share: the number of the share of channels; share 0 adds dy to `sums`.
        sums: address of (rows,) floats, padded to vectors.
    """
    width, plane = padded(a.rows, LANES), a.out_height * a.out_width
    step = element_step(a.panel_tiles, width)
    out_rows, transposed = i64(a.out_rows), workspace + a.transposed_at
    tiles = 0
    for strip in range(first, last):
        image, number = strip // a.strips, strip % a.strips
        count = strip_tiles(a, number)
        low, high = out_rows[2 * number], out_rows[2 * number + 1]
        low, high = low * a.out_width, high * a.out_width
        offsets = a.out_offsets + 4 * TAPS * number * a.strip_rows * a.tiles_across
        for row in range(0, a.rows, LANES):
            channel = (image * a.groups + group) * a.rows + row
            valid = min(LANES, a.rows - row)
            transpose_planes(
                a.dy + 4 * channel * plane, plane, valid, low, high, transposed
            )
            tile_row = row // TILE * TILE
            columns = min(TILE, width - tile_row)
            at = tile_row * a.panel_tiles + tiles * columns + row - tile_row
            target = workspace + a.gradient_at + 4 * at
            coming = a.dy + 4 * (plane * (channel + LANES) + low)
            following = min(LANES, a.rows - row - LANES)
            for t in range(count):
                ask_for_rows(coming, plane, following, high - low, t, count)
                if a.kernel == 3:
                    gradient3(workspace, offsets + 4 * TAPS * t, target, step)
                else:
                    gradient5(workspace, offsets + 4 * TAPS * t, target, step)
                target += 4 * columns
            if share == 0:
                total = f32(sums + 4 * row)
                for position in range(high - low):
                    values = f32(transposed + VECTOR_BYTES * position)
                    for i in range(LANES):
                        total[i] += values[i]
        tiles += count
    return tiles


@kernel(
    WINDOWS + "partial partial_bias dbias groups rows channels kernel elements "
    "chunks whole accumulate_bias workspace workspace_bytes"
)
def add_winograd_weights(record: Any, part: int, parts: int, thread: int) -> None:
    """Add the parts of `winograd_weights` up and transform them back.

    Fields, beside those of `WINDOWS`:
        partial, partial_bias: what `winograd_weights` made.
        whole: 1 where dw is there already.
        dbias: (groups, rows), or 0 where it is not wanted.
        rows, channels: of a group.
        kernel: 3 or 5.
        elements: of a transformed window, 36 or 64.
        chunks: parts of every sum.
        accumulate_bias: 1 where dbias is added to, not stored.
        workspace, workspace_bytes: that of all threads, and the bytes of each.
    """
    a = carray(record, 1)[0]
    width, channels = padded(a.rows, LANES), padded(a.channels, LANES)
    spare = a.workspace + thread * a.workspace_bytes
    step = element_step(channels, width)
    units = a.groups * a.channels if a.dw != 0 and a.whole == 0 else 0
    for unit in range(units * part // parts, units * (part + 1) // parts):
        group, c = unit // a.channels, unit % a.channels
        start = a.partial + group * a.chunks * a.elements * step + 4 * c * width
        for chunk in range(1, a.chunks):
            for e in range(a.elements):
                total = f32(start + e * step)
                more = f32(start + (chunk * a.elements + e) * step)
                for r in range(width):
                    total[r] += more[r]
        for row in range(0, a.rows, LANES):
            _put_windows(a, start + 4 * row, step, spare, group, row, c)
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
