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
from llvmlite import ir

from runtime.backends.cpu.correlation.pointwise_code import (
    POSITIONS,
    VECTORS,
    WIDE,
    put_tile,
)
from runtime.backends.cpu.correlation.strassen_weights import PRODUCTS
from runtime.backends.cpu.machine.compiled import carray, helper, kernel, outlined
from runtime.backends.cpu.machine.llvm import (
    F32,
    LANES,
    MASK,
    VECTOR_BYTES,
    const,
    fma,
    intrinsic,
    load,
    loop,
    masked_load,
    splat,
    store,
)
from runtime.backends.cpu.machine.matrix import ZERO
from runtime.backends.cpu.machine.parts import types
from runtime.backends.cpu.machine.prefetching import ALL_CACHES, SECOND_CACHE, ask
from runtime.backends.cpu.machine.simd import f32

STEP = VECTOR_BYTES  # bytes of a channel of a packed tile; POSITIONS fit a vector
TILE_BYTES = POSITIONS * VECTORS * VECTOR_BYTES  # of the sums of a tile
PACKED = 4  # differences of blocks of x: T1, T2, T3, T4
APART = 5 * STEP  # between them, so that they do not meet in one set of a cache
X_AHEAD = 8  # terms: so far before its use x is asked for


@helper
def block_of(depth: int) -> int:
    """Return the bytes from a packed block of so many channels to the next one."""
    return depth * STEP + APART


@intrinsic
def _pack(
    context: Any, x: Any, x_step: Any, across: Any, apart: Any, depth: Any, target: Any
) -> Any:
    """Pack the differences of a tile of positions of both halves.

    Args:
        x: address of B11; B12 lies `apart` bytes behind it, B21 and B22 `across`
            bytes behind these.
        x_step: bytes from a channel of x to the next.
        depth: half of the channels, at least 1.
        target: address of (PACKED, depth, LANES).
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x, x_step, across, apart, depth, target = args
        mask = ir.Constant(MASK, [int(i < POSITIONS) for i in range(LANES)])
        size = builder.add(builder.mul(depth, const(STEP)), const(APART))

        def body(values: list[Any]) -> list[Any]:
            at, put = values
            far = builder.add(at, builder.mul(x_step, const(X_AHEAD)))
            for one in (far, builder.add(far, across)):
                ask(builder, one, ALL_CACHES)
                ask(builder, builder.add(one, apart), ALL_CACHES)
            below = builder.add(at, across)
            b11, b21 = (masked_load(builder, one, mask) for one in (at, below))
            b12, b22 = (
                masked_load(builder, builder.add(one, apart), mask)
                for one in (at, below)
            )
            t1 = builder.fsub(b12, b11)
            t2 = builder.fsub(b22, t1)
            t3 = builder.fsub(b22, b12)
            t4 = builder.fsub(t2, b21)
            there = put
            for one in (t1, t2, t3, t4):
                store(builder, one, there)
                there = builder.add(there, size)
            return [builder.add(at, x_step), builder.add(put, const(STEP))]

        loop(builder, depth, [x, target], body)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), generate


def _sums(builder: Any, at: Any, other: Any) -> list[Any]:
    """Emit the sums of two kept tiles."""
    found = []
    for i in range(POSITIONS * VECTORS):
        one, two = (
            load(builder, builder.add(base, const(i * VECTOR_BYTES)))
            for base in (at, other)
        )
        found.append(builder.fadd(one, two))
    return found


@intrinsic
def _multiply(
    context: Any,
    x: Any,
    x_step: Any,
    weights: Any,
    depth: Any,
    start: Any,
    other: Any,
    target: Any,
    ahead: Any,
    y: Any,
    y_row: Any,
    later: Any,
    later_step: Any,
) -> Any:
    """Compute target[p][r] = start + other + sum of x[k][p] weights[k][r], k < depth.

    start, other and target are addresses of kept tiles, (POSITIONS, WIDE). The line
    `ahead` bytes behind each row of weights is asked for, and the tile at y, whose rows
    are y_row bytes apart, to be written soon, and lines `later_step` bytes apart.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x, x_step, weights, depth, start, other, target, *far = args
        ahead, y, y_row, later, later_step = far

        def body(values: list[Any]) -> list[Any]:
            at_x, at_w, seen, at_later, *sums = values
            ask(builder, at_later, SECOND_CACHE)
            ask(builder, builder.add(at_w, ahead), SECOND_CACHE)
            soon = builder.add(at_x, builder.mul(x_step, const(X_AHEAD)))
            for end in (0, 4 * (POSITIONS - 1)):
                ask(builder, builder.add(soon, const(end)), ALL_CACHES)
                line = builder.add(builder.add(y, seen), const(end))
                ask(builder, line, ALL_CACHES, writes=1)
            row = [
                load(builder, builder.add(at_w, const(j * VECTOR_BYTES)))
                for j in range(VECTORS)
            ]
            for i in range(POSITIONS):
                at = builder.add(at_x, const(4 * i))
                value = splat(builder, load(builder, at, F32))
                for j in range(VECTORS):
                    one = i * VECTORS + j
                    sums[one] = fma(builder, value, row[j], sums[one])
            following = builder.add(at_w, const(VECTORS * VECTOR_BYTES))
            seen = builder.add(seen, y_row)
            again = builder.icmp_signed(">=", seen, end_of_rows)
            seen = builder.select(again, const(0), seen)
            at_later = builder.add(at_later, later_step)
            return [builder.add(at_x, x_step), following, seen, at_later, *sums]

        end_of_rows = builder.mul(y_row, const(WIDE))
        first = [x, weights, const(0), later, *_sums(builder, start, other)]
        _, _, _, _, *sums = loop(builder, depth, first, body)
        for i, value in enumerate(sums):
            store(builder, value, builder.add(target, const(i * VECTOR_BYTES)))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 12), generate


@intrinsic
def _finish(
    context: Any,
    start: Any,
    other: Any,
    factors: Any,
    y: Any,
    y_row: Any,
    rows: Any,
    added: Any,
    floor: Any,
) -> Any:
    """Compute y[r][p] = max(floor, (start + other)[p][r] factor[r] + bias[r] + added).

    factors: address of (2, WIDE), the factors and the biases. y[r] and added[r] are at
    y and added + r y_row, in bytes; added is 0 for none.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        start, other, factors, y, y_row, rows, added, floor = args
        factor, bias = (
            [
                load(builder, builder.add(factors, const(at + j * VECTOR_BYTES)))
                for j in range(VECTORS)
            ]
            for at in (0, 4 * WIDE)
        )
        values = []
        for i, one in enumerate(_sums(builder, start, other)):
            j = i % VECTORS
            values.append(fma(builder, one, factor[j], bias[j]))
        put_tile(builder, POSITIONS, values, y, y_row, rows, added, floor)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 7, types.float32), generate


@outlined
def _product(
    x: int,
    x_step: int,
    weights: int,
    depth: int,
    start: int,
    other: int,
    target: int,
    ahead: int,
    y: int,
    y_row: int,
    later: int,
    later_step: int,
) -> None:
    _multiply(
        x,
        x_step,
        weights,
        depth,
        start,
        other,
        target,
        ahead,
        y,
        y_row,
        later,
        later_step,
    )


@outlined
def _put(
    start: int,
    other: int,
    factors: int,
    y: int,
    y_row: int,
    rows: int,
    added: int,
    floor: np.float32,
) -> None:
    _finish(start, other, factors, y, y_row, min(rows, WIDE), added, floor)


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
    _product(x, row, w, half, zero, zero, p, ahead, to11, row, x + further, later)
    w += step
    _product(x21, row, w, half, p, zero, u, ahead, to11, row, x21 + further, later)
    _put(u, zero, f, to11, row, rows, a.added + y if added else 0, floor)
    w, at = w + step, t + size
    _product(at, STEP, w, half, p, zero, p, ahead, to21, row, x12 + further, later)
    w, at = w + step, at + size
    _product(at, STEP, w, half, p, zero, u, ahead, to21, row, x22 + further, later)
    w, at = w + step, at + size
    _product(at, STEP, w, half, u, zero, v, ahead, to22, row, at, 0)
    low, below = rows - WIDE, f + 8 * WIDE
    _put(v, zero, below, to21, row, low, a.added + lower if added else 0, floor)
    w += step
    _product(t, STEP, w, half, zero, zero, v, ahead, to12, row, t, 0)
    _put(u, v, below, to22, row, low, a.added + both if added else 0, floor)
    w += step
    _product(x22, row, w, half, p, v, u, ahead, to12, row, x22, 0)
    _put(u, zero, f, to12, row, rows, a.added + second if added else 0, floor)


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
        _product(source, row, w, half, zero, zero, u, ahead, to, row, source, 0)
        source += half * row
        _product(source, row, w2, half, u, zero, u, ahead, to, row, source, 0)
        _put(u, zero, f, to, row, rows, added, floor)


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
                    _pack(
                        x, plane_bytes, half * plane_bytes, 4 * a.half_plane, half, at
                    )
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
