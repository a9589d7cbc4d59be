"""Tiles of Strassen's algorithm as instructions, see `strassen_code`."""

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
from runtime.backends.cpu.machine.compiled import helper, outlined
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
from runtime.backends.cpu.machine.parts import types
from runtime.backends.cpu.machine.prefetching import ALL_CACHES, SECOND_CACHE, ask

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
def pack(
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
def product(
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
    """Do what `_multiply` does, in code that all calls have in common."""
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
def put(
    start: int,
    other: int,
    factors: int,
    y: int,
    y_row: int,
    rows: int,
    added: int,
    floor: np.float32,
) -> None:
    """Do what `_finish` does; rows: those from y on, of which WIDE at most are put."""
    _finish(start, other, factors, y, y_row, min(rows, WIDE), added, floor)
