"""The compiled kernel of correlations of few channels: products of kept rows.

As in `direct_code`, positions are vectors, and every sum runs over k = (c, t), a
channel and a tap, in that order. Where channels are few, packing a row of positions for
every k takes as long as a third of the products. Here the rows of x are only kept with
their padding, columns that are a step apart beside each other, and a tile reads its
vectors of positions from them: a tile has many rows of y, so that it reads each of them
few times. A vector may begin in one row of positions and end in the next: then its
first lanes lie at one address, and its last ones at another.

`kept_rows` beside this file makes the records.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from runtime.backends.cpu.correlation.packing import PACKING, keep_rows
from runtime.backends.cpu.machine.compiled import carray, helper, kernel
from runtime.backends.cpu.machine.llvm import (
    F32,
    I32,
    I64,
    LANES,
    ROWS,
    VECTOR_BYTES,
    const,
    first_lanes,
    fma,
    intrinsic,
    load,
    loop,
    masked_store,
    splat,
    store,
)
from runtime.backends.cpu.machine.parts import types
from runtime.backends.cpu.machine.prefetching import ALL_CACHES, ask
from runtime.backends.cpu.machine.simd import i64

GROUP = 4  # rows of y: tiles have whole groups, of which blocks of weights have 1 or 2
MOST_GROUPS = 3 if LANES == 16 else 1  # of a tile
VECTORS = 2 if LANES == 16 else 3  # of positions of a tile
WIDTH = VECTORS * LANES
# Whether a vector may lie in two rows. Where half of the registers are there, tiles are
# small, and reading everything twice takes longer than packing it once.
PIECES = 2 if LANES == 16 else 1
PLACE_BYTES = (
    24  # of what a vector has in a table: two addresses, and lanes of the first
)
_BLOCK_GROUPS = ROWS // GROUP


def _tile_intrinsic(groups: int) -> Any:
    @intrinsic
    def tile(
        context: Any,
        weights: Any,
        group: Any,
        block_bytes: Any,
        places: Any,
        offsets: Any,
        depth: Any,
        c: Any,
        c_row: Any,
        rows: Any,
        columns: Any,
        bias: Any,
        streams: Any,
        floor: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _emit_tile(builder, groups, args)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 12, types.float32), generate

    return tile


def _emit_tile(builder: Any, groups: int, args: Any) -> None:
    """Emit a tile of `GROUP groups` rows and VECTORS vectors; see `_multiply`."""
    weights, group, block_bytes, places, offsets, depth, *rest = args
    c, c_row, rows, columns, bias, streams, floor = rest
    grid = [(i, j) for i in range(GROUP * groups) for j in range(VECTORS)]

    def from_table(j: int, field: int) -> Any:
        at = builder.add(places, const(PLACE_BYTES * j + 8 * field))
        return load(builder, at, I64)

    firsts = [from_table(j, 0) for j in range(VECTORS)]
    lasts = [from_table(j, 1) for j in range(VECTORS)]
    masks = [first_lanes(builder, from_table(j, 2)) for j in range(VECTORS)]
    of_groups = []
    for g in range(groups):
        number = builder.add(group, const(g))
        block = builder.udiv(number, const(_BLOCK_GROUPS))
        within = builder.urem(number, const(_BLOCK_GROUPS))
        at = builder.add(weights, builder.mul(block, block_bytes))
        of_groups.append(builder.add(at, builder.mul(within, const(4 * GROUP))))
    targets = {
        (i, j): builder.add(
            builder.add(c, builder.mul(c_row, const(i))), const(VECTOR_BYTES * j)
        )
        for i, j in grid
    }
    cached = builder.icmp_signed("==", streams, const(0))
    with builder.if_then(cached):
        for at in targets.values():
            ask(builder, at, ALL_CACHES, writes=1)
    starts = [
        splat(builder, load(builder, builder.add(bias, const(4 * i)), F32))
        for i in range(GROUP * groups)
    ]

    def body(values: list[Any]) -> list[Any]:
        at, done, *sums = values
        offset = load(builder, at, I64)
        seen = [load(builder, builder.add(first, offset)) for first in firsts]
        if PIECES > 1:
            others = [load(builder, builder.add(last, offset)) for last in lasts]
            seen = [
                builder.select(*three)
                for three in zip(masks, seen, others, strict=True)
            ]
        for i in range(GROUP * groups):
            place = builder.add(of_groups[i // GROUP], const(4 * (i % GROUP)))
            factor = load(builder, builder.add(place, done), F32)
            factor = splat(builder, factor)
            for j in range(VECTORS):
                n = i * VECTORS + j
                sums[n] = fma(builder, factor, seen[j], sums[n])
        following = builder.add(at, const(8)), builder.add(done, const(4 * ROWS))
        return [*following, *sums]

    first = [offsets, const(0), *(starts[i] for i, _ in grid)]
    _, _, *sums = loop(builder, depth, first, body)
    low = splat(builder, floor)
    # Not a maximum: a NaN must stay.
    kept = [
        builder.select(builder.fcmp_ordered("<", one, low), low, one) for one in sums
    ]
    whole = builder.and_(
        builder.icmp_signed(">=", rows, const(GROUP * groups)),
        builder.icmp_signed(">=", columns, const(WIDTH)),
    )
    with builder.if_else(whole) as (full, part):
        with full, builder.if_else(cached) as (near, past):
            with near:
                for at, value in zip(grid, kept, strict=True):
                    store(builder, value, targets[at])
            with past:
                _stream(builder, kept, [targets[at] for at in grid])
        with part:
            for (i, j), value in zip(grid, kept, strict=True):
                there = builder.icmp_signed("<", const(i), rows)
                count = builder.sub(columns, const(LANES * j))
                count = builder.select(there, count, const(0))
                mask = first_lanes(builder, count)
                masked_store(builder, value, targets[i, j], mask)


def _stream(builder: Any, values: list[Any], targets: list[Any]) -> None:
    """Emit stores past the caches, to multiples of the vectors' size."""
    one = builder.module.add_metadata([ir.Constant(I32, 1)])
    for value, at in zip(values, targets, strict=True):
        pointer = builder.inttoptr(at, value.type.as_pointer())
        written = builder.store(value, pointer)
        written.align = VECTOR_BYTES
        written.set_metadata("nontemporal", one)


_fewest = _tile_intrinsic(max(1, MOST_GROUPS - 1))
_most = _tile_intrinsic(MOST_GROUPS)


@kernel(
    PACKING + "y packed packed_bias rows y_plane y_between places_at streams", "floor"
)
def correlate_kept(record: Any, part: int, parts: int, thread: int) -> None:
    """Compute y = max(floor, bias + correlation).

    Panels are parts of an image; all channels are packed at a time. other_at has int64
    (channels taps,): bytes from what a position sees first to what it sees under k.

    Fields, beside those of `PACKING`:
        y: (images, groups, rows, y_plane), a position after the other.
        y_between: elements of y from the end of an image to the next one.
        packed, packed_bias: what `pack_weights` made.
        rows: of a group.
        y_plane: elements of a plane of y.
        places_at: where the workspace has PLACE_BYTES for every vector of a panel.
        streams: 1 where y, of vectors at multiples of their size, is written past the
            caches.
        floor: -inf for none.
    """
    a = carray(record, 1)[0]
    plane = a.out_height * a.out_width
    panels = (plane + a.panel_positions - 1) // a.panel_positions
    floor = np.float32(a.floor)
    workspace = a.workspace + thread * a.workspace_bytes
    places, offsets = workspace + a.places_at, workspace + a.other_at
    depth = a.channels * a.taps
    blocks = (a.rows + ROWS - 1) // ROWS
    groups = (a.rows + GROUP - 1) // GROUP
    tiles = (groups + MOST_GROUPS - 1) // MOST_GROUPS
    units = a.images * a.groups * panels
    for unit in range(units * part // parts, units * (part + 1) // parts):
        image, rest = unit // (a.groups * panels), unit % (a.groups * panels)
        group, panel = rest // panels, rest % panels
        first = panel * a.panel_positions
        count = min(a.panel_positions, plane - first)
        begin = image * plane + first
        kept = keep_rows(a, workspace, group, begin, begin + count, 0, a.channels)
        _set_offsets(a, kept, offsets)
        _set_places(a, workspace + a.rows_at, first, count, places)
        weights = a.packed + 4 * ROWS * group * blocks * depth
        biases = a.packed_bias + 4 * ROWS * group * blocks
        at = (image * a.groups + group) * a.rows * a.y_plane + image * a.y_between
        for tile in range(tiles):
            low = groups * tile // tiles
            high = groups * (tile + 1) // tiles
            row = low * GROUP
            y = a.y + 4 * (at + row * a.y_plane + first)
            for position in range(0, count, WIDTH):
                put = y + 4 * position
                if high - low == MOST_GROUPS:
                    _most(
                        weights,
                        low,
                        4 * ROWS * depth,
                        places + position // LANES * PLACE_BYTES,
                        offsets,
                        depth,
                        put,
                        4 * a.y_plane,
                        a.rows - row,
                        count - position,
                        biases + 4 * row,
                        a.streams,
                        floor,
                    )
                else:
                    _fewest(
                        weights,
                        low,
                        4 * ROWS * depth,
                        places + position // LANES * PLACE_BYTES,
                        offsets,
                        depth,
                        put,
                        4 * a.y_plane,
                        min(a.rows, high * GROUP) - row,
                        count - position,
                        biases + 4 * row,
                        a.streams,
                        floor,
                    )


@helper
def _set_offsets(a: Any, kept: int, offsets: int) -> None:
    """Set where every k lies in the kept rows, `kept` of a channel."""
    of_taps, found = i64(a.tap_offsets), i64(offsets)
    channel_bytes = 4 * kept * a.phases * a.phase_length
    for c in range(a.channels):
        for t in range(a.taps):
            found[c * a.taps + t] = c * channel_bytes + of_taps[t]


@helper
def _set_places(a: Any, rows: int, first: int, count: int, places: int) -> None:
    """Set where the vectors of a panel lie, for whole tiles.

    Args:
        a: the record.
        rows: address of the kept rows.
        first: the number of the panel's first position, within its image.
        count: of its positions.
        places: address of (address, address, lanes of the first one) of each vector.
    """
    row_bytes = 4 * a.pitch * a.phases * a.phase_length
    top = first // a.out_width
    found = i64(places)
    vectors = (count + WIDTH - 1) // WIDTH * VECTORS
    for n in range(vectors):
        # Those behind all positions are the first one once more.
        at = n * LANES if n * LANES < count else 0
        line = (first + at) // a.out_width
        column = first + at - line * a.out_width
        lanes = min(LANES, a.out_width - column)
        address = rows + (line - top) * row_bytes + 4 * column
        following = address
        if at + lanes < count:
            following = rows + (line - top + 1) * row_bytes - 4 * lanes
        found[3 * n] = address
        found[3 * n + 1] = following if lanes < LANES else address
        found[3 * n + 2] = lanes
