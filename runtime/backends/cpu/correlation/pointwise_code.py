"""The compiled kernel of correlations of one tap, on small planes.

    y[n, r, p] = bias[r] + sum over channels c of w[r, c] x[n, c, p]

A tile is a run of positions p by WIDE rows r. Its vectors run along the rows, so that
planes of 7 x 7 or 14 x 14 are whole tiles, of which vectors along positions would leave
lanes unused; x is read where it lies, a float at a time, and never packed. A tile is
transposed in registers when it is done.

Every sum runs over the channels in their order, whatever the number of threads.

`pointwise` beside this file makes the records of these kernels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from runtime.backends.cpu.correlation.strided import copy_every
from runtime.backends.cpu.machine.compiled import carray, helper, kernel
from runtime.backends.cpu.machine.llvm import (
    F32,
    LANES,
    MASK,
    VECTOR,
    VECTOR_BYTES,
    const,
    fma,
    intrinsic,
    load,
    loop,
    masked_load,
    masked_store,
    splat,
    transposed,
)
from runtime.backends.cpu.machine.matrix import ZERO
from runtime.backends.cpu.machine.parts import types
from runtime.backends.cpu.machine.prefetching import (
    ALL_CACHES,
    SECOND_CACHE,
    ask,
    prefetch_run,
)
from runtime.backends.cpu.machine.simd import f32

VECTORS = 2  # of rows, in a tile
WIDE = VECTORS * LANES
# Positions of a tile: sums, weights and a value of x fill the registers.
POSITIONS = 14 if LANES == 16 else 6
FEW = POSITIONS // 2  # of the tile for what is left
X_AHEAD = 8  # terms: so far before its use x is asked for
NEAR_BYTES = 4096  # and so far weights, at the start


def put_tile(
    builder: Any,
    positions: int,
    sums: list[Any],
    y: Any,
    y_row: Any,
    rows: Any,
    added: Any,
    floor: Any,
) -> None:
    """Emit y = max(floor, sums + added) for a tile, whose sums are vectors of rows.

    sums: VECTORS for each of the positions. The other arguments are those of `_tile`.
    """
    # LANES positions are transposed at a time.
    runs = [range(at, min(at + LANES, positions)) for at in range(0, positions, LANES)]
    blank = ir.Constant(VECTOR, ir.Undefined)
    results = []  # (row, first position, its mask, values)
    for j in range(VECTORS):
        for run in runs:
            block = [sums[i * VECTORS + j] for i in run]
            block += [blank] * (LANES - len(run))
            lanes = [int(k < len(run)) for k in range(LANES)]
            for i, value in enumerate(transposed(builder, block)):
                results.append((j * LANES + i, run[0], lanes, value))
    low = splat(builder, floor)
    none = ir.Constant(MASK, [0] * LANES)

    def put(adds: bool) -> None:
        for row, position, lanes, value in results:
            inside = builder.icmp_signed("<", const(row), rows)
            mask = builder.select(inside, ir.Constant(MASK, lanes), none)
            at = builder.mul(y_row, const(row))
            at = builder.add(at, const(4 * position))
            if adds:
                there = builder.add(added, at)
                other = masked_load(builder, there, mask)
                value = builder.fadd(value, other)
            # Not a maximum: a NaN must stay.
            below = builder.fcmp_ordered("<", value, low)
            value = builder.select(below, low, value)
            masked_store(builder, value, builder.add(y, at), mask)

    has = builder.icmp_signed("!=", added, const(0))
    with builder.if_else(has) as (then, otherwise):
        with then:
            put(adds=True)
        with otherwise:
            put(adds=False)


def _tile_intrinsic(positions: int) -> Any:
    @intrinsic
    def tile(
        context: Any,
        x: Any,
        x_step: Any,
        weights: Any,
        depth: Any,
        bias: Any,
        y: Any,
        y_row: Any,
        rows: Any,
        added: Any,
        floor: Any,
        ahead: Any,
        also: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            x, x_step, weights, depth, bias, y, y_row, rows, added, *rest = args
            floor, *asked = rest
            starts = [
                load(builder, builder.add(bias, const(j * VECTOR_BYTES)))
                for j in range(VECTORS)
            ]
            grid = [(i, j) for i in range(positions) for j in range(VECTORS)]

            def body(values: list[Any]) -> list[Any]:
                at_x, at_w, at_y, *sums = values
                for further in asked:
                    ask(builder, builder.add(at_w, further), SECOND_CACHE)
                far = builder.add(at_x, builder.mul(x_step, const(X_AHEAD)))
                for end in (0, 4 * (positions - 1)):
                    ask(builder, builder.add(far, const(end)), ALL_CACHES)
                    line = builder.add(at_y, const(end))
                    ask(builder, line, ALL_CACHES, writes=1)
                row = [
                    load(builder, builder.add(at_w, const(j * VECTOR_BYTES)))
                    for j in range(VECTORS)
                ]
                for i in range(positions):
                    at = builder.add(at_x, const(4 * i))
                    value = splat(builder, load(builder, at, F32))
                    for j in range(VECTORS):
                        one = i * VECTORS + j
                        sums[one] = fma(builder, value, row[j], sums[one])
                following = builder.add(at_w, const(VECTORS * VECTOR_BYTES))
                at_y = builder.add(at_y, y_row)
                again = builder.icmp_signed(">=", at_y, end_of_y)
                at_y = builder.select(again, y, at_y)
                return [builder.add(at_x, x_step), following, at_y, *sums]

            end_of_y = builder.add(y, builder.mul(y_row, const(WIDE)))
            first = [x, weights, y, *(starts[j] for _, j in grid)]
            _, _, _, *sums = loop(builder, depth, first, body)
            put_tile(builder, positions, sums, y, y_row, rows, added, floor)
            return context.get_dummy_value()

        numbers = [types.int64] * 9
        return types.void(*numbers, types.float32, types.int64, types.int64), generate

    return tile


# tile(x, x_step, weights, depth, bias, y, y_row, rows, added, floor, ahead, also):
#   y[r][p] = max(floor, bias[r] + sum over k < depth of x[k][p] weights[k][r]
#                 + added[r][p])
# for so many positions p and the first `rows` of WIDE rows r. x[k] is at x + k x_step,
# y[r] and added[r] at y and added + r y_row, in bytes; added is 0 for none. The lines
# `ahead` and `also` bytes behind each row of weights are asked for.
_tile = _tile_intrinsic(POSITIONS)
_few = _tile_intrinsic(FEW)


@kernel(
    "x y y_between packed packed_bias added images groups channels rows plane tiles",
    "floor",
)
def pointwise(record: Any, part: int, parts: int) -> None:
    """Compute y = max(floor, bias + correlation + added).

    Fields:
        x: (images, groups, channels, plane).
        y: (images, groups, rows, plane).
        y_between: elements of y from the end of an image to the next one.
        packed, packed_bias: what `pack_rows` made.
        added: like y, whose images must be neighbours then; or 0.
        channels, rows: of a group.
        plane: positions of an image, at least FEW.
        tiles: of a plane.
        floor: -inf for none.
    """
    a = carray(record, 1)[0]
    floor = np.float32(a.floor)
    plane_bytes = 4 * a.plane
    blocks = (a.rows + WIDE - 1) // WIDE
    block_bytes = 4 * WIDE * a.channels
    units = a.images * a.groups * blocks * a.tiles
    low, high = units * part // parts, units * (part + 1) // parts
    ready, asked = -1, 0  # the last block of weights that was asked for, in time
    for unit in range(low, high):
        number, rest = unit % a.tiles, unit // a.tiles
        block, image = rest % (a.groups * blocks), rest // (a.groups * blocks)
        group, row = block // blocks, block % blocks * WIDE
        # Weights that nobody asked for are asked for a little ahead of their use; then
        # two tiles ask for a vector each of the weights of the next block.
        ahead, also = 0, 0
        if block != ready and asked < VECTORS:
            prefetch_run(a.packed + block * block_bytes, NEAR_BYTES)
            ahead, also = NEAR_BYTES, NEAR_BYTES + VECTOR_BYTES
            asked = 0
        elif block != ready or asked < VECTORS:
            asked = 0 if block != ready else asked
            following = (block + 1) % (a.groups * blocks)
            ahead = (following - block) * block_bytes + asked * VECTOR_BYTES
            asked += 1
        ready = block
        position = number * POSITIONS
        left = a.plane - position
        x = image * a.groups + group
        y = x * a.rows + row
        is_few = left <= FEW or a.plane < POSITIONS
        # What is left may overlap what is done: the same values once more.
        position = min(position, a.plane - (FEW if is_few else POSITIONS))
        at_x = a.x + plane_bytes * x * a.channels + 4 * position
        at_y = plane_bytes * y + 4 * (position + image * a.y_between)
        weights = a.packed + block * block_bytes
        bias = a.packed_bias + 4 * WIDE * block
        rows = min(WIDE, a.rows - row)
        added = a.added + at_y if a.added != 0 else 0
        if is_few:
            _few(
                at_x,
                plane_bytes,
                weights,
                a.channels,
                bias,
                a.y + at_y,
                plane_bytes,
                rows,
                added,
                floor,
                ahead,
                also,
            )
        else:
            _tile(
                at_x,
                plane_bytes,
                weights,
                a.channels,
                bias,
                a.y + at_y,
                plane_bytes,
                rows,
                added,
                floor,
                ahead,
                also,
            )


@kernel("x target planes height width out_height out_width step")
def thin(record: Any, part: int, parts: int) -> None:
    """Copy every `step`-th element of every `step`-th row.

    Fields:
        x: (planes, height, width).
        target: (planes, out_height, out_width).
    """
    a = carray(record, 1)[0]
    for p in range(a.planes * part // parts, a.planes * (part + 1) // parts):
        for i in range(a.out_height):
            source = a.x + 4 * (p * a.height + i * a.step) * a.width
            target = a.target + 4 * (p * a.out_height + i) * a.out_width
            copy_every(target, source, a.step, a.out_width)


@helper
def _scaled(at: int, terms: int, scale: int, rows: int) -> None:
    """Multiply the rows of a packed block by their factors."""
    factors = f32(scale)
    for c in range(terms):
        values = f32(at + 4 * WIDE * c)
        for i in range(rows):
            values[i] *= factors[i]


@kernel(
    "w bias scale packed packed_bias groups rows channels group_stride row_stride "
    "channel_stride first"
)
def pack_rows(record: Any, part: int, parts: int) -> None:
    """Bring weights into the order in which tiles read them.

    A block is WIDE rows of weights; those past the end are zeros.

    Fields:
        w: the weights; the strides are described at `Correlation`.
        bias: (groups, rows), or 0 for none.
        scale: (groups, rows), what to multiply the weights of a row with, or 0.
        packed: (groups, blocks, channels, WIDE).
        packed_bias: (groups, blocks, WIDE).
        rows, channels: of a group.
        group_stride, row_stride, channel_stride: elements of w.
        first: the element of w that row 0 and channel 0 take.
    """
    a = carray(record, 1)[0]
    w, packed, biases = f32(a.w), f32(a.packed), f32(a.packed_bias)
    blocks = (a.rows + WIDE - 1) // WIDE
    units = a.groups * blocks
    for unit in range(units * part // parts, units * (part + 1) // parts):
        group, row = unit // blocks, unit % blocks * WIDE
        valid = min(WIDE, a.rows - row)
        source = a.first + group * a.group_stride + row * a.row_stride
        target = unit * a.channels * WIDE
        for c in range(a.channels):
            for i in range(WIDE):
                at = source + i * a.row_stride + c * a.channel_stride
                packed[target + i] = w[at] if i < valid else ZERO
            target += WIDE
        if a.scale != 0:
            factors = a.scale + 4 * (group * a.rows + row)
            _scaled(a.packed + 4 * unit * a.channels * WIDE, a.channels, factors, valid)
        for i in range(WIDE):
            value = ZERO
            if a.bias != 0 and i < valid:
                value = f32(a.bias)[group * a.rows + row + i]
            biases[unit * WIDE + i] = value
