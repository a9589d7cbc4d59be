"""The compiled kernel of correlations whose data is cut into tiles, not their results.

It computes what `winograd_code` beside this file computes by the transposed algorithm:
a tile of 4 x 4 elements of x reaches n x n positions of y, n = 3 + k for a kernel of
k x k, and the pieces of neighbouring tiles are added. For each element e of a
transformed tile, with the weights in opposite order in U,

    M[e] (tiles, rows) = V[e] (tiles, channels) U[e] (channels, rows)

    V = A x A^T,  piece = B M B^T

Where y is larger than x, as behind a convolution without padding, x has fewer tiles
than y: 4 for 9 where planes of 8 x 8 become 12 x 12.

`winograd_transforms` has the matrices, `winograd_scatter` makes the records.
"""

from __future__ import annotations

from typing import Any

from runtime.backends.cpu.correlation.winograd_strips import (
    STRIPS,
    TAPS,
    clear,
    element_step,
    padded,
    transpose_planes,
)
from runtime.backends.cpu.correlation.winograd_transforms import (
    gradient3,
    gradient5,
    piece3,
    piece5,
)
from runtime.backends.cpu.machine.compiled import carray, kernel, outlined
from runtime.backends.cpu.machine.llvm import LANES, ROWS, VECTOR_BYTES, VECTORS
from runtime.backends.cpu.machine.matrix import LOWEST, TILE, ZERO, multiply_tile
from runtime.backends.cpu.machine.simd import f32, transpose_out


@kernel("x y transformed row_shares products_at " + STRIPS)
def winograd_scatter(record: Any, part: int, parts: int, thread: int) -> None:
    """Compute y = the correlation of x with the weights; an image is a strip.

    Fields, beside those of `STRIPS`, whose tiles are those of x:
        x: (images, groups, channels, height, width).
        y: (images, groups, rows, out_height, out_width).
        in_offsets, out_offsets: of the TAPS elements of a tile, and of the elements of
            its piece.
        transformed: what `transform_weights` made of windows in opposite order.
        row_shares: shares into which the rows are divided, beside the panels.
        products_at: where a thread's workspace has M (elements, panel_tiles, TILE).
    """
    a = carray(record, 1)[0]
    panels = (a.images + a.panel_strips - 1) // a.panel_strips
    width, channels = padded(a.rows, LANES), padded(a.channels, LANES)
    row_tiles = (a.rows + TILE - 1) // TILE
    tiles = a.tiles_down * a.tiles_across
    workspace = a.workspace + thread * a.workspace_bytes
    products, step = workspace + a.products_at, element_step(a.channels, width)
    clear(workspace)
    units = a.groups * panels * a.row_shares
    for unit in range(units * part // parts, units * (part + 1) // parts):
        rest, panel = unit // panels, unit % panels
        group, share = rest // a.row_shares, rest % a.row_shares
        first = panel * a.panel_strips
        last = min(first + a.panel_strips, a.images)
        low = row_tiles * share // a.row_shares * TILE
        high = min(row_tiles * (share + 1) // a.row_shares * TILE, width)
        _transform_tiles(a, workspace, group, first, last)
        for row in range(low, high, TILE):
            vectors = min(VECTORS, (width - row) // LANES)
            for e in range(a.elements):
                data = e * element_step(a.panel_tiles, channels) + a.data_at
                weights = a.transformed + (group * a.elements + e) * step
                for t in range(0, tiles * (last - first), ROWS):
                    multiply_tile(
                        vectors,
                        workspace + data + 4 * t * channels,
                        4,
                        4 * channels,
                        weights + 4 * row * a.channels,
                        vectors * VECTOR_BYTES,
                        a.channels,
                        products + e * element_step(a.panel_tiles, TILE) + 4 * t * TILE,
                        4 * TILE,
                        workspace,
                        LOWEST,
                    )
            for v in range(vectors):
                _add_pieces(a, workspace, group, first, last, row + v * LANES)


@outlined
def _transform_tiles(a: Any, workspace: int, group: int, first: int, last: int) -> None:
    """Compute V = A x A^T of some images: (elements, panel_tiles, channels).

    Args:
        a: the record; see `winograd_scatter`.
        workspace: address of this thread's workspace.
        group: the number of the group.
        first: the number of the first image.
        last: the number of the last one, plus 1.
    """
    plane, tiles = a.height * a.width, a.tiles_down * a.tiles_across
    width = padded(a.channels, LANES)
    step = element_step(a.panel_tiles, width)
    transposed = workspace + a.transposed_at
    for image in range(first, last):
        for c in range(0, a.channels, LANES):
            channel = (image * a.groups + group) * a.channels + c
            valid = min(LANES, a.channels - c)
            transpose_planes(
                a.x + 4 * channel * plane, plane, valid, 0, plane, transposed
            )
            target = workspace + a.data_at + 4 * ((image - first) * tiles * width + c)
            for t in range(tiles):
                offsets = a.in_offsets + 4 * TAPS * t
                if a.kernel == 3:
                    gradient3(workspace, offsets, target, step)
                else:
                    gradient5(workspace, offsets, target, step)
                target += 4 * width


@outlined
def _add_pieces(
    a: Any, workspace: int, group: int, first: int, last: int, row: int
) -> None:
    """Compute y = the sum of B m B^T at their places, of a vector of rows.

    Args:
        a: the record; see `winograd_scatter`.
        workspace: address of this thread's workspace, with the products.
        group: the number of the group.
        first: the number of the first image.
        last: the number of the last one, plus 1.
        row: the number of the first row, within the group.
    """
    plane, tiles = a.out_height * a.out_width, a.tiles_down * a.tiles_across
    valid = min(LANES, a.rows - row)
    step = element_step(a.panel_tiles, TILE)
    source = workspace + a.products_at + 4 * (row % TILE)
    transposed = workspace + a.transposed_at
    for image in range(first, last):
        sums = f32(transposed)
        for i in range(plane * LANES):
            sums[i] = ZERO
        for t in range(tiles):
            offsets = a.out_offsets + 4 * a.elements * t
            if a.kernel == 3:
                piece3(source, step, workspace, offsets)
            else:
                piece5(source, step, workspace, offsets)
            source += 4 * TILE
        y = a.y + 4 * ((image * a.groups + group) * a.rows + row) * plane
        for position in range(0, plane, LANES):
            transpose_out(
                y + 4 * position,
                4 * plane,
                transposed + VECTOR_BYTES * position,
                VECTOR_BYTES,
                valid,
                min(LANES, plane - position),
            )
