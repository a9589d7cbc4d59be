"""Tiles of a matrix product whose left factor is read where it lies."""

from __future__ import annotations

from typing import Any

from runtime.backends.cpu.machine.compiled import outlined
from runtime.backends.cpu.machine.llvm import (
    F32,
    I64,
    ROWS,
    VECTOR,
    VECTOR_BYTES,
    const,
    fma,
    intrinsic,
    load,
    loop,
    splat,
    store,
)
from runtime.backends.cpu.machine.parts import types


def _tile(vectors: int) -> Any:
    @intrinsic
    def tile(
        context: Any,
        a: Any,
        rows: Any,
        offsets: Any,
        b: Any,
        b_step: Any,
        depth: Any,
        c: Any,
        c_row: Any,
        fresh: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            a, rows, offsets, b, b_step, depth, c, c_row, fresh = args
            grid = [(i, j) for i in range(ROWS) for j in range(vectors)]
            addresses = [
                builder.add(
                    builder.add(c, builder.mul(c_row, const(i))),
                    const(j * VECTOR_BYTES),
                )
                for i, j in grid
            ]
            lines = [
                builder.add(a, load(builder, builder.add(rows, const(8 * i)), I64))
                for i in range(ROWS)
            ]
            before = builder.block
            going_on = builder.append_basic_block("load")
            ready = builder.append_basic_block("ready")
            zero = builder.icmp_signed("!=", fresh, const(0))
            builder.cbranch(zero, ready, going_on)
            builder.position_at_end(going_on)
            loaded = [load(builder, address) for address in addresses]
            builder.branch(ready)
            builder.position_at_end(ready)
            sums = []
            for value in loaded:
                phi = builder.phi(VECTOR)
                phi.add_incoming(VECTOR([0.0] * VECTOR.count), before)
                phi.add_incoming(value, going_on)
                sums.append(phi)

            def body(values: list[Any]) -> list[Any]:
                at, at_b, *sums = values
                offset = load(builder, at, I64)
                row = [
                    load(builder, builder.add(at_b, const(j * VECTOR_BYTES)))
                    for j in range(vectors)
                ]
                for i, line in enumerate(lines):
                    value = load(builder, builder.add(line, offset), F32)
                    factor = splat(builder, value)
                    for j in range(vectors):
                        n = i * vectors + j
                        sums[n] = fma(builder, factor, row[j], sums[n])
                return [builder.add(at, const(8)), builder.add(at_b, b_step), *sums]

            _, _, *sums = loop(builder, depth, [offsets, b, *sums], body)
            for value, address in zip(sums, addresses, strict=True):
                store(builder, value, address)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 9), generate

    return tile


_tile1, _tile2, _tile3 = _tile(1), _tile(2), _tile(3)


@outlined
def multiply_rows(
    vectors: int,
    a: int,
    rows: int,
    offsets: int,
    b: int,
    b_step: int,
    depth: int,
    c: int,
    c_row: int,
    fresh: int,
) -> None:
    """Compute c[i] += sum over k of a[i][k] b[k] for a tile of ROWS rows.

    Args:
        vectors: vectors of columns of the tile, 1 to 3.
        a: address from which rows and offsets count: a[i][k] is at a + rows[i] +
            offsets[k].
        rows: address of (ROWS,) int64, in bytes.
        offsets: address of (depth,) int64, in bytes.
        b: address of the right factor, whose rows are `vectors` vectors.
        b_step: bytes from one row of b to the next.
        depth: terms of every sum, at least 1.
        c: address of the result.
        c_row: bytes from one row of c to the next.
        fresh: 1 where c is stored, not added to.
    """
    if vectors == 3:
        _tile3(a, rows, offsets, b, b_step, depth, c, c_row, fresh)
    elif vectors == 2:
        _tile2(a, rows, offsets, b, b_step, depth, c, c_row, fresh)
    else:
        _tile1(a, rows, offsets, b, b_step, depth, c, c_row, fresh)
