"""The compiled kernels of correlations of one tap by Strassen's algorithm.

    y[r, p] = bias[r] + sum over channels c of w[r, c] x[c, p]

is a product of matrices. Rows, channels and positions are halved, and the four blocks
of y are made of 7 products of blocks where the definition has 8, in Winograd's form:
with w = (A11, A12; A21, A22) and x = (B11, B12; B21, B22),

    T1 = B12 - B11    T2 = B22 - T1     T3 = B22 - B12    T4 = T2 - B21
    S1 = A21 + A22    S2 = S1 - A11     S3 = A11 - A21    S4 = A12 - S2
    U2 = A11 B11 + S2 T2    U3 = U2 + S3 T3

    y11 = A11 B11 + A12 B21         y12 = U2 + S1 T1 + S4 B22
    y21 = U3 - A22 T4               y22 = U3 + S1 T1

The sums of w are made once. A thread packs the differences of some tiles of positions
into its workspace, where they stay in the second-level cache. Rows are halved in pairs
of blocks of WIDE rows. The sums of one tile are vectors along the rows in registers,
the seven products of a pair one after the other; what several of them begin with lies
in the first-level cache meanwhile.

`strassen` beside this file makes the records of these kernels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.backends.cpu.correlation.pointwise_code import POSITIONS, VECTORS, WIDE
from runtime.backends.cpu.correlation.strassen_tiles import (
    PACKED,
    STEP,
    TILE_BYTES,
    block_of,
    pack,
    product,
    put,
)
from runtime.backends.cpu.correlation.strassen_weights import PRODUCTS
from runtime.backends.cpu.machine.compiled import carray, helper, kernel
from runtime.backends.cpu.machine.llvm import VECTOR_BYTES
from runtime.backends.cpu.machine.matrix import ZERO
from runtime.backends.cpu.machine.simd import f32


@helper
def _pair(
    a: Any,
    half: int,
    x: int,
    t: int,
    w: int,
    f: int,
    y: int,
    rows: int,
    kept: int,
    ahead: int,
    further: int,
) -> None:
    """Compute a tile of both halves of the positions and of a pair of blocks of rows.

    Args:
        a: the record; see `strassen`.
        half: half of the channels.
        x: address of the tile.
        t: address of its packed differences.
        w: address of the weights of the pair.
        f: address of its factors and biases.
        y: bytes from the start of y to the first result.
        rows: from that result's on.
        kept: address of room for four tiles, of which the first is zeros.
        ahead: bytes from the weights to those that are read after them.
        further: bytes from x to where the next tile is that will be packed; 0 for none.
    """
    size, step = block_of(half), half * 4 * WIDE
    zero, p, u, v = (
        kept,
        kept + TILE_BYTES,
        kept + 2 * TILE_BYTES,
        kept + 3 * TILE_BYTES,
    )
    row = 4 * a.plane
    floor = np.float32(a.floor)
    second, lower = y + 4 * a.half_plane, y + row * WIDE
    both = lower + 4 * a.half_plane
    added = a.added != 0
    to11, to12, to21, to22 = a.y + y, a.y + second, a.y + lower, a.y + both
    x21 = x + half * row
    x12, x22 = x + 4 * a.half_plane, x21 + 4 * a.half_plane
    later = row if further != 0 else 0
    product(x, row, w, half, zero, zero, p, ahead, to11, row, x + further, later)
    w += step
    product(x21, row, w, half, p, zero, u, ahead, to11, row, x21 + further, later)
    put(u, zero, f, to11, row, rows, a.added + y if added else 0, floor)
    w, at = w + step, t + size
    product(at, STEP, w, half, p, zero, p, ahead, to21, row, x12 + further, later)
    w, at = w + step, at + size
    product(at, STEP, w, half, p, zero, u, ahead, to21, row, x22 + further, later)
    w, at = w + step, at + size
    product(at, STEP, w, half, u, zero, v, ahead, to22, row, at, 0)
    low, below = rows - WIDE, f + 8 * WIDE
    put(v, zero, below, to21, row, low, a.added + lower if added else 0, floor)
    w += step
    product(t, STEP, w, half, zero, zero, v, ahead, to12, row, t, 0)
    put(u, v, below, to22, row, low, a.added + both if added else 0, floor)
    w += step
    product(x22, row, w, half, p, v, u, ahead, to12, row, x22, 0)
    put(u, zero, f, to12, row, rows, a.added + second if added else 0, floor)


@helper
def _single(
    a: Any, half: int, x: int, w: int, f: int, y: int, rows: int, kept: int, ahead: int
) -> None:
    """Compute a tile of both halves of the positions and of one block of rows."""
    zero, u = kept, kept + TILE_BYTES
    row = 4 * a.plane
    floor = np.float32(a.floor)
    for side in range(2):
        at, source = y + 4 * a.half_plane * side, x + 4 * a.half_plane * side
        added = a.added + at if a.added != 0 else 0
        to, w2 = a.y + at, w + half * 4 * WIDE
        product(source, row, w, half, zero, zero, u, ahead, to, row, source, 0)
        source += half * row
        product(source, row, w2, half, u, zero, u, ahead, to, row, source, 0)
        put(u, zero, f, to, row, rows, added, floor)


@kernel(
    "x y y_between packed factors added images channels rows plane half_plane tiles "
    "pairs blocks panels splits workspace workspace_bytes kept_at",
    "floor",
)
def strassen(record: Any, part: int, parts: int, thread: int) -> None:
    """Compute y = max(floor, bias + correlation + added).

    Fields:
        x: (images, channels, plane).
        y: (images, rows, plane).
        y_between: elements of y from the end of an image to the next one.
        packed, factors: what `pack_strassen` made.
        added: like y, whose images must be neighbours then; or 0.
        channels, plane: even.
        half_plane: positions of a half, at least POSITIONS.
        tiles: of a half; the last one goes back to be whole.
        pairs, blocks: pairs of blocks of rows, and these and a block without partner.
        panels: into how many runs the tiles of an image are divided.
        splits: into how many runs the blocks are, beside.
        workspace, workspace_bytes: that of all threads, and the bytes of each.
        kept_at: where a thread's workspace has the room for tiles, behind the panel.
        floor: -inf for none.
    """
    a = carray(record, 1)[0]
    half = a.channels // 2
    plane_bytes, tile_bytes = 4 * a.plane, PACKED * block_of(half)
    workspace = a.workspace + thread * a.workspace_bytes
    kept = workspace + a.kept_at
    zeros = f32(kept)
    for i in range(TILE_BYTES // 4):
        zeros[i] = ZERO
    units = a.images * a.panels * a.splits
    for unit in range(units * part // parts, units * (part + 1) // parts):
        split, rest = unit % a.splits, unit // a.splits
        panel, image = rest % a.panels, rest // a.panels
        first = a.tiles * panel // a.panels
        last = a.tiles * (panel + 1) // a.panels
        low = a.blocks * split // a.splits
        high = a.blocks * (split + 1) // a.splits
        for block in range(low, high):
            paired = block < a.pairs
            nbytes = half * 4 * WIDE
            w = a.packed + PRODUCTS * nbytes * min(block, a.pairs)
            f = a.factors + 16 * WIDE * block
            row = 2 * WIDE * block
            after = PRODUCTS * nbytes
            if block + 1 == high:
                after = a.packed + PRODUCTS * nbytes * low - w
            for tile in range(first, last):
                position = min(tile * POSITIONS, a.half_plane - POSITIONS)
                y = plane_bytes * (image * a.rows + row)
                y += 4 * (position + image * a.y_between)
                at = workspace + (tile - first) * tile_bytes
                x = a.x + plane_bytes * image * a.channels + 4 * position
                if block == low:
                    pack(x, plane_bytes, half * plane_bytes, 4 * a.half_plane, half, at)
                # Two tiles ask for a vector each of the weights that come next.
                number = tile - first
                ahead = after + number * VECTOR_BYTES if number < VECTORS else 0
                rows = a.rows - row
                # The last line of the next tile that is packed: this one has the first.
                further = 4 * (2 * POSITIONS - 1) if block == low else 0
                if paired:
                    _pair(a, half, x, at, w, f, y, rows, kept, ahead, further)
                else:
                    _single(a, half, x, w, f, y, rows, kept, ahead)
