"""Packing weights for `direct_code`: blocks of ROWS rows, term by term."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from runtime.backends.cpu.machine.compiled import carray, kernel, outlined
from runtime.backends.cpu.machine.llvm import (
    F32,
    I32,
    LANES,
    ROWS,
    VECTOR_BYTES,
    const,
    intrinsic,
    load,
    store,
)
from runtime.backends.cpu.machine.matrix import ZERO
from runtime.backends.cpu.machine.parts import types
from runtime.backends.cpu.machine.simd import f32, i64

BLOCKS = 8  # whose rows are neighbours: they are packed together


@intrinsic
def _interleave(context: Any, target: Any, source: Any, source_row: Any) -> Any:
    """Write LANES columns of ROWS rows, column after column.

    source_row: bytes from a row to the next.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target, source, source_row = args
        half, kind = ROWS // 2, ir.VectorType(I32, LANES)
        sides = [
            ir.Constant(kind, [x for i in lanes for x in (i, i + LANES)])
            for lanes in (range(LANES // 2), range(LANES // 2, LANES))
        ]
        block = [
            load(builder, builder.add(source, builder.mul(source_row, const(i))))
            for i in range(ROWS)
        ]
        # Each round interleaves the first half of all with the second.
        for _ in range(ROWS.bit_length() - 1):
            block = [
                builder.shuffle_vector(block[i], block[i + half], side)
                for i in range(half)
                for side in sides
            ]
        for i, value in enumerate(block):
            store(builder, value, builder.add(target, const(VECTOR_BYTES * i)))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), generate


@intrinsic
def _move_rows(context: Any, target: Any, source: Any) -> Any:
    """Copy ROWS floats."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = load(builder, args[1], ir.VectorType(F32, ROWS))
        store(builder, value, args[0])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 2), generate


@kernel(
    "w bias scale packed packed_bias groups rows channels taps tap_index in_order "
    "group_stride row_stride channel_stride"
)
def pack_weights(record: Any, part: int, parts: int) -> None:
    """Bring weights into the order in which tiles read them.

    A block is ROWS rows of weights; those past the end are zeros.

    Fields:
        w: the weights; strides and index are described at `Correlation`.
        bias: (groups, rows), or 0 for none.
        scale: (groups, rows), what to multiply the weights of a row with, or 0.
        packed: (groups, blocks, channels, taps, ROWS).
        packed_bias: (groups, blocks, ROWS).
        rows, channels: of a group.
        taps: weights of a row and a channel.
        tap_index: int64 (taps,), which weight of a window a tap takes.
        in_order: 1 where the weights of a row lie as they are packed.
        group_stride, row_stride, channel_stride: elements of w.
    """
    a = carray(record, 1)[0]
    biases, terms = f32(a.packed_bias), a.channels * a.taps
    blocks = (a.rows + ROWS - 1) // ROWS
    units = a.groups * blocks
    # Neighbouring blocks may lie in the same cache lines: they go to one thread.
    unit, end = units * part // parts, units * (part + 1) // parts
    while unit < end:
        group, block = unit // blocks, unit % blocks
        full = a.rows // ROWS - block  # blocks without zeros, from here on
        source = group * a.group_stride + block * ROWS * a.row_stride
        source, target = a.w + 4 * source, a.packed + 4 * unit * terms * ROWS
        count = 1
        if a.row_stride == 1 and full > 0:
            count = min(min(full, BLOCKS), end - unit)
            _pack_neighbours(a, source, target, count)
        elif a.in_order != 0 and full > 0:
            whole = terms // LANES * LANES
            for k in range(0, whole, LANES):
                _interleave(target + 4 * k * ROWS, source + 4 * k, 4 * a.row_stride)
            _pack_terms(a, source, target, ROWS, whole)
        else:
            _pack_terms(a, source, target, min(ROWS, a.rows - block * ROWS), 0)
        for n in range(count):
            valid = min(ROWS, a.rows - (block + n) * ROWS)
            first = group * a.rows + (block + n) * ROWS
            if a.scale != 0:
                scale = f32(a.scale + 4 * first)
                packed = f32(target + 4 * n * terms * ROWS)
                for k in range(terms):
                    for i in range(valid):
                        packed[k * ROWS + i] *= scale[i]
            for i in range(ROWS):
                value = ZERO
                if a.bias != 0 and i < valid:
                    value = f32(a.bias)[first + i]
                biases[(unit + n) * ROWS + i] = value
        unit += count


@outlined
def _pack_neighbours(a: Any, source: int, target: int, count: int) -> None:
    """Pack full blocks whose rows are neighbours, each line of w once.

    Args:
        a: the record; see `pack_weights`.
        source: address of the first weight of the first block.
        target: address of the packed blocks.
        count: how many there are.
    """
    index, step = i64(a.tap_index), 4 * a.channels * a.taps * ROWS
    for c in range(a.channels):
        for t in range(a.taps):
            at = source + 4 * (c * a.channel_stride + index[t])
            for n in range(count):
                _move_rows(target + n * step, at + 4 * n * ROWS)
            target += 4 * ROWS


@outlined
def _pack_terms(a: Any, source: int, target: int, valid: int, first: int) -> None:
    """Pack the terms of a block one by one.

    Args:
        a: the record; see `pack_weights`.
        source: address of the first weight of the block.
        target: address of the packed block.
        valid: how many rows there are.
        first: the number of the first term.
    """
    w, packed, index = f32(source), f32(target), i64(a.tap_index)
    channel, tap = first // a.taps, first % a.taps
    for k in range(first, a.channels * a.taps):
        at = channel * a.channel_stride + index[tap]
        for i in range(ROWS):
            value = w[at + i * a.row_stride] if i < valid else ZERO
            packed[k * ROWS + i] = value
        tap += 1
        if tap == a.taps:
            channel, tap = channel + 1, 0
