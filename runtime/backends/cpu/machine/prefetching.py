"""Asking for memory ahead of its use."""

from __future__ import annotations

from typing import Any, Literal

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


def _tile_intrinsic(vectors: int, side: Literal["left", "right"]) -> Any:
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
                there = builder.add(at_a if side == "left" else at_b, ahead)
                nbytes = 1 if side == "left" else vectors * VECTOR_BYTES
                for line in range(0, nbytes, LINE_BYTES):
                    ask(builder, builder.add(there, const(line)), SECOND_CACHE)

            emit_tile(builder, vectors, args, beside)
            return context.get_dummy_value()

        numbers = [types.int64] * 9
        return types.void(*numbers, types.float32, types.int64), generate

    return tile


_left1, _left2, _left3 = (_tile_intrinsic(n, "left") for n in (1, 2, 3))
_right1, _right2, _right3 = (_tile_intrinsic(n, "right") for n in (1, 2, 3))


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
def multiply_fetching_right(
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
    """Compute what `multiply_tile` does, and ask for the right factor of a later tile.

    ahead: bytes from b to it; its rows lie as those of b do. 0: nothing is asked
    for.
    """
    if ahead == 0:
        multiply_tile(
            vectors, a, a_step, a_row, b, b_step, depth, c, c_row, bias, floor
        )
    elif vectors == 3:
        _right3(a, a_step, a_row, b, b_step, depth, c, c_row, bias, floor, ahead)
    elif vectors == 2:
        _right2(a, a_step, a_row, b, b_step, depth, c, c_row, bias, floor, ahead)
    else:
        _right1(a, a_step, a_row, b, b_step, depth, c, c_row, bias, floor, ahead)
