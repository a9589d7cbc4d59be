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
from runtime.backends.cpu.machine.llvm import LANES, ROWS, VECTOR_BYTES
from runtime.backends.cpu.machine.matrix import (
    LOWEST,
    ZERO,
    multiply_tile,
    next_vectors,
)
from runtime.backends.cpu.machine.simd import f32, i64


@kernel(
    "x dy partial partial_bias chunks chunk_strips channel_shares channel_block "
    "gradient_at " + STRIPS
)
def winograd_weights(record: Any, part: int, parts: int, thread: int) -> None:
    """Compute the transformed gradient of the weights, in parts.

    Fields, beside those of `STRIPS`:
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
                block = padded(c1 - c0, LANES)
                for e in range(a.elements):
                    left = workspace + a.data_at
                    left += e * element_step(a.panel_tiles, block)
                    for c in range(0, c1 - c0, ROWS):
                        target = partial + e * element_step(channels, width)
                        target += 4 * (c0 + c) * width
                        b = workspace + a.gradient_at
                        b += e * element_step(a.panel_tiles, width)
                        remaining = width // LANES
                        while remaining > 0:
                            vectors = next_vectors(remaining)
                            multiply_tile(
                                vectors,
                                left + 4 * c,
                                4 * block,
                                4,
                                b,
                                4 * width,
                                tiles,
                                target,
                                4 * width,
                                start,
                                LOWEST,
                            )
                            b += vectors * VECTOR_BYTES
                            target += vectors * VECTOR_BYTES
                            remaining -= vectors


@outlined
def _transform_gradient(
    a: Any, workspace: int, group: int, first: int, last: int, share: int, sums: int
) -> int:
    """Compute A dy A^T of a panel; returns the number of its tiles.

    It lies at `gradient_at` of the workspace: (elements, panel_tiles, rows), the rows
    padded to vectors.

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
            target = workspace + a.gradient_at + 4 * (tiles * width + row)
            for t in range(count):
                if a.kernel == 3:
                    gradient3(workspace, offsets + 4 * TAPS * t, target, step)
                else:
                    gradient5(workspace, offsets + 4 * TAPS * t, target, step)
                target += 4 * width
            if share == 0:
                total = f32(sums + 4 * row)
                for position in range(high - low):
                    values = f32(transposed + VECTOR_BYTES * position)
                    for i in range(LANES):
                        total[i] += values[i]
        tiles += count
    return tiles


@kernel(
    "partial partial_bias dw dbias groups rows channels kernel elements "
    "window_offsets zeros chunks accumulate accumulate_bias workspace workspace_bytes"
)
def add_winograd_weights(record: Any, part: int, parts: int, thread: int) -> None:
    """Add the parts of `winograd_weights` up and transform them back.

    Fields:
        partial, partial_bias: what `winograd_weights` made.
        dw: (groups, rows, channels, kernel, kernel), or 0 where it is not wanted.
        dbias: (groups, rows), or 0 where it is not wanted.
        rows, channels: of a group.
        kernel: 3 or 5.
        elements: of a transformed window, 36 or 64.
        window_offsets: int32 (kernel^2,), bytes of vectors one after the other.
        zeros: a vector of zeros, as there is no bias.
        chunks: parts of every sum.
        accumulate, accumulate_bias: 1 where dw, dbias are added to, not stored.
        workspace, workspace_bytes: that of all threads, and the bytes of each.
    """
    a = carray(record, 1)[0]
    width, channels = padded(a.rows, LANES), padded(a.channels, LANES)
    taps = a.kernel * a.kernel
    spare = a.workspace + thread * a.workspace_bytes
    values = f32(spare)
    step = element_step(channels, width)
    units = a.groups * a.channels if a.dw != 0 else 0
    for unit in range(units * part // parts, units * (part + 1) // parts):
        group, c = unit // a.channels, unit % a.channels
        start = a.partial + group * a.chunks * a.elements * step + 4 * c * width
        for chunk in range(1, a.chunks):
            for e in range(a.elements):
                total = f32(start + e * step)
                more = f32(start + (chunk * a.elements + e) * step)
                for r in range(width):
                    total[r] += more[r]
        for block in range(0, a.rows, LANES):
            source, table = start + 4 * block, a.window_offsets
            if a.kernel == 3:
                weight_gradient3(source, step, spare, table, a.zeros, LOWEST)
            else:
                weight_gradient5(source, step, spare, table, a.zeros, LOWEST)
            for r in range(min(LANES, a.rows - block)):
                window = (group * a.rows + block + r) * a.channels + c
                dw = f32(a.dw + 4 * window * taps)
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
