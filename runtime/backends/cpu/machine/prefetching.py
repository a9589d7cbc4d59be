"""Asking for memory ahead of its use."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from runtime.backends.cpu.machine.compiled import helper, outlined
from runtime.backends.cpu.machine.llvm import (
    I32,
    ROWS,
    VECTOR_BYTES,
    const,
    declared,
    intrinsic,
)
from runtime.backends.cpu.machine.matrix import multiply_tile
from runtime.backends.cpu.machine.parts import types
from runtime.backends.cpu.machine.simd import emit_tile

LINE_BYTES = 64  # of the caches
FIRST_BYTES = 4096  # of weights that are asked for before anything else is done
ALL_CACHES, SECOND_CACHE = 3, 2


def ask(builder: Any, address: Any, caches: int, writes: int = 0) -> None:
    """Emit what `prefetch` does, into all caches or those from the second on."""
    pointer = builder.inttoptr(address, ir.IntType(8).as_pointer())
    kinds = [pointer.type, I32, I32, I32]
    function = declared(builder, "llvm.prefetch.p0", ir.VoidType(), kinds)
    reading, level, data = (ir.Constant(I32, value) for value in (writes, caches, 1))
    builder.call(function, [pointer, reading, level, data])


@intrinsic
def prefetch(context: Any, address: Any) -> Any:
    """Ask for the line of an address, which need not be one of ours, to be read."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        ask(builder, args[0], ALL_CACHES)
        return context.get_dummy_value()

    return types.void(types.int64), generate


@intrinsic
def prefetch_second(context: Any, address: Any) -> Any:
    """Do what `prefetch` does, into the second cache and those behind."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        ask(builder, args[0], SECOND_CACHE)
        return context.get_dummy_value()

    return types.void(types.int64), generate


@intrinsic
def prefetch_to_write(context: Any, address: Any) -> Any:
    """Ask for the line of an address, which need not be one of ours, to be written."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        ask(builder, args[0], ALL_CACHES, writes=1)
        return context.get_dummy_value()

    return types.void(types.int64), generate


@helper
def prefetch_rows(address: int, row_step: int, vectors: int, writes: bool) -> None:
    """Ask for a tile of ROWS rows of so many vectors, to be written or read."""
    for row in range(ROWS):
        for at in range(0, vectors * VECTOR_BYTES, LINE_BYTES):
            if writes:
                prefetch_to_write(address + row * row_step + at)
            else:
                prefetch(address + row * row_step + at)


@helper
def prefetch_run(address: int, nbytes: int) -> None:
    """Ask for the lines of some bytes."""
    for at in range(0, nbytes, LINE_BYTES):
        prefetch(address + at)


def _left_intrinsic(vectors: int) -> Any:
    @intrinsic
    def tile(
        context: Any,
        a: Any,
        a_step: Any,
        a_row: Any,
        b: Any,
        b_step: Any,
        depth: Any,
        c: Any,
        c_row: Any,
        bias: Any,
        floor: Any,
        ahead: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            *args, ahead = args

            def beside(at_a: Any, at_b: Any) -> None:
                # Into the second cache: the first holds what this tile reads.
                ask(builder, builder.add(at_a, ahead), SECOND_CACHE)

            emit_tile(builder, vectors, args, beside)
            return context.get_dummy_value()

        numbers = [types.int64] * 9
        return types.void(*numbers, types.float32, types.int64), generate

    return tile


def _both_intrinsic(vectors: int) -> Any:
    nbytes = vectors * VECTOR_BYTES  # of a row of b

    @intrinsic
    def tile(
        context: Any,
        a: Any,
        a_step: Any,
        a_row: Any,
        b: Any,
        b_step: Any,
        depth: Any,
        c: Any,
        c_row: Any,
        bias: Any,
        floor: Any,
        left: Any,
        right: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            *args, left, right = args
            b = args[3]

            def beside(at_a: Any, at_b: Any) -> None:
                # A row of b for each term, and of the left factor a float a row: the
                # quotient of these bytes, in 65536ths.
                share = const((1 << 16) * 4 * ROWS // nbytes + 1)
                done = builder.mul(builder.sub(at_b, b), share)
                done = builder.lshr(done, const(16))
                ask(builder, builder.add(left, done), SECOND_CACHE)
                there = builder.add(at_b, right)
                for line in range(0, nbytes, LINE_BYTES):
                    ask(builder, builder.add(there, const(line)), SECOND_CACHE)

            emit_tile(builder, vectors, args, beside)
            return context.get_dummy_value()

        numbers = [types.int64] * 9
        pair = [types.int64] * 2
        return types.void(*numbers, types.float32, *pair), generate

    return tile


_left1, _left2, _left3 = (_left_intrinsic(n) for n in (1, 2, 3))
_both1, _both2, _both3 = (_both_intrinsic(n) for n in (1, 2, 3))


@outlined
def multiply_fetching_left(
    vectors: int,
    a: int,
    a_step: int,
    a_row: int,
    b: int,
    b_step: int,
    depth: int,
    c: int,
    c_row: int,
    bias: int,
    floor: np.float32,
    ahead: int,
) -> None:
    """Compute what `multiply_tile` does, and ask for the left factor of a later tile.

    ahead: bytes from a to it; its terms lie `a_step`, a line at the most, apart. 0:
    nothing is asked for.
    """
    if ahead == 0:
        multiply_tile(
            vectors, a, a_step, a_row, b, b_step, depth, c, c_row, bias, floor
        )
    elif vectors == 3:
        _left3(a, a_step, a_row, b, b_step, depth, c, c_row, bias, floor, ahead)
    elif vectors == 2:
        _left2(a, a_step, a_row, b, b_step, depth, c, c_row, bias, floor, ahead)
    else:
        _left1(a, a_step, a_row, b, b_step, depth, c, c_row, bias, floor, ahead)


@outlined
def multiply_fetching(
    vectors: int,
    a: int,
    a_step: int,
    a_row: int,
    b: int,
    b_step: int,
    depth: int,
    c: int,
    c_row: int,
    bias: int,
    floor: np.float32,
    left: int,
    right: int,
) -> None:
    """Compute what `multiply_tile` does, and ask for both factors of later tiles.

    b_step: that of rows without a gap. left: address of ROWS depth floats, such as the
    next tile has for a. right: bytes from b to that of a later tile, or 0.
    """
    if vectors == 3:
        _both3(a, a_step, a_row, b, b_step, depth, c, c_row, bias, floor, left, right)
    elif vectors == 2:
        _both2(a, a_step, a_row, b, b_step, depth, c, c_row, bias, floor, left, right)
    else:
        _both1(a, a_step, a_row, b, b_step, depth, c, c_row, bias, floor, left, right)
